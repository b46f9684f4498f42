//! Calls of the host that are made in several places, with their errors boxed.
//!
//! An [`Error`](crate::Error) is large. Each place that awaits the host's own future has code to move the error and to box it; here
//! that code exists once per call.

use crate::error::Failed;
use crate::host::Host;
use crate::job::PartOf;
use crate::ledger::Ledger;
use crate::record::{DownloadId, Row};
use crate::store::{OpenPart, Part, PartStore};

/// [`Ledger::row`].
pub(crate) async fn row<H: Host>(host: &H, id: DownloadId) -> Result<Row, Failed> {
    Ok(host.ledger().row(id).await?)
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
