//! The ledger's contract, kept by SQLite: two handles on one file, as two processes have them.

use regrip::ledger::SqliteLedger;
use regrip_core::DownloadId;
use regrip_core::record::Status;
use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
use smol::{Timer, block_on};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A ledger's file.
struct Sqlite(PathBuf);

impl LedgerUnderTest for Sqlite {
    type Ledger = SqliteLedger;

    fn open(&self) -> SqliteLedger {
        SqliteLedger::open(&self.0).unwrap()
    }
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    async fn pass(&self, time: Duration) {
        Timer::after(time).await;
    }
    fn is_shared(&self) -> bool {
        true
    }
    async fn set_status(&self, id: DownloadId, status: Status) -> bool {
        let file = rusqlite::Connection::open(&self.0).unwrap();
        let set = "UPDATE downloads SET status = ?2 WHERE id = ?1";
        file.execute(set, (id, status.name())).unwrap() == 1
    }
}

#[test]
fn sqlite_keeps_the_contract_of_a_ledger() {
    // In memory if that is possible: a commit waits for the disk.
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let subject = Sqlite(folder.path().join("ledger.db"));
    block_on(check_all(&subject, &[])).unwrap();
}
