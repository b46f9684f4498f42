//! A ledger in one SQLite file. Its other halves are in `serve` and `shared`.

use super::database::integer;
use super::database::{Database, Fault, Patience};
use super::file::{Holds, OpenError};
use super::queue::Queue;
use super::{catalogue, change, rows};
use crate::ledger::{AttemptLine, Catalogue, LedgerEntry, NativeLedger};
use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row, Status};
use regrip_core::send_ledger::SendLedger;
use rusqlite::Transaction;
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
    pub(super) queue: Arc<Queue>,
    holds: Holds,
    /// The version that [`SendLedger::changes`] last saw; none is negative.
    seen: Arc<AtomicI64>,
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteLedger")
    }
}

impl SqliteLedger {
    /// Opens the ledger at `path`, making the file (mode 0600) and its folder (0700) if they are missing, and upgrades
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
        let queue = queue.map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        Ok(SqliteLedger { queue: Arc::new(queue), holds: Holds::of(path), seen: Arc::new(AtomicI64::new(-1)) })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        write: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue.write(what, write).await
    }
}

impl SendLedger for SqliteLedger {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        let new = new.clone();
        let add = move |transaction: &Transaction<'_>| {
            rows::refuse_second(transaction, &new.destination)?;
            rows::insert(transaction, &new, at)
        };
        let id = self.write("adding a download", add).await?;
        self.holds.take(id);
        Ok(id)
    }

    async fn insert_new(&self, new: &[NewDownload], at: SystemTime) -> Result<Vec<Option<DownloadId>>, Error> {
        let new = new.to_vec();
        let add = move |transaction: &Transaction<'_>| {
            let mut known = transaction.prepare_cached("SELECT 1 FROM downloads WHERE dest_path = ?1")?;
            let add = |new: &NewDownload| match known.exists([&new.destination])? {
                true => Ok(None),
                false => rows::insert(transaction, new, at).map(Some),
            };
            new.iter().map(add).collect::<Result<Vec<_>, Fault>>()
        };
        let ids = self.write("adding downloads", add).await?;
        for id in ids.iter().flatten() {
            self.holds.take(*id);
        }
        Ok(ids)
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.queue.read("reading a download", move |transaction| rows::row(transaction, id)).await
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let destination = destination.to_owned();
        self.queue
            .read("reading downloads", move |transaction| {
                let select = "SELECT * FROM downloads WHERE dest_path = ?1 ORDER BY id DESC";
                rows::rows(transaction, select, [&destination])
            })
            .await
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        self.queue.read("reading downloads", |transaction| rows::marks(transaction)).await
    }

    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        let attempt = attempt.clone();
        self.write("beginning an attempt", move |transaction| catalogue::begin(transaction, id, &attempt)).await
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        self.record_all(id, None, std::slice::from_ref(change), at).await.map(drop)
    }

    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        let (begin, changes) = (begin.cloned(), changes.to_vec());
        self.write("recording a change", move |transaction| {
            let begin = begin.as_ref().map(|attempt| catalogue::begin(transaction, id, attempt));
            let number = begin.transpose()?;
            change::apply(transaction, id, &changes, at)?;
            Ok(number)
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
    fn hold(&self, id: DownloadId) -> bool {
        self.holds.take(id)
    }

    fn let_go(&self, id: DownloadId) {
        self.holds.let_go(id);
    }

    async fn changes(&self) {
        loop {
            // It differs whenever another connection has written.
            let version = self.queue.read("looking for changes", |transaction| {
                Ok(transaction.pragma_query_value(None, "data_version", |row| row.get(0))?)
            });
            // An error here shows nothing; if the ledger is broken the drives report it.
            if let Ok(version) = version.await
                && self.seen.swap(version, Ordering::Relaxed) != version
            {
                return;
            }
            Timer::after(LOOK_EVERY).await;
        }
    }
}

impl NativeLedger for SqliteLedger {
    async fn stamp(&self, id: DownloadId, stamp: FileStamp) -> Result<(), Error> {
        self.write("noting a finished file", move |transaction| {
            let set = "UPDATE downloads SET completed_size = ?2, completed_mtime_ns = ?3 WHERE id = ?1";
            let params = (id, integer(stamp.size), stamp.mtime_ns);
            one(id, transaction.prepare_cached(set)?.execute(params)?)
        })
        .await
    }

    async fn rows_of_url(&self, url: &str, folder: &Path) -> Result<Vec<Row>, Error> {
        let (url, folder) = (url.to_owned(), folder.to_string_lossy().trim_end_matches('/').to_owned());
        self.queue
            .read("reading downloads", move |transaction| {
                // 0 is the character after the slash: the range is read from the index of destinations.
                let select = "SELECT * FROM downloads
                    WHERE dest_path > ?1 || '/' AND dest_path < ?1 || '0' AND url = ?2 ORDER BY id DESC";
                rows::rows(transaction, select, [&folder, &url])
            })
            .await
    }

    async fn close_open_attempts(&self) -> Result<usize, Error> {
        self.write("closing attempts", |transaction| catalogue::close_open(transaction, None)).await
    }

    #[cfg(feature = "fleet")]
    fn uploads(&self) -> Arc<dyn crate::store::UploadLedger> {
        Arc::new(self.clone())
    }
}

impl Catalogue for SqliteLedger {
    async fn entry(&self, id: DownloadId) -> Result<LedgerEntry, Error> {
        self.queue.show("reading a download", move |transaction| catalogue::entry(transaction, id)).await
    }

    async fn list(
        &self,
        statuses: &[Status],
        limit: u32,
        after: Option<DownloadId>,
    ) -> Result<Vec<LedgerEntry>, Error> {
        let statuses = statuses.to_vec();
        self.queue
            .show("listing downloads", move |transaction| {
                catalogue::list(transaction, &statuses, limit.min(PAGE), after)
            })
            .await
    }

    async fn all(&self, status: Option<Status>) -> Result<Vec<LedgerEntry>, Error> {
        self.queue
            .show("listing downloads", move |transaction| {
                catalogue::list(transaction, status.as_slice(), u32::MAX, None)
            })
            .await
    }

    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        self.queue.show("counting downloads", |transaction| catalogue::counts(transaction)).await
    }

    async fn timeline(&self, id: DownloadId) -> Result<Vec<AttemptLine>, Error> {
        self.queue.show("reading a timeline", move |transaction| catalogue::lines(transaction, id)).await
    }

    fn is_stuck(&self) -> bool {
        self.queue.is_stuck()
    }

    fn waiting_requests(&self) -> usize {
        self.queue.waiting()
    }
}

/// Exactly that row must have been touched.
pub(super) fn one(id: DownloadId, touched: usize) -> Result<(), Fault> {
    match touched {
        0 => Err(Error::NoSuchDownload(id).into()),
        _ => Ok(()),
    }
}
