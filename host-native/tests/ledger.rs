//! The ledger's contract, kept by every ledger: two handles on one, as two processes have them.

#[allow(unused)] // what other tests use of it
#[path = "support/ledgers.rs"]
mod ledgers;

use ledgers::Sqlite;
use regrip::ledger::SqliteLedger;
use regrip_core::DownloadId;
use regrip_core::record::Status;
use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
use smol::{Timer, block_on};
use std::time::{Duration, SystemTime};

impl LedgerUnderTest for Sqlite {
    type Ledger = SqliteLedger;

    fn open(&self) -> SqliteLedger {
        Sqlite::open(self)
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
        let file = rusqlite::Connection::open(self.path()).unwrap();
        let set = "UPDATE downloads SET status = ?2 WHERE id = ?1";
        file.execute(set, (id, status.name())).unwrap() == 1
    }
}

#[test]
fn sqlite_keeps_the_contract_of_a_ledger() {
    block_on(check_all(&Sqlite::new(), &[])).unwrap();
}

#[cfg(feature = "fleet")]
mod fleet {
    use super::*;
    use crate::ledgers::postgres::Schema;
    use regrip::ledger::{ClaimLimits, NativeLedger, PostgresLedger};
    use std::collections::HashSet;

    impl LedgerUnderTest for Schema {
        type Ledger = PostgresLedger;

        fn open(&self) -> PostgresLedger {
            Schema::open(self)
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
            let name = status.name();
            let record = format!("jsonb_set(record::jsonb, '{{status}}', '\"{name}\"')::json");
            self.execute(&format!("UPDATE downloads SET status = '{name}', record = {record} WHERE id = {id}"));
            true
        }
    }

    #[test]
    fn postgres_keeps_the_contract_of_a_ledger() {
        block_on(check_all(&Schema::new(), &[])).unwrap();
    }
    #[test]
    fn claims_reach_every_origin_however_many_there_are() {
        let schema = Schema::new();
        let ledger = schema.open();
        schema.execute(
            "INSERT INTO downloads (record, status, dest_path, url, origin, created_at, updated_at, revision, nonce)
             SELECT '{}', 'queued', '/' || n, 'http://o' || n % 300, 'http://o' || n % 300, now(), now(), n, n
             FROM generate_series(1, 600) n",
        );
        let fleet = ledger.fleet().unwrap();
        let mut claimed = HashSet::new();
        for _ in 0..40 {
            let limits = ClaimLimits { most: 100, of_origin: 1 };
            claimed.extend(block_on(fleet.claim_next("worker", limits)).unwrap());
        }
        // One of each; the other one waits for its origin.
        assert_eq!(claimed.len(), 300);
        let origins = "SELECT count(DISTINCT origin) FROM downloads WHERE owner = 'worker'";
        assert_eq!(schema.execute(origins), "300");
    }
}
