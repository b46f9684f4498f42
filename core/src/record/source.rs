//! The source of a download.

use serde::{Deserialize, Serialize};

/// Identifies a download. An id is never reused within a ledger.
pub type DownloadId = i64;

/// The source of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Source {
    /// A URL, without userinfo.
    Url {
        /// Absolute, http or https. Its query is stored but never printed.
        url: String,
    },
    /// An item of a peer.
    Peer {
        /// The first 8 hex digits of the SHA-256 of the peer's URL as configured.
        peer_id: String,
        /// The name of the peer in the configuration.
        peer_name: String,
        /// The peer's id of the item.
        item_id: String,
        /// The URL of the item's file.
        url: String,
    },
}

impl Source {
    /// The URL that requests go to.
    pub fn url(&self) -> &str {
        match self {
            Source::Url { url } | Source::Peer { url, .. } => url,
        }
    }

    /// Returns `true` if both name the same file: the same URL, or the same item of the same peer.
    pub fn is_same(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Url { url }, Source::Url { url: other }) => url == other,
            (Source::Peer { peer_id, item_id, .. }, Source::Peer { peer_id: other_peer, item_id: other_item, .. }) => {
                peer_id == other_peer && item_id == other_item
            }
            (Source::Url { .. }, Source::Peer { .. }) | (Source::Peer { .. }, Source::Url { .. }) => false,
        }
    }
}
