//! Stubs that wait for their release, and peers.

use crate::support::Bench;
use regrip::config;
use regrip::control::PendingStub;
use regrip_core::Error;
use regrip_core::host::Host;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn stub(name: &str) -> PendingStub {
    PendingStub {
        stub_name: name.to_owned(),
        peer_id: "0a1b2c3d".to_owned(),
        peer_name: None,
        item_id: "films/42".to_owned(),
        name: "A film".to_owned(),
        size: Some(7),
        found_at: SystemTime::UNIX_EPOCH,
        attempts: 0,
        error: None,
        next_try_at: None,
    }
}

#[test]
fn pending_stubs_are_listed_with_their_last_error_and_next_try() {
    let bench = Bench::new();
    let empty = json!({ "stubs": [], "total": 0, "watch_path": null });
    assert_eq!(bench.json("/api/stubs"), empty);
    let board = bench.control.stubs();
    board.watch("/films/watch".into());
    board.put(stub("b.torrent"));
    board.put(stub("a.torrent"));
    let next = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    board.failed("b.torrent", "the server answered 503".to_owned(), Some(next));
    let stubs = bench.json("/api/stubs");
    assert_eq!((&stubs["total"], &stubs["watch_path"]), (&json!(2), &json!("/films/watch")));
    assert_eq!(stubs["stubs"][0]["stub_name"], "a.torrent");
    assert_eq!(
        stubs["stubs"][1],
        json!({
            "stub_name": "b.torrent", "peer_id": "0a1b2c3d", "peer_name": null, "item_id": "films/42",
            "name": "A film", "size": 7, "found_at": "1970-01-01T00:00:00.000Z", "attempts": 1,
            "error": "the server answered 503", "next_try_at": "1970-01-01T00:01:00.000Z",
        })
    );
    board.remove("a.torrent");
    assert_eq!(bench.json("/api/stubs")["total"], 1);
}

fn configured(bench: &Bench) {
    let text = r#"{"peers": [
        {"name": "anna", "url": "http://127.0.0.1:9/base", "apiKey": "secret"},
        {"name": "bob", "url": "http://127.0.0.1:8", "apiKey": "secret"},
    ]}"#;
    let loaded = config::parse(text, Path::new("/"), &|_| None).unwrap();
    bench.control.peers().configure(&loaded.config.peers);
}

#[test]
fn peers_are_shown_as_they_were_found_and_without_their_secrets() {
    let bench = Bench::new();
    assert_eq!(bench.json("/api/peers"), json!({ "peers": [] }));
    configured(&bench);
    let peers = bench.get("/api/peers");
    assert!(!peers.text().contains("secret"), "{}", peers.text());
    let peers = peers.json();
    assert_eq!(peers["peers"][0]["url"], "http://127.0.0.1:9/base");
    assert_eq!(peers["peers"][0]["reachable"], Value::Null);

    let (anna, bob) = (peers["peers"][0]["id"].clone(), peers["peers"][1]["id"].clone());
    let board = bench.control.peers();
    board.answered(anna.as_str().unwrap(), Some("0.3.1".to_owned()), SystemTime::UNIX_EPOCH);
    // The breaker of the other one opens.
    let engine = bench.control.engine();
    let line = engine.reachability(bob.as_str().unwrap(), peers["peers"][1]["url"].as_str().unwrap());
    for _ in 0..3 {
        let failed: Result<(), Error> = Err(Error::network("connecting", "refused"));
        line.note(engine.host().clock(), 3, &failed);
    }
    let peers = bench.json("/api/peers");
    let (anna, bob) = (&peers["peers"][0], &peers["peers"][1]);
    assert_eq!((&anna["reachable"], &anna["version"]), (&json!(true), &json!("0.3.1")));
    assert_eq!(anna["since"], "1970-01-01T00:00:00.000Z");
    assert_eq!(anna["error"], Value::Null);
    assert_eq!(bob["reachable"], false);
    assert!(bob["error"].as_str().unwrap().contains("refused"));
    assert!(bob["next_probe_at"].is_string() && bob["since"].is_string());
    let metrics = bench.get("/metrics").text();
    assert!(metrics.contains(r#"peer="bob"} 1"#), "{metrics}");
    // A reload keeps what is known.
    configured(&bench);
    assert_eq!(bench.json("/api/peers")["peers"][0]["version"], "0.3.1");

    let description = bench.json("/openapi.json");
    for (name, object) in [("Peer", anna), ("Stub", &stub_object(&bench))] {
        let described = &description["components"]["schemas"][name]["properties"];
        let keys =
            |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(object), keys(described), "{name}");
    }
}

fn stub_object(bench: &Bench) -> Value {
    bench.control.stubs().put(stub("a.torrent"));
    bench.json("/api/stubs")["stubs"][0].clone()
}

#[test]
fn what_is_wrong_with_the_surroundings_is_told_until_it_is_over() {
    let bench = Bench::new();
    assert_eq!(bench.json("/api/troubles"), json!({ "troubles": [] }));
    let board = bench.control.troubles();
    board.note("configuration", "line 3: found 0, expected at least 1");
    let troubles = bench.json("/api/troubles");
    assert_eq!(troubles["troubles"][0]["what"], "configuration");
    assert_eq!(troubles["troubles"][0]["message"], "line 3: found 0, expected at least 1");
    assert!(bench.get("/metrics").text().contains("\nregrip_troubles 1\n"));
    board.over("configuration");
    assert_eq!(bench.json("/api/troubles"), json!({ "troubles": [] }));
}
