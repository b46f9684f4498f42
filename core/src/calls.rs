//! Calls of the host that are made in several places, with their errors boxed.
//!
//! An [`Error`](crate::Error) is large. Each place that awaits the host's own future has code to move the error and to box it; here
//! that code exists once per call.

use crate::error::Failed;
use crate::host::{Host, PartOf};
use crate::ledger::Ledger;
use crate::record::{DownloadId, Row};
use crate::store::{OpenPart, Part, PartStore};

/// [`Ledger::row`].
pub(crate) async fn row<H: Host>(host: &H, id: DownloadId) -> Result<Row, Failed> {
    Ok(host.ledger().row(id).await?)
}

/// How the name of a part ends, after the name of its destination.
pub(crate) const PART: &str = ".part";

/// Returns `true` if a destination is, or will be, the part of another download, which would take the file for its own bytes.
pub(crate) async fn is_part_of_another<H: Host>(host: &H, destination: &str) -> Result<bool, Failed> {
    let Some(other) = destination.strip_suffix(PART) else {
        return Ok(false);
    };
    let rows = host.ledger().rows_for(other).await?;
    let has_part = |row: &Row| !row.status.is_complete() && (row.claimed || !row.status.is_finished());
    Ok(rows.iter().any(|row| row.new.part == destination && has_part(row)))
}

/// [`PartStore::open`].
pub(crate) async fn open<H: Host>(host: &H, part: &str, how: OpenPart) -> Result<PartOf<H>, Failed> {
    Ok(host.store().open(part, how).await?)
}

/// [`PartStore::exists`].
pub(crate) async fn exists<H: Host>(host: &H, part: &str) -> Result<bool, Failed> {
    Ok(host.store().exists(part).await?)
}

/// [`PartStore::remove`].
pub(crate) async fn remove<H: Host>(host: &H, part: &str) -> Result<(), Failed> {
    Ok(host.store().remove(part).await?)
}

/// [`Part::length`].
pub(crate) async fn length<P: Part>(part: &mut P) -> Result<u64, Failed> {
    Ok(part.length().await?)
}

/// [`Part::truncate`].
pub(crate) async fn truncate<P: Part>(part: &mut P, length: u64) -> Result<(), Failed> {
    Ok(part.truncate(length).await?)
}

/// [`Part::flush`].
pub(crate) async fn flush<P: Part>(part: &mut P) -> Result<u64, Failed> {
    Ok(part.flush().await?)
}
