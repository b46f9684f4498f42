//! Parsers of untrusted bytes, as functions that take any input and panic if a parser breaks a promise.
//!
//! `tests/replay.rs` runs them on the files in `corpus/` and on mutations of these, on stable Rust. `fuzz_targets/` has the
//! programs that cargo-fuzz runs.

mod attempt;

pub use attempt::attempt;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use regrip::config::{self, ConfigRefused, Problem, QuickLink};
use regrip::fuzzed;
use regrip::ledger::SqliteLedger;
use regrip_core::http::{ContentRange, Head, body_end, content_range, is_strong_etag, suggested_name};
use regrip_core::http::{parse_date, parse_retry_after};
use regrip_core::ledger::Ledger;
use regrip_core::testing::new_download;
use regrip_core::transport::{BodyEnd, Headers};
use regrip_core::{SafeName, Stub};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// A target takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 14] = [
    ("api_body", api_body),
    ("attempt", attempt),
    ("bencode", bencode),
    ("checksums", checksums),
    ("config", config),
    ("content_range", content_range_value),
    ("form", form),
    ("header_grammar", header_grammar),
    ("ledger", ledger),
    ("metalink", metalink),
    ("name", name),
    ("quick_link", quick_link),
    ("release", release),
    ("time", time),
];

/// A body that asks for a download is refused, or has a URL that is read as any other one.
pub fn api_body(bytes: &[u8]) {
    if let Some(asked) = fuzzed::asked_download(bytes) {
        url(&asked);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        url(text);
    }
}

/// A URL that is taken has http or https, a host and no userinfo; the name that it gives is one segment.
fn url(typed: &str) {
    let Some((url, name)) = fuzzed::url(typed) else {
        return;
    };
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{url}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{url}");
    if let Some(name) = name {
        assert_eq!(Path::new("/folder").join(&name).parent(), Some(Path::new("/folder")));
        assert!(name.len() <= 255 && !name.contains('\0'), "{name:?}");
    }
}

/// A stub that can be read can be written and read again.
pub fn bencode(bytes: &[u8]) {
    if let Ok(stub) = Stub::read(bytes) {
        assert_eq!(Stub::read(&stub.write()), Ok(stub));
    }
}

/// A list of checksums has at most one of an algorithm for a file. The first line of the input is the file's name.
pub fn checksums(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (name, list) = text.split_once('\n').unwrap_or_default();
    if let Some(found) = fuzzed::checksums(list, name) {
        assert!((1..=4).contains(&found), "{found}");
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

/// A form has no more in it than its body. The first line of the input is the content type.
pub fn form(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (kind, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let read = std::str::from_utf8(kind).ok().and_then(|kind| fuzzed::form(kind, body));
    // What is not UTF-8 is read with a replacement character of three bytes in place of each byte.
    assert!(read.is_none_or(|read| read <= 3 * body.len()));
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

/// A ledger whose file was damaged is refused and stays as it is, or every row of it can be read or is an error. The input has three
/// bytes for each byte that changes: where, in 65,536ths of the file, and its new value.
pub fn ledger(bytes: &[u8]) {
    static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        let ledger = SqliteLedger::open(&path).expect("a new ledger");
        for number in 0..3 {
            let new = new_download(&format!("https://example.org/{number}"), &format!("/films/{number}"));
            smol::block_on(ledger.insert(&new, SystemTime::UNIX_EPOCH)).expect("a row");
        }
        drop(ledger);
        std::fs::read(path).expect("it was closed")
    });
    let mut file = WHOLE.clone();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) * file.len() / 65_536;
        file[at] = change[2];
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, &file).expect("it is written");
    match SqliteLedger::open(&path) {
        Ok(ledger) => smol::block_on(async {
            for mark in ledger.unfinished_marks().await.unwrap_or_default() {
                let _ = ledger.row(mark.id).await;
            }
        }),
        Err(_) => assert!(std::fs::read(&path).expect("it is there") == file, "a refused ledger was changed"),
    }
}

/// A Metalink document has a bounded number of files, each with a bounded number of URLs.
pub fn metalink(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let files = fuzzed::metalink(text);
    assert!(files.len() <= 10_000);
    for (name, urls) in files {
        assert!(urls.len() <= 100 && name.len() <= text.len());
        for source in urls {
            assert!(source.len() <= text.len());
            url(&source);
        }
    }
}

/// A name that is safe on every system is one here, is one segment of a path, and stays as it is.
pub fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(name) = SafeName::new(&text) {
        assert_eq!(name.as_str(), text);
        assert!(SafeName::on_this_system(&text).is_ok());
        assert!(!text.contains(['/', '\\', ':']) && text != ".." && text.len() <= 255);
        assert_eq!(Path::new("/folder").join(name.as_str()).parent(), Some(Path::new("/folder")));
    }
}

/// A quick link that is read can be written and read again. The input is its JSON.
pub fn quick_link(bytes: &[u8]) {
    let link = |text: &str| QuickLink::read(text).ok();
    let Some(read) = link(&format!("jack-link:v1:{}", BASE64.encode(bytes))) else {
        return;
    };
    let written = read.write().expect("reading is as strict");
    let again = link(&written).expect("it can be read");
    assert_eq!(again.write().expect("it was written before"), written);
}

/// A release that is taken has a safe name, and texts within their limits.
pub fn release(bytes: &[u8]) {
    if let Ok(release) = fuzzed::release(bytes) {
        name(release.filename.as_str().as_bytes());
        assert!(SafeName::new(release.filename.as_str()).is_ok());
        assert!(release.id.len() <= 1024 && release.title.chars().count() <= 513, "{release:?}");
        assert!(!release.title.contains(char::is_control), "{release:?}");
        assert!(release.sha256.is_none_or(|checksum| checksum.hex.len() == 64));
    }
}

/// A date that is read is the same when it is written and read again; a Retry-After is bounded by what it says.
pub fn time(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let asked = parse_retry_after(text, now);
    if let Some(date) = parse_date(text) {
        assert_eq!(parse_date(&httpdate::fmt_http_date(date)), Some(date));
        assert_eq!(asked, Some(date.duration_since(now).unwrap_or_default()));
    } else if let Some(seconds) = asked {
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()) && seconds.subsec_nanos() == 0);
    }
}
