//! What happens, as it happens.

use crate::support::{Bench, Client, until};
use regrip::control::{Events, Heard};
use regrip::host::Listener;
use regrip_core::{Event, What};
use regrip_faultd::faults::Cut;
use regrip_faultd::{FileScript, Script, Server, Version};
use serde_json::Value;
use std::time::SystemTime;

/// A client that listens to events.
fn listening(bench: &Bench) -> Client {
    let mut client = bench.connect();
    let credentials = bench.credentials();
    client.write(&format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{credentials}\r\n"));
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/event-stream"), "{head}");
    assert!(client.through(": regrip\n\n").is_some());
    client
}

/// The next object.
fn next(client: &mut Client) -> Value {
    client.through("data: ").expect("an event");
    let line = client.through("\n\n").expect("its end");
    serde_json::from_str(line.trim_end()).unwrap()
}

#[test]
fn a_download_is_told_as_json_prints_it() {
    let bench = Bench::new();
    let script = FileScript::honest(Version::new(1, 300_000).etag("\"v1\"")).answer([Cut::after(100_000)]);
    let source = Server::start(Script::one("/film.mkv", script)).unwrap();
    let mut client = listening(&bench);
    let id = bench.add(&source.url("/film.mkv?token=secret"));
    let mut story = Vec::new();
    loop {
        let event = next(&mut client);
        assert_eq!(event["id"], id);
        assert_eq!(event["url"], source.url("/film.mkv"));
        let name = event["event"].as_str().unwrap().to_owned();
        if name == "retrying" {
            assert_eq!((event["attempt"].as_i64(), event["class"].as_str()), (Some(1), Some("transient")));
        }
        if name != "progress" {
            story.push(name);
        }
        if event["event"] == "completed" {
            assert_eq!(event["bytes"], 300_000);
            break;
        }
    }
    let wanted = ["queued", "started", "headers", "retrying", "started", "headers", "completed"];
    assert_eq!(story, wanted);
}

#[test]
fn the_stream_ends_when_the_server_does() {
    let mut bench = Bench::new();
    let mut client = listening(&bench);
    bench.stop();
    // Ended, not cut: by its last chunk.
    assert!(client.through("\r\n0\r\n\r\n").is_some());
    assert!(client.is_closed());
    assert!(bench.control.events().subscribe().is_none());
}

#[test]
fn there_are_never_many_listeners_and_those_who_leave_make_room() {
    let bench = Bench::new();
    let subscriptions: Vec<_> = std::iter::from_fn(|| bench.control.events().subscribe()).collect();
    let reply = bench.get("/api/events");
    assert_eq!((reply.status, reply.code().as_str()), (503, "TooManySubscribers"));
    drop(subscriptions);
    drop(listening(&bench));
    until(|| {
        say(bench.control.events(), 0);
        (bench.control.events().subscribers_count() == 0).then_some(())
    });
}

fn say(events: &Events, id: i64) {
    events.hear(&Event { id, at: SystemTime::UNIX_EPOCH, url: "http://host/a", path: "/a", what: What::Queued });
}

#[test]
fn a_subscriber_that_is_slow_is_told_what_it_missed_and_holds_nobody_up() {
    let events = Events::default();
    let (slow, quick) = (events.subscribe().unwrap(), events.subscribe().unwrap());
    let mut quick_heard = 0;
    for id in 0..5000 {
        say(&events, id);
        match smol::block_on(quick.next()) {
            Some(Heard::Event(_)) => quick_heard += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(quick_heard, 5000);
    assert_eq!(smol::block_on(slow.next()), Some(Heard::Lagged));
    say(&events, 7);
    match smol::block_on(slow.next()) {
        Some(Heard::Event(line)) => assert!(line.contains(r#""id":7"#)),
        other => panic!("{other:?}"),
    }
    events.close();
    assert_eq!(smol::block_on(slow.next()), None);
}
