//! SHA-256 for browsers, whose own cannot be fed piece by piece.
//!
//! A module of its own, so that only those who ask for digests load it. One instance hashes one file: what goes in and out
//! passes through one buffer, and JavaScript (`js/sha256.js`) calls one function at a time.

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use std::cell::RefCell;

const BUFFER_BYTES: usize = 64 << 10;

struct Hasher {
    sha256: Sha256,
    buffer: Box<[u8]>,
}

thread_local! {
    static HASHER: RefCell<Hasher> = RefCell::new(Hasher {
        sha256: Sha256::new(),
        buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
    });
}

fn with<T>(work: impl FnOnce(&mut Hasher) -> T) -> T {
    HASHER.with_borrow_mut(work)
}

/// Where the buffer is.
#[unsafe(no_mangle)]
pub extern "C" fn buffer() -> *mut u8 {
    with(|hasher| hasher.buffer.as_mut_ptr())
}

/// Its size in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn capacity() -> usize {
    BUFFER_BYTES
}

/// Takes in the buffer's first bytes.
#[unsafe(no_mangle)]
pub extern "C" fn update(length: usize) {
    with(|Hasher { sha256, buffer }| {
        if let Some(bytes) = buffer.get(..length) {
            sha256.update(bytes);
        }
    });
}

/// Puts the state into the buffer; answers with its length.
#[unsafe(no_mangle)]
pub extern "C" fn save() -> usize {
    with(|Hasher { sha256, buffer }| put(buffer, &sha256.serialize()))
}

/// Goes on from the state in the buffer. Whether it is one.
#[unsafe(no_mangle)]
pub extern "C" fn restore(length: usize) -> bool {
    with(|Hasher { sha256, buffer }| {
        let bytes = buffer.get(..length).unwrap_or_default();
        let state = bytes
            .try_into()
            .ok()
            .and_then(|state| Sha256::deserialize(state).ok());
        state.map(|state| *sha256 = state).is_some()
    })
}

/// Puts the digest into the buffer; answers with its length. The next bytes are of another file.
#[unsafe(no_mangle)]
pub extern "C" fn finish() -> usize {
    with(|Hasher { sha256, buffer }| put(buffer, &sha256.finalize_reset()))
}

fn put(buffer: &mut [u8], bytes: &[u8]) -> usize {
    if let Some(place) = buffer.get_mut(..bytes.len()) {
        place.copy_from_slice(bytes);
    }
    bytes.len()
}
