//! The ledger: rows in memory, gone with the process or page.

use regrip_core::io::Ledger;
use regrip_core::record::{NewAttempt, NewDownload};
use regrip_core::{Change, DownloadId, Error, Row};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Rows by id. [`Row::apply`] says what each change means.
#[derive(Debug, Default)]
pub(crate) struct MemoryLedger(RefCell<Rows>);

#[derive(Debug, Default)]
struct Rows {
    last: DownloadId,
    by_id: BTreeMap<DownloadId, Row>,
}

impl MemoryLedger {
    fn change<T>(&self, id: DownloadId, change: impl FnOnce(&mut Row) -> T) -> Result<T, Error> {
        let mut rows = self.0.borrow_mut();
        rows.by_id
            .get_mut(&id)
            .map(change)
            .ok_or(Error::NoSuchDownload(id))
    }

    fn newest_first(&self, wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let rows = self.0.borrow();
        rows.by_id
            .values()
            .rev()
            .filter(|row| wanted(row))
            .cloned()
            .collect()
    }
}

impl Ledger for MemoryLedger {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        let mut rows = self.0.borrow_mut();
        rows.last += 1;
        let id = rows.last;
        rows.by_id.insert(id, Row::new(id, new.clone()));
        Ok(id)
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.change(id, |row| row.clone())
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        Ok(self.newest_first(|row| row.new.destination == destination))
    }

    async fn unfinished(&self) -> Result<Vec<Row>, Error> {
        Ok(self.newest_first(|row| !row.status.is_finished()))
    }

    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        self.change(id, |row| {
            if row.status.is_finished() {
                return Err(row.wrong_state());
            }
            Ok(row.begin_attempt())
        })?
    }

    async fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> Result<(), Error> {
        self.change(id, |row| {
            if !row.status.admits(change) {
                return Err(row.wrong_state());
            }
            row.apply(change);
            Ok(())
        })?
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        let removed = self.0.borrow_mut().by_id.remove(&id);
        removed.map(drop).ok_or(Error::NoSuchDownload(id))
    }
}
