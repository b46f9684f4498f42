//! The last step: the part gets its final name.
//!
//! Invariant: at the destination there is at every moment what was there before, or the whole new file. Only a regular
//! file is ever replaced, and with `Replace::Nothing` not even that. Until the name is given, every error leaves the part;
//! from then on the file is whole, and an error is a warning.
//!
//! The kind of what is at the destination is looked at just before the rename; a link put there in between is replaced as
//! a name, never followed.

use super::disk::{disk, errno};
use super::part::DiskPart;
use super::path::hex;
use super::path::{self, OwnFiles, System, folder_of};
use super::version::{FileId, is_absent, metadata};
use regrip_core::Error;
use regrip_core::store::{Committed, Part, Replace};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A copy yields to other tasks of the thread after this many bytes.
const COPY_BYTES: u64 = 8 << 20;

/// Renames the part to `destination` and makes the name durable. The lock is held until then. Before that the
/// file gets its permissions and time, so that no crash leaves it at its destination with others.
///
/// # Errors
/// `DestinationRefused` if it is one of `own`; `DestinationExists`, `Disk` and `DiskFull`.
pub(super) async fn commit(
    mut part: DiskPart,
    destination: &Path,
    replace: Replace,
    own: &OwnFiles,
) -> Result<Committed, Error> {
    own.check_absent(destination)?;
    part.settle().await?;
    part.set_mode_and_time(&part.held.file);
    let system = part.system;
    if !part.named {
        if (system.link_open)(&part.held.file, destination).is_ok() {
            return Ok(committed(tidy(&part, destination, Left::Nothing).await));
        }
        // Whatever the reason, there must be a part to keep, and the final name may have to be replaced.
        part.name().await?;
        part.make_durable().await?; // whoever keeps it counts on its name, too
    }
    own.check(destination)?;
    check_still_named(&part)?;
    let left = match check_destination(&part, destination, replace)? {
        // A process died between giving the second name and taking the first: take it now.
        AtDestination::ByThePart => Left::Name(part.path.clone()),
        AtDestination::ByAnother | AtDestination::No => match name_open(&part, destination, replace) {
            Some(named) => named?,
            None => match name(&part.path, destination, replace, &system) {
                Err(error) if errno(&error) == Some(Errno::XDEV) => copy_over(&part, destination, replace).await?,
                named => named.map_err(|error| naming_error(error, destination))?,
            },
        },
    };
    Ok(committed(tidy(&part, destination, left).await))
}

/// Gives the destination to the open file, by a second name, if other processes may take the part over: one that stood still since it
/// looked at the part's name would give away what another process has put there since, which need not be complete. So whatever it does
/// late, it gives away a whole file of this download. That it does so late, after the file of the other process, can be made
/// unlikely only: the claim is looked at before each step, and a step takes no lease. `None` if the file system has no such second
/// names; then the part's name is the one that is given away.
fn name_open(part: &DiskPart, destination: &Path, replace: Replace) -> Option<Result<Left, Error>> {
    if !part.may_be_taken_over {
        return None;
    }
    let beside = hidden(destination, "name");
    let _ = std::fs::remove_file(&beside); // of a process that died here
    (part.system.link_open)(&part.held.file, &beside).ok()?;
    let named = name(&beside, destination, replace, &part.system);
    let _ = std::fs::remove_file(&beside); // gone already, unless it failed or the destination is a link of it
    Some(match named {
        // The part's name may be another process's by now.
        Ok(_) if check_still_named(part).is_err() => Ok(Left::Nothing),
        Ok(_) => Ok(Left::Name(part.path.clone())),
        Err(error) => Err(naming_error(error, destination)),
    })
}

fn committed(tidied: Result<(), Error>) -> Committed {
    tidied.map_or_else(Committed::WithWarning, |()| Committed::Durable)
}

/// What is left to remove once the file has its name.
enum Left {
    Nothing,
    /// A second name of the same file.
    Name(PathBuf),
    /// The part, of which the file is a copy.
    Part,
}

/// Removes what is left, and makes the name durable: both are tried, and the first error is reported. The part of a
/// copy goes only after the copy's name is durable.
async fn tidy(part: &DiskPart, destination: &Path, left: Left) -> Result<(), Error> {
    let removed = match &left {
        Left::Name(path) => remove_name(path),
        Left::Nothing | Left::Part => Ok(()),
    };
    let synced = part.folders.sync_folder_of(destination, &part.system).await;
    // Whatever the reason, also too many open files or a full disk: the file is there, so this says what is not.
    synced.map_err(|error| Error::Disk {
        what: "sync the folder of",
        path: destination.display().to_string(),
        source: Some(error.into()),
    })?;
    if let Left::Part = left {
        remove_name(&part.path)?;
    }
    removed
}

/// What is at the destination.
enum AtDestination {
    No,
    ByThePart,
    ByAnother,
}

fn check_destination(part: &DiskPart, destination: &Path, replace: Replace) -> Result<AtDestination, Error> {
    let Some(there) = metadata(destination)? else {
        return Ok(AtDestination::No);
    };
    if let Some(what) = refused(there.file_type()) {
        let path = destination.display().to_string();
        return Err(Error::DestinationRefused { path, what });
    }
    match replace {
        _ if FileId::from(&there) == part.held.id => Ok(AtDestination::ByThePart),
        Replace::Existing => Ok(AtDestination::ByAnother),
        Replace::Nothing => Err(exists(destination)),
    }
}

pub(super) fn refused(kind: FileType) -> Option<&'static str> {
    [
        (kind.is_symlink(), "a link"),
        (kind.is_dir(), "a folder"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
        (kind.is_block_device() || kind.is_char_device(), "a device"),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

/// The name must still be that of the file that was written.
fn check_still_named(part: &DiskPart) -> Result<(), Error> {
    let named = std::fs::symlink_metadata(&part.path);
    let named = named.map_err(|error| disk("rename", &part.path, error))?;
    if FileId::from(&named) == part.held.id {
        return Ok(());
    }
    let source = io::Error::other("its name now belongs to another file");
    Err(disk("rename", &part.path, source))
}

/// Gives `from` the name `to`, by the rule.
fn name(from: &Path, to: &Path, replace: Replace, system: &System) -> io::Result<Left> {
    match replace {
        Replace::Existing => (system.rename)(from, to)?,
        Replace::Nothing => match (system.rename_new)(from, to) {
            Err(error) if path::unsupported(&error) => match (system.link)(from, to) {
                Err(error) if path::has_no_links(&error) => name_over_empty(from, to, system)?,
                linked => {
                    linked?;
                    return Ok(Left::Name(from.to_owned()));
                }
            },
            named => named?,
        },
    }
    Ok(Left::Nothing)
}

/// Gives `from` the name `to`, which must be free.
///
/// # Errors
/// `AlreadyExists` if it is taken; else what the system said.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match name(from, to, Replace::Nothing, &System::default())? {
        Left::Name(old) => std::fs::remove_file(old),
        Left::Nothing | Left::Part => Ok(()),
    }
}

/// For a file system that has neither: takes the name exclusively, by an empty file, and renames over that.
fn name_over_empty(from: &Path, to: &Path, system: &System) -> io::Result<()> {
    let taken = OpenOptions::new().write(true).create_new(true).open(to)?;
    let named = (system.rename)(from, to);
    if named.is_err() && taken.metadata()?.len() == 0 {
        let _ = std::fs::remove_file(to); // the first error is reported
    }
    named
}

/// Used only if the two names are on different mounts, which happens only if something is mounted over a file: a copy
/// beside the target, synced, then renamed. A crash after that rename leaves a finished file and a part.
async fn copy_over(part: &DiskPart, destination: &Path, replace: Replace) -> Result<Left, Error> {
    let copy = copy_path(destination);
    let copied = match copy_to(part, &copy).await {
        Ok(()) => name(&copy, destination, replace, &part.system).map_err(|error| naming_error(error, destination)),
        Err(error) => Err(disk("copy to", &copy, error)),
    };
    match copied {
        Ok(Left::Name(copy)) => {
            let _ = std::fs::remove_file(copy); // the file has its name, and the next copy replaces this one
            Ok(Left::Part)
        }
        Ok(_) => Ok(Left::Part),
        Err(error) => {
            let _ = std::fs::remove_file(&copy); // the first error is reported
            Err(error)
        }
    }
}

async fn copy_to(part: &DiskPart, copy: &Path) -> io::Result<()> {
    // The name is ours alone and the part's lock is held, so what is there was left by a crash.
    match std::fs::remove_file(copy) {
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    let mut to = OpenOptions::new().write(true).create_new(true).open(copy)?;
    let from = File::open(&part.path)?;
    if FileId::from(&from.metadata()?) != part.held.id {
        return Err(io::Error::other("another file has the part's name now"));
    }
    let mut copied = 0;
    loop {
        match io::copy(&mut (&from).take(COPY_BYTES), &mut to)? {
            0 => break,
            bytes => copied += bytes,
        }
        smol::future::yield_now().await;
    }
    if copied != from.metadata()?.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    part.set_mode_and_time(&to);
    (part.system.sync_data)(&to)
}

/// The same for every try at one destination, so that a copy cut short by a crash is found and replaced.
pub(super) fn copy_path(destination: &Path) -> PathBuf {
    hidden(destination, "copy")
}

fn hidden(destination: &Path, ending: &str) -> PathBuf {
    let name = destination.file_name().unwrap_or_default();
    let hash = hex(&Sha256::digest(name.as_bytes()));
    folder_of(destination).join(format!(".regrip-{hash}.{ending}"))
}

fn remove_name(path: &Path) -> Result<(), Error> {
    std::fs::remove_file(path).map_err(|error| disk("remove", path, error))
}

fn naming_error(error: io::Error, destination: &Path) -> Error {
    match errno(&error) {
        Some(Errno::EXIST) => exists(destination),
        Some(Errno::ISDIR) => Error::DestinationRefused { path: destination.display().to_string(), what: "a folder" },
        _ => disk("rename the part to", destination, error),
    }
}

fn exists(destination: &Path) -> Error {
    Error::DestinationExists { path: destination.display().to_string() }
}
