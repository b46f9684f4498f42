//! A server that takes one download at a time, over real sockets.

use crate::support::Bench;
use regrip_faultd::Script;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// More than the sockets of both ends hold: once the server has written it, the client has taken up the response.
const BODY_BYTES: usize = 32 << 20;

/// What has happened so far, and a way to wait for it.
#[derive(Default)]
struct Stage(Mutex<[bool; 3]>, Condvar);

/// Most of the first body is written; the second request was refused; the second download has said what it does about it.
const MOVES: usize = 0;
const REFUSED: usize = 1;
const TOLD: usize = 2;

impl Stage {
    fn reach(&self, what: usize) {
        self.0.lock().expect("no test panics with it")[what] = true;
        self.1.notify_all();
    }

    fn wait_for(&self, what: usize) {
        let reached = self.0.lock().expect("no test panics with it");
        let patience = Duration::from_secs(30);
        let waited = self.1.wait_timeout_while(reached, patience, |reached| !reached[what]);
        drop(waited.expect("no test panics with it"));
    }

    fn is_reached(&self, what: usize) -> bool {
        self.0.lock().expect("no test panics with it")[what]
    }
}

fn serve(stream: TcpStream, stage: &Stage) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("GET /first ") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n")?;
            stream.write_all(&vec![b'x'; BODY_BYTES - 1])?;
            stage.reach(MOVES);
            stage.wait_for(TOLD);
            stream.write_all(b"x")?;
        } else if stage.is_reached(REFUSED) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        } else {
            stage.wait_for(MOVES);
            stream.write_all(b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n")?;
            stage.reach(REFUSED);
        }
    }
}

#[test]
fn a_download_that_a_server_sends_away_waits_for_the_one_that_moves_without_spending_its_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("it listens"));
    let stage = Arc::new(Stage::default());
    let staged = Arc::clone(&stage);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let stage = Arc::clone(&staged);
            std::thread::spawn(move || serve(stream, &stage));
        }
    });
    let bench = Bench::serving(Script::default());
    let urls = [format!("{origin}/first"), format!("{origin}/second")];
    let mut command = bench.get(&[&urls[0], &urls[1], "-j", "2", "--max-attempts", "1", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("regrip runs");
    let mut events: Vec<Value> = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("a JSON object");
        if event["event"] == "waiting" || event["event"] == "failed" {
            stage.reach(TOLD);
        }
        events.push(event);
    }
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{events:?}");
    let second = events.into_iter().filter(|event| event["url"] == urls[1].as_str());
    let second: Vec<_> = second.filter(|event| event["event"] != "progress").collect();
    let names: Vec<_> = second.iter().filter_map(|event| event["event"].as_str()).collect();
    let expected = ["queued", "started", "waiting", "started", "headers", "completed"];
    assert_eq!(names, expected, "{second:?}");
    let why = second[2]["why"].as_str().unwrap_or_default();
    assert_eq!(why, "origin_busy: the server answered 429 while 1 other download from there moves");
    assert_eq!(bench.names(), ["first", "second"]);
}
