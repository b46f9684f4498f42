//! One download from its first attempt to its last.
//!
//! The order of things: the destination is ours alone; the peer can be reached; permits; the part, opened and locked before
//! the row is changed; one attempt; then either the commit, or the permits back and a wait, or the end.
//!
//! The larger steps are boxed where they are awaited: one future of all of them would be large, and so would be its code.

use super::admission::same_but_for_query;
use super::claim::while_claimed;
use super::permits::leave_to_move;
use super::shared::{Asked, Moving, Shared, enter};
use super::stop::{Ear, Stop, stopped};
use crate::bounds::Next;
use crate::error::{Error, Failed, chain};
use crate::event::{Summary, What};
use crate::finish::{Repaired, commit, has_digests, recognise, repair};
use crate::host::Host;
use crate::job::{Candidate, Job, PartOf, Pending, overruled};
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::origin::Busy;
use crate::record::{AttemptEnd, Change, DigestRow, DownloadId, NewAttempt, Outcome, Row, Status, Waiting};
use crate::retry::AskedBy;
use crate::semaphore::Lane;
use crate::store::{OpenPart, Part, PartStore};
use crate::time::Clock;
use crate::transfer::{Whole, attempt, take_stock};
use std::time::Duration;

/// How an attempt left things.
enum After<P> {
    /// All bytes are in a part that is still to get its name. No byte of it moves any more, so others may.
    Whole(P, Whole),
    /// The file is at its final name.
    Done,
    /// Another attempt after a wait, if there is one.
    Again(Duration),
    /// Another process completed it meanwhile.
    DoneElsewhere,
}

pub(super) async fn drive<H: Host>(shared: &Shared<H>, id: DownloadId) -> Result<Summary, Failed> {
    let inserted = lock(&shared.accepted).remove(&id).flatten();
    let destination = match &inserted {
        Some(row) => row.new.destination.clone(),
        None => shared.host.ledger().row(id).await?.new.destination,
    };
    let (_writer, mut ear) = enter(shared, id, &destination)?;
    let is_own = inserted.is_some();
    // Only now nobody else in this process changes it.
    let row = match inserted {
        Some(row) => row,
        None => shared.host.ledger().row(id).await?,
    };
    let mut job = shared.job(row);
    job.is_own = is_own;
    job.reachability = shared.peers.of_source(&job.row.new.source);
    match job.row.status {
        Status::Completed | Status::ImportQueued => return Ok(job.summary(None)),
        Status::Failed | Status::Cancelled => return Err(job.row.wrong_state().into()),
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {}
    }
    let part = job.row.new.part.clone();
    let ended = while_claimed(shared, id, &part, run(shared, &mut job, &mut ear)).await;
    // What was asked for counts for this drive, and for no later one.
    let asked = lock(&shared.asked).remove(&id);
    let moving = asked.and_then(|asked| asked.moving);
    let before = moving.filter(|moving| moving.url != job.row.new.source.url());
    close(&mut job, ended, before).await
}

/// The end of a commit that was interrupted, and nothing else.
pub(super) async fn repair_only<H: Host>(shared: &Shared<H>, id: DownloadId) -> Result<bool, Failed> {
    let destination = shared.host.ledger().row(id).await?.new.destination;
    let (_writer, _ear) = enter(shared, id, &destination)?;
    let row = shared.host.ledger().row(id).await?;
    if row.status != Status::Committing {
        return Ok(false);
    }
    let mut job = shared.job(row);
    let repaired = match repair(&mut job).await {
        Ok(Repaired::GoOn) => return Ok(false),
        Ok(Repaired::Completed) => Ok(()),
        Err(error) => Err(error),
    };
    close(&mut job, repaired, None).await.map(|_| true)
}

/// Attempts until there is a file or no hope.
async fn run<H: Host>(shared: &Shared<H>, job: &mut Job<'_, H>, ear: &mut Ear) -> Result<(), Failed> {
    if job.row.status == Status::Committing {
        let asked = lock(&shared.asked).get(&job.row.id).cloned();
        let is_right = asked.is_none_or(|asked| has_digests(&job.row, &asked.terms.digests));
        if is_right && repair(job).await? == Repaired::Completed {
            return Ok(());
        }
    } else if recognise(job, &wanted(shared, &job.row)).await? {
        return Ok(());
    }
    let mut random = fastrand::Rng::with_seed(shared.host.seed());
    let mut lane = Lane::Arriving;
    loop {
        shared.seat(job);
        let permits = leave_to_move(shared, job, ear, lane).await?;
        job.config = shared.config();
        let mut after = Box::pin(one_attempt(shared, job, ear, &mut random)).await;
        if let Ok(After::Whole(part, whole)) = after {
            let _room = shared.naming.acquire().await;
            drop(permits);
            after = Box::pin(finish(job, part, whole)).await;
        } else {
            drop(permits);
        }
        match after {
            Err(error) if was_completed(job, &error).await => return Ok(()),
            Err(error) => return Err(error),
            Ok(After::Whole(..)) => {}
            Ok(After::Done) => {
                job.seat.completed(shared.host.clock().now());
                return Ok(());
            }
            Ok(After::DoneElsewhere) => return Ok(()),
            Ok(After::Again(delay)) => {
                // Nothing of this download moves now, so nothing of the engine's is held.
                if !delay.is_zero() {
                    ear.unless_stopped(shared.host.clock().sleep(delay)).await.map_err(stopped)?;
                }
                lane = Lane::Returning;
            }
        }
    }
}

/// The digests that the file must have, by the last call.
fn wanted<H: Host>(shared: &Shared<H>, row: &Row) -> Vec<DigestRow> {
    match lock(&shared.asked).get(&row.id) {
        Some(asked) => asked.terms.digests.clone(),
        None => row.digests.clone(),
    }
}

async fn one_attempt<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    ear: &mut Ear,
    random: &mut fastrand::Rng,
) -> Result<After<PartOf<H>>, Failed> {
    let asked = lock(&shared.asked).get(&job.row.id).cloned();
    if let Some(asked) = &asked {
        job.row.new.adopt = asked.terms.adopt;
    }
    let opened = ear.unless_stopped(Box::pin(open(job))).await.map_err(stopped)?;
    let mut part = match opened {
        Ok(part) => part,
        Err(error) => return retry_or_fail(job, error, None, random).await,
    };
    // Another process may have driven, ended or removed this row while we waited. From here on the lock on the part keeps
    // it from being driven or removed, and the ledger refuses what an end does not admit.
    if part.is_named() {
        match job.host.ledger().row(job.row.id).await {
            Ok(row) => job.row = row,
            Err(error) => return leave(job, part, error.into()).await,
        }
    }
    if job.row.status.is_finished() {
        return elsewhere(job, part).await;
    }
    // Only now: while another process wrote the part, the terms were that one's.
    job.candidate = None;
    match asked {
        Some(Asked { terms, moving: Some(moving) }) if moving.url != job.row.new.source.url() => {
            let same_path = same_but_for_query(&moving.url, job.row.new.source.url());
            job.candidate = Some(Candidate { url: moving.url, same_path, terms, bounds: job.row.bounds });
            job.row.bounds = job.trial_bounds.unwrap_or(job.row.bounds);
        }
        Some(Asked { terms, .. }) => {
            job.record(Change::Terms(terms)).await?;
            lock(&shared.asked).remove(&job.row.id);
        }
        None => {}
    }
    let stock = take_stock(job, &mut part).await?;
    let from = stock.unwrap_or(0);
    let begin = NewAttempt { at: job.host.clock().wall(), from };
    let number = job.row.attempts.saturating_add(1);
    job.attempt = match part.is_named() {
        true => match job.host.ledger().begin_attempt(job.row.id, &begin).await {
            Ok(number) => number,
            Err(error) => return leave(job, part, overruled(error).into()).await,
        },
        false => {
            job.pending = Some(Pending { begin, changes: Vec::new(), since: job.host.clock().now() });
            number
        }
    };
    job.row.begin_attempt();
    job.received = 0;
    // Bytes from before are not progress of this attempt, even if a killed process left them.
    job.row.bounds.furthest = job.row.bounds.furthest.max(from);
    job.emit(What::Started { attempt: job.attempt, from });
    let ended = ear.unless_stopped(Box::pin(attempt(job, &mut part, stock))).await;
    job.seat.stop_moving();
    if job.candidate.is_none() {
        let mut asked = lock(&shared.asked);
        // A URL that was on trial is the row's by now.
        if asked.get(&job.row.id).is_some_and(|asked| asked.moving.is_some()) {
            asked.remove(&job.row.id);
        }
    }
    match ended {
        Ok(Ok(whole)) => match ear.close() {
            Some(Stop::Cancel) => stop_here(job, part, Stop::Cancel).await,
            Some(Stop::End) | None if part.is_named() => Box::pin(finish(job, part, whole)).await,
            Some(Stop::End) | None => Ok(After::Whole(part, whole)),
        },
        Ok(Err(error)) => {
            // The partial data is kept; if even that fails, the first error is the one to report.
            let offset = job.settle(&mut part).await.unwrap_or(job.row.durable);
            drop(part);
            retry_or_fail(job, error, Some(offset), random).await
        }
        Err(stop) => stop_here(job, part, stop).await,
    }
}

/// Keeps the partial data, and the line in the timeline.
async fn stop_here<H: Host>(job: &mut Job<'_, H>, mut part: PartOf<H>, stop: Stop) -> Result<After<PartOf<H>>, Failed> {
    job.record_pending().await?;
    let to = job.settle(&mut part).await.unwrap_or(job.row.durable);
    let outcome = match stop {
        Stop::Cancel => Outcome::Cancelled,
        Stop::End => Outcome::Interrupted,
    };
    let (attempt, bounds) = (job.attempt, job.row.bounds);
    let end = AttemptEnd { attempt, to, outcome, error: None, wait: None };
    job.record(Change::AttemptEnded { end, bounds }).await?;
    Err(stopped(stop).into())
}

/// Opens the part. A row claims it before it is first created, and only where nothing is there.
async fn open<H: Host>(job: &mut Job<'_, H>) -> Result<PartOf<H>, Failed> {
    let store = job.host.store();
    let path = job.row.new.part.clone();
    if job.row.claimed {
        return Ok(store.open(&path, OpenPart::Claimed).await?);
    }
    if job.row.new.adopt {
        let part = store.open(&path, OpenPart::Adopt).await?;
        job.record(Change::Claimed(true)).await?;
        return Ok(part);
    }
    if store.exists(&path).await? {
        return there_already(job, path).await;
    }
    if let Some(unnamed) = store.unnamed(&path).filter(|_| job.is_own) {
        return Ok(unnamed);
    }
    job.record(Change::Claimed(true)).await?;
    match store.open(&path, OpenPart::Create).await {
        Err(Error::ForeignPart { path }) => Err(job.refuse_foreign(path).await?.into()),
        opened => Ok(opened?),
    }
}

/// A part that our row did not claim when we read it. Another process may have begun the same download at this moment: then
/// the row claims it by now, and the lock says who has it.
async fn there_already<H: Host>(job: &mut Job<'_, H>, path: String) -> Result<PartOf<H>, Failed> {
    job.row = job.host.ledger().row(job.row.id).await?;
    if job.row.claimed {
        return Ok(job.host.store().open(&path, OpenPart::Claimed).await?);
    }
    Err(job.not_ours(path).await.into())
}

/// Whether another process completed the download while this one fetched it, too. Its part is not needed any more then.
async fn was_completed<H: Host>(job: &mut Job<'_, H>, error: &Error) -> bool {
    if !matches!(error, Error::WrongState { .. } | Error::DestinationExists { .. } | Error::ForeignPart { .. }) {
        return false;
    }
    match job.host.ledger().row(job.row.id).await {
        Ok(row) if matches!(row.status, Status::Completed | Status::ImportQueued) => job.row = row,
        _ => return false,
    }
    if job.row.claimed {
        let _ = job.host.store().remove(&job.row.new.part).await; // the file is complete anyway
    }
    true
}

async fn elsewhere<H: Host>(job: &mut Job<'_, H>, part: PartOf<H>) -> Result<After<PartOf<H>>, Failed> {
    match job.row.status {
        Status::Completed | Status::ImportQueued => {
            // Opening has created an empty part anew. Whether that can be removed or not, the file is whole.
            drop(part);
            let _ = job.host.store().remove(&job.row.new.part).await;
            Ok(After::DoneElsewhere)
        }
        Status::Cancelled => leave(job, part, Error::Cancelled.into()).await,
        _ => leave(job, part, job.row.wrong_state().into()).await,
    }
}

/// Gives up a part that was only opened: an empty one may have been created by that, after its row was removed, and would
/// then be nobody's.
async fn leave<H: Host>(job: &Job<'_, H>, mut part: PartOf<H>, error: Failed) -> Result<After<PartOf<H>>, Failed> {
    let ended = !matches!(*error, Error::Ledger { .. });
    if ended && part.is_named() && part.length().await.is_ok_and(|length| length == 0) {
        drop(part);
        // What is told is the error; the file is empty.
        let _ = job.host.store().remove(&job.row.new.part).await;
    }
    Err(error)
}

async fn finish<H: Host>(job: &mut Job<'_, H>, part: PartOf<H>, whole: Whole) -> Result<After<PartOf<H>>, Failed> {
    let (to, bounds) = (whole.size, job.row.bounds);
    if let Err(error) = commit(job, part, whole, Some(bounds)).await {
        let (outcome, failure) = match &*error {
            Error::Cancelled => (Outcome::Cancelled, None),
            other => (Outcome::Failed, Some(job.failure(other))),
        };
        let end = AttemptEnd { attempt: job.attempt, to, outcome, error: failure, wait: None };
        // The first error is the one to tell.
        let _ = job.record(Change::AttemptEnded { end, bounds }).await;
        return Err(error);
    }
    Ok(After::Done)
}

/// What a failed attempt leads to. `offset` is what it reached, where it began at all.
async fn retry_or_fail<H: Host>(
    job: &mut Job<'_, H>,
    error: Failed,
    offset: Option<u64>,
    random: &mut fastrand::Rng,
) -> Result<After<PartOf<H>>, Failed> {
    let Ok(policy) = job.config.retry_policy() else {
        return Err(error);
    };
    job.record_pending().await?;
    if let Some(to) = offset {
        let (now, most) = (job.host.clock().now(), job.config.max_download_attempts);
        if let Some(busy) = job.seat.busy(&error, now, most) {
            return give_way(job, error, to, busy).await;
        }
    }
    let (reached, received) = match offset {
        Some(offset) => (offset, job.received),
        None => (0, 0),
    };
    let reset = job.config.progress_reset_bytes;
    let bounds = job.row.bounds.after_attempt(reached, received, reset);
    let next = bounds.next(&error, &job.config, &policy, random);
    let wait = match next {
        Next::Retry { delay, asked_by } => Some((delay, asked_by)),
        Next::Fail => None,
    };
    if let Some(to) = offset {
        let end =
            AttemptEnd { attempt: job.attempt, to, outcome: Outcome::Failed, error: Some(job.failure(&error)), wait };
        // Attempts at a URL on trial count for this drive, and not for the row.
        let of_row = job.candidate.as_ref().map(|candidate| candidate.bounds);
        job.trial_bounds = of_row.map(|_| bounds);
        let recorded = of_row.unwrap_or(bounds);
        let ended = Change::AttemptEnded { end, bounds: recorded };
        job.record(ended).await?;
    }
    job.row.bounds = bounds;
    let Some((delay, asked_by)) = wait else {
        return Err(error);
    };
    let until = job.host.clock().wall().checked_add(delay);
    let until = until.unwrap_or_else(|| job.host.clock().wall());
    job.record(Change::Waits(Waiting { until, why: chain(&*error) })).await?;
    let (attempt, class, error) = (job.attempt, job.class(&error), chain(&*error));
    job.emit(What::Retrying { attempt, delay, asked_by, class, error });
    Ok(After::Again(delay))
}

/// The origin is busy with other downloads: this attempt counts for nothing, and the next one has to wait for its turn there.
async fn give_way<H: Host>(
    job: &mut Job<'_, H>,
    error: Failed,
    to: u64,
    busy: Busy,
) -> Result<After<PartOf<H>>, Failed> {
    let most = Duration::from_millis(job.config.retry_max_delay_ms);
    let asked = error.retry_after().map(|asked| asked.min(most));
    let end = AttemptEnd {
        attempt: job.attempt,
        to,
        outcome: Outcome::Failed,
        error: Some(job.failure(&error)),
        wait: asked.map(|asked| (asked, AskedBy::RetryAfter)),
    };
    let bounds = job.row.bounds;
    job.record(Change::AttemptEnded { end, bounds }).await?;
    let delay = asked.unwrap_or_default();
    let Busy { moving, latest } = busy;
    let others = match moving {
        1 => "1 other download from there moves".to_owned(),
        _ => format!("{moving} other downloads from there move"),
    };
    let why = format!("origin_busy: {} while {others}", chain(&*error));
    job.waits(latest.max(delay), why).await?;
    Ok(After::Again(delay))
}

/// The row's last word, and the listener's. `before` is how the row stood before a URL was tried that did not prove to
/// have its file.
async fn close<H: Host>(
    job: &mut Job<'_, H>,
    ended: Result<(), Failed>,
    before: Option<Moving>,
) -> Result<Summary, Failed> {
    let error = match ended {
        Ok(()) => {
            let summary = job.summary(None);
            job.emit(What::Completed(summary.clone()));
            return Ok(summary);
        }
        Err(error) => error,
    };
    // What keeps it from being recorded counts for more: another process may have called the download off.
    let error = last_word(job, &error, before).await.err().unwrap_or(error);
    match &*error {
        Error::Interrupted => {}
        Error::Cancelled => job.emit(What::Cancelled(job.summary(Some(&error)))),
        _ => job.emit(What::Failed(job.summary(Some(&error)))),
    }
    Err(error)
}

async fn last_word<H: Host>(job: &mut Job<'_, H>, error: &Error, before: Option<Moving>) -> Result<(), Failed> {
    match error {
        // Not this process's row to change: its writer will, or has.
        Error::PartLocked { .. } | Error::WrongState { .. } | Error::NoSuchDownload(_) => Ok(()),
        // The row cannot be trusted to take it, and one that is `committing` may have its file: the next start looks.
        Error::Ledger { .. } => Ok(()),
        Error::Interrupted => job.record(Change::Queued).await,
        Error::Cancelled => job.record(Change::Cancelled).await,
        _ if before.is_some() => match before {
            Some(Moving { status: Status::Failed, failure: Some(failure), .. }) => {
                job.record(Change::Failed(failure)).await
            }
            Some(Moving { status: Status::Cancelled, .. }) => job.record(Change::Cancelled).await,
            _ => job.record(Change::Queued).await,
        },
        _ => {
            job.record(Change::Failed(job.failure(error))).await?;
            // The error is told whether or not the sweeping works.
            let _ = sweep(job).await;
            Ok(())
        }
    }
}

/// A download that came to nothing leaves no empty part behind.
async fn sweep<H: Host>(job: &mut Job<'_, H>) -> Result<(), Failed> {
    let (store, path) = (job.host.store(), job.row.new.part.clone());
    if !job.row.claimed || job.row.downloaded > 0 || !store.exists(&path).await? {
        return Ok(());
    }
    let empty = store.open(&path, OpenPart::Claimed).await?.length().await? == 0;
    if empty {
        store.remove(&path).await?;
        job.record(Change::Claimed(false)).await?;
    }
    Ok(())
}
