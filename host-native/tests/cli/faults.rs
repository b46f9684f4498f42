//! Parts and destinations that are not as regrip left them, and disks that end.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Cut, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::process::Command;

fn film() -> Version {
    Version::new(1, 300_000).etag("\"v1\"")
}

// D07
#[test]
fn a_part_that_is_not_ours_is_left_alone_until_it_is_adopted() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    let half = Content::new(1, 300_000).bytes(0..150_000);
    std::fs::write(bench.path("film.part"), &half).expect("written");
    let ran = bench.run(&[&bench.url("/film")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("--adopt-part"), "{}", ran.err);
    assert_eq!(std::fs::read(bench.path("film.part")).expect("there"), half);
    assert!(bench.server.log().is_empty(), "a request was made");
    assert_eq!(bench.run(&[&bench.url("/film"), "--adopt-part"]).code, Some(0));
    bench.assert_is("film", Content::new(1, 300_000));
    // Its tail was compared, and the rest appended.
    assert_eq!(bench.ranges("/film"), [Some(format!("bytes={}-", 150_000 - 65_536))]);
}

// D08
#[test]
fn an_adopted_part_of_another_file_is_started_over() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    std::fs::write(bench.path("film.part"), Content::new(2, 200_000).bytes(0..200_000)).expect("written");
    assert_eq!(bench.run(&[&bench.url("/film"), "--adopt-part"]).code, Some(0));
    bench.assert_is("film", Content::new(1, 300_000));
}

// D11
#[test]
fn a_part_that_is_a_link_is_not_followed() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(film())));
    std::fs::write(bench.path("victim"), "mine").expect("written");
    std::os::unix::fs::symlink("victim", bench.path("film.part")).expect("linked");
    for extra in ["-q", "--adopt-part"] {
        assert_eq!(bench.run(&[&bench.url("/film"), extra]).code, Some(1));
        assert_eq!(std::fs::read(bench.path("victim")).expect("there"), b"mine");
    }
}

// K05
#[test]
fn a_destination_that_another_source_has_begun_is_refused_with_exit_2() {
    let script = Script::new()
        .file("/one", FileScript::honest(film()).then([Cut::after(1000)]))
        .file("/two", FileScript::honest(Version::new(2, 300_000)));
    let bench = Bench::serving(script);
    assert_eq!(bench.run(&[&bench.url("/one"), "-o", "film", "--max-attempts", "2"]).code, Some(1));
    assert_eq!(length(&bench.path("film.part")), 2000);
    let ran = bench.run(&[&bench.url("/two"), "-o", "film"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("/one"), "{}", ran.err);
    assert_eq!(length(&bench.path("film.part")), 2000);
}

#[test]
fn the_source_of_a_second_process_is_told_who_holds_the_part() {
    let film = FileScript::honest(Version::new(1, 3_000_000)); // a small file has no part
    let bench = Bench::serving(Script::one("/film", film).bytes_per_second(50_000));
    let mut first = bench.start(&[&bench.url("/film")]);
    while length(&bench.path("film.part")) == 0 {
        std::thread::yield_now();
    }
    let ran = bench.run(&[&bench.url("/film")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains(&format!("process {}", first.id())), "{}", ran.err);
    first.kill().expect("killed");
    first.wait().expect("ended");
}

// L08: also while it has no part that could be locked.
#[test]
fn while_one_run_waits_or_has_a_small_file_in_memory_another_one_is_refused() {
    let film = || Version::new(1, 40_000).etag("\"one\"");
    let waits = FileScript::honest(film()).answer([Status::retry_after(503, "2")]);
    for (first, is_there) in [(waits, false), (FileScript::honest(film()), true)] {
        let other = FileScript::honest(Version::new(2, 40_000).etag("\"two\""));
        let script = Script::new().file("/one/film", first).file("/two/film", other).bytes_per_second(20_000);
        let bench = Bench::serving(script);
        let digest = Content::new(1, 40_000).sha256();
        let mut running = bench.start(&[&bench.url("/one/film"), "--checksum", &format!("sha256:{digest}")]);
        while bench.ranges("/one/film").is_empty() {
            std::thread::yield_now();
        }
        let other = bench.run(&[&bench.url("/two/film")]);
        assert_eq!(other.code, Some(2), "{other:?}");
        assert!(other.err.contains("/one/film"), "{}", other.err);
        let same = bench.run(&[&bench.url("/one/film")]);
        assert_eq!(same.code, Some(1), "{same:?}");
        assert!(same.err.contains("is being written by another process"), "{}", same.err);
        assert_eq!(running.wait().expect("it ends").code(), Some(0));
        bench.assert_is("film", Content::new(1, 40_000));
        assert_eq!(bench.ranges("/one/film").len(), if is_there { 1 } else { 2 });
        assert!(bench.ranges("/two/film").is_empty());
    }
}

// D02
#[test]
fn too_few_open_files_are_not_taken_for_a_lock_and_fail_no_whole_file() {
    let names: Vec<String> = (0..40).map(|number| format!("/film{number}")).collect();
    let script =
        names.iter().fold(Script::new(), |script, name| script.file(name.as_str(), FileScript::honest(film())));
    let bench = Bench::serving(script);
    let urls: Vec<String> = names.iter().map(|name| bench.url(name)).collect();
    let mut arguments: Vec<&str> = urls.iter().map(String::as_str).collect();
    arguments.extend(["-j", "20", "--max-attempts", "1"]);
    let get = bench.get(&arguments);
    let ran = Command::new("sh")
        .args(["-c", "ulimit -n 16; exec \"$0\" \"$@\""])
        .arg(get.get_program())
        .args(get.get_args())
        .envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(get.get_current_dir().expect("a folder"))
        .output();
    let ran = Ran::of(ran.expect("sh runs"));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("too many open files"), "{}", ran.err);
    assert!(!ran.err.contains("lock"), "{}", ran.err);
    for name in names.iter().map(|name| name.trim_start_matches('/')) {
        if bench.path(name).exists() {
            bench.assert_is(name, Content::new(1, 300_000));
            let failed = format!("regrip: {name}: ");
            assert!(!ran.err.contains(&failed), "{}", ran.err);
        }
    }
}

// D01
#[test]
fn a_full_disk_is_exit_3_keeps_the_part_and_goes_on_when_there_is_room() {
    // Too large for the disk, and of unknown length, so that it fills up on the way.
    let script =
        FileScript::honest(Version::new(1, 3_000_000).etag("\"v1\"")).then([regrip_faultd::faults::Chunked::plain()]);
    let bench = Bench::serving(Script::one("/film", script));
    let disk = bench.path("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mount = |option: &str| {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", option, "tmpfs"]).arg(&disk).output();
        mount.is_ok_and(|mount| mount.status.success())
    };
    if !mount("size=2m") {
        eprintln!("not root: a full disk cannot be shown here");
        return;
    }
    let _unmount = Unmount(&disk);
    let ran = bench.run(&[&bench.url("/film"), "-d", "disk", "--max-attempts", "3"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("no space left") && ran.err.contains("make room"), "{}", ran.err);
    assert_eq!(bench.ranges("/film").len(), 1, "a full disk is not retried");
    assert!(length(&disk.join("film.part")) > 1_000_000);
    assert!(mount("remount,size=8m"));
    let ran = bench.run(&[&bench.url("/film"), "-d", "disk"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("disk/film", Content::new(1, 3_000_000));
    assert_eq!(bench.ranges("/film").len(), 2);
}

struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_download_goes_on_when_nobody_reads_what_it_says() {
    let script = FileScript::honest(film()).answer([Cut::after(100_000)]);
    for extra in ["--json", "-q", "--no-digest"] {
        let bench = Bench::serving(Script::one("/film", script.clone()));
        let mut child = bench.start(&[&bench.url("/film"), extra]);
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{extra}");
        bench.assert_is("film", Content::new(1, 300_000));
    }
}

fn state(bench: &Bench) -> rusqlite::Connection {
    rusqlite::Connection::open(bench.path("state/regrip/state.db")).expect("opened")
}

/// The state file takes no row as completed.
const REFUSE_COMPLETED: &str = "CREATE TRIGGER refuse BEFORE UPDATE OF status ON downloads
    WHEN NEW.status = 'completed' BEGIN SELECT RAISE(ABORT, 'no more'); END";

/// A state file in which every download stays `committing`, and one file that was fetched in spite of it.
fn fetched_but_not_recorded(script: Script) -> Bench {
    let bench = Bench::serving(script);
    let list = bench.regrip(&["list"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    let first = bench.run(&[&bench.url("/first")]);
    assert_eq!(first.code, Some(0), "{first:?}");
    state(&bench).execute_batch(REFUSE_COMPLETED).expect("made");
    let ran = bench.run(&[&bench.url("/film"), "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let last = ran.events().pop().expect("an event");
    assert_eq!(last["event"], "completed");
    let warning = last["warning"].as_str().expect("a warning");
    assert!(warning.contains("no more"), "{warning}");
    bench.assert_is("film", Content::new(1, 300_000));
    assert!(!bench.path("film.part").exists());
    bench
}

fn films() -> Script {
    Script::new().file("/film", FileScript::honest(film())).file("/first", FileScript::honest(film()))
}

// L02
#[test]
fn a_state_file_that_cannot_say_completed_is_a_warning_and_the_next_run_says_it() {
    let bench = fetched_but_not_recorded(films());
    state(&bench).execute_batch("DROP TRIGGER refuse").expect("dropped");
    for _ in 0..2 {
        let ran = bench.run(&[&bench.url("/film")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!ran.err.contains("warning"), "{}", ran.err);
    }
    assert_eq!(bench.ranges("/film"), [None], "fetched once");
    bench.assert_is("film", Content::new(1, 300_000));
}

// As an earlier version left it when the folder could not be synced after the rename.
#[test]
fn a_row_that_failed_after_its_file_got_its_name_is_completed_by_retry_and_by_get_without_a_request() {
    for retry in [false, true] {
        let bench = fetched_but_not_recorded(films());
        let failed = "DROP TRIGGER refuse; UPDATE downloads SET status = 'failed', error = 'cannot sync the folder',
            error_class = 'permanent', error_code = 'Disk' WHERE status = 'committing'";
        state(&bench).execute_batch(failed).expect("changed");
        let ran = if retry { bench.regrip(&["retry", "2"]) } else { bench.run(&[&bench.url("/film")]) };
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(bench.ranges("/film"), [None], "fetched once");
        bench.assert_is("film", Content::new(1, 300_000));
        let shown = bench.regrip(&["show", "2"]);
        assert!(shown.out.contains("completed"), "{}", shown.out);
    }
}
