//! `list`, `show`, `retry`, `cancel` and `remove` on the state file, also while another process downloads with it.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Cut, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

const SIZE: u64 = 6_000_000;

fn film() -> Version {
    Version::new(1, SIZE).etag("\"v1\"")
}

/// `/film` is sent at this many bytes a second.
fn slow(bytes_per_second: u64) -> Bench {
    let script = Script::one("/film", FileScript::honest(film()));
    Bench::serving(script.bytes_per_second(bytes_per_second))
}

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < patience, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `get` of `/film` with some bytes on the disk.
fn downloading(bench: &Bench) -> Child {
    let child = bench.start(&[&bench.url("/film")]);
    wait_until("bytes", || length(&bench.path("film.part")) > 0);
    child
}

fn ended(mut child: Child) -> Ran {
    let patience = Instant::now() + Duration::from_secs(30);
    while child.try_wait().expect("it is ours").is_none() {
        if Instant::now() > patience {
            child.kill().expect("killed");
            panic!("it goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ran::of(child.wait_with_output().expect("it ends"))
}

/// The row as `list --json` has it.
fn row(bench: &Bench, id: i64) -> Value {
    let listed = bench.regrip(&["list", "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let rows = listed.events().into_iter();
    let mut rows = rows.filter(|row| row["id"] == id);
    rows.next().expect("the row is there")
}

#[test]
fn the_list_has_the_newest_change_first_and_says_why() {
    let script = Script::new()
        .file("/whole", FileScript::honest(Version::new(1, 1000)))
        .file("/broken", FileScript::honest(Version::new(2, 300_000).etag("\"v\"")).then([Cut::after(1000)]));
    let bench = Bench::serving(script);
    let none = bench.regrip(&["list"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""), "{none:?}");
    assert!(!bench.path("state").exists(), "asking makes no state file");
    let whole = format!("{}?token=secret", bench.url("/whole"));
    let ran = bench.run(&[&whole, "--print-checksum", "sha256"]);
    assert_eq!(ran.code, Some(0));
    let broken = bench.run(&[&bench.url("/broken"), "--max-attempts", "2"]);
    assert_eq!(broken.code, Some(1));
    let table = bench.regrip(&["list"]);
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(lines[0].starts_with("ID  STATUS"), "{table:?}");
    assert!(lines[1].contains("failed") && lines[1].contains("0% of 300 kB"), "{table:?}");
    assert!(lines[2].contains("/broken -> ") && lines[2].ends_with("/broken"), "{table:?}");
    assert!(lines[3].contains("connection failed"), "{table:?}");
    assert!(lines[4].contains("completed") && lines[4].contains("1.00 kB"), "{table:?}");
    let json = bench.regrip(&["list", "--json"]).events();
    assert_eq!((&json[0]["id"], &json[1]["id"]), (&2.into(), &1.into()));
    assert_eq!(json[0]["attempts"], 2);
    assert_eq!(json[0]["error_code"], "Network");
    assert_eq!(json[0]["downloaded_bytes"], 2000, "as many as the part has");
    assert_eq!(json[1]["expected_bytes"], 1000);
    assert_eq!(json[1]["sha256_got"], Content::new(1, 1000).sha256());
    assert!(!json[1].to_string().contains("secret"), "no query is shown");
    let failed = bench.regrip(&["list", "--json", "--status", "failed"]);
    assert_eq!(failed.events().len(), 1);
    let typo = bench.regrip(&["list", "--status", "broken"]);
    assert_eq!(typo.code, Some(2));
    assert!(typo.err.contains("waiting"), "{}", typo.err);
}

#[test]
fn a_state_file_that_another_program_keeps_locked_is_listed_all_the_same() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    assert_eq!(bench.run(&[&bench.url("/film")]).code, Some(0));
    let state = bench.path("state/regrip/state.db");
    let lock = rusqlite::Connection::open(state).expect("opened");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    for command in [&["list"][..], &["show", "1"]] {
        let ran = bench.regrip(command);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.out.contains("completed"), "{ran:?}");
    }
    lock.execute_batch("ROLLBACK").expect("let go");
}

#[test]
fn show_draws_every_attempt_and_has_it_all_as_json() {
    let script = FileScript::honest(film()).answer([Cut::after(2_000_000)]).answer([Status::retry_after(503, "0")]);
    let bench = Bench::serving(Script::one("/film", script));
    assert_eq!(bench.run(&[&bench.url("/film")]).code, Some(0));
    let shown = bench.regrip(&["show", "1"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in [
        "download 1: completed",
        "0 B -> 2.00 MB",
        "transient Network",
        "as the server asked",
        "2.00 MB -> 6.00 MB",
        "3 attempts",
    ] {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    assert!(shown.out.is_ascii(), "no terminal, no locale: {}", shown.out);
    let json = bench.regrip(&["show", "1", "--json"]).events();
    let attempts = json[0]["attempts"].as_array().expect("an array");
    let outcomes: Vec<_> = attempts.iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "completed"]);
    assert_eq!(attempts[1]["asked_by"], "retry_after");
    assert_eq!(json[0]["download"]["attempts"], 3);
    for command in ["show", "retry", "cancel", "remove"] {
        let nothing = bench.regrip(&[command, "7"]);
        assert_eq!(nothing.code, Some(1), "{nothing:?}");
        assert!(
            nothing.err.contains("there is no download 7") && nothing.err.contains("regrip list"),
            "{}",
            nothing.err
        );
        let elsewhere = bench.regrip(&[command, "1", "--state", "nowhere.db"]);
        assert_eq!(elsewhere.code, Some(1), "{elsewhere:?}");
        assert!(elsewhere.err.contains("--state"), "{}", elsewhere.err);
    }
    assert_eq!(bench.names(), ["film"], "nothing was made by asking");
}

#[test]
fn a_retry_goes_on_from_the_bytes_and_stays_to_the_end() {
    let script = FileScript::honest(film())
        .answer([Cut::after(2_000_000)])
        .answer([Status::code(503)])
        .answer([Status::code(503)]);
    let bench = Bench::serving(Script::one("/film", script));
    assert_eq!(bench.run(&[&bench.url("/film"), "--max-attempts", "2"]).code, Some(1));
    let retried = bench.regrip(&["retry", "1", "--json"]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let story = ["queued", "started", "headers", "completed"];
    assert_eq!(retried.story(), story);
    bench.assert_is("film", Content::new(1, SIZE));
    assert_eq!(bench.ranges("/film").last(), Some(&Some("bytes=2000000-".to_owned())));
    let again = bench.regrip(&["retry", "1"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("download 1 is completed"), "{}", again.err);
    // As after any `get`, the file is known to be as it was left.
    assert_eq!(bench.run(&[&bench.url("/film")]).code, Some(0));
    assert_eq!(bench.ranges("/film").len(), 4);
}

#[test]
fn a_retry_without_the_credentials_says_so_and_changes_nothing() {
    let script = Script::one("/film", FileScript::honest(film()).then([Cut::after(1000)]));
    let bench = Bench::serving(script);
    let url = bench.url("/film").replace("://", "://me:secret@");
    assert_eq!(bench.run(&[&url, "--max-attempts", "2"]).code, Some(1));
    let requests = bench.server.log().len();
    let retried = bench.regrip(&["retry", "1"]);
    assert_eq!(retried.code, Some(1), "{retried:?}");
    assert!(retried.err.contains("authorization") && retried.err.contains("same credentials"), "{}", retried.err);
    assert_eq!(bench.server.log().len(), requests);
    assert_eq!(row(&bench, 1)["status"], "failed");
    assert_eq!(length(&bench.path("film.part")), 2000);
}

#[test]
fn a_cancel_stops_another_process_that_is_downloading_and_keeps_the_part() {
    let bench = slow(1_000_000);
    let child = downloading(&bench);
    let shown = bench.regrip(&["show", "1"]);
    let by = format!("by process {}", child.id());
    assert!(shown.out.contains(&by), "{}", shown.out);
    // As many bytes as the part has: the ledger will know of them at the next checkpoint.
    wait_until("more", || length(&bench.path("film.part")) > 500_000);
    let listed = row(&bench, 1)["downloaded_bytes"].as_u64();
    assert!(listed > Some(500_000), "{listed:?}");
    let cancelled = bench.regrip(&["cancel", "1"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    // It has let go by now: what this says is what there is.
    assert!(!cancelled.err.contains("has not let go"), "{}", cancelled.err);
    let ran = ended(child);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("cancelled") && ran.err.contains("regrip retry 1"), "{}", ran.err);
    let kept = length(&bench.path("film.part"));
    let row_after = row(&bench, 1);
    assert_eq!(row_after["status"], "cancelled");
    assert_eq!(row_after["durable_bytes"], kept);
    let again = bench.regrip(&["cancel", "1"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("is cancelled"), "{}", again.err);
    assert_eq!(bench.regrip(&["retry", "1", "-q"]).code, Some(0));
    bench.assert_is("film", Content::new(1, SIZE));
    let from = Some(format!("bytes={kept}-"));
    assert_eq!(bench.ranges("/film"), [None, from]);
}

#[test]
fn a_cancel_and_a_remove_end_a_wait_of_another_process() {
    for command in ["cancel", "remove"] {
        let script = FileScript::honest(film()).answer([Status::retry_after(503, "3000")]);
        let bench = Bench::serving(Script::one("/film", script));
        let url = bench.url("/film");
        let child = bench.start(&[&url, "--retry-max-ms", "3000000"]);
        wait_until("the wait", || {
            bench.path("state/regrip/state.db").exists() && bench.regrip(&["list"]).out.contains("next attempt in")
        });
        let done = bench.regrip(&[command, "1"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let ran = ended(child);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let left = bench.regrip(&["list", "--json"]).events();
        if command == "remove" {
            assert!(left.is_empty());
            assert_eq!(bench.names(), [""; 0]);
        } else {
            assert_eq!(left[0]["status"], "cancelled");
        }
    }
}

#[test]
fn what_another_process_writes_is_not_removed_and_a_finished_file_stays() {
    let bench = slow(1_000_000);
    let child = downloading(&bench);
    let refused = bench.regrip(&["remove", "1"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains(&format!("process {}", child.id())) && refused.err.contains("regrip cancel 1"),
        "{}",
        refused.err
    );
    assert_eq!(bench.regrip(&["cancel", "1"]).code, Some(0));
    assert_eq!(bench.regrip(&["remove", "1"]).code, Some(0));
    assert_eq!(ended(child).code, Some(1));
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(bench.run(&[&bench.url("/film")]).code, Some(0));
    let removed = bench.regrip(&["remove", "2"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(removed.err.contains("the file stays"), "{}", removed.err);
    assert_eq!(bench.names(), ["film"]);
    assert_eq!(bench.regrip(&["list", "--json"]).out, "");
}

// K06 between processes.
#[test]
fn a_cancel_that_meets_the_end_leaves_exactly_one_last_word() {
    let file = FileScript::honest(Version::new(2, 20_000).etag("\"v2\""));
    let bench = Bench::serving(Script::one("/film", file));
    let url = bench.url("/film");
    let (mut cancelled, mut completed) = (0, 0);
    for round in 1..=30 {
        let child = bench.start(&[&url]);
        wait_until("the row", || {
            bench.path("state/regrip/state.db").exists() && bench.regrip(&["list", "--json"]).events().len() == 1
        });
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..8000)));
        let told = bench.regrip(&["cancel", &round.to_string()]);
        let ran = ended(child);
        let status = row(&bench, round)["status"].as_str().map(str::to_owned);
        let context = format!("{status:?}: {told:?}, {ran:?}");
        match status.as_deref() {
            Some("cancelled") => {
                cancelled += 1;
                assert_eq!((told.code, ran.code), (Some(0), Some(1)), "{context}");
                assert!(!bench.path("film").exists(), "{context}");
            }
            Some("completed") => {
                completed += 1;
                assert_eq!((told.code, ran.code), (Some(1), Some(0)), "{context}");
                bench.assert_is("film", Content::new(2, 20_000));
                std::fs::remove_file(bench.path("film")).expect("it is there");
            }
            _ => panic!("{context}"),
        }
        let removed = bench.regrip(&["remove", &round.to_string()]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        assert_eq!(bench.names(), [""; 0], "{context}");
    }
    eprintln!("{cancelled} were cancelled, {completed} completed");
}
