//! What a ledger offers to the native host beside the core's [`SendLedger`]: the tables of `serve` and of a share.

use super::catalogue::Catalogue;
use crate::store::{FileStamp, FileVersion};
use crate::time::DurationCounts;
use futures::future::BoxFuture;
use regrip_core::record::NewDownload;
use regrip_core::send_ledger::SendLedger;
use regrip_core::{DownloadId, Error, Row};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

/// The tables of `serve`.
pub trait ServeTables {
    /// Records a download's stub and its release as the peer sent it.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    fn note_release(
        &self,
        id: DownloadId,
        stub_name: Option<String>,
        release_json: Option<String>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The origins of these downloads, in any order; removed downloads are left out.
    ///
    /// # Errors
    /// `Ledger`.
    fn origins(&self, ids: Vec<DownloadId>) -> impl Future<Output = Result<Vec<DownloadOrigin>, Error>> + Send;

    /// The origins of completed downloads whose import has not ended: those after `after`, by id, at most `limit`.
    ///
    /// # Errors
    /// `Ledger`.
    fn to_import(
        &self,
        after: DownloadId,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<DownloadOrigin>, Error>> + Send;

    /// Stubs of completed downloads that could not be removed yet.
    ///
    /// # Errors
    /// `Ledger`.
    fn left_stubs(&self) -> impl Future<Output = Result<Vec<LeftStub>, Error>> + Send;

    /// Notes a stub that could not be removed.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn note_left_stub(&self, stub: LeftStub) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets a left stub that is gone.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn forget_left_stub(&self, stub_name: String) -> impl Future<Output = Result<(), Error>> + Send;

    /// The imports of a download, in the order they were recorded; none if none has begun.
    ///
    /// # Errors
    /// `Ledger`.
    fn imports(&self, id: DownloadId) -> impl Future<Output = Result<Vec<Import>, Error>> + Send;

    /// Replaces the imports of a completed download and the line that is shown of them. If a server accepted it, the
    /// download is `import_queued` from then on.
    ///
    /// # Errors
    /// `WrongState` if it is not completed, `NoSuchDownload`, `Ledger`, `DiskFull`.
    fn record_imports(
        &self,
        id: DownloadId,
        imports: Vec<Import>,
        shown: String,
        at: SystemTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Records that a server imported a completed download, and the line that is shown of it.
    ///
    /// # Errors
    /// As [`record_imports`](Self::record_imports).
    fn record_imported(
        &self,
        id: DownloadId,
        shown: String,
        at: SystemTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The records of the download client's API.
    ///
    /// # Errors
    /// `Ledger`.
    fn client_records(&self) -> impl Future<Output = Result<Vec<ClientRecord>, Error>> + Send;

    /// Writes a record in place of the one of its kind and key, or removes that.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn put_client_record(&self, record: ClientRecord) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes or removes a record if it is still `before`. Returns `false` if another process was first: it cannot be if this one has
    /// the ledger to itself.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn replace_client_record(
        &self,
        record: ClientRecord,
        before: String,
    ) -> impl Future<Output = Result<bool, Error>> + Send
    where
        Self: Sync,
    {
        drop(before);
        let put = self.put_client_record(record);
        async move { put.await.map(|()| true) }
    }
}

/// A record of the download client's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// `torrent` or `category`.
    pub kind: String,
    /// The torrent's hash or the category's name.
    pub key: String,
    /// JSON; `None` removes the record.
    pub record: Option<String>,
}

/// The origin of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadOrigin {
    /// The download.
    pub id: DownloadId,
    /// The peer, by the digest of its URL; `None` for a plain URL.
    pub peer_id: Option<String>,
    /// The item, as the peer names it.
    pub item_id: Option<String>,
    /// Its stub, if one was recorded.
    pub stub_name: Option<String>,
}

/// A stub that is left in the watch folder although its download is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftStub {
    /// The stub's name in the watch folder.
    pub stub_name: String,
    /// The peer that it names.
    pub peer_id: String,
    /// The item that it names.
    pub item_id: String,
}

/// The import of a completed download by one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The server's name in the configuration, any text.
    pub server: String,
    /// Its state.
    pub state: ImportState,
    /// Commands sent to the server.
    pub tries: u32,
    /// The time of the next command, while a pending import waits for it.
    pub next_try: Option<SystemTime>,
    /// Why the last command failed.
    pub error: Option<String>,
}

impl Import {
    /// An import whose server has not been sent a command.
    pub fn new(server: &str) -> Import {
        Import { server: server.to_owned(), state: ImportState::Pending, tries: 0, next_try: None, error: None }
    }
}

/// The state of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// No command has been accepted yet, and another one follows.
    Pending,
    /// The server accepted the command.
    Accepted,
    /// No command follows.
    Failed,
}

impl ImportState {
    /// All of them.
    pub const ALL: [ImportState; 3] = [ImportState::Pending, ImportState::Accepted, ImportState::Failed];

    /// As the ledger spells it.
    pub fn name(self) -> &'static str {
        match self {
            ImportState::Pending => "pending",
            ImportState::Accepted => "accepted",
            ImportState::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<ImportState> {
        ImportState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A ledger of the native host. Clones are handles on the same ledger.
pub trait NativeLedger:
    SendLedger + Catalogue + ServeTables + SharedDigests + PeerKeys + Clone + Send + Sync + 'static
{
    /// Records the finished file's size and time, by which it is known to be unchanged later.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    fn stamp(&self, id: DownloadId, stamp: FileStamp) -> impl Future<Output = Result<(), Error>> + Send;

    /// The rows of a URL whose destination is below a folder, newest first.
    ///
    /// # Errors
    /// `Ledger`.
    fn rows_of_url(&self, url: &str, folder: &Path) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// What the ledger offers to workers that share its downloads, if it can be shared so.
    fn fleet(&self) -> Option<&dyn Fleet> {
        None
    }

    /// Closes the attempts that killed processes left open, as `lost`, and returns how many. For a process that has the
    /// ledger to itself: another one's attempts look the same.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn close_open_attempts(&self) -> impl Future<Output = Result<usize, Error>> + Send;

    /// The record of uploads to object storage.
    #[cfg(feature = "fleet")]
    fn uploads(&self) -> std::sync::Arc<dyn crate::store::UploadLedger>;
}

/// Workers that share the downloads of a ledger: any of them drives any download, one at a time. It can be made into an object.
pub trait Fleet: fmt::Debug + Send + Sync {
    /// Claims downloads that nobody drives, the oldest of each origin first. Of many origins it looks at some, and at others next time.
    ///
    /// # Errors
    /// `Ledger`.
    fn claim_next<'a>(&'a self, owner: &'a str, limits: ClaimLimits) -> BoxFuture<'a, Result<Vec<DownloadId>, Error>>;

    /// Waits until there may be more to claim: something was announced.
    fn announced(&self) -> BoxFuture<'_, ()>;

    /// Says that a worker is there. One that has not said so for longer than a lease is taken to be lost.
    ///
    /// # Errors
    /// `Ledger`.
    fn report(&self, worker: WorkerReport) -> BoxFuture<'_, Result<(), Error>>;

    /// Forgets a worker that has ended.
    ///
    /// # Errors
    /// `Ledger`.
    fn sign_off<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// How long requests to the database took that were answered.
    fn answered(&self) -> DurationCounts;

    /// All workers, by name, with what they drive.
    ///
    /// # Errors
    /// `Ledger`.
    fn workers(&self) -> BoxFuture<'_, Result<Vec<FleetWorker>, Error>>;
}

/// How many downloads a worker claims at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimits {
    /// At most.
    pub most: u32,
    /// Of one origin, in the whole fleet.
    pub of_origin: u32,
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Its name in claims.
    pub id: String,
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Where its API is.
    pub address: String,
    /// Downloads that it drives at once.
    pub permits: u32,
    /// It takes no more.
    pub draining: bool,
    /// Why it takes none until that is over.
    pub trouble: Option<String>,
}

/// A worker as the others see it. Times are RFC 3339 in UTC, by the database's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetWorker {
    /// Its name in claims, and in the field `worker` of downloads.
    pub id: String,
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Where its API is.
    pub address: String,
    /// The running version.
    pub version: String,
    /// `working`, `waiting`, `draining` or `lost`.
    pub state: &'static str,
    /// Why it takes no downloads for now.
    pub trouble: Option<String>,
    /// Downloads that it drives at once.
    pub permits: u32,
    /// Its start.
    pub started_at: String,
    /// When it last said that it is there.
    pub seen_at: String,
    /// What it drives, oldest first: at most a hundred.
    pub leases: Vec<DownloadLease>,
    /// How many there are.
    pub leases_count: u64,
}

/// A download that a worker has claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DownloadLease {
    /// The download.
    pub id: DownloadId,
    /// The file's name.
    pub filename: String,
    /// When it was claimed.
    pub claimed_at: String,
    /// The rest of the lease, in milliseconds; negative if it was not extended in time.
    pub ends_in_ms: i64,
}

/// The table of a share. It can be made into an object: a share needs nothing else of a ledger.
pub trait SharedDigests: fmt::Debug + Send + Sync {
    /// The SHA-256 noted for a shared file at `path`.
    ///
    /// # Errors
    /// `Ledger`.
    fn shared_digest(&self, path: Vec<u8>) -> BoxFuture<'_, Result<Option<SharedDigest>, Error>>;

    /// Notes the SHA-256 of a shared file, in place of what was noted for its path before.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn note_shared_digest(&self, path: Vec<u8>, digest: SharedDigest) -> BoxFuture<'_, Result<(), Error>>;
}

/// The keys that were issued to peers. It can be made into an object: a guard needs nothing else of a ledger.
pub trait PeerKeys: fmt::Debug + Send + Sync {
    /// All of them, the revoked ones too, in the order in which they were issued.
    ///
    /// # Errors
    /// `Ledger`.
    fn peer_keys(&self) -> BoxFuture<'_, Result<Vec<PeerKey>, Error>>;

    /// Adds a key. Returns it, or `None` if a key in force has its name.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn add_peer_key(&self, new: NewPeerKey) -> BoxFuture<'_, Result<Option<PeerKey>, Error>>;

    /// Revokes a key. Returns `false` if there is none of that id in force.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn revoke_peer_key(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<bool, Error>>;

    /// Notes that a key was used.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn note_peer_key_used(&self, id: i64, at: SystemTime) -> BoxFuture<'_, Result<(), Error>>;
}

/// A key to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPeerKey {
    /// Whose it is.
    pub name: String,
    /// Its SHA-256.
    pub hash: [u8; 32],
    /// When it was issued.
    pub created_at: SystemTime,
    /// From then on it opens nothing.
    pub expires_at: Option<SystemTime>,
}

/// A key that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerKey {
    /// Its number.
    pub id: i64,
    /// What it was issued as.
    pub new: NewPeerKey,
    /// When it last opened something, to a minute.
    pub last_used_at: Option<SystemTime>,
    /// When it was revoked.
    pub revoked_at: Option<SystemTime>,
}

impl PeerKey {
    /// Returns `true` if it opens something at that time.
    pub fn is_in_force(&self, at: SystemTime) -> bool {
        self.revoked_at.is_none() && self.new.expires_at.is_none_or(|end| at < end)
    }
}

/// A download that another program began, whose part this ledger does not know yet.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// What it is.
    pub new: NewDownload,
    /// What the peer said of it.
    pub release_json: String,
    /// The stub that asked for it.
    pub stub_name: String,
    /// Its record in the download client, by its key; the id of the download is put into it.
    pub client_record: Option<(String, serde_json::Value)>,
    /// When it began.
    pub created_at: SystemTime,
    /// It has failed, and with which error.
    pub failed: Option<String>,
    /// It is complete: its file, which is not imported yet.
    pub complete: Option<FileStamp>,
}

/// The digest of one version of a shared file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDigest {
    /// The version that was hashed.
    pub version: FileVersion,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// The strong ETag of these bytes: of this version, or of an earlier one that differed in ctime alone and had the same
    /// digest.
    pub etag: String,
}
