//! The ledger of the native host.

use super::database::{Database, Fault, Patience};
use super::entry::{self, Entry};
use super::file::OpenError;
use super::left_stubs::{self, LeftStub};
use super::origin::{self, Origin};
use super::queue::Queue;
use super::shared::SharedDigest;
use super::timeline::{self, AttemptLine};
use super::values::{integer, time};
use super::{change, rows, shared};
use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row, Status};
use rusqlite::{ToSql, Transaction};
use smol::Timer;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// How often changes by other processes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Downloads of one page at most.
const PAGE: u32 = 1000;

/// Remembers downloads in a SQLite file. A clone is another handle on the same thread; the last one to go waits until
/// everything asked for is written, and closes the file.
#[derive(Clone)]
pub struct SqliteLedger {
    queue: Arc<Queue>,
    /// The version that [`Ledger::changes`] last saw; none is negative.
    seen: Arc<AtomicI64>,
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteLedger")
    }
}

impl SqliteLedger {
    /// Opens the ledger at `path`, making the file (mode 0600) and its folder (0700) where they are missing, and upgrades
    /// an older one. Blocks: for the start of a program.
    ///
    /// # Errors
    /// [`OpenError`]; a file that is not a ledger, damaged or newer is left as it is.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        SqliteLedger::open_with(path, Patience::default())
    }

    /// [`open`](Self::open), with another patience towards other processes.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(path: &Path, patience: Patience) -> Result<Self, OpenError> {
        let queue = Queue::start(Database::open(path, patience)?, path);
        let queue = queue.map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(SqliteLedger {
            queue: Arc::new(queue),
            seen: Arc::new(AtomicI64::new(-1)),
        })
    }

    /// One download with all that is known about it.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    pub async fn entry(&self, id: DownloadId) -> Result<Entry, Error> {
        self.queue
            .show("reading a download", move |transaction| {
                entry::entry(transaction, id)
            })
            .await
    }

    /// Downloads by their last change, newest first: at most `limit` (and 1000), of these statuses or, where none is named,
    /// of all, from the one after `after` on.
    ///
    /// # Errors
    /// `NoSuchDownload` where `after` is gone, `Ledger`.
    pub async fn list(
        &self,
        statuses: &[Status],
        limit: u32,
        after: Option<DownloadId>,
    ) -> Result<Vec<Entry>, Error> {
        let statuses = statuses.to_vec();
        self.queue
            .show("listing downloads", move |transaction| {
                entry::list(transaction, &statuses, limit.min(PAGE), after)
            })
            .await
    }

    /// How many downloads there are of each status, those of which there are none left out.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        self.queue
            .show("counting downloads", |transaction| {
                entry::counts(transaction)
            })
            .await
    }

    /// All downloads by their last change, newest first, as they are at one moment; of one status or of all.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn all(&self, status: Option<Status>) -> Result<Vec<Entry>, Error> {
        self.queue
            .show("listing downloads", move |transaction| {
                entry::list(transaction, status.as_slice(), u32::MAX, None)
            })
            .await
    }

    /// A number that changes whenever another connection has written to the ledger.
    async fn version(&self) -> Result<i64, Error> {
        self.queue
            .read("looking for changes", |transaction| {
                Ok(transaction.pragma_query_value(None, "data_version", |row| row.get(0))?)
            })
            .await
    }

    /// The attempts of a download, first to last; none where there is no such download.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn timeline(&self, id: DownloadId) -> Result<Vec<AttemptLine>, Error> {
        self.queue
            .show("reading a timeline", move |transaction| {
                timeline::lines(transaction, id)
            })
            .await
    }

    /// Closes the attempts that killed processes left open, as `lost`, and returns how many. For a process that has the
    /// ledger to itself: another one's attempts look the same.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    pub async fn close_open_attempts(&self) -> Result<usize, Error> {
        self.write("closing attempts", |transaction| {
            timeline::close_open(transaction, None)
        })
        .await
    }

    /// Notes the finished file's size and time, by which it is known to be unchanged later.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    pub async fn stamp(&self, id: DownloadId, stamp: FileStamp) -> Result<(), Error> {
        self.write("noting a finished file", move |transaction| {
            let set =
                "UPDATE downloads SET completed_size = ?2, completed_mtime_ns = ?3 WHERE id = ?1";
            let params = (id, integer(stamp.size), stamp.mtime_ns);
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    /// The stamp noted for a download that stands completed.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    pub async fn completed_stamp(&self, id: DownloadId) -> Result<Option<FileStamp>, Error> {
        let entry = self.entry(id).await?;
        Ok(match entry.row.status {
            Status::Completed | Status::ImportQueued => entry.stamp,
            _ => None,
        })
    }

    /// Notes the stub a download came from and its release as the peer sent it.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    pub async fn note_release(
        &self,
        id: DownloadId,
        stub_name: Option<String>,
        release_json: Option<String>,
    ) -> Result<(), Error> {
        self.write("noting a release", move |transaction| {
            let set = "UPDATE downloads SET stub_name = ?2, release_json = ?3 WHERE id = ?1";
            let params: [&dyn ToSql; 3] = [&id, &stub_name, &release_json];
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    /// Notes how telling the servers about a completed download went; `accepted` by one at least makes it
    /// `import_queued`.
    ///
    /// # Errors
    /// `WrongState` where it is not completed, `NoSuchDownload`, `Ledger`, `DiskFull`.
    pub async fn note_import(
        &self,
        id: DownloadId,
        state: String,
        accepted: bool,
        at: SystemTime,
    ) -> Result<(), Error> {
        self.write("noting an import", move |transaction| {
            let status = rows::row(transaction, id)?.status;
            let after = match (status, accepted) {
                (Status::Completed, true) => Status::ImportQueued,
                (Status::Completed | Status::ImportQueued, _) => status,
                _ => return Err(Error::WrongState { id, status }.into()),
            };
            let set = "UPDATE downloads SET import_state = ?2, status = ?3, updated_at = ?4 WHERE id = ?1";
            let params = (id, &state, after.name(), time(at));
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    /// Where these downloads came from, in any order; those that are gone are left out.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn origins(&self, ids: Vec<DownloadId>) -> Result<Vec<Origin>, Error> {
        self.queue
            .read("reading downloads", move |transaction| {
                origin::of(transaction, &ids)
            })
            .await
    }

    /// Where completed downloads came from whose import has not come to its end: those after `after`, by id, `limit` at
    /// most.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn to_import(&self, after: DownloadId, limit: u32) -> Result<Vec<Origin>, Error> {
        self.queue
            .read("reading downloads", move |transaction| {
                origin::to_import(transaction, after, limit)
            })
            .await
    }

    /// Stubs of completed downloads that could not be removed yet.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn left_stubs(&self) -> Result<Vec<LeftStub>, Error> {
        self.queue
            .read("reading left stubs", |transaction| {
                left_stubs::all(transaction)
            })
            .await
    }

    /// Notes a stub that could not be removed.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    pub async fn note_left_stub(&self, stub: LeftStub) -> Result<(), Error> {
        self.write("noting a left stub", move |transaction| {
            left_stubs::add(transaction, &stub)
        })
        .await
    }

    /// Forgets a left stub that is gone.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    pub async fn forget_left_stub(&self, stub_name: String) -> Result<(), Error> {
        self.write("forgetting a left stub", move |transaction| {
            left_stubs::remove(transaction, &stub_name)
        })
        .await
    }

    /// The SHA-256 noted for a shared file at `path`.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn shared_digest(&self, path: Vec<u8>) -> Result<Option<SharedDigest>, Error> {
        self.queue
            .read("reading a digest", move |transaction| {
                shared::digest(transaction, &path)
            })
            .await
    }

    /// Notes the SHA-256 of a shared file, in place of what was noted for its path before.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    pub async fn note_shared_digest(
        &self,
        path: Vec<u8>,
        digest: SharedDigest,
    ) -> Result<(), Error> {
        self.write("noting a digest", move |transaction| {
            shared::note(transaction, &path, &digest)
        })
        .await
    }

    /// Whether what is written now takes so long that a person would not wait for it: another program keeps the database
    /// locked, or its disk hangs.
    pub fn is_stuck(&self) -> bool {
        self.queue.is_stuck()
    }

    /// Requests that wait for the ledger's thread now; never more than a fixed bound.
    pub fn waiting_requests(&self) -> usize {
        self.queue.waiting()
    }

    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        write: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue.write(what, write).await
    }

    async fn rows(&self, select: &'static str, params: Vec<String>) -> Result<Vec<Row>, Error> {
        self.queue
            .read("reading downloads", move |transaction| {
                rows::rows(transaction, select, rusqlite::params_from_iter(&params))
            })
            .await
    }
}

impl Ledger for SqliteLedger {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        let new = new.clone();
        self.write("adding a download", move |transaction| {
            rows::insert(transaction, &new, at)
        })
        .await
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.queue
            .read("reading a download", move |transaction| {
                rows::row(transaction, id)
            })
            .await
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let select = "SELECT * FROM downloads WHERE dest_path = ?1 ORDER BY id DESC";
        self.rows(select, vec![destination.to_owned()]).await
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        self.queue
            .read("reading downloads", |transaction| {
                origin::marks(transaction)
            })
            .await
    }

    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        let attempt = attempt.clone();
        self.write("beginning an attempt", move |transaction| {
            timeline::begin(transaction, id, &attempt)
        })
        .await
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        let change = change.clone();
        self.write("recording a change", move |transaction| {
            change::apply(transaction, id, &change, at)
        })
        .await
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.write("removing a download", move |transaction| {
            let delete = "DELETE FROM downloads WHERE id = ?1";
            one(id, transaction.prepare_cached(delete)?.execute([id])?)
        })
        .await
    }

    /// Looks for changes twice a second (`PRAGMA data_version`, which reads no row).
    async fn changes(&self) {
        loop {
            // A look that fails shows nothing; if the ledger is broken the drives report it.
            if let Ok(version) = self.version().await
                && self.seen.swap(version, Ordering::Relaxed) != version
            {
                return;
            }
            Timer::after(LOOK_EVERY).await;
        }
    }
}

/// Exactly that row must have been touched.
fn one(id: DownloadId, touched: usize) -> Result<(), Fault> {
    match touched {
        0 => Err(Error::NoSuchDownload(id).into()),
        _ => Ok(()),
    }
}
