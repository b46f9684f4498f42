//! The ledger: the table of downloads, as the engine writes it.

use crate::error::Error;
use crate::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use std::future::pending;
use std::time::{Duration, SystemTime};

/// Stores downloads. Each call is one transaction and is durable when it returns.
pub trait Ledger {
    /// Adds a row with status `queued`.
    ///
    /// # Errors
    /// `DestinationBusy` if a ledger that processes share has an unfinished row of the destination, which another one has just added.
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error>;

    /// [Adds](Self::insert) those for whose destination there is no row, in this order, and returns their ids: in one transaction, if
    /// the ledger can. Of several for one destination the first is added.
    async fn insert_new(&self, new: &[NewDownload], at: SystemTime) -> Result<Vec<Option<DownloadId>>, Error> {
        let mut ids = Vec::new();
        for new in new {
            ids.push(match self.rows_for(&new.destination).await?.is_empty() {
                true => Some(self.insert(new, at).await?),
                false => None,
            });
        }
        Ok(ids)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    async fn row(&self, id: DownloadId) -> Result<Row, Error>;

    /// The rows for a destination, newest first.
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error>;

    /// The unfinished rows (`queued`, `downloading`, `waiting`, `committing`), reduced to what decides which are driven, because there
    /// may be many.
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error>;

    /// Counts an attempt atomically and opens its line in the timeline. Returns its number over the life of the row.
    ///
    /// # Errors
    /// `WrongState` if the row is finished or paused, `NoSuchDownload`, `Ledger`.
    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error>;

    /// Applies a change as [`Row::apply`] defines it. The same transaction checks that the row
    /// [admits](crate::record::Status::admits) it.
    ///
    /// # Errors
    /// `WrongState` with the status that does not admit it, `NoSuchDownload`, `Ledger`.
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error>;

    /// [Begins](Self::begin_attempt) an attempt, if one is given, and [records](Self::record) changes in this order: in one
    /// transaction, if the ledger can. Returns the number of the attempt.
    ///
    /// # Errors
    /// As these two; if it is not one transaction, the changes before the error are durable.
    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        let mut number = None;
        if let Some(attempt) = begin {
            number = Some(self.begin_attempt(id, attempt).await?);
        }
        for change in changes {
            self.record(id, change, at).await?;
        }
        Ok(number)
    }

    /// Deletes a row and its timeline.
    async fn remove(&self, id: DownloadId) -> Result<(), Error>;

    /// Keeps other processes from driving a download until [`let_go`](Self::let_go) or the end of this process, however it ends: the lock
    /// of the store on a part counts only while the part has a name and is open. Returns `false` if another process has the download.
    /// What is inserted is held from then on.
    ///
    /// By default, and where the system has no such locks, `true`.
    fn hold(&self, id: DownloadId) -> bool {
        let _ = id;
        true
    }

    /// Ends a [`hold`](Self::hold).
    fn let_go(&self, id: DownloadId) {
        let _ = id;
    }

    /// How long a [claim](Self::claim) lasts, if processes that share this ledger must claim what they drive. `None` if the lock of
    /// the store on the part and a [`hold`](Self::hold) are enough: then nothing is claimed.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Claims a download for `owner` until a time of the caller's clock, or extends its claim. Returns `false` if another owner has it,
    /// and to an owner that has lost it: an owner is one drive, named by its process, `-`, and a number, and what another
    /// drive may have changed since is not its to go on with. A ledger that shows who drives what may count the drives of a process as
    /// one owner, if the tokens of its claims keep them apart. A ledger with a clock of its own counts how long the claim lasts from now.
    ///
    /// During a claim, and after it until the next one, the ledger refuses changes by owners that have lost it; during a claim also those by
    /// all others. A [cancel](Change::Cancelled) and a [pause](Change::Paused) are always allowed, and [`changes`](Self::changes)
    /// reports them to the owner. The claim ends when the row is finished or paused.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        let _ = (id, owner, until);
        Ok(true)
    }

    /// Releases the claim of `owner` before its lease ends, so that another process need not wait. Without such a claim it does nothing.
    /// A ledger that hands out work offers the download to nobody for `rest`.
    ///
    /// # Errors
    /// `Ledger`.
    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        let _ = (id, owner, rest);
        Ok(())
    }

    /// Waits until another process may have changed rows that this one drives; never returns if that is impossible.
    async fn changes(&self) {
        pending().await
    }
}
