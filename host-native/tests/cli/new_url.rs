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

// FW11
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

#[test]
fn a_mirror_takes_over_when_the_first_source_is_gone() {
    let version = |seed, etag| Version::new(seed, SIZE).etag(etag);
    let film = FileScript::honest(version(1, "\"v1\"")).answer([Cut::after(100_000)]).then([Status::code(404)]);
    let script = Script::one("/film", film)
        .file("/other", FileScript::honest(version(2, "\"v1\"")))
        .file("/mirror", FileScript::honest(version(1, "\"m\"")));
    let bench = Bench::serving(script);
    let [film, other, mirror] = ["/film", "/other", "/mirror"].map(|path| bench.url(path));
    let typed = [&*film, "--mirror", &*other, "--mirror", &*mirror, "-o", "film.mkv", "--retry-base-ms", "1"];
    let ran = bench.run(&typed);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film.mkv", Content::new(1, SIZE));
    assert_eq!(bench.ranges("/mirror"), [Some("bytes=34464-".to_owned())], "64 KiB are compared");
    assert!(ran.err.contains("it serves another file"), "{ran:?}");
    let again = bench.run(&typed);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.err.contains("was not asked"), "{again:?}");
}

#[test]
fn a_metalink_document_names_files_with_their_digests_and_sources() {
    let version = |seed| Version::new(seed, SIZE).etag("\"v1\"");
    let script = Script::one("/film", FileScript::honest(version(1))).file("/liar", FileScript::honest(version(2)));
    let bench = Bench::serving(script);
    let file = |name: &str, hex: &str, sources: &[&str]| {
        let urls: String = sources.iter().map(|path| format!("<url>{}</url>", bench.url(path))).collect();
        format!("<file name='{name}'><size>{SIZE}</size><hash type='sha-256'>{hex}</hash>{urls}</file>")
    };
    let right =
        regrip_core::hasher::Hasher::of(regrip_core::Algorithm::Sha256, &Content::new(1, SIZE).bytes(0..SIZE)).hex;
    let files = file("sub/film.mkv", &right, &["/liar", "/film"])
        + &file("wrong", &"0".repeat(64), &["/film"])
        + &file("../never-written", &right, &["/film"]);
    std::fs::write(
        bench.path("films.meta4"),
        format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'>{files}</metalink>"),
    )
    .unwrap();
    let ran = bench.run(&["films.meta4"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    bench.assert_is("sub/film.mkv", Content::new(1, SIZE));
    assert!(!bench.path("wrong").exists() && !bench.path("../never-written").exists());
    for text in ["\"../never-written\">: expected a name below the folder", "not 00000000", "1 of 3 done"] {
        assert!(ran.err.contains(text), "{text}: {ran:?}");
    }
    for (name, text) in
        [("html.meta4", "<html></html>"), ("text.meta4", "hello"), ("none.meta4", "<metalink></metalink>")]
    {
        std::fs::write(bench.path(name), text).unwrap();
        let ran = bench.run(&[name]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(name), "{ran:?}");
    }
}
