//! A peer that means no good, or is broken.

use crate::support::{Bench, HANDSHAKE, RELEASE, peer, targets};
use crate::wire::{Answer, Seen, Server, Then, close, found, keep, ok};
use regrip::peers::Release;
use regrip_core::Error;
use regrip_core::ErrorCode;
use std::sync::atomic::{AtomicUsize, Ordering};

fn item(server: &Server) -> Result<Release, Error> {
    let bench = Bench::of(server);
    smol::block_on(bench.client.item("1", |_, _| {}))
}

fn status(status: u16, fields: &str) -> Answer {
    keep(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n"))
}

// S41, X04
#[test]
fn a_name_that_is_not_plain_and_safe_is_refused() {
    let long = "x".repeat(300);
    for name in [
        "../../x",
        "/etc/passwd",
        "a/b",
        r"a\\b",
        "..",
        "",
        r"a\u0000b",
        "CON",
        "nul.txt",
        "COM1",
        "a:b",
        "x.mkv.part",
        "x.mkv.Part.lock",
        "x.mkv.part.lock.new",
        "x.mkv.part.lock.new.new",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.lock",
        r"a\u202eb",
        r"a\nb",
        "a.",
        &long,
    ] {
        let release = RELEASE.replace("Film (1999).mkv", name);
        let server = peer(move |_| ok(&release));
        let refused = item(&server).expect_err(name);
        assert_eq!(refused.code().as_str(), "NameRefused", "{name}: {refused}");
        assert_eq!(targets(&server).len(), 2, "{name}: asked once");
    }
}

#[test]
fn what_is_no_release_is_refused_at_once() {
    for answer in [
        "[]",
        "5",
        "null",
        "hello",
        r#"{"id": "1"}"#,
        &RELEASE.replace("9,", "-9,"),
        &RELEASE.replace("9,", "\"9\","),
        &RELEASE.replace("9,", "1e400,"),
        &"[".repeat(100_000),
    ] {
        let answer = answer.to_owned();
        let shown: String = answer.chars().take(60).collect();
        let server = peer(move |_| ok(&answer));
        let refused = item(&server).expect_err(&shown);
        assert_eq!(refused.code().as_str(), "Protocol", "{shown}: {refused}");
        assert_eq!(targets(&server).len(), 2, "{shown}: asked once");
    }
}

#[test]
fn an_answer_of_more_than_256_kib_is_not_read_to_its_end() {
    let release = RELEASE.replace("Film\"", &format!("{}\"", "x".repeat(256 << 10)));
    let server = peer(move |_| ok(&release));
    let refused = item(&server).expect_err("it is too large");
    assert_eq!(refused.code().as_str(), "Protocol", "{refused}");
    assert_eq!(targets(&server).len(), 2, "asked once");
}

#[test]
fn what_is_kept_of_a_release_is_bounded_and_so_is_what_is_said_of_a_bad_one() {
    let long = "x".repeat(60_000);
    let release = RELEASE
        .replace("\"Film\"", &format!("\"{long}\""))
        .replace("\"1080p\"", &format!("[[{{\"{long}\": \"a\\nb\"}}], \"{long}\"]"));
    let many: String = (0..3000).map(|n| format!("\"{n}\": \"{n}\",")).collect();
    let server = peer(move |_| ok(&release.replacen('{', &format!("{{{many}"), 1)));
    let release = item(&server).expect("it is a release");
    assert_eq!(release.title.chars().count(), 512);
    assert!(release.json.len() < 16 << 10, "{}", release.json.len());
    let kept: serde_json::Value = serde_json::from_str(&release.json).expect("JSON");
    assert_eq!((&kept["category"], &kept["size"]), (&2000.into(), &9.into()));
    assert_eq!(kept["title"], release.title.as_str());

    let bad = RELEASE.replace("9,", &format!("\"{}\u{1b}\",", "x".repeat(60_000)).replace('\u{1b}', "\\u001b"));
    let server = peer(move |_| ok(&bad));
    let refused = regrip_core::error::chain(&item(&server).expect_err("its size is a text"));
    assert_eq!(refused.chars().count(), 512, "{refused}");
}

#[test]
fn a_digest_is_taken_where_it_is_one() {
    let hex = "0123456789ABCDEF".repeat(4);
    for (sha256, taken) in [(hex.clone(), Some(hex.to_lowercase())), ("abc".to_owned(), None)] {
        let release = RELEASE.replace("\"size\"", &format!("\"sha256\": \"{sha256}\", \"size\""));
        let server = peer(move |_| ok(&release));
        let sha256 = item(&server).expect("it is a release").sha256;
        assert_eq!(sha256.map(|checksum| checksum.hex), taken);
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless = || Answer(b"HTTP/1.1 200 OK\r\n\r\n{\"id\": \"".to_vec(), Then::Flood);
    let of_an_item = peer(move |_| endless());
    let of_a_handshake = Server::new(move |_| endless());
    for server in [of_an_item, of_a_handshake] {
        let refused = item(&server).expect_err("it has no end");
        assert_eq!(refused.code().as_str(), "Protocol", "{refused}");
    }
}

// X08
#[test]
fn a_coded_answer_is_refused() {
    let server = peer(|_| keep("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"));
    assert_eq!(item(&server).expect_err("it is coded").code().as_str(), "Coded");
}

#[test]
fn a_permanent_status_ends_it_and_a_transient_one_does_not() {
    for (code, requests) in [(404, 2), (401, 2), (204, 2), (500, 6), (503, 6), (429, 6)] {
        let server = peer(move |_| status(code, ""));
        let error = item(&server).expect_err("there is no release");
        assert_eq!(targets(&server).len(), requests, "{code}: {error}");
    }
}

#[test]
fn whoever_waits_hears_why_and_how_long() {
    let asked = AtomicUsize::new(0);
    let server = peer(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => status(503, "Retry-After: 7\r\n"),
        1 => close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\""),
        2 => ok("{\"id\": \"1\""),
        _ => ok(RELEASE),
    });
    let bench = Bench::of(&server);
    let mut told = Vec::new();
    let hear = |error: &Error, _| told.push((error.code(), error.retry_after().map(|d| d.as_secs())));
    smol::block_on(bench.client.item("1", hear)).expect("the fourth attempt brings it");
    assert_eq!(told, [(ErrorCode::Status, Some(7)), (ErrorCode::Network, None), (ErrorCode::Incomplete, None)]);
}

// X07, G6, H33
#[test]
fn a_redirect_elsewhere_carries_no_key_and_reaches_no_link_local_address() {
    let other = Server::new(|_| ok(RELEASE));
    let there = other.url("/stolen");
    let server = peer(move |_| found(&there));
    item(&server).expect("what comes is a release all the same");
    assert_eq!(other.only_request().header("x-api-key"), None);
    let server = peer(|_| found("http://169.254.169.254/latest/meta-data/"));
    assert_eq!(item(&server).expect_err("nobody goes there").code().as_str(), "AddressRefused");
}

// FS05
#[test]
fn a_redirect_elsewhere_whose_answer_cannot_be_used_is_named_with_the_key_that_stayed() {
    type Row = (&'static str, fn(&Seen) -> Answer, &'static str);
    let table: [Row; 4] = [
        ("/in?token=secret", |_| status(401, ""), "the answer there is 401"),
        ("/in?token=secret", |_| status(403, ""), "the answer there is 403"),
        ("/in?token=secret", |_| status(404, ""), "the server answered 404"),
        ("/in?token=secret", |_| ok("<!doctype html><p>log in"), "the answer is not from a peer"),
    ];
    for (path, answer, why) in table {
        let other = Server::new(answer);
        let there = other.url(path);
        let server = Server::new(move |_| found(&there));
        let refused = item(&server).expect_err(why);
        assert_eq!(refused.code().as_str(), "RedirectRefused", "{refused}");
        let (to, from) = (other.url("/in"), server.url(""));
        let expected = format!("to {to}, and x-api-key stays at {from}; {why}");
        assert!(refused.to_string().ends_with(&expected), "{refused}\n{expected}");
        assert_eq!(other.only_request().header("x-api-key"), None);
    }
}

#[test]
fn a_redirect_within_the_peers_origin_is_followed_with_the_key() {
    let server = peer(|seen| match seen.target() {
        "/moved" => ok(RELEASE),
        _ => found("/moved"),
    });
    item(&server).expect("it moved");
    assert!(server.seen().iter().all(|seen| seen.header("x-api-key") == Some("hush")));
}

#[test]
fn a_peer_of_another_version_is_asked_for_nothing() {
    for handshake in [r#"{"version": "0.0.9"}"#, r#"{"version": "v1"}"#, "{}", "OK"] {
        let server = Server::new(move |_| ok(handshake));
        let refused = item(&server).expect_err(handshake);
        assert_eq!(refused.code().as_str(), "Protocol", "{handshake}: {refused}");
        assert_eq!(targets(&server), ["/handshake"], "{handshake}");
    }
}

#[test]
fn a_handshake_that_failed_is_made_again() {
    let asked = AtomicUsize::new(0);
    let server = Server::new(move |seen| match seen.target() {
        "/handshake" if asked.fetch_add(1, Ordering::SeqCst) == 0 => status(503, ""),
        "/handshake" => ok(HANDSHAKE),
        _ => ok(RELEASE),
    });
    item(&server).expect("the second handshake is fine");
    assert_eq!(targets(&server), ["/handshake", "/handshake", "/peer/items/1"]);
}
