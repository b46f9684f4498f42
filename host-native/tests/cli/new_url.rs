//! Another URL for a download that has not finished: a new signature, a mirror, another file.

use crate::support::Bench;
use regrip_faultd::faults::{Cut, Status};
use regrip_faultd::{Content, FileScript, Script, Version};

const SIZE: u64 = 300_000;
const ARGUMENTS: [&str; 4] = ["-o", "film.mkv", "--max-attempts", "1"];

/// `/film` breaks after 100 kB and is then gone; `/mirror` has the same bytes under another ETag, `/other` has others.
fn bench() -> Bench {
    let version = |seed, etag| Version::new(seed, SIZE).etag(etag);
    let film = FileScript::honest(version(1, "\"v1\""))
        .answer([Cut::after(100_000)])
        .answer([Status::code(404)])
        .honest_answer();
    let mirror = FileScript::honest(version(1, "\"m\""));
    let other = FileScript::honest(version(2, "\"v1\""));
    let script = Script::one("/film", film).file("/mirror", mirror).file("/other", other);
    let bench = Bench::serving(script);
    let signed = bench.url("/film?signature=1");
    let cut = bench.run(&[&[&*signed], &ARGUMENTS[..]].concat());
    assert_eq!(cut.code, Some(1), "{cut:?}");
    bench
}

#[test]
fn a_new_signature_goes_on_from_the_bytes_there_are() {
    let bench = bench();
    let signed = bench.url("/film?signature=2");
    let ran = bench.run(&[&[&*signed], &ARGUMENTS[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film.mkv", Content::new(1, SIZE));
    let last = bench.ranges("/film").pop().flatten();
    assert_eq!(last.as_deref(), Some("bytes=100000-"));
}

#[test]
fn a_mirror_is_compared_and_goes_on() {
    let bench = bench();
    let mirror = bench.url("/mirror");
    let ran = bench.run(&[&[&*mirror], &ARGUMENTS[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film.mkv", Content::new(1, SIZE));
    let first = bench.ranges("/mirror");
    assert_eq!(first, [Some("bytes=34464-".to_owned())], "64 KiB are compared");
}

#[test]
fn another_file_changes_nothing_and_force_takes_its_place() {
    let bench = bench();
    let other = bench.url("/other");
    let ran = bench.run(&[&[&*other], &ARGUMENTS[..]].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("--force"), "{ran:?}");
    let part = std::fs::read(bench.path("film.mkv.part")).expect("the part is kept");
    assert!(part == Content::new(1, SIZE).bytes(0..100_000));
    let forced = bench.run(&[&[&*other, "--force"], &ARGUMENTS[..]].concat());
    assert_eq!(forced.code, Some(0), "{forced:?}");
    bench.assert_is("film.mkv", Content::new(2, SIZE));
}
