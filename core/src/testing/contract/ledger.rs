//! What the core relies on in a [`Ledger`]. [`Row::apply`] and [`Status::admits`] are the specification.

use super::draw::{Draw, KINDS, at};
use super::{Broken, ensure, ensure_fails, promises};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row, Status};
use crate::store::{Committing, PartToken};
use crate::testing::new_download;
use futures::future::{Either, join_all, select};
use std::pin::pin;
use std::time::{Duration, SystemTime};

/// An empty ledger, and what a test needs beside it.
pub trait LedgerUnderTest {
    /// The ledger.
    type Ledger: Ledger;

    /// A further handle on it: that of another process, if processes can share it.
    fn open(&self) -> Self::Ledger;
    /// The time by which claims end.
    fn now(&self) -> SystemTime;
    /// Waits as long by that time.
    async fn pass(&self, time: Duration);
    /// Returns `true` if handles see each other's writes as those of other processes.
    fn is_shared(&self) -> bool {
        false
    }
    /// Gives a row a status that no change leads to. Returns `false` if there is no way.
    async fn set_status(&self, id: DownloadId, status: Status) -> bool {
        let _ = (id, status);
        false
    }
}

promises! { LedgerUnderTest:
    after_every_change_a_row_is_what_apply_says,
    a_change_touches_no_other_row,
    every_status_admits_what_it_should,
    of_a_cancel_and_a_commit_exactly_one_counts,
    what_is_recorded_is_there_for_every_handle,
    ids_are_never_reused,
    of_many_that_are_added_together_those_of_new_destinations_are_new,
    rows_of_a_destination_are_listed_newest_first,
    the_marks_are_those_of_the_unfinished_rows,
    attempts_are_counted_without_a_gap,
    a_removed_row_is_gone,
    a_claim_has_one_owner_until_it_ends,
    a_change_by_another_handle_is_noticed,
}

/// A hundred downloads, each taken through eighty attempts and changes that a seed draws.
// L09
pub async fn after_every_change_a_row_is_what_apply_says<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    for seed in 0..100 {
        let mut draw = Draw::seeded(seed);
        let new = draw.new_download(seed);
        let id = ledger.insert(&new, at(0)).await?;
        let mut expected = Row::new(id, new);
        for step in 0..80 {
            let row = ledger.row(id).await?;
            ensure!(row == expected, "seed {seed}, step {step}: {row:?}, not {expected:?}");
            if draw.0.u8(..8) == 0 {
                let attempt = NewAttempt { at: at(step), from: draw.bytes() };
                let begun = ledger.begin_attempt(id, &attempt).await;
                if !expected.status.is_active() {
                    refused(begun, expected.status, "an attempt")?;
                    continue;
                }
                let (begun, counted) = (begun?, expected.begin_attempt());
                ensure!(begun == counted, "attempt {begun}, not {counted}");
            } else {
                let change = draw.change();
                let recorded = ledger.record(id, &change, at(step)).await;
                if expected.status.admits(&change) {
                    recorded?;
                    expected.apply(&change);
                } else {
                    refused(recorded, expected.status, "a change")?;
                }
            }
        }
    }
    Ok(())
}

/// Whatever happens to one row, another one stays as it is.
pub async fn a_change_touches_no_other_row<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    let mut draw = Draw::seeded(7);
    let quiet = ledger.insert(&named("quiet"), at(0)).await?;
    let busy = ledger.insert(&named("busy"), at(0)).await?;
    let before = ledger.row(quiet).await?;
    for step in 0..500 {
        match ledger.record(busy, &draw.change(), at(step)).await {
            Ok(()) | Err(Error::WrongState { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(ledger.row(quiet).await? == before, "step {step}: the other row has changed");
    }
    Ok(())
}

/// Each status with each change: what [`Status::admits`] refuses is refused with that status, and changes nothing.
pub async fn every_status_admits_what_it_should<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    for status in Status::ALL {
        for kind in 0..KINDS {
            let id = ledger.insert(&named(&format!("{}-{kind}", status.name())), at(0)).await?;
            if !bring(subject, &ledger, id, status).await? {
                continue;
            }
            let change = Draw::seeded(u64::from(kind)).change_of(kind);
            let mut expected = ledger.row(id).await?;
            ensure!(expected.status == status, "{} for {}", expected.status.name(), status.name());
            let recorded = ledger.record(id, &change, at(1)).await;
            if status.admits(&change) {
                recorded?;
                expected.apply(&change);
            } else {
                refused(recorded, status, "a change")?;
            }
            let what = format!("{}, change {kind}", status.name());
            ensure!(ledger.row(id).await? == expected, "{what}: another row");
        }
    }
    Ok(())
}

/// Spelled out, without asking [`Status::admits`]: a cancelled row is not completed, and one whose file is being renamed is
/// not cancelled.
pub async fn of_a_cancel_and_a_commit_exactly_one_counts<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    for (first, then, status) in [
        (Change::Cancelled, completed(), Status::Cancelled),
        (Change::Cancelled, committing(), Status::Cancelled),
        (committing(), Change::Cancelled, Status::Committing),
        (completed(), Change::Cancelled, Status::Completed),
    ] {
        let id = ledger.insert(&named("either"), at(0)).await?;
        ledger.record(id, &first, at(1)).await?;
        refused(ledger.record(id, &then, at(2)).await, status, "the second")?;
        let row = ledger.row(id).await?;
        ensure!(row.status == status, "{}, not {}", row.status.name(), status.name());
        ledger.remove(id).await?;
    }
    Ok(())
}

/// When a call returns, every other handle reads what it wrote.
pub async fn what_is_recorded_is_there_for_every_handle<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let (writer, reader) = (subject.open(), subject.open());
    let id = writer.insert(&named("shared"), at(0)).await?;
    for kind in 0..KINDS {
        let change = Draw::seeded(1).change_of(kind);
        match writer.record(id, &change, at(1)).await {
            Ok(()) | Err(Error::WrongState { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let (written, read) = (writer.row(id).await?, reader.row(id).await?);
        ensure!(written == read, "another row after change {kind}");
    }
    Ok(())
}

/// Not even after the newest row was removed.
pub async fn ids_are_never_reused<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = ledger.insert(&named("again"), at(0)).await?;
        ensure!(!ids.contains(&id), "{id} names a second download");
        ids.push(id);
        ledger.remove(id).await?;
    }
    Ok(())
}

/// Those that are added are rows like any other, and adding all of them a second time adds nothing.
pub async fn of_many_that_are_added_together_those_of_new_destinations_are_new<S: LedgerUnderTest>(
    subject: &S,
) -> Result<(), Broken> {
    let (one, other) = (subject.open(), subject.open());
    let other = if subject.is_shared() { &other } else { &one };
    let there = one.insert(&named("together-1"), at(0)).await?;
    let names = ["together-0", "together-1", "together-2", "together-0"];
    let new: Vec<NewDownload> = names.iter().map(|name| named(name)).collect();
    let ids = one.insert_new(&new, at(1)).await?;
    let [Some(first), None, Some(second), None] = ids[..] else {
        return Err(Broken::because(format!("{ids:?}")));
    };
    ensure!(there < first && first < second, "{ids:?} after {there}");
    for (id, new) in [first, second].into_iter().zip(new.iter().step_by(2)) {
        let row = other.row(id).await?;
        ensure!(row == Row::new(id, new.clone()), "{row:?}");
    }
    let again = other.insert_new(&new, at(2)).await?;
    ensure!(again == [None; 4], "{again:?} the second time");
    if subject.is_shared() {
        one.remove(first).await?;
        let again = one.insert_new(&new, at(3)).await?;
        ensure!(matches!(again[..], [Some(_), None, None, None]), "{again:?} after a removal");
    }
    ensure!(one.insert_new(&[], at(4)).await?.is_empty(), "ids of nothing");
    Ok(())
}

/// Those of other destinations are left out.
pub async fn rows_of_a_destination_are_listed_newest_first<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    let mut ids = Vec::new();
    for name in ["here", "there", "here", "here/below", "here"] {
        let id = ledger.insert(&named(name), at(0)).await?;
        // A ledger that processes share may have one unfinished row of a destination.
        ledger.record(id, &Change::Cancelled, at(1)).await?;
        ids.push(id);
    }
    let rows = ledger.rows_for(&named("here").destination).await?;
    let found: Vec<DownloadId> = rows.iter().map(|row| row.id).collect();
    let mut expected: Vec<DownloadId> = ids.into_iter().step_by(2).collect();
    expected.reverse();
    expected.dedup(); // a ledger may keep only the last one
    ensure!(found == expected, "{found:?}, not {expected:?}");
    for row in rows {
        ensure!(row == ledger.row(row.id).await?, "row {} is another one", row.id);
    }
    let none = ledger.rows_for("/films").await?;
    ensure!(none.is_empty(), "rows of a destination that has none");
    Ok(())
}

/// One for each row that is not finished, in any order, and reading them changes nothing.
pub async fn the_marks_are_those_of_the_unfinished_rows<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    let before = ledger.unfinished_marks().await?;
    let mut expected = Vec::new();
    for (durable, status) in (1..).zip(Status::ALL) {
        let new = named(&format!("marked-{durable}"));
        let id = ledger.insert(&new, at(0)).await?;
        if !bring(subject, &ledger, id, status).await? {
            continue;
        }
        let checkpoint =
            Change::Checkpoint { downloaded: 100, durable, epoch: "an epoch".to_owned(), digests: Vec::new() };
        ledger.record(id, &checkpoint, at(1)).await?;
        let (destination, committing) = (new.destination, status == Status::Committing);
        if matches!(status, Status::Queued | Status::Downloading | Status::Waiting | Status::Committing) {
            expected.push(Mark { id, destination, committing, durable });
        }
    }
    for _ in 0..2 {
        let mut marks = ledger.unfinished_marks().await?;
        marks.retain(|mark| before.iter().all(|other| other.id != mark.id));
        marks.sort_by_key(|mark| mark.id);
        ensure!(marks == expected, "{marks:?}, not {expected:?}");
    }
    Ok(())
}

/// Eight callers on two handles at once begin two hundred attempts: each number is given once.
pub async fn attempts_are_counted_without_a_gap<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let handles = [subject.open(), subject.open()];
    let [first, _] = &handles;
    let id = first.insert(&named("counted"), at(0)).await?;
    let attempt = NewAttempt { at: at(1), from: 0 };
    let callers = handles.iter().cycle().take(8).map(async |ledger| {
        let mut numbers = Vec::new();
        for _ in 0..25 {
            numbers.push(ledger.begin_attempt(id, &attempt).await?);
        }
        Ok::<_, Error>(numbers)
    });
    let numbers: Result<Vec<Vec<u32>>, Error> = join_all(callers).await.into_iter().collect();
    let mut numbers = numbers?.concat();
    numbers.sort_unstable();
    ensure!(numbers == (1..=200).collect::<Vec<u32>>(), "{numbers:?}");
    let row = first.row(id).await?;
    ensure!(row.attempts == 200, "{} attempts, not 200", row.attempts);
    ensure!(row.status == Status::Downloading, "an attempt begins, but it is {}", row.status.name());
    Ok(())
}

/// No call finds a removed row.
pub async fn a_removed_row_is_gone<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let ledger = subject.open();
    let new = named("removed");
    let id = ledger.insert(&new, at(0)).await?;
    let attempt = NewAttempt { at: at(1), from: 0 };
    ledger.begin_attempt(id, &attempt).await?;
    ledger.remove(id).await?;
    ensure_fails!(ledger.row(id).await, Error::NoSuchDownload(_), "reading it");
    ensure_fails!(ledger.remove(id).await, Error::NoSuchDownload(_), "removing it");
    let begun = ledger.begin_attempt(id, &attempt).await;
    ensure_fails!(begun, Error::NoSuchDownload(_), "an attempt");
    for change in [Change::Claimed(true), Change::Queued, Change::Retried] {
        let recorded = ledger.record(id, &change, at(2)).await;
        ensure_fails!(recorded, Error::NoSuchDownload(_), "changing it");
    }
    ensure!(ledger.rows_for(&new.destination).await?.is_empty(), "it is listed");
    let marks = ledger.unfinished_marks().await?;
    ensure!(marks.iter().all(|mark| mark.id != id), "it is unfinished");
    Ok(())
}

/// If the ledger [leases](Ledger::lease): of two owners one gets the claim and can extend it; the other one gets it after
/// its end, when it is given back, or when the row is finished. Whoever has lost it can only cancel and pause. Without leases
/// everybody gets it.
pub async fn a_claim_has_one_owner_until_it_ends<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    let (one, other) = (subject.open(), subject.open());
    let id = one.insert(&named("claimed"), at(0)).await?;
    let Some(lease) = one.lease() else {
        let both = one.claim(id, "one", at(1)).await? && other.claim(id, "other", at(1)).await?;
        ensure!(both, "a claim is refused without leases");
        return Ok(());
    };
    ensure!(lease > Duration::ZERO, "a lease without a duration");
    let until = || subject.now() + lease;
    ensure!(one.claim(id, "one", until()).await?, "a free download is not claimed");
    for step in 0..3 {
        ensure!(!other.claim(id, "other", until()).await?, "two owners, step {step}");
        let attempt = NewAttempt { at: at(1), from: 0 };
        let written = other.begin_attempt(id, &attempt).await;
        ensure!(written.is_err(), "an attempt of who has no claim");
        let written = other.record(id, &Change::Queued, at(1)).await;
        ensure!(written.is_err(), "a change of who has no claim");
        one.record(id, &Change::Claimed(true), at(1)).await?;
        subject.pass(lease / 2).await;
        ensure!(one.claim(id, "one", until()).await?, "it cannot be extended");
    }
    subject.pass(lease * 2).await;
    ensure!(other.claim(id, "other", until()).await?, "it outlives its end");
    ensure!(!one.claim(id, "one", until()).await?, "it is taken back");
    let before = one.row(id).await?;
    let written = one.record(id, &Change::Queued, at(2)).await;
    ensure!(written.is_err(), "a change of who has lost its claim");
    let begun = one.begin_attempt(id, &NewAttempt { at: at(2), from: 0 }).await;
    ensure!(begun.is_err(), "an attempt of who has lost its claim");
    ensure!(one.row(id).await? == before, "a refused write changes the row");
    subject.pass(lease * 2).await;
    let written = one.record(id, &Change::Queued, at(2)).await;
    ensure!(written.is_err(), "a change of who has lost its claim, after that of the next one has ended");
    ensure!(other.claim(id, "other", until()).await?, "a claim that nobody took cannot be extended");
    other.record(id, &Change::Queued, at(3)).await?;
    one.record(id, &Change::Cancelled, at(3)).await?;
    let row = other.row(id).await?;
    ensure!(row.status == Status::Cancelled, "a cancel is lost");
    let written = one.record(id, &Change::Claimed(true), at(3)).await;
    ensure!(written.is_err(), "a change of who has lost its claim, after the end of the row");
    one.record(id, &Change::Retried, at(4)).await?; // what is finished has no owner
    ensure!(one.claim(id, "one again", until()).await?, "the claim outlives the end of its row");
    other.record(id, &Change::Paused, at(5)).await?;
    ensure!(one.row(id).await?.status == Status::Paused, "a pause is lost");
    other.record(id, &Change::Unpaused, at(6)).await?; // a pause ends the claim, too
    ensure!(other.claim(id, "other again", until()).await?, "the claim outlives a pause");
    other.record(id, &Change::Cancelled, at(7)).await?;
    other.record(id, &Change::Retried, at(8)).await?;
    let free = one.claim(id, "one once more", until()).await?;
    ensure!(free, "the claim outlives the end of its row");
    other.release(id, "other", Duration::ZERO).await?;
    ensure!(!other.claim(id, "other", until()).await?, "a claim is given back by who does not have it");
    one.release(id, "one once more", Duration::ZERO).await?;
    ensure!(other.claim(id, "other at last", until()).await?, "the claim outlives its release");
    subject.pass(lease * 2).await;
    ensure!(one.claim(id, "one at last", until()).await?, "it outlives its end");
    one.release(id, "one at last", Duration::ZERO).await?;
    let written = other.record(id, &Change::Queued, at(9)).await;
    ensure!(written.is_err(), "a change of who has lost its claim, after that of the next one was released");
    let gone = one.claim(i64::MAX, "one", until()).await;
    ensure_fails!(gone, Error::NoSuchDownload(_), "claiming nothing");
    Ok(())
}

/// If the ledger is [shared](LedgerUnderTest::is_shared): a wait for changes ends after another handle wrote, whether it
/// began before the write or after it.
pub async fn a_change_by_another_handle_is_noticed<S: LedgerUnderTest>(subject: &S) -> Result<(), Broken> {
    if !subject.is_shared() {
        return Ok(());
    }
    let (one, other) = (subject.open(), subject.open());
    let id = other.insert(&named("noticed"), at(0)).await?;
    for before in [false, true, false, true] {
        let mut changes = pin!(one.changes());
        if before && futures::poll!(changes.as_mut()).is_ready() {
            changes.set(one.changes());
        }
        other.record(id, &Change::Queued, at(1)).await?;
        // Long enough for a ledger that has to look.
        let patience = pin!(subject.pass(Duration::from_secs(30)));
        let noticed = matches!(select(changes, patience).await, Either::Left(_));
        ensure!(noticed, "not noticed, begun before: {before}");
    }
    Ok(())
}

/// Takes a new row to a status, or removes it if there is no way.
async fn bring<S: LedgerUnderTest>(
    subject: &S,
    ledger: &S::Ledger,
    id: DownloadId,
    status: Status,
) -> Result<bool, Broken> {
    let kind = match status {
        Status::Queued => return Ok(true),
        Status::Downloading => {
            ledger.begin_attempt(id, &NewAttempt { at: at(0), from: 0 }).await?;
            return Ok(true);
        }
        Status::ImportQueued | Status::Imported => {
            let set = subject.set_status(id, status).await;
            if !set {
                ledger.remove(id).await?;
            }
            return Ok(set);
        }
        Status::Waiting => 6,
        Status::Paused => 15,
        Status::Committing => 8,
        Status::Completed => 9,
        Status::Failed => 10,
        Status::Cancelled => 11,
    };
    ledger.record(id, &Draw::seeded(1).change_of(kind), at(0)).await?;
    Ok(true)
}

fn refused<T>(answer: Result<T, Error>, status: Status, what: &str) -> Result<(), Broken> {
    match answer {
        Err(Error::WrongState { status: found, .. }) if found == status => Ok(()),
        Err(error) => Err(Broken::because(format!("{what}: failed with {error}"))),
        Ok(_) => Err(Broken::because(format!("{what} is taken by a row that is {}", status.name()))),
    }
}

fn named(name: &str) -> NewDownload {
    new_download(&format!("https://example.org/{name}?key=1"), &format!("/films/{name}"))
}

fn committing() -> Change {
    Change::Committing { committing: Committing { token: PartToken("7:8".to_owned()), size: 5 }, digests: Vec::new() }
}

fn completed() -> Change {
    Change::Completed { size: 5, warning: None }
}
