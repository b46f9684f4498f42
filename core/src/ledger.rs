//! The table of downloads, as the engine writes it.

use crate::error::Error;
use crate::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use std::future::pending;
use std::time::{Duration, SystemTime};

/// Remembers downloads. Each call is one transaction: when it returns, it is durable.
pub trait Ledger {
    /// Adds a row with status `queued`.
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error>;

    /// Reads a row.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    async fn row(&self, id: DownloadId) -> Result<Row, Error>;

    /// The rows for a destination, newest first.
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error>;

    /// The rows that are not finished (`queued`, `downloading`, `waiting`, `committing`), no more of each than decides
    /// which are driven: there may be many of them.
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error>;

    /// Counts an attempt, atomically, and opens its line in the timeline. Returns its number over the row's whole life.
    ///
    /// # Errors
    /// `WrongState` where the row is finished, `NoSuchDownload`, `Ledger`.
    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error>;

    /// Applies a change; see [`Row::apply`] for what each one means. Whether the row
    /// [admits](crate::record::Status::admits) it is decided in the same transaction.
    ///
    /// # Errors
    /// `WrongState` with the status that does not admit it, `NoSuchDownload`, `Ledger`.
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error>;

    /// Deletes a row and its timeline.
    async fn remove(&self, id: DownloadId) -> Result<(), Error>;

    /// How long a [claim](Self::claim) lasts, if processes that share this ledger must claim what they drive. `None` if the
    /// store's lock on the part is enough: then nothing is claimed.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Claims a download for `owner`, or extends its claim, until then. Returns `false` if another owner has it. While it
    /// lasts, the ledger refuses what others record about it, except a [cancel](Change::Cancelled): that is a user's, and
    /// [`changes`](Self::changes) shows it to the owner. The claim ends with the row: what is finished has no owner.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`.
    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        let _ = (id, owner, until);
        Ok(true)
    }

    /// Waits until somebody else may have changed rows; never returns if nobody else can.
    async fn changes(&self) {
        pending().await
    }
}
