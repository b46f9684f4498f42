//! A ledger for several threads keeps the contract of ledgers, and what it need not supply has a default.

use regrip_core::ledger::Ledger;
use regrip_core::record::{Mark, NewAttempt, NewDownload};
use regrip_core::send_ledger::SendLedger;
use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
use regrip_core::testing::{MemoryLedger, VirtualClock};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadId, Error, Row};
use std::time::{Duration, SystemTime};

/// The ledger in memory, as one whose futures may move to another thread.
struct Sent(MemoryLedger);

/// The same without what is optional.
struct Least(MemoryLedger);

macro_rules! required {
    () => {
        async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
            self.0.insert(new, at).await
        }
        async fn row(&self, id: DownloadId) -> Result<Row, Error> {
            self.0.row(id).await
        }
        async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
            self.0.rows_for(destination).await
        }
        async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
            self.0.unfinished_marks().await
        }
        async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
            self.0.begin_attempt(id, attempt).await
        }
        async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
            self.0.record(id, change, at).await
        }
        async fn record_all(
            &self,
            id: DownloadId,
            begin: Option<&NewAttempt>,
            changes: &[Change],
            at: SystemTime,
        ) -> Result<Option<u32>, Error> {
            self.0.record_all(id, begin, changes, at).await
        }
        async fn remove(&self, id: DownloadId) -> Result<(), Error> {
            self.0.remove(id).await
        }
    };
}

impl SendLedger for Least {
    required!();
}

impl SendLedger for Sent {
    required!();

    fn lease(&self) -> Option<Duration> {
        self.0.lease()
    }
    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        self.0.claim(id, owner, until).await
    }
    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        self.0.release(id, owner, rest).await
    }
    async fn changes(&self) {
        Ledger::changes(&self.0).await;
    }
}

struct Subject {
    all: MemoryLedger,
    clock: VirtualClock,
}

impl LedgerUnderTest for Subject {
    type Ledger = Sent;

    fn open(&self) -> Sent {
        Sent(self.all.leasing(Duration::from_secs(30), self.clock.clone()))
    }
    fn now(&self) -> SystemTime {
        self.clock.wall()
    }
    async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
    fn is_shared(&self) -> bool {
        true
    }
}

#[test]
fn a_ledger_for_several_threads_keeps_the_contract() {
    let subject = Subject { all: MemoryLedger::default(), clock: VirtualClock::default() };
    let checked = subject.clock.run(check_all(&subject, &[]));
    assert_eq!(checked, Some(Ok(())));
}

#[test]
fn a_ledger_without_leases_gives_every_claim_and_sees_no_other_process() {
    let clock = VirtualClock::default();
    let ledger = Least(MemoryLedger::default());
    assert_eq!(Ledger::lease(&ledger), None);
    let claimed = clock.run(Ledger::claim(&ledger, 1, "owner", clock.wall()));
    assert!(matches!(claimed, Some(Ok(true))));
    assert!(matches!(clock.run(Ledger::release(&ledger, 1, "owner", Duration::ZERO)), Some(Ok(()))));
    assert_eq!(clock.run(Ledger::changes(&ledger)), None, "it waits for ever");
}
