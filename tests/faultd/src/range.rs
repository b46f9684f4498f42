//! The Range and Content-Range headers, as a correct server reads and writes them (RFC 9110 §14).

/// What a Range header asks of a file of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole: no Range, or one that a server may ignore (another unit, several ranges, bad grammar).
    Whole,
    /// The bytes `from..to`, not empty.
    Part { from: u64, to: u64 },
    /// A range outside the file.
    Unsatisfiable,
}

/// Reads a Range header for a file of `size` bytes.
pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some((unit, spec)) = header.and_then(|value| value.split_once('=')) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Asked::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    match (number(first), number(last)) {
        (Some(from), _) if last.is_empty() => part(from, size, size),
        (Some(from), Some(last)) if last < from => Asked::Whole,
        (Some(from), Some(last)) => part(from, last.saturating_add(1).min(size), size),
        (None, Some(suffix)) if first.is_empty() => part(size - suffix.min(size), size, size),
        _ => Asked::Whole,
    }
}

fn part(from: u64, to: u64, size: u64) -> Asked {
    if from < size { Asked::Part { from, to } } else { Asked::Unsatisfiable }
}

/// Digits only; a number too large for `u64` is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The Content-Range of the bytes `from..to` (not empty) of a file of `size` bytes.
pub(crate) fn content_range(from: u64, to: u64, size: u64) -> String {
    format!("bytes {from}-{}/{size}", to.saturating_sub(1))
}

/// The bytes `from..to` that a Content-Range of ours speaks of.
pub(crate) fn read_content_range(value: &str) -> Option<(u64, u64)> {
    let (range, _) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (from, last) = range.split_once('-')?;
    Some((from.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_header_is_read_as_rfc_9110_says() {
        let part = |from, to| Asked::Part { from, to };
        let table = [
            (None, Asked::Whole),
            (Some("bytes=0-"), part(0, 100)),
            (Some("bytes=10-19"), part(10, 20)),
            (Some("Bytes=10-19"), part(10, 20)),
            (Some("bytes=99-"), part(99, 100)),
            (Some("bytes=90-500"), part(90, 100)),
            (Some("bytes=0-99999999999999999999999"), part(0, 100)),
            (Some("bytes=-5"), part(95, 100)),
            (Some("bytes=-500"), part(0, 100)),
            (Some("bytes=100-"), Asked::Unsatisfiable),
            (Some("bytes=99999999999999999999999-"), Asked::Unsatisfiable),
            (Some("bytes=-0"), Asked::Unsatisfiable),
            (Some("bytes=20-10"), Asked::Whole),
            (Some("bytes=0-1,5-6"), Asked::Whole),
            (Some("bytes=+1-2"), Asked::Whole),
            (Some("bytes=-"), Asked::Whole),
            (Some("items=0-1"), Asked::Whole),
            (Some("rubbish"), Asked::Whole),
        ];
        for (header, expected) in table {
            assert_eq!(asked(header, 100), expected, "{header:?}");
        }
    }

    #[test]
    fn every_range_of_an_empty_file_is_unsatisfiable() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(asked(Some(header), 0), Asked::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn a_content_range_is_read_back_as_written() {
        assert_eq!(content_range(10, 20, 100), "bytes 10-19/100");
        assert_eq!(read_content_range("bytes 10-19/100"), Some((10, 20)));
        assert_eq!(read_content_range("bytes */100"), None);
    }
}
