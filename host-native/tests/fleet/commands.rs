//! Commands on a configuration with `regrip.ledger`: they read and change the database, whether a worker runs or not.

use crate::house::House;
use crate::support::{Fleet, Worker};
use serde_json::json;
use std::process::Command;

/// The exit code of a command, and what it printed on standard output and on standard error.
fn regrip(house: &House, args: &[&str]) -> (Option<i32>, String, String) {
    house.write_config();
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.current_dir(house.path("")).args(args).args(["--config", "config.jsonc"]);
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn keys_and_links_are_those_of_the_database() {
    let fleet = Fleet::new(0, 0);
    let mut house = fleet.house(&fleet.schema.url());
    house.config["share"] = json!([fleet.folder.path()]);
    house.config["regrip"]["external"] = json!({ "instanceName": "Fleet", "url": "https://fleet.example" });
    let worker = Worker::start(house);
    let opens = |key: &str| worker.served.ask_with("/handshake", &[("X-Api-Key", key)]).0 == 200;
    let (code, key, text) = regrip(&worker.house, &["key", "create", "Anna"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(opens(&key));
    let (_, made) = worker.post("/api/keys", &json!({ "name": "Ben" }));
    let bens = made["key"].as_str().expect("a key");
    assert!(opens(bens));
    let (code, listed, text) = regrip(&worker.house, &["key", "list"]);
    assert!(code == Some(0) && listed.contains("Anna") && listed.contains("Ben"), "{listed}{text}");
    let (code, _, text) = regrip(&worker.house, &["key", "revoke", "Ben"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!opens(bens) && opens(&key));
    let (code, _, text) = regrip(&worker.house, &["link", "create", "Carl"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(fleet.schema.execute("SELECT string_agg(name, ',' ORDER BY id) FROM peer_keys"), "Anna,Ben,Carl");
    assert!(!worker.house.path("data/state.db").exists());
}

#[test]
fn downloads_are_those_of_the_database_while_the_configured_server_does_not_run() {
    let fleet = Fleet::new(1, 200_000);
    let worker = fleet.worker();
    worker.add(&fleet, 0);
    let house = fleet.house(&fleet.schema.url());
    let said = |args: &[&str], what: &str| {
        let (code, out, err) = regrip(&house, args);
        assert!(code == Some(0) && format!("{out}{err}").contains(what), "{args:?}: {code:?} {out}{err}");
    };
    said(&["list"], "0.mkv");
    said(&["show", "1"], "0.mkv");
    said(&["pause", "1"], "is paused");
    assert_eq!(worker.get("/api/downloads/1")["status"], "paused");
    said(&["resume", "1"], "is queued for the next worker");
    said(&["cancel", "1"], "is cancelled");
    said(&["remove", "1"], "is removed");
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "0");
}
