//! The reachability of each peer of an engine.
//!
//! A peer is known by its id and the origin of its URLs: a download that continues from a mirror is still of the peer, but its requests
//! go to another server, which can be reached or not by itself.

use crate::config::DownloadsConfig;
use crate::mutex::lock;
use crate::origin::at_origin;
use crate::peer::Reachability;
use crate::record::Source;
use litemap::LiteMap;
use std::sync::Mutex;

/// By peer and origin.
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

    pub(super) fn reachability(&self, peer_id: &str, url: &str) -> Reachability {
        let mut peers = lock(&self.reachability);
        peers.entry(at_origin(peer_id, url)).or_default().clone()
    }

    /// The reachability of the peer of a source; `None` for a plain URL.
    pub(super) fn of_source(&self, source: &Source) -> Option<Reachability> {
        match source {
            Source::Peer { peer_id, url, .. } => Some(self.reachability(peer_id, url)),
            Source::Url { .. } => None,
        }
    }
}
