//! What a random server has: versions of one file that share bytes, and how it distinguishes them.

use fastrand::Rng;
use std::ops::Range;

/// The overlap that is compared if nothing else vouches for the bytes held (`resumeOverlapBytes`).
const OVERLAP_BYTES: usize = 65_536;
const LARGEST_BYTES: usize = 300_000;
/// The repeated byte of a padded version.
const PADDING: Range<usize> = 20_000..260_000;

/// One thing the server can send.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) content_type: &'static str,
    /// It may be the file; else it is a coding of it.
    pub(crate) is_file: bool,
}

/// How the server tells its versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    StrongETag,
    StrongDate,
    Both,
    WeakETag,
    WeakDate,
    Nothing,
}

impl Telling {
    pub(crate) fn drawn(rng: &mut Rng) -> Telling {
        use Telling::*;
        let all = [StrongETag, StrongETag, StrongDate, Both, WeakETag, WeakDate, Nothing, Nothing, Nothing];
        all[rng.usize(..all.len())]
    }

    fn is_strong(self) -> bool {
        matches!(self, Telling::StrongETag | Telling::StrongDate | Telling::Both)
    }

    fn validators(self, version: usize) -> (Option<String>, Option<String>) {
        let etag = match self {
            Telling::StrongETag | Telling::Both => Some(format!("\"v{version}\"")),
            Telling::WeakETag => Some(format!("W/\"v{version}\"")),
            _ => None,
        };
        let date = match self {
            Telling::StrongDate | Telling::Both => Some(format!("Fri, 27 Nov 2026 10:00:{version:02} GMT")),
            // Two versions of one second: that is why it is weak.
            Telling::WeakDate => Some(format!("Sat, 28 Nov 2026 11:59:{:02} GMT", 30 + version / 2)),
            _ => None,
        };
        (etag, date)
    }
}

/// One to four versions. If `alike`, two of them may agree in any stretch of bytes; else in none that is as long as what is
/// compared before a byte is appended, but one repeated byte.
pub(crate) fn versions(rng: &mut Rng, telling: Telling, loose: bool) -> Vec<Entity> {
    let alike = telling.is_strong() && !loose;
    let padded = !alike && rng.bool();
    let another = if padded { padded_one } else { first };
    let alter = if padded { changed_ends } else { derived };
    let mut all = vec![another(rng)];
    let count = rng.usize(if padded { 2 } else { 1 }..=4);
    for _ in 1..count {
        let from = &all[rng.usize(..all.len())];
        let next = alter(rng, from);
        let confusing = all.iter().any(|one| one == &next || confusable(one, &next));
        all.push(match alike || !confusing {
            true => next,
            false => another(rng),
        });
    }
    let entity = |(version, bytes): (usize, Vec<u8>)| {
        let (etag, last_modified) = telling.validators(version);
        Entity { bytes, etag, last_modified, content_type: "video/x-matroska", is_file: true }
    };
    all.into_iter().enumerate().map(entity).collect()
}

fn first(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.u8(..10) {
        0 => rng.usize(..4),
        1 => OVERLAP_BYTES - 2 + rng.usize(..5),
        2..5 => rng.usize(1..OVERLAP_BYTES),
        _ => rng.usize(OVERLAP_BYTES..=LARGEST_BYTES),
    };
    let mut bytes = noise(rng, length);
    if rng.bool() {
        repeat_one_byte(rng, &mut bytes);
    }
    bytes
}

/// One with a long stretch of one repeated byte, as disk images have them: more than what is compared. A part that ends in it
/// fits other versions, whose bytes before and after it differ.
fn padded_one(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = noise(rng, 280_000);
    bytes[PADDING].fill(rng.u8(..2));
    bytes
}

/// Another one of the same size, with the same stretch of that byte.
fn changed_ends(rng: &mut Rng, from: &[u8]) -> Vec<u8> {
    let mut bytes = noise(rng, from.len());
    bytes[PADDING].copy_from_slice(&from[PADDING]);
    bytes
}

/// A version that has a lot in common with another one.
fn derived(rng: &mut Rng, from: &[u8]) -> Vec<u8> {
    let length = from.len();
    let mut bytes = from.to_vec();
    let at = rng.usize(..=length);
    match rng.u8(..8) {
        // Another end, another start, other bytes in between.
        0 => bytes[at..].copy_from_slice(&noise(rng, length - at)),
        1 | 6 | 7 => bytes[..at].copy_from_slice(&noise(rng, at)),
        2 => {
            let to = rng.usize(at..=length.min(at + 1000));
            bytes[at..to].copy_from_slice(&noise(rng, to - at));
        }
        3 => bytes.truncate(at),
        4 => {
            let more = rng.usize(..=LARGEST_BYTES.saturating_sub(length).max(1));
            bytes.extend(noise(rng, more));
        }
        _ => repeat_one_byte(rng, &mut bytes),
    }
    if rng.u8(..3) == 0 && !bytes.is_empty() {
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1; // one byte is enough
    }
    bytes
}

fn repeat_one_byte(rng: &mut Rng, bytes: &mut [u8]) {
    let from = rng.usize(..=bytes.len());
    let to = match rng.bool() {
        true => bytes.len(),
        false => rng.usize(from..=bytes.len()),
    };
    bytes[from..to].fill(rng.u8(..2));
}

pub(crate) fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Returns `true` if two versions agree, after their first difference, in as many bytes as are compared: without a strong validator
/// nobody could distinguish them there.
fn confusable(one: &[u8], other: &[u8]) -> bool {
    let mut differed = false;
    let mut equal_from = 0;
    let length = one.len().min(other.len());
    for at in 0..=length {
        if at < length && one[at] == other[at] {
            continue;
        }
        let run = &one[equal_from..at];
        let uniform = run.windows(2).all(|pair| pair[0] == pair[1]);
        if differed && run.len() >= OVERLAP_BYTES && !uniform {
            return true;
        }
        differed = true;
        equal_from = at + 1;
    }
    false
}
