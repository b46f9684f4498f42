//! `regrip serve` whose completed folder is a prefix in a bucket.

mod kill;

use crate::peer::Peer;
use crate::postgres::Schema;
use crate::storage::{Asked, Storage};
use crate::support::Ran;
use regrip::peers::id_of;
use regrip_core::Stub;
use regrip_faultd::{Content, FileScript, Script, Server, Version};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PART: u64 = 5 << 20;

struct House {
    folder: TempDir,
    storage: Storage,
    source: Server,
    /// The database of several workers.
    schema: Option<Schema>,
}

/// A running server.
struct Serving {
    child: Child,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl House {
    fn serving(script: Script) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        House { folder, storage: Storage::new(), source: Server::start(script).expect("a free port"), schema: None }
    }

    /// The configuration, with these values in place of the usual ones.
    fn config(&self, completed: &str, s3: Value) -> Value {
        json!({
            "downloads": { "completedPath": completed, "retryBaseDelayMs": 1, "maxDownloadAttempts": 2 },
            "regrip": { "listen": "127.0.0.1:0", "dataDir": "data", "s3": s3 },
        })
    }

    fn prefix(&self) -> String {
        format!("s3://{}/library", self.storage.bucket)
    }

    fn s3(&self) -> Value {
        json!({ "endpoint": self.storage.endpoint(), "region": "eu-west-1", "accessKey": "key", "secretKey": "hunter2" })
    }

    fn command(&self, config: &Value) -> Command {
        let file = self.folder.path().join("config.jsonc");
        std::fs::write(&file, config.to_string()).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
        command.args(["serve", "--config"]).arg(file).env_remove("HOME").env("NO_PROXY", "*");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Serving {
        self.start_as("data")
    }

    /// Starts a server with this data folder.
    fn start_as(&self, data: &str) -> Serving {
        let mut config = self.config(&self.prefix(), self.s3());
        config["regrip"]["dataDir"] = data.into();
        self.start_with(config)
    }

    fn start_with(&self, mut config: Value) -> Serving {
        if let Some(schema) = &self.schema {
            config["regrip"]["ledger"] = json!({ "postgres": schema.url(), "leaseMs": 2000 });
        }
        let mut child = self.command(&config).spawn().expect("regrip starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address =
            log.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once("http://")?.1.to_owned()));
        let address = address.expect("it listens");
        // What is logged from now on must not fill the pipe.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Serving { child, address }
    }

    fn object(&self, name: &str, content: Content) {
        let object = self.storage.object(&format!("library/{name}")).expect("the object is there");
        assert!(object == content.bytes(0..content.size), "{name} differs from its source");
    }
}

impl Serving {
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, ("application/json", &body))
    }

    fn send(&self, method: &str, path: &str, (kind, body): (&str, &str)) -> (u16, Value) {
        let mut connection = TcpStream::connect(&self.address).expect("connected");
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        connection.write_all((head + body).as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("text");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let json = answer.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body).unwrap_or_default());
        (status, json.unwrap_or_default())
    }

    fn add(&self, url: &str, filename: &str) -> (u16, Value) {
        self.ask("POST", "/api/downloads", &json!({ "url": url, "filename": filename }))
    }

    /// Waits for a status of a download.
    fn wait(&self, id: u64, status: &str) -> Value {
        for _ in 0..6_000 {
            let (_, download) = self.ask("GET", &format!("/api/downloads/{id}"), &Value::Null);
            if download["status"] == status {
                return download;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not {status} within a minute");
    }
}

fn script(size: u64) -> Script {
    Script::one("/film", FileScript::honest(Version::new(1, size).etag("\"v1\""))).bytes_per_second(20_000_000)
}

#[test]
fn files_go_below_the_prefix_and_nowhere_else() {
    let house = House::serving(script(PART + 1));
    let server = house.start();
    let (status, added) = server.add(&house.source.url("/film"), "film.bin");
    assert_eq!(status, 201, "{added}");
    let download = server.wait(1, "completed");
    assert_eq!(download["dest_path"], format!("{}/film.bin", house.prefix()));
    assert_eq!(download["downloaded_bytes"], PART + 1);
    house.object("film.bin", Content::new(1, PART + 1));
    for name in ["../film", "a/b", "..", ""] {
        let (status, refused) = server.add(&house.source.url("/film"), name);
        assert_eq!(status, 400, "{name}: {refused}");
    }
    assert_eq!(house.storage.uploads(), 0);
}

#[test]
fn a_storage_that_accepts_connections_and_does_not_answer_keeps_no_server_from_ending() {
    let house = House::serving(script(1));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut s3 = house.s3();
    s3["endpoint"] = format!("http://{}", silent.local_addr().expect("an address")).into();
    let mut config = house.config(&house.prefix(), s3);
    config["downloads"]["maxDownloadAttempts"] = 2.into();
    let waits = house.command(&config).spawn().expect("regrip starts");
    let _held = silent.accept().expect("it asks");
    config["regrip"]["dataDir"] = "another".into();
    let mut ends = house.command(&config).spawn().expect("regrip starts");
    let _held = silent.accept().expect("it asks");
    let sent = Command::new("kill").args(["-s", "TERM", &ends.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(ends.wait().expect("it ends").code(), Some(0));
    let waited = Ran::of(waits.wait_with_output().expect("it ends"));
    assert_eq!(waited.code, Some(3), "{waited:?}");
    let says = format!("cannot use the bucket {}", house.storage.bucket);
    assert!(waited.err.contains(&says) && waited.err.contains("within 30 s"), "{waited:?}");
}

#[test]
fn a_killed_server_goes_on_from_the_parts_that_the_storage_has() {
    let size = 6 * PART;
    let house = House::serving(script(size));
    let mut server = house.start();
    server.add(&house.source.url("/film"), "film.bin");
    house.storage.wait(|log| log.iter().filter(|asked| asked.is("PUT", "partNumber=")).count() > 2);
    server.child.kill().expect("killed");
    server.child.wait().expect("ended");
    let server = house.start();
    let download = server.wait(1, "completed");
    assert_eq!(download["restarts"], 0, "{download}");
    house.object("film.bin", Content::new(1, size));
    let from = house.source.log()[1].range.clone().expect("a range");
    let from: u64 = from.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a number");
    assert!(from >= 2 * PART && from.is_multiple_of(PART), "{from}");
    assert_eq!(house.storage.uploads(), 0);
}

#[test]
fn a_deleted_download_aborts_its_upload() {
    let house = House::serving(script(6 * PART));
    let server = house.start();
    server.add(&house.source.url("/film"), "film.bin");
    house.storage.wait(|log| log.iter().any(|asked| asked.is("PUT", "partNumber=")));
    let (status, _) = server.ask("DELETE", "/api/downloads/1", &Value::Null);
    assert_eq!((status, house.storage.uploads()), (204, 0));
}

#[test]
fn a_storage_that_fails_for_a_while_is_trouble_of_this_machine_and_no_end() {
    let size = 2 * PART;
    let house = House::serving(script(size));
    let server = house.start();
    let mut failing = 3;
    house.storage.rule(move |asked| match asked.is("PUT", "partNumber=2") && failing > 0 {
        true => {
            failing -= 1;
            crate::storage::Act::Answer(503, crate::storage::error("SlowDown"))
        }
        false => crate::storage::Act::Pass,
    });
    server.add(&house.source.url("/film"), "film.bin");
    server.wait(1, "completed");
    house.object("film.bin", Content::new(1, size));
}

#[test]
fn adding_is_refused_and_a_cancel_is_carried_out_while_the_storage_hangs() {
    let house = House::serving(script(6 * PART));
    let server = house.start();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    let (hangs, hanging) = std::sync::mpsc::channel();
    let mut is_hanging = false;
    house.storage.rule(move |asked| {
        if asked.is("PUT", "partNumber=2") {
            let _ = hangs.send(());
            is_hanging = true;
        }
        if !is_hanging {
            return crate::storage::Act::Pass;
        }
        let released = std::sync::Arc::clone(&released);
        crate::storage::Act::After(Box::new(move || {
            let _ = released.lock().map(|released| released.recv()); // until the sender is gone
        }))
    });
    server.add(&house.source.url("/film"), "film.bin");
    hanging.recv().expect("it hangs");
    let (status, refused) = server.add(&house.source.url("/film"), "other.bin");
    assert_eq!((status, &refused["error"]["code"]), (503, &"StorageBusy".into()), "{refused}");
    let (status, cancelled) = server.ask("POST", "/api/downloads/1/cancel", &json!({}));
    assert_eq!((status, &cancelled["status"]), (200, &"cancelled".into()), "{cancelled}");
    drop(release);
    house.storage.rule(|_| crate::storage::Act::Pass);
    // What was refused is done now.
    server.wait(2, "completed");
    server.wait(1, "cancelled");
}

#[test]
fn what_is_wrong_with_the_storage_ends_the_start() {
    let house = House::serving(script(1));
    let table = [
        (house.prefix(), Value::Null, 2, "regrip.s3"),
        (house.prefix(), json!({ "accessKey": "key", "secretKey": "hunter2" }), 2, "regrip.s3.region"),
        (
            house.prefix(),
            json!({ "endpoint": "ftp://x", "accessKey": "key", "secretKey": "hunter2" }),
            2,
            "regrip.s3.endpoint",
        ),
        (
            house.prefix(),
            json!({ "endpoint": house.storage.endpoint(), "secretKey": "hunter2" }),
            2,
            "regrip.s3.accessKey",
        ),
        ("s3://x/../y".to_owned(), house.s3(), 2, "completedPath"),
        ("s3://no-such-bucket/library".to_owned(), house.s3(), 3, "NoSuchBucket"),
    ];
    for (completed, s3, code, text) in table {
        let mut config = house.config(&completed, s3.clone());
        if s3.is_null() {
            config["regrip"].as_object_mut().expect("an object").remove("s3");
        }
        let ran = Ran::of(house.command(&config).output().expect("regrip runs"));
        assert_eq!(ran.code, Some(code), "{completed} {ran:?}");
        assert!(ran.err.contains(text) && !ran.err.contains("hunter2"), "{completed} {ran:?}");
    }
}

#[test]
fn the_configuration_of_the_example_is_read_without_a_warning() {
    let text = include_str!("../../../examples/fleet/config.jsonc");
    let variable = |name: &str| match name {
        "REGRIP_DATABASE" => Some("postgres://regrip:secret@db.example/regrip".to_owned()),
        name => name.starts_with("REGRIP_").then(|| "a-secret-of-enough-length".to_owned()),
    };
    let loaded = regrip::config::parse(text, "/etc/regrip".as_ref(), &variable).expect("a configuration");
    let unknown = |problem: &&regrip::config::Problem| problem.key != "regrip.ledger";
    assert_eq!(loaded.warnings.iter().filter(unknown).count(), 0, "{:?}", loaded.warnings);
    assert!(loaded.config.server.s3.is_some());
    assert_eq!(loaded.config.downloads.map(|downloads| downloads.completed), Some("s3://models/library".into()));
}

#[test]
fn an_object_that_is_there_is_seen_before_a_batch_is_added() {
    let house = House::serving(script(1));
    assert_eq!(house.storage.ask("PUT", "/library/film.bin", b"another").0, 200);
    let mut config = house.config(&house.prefix(), house.s3());
    config["downloads"]["onExists"] = "fail".into();
    let server = house.start_with(config);
    let downloads = json!({ "downloads": [{ "url": house.source.url("/film"), "filename": "film.bin" }] });
    let (_, result) = server.ask("POST", "/api/batch", &downloads);
    assert_eq!((&result["added"], &result["refused"]), (&json!(0), &json!(1)), "{result}");
}

#[test]
fn a_torrent_that_is_deleted_with_its_files_takes_its_object_along_unless_that_was_replaced() {
    for replaced in [false, true] {
        let house = House::serving(script(1));
        let peer = Peer::new();
        peer.film(1, 1000);
        let mut config = house.config(&house.prefix(), house.s3());
        config["peers"] = json!([{ "name": "Peer", "url": peer.url(), "apiKey": crate::peer::KEY }]);
        let server = house.start_with(config);
        let stub = Stub::new(id_of(&peer.url()), "1", "A film", 9).expect("it can be one").write();
        let stub = String::from_utf8(stub).expect("text");
        let part = "--b\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\r\n";
        let form = ("multipart/form-data; boundary=b", &*format!("{part}{stub}\r\n--b--\r\n"));
        assert_eq!(server.send("POST", "/api/v2/torrents/add", form).0, 200);
        let key = "library/Film 1.mkv";
        let at = "/library/Film%201.mkv";
        house.storage.wait(|log| log.iter().any(|asked| asked.is("HEAD", at)) && log.iter().any(Asked::is_complete));
        server.wait(1, "completed");
        if replaced {
            assert_eq!(house.storage.ask("PUT", at, b"another").0, 200);
        }
        let delete = ("application/x-www-form-urlencoded", "hashes=all&deleteFiles=true");
        assert_eq!(server.send("POST", "/api/v2/torrents/delete", delete).0, 200);
        assert_eq!(house.storage.object(&key.replace(' ', "%20")).is_some(), replaced);
    }
}

/// Without a database it is skipped.
fn with_a_database(script: Script) -> Option<House> {
    if std::env::var_os("REGRIP_TEST_POSTGRES").is_none() {
        eprintln!("SKIPPED: no database; run `tests/fleet/run tests/fleet/s3`");
        return None;
    }
    Some(House { schema: Some(Schema::new()), ..House::serving(script) })
}

#[test]
fn a_complete_object_is_known_by_the_storages_clock_and_not_by_the_workers() {
    let Some(house) = with_a_database(script(PART + 1)) else { return };
    let schema = house.schema.as_ref().expect("a database");
    let server = house.start();
    let add = || server.add(&house.source.url("/film"), "film.bin");
    add();
    server.wait(1, "completed");
    // As if the clock of the worker were slow.
    schema.execute("UPDATE downloads SET completed_at = completed_at - interval '10 minutes'");
    let (status, known) = add();
    assert_eq!((status, &known["id"], &known["status"]), (200, &json!(1), &json!("completed")), "{known}");
    assert_eq!(house.source.log().len(), 1);
    // As if it were fast: an object that another program put there later is not taken for it.
    schema.execute("UPDATE downloads SET completed_at = completed_at + interval '20 minutes'");
    std::thread::sleep(Duration::from_millis(1100)); // the storage's times are whole seconds
    let other = vec![0; usize::try_from(PART + 1).expect("small")];
    assert_eq!(house.storage.ask("PUT", "/library/film.bin", &other).0, 200);
    let (status, refused) = add();
    assert_ne!(status, 200, "{refused}");
}

/// Two workers on one database, of which the first drives a slow download; `None` without a database.
fn two_workers(size: u64) -> Option<(House, Serving, Serving)> {
    let house = with_a_database(script(size).bytes_per_second(8_000_000))?;
    let first = house.start_as("one");
    let (status, added) = first.add(&house.source.url("/film"), "film.bin");
    assert_eq!(status, 201, "{added}");
    house.storage.wait(|log| log.iter().filter(|asked| asked.is("PUT", "partNumber=")).count() > 1);
    let second = house.start_as("two");
    Some((house, first, second))
}

fn signal(server: &Serving, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &server.child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
}

#[test]
fn another_worker_goes_on_from_the_parts_after_a_kill() {
    let size = 8 * PART;
    let Some((house, mut first, second)) = two_workers(size) else { return };
    first.child.kill().expect("killed");
    let download = second.wait(1, "completed");
    assert_eq!(download["restarts"], 0, "{download}");
    house.object("film.bin", Content::new(1, size));
    let ranges: Vec<_> = house.source.log().into_iter().map(|entry| entry.range).collect();
    assert!(matches!(&ranges[..], [None, Some(from)] if from != "bytes=0-"), "{ranges:?}");
    assert_eq!(house.storage.uploads(), 0);
}

#[test]
fn a_worker_that_was_stopped_for_longer_than_its_lease_uploads_nothing_that_counts() {
    let size = 8 * PART;
    let Some((house, first, second)) = two_workers(size) else { return };
    signal(&first, "STOP");
    let schema = house.schema.as_ref().expect("a database");
    let owner = || schema.execute("SELECT coalesce(owner, '') FROM downloads");
    let before = owner();
    for _ in 0..6_000 {
        if owner() != before {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // It wakes up while the other one is in the middle of the file.
    signal(&first, "CONT");
    second.wait(1, "completed");
    house.object("film.bin", Content::new(1, size));
    assert_eq!(house.storage.uploads(), 0);
    assert_eq!(schema.execute("SELECT count(*) FROM uploads"), "0");
}

#[test]
fn a_worker_that_is_cut_off_from_the_storage_fails_nothing_and_waits_for_it() {
    let size = 4 * PART;
    let Some((house, first, second)) = two_workers(size) else { return };
    let down = |asked: &Asked| match asked.method.as_str() {
        "HEAD" => crate::storage::Act::Answer(503, String::new()),
        _ => crate::storage::Act::Answer(503, crate::storage::error("SlowDown")),
    };
    house.storage.rule(down);
    let schema = house.schema.as_ref().expect("a database");
    let ready = |server: &Serving| server.ask("GET", "/ready", &Value::Null);
    let waits = |server: &Serving| {
        (0..6_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            ready(server) == (503, json!({ "status": "storage does not answer" }))
        })
    };
    assert!(waits(&first), "{:?}", ready(&first));
    // The other one takes it up, and finds the same.
    assert!(waits(&second), "{:?}", ready(&second));
    // Nobody has it, and it has not ended.
    let status = schema.execute("SELECT status || coalesce(owner, '') FROM downloads");
    assert!(["queued", "committing"].contains(&status.as_str()), "{status}");
    let listed = || first.ask("GET", "/api/workers", &Value::Null).1.to_string();
    let is_listed = (0..6_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        listed().matches("the storage answered 503").count() == 2
    });
    assert!(is_listed, "{}", listed());
    house.storage.rule(|_| crate::storage::Act::Pass);
    first.wait(1, "completed");
    house.object("film.bin", Content::new(1, size));
    assert_eq!(house.storage.uploads(), 0);
    assert_eq!(ready(&first).0, 200);
}
