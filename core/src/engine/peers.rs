//! The reachability of each peer of an engine.

use crate::config::DownloadsConfig;
use crate::mutex::lock;
use crate::peer::Reachability;
use crate::record::Source;
use litemap::LiteMap;
use std::sync::Mutex;

/// By peer.
#[derive(Debug, Default)]
pub(super) struct Peers {
    reachability: Mutex<LiteMap<String, Reachability>>,
}

impl Peers {
    pub(super) fn reconfigure(&self, config: &DownloadsConfig) {
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

    /// The reachability of the peer of a source; `None` for a plain URL.
    pub(super) fn of_source(&self, source: &Source) -> Option<Reachability> {
        match source {
            Source::Peer { peer_id, .. } => Some(self.reachability(peer_id)),
            Source::Url { .. } => None,
        }
    }
}
