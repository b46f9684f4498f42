//! How a peer is named in stubs and in the ledger.

use regrip_core::PeerId;
use sha2::{Digest, Sha256};

/// The id of the peer that is configured with this URL: the first 8 hex digits of its SHA-256. The URL counts as it is
/// written, so `http://host` and `http://host/` are two.
///
/// ```
/// assert_eq!(regrip::peers::id_of("http://peer.example:5225").as_str(), "6a7d8929");
/// ```
pub fn id_of(url: &str) -> PeerId {
    let digest = Sha256::digest(url.as_bytes());
    let hex: String = digest
        .iter()
        .take(PeerId::DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    PeerId::new(&hex).unwrap_or_else(|| unreachable!("{hex} has eight hex digits"))
}
