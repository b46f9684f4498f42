//! `regrip get` with a network that works, or nearly.

use crate::support::Bench;
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use regrip_faultd::faults::{Cut, Replace, Status};
use regrip_faultd::{Content, FileScript, Script, Version};

fn film() -> Version {
    Version::new(1, 300_000).etag("\"v1\"")
}

#[test]
fn a_file_gets_the_name_of_the_last_segment_decoded() {
    let bench = Bench::serving(Script::one("/films/a%20film.mkv", FileScript::honest(film())));
    let ran = bench.run(&[&bench.url("/films/a%20film.mkv?token=secret")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bench.names(), ["a film.mkv"]);
    assert!(!ran.err.contains("secret"), "the query is never printed: {}", ran.err);
}

#[test]
fn a_cut_is_resumed_from_the_bytes_on_disk_and_told_as_json() {
    let script = FileScript::honest(film()).answer([Cut::after(100_000)]);
    let bench = Bench::serving(Script::one("/film", script));
    let ran = bench.run(&[&bench.url("/film"), "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.story(), ["queued", "started", "headers", "retrying", "started", "headers", "completed"]);
    bench.assert_is("film", Content::new(1, 300_000));
    assert_eq!(bench.ranges("/film"), [None, Some("bytes=100000-".to_owned())]);
    let events = ran.events();
    let last = events.last().expect("an event");
    assert_eq!(last["sha256"], serde_json::Value::Null, "nobody asked");
    assert_eq!((last["bytes"].as_u64(), last["attempts"].as_u64()), (Some(300_000), Some(2)));
    assert_eq!(last["path"], bench.path("film").canonicalize().expect("it is there").to_str().expect("UTF-8"));
    let retrying = events.iter().find(|event| event["event"] == "retrying").expect("a retry");
    assert_eq!((&retrying["class"], &retrying["asked_by"]), (&"transient".into(), &"jitter".into()));
}

#[test]
fn several_files_come_at_once_into_one_folder() {
    let mut script = Script::new();
    for seed in 1..=9 {
        let file = FileScript::honest(Version::new(seed, 20_000 * seed)).answer([Cut::after(10_000)]);
        script = script.file(&format!("/{seed}.bin"), file);
    }
    let bench = Bench::serving(script);
    std::fs::create_dir(bench.path("into")).expect("a folder");
    let urls: Vec<String> = (1..=9).map(|seed| bench.url(&format!("/{seed}.bin"))).collect();
    let mut arguments: Vec<&str> = urls.iter().map(String::as_str).collect();
    arguments.extend(["-d", "into", "-j", "4", "-q"]);
    let ran = bench.run(&arguments);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for seed in 1..=9 {
        bench.assert_is(&format!("into/{seed}.bin"), Content::new(seed, 20_000 * seed));
    }
}

#[test]
fn a_finished_file_is_not_fetched_again_while_it_is_unchanged() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let url = bench.url("/film");
    for _ in 0..2 {
        assert_eq!(bench.run(&[&url]).code, Some(0));
    }
    assert_eq!(bench.ranges("/film").len(), 1);
    // Touched by somebody: it is not ours to replace.
    std::fs::write(bench.path("film"), "mine").expect("written");
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("already exists") && ran.err.contains("--on-exists"), "{}", ran.err);
    assert_eq!(std::fs::read(bench.path("film")).expect("there"), b"mine");
    // Gone: fetched anew.
    std::fs::remove_file(bench.path("film")).expect("removed");
    assert_eq!(bench.run(&[&url]).code, Some(0));
    bench.assert_is("film", Content::new(1, 300_000));
}

#[test]
fn what_exists_is_refused_replaced_or_left_beside_as_asked() {
    let bench = Bench::serving(Script::one("/film.mkv", FileScript::honest(film())));
    let url = bench.url("/film.mkv");
    std::fs::write(bench.path("film.mkv"), "mine").expect("written");
    assert_eq!(bench.run(&[&url]).code, Some(1));
    assert_eq!(bench.run(&[&url, "--on-exists", "rename"]).code, Some(0));
    bench.assert_is("film.1.mkv", Content::new(1, 300_000));
    // The same again is the same download, not a third file.
    assert_eq!(bench.run(&[&url, "--on-exists", "rename"]).code, Some(0));
    assert_eq!(bench.names(), ["film.1.mkv", "film.mkv"]);
    assert_eq!(std::fs::read(bench.path("film.mkv")).expect("there"), b"mine");
    assert_eq!(bench.run(&[&url, "--on-exists", "overwrite"]).code, Some(0));
    bench.assert_is("film.mkv", Content::new(1, 300_000));
    assert_eq!(bench.names(), ["film.1.mkv", "film.mkv"]);
}

#[test]
fn the_state_file_is_no_destination() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let url = bench.url("/film");
    std::os::unix::fs::symlink(".", bench.path("here")).expect("linked");
    for (output, state) in [
        ("state.db", "state.db"),
        ("state.db-wal", "state.db"),
        ("STATE.DB", "state.db"),
        ("here/state.db", "state.db"),
        ("film", "film.part"),
    ] {
        let ran = bench.run(&[&url, "-o", output, "--state", state, "--on-exists", "overwrite"]);
        assert_eq!(ran.code, Some(1), "{output}: {ran:?}");
        assert!(ran.err.contains("a file of regrip itself"), "{}", ran.err);
        let list = bench.regrip(&["list", "--json", "--state", state]);
        assert_eq!((list.code, list.out.as_str()), (Some(0), ""), "{list:?}");
    }
}

// D10
#[test]
fn a_link_at_the_destination_is_neither_followed_nor_replaced() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    std::fs::write(bench.path("other"), "mine").expect("written");
    std::os::unix::fs::symlink("other", bench.path("film")).expect("linked");
    for on_exists in ["fail", "overwrite"] {
        let ran = bench.run(&[&bench.url("/film"), "--on-exists", on_exists]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains("a link"), "{}", ran.err);
    }
    assert_eq!(std::fs::read(bench.path("other")).expect("there"), b"mine");
    assert!(bench.path("film").is_symlink());
}

#[test]
fn a_digest_is_printed_if_it_is_asked_for() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let url = bench.url("/film");
    let path = bench.path("film");
    let line = |algorithm| {
        let checksum = regrip::store::checksum_of(&path, algorithm).expect("it is there");
        format!("{}  {}\n", checksum.hex, path.canonicalize().unwrap().display())
    };
    let ran = bench.run(&[&url, "-q", "--print-checksum", "md5"]);
    assert_eq!((ran.code, ran.out), (Some(0), line(Algorithm::Md5)));
    // The file is there, and nobody has computed this one.
    let ran = bench.run(&[&url, "--print-checksum", "SHA-512"]);
    assert_eq!((ran.code, ran.out), (Some(0), line(Algorithm::Sha512)));
    assert_eq!(bench.ranges("/film").len(), 1);
    let ran = bench.run(&[&url, "--force", "--on-exists", "overwrite", "--print-checksum", "sha1", "--json"]);
    let events = ran.events();
    let last = events.last().expect("an event");
    let sha1 = regrip::store::checksum_of(&path, Algorithm::Sha1).expect("it is there");
    assert_eq!(last["digests"], serde_json::json!([sha1.to_string()]));
    let ran = bench.run(&[&url, "--force"]);
    assert!(ran.out.is_empty() && !ran.err.contains(&sha1.hex), "{ran:?}");
}

#[test]
fn a_checksum_of_any_algorithm_is_held_against_the_file() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let url = bench.url("/film");
    let content = Content::new(1, 300_000);
    let bytes = content.bytes(0..300_000);
    for algorithm in Algorithm::ALL {
        let right = Hasher::of(algorithm, &bytes).to_string();
        let wrong = Hasher::of(algorithm, b"another file").to_string();
        let ran = bench.run(&[&url, "--checksum", &wrong, "-o", algorithm.name()]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let named = ran.err.contains(&format!("the {algorithm} is "));
        assert!(named, "{}", ran.err);
        let ran = bench.run(&[&url, "--checksum", &right, "-o", algorithm.name()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // It is complete and has the digest; it has not the other one.
        let ran = bench.run(&[&url, "--checksum", &right, "-o", algorithm.name()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let ran = bench.run(&[&url, "--checksum", &wrong, "-o", algorithm.name()]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        bench.assert_is(algorithm.name(), Content::new(1, 300_000));
    }
}

#[test]
fn a_digest_that_is_wrong_leaves_no_file_and_one_that_is_corrected_finishes_it() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let url = bench.url("/film");
    let ran = bench.run(&[&url, "--sha256", &"0".repeat(64)]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("sha256"), "{}", ran.err);
    assert_eq!(bench.names(), ["film.part"]);
    let right = Content::new(1, 300_000).sha256();
    assert_eq!(bench.run(&[&url, "--sha256", &right]).code, Some(0));
    bench.assert_is("film", Content::new(1, 300_000));
}

#[test]
fn some_failed_of_several_is_exit_1_and_the_others_are_there() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let ran = bench.run(&[&bench.url("/nothing"), &bench.url("/film")]);
    assert_eq!(ran.code, Some(1));
    bench.assert_is("film", Content::new(1, 300_000));
    // A download without a result leaves nothing behind.
    assert_eq!(bench.names(), ["film"]);
    assert!(ran.err.contains("404"), "{}", ran.err);
}

#[test]
fn each_file_has_one_line_and_the_last_one_counts_them() {
    let bench =
        Bench::serving(Script::one("/film", FileScript::honest(film())).file("/other", FileScript::honest(film())));
    std::fs::write(bench.path("list"), "no url\n").expect("written");
    let arguments = [&bench.url("/film"), &bench.url("/nothing"), &bench.url("/other"), "-i", "list"];
    let ran = bench.run(&arguments);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.ends_with("\n2 of 4 done, 2 failed\n"), "{}", ran.err);
    for name in ["film", "other"] {
        // A slow machine may have said how far the file is.
        let complete = format!("{name}: complete, 300 kB");
        let lines = ran.err.lines().filter(|line| line.starts_with(&complete));
        assert_eq!(lines.map(|line| line.len() <= 80).collect::<Vec<_>>(), [true], "{}", ran.err);
    }
    assert!(!ran.err.contains("fetching") && !ran.err.contains("sha256"), "{}", ran.err);
    let ran = bench.run(&arguments);
    assert!(ran.err.ends_with("\n2 of 4 done, 2 failed; 2 unchanged\n"), "{}", ran.err);
    let ran = bench.run(&[&arguments[..], &["-q"]].concat());
    assert!(!ran.err.contains(" done") && !ran.err.contains("unchanged"), "{}", ran.err);
    let ran = bench.run(&[&arguments[..], &["--json"]].concat());
    assert!(!ran.err.contains(" done") && ran.events().len() >= 3, "{ran:?}");
    // One file needs no count.
    assert!(!bench.run(&[&bench.url("/film")]).err.contains(" done"));
}

#[test]
fn progress_in_json_has_the_speed_and_the_time_left() {
    let script = Script::one("/film", FileScript::honest(film())).bytes_per_second(400_000);
    let bench = Bench::serving(script);
    let ran = bench.run(&[&bench.url("/film"), "--json"]);
    let progress: Vec<_> = ran.events().into_iter().filter(|event| event["event"] == "progress").collect();
    let last = progress.last().expect("progress");
    assert!(last["bytes_per_sec"].as_u64() > Some(0), "{last}");
    assert_eq!(last["eta_secs"], 0, "{last}");
    let fields = ["bytes_per_sec", "eta_secs"].map(|name| progress[0].get(name).is_some());
    assert_eq!(fields, [true, true], "null if it is unknown");
}

#[test]
fn userinfo_authenticates_and_is_shown_nowhere() {
    let script = Script::one("/film", FileScript::honest(film())).require_header("Authorization", "Basic bWU6c2VjcmV0"); // me:secret
    let bench = Bench::serving(script);
    let url = bench.url("/film").replace("http://", "http://me:secret@");
    let ran = bench.run(&[&url, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.out.contains("secret") && !ran.err.contains("secret"));
    let state = std::fs::read(bench.path("state/regrip/state.db")).expect("the state file");
    assert!(!state.windows(6).any(|window| window == b"secret" || window == b"bWU6c2"));
    // Without them the server says so, and so do we.
    let ran = bench.run(&[&bench.url("/film"), "-o", "other"]);
    assert!(ran.err.contains("401") && ran.err.contains("credentials"), "{}", ran.err);
}

#[test]
fn a_replaced_file_is_fetched_whole_with_and_without_validators() {
    for (first, second) in [
        (film(), Version::new(2, 300_000).etag("\"v2\"")),
        (Version::new(1, 300_000), Version::new(2, 300_000)),
        (Version::new(1, 300_000), Version::new(2, 250_000)),
    ] {
        let right = second.content();
        let script = FileScript::honest(first).version(second).answer([Cut::after(200_000)]).answer([Replace::with(1)]);
        let bench = Bench::serving(Script::one("/film", script));
        let ran = bench.run(&[&bench.url("/film")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film", right);
    }
}

#[test]
fn a_429_with_retry_after_is_waited_out() {
    let script = FileScript::honest(film()).answer([Status::retry_after(429, "1")]);
    let bench = Bench::serving(Script::one("/film", script));
    let ran = bench.run(&[&bench.url("/film"), "--json", "--retry-max-ms", "50"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let events = ran.events();
    let retrying = events.iter().find(|event| event["event"] == "retrying").expect("a retry");
    // Capped, so that this test is quick.
    assert_eq!((retrying["delay_ms"].as_u64(), &retrying["asked_by"]), (Some(50), &"retry_after".into()));
}

#[test]
fn the_demo_ends_with_every_file_right() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_regrip")).arg("demo").output().expect("it runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}");
    assert_eq!(out.matches(" equal").count(), 6, "{out}");
}
