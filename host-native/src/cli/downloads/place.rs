//! Where downloads are kept, as the commands see it.

use crate::ledger::{AttemptLine, Download};
use regrip_core::{DownloadId, Error, Status};

/// Downloads that can be asked about and changed.
pub(super) trait Downloads {
    /// All of them, or those of one status; the newest change first.
    async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, Error>;

    /// One of them with its attempts.
    async fn show(&self, id: DownloadId) -> Result<Shown, Error>;

    /// Calls it off, and waits a while for whoever is at it to let go.
    async fn cancel(&self, id: DownloadId) -> Result<CalledOff, Error>;

    /// Deletes it with its part. Returns it as it was.
    async fn remove(&self, id: DownloadId) -> Result<Download, Error>;
}

/// A download with its attempts.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) download: Download,
    pub(super) attempts: Vec<AttemptLine>,
    /// The process that is writing its part now.
    pub(super) writer: Option<u32>,
}

/// A download that was cancelled.
#[derive(Debug)]
pub(super) struct CalledOff {
    /// Bytes in its part.
    pub(super) kept_bytes: u64,
    /// The process that is still writing its part.
    pub(super) writer: Option<u32>,
}
