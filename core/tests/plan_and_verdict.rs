//! What to ask for and what the answer is worth: every row of the tables in the docs of `core::resume`.

use regrip_core::http::{Head, body_end};
use regrip_core::record::{Behaviour, DigestRow, DigestSource, RestartReason, Validators};
use regrip_core::resume::{
    Ask, Full, Held, IfRange, Plan, Usable, Verdict, full_response, plan, stored_as_sent, usable, verdict,
    verdict_on_plain,
};
use regrip_core::store::StoreRules;
use regrip_core::transport::{BodyEnd, ByteRange, Headers, RequestRules};
use regrip_core::{Algorithm, Checksum};
use std::time::{Duration, SystemTime};

const OLD: &str = "Wed, 31 Dec 1997 23:59:59 GMT";
const OTHER_OLD: &str = "Tue, 30 Dec 1997 23:59:59 GMT";
/// A cross-origin fetch.
const FETCH: RequestRules = RequestRules { if_range: false, range_always: true, decodes: true };
const FREE: RequestRules = RequestRules::FREE;
const OVERLAP: u64 = 65_536;

/// The sizes by a transfer and by the release.
type Sizes = (Option<u64>, Option<u64>);

const UNKNOWN: Sizes = (None, None);

fn known(bytes: u64) -> Sizes {
    (Some(bytes), None)
}

fn announced(bytes: u64) -> Sizes {
    (None, Some(bytes))
}

fn validators(etag: Option<&str>, last_modified: Option<&str>) -> Validators {
    Validators {
        etag: etag.map(str::to_owned),
        last_modified: last_modified.map(str::to_owned),
        last_modified_strong: last_modified.is_some(),
        ..Validators::default()
    }
}

#[test]
fn how_much_of_a_part_counts() {
    use Usable::{All, First, None as Nothing};
    let rows = [
        // length, durable, the boot it was recorded in
        (0, 0, None, All),
        (7, 0, None, Nothing),
        // Within one boot a crash of the process loses no page.
        (0, 0, Some(true), All),
        (7, 0, Some(true), All),
        (7, 5, Some(true), All),
        (5, 5, Some(true), All),
        (4, 5, Some(true), Nothing),
        (0, 5, Some(true), Nothing),
        // After a reboot only what was synced counts.
        (0, 0, Some(false), All),
        (7, 0, Some(false), First(0)),
        (7, 5, Some(false), First(5)),
        (5, 5, Some(false), All),
        (4, 5, Some(false), Nothing),
        (0, 5, Some(false), Nothing),
    ];
    for (length, durable, same_boot, expected) in rows {
        let got = usable(length, durable, same_boot);
        assert_eq!(got, expected, "{length} bytes, {durable} durable, {same_boot:?}");
    }
}

#[test]
#[rustfmt::skip] // one line a row
fn what_is_asked_for() {
    let strong = validators(Some("\"a\""), None);
    let both = validators(Some("\"a\""), Some(OLD));
    let dated = validators(None, Some(OLD));
    let weak = validators(Some("W/\"a\""), None);
    let weak_dated = validators(Some("W/\"a\""), Some(OLD));
    let none = Validators::default();
    let etag = Some(IfRange::ETag("\"a\"".to_owned()));
    let date = Some(IfRange::Date(OLD.to_owned()));
    let ranged = |first, offset, if_range: &Option<IfRange>| Plan::Ranged(Ask { first, offset, if_range: if_range.clone() });
    let whole = Plan::Discard(RestartReason::PartOversize);
    let prove = |first, offset| Plan::Prove(Ask { first, offset, if_range: None });
    let n = 100_000;
    let rows = [
        // N = 0
        ("nothing held", 0, UNKNOWN, &none, OVERLAP, FREE, Plan::Plain),
        ("a size held", 0, known(9), &strong, OVERLAP, FREE, Plan::Plain),
        ("on fetch", 0, known(9), &strong, OVERLAP, FETCH, Plan::Plain),
        ("an empty release", 0, announced(0), &none, OVERLAP, FREE, Plan::Plain),
        ("no byte of an empty file, which may not be one any more", 0, known(0), &none, OVERLAP, FREE, Plan::Plain),
        // N > known size
        ("longer than it is", 10, known(9), &strong, OVERLAP, FREE, whole.clone()),
        ("longer, on fetch", 10, known(9), &strong, OVERLAP, FETCH, whole),
        // N = known size
        ("all is there", 9, known(9), &none, OVERLAP, FREE, Plan::Finish),
        ("all is there, the release says more", 9, (Some(9), Some(20)), &none, OVERLAP, FREE, Plan::Finish),
        // N ≥ a size that only the release gave: as if there were no validator, from before the last byte
        ("by its release", 9, announced(9), &none, OVERLAP, FREE, prove(0, 9)),
        ("by its release, strong", n, announced(n), &strong, OVERLAP, FREE, prove(n - OVERLAP - 1, n)),
        ("by its release, not compared", n, announced(n), &dated, 0, FREE, prove(n - 1, n)),
        ("by its release, all compared", n, announced(n), &none, u64::MAX, FREE, prove(0, n)),
        ("longer than its release", n, announced(n - 1), &strong, OVERLAP, FREE, ranged(n - OVERLAP - 1, n, &None)),
        ("longer than its release, not compared", n, announced(9), &none, 0, FREE, Plan::Full(RestartReason::OverlapMismatch)),
        ("longer than its release, strong, not compared", n, announced(9), &strong, 0, FREE, ranged(n - 1, n, &None)),
        ("longer than its release, on fetch", n, announced(9), &strong, OVERLAP, FETCH, ranged(n - OVERLAP - 1, n, &None)),
        ("longer than its release, the transfer's end ahead", n, (Some(n + 1), Some(9)), &strong, OVERLAP, FREE, ranged(n, n, &etag)),
        ("shorter than its release", n, announced(n + 1), &strong, OVERLAP, FREE, ranged(n, n, &etag)),
        // A strong ETag
        ("strong", n, known(n + 1), &strong, OVERLAP, FREE, ranged(n, n, &etag)),
        ("strong, size unknown", n, UNKNOWN, &strong, OVERLAP, FREE, ranged(n, n, &etag)),
        ("strong and dated", n, UNKNOWN, &both, OVERLAP, FREE, ranged(n, n, &etag)),
        // A strong Last-Modified
        ("dated", n, UNKNOWN, &dated, OVERLAP, FREE, ranged(n - OVERLAP, n, &date)),
        ("dated and short", 9, UNKNOWN, &dated, OVERLAP, FREE, ranged(0, 9, &date)),
        ("dated, not compared", n, UNKNOWN, &dated, 0, FREE, ranged(n, n, &date)),
        // Neither, or a weak ETag; then not even a date may be sent (RFC 9110 §13.1.5).
        ("neither", n, UNKNOWN, &none, OVERLAP, FREE, ranged(n - OVERLAP, n, &None)),
        ("neither, short", 9, known(20), &none, OVERLAP, FREE, ranged(0, 9, &None)),
        ("neither, not compared", n, UNKNOWN, &none, 0, FREE, Plan::Full(RestartReason::OverlapMismatch)),
        ("weak", n, UNKNOWN, &weak, OVERLAP, FREE, ranged(n - OVERLAP, n, &None)),
        ("weak and dated", n, UNKNOWN, &weak_dated, OVERLAP, FREE, ranged(n - OVERLAP, n, &None)),
        // A host that cannot send If-Range
        ("strong, on fetch", n, UNKNOWN, &strong, OVERLAP, FETCH, ranged(n - OVERLAP, n, &None)),
        ("dated, on fetch", n, UNKNOWN, &dated, OVERLAP, FETCH, ranged(n - OVERLAP, n, &None)),
    ];
    for (name, offset, (size, announced), validators, overlap, rules, expected) in rows {
        let held = Held { offset, size, announced, validators, digests: &[], behaviour: &Behaviour::default() };
        assert_eq!(plan(held, overlap, rules, StoreRules::FILE), expected, "{name}");
    }
}

#[test]
fn a_range_is_written_as_its_field() {
    let range = |first, last| ByteRange { first, last }.to_string();
    assert_eq!(ByteRange::from(0).to_string(), "bytes=0-");
    assert_eq!(range(100, Some(199)), "bytes=100-199");
    assert_eq!(range(7, Some(7)), "bytes=7-7");
    let max = u64::MAX;
    assert_eq!(range(max, Some(max)), format!("bytes={max}-{max}"));
}

#[test]
#[rustfmt::skip] // one line a row
fn what_is_asked_for_if_the_store_cannot_read_back_or_cut() {
    let (none, weak) = (Validators::default(), validators(Some("W/\"a\""), None));
    let (strong, dated) = (validators(Some("\"a\""), None), validators(None, Some(OLD)));
    let upload = StoreRules { read_back_bytes: 0, truncate: true, durable_unit_bytes: 1 };
    let stream = StoreRules { truncate: false, ..upload };
    let window = StoreRules { read_back_bytes: 100, ..upload };
    let n = 100_000;
    let ranged = |first, if_range| Plan::Ranged(Ask { first, offset: n, if_range });
    let etag = || Some(IfRange::ETag("\"a\"".to_owned()));
    let date = || Some(IfRange::Date(OLD.to_owned()));
    let unproven = || Plan::Full(RestartReason::OverlapMismatch);
    let rows = [
        ("upload, strong", upload, UNKNOWN, &strong, ranged(n, etag())),
        ("upload, dated", upload, UNKNOWN, &dated, ranged(n, date())),
        ("upload, weak", upload, UNKNOWN, &weak, unproven()),
        ("upload, neither", upload, UNKNOWN, &none, unproven()),
        ("upload, too long", upload, known(9), &strong, Plan::Discard(RestartReason::PartOversize)),
        ("upload, by its release, strong", upload, announced(n), &strong, ranged(n, etag())),
        ("upload, by its release, neither", upload, announced(n), &none, unproven()),
        ("stream, strong", stream, UNKNOWN, &strong, ranged(n, etag())),
        ("stream, dated", stream, UNKNOWN, &dated, ranged(n, date())),
        ("stream, neither", stream, UNKNOWN, &none, Plan::NotResumable),
        ("stream, too long", stream, known(9), &strong, Plan::NotResumable),
        ("stream, whole", stream, known(n), &none, Plan::Finish),
        ("stream, by its release, strong", stream, announced(n), &strong, ranged(n, etag())),
        ("stream, by its release, neither", stream, announced(n), &none, Plan::NotResumable),
        ("a window, neither", window, UNKNOWN, &none, ranged(n - 100, None)),
        ("a window, longer than its release", window, announced(9), &none, ranged(n - 100, None)),
    ];
    for (name, store, (size, announced), validators, expected) in rows {
        let held = Held { offset: n, size, announced, validators, digests: &[], behaviour: &Behaviour::default() };
        assert_eq!(plan(held, OVERLAP, FREE, store), expected, "{name}");
    }
}

#[test]
fn an_etag_that_cannot_be_sent_back_is_only_compared() {
    let odd = validators(Some("\"caf\u{e9}\""), None);
    let held = Held {
        offset: 9,
        size: None,
        announced: None,
        validators: &odd,
        digests: &[],
        behaviour: &Behaviour::default(),
    };
    let Plan::Ranged(ask) = plan(held, OVERLAP, FREE, StoreRules::FILE) else {
        panic!("bytes are missing");
    };
    assert_eq!((ask.first, ask.if_range), (0, None));
}

/// What a verdict says, in one line.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Append { end, total } => format!("append to {end} of {total:?}"),
        Verdict::Full { end, size, reason } => {
            let end = match end {
                BodyEnd::Length(bytes) => bytes.to_string(),
                BodyEnd::Marked => "chunked".to_owned(),
                BodyEnd::Unmarked => "close".to_owned(),
            };
            let size = size.map_or("?".to_owned(), |size| format!("{} {}", size.bytes, size.source.name()));
            format!("full {end}, {size}, {}", reason.name())
        }
        Verdict::IgnoredIfRange { .. } => "If-Range ignored".to_owned(),
        Verdict::AskWhole { reason, refused: None } => format!("ask whole {}", reason.name()),
        Verdict::AskWhole { reason, refused: Some(error) } => format!("{}, ask whole {}", error.code(), reason.name()),
        Verdict::Complete => "complete".to_owned(),
        Verdict::Fail(error) => format!("fail {}", error.code()),
    }
}

/// The verdict on the response to a plain request, while nothing is held.
fn plain(requests: RequestRules, head: &Head) -> Verdict {
    let (none, behaviour) = (Validators::default(), Behaviour::default());
    let held = Held { offset: 0, size: None, announced: None, validators: &none, digests: &[], behaviour: &behaviour };
    verdict_on_plain(requests, false, held, head, RestartReason::PartChanged)
}

type Fields = [(&'static str, &'static str)];

fn head(status: u16, fields: &Fields) -> Head {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let headers: Headers = fields.iter().copied().collect();
    Head::read(status, &headers, body_end(&headers), wall)
}

const ETAG: (&str, &str) = ("etag", "\"a\"");
const RANGE: (&str, &str) = ("content-range", "bytes 40-99/100");
const CLEN: (&str, &str) = ("content-length", "60");

/// A part of 40 bytes of a file of `size`, asked for from byte 40 with a strong ETag.
fn with_etag(sizes: Sizes, status: u16, fields: &Fields) -> String {
    let held = validators(Some("\"a\""), None);
    let if_range = Some(IfRange::ETag("\"a\"".to_owned()));
    answered(sizes, &held, if_range, status, fields)
}

fn answered(
    (size, announced): Sizes,
    validators: &Validators,
    if_range: Option<IfRange>,
    status: u16,
    fields: &Fields,
) -> String {
    let ask = Ask { first: 40, offset: 40, if_range };
    let held = Held { offset: 40, size, announced, validators, digests: &[], behaviour: &Behaviour::default() };
    told(&verdict(&ask, held, &head(status, fields)))
}

const MISFIT: &str = "ask whole content_range_mismatch";
const CHANGED: &str = "ask whole validator_changed";

// H01 to H08, H15, H18, H20, H26
#[test]
#[rustfmt::skip] // one line a row
fn what_a_206_is_worth() {
    let range = |value| ("content-range", value);
    let all = "append to 100 of Some(100)";
    let rows: &[(&str, Sizes, &Fields, &str)] = &[
        ("H01: it fits", known(100), &[RANGE, CLEN, ETAG], all),
        ("framed by chunks", known(100), &[RANGE, ETAG, ("transfer-encoding", "chunked")], all),
        ("framed by its range alone", known(100), &[RANGE, ETAG], all),
        ("it tells an unknown size", UNKNOWN, &[RANGE, CLEN, ETAG], all),
        ("an unknown size stays so", UNKNOWN, &[range("bytes 40-99/*"), CLEN, ETAG], "append to 100 of None"),
        ("the release says less", announced(50), &[RANGE, CLEN, ETAG], all),
        ("the release says less than is there", announced(30), &[RANGE, CLEN, ETAG], all),
        ("the release says more", announced(200), &[RANGE, CLEN, ETAG], all),
        ("a star beside a release", announced(100), &[range("bytes 40-99/*"), CLEN, ETAG], "append to 100 of None"),
        ("a smaller total than is there, as the release says", announced(30), &[range("bytes 40-49/30"), ETAG], MISFIT),
        ("another total, as the release says", (Some(100), Some(101)), &[range("bytes 40-99/101"), ETAG], MISFIT),
        ("H04: an honest shorter end", known(100), &[range("bytes 40-59/100"), ("content-length", "20"), ETAG], "append to 60 of Some(100)"),
        ("identity is no coding", known(100), &[RANGE, CLEN, ETAG, ("content-encoding", "identity")], all),
        ("H02: an earlier start", known(100), &[range("bytes 39-99/100"), ETAG], MISFIT),
        ("H02: from 0", known(100), &[range("bytes 0-99/100"), ETAG], MISFIT),
        ("H03: a later start", known(100), &[range("bytes 41-99/100"), ETAG], MISFIT),
        ("H05: no range", known(100), &[CLEN, ETAG], MISFIT),
        ("H05: an unreadable one", known(100), &[range("bytes 40-/100"), CLEN, ETAG], MISFIT),
        ("H05: two, if equal", known(100), &[RANGE, RANGE, CLEN, ETAG], MISFIT),
        ("H05: another unit", known(100), &[range("items 40-99/100"), ETAG], MISFIT),
        ("H05: its end before its start", known(100), &[range("bytes 40-39/100"), ETAG], MISFIT),
        ("H05: its end past the end", known(100), &[range("bytes 40-100/100"), ETAG], MISFIT),
        ("H05: unsatisfied", known(100), &[range("bytes */100"), ETAG], MISFIT),
        ("H07: another total", known(100), &[range("bytes 40-99/101"), ETAG], MISFIT),
        ("H07: a smaller total", known(100), &[range("bytes 40-89/90"), ETAG], MISFIT),
        ("H07: a total for a star", known(100), &[range("bytes 40-99/*"), ETAG], MISFIT),
        ("H08: multipart", known(100), &[RANGE, CLEN, ETAG, ("content-type", "multipart/byteranges; boundary=x")], MISFIT),
        ("H15: another ETag", known(100), &[RANGE, CLEN, ("etag", "\"b\"")], CHANGED),
        ("H15: the same but weak", known(100), &[RANGE, CLEN, ("etag", "W/\"a\"")], CHANGED),
        ("H15: two ETags", known(100), &[RANGE, CLEN, ETAG, ETAG], CHANGED),
        ("H18: no ETag", known(100), &[RANGE, CLEN], CHANGED),
        ("H20: coded", known(100), &[RANGE, CLEN, ETAG, ("content-encoding", "gzip")], "fail Coded"),
        ("H20: coded and a misfit", known(100), &[range("bytes 0-99/100"), ETAG, ("content-encoding", "br")], "fail Coded"),
        ("H20: coded and another", known(100), &[RANGE, ("etag", "\"b\""), ("content-encoding", "br")], "fail Coded"),
        ("H26: unequal lengths", known(100), &[RANGE, ("content-length", "61"), ETAG], "fail Protocol"),
        ("H26: an absurd length", known(100), &[RANGE, ("content-length", "-1"), ETAG], "fail Protocol"),
        ("H26: two lengths", known(100), &[RANGE, CLEN, ("content-length", "61"), ETAG], "fail Protocol"),
    ];
    for (name, size, fields, expected) in rows {
        assert_eq!(with_etag(*size, 206, fields), *expected, "{name}");
    }
}

#[test]
#[rustfmt::skip] // one line a row
fn what_a_206_is_worth_without_a_strong_etag() {
    let range = ("content-range", "bytes 40-99/100");
    let fits = "append to 100 of Some(100)";
    let (none, weak) = (Validators::default(), validators(Some("W/\"a\""), None));
    let (strong, dated) = (validators(Some("\"a\""), None), validators(None, Some(OLD)));
    let date = Some(IfRange::Date(OLD.to_owned()));
    let rows: &[(&str, &Validators, &Option<IfRange>, &Fields, &str)] = &[
        ("nothing held, nothing told", &none, &None, &[range], fits),
        ("nothing held, one told now", &none, &None, &[range, ETAG], fits),
        ("weak, the same", &weak, &None, &[range, ("etag", "W/\"a\"")], fits),
        ("weak, another", &weak, &None, &[range, ("etag", "W/\"b\"")], CHANGED),
        ("weak, missing", &weak, &None, &[range], CHANGED),
        ("weak, now strong", &weak, &None, &[range, ETAG], CHANGED),
        ("on fetch, the same", &strong, &None, &[range, ETAG], fits),
        ("on fetch, another", &strong, &None, &[range, ("etag", "\"b\"")], CHANGED),
        ("on fetch, hidden now", &strong, &None, &[range], CHANGED),
        ("dated, the same", &dated, &date, &[range, ("last-modified", OLD)], fits),
        ("dated, another", &dated, &date, &[range, ("last-modified", OTHER_OLD)], CHANGED),
        ("dated, missing", &dated, &date, &[range], fits),
    ];
    for (name, held, if_range, fields, expected) in rows {
        let got = answered(known(100), held, (*if_range).clone(), 206, fields);
        assert_eq!(got, *expected, "{name}");
    }
}

#[test]
#[rustfmt::skip] // one line a row
fn another_last_modified_is_another_version_even_if_it_is_weak() {
    let weak = Validators { last_modified_strong: false, ..validators(None, Some(OLD)) };
    let both = Validators { etag: Some("W/\"a\"".to_owned()), ..weak.clone() };
    let strong = Validators { etag: Some("\"a\"".to_owned()), ..weak.clone() };
    let (same, other) = (("last-modified", OLD), ("last-modified", OTHER_OLD));
    let (fits, tag) = ("append to 100 of Some(100)", ("etag", "W/\"a\""));
    let etag = Some(IfRange::ETag("\"a\"".to_owned()));
    let rows: &[(&str, &Validators, &Option<IfRange>, &Fields, &str)] = &[
        ("the same", &weak, &None, &[RANGE, same], fits),
        ("another", &weak, &None, &[RANGE, other], CHANGED),
        ("missing now", &weak, &None, &[RANGE], fits),
        ("another, in other words", &weak, &None, &[RANGE, ("last-modified", "yesterday")], CHANGED),
        ("another beside the same weak ETag", &both, &None, &[RANGE, tag, other], CHANGED),
        ("the same beside the same weak ETag", &both, &None, &[RANGE, tag, same], fits),
        ("another beside the same strong ETag", &strong, &etag, &[RANGE, ETAG, other], fits),
        ("none was held", &Validators::default(), &None, &[RANGE, other], fits),
    ];
    for (name, held, if_range, fields, expected) in rows {
        let got = answered(known(100), held, (*if_range).clone(), 206, fields);
        assert_eq!(got, *expected, "{name}");
    }
}

/// `fetch` asks for codings if there is no Range.
#[test]
#[rustfmt::skip] // one line a row
fn what_a_whole_file_is_worth_on_fetch_after_a_range_was_refused() {
    let length = ("content-length", "100");
    let range = |value| ("content-range", value);
    let full = "full 100, 100 content_length, range_refused";
    let rows: &[(&str, Sizes, &Fields, &str)] = &[
        ("of the known size", known(100), &[length], full),
        ("of the release's size", announced(100), &[length], full),
        ("of another size", known(99), &[length], "fail Protocol"),
        ("of an unknown size", UNKNOWN, &[length], "fail Protocol"),
        ("without a length", known(100), &[("transfer-encoding", "chunked")], "fail Protocol"),
        ("coded", known(100), &[length, ("content-encoding", "gzip")], "fail Coded"),
        ("a range of the whole", known(100), &[length, range("bytes 0-99/100")], "full 100, 100 content_range, range_refused"),
        ("a range of another whole", known(99), &[length, range("bytes 0-99/100")], "fail Protocol"),
        ("a part of it", known(100), &[length, range("bytes 1-99/100")], "fail Protocol"),
        ("an unreadable range", known(100), &[length, range("?")], "fail Protocol"),
    ];
    for (name, (size, announced), fields, expected) in rows {
        let (validators, behaviour) = (Validators::default(), Behaviour::default());
        let held = Held { offset: 40, size: *size, announced: *announced, validators: &validators, digests: &[], behaviour: &behaviour };
        let verdict = verdict_on_plain(FETCH, true, held, &head(200, fields), RestartReason::RangeRefused);
        assert_eq!(told(&verdict), *expected, "{name}");
    }
}

#[test]
fn codings_that_are_the_files_own() {
    let own = [
        ("gzip", "film.tar.gz"),
        ("x-gzip", "film.tar.gz"),
        ("GZIP", "FILM.TGZ"),
        ("gzip", "drawing.svgz"),
        ("br", "page.html.br"),
        ("zstd", "film.tar.zst"),
        ("bzip2", "film.tbz2"),
        ("x-bzip2", "film.bz2"),
        ("xz", "film.tar.xz"),
        ("compress", "film.tar.Z"),
        ("x-compress", "film.Z"),
        ("gzip", "/a.b/film.gz"),
    ];
    for (coding, name) in own {
        assert!(stored_as_sent(coding, [name]), "{coding} of {name}");
        assert!(stored_as_sent(coding, ["film", name]), "{coding} of {name}");
    }
    let foreign = [
        ("gzip", "film.mkv"),
        ("gzip", "film.tar"),
        ("br", "film.tar.gz"),
        ("zstd", "film.gz"),
        ("gzip", "film.zst"),
        ("deflate", "film.gz"),
        ("gzip, br", "film.gz"),
        ("gzip, gzip", "film.gz"),
        ("", "film.gz"),
        ("gzip", "film.gz/index"),
        ("gzip", ".gz"),
        ("gzip", "gz"),
    ];
    for (coding, name) in foreign {
        assert!(!stored_as_sent(coding, [name]), "{coding} of {name}");
    }
}

#[test]
fn all_codings_of_a_response_count() {
    let rows: [(&Fields, Option<&str>); 6] = [
        (&[], None),
        (&[("content-encoding", "identity")], None),
        (&[("content-encoding", "identity, gzip")], Some("gzip")),
        (&[("content-encoding", "gzip,br")], Some("gzip, br")),
        (&[("content-encoding", "gzip"), ("content-encoding", "br")], Some("gzip, br")),
        (&[("content-encoding", " , ")], None),
    ];
    for (fields, expected) in rows {
        assert_eq!(head(200, fields).coding.as_deref(), expected, "{fields:?}");
    }
}

#[test]
#[rustfmt::skip] // one line a row
fn what_a_full_response_is_worth_by_its_size_and_type() {
    let typed = |content_type: &str| Validators {
        content_type: Some(content_type.to_owned()).filter(|name| !name.is_empty()),
        ..Validators::default()
    };
    let (film, html, json, octets) = ("video/x-matroska", "text/html", "application/json", "application/octet-stream");
    let rows = [
        // held, now, size, name
        (film, film, Some(9000), "film.mkv", "compare"),
        (film, film, Some(1000), "film.mkv", "compare"),
        (film, film, Some(999), "film.mkv", "Shrunk"),
        (film, film, Some(0), "film.mkv", "Shrunk"),
        (film, film, None, "film.mkv", "compare"),
        (film, octets, Some(9000), "film.mkv", "compare"),
        (film, octets, Some(999), "film.mkv", "UnexpectedPage"),
        (film, octets, None, "film.mkv", "compare"),
        (film, json, Some(9000), "film.mkv", "compare"),
        (film, json, Some(999), "film.mkv", "UnexpectedPage"),
        (film, json, None, "film.mkv", "UnexpectedPage"),
        (film, html, Some(9000), "film.mkv", "UnexpectedPage"),
        (film, html, None, "film", "UnexpectedPage"),
        (film, html, Some(9000), "film.HTM", "compare"),
        (html, html, Some(999), "film.mkv", "Shrunk"),
        (html, film, Some(9000), "film.mkv", "compare"),
        (html, film, Some(999), "film.mkv", "Shrunk"),
        (html, film, Some(999), "page.html", "UnexpectedPage"),
        (html, json, Some(999), "film.mkv", "UnexpectedPage"),
        ("text/plain", json, None, "notes", "compare"),
        // No type was held.
        ("", film, Some(999), "film.mkv", "Shrunk"),
        ("", html, Some(999), "film", "UnexpectedPage"),
        ("", html, Some(9000), "film.mkv", "UnexpectedPage"),
        ("", html, Some(9000), "film", "compare"),
        ("", "text/plain", None, "notes", "compare"),
        // None is known now.
        (film, "", Some(9000), "film.mkv", "compare"),
        (film, "", Some(999), "film.mkv", "Shrunk"),
    ];
    for (held, now, size, name, expected) in rows {
        let got = match full_response(1000, &typed(held), &Behaviour::default(), &typed(now), size, name) {
            Full::Compare => "compare".to_owned(),
            Full::Remember(_, error) | Full::Refuse(error) => error.code().to_string(),
        };
        assert_eq!(got, expected, "{held} then {now}, {size:?}, {name}");
    }
}

#[test]
fn two_stated_digests_that_differ_are_two_versions() {
    let stated = |letter: &str| format!("sha-256=:{}=:", letter.repeat(43));
    let zeros = Checksum::new(Algorithm::Sha256, &"0".repeat(64)).unwrap();
    let digests = [DigestRow::wanted(zeros, DigestSource::ReprDigest)];
    let ask = Ask { first: 40, offset: 40, if_range: None };
    for (digest, expected) in [
        (Some(stated("A")), "append to 100 of Some(100)"),
        (Some(stated("E")), CHANGED),
        (None, "append to 100 of Some(100)"),
    ] {
        let mut headers: Headers = [RANGE].into_iter().collect();
        if let Some(digest) = &digest {
            headers.push("repr-digest", digest.as_bytes());
        }
        let head = Head::read(206, &headers, body_end(&headers), SystemTime::UNIX_EPOCH);
        let held = Held {
            offset: 40,
            size: None,
            announced: None,
            validators: &Validators::default(),
            digests: &digests,
            behaviour: &Behaviour::default(),
        };
        assert_eq!(told(&verdict(&ask, held, &head)), expected, "{digest:?}");
    }
}

// H09, H10, H15, H20 to H22, H26
#[test]
#[rustfmt::skip] // one line a row
fn what_a_200_to_a_ranged_request_is_worth() {
    let none = Validators::default();
    let (length, chunked) = (("content-length", "100"), ("transfer-encoding", "chunked"));
    let rows: &[(&str, &Fields, &str)] = &[
        ("H09: a length", &[length], "full 100, 100 content_length, range_ignored"),
        ("another length than was known", &[("content-length", "7")], "full 7, 7 content_length, range_ignored"),
        ("H21: chunked", &[chunked], "full chunked, ?, range_ignored"),
        ("H22: neither", &[], "full close, ?, range_ignored"),
        ("H10: with a Content-Range", &[length, RANGE], MISFIT),
        ("H10: with an unreadable one", &[length, ("content-range", "?")], MISFIT),
        ("H20: coded", &[length, ("content-encoding", "gzip")], "fail Coded"),
        ("H20: coded, with a range", &[RANGE, ("content-encoding", "gzip")], "fail Coded"),
        ("H26: both framings", &[length, chunked], "fail Protocol"),
    ];
    for (name, fields, expected) in rows {
        assert_eq!(answered(known(100), &none, None, 200, fields), *expected, "{name}");
    }
    let changed = "full 100, 100 content_length, validator_changed";
    assert_eq!(with_etag(known(100), 200, &[length, ("etag", "\"b\"")]), changed);
    assert_eq!(with_etag(known(100), 200, &[length, ETAG]), "If-Range ignored");
    assert_eq!(with_etag(known(100), 200, &[length, RANGE]), MISFIT);
}

// H11 to H13
#[test]
#[rustfmt::skip] // one line a row
fn what_a_416_to_a_ranged_request_is_worth() {
    let at_end = ("content-range", "bytes */40");
    let no = "Status, ask whole range_not_satisfiable";
    let rows: &[(&str, Sizes, &Fields, &str)] = &[
        ("H11: the part's end", UNKNOWN, &[at_end], "complete"),
        ("H11: and the ETag", UNKNOWN, &[at_end, ETAG], "complete"),
        ("H11: the transfer counts, not the release", announced(90), &[at_end], "complete"),
        ("another ETag", UNKNOWN, &[at_end, ("etag", "\"b\"")], no),
        ("a weak one", UNKNOWN, &[at_end, ("etag", "W/\"a\"")], no),
        ("H12: a larger end", UNKNOWN, &[("content-range", "bytes */41")], no),
        ("H12: a smaller end", UNKNOWN, &[("content-range", "bytes */39")], no),
        ("H12: not what a transfer said", known(100), &[at_end], no),
        ("H13: no range", UNKNOWN, &[ETAG], no),
        ("two ranges", UNKNOWN, &[at_end, at_end], no),
        ("no unit", UNKNOWN, &[("content-range", "*/40")], no),
        ("a range of bytes", UNKNOWN, &[("content-range", "bytes 0-39/40")], no),
    ];
    for (name, size, fields, expected) in rows {
        assert_eq!(with_etag(*size, 416, fields), *expected, "{name}");
    }
    let none = Validators::default();
    assert_eq!(answered(UNKNOWN, &none, None, 416, &[at_end]), no, "no If-Range, no proof");
}

// H24, H28 to H31
#[test]
fn any_other_status_ends_the_attempt() {
    for status in (400..=599).filter(|status| *status != 416) {
        let refused = [400, 403, 405, 501].contains(&status);
        let expected = match refused {
            true => "Status, ask whole range_refused",
            false => "fail Status",
        };
        assert_eq!(with_etag(known(100), status, &[]), expected, "{status}");
        let answer = plain(FREE, &head(status, &[]));
        assert_eq!(told(&answer), "fail Status", "{status}");
    }
    for status in [201, 202, 203, 204, 205, 226, 299, 300, 301, 304, 399, 100, 103, 600, 999] {
        assert_eq!(with_etag(known(100), status, &[RANGE, ETAG]), "fail Protocol", "{status}");
        let answer = plain(FREE, &head(status, &[CLEN]));
        assert_eq!(told(&answer), "fail Protocol", "{status}");
    }
}

// H06, H14, H20, H26, H31, FW12
#[test]
#[rustfmt::skip] // one line a row
fn what_the_answer_to_a_plain_request_is_worth() {
    let range = |value| ("content-range", value);
    let length = ("content-length", "100");
    let chunked = ("transfer-encoding", "chunked");
    let whole = "full 100, 100 content_length, part_changed";
    let ranged = "full 100, 100 content_range, part_changed";
    let ranged_chunks = "full chunked, 100 content_range, part_changed";
    let ranged_close = "full close, 100 content_range, part_changed";
    // On fetch the plain request is `bytes=0-`.
    let rows: &[(&str, u16, &Fields, &str, &str)] = &[
        // status, fields, on a free client, on fetch
        ("H14: nothing there", 416, &[], "fail Status", "fail Status"),
        ("H14: not empty", 416, &[range("bytes */5")], "fail Status", "fail Status"),
        ("an empty file", 416, &[range("bytes */0")], "fail Status", "full 0, 0 content_range, part_changed"),
        ("a length", 200, &[length], whole, whole),
        ("an empty body", 200, &[("content-length", "0")], "full 0, 0 content_length, part_changed", "full 0, 0 content_length, part_changed"),
        ("chunked", 200, &[chunked], "full chunked, ?, part_changed", "full chunked, ?, part_changed"),
        ("unframed", 200, &[], "full close, ?, part_changed", "full close, ?, part_changed"),
        ("coded", 200, &[length, ("content-encoding", "gzip")], "fail Coded", "fail Coded"),
        ("an absurd length", 200, &[("content-length", "x")], "fail Protocol", "fail Protocol"),
        ("a range that is all of it", 200, &[range("bytes 0-99/100"), length], ranged, ranged),
        ("a range that is all of it, chunked", 200, &[range("bytes 0-99/100"), chunked], ranged_chunks, ranged_chunks),
        ("a range that is all of it, unframed", 200, &[range("bytes 0-99/100")], ranged_close, ranged_close),
        ("a range that is all of it, in another length", 200, &[range("bytes 0-99/100"), ("content-length", "99")], "fail Protocol", "fail Protocol"),
        ("a range that is all of it, coded", 200, &[range("bytes 0-99/100"), ("content-encoding", "br")], "fail Coded", "fail Coded"),
        ("the end of it", 200, &[range("bytes 5-99/100"), ("content-length", "95")], "fail Protocol", "fail Protocol"),
        ("the start of it", 200, &[range("bytes 0-49/100"), ("content-length", "50")], "fail Protocol", "fail Protocol"),
        ("a range of an unknown whole", 200, &[range("bytes 0-99/*"), length], "fail Protocol", "fail Protocol"),
        ("no range of it", 200, &[range("bytes */100"), length], "fail Protocol", "fail Protocol"),
        ("no range of an empty one", 200, &[range("bytes */0"), ("content-length", "0")], "fail Protocol", "fail Protocol"),
        ("an unreadable range", 200, &[range("bytes=0-99/100"), length], "fail Protocol", "fail Protocol"),
        ("another unit", 200, &[range("items 0-99/100"), length], "fail Protocol", "fail Protocol"),
        ("an empty range field", 200, &[range(""), length], "fail Protocol", "fail Protocol"),
        ("two ranges, if equal", 200, &[range("bytes 0-99/100"), range("bytes 0-99/100"), length], "fail Protocol", "fail Protocol"),
        ("a range of several parts", 200, &[range("bytes 0-99/100"), ("content-type", "multipart/byteranges; boundary=x")], "fail Protocol", "fail Protocol"),
        ("a range and a coding", 200, &[range("bytes 5-99/100"), ("content-encoding", "gzip")], "fail Coded", "fail Coded"),
        ("H06: all of it", 206, &[range("bytes 0-99/100"), length], "fail Protocol", ranged),
        ("chunked, all of it", 206, &[range("bytes 0-99/100"), chunked], "fail Protocol", ranged_chunks),
        ("an honest shorter end", 206, &[range("bytes 0-49/100")], "fail Protocol", "full 50, 100 content_range, part_changed"),
        ("the end of the range is not that of the file", 206, &[range("bytes 0-49/*"), chunked], "fail Protocol", "full 50, ?, part_changed"),
        ("from elsewhere", 206, &[range("bytes 1-99/100")], "fail Protocol", "fail Protocol"),
        ("no range", 206, &[length], "fail Protocol", "fail Protocol"),
        ("multipart", 206, &[range("bytes 0-99/100"), ("content-type", "multipart/byteranges")], "fail Protocol", "fail Protocol"),
        ("unequal lengths", 206, &[range("bytes 0-99/100"), ("content-length", "99")], "fail Protocol", "fail Protocol"),
        ("a coded 206", 206, &[range("bytes 0-99/100"), ("content-encoding", "br")], "fail Protocol", "fail Coded"),
    ];
    for (name, status, fields, free, fetch) in rows {
        assert_eq!(told(&plain(FREE, &head(*status, fields))), *free, "{name}");
        assert_eq!(told(&plain(FETCH, &head(*status, fields))), *fetch, "{name}, on fetch");
    }
}
