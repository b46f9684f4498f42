//! Keys of peers and quick links: by the command line and by the API, while the server runs.

use crate::house::{House, Served, wait_until};
use crate::peer::Peer;
use regrip::peers::QuickLink;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

fn regrip(house: &House, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.current_dir(house.path(".")).args(arguments).args(["--config", "config.jsonc"]);
    command.stdin(Stdio::null()).output().unwrap()
}

fn out(house: &House, arguments: &[&str]) -> String {
    let output = regrip(house, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn refused(house: &House, arguments: &[&str]) -> (Option<i32>, String) {
    let output = regrip(house, arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn sharing() -> House {
    let mut house = House::with(&[]);
    std::fs::create_dir(house.path("films")).unwrap();
    std::fs::write(house.path("films/a.mkv"), "a").unwrap();
    house.config["share"] = json!(["films"]);
    house.config["regrip"]["external"] =
        json!({ "instanceName": "Roz", "url": "https://roz.example", "headers": { "CF-Id": "cf" } });
    house
}

fn knock(served: &Served, key: &str) -> u16 {
    served.ask_with("/handshake", &[("X-Api-Key", key)]).0
}

#[test]
fn a_key_opens_the_wire_until_it_is_revoked_or_ends_while_the_server_runs() {
    let house = sharing();
    let served = house.start();
    assert_eq!(knock(&served, ""), 200, "without any key this machine is served");
    let anna = out(&house, &["key", "create", "Anna"]);
    assert!(anna.starts_with("regrip_") && anna.len() == 71, "{anna}");
    let short: Value =
        serde_json::from_str(&out(&house, &["key", "create", "Ben", "--expires", "2s", "--json"])).unwrap();
    let ben = short["key"].as_str().unwrap();
    assert_eq!((knock(&served, ""), knock(&served, "wrong")), (401, 401));
    assert_eq!((knock(&served, &anna), knock(&served, ben)), (200, 200));
    assert_eq!(served.ask_with("/api/downloads", &[("X-Api-Key", &anna)]).0, 200, "no key guards this API here");
    wait_until("Ben's key ends", || knock(&served, ben) == 401);
    wait_until("the use is noted", || !out(&house, &["key", "list", "--json"]).contains(r#""last_used_at":null"#));

    let names = || {
        let listed = out(&house, &["key", "list"]);
        listed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let listed = names();
    assert!(listed[0].starts_with("1 in force") && listed[0].ends_with("Anna"), "{listed:?}");
    assert!(listed[1].starts_with("2 expired") && listed[1].ends_with("Ben"), "{listed:?}");
    let (code, error) = refused(&house, &["key", "create", "Anna"]);
    assert!(code == Some(1) && error.contains("in force already"), "{error}");
    assert_eq!(out(&house, &["key", "revoke", "Anna"]), "revoked key 1 for Anna");
    assert_eq!(knock(&served, &anna), 401, "at once");
    assert!(names()[0].starts_with("1 revoked"), "{:?}", names());
    let (code, error) = refused(&house, &["key", "revoke", "Anna"]);
    assert!(code == Some(1) && error.contains("no key \"Anna\" is in force"), "{error}");
    // The name is free again.
    let second = out(&house, &["key", "create", "Anna"]);
    assert_eq!((knock(&served, &second), knock(&served, &anna)), (200, 401));
    let database = std::fs::read(house.path("data/state.db")).unwrap();
    let log = std::fs::read(house.path("data/state.db-wal")).unwrap_or_default();
    for key in [&anna, &second] {
        let is_in = |bytes: &[u8]| bytes.windows(key.len()).any(|window| window == key.as_bytes());
        assert!(!is_in(&database) && !is_in(&log) && !served.log.text().contains(key.as_str()), "a key is kept");
    }
    for wrong in ["", "  ", "a\u{7}b", &"x".repeat(101)] {
        let (code, error) = refused(&house, &["key", "create", wrong]);
        assert!(code == Some(2) && error.contains("the name of a key"), "{wrong:?}: {error}");
    }
    for end in ["yesterday", "2020-01-01", "-1h", "99999999999999years"] {
        let (code, error) = refused(&house, &["key", "create", "C", &format!("--expires={end}")]);
        assert_eq!(code, Some(2), "{end}: {error}");
    }
    // Wrong keys are slowed, and right ones are served all the same.
    let statuses: Vec<_> = (0..40).map(|number| knock(&served, &format!("wrong {number}"))).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(knock(&served, &second), 200);
    served.stop();
}

#[test]
fn keys_and_links_are_made_and_revoked_by_the_api() {
    let house = sharing();
    let served = house.start();
    let (status, answer) = served.post("/api/keys", "", r#"{"name": "Anna", "expires_at": "2100-01-01T00:00:00Z"}"#);
    let made: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &made["id"], &made["name"]), (201, &json!(1), &json!("Anna")), "{answer}");
    let key = made["key"].as_str().unwrap();
    assert_eq!(knock(&served, key), 200);
    let listed = served.get("/api/keys");
    assert_eq!(listed["keys"][0]["expires_at"], "2100-01-01T00:00:00.000Z");
    assert!(!listed.to_string().contains(key), "{listed}");
    for (body, status) in [
        (r#"{"name": "Anna"}"#, 409),
        (r#"{"name": ""}"#, 400),
        (r#"{"name": "B", "expires_at": "soon"}"#, 400),
        (r#"{"name": "B", "expires_at": "2000-01-01T00:00:00Z"}"#, 400),
        (r#"{"name": 1}"#, 400),
        ("{}", 400),
    ] {
        assert_eq!(served.post("/api/keys", "", body).0, status, "{body}");
    }
    assert_eq!(served.ask("DELETE", "/api/keys/1").0, 204);
    assert_eq!(knock(&served, key), 401);
    assert_eq!(served.ask("DELETE", "/api/keys/1").0, 404);
    assert_eq!(served.ask("DELETE", "/api/keys/x").0, 404);

    let (status, answer) = served.post("/api/links", "", r#"{"name": "Ben"}"#);
    let made: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 201, "{answer}");
    let link = QuickLink::read(made["link"].as_str().unwrap()).unwrap();
    assert_eq!((link.name.as_str(), link.url.as_str(), link.headers.len()), ("Roz", "https://roz.example", 1));
    assert_eq!(knock(&served, link.api_key.reveal()), 200);
    let (status, said) = served.post("/api/links/read", "", &json!({ "link": made["link"] }).to_string());
    let wanted = json!({ "name": "Roz", "url": "https://roz.example", "header_names": ["CF-Id"] });
    assert_eq!((status, serde_json::from_str::<Value>(&said).unwrap()), (200, wanted));
    let (status, said) = served.post("/api/links/read", "", r#"{"link": "jack-link:v1:!"}"#);
    assert!(status == 400 && said.contains("not base64url"), "{said}");
    served.stop();
}

#[test]
fn a_peer_is_added_by_its_link_to_the_file_with_its_comments_and_used_at_once() {
    let peer = Peer::new();
    let film = peer.film(1, 100_000);
    let house = House::with(&[]);
    // A person's file, and not one that a program wrote.
    let text = "// My server\n{\n  \"downloads\": {\n    \"watchPath\": \"watch\", // stubs\n    \"completedPath\": \"completed\",\n    \"retryBaseDelayMs\": 0,\n  },\n  \"regrip\": { \"listen\": \"127.0.0.1:0\", \"dataDir\": \"data\" },\n  /* friends */\n  \"peers\": [\n    // nobody yet\n  ],\n}\n";
    let file = house.path("config.jsonc");
    std::fs::write(&file, text).unwrap();
    let served = house.run(&mut house.command());
    served.log.wait_for("watching for stubs");
    let link = json!({ "v": 1, "type": "peer", "name": "Anna", "url": peer.url(), "apiKey": "hush", "headers": {} });
    let link = {
        use base64::Engine as _;
        format!("jack-link:v1:{}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(link.to_string()))
    };
    let (code, error) = refused(&house, &["link", "add", &link]);
    assert!(code == Some(2) && error.contains("confirm it with --yes") && error.contains("Anna"), "{error}");
    assert!(!error.contains("hush"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "nothing was added unasked");
    let said = out(&house, &["link", "add", &link, "--yes"]);
    assert!(said.contains("added Anna") && said.contains("the running server reads it now"), "{said}");
    let changed = std::fs::read_to_string(&file).unwrap();
    for kept in ["// My server", "// stubs", "/* friends */", "// nobody yet", "\"apiKey\": \"hush\""] {
        assert!(changed.contains(kept), "{changed}");
    }
    wait_until("it is a peer", || served.get("/api/peers")["peers"].as_array().unwrap().len() == 1);
    house.drop_stub("Film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    let (code, error) = refused(&house, &["link", "add", &link, "--yes"]);
    assert!(code == Some(2) && error.contains("Anna at this address is configured already"), "{error}");

    let id = served.get("/api/peers")["peers"][0]["id"].as_str().unwrap().to_owned();
    let (status, tested) = served.post(&format!("/api/peers/{id}/test"), "", "");
    assert!(status == 200 && tested.contains(r#""ok":true"#), "{tested}");
    assert_eq!(served.ask("DELETE", &format!("/api/peers/{id}")).0, 204);
    assert_eq!(served.get("/api/peers")["peers"], json!([]));
    assert_eq!(served.ask("DELETE", &format!("/api/peers/{id}")).0, 404);
    assert_eq!(served.post(&format!("/api/peers/{id}/test"), "", "").0, 404);
    let emptied = std::fs::read_to_string(&file).unwrap();
    assert!(!emptied.contains("hush") && emptied.contains("// My server"), "{emptied}");

    let by_link = json!({ "link": link, "name": "Anna again" }).to_string();
    assert_eq!(served.post("/api/peers", "", &by_link).0, 201);
    assert_eq!(served.get("/api/peers")["peers"][0]["name"], "Anna again");
    let (status, answer) = served.post("/api/peers", "", &by_link);
    assert!(status == 409 && answer.contains("PeerExists"), "{answer}");
    peer.key("another one");
    let (_, tested) = served.post(&format!("/api/peers/{id}/test"), "", "");
    assert!(tested.contains(r#""ok":false"#) && tested.contains("401"), "{tested}");
    for body in [
        json!({}),
        json!({ "link": "x" }),
        json!({ "link": link, "url": "http://a" }),
        json!({ "url": "file:///etc/passwd", "apiKey": "k" }),
        json!({ "url": "http://a", "apiKey": { "file": "/etc/shadow" } }),
        json!({ "url": "http://a", "apiKey": "k", "headers": { "Host": "b" } }),
        json!({ "url": "http://a", "apiKey": "k", "name": "a\u{1b}[2J" }),
    ] {
        assert_eq!(served.post("/api/peers", "", &body.to_string()).0, 400, "{body}");
    }
    served.stop();
}

#[test]
fn a_link_is_made_only_if_it_would_be_whole_and_a_hostile_one_is_refused() {
    let mut house = sharing();
    house.write_config();
    let link = out(&house, &["link", "create", "Anna"]);
    let read = QuickLink::read(&link).unwrap();
    assert_eq!((read.name.as_str(), read.url.as_str()), ("Roz", "https://roz.example"));
    house.config["regrip"]["external"] = Value::Null;
    house.config["regrip"].as_object_mut().unwrap().remove("external");
    house.write_config();
    let (code, error) = refused(&house, &["link", "create", "Ben"]);
    assert!(code == Some(2) && error.contains("regrip.external is not configured"), "{error}");
    assert!(!out(&house, &["key", "list"]).contains("Ben"), "no key without a link");
    for (link, why) in [
        ("hello", "does not begin with jack-link:v1:"),
        ("jack-link:v9:e30", "its version is v9"),
        ("jack-link:v1:%%%", "not base64url"),
        ("jack-link:v1:e30", "missing field"),
    ] {
        let (code, error) = refused(&house, &["link", "add", link, "--yes"]);
        assert!(code == Some(2) && error.contains("the link is refused") && error.contains(why), "{link}: {error}");
    }
}

#[test]
fn the_key_of_a_configuration_of_jack_opens_the_wire_as_it_did() {
    let mut house = sharing();
    house.config["jack"] = house.config["regrip"].take();
    house.config.as_object_mut().unwrap().remove("regrip");
    house.config["jack"]["apiKey"] = "shared-secret".into();
    let served = house.start();
    assert_eq!((knock(&served, "shared-secret"), knock(&served, ""), knock(&served, "other")), (200, 401, 401));
    served.stop();
}
