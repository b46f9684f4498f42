//! A file system without flock, and lock files that others left.
#![cfg(target_os = "linux")]

use crate::support::{Bench, Ran, length};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SIZE: u64 = 3_000_000;

fn bench(bytes_per_second: u64) -> Bench {
    let file = FileScript::honest(Version::new(1, SIZE).etag("\"v1\""));
    Bench::serving(Script::one("/film", file).bytes_per_second(bytes_per_second))
}

/// `regrip get` of the film on a system whose flock fails with `errno`.
fn without_flock(bench: &Bench, errno: &str) -> Command {
    let folder = bench.path("state");
    std::fs::create_dir_all(&folder).expect("a folder");
    let library: PathBuf = folder.join(format!("{errno}.so"));
    if !library.exists() {
        let source = folder.join(format!("{errno}.c"));
        let code = format!("#include <errno.h>\nint flock(int fd, int how) {{ errno = {errno}; return -1; }}\n");
        std::fs::write(&source, code).expect("written");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        assert!(built.expect("cc runs").success());
    }
    let mut command = bench.get(&[&bench.url("/film")]);
    command.env("LD_PRELOAD", library);
    command
}

fn run(command: &mut Command) -> Ran {
    Ran::of(command.output().expect("regrip runs"))
}

// FD01
#[test]
fn on_a_file_system_without_flock_a_file_is_downloaded_and_nothing_else_stays() {
    for errno in ["ENOSYS", "ENOLCK", "EOPNOTSUPP"] {
        let bench = bench(100_000_000);
        let ran = run(&mut without_flock(&bench, errno));
        assert_eq!(ran.code, Some(0), "{errno}: {ran:?}");
        bench.assert_is("film", Content::new(1, SIZE));
        assert_eq!(bench.names(), ["film"], "{errno}");
    }
}

#[test]
fn without_flock_a_second_run_is_refused_and_one_after_a_kill_resumes() {
    let bench = bench(1_000_000);
    let mut command = without_flock(&bench, "ENOSYS");
    let mut first = command.stderr(Stdio::null()).spawn().expect("starts");
    while length(&bench.path("film.part")) < 500_000 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(bench.names(), ["film.part", "film.part.lock"]);
    for mut second in [without_flock(&bench, "ENOSYS"), bench.get(&[&bench.url("/film")])] {
        let ran = run(&mut second);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let who = format!("being written by process {} on host ", first.id());
        assert!(ran.err.contains(&who) && ran.err.contains("film.part.lock"), "{}", ran.err);
    }
    first.kill().expect("killed");
    first.wait().expect("ended");
    let ran = run(&mut without_flock(&bench, "ENOSYS"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(1, SIZE));
    assert_eq!(bench.names(), ["film"]);
    assert_eq!(bench.ranges("/film").len(), 2);
}

#[test]
fn a_lock_file_of_another_host_is_named_with_what_to_do_and_nothing_is_asked() {
    let bench = bench(100_000_000);
    let lock = r#"{"host":"nas","boot":"b","pidNamespace":"pid:[1]","pid":7,"started":"1","thread":"0","token":"t"}"#;
    std::fs::write(bench.path("film.part.lock"), lock).expect("written");
    let ran = bench.run(&[&bench.url("/film")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in ["process 7 on host nas", "another host", "film.part.lock", "delete the lock file"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(bench.names(), ["film.part.lock"]);
    assert!(bench.server.log().is_empty(), "a request was made");
    std::fs::remove_file(bench.path("film.part.lock")).expect("removed");
    assert_eq!(bench.run(&[&bench.url("/film")]).code, Some(0));
}
