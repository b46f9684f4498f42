//! S46–S50, C01–C09: a server that is killed, and what the next one makes of it.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use crate::radarr::Radarr;
use serde_json::json;
use std::time::Duration;

// C01, C02, C03, C04, C05, C06, C07, C08, C09
#[test]
fn killed_at_random_moments_every_stub_ends_with_one_row_and_one_whole_file() {
    let rounds = std::env::var("REGRIP_KILL_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
    (0..rounds).for_each(|_: u32| stubs_of_a_server_that_is_killed_again_and_again());
}

fn stubs_of_a_server_that_is_killed_again_and_again() {
    const FILMS: u64 = 10;
    let (honest, today) = (Peer::new().honest(), Peer::new());
    let radarr = Radarr::new();
    let mut films = Vec::new();
    for number in 1..=FILMS {
        let peer = if number % 2 == 0 { &honest } else { &today };
        films.push((number, peer, peer.film(number, 400_000)));
    }
    honest.rate(1_000_000);
    today.rate(3_000_000);
    let mut house = House::with(&[&honest, &today]);
    house.config["downloads"]["maxConcurrentDownloads"] = 10.into();
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    for (number, peer, _) in &films {
        house.drop_stub(&format!("{number}.torrent"), peer, *number);
    }
    for _ in 0..20 {
        let served = house.begin();
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..900)));
        served.kill();
    }
    let served = house.start();
    wait_until("all stubs are done", || house.names("watch").is_empty());
    let mut wanted: Vec<_> =
        films.iter().map(|(number, _, _)| (format!("Film {number}.mkv"), "import_queued")).collect();
    wanted.sort();
    let wanted: Vec<_> = wanted.iter().map(|(name, status)| (name.as_str(), *status)).collect();
    house.wait_for_rows(&wanted);
    for (number, _, content) in films {
        house.assert_is(&format!("Film {number}.mkv"), content);
    }
    let names = house.names("completed");
    assert!(names.iter().all(|name| !name.ends_with(".part")), "{names:?}");
    served.stop();
}

// C02
#[test]
fn a_stub_of_a_download_that_fails_at_once_after_a_restart_makes_no_second_row() {
    let peer = Peer::new();
    peer.film(1, 2_000_000);
    let (house, served) = House::downloading(&peer);
    served.kill();
    // Everything is refused now, so the drive fails before the watch folder is looked at.
    peer.key("another one");
    let served = house.start();
    let failed = house.path("watch/failed/Film.torrent");
    wait_until("it failed", || failed.exists());
    house.wait_for_rows(&[("Film 1.mkv", "failed")]);
    let why = std::fs::read_to_string(house.path("watch/failed/Film.txt")).expect("a reason");
    assert!(why.contains("401"), "{why}");
    served.stop();
}

#[test]
fn a_download_whose_peer_is_no_longer_configured_says_so_and_keeps_its_part() {
    let peer = Peer::new();
    peer.film(1, 2_000_000);
    let (mut house, served) = House::downloading(&peer);
    served.kill();
    let asked = peer.asked().len();
    house.config["peers"] = json!([]);
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "failed")]);
    let row = &house.rows()[0];
    assert_eq!(row["error_code"], "CredentialsMissing");
    assert!(house.part_bytes("Film 1.mkv") > 0);
    assert_eq!(peer.asked().len(), asked, "nothing was asked without its key");
    served.stop();
}

#[test]
fn without_a_downloads_block_what_was_unfinished_fails_and_says_what_was_found() {
    let peer = Peer::new();
    peer.film(1, 2_000_000);
    peer.film(2, 2_000_000);
    peer.rate(500_000);
    let mut house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("1.torrent", &peer, 1);
    house.drop_stub("2.torrent", &peer, 2);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0 && house.part_bytes("Film 2.mkv") > 0);
    served.kill();
    std::fs::remove_file(house.path("completed/Film 2.mkv.part")).expect("removed");
    let kept = house.part_bytes("Film 1.mkv");
    let downloads = house.config["downloads"].take();
    house.config.as_object_mut().expect("an object").remove("downloads");
    let served = house.begin();
    served.log.wait_for("downloading is disabled");
    house.wait_for_rows(&[("Film 1.mkv", "failed"), ("Film 2.mkv", "failed")]);
    for row in house.rows() {
        let error = row["error"].as_str().expect("an error");
        let found = match row["filename"].as_str() {
            Some("Film 1.mkv") => format!("Film 1.mkv.part ({kept} bytes) is kept"),
            _ => "there is no partial data".to_owned(),
        };
        assert!(error.contains(&found), "{error}");
    }
    served.stop();
    // With the block again the stubs, which lie there still, are taken up.
    house.config["downloads"] = downloads;
    peer.rate(0);
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "completed"), ("Film 2.mkv", "completed")]);
    served.stop();
}

// C08
#[test]
fn a_stub_left_by_a_server_that_died_after_the_file_was_whole_is_removed_before_the_import_goes_on() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    let film = peer.film(1, 1000);
    radarr.refuse(&[503; 5]);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    served.log.wait_for("retrying the import");
    served.kill();
    house.drop_stub("Film.torrent", &peer, 1);
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    house.assert_is("Film 1.mkv", film);
    assert_eq!(peer.fetched(1), 1);
    let asked = peer.asked();
    let releases = asked.iter().filter(|line| *line == "/peer/items/1");
    assert_eq!(releases.count(), 1, "nobody asked about it again");
    served.stop();
}

#[test]
fn a_download_whose_process_died_before_it_noted_the_release_is_imported_all_the_same() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    let film = peer.film(1, 2_000_000);
    peer.rate(1_000_000);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
    served.kill();
    let ledger = rusqlite::Connection::open(house.path("data/state.db")).expect("opened");
    let forget = "UPDATE downloads SET stub_name = NULL, release_json = NULL";
    ledger.execute_batch(forget).expect("forgotten");
    drop(ledger);
    peer.rate(0);
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    house.assert_is("Film 1.mkv", film);
    assert_eq!(radarr.got().len(), 1);
    served.stop();
}

#[test]
fn a_film_that_two_peers_share_goes_on_from_the_other_one_with_its_own_key() {
    let [first, second, shorter, other] = [(); 4].map(|()| Peer::new().honest().described());
    let film = first.film(1, 2_000_000);
    second.film(1, 2_000_000);
    shorter.film(1, 1_999_999);
    other.other_film(1, 2_000_000);
    second.key("of the second");
    first.rate(1_000_000);
    let mut house = House::with(&[&first, &second, &shorter, &other]);
    house.config["peers"][1]["apiKey"] = serde_json::json!("of the second");
    let _served = house.start();
    house.drop_stub("Film.torrent", &first, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
    first.away(true);
    house.wait_for_file("Film 1.mkv", film);
    assert!(second.fetched(1) > 0, "{:?}", second.asked());
    assert_eq!((shorter.fetched(1), other.fetched(1)), (0, 0), "they have other files");
}
