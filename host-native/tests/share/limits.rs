//! What a stranger can make the server hold, and for how long.

use crate::support::{Bench, How, PATIENCE, Reply, bytes, put, put_long, until};
use regrip::server::Limits;
use std::time::{Duration, Instant};

fn limited(limits: Limits) -> Bench {
    Bench::how(How::limits(limits), |films| put(&films.join("film.mkv"), &bytes(1, 100)))
}

#[test]
fn a_head_too_long_or_with_too_many_fields_is_refused() {
    let bench = limited(Limits::default());
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    let many = "X: x\r\n".repeat(100);
    for fields in [long, many] {
        let reply = bench.get("/handshake", &fields);
        assert_eq!((reply.status, reply.code().as_str()), (431, "HeadTooLarge"));
    }
    assert_eq!(bench.get("/handshake", &"X: x\r\n".repeat(50)).status, 200);
}

#[test]
fn a_head_that_never_ends_is_cut_off_however_steadily_it_comes() {
    let bench = limited(Limits { head_timeout: Duration::from_millis(300), ..Limits::default() });
    let mut client = bench.connect();
    let begun = Instant::now();
    client.write("GET /handshake HTTP/1.1\r\nX: ");
    let mut closed = false;
    while begun.elapsed() < PATIENCE && !closed {
        closed = std::io::Write::write_all(&mut client.stream, b"x").is_err();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(closed, "a slow head was waited for without end");
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let bench =
        limited(Limits { idle_timeout: Duration::from_millis(200), head_timeout: 2 * PATIENCE, ..Limits::default() });
    assert!(bench.connect().is_closed());
    let mut client = bench.connect();
    assert_eq!(client.ask("GET", "/handshake", "").status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_takes_nothing_more_is_cut_off() {
    let bench = Bench::how(
        How::limits(Limits { connections: 1, idle_timeout: Duration::from_millis(300), ..Limits::default() }),
        |films| {
            put_long(&films.join("film.mkv"));
        },
    );
    let path = bench.file("film.mkv");
    let mut stuck = bench.connect();
    stuck.send("GET", &path, "");
    stuck.head().unwrap();
    // The only place becomes free though the client stays.
    assert_eq!(bench.get("/handshake", "").status, 200);
}

#[test]
fn whoever_comes_beyond_the_limit_waits_until_a_reply_ends() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let bench = Bench::how(How::limits(limits), |films| {
        put_long(&films.join("film.mkv"));
    });
    let mut first = bench.connect();
    let found = first.ask("GET", "/peer/search", "");
    let found: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    let path = format!("/peer/items/{}/file", found["items"][0]["id"].as_str().unwrap());
    until(|| (first.ask("HEAD", &path, "").status != 503).then_some(()));
    let mut held = vec![first, bench.connect()];
    for client in &mut held {
        client.send("GET", &path, "");
        client.head().unwrap();
    }
    let mut waiting = bench.connect();
    waiting.send("GET", "/handshake", "");
    waiting.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut byte = [0];
    assert!(std::io::Read::read(&mut waiting.stream, &mut byte).is_err(), "a third was served");
    waiting.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    held.pop();
    assert_eq!(waiting.reply(false).unwrap().status, 200);
}

#[test]
fn a_body_nobody_asked_for_is_not_read() {
    let bench = limited(Limits::default());
    let mut client = bench.connect();
    let reply = client.ask("GET", "/handshake", "Content-Length: 1000000000000\r\n");
    assert_eq!(reply.status, 200);
    assert!(client.is_closed());
}

#[test]
fn what_is_not_http_is_refused_and_the_next_client_served() {
    let bench = limited(Limits::default());
    for rubbish in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1} tls\r\n\r\n"] {
        let mut client = bench.connect();
        client.write(rubbish);
        let reply = client.reply(false);
        let is_refused = |reply: &Reply| reply.status == 400 && reply.code() == "BadRequest";
        assert!(reply.is_none_or(|reply| is_refused(&reply)), "{rubbish:?}");
    }
    assert_eq!(bench.get("/handshake", "").status, 200);
}

#[test]
fn told_to_stop_it_closes_idle_connections_at_once() {
    let mut bench = limited(Limits { stop_within: 2 * PATIENCE, head_timeout: 2 * PATIENCE, ..Limits::default() });
    let mut idle = bench.connect();
    assert_eq!(idle.ask("GET", "/handshake", "").status, 200);
    bench.tell_to_stop();
    assert!(idle.is_closed());
    bench.stop();
}

#[test]
fn told_to_stop_it_cuts_replies_at_the_deadline() {
    let mut bench =
        Bench::how(How::limits(Limits { stop_within: Duration::from_millis(300), ..Limits::default() }), |films| {
            put_long(&films.join("film.mkv"));
        });
    let path = bench.file("film.mkv");
    let mut busy = bench.connect();
    busy.send("GET", &path, "");
    busy.head().unwrap();
    let begun = Instant::now();
    bench.stop();
    assert!(begun.elapsed() < PATIENCE);
    assert!(busy.take(256 << 20).len() < 256 << 20, "the reply was not cut");
    until(|| std::net::TcpStream::connect(bench.address).is_err().then_some(()));
}

#[test]
fn told_to_stop_it_lets_a_reply_go_on_that_ends_in_time() {
    let content = bytes(1, 32 << 20);
    let mut bench = Bench::film(&content);
    let path = bench.file("film.mkv");
    let mut client = bench.connect();
    client.send("GET", &path, "");
    client.head().unwrap();
    bench.tell_to_stop();
    until(|| std::net::TcpStream::connect(bench.address).is_err().then_some(()));
    assert!(client.take(content.len()) == content);
    bench.stop();
}
