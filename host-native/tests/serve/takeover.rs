//! `regrip migrate`: what jack has not finished goes on under regrip.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use regrip::peers::id_of;
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use rusqlite::{Connection, params};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The schema of jack's database, as its eleven migrations leave it.
const SCHEMA: &str = "
    CREATE TABLE downloads (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, torrent_filename text NOT NULL, peer_id text NOT NULL,
        peer_name text NOT NULL, item_id text NOT NULL, filename text NOT NULL, dest_path text NOT NULL,
        part_path text NOT NULL, release_size integer NOT NULL, release_json text NOT NULL, expected_bytes integer,
        expected_bytes_source text, expected_bytes_mismatch integer DEFAULT false NOT NULL,
        downloaded_bytes integer DEFAULT 0 NOT NULL, attempts integer DEFAULT 0 NOT NULL, status text NOT NULL,
        started_at text NOT NULL, updated_at text NOT NULL, completed_at text, error text, qb_category text,
        qb_source_server text, import_mode text, import_target text, source_server_id text,
        manual_import_command_id integer, last_operation text DEFAULT 'transfer' NOT NULL,
        operation_failed integer DEFAULT false NOT NULL);
    CREATE TABLE api_keys (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, key_hash text NOT NULL, name text,
        description text, expires_at text, created_at text NOT NULL, updated_at text NOT NULL);
    CREATE TABLE __drizzle_migrations (id INTEGER PRIMARY KEY, hash text NOT NULL, created_at numeric);";

/// The first of these migrations.
const FIRST_SCHEMA: &str = "
    CREATE TABLE downloads (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, torrent_filename text NOT NULL, peer_id text NOT NULL,
        peer_name text NOT NULL, item_id text NOT NULL, filename text NOT NULL, dest_path text NOT NULL,
        part_path text NOT NULL, release_size integer NOT NULL, release_json text NOT NULL, expected_bytes integer,
        expected_bytes_source text, expected_bytes_mismatch integer DEFAULT false NOT NULL,
        downloaded_bytes integer DEFAULT 0 NOT NULL, status text NOT NULL, started_at text NOT NULL,
        updated_at text NOT NULL, completed_at text, error text);";

/// A key that jack issued.
const JACKS_KEY: &str = "jack_0123";

fn database(house: &House, schema: &str, migrations: u32) -> Connection {
    std::fs::create_dir_all(house.path("jack")).unwrap();
    let database = Connection::open(house.path("jack/database.sqlite")).unwrap();
    database.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    database.execute_batch(schema).unwrap();
    for number in 0..migrations {
        let insert = "INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?1, ?1)";
        database.execute(insert, [number]).unwrap();
    }
    database
}

/// Adds a download of a peer's film, as jack would have it.
fn add(database: &Connection, house: &House, peer: &Peer, number: u64, status: &str, size: u32) {
    let to = house.path("completed").join(format!("Film {number}.mkv"));
    let release = json!({
        "id": number.to_string(), "title": format!("Film.{number}"), "filename": format!("Film {number}.mkv"),
        "category": 2000, "size": size,
    });
    let insert = "INSERT INTO downloads (torrent_filename, peer_id, peer_name, item_id, filename, dest_path, part_path,
            release_size, release_json, status, started_at, updated_at, error)
        VALUES (?1, ?2, 'Peer', ?3, ?4, ?5, ?6, ?7, ?8, ?9, '2026-11-01T10:00:00.123Z', '2026-11-01T10:00:00.123Z', 'why')";
    let to = to.display().to_string();
    let params = params![
        format!("{number}.torrent"),
        id_of(&peer.url()).as_str().to_owned(),
        number.to_string(),
        format!("Film {number}.mkv"),
        to,
        format!("{to}.part"),
        size,
        release.to_string(),
        status,
    ];
    database.execute(insert, params).unwrap();
}

fn migrate(house: &House, database: &str) -> Output {
    house.write_config();
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.current_dir(house.path(".")).args(["migrate", "--from", "config.jsonc", database]);
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every file in a folder, with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut contents: Vec<_> = files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect();
    contents.sort();
    contents
}

#[test]
fn unfinished_downloads_go_on_from_their_parts_and_the_source_stays_as_it_is() {
    let peer = Peer::new().honest();
    let films: Vec<_> = (1..=4).map(|number| peer.film(number, 400_000)).collect();
    let mut house = House::with(&[&peer]);
    house.config["jack"] = json!({ "internalUrl": "http://jack:5225", "listen": "127.0.0.1:0", "dataDir": "data" });
    house.config.as_object_mut().unwrap().remove("regrip");
    house.config["servers"] = json!([{ "type": "radarr", "url": "http://127.0.0.1:1", "source": false }]);
    let completed = house.path("completed");
    std::fs::write(completed.join("Film 1.mkv.part"), films[0].bytes(0..300_000)).unwrap();
    std::fs::write(completed.join("Film 2.mkv.part"), films[1].bytes(0..100)).unwrap();
    std::fs::write(completed.join("Film 3.mkv"), films[2].bytes(0..400_000)).unwrap();
    let database = database(&house, SCHEMA, 11);
    add(&database, &house, &peer, 1, "downloading", 400_000);
    add(&database, &house, &peer, 2, "failed", 400_000);
    add(&database, &house, &peer, 3, "import_queued", 400_000);
    add(&database, &house, &peer, 4, "imported", 400_000);
    let by_client = "UPDATE downloads SET qb_category = 'jack-films', qb_source_server = ?1 WHERE id IN (1, 3)";
    database.execute(by_client, [id_of("http://127.0.0.1:1").as_str()]).unwrap();
    let hash = Hasher::of(Algorithm::Sha256, JACKS_KEY.as_bytes()).hex;
    let key = "INSERT INTO api_keys (key_hash, name, created_at, updated_at) VALUES (?1, 'Anna', ?2, ?2)";
    database.execute(key, params![hash, "2026-11-01T10:00:00.123Z"]).unwrap();

    let refused = migrate(&house, "jack/database.sqlite");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("has it open: stop jack first"), "{}", text(&refused));
    // Killed, it leaves its log beside the database.
    let (file, log) = (house.path("jack/database.sqlite"), house.path("jack/database.sqlite-wal"));
    let killed = [std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap()];
    drop(database);
    std::fs::write(&file, &killed[0]).unwrap();
    std::fs::write(&log, &killed[1]).unwrap();

    let before = contents(&house.path("jack"));
    let done = migrate(&house, "jack/database.sqlite");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("took over 3 of 3 unfinished downloads and 1 of 1 key"), "{}", text(&done));
    let again = migrate(&house, "jack/database.sqlite");
    assert!(text(&again).contains("took over 0 of 3 unfinished downloads and 0 of 1 key"), "{}", text(&again));
    assert!(contents(&house.path("jack")) == before, "the source changed");
    let wanted = [("Film 1.mkv", "queued"), ("Film 2.mkv", "failed"), ("Film 3.mkv", "completed")]
        .map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(house.statuses(), wanted);

    let served = house.start();
    house.wait_for_file("Film 1.mkv", films[0]);
    let asked = peer.asked();
    assert!(asked.iter().any(|asked| asked.contains("bytes=") && !asked.contains("bytes=0-")), "{asked:?}");
    // Radarr finds what it had added, by the hash that it remembers.
    let (_, torrents) = served.ask("GET", "/api/v2/torrents/info?category=jack-films");
    let torrents: serde_json::Value = serde_json::from_str(&torrents).unwrap();
    wait_until("both are complete", || {
        let (_, torrents) = served.ask("GET", "/api/v2/torrents/info?category=jack-films");
        torrents.matches("\"stoppedUP\"").count() == 2
    });
    let info = |title: &str| {
        let mut info = format!("d6:lengthi400000e4:name{}:{title}12:piece lengthi262144e6:pieces20:", title.len());
        info.push_str(&"\0".repeat(20));
        info.push('e');
        Hasher::of(Algorithm::Sha1, info.as_bytes()).hex
    };
    let mut hashes: Vec<_> = torrents.as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
    hashes.sort_unstable();
    let mut wanted = [info("Film.1"), info("Film.3")];
    wanted.sort();
    assert_eq!(hashes, wanted);
    // The failed one is still there to be retried, from its part.
    let failed = house.rows().into_iter().find(|row| row["filename"] == "Film 2.mkv").unwrap();
    let (status, answer) = served.post(&format!("/api/downloads/{}/retry", failed["id"]), "", "");
    assert_eq!(status, 200, "{answer}");
    house.wait_for_file("Film 2.mkv", films[1]);
    served.stop();
}

#[test]
fn a_database_of_the_first_schema_is_read_and_what_cannot_go_on_is_named() {
    let (peer, stranger) = (Peer::new(), Peer::new());
    let house = House::with(&[&peer]);
    let database = database(&house, FIRST_SCHEMA, 0);
    add(&database, &house, &peer, 1, "downloading", 10);
    add(&database, &house, &stranger, 2, "downloading", 10);
    add(&database, &house, &peer, 3, "import_queued", 10);
    add(&database, &house, &peer, 4, "failed", 10);
    add(&database, &house, &peer, 5, "completed", 10);
    add(&database, &house, &peer, 6, "downloading", 10);
    database.execute("UPDATE downloads SET dest_path = '/nowhere/here/f.mkv' WHERE item_id = '6'", []).unwrap();
    drop(database);
    let done = migrate(&house, "jack/database.sqlite");
    let said = text(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("took over 1 of 1 unfinished download"), "{said}");
    let stranger = id_of(&stranger.url());
    assert!(said.contains(&format!("its peer \"Peer\" ({stranger}) is not in the configuration")), "{said}");
    assert!(said.contains("it is complete, but its file is gone") && said.contains("/nowhere/here"), "{said}");
    assert_eq!(house.statuses(), [("Film 1.mkv".to_owned(), "queued".to_owned())]);
}

// L04, L05
#[test]
fn a_database_that_is_none_newer_or_damaged_is_refused_and_nothing_is_written() {
    let peer = Peer::new();
    let house = House::with(&[&peer]);
    let newer = database(&house, SCHEMA, 12);
    add(&newer, &house, &peer, 1, "downloading", 10);
    drop(newer);
    std::fs::write(house.path("text"), "this is no database, whatever its name says").unwrap();
    Connection::open(house.path("other")).unwrap().execute_batch("CREATE TABLE downloads (id, url)").unwrap();
    std::fs::write(house.path("empty"), "").unwrap();
    let odd = Connection::open(house.path("odd")).unwrap();
    odd.execute_batch(SCHEMA).unwrap();
    add(&odd, &house, &peer, 1, "downloading", 10);
    add(&odd, &house, &peer, 2, "downloading", 10);
    odd.execute("UPDATE downloads SET started_at = 'yesterday' WHERE item_id = '2'", []).unwrap();
    drop(odd);
    let table = [
        ("jack/database.sqlite", "a newer version of jack made it: it has schema 12"),
        ("text", "it is not a database of jack: file is not a database"),
        ("other", "it is not a database of jack: its table downloads has no column torrent_filename"),
        ("empty", "it is not a database of jack: it has no table downloads"),
        ("missing", "No such file"),
        ("jack", "it is not a file"),
        ("odd", "its table downloads has a row that makes no sense"),
    ];
    for (name, why) in table {
        let refused = migrate(&house, name);
        assert_eq!(refused.status.code(), Some(3), "{name}: {}", text(&refused));
        assert!(text(&refused).contains(why), "{name}: {}", text(&refused));
    }
    assert!(!house.path("data/state.db").exists());
    let locked = database(&house, "", 0);
    locked.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let refused = migrate(&house, "jack/database.sqlite");
    assert!(text(&refused).contains("has it open: stop jack first"), "{}", text(&refused));
    drop(locked);
    let served = house.start();
    let refused = migrate(&house, "jack/database.sqlite");
    assert!(text(&refused).contains("in use by another `regrip serve`"), "{}", text(&refused));
    served.stop();
}
