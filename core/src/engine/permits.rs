//! Waits until a download may transfer data: its peer can be reached, and it holds its permits.

use super::line::{Turn, in_turn};
use super::shared::Shared;
use super::stop::{StopSignal, stopped};
use crate::error::Failed;
use crate::host::{Host, unless_alone};
use crate::job::Job;
use crate::origin::Inside;
use crate::record::Change;
use crate::semaphore::{Lane, Permit};
use crate::transport::ByteRange;
use crate::transport::{Request, Transport};
use std::time::Duration;

/// What a download holds while it may transfer data. Its place at the origin is released before its permit.
pub(super) struct Leave {
    _inside: Inside,
    _of_origin: Permit,
    _of_engine: Permit,
}

/// Waits for the peer, then for the permits, the first time in `turn`. That may take long, so the peer is checked again afterwards.
pub(super) async fn leave_to_move<H: Host>(
    shared: &Shared<H>,
    job: &mut Job<'_, H>,
    signal: &mut StopSignal,
    lane: Lane,
    turn: &mut Option<Turn<'_>>,
) -> Result<Leave, Failed> {
    loop {
        if is_out(job) {
            *turn = None;
            job.config = shared.config();
            unless_alone::<H, _>(wait_for_peer(job, signal)).await?;
        }
        let permits = signal.unless_stopped(in_turn(turn.take(), permits(shared, job, lane))).await.map_err(stopped)?;
        if !is_out(job) {
            return Ok(permits);
        }
    }
}

/// Returns `true` if the peer that is asked next cannot be reached.
pub(super) fn is_out<H: Host>(job: &Job<'_, H>) -> bool {
    let peer = job.reachability.as_ref().filter(|_| job.sources.next.is_none());
    !H::ALONE && peer.is_some_and(|peer| peer.outage().is_some())
}

/// Waits until the peer can be reached, without holding a permit and without using an attempt.
async fn wait_for_peer<H: Host>(job: &mut Job<'_, H>, signal: &mut StopSignal) -> Result<(), Failed> {
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
    // The head is enough: the body is dropped, and the connection with it.
    let probe = || async {
        let request = Request {
            url: &url,
            range: transport.rules(&url).range_always.then_some(ByteRange::from(0)),
            if_range: None,
        };
        transport.get(request).await.map(drop)
    };
    let reached = signal.unless_stopped(peer.reachable(clock, patience, probe));
    reached.await.map_err(stopped)??;
    job.record(Change::Queued).await
}

/// Acquires the permit of the origin first and then the global one, so that the queue of a slow origin does not block others. If the
/// origin became busy in the meantime, the download joins its queue again.
async fn permits<H: Host>(shared: &Shared<H>, job: &Job<'_, H>, lane: Lane) -> Leave {
    let priority = if H::ALONE { 0 } else { shared.priority(job.row.id) };
    loop {
        let of_origin = job.seat.permit(job.host.clock(), lane, priority).await;
        let of_engine = shared.permits.acquire_by(lane, priority).await;
        if let Some(inside) = job.seat.enter() {
            return Leave { _inside: inside, _of_origin: of_origin, _of_engine: of_engine };
        }
    }
}
