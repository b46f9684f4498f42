//! A ledger for hosts with several threads.
//!
//! The futures of [`Ledger`] need not be `Send`, so code that is generic in its ledger cannot move them to another thread. The
//! futures of [`SendLedger`] are `Send`.

use crate::error::Error;
use crate::ledger::Ledger;
use crate::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use std::future::{Future, pending, ready};
use std::time::{Duration, SystemTime};

/// A [`Ledger`] whose futures are `Send`. Implement this trait instead, with `async fn`s; each method has the same meaning as there.
pub trait SendLedger: Sync {
    /// As [`Ledger::insert`].
    fn insert(&self, new: &NewDownload, at: SystemTime) -> impl Future<Output = Result<DownloadId, Error>> + Send;

    /// As [`Ledger::insert_new`].
    fn insert_new(
        &self,
        new: &[NewDownload],
        at: SystemTime,
    ) -> impl Future<Output = Result<Vec<Option<DownloadId>>, Error>> + Send {
        async move {
            let mut ids = Vec::new();
            for new in new {
                ids.push(match self.rows_for(&new.destination).await?.is_empty() {
                    true => Some(self.insert(new, at).await?),
                    false => None,
                });
            }
            Ok(ids)
        }
    }

    /// As [`Ledger::row`].
    fn row(&self, id: DownloadId) -> impl Future<Output = Result<Row, Error>> + Send;

    /// As [`Ledger::rows_for`].
    fn rows_for(&self, destination: &str) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// As [`Ledger::unfinished_marks`].
    fn unfinished_marks(&self) -> impl Future<Output = Result<Vec<Mark>, Error>> + Send;

    /// As [`Ledger::begin_attempt`].
    fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> impl Future<Output = Result<u32, Error>> + Send;

    /// As [`Ledger::record`].
    fn record(&self, id: DownloadId, change: &Change, at: SystemTime)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Ledger::record_all`].
    fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> impl Future<Output = Result<Option<u32>, Error>> + Send;

    /// As [`Ledger::remove`].
    fn remove(&self, id: DownloadId) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`Ledger::hold`].
    fn hold(&self, id: DownloadId) -> bool {
        let _ = id;
        true
    }

    /// As [`Ledger::let_go`].
    fn let_go(&self, id: DownloadId) {
        let _ = id;
    }

    /// As [`Ledger::lease`].
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// As [`Ledger::claim`].
    fn claim(
        &self,
        id: DownloadId,
        owner: &str,
        until: SystemTime,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let _ = (id, owner, until);
        ready(Ok(true))
    }

    /// As [`Ledger::release`].
    fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = (id, owner, rest);
        ready(Ok(()))
    }

    /// As [`Ledger::changes`].
    fn changes(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

impl<L: SendLedger> Ledger for L {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        SendLedger::insert(self, new, at).await
    }

    async fn insert_new(&self, new: &[NewDownload], at: SystemTime) -> Result<Vec<Option<DownloadId>>, Error> {
        SendLedger::insert_new(self, new, at).await
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        SendLedger::row(self, id).await
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        SendLedger::rows_for(self, destination).await
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        SendLedger::unfinished_marks(self).await
    }

    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        SendLedger::begin_attempt(self, id, attempt).await
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        SendLedger::record(self, id, change, at).await
    }

    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        SendLedger::record_all(self, id, begin, changes, at).await
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        SendLedger::remove(self, id).await
    }

    fn hold(&self, id: DownloadId) -> bool {
        SendLedger::hold(self, id)
    }

    fn let_go(&self, id: DownloadId) {
        SendLedger::let_go(self, id);
    }

    fn lease(&self) -> Option<Duration> {
        SendLedger::lease(self)
    }

    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        SendLedger::claim(self, id, owner, until).await
    }

    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        SendLedger::release(self, id, owner, rest).await
    }

    async fn changes(&self) {
        SendLedger::changes(self).await;
    }
}
