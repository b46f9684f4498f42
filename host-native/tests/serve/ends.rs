//! C11, and what a second server meets.

use crate::house::{House, wait_until};
use crate::peer::Peer;

// C11
#[test]
fn sigterm_ends_it_with_parts_that_the_next_start_goes_on_from() {
    let peer = Peer::new().honest();
    let film = peer.film(1, 4_000_000);
    peer.rate(1_000_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 500_000);
    served.stop();
    house.wait_for_rows(&[("Film 1.mkv", "queued")]);
    let kept = house.part_bytes("Film 1.mkv");
    assert!(kept > 500_000 && house.has_stub("Film.torrent"));
    // Slow enough that the watch folder is looked at meanwhile.
    peer.rate(1_500_000);
    let served = house.start();
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    let range = format!("/peer/items/1/file bytes={kept}-");
    assert_eq!(peer.asked().last(), Some(&range));
    // The release was asked for once: the second server knew the stub by its row.
    let asked = peer.asked();
    let releases = asked.iter().filter(|line| *line == "/peer/items/1");
    assert_eq!(releases.count(), 1);
    served.stop();
}

// C10
#[test]
fn a_second_server_on_the_same_data_folder_is_refused_and_changes_nothing() {
    let peer = Peer::new();
    let house = House::with(&[&peer]);
    let served = house.start();
    let mut second = house.begin();
    assert_eq!(second.ended().code(), Some(3));
    let told = second.log.text();
    assert!(told.contains(&house.path("data").display().to_string()) && told.contains("process"), "{told}");
    assert!(!told.contains("listening"), "{told}");
    drop(second);
    let film = peer.film(1, 1000);
    house.drop_stub("Film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    served.stop();
    house.start().stop();
}
