//! One download from its first attempt to its last.
//!
//! The order of things: the destination is ours alone; permits; the part, opened and locked before the row is changed; one
//! attempt; then either the commit, or the permits back and a wait, or the end.

use super::stop::{Ear, Stop};
use super::{Shared, Writer, lock};
use crate::bounds::Next;
use crate::classify::class;
use crate::error::{Error, Failed, chain};
use crate::event::{Summary, What};
use crate::finish::{Repaired, commit, repair};
use crate::io::{Clock, Host, Ledger, OpenPart, Part, PartStore};
use crate::job::{Job, PartOf, failure};
use crate::record::{AttemptEnd, Change, DownloadId, NewAttempt, Status, Waiting};
use crate::semaphore::{Lane, Permit};
use crate::transfer::{Whole, attempt, take_stock};
use futures::channel::oneshot;
use std::time::Duration;

/// How an attempt left things.
enum After {
    /// The file is at its final name.
    Done,
    /// Another attempt after a wait.
    Again(Duration),
    /// Another process completed it meanwhile.
    DoneElsewhere,
}

pub(super) async fn drive<H: Host>(shared: &Shared<H>, id: DownloadId) -> Result<Summary, Failed> {
    let destination = shared.host.ledger().row(id).await?.new.destination;
    let (_writer, mut ear) = enter(shared, id, &destination)?;
    // Only now nobody else in this process changes it.
    let row = shared.host.ledger().row(id).await?;
    let mut job = Job::new(&shared.host, shared.config(), shared.digests, row);
    match job.row.status {
        Status::Completed | Status::ImportQueued => return Ok(job.summary(None)),
        Status::Failed | Status::Cancelled => {
            return Err(Error::WrongState {
                id,
                status: job.row.status.name(),
            }
            .into());
        }
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {}
    }
    let ended = Box::pin(run(shared, &mut job, &mut ear)).await;
    Box::pin(close(&mut job, ended)).await
}

/// Attempts until there is a file or no hope.
async fn run<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    ear: &mut Ear,
) -> Result<(), Failed> {
    if job.row.status == Status::Committing && Box::pin(repair(job)).await? == Repaired::Completed {
        return Ok(());
    }
    let mut random = fastrand::Rng::with_seed(shared.host.seed());
    let mut lane = Lane::Arriving;
    loop {
        let permits = ear
            .unless_stopped(permits(shared, job, lane))
            .await
            .map_err(stopped)?;
        job.config = shared.config();
        let after = Box::pin(one_attempt(job, ear, &mut random)).await?;
        drop(permits);
        match after {
            After::Done | After::DoneElsewhere => return Ok(()),
            After::Again(delay) => {
                // Nothing of this download moves now, so nothing of the engine's is held.
                ear.unless_stopped(shared.host.clock().sleep(delay))
                    .await
                    .map_err(stopped)?;
                lane = Lane::Returning;
            }
        }
    }
}

/// The peer's permit first, then the global one, so that a slow peer's queue does not hold up others.
async fn permits<H: Host>(
    shared: &Shared<H>,
    job: &Job<'_, H>,
    lane: Lane,
) -> (Option<Permit>, Permit) {
    let peer = match shared.peer(&job.row.new.source) {
        Some(peer) => Some(peer.acquire_in(lane).await),
        None => None,
    };
    (peer, shared.permits.acquire_in(lane).await)
}

async fn one_attempt<H: Host>(
    job: &mut Job<'_, H>,
    ear: &mut Ear,
    random: &mut fastrand::Rng,
) -> Result<After, Failed> {
    let opened = ear
        .unless_stopped(Box::pin(open(job)))
        .await
        .map_err(stopped)?;
    let mut part = match opened {
        Ok(part) => part,
        Err(error) => return retry_or_fail(job, error, None, random).await,
    };
    // Another process may have driven this row while we waited; the lock on the part now keeps it as it is.
    job.row = job.host.ledger().row(job.row.id).await?;
    if job.row.status.is_finished() {
        return elsewhere(job, part).await;
    }
    let stock = take_stock(job, &mut part).await?;
    let from = stock.unwrap_or(0);
    let begin = NewAttempt {
        at: job.host.clock().wall(),
        from,
    };
    let number = job.host.ledger().begin_attempt(job.row.id, &begin).await?;
    job.row.begin_attempt();
    job.attempt = number;
    job.emit(What::Started {
        attempt: number,
        from,
    });
    let ended = ear
        .unless_stopped(Box::pin(attempt(job, &mut part, stock)))
        .await;
    match ended {
        Ok(Ok(whole)) => match ear.close() {
            Some(Stop::Cancel) => stop_here(job, part, Stop::Cancel).await,
            Some(Stop::End) | None => Box::pin(finish(job, part, whole)).await,
        },
        Ok(Err(error)) => {
            // What came is kept; where even that fails the first error is the one to tell.
            let offset = job.settle(&mut part).await.unwrap_or(job.row.durable);
            drop(part);
            retry_or_fail(job, error, Some(offset), random).await
        }
        Err(stop) => stop_here(job, part, stop).await,
    }
}

/// Keeps what came, and the line in the timeline.
async fn stop_here<H: Host>(
    job: &mut Job<'_, H>,
    mut part: PartOf<H>,
    stop: Stop,
) -> Result<After, Failed> {
    let to = job.settle(&mut part).await.unwrap_or(job.row.durable);
    let outcome = match stop {
        Stop::Cancel => "cancelled",
        Stop::End => "interrupted",
    };
    let (attempt, bounds) = (job.attempt, job.row.bounds);
    let end = AttemptEnd {
        attempt,
        to,
        outcome,
        error: None,
        wait: None,
    };
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
        return Err(Error::ForeignPart { path }.into());
    }
    job.record(Change::Claimed(true)).await?;
    match store.open(&path, OpenPart::Create).await {
        Err(error @ Error::ForeignPart { .. }) => {
            job.record(Change::Claimed(false)).await?;
            Err(error.into())
        }
        opened => Ok(opened?),
    }
}

async fn elsewhere<H: Host>(job: &mut Job<'_, H>, part: PartOf<H>) -> Result<After, Failed> {
    match job.row.status {
        Status::Completed | Status::ImportQueued => {
            // Opening has created an empty part anew.
            drop(part);
            job.host.store().remove(&job.row.new.part).await?;
            Ok(After::DoneElsewhere)
        }
        _ => Err(Error::WrongState {
            id: job.row.id,
            status: job.row.status.name(),
        }
        .into()),
    }
}

async fn finish<H: Host>(
    job: &mut Job<'_, H>,
    part: PartOf<H>,
    whole: Whole,
) -> Result<After, Failed> {
    let (size, bounds) = (whole.size, job.row.bounds);
    let committed = commit(job, part, whole).await;
    let error = committed.as_ref().err().map(|error| failure(error));
    let outcome = if error.is_some() {
        "failed"
    } else {
        "completed"
    };
    let end = AttemptEnd {
        attempt: job.attempt,
        to: size,
        outcome,
        error,
        wait: None,
    };
    let noted = job.record(Change::AttemptEnded { end, bounds }).await;
    committed?;
    // The file is at its name and the ledger says so: a line missing in the timeline takes nothing back.
    drop(noted);
    Ok(After::Done)
}

/// What a failed attempt leads to. `offset` is what it reached, where it began at all.
async fn retry_or_fail<H: Host>(
    job: &mut Job<'_, H>,
    error: Failed,
    offset: Option<u64>,
    random: &mut fastrand::Rng,
) -> Result<After, Failed> {
    let Ok(policy) = job.config.retry_policy() else {
        return Err(error);
    };
    let bounds = job
        .row
        .bounds
        .after_attempt(offset.unwrap_or(0), job.config.progress_reset_bytes);
    let next = bounds.next(&error, &job.config, &policy, random);
    let wait = match next {
        Next::Retry { delay, asked_by } => Some((delay, asked_by)),
        Next::Fail => None,
    };
    if let Some(to) = offset {
        let end = AttemptEnd {
            attempt: job.attempt,
            to,
            outcome: "failed",
            error: Some(failure(&error)),
            wait,
        };
        job.record(Change::AttemptEnded { end, bounds }).await?;
    } else {
        job.row.bounds = bounds;
    }
    let Some((delay, asked_by)) = wait else {
        return Err(error);
    };
    let until = job.host.clock().wall().checked_add(delay);
    let until = until.unwrap_or_else(|| job.host.clock().wall());
    job.record(Change::Waits(Waiting {
        until,
        why: chain(&*error),
    }))
    .await?;
    let (attempt, class, error) = (job.attempt, class(&error), chain(&*error));
    job.emit(What::Retrying {
        attempt,
        delay,
        asked_by,
        class,
        error,
    });
    Ok(After::Again(delay))
}

/// The row's last word, and the listener's.
async fn close<H: Host>(
    job: &mut Job<'_, H>,
    ended: Result<(), Failed>,
) -> Result<Summary, Failed> {
    let error = match ended {
        Ok(()) => {
            let summary = job.summary(None);
            job.emit(What::Completed(summary.clone()));
            return Ok(summary);
        }
        Err(error) => error,
    };
    match &*error {
        // Not this process's row to change: its writer will.
        Error::PartLocked { .. } | Error::WrongState { .. } => {}
        // The row cannot be trusted to take it, and one that is `committing` may have its file: the next start looks.
        Error::Ledger { .. } => {}
        Error::Interrupted => job.record(Change::Queued).await?,
        Error::Cancelled => {
            job.record(Change::Cancelled).await?;
            job.emit(What::Cancelled(job.summary(Some(&error))));
            return Err(error);
        }
        _ => {
            job.record(Change::Failed(failure(&error))).await?;
            // The error is told whether or not the sweeping works.
            let _ = sweep(job).await;
        }
    }
    if !matches!(*error, Error::Interrupted) {
        job.emit(What::Failed(job.summary(Some(&error))));
    }
    Err(error)
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

fn stopped(stop: Stop) -> Error {
    match stop {
        Stop::Cancel => Error::Cancelled,
        Stop::End => Error::Interrupted,
    }
}

/// Keeps a destination for one writer; dropping it lets the next one in.
struct Entered<'a, H> {
    shared: &'a Shared<H>,
    destination: String,
}

impl<H> Drop for Entered<'_, H> {
    fn drop(&mut self) {
        lock(&self.shared.writers).remove(&self.destination);
    }
}

fn enter<'a, H>(
    shared: &'a Shared<H>,
    id: DownloadId,
    destination: &str,
) -> Result<(Entered<'a, H>, Ear), Failed> {
    let mut writers = lock(&shared.writers);
    if let Some(writer) = writers.get(destination) {
        let (path, id) = (destination.to_owned(), writer.id);
        return Err(Error::DestinationBusy {
            path,
            id,
            url: String::new(),
        }
        .into());
    }
    let (sender, receiver) = oneshot::channel();
    writers.insert(
        destination,
        Writer {
            id,
            stop: Some(sender),
            told: None,
        },
    );
    Ok((
        Entered {
            shared,
            destination: destination.to_owned(),
        },
        Ear::new(receiver),
    ))
}
