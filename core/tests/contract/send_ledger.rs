//! A ledger for several threads keeps the contract of ledgers, and what a ledger need not supply has a default.

use regrip_core::ledger::Ledger;
use regrip_core::record::{Mark, NewAttempt, NewDownload};
use regrip_core::send_ledger::SendLedger;
use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
use regrip_core::testing::{MemoryLedger, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadId, Error, Row};
use std::time::{Duration, SystemTime};

const LEASE: Duration = Duration::from_secs(30);

/// The ledger in memory, as one whose futures may move to another thread.
struct Sent(MemoryLedger);

/// The same without what is optional.
struct Least(MemoryLedger);

/// A ledger for one thread without what is optional.
struct Local(MemoryLedger);

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

impl Ledger for Local {
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
        Sent(self.all.leasing(LEASE, self.clock.clone()))
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
    let (ledger, at) = (subject.open(), subject.now());
    assert_eq!(Ledger::lease(&ledger), Some(LEASE));
    let numbers = subject.clock.run(async {
        let id = Ledger::insert(&ledger, &new_download("http://peer.example/film.mkv", "/film.mkv"), at).await?;
        let attempt = NewAttempt { at, from: 0 };
        let mut numbers = Vec::new();
        for begin in [Some(&attempt), Some(&attempt), None] {
            numbers.push(Ledger::record_all(&ledger, id, begin, &[Change::Claimed(true)], at).await?);
        }
        assert!(Ledger::row(&ledger, id).await?.claimed);
        Ok::<_, Error>(numbers)
    });
    assert_eq!(numbers.unwrap().unwrap(), [Some(1), Some(2), None]);
}

#[test]
fn a_ledger_without_leases_gives_every_claim_and_sees_no_other_process() {
    fn check(ledger: impl Ledger) {
        let clock = VirtualClock::default();
        assert_eq!(ledger.lease(), None);
        assert!(matches!(clock.run(ledger.claim(1, "owner", clock.wall())), Some(Ok(true))));
        assert!(matches!(clock.run(ledger.release(1, "owner", Duration::ZERO)), Some(Ok(()))));
        assert_eq!(clock.run(ledger.changes()), None, "it waits for ever");
    }
    check(Least(MemoryLedger::default()));
    check(Local(MemoryLedger::default()));
}
