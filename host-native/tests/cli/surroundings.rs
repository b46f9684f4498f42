//! A home and folders that cannot be written or read, and limits on the size of files.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Chunked, Cut, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const NOBODY: u32 = 65_534;

fn bench(size: u64) -> Bench {
    let file = FileScript::honest(Version::new(1, size).etag("\"v1\""));
    Bench::serving(Script::one("/film", file))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

/// Runs it as a user whose permissions count, with the folder as its own; `None` if only root can.
fn as_nobody(bench: &Bench, command: &mut Command) -> Option<Ran> {
    let folder = bench.path("");
    let chown = Command::new("chown").arg("-R").arg(NOBODY.to_string()).arg(folder).status();
    let mut can_run = Command::new(env!("CARGO_BIN_EXE_regrip"));
    let can_run = can_run.arg("--version").uid(NOBODY).output();
    if !chown.is_ok_and(|chown| chown.success()) || !can_run.is_ok_and(|ran| ran.status.success()) {
        eprintln!("not root, or a target folder that others cannot read: this cannot be shown here");
        return None;
    }
    Some(Ran::of(command.uid(NOBODY).output().expect("regrip runs")))
}

/// With no home, or with one that cannot be written.
fn homeless(bench: &Bench, home: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = bench.get(arguments);
    command.env_remove("XDG_STATE_HOME");
    if let Some(home) = home {
        command.env("HOME", home);
    }
    command
}

#[test]
fn without_a_home_for_its_state_a_file_is_downloaded_with_a_warning_and_a_cut_is_resumed() {
    for home in [None, Some("/dev/null"), Some("/proc/none"), Some("relative")] {
        let script = FileScript::honest(Version::new(1, 300_000).etag("\"v1\""))
            .answer([Cut::after(100_000)])
            .answer([Status::code(503)]);
        let bench = Bench::serving(Script::one("/film", script));
        let url = bench.url("/film");
        let ran = homeless(&bench, home, &[&url, "--max-attempts", "1"]).output();
        let ran = Ran::of(ran.expect("regrip runs"));
        assert_eq!(ran.code, Some(1), "{home:?}: {ran:?}");
        for part in ["regrip: warning: ", ".regrip-state.db", "--state"] {
            assert!(ran.err.contains(part), "{home:?}: {}", ran.err);
        }
        let ran = homeless(&bench, home, &[&url, "-q"]).output();
        let ran = Ran::of(ran.expect("regrip runs"));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{home:?}");
        bench.assert_is("film", Content::new(1, 300_000));
        let resumed = Some("bytes=100000-".to_owned());
        assert_eq!(bench.ranges("/film"), [None, resumed.clone(), resumed]);
        assert_eq!(bench.names(), [".regrip-state.db", "film"]);
    }
}

#[test]
fn a_state_file_that_was_named_or_is_of_a_later_version_has_no_substitute() {
    let bench = bench(1000);
    let url = bench.url("/film");
    let ran = homeless(&bench, None, &[&url, "--state", "/dev/null/state.db"]).output();
    assert_eq!(Ran::of(ran.expect("regrip runs")).code, Some(3));
    std::fs::create_dir_all(bench.path("state/regrip")).expect("made");
    std::fs::write(bench.path("state/regrip/state.db"), "no database, and long enough to be one").expect("written");
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(bench.names().is_empty() && bench.server.log().is_empty());
}

// D02
#[test]
fn a_folder_that_cannot_be_read_takes_a_file_and_one_that_cannot_be_written_is_refused_first() {
    let bench = bench(300_000);
    let url = bench.url("/film");
    for (name, mode) in [("blind", 0o300), ("closed", 0o500), ("locked", 0o600)] {
        std::fs::create_dir(bench.path(name)).expect("made");
        set_mode(&bench.path(name), mode);
    }
    for (folder, extra) in [("blind", "--json"), ("blind", "--force")] {
        let Some(ran) = as_nobody(&bench, &mut bench.get(&[&url, "-d", folder, extra])) else {
            return;
        };
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("blind/film", Content::new(1, 300_000));
    }
    assert_eq!(bench.server.log().len(), 2);
    for folder in ["closed", "locked"] {
        let ran = as_nobody(&bench, &mut bench.get(&[&url, "-d", folder])).expect("as before");
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(&format!("/{folder} cannot be written to")), "{}", ran.err);
        let new = format!("{folder}/new");
        let ran = as_nobody(&bench, &mut bench.get(&[&url, "-d", &new])).expect("as before");
        assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
        assert!(ran.err.contains(&new), "{}", ran.err);
        assert!(!bench.path("closed/new").exists());
    }
    assert_eq!(bench.server.log().len(), 2, "a request was made");
}

/// A process that may write files of at most this many KiB.
fn limited(bench: &Bench, kib: u32) -> Ran {
    let get = bench.get(&[&bench.url("/film"), "--max-attempts", "1"]);
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("ulimit -f {kib}; exec \"$0\" \"$@\"")])
        .arg(get.get_program())
        .args(get.get_args())
        .envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(get.get_current_dir().expect("a folder"));
    Ran::of(command.output().expect("bash runs"))
}

// FD04
#[test]
fn a_file_larger_than_the_process_may_write_is_refused_before_a_byte_of_it_is_taken() {
    for size in [1_025_000, 3_000_000] {
        let bench = bench(size);
        let ran = limited(&bench, 1000);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let (size, limit) = (format!("{size} bytes"), "1024000 bytes");
        assert!(ran.err.contains(&size) && ran.err.contains(limit), "{}", ran.err);
        assert!(bench.names().is_empty(), "{:?}", bench.names());
        assert_eq!(bench.server.log().len(), 1);
    }
    let bench = bench(1_024_000);
    let ran = limited(&bench, 1000);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_file_of_unknown_size_that_grows_beyond_what_the_process_may_write_fails_and_keeps_its_part() {
    let script = FileScript::honest(Version::new(1, 3_000_000)).then([Chunked::plain()]);
    let bench = Bench::serving(Script::one("/film", script));
    let ran = limited(&bench, 1000);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("File too large"), "{}", ran.err);
    assert_eq!(length(&bench.path("film.part")), 1_024_000);
}
