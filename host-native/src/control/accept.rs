//! From what is wanted to a row: what is there already, and what that means under `onExists`.
//!
//! Decides for everyone who asks for a download: `get`, the API and stubs.

use crate::host::NativeHost;
use crate::ledger::{NativeLedger, is_as_left, is_delivered};
use crate::store::{FileStamp, look_at, part_path, sha256_of};
use regrip_core::engine::Accepted;
use regrip_core::record::{NewDownload, Row};
use regrip_core::store::{Found, PartStore};
use regrip_core::{Engine, Error, OnExists, Source, Status};
use std::path::{Path, PathBuf};

/// A file that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where its bytes come from.
    pub source: Source,
    /// Names of the headers that its requests need and the ledger does not keep.
    pub header_names: Vec<String>,
    /// Absolute, its folder canonical: see [`destination`](crate::store::destination).
    pub destination: PathBuf,
    /// Size by the release's metadata.
    pub release_size: Option<u64>,
    /// The digest it must have, lower-case hex.
    pub sha256: Option<String>,
    /// What to do where the destination exists.
    pub on_exists: OnExists,
    /// Take up a part that no row claims.
    pub adopt: bool,
}

/// What it led to.
#[derive(Debug)]
pub enum Outcome {
    /// A row to drive, and the file it will be.
    Drive(Accepted, PathBuf),
    /// The file is there, whole and unchanged, from an earlier run.
    Done(Box<Row>),
}

/// A candidate for a destination.
enum Place {
    /// Finished before, and as it was left.
    Done(Box<Row>),
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
pub async fn accept<L: NativeLedger>(
    engine: &Engine<NativeHost<L>>,
    wanted: &Wanted,
) -> Result<Outcome, Error> {
    let ledger = &engine.host().ledger;
    let store = &engine.host().store;
    for destination in candidates(&wanted.destination, wanted.on_exists) {
        store.own().check(&destination)?;
        store.own().check(&part_path(&destination))?;
        match place(engine, &destination, wanted).await? {
            Place::Done(row) => return Ok(Outcome::Done(row)),
            Place::Taken(_) if wanted.on_exists == OnExists::Rename => continue,
            Place::Taken(stamp) => {
                let may_be_replaced = wanted.on_exists == OnExists::Overwrite
                    && (!store.replaces_delivered_only()
                        || is_delivered(ledger, &destination, stamp).await?);
                if !may_be_replaced {
                    return Err(Error::DestinationExists {
                        path: text(&destination),
                    });
                }
            }
            Place::Ours => {}
        }
        let new = new_download(wanted, &destination);
        match engine.accept(new).await {
            // Another source has that name for its own.
            Err(Error::DestinationBusy { .. }) if wanted.on_exists == OnExists::Rename => {}
            accepted => return Ok(Outcome::Drive(accepted?, destination)),
        }
    }
    Err(Error::DestinationExists {
        path: text(&wanted.destination),
    })
}

/// The destination itself, and under `rename` `film.1.mkv`, `film.2.mkv` and so on.
fn candidates(destination: &Path, on_exists: OnExists) -> impl Iterator<Item = PathBuf> {
    let others = if on_exists == OnExists::Rename {
        9_999
    } else {
        0
    };
    let stem = destination.file_stem().unwrap_or_default().to_owned();
    let extension = destination.extension().map(std::ffi::OsStr::to_owned);
    let destination = destination.to_owned();
    (0..=others).map(move |number| {
        if number == 0 {
            return destination.clone();
        }
        let mut name = stem.clone();
        name.push(format!(".{number}"));
        if let Some(extension) = &extension {
            name.push(".");
            name.push(extension);
        }
        destination.with_file_name(name)
    })
}

async fn place<L: NativeLedger>(
    engine: &Engine<NativeHost<L>>,
    destination: &Path,
    wanted: &Wanted,
) -> Result<Place, Error> {
    let ledger = &engine.host().ledger;
    let Some(stamp) = look_at(destination)? else {
        return Ok(Place::Ours);
    };
    let rows = ledger.rows_for(&text(destination)).await?;
    let newest = rows
        .first()
        .filter(|row| row.new.source.is_same(&wanted.source));
    match newest {
        Some(row) if !row.status.is_finished() => Ok(Place::Ours),
        Some(row) if matches!(row.status, Status::Completed | Status::ImportQueued) => {
            let unchanged = is_unchanged(ledger, row, destination, stamp, wanted).await?;
            Ok(if unchanged {
                Place::Done(Box::new(row.clone()))
            } else {
                Place::Taken(stamp)
            })
        }
        // It ended after its file got its name, and could not say so.
        Some(row) if is_its_file(engine, row).await? => Ok(Place::Ours),
        Some(_) | None => Ok(Place::Taken(stamp)),
    }
}

/// Whether the destination is the file that the row was giving its name to when it ended.
async fn is_its_file<L: NativeLedger>(
    engine: &Engine<NativeHost<L>>,
    row: &Row,
) -> Result<bool, Error> {
    let Some(committing) = &row.committing else {
        return Ok(false);
    };
    let (part, destination) = (&row.new.part, &row.new.destination);
    let found = engine.host().store.find(part, destination, committing);
    Ok(found.await? == Found::Destination)
}

/// Whether the file is still the one the row completed, and the one that is wanted now.
async fn is_unchanged(
    ledger: &impl NativeLedger,
    row: &Row,
    destination: &Path,
    stamp: FileStamp,
    wanted: &Wanted,
) -> Result<bool, Error> {
    let recorded = ledger.entry(row.id).await?.completed_stamp();
    if !is_as_left(ledger, row, recorded, stamp).await? {
        return Ok(false);
    }
    let right = match &wanted.sha256 {
        None => true,
        Some(digest) if row.sha256_got.is_some() => row.sha256_got.as_ref() == Some(digest),
        Some(digest) => sha256_of(destination)? == *digest,
    };
    if right && recorded.is_none() {
        ledger.stamp(row.id, stamp).await?;
    }
    Ok(right)
}

fn new_download(wanted: &Wanted, destination: &Path) -> NewDownload {
    NewDownload {
        source: wanted.source.clone(),
        header_names: wanted.header_names.clone(),
        destination: text(destination),
        part: text(&part_path(destination)),
        on_exists: wanted.on_exists,
        release_size: wanted.release_size,
        sha256: wanted.sha256.clone(),
        adopt: wanted.adopt,
    }
}

/// Folders were found to be UTF-8, and names came as UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
