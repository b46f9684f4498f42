//! `pause`, `resume` and `--on-complete`.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Cut, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use serde_json::Value;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SIZE: u64 = 3_000_000;

fn film() -> FileScript {
    FileScript::honest(Version::new(1, SIZE).etag("\"v1\""))
}

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < patience, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end, but not for ever.
fn ended(mut child: Child) -> Ran {
    wait_until("its end", || child.try_wait().expect("it is ours").is_some());
    Ran::of(child.wait_with_output().expect("it ends"))
}

fn row(bench: &Bench, id: i64) -> Value {
    let rows = bench.regrip(&["list", "--json"]).events();
    rows.into_iter().find(|row| row["id"] == id).expect("the row is there")
}

/// `get` of `/film` with some bytes on the disk.
fn downloading(bench: &Bench, arguments: &[&str]) -> Child {
    let url = bench.url("/film");
    let child = bench.start(&[&[url.as_str()], arguments].concat());
    wait_until("bytes", || length(&bench.path("film.part")) > 0);
    child
}

#[test]
fn a_pause_stops_a_get_of_another_process_and_resume_goes_on_from_its_bytes() {
    let bench = Bench::serving(Script::one("/film", film()).bytes_per_second(1_000_000));
    let child = downloading(&bench, &[]);
    let paused = bench.regrip(&["pause", "1"]);
    assert_eq!(paused.code, Some(0), "{paused:?}");
    assert!(paused.err.contains("download 1 is paused") && paused.err.contains("`regrip resume 1`"), "{paused:?}");
    assert!(!paused.err.contains("still has the part open"), "{paused:?}");
    let ran = ended(child);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("film: paused; ") && ran.err.contains("`regrip resume 1`"), "{ran:?}");
    let kept = length(&bench.path("film.part"));
    let paused = row(&bench, 1);
    assert_eq!((&paused["status"], &paused["durable_bytes"]), (&"paused".into(), &kept.into()));
    assert_eq!(bench.regrip(&["list", "--status", "paused", "--json"]).events().len(), 1);
    let shown = bench.regrip(&["show", "1"]);
    assert!(shown.out.contains("paused; `regrip resume 1`") && shown.out.contains("interrupted"), "{shown:?}");
    for (refused, why) in [("pause", "`regrip resume 1` resumes it"), ("retry", "`regrip resume 1` resumes it")] {
        let refused = bench.regrip(&[refused, "1"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("download 1 is paused") && refused.err.contains(why), "{refused:?}");
    }
    let resumed = bench.regrip(&["resume", "1", "--json"]);
    assert_eq!(
        (resumed.code, resumed.story()),
        (Some(0), ["queued", "started", "headers", "completed"].map(str::to_owned).into())
    );
    bench.assert_is("film", Content::new(1, SIZE));
    assert_eq!(bench.ranges("/film"), [None, Some(format!("bytes={kept}-"))]);
    for command in ["pause", "resume"] {
        let late = bench.regrip(&[command, "1"]);
        assert_eq!(late.code, Some(1), "{late:?}");
        assert!(late.err.contains("download 1 is completed"), "{late:?}");
    }
}

#[test]
fn a_pause_of_all_ends_waits_and_transfers_and_json_has_it_as_a_wait_without_an_end() {
    let waiting = FileScript::honest(Version::new(2, 10)).answer([Status::retry_after(503, "3000")]);
    let bench = Bench::serving(Script::one("/film", film()).file("/busy", waiting).bytes_per_second(1_000_000));
    let busy = bench.url("/busy");
    let child = downloading(&bench, &[&busy, "--retry-max-ms", "3000000", "--json"]);
    wait_until("the wait", || bench.regrip(&["list"]).out.contains("next attempt in"));
    let paused = bench.regrip(&["pause", "all"]);
    assert_eq!((paused.code, paused.err.lines().count()), (Some(0), 2), "{paused:?}");
    let ran = ended(child);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ends = ran.events().into_iter().filter(|event| event["event"] == "waiting" && event["until"].is_null());
    let why: Vec<_> = ends.map(|end| end["why"].clone()).collect();
    assert_eq!(why, ["paused", "paused"], "{ran:?}");
    let nothing = bench.regrip(&["pause", "all"]);
    assert_eq!((nothing.code, nothing.err.as_str()), (Some(0), "nothing to pause\n"));
    let resumed = bench.regrip(&["resume", "all", "-q"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    bench.assert_is("film", Content::new(1, SIZE));
    bench.assert_is("busy", Content::new(2, 10));
    assert_eq!(bench.regrip(&["resume", "all"]).err, "nothing to resume\n");
}

#[test]
fn a_paused_download_is_resumed_by_its_get_and_cancelled_and_removed_without_it() {
    let bench = Bench::serving(Script::one("/film", film()).bytes_per_second(1_000_000));
    let child = downloading(&bench, &[]);
    assert_eq!(bench.regrip(&["pause", "1"]).code, Some(0));
    ended(child);
    let child = bench.start(&[&bench.url("/film")]);
    wait_until("its second request", || bench.ranges("/film").len() == 2);
    assert_eq!(bench.regrip(&["pause", "1"]).code, Some(0));
    ended(child);
    assert_eq!(bench.regrip(&["cancel", "1"]).code, Some(0));
    assert_eq!(row(&bench, 1)["status"], "cancelled");
    let refused = bench.regrip(&["resume", "1"]);
    assert!(refused.code == Some(1) && refused.err.contains("`regrip retry 1`"), "{refused:?}");
    assert_eq!(bench.regrip(&["remove", "1"]).code, Some(0));
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn what_is_neither_a_number_nor_all_is_refused_and_not_repeated() {
    for command in ["pause", "resume"] {
        for typed in ["hunter2", "", "1.5", "ALL", "99999999999999999999"] {
            let ran = crate::support::regrip(&[command, typed]);
            assert_eq!(ran.code, Some(2), "{ran:?}");
            assert!(!ran.err.contains("hunter2") && ran.err.contains("or `all`"), "{ran:?}");
        }
    }
}

#[test]
fn a_command_runs_after_each_completed_file_and_its_output_goes_to_standard_error() {
    let script = Script::one("/a", FileScript::honest(Version::new(1, 10)).answer([Cut::after(5)]))
        .file("/b", FileScript::honest(Version::new(2, 10)))
        .file("/gone", FileScript::honest(Version::new(3, 10)).then([Status::code(404)]));
    let bench = Bench::serving(script);
    let urls = ["/a?key=hunter2", "/b", "/gone"].map(|path| bench.url(path));
    let command =
        r#"echo "<$REGRIP_ID|$REGRIP_PATH|$REGRIP_URL|$REGRIP_STATUS|$REGRIP_API_KEY>"; test -f "$REGRIP_PATH"; cat"#;
    let mut get = bench.get(&[&urls[0], &urls[1], &urls[2], "--on-complete", command, "--json"]);
    let ran = Ran::of(get.env("REGRIP_API_KEY", "hunter2").output().expect("it runs"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.events();
    let mut said: Vec<&str> = ran.err.lines().filter(|line| line.starts_with('<')).collect();
    said.sort_unstable();
    let (a, b) = (bench.path("a").canonicalize().expect("a"), bench.path("b").canonicalize().expect("b"));
    let expected = [
        format!("<1|{}|{}|completed|>", a.display(), bench.url("/a")),
        format!("<2|{}|{}|completed|>", b.display(), bench.url("/b")),
    ];
    assert_eq!(said, expected, "{ran:?}");
    // A file that was complete before is not new.
    let again = bench.run(&[&urls[1], "--on-complete", "echo it ran"]);
    assert!(again.code == Some(0) && !again.err.contains("it ran"), "{again:?}");
}

#[test]
fn a_command_that_fails_is_a_warning() {
    let bench = Bench::serving(Script::one("/a", FileScript::honest(Version::new(1, 10))));
    for (command, why) in [("exit 7", "it ended with exit code 7"), ("kill -9 $$", "it was killed by signal 9")] {
        let ran = bench.run(&[&bench.url("/a"), "--force", "--on-complete", command]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            ran.err.contains("regrip: warning: the command of --on-complete for ") && ran.err.contains(why),
            "{ran:?}"
        );
    }
    let mut get = bench.get(&[&bench.url("/a"), "--force", "--on-complete", "true"]);
    let ran = Ran::of(get.env("PATH", "/nowhere").output().expect("it runs"));
    assert!(ran.code == Some(0) && ran.err.contains("cannot run sh"), "{ran:?}");
}

#[test]
fn an_interrupt_ends_a_command_with_its_children() {
    let bench = Bench::serving(Script::one("/a", FileScript::honest(Version::new(1, 10))));
    let child = bench.start(&[&bench.url("/a"), "--on-complete", "sleep 1000 & echo $! > pid; wait"]);
    wait_until("the command", || length(&bench.path("pid")) > 1);
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().expect("kill runs").success());
    let ran = ended(child);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.err.contains("was not run to its end"), "{ran:?}");
    bench.assert_is("a", Content::new(1, 10));
    let pid = std::fs::read_to_string(bench.path("pid")).expect("its number");
    let stat = format!("/proc/{}/stat", pid.trim());
    wait_until("the end of its child", || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn a_command_needs_words_and_a_file() {
    let bench = Bench::serving(Script::new());
    for arguments in [&["--on-complete", ""][..], &["--on-complete", "  "], &["--on-complete", "true", "-o", "-"]] {
        let ran = bench.run(&[&[bench.url("/a").as_str()], arguments].concat());
        assert_eq!((ran.code, bench.server.log().len()), (Some(2), 0), "{ran:?}");
    }
}
