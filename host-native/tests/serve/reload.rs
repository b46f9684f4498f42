//! SIGHUP.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use crate::radarr::Radarr;
use serde_json::json;

#[test]
fn a_configuration_that_is_read_again_changes_peers_servers_and_limits() {
    let (peer, new, radarr) = (Peer::new(), Peer::new(), Radarr::new());
    peer.film(1, 1000);
    let film = new.film(2, 1000);
    let mut house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("2.torrent", &new, 2);
    served.log.wait_for("is configured");
    // The key changed too.
    peer.key("other");
    let peers = [("Old", &peer, "other"), ("New", &new, "hush")];
    let peers = peers.map(|(name, peer, key)| json!({ "name": name, "url": peer.url(), "apiKey": key }));
    house.config["peers"] = json!(peers);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    house.config["downloads"]["maxConcurrentDownloads"] = 7.into();
    house.config["regrip"]["listen"] = "127.0.0.1:1".into();
    house.write_config();
    served.signal("HUP");
    served.log.wait_for("configuration reloaded");
    assert_eq!(served.log.count("regrip.listen has changed"), 1);
    house.wait_for_file("Film 2.mkv", film);
    house.drop_stub("1.torrent", &peer, 1);
    house.wait_for_rows(&[("Film 1.mkv", "import_queued"), ("Film 2.mkv", "import_queued")]);
    served.stop();
}

#[test]
fn a_configuration_that_is_broken_changes_nothing_and_is_told() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let mut house = House::with(&[&peer]);
    let served = house.start();
    let good = house.config.clone();
    house.config["downloads"]["maxConcurrentDownloads"] = 0.into();
    house.config["peers"] = json!([]);
    house.write_config();
    for _ in 0..2 {
        served.signal("HUP");
        served.log.wait_for("stays in force");
    }
    assert!(served.log.text().contains("maxConcurrentDownloads"));
    house.drop_stub("1.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    std::fs::write(house.path("config.jsonc"), "{").expect("written");
    served.signal("HUP");
    wait_until("it is told again", || served.log.count("stays in force") >= 2);
    house.config = good;
    house.write_config();
    served.signal("HUP");
    served.log.wait_for("configuration reloaded");
    served.log.wait_for("over: ");
    served.stop();
}

#[test]
fn another_key_is_in_force_at_once_and_the_one_before_opens_nothing() {
    let mut house = House::with(&[]);
    house.config["regrip"]["apiKey"] = json!("#one");
    let served = house.start();
    let status = |key: &str| served.ask_with("/api/downloads", &[("X-Api-Key", key)]).0;
    assert_eq!((status("#one"), status("two"), status("")), (200, 401, 401));
    house.config["regrip"]["apiKey"] = json!("two");
    house.write_config();
    served.signal("HUP");
    served.log.wait_for("configuration reloaded");
    assert_eq!((status("#one"), status("two")), (401, 200));
    // A blank key is no key: what was in force stays.
    house.config["regrip"]["apiKey"] = json!(" ");
    house.write_config();
    served.signal("HUP");
    served.log.wait_for("stays in force");
    assert_eq!((status(""), status("two")), (401, 200));
    assert_eq!(served.log.count("restart regrip to apply"), 0);
    served.stop();
}

#[test]
fn a_rate_and_permissions_hold_from_the_next_file_on() {
    use std::os::unix::fs::PermissionsExt;
    let peer = Peer::new();
    let [first, second, _] = [peer.film(1, 1000), peer.film(2, 1000), peer.film(3, 8 << 20)];
    let mut house = House::with(&[&peer]);
    house.config["downloads"]["fileMode"] = "0606".into();
    let served = house.start();
    let mode = |house: &House, name: &str| {
        std::fs::metadata(house.path("completed").join(name)).expect("there").permissions().mode() & 0o777
    };
    house.drop_stub("1.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", first);
    assert_eq!(mode(&house, "Film 1.mkv"), 0o606);
    let again = |house: &mut House, key: &str, value: serde_json::Value, times: usize| {
        house.config["downloads"][key] = value;
        house.write_config();
        served.signal("HUP");
        wait_until("it is read again", || served.log.count("configuration reloaded") == times);
    };
    again(&mut house, "fileMode", "640".into(), 1);
    house.drop_stub("2.torrent", &peer, 2);
    house.wait_for_file("Film 2.mkv", second);
    assert_eq!(mode(&house, "Film 2.mkv"), 0o640);
    // At a byte per second this one does not end, and the process does.
    again(&mut house, "limitRate", 1.into(), 2);
    house.drop_stub("3.torrent", &peer, 3);
    wait_until("its part is there", || house.path("completed/Film 3.mkv.part").exists());
    assert!(!house.path("completed/Film 3.mkv").exists());
    served.stop();
}
