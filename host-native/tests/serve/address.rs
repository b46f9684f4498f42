//! One address: the API for whoever has the server's key, the peer wire for peers.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use serde_json::{Value, json};

#[test]
fn a_peers_key_opens_the_peer_wire_and_the_servers_key_the_api() {
    let peer = Peer::new();
    let mut house = House::with(&[&peer]);
    std::fs::create_dir(house.path("films")).expect("a folder");
    std::fs::write(house.path("films/Film.mkv"), "film").expect("written");
    house.config["share"] = json!(["films"]);
    house.config["regrip"]["apiKey"] = "mine".into();
    house.config["regrip"]["shareKeys"] = json!([
        { "name": "Anna", "apiKey": "annas" },
        // No comment: only a key file has them.
        { "name": "Bob", "apiKey": "#bobs" },
    ]);
    let served = house.start();
    let table = [
        ("/ping", "", 200),
        ("/api/downloads", "mine", 200),
        ("/api/downloads", "annas", 401),
        ("/api/downloads", "", 401),
        ("/api/downloads?apikey=mine", "", 401),
        ("/peer/search", "annas", 200),
        ("/peer/search", "mine", 401),
        ("/peer/search", "", 401),
        ("/handshake", "annas", 200),
        ("/handshake", "#bobs", 200),
    ];
    for (target, key, wanted) in table {
        let (status, _) = served.ask_with(target, &[("X-Api-Key", key)]);
        assert_eq!(status, wanted, "{target} with {key:?}");
    }
    assert!(!served.log.text().contains("mine"));
    served.stop();
}

#[test]
fn the_servers_own_files_are_not_shared_whatever_their_names() {
    let mut house = House::with(&[]);
    let (films, data) = (house.path("films"), house.path("films/data"));
    std::fs::create_dir(&films).expect("a folder");
    std::fs::write(films.join("Film.mkv"), "film").expect("written");
    std::fs::write(films.join("secret.mkv"), "annas\n").expect("written");
    house.config["share"] = json!(["films"]);
    house.config["regrip"]["dataDir"] = json!(data);
    house.config["regrip"]["shareKeys"] = json!([{ "name": "Anna", "apiKey": { "file": films.join("secret.mkv") } }]);
    let served = house.start();
    for own in ["films/data/state.db", "films/data/regrip.lock", "config.jsonc"] {
        let link = films.join(format!("{}.mkv", own.replace('/', " ")));
        std::fs::hard_link(house.path(own), link).expect("a link");
    }
    std::fs::write(films.join("Later.mkv"), "later").expect("written");
    served.stop();
    let served = house.start();
    let (_, found) = served.ask_with("/peer/search", &[("X-Api-Key", "annas")]);
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let found = found["items"].as_array().expect("items");
    let mut names: Vec<_> = found.iter().filter_map(|item| item["filename"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Film.mkv", "Later.mkv"]);
    served.stop();
}

#[test]
fn a_key_file_that_a_reload_names_is_not_shared_any_more() {
    let mut house = House::with(&[]);
    let films = house.path("films");
    std::fs::create_dir(&films).expect("a folder");
    std::fs::write(films.join("Film.mkv"), "film").expect("written");
    std::fs::write(films.join("key.mkv"), "the next key\n").expect("written");
    house.config["share"] = json!(["films"]);
    let served = house.start();
    let names = || {
        let found = served.get("/peer/search");
        let found = found["items"].as_array().cloned().unwrap_or_default();
        let names = found.iter().map(|item| item["filename"].to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 2);
    house.config["regrip"]["apiKey"] = json!({ "file": films.join("key.mkv") });
    house.write_config();
    served.signal("HUP");
    wait_until("the key file is left out", || names() == ["\"Film.mkv\""]);
    served.stop();
}

#[test]
fn one_regrip_fetches_from_another() {
    let mut friend = House::with(&[]);
    std::fs::create_dir(friend.path("films")).expect("a folder");
    std::fs::write(friend.path("films/Film.mkv"), vec![7; 2_000_000]).expect("written");
    friend.config["share"] = json!(["films"]);
    let sharing = friend.start();
    let found = sharing.get("/peer/search");
    let item = found["items"][0]["id"].as_str().expect("an id").to_owned();
    let mut house = House::with(&[]);
    let url = format!("http://{}", sharing.address());
    house.config["peers"] = json!([{ "name": "Friend", "url": url }]);
    let served = house.start();
    let stub = regrip_core::Stub::new(regrip::peers::id_of(&url), &item, "Film", 2_000_000);
    std::fs::write(house.path("watch/Film.torrent"), stub.expect("a stub").write()).expect("written");
    wait_until("the stub is done", || house.names("watch").is_empty());
    let bytes = std::fs::read(house.path("completed/Film.mkv")).expect("it is there");
    assert!(bytes == vec![7; 2_000_000]);
    served.stop();
    sharing.stop();
}

#[test]
fn without_a_key_no_other_address_than_loopback_is_listened_at() {
    let mut house = House::with(&[]);
    house.config["regrip"]["listen"] = "0.0.0.0:0".into();
    let mut served = house.begin();
    assert_eq!(served.ended().code(), Some(2));
    let told = served.log.text();
    assert!(told.contains("apiKey"), "{told}");
}
