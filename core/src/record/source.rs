//! Where the bytes of a download come from.

use serde::{Deserialize, Serialize};

/// Names a download for as long as its row lives; never used twice in one ledger.
pub type DownloadId = i64;

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Source {
    /// A plain URL, without userinfo.
    Url {
        /// Absolute, http or https; its query is kept but never printed.
        url: String,
    },
    /// An item of a peer.
    Peer {
        /// First 8 hex digits of the SHA-256 of the peer's configured URL.
        peer_id: String,
        /// As configured.
        peer_name: String,
        /// As the peer names it.
        item_id: String,
        /// Where the item's file is.
        url: String,
    },
}

impl Source {
    /// The address the bytes are asked from.
    pub fn url(&self) -> &str {
        match self {
            Source::Url { url } | Source::Peer { url, .. } => url,
        }
    }

    /// Whether the other one names the same bytes: the same URL, or the same item of the same peer.
    pub fn is_same(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Url { url }, Source::Url { url: other }) => url == other,
            (
                Source::Peer {
                    peer_id, item_id, ..
                },
                Source::Peer {
                    peer_id: other_peer,
                    item_id: other_item,
                    ..
                },
            ) => peer_id == other_peer && item_id == other_item,
            (Source::Url { .. }, Source::Peer { .. })
            | (Source::Peer { .. }, Source::Url { .. }) => false,
        }
    }
}
