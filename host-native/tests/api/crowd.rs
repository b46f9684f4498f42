//! Many connections, and how a client with a key gets through.

use crate::support::{Bench, Client, How, PATIENCE, until};
use regrip::server::Limits;

/// More than there are places.
const CROWD: usize = 80;

/// A server in which nothing ends by a timeout while a test runs.
fn crowded() -> Bench {
    Bench::how(How {
        limits: Limits { connections: 32, head_timeout: 2 * PATIENCE, idle_timeout: 2 * PATIENCE, ..Limits::default() },
        ..How::default()
    })
}

#[test]
fn slow_heads_bodies_and_readers_without_a_key_keep_nobody_out_who_has_one() {
    let bench = crowded();
    let slow_body = |client: &mut Client| {
        client.write(
            "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{",
        );
    };
    let slow_reader = |client: &mut Client| {
        let ask = "GET /dashboard/dashboard.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write(&ask.repeat(100));
    };
    let kinds: [&dyn Fn(&mut Client); 2] = [&slow_body, &slow_reader];
    for kind in kinds {
        let mut held = Vec::new();
        for _ in 0..CROWD {
            let mut client = bench.connect();
            kind(&mut client);
            held.push(client);
            if held.len() % 16 == 0 {
                assert_eq!(bench.get("/api/downloads").status, 200);
            }
        }
        assert_eq!(bench.get("/api/downloads").status, 200);
    }
}

#[test]
fn a_stream_of_events_outlives_a_crowd_without_a_key() {
    let bench = crowded();
    let mut events = bench.connect();
    let key = bench.credentials();
    events.write(&format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{key}\r\n"));
    events.through(": regrip\n\n").unwrap();
    let _held: Vec<_> = (0..CROWD).map(|_| bench.connect()).collect();
    bench.add("http://127.0.0.1:9/film");
    assert!(events.through("\"queued\"").is_some());
}

#[test]
fn a_body_whose_client_sends_no_more_is_answered() {
    let bench = Bench::new();
    let key = bench.credentials();
    for number in 0..20 {
        let mut client = bench.connect();
        let body = format!(r#"{{"url":"http://127.0.0.1:9/film{number}"}}"#);
        let length = body.len();
        client.write(&format!(
            "POST /api/downloads HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.whole_reply(false).status, 201);
    }
}

#[test]
fn a_half_closed_event_stream_goes_on_and_one_without_a_client_ends() {
    let bench = Bench::new();
    let key = bench.credentials();
    let ask = format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{key}\r\n");
    let listen = || {
        let mut client = bench.connect();
        client.write(&ask);
        client.through(": regrip\n\n").unwrap();
        client
    };
    let mut half_closed = listen();
    half_closed.stream.shutdown(std::net::Shutdown::Write).unwrap();
    drop(listen());
    // Comments show who is there.
    half_closed.through(":\n\n").unwrap();
    bench.add("http://127.0.0.1:9/film");
    assert!(half_closed.through("\"queued\"").is_some());
    until(|| (bench.control.events().subscribers_count() == 1).then_some(()));
}
