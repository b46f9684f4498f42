//! Many connections, and how a client with a key gets through.

use crate::support::{Bench, Client, How, PATIENCE, bytes, put, put_long, until};
use regrip::server::{Access, Keys, Limits};
use std::io::Write;
use std::net::Shutdown;

const KEY: &str = "X-Api-Key: alpha\r\n";

/// Nothing ends by a timeout while a test runs.
const FEW: Limits = Limits {
    connections: 32,
    head_bytes: 16 << 10,
    head_fields: 64,
    head_timeout: PATIENCE.saturating_mul(2),
    idle_timeout: PATIENCE.saturating_mul(2),
    stop_within: PATIENCE,
};

/// More than there are places.
const CROWD: usize = 80;

fn how(limits: Limits) -> How {
    How { access: Access::Keys(Keys::new(["alpha"]).unwrap()), limits, ..How::default() }
}

/// A folder with a small film and one that no socket takes whole.
fn crowded() -> Bench {
    Bench::how(how(FEW), |films| {
        put(&films.join("film.mkv"), &bytes(1, 100));
        put_long(&films.join("long.mkv"));
    })
}

fn is_served(bench: &Bench) -> bool {
    bench.get("/handshake", KEY).status == 200
}

/// Returns `true` if the server has not closed a connection without a reply under way.
fn is_open(client: &mut Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let read = std::io::Read::read(&mut client.stream, &mut [0]);
    client.stream.set_nonblocking(false).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The path of a film, found with the key, once the film is old enough to be sent.
fn path(bench: &Bench, name: &str) -> String {
    let found = bench.get("/peer/search", KEY);
    let found: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    let items = found["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["filename"] == name).unwrap();
    let path = format!("/peer/items/{}/file", item["id"].as_str().unwrap());
    bench.settled(&path, KEY);
    path
}

#[test]
fn connections_without_a_key_keep_nobody_out_who_has_one() {
    let bench = crowded();
    let silent = |_: &mut Client| {};
    let slow_head = |client: &mut Client| client.write("GET /handshake HTTP/1.1\r\nX: ");
    let refused = |client: &mut Client| {
        client.send("GET", "/handshake", "");
        // It may have made room already.
        let _ = client.reply(false);
    };
    let kinds: [&dyn Fn(&mut Client); 3] = [&silent, &slow_head, &refused];
    for kind in kinds {
        let mut held = Vec::new();
        for _ in 0..CROWD {
            let mut client = bench.connect();
            kind(&mut client);
            held.push(client);
            if held.len() % 16 == 0 {
                assert!(is_served(&bench));
            }
        }
        assert!(is_served(&bench));
    }
}

#[test]
fn a_connection_that_showed_a_key_outlives_a_crowd_without_one() {
    let bench = crowded();
    let path = path(&bench, "long.mkv");
    let mut idle = bench.connect();
    assert_eq!(idle.ask("GET", "/handshake", KEY).status, 200);
    let mut busy = bench.connect();
    busy.send("GET", &path, KEY);
    busy.head().unwrap();
    let _held: Vec<_> = (0..CROWD).map(|_| bench.connect()).collect();
    assert!(is_served(&bench));
    assert_eq!(idle.ask("GET", "/handshake", KEY).status, 200);
    assert_eq!(busy.take(8 << 20).len(), 8 << 20);
}

#[test]
fn an_idle_connection_with_a_key_makes_room_and_one_with_a_reply_does_not() {
    let bench = crowded();
    let path = path(&bench, "long.mkv");
    let mut busy = bench.connect();
    busy.send("GET", &path, KEY);
    busy.head().unwrap();
    let mut held: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut client = bench.connect();
            assert_eq!(client.ask("GET", "/handshake", KEY).status, 200);
            client
        })
        .collect();
    assert_eq!(busy.take(8 << 20).len(), 8 << 20);
    // More than the limit are never open.
    until(|| {
        let open = held.iter_mut().filter_map(|one| is_open(one).then_some(()));
        (open.count() < FEW.connections).then_some(())
    });
    let last = held.last_mut().unwrap();
    assert_eq!(last.ask("GET", "/handshake", KEY).status, 200);
}

#[test]
fn a_request_whose_client_sends_no_more_is_answered_whole() {
    let content = bytes(1, 3 << 20);
    let bench = Bench::film(&content);
    let path = bench.file("film.mkv");
    for _ in 0..100 {
        let mut client = bench.connect();
        client.send("GET", "/handshake", "");
        client.stream.shutdown(Shutdown::Write).unwrap();
        let reply = client.reply(false).expect("a reply");
        assert_eq!((reply.status, reply.whole), (200, true));
        assert!(client.is_closed());
    }
    for headers in ["", "Range: bytes=5-\r\n"] {
        let mut client = bench.connect();
        client.send("GET", &path, headers);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let reply = client.reply(false).expect("a reply");
        assert!(reply.whole && content.ends_with(&reply.body), "{headers}");
    }
    // Requests that were sent ahead count, too.
    let mut client = bench.connect();
    for _ in 0..3 {
        client.send("GET", "/handshake", "");
    }
    client.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert_eq!(client.reply(false).expect("a reply").status, 200);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_frees_its_place() {
    let limits = Limits { connections: 2, ..FEW };
    let bench = Bench::how(how(limits), |films| {
        put_long(&films.join("long.mkv"));
    });
    let path = path(&bench, "long.mkv");
    for _ in 0..5 {
        let mut client = bench.connect();
        client.send("GET", &path, KEY);
        client.head().unwrap();
    }
    assert!(is_served(&bench));
}

#[test]
fn a_request_is_for_exactly_one_host() {
    let bench = Bench::film(b"film");
    let table = [
        ("GET /handshake HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /handshake HTTP/1.1\r\n\r\n", 400),
        ("GET /handshake HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /handshake HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET /handshake HTTP/1.1\r\nHost: me@localhost\r\n\r\n", 400),
        ("GET /handshake HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        ("GET http://localhost/handshake HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET http://localhost/handshake HTTP/1.1\r\nHost: other\r\n\r\n", 200),
        // Whom a request is for is what its target says.
        ("GET http://evil.example/handshake HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET http://localhost/handshake HTTP/1.1\r\n\r\n", 400),
    ];
    for (request, status) in table {
        let mut client = bench.connect();
        client.stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(client.reply(false).unwrap().status, status, "{request}");
    }
    // With a key a request of HTTP/1.0 needs no host.
    let bench = crowded();
    let mut client = bench.connect();
    client.write(&format!("GET /handshake HTTP/1.0\r\n{KEY}\r\n"));
    assert_eq!(client.reply(false).unwrap().status, 200);
}
