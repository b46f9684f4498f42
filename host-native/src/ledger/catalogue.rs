//! Reading downloads: what lists, the API, the dashboard and metrics show.

use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::record::{DownloadId, Row, Source, Status};
use serde::{Deserialize, Serialize};

/// Shows downloads, beside whatever is written.
pub trait Catalogue {
    /// One download with all that is known about it.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    fn entry(&self, id: DownloadId) -> impl Future<Output = Result<Entry, Error>> + Send;

    /// Downloads by their last change, newest first: at most `limit` (and 1000), of these statuses or, where none is named,
    /// of all, from the one after `after` on.
    ///
    /// # Errors
    /// `NoSuchDownload` where `after` is gone, `Ledger`.
    fn list(
        &self,
        statuses: &[Status],
        limit: u32,
        after: Option<DownloadId>,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;

    /// All downloads by their last change, newest first, as they are at one moment; of one status or of all.
    ///
    /// # Errors
    /// `Ledger`.
    fn all(&self, status: Option<Status>)
    -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;

    /// How many downloads there are of each status, those of which there are none left out.
    ///
    /// # Errors
    /// `Ledger`.
    fn counts(&self) -> impl Future<Output = Result<Vec<(Status, u64)>, Error>> + Send;

    /// The attempts of a download, first to last; none where there is no such download.
    ///
    /// # Errors
    /// `Ledger`.
    fn timeline(
        &self,
        id: DownloadId,
    ) -> impl Future<Output = Result<Vec<AttemptLine>, Error>> + Send;

    /// Returns `true` if what is written now takes so long that a person would not wait for it: another program keeps the
    /// database locked, or its disk hangs.
    fn is_stuck(&self) -> bool;

    /// Requests that wait for the ledger now; never more than a fixed bound.
    fn waiting_requests(&self) -> usize;
}

/// A download and what is known about it besides. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The row.
    pub row: Row,
    /// The file's name.
    pub filename: String,
    /// The stub it came from.
    pub stub_name: Option<String>,
    /// What is kept of the release that the peer sent; a list does not have it.
    pub release_json: Option<String>,
    /// How telling the servers about it went.
    pub import_state: Option<String>,
    /// The finished file's size and time, as they were noted.
    pub stamp: Option<FileStamp>,
    /// When it was accepted.
    pub created_at: String,
    /// When its first attempt began.
    pub started_at: Option<String>,
    /// When anything of it changed last.
    pub updated_at: String,
    /// When it was completed.
    pub completed_at: Option<String>,
}

impl Entry {
    /// The finished file's size and time, if the download stands completed.
    pub fn completed_stamp(&self) -> Option<FileStamp> {
        match self.row.status {
            Status::Completed | Status::ImportQueued => self.stamp,
            _ => None,
        }
    }

    /// `url` or `peer`.
    pub fn kind(&self) -> &'static str {
        match self.row.new.source {
            Source::Url { .. } => "url",
            Source::Peer { .. } => "peer",
        }
    }
}

/// One attempt, as it was recorded. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLine {
    /// Its number over the row's life, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: String,
    /// When it ended; `None` while it is under way.
    pub ended_at: Option<String>,
    /// Offset at which it began.
    pub offset_from: u64,
    /// Offset it reached.
    pub offset_to: Option<u64>,
    /// `completed`, `failed`, `cancelled`, `interrupted`, or `lost`: its process was killed.
    pub outcome: Option<String>,
    /// `transient` or `permanent`, where something went wrong.
    pub class: Option<String>,
    /// The error's stable name.
    pub code: Option<String>,
    /// The error and its sources.
    pub error: Option<String>,
    /// The wait after it, in milliseconds.
    pub wait_ms: Option<u64>,
    /// `jitter` or `retry_after`.
    pub asked_by: Option<String>,
    /// Why bytes were discarded in it; several reasons are comma separated, in order.
    pub restart_reason: Option<String>,
    /// How many bytes that were.
    pub discarded_bytes: Option<u64>,
}
