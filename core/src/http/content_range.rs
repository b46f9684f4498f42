//! `Content-Range` (RFC 9110 §14.4): `bytes first-last/total`, `bytes first-last/*` or `bytes */total`.

use crate::split::cut;

/// A valid Content-Range: `first <= last < total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The bytes from `first` to `last`, both inclusive.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
        /// Length of the whole file, unless it was `*`.
        total: Option<u64>,
    },
    /// The requested range is outside the file (only with 416).
    Unsatisfied {
        /// Length of the whole file.
        total: u64,
    },
}

/// Parses a Content-Range. Returns `None` if it is malformed, contradictory or beyond 64 bits.
pub fn content_range(value: &str) -> Option<ContentRange> {
    let (unit, rest) = cut(value, b' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = cut(rest, b'/')?;
    let total = if total == "*" { None } else { Some(digits(total)?) };
    if range == "*" {
        return total.map(|total| ContentRange::Unsatisfied { total });
    }
    let (first, last) = cut(range, b'-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let fits = first <= last && last < total.unwrap_or(u64::MAX);
    fits.then_some(ContentRange::Part { first, last, total })
}

/// Parses digits that fit into 64 bits.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
