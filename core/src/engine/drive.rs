//! One download from its first attempt to its last.
//!
//! The order of the steps: become the only writer of the destination; wait until the peer can be reached; acquire the permits;
//! open and lock the part, before the row is changed; run one attempt; then commit, or release the permits and wait, or end.
//!
//! The larger steps are boxed: one future of all of them would be large, and so would be its code.

use super::admission::same_but_for_query;
use super::claim::{self, while_claimed};
use super::line::Turn;
use super::permits::{Leave, is_out, leave_to_move};
use super::shared::{Asked, Moving, Shared, enter};
use super::stop::{Stop, StopSignal, stopped};
use crate::bounds::{Bounds, Next};
use crate::calls;
use crate::classify::{Class, is_of_source};
use crate::error::{Error, Failed, chain};
use crate::event::{Summary, What, display_url};
use crate::finish::{commit, has_digests, repair};
use crate::host::{Host, PartOf, unless_alone};
use crate::job::{Candidate, Job, Pending, is_foreign, overruled};
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::origin::Busy;
use crate::record::{AttemptEnd, Change, DownloadId, Failure, NewAttempt, Outcome, RestartReason, Row, Status, Terms};
use crate::retry::AskedBy;
use crate::semaphore::Lane;
use crate::store::{OpenPart, Part, PartStore};
use crate::time::Clock;
use crate::transfer::{Stock, Whole, attempt, take_stock};
use std::time::Duration;

/// The result of an attempt.
enum After<P> {
    /// The file is complete, in an unnamed part.
    Whole(Box<(P, Whole)>),
    /// The file is at its final name.
    Done,
    /// Another attempt follows after this wait, which may be zero.
    Again(Duration),
    /// Another process completed it meanwhile.
    DoneElsewhere,
}

pub(super) async fn drive<H: Host>(shared: &Shared<H>, id: DownloadId) -> Result<Summary, Failed> {
    let turn = shared.line.join();
    lock(&shared.accepted).remove(&id);
    let inserted = shared.take_inserted(id);
    let is_own = inserted.is_some();
    let destination = match &inserted {
        Some(row) => row.new.destination.clone(),
        None => calls::row(&shared.host, id).await?.new.destination,
    };
    let (_writer, mut signal) = enter(shared, id, &destination)?;
    let held = claim::hold(shared, id);
    // From here on nothing else changes the row, in this process and, where the ledger has claims or holds, in others.
    let row = match inserted {
        Some(row) => *row,
        None => calls::row(&shared.host, id).await?,
    };
    let mut job = shared.job(row);
    job.is_own = is_own;
    if held.is_none() {
        let error = unless_alone::<H, _>(driven_elsewhere(&job)).await;
        return close(&mut job, Err(error), None).await;
    }
    match job.row.status {
        Status::Completed | Status::ImportQueued | Status::Imported => return Ok(job.summary(None)),
        Status::Failed | Status::Cancelled => return Err(job.row.wrong_state().into()),
        Status::Paused => {
            let error = unless_cancelled(&mut signal, Error::Paused.into());
            return close(&mut job, Err(error), None).await;
        }
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {}
    }
    let part = job.row.new.part.clone();
    let claimed = async {
        if !H::ALONE && shared.host.ledger().lease().is_some() {
            // Only from here on nothing in another process changes the row.
            job.row = calls::row(&shared.host, id).await?;
            // If a process died in an attempt, the bytes are kept in a part with a name from then on.
            job.is_own = job.row.attempts == 0;
            if job.row.status.is_complete() {
                return Ok(());
            }
            if !job.row.status.is_active() {
                return Err(overruled(job.row.wrong_state()));
            }
        }
        run(shared, &mut job, &mut signal, turn).await
    };
    let owner = claim::owner(shared);
    let ended = while_claimed(shared, (id, &owner), &part, claimed).await;
    let ended = ended.map_err(|error| unless_cancelled(&mut signal, error));
    // The request counts for this drive, and for no later one.
    let asked = lock(&shared.asked).remove(&id);
    let moving = asked.and_then(|asked| asked.moving);
    let before = moving.filter(|moving| moving.url != job.row.new.source.url());
    let closed = close(&mut job, ended, before).await;
    if !H::ALONE && job.row.status.is_complete() {
        lock(&shared.priorities).remove(&id);
    }
    if !H::ALONE {
        let could_not_be_driven = match &closed {
            Err(error) => matches!(**error, Error::PartLocked { .. }) || has_no_storage(&job, error),
            Ok(_) => false,
        };
        unless_alone::<H, _>(claim::release(shared, id, &owner, could_not_be_driven)).await;
    }
    closed
}

/// A cancel that was accepted while the drive ended for another reason counts. A file that its digest refused has failed all the same:
/// whoever retries it must know that its bytes do not count.
fn unless_cancelled(signal: &mut StopSignal, error: Failed) -> Failed {
    match signal.close() {
        Some(Stop::Cancel) if !matches!(*error, Error::DigestMismatch { .. }) => Error::Cancelled.into(),
        Some(_) | None => error,
    }
}

/// The error of a download that another process drives. During an attempt the lock on the part says which one.
async fn driven_elsewhere<H: Host>(job: &Job<'_, H>) -> Failed {
    let part = &job.row.new.part;
    if job.row.status == Status::Downloading
        && job.row.claimed
        && let Err(error) = calls::open(job.host, part, OpenPart::Claimed).await
        && matches!(*error, Error::PartLocked { .. })
    {
        return error;
    }
    claim::taken(part)
}

/// Finishes a commit that a crash interrupted, and does nothing else.
pub(super) async fn repair_only<H: Host>(shared: &Shared<H>, id: DownloadId) -> Result<bool, Failed> {
    let destination = calls::row(&shared.host, id).await?.new.destination;
    let (_writer, mut signal) = enter(shared, id, &destination)?;
    let Some(_held) = claim::hold(shared, id) else {
        return Ok(false);
    };
    let row = calls::row(&shared.host, id).await?;
    if row.status != Status::Committing {
        // A stop that was sent meanwhile is recorded by nobody else.
        let change = match signal.close() {
            Some(Stop::Cancel) => Change::Cancelled,
            Some(Stop::Pause) => Change::Paused,
            Some(Stop::End) | None => return Ok(false),
        };
        shared.host.ledger().record(id, &change, shared.host.clock().wall()).await.map_err(overruled)?;
        return Ok(false);
    }
    let mut job = shared.job(row);
    let repaired = match repair(&mut job, None).await {
        Ok(false) => return Ok(false),
        repaired => repaired.map(drop),
    };
    close(&mut job, repaired, None).await.map(|_| true)
}

/// Runs attempts until the file is complete or an error is final.
async fn run<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    signal: &mut StopSignal,
    turn: Turn<'_>,
) -> Result<(), Failed> {
    let asked = lock(&shared.asked).get(&job.row.id).map(|asked| asked.terms.digests.clone());
    // The file of a row that is `committing` was verified with the row's own digests.
    let is_committing = job.row.status == Status::Committing;
    let wanted = asked.or_else(|| (!is_committing).then(|| job.row.digests.clone()));
    // The others need not wait for a repair.
    let mut turn = Some(turn).filter(|_| !is_committing);
    if repair(job, wanted.as_deref()).await? {
        return Ok(());
    }
    let mut random = fastrand::Rng::with_seed(shared.host.seed());
    let mut lane = Lane::Arriving;
    loop {
        if !H::ALONE {
            job.reachability = shared.peers.of_source(&job.row.new.source);
            ask_mirrors_first(job);
        }
        shared.seat(job);
        let permits = leave_to_move(shared, job, signal, lane, &mut turn).await?;
        // If the peer is asked now, its next outage is another one.
        job.sources.without_peer &= job.sources.next.is_some();
        job.config = shared.config();
        let after = Box::pin(one_attempt(shared, job, signal, &mut random)).await;
        let after = match H::ALONE {
            true => {
                drop(permits);
                after
            }
            false => unless_alone::<H, _>(finish_unnamed(shared, job, permits, after)).await,
        };
        match after? {
            After::Done => {
                job.seat.completed(shared.host.clock().now());
                return Ok(());
            }
            After::DoneElsewhere => return Ok(()),
            After::Whole(_) => {} // it is finished above
            After::Again(delay) => {
                // No data is transferred now, so no permit is held.
                if !delay.is_zero() {
                    signal.unless_stopped(shared.host.clock().sleep(delay)).await.map_err(stopped)?;
                }
                lane = Lane::Returning;
            }
        }
    }
}

/// If the peer cannot be reached, each mirror is asked once before the download waits for it.
fn ask_mirrors_first<H: Host>(job: &mut Job<'_, H>) {
    if is_out(job) && !job.sources.without_peer {
        job.sources.without_peer = true;
        job.sources.next = job.row.new.mirrors.first().cloned();
    }
}

async fn one_attempt<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    signal: &mut StopSignal,
    random: &mut fastrand::Rng,
) -> Result<After<PartOf<H>>, Failed> {
    let asked = lock(&shared.asked).get(&job.row.id).cloned();
    if let Some(asked) = &asked {
        job.row.new.adopt = asked.terms.adopt;
    }
    let opened = signal.unless_stopped(Box::pin(open(job))).await.map_err(stopped)?;
    let (error, offset) = match opened {
        Ok(part) => match with_part(shared, job, signal, part, asked).await? {
            Ok(after) => return Ok(after),
            Err((error, offset)) => (error, Some(offset)),
        },
        Err(error) => (error, None),
    };
    retry_or_fail(job, error, offset, random).await
}

/// One attempt with an open part. If it failed, returns its error and the offset that it reached.
async fn with_part<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    signal: &mut StopSignal,
    mut part: PartOf<H>,
    asked: Option<Asked>,
) -> Result<Result<After<PartOf<H>>, (Failed, u64)>, Failed> {
    let stock = match begin(shared, job, &mut part, asked).await {
        Ok(stock) => stock,
        Err(error) => return leave(job, part, error).await.map(Ok),
    };
    let ended = signal.unless_stopped(Box::pin(attempt(job, &mut part, stock))).await;
    job.seat.stop_moving();
    if job.candidate.is_none() {
        let mut asked = lock(&shared.asked);
        // The row has the URL that was on trial by now.
        if asked.get(&job.row.id).is_some_and(|asked| asked.moving.is_some()) {
            asked.remove(&job.row.id);
        }
    }
    let ended = match ended {
        Ok(Ok(whole)) => match signal.close() {
            Some(stop @ (Stop::Cancel | Stop::Pause)) => Err(stop),
            Some(Stop::End) | None if part.is_named() => return finish(job, part, whole).await.map(Ok),
            Some(Stop::End) | None => return Ok(Ok(After::Whole(Box::new((part, whole))))),
        },
        Ok(Err(error)) => Ok(error),
        Err(stop) => Err(stop),
    };
    // A file with another digest has nothing that the next source could be compared with.
    let is_mismatch = matches!(&ended, Ok(error) if matches!(**error, Error::DigestMismatch { .. }));
    if !H::ALONE && is_mismatch && !job.row.new.mirrors.is_empty() {
        let restarted = unless_alone::<H, _>(job.restart(&mut part, RestartReason::DigestMismatch)).await;
        // The source is dropped for good, so there are no more such restarts than sources.
        if let Err(error) = restarted
            && !matches!(*error, Error::TooManyRestarts { .. })
        {
            return Err(error);
        }
    }
    // The ledger numbers the attempt, whose end follows.
    if job.has_pending() {
        job.record_pending().await?;
    }
    // The partial data is kept; if even that fails, the first error is the one to report.
    let offset = job.settle(&mut part).await.unwrap_or(job.row.durable);
    match ended {
        Ok(error) => Ok(Err((error, offset))),
        Err(stop) => {
            let outcome = match stop {
                Stop::Cancel => Outcome::Cancelled,
                Stop::Pause | Stop::End => Outcome::Interrupted,
            };
            job.record(job.attempt_ended(offset, outcome, None)).await?;
            Err(stopped(stop))
        }
    }
}

/// Begins an attempt: the row as it is now, the terms of the last call, and the number of the attempt.
async fn begin<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    asked: Option<Asked>,
) -> Result<Stock, Failed> {
    // Another process may have driven, ended or removed this row while we waited. From here on the lock on the part keeps
    // it from being driven or removed, and the ledger refuses what an end does not admit.
    if part.is_named() {
        let row = calls::row(job.host, job.row.id).await?;
        if !H::ALONE && row.status.is_complete() && !is_wanted(&job.row, &row) {
            let Row { id, new, .. } = row;
            return Err(Error::DestinationBusy { path: new.destination, id, url: display_url(new.source.url()) }.into());
        }
        job.row = row;
    }
    if !job.row.status.is_active() {
        return Err(overruled(job.row.wrong_state()));
    }
    // Not earlier: while another process wrote the part, its terms counted.
    job.candidate = None;
    match asked {
        Some(Asked { terms, moving: Some(moving) }) if moving.url != job.row.new.source.url() => {
            let same_path = same_but_for_query(&moving.url, job.row.new.source.url());
            job.candidate = Some(Candidate { url: moving.url, same_path, terms, bounds: Some(job.row.bounds) });
            job.row.bounds = job.trial_bounds.unwrap_or(job.row.bounds);
        }
        Some(Asked { terms, .. }) => {
            job.record(Change::Terms(terms)).await?;
            lock(&shared.asked).remove(&job.row.id);
        }
        None => {}
    }
    // A mirror is next only if no URL of a user is on trial.
    if !H::ALONE
        && let Some(url) = job.sources.next.clone()
    {
        let same_path = same_but_for_query(&url, job.row.new.source.url());
        let terms = terms_at(job, &url);
        job.candidate = Some(Candidate { url, same_path, terms, bounds: None });
    }
    let stock = take_stock(job, part).await?;
    let from = stock.unwrap_or(0);
    let begin = NewAttempt { at: job.host.clock().wall(), from };
    if part.is_named() {
        job.attempt = job.host.ledger().begin_attempt(job.row.id, &begin).await.map_err(overruled)?;
        job.row.begin_attempt();
    } else {
        job.attempt = job.row.begin_attempt();
        job.pending = Some(Pending { begin, changes: Vec::new(), since: job.host.clock().now() });
    }
    job.received = 0;
    job.unconfirmed = 0; // the row has been read since
    // Bytes from before are not progress of this attempt, even if a killed process left them.
    job.row.bounds.furthest = job.row.bounds.furthest.max(from);
    job.emit(What::Started { attempt: job.attempt, from });
    Ok(stock)
}

/// Opens the part. A row claims it before it is first created, and only if the file does not exist. The part of a new row has no
/// name yet, if the store has such parts.
async fn open<H: Host>(job: &mut Job<'_, H>) -> Result<PartOf<H>, Failed> {
    let path = job.row.new.part.clone();
    let how = if job.row.claimed {
        Some(OpenPart::Claimed)
    } else if job.row.new.adopt {
        Some(OpenPart::Adopt)
    } else if calls::exists(job.host, &path).await? {
        // Another process may have begun the same download at this moment: then the row claims the part by now, and the lock
        // says who has it.
        job.row = calls::row(job.host, job.row.id).await?;
        job.row.claimed.then_some(OpenPart::Claimed)
    } else if let Some(unnamed) = job.is_own.then(|| job.host.store().unnamed(&path)).flatten() {
        return Ok(unnamed);
    } else {
        job.record(Change::Claimed(true)).await?;
        Some(OpenPart::Create)
    };
    let mut opened = match how {
        Some(how) => calls::open(job.host, &path, how).await,
        None => Err(Error::ForeignPart { path }.into()),
    };
    if let (None | Some(OpenPart::Create), Err(error)) = (how, &mut opened) {
        job.look_for_writer(error).await;
    }
    let claims = match (how, &opened) {
        (Some(OpenPart::Adopt), Ok(_)) => Some(true),
        (Some(OpenPart::Create), Err(error)) if is_foreign(error) => Some(false),
        _ => None,
    };
    if let Some(claims) = claims {
        job.record(Change::Claimed(claims)).await?;
    }
    opened
}

/// Releases the permits after an attempt. A complete file in an unnamed part is finished then: no data is transferred any more, so
/// other downloads may start while this one is synced together with others.
async fn finish_unnamed<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    permits: Leave,
    after: Result<After<PartOf<H>>, Failed>,
) -> Result<After<PartOf<H>>, Failed> {
    let finished = match after {
        Ok(After::Whole(whole)) => {
            let _room = shared.naming.acquire().await;
            drop(permits);
            let (part, whole) = *whole;
            finish(job, part, whole).await
        }
        after => {
            drop(permits);
            after
        }
    };
    match finished {
        Err(error) if was_completed(job, &error).await => Ok(After::DoneElsewhere),
        finished => finished,
    }
}

/// Returns `true` if another process completed the download while this one fetched it, too. Its part is removed then.
async fn was_completed<H: Host>(job: &mut Job<'_, H>, error: &Error) -> bool {
    if !matches!(error, Error::WrongState { .. } | Error::DestinationExists { .. } | Error::ForeignPart { .. }) {
        return false;
    }
    match calls::row(job.host, job.row.id).await {
        Ok(row) if row.status.is_complete() && is_wanted(&job.row, &row) => job.row = row,
        _ => return false,
    }
    if job.row.claimed {
        let _ = calls::remove(job.host, &job.row.new.part).await; // the file is complete anyway
    }
    true
}

/// Returns `true` if what another process completed is what `wanted` asked for: a file of its source, with its digests.
fn is_wanted(wanted: &Row, done: &Row) -> bool {
    let Row { new, digests, .. } = wanted;
    done.new.is_same(&new.source, &new.mirrors) && has_digests(done, digests)
}

/// Gives up a part that was only opened. An empty one may have been created by that: after its row was removed, so that no row
/// claims it, or beside the file that another process has completed.
async fn leave<H: Host>(job: &Job<'_, H>, mut part: PartOf<H>, error: Failed) -> Result<After<PartOf<H>>, Failed> {
    let done = job.row.status.is_complete();
    let ended = !matches!(*error, Error::Ledger { .. });
    if part.is_named() && (done || (ended && calls::length(&mut part).await.is_ok_and(|length| length == 0))) {
        drop(part);
        // The error to report is the first one; the file is empty.
        let _ = calls::remove(job.host, &job.row.new.part).await;
    }
    if done { Ok(After::DoneElsewhere) } else { Err(error) }
}

async fn finish<H: Host>(job: &mut Job<'_, H>, part: PartOf<H>, whole: Whole) -> Result<After<PartOf<H>>, Failed> {
    let size = whole.size;
    if let Err(error) = commit(job, part, whole, true).await {
        let (outcome, failure) = match &*error {
            Error::Cancelled => (Outcome::Cancelled, None),
            Error::Paused => (Outcome::Interrupted, None),
            other => (Outcome::Failed, Some(job.failure(other))),
        };
        // The first error is the one to report.
        let _ = job.record(job.attempt_ended(size, outcome, failure)).await;
        return Err(error);
    }
    Ok(After::Done)
}

/// Decides what follows a failed attempt, and records it. `offset` is what the attempt reached, if it began at all.
async fn retry_or_fail<H: Host>(
    job: &mut Job<'_, H>,
    error: Failed,
    offset: Option<u64>,
    random: &mut fastrand::Rng,
) -> Result<After<PartOf<H>>, Failed> {
    let error = match H::ALONE {
        true => error,
        false => match unless_alone::<H, _>(fail_over(job, error, offset)).await? {
            Ok(after) => return Ok(after),
            Err(error) => error,
        },
    };
    let Some(Follows { bounds, wait, busy }) = follows(job, &error, offset, random) else {
        return Err(error);
    };
    if let Some(to) = offset {
        let (attempt, outcome) = (job.attempt, Outcome::Failed);
        let mut failure = job.failure(&error);
        if has_no_storage(job, &error) {
            failure.class = Class::Transient;
        }
        let end = AttemptEnd { attempt, to, outcome, error: Some(failure), wait };
        // Attempts at a URL on trial count for this drive, and not for the row.
        let of_row = job.candidate.as_ref().and_then(|candidate| candidate.bounds);
        job.trial_bounds = of_row.map(|_| bounds);
        job.record(Change::AttemptEnded { end, bounds: of_row.unwrap_or(bounds) }).await?;
    }
    job.row.bounds = bounds;
    let why = chain(&*error);
    let (delay, asked_by) = match (busy, wait) {
        (Some(Busy { moving, latest }), _) => {
            let delay = wait.map_or(Duration::ZERO, |(delay, _)| delay);
            let others = match moving {
                1 => "1 other download from there moves".to_owned(),
                _ => format!("{moving} other downloads from there move"),
            };
            job.waits(latest.max(delay), format!("origin_busy: {why} while {others}")).await?;
            return Ok(After::Again(delay));
        }
        (None, Some(wait)) => wait,
        (None, None) => return Err(error),
    };
    job.record_wait(delay, why.clone()).await?;
    job.emit(What::Retrying { attempt: job.attempt, delay, asked_by, class: job.class(&error), error: why });
    Ok(After::Again(delay))
}

/// The terms of the row with `url` as its source, beside the other ones that are not lost.
fn terms_at<H: Host>(job: &Job<'_, H>, url: &str) -> Terms {
    let mut terms = job.row.terms();
    let old = job.row.new.source.url();
    terms.mirrors.retain(|mirror| mirror != url);
    if job.sources.lost.is_none() && old != url {
        terms.mirrors.push(old.to_owned());
    }
    terms
}

/// Chooses the next source after a failed attempt. A source that fails for good is dropped: its error is in the timeline. One that
/// fails for the time being is asked again after all others, which costs no attempt; a whole round of them costs one, with its wait.
/// Returns the error if nothing follows from the sources.
async fn fail_over<H: Host>(
    job: &mut Job<'_, H>,
    error: Failed,
    offset: Option<u64>,
) -> Result<Result<After<PartOf<H>>, Failed>, Failed> {
    let on_trial = job.candidate.as_ref();
    let mirror = on_trial.filter(|candidate| candidate.bounds.is_none()).map(|candidate| candidate.url.clone());
    let is_of_user = on_trial.is_some() && mirror.is_none();
    let Some(to) = offset.filter(|_| !is_of_user && !job.row.new.mirrors.is_empty() && is_of_source(&error)) else {
        return Ok(Err(error));
    };
    let bounds = job.row.bounds.after_attempt(to, job.received, job.config.progress_reset_bytes);
    let transient = job.class(&error) == Class::Transient;
    let progressed = bounds.in_all == job.row.bounds.in_all;
    if transient && progressed && mirror.is_none() {
        job.sources.failed = 0;
        return Ok(Err(error));
    }
    let failed_url = display_url(job.url());
    let mirrors = &job.row.new.mirrors;
    let at = mirror.as_ref().and_then(|url| mirrors.iter().position(|known| known == url));
    // The one after it; the row's own URL comes after the last.
    let after = |index: usize| mirrors.get(index).cloned();
    let dropped = mirror.clone().filter(|_| !transient);
    let mut next = after(at.map_or(0, |at| at.saturating_add(1)));
    if next.is_none() && job.sources.lost.is_some() {
        next = after(0);
    }
    let left = mirrors.len().saturating_sub(usize::from(dropped.is_some()));
    // The row's own URL counts, too, unless it is lost; if it is lost only now, there are mirrors.
    let alive = left.saturating_add(usize::from(job.sources.lost.is_none()));
    job.sources.next.clone_from(&next);
    let why = match &*error {
        Error::DestinationBusy { .. } => "it serves another file than the first source".to_owned(),
        error => chain(error),
    };
    let text = format!("{failed_url}: {why}");
    let failure = Failure { text: text.clone(), ..job.failure(&error) };
    if transient {
        job.sources.failed = job.sources.failed.saturating_add(1);
        if job.sources.failed >= alive {
            job.sources.failed = 0;
            return Ok(Err(error));
        }
    } else if alive == 0 {
        // The error of the first source says more than that of a mirror which it was compared with.
        return Ok(Err(job.sources.lost.take().unwrap_or(error)));
    }
    let class = job.class(&error);
    let bounds = Bounds { furthest: bounds.furthest, ..job.row.bounds };
    let end = AttemptEnd { attempt: job.attempt, to, outcome: Outcome::Failed, error: Some(failure), wait: None };
    job.record(Change::AttemptEnded { end, bounds }).await?;
    if let Some(dropped) = &dropped {
        let mut terms = job.row.terms();
        terms.mirrors.retain(|mirror| mirror != dropped);
        job.record(Change::Terms(terms)).await?;
    } else if !transient {
        job.sources.lost = Some(error);
    }
    let next = display_url(job.sources.next.as_deref().unwrap_or(job.row.new.source.url()));
    let why = format!("{text}; next source: {next}");
    job.record_wait(Duration::ZERO, why.clone()).await?;
    let (attempt, delay, asked_by) = (job.attempt, Duration::ZERO, AskedBy::Jitter);
    job.emit(What::Retrying { attempt, delay, asked_by, class, error: why });
    Ok(Ok(After::Again(delay)))
}

/// What follows a failed attempt.
struct Follows {
    /// The counts for the limits.
    bounds: Bounds,
    /// The wait before the next attempt, and who asked for it.
    wait: Option<(Duration, AskedBy)>,
    /// The origin is busy with other downloads: the attempt does not count, and the next one waits for its turn there.
    busy: Option<Busy>,
}

fn follows<H: Host>(
    job: &Job<'_, H>,
    error: &Error,
    offset: Option<u64>,
    random: &mut fastrand::Rng,
) -> Option<Follows> {
    let policy = job.config.retry_policy().ok()?;
    let (now, most) = (job.host.clock().now(), job.config.max_download_attempts);
    let busy = offset.and_then(|_| job.seat.busy(error, now, most));
    if busy.is_some() {
        let asked = error.retry_after().map(|asked| asked.min(policy.max_delay));
        let wait = asked.map(|asked| (asked, AskedBy::RetryAfter));
        return Some(Follows { bounds: job.row.bounds, wait, busy });
    }
    if has_no_storage(job, error) {
        return Some(Follows { bounds: job.row.bounds, wait: None, busy });
    }
    let (reached, received) = offset.map_or((0, 0), |offset| (offset, job.received));
    let bounds = job.row.bounds.after_attempt(reached, received, job.config.progress_reset_bytes);
    let wait = match bounds.next(error, &job.config, &policy, random) {
        Next::Retry { delay, asked_by } => Some((delay, asked_by)),
        Next::Fail => None,
    };
    Some(Follows { bounds, wait, busy })
}

/// Returns `true` if this process has no storage, which is not the fault of the download: the others that share the ledger may do
/// better.
fn has_no_storage<H: Host>(job: &Job<'_, H>, error: &Error) -> bool {
    !H::ALONE && job.host.ledger().lease().is_some() && job.host.store().is_down(error)
}

/// Records the end of a drive and emits its event. `before` is the state of the row before a URL was tried that did not prove to
/// serve its file.
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
    // An error of recording replaces it: another process may have cancelled the download.
    let error = last_word(job, &error, before).await.err().unwrap_or(error);
    match &*error {
        Error::Interrupted => {}
        error if has_no_storage(job, error) => job.emit(What::Queued),
        // It is the download of whoever has the claim, and goes on there.
        Error::PartLocked { .. } if job.host.ledger().lease().is_some() => {}
        Error::Paused => job.emit(What::Paused { bytes: job.row.downloaded }),
        Error::Cancelled => job.emit(What::Cancelled(job.summary(Some(&error)))),
        _ => job.emit(What::Failed(job.summary(Some(&error)))),
    }
    Err(error)
}

async fn last_word<H: Host>(job: &mut Job<'_, H>, error: &Error, before: Option<Moving>) -> Result<(), Failed> {
    let change = match error {
        // The row of another process: its writer will record the end, or has.
        Error::PartLocked { .. } | Error::WrongState { .. } | Error::NoSuchDownload(_) => return Ok(()),
        // The ledger may not take it, and a row that is `committing` may have its file: the next start looks.
        Error::Ledger { .. } => return Ok(()),
        error if has_no_storage(job, error) => match job.row.status {
            // The file may have its name by now.
            Status::Committing if job.row.committing.is_some() => return Ok(()),
            _ => Change::Queued,
        },
        Error::Interrupted => Change::Queued,
        Error::Cancelled => Change::Cancelled,
        Error::Paused => Change::Paused,
        _ => match before {
            Some(Moving { status: Status::Failed, failure: Some(failure), .. }) => Change::Failed(failure),
            Some(Moving { status: Status::Cancelled, .. }) => Change::Cancelled,
            Some(Moving { status: Status::Paused, .. }) => Change::Paused,
            Some(_) => Change::Queued,
            None => Change::Failed(job.failure(error)),
        },
    };
    if matches!(change, Change::Failed(_)) {
        // Before the end is recorded: after it the part may be of another process that retries. The error is reported even if this fails.
        let _ = sweep(job).await;
    }
    job.record(change).await
}

/// Removes the empty part of a failed download. A part that is not there stays claimed: its folder may come back.
async fn sweep<H: Host>(job: &mut Job<'_, H>) -> Result<(), Failed> {
    let path = job.row.new.part.clone();
    if !job.row.claimed || job.row.downloaded > 0 || !calls::exists(job.host, &path).await? {
        return Ok(());
    }
    let mut part = calls::open(job.host, &path, OpenPart::Claimed).await?;
    if calls::length(&mut part).await? == 0 {
        drop(part);
        calls::remove(job.host, &path).await?;
        job.record(Change::Claimed(false)).await?;
    }
    Ok(())
}
