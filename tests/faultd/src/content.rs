//! Bytes that can be computed at any offset, so that a file of any size needs no disk and no memory.
//!
//! Invariant: a byte depends on seed and offset alone. Two seeds below 256 differ in *every* byte, so a
//! splice of two versions shows at any offset; other seeds differ in every aligned word of eight.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of one word of the sequence.
const WORD: u64 = 8;
/// How much is generated at a time to read the whole.
const BLOCK: usize = 256 * 1024;
/// The increment of splitmix64: the golden ratio as a 64-bit fraction.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A file's bytes: which sequence, and how much of it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Which sequence of bytes.
    pub seed: u64,
    /// Length in bytes.
    pub size: u64,
    /// A stretch that is otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// A stretch of a content with other bytes, so that two contents can share what is before and after it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Its first offset.
    pub from: u64,
    /// The offset after its last.
    pub to: u64,
    /// The sequence its bytes are taken from; missing: all of them are `byte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The one byte that all of it is, if there is no `seed`.
    #[serde(default)]
    pub byte: u8,
}

impl Content {
    /// The first `size` bytes of sequence `seed`.
    pub fn new(seed: u64, size: u64) -> Self {
        Self { seed, size, edit: None }
    }

    /// The same content with other bytes in a stretch.
    #[must_use]
    pub fn edited(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Writes the bytes that start at `offset` over the whole of `out`. The sequence has no end: `size` is
    /// not looked at, so that a reply can be longer than its file.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        self.fill_unedited(offset, out);
        let Some(edit) = self.edit else { return };
        let inside = |at: u64| (at.saturating_sub(offset) as usize).min(out.len());
        let (from, to) = (inside(edit.from), inside(edit.to.max(edit.from)));
        let stretch = &mut out[from..to];
        match edit.seed {
            Some(seed) => Content::new(seed, 0).fill(offset + from as u64, stretch),
            None => stretch.fill(edit.byte),
        }
    }

    fn fill_unedited(&self, offset: u64, out: &mut [u8]) {
        let sequence = Sequence::of(self.seed);
        let mut word = offset / WORD;
        let skipped = (offset % WORD) as usize;
        let first = out.len().min((WORD as usize - skipped) % WORD as usize);
        let (head, rest) = out.split_at_mut(first);
        if !head.is_empty() {
            head.copy_from_slice(&sequence.word(word)[skipped..skipped + first]);
            word += 1;
        }
        let mut words = rest.chunks_exact_mut(WORD as usize);
        for bytes in &mut words {
            bytes.copy_from_slice(&sequence.word(word));
            word = word.wrapping_add(1);
        }
        let tail = words.into_remainder();
        let len = tail.len();
        tail.copy_from_slice(&sequence.word(word)[..len]);
    }

    /// The bytes of `range`, in memory.
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = vec![0; range.end.saturating_sub(range.start) as usize];
        self.fill(range.start, &mut out);
        out
    }

    /// SHA-256 of the whole content, as it is computed.
    pub fn sha256_bytes(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut block = vec![0; BLOCK];
        let mut offset = 0;
        while offset < self.size {
            let len = (self.size - offset).min(BLOCK as u64) as usize;
            self.fill(offset, &mut block[..len]);
            hash.update(&block[..len]);
            offset += len as u64;
        }
        hash.finalize().into()
    }

    /// SHA-256 of the whole content, 64 lower-case hex digits.
    pub fn sha256(&self) -> String {
        crate::digest::hex(&self.sha256_bytes())
    }
}

/// A seed, prepared: seeds of the same block of 256 share a base and are distinguished by a mask on every byte.
struct Sequence {
    base: u64,
    mask: u64,
}

impl Sequence {
    fn of(seed: u64) -> Self {
        Self { base: mix((seed >> 8).wrapping_add(GOLDEN)), mask: (seed & 0xFF).wrapping_mul(0x0101_0101_0101_0101) }
    }

    fn word(&self, index: u64) -> [u8; 8] {
        (mix(self.base.wrapping_add(index.wrapping_mul(GOLDEN))) ^ self.mask).to_le_bytes()
    }
}

/// The output function of splitmix64, a bijection.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_do_not_depend_on_where_the_reading_starts() {
        let content = Content::new(7, 100);
        let whole = content.bytes(0..100);
        for from in 0..40u64 {
            for to in from..60 {
                assert_eq!(content.bytes(from..to), whole[from as usize..to as usize], "{from}..{to}");
            }
        }
    }

    #[test]
    fn two_small_seeds_differ_in_every_byte() {
        let (one, two) = (Content::new(1, 4096).bytes(0..4096), Content::new(2, 4096).bytes(0..4096));
        assert!(one.iter().zip(&two).all(|(a, b)| a != b));
    }

    #[test]
    fn two_large_seeds_differ_in_every_word() {
        let (one, two) = (Content::new(1, 4096).bytes(0..4096), Content::new(257, 4096).bytes(0..4096));
        assert!(one.chunks(8).zip(two.chunks(8)).all(|(a, b)| a != b));
    }

    #[test]
    fn two_contents_share_what_is_outside_of_an_edit() {
        let (from, to) = (10, 30);
        let plain = Content::new(1, 100);
        let edit = |seed| Edit { from, to, seed, byte: 7 };
        let (other, uniform) = (plain.edited(edit(Some(2))), plain.edited(edit(None)));
        for start in 0..40 {
            let (was, now) = (plain.bytes(start..60), other.bytes(start..60));
            for (at, (was, now)) in (start..).zip(was.iter().zip(&now)) {
                assert_eq!(was != now, (from..to).contains(&at), "{start}, {at}");
            }
            let stretch = uniform.bytes(start..to);
            let inside = &stretch[(from.saturating_sub(start)) as usize..];
            assert!(inside.iter().all(|&byte| byte == 7), "{start}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let content = Content::new(3, BLOCK as u64 + 5);
        let at_once: [u8; 32] = Sha256::digest(content.bytes(0..content.size)).into();
        assert_eq!(content.sha256_bytes(), at_once);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Content::new(3, 0).sha256(), empty);
    }

    #[test]
    fn the_sequence_is_the_same_in_every_release() {
        assert_eq!(crate::digest::hex(&Content::new(1, 8).bytes(0..8)), "bed53dfe27832049");
    }
}
