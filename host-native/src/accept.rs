//! Accepts a download: finds or creates its row, and applies `onExists` to an existing file.
//!
//! Used by `get`, the API and stubs.

use crate::host::NativeHost;
use crate::ledger::{FileLedger, is_as_left, is_delivered};
use crate::store::{FileStamp, NAME_BYTES, checksum_of, is_object, look_at, part_path};
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::record::{DigestRow, NewDownload, Row};
use regrip_core::store::{Found, PartStore};
use regrip_core::{Engine, Error, OnExists, Source};
use std::path::{Path, PathBuf};

/// A file that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Where its bytes come from.
    pub source: Source,
    /// Other URLs of the same file, without userinfo.
    pub mirrors: Vec<String>,
    /// Names of the headers that its requests need and the ledger does not keep.
    pub header_names: Vec<String>,
    /// Absolute, its folder canonical: see [`destination`](crate::store::destination).
    pub destination: PathBuf,
    /// Size by the release's metadata.
    pub release_size: Option<u64>,
    /// The digests that the file must have.
    pub digests: Vec<DigestRow>,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// Resume a part that no row claims.
    pub adopt: bool,
    /// Download it also if the file is there, complete and unchanged, from an earlier run.
    pub again: bool,
    /// Which other URL an unfinished download for the destination may go on from. Not under `rename`: there another URL is
    /// another file, and gets a name of its own.
    pub new_url: NewUrl,
}

/// An accepted download.
#[derive(Debug)]
pub(crate) enum Acceptance {
    /// A row to drive, and the file it will be.
    Drive(Accepted, PathBuf),
    /// The file exists, complete and unchanged, from an earlier run.
    Done(Box<Row>),
}

/// A candidate for a destination.
enum Candidate {
    /// Finished before, and as it was left.
    Done(Box<Row>, FileStamp),
    /// Free, or ours from an earlier run.
    Ours,
    /// A file is there.
    Taken(FileStamp),
}

/// Finds or makes the row of what is wanted.
///
/// # Errors
/// `DestinationExists`, `DestinationRefused`, `DestinationBusy`, `CredentialsMissing`, `Disk`, `Ledger`; nothing was written
/// then.
pub(crate) async fn accept<L: FileLedger>(
    engine: &Engine<NativeHost<L>>,
    wanted: &Wanted,
) -> Result<Acceptance, Error> {
    let ledger = &engine.host().ledger;
    let store = &engine.host().store;
    let mut candidates = candidates(&wanted.destination, wanted.on_exists).peekable();
    while let Some(destination) = candidates.peek().cloned() {
        let looked = async {
            // What is at the part is looked at before it is opened.
            store.own().check_absent(&part_path(&destination))?;
            store.own().check_absent(&destination)?;
            place(engine, &destination, wanted).await
        };
        let candidate = match looked.await {
            // A link, a folder or a device has the name.
            Err(Error::DestinationRefused { .. }) if wanted.on_exists == OnExists::Rename => {
                candidates.next();
                continue;
            }
            candidate => candidate?,
        };
        let is_free = matches!(candidate, Candidate::Ours);
        if !is_free {
            store.own().check(&destination)?;
        }
        match candidate {
            Candidate::Done(row, _) if !wanted.again => return Ok(Acceptance::Done(row)),
            Candidate::Done(..) | Candidate::Taken(_) if wanted.on_exists == OnExists::Rename => {
                candidates.next();
                continue;
            }
            Candidate::Done(_, stamp) | Candidate::Taken(stamp) => {
                let may_be_replaced = wanted.on_exists == OnExists::Overwrite
                    && (!store.replaces_delivered_only() || is_delivered(ledger, &destination, stamp).await?);
                if !may_be_replaced {
                    return Err(Error::DestinationExists { path: text(&destination) });
                }
            }
            Candidate::Ours => {}
        }
        let new = new_download(wanted, &destination);
        let new_url = match wanted.on_exists {
            OnExists::Rename => NewUrl::Refused,
            OnExists::Overwrite | OnExists::Fail => wanted.new_url,
        };
        match engine.accept_with(new, new_url).await {
            // Another source has that name for its own.
            Err(Error::DestinationBusy { .. } | Error::DestinationRefused { .. })
                if wanted.on_exists == OnExists::Rename =>
            {
                candidates.next();
            }
            // Another download, perhaps of the same file, was completed since it was looked at: look again.
            Ok(accepted)
                if is_free
                    && !accepted.known
                    && (!accepted.is_first || wanted.on_exists == OnExists::Rename)
                    && store.look_at(&destination).await?.is_some() =>
            {
                engine.remove(accepted.id).await?;
            }
            accepted => return Ok(Acceptance::Drive(accepted?, destination)),
        }
    }
    Err(Error::DestinationExists { path: text(&wanted.destination) })
}

/// The stamp of a file at the destination that no completed download left there, and a row for it, which no ledger has.
///
/// # Errors
/// `DestinationRefused`, `Disk`, `Ledger`.
pub(crate) async fn foreign_file<L: FileLedger>(
    engine: &Engine<NativeHost<L>>,
    wanted: &Wanted,
) -> Result<Option<(FileStamp, Box<Row>)>, Error> {
    Ok(match place(engine, &wanted.destination, wanted).await? {
        Candidate::Taken(stamp) => {
            let new = new_download(wanted, &wanted.destination);
            Some((stamp, Box::new(Row { downloaded: stamp.size, ..Row::new(0, new) })))
        }
        Candidate::Done(..) | Candidate::Ours => None,
    })
}

/// The destination itself, and under `rename` `film.1.mkv`, `film.2.mkv` and so on.
pub(crate) fn candidates(destination: &Path, on_exists: OnExists) -> impl Iterator<Item = PathBuf> {
    let others = if on_exists == OnExists::Rename { 9_999 } else { 0 };
    let stem = text(destination.file_stem().unwrap_or_default().as_ref());
    let extension = destination.extension().map(|ending| text(ending.as_ref()));
    let destination = destination.to_owned();
    (0..=others).map(move |number| {
        if number == 0 {
            return destination.clone();
        }
        let ending = match &extension {
            Some(extension) => format!(".{number}.{extension}"),
            None => format!(".{number}"),
        };
        let room = NAME_BYTES.saturating_sub(ending.len());
        let stem = start_of(&stem, room);
        destination.with_file_name(format!("{stem}{ending}"))
    })
}

/// At most `bytes` of a text, cut between characters.
fn start_of(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

async fn place<L: FileLedger>(
    engine: &Engine<NativeHost<L>>,
    destination: &Path,
    wanted: &Wanted,
) -> Result<Candidate, Error> {
    let ledger = &engine.host().ledger;
    let Some(stamp) = engine.host().store.look_at(destination).await? else {
        return Ok(Candidate::Ours);
    };
    let rows = ledger.rows_for(&text(destination)).await?;
    let newest = rows.first().filter(|row| row.new.is_same(&wanted.source, &wanted.mirrors));
    match newest {
        Some(row) if !row.status.is_finished() => Ok(Candidate::Ours),
        Some(row) if row.status.is_complete() => {
            let unchanged = is_unchanged(ledger, row, destination, stamp, wanted).await?;
            Ok(if unchanged { Candidate::Done(Box::new(row.clone()), stamp) } else { Candidate::Taken(stamp) })
        }
        // It ended after its file got its name, and could not say so.
        Some(row) if is_its_file(engine, row).await? => Ok(Candidate::Ours),
        Some(_) | None => Ok(Candidate::Taken(stamp)),
    }
}

/// Returns `true` if a destination is the file that was completed from this URL, unchanged since.
///
/// # Errors
/// `Disk`, `Ledger`.
pub(crate) async fn is_complete(ledger: &impl FileLedger, url: &str, destination: &Path) -> Result<bool, Error> {
    let rows = ledger.rows_for(&text(destination)).await?;
    let is_done = |row: &&Row| row.status.is_complete() && row.new.source.url() == url;
    match (rows.first().filter(is_done), look_at(destination)?) {
        (Some(row), Some(stamp)) => is_as_left(ledger, row, ledger.completion(row.id).await?.0, stamp).await,
        _ => Ok(false),
    }
}

/// Returns `true` if the destination is the file whose commit was interrupted.
async fn is_its_file<L: FileLedger>(engine: &Engine<NativeHost<L>>, row: &Row) -> Result<bool, Error> {
    let Some(committing) = &row.committing else {
        return Ok(false);
    };
    let (part, destination) = (&row.new.part, &row.new.destination);
    let found = engine.host().store.find(part, destination, committing);
    Ok(found.await? == Found::Destination)
}

/// Returns `true` if the file is still the one the row completed, and has the digests wanted now.
async fn is_unchanged(
    ledger: &impl FileLedger,
    row: &Row,
    destination: &Path,
    stamp: FileStamp,
    wanted: &Wanted,
) -> Result<bool, Error> {
    let recorded = ledger.completion(row.id).await?.0;
    if !is_as_left(ledger, row, recorded, stamp).await? {
        return Ok(false);
    }
    let mut right = true;
    for checksum in wanted.digests.iter().filter_map(DigestRow::checksum) {
        right &= match row.got(checksum.algorithm) {
            Some(got) => got == checksum.hex,
            None if is_object(destination) => false, // it cannot be read
            None => checksum_of(destination, checksum.algorithm)? == checksum,
        };
    }
    if right && recorded.is_none() {
        ledger.note_stamp(row.id, stamp).await?;
    }
    Ok(right)
}

/// The row of what is wanted.
pub(crate) fn new_download(wanted: &Wanted, destination: &Path) -> NewDownload {
    NewDownload {
        source: wanted.source.clone(),
        mirrors: wanted.mirrors.clone(),
        header_names: wanted.header_names.clone(),
        destination: text(destination),
        part: text(&part_path(destination)),
        on_exists: wanted.on_exists,
        release_size: wanted.release_size,
        digests: wanted.digests.clone(),
        adopt: wanted.adopt,
    }
}

/// Folders and names are UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_before_their_extension_and_stay_within_255_bytes() {
        let long = format!("{}.mkv", "\u{e9}".repeat(125));
        let table = [
            ("0.jpg", "0.1.jpg"),
            ("film", "film.1"),
            (".hidden", ".hidden.1"),
            ("a.b.", "a.b.1."),
            (&long, &format!("{}.1.mkv", "\u{e9}".repeat(124))),
        ];
        for (name, numbered) in table {
            let folder = Path::new("/films");
            let file = folder.join(name);
            let mut names = candidates(&file, OnExists::Rename);
            assert_eq!(names.next(), Some(file.clone()));
            assert_eq!(names.next(), Some(folder.join(numbered)));
            let names = candidates(&file, OnExists::Fail);
            assert_eq!(names.count(), 1);
        }
    }
}
