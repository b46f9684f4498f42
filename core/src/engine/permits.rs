//! Leave to move bytes: the peer can be reached, and the permits are held.

use super::shared::Shared;
use super::stop::{Ear, stopped};
use crate::error::Failed;
use crate::host::Host;
use crate::job::Job;
use crate::origin::Inside;
use crate::record::Change;
use crate::semaphore::{Lane, Permit};
use crate::transport::ByteRange;
use crate::transport::{Request, Transport};
use std::time::Duration;

/// What a download holds while its bytes may move. Room at the origin is made before its permit is given back.
pub(super) struct Leave {
    _inside: Inside,
    _of_origin: Permit,
    _of_engine: Permit,
}

/// Permits, once the peer can be reached. They may be long in coming, so the peer is looked at again then.
pub(super) async fn leave_to_move<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    ear: &mut Ear,
    lane: Lane,
) -> Result<Leave, Failed> {
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
    job.waits(patience, why).await?;
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

/// The origin's permit first, then the global one, so that a slow origin's queue does not hold up others. While it waited
/// for the second, the origin may have become busy: then it queues there again.
async fn permits<H: Host>(shared: &Shared<H>, job: &Job<'_, H>, lane: Lane) -> Leave {
    loop {
        let of_origin = job.seat.permit(job.host.clock(), lane).await;
        let of_engine = shared.permits.acquire_in(lane).await;
        if let Some(inside) = job.seat.enter() {
            return Leave {
                _inside: inside,
                _of_origin: of_origin,
                _of_engine: of_engine,
            };
        }
    }
}
