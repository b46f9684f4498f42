//! Reading downloads: what lists, the API, the dashboard and metrics show, and which files are still as delivered.

use super::NativeLedger;
use crate::store::FileStamp;
use crate::time::rfc3339 as time;
use regrip_core::record::{DigestRow, DigestSource, DownloadId, Row, SizeSource, Source};
use regrip_core::send_ledger::SendLedger;
use regrip_core::{Algorithm, Error, OnExists, Status, display_url};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

/// Shows downloads, beside whatever is written.
pub trait Catalogue {
    /// One download with all that is known about it.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    fn entry(&self, id: DownloadId) -> impl Future<Output = Result<LedgerEntry, Error>> + Send;

    /// Downloads by their last change, newest first: at most `limit` (and 1000), of these statuses, or of
    /// all if none is named, starting after `after`.
    ///
    /// # Errors
    /// `NoSuchDownload` if `after` is gone, `Ledger`.
    fn list(
        &self,
        statuses: &[Status],
        limit: u32,
        after: Option<DownloadId>,
    ) -> impl Future<Output = Result<Vec<LedgerEntry>, Error>> + Send;

    /// All downloads by their last change, newest first, as they are at one moment; of one status or of all.
    ///
    /// # Errors
    /// `Ledger`.
    fn all(&self, status: Option<Status>) -> impl Future<Output = Result<Vec<LedgerEntry>, Error>> + Send;

    /// How many downloads there are of each status, those of which there are none left out.
    ///
    /// # Errors
    /// `Ledger`.
    fn counts(&self) -> impl Future<Output = Result<Vec<(Status, u64)>, Error>> + Send;

    /// The attempts of a download, first to last; none if there is no such download.
    ///
    /// # Errors
    /// `Ledger`.
    fn timeline(&self, id: DownloadId) -> impl Future<Output = Result<Vec<AttemptLine>, Error>> + Send;

    /// Returns `true` if the current write takes longer than a person would wait: another program keeps the
    /// database locked, or its disk hangs.
    fn is_stuck(&self) -> bool;

    /// Requests that wait for the ledger now; never more than a fixed bound.
    fn waiting_requests(&self) -> usize;
}

/// A download and what is known about it besides. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The row.
    pub row: Row,
    /// The file's name.
    pub filename: String,
    /// Its stub.
    pub stub_name: Option<String>,
    /// What is kept of the release that the peer sent; a list does not have it.
    pub release_json: Option<String>,
    /// How telling the servers about it went.
    pub import_state: Option<String>,
    /// The finished file's size and time, as they were noted.
    pub stamp: Option<FileStamp>,
    /// The worker that has claimed it, if workers share the ledger.
    pub worker: Option<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When its first attempt began.
    pub started_at: Option<String>,
    /// When anything of it changed last.
    pub updated_at: String,
    /// When it was completed.
    pub completed_at: Option<String>,
}

impl LedgerEntry {
    /// The finished file's size and time, if the download stands completed.
    pub fn completed_stamp(&self) -> Option<FileStamp> {
        match self.row.status {
            Status::Completed | Status::ImportQueued | Status::Imported => self.stamp,
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
    /// `transient` or `permanent`, if there was an error.
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

/// What may be shown of a download. Times are RFC 3339 in UTC; sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Its name.
    pub id: DownloadId,
    /// `url` or `peer`.
    pub kind: String,
    /// Where the bytes come from, without userinfo, query and fragment.
    pub url: String,
    /// Other sources of the file, as `url`.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// The peer, by the digest of its URL.
    pub peer_id: Option<String>,
    /// The peer, as configured.
    pub peer_name: Option<String>,
    /// The item, as the peer names it.
    pub item_id: Option<String>,
    /// Its stub.
    pub stub_name: Option<String>,
    /// The file's name.
    pub filename: String,
    /// Absolute path of the file when it is whole.
    pub dest_path: String,
    /// Absolute path of the part.
    pub part_path: String,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// Names of the headers that its requests need and that are not kept.
    pub header_names: Vec<String>,
    /// Size by the release's metadata.
    pub release_size: Option<u64>,
    /// Size of the file, if known.
    pub expected_bytes: Option<u64>,
    /// What said so.
    pub expected_bytes_source: Option<SizeSource>,
    /// The transfer's size is not the release's.
    pub expected_bytes_mismatch: bool,
    /// Bytes in the part, or in the finished file.
    pub downloaded_bytes: u64,
    /// Bytes known to be on the disk, whatever happens.
    pub durable_bytes: u64,
    /// As sent.
    pub etag: Option<String>,
    /// As sent, if it is strong.
    pub last_modified: Option<String>,
    /// The SHA-256 that the file must have.
    pub sha256_wanted: Option<String>,
    /// The SHA-256 of the completed file.
    pub sha256_got: Option<String>,
    /// All digests that the file must have or that were requested.
    #[serde(default)]
    pub digests: Vec<DownloadDigest>,
    /// Attempts over its life.
    pub attempts: u32,
    /// Restarts over its life.
    pub restarts: u32,
    /// Where it stands.
    pub status: Status,
    /// The end of the wait it is in.
    pub waiting_until: Option<String>,
    /// Why it waits.
    pub waiting_why: Option<String>,
    /// Why it failed: the error and its sources. Of a completed download, what failed after the file got its name.
    pub error: Option<String>,
    /// `transient` or `permanent`.
    pub error_class: Option<String>,
    /// The error's stable name.
    pub error_code: Option<String>,
    /// How telling the servers about it went.
    pub import_state: Option<String>,
    /// The worker that drives it, if several share the ledger.
    #[serde(default)]
    pub worker: Option<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When its first attempt began.
    pub started_at: Option<String>,
    /// When anything of it changed last.
    pub updated_at: String,
    /// When it was completed.
    pub completed_at: Option<String>,
}

/// A digest of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadDigest {
    /// The hash function.
    pub algorithm: Algorithm,
    /// Who stated or requested it.
    pub source: DigestSource,
    /// The expected value, in lower-case hex.
    pub wanted: Option<String>,
    /// The value of the completed file.
    pub got: Option<String>,
}

impl From<DigestRow> for DownloadDigest {
    fn from(row: DigestRow) -> Self {
        DownloadDigest { algorithm: row.algorithm, source: row.source, wanted: row.wanted, got: row.got }
    }
}

impl From<LedgerEntry> for Download {
    fn from(entry: LedgerEntry) -> Self {
        let kind = entry.kind().to_owned();
        let row = entry.row;
        let sha256_wanted = row.wanted(Algorithm::Sha256).map(str::to_owned);
        let sha256_got = row.got(Algorithm::Sha256).map(str::to_owned);
        let (peer_id, peer_name, item_id) = match &row.new.source {
            Source::Url { .. } => (None, None, None),
            Source::Peer { peer_id, peer_name, item_id, .. } => {
                (Some(peer_id.clone()), Some(peer_name.clone()), Some(item_id.clone()))
            }
        };
        let size = row.known_size();
        let of_sources = |digest: &DigestRow| digest.source == DigestSource::SeveralSources;
        let is_given = |digest: &DigestRow| {
            row.digests.iter().any(|other| !of_sources(other) && other.checksum() == digest.checksum())
        };
        let digests = row.digests.iter().filter(|digest| !of_sources(digest) || !is_given(digest));
        let digests = digests.cloned().map(DownloadDigest::from).collect();
        Download {
            id: row.id,
            kind,
            url: display_url(row.new.source.url()),
            mirrors: row.new.mirrors.iter().map(|mirror| display_url(mirror)).collect(),
            peer_id,
            peer_name,
            item_id,
            stub_name: entry.stub_name,
            filename: entry.filename,
            dest_path: row.new.destination,
            part_path: row.new.part,
            on_exists: row.new.on_exists,
            header_names: row.new.header_names,
            release_size: row.new.release_size,
            expected_bytes: size.map(|size| size.bytes),
            expected_bytes_source: size.map(|size| size.source),
            expected_bytes_mismatch: row.mismatch,
            downloaded_bytes: row.downloaded,
            durable_bytes: row.durable,
            etag: row.validators.etag,
            last_modified: row.validators.last_modified,
            sha256_wanted,
            sha256_got,
            digests,
            attempts: row.attempts,
            restarts: row.restarts,
            status: row.status,
            waiting_until: row.waiting.as_ref().map(|waiting| time(waiting.until)),
            waiting_why: row.waiting.map(|waiting| waiting.why),
            error: row.failure.as_ref().map(|failure| failure.text.clone()),
            error_class: row.failure.as_ref().map(|failure| failure.class.name().to_owned()),
            error_code: row.failure.map(|failure| failure.code.to_string()),
            import_state: entry.import_state,
            worker: entry.worker,
            created_at: entry.created_at,
            started_at: entry.started_at,
            updated_at: entry.updated_at,
            completed_at: entry.completed_at,
        }
    }
}

/// What accepting a download and replacing a file need of a ledger. A [`NativeLedger`] has it.
pub trait FileLedger: SendLedger + Clone + Send + Sync + 'static {
    /// The size and time of the finished file as they were noted, if the download stands completed, and when it was completed.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    fn completion(
        &self,
        id: DownloadId,
    ) -> impl Future<Output = Result<(Option<FileStamp>, Option<String>), Error>> + Send;

    /// As [`NativeLedger::stamp`].
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    fn note_stamp(&self, id: DownloadId, stamp: FileStamp) -> impl Future<Output = Result<(), Error>> + Send;
}

impl<L: NativeLedger> FileLedger for L {
    async fn completion(&self, id: DownloadId) -> Result<(Option<FileStamp>, Option<String>), Error> {
        let entry = self.entry(id).await?;
        Ok((entry.completed_stamp(), entry.completed_at))
    }
    async fn note_stamp(&self, id: DownloadId, stamp: FileStamp) -> Result<(), Error> {
        self.stamp(id, stamp).await
    }
}

/// Returns `true` if a download of this ledger delivered the file and nobody has changed it since.
///
/// # Errors
/// `Ledger`.
pub(crate) async fn is_delivered(
    ledger: &impl FileLedger,
    destination: &Path,
    stamp: FileStamp,
) -> Result<bool, Error> {
    for row in ledger.rows_for(&destination.to_string_lossy()).await? {
        let is_completed = row.status.is_complete();
        if is_completed {
            let (recorded, _) = ledger.completion(row.id).await?;
            if is_as_left(ledger, &row, recorded, stamp).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns `true` if nobody has written to the file since a row completed it. `recorded` is its stamp.
///
/// # Errors
/// `Ledger`.
pub(crate) async fn is_as_left(
    ledger: &impl FileLedger,
    row: &Row,
    recorded: Option<FileStamp>,
    stamp: FileStamp,
) -> Result<bool, Error> {
    match recorded {
        Some(recorded) => Ok(recorded == stamp),
        // Killed between the commit and its stamp: nobody wrote to it since, if it is older than the commit.
        None => {
            let (_, completed_at) = ledger.completion(row.id).await?;
            Ok(stamp.size == row.downloaded && is_older(stamp, completed_at.as_deref()))
        }
    }
}

/// Returns `true` if a file was last written before a moment in RFC 3339.
fn is_older(stamp: FileStamp, moment: Option<&str>) -> bool {
    let moment = moment.and_then(|moment| humantime::parse_rfc3339(moment).ok());
    let since_1970 = moment.and_then(|moment| moment.duration_since(SystemTime::UNIX_EPOCH).ok());
    // Times of rows are whole milliseconds, rounded down.
    since_1970.is_some_and(|moment| i128::from(stamp.mtime_ns) <= (moment.as_millis() as i128 + 1) * 1_000_000)
}
