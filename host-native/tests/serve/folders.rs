//! What a peer's file may replace, and the places refused for regrip's own files.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use serde_json::json;

/// Waits until a stub has failed, and returns why.
fn why_it_failed(house: &House, stub: &str) -> String {
    let failed = house.path("watch/failed");
    wait_until("it failed", || failed.join(stub).exists());
    let text = failed.join(stub.replace(".torrent", ".txt"));
    std::fs::read_to_string(text).expect("a reason")
}

#[test]
fn a_server_whose_downloads_would_replace_its_own_files_does_not_start() {
    let mut house = House::with(&[]);
    std::os::unix::fs::symlink("data", house.path("films")).expect("linked");
    std::fs::create_dir(house.path("data")).expect("made");
    for (completed, data, setting) in [
        ("data", Some("data"), "regrip.dataDir"),
        ("films", Some("data"), "regrip.dataDir"),
        ("state/regrip/serve", None, "regrip.dataDir"),
        (".", Some("data"), "the configuration file"),
    ] {
        house.config["downloads"]["completedPath"] = json!(completed);
        house.config["regrip"]["dataDir"] = json!(data);
        if data.is_none() {
            let regrip = house.config["regrip"].as_object_mut().expect("a block");
            regrip.remove("dataDir");
        }
        house.write_config();
        for command in ["serve", "check-config"] {
            let ran =
                house.command_of(command).env("XDG_STATE_HOME", house.path("state")).output().expect("regrip runs");
            let told = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert_eq!(ran.status.code(), Some(2), "{command} {completed}: {told}");
            assert!(told.contains("downloads.completedPath"), "{told}");
            assert!(told.contains(setting), "{told}");
        }
        assert!(!house.path("data/state.db").exists());
    }
}

#[test]
fn a_peers_file_replaces_what_regrip_delivered_and_nothing_else() {
    let peer = Peer::new();
    peer.item(1, "Film.mkv", 2000, 1000);
    let newer = peer.item(2, "Film.mkv", 2000, 2000);
    peer.item(3, "Mine.mkv", 2000, 1000);
    let house = House::with(&[&peer]);
    std::fs::write(house.path("completed/Mine.mkv"), "mine").expect("written");
    let served = house.start();
    house.drop_stub("1.torrent", &peer, 1);
    house.wait_for_rows(&[("Film.mkv", "completed")]);
    house.drop_stub("2.torrent", &peer, 2);
    house.wait_for_rows(&[("Film.mkv", "completed"), ("Film.mkv", "completed")]);
    house.assert_is("Film.mkv", newer);
    // What somebody has changed since is theirs now.
    std::fs::write(house.path("completed/Film.mkv"), "cut by hand").expect("written");
    for (stub, number) in [("1 again.torrent", 1), ("3.torrent", 3)] {
        house.drop_stub(stub, &peer, number);
        let why = why_it_failed(&house, stub);
        assert!(why.contains("already exists") && why.contains("onExists"), "{why}");
    }
    let read = |name| std::fs::read_to_string(house.path("completed").join(name)).expect("there");
    assert_eq!((read("Film.mkv"), read("Mine.mkv")), ("cut by hand".into(), "mine".into()));
    assert_eq!(house.names("completed"), ["Film.mkv", "Mine.mkv"]);
    served.stop();
}

#[test]
fn a_file_that_appears_while_its_name_is_downloaded_is_not_replaced() {
    let peer = Peer::new();
    peer.film(1, 2_000_000);
    let (house, served) = House::downloading(&peer);
    let file = house.path("completed/Film 1.mkv");
    std::fs::write(&file, "mine").expect("written");
    let why = why_it_failed(&house, "Film.torrent");
    assert!(why.contains("already exists"), "{why}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
    assert_eq!(house.part_bytes("Film 1.mkv"), 2_000_000, "the part is kept");
    served.stop();
}

#[test]
fn with_overwrite_in_the_configuration_everything_but_regrips_own_files_is_replaced() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    peer.item(2, "own.mkv", 2000, 1000);
    let mut house = House::with(&[&peer]);
    house.config["downloads"]["onExists"] = json!("overwrite");
    std::fs::write(house.path("completed/Film 1.mkv"), "mine").expect("written");
    let served = house.start();
    let own = house.path("completed/own.mkv");
    std::fs::hard_link(house.path("data/state.db"), &own).expect("linked");
    house.drop_stub("1.torrent", &peer, 1);
    wait_until("the stub is gone", || !house.has_stub("1.torrent"));
    house.assert_is("Film 1.mkv", film);
    house.drop_stub("2.torrent", &peer, 2);
    let why = why_it_failed(&house, "2.torrent");
    assert!(why.contains("a file of regrip itself"), "{why}");
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    served.stop();
}
