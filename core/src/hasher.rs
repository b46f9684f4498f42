//! A running hash of any [`Algorithm`], whose state can be saved at a checkpoint and continued.
//!
//! Invariant: a saved state is used only if it is whole and counts exactly the bytes that it claims to have taken in;
//! anything else is ignored, and the bytes are read again.

use crate::checksum::{Algorithm, Checksum};
use crate::store::{Digest, DigestState};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// A running hash.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
    /// SHA-1.
    Sha1(Sha1),
    /// MD5.
    Md5(Md5),
}

/// The same for the hash of every algorithm.
macro_rules! each {
    ($self:expr, $hash:ident => $value:expr) => {
        match $self {
            Hasher::Sha256($hash) => $value,
            Hasher::Sha512($hash) => $value,
            Hasher::Sha1($hash) => $value,
            Hasher::Md5($hash) => $value,
        }
    };
}

impl Hasher {
    /// A hash of no bytes yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Md5 => Hasher::Md5(Md5::new()),
        }
    }

    /// Continues from a saved state if that is one of this algorithm and takes in at most `to` bytes.
    pub fn resume(algorithm: Algorithm, saved: &DigestState, to: u64) -> Option<Self> {
        let mut hasher = Hasher::new(algorithm);
        let usable = saved.offset <= to
            && counted(algorithm, &saved.state) == Some(saved.offset)
            && each!(&mut hasher, hash => restore(hash, &saved.state));
        usable.then_some(hasher)
    }

    /// Continues from the bytes of a state. Returns `false` if they are none of this algorithm; nothing is changed then.
    pub fn restore(&mut self, state: &[u8]) -> bool {
        each!(self, hash => restore(hash, state))
    }

    /// Takes in bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        each!(self, hash => hash.update(bytes));
    }

    /// The checksum of some bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        let hex = hasher.finish();
        Checksum { algorithm, hex }
    }
}

impl Digest for Hasher {
    fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
            Hasher::Sha1(_) => Algorithm::Sha1,
            Hasher::Md5(_) => Algorithm::Md5,
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(each!(self, hash => hash.serialize().to_vec()))
    }

    fn finish(self) -> String {
        each!(self, hash => hex(&hash.finalize()))
    }
}

fn restore<H: SerializableState>(hash: &mut H, state: &[u8]) -> bool {
    let state = SerializedState::<H>::try_from(state).ok();
    match state.and_then(|state| H::deserialize(&state).ok()) {
        Some(restored) => {
            *hash = restored;
            true
        }
        None => false,
    }
}

/// How many bytes a state says it has taken in. Version 0.11 of these crates lays it out as the words of the hash, the
/// number of whole blocks (little-endian), the number of bytes that wait for their block to fill, and those bytes.
fn counted(algorithm: Algorithm, state: &[u8]) -> Option<u64> {
    let (words, counter, block) = match algorithm {
        Algorithm::Sha256 => (32, 8, 64),
        Algorithm::Sha512 => (64, 16, 128),
        Algorithm::Sha1 => (20, 8, 64),
        Algorithm::Md5 => (16, 8, 64),
    };
    let blocks = state.get(words..words + 8)?.try_into().ok()?;
    let high = state.get(words + 8..words + counter)?;
    let waiting = u64::from(*state.get(words + counter)?);
    let bytes = u64::from_le_bytes(blocks).checked_mul(block)?;
    let bytes = bytes.checked_add(waiting)?;
    high.iter().all(|&byte| byte == 0).then_some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
