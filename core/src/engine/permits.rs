//! Leave to move bytes: the peer can be reached, and the permits are held.

use super::shared::Shared;
use super::stop::{Ear, stopped};
use crate::error::Failed;
use crate::event::What;
use crate::host::Host;
use crate::job::Job;
use crate::record::{Change, Waiting};
use crate::semaphore::{Lane, Permit};
use crate::time::Clock;
use crate::transport::ByteRange;
use crate::transport::{Request, Transport};
use std::time::Duration;

/// Permits, once the peer can be reached. They may be long in coming, so the peer is looked at again then.
pub(super) async fn leave_to_move<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    ear: &mut Ear,
    lane: Lane,
) -> Result<(Option<Permit>, Permit), Failed> {
    loop {
        if is_out(job) {
            job.config = shared.config();
            wait_for_peer(job, ear).await?;
        }
        let permits = ear
            .unless_stopped(permits(shared, job, lane))
            .await
            .map_err(stopped)?;
        if !is_out(job) {
            return Ok(permits);
        }
    }
}

fn is_out<H: Host>(job: &Job<'_, H>) -> bool {
    let peer = job.reachability.as_ref();
    peer.is_some_and(|peer| peer.outage().is_some())
}

/// Waits until the peer can be reached, with nothing of the engine's held and no attempt spent.
async fn wait_for_peer<H: Host>(job: &mut Job<'_, H>, ear: &mut Ear) -> Result<(), Failed> {
    let Some(peer) = job.reachability.clone() else {
        return Ok(());
    };
    let Some(outage) = peer.outage() else {
        return Ok(());
    };
    let (clock, transport) = (job.host.clock(), job.host.transport());
    let patience = Duration::from_millis(job.config.peer_patience_ms);
    let why = format!("the peer cannot be reached: {}", outage.last.error());
    let until = clock.wall().checked_add(patience);
    let until = until.unwrap_or_else(|| clock.wall());
    let waiting = Waiting {
        until,
        why: why.clone(),
    };
    job.record(Change::Waits(waiting)).await?;
    job.emit(What::Waiting { until, why });
    let url = job.row.new.source.url().to_owned();
    // Its head says enough: the body is dropped, and with it the connection.
    let probe = || async {
        let request = Request {
            url: &url,
            range: transport
                .rules(&url)
                .range_always
                .then_some(ByteRange::from(0)),
            if_range: None,
        };
        transport.get(request).await.map(drop)
    };
    let reached = ear.unless_stopped(peer.reachable(clock, patience, probe));
    reached.await.map_err(stopped)??;
    job.record(Change::Queued).await
}

/// The peer's permit first, then the global one, so that a slow peer's queue does not hold up others.
async fn permits<H: Host>(
    shared: &Shared<H>,
    job: &Job<'_, H>,
    lane: Lane,
) -> (Option<Permit>, Permit) {
    let of_peer = shared.peers.permits(&job.row.new.source, &shared.config());
    let of_peer = match of_peer {
        Some(permits) => Some(permits.acquire_in(lane).await),
        None => None,
    };
    (of_peer, shared.permits.acquire_in(lane).await)
}
