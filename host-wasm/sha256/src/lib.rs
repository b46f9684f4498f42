//! Hashes for browsers, whose own cannot be fed piece by piece.
//!
//! A module of its own, so that only those who ask for digests load it. One instance hashes one file: what goes in and out
//! passes through one buffer, and JavaScript (`js/sha256.js`) calls one function at a time.

use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use regrip_core::store::Digest;
use std::cell::RefCell;

const BUFFER_BYTES: usize = 64 << 10;

struct Running {
    hasher: Hasher,
    buffer: Box<[u8]>,
}

thread_local! {
    static RUNNING: RefCell<Running> = RefCell::new(Running {
        hasher: Hasher::new(Algorithm::Sha256),
        buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
    });
}

fn with<T>(work: impl FnOnce(&mut Running) -> T) -> T {
    RUNNING.with_borrow_mut(work)
}

/// Where the buffer is.
#[unsafe(no_mangle)]
pub extern "C" fn buffer() -> *mut u8 {
    with(|running| running.buffer.as_mut_ptr())
}

/// Its size in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn capacity() -> usize {
    BUFFER_BYTES
}

/// Starts a hash by the algorithm's index in [`Algorithm::ALL`]. Returns `false` if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn begin(algorithm: usize) -> bool {
    let algorithm = Algorithm::ALL.get(algorithm);
    with(|running| match algorithm {
        Some(algorithm) => {
            running.hasher = Hasher::new(*algorithm);
            true
        }
        None => false,
    })
}

/// Takes in the buffer's first bytes.
#[unsafe(no_mangle)]
pub extern "C" fn update(length: usize) {
    with(|Running { hasher, buffer }| {
        if let Some(bytes) = buffer.get(..length) {
            hasher.update(bytes);
        }
    });
}

/// Puts the state into the buffer; answers with its length.
#[unsafe(no_mangle)]
pub extern "C" fn save() -> usize {
    with(|Running { hasher, buffer }| put(buffer, &hasher.save().unwrap_or_default()))
}

/// Resumes from the state in the buffer. Returns `false` if it is invalid.
#[unsafe(no_mangle)]
pub extern "C" fn restore(length: usize) -> bool {
    with(|Running { hasher, buffer }| hasher.restore(buffer.get(..length).unwrap_or_default()))
}

/// Puts the digest in hexadecimal digits into the buffer; answers with its length.
#[unsafe(no_mangle)]
pub extern "C" fn finish() -> usize {
    with(|Running { hasher, buffer }| put(buffer, hasher.clone().finish().as_bytes()))
}

fn put(buffer: &mut [u8], bytes: &[u8]) -> usize {
    if let Some(place) = buffer.get_mut(..bytes.len()) {
        place.copy_from_slice(bytes);
    }
    bytes.len()
}
