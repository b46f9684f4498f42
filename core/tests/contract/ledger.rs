//! The ledger's contract.

use crate::{assert_all_broken, holds};
use regrip_core::ledger::Ledger;
use regrip_core::record::{Mark, NewAttempt, NewDownload};
use regrip_core::testing::contract::ledger::{LedgerUnderTest, PROMISES, check, check_all};
use regrip_core::testing::{MemoryLedger, VirtualClock};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadId, Error, Row, Status};
use std::future::pending;
use std::time::{Duration, SystemTime};

const LEASE: Duration = Duration::from_secs(30);

/// A ledger in memory with a flaw; without a name it has none.
#[derive(Clone, Debug)]
struct Flawed {
    flaw: &'static str,
    rows: MemoryLedger,
    /// The same rows, without leases.
    all: MemoryLedger,
}

/// Hands out flawed ledgers; with leases each handle is another process.
struct Subject {
    flaw: &'static str,
    leases: bool,
    all: MemoryLedger,
    clock: VirtualClock,
}

impl Subject {
    fn new(flaw: &'static str, leases: bool) -> Subject {
        Subject { flaw, leases, all: MemoryLedger::default(), clock: VirtualClock::default() }
    }
}

impl LedgerUnderTest for Subject {
    type Ledger = Flawed;

    fn open(&self) -> Flawed {
        let all = match self.flaw {
            "keeps its rows to itself" => MemoryLedger::default(),
            _ => self.all.clone(),
        };
        let rows = match self.leases {
            true => all.leasing(LEASE, self.clock.clone()),
            false => all.clone(),
        };
        let flaw = self.flaw;
        Flawed { flaw, rows, all }
    }
    fn now(&self) -> SystemTime {
        self.clock.wall()
    }
    async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
    fn is_shared(&self) -> bool {
        self.leases
    }
    async fn set_status(&self, id: DownloadId, status: Status) -> bool {
        let row = self.all.row(id).await.expect("a row");
        self.all.put(Row { status, ..row });
        true
    }
}

impl Ledger for Flawed {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        let id = self.rows.insert(new, at).await?;
        if self.flaw != "uses ids again" {
            return Ok(id);
        }
        let row = self.rows.row(id).await?;
        self.rows.remove(id).await?;
        let id = self.all.rows().len() as DownloadId + 1;
        self.all.put(Row { id, ..row });
        Ok(id)
    }

    async fn insert_new(&self, new: &[NewDownload], at: SystemTime) -> Result<Vec<Option<DownloadId>>, Error> {
        let mut ids = self.rows.insert_new(new, at).await?;
        if self.flaw == "adds everything" {
            for (id, new) in ids.iter_mut().zip(new).filter(|(id, _)| id.is_none()) {
                *id = Some(self.rows.insert(new, at).await?);
            }
        }
        Ok(ids)
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.rows.row(id).await
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let mut rows = self.rows.rows_for(destination).await?;
        if self.flaw == "lists the oldest first" {
            rows.reverse();
        }
        Ok(rows)
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let mut marks = self.rows.unfinished_marks().await?;
        match self.flaw {
            "marks the wrong rows as committing" => {
                marks.iter_mut().for_each(|mark| mark.committing ^= true);
            }
            "marks finished rows" => marks = self.all.rows().into_iter().map(Mark::from).collect(),
            _ => {}
        }
        Ok(marks)
    }

    async fn begin_attempt(&self, id: DownloadId, begin: &NewAttempt) -> Result<u32, Error> {
        let begun = self.rows.begin_attempt(id, begin).await?;
        let stuck = self.flaw == "gives a number twice" && begun > 100;
        Ok(if stuck { 100 } else { begun })
    }

    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        match (self.flaw, change) {
            ("forgets checkpoints", Change::Checkpoint { .. }) => Ok(()),
            ("lets anybody write", _) => self.all.record(id, change, at).await,
            ("admits everything", _) | ("completes what was cancelled", Change::Completed { .. }) => {
                let mut row = self.row(id).await?;
                row.apply(change);
                self.all.put(row);
                Ok(())
            }
            ("claims every part", Change::Claimed(_)) => {
                for row in self.all.rows() {
                    self.rows.record(row.id, change, at).await?;
                }
                Ok(())
            }
            _ => self.rows.record(id, change, at).await,
        }
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        match self.flaw {
            "removes nothing" => Ok(()),
            _ => self.rows.remove(id).await,
        }
    }

    fn lease(&self) -> Option<Duration> {
        self.rows.lease()
    }

    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        let before = self.all.claimed(id);
        let claimed = self.rows.claim(id, owner, until).await?;
        Ok(match self.flaw {
            "gives a claim to everybody" => true,
            "extends no claim" => claimed && before.is_none(),
            _ => claimed,
        })
    }

    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        match self.flaw {
            "takes no claim back" => Ok(()),
            _ => self.rows.release(id, owner, rest).await,
        }
    }

    async fn changes(&self) {
        match self.flaw {
            "notices no change" => pending().await,
            _ => Ledger::changes(&self.rows).await,
        }
    }
}

#[test]
fn the_ledger_in_memory_keeps_the_contract_with_leases_and_without() {
    for leases in [false, true] {
        let subject = Subject::new("", leases);
        let checked = subject.clock.run(check_all(&subject, &[]));
        assert_eq!(checked, Some(Ok(())), "leases: {leases}");
    }
}

#[test]
fn a_ledger_that_breaks_a_promise_is_found_out() {
    let broken = [
        ("after_every_change_a_row_is_what_apply_says", "forgets checkpoints"),
        ("after_every_change_a_row_is_what_apply_says", "admits everything"),
        ("a_change_touches_no_other_row", "claims every part"),
        ("every_status_admits_what_it_should", "admits everything"),
        ("every_status_admits_what_it_should", "completes what was cancelled"),
        ("of_a_cancel_and_a_commit_exactly_one_counts", "completes what was cancelled"),
        ("what_is_recorded_is_there_for_every_handle", "keeps its rows to itself"),
        ("ids_are_never_reused", "uses ids again"),
        ("of_many_that_are_added_together_those_of_new_destinations_are_new", "adds everything"),
        ("rows_of_a_destination_are_listed_newest_first", "lists the oldest first"),
        ("the_marks_are_those_of_the_unfinished_rows", "marks the wrong rows as committing"),
        ("the_marks_are_those_of_the_unfinished_rows", "marks finished rows"),
        ("attempts_are_counted_without_a_gap", "gives a number twice"),
        ("a_removed_row_is_gone", "removes nothing"),
        ("a_claim_has_one_owner_until_it_ends", "gives a claim to everybody"),
        ("a_claim_has_one_owner_until_it_ends", "lets anybody write"),
        ("a_claim_has_one_owner_until_it_ends", "extends no claim"),
        ("a_claim_has_one_owner_until_it_ends", "takes no claim back"),
        ("a_change_by_another_handle_is_noticed", "notices no change"),
    ];
    assert_all_broken(PROMISES, &broken);
    for (promise, flaw) in broken {
        let subject = Subject::new(flaw, true);
        let kept = holds(&subject.clock, check(promise, &subject));
        assert!(!kept, "{promise} holds for a ledger that {flaw}");
    }
}
