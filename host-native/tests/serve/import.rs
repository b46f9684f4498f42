//! S44, S45: what happens to a download that is whole.

use crate::house::{House, stub, wait_until};
use crate::peer::Peer;
use crate::radarr::Radarr;
use serde_json::{Value, json};

/// The import state of the only row.
fn import_state(house: &House) -> String {
    let rows = house.rows();
    assert_eq!(rows.len(), 1);
    rows[0]["import_state"].as_str().unwrap_or("").to_owned()
}

// FS01
#[test]
fn a_stub_becomes_a_file_and_the_servers_of_its_category_are_told() {
    let (peer, radarr, sonarr) = (Peer::new(), Radarr::new(), Radarr::new());
    let film = peer.film(1, 3_000_000);
    let mut house = House::with(&[&peer]);
    let mut elsewhere = radarr.config("radarr", "Elsewhere");
    elsewhere["importPath"] = json!("/downloads");
    radarr.mount("/downloads", house.path("completed"));
    house.config["servers"] = json!([radarr.config("radarr", "Films"), elsewhere, sonarr.config("sonarr", "Series"),]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    wait_until("both are told", || radarr.got().len() == 2);
    assert!(!house.has_stub("Film.torrent"));
    let mut got = radarr.got();
    got.sort_by_key(|(_, key, _)| key.clone());
    let file = house.path("completed/Film 1.mkv");
    let command = |path: &str| json!({ "name": "DownloadedMoviesScan", "path": path });
    let target = "POST /base/api/v3/command".to_owned();
    assert_eq!(
        got,
        [
            (target.clone(), "key of Elsewhere".to_owned(), command("/downloads/Film 1.mkv")),
            (target, "key of Films".to_owned(), command(&file.display().to_string())),
        ]
    );
    assert_eq!(radarr.imported(), [file.clone(), file]);
    assert_eq!(sonarr.got(), Vec::<(String, String, Value)>::new());
    wait_until("both are noted", || import_state(&house) == "accepted by Films; accepted by Elsewhere");
    let rows = served.get("/api/downloads");
    assert_eq!(rows["downloads"][0]["stub_name"], "Film.torrent");
    let log = served.log.text();
    assert!(!log.contains("hush") && !log.contains("key of"), "{log}");
    served.stop();
}

#[test]
fn the_finished_file_is_imported_by_a_server_on_windows_and_through_a_linked_folder() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    peer.film(1, 1000);
    let mut house = House::with(&[&peer]);
    std::fs::create_dir(house.path("disk")).expect("made");
    std::fs::remove_dir(house.path("completed")).expect("removed");
    std::os::unix::fs::symlink("disk", house.path("completed")).expect("linked");
    let server = |name: &str, import_path: &str| {
        let mut server = radarr.config("radarr", name);
        server["importPath"] = json!(import_path);
        radarr.mount(import_path.trim_end_matches('\\'), house.path("disk"));
        server
    };
    house.config["servers"] = json!([server("Share", "\\\\nas\\films"), server("Drive", "D:\\films\\")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("both imported it", || radarr.imported().len() == 2);
    let mut paths: Vec<Value> = radarr.got().iter().map(|got| got.2["path"].clone()).collect();
    paths.sort_by_key(Value::to_string);
    assert_eq!(paths, ["D:\\films\\Film 1.mkv", "\\\\nas\\films\\Film 1.mkv"]);
    served.stop();
}

#[test]
fn series_go_to_sonarr_and_what_nobody_wants_stays_completed() {
    let (peer, radarr, sonarr) = (Peer::new(), Radarr::new(), Radarr::new());
    peer.item(1, "Show S01E01.mkv", 5000, 1000);
    peer.item(2, "Song.flac", 3000, 1000);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films"), sonarr.config("sonarr", "Series")]);
    let served = house.start();
    house.drop_stub("show.torrent", &peer, 1);
    house.drop_stub("song.torrent", &peer, 2);
    house.wait_for_rows(&[("Show S01E01.mkv", "import_queued"), ("Song.flac", "completed")]);
    wait_until("the stubs are gone", || house.names("watch").is_empty());
    assert_eq!(sonarr.got()[0].2["name"], "DownloadedEpisodesScan");
    assert!(radarr.got().is_empty());
    served.stop();
}

#[test]
fn an_import_of_an_earlier_download_never_removes_the_file_of_this_one() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    let films = [peer.film(1, 1000), peer.film(2, 2000)];
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    house.config["downloads"]["importPollIntervalMs"] = json!(1000);
    house.config["downloads"]["unlinkImportedFiles"] = json!(true);
    let [dropped, added] = ["Film 1.mkv", "Film 2.mkv"].map(|name| house.path("completed").join(name));
    let served = house.start();
    served.add_stub(&stub(&peer, 2), "");
    let torrents = served.get("/api/v2/torrents/info");
    let hash = torrents[0]["hash"].as_str().expect("it is listed").to_uppercase();
    for date in ["2020-01-01T00:00:00Z", "yesterday", "2999-01-01T00:00:00Z"] {
        radarr.note_import(date, None, &dropped);
        radarr.note_import(date, Some(&hash), &house.path("elsewhere.mkv"));
    }
    house.drop_stub("Film.torrent", &peer, 1);
    let waiting = [("Film 1.mkv", "import_queued"), ("Film 2.mkv", "import_queued")];
    house.wait_for_rows(&waiting);
    let not_imported = || {
        let asked = radarr.asked();
        wait_until("two more rounds", || radarr.asked() >= asked + 3);
        house.wait_for_rows(&waiting);
        house.assert_is("Film 1.mkv", films[0]);
        house.assert_is("Film 2.mkv", films[1]);
    };
    not_imported();
    served.stop();
    let served = house.start();
    not_imported();
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    radarr.note_import(&now, None, &dropped);
    radarr.note_import(&now, Some(&hash), &house.path("elsewhere.mkv"));
    house.wait_for_rows(&[("Film 1.mkv", "imported"), ("Film 2.mkv", "imported")]);
    wait_until("both are removed", || !dropped.exists() && !added.exists());
    served.stop();
}

#[test]
fn a_failing_import_fails_no_download_and_is_shown() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    peer.film(1, 1000);
    radarr.refuse(&[503, 500, 401]);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("it was refused", || radarr.got().len() == 3);
    let failed = "failed at Films: the server answered 401";
    wait_until("it is shown", || import_state(&house) == failed);
    house.wait_for_rows(&[("Film 1.mkv", "completed")]);
    assert!(!house.has_stub("Film.torrent"));
    assert_eq!(radarr.got().len(), 3, "a refusal for good is not repeated");
    served.stop();
}

#[test]
fn an_import_that_was_not_accepted_yet_goes_on_after_a_restart() {
    let (peer, radarr) = (Peer::new(), Radarr::new());
    peer.film(1, 1000);
    radarr.refuse(&[503; 5]);
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("a round is over", || radarr.got().len() == 5);
    served.log.wait_for("retrying the import");
    assert_eq!(import_state(&house), "pending at Films: the server answered 503");
    served.kill();
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    assert_eq!(import_state(&house), "accepted by Films");
    assert_eq!(peer.fetched(1), 1);
    served.stop();
}

#[test]
fn servers_of_any_name_are_known_again_after_a_restart() {
    const DONE: &str = "Films; pending at dawn: \"no\"";
    const DONE_TOO: &str = "it's\nin two lines: a";
    const LATE: &str = "4K; HDR: \"new\"\r\nand more";
    let (done, done_too, late, peer) = (Radarr::new(), Radarr::new(), Radarr::new(), Peer::new());
    peer.film(1, 1000);
    late.refuse(&[503; 5]);
    let server = |radarr: &Radarr, name: &str| {
        let mut server = radarr.config("radarr", "any");
        server["name"] = json!(name);
        server
    };
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([server(&done, DONE), server(&late, LATE), server(&done_too, DONE_TOO),]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("a round is over", || late.got().len() == 5);
    served.log.wait_for("retrying the import");
    let accepted = "accepted by Films; pending at dawn: \"no\"";
    let accepted_too = "accepted by it's in two lines: a";
    assert_eq!(
        import_state(&house),
        format!("{accepted}; pending at 4K; HDR: \"new\"  and more: the server answered 503; {accepted_too}")
    );
    served.kill();
    let served = house.start();
    let all = format!("{accepted}; accepted by 4K; HDR: \"new\"  and more; {accepted_too}");
    wait_until("all accepted it", || import_state(&house) == all);
    served.stop();
    // Not even at the next start.
    let served = house.start();
    house.wait_for_rows(&[("Film 1.mkv", "import_queued")]);
    served.stop();
    let got = [&done, &late, &done_too].map(|radarr| radarr.got().len());
    assert_eq!(got, [1, 6, 1], "nobody was told twice");
    let ledger = rusqlite::Connection::open(house.path("data/state.db")).expect("opened");
    let rows = "SELECT server, state, tries, error FROM imports ORDER BY place";
    let mut rows = ledger.prepare(rows).expect("a table");
    let rows = rows.query_map([], |row| {
        let (server, state, tries): (String, String, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((server, state, tries, row.get::<_, Option<String>>(3)?))
    });
    let row = |name: &str, tries| (name.to_owned(), "accepted".to_owned(), tries, None);
    let wanted = [row(DONE, 1), row(LATE, 6), row(DONE_TOO, 1)];
    let rows: Result<Vec<_>, _> = rows.expect("rows").collect();
    assert_eq!(rows.expect("rows"), wanted);
}

// FS02
#[test]
fn a_redirect_of_an_import_server_is_followed_on_its_origin_with_key_and_command() {
    for status in [301, 302, 303, 307, 308] {
        let (peer, radarr) = (Peer::new(), Radarr::new());
        let film = peer.film(1, 1000);
        radarr.redirect(status, "/radarr/api/v3/command");
        let mut house = House::with(&[&peer]);
        house.config["servers"] = json!([radarr.config("radarr", "Films")]);
        let served = house.start();
        house.drop_stub("Film.torrent", &peer, 1);
        house.wait_for_file("Film 1.mkv", film);
        wait_until("it is accepted", || import_state(&house) == "accepted by Films");
        assert_eq!(radarr.imported(), [house.path("completed/Film 1.mkv")]);
        let got = radarr.got();
        assert_eq!(got[1].0, "POST /radarr/api/v3/command", "{status}");
        assert_eq!((&got[0].1, &got[0].2), (&got[1].1, &got[1].2), "{status}");
        served.stop();
    }
}

#[test]
fn a_redirect_of_an_import_server_to_another_origin_is_named_and_the_key_stays() {
    let (peer, radarr, other) = (Peer::new(), Radarr::new(), Radarr::new());
    let film = peer.film(1, 1000);
    let there = other.config("radarr", "")["url"].as_str().unwrap_or_default().to_owned();
    radarr.redirect(307, &format!("{there}api/v3/command?apikey=secret"));
    let mut house = House::with(&[&peer]);
    house.config["servers"] = json!([radarr.config("radarr", "Films")]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    house.wait_for_file("Film 1.mkv", film);
    let failed = format!(
        "failed at Films: a redirect was refused: to {there}api/v3/command, another origin, to which the key is not sent"
    );
    wait_until("it failed", || import_state(&house) == failed);
    assert!(other.got().is_empty());
    served.stop();
}
