//! Signals: Ctrl-C, SIGTERM, and SIGKILL at random moments (C03, C05–C08).

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Stall, Trickle};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::process::Stdio;
use std::time::Duration;

const SIZE: u64 = 6_000_000;

fn slow(bytes_per_second: u64) -> Bench {
    let file = FileScript::honest(Version::new(1, SIZE).etag("\"v1\""));
    Bench::serving(Script::one("/film", file).bytes_per_second(bytes_per_second))
}

/// How often the tests with kills at random moments run: once, or as often as the campaign says.
fn rounds() -> u32 {
    std::env::var("REGRIP_KILL_ROUNDS").map_or(1, |text| text.parse().expect("a number"))
}

fn wait_for_bytes(bench: &Bench, bytes: u64) {
    while length(&bench.path("film.part")) < bytes {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns `true` if these tests were started by `nohup` or the like: what they start inherits that.
fn ignores_hup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("it runs");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("there is one");
    u64::from_str_radix(ignored.trim(), 16).expect("bits") & 1 == 1
}

fn send(signal: &str, child: &std::process::Child) {
    let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
}

// C11
#[test]
fn after_ctrl_c_the_same_command_goes_on_from_the_bytes_on_disk() {
    for signal in ["INT", "TERM", "HUP"].into_iter().filter(|&signal| signal != "HUP" || !ignores_hup()) {
        let bench = slow(3_000_000);
        let child = bench.start(&[&bench.url("/film")]);
        wait_for_bytes(&bench, 1_000_000);
        send(signal, &child);
        let ran = Ran::of(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert!(ran.err.contains("run the same command again"), "{}", ran.err);
        let kept = length(&bench.path("film.part"));
        assert!(kept >= 1_000_000);
        let ran = bench.run(&[&bench.url("/film")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film", Content::new(1, SIZE));
        assert_eq!(bench.ranges("/film"), [None, Some(format!("bytes={kept}-"))]);
    }
}

#[test]
fn nohup_has_it_go_on_when_its_terminal_is_closed() {
    let bench = slow(6_000_000);
    let get = bench.get(&[&bench.url("/film")]);
    let mut command = std::process::Command::new("nohup");
    command.arg(get.get_program()).args(get.get_args()).current_dir(bench.path(""));
    command.envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nohup runs");
    wait_for_bytes(&bench, 1_000_000);
    send("HUP", &child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    bench.assert_is("film", Content::new(1, SIZE));
}

// C03, C04, C09, D06
#[test]
fn killed_ten_times_at_random_moments_it_still_ends_with_one_whole_file() {
    // The same total rate over one connection and over eight.
    let ways = [("1", 8_000_000), ("8", 1_000_000)];
    for (connections, bytes_per_second) in (0..rounds()).flat_map(|_| ways) {
        let bench = slow(bytes_per_second);
        let url = bench.url("/film");
        // Fewer attempts than kills: a kill costs none.
        let arguments = [&url, "-x", connections, "--max-attempts", "2"];
        for _ in 0..10 {
            let mut child = bench.start(&arguments);
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..120)));
            child.kill().expect("killed");
            child.wait().expect("ended");
            let part = std::fs::read(bench.path("film.part")).unwrap_or_default();
            assert!(part == Content::new(1, SIZE).bytes(0..part.len() as u64), "-x {connections}: a part with a gap");
        }
        let ran = bench.run(&arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film", Content::new(1, SIZE));
        assert_eq!(bench.names(), ["film"]);
    }
}

// C05, C06, C07, C08
#[test]
fn killed_around_the_commit_it_is_whole_or_goes_on() {
    // Small enough that the kill falls on the commit again and again.
    let file = FileScript::honest(Version::new(2, 2000).etag("\"v2\""));
    let bench = Bench::serving(Script::one("/film", file));
    let url = bench.url("/film");
    for _ in 0..25 * rounds() {
        let mut child = bench.start(&[&url]);
        std::thread::sleep(Duration::from_micros(fastrand::u64(1000..40_000)));
        child.kill().expect("killed");
        child.wait().expect("ended");
        if bench.path("film").exists() {
            bench.assert_is("film", Content::new(2, 2000));
        }
        let ran = bench.run(&[&url]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film", Content::new(2, 2000));
        assert_eq!(bench.names(), ["film"]);
        std::fs::remove_file(bench.path("film")).expect("removed");
    }
}

#[test]
fn a_kill_before_a_small_file_is_complete_leaves_nothing_and_the_next_run_fetches_it() {
    let file = FileScript::honest(Version::new(3, 900_000).etag("\"v3\""));
    let bench = Bench::serving(Script::one("/film", file).bytes_per_second(600_000));
    let url = bench.url("/film");
    let mut child = bench.start(&[&url]);
    while bench.ranges("/film").is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(bench.names(), [""; 0]);
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(3, 900_000));
    assert_eq!(bench.names(), ["film"]);
    assert_eq!(bench.ranges("/film"), [None, None], "no byte was kept");
}

// C05, C06, C07
#[test]
fn many_small_files_killed_again_and_again_are_all_whole_in_the_end() {
    (0..rounds()).for_each(|_| small_files_killed_again_and_again());
}

fn small_files_killed_again_and_again() {
    let count: u64 = 60;
    let name = |number: u64| format!("f{number}");
    let file = |number| FileScript::honest(Version::new(number, 3000).etag("\"v\""));
    let script = (0..count).fold(Script::new(), |script, n| script.file(&format!("/{}", name(n)), file(n)));
    let bench = Bench::serving(script);
    let urls: Vec<String> = (0..count).map(|number| bench.url(&format!("/{}", name(number)))).collect();
    let args: Vec<&str> = ["-j", "8"].into_iter().chain(urls.iter().map(String::as_str)).collect();
    for _ in 0..15 {
        let mut child = bench.start(&args);
        std::thread::sleep(Duration::from_micros(fastrand::u64(1000..150_000)));
        child.kill().expect("killed");
        child.wait().expect("ended");
        for number in (0..count).filter(|&number| bench.path(&name(number)).exists()) {
            bench.assert_is(&name(number), Content::new(number, 3000));
        }
    }
    let ran = bench.run(&args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (0..count).for_each(|number| bench.assert_is(&name(number), Content::new(number, 3000)));
    assert_eq!(bench.names().len() as u64, count, "{:?}", bench.names());
}

#[test]
fn killed_amid_the_bytes_of_a_source_that_lies_a_later_run_without_the_digest_ends_with_the_file() {
    const MIXED: u64 = 4_000_000;
    let version = |seed| Version::new(seed, MIXED).etag("\"v1\"");
    let slow = Trickle::every(20, 20_000);
    let film = FileScript::honest(version(1)).answer([slow.clone()]).answer([slow]);
    let script = Script::one("/film", film)
        .file("/liar", FileScript::honest(version(2)))
        .file("/silent", FileScript::honest(version(1)).then([Stall::after(0)]));
    let bench = Bench::serving(script);
    let [url, liar, silent] = ["/film", "/liar", "/silent"].map(|path| bench.url(path));
    let sha256 = Content::new(1, MIXED).sha256();
    let mut child = bench.start(&[&url, "-x", "3", "--checksum", &sha256, "--mirror", &liar, "--mirror", &silent]);
    // The third piece stands still for a while: until then the part ends with those of the liar.
    wait_for_bytes(&bench, 2_600_000);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let part = std::fs::read(bench.path("film.part")).expect("the part is kept");
    assert!(part != Content::new(1, MIXED).bytes(0..part.len() as u64), "{} bytes are of the film only", part.len());
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("the complete file has another digest"), "{ran:?}");
    bench.assert_is("film", Content::new(1, MIXED));
}
