//! A ledger in memory, for the library without SQLite: downloads resume within the process, and another one knows nothing
//! of them.
//!
//! It is bounded: beyond [`MOST_ROWS`] the oldest finished rows are forgotten.

use super::catalogue::FileLedger;
use crate::store::FileStamp;
use crate::sync::lock;
use crate::time::rfc3339;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use regrip_core::send_ledger::SendLedger;
use regrip_core::{Error, Status};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Rows that are kept, unless more than that are unfinished.
const MOST_ROWS: usize = 10_000;

/// A ledger in memory. Clones share their rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLedger(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    last: DownloadId,
    rows: BTreeMap<DownloadId, Recorded>,
}

#[derive(Debug)]
struct Recorded {
    row: Row,
    stamp: Option<FileStamp>,
    completed_at: Option<SystemTime>,
}

impl Rows {
    fn of(&mut self, id: DownloadId) -> Result<&mut Recorded, Error> {
        self.rows.get_mut(&id).ok_or(Error::NoSuchDownload(id))
    }

    fn begin_attempt(&mut self, id: DownloadId) -> Result<u32, Error> {
        let row = &mut self.of(id)?.row;
        if !row.status.is_active() {
            return Err(row.wrong_state());
        }
        Ok(row.begin_attempt())
    }

    fn record(&mut self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        let recorded = self.of(id)?;
        let row = &mut recorded.row;
        if !row.status.admits(change) {
            return Err(row.wrong_state());
        }
        row.apply(change);
        if row.status == Status::Completed && recorded.completed_at.is_none() {
            let stamp = FileStamp::of(Path::new(&row.new.destination)).ok().flatten();
            recorded.stamp = stamp.filter(|stamp| stamp.size == row.downloaded);
            recorded.completed_at = Some(at);
        } else if !row.status.is_complete() {
            recorded.completed_at = None;
        }
        Ok(())
    }
}

impl SendLedger for MemoryLedger {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        let mut rows = lock(&self.0);
        if rows.rows.len() >= MOST_ROWS {
            let finished = rows.rows.iter().find(|(_, recorded)| recorded.row.status.is_finished());
            if let Some(id) = finished.map(|(id, _)| *id) {
                rows.rows.remove(&id);
            }
        }
        rows.last += 1;
        let id = rows.last;
        let row = Row::new(id, new.clone());
        rows.rows.insert(id, Recorded { row, stamp: None, completed_at: None });
        Ok(id)
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        lock(&self.0).of(id).map(|recorded| recorded.row.clone())
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let rows = lock(&self.0);
        let all = rows.rows.values().rev().map(|recorded| &recorded.row);
        Ok(all.filter(|row| row.new.destination == destination).cloned().collect())
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let rows = lock(&self.0);
        let unfinished = rows.rows.values().map(|recorded| &recorded.row).filter(|row| row.status.is_active());
        Ok(unfinished.cloned().map(Mark::from).collect())
    }

    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        lock(&self.0).begin_attempt(id)
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        lock(&self.0).record(id, change, at)
    }

    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        let mut rows = lock(&self.0);
        let number = begin.map(|_| rows.begin_attempt(id)).transpose()?;
        changes.iter().try_for_each(|change| rows.record(id, change, at))?;
        Ok(number)
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        lock(&self.0).rows.remove(&id).map(drop).ok_or(Error::NoSuchDownload(id))
    }
}

impl FileLedger for MemoryLedger {
    async fn completion(&self, id: DownloadId) -> Result<(Option<FileStamp>, Option<String>), Error> {
        let mut rows = lock(&self.0);
        let recorded = rows.of(id)?;
        let stamp = recorded.stamp.filter(|_| recorded.row.status.is_complete());
        Ok((stamp, recorded.completed_at.map(rfc3339)))
    }

    async fn note_stamp(&self, id: DownloadId, stamp: FileStamp) -> Result<(), Error> {
        lock(&self.0).of(id)?.stamp = Some(stamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
    use regrip_core::testing::new_download;
    use smol::block_on;
    use std::time::Duration;

    struct Memory(MemoryLedger);

    impl LedgerUnderTest for Memory {
        type Ledger = MemoryLedger;

        fn open(&self) -> MemoryLedger {
            self.0.clone()
        }
        fn now(&self) -> SystemTime {
            SystemTime::now()
        }
        async fn pass(&self, time: Duration) {
            smol::Timer::after(time).await;
        }
        async fn set_status(&self, id: DownloadId, status: Status) -> bool {
            lock(&self.0.0).of(id).map(|recorded| recorded.row.status = status).is_ok()
        }
    }

    #[test]
    fn memory_keeps_the_contract_of_a_ledger() {
        block_on(check_all(&Memory(MemoryLedger::default()), &[])).unwrap();
    }

    #[test]
    fn the_oldest_finished_rows_are_forgotten_first() {
        block_on(async {
            let (ledger, at) = (MemoryLedger::default(), SystemTime::UNIX_EPOCH);
            for number in 0..MOST_ROWS {
                ledger.insert(&new_download("http://a.test/a", &format!("/{number}")), at).await.unwrap();
            }
            ledger.record(3, &Change::Cancelled, at).await.unwrap();
            let new = new_download("http://a.test/a", "/new");
            let id = ledger.insert(&new, at).await.unwrap();
            assert!(matches!(ledger.row(3).await, Err(Error::NoSuchDownload(3))));
            assert!(ledger.row(1).await.is_ok() && ledger.row(id).await.is_ok());
        });
    }
}
