//! Trouble that goes away: folders, peers and databases that are gone for a while.

use crate::house::{House, rename, wait_until};
use crate::peer::Peer;
use crate::radarr::Radarr;
use std::os::unix::fs::PermissionsExt;

fn pending_error(served: &crate::house::Served) -> String {
    let stubs = served.get("/api/stubs");
    stubs["stubs"][0]["error"].as_str().unwrap_or("").to_owned()
}

// D12
#[test]
fn without_the_completed_folder_stubs_wait_and_go_on_when_it_is_back() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    std::fs::remove_dir(house.path("completed")).expect("removed");
    let served = house.start();
    served.log.wait_for("completed cannot be used");
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("it waits", || pending_error(&served).contains("completed"));
    assert!(!house.path("completed").exists(), "it is never made");
    std::fs::create_dir(house.path("completed")).expect("made");
    house.wait_for_file("Film 1.mkv", film);
    served.log.wait_for("over: the completed folder");
    assert_eq!(served.log.count("ERROR the completed folder"), 1);
    served.stop();
}

// D12
#[test]
fn a_completed_folder_that_goes_in_the_middle_of_a_download_fails_nothing_for_good() {
    let peer = Peer::new().honest();
    let film = peer.film(1, 1_500_000);
    peer.rate(500_000);
    peer.cut_after(300_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 100_000);
    rename(&house.path("completed"), &house.path("elsewhere"));
    wait_until("it is tried again", || served.log.count("retrying in") > 0);
    assert!(house.has_stub("Film.torrent"));
    assert!(!house.path("completed").exists());
    peer.cut_after(0);
    rename(&house.path("elsewhere"), &house.path("completed"));
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    served.stop();
}

#[test]
fn a_watch_folder_that_is_missing_and_made_later_is_watched() {
    let peer = Peer::new();
    let (one, two) = (peer.film(1, 1000), peer.film(2, 1000));
    let house = House::with(&[&peer]);
    std::fs::remove_dir(house.path("watch")).expect("removed");
    let served = house.start();
    served.log.wait_for("watch cannot be read");
    std::fs::create_dir(house.path("watch")).expect("made");
    house.drop_stub("1.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", one);
    // Another folder in its place is watched too.
    rename(&house.path("watch"), &house.path("old"));
    std::fs::create_dir(house.path("watch")).expect("made");
    house.drop_stub("2.torrent", &peer, 2);
    house.wait_for_file("Film 2.mkv", two);
    served.stop();
}

// FS03
#[test]
fn a_file_whose_stub_cannot_be_removed_is_imported_and_its_stub_is_no_new_work_after_a_restart() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    let film = peer.film(1, 2_000_000);
    peer.rate(1_000_000);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = serde_json::json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
    rename(&house.path("watch"), &house.path("aside"));
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    wait_until("the stub is listed", || pending_error(&served).contains("the stub cannot be removed"));
    let troubles = served.get("/api/troubles").to_string();
    assert!(troubles.contains("cannot remove stubs"), "{troubles}");
    let file = house.path("completed/Film 1.mkv");
    assert_eq!(radarr.imported(), std::slice::from_ref(&file));
    // As an import does.
    std::fs::remove_file(&file).expect("moved away");
    served.kill();
    let served = house.start();
    wait_until("the next process lists it too", || pending_error(&served).contains("the stub cannot be removed"));
    rename(&house.path("aside"), &house.path("watch"));
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    wait_until("it is not listed any more", || served.get("/api/stubs")["total"] == 0);
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    assert_eq!(peer.fetched(1), 1);
    // The same name is new work again.
    peer.rate(0);
    house.drop_stub("Film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    wait_until("that stub is gone", || !house.has_stub("Film.torrent"));
    served.stop();
}

#[test]
fn a_stub_that_could_not_be_read_at_first_is_taken_once_it_can_be() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    house.drop_stub("Film.torrent", &peer, 1);
    let stub = house.path("watch/Film.torrent");
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&stub, permissions).expect("changed");
    };
    allow(0o000);
    // Root may read everything, so the server runs as somebody else.
    let Some(served) = house.start_as_nobody() else {
        eprintln!("not root, or nobody may not run it: this cannot be shown here");
        return;
    };
    served.log.wait_for("it cannot be read");
    allow(0o644);
    house.wait_for_file("Film 1.mkv", film);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    assert_eq!(served.log.count("it cannot be read"), 1);
    served.stop();
}

#[test]
fn a_peer_that_is_away_keeps_its_stubs_pending_and_goes_on_when_it_is_back() {
    let (peer, other) = (Peer::new(), Peer::new());
    let (film, others) = (peer.film(1, 1000), other.film(2, 1000));
    peer.away(true);
    let house = House::with(&[&peer, &other]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    house.drop_stub("Other.torrent", &other, 2);
    house.wait_for_file("Film 2.mkv", others);
    wait_until("it is shown why", || {
        let stubs = served.get("/api/stubs");
        let stub = &stubs["stubs"][0];
        let why = stub["error"].as_str().unwrap_or("");
        why.contains("the peer cannot be reached") && stub["next_try_at"].is_string()
    });
    let peers = served.get("/api/peers").to_string();
    assert!(peers.contains("0.1.0") && !peers.contains("hush"), "{peers}");
    assert_eq!(house.rows().len(), 1);
    peer.away(false);
    house.wait_for_file("Film 1.mkv", film);
    served.stop();
}

// L01
#[test]
fn a_ledger_that_another_process_locks_for_a_while_loses_nothing() {
    let peer = Peer::new();
    let film = peer.film(1, 2_000_000);
    peer.rate(1_000_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
    let lock = rusqlite::Connection::open(house.path("data/state.db")).expect("opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    std::thread::sleep(std::time::Duration::from_secs(3));
    lock.execute_batch("ROLLBACK").expect("let go");
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    served.stop();
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

// D01
#[test]
fn a_full_disk_fails_nothing_for_good_and_downloads_go_on_when_there_is_room() {
    let peer = Peer::new().honest();
    let (large, small) = (peer.film(1, 3_000_000), peer.film(2, 500_000));
    let house = House::with(&[&peer]);
    let disk = house.path("completed");
    let mount = |options: &str| {
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk).output();
        mount.is_ok_and(|mount| mount.status.success())
    };
    if !mount("size=2m") {
        eprintln!("not root: a full disk cannot be shown here");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let served = house.start();
    house.drop_stub("large.torrent", &peer, 1);
    wait_until("it is shown", || pending_error(&served).contains("no space left"));
    house.wait_for_rows(&[("Film 1.mkv", "failed")]);
    assert!(house.has_stub("large.torrent"));
    // What fits is not held up.
    house.drop_stub("small.torrent", &peer, 2);
    house.wait_for_file("Film 2.mkv", small);
    let fetched = peer.fetched(1);
    // Its first try again has come and gone.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(peer.fetched(1), fetched, "without room nothing is asked");
    assert!(mount("remount,size=8m"));
    house.wait_for_file("Film 1.mkv", large);
    wait_until("the stub is gone", || house.names("watch").is_empty());
    served.stop();
}

// D12
#[test]
fn a_disk_that_is_not_mounted_any_more_gets_no_files_in_its_place() {
    let peer = Peer::new().honest();
    let film = peer.film(1, 3_000_000);
    let house = House::with(&[&peer]);
    let disk = house.path("completed");
    let run = |program: &str, arguments: &[&str]| {
        let ran = std::process::Command::new(program).args(arguments).arg(&disk).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    if !run("mount", &["-t", "tmpfs", "tmpfs"]) {
        eprintln!("not root: a disk that goes cannot be shown here");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let served = house.start();
    assert!(run("umount", &[]));
    house.drop_stub("film.torrent", &peer, 1);
    wait_until("it waits", || pending_error(&served).contains("mount it again"));
    assert_eq!(house.names("completed"), Vec::<String>::new());
    assert!(run("mount", &["-t", "tmpfs", "tmpfs"]));
    house.wait_for_file("Film 1.mkv", film);
    served.stop();
}
