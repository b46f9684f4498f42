//! `regrip get` from a share, over a line that breaks.

use crate::support::{Bench, bytes, put};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const SIZE: usize = 5_000_000;

/// A proxy that closes each of the first connections after so many bytes of their replies.
struct Breaking {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Breaking {
    fn before(
        server: SocketAddr,
        cuts: &'static [usize],
        at_cut: impl Fn(usize) + Send + 'static,
    ) -> Breaking {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let count = AtomicUsize::new(0);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let limit = cuts.get(number).copied().unwrap_or(usize::MAX);
                kept.lock()
                    .unwrap()
                    .push(pass(client.unwrap(), server, limit));
                at_cut(number);
            }
        });
        Breaking { address, heads }
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        let fields = heads[request]
            .lines()
            .filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    }
}

/// Passes one request on and so much of its reply; returns the request's head.
fn pass(mut client: TcpStream, server: SocketAddr, limit: usize) -> String {
    let mut server = TcpStream::connect(server).unwrap();
    let mut head = Vec::new();
    let mut block = vec![0; 64 << 10];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(count) => head.extend_from_slice(&block[..count]),
        }
    }
    let head = String::from_utf8(head).unwrap();
    // So that the reply's end is the connection's.
    let asked = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(asked.as_bytes()).unwrap();
    let mut passed = 0;
    while passed < limit {
        let room = block.len().min(limit - passed);
        match server.read(&mut block[..room]) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                passed += count;
                if client.write_all(&block[..count]).is_err() {
                    break;
                }
            }
        }
    }
    head
}

fn get(bench: &Bench, from: SocketAddr, path: &str) -> (Option<i32>, Vec<Value>) {
    let ran: Output = Command::new(env!("CARGO_BIN_EXE_regrip"))
        .current_dir(bench.folder.path())
        .args([
            "get",
            &format!("http://{from}{path}"),
            "-o",
            "got.mkv",
            "--json",
        ])
        .args(["--retry-base-ms", "0", "--state", "get.db"])
        .output()
        .unwrap();
    let lines = String::from_utf8(ran.stdout).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (ran.status.code(), events.collect())
}

fn restarts(events: &[Value]) -> Vec<&str> {
    let restarts = events.iter().filter(|event| event["event"] == "restart");
    restarts
        .filter_map(|event| event["reason"].as_str())
        .collect()
}

#[test]
fn a_download_cut_three_times_goes_on_by_etag_and_is_verified_by_the_shares_digest() {
    let content = bytes(1, SIZE);
    let bench = Bench::film(&content);
    let path = bench.file("film.mkv");
    crate::support::until(|| {
        bench
            .get(&path, "Range: bytes=0-0\r\n")
            .header("repr-digest")
            .map(drop)
    });
    let etag = bench
        .get(&path, "Range: bytes=0-0\r\n")
        .header("etag")
        .unwrap()
        .to_owned();
    let line = Breaking::before(bench.address, &[1_000_000, 500_000, 2_000_000], |_| {});
    let (code, events) = get(&bench, line.address, &path);
    assert_eq!(code, Some(0), "{events:?}");
    assert!(fs::read(bench.folder.path().join("got.mkv")).unwrap() == content);
    assert!(restarts(&events).is_empty(), "{events:?}");
    for request in 1..4 {
        assert_eq!(line.header(request, "if-range"), Some(etag.clone()));
        assert!(line.header(request, "range").is_some());
    }
    assert_eq!(line.header(0, "range"), None);
}

#[test]
fn a_file_replaced_between_two_attempts_is_fetched_anew() {
    let bench = Bench::film(&bytes(1, SIZE));
    let path = bench.file("film.mkv");
    let (film, new) = (bench.path("film.mkv"), bytes(2, SIZE));
    let replacement = new.clone();
    let line = Breaking::before(bench.address, &[2_000_000], move |number| {
        if number == 0 {
            let beside = film.with_file_name("other.mkv");
            put(&beside, &replacement);
            fs::rename(beside, &film).unwrap();
        }
    });
    let (code, events) = get(&bench, line.address, &path);
    assert_eq!(code, Some(0), "{events:?}");
    assert!(fs::read(bench.folder.path().join("got.mkv")).unwrap() == new);
    assert_eq!(restarts(&events), ["validator_changed"]);
}

#[test]
fn a_file_overwritten_in_place_while_it_is_sent_is_never_spliced() {
    let bench = Bench::film(&bytes(1, 48 << 20));
    let path = bench.file("film.mkv");
    let (film, new) = (bench.path("film.mkv"), bytes(2, 48 << 20));
    let replacement = new.clone();
    // The first connection ends as the share ends it, once the file is another.
    let line = Breaking::before(bench.address, &[2_000_000], move |number| {
        if number == 0 {
            put(&film, &replacement);
        }
    });
    let (code, events) = get(&bench, line.address, &path);
    assert_eq!(code, Some(0), "{events:?}");
    assert!(fs::read(bench.folder.path().join("got.mkv")).unwrap() == new);
}

#[test]
fn a_share_that_starts_again_is_gone_on_with() {
    let content = bytes(1, SIZE);
    let mut bench = Bench::film(&content);
    let path = bench.file("film.mkv");
    let line = Breaking::before(bench.address, &[3_000_000], |_| {});
    let first = Command::new(env!("CARGO_BIN_EXE_regrip"))
        .current_dir(bench.folder.path())
        .args([
            "get",
            &format!("http://{}{path}", line.address),
            "-o",
            "got.mkv",
            "-q",
        ])
        .args(["--max-attempts", "1", "--state", "get.db"])
        .status()
        .unwrap();
    assert_eq!(first.code(), Some(1));
    bench.stop();
    bench.start(crate::support::How::default());
    let (code, events) = get(&bench, line.address, &path);
    assert_eq!(code, Some(0), "{events:?}");
    assert!(restarts(&events).is_empty());
    assert!(fs::read(bench.folder.path().join("got.mkv")).unwrap() == content);
}
