//! What an engine has for each of its peers: permits, and whether it can be reached.

use crate::config::DownloadsConfig;
use crate::mutex::lock;
use crate::peer::Reachability;
use crate::record::Source;
use crate::semaphore::Semaphore;
use litemap::LiteMap;
use std::sync::Mutex;

/// By peer.
#[derive(Debug, Default)]
pub(super) struct Peers {
    permits: Mutex<LiteMap<String, Semaphore>>,
    /// Whether it can be reached.
    reachability: Mutex<LiteMap<String, Reachability>>,
}

impl Peers {
    pub(super) fn reconfigure(&self, config: &DownloadsConfig) {
        for permits in lock(&self.permits).values() {
            // `check` has refused a zero.
            let _ = permits.resize(config.permits_per_peer() as usize);
        }
        if config.breaker_failures == 0 {
            for peer in lock(&self.reachability).values() {
                peer.answered();
            }
        }
    }

    pub(super) fn reachability(&self, peer_id: &str) -> Reachability {
        let mut peers = lock(&self.reachability);
        peers.entry(peer_id.to_owned()).or_default().clone()
    }

    /// The reachability of the peer a source names; none for a plain URL.
    pub(super) fn of_source(&self, source: &Source) -> Option<Reachability> {
        match source {
            Source::Peer { peer_id, .. } => Some(self.reachability(peer_id)),
            Source::Url { .. } => None,
        }
    }

    /// The permits of a peer; a plain URL has none of its own.
    pub(super) fn permits(&self, source: &Source, config: &DownloadsConfig) -> Option<Semaphore> {
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
