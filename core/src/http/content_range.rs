//! `Content-Range` (RFC 9110 §14.4): `bytes first-last/total`, `bytes first-last/*` or `bytes */total`.

/// A Content-Range that holds together: `first <= last < total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The bytes from `first` to `last`, both included.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
        /// Length of the whole, unless it was `*`.
        total: Option<u64>,
    },
    /// The range asked for lies outside (only with 416).
    Unsatisfied {
        /// Length of the whole.
        total: u64,
    },
}

/// Reads the value of a Content-Range. Anything malformed, contradictory or beyond 64 bits is `None`.
pub fn content_range(value: &str) -> Option<ContentRange> {
    let (unit, rest) = value.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.split_once('/')?;
    let total = if total == "*" {
        None
    } else {
        Some(digits(total)?)
    };
    if range == "*" {
        return total.map(|total| ContentRange::Unsatisfied { total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let fits = first <= last && last < total.unwrap_or(u64::MAX);
    fits.then_some(ContentRange::Part { first, last, total })
}

/// Digits only, and no more than 64 bits hold.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
