//! What an engine has for each of its peers: permits, and the line to it.
//!
//! Left out without the feature `peers`; `no_peers` stands in its place then.

use super::drive::stopped;
use super::line::PeerLine;
use super::stop::Ear;
use super::{Shared, lock};
use crate::config::DownloadsConfig;
use crate::error::Failed;
use crate::event::What;
use crate::io::{Clock, Host, Request, Transport};
use crate::job::Job;
use crate::record::{Change, Source, Waiting};
use crate::semaphore::{Lane, Permit, Semaphore};
use litemap::LiteMap;
use std::sync::Mutex;
use std::time::Duration;

/// By peer.
#[derive(Debug, Default)]
pub(super) struct Peers {
    permits: Mutex<LiteMap<String, Semaphore>>,
    /// Whether it can be reached.
    lines: Mutex<LiteMap<String, PeerLine>>,
}

impl Peers {
    pub(super) fn reconfigure(&self, config: &DownloadsConfig) {
        for permits in lock(&self.permits).values() {
            // `check` has refused a zero.
            let _ = permits.resize(config.permits_per_peer() as usize);
        }
        if config.breaker_failures == 0 {
            for line in lock(&self.lines).values() {
                line.answered();
            }
        }
    }

    pub(super) fn line(&self, peer_id: &str) -> PeerLine {
        let mut lines = lock(&self.lines);
        lines.entry(peer_id.to_owned()).or_default().clone()
    }

    /// The line to where the bytes come from; there is none to a plain URL.
    pub(super) fn line_of(&self, source: &Source) -> Option<PeerLine> {
        match source {
            Source::Peer { peer_id, .. } => Some(self.line(peer_id)),
            Source::Url { .. } => None,
        }
    }

    /// The permits of a peer; a plain URL has none of its own.
    fn permits(&self, source: &Source, config: &DownloadsConfig) -> Option<Semaphore> {
        let Source::Peer { peer_id, .. } = source else {
            return None;
        };
        let mut permits = lock(&self.permits);
        if let Some(permits) = permits.get(peer_id) {
            return Some(permits.clone());
        }
        let fresh = Semaphore::new(config.permits_per_peer() as usize).ok()?;
        permits.insert(peer_id.clone(), fresh.clone());
        Some(fresh)
    }
}

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
    let line = job.line.as_ref();
    line.is_some_and(|line| line.outage().is_some())
}

/// Waits until the peer can be reached, with nothing of the engine's held and no attempt spent.
async fn wait_for_peer<H: Host>(job: &mut Job<'_, H>, ear: &mut Ear) -> Result<(), Failed> {
    let Some(line) = job.line.clone() else {
        return Ok(());
    };
    let Some(outage) = line.outage() else {
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
            first: transport.rules(&url).range_always.then_some(0),
            if_range: None,
        };
        transport.get(request).await.map(drop)
    };
    let reached = ear.unless_stopped(line.reachable(clock, patience, probe));
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
