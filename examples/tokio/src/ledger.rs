//! The rows in one JSON file.

use crate::store::{disk, folder_of, look_at};
use regrip_core::Error;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::task::block_in_place;

/// **[`Ledger`]** keeps the rows in one JSON file, which each change replaces as a whole. What a change means is the core's
/// [`Row::apply`]; a database would do the same in SQL.
pub(crate) struct JsonLedger {
    path: PathBuf,
    table: Mutex<Table>,
    _lock: File,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Table {
    last_id: DownloadId,
    rows: BTreeMap<DownloadId, Row>,
}

impl JsonLedger {
    pub(crate) fn open(folder: &Path) -> Result<JsonLedger, Error> {
        let path = folder.join("regrip-example.json");
        // The rows in memory count as long as this process runs, so it must be the only one.
        let lock = disk("open the lock of", &path, || File::create(path.with_extension("lock")))?;
        let locked = lock.try_lock();
        locked.map_err(|error| Error::ledger("another process may be using it", error))?;
        let table = match look_at(&path)? {
            Some(_) => disk("read", &path, || Ok(serde_json::from_slice(&fs::read(&path)?)?))?,
            None => Table::default(),
        };
        let table = Mutex::new(table);
        Ok(JsonLedger { path, table, _lock: lock })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction: afterwards the change is durable, or after an error there is none.
    fn write<T>(&self, change: impl FnOnce(&mut Table) -> Result<T, Error>) -> Result<T, Error> {
        let mut table = self.table();
        let mut next = table.clone();
        let result = change(&mut next)?;
        let saved = block_in_place(|| next.save(&self.path));
        saved.map_err(|error| Error::ledger("writing", error))?;
        *table = next;
        Ok(result)
    }
}

impl Table {
    fn row(&mut self, id: DownloadId) -> Result<&mut Row, Error> {
        self.rows.get_mut(&id).ok_or(Error::NoSuchDownload(id))
    }

    /// A crash leaves the old file or the new one.
    fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder_of(path))?.sync_all()
    }
}

impl Ledger for JsonLedger {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        self.write(|table| {
            table.last_id += 1; // an id is never used twice
            let row = Row::new(table.last_id, new.clone());
            table.rows.insert(table.last_id, row);
            Ok(table.last_id)
        })
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.table().row(id).cloned()
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let mut rows: Vec<Row> = self.table().rows.values().rev().cloned().collect(); // the newest first
        rows.retain(|row| row.new.destination == destination);
        Ok(rows)
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let mut rows: Vec<Row> = self.table().rows.values().cloned().collect();
        rows.retain(|row| row.status.is_active());
        Ok(rows.into_iter().map(Mark::from).collect())
    }

    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        self.write(|table| match table.row(id)? {
            row if !row.status.is_active() => Err(row.wrong_state()),
            row => Ok(row.begin_attempt()),
        })
    }

    /// The status is asked within the transaction: of a cancel and a completion that meet, exactly one wins.
    async fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> Result<(), Error> {
        self.write(|table| match table.row(id)? {
            row if row.status.admits(change) => {
                row.apply(change);
                Ok(())
            }
            row => Err(row.wrong_state()),
        })
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.write(|table| {
            let removed = table.rows.remove(&id);
            removed.map(drop).ok_or(Error::NoSuchDownload(id))
        })
    }
}
