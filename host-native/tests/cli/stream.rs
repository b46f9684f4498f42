//! `-o -`: standard output has the bytes of files and nothing else.

use crate::support::Bench;
use regrip_faultd::faults::{Cut, IgnoreRange, Replace, Status};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::io::Read;
use std::process::Output;

const SIZE: u64 = 300_000;

fn content(seed: u64) -> Vec<u8> {
    Content::new(seed, SIZE).bytes(0..SIZE)
}

fn stream(bench: &Bench, arguments: &[&str]) -> Output {
    let arguments = [arguments, &["-o", "-"]].concat();
    bench.get(&arguments).output().expect("regrip runs")
}

fn one(file: FileScript) -> Bench {
    Bench::serving(Script::one("/film", file))
}

// FD09
#[test]
fn a_broken_connection_is_resumed_within_the_run_and_nothing_is_left_behind() {
    let date = "Sat, 28 Nov 2020 10:00:00 GMT";
    for version in
        [Version::new(1, SIZE).etag("\"v1\""), Version::new(1, SIZE).last_modified(date), Version::new(1, SIZE)]
    {
        let bench = one(FileScript::honest(version)
            .answer([Cut::after(100_000)])
            .answer([Status::code(503)])
            .answer([Cut::after(100_000)]));
        let output = stream(&bench, &[&bench.url("/film"), "--print-checksum", "sha256"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout == content(1));
        let text = String::from_utf8_lossy(&output.stderr);
        let sha256 = Content::new(1, SIZE).sha256();
        assert!(text.contains(&sha256), "{text}");
        assert!(bench.names().is_empty() && !bench.path("state").exists());
    }
}

#[test]
fn what_cannot_be_resumed_fails_and_no_byte_of_another_version_follows() {
    let version = |seed| Version::new(seed, SIZE);
    let cut = |first| FileScript::honest(first).answer([Cut::after(100_000)]);
    let replaced = cut(version(1)).version(version(2)).then([Replace::with(1)]);
    let tagged = cut(version(1).etag("\"v1\"")).version(version(2).etag("\"v2\"")).then([Replace::with(1)]);
    let ignored = cut(version(1)).then([IgnoreRange::always()]);
    for file in [replaced, tagged, ignored] {
        let bench = one(file);
        let output = stream(&bench, &[&bench.url("/film")]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout == content(1)[..100_000]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("cannot resume"), "{text}");
    }
}

#[test]
fn files_follow_each_other_in_order_and_nothing_follows_one_that_failed() {
    let mut script = Script::new();
    for seed in 1..=2 {
        let file = FileScript::honest(Version::new(seed, SIZE));
        script = script.file(&format!("/{seed}/"), file);
    }
    let bench = Bench::serving(script);
    let urls = ["/2/", "/1/", "/gone/"].map(|path| bench.url(path));
    let output = stream(&bench, &[&urls[0], &urls[1], "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout == [content(2), content(1)].concat());
    let text = String::from_utf8(output.stderr).expect("text");
    let events = text.lines().map(serde_json::from_str);
    let events: Result<Vec<serde_json::Value>, _> = events.collect();
    let events = events.expect("an object a line");
    let completed = events.iter().filter(|event| event["event"] == "completed");
    assert_eq!(completed.count(), 2);

    let output = stream(&bench, &[&urls[0], &urls[2], &urls[1], "-q"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout == content(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("404"), "{text}");
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let file = FileScript::honest(Version::new(1, 50_000_000));
    let bench = one(file);
    let mut child = bench.start(&[&bench.url("/film"), "-o", "-", "-q"]);
    let mut first = [0; 1000];
    let mut output = child.stdout.take().expect("it is piped");
    output.read_exact(&mut first).expect("bytes");
    drop(output);
    let ran = child.wait_with_output().expect("it ends");
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    assert!(first[..] == Content::new(1, 50_000_000).bytes(0..1000));
}

#[test]
fn output_that_takes_no_more_is_exit_3_and_a_wrong_digest_exit_1() {
    let bench = one(FileScript::honest(Version::new(1, SIZE)));
    let full = std::fs::File::options().write(true).open("/dev/full");
    let full = full.expect("a device that is always full");
    let mut command = bench.get(&[&bench.url("/film"), "-o", "-"]);
    let output = command.stdout(full).output().expect("regrip runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let wrong = "0".repeat(64);
    let output = stream(&bench, &[&bench.url("/film"), "--sha256", &wrong]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&wrong), "{text}");
}

#[test]
fn a_file_that_is_named_like_the_option_is_written_by_its_path() {
    let bench = one(FileScript::honest(Version::new(1, SIZE)));
    let ran = bench.run(&[&bench.url("/film"), "-o", "./-"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("-", Content::new(1, SIZE));
}
