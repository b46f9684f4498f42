//! Which version of a file is sent while somebody writes into it: one, whole, under its own ETag and digest, or a cut body.

use crate::support::{Bench, How, bytes, edit, put, until};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

const SIZE: usize = 1_500_000;

fn digest(bench: &Bench, path: &str) -> String {
    until(|| {
        let reply = bench.get(path, "");
        reply.header("repr-digest").map(str::to_owned)
    })
}

fn etag(bench: &Bench, path: &str) -> String {
    let reply = bench.connect().ask("HEAD", path, "");
    reply.header("etag").unwrap().to_owned()
}

/// Shares files, and changes each while a client that reads slowly has some of it.
fn what_a_slow_client_gets((files, size): (usize, usize), first: usize, change: impl Fn(&Path, usize)) {
    let content = bytes(1, size);
    let bench = Bench::of(|films| {
        for file in 0..files {
            put(&films.join(format!("{file}.mkv")), &content);
        }
    });
    let mut random = fastrand::Rng::with_seed(7);
    for file in 0..files {
        let name = format!("{file}.mkv");
        let path = bench.file(&name);
        let mut client = bench.connect();
        client.send("GET", &path, &format!("Range: bytes={first}-\r\n"));
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        let length = size - first;
        let read = random.usize(..length);
        let mut got = client.take(read);
        change(&bench.path(&name), random.usize(..size));
        got.append(&mut client.take(length - read));
        assert!(content[first..].starts_with(&got), "after {read} bytes of {path} another version's followed");
    }
}

/// Files that the sockets' buffers hold whole, and files of which most is still to be read when they change.
const SIZES: [(usize, usize); 2] = [(20, SIZE), (6, 20_000_000)];

#[test]
fn a_slow_client_never_gets_bytes_of_a_file_that_is_overwritten_in_place() {
    for (files, size) in SIZES {
        let other = bytes(2, size);
        for first in [0, size / 8] {
            what_a_slow_client_gets((files, size), first, |film, _| edit(film, &other));
        }
    }
}

#[test]
fn a_slow_client_never_gets_bytes_of_a_file_that_is_truncated_and_written_again() {
    for (files, size) in SIZES {
        let other = bytes(2, size);
        what_a_slow_client_gets((files, size), 0, |film, written| {
            let mut file = File::create(film).unwrap();
            file.write_all(&other[..written]).unwrap();
            file.set_len(size as u64).unwrap();
        });
    }
}

#[test]
fn an_edit_that_sets_size_and_time_back_has_another_etag_and_not_the_old_digest() {
    let mut bench = Bench::film(&bytes(1, 100_000));
    let path = bench.file("film.mkv");
    let (old, old_etag) = (digest(&bench, &path), etag(&bench, &path));
    let old_date = bench.get(&path, "").header("last-modified").map(str::to_owned);
    for (restarted, seed) in [(false, 2), (true, 3), (true, 4)] {
        if restarted {
            bench.stop();
        }
        edit(&bench.path("film.mkv"), &bytes(seed, 100_000));
        if restarted {
            bench.start(How::default());
        }
        for validator in [Some(&old_etag), old_date.as_ref()] {
            let if_range = format!("Range: bytes=10-\r\nIf-Range: {}\r\n", validator.unwrap());
            let reply = until(|| {
                let reply = bench.get(&path, &if_range);
                let item = bench.get(path.trim_end_matches("/file"), "");
                let item: serde_json::Value = serde_json::from_slice(&item.body).unwrap();
                assert_ne!(item["sha256"], old.as_str());
                (reply.status != 503).then_some(reply)
            });
            assert_eq!(reply.status, 200);
            assert!(reply.body == bytes(seed, 100_000));
            assert_ne!(reply.header("etag"), Some(old_etag.as_str()));
            assert_ne!(reply.header("repr-digest"), Some(old.as_str()));
        }
        let reply = bench.get(&path, &format!("If-None-Match: {old_etag}\r\n"));
        assert_eq!(reply.status, 200);
        assert_ne!(digest(&bench, &path), old);
    }
}

#[test]
fn a_link_made_while_a_file_is_shared_keeps_its_etag() {
    let mut bench = Bench::film(&bytes(1, 100_000));
    let path = bench.file("film.mkv");
    let (sha256, kept) = (digest(&bench, &path), etag(&bench, &path));
    let resume = format!("Range: bytes=10-\r\nIf-Range: {kept}\r\n");
    for link in ["one.mkv", "two.mkv", "three.mkv"] {
        // Before and after a start, since that is when a digest is taken from the ledger.
        bench.stop();
        let before = link == "two.mkv";
        if before {
            fs::hard_link(bench.path("film.mkv"), bench.folder.path().join(link)).unwrap();
        }
        bench.start(How::default());
        if !before {
            fs::hard_link(bench.path("film.mkv"), bench.folder.path().join(link)).unwrap();
        }
        let reply = until(|| {
            let reply = bench.get(&path, &resume);
            assert_ne!(reply.header("retry-after").is_none(), reply.status == 503);
            (reply.status != 503).then_some(reply)
        });
        assert_eq!(reply.status, 206, "{link}");
        assert_eq!(reply.header("etag"), Some(kept.as_str()));
        assert_eq!(reply.header("repr-digest"), Some(sha256.as_str()));
        assert!(reply.body == bytes(1, 100_000)[10..]);
    }
}

#[test]
fn a_file_whose_digest_is_not_known_is_sent_after_a_link_was_made() {
    let bench = Bench::film(&bytes(1, SIZE));
    let path = bench.file("film.mkv");
    fs::hard_link(bench.path("film.mkv"), bench.path("link.mkv")).unwrap();
    bench.settled(&path, "");
    assert!(bench.get(&path, "").body == bytes(1, SIZE));
}

#[test]
fn conditions_are_answered_alike_to_get_and_head() {
    let bench = Bench::film(&bytes(1, 1000));
    let path = bench.file("film.mkv");
    let first = bench.get(&path, "");
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    let early = "Thu, 01 Jan 2015 00:00:00 GMT";
    let table = [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 304),
        (format!("If-Match: {tag}\r\n"), 200),
        (format!("If-Match: W/{tag}\r\n"), 412),
        ("If-Match: *\r\n".to_owned(), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {early}\r\n"), 200),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (format!("If-Unmodified-Since: {early}\r\n"), 412),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {early}\r\n"), 200),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 412),
        (format!("If-None-Match: {tag}\r\nRange: bytes=0-9\r\n"), 304),
        ("If-Match: \"x\"\r\nRange: bytes=2000-\r\n".to_owned(), 412),
    ];
    let mut client = bench.connect();
    for (headers, status) in &table {
        for method in ["GET", "HEAD"] {
            let reply = client.ask(method, &path, headers);
            assert_eq!(reply.status, *status, "{method} {headers}");
            assert_eq!(reply.header("etag"), Some(tag), "{method} {headers}");
            if *status == 304 {
                assert_eq!(reply.header("content-length"), None);
                assert_eq!(reply.header("content-range"), None);
            }
        }
    }
    let table = [
        (format!("If-Match: {tag}\r\nIf-Range: {tag}\r\n"), 206),
        (format!("If-Match: {tag}\r\nIf-Range: \"x\"\r\n"), 200),
        (format!("If-Unmodified-Since: {date}\r\n"), 206),
        (format!("If-None-Match: \"x\"\r\nIf-Range: {tag}\r\n"), 206),
    ];
    for (headers, status) in table {
        let headers = format!("{headers}Range: bytes=10-19\r\n");
        assert_eq!(client.ask("GET", &path, &headers).status, status, "{headers}");
        assert_eq!(client.ask("HEAD", &path, &headers).status, 200, "{headers}");
    }
}
