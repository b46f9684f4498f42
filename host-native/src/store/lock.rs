//! Opening a part so that nobody else writes it: no link followed, a regular file only, an exclusive lock (flock) on the
//! open file. A lock file beside the part is respected too, and replaces the flock on a file system that has none.
//!
//! Invariant: the file that was locked is the one that has the name. Between opening and locking another process may have
//! removed or renamed it, so the inode is looked at once more after locking, and if it differs all begins anew.
//!
//! Node has no flock: it creates a lock file and then looks for a flock in `/proc/locks`. Here the flock is first and the
//! look at the lock file second, so that of two that begin at once at least one sees the other.

use super::disk::{disk, errno, foreign};
use super::lock_file::{self, OwnLockFile};
use super::path::{System, no_flock};
use super::version::{FileId, is_absent, metadata};
use regrip_core::Error;
use regrip_core::store::OpenPart;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The open files of this process, each by a link.
const OPEN_FILES: &str = "/proc/self/fd";

/// How often a name may change hands under us before we give up.
const TRIES: u32 = 16;

/// How often the kernel's list of locks is read: an entry can be missed while others come and go.
#[cfg(any(target_os = "linux", target_os = "android"))]
const READS: u32 = 5;

/// An open part that is locked. Dropping it unlocks it, even if a process being forked at this moment still has the open
/// file.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) file: Arc<File>,
    pub(super) id: FileId,
    /// It has a name, by which others can open it.
    is_locked: bool,
    /// Removed when this is dropped.
    lock_file: Option<OwnLockFile>,
}

impl Locked {
    /// Returns `true` if the part is still ours: a flock cannot be lost, a lock file can.
    ///
    /// # Errors
    /// `PartLocked` if the lock file was removed or replaced.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        self.lock_file.as_mut().map_or(Ok(()), OwnLockFile::check)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.is_locked {
            let _ = self.file.unlock(); // closing it does the same, a little later
        }
    }
}

/// Opens and locks the part, creating it if `how` allows that.
pub(super) fn open(path: &Path, how: OpenPart, system: &System) -> Result<Locked, Error> {
    for _ in 0..TRIES {
        let Some((file, created)) = open_once(path, how)? else {
            continue;
        };
        let lock = lock(&file, path, system).inspect_err(|error| {
            // One that is locked is another writer's by now, however empty.
            if created && !matches!(error, Error::PartLocked { .. }) {
                remove_empty(&file, path);
            }
        });
        if let Some((id, lock_file)) = lock? {
            let file = Arc::new(file);
            return Ok(Locked { file, id, is_locked: true, lock_file });
        }
    }
    Err(changes_hands(path))
}

/// Opens a file without a name in the folder of `path`. Nobody else can open it, so it is not locked, and it goes with the
/// process. `None` if the file system has no such files, or no way to name one.
pub(super) fn open_unnamed(path: &Path) -> Option<(Locked, Metadata)> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut options = OpenOptions::new();
        let flags = OFlags::TMPFILE | OFlags::CLOEXEC;
        options.read(true).write(true).custom_flags(flags.bits().cast_signed());
        let file = options.open(super::path::folder_of(path)).ok()?;
        let metadata = file.metadata().ok()?;
        let id = FileId::from(&metadata);
        static NAMES: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| Path::new(OPEN_FILES).exists());
        let held = Locked { file: Arc::new(file), id, is_locked: false, lock_file: None };
        NAMES.then_some((held, metadata))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = path;
        None
    }
}

/// Gives a file without a name a free one.
pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    Ok(linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Gives a part without a name that name, and locks it.
pub(super) fn name(held: &mut Locked, path: &Path, system: &System) -> Result<(), Error> {
    lock_file::refuse_held(path)?;
    link(&held.file, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => foreign(path),
        _ => disk("create", path, error),
    })?;
    let (_, lock_file) = lock(&held.file, path, system)?.ok_or_else(|| changes_hands(path))?;
    held.lock_file = lock_file;
    held.is_locked = true;
    Ok(())
}

/// Opens and locks the part; `None` if there is none.
pub(super) fn open_existing(path: &Path, system: &System) -> Result<Option<Locked>, Error> {
    for _ in 0..TRIES {
        let Some(file) = existing(path)? else {
            return Ok(None);
        };
        if let Some((id, lock_file)) = lock(&file, path, system)? {
            let file = Arc::new(file);
            return Ok(Some(Locked { file, id, is_locked: true, lock_file }));
        }
    }
    Err(changes_hands(path))
}

/// Puts a copy of a part in its place. Its writer, which is stopped or cut off, goes on writing to a file without a name, and what
/// it does cannot reach the copy.
pub(super) fn replace_by_copy(path: &Path) -> Result<(), Error> {
    let fail = |error| disk("copy", path, error);
    let Some(mut from) = existing(path)? else {
        return Ok(());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A longer name than the part's may be too long.
    let name: String = name.chars().rev().take(100).collect::<Vec<_>>().into_iter().rev().collect();
    let beside = path.with_file_name(format!(".{:016x}.{name}", fastrand::u64(..)));
    let copied = options().create_new(true).open(&beside).and_then(|mut to| {
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        std::fs::rename(&beside, path)
    });
    copied.map_err(|error| {
        let _ = std::fs::remove_file(&beside); // the first error is reported
        fail(error)
    })
}

/// The process that is writing the part now, if the system knows. Does not lock: a process that is about to lock the part is
/// not disturbed.
pub fn writer(path: &Path) -> Option<u32> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    holder(FileId::from(&metadata)).or_else(|| lock_file::writer(path))
}

/// `None` if the name was given away just now.
fn open_once(path: &Path, how: OpenPart) -> Result<Option<(File, bool)>, Error> {
    if how != OpenPart::Create
        && let Some(file) = existing(path)?
    {
        return Ok(Some((file, false)));
    }
    lock_file::refuse_held(path)?; // before there is an empty part
    match options().create_new(true).open(path) {
        Ok(file) => Ok(Some((file, true))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match how {
            OpenPart::Create => Err(foreign(path)),
            OpenPart::Claimed | OpenPart::Adopt => Ok(None),
        },
        Err(error) => Err(disk("create", path, error)),
    }
}

fn existing(path: &Path) -> Result<Option<File>, Error> {
    // Opening a device can have effects, so its kind is looked at first, and again on the open file.
    match metadata(path)? {
        Some(metadata) if metadata.is_file() => {}
        Some(_) => return Err(foreign(path)),
        None => return Ok(None),
    }
    let file = match options().open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) if is_not_a_file(&error) => return Err(foreign(path)),
        Err(error) => return Err(disk("open", path, error)),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some(file)),
        Ok(_) => Err(foreign(path)),
        Err(error) => Err(disk("look at", path, error)),
    }
}

/// Mode 0666 less the umask. Not blocking, so that a fifo put there at the last moment cannot hold us.
fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits().cast_signed());
    options
}

fn is_not_a_file(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::LOOP | Errno::ISDIR | Errno::NXIO))
}

/// Locks the open file, and takes the lock file if there is one or no flock; `None` if the file no longer has the name.
fn lock(file: &File, path: &Path, system: &System) -> Result<Option<(FileId, Option<OwnLockFile>)>, Error> {
    let open = file.metadata();
    let id = FileId::from(&open.map_err(|error| disk("look at", path, error))?);
    let flocked = |pid| Error::PartLocked { path: path.display().to_string(), pid, lock_file: None };
    let lock_file = match (system.try_lock)(file) {
        // One that is stale is taken over, so that it does not stay behind.
        Ok(()) if lock_file::is_there(path) => Some(lock_file::take(path)?),
        Ok(()) => None,
        Err(TryLockError::WouldBlock) => return Err(flocked(holder(id))),
        Err(TryLockError::Error(error)) if no_flock(&error) => {
            let lock_file = lock_file::take(path)?;
            if let Some(pid) = holder(id) {
                return Err(flocked(Some(pid)));
            }
            Some(lock_file)
        }
        Err(TryLockError::Error(error)) => return Err(disk("lock", path, error)),
    };
    let named = metadata(path)?.filter(|named| FileId::from(named) == id);
    Ok(named.map(|_| (id, lock_file)))
}

/// Removes a part that was just created and could not be locked.
fn remove_empty(file: &File, path: &Path) {
    let same = |named: Metadata| {
        named.len() == 0 && file.metadata().is_ok_and(|open| FileId::from(&open) == FileId::from(&named))
    };
    if std::fs::symlink_metadata(path).is_ok_and(same) {
        let _ = std::fs::remove_file(path); // the first error is reported
    }
}

fn changes_hands(path: &Path) -> Error {
    disk("lock", path, io::Error::other("it keeps being replaced"))
}

/// The process that holds the lock, from `/proc/locks`; `None` for a process we cannot see.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn holder(id: FileId) -> Option<u32> {
    (0..READS).find_map(|_| holder_in(&std::fs::read_to_string("/proc/locks").ok()?, id))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn holder(_: FileId) -> Option<u32> {
    None
}

/// Lines like `7: FLOCK  ADVISORY  WRITE 4713 fe:00:10019323 0 EOF`; one of a waiter has `->` after the number.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn holder_in(locks: &str, id: FileId) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(id.device), rustix::fs::minor(id.device));
    let file = format!("{major:02x}:{minor:02x}:{}", id.inode);
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _advisory, _mode) = (words.next()?, words.next()?, words.next()?);
        let (pid, locked) = (words.next()?, words.next()?);
        (kind == "FLOCK" && locked == file).then(|| pid.parse().ok().filter(|&pid| pid > 0)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_with_our_device_and_inode_and_not_a_waiter() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:00:77 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 14 fe:00:77 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 0);
        let holder = |inode| holder_in(locks, FileId { device, inode });
        assert_eq!(holder(77), Some(13));
        assert_eq!(holder(78), None);
        assert_eq!(holder_in("4: FLOCK ADVISORY WRITE 0 fe:00:77 0 EOF", FileId { device, inode: 77 }), None);
        assert_eq!(holder_in("rubbish\n\n1:", FileId { device, inode: 77 }), None);
    }
}
