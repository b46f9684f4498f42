//! S40, S41, S51: what is taken as a stub, and what is left in place.

use crate::house::{House, rename, stub, wait_until};
use crate::peer::Peer;
use std::io::Write;
use std::time::Duration;

// X01
#[test]
fn what_is_no_stub_of_ours_is_left_where_it_is_and_told_once() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    let watch = house.path("watch");
    let large = vec![b'd'; 65_537];
    let foreign = b"d8:announce3:url4:infod6:lengthi5e4:name4:Filmee";
    let nested = [vec![b'l'; 60_000], vec![b'e'; 60_000]].concat();
    let files: [(&str, &[u8]); 5] = [
        ("empty.torrent", b""),
        ("half.torrent", b"d7:comment21:jack:1a2b"),
        ("large.torrent", &large),
        ("foreign.torrent", foreign),
        ("nested.torrent", &nested[..65_000]),
    ];
    for (name, bytes) in files {
        std::fs::write(watch.join(name), bytes).expect("written");
    }
    std::fs::create_dir(watch.join("folder.torrent")).expect("a folder");
    std::fs::write(house.path("outside.torrent"), stub(&peer, 1)).expect("written");
    std::os::unix::fs::symlink(house.path("outside.torrent"), watch.join("link.torrent")).expect("a link");
    house.drop_stub("unknown.torrent", &Peer::new(), 1);
    std::fs::write(watch.join("notes.txt"), "no stub").expect("written");
    let served = house.start();
    served.log.wait_for("unknown.torrent");
    served.log.wait_for("nested.torrent");
    // A valid one among them is taken, after several scans.
    for number in 0..3 {
        house.drop_stub(&format!("good {number}.torrent"), &peer, 1);
        house.wait_for_file("Film 1.mkv", film);
        wait_until("it is done", || !house.has_stub(&format!("good {number}.torrent")));
    }
    for name in ["empty", "half", "large", "foreign", "nested", "folder", "link", "unknown"] {
        let name = format!("{name}.torrent");
        assert!(watch.join(&name).symlink_metadata().is_ok(), "{name}");
        assert_eq!(served.log.count(&name), 1, "{name}");
    }
    assert_eq!(served.log.count("notes.txt"), 0);
    assert_eq!(house.rows().len(), 1);
    assert!(!watch.join("failed").exists());
    served.stop();
}

// X01
#[test]
fn a_stub_that_is_written_slowly_or_under_another_name_is_taken_once_it_is_whole() {
    let peer = Peer::new();
    let (slow, moved) = (peer.film(1, 1000), peer.film(2, 1000));
    let house = House::with(&[&peer]);
    let served = house.start();
    let watch = house.path("watch");
    let mut file = std::fs::File::create(watch.join("slow.torrent")).expect("created");
    for piece in stub(&peer, 1).chunks(20) {
        file.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(file);
    std::fs::write(watch.join("moved.tmp"), stub(&peer, 2)).expect("written");
    rename(&watch.join("moved.tmp"), &watch.join("moved.torrent"));
    house.wait_for_file("Film 1.mkv", slow);
    house.wait_for_file("Film 2.mkv", moved);
    wait_until("both stubs are gone", || house.names("watch").is_empty());
    assert_eq!(house.rows().len(), 2);
    assert_eq!(served.log.count("file skipped"), 0);
    served.stop();
}

// FS04
#[test]
fn a_stub_that_was_broken_is_taken_once_it_is_mended() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    let served = house.start();
    std::fs::write(house.path("watch/film.torrent"), "d7:comm").expect("written");
    served.log.wait_for("film.torrent");
    house.drop_stub("film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    served.stop();
}

#[test]
fn a_hostile_release_makes_no_row_and_its_stub_says_why_it_failed() {
    let long = "x".repeat(300);
    let names = ["../../x", "a/b", "nul\0.mkv", "CON", "", "..", &long, "x.part"];
    let peer = Peer::new();
    for (number, name) in (1..).zip(names) {
        peer.item(number, name, 2000, 1000);
    }
    let house = House::with(&[&peer]);
    let served = house.start();
    for number in 1..=names.len() as u64 {
        house.drop_stub(&format!("{number}.torrent"), &peer, number);
    }
    wait_until("all have failed", || house.names("watch") == ["failed"]);
    assert_eq!(house.rows(), Vec::<serde_json::Value>::new());
    assert_eq!(house.names("completed"), Vec::<String>::new());
    for number in 1..=names.len() {
        let why = std::fs::read_to_string(house.path(&format!("watch/failed/{number}.txt")));
        let why = why.expect("there is a reason");
        assert!(why.contains("was refused"), "{why}");
    }
    served.stop();
}

#[test]
fn a_stub_that_failed_is_tried_again_once_it_is_put_back() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    peer.refuse(&[404]);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    let failed = house.path("watch/failed/Film.torrent");
    wait_until("it failed", || failed.exists());
    let why = std::fs::read_to_string(house.path("watch/failed/Film.txt")).expect("a reason");
    assert!(why.contains("404"), "{why}");
    rename(&failed, &house.path("watch/Film.torrent"));
    house.wait_for_file("Film 1.mkv", film);
    wait_until("the reason is gone", || house.names("watch/failed").is_empty());
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    served.stop();
}

#[test]
fn a_release_that_is_slow_to_come_makes_no_row_before_and_is_asked_for_again() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    peer.refuse(&[503, 500, 429, 502]);
    let mut house = House::with(&[&peer]);
    house.config["downloads"]["retryBaseDelayMs"] = 400.into();
    house.config["downloads"]["retryMaxDelayMs"] = 400.into();
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("it is shown as pending, with its error", || {
        let stubs = served.get("/api/stubs");
        let stub = &stubs["stubs"][0];
        let told = stub["error"].as_str().unwrap_or("");
        assert!(told.is_empty() || house.rows().is_empty());
        told.starts_with("the server answered") && stub["next_try_at"].is_string()
    });
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    assert_eq!(served.get("/api/stubs")["stubs"], serde_json::json!([]));
    served.stop();
}

// L08, X03
#[test]
fn many_copies_of_a_stub_are_one_download() {
    let peer = Peer::new();
    let film = peer.film(1, 2_000_000);
    peer.rate(1_000_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    for number in 0..50 {
        house.drop_stub(&format!("copy {number}.torrent"), &peer, 1);
    }
    house.wait_for_file("Film 1.mkv", film);
    wait_until("all copies are gone", || house.names("watch").is_empty());
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    assert_eq!(peer.fetched(1), 1);
    served.stop();
}

// L08
#[test]
fn the_same_name_dropped_later_is_new_work() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    let served = house.start();
    let drop_it = || {
        house.drop_stub("Film.torrent", &peer, 1);
        wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    };
    drop_it();
    house.wait_for_file("Film 1.mkv", film);
    // The file is there: it is imported again, and not fetched.
    drop_it();
    assert_eq!((peer.fetched(1), house.rows().len()), (1, 1));
    // It was moved away: it is fetched.
    std::fs::remove_file(house.path("completed/Film 1.mkv")).expect("removed");
    drop_it();
    house.wait_for_file("Film 1.mkv", film);
    assert_eq!((peer.fetched(1), house.rows().len()), (2, 2));
    served.stop();
}

// L08, K05
#[test]
fn another_source_for_a_destination_in_flight_waits() {
    let (one, other) = (Peer::new(), Peer::new());
    one.item(1, "Film.mkv", 2000, 2_000_000);
    let last = other.item(2, "Film.mkv", 2000, 1000);
    one.rate(1_000_000);
    let house = House::with(&[&one, &other]);
    let served = house.start();
    house.drop_stub("one.torrent", &one, 1);
    wait_until("it is in flight", || house.part_bytes("Film.mkv") > 0);
    house.drop_stub("other.torrent", &other, 2);
    wait_until("it is shown why it waits", || {
        let stubs = served.get("/api/stubs");
        let why = stubs["stubs"][0]["error"].as_str().unwrap_or("").to_owned();
        why.contains("is the destination of download")
    });
    assert_eq!(house.rows().len(), 1);
    wait_until("both stubs are done", || house.names("watch").is_empty());
    house.wait_for_rows(&[("Film.mkv", "completed"), ("Film.mkv", "completed")]);
    house.assert_is("Film.mkv", last);
    served.stop();
}

#[test]
fn a_stub_that_is_taken_away_while_its_peer_is_away_is_let_go() {
    let peer = Peer::new();
    peer.away(true);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    let pending = || served.get("/api/stubs")["stubs"].as_array().map_or(0, Vec::len);
    wait_until("it is pending", || pending() == 1);
    std::fs::remove_file(house.path("watch/Film.torrent")).expect("removed");
    wait_until("it is let go", || pending() == 0);
    served.log.wait_for("the stub is gone");
    served.stop();
}

#[test]
fn a_download_that_is_called_off_or_removed_leaves_its_stub_in_failed() {
    let peer = Peer::new().honest();
    peer.film(1, 3_000_000);
    let film = peer.film(2, 3_000_000);
    peer.rate(500_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("1.torrent", &peer, 1);
    wait_until("it is under way", || house.part_bytes("Film 1.mkv") > 0);
    assert_eq!(served.ask("DELETE", "/api/downloads/1").0, 204);
    wait_until("its stub is out of the way", || !house.has_stub("1.torrent"));
    house.drop_stub("2.torrent", &peer, 2);
    wait_until("it is under way", || house.part_bytes("Film 2.mkv") > 0);
    assert_eq!(served.ask("POST", "/api/downloads/2/cancel").0, 200);
    wait_until("its stub is out of the way", || !house.has_stub("2.torrent"));
    house.wait_for_rows(&[("Film 2.mkv", "cancelled")]);
    for number in [1, 2] {
        let why = std::fs::read_to_string(house.path(&format!("watch/failed/{number}.txt")));
        assert!(why.expect("a reason").contains("by a user"));
    }
    // Taken up again by hand, without putting the stub back: it is done all the same.
    peer.rate(0);
    assert_eq!(served.ask("POST", "/api/downloads/2/retry").0, 200);
    house.wait_for_file("Film 2.mkv", film);
    wait_until("the failed stub is gone", || house.names("watch/failed") == ["1.torrent", "1.txt"]);
    served.stop();
}

#[test]
fn the_stub_of_a_retried_download_that_is_put_back_joins_it() {
    let peer = Peer::new().honest();
    let film = peer.film(1, 2_000_000);
    peer.rate(500_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("1.torrent", &peer, 1);
    wait_until("it is under way", || house.part_bytes("Film 1.mkv") > 0);
    assert_eq!(served.ask("POST", "/api/downloads/1/cancel").0, 200);
    let failed = house.path("watch/failed/1.torrent");
    wait_until("its stub is out of the way", || failed.exists());
    assert_eq!(served.ask("POST", "/api/downloads/1/retry").0, 200);
    rename(&failed, &house.path("watch/1.torrent"));
    house.wait_for_file("Film 1.mkv", film);
    wait_until("the stub is gone", || !house.has_stub("1.torrent"));
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    served.stop();
}

#[test]
fn a_redirect_to_where_nobody_may_go_fails_the_stub() {
    let peer = Peer::new();
    for (number, location) in [(1, "http://169.254.169.254/"), (2, "file:///etc/passwd")] {
        peer.film(number, 1000);
        peer.redirect(number, location);
    }
    let house = House::with(&[&peer]);
    let served = house.start();
    for number in [1, 2] {
        house.drop_stub(&format!("{number}.torrent"), &peer, number);
        let why = house.path(&format!("watch/failed/{number}.txt"));
        wait_until("it failed", || !house.has_stub(&format!("{number}.torrent")));
        let why = std::fs::read_to_string(why).expect("a reason");
        assert!(why.contains("was refused"), "{why}");
    }
    house.wait_for_rows(&[("Film 1.mkv", "failed"), ("Film 2.mkv", "failed")]);
    assert_eq!(house.names("completed"), Vec::<String>::new());
    served.stop();
}
