//! Claims on downloads, for processes that share a ledger and its work.
//!
//! Invariant: this process drives a download only while its claim is valid. It stops when another process has the claim, or
//! when it cannot extend its own claim until shortly before the end of the lease.

use super::shared::Shared;
use crate::error::{Error, Failed};
use crate::host::{Host, unless_alone};
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::record::DownloadId;
use crate::time::{Clock, Instant};
use futures::future::{Either, select};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

/// The owner that a drive is: each is one of its own, so that one that loses its claim is not taken for the next one.
pub(super) fn owner<H: Host>(shared: &Shared<H>) -> String {
    match shared.host.ledger().lease() {
        Some(_) if !H::ALONE => format!("{}-{:016x}", shared.owner, shared.host.seed()),
        _ => String::new(),
    }
}

/// Runs `work` while `owner` has the claim on the download. `part` names the download in the error.
pub(super) async fn while_claimed<H: Host, T>(
    shared: &Shared<H>,
    (id, owner): (DownloadId, &str),
    part: &str,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let mut work = pin!(work);
    if H::ALONE {
        return work.await;
    }
    let lease = shared.host.ledger().lease();
    let clock = shared.host.clock();
    let extended_at = Mutex::new(clock.now_with_suspension());
    if let Some(lease) = lease
        && !unless_alone::<H, _>(extend(shared, id, owner, lease)).await?
    {
        return Err(taken(part));
    }
    let mut lost = pin!(unless_alone::<H, _>(lost(shared, id, owner, lease, &extended_at)));
    poll_fn(|context| {
        // The claim first, before another byte is written: after the machine was suspended no timer has fired yet.
        let is_over = lease.is_some_and(|lease| clock.now_with_suspension().since(*lock(&extended_at)) >= lasts(lease));
        if is_over || lost.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(taken(part)));
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Gives the claim back: the drive has ended, and others need not wait for the end of its lease. A download that could not be driven
/// rests before it is offered again, as after a failed attempt.
pub(super) async fn release<H: Host>(shared: &Shared<H>, id: DownloadId, owner: &str, could_not_be_driven: bool) {
    let ledger = shared.host.ledger();
    if ledger.lease().is_none() {
        return;
    }
    let times = {
        let mut given_back = lock(&shared.given_back);
        let times = given_back.remove(&id).filter(|_| could_not_be_driven).unwrap_or(0);
        if could_not_be_driven {
            given_back.insert(id, times.saturating_add(1));
        }
        times
    };
    let mut random = fastrand::Rng::with_seed(shared.host.seed());
    let rest = match shared.config().retry_policy() {
        Ok(policy) if could_not_be_driven => policy.jitter(times.saturating_add(1), &mut random),
        _ => Duration::ZERO,
    };
    // If it fails, the claim ends by itself.
    let _ = ledger.release(id, owner, rest).await;
}

/// Extends the claim three times per lease. Returns when it is lost or about to end; never, if nothing is claimed. A claim lasts from
/// the moment it was asked for, however late the answer is.
async fn lost<H: Host>(
    shared: &Shared<H>,
    id: DownloadId,
    owner: &str,
    lease: Option<Duration>,
    extended_at: &Mutex<Instant>,
) {
    let Some(lease) = lease else {
        return pending().await;
    };
    let clock = shared.host.clock();
    let step = lease / 3;
    let mut next = lock(extended_at).after(step);
    loop {
        clock.sleep(next.since(clock.now_with_suspension())).await;
        let asked_at = clock.now_with_suspension();
        next = asked_at.after(step);
        let extension = pin!(extend(shared, id, owner, lease));
        let before = *lock(extended_at);
        let give_up = lasts(lease).saturating_sub(asked_at.since(before));
        match select(extension, pin!(clock.sleep(give_up))).await {
            Either::Left((Ok(true), _)) => *lock(extended_at) = asked_at,
            Either::Left((Ok(false), _)) | Either::Right(_) => return,
            // The next call may succeed while the claim is still valid.
            Either::Left((Err(_), _)) if clock.now_with_suspension().since(before) < step * 2 => {}
            Either::Left((Err(_), _)) => return,
        }
    }
}

/// How long a claim counts after it was asked for: a sixth of the lease less, for what takes a while to stop.
fn lasts(lease: Duration) -> Duration {
    lease.saturating_sub(lease / 6)
}

async fn extend<H: Host>(shared: &Shared<H>, id: DownloadId, owner: &str, lease: Duration) -> Result<bool, Error> {
    let now = shared.host.clock().wall();
    match now.checked_add(lease) {
        Some(until) => shared.host.ledger().claim(id, owner, until).await,
        None => pending().await, // a lease without an end never has to be extended
    }
}

/// Keeps other processes from driving a download. Dropping it lets them.
pub(super) struct Held<'a, H: Host>(&'a Shared<H>, DownloadId);

/// `None` if another process drives the download.
pub(super) fn hold<H: Host>(shared: &Shared<H>, id: DownloadId) -> Option<Held<'_, H>> {
    (H::ALONE || shared.host.ledger().hold(id)).then(|| Held(shared, id))
}

impl<H: Host> Drop for Held<'_, H> {
    fn drop(&mut self) {
        if !H::ALONE {
            self.0.host.ledger().let_go(self.1);
        }
    }
}

pub(super) fn taken(part: &str) -> Failed {
    Error::PartLocked { path: part.to_owned(), pid: None, lock_file: None }.into()
}
