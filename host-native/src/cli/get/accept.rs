//! From a target to a row: what is there already, and what that means under `--on-exists`.

use super::network::Network;
use super::target::Target;
use crate::host::NativeHost;
use crate::ledger::SqliteLedger;
use crate::store::{FileStamp, look_at, part_path, sha256_of};
use regrip_core::engine::Accepted;
use regrip_core::io::Ledger;
use regrip_core::record::{NewDownload, Row};
use regrip_core::{Engine, Error, OnExists, Source, Status};
use std::path::{Path, PathBuf};

/// What a target led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A row to drive, and the file it will be.
    Drive(Accepted, PathBuf),
    /// The file is there, whole and unchanged, from an earlier run.
    Done(Box<Row>),
}

/// How files are accepted.
#[derive(Debug)]
pub(crate) struct Terms {
    /// What requests carry.
    pub(crate) network: Network,
    /// `--on-exists`
    pub(crate) on_exists: OnExists,
    /// `--adopt-part`
    pub(crate) adopt: bool,
}

/// A candidate for a destination.
enum Place {
    /// Finished before, and as it was left.
    Done(Box<Row>),
    /// Free, or ours from an earlier run.
    Ours,
    /// A file is there.
    Taken,
}

/// Finds or makes the row of a target.
///
/// # Errors
/// `DestinationExists`, `DestinationRefused`, `DestinationBusy`, `CredentialsMissing`, `Disk`, `Ledger`; nothing was written
/// then.
pub(crate) async fn accept(
    engine: &Engine<NativeHost>,
    target: &Target,
    terms: &Terms,
) -> Result<Outcome, Error> {
    let ledger = &engine.host().ledger;
    for destination in candidates(&target.destination, terms.on_exists) {
        match place(ledger, &destination, target).await? {
            Place::Done(row) => return Ok(Outcome::Done(row)),
            Place::Taken if terms.on_exists == OnExists::Rename => continue,
            Place::Taken if terms.on_exists == OnExists::Fail => {
                return Err(Error::DestinationExists {
                    path: text(&destination),
                });
            }
            Place::Taken | Place::Ours => {}
        }
        let new = new_download(target, &destination, terms);
        match engine.accept(new).await {
            // Another source has that name for its own.
            Err(Error::DestinationBusy { .. }) if terms.on_exists == OnExists::Rename => {}
            accepted => return Ok(Outcome::Drive(accepted?, destination)),
        }
    }
    Err(Error::DestinationExists {
        path: text(&target.destination),
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

async fn place(ledger: &SqliteLedger, destination: &Path, target: &Target) -> Result<Place, Error> {
    let rows = ledger.rows_for(&text(destination)).await?;
    let url = target.url.as_str();
    let newest = rows.first().filter(|row| row.new.source.url() == url);
    let there = look_at(destination)?;
    let Some(stamp) = there else {
        return Ok(Place::Ours);
    };
    match newest {
        Some(row) if !row.status.is_finished() => Ok(Place::Ours),
        Some(row) if matches!(row.status, Status::Completed | Status::ImportQueued) => {
            let unchanged = is_unchanged(ledger, row, destination, stamp, target).await?;
            Ok(if unchanged {
                Place::Done(Box::new(row.clone()))
            } else {
                Place::Taken
            })
        }
        Some(_) | None => Ok(Place::Taken),
    }
}

/// Whether the file is still the one the row completed, and the one that is wanted now.
async fn is_unchanged(
    ledger: &SqliteLedger,
    row: &Row,
    destination: &Path,
    stamp: FileStamp,
    target: &Target,
) -> Result<bool, Error> {
    let recorded = ledger.completed_stamp(row.id).await?;
    let same_stamp = match recorded {
        Some(recorded) => recorded == stamp,
        // Killed between the commit and its stamp: the bytes themselves have to tell.
        None => stamp.size == row.downloaded && row.sha256_got.is_some(),
    };
    if !same_stamp {
        return Ok(false);
    }
    let wanted = match (&target.sha256, recorded) {
        (Some(wanted), Some(_)) if row.sha256_got.as_ref() == Some(wanted) => return Ok(true),
        (Some(wanted), _) => wanted,
        (None, Some(_)) => return Ok(true),
        (None, None) => row.sha256_got.as_ref().unwrap_or(&row.new.destination),
    };
    let got = sha256_of(destination)?;
    if got == *wanted && recorded.is_none() {
        ledger.stamp(row.id, stamp).await?;
    }
    Ok(got == *wanted)
}

fn new_download(target: &Target, destination: &Path, terms: &Terms) -> NewDownload {
    NewDownload {
        source: Source::Url {
            url: target.url.to_string(),
        },
        header_names: terms.network.header_names(target),
        destination: text(destination),
        part: text(&part_path(destination)),
        on_exists: terms.on_exists,
        release_size: None,
        sha256: target.sha256.clone(),
        adopt: terms.adopt,
    }
}

/// Folders were found to be UTF-8, and names came as UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
