//! The header fields that decide whether bytes belong together (RFC 9110 §5.6.7, §8.8, §10.2.3, §14.4; RFC 9530 §3), and
//! Content-Disposition (RFC 6266).

use regrip_core::Checksum;
use regrip_core::Error;
use regrip_core::http::{
    ContentRange, Head, body_end, content_range, is_strong_etag, is_strong_last_modified, parse_date,
    parse_retry_after, repr_digests, suggested_name, validators,
};
use regrip_core::transport::{BodyEnd, Headers};
use std::time::{Duration, SystemTime};

fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().copied().collect()
}

fn read(fields: &[(&str, &str)]) -> Head {
    let headers = headers(fields);
    Head::read(200, &headers, body_end(&headers), wall())
}

/// 2026-01-01 00:00:00 UTC, a Thursday.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn part(first: u64, last: u64, total: Option<u64>) -> Option<ContentRange> {
    Some(ContentRange::Part { first, last, total })
}

// H05; the malformed ones are those of curl's test 1156 and more.
#[test]
fn a_content_range_is_read_only_where_it_holds_together() {
    const MAX: u64 = u64::MAX;
    let whole = Some(ContentRange::Unsatisfied { total: 87 });
    let rows = [
        ("bytes 0-0/1", part(0, 0, Some(1))),
        ("bytes 5-9/10", part(5, 9, Some(10))),
        ("bytes 5-8/10", part(5, 8, Some(10))),
        ("bytes 5-9/*", part(5, 9, None)),
        ("bytes 00005-9/0010", part(5, 9, Some(10))),
        ("Bytes 5-9/10", part(5, 9, Some(10))),
        ("BYTES 5-9/10", part(5, 9, Some(10))),
        ("bytes */87", whole),
        ("bytes */0", Some(ContentRange::Unsatisfied { total: 0 })),
        ("bytes 4294967296-8589934591/8589934592", part(1 << 32, (1 << 33) - 1, Some(1 << 33))),
        ("bytes 0-18446744073709551614/18446744073709551615", part(0, MAX - 1, Some(MAX))),
        // The last byte of a file of unknown length is at most the one before the last offset there is.
        ("bytes 0-18446744073709551615/*", None),
        ("bytes 0-18446744073709551615/18446744073709551616", None),
        ("bytes 18446744073709551616-18446744073709551617/*", None),
        ("bytes */18446744073709551616", None),
        ("", None),
        ("bytes", None),
        ("bytes ", None),
        ("bytes */*", None),
        ("bytes *", None),
        ("bytes 5-9", None),
        ("bytes 5-9/", None),
        ("bytes 5-/10", None),
        ("bytes -9/10", None),
        ("bytes -/10", None),
        ("bytes 5/10", None),
        ("bytes /10", None),
        ("5-9/10", None),
        ("*/100", None),
        ("*/*", None),
        (" 5-9/10", None),
        ("items 5-9/10", None),
        ("byte 5-9/10", None),
        ("bytes=5-9/10", None),
        ("bytes: 5-9/10", None),
        ("bytes:5-9/10", None),
        ("bytes\t5-9/10", None),
        ("bytes  5-9/10", None),
        ("bytes 5 -9/10", None),
        ("bytes 5- 9/10", None),
        ("bytes 5-9 /10", None),
        ("bytes 5-9/ 10", None),
        ("bytes 5-9/10 ", None),
        ("bytes 5-9/10/11", None),
        ("bytes 5-9-10/11", None),
        ("bytes 5-9/10, 11-12/13", None),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes 5-11/10", None),
        ("bytes 0-0/0", None),
        ("bytes +5-9/10", None),
        ("bytes 5-+9/10", None),
        ("bytes -5-9/10", None),
        ("bytes 5-9/-10", None),
        ("bytes 0x5-0x9/0xa", None),
        ("bytes 5.0-9/10", None),
        ("bytes a-b/c", None),
        ("bytes \u{0665}-9/10", None),
    ];
    for (value, expected) in rows {
        assert_eq!(content_range(value), expected, "{value:?}");
    }
}

// H05, H08
#[test]
fn a_content_range_counts_only_where_there_is_one_of_it_and_the_body_is_one_part() {
    let one = ("content-range", "bytes 5-9/10");
    let range = |fields: &[(&str, &str)]| {
        let head = read(fields);
        (head.content_ranges, head.content_range)
    };
    assert_eq!(range(&[one]), (1, part(5, 9, Some(10))));
    assert_eq!(range(&[("CONTENT-Range", "  bytes 5-9/10\t")]), (1, part(5, 9, Some(10))));
    assert_eq!(range(&[one, one]), (2, None));
    assert_eq!(range(&[]), (0, None));
    for kind in ["multipart/byteranges; boundary=x", "Multipart/Mixed"] {
        assert_eq!(range(&[one, ("content-type", kind)]), (1, None), "{kind}");
    }
    for kind in ["video/mp4", "multipartx", "", "x-multipart/mixed"] {
        assert_eq!(range(&[one, ("content-type", kind)]).1, part(5, 9, Some(10)), "{kind}");
    }
}

// H26; curl's 178, 393 to 395, 767 to 771
#[test]
#[rustfmt::skip] // one line a row
fn a_content_length_is_digits_and_all_of_them_agree() {
    let length = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        read(&fields).end.ok()
    };
    let rows: [(&[&str], Option<BodyEnd>); 19] = [
        (&["0"], Some(BodyEnd::Length(0))),
        (&["5"], Some(BodyEnd::Length(5))),
        (&["005"], Some(BodyEnd::Length(5))),
        (&[" 5 "], Some(BodyEnd::Length(5))),
        (&["5", "5"], Some(BodyEnd::Length(5))),
        (&["5", "05"], Some(BodyEnd::Length(5))),
        (&["9223372036854775807"], Some(BodyEnd::Length(i64::MAX as u64))),
        (&["9223372036854775808"], None),
        (&["18446744073709551616"], None),
        (&["5", "6"], None),
        (&["5", "5", "6"], None),
        (&["5, 5"], None),
        (&["-5"], None),
        (&["+5"], None),
        (&["5x"], None),
        (&["0x5"], None),
        (&["5 5"], None),
        (&[""], None),
        (&["\u{0665}"], None),
    ];
    for (values, expected) in rows {
        assert_eq!(length(values), expected, "{values:?}");
    }
}

// H21, H22, H26
#[test]
fn what_delimits_a_body_is_one_thing() {
    let (length, chunked) = (("content-length", "5"), ("transfer-encoding", "chunked"));
    assert_eq!(read(&[length]).end, Ok(BodyEnd::Length(5)));
    assert_eq!(read(&[chunked]).end, Ok(BodyEnd::Marked));
    assert_eq!(read(&[]).end, Ok(BodyEnd::Unmarked));
    assert!(read(&[length, chunked]).end.is_err());
    let refused = read(&[("content-length", "-1")]).usable_end();
    assert!(matches!(refused, Err(Error::Protocol(text)) if text.contains("-1")));
}

// H20
#[test]
fn any_coding_but_identity_is_seen() {
    let coding = |value: &str| read(&[("content-encoding", value), ("content-length", "5")]);
    for plain in ["identity", "Identity", "", " , identity ,"] {
        assert_eq!(coding(plain).coding, None, "{plain:?}");
        assert!(coding(plain).usable_end().is_ok());
    }
    for (value, seen) in
        [("gzip", "gzip"), ("br", "br"), ("identity, gzip", "gzip"), ("GZIP", "GZIP"), ("aws-chunked", "aws-chunked")]
    {
        assert_eq!(coding(value).coding.as_deref(), Some(seen));
        assert!(matches!(coding(value).usable_end(), Err(Error::Coded(it)) if it == seen));
    }
    let twice = [("content-encoding", "identity"), ("content-encoding", "zstd")];
    assert_eq!(read(&twice).coding.as_deref(), Some("zstd"));
}

// H16
#[test]
#[rustfmt::skip] // one line a row
fn an_etag_is_strong_where_it_is_quoted_and_not_marked_weak() {
    for strong in ["\"abc\"", "\"\"", "\"a-b:1!#~\"", "\"W/abc\""] {
        assert!(is_strong_etag(strong), "{strong}");
    }
    for other in [
        "W/\"abc\"",
        "w/\"abc\"",
        "abc",
        "\"abc",
        "abc\"",
        "\"",
        "",
        "'abc'",
        "\"a b\"",
        "\"a\"b\"",
        "\"a\u{7f}b\"",
        "\"\u{e9}\"",
        "\"a\", \"b\"",
        "*",
    ] {
        assert!(!is_strong_etag(other), "{other}");
    }
}

// H17
#[test]
fn a_last_modified_is_strong_from_sixty_seconds_before_the_date_on() {
    let date = "Thu, 01 Jan 2026 00:01:00 GMT";
    let rows = [
        ("Thu, 01 Jan 2026 00:00:00 GMT", true),
        ("Thu, 01 Jan 2026 00:00:01 GMT", false),
        ("Thu, 01 Jan 2026 00:01:00 GMT", false),
        ("Thu, 01 Jan 2026 00:02:00 GMT", false),
        ("Fri, 31 Dec 1999 23:59:59 GMT", true),
        // A date whose weekday is another is refused.
        ("Wed, 31 Dec 1999 23:59:59 GMT", false),
        ("Wednesday, 31-Dec-25 00:00:00 GMT", true),
        ("yesterday", false),
        ("", false),
        ("0", false),
    ];
    for (modified, strong) in rows {
        assert_eq!(is_strong_last_modified(modified, date), strong, "{modified}");
    }
    assert!(!is_strong_last_modified(rows[0].0, ""), "no Date, no proof");
    assert!(!is_strong_last_modified(rows[0].0, "soon"));
}

#[test]
fn validators_are_kept_as_sent_and_only_where_they_came_once() {
    let (etag, old) = (("etag", "W/\"a\""), ("last-modified", "Wed, 31 Dec 1997 23:59:59 GMT"));
    let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    let all = validators(&headers(&[etag, old, date]));
    assert_eq!(all.etag.as_deref(), Some("W/\"a\""));
    assert_eq!(all.last_modified.as_deref(), Some(old.1));
    assert!(all.last_modified_strong);
    let doubled = validators(&headers(&[etag, etag, old, old, date]));
    assert_eq!((doubled.etag, doubled.last_modified), (None, None));
    let undated = validators(&headers(&[old]));
    assert_eq!(undated.last_modified.as_deref(), Some(old.1));
    assert!(!undated.last_modified_strong, "compared all the same");
}

#[test]
fn of_a_content_type_only_the_type_is_kept() {
    let rows = [
        ("text/html", Some("text/html")),
        ("Text/HTML; charset=utf-8", Some("text/html")),
        (" video/mp4 ;x", Some("video/mp4")),
        ("", None),
        (";charset=utf-8", None),
    ];
    for (value, expected) in rows {
        let read = validators(&headers(&[("content-type", value)]));
        assert_eq!(read.content_type.as_deref(), expected, "{value:?}");
    }
}

// T03
#[test]
fn a_retry_after_in_seconds_is_digits_only_and_saturates() {
    let rows = [
        ("0", Some(0)),
        ("1", Some(1)),
        ("007", Some(7)),
        ("1000000", Some(1_000_000)),
        ("9223372037", Some(9_223_372_037)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", Some(u64::MAX)),
        ("99999999999999999999999999", Some(u64::MAX)),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("5, 6", None),
        ("5s", None),
        ("0x5", None),
        ("", None),
        ("\u{0665}", None),
    ];
    for (value, seconds) in rows {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(parse_retry_after(value, wall()), expected, "{value:?}");
    }
    let asked = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("retry-after", *value)).collect();
        read(&fields).retry_after
    };
    assert_eq!(asked(&[" 5"]), Some(Duration::from_secs(5)), "space around a value is not part of it");
    assert_eq!(asked(&["5", "6"]), None);
}

// T04
#[test]
fn a_retry_after_date_is_an_http_date() {
    let year = 31_536_000;
    let rows = [
        ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30)),
        ("Thu, 01 Jan 2026 00:00:00 GMT", Some(0)),
        ("Wed, 31 Dec 2025 23:59:59 GMT", Some(0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Thursday, 01-Jan-26 00:00:30 GMT", Some(30)),
        ("Thursday, 01-Jan-70 00:00:30 GMT", Some(0)),
        ("Thu Jan  1 00:00:30 2026", Some(30)),
        ("Fri, 01 Jan 2126 00:00:00 GMT", None),
        ("Tue, 01 Jan 2126 00:00:00 GMT", Some(100 * year + 24 * 86_400)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(251_635_075_199)),
        ("Tue, 29 Feb 2028 00:00:00 GMT", Some(68_169_600)),
        ("Sun, 29 Feb 2026 00:00:00 GMT", None),
        ("Mon, 30 Feb 2026 00:00:00 GMT", None),
        ("Sat, 01 Jan 0000 00:00:00 GMT", None),
        ("Fri, 02 Jan 2026 00:00:00 UTC", None),
        ("fri, 02 jan 2026 00:00:00 gmt", None),
        ("Fri, 02 Jan 2026 24:00:00 GMT", None),
        ("Fri, 02 Jan 2026", None),
        ("tomorrow", None),
    ];
    for (value, seconds) in rows {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(parse_retry_after(value, wall()), expected, "{value:?}");
    }
}

// T05
#[test]
fn a_retry_after_date_is_measured_from_the_servers_own_date() {
    let then = ("retry-after", "Thu, 01 Jan 2026 00:00:30 GMT");
    for (date, seconds) in [
        ("Thu, 01 Jan 2026 00:00:10 GMT", 20),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 3630),
        ("Thu, 01 Jan 2026 01:00:00 GMT", 0),
        ("whenever", 30),
    ] {
        let asked = read(&[then, ("date", date)]).retry_after;
        assert_eq!(asked, Some(Duration::from_secs(seconds)), "{date}");
    }
    assert_eq!(read(&[then]).retry_after, Some(Duration::from_secs(30)));
}

#[test]
fn no_header_value_makes_a_parser_panic() {
    let letters = b"0123456789-/*, :=GMTbytesWJanFri\"\x00\xe9";
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200_000 {
        let length = random.usize(0..40);
        let value: String = (0..length).map(|_| char::from(letters[random.usize(0..letters.len())])).collect();
        let _ = content_range(&value);
        let _ = parse_retry_after(&value, wall());
        let _ = repr_digests([value.as_str()].into_iter());
        let _ = is_strong_last_modified(&value, &value);
    }
}

#[test]
fn a_repr_digest_is_read_where_it_names_algorithms_that_are_known() {
    let read = |value: &str| -> Vec<String> {
        let found = repr_digests([value].into_iter());
        found.iter().map(Checksum::to_string).collect()
    };
    // Of no bytes at all.
    let (base64, hex) = (
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    for good in [
        format!("sha-256=:{base64}:"),
        format!("sha-512=:AAAA:, sha-256=:{base64}:"),
        format!("sha-256=:{}=:,sha-256=:{base64}:", "A".repeat(43)),
        format!(" sha-256 = :{base64}: "),
        format!("md5=:1B2M2Y8AsgTpgAmY7PhCfg==:, sha-256=:{base64}:"),
    ] {
        assert_eq!(read(&good), [hex], "{good}");
    }
    let zeros = format!("sha-512=:{}==:, sha-256=:{base64}:", "A".repeat(86));
    let sha512 = format!("sha512:{}", "0".repeat(128));
    assert_eq!(read(&zeros), [sha512.as_str(), hex]);
    for bad in [
        String::new(),
        format!("sha-512=:{base64}:"),
        format!("SHA-256=:{base64}:"),
        format!("sha-256={base64}"),
        format!("sha-256=:{}:", base64.trim_end_matches('=')),
        format!("sha-256=:{base64}"),
        format!("sha-256=:{}:", &base64[4..]),
        format!("sha-256=:A{base64}:"),
        format!("sha-256=:{}:", base64.replace('+', "-")),
        format!("sha-256=:{}:", base64.replacen('4', " ", 1)),
    ] {
        assert!(read(&bad).is_empty(), "{bad}");
    }
    // Several lines are one list.
    let one = format!("sha-256=:{base64}:");
    let lines = [("repr-digest", one.as_str()), ("repr-digest", zeros.as_str())];
    let headers = headers(&lines);
    let head = Head::read(200, &headers, body_end(&headers), wall());
    assert_eq!(head.stated.len(), 2);
}

// X05
#[test]
fn a_content_disposition_suggests_the_last_segment_of_its_name() {
    let table = [
        ("attachment; filename=film.mkv", Some("film.mkv")),
        ("inline;FILENAME = \"a b; c.mkv\" ; x=y", Some("a b; c.mkv")),
        ("attachment; filename=\"a \\\"b\\\" \\c.mkv\"", Some("a \"b\" c.mkv")),
        ("attachment; filename=\"plain\"; filename*=UTF-8''%e2%82%ac%20rates", Some("\u{20ac} rates")),
        ("attachment; filename*=utf-8'en'a%2Fb%5cc; filename=plain", Some("c")),
        ("attachment; filename*=iso-8859-1''%e9t%e9; filename=plain", Some("\u{e9}t\u{e9}")),
        // What cannot be decoded does not count.
        ("attachment; filename*=utf-8''%e9; filename=plain", Some("plain")),
        ("attachment; filename*=utf-8''%4; filename=plain", Some("plain")),
        ("attachment; filename*=utf-8''%+1; filename=plain", Some("plain")),
        ("attachment; filename*=utf-16''ab; filename=plain", Some("plain")),
        ("attachment; filename*=plain", None),
        // UTF-8 and Latin-1, as read from the wire.
        ("attachment; filename=\"\u{c3}\u{a9}t\u{c3}\u{a9}\"", Some("\u{e9}t\u{e9}")),
        ("attachment; filename=\"\u{e9}t\u{e9}\"", Some("\u{e9}t\u{e9}")),
        ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
        ("attachment; filename=\"a\\\"; b.mkv\"; x=y", Some("a\"; b.mkv")),
        ("attachment; filename=\"C:\\\\films\\\\film.mkv\"", Some("film.mkv")),
        ("attachment; filename=\"..\"", Some("..")),
        ("attachment; filename=\"films/\"", Some("")),
        ("attachment; filename=first; filename=second", Some("first")),
        ("attachment; filename=\"not closed", Some("not closed")),
        ("attachment; x=\"; filename=hidden\"", None),
        ("attachment", None),
        ("", None),
    ];
    for (value, name) in table {
        assert_eq!(suggested_name(value).as_deref(), name, "{value}");
    }
}

#[test]
fn a_date_is_read_as_httpdate_reads_it() {
    let reads_the_same = |text: &str| assert_eq!(parse_date(text), httpdate::parse_http_date(text).ok(), "{text:?}");
    let mut random = fastrand::Rng::with_seed(1);
    let weekdays = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    for day in (0..30_000).step_by(11) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + random.u64(0..86_400));
        let date = httpdate::fmt_http_date(time);
        assert_eq!(parse_date(&date), Some(time));
        let (number, month, year, clock) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let weekday = weekdays[day as usize % 7];
        reads_the_same(&format!("{weekday}, {number}-{month}-{} {clock} GMT", &year[2..]));
        reads_the_same(&format!("{} {month} {number} {clock} {year}", &weekday[..3]));
        let spaced = number.strip_prefix('0').map_or(number.to_owned(), |digit| format!(" {digit}"));
        reads_the_same(&format!("{} {month} {spaced} {clock} {year}", &weekday[..3]));
        // One byte of it is another one.
        let mut wrong = date.into_bytes();
        let at = random.usize(..wrong.len());
        wrong[at] = random.u8(b' '..=b'z');
        reads_the_same(&String::from_utf8_lossy(&wrong));
        wrong.truncate(at);
        reads_the_same(&String::from_utf8_lossy(&wrong));
    }
    for clock in ["24:00:00", "23:60:00", "23:59:60", "23:59:59"] {
        reads_the_same(&format!("Thu, 01 Jan 2026 {clock} GMT"));
    }
    for year in (1970..10_000).step_by(30) {
        for weekday in weekdays {
            reads_the_same(&format!("{}, 29 Feb {year} 00:00:00 GMT", &weekday[..3]));
            reads_the_same(&format!("{}, 31 Dec {year} 23:59:59 GMT", &weekday[..3]));
        }
    }
}

#[test]
fn a_transfer_encoding_is_chunked_alone_or_refused() {
    let end = |encodings: &[&str]| {
        let fields: Vec<_> = encodings.iter().map(|encoding| ("transfer-encoding", *encoding)).collect();
        body_end(&headers(&fields)).ok()
    };
    assert_eq!((end(&["chunked"]), end(&["Chunked"])), (Some(BodyEnd::Marked), Some(BodyEnd::Marked)));
    for refused in [&["gzip"][..], &["gzip, chunked"], &["identity"], &["chunked", "chunked"]] {
        assert_eq!(end(refused), None, "{refused:?}");
    }
}
