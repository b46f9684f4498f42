//! What a GET with a Range gets of a file (RFC 9110 §14.2).
//!
//! One range is served. Several at once, another unit and bad grammar are answered with the whole, as the RFC allows: no
//! client of the peer wire asks for several, and multipart bodies would have to be framed.

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The whole file, with 200.
    Whole,
    /// From `first` to `last`, both included, with 206.
    Bytes { first: u64, last: u64 },
    /// Nothing, with 416.
    Unsatisfiable,
}

/// What a Range header asks for, of a file of `size` bytes.
pub(super) fn extent(range: Option<&str>, size: u64) -> Extent {
    range
        .and_then(|range| asked(range, size))
        .unwrap_or(Extent::Whole)
}

/// `None` where the header is to be ignored.
fn asked(range: &str, size: u64) -> Option<Extent> {
    let (unit, spec) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim_matches([' ', '\t']).split_once('-')?;
    if first.is_empty() {
        return match number(last)? {
            0 => Some(Extent::Unsatisfiable),
            // RFC 9110 §14.1.2: a suffix longer than the file is all of it; of an empty file there is nothing to name.
            suffix => (size > 0).then(|| Extent::Bytes {
                first: size.saturating_sub(suffix),
                last: size - 1,
            }),
        };
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < first {
        return None;
    }
    Some(if first < size {
        Extent::Bytes {
            first,
            last: last.min(size - 1),
        }
    } else {
        Extent::Unsatisfiable
    })
}

/// Digits only; what does not fit is beyond any file.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_may_be_ignored_is() {
        let bytes = |first, last| Extent::Bytes { first, last };
        let table = [
            ("bytes=0-", bytes(0, 99)),
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=10-19", bytes(10, 19)),
            ("Bytes= 10-19 ", bytes(10, 19)),
            ("bytes=99-", bytes(99, 99)),
            ("bytes=50-1000", bytes(50, 99)),
            ("bytes=50-99999999999999999999999", bytes(50, 99)),
            ("bytes=-1", bytes(99, 99)),
            ("bytes=-100", bytes(0, 99)),
            ("bytes=-1000", bytes(0, 99)),
            ("bytes=100-", Extent::Unsatisfiable),
            ("bytes=100-200", Extent::Unsatisfiable),
            ("bytes=99999999999999999999999-", Extent::Unsatisfiable),
            ("bytes=-0", Extent::Unsatisfiable),
            ("bytes=20-10", Extent::Whole),
            ("bytes=0-1,5-6", Extent::Whole),
            ("bytes=-1,-2", Extent::Whole),
            ("bytes=", Extent::Whole),
            ("bytes=-", Extent::Whole),
            ("bytes=a-b", Extent::Whole),
            ("bytes=+1-2", Extent::Whole),
            ("bytes=1 -2", Extent::Whole),
            ("bytes=0x1-2", Extent::Whole),
            ("items=0-1", Extent::Whole),
            ("0-1", Extent::Whole),
            ("", Extent::Whole),
        ];
        for (range, wanted) in table {
            assert_eq!(extent(Some(range), 100), wanted, "{range}");
        }
        assert_eq!(extent(None, 100), Extent::Whole);
    }

    #[test]
    fn an_empty_file_has_no_range() {
        assert_eq!(extent(Some("bytes=0-"), 0), Extent::Unsatisfiable);
        assert_eq!(extent(Some("bytes=-5"), 0), Extent::Whole);
        assert_eq!(extent(None, 0), Extent::Whole);
    }
}
