//! Parsers of untrusted bytes, as functions that take any input and panic if a parser breaks a promise.
//!
//! `tests/replay.rs` runs them on the files in `corpus/` and on mutations of these, on stable Rust. `fuzz_targets/` has the
//! programs that cargo-fuzz runs.

use regrip::config::{self, ConfigRefused, Problem};
use regrip_core::Stub;
use regrip_core::http::{ContentRange, Head, body_end, content_range, is_strong_etag, suggested_name};
use regrip_core::transport::{BodyEnd, Headers};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A target takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 4] = [
    ("bencode", bencode),
    ("config", config),
    ("content_range", content_range_value),
    ("header_grammar", header_grammar),
];

/// A stub that can be read can be written and read again.
pub fn bencode(bytes: &[u8]) {
    if let Ok(stub) = Stub::read(bytes) {
        assert_eq!(Stub::read(&stub.write()), Ok(stub));
    }
}

/// A configuration is either taken or refused with at least one error. Messages are single lines that name an existing line.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.split('\n').count();
    let check = |problems: &[Problem]| {
        for problem in problems {
            assert!((1..=lines).contains(&problem.line), "{problem:?}");
            assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
        }
    };
    match config::parse(text, Path::new("/no-such-folder"), &|_| None) {
        Ok(loaded) => check(&loaded.warnings),
        Err(ConfigRefused::Wrong { errors, warnings }) => {
            assert!(!errors.is_empty());
            check(&errors);
            check(&warnings);
        }
        Err(other) => panic!("a text was refused as a file: {other}"),
    }
}

/// A Content-Range that can be read is consistent, and is the same when it is written and read again.
pub fn content_range_value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(range) = content_range(text) else {
        return;
    };
    let written = match range {
        ContentRange::Part { first, last, total } => {
            assert!(first <= last && total.is_none_or(|total| last < total));
            let total = total.map_or("*".to_owned(), |total| total.to_string());
            format!("bytes {first}-{last}/{total}")
        }
        ContentRange::Unsatisfied { total } => format!("bytes */{total}"),
    };
    assert_eq!(content_range(&written), Some(range));
}

/// The facts of a response head agree with each other. A line of the input is a field, a name and a value around a colon.
pub fn header_grammar(bytes: &[u8]) {
    let mut headers = Headers::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        if let Ok(name) = std::str::from_utf8(name) {
            headers.push(name, value.get(1..).unwrap_or_default());
        }
    }
    for name in headers.all("content-disposition").filter_map(suggested_name) {
        assert!(!name.contains(['/', '\\']));
    }
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let head = Head::read(206, &headers, body_end(&headers), wall);
    if let Ok(BodyEnd::Length(bytes)) = head.end {
        assert!(i64::try_from(bytes).is_ok());
    }
    assert!(head.content_range.is_none() || head.content_ranges == 1);
    assert!(head.coding.is_none() || head.usable_end().is_err());
    let validators = head.validators;
    if let Some(etag) = validators.etag.filter(|etag| is_strong_etag(etag)) {
        assert!(etag.len() >= 2 && etag.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(!validators.last_modified_strong || validators.last_modified.is_some());
    for digest in head.stated {
        assert_eq!(digest.hex.len(), 2 * digest.algorithm.digest_bytes());
        assert!(digest.hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }
}
