//! `list`, `show`, `retry`, `cancel`, `remove` and `add` on a running server, found by `--server` or `--config`.

use crate::support::{Bench, Ran};
use regrip_faultd::faults::{Stall, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "the-key-of-the-server";
const SIZE: u64 = 300_000;

fn film() -> Version {
    Version::new(1, SIZE).etag("\"v1\"")
}

/// A source with a film that stalls at first, one that is served as it should be, and one that is not there.
fn source() -> Script {
    Script::one("/film.mkv", FileScript::honest(film()).answer([Stall::after(100_000)]))
        .file("/other.mkv", FileScript::honest(film()))
        .file("/gone.mkv", FileScript::honest(film()).answer([Status::code(404)]))
}

/// `regrip serve` in the bench's folder. Dropping it kills it.
struct Serve {
    child: Child,
    url: String,
}

impl Serve {
    fn start(bench: &Bench, listen: &str) -> Serve {
        for folder in ["watch", "completed"] {
            std::fs::create_dir_all(bench.path(folder)).expect("made");
        }
        let config = format!(
            r#"{{
                "regrip": {{ "listen": "{listen}", "apiKey": "{KEY}", "dataDir": "data" }},
                "downloads": {{ "watchPath": "watch", "completedPath": "completed", "retryBaseDelayMs": 0 }},
            }}"#
        );
        std::fs::write(bench.path("config.jsonc"), config).expect("written");
        let mut command = bench.regrip_command(&["serve", "--config", "config.jsonc"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let log = child.stderr.take().expect("a log");
        let mut lines = BufReader::new(log).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening at ")?.1.trim().to_owned()))
            .expect("it listens");
        // What it writes later must have a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Serve { child, url }
    }

    fn any_port(bench: &Bench) -> Serve {
        Serve::start(bench, "127.0.0.1:0")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody listens at.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// `regrip`, with the server's key in the environment.
fn with_key(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut command = bench.regrip_command(arguments);
    Ran::of(command.env("REGRIP_API_KEY", KEY).output().expect("it runs"))
}

fn listed(bench: &Bench, server: &Serve, id: i64) -> Value {
    let ran = with_key(bench, &["list", "--json", "--server", &server.url]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut rows = ran.events().into_iter().filter(|row| row["id"] == id);
    rows.next().expect("the row is there")
}

fn wait_until(bench: &Bench, server: &Serve, id: i64, so: impl Fn(&Value) -> bool) -> Value {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let row = listed(bench, server, id);
        if so(&row) {
            return row;
        }
        assert!(Instant::now() < patience, "it never became so: {row}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_download_is_added_watched_called_off_taken_up_and_removed_by_its_server() {
    let bench = Bench::serving(source());
    let server = Serve::any_port(&bench);
    let at = ["--server", &server.url];
    let ask = |arguments: &[&str]| with_key(&bench, &[arguments, &at].concat());

    let none = ask(&["list"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""), "{none:?}");

    let added = ask(&["add", &bench.url("/film.mkv?token=secret")]);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.err.contains("download 1 is queued") || added.err.contains("download 1 is downloading"));
    assert!(added.err.contains("film.mkv") && !added.err.contains("secret"), "{added:?}");
    wait_until(&bench, &server, 1, |row| row["downloaded_bytes"] == 100_000);

    let known = ask(&["add", &bench.url("/film.mkv?token=secret"), "--json"]);
    assert_eq!((known.code, &known.events()[0]["id"]), (Some(0), &Value::from(1)));

    let shown = ask(&["show", "1"]);
    assert!(shown.out.contains("downloading, by the server"), "{shown:?}");
    let shown = ask(&["show", "1", "--json"]);
    assert_eq!(shown.events()[0]["attempts"][0]["offset_from"], 0);
    let table = ask(&["list"]);
    assert!(table.out.contains("film.mkv") && table.out.contains("33% of"), "{table:?}");

    let refused = ask(&["retry", "1"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("download 1 is downloading"), "{refused:?}");
    assert!(refused.err.contains("regrip cancel 1"), "{refused:?}");

    let cancelled = ask(&["cancel", "1"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    assert!(cancelled.err.contains("is cancelled; 100 kB kept"), "{cancelled:?}");
    let again = ask(&["cancel", "1"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("download 1 is cancelled") && again.err.contains("regrip remove 1"));

    let retried = ask(&["retry", "1"]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    wait_until(&bench, &server, 1, |row| row["status"] == "completed");
    bench.assert_is("completed/film.mkv", Content::new(1, SIZE));

    let removed = ask(&["remove", "1"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(removed.err.contains("the file stays"), "{removed:?}");
    let gone = ask(&["show", "1"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("there is no download 1"), "{gone:?}");
}

#[test]
fn a_name_and_a_digest_come_along_and_what_is_wrong_is_said() {
    let bench = Bench::serving(source());
    let server = Serve::any_port(&bench);
    let at = ["--server", &server.url];
    let ask = |arguments: &[&str]| with_key(&bench, &[arguments, &at].concat());
    let digest = Content::new(1, SIZE).sha256();
    let url = bench.url("/other.mkv");
    let added = ask(&["add", &url, "--name", "mine.mkv", "--sha256", &digest, "--json"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(added.events()[0]["sha256_wanted"], digest);
    wait_until(&bench, &server, 1, |row| row["status"] == "completed");
    bench.assert_is("completed/mine.mkv", Content::new(1, SIZE));

    let table = [
        (vec!["add", "ftp://host/a"], 2, "not an http or https URL"),
        (vec!["add", "http://me:secret@host/a"], 2, "user and password"),
        (vec!["add", "http://host/"], 2, "--name"),
        (vec!["add", &url, "--name", "../x"], 2, "path in it"),
        (vec!["add", &url, "--sha256", "12"], 2, "64 hexadecimal digits"),
        (vec!["show", "77"], 1, "there is no download 77"),
    ];
    for (arguments, code, words) in table {
        let ran = ask(&arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.err.contains(words) && !ran.err.contains("secret"), "{ran:?}");
    }
    let failed = ask(&["add", &bench.url("/gone.mkv")]);
    assert_eq!(failed.code, Some(0));
    let row = wait_until(&bench, &server, 2, |row| row["status"] == "failed");
    assert_eq!(row["error"], "the server answered 404");
    let only = ask(&["list", "--status", "failed", "--json"]);
    assert_eq!(only.events().len(), 1);
}

#[test]
fn without_the_right_key_nothing_is_told_and_what_to_do_is_said() {
    let bench = Bench::serving(source());
    let server = Serve::any_port(&bench);
    let without = bench.regrip(&["list", "--server", &server.url]);
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(without.err.contains("REGRIP_API_KEY"), "{without:?}");
    let mut command = bench.regrip_command(&["list", "--server", &server.url]);
    let wrong = Ran::of(command.env("REGRIP_API_KEY", "wrong-secret").output().expect("it runs"));
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(!wrong.err.contains("wrong-secret"), "{wrong:?}");
    // A key in the URL is not even tried.
    let in_url = format!("{}/?key={KEY}", server.url);
    let ran = bench.regrip(&["list", "--server", &in_url]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!ran.err.contains(KEY), "{ran:?}");
}

#[test]
fn a_configuration_leads_to_the_server_and_to_its_state_file_while_it_does_not_run() {
    let bench = Bench::serving(source());
    let address = free_address();
    let at = ["--config", "config.jsonc"];
    let server = Serve::start(&bench, &address);
    let added = bench.regrip(&[&["add", &bench.url("/other.mkv")][..], &at].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    wait_until(&bench, &server, 1, |row| row["status"] == "completed");
    let running = bench.regrip(&[&["list", "--json"][..], &at].concat());
    assert_eq!((running.code, running.events().len()), (Some(0), 1), "{running:?}");
    assert_eq!(running.err, "");
    drop(server);
    let ended = bench.regrip(&[&["list", "--json"][..], &at].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.events(), running.events(), "the same as by the server");
    assert!(ended.err.contains("the server does not run"), "{ended:?}");
    let add = bench.regrip(&[&["add", &bench.url("/film.mkv")][..], &at].concat());
    assert_eq!(add.code, Some(1), "{add:?}");
    assert!(add.err.contains("no running server"), "{add:?}");
}

#[test]
fn a_state_file_that_a_server_has_is_shown_and_the_server_named() {
    let bench = Bench::serving(source());
    let server = Serve::any_port(&bench);
    let added = with_key(&bench, &["add", &bench.url("/gone.mkv"), "--server", &server.url]);
    assert_eq!(added.code, Some(0), "{added:?}");
    wait_until(&bench, &server, 1, |row| row["status"] == "failed");
    let at = ["--state", "data/state.db"];
    let listed = bench.regrip(&[&["list", "--json"][..], &at].concat());
    assert_eq!((listed.code, listed.events().len()), (Some(0), 1), "{listed:?}");
    let process = format!("process {}", server.child.id());
    assert!(listed.err.contains(&process), "{listed:?}");
    let retried = bench.regrip(&[&["retry", "1"][..], &at].concat());
    assert_eq!(retried.code, Some(1), "{retried:?}");
    assert!(retried.err.contains(&process), "{retried:?}");
    assert_eq!(wait_until(&bench, &server, 1, |_| true)["status"], "failed");
}

#[test]
fn a_server_that_is_not_there_or_is_none_is_said_to_be() {
    let bench = Bench::serving(source());
    let address = format!("http://{}", free_address());
    let ran = bench.regrip(&["list", "--server", &address]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("cannot reach the server") && ran.err.contains("regrip serve"), "{ran:?}");
    let ran = bench.regrip(&["list", "--server", &bench.url("")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("not a regrip server"), "{ran:?}");
    for arguments in [
        &["list", "--server", "nonsense"][..],
        &["list", "--server", &address, "--state", "x"],
        &["list", "--server", &address, "--config", "x"],
    ] {
        assert_eq!(bench.regrip(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_list_is_added_in_one_request_and_adding_it_again_adds_nothing() {
    let bench = Bench::serving(source());
    let server = Serve::any_port(&bench);
    let lines = [
        "# films".to_owned(),
        bench.url("/other.mkv"),
        "  out=first.mkv".to_owned(),
        format!("{}\t{}", bench.url("/gone.mkv"), bench.url("/other.mkv")), // with a mirror
        format!("  checksum=sha-256={}", Content::new(1, SIZE).sha256()),
        "ftp://host.example/other.mkv".to_owned(),
        bench.url("/with a space.mkv"),
        bench.url("/other.mkv?other"),
        "  dir=elsewhere".to_owned(),
    ];
    std::fs::write(bench.path("urls.txt"), lines.join("\n")).expect("written");
    let add = || with_key(&bench, &["add", "-i", "urls.txt", "--json", "--server", &server.url]);
    let first = add();
    assert_eq!(first.code, Some(1), "{first:?}");
    for said in ["urls.txt, line 6: ", "urls.txt, line 7: white space", "urls.txt, line 8: dir= and header="] {
        assert!(first.err.contains(said), "{said}: {first:?}");
    }
    let counts = |ran: &Ran| ["added", "known", "refused"].map(|name| ran.events()[0][name].as_u64());
    assert_eq!(counts(&first), [Some(2), Some(0), Some(3)], "{first:?}");
    assert_eq!(counts(&add()), [Some(0), Some(2), Some(3)]);
    for id in [1, 2] {
        wait_until(&bench, &server, id, |row| row["status"] == "completed");
    }
    bench.assert_is("completed/first.mkv", Content::new(1, SIZE));
    bench.assert_is("completed/gone.mkv", Content::new(1, SIZE));
    assert_eq!(counts(&add()), [Some(0), Some(2), Some(3)], "complete ones are known, too");

    let typed = with_key(&bench, &["add", "-i", "urls.txt", "--name", "x", "--server", &server.url]);
    assert_eq!(typed.code, Some(2), "{typed:?}");
    let missing = with_key(&bench, &["add", "-i", "no-such-list", "--server", &server.url]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
}
