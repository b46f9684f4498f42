//! `regrip get` from a share, over a line that breaks.

use crate::support::{Bench, bytes, edit, put};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SIZE: usize = 5_000_000;

/// A proxy that closes each of the first connections after this many bytes of their replies.
struct Breaking {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Breaking {
    fn before(server: SocketAddr, cuts: &'static [usize], at_cut: impl Fn(usize) + Send + 'static) -> Breaking {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let count = AtomicUsize::new(0);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let limit = cuts.get(number).copied().unwrap_or(usize::MAX);
                kept.lock().unwrap().push(pass(client.unwrap(), server, limit));
                at_cut(number);
            }
        });
        Breaking { address, heads }
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        let fields = heads[request].lines().filter_map(|line| line.split_once(": "));
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
        .args(["get", &format!("http://{from}{path}"), "-o", "got.mkv", "--json"])
        .args(["--retry-base-ms", "0", "--state", "get.db"])
        .output()
        .unwrap();
    let lines = String::from_utf8(ran.stdout).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (ran.status.code(), events.collect())
}

fn restarts(events: &[Value]) -> Vec<&str> {
    let restarts = events.iter().filter(|event| event["event"] == "restart");
    restarts.filter_map(|event| event["reason"].as_str()).collect()
}

#[test]
fn a_download_cut_three_times_goes_on_by_etag_and_is_verified_by_the_shares_digest() {
    let content = bytes(1, SIZE);
    let bench = Bench::film(&content);
    let path = bench.file("film.mkv");
    crate::support::until(|| bench.get(&path, "Range: bytes=0-0\r\n").header("repr-digest").map(drop));
    let etag = bench.get(&path, "Range: bytes=0-0\r\n").header("etag").unwrap().to_owned();
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
    // The second attempt gets nothing, so the first run ends.
    let line = Breaking::before(bench.address, &[3_000_000, 0], |_| {});
    let first = Command::new(env!("CARGO_BIN_EXE_regrip"))
        .current_dir(bench.folder.path())
        .args(["get", &format!("http://{}{path}", line.address), "-o", "got.mkv", "-q"])
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

/// `regrip share` as a process of its own.
struct Sharing {
    child: std::process::Child,
    address: SocketAddr,
}

impl Sharing {
    fn start(folder: &Path) -> Sharing {
        let mut child = Command::new(env!("CARGO_BIN_EXE_regrip"))
            .current_dir(folder)
            .args(["share", "films", "--listen", "127.0.0.1:0"])
            .args(["--state", "share.db"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.rsplit_once('/').unwrap().1.trim().parse().unwrap();
        Sharing { child, address }
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_file_overwritten_again_and_again_is_fetched_in_one_whole_version_or_not_at_all() {
    const FILES: u8 = 6;
    const VERSIONS: u8 = 3;
    let size = 1_500_000;
    let folder = tempfile::tempdir().unwrap();
    let films = folder.path().join("films");
    for file in 0..FILES {
        put(&films.join(format!("{file}.mkv")), &bytes(file, size));
    }
    let sharing = Sharing::start(folder.path());
    let mut client = crate::client::Client::connect(sharing.address);
    let found = client.ask("GET", "/peer/search", "").body;
    let found: Value = serde_json::from_slice(&found).unwrap();
    std::thread::scope(|scope| {
        for file in 0..FILES {
            let items = found["items"].as_array().unwrap();
            let name = format!("{file}.mkv");
            let item = items.iter().find(|item| item["filename"] == name.as_str());
            let id = item.unwrap()["id"].as_str().unwrap();
            let url = format!("http://{}/peer/items/{id}/file", sharing.address);
            let (films, folder) = (&films, folder.path());
            scope.spawn(move || {
                let mut getting = Command::new(env!("CARGO_BIN_EXE_regrip"))
                    .current_dir(folder)
                    .args(["get", &url, "-o", &format!("got-{file}"), "-q"])
                    .args(["--retry-base-ms", "10", "--limit-rate", "1M"])
                    .args(["--state", &format!("get-{file}.db")])
                    .spawn()
                    .unwrap();
                let mut random = fastrand::Rng::with_seed(file.into());
                let part = folder.join(format!("got-{file}.part"));
                let mut exit = None;
                for version in 1..VERSIONS {
                    let moment = random.u64(1..size as u64);
                    while exit.is_none() && fs::metadata(&part).map_or(0, |part| part.len()) < moment {
                        std::thread::sleep(Duration::from_millis(1));
                        exit = getting.try_wait().unwrap();
                    }
                    edit(&films.join(&name), &bytes(file + FILES * version, size));
                }
                let code = getting.wait().unwrap().code();
                eprintln!("{code:?}");
                if code == Some(0) {
                    let got = fs::read(folder.join(format!("got-{file}"))).unwrap();
                    let whole = (0..VERSIONS).any(|version| got == bytes(file + FILES * version, size));
                    assert!(whole, "{name} is mixed");
                }
            });
        }
    });
}
