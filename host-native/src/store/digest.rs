//! A SHA-256 whose state can be saved at a checkpoint and taken up again.
//!
//! Invariant: a saved state is used only where it is whole and counts exactly the bytes it claims to have taken in;
//! anything else is ignored, and the bytes are read again.

use super::path::hex;
use regrip_core::store::Digest;
use regrip_core::store::DigestState;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// sha2 0.11 lays a state out as eight words, the count of whole blocks (little-endian), the count of bytes that wait for
/// their block to fill, and those bytes.
const BLOCKS: std::ops::Range<usize> = 32..40;
const WAITING: usize = 40;
const BLOCK_BYTES: u64 = 64;

/// A running SHA-256 over a part.
#[derive(Clone, Default)]
pub struct Sha256Digest(Sha256);

impl Sha256Digest {
    /// From a saved state and its offset, where it is one of ours and takes in at most `to` bytes.
    pub(super) fn resume(saved: &DigestState, to: u64) -> Option<Self> {
        if saved.offset > to || counted(&saved.state) != Some(saved.offset) {
            return None;
        }
        let state = SerializedState::<Sha256>::try_from(saved.state.as_slice()).ok()?;
        Sha256::deserialize(&state).ok().map(Sha256Digest)
    }

    /// Takes in bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// How many bytes a state says it has taken in.
fn counted(state: &[u8]) -> Option<u64> {
    let blocks = u64::from_le_bytes(state.get(BLOCKS)?.try_into().ok()?);
    let waiting = u64::from(*state.get(WAITING)?);
    blocks.checked_mul(BLOCK_BYTES)?.checked_add(waiting)
}

impl std::fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256Digest")
    }
}

impl Digest for Sha256Digest {
    fn save(&self) -> Option<Vec<u8>> {
        Some(self.0.serialize().to_vec())
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
