//! Many requests, and slow ones, do no harm.

use crate::support::{Bench, How, PATIENCE, until};
use regrip::server::Limits;
use regrip_faultd::{Content, FileScript, Script, Server, Version};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn ten_thousand_requests_are_all_answered_while_a_download_goes_on() {
    const CLIENTS: usize = 20;
    const EACH: usize = 500;
    let bench = Bench::new();
    let size = 4_000_000;
    let script = FileScript::honest(Version::new(1, size).etag("\"v1\""));
    let source = Server::start(Script::one("/film.mkv", script).bytes_per_second(2_000_000)).unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let bench = &bench;
            scope.spawn(move || {
                let mut client = bench.connect();
                let key = bench.credentials();
                for request in 0..EACH {
                    let (method, path, headers, status) = match (number + request) % 5 {
                        0 => ("GET", "/api/downloads", key.as_str(), 200),
                        1 => ("GET", "/api/downloads", "", 401),
                        2 => ("GET", "/nothing", key.as_str(), 404),
                        3 => ("GET", "/ping", "", 200),
                        _ => ("GET", "/metrics", key.as_str(), 200),
                    };
                    let reply = client.ask(method, path, headers, "");
                    assert_eq!(reply.status, status, "{path}");
                }
            });
        }
    });
    let done = bench.until(id, "completed");
    assert_eq!(done["attempts"], 1);
    let bytes = std::fs::read(bench.file("film.mkv")).unwrap();
    assert!(bytes == Content::new(1, size).bytes(0..size));
}

#[test]
fn whoever_dawdles_is_cut_off_and_others_are_served_meanwhile() {
    let bench = Bench::how(How {
        limits: Limits { connections: 4, head_timeout: Duration::from_millis(300), ..Limits::default() },
        ..How::default()
    });
    // Three of four places are taken by heads that never end.
    let mut slow: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    for client in &mut slow {
        client.write("GET /api/downloads HTTP/1.1\r\nX: ");
    }
    assert_eq!(bench.get("/api/downloads").status, 200);
    let begun = Instant::now();
    for client in &mut slow {
        until(|| {
            assert!(begun.elapsed() < PATIENCE);
            client.stream.write_all(b"x").is_err().then_some(())
        });
    }
    assert_eq!(bench.get("/api/downloads").status, 200);
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let bench = Bench::how(How { limits: Limits { connections: 8, ..Limits::default() }, ..How::default() });
    for number in 0..200 {
        let mut client = bench.connect();
        let credentials = bench.credentials();
        let path = ["/api/events", "/api/downloads", "/metrics"][number % 3];
        client.write(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}\r\n"));
    }
    assert_eq!(bench.get("/api/downloads").status, 200);
}
