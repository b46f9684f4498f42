//! Files that already exist, and files that want one name.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Cut, Replace, Status};
use regrip_faultd::{Content, Fault, FileScript, LogEntry, Script, Version};

const DATE: &str = "Sat, 28 Nov 2020 10:00:00 GMT";

/// An answer without a fault.
const HONEST: [Fault; 0] = [];

fn overwrite(bench: &Bench, extra: &[&str]) -> Ran {
    let url = bench.url("/film");
    bench.run(&[&[url.as_str(), "--on-exists", "overwrite"], extra].concat())
}

fn conditions(bench: &Bench) -> Vec<(Option<String>, Option<String>)> {
    let value = |entry: &LogEntry, name| entry.header(name).map(str::to_owned);
    let log = bench.server.log();
    log.iter().map(|entry| (value(entry, "if-none-match"), value(entry, "if-modified-since"))).collect()
}

#[test]
fn overwrite_asks_by_the_recorded_validator_and_304_leaves_the_file() {
    let etag = Some("\"v1\"".to_owned());
    let table = [
        (Version::new(1, 1000).etag("\"v1\""), (etag, None)),
        (Version::new(1, 1000).last_modified(DATE), (None, Some(DATE.to_owned()))),
    ];
    for (version, condition) in table {
        let script = FileScript::honest(version).answer(HONEST).answer([Status::code(304)]);
        let bench = Bench::serving(Script::one("/film", script));
        assert_eq!(overwrite(&bench, &[]).code, Some(0));
        let before = std::fs::metadata(bench.path("film")).expect("there");
        let ran = overwrite(&bench, &[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.err.contains(": unchanged on the server"), "{}", ran.err);
        assert_eq!(conditions(&bench), [(None, None), condition]);
        let after = std::fs::metadata(bench.path("film")).expect("there");
        assert_eq!(before.modified().ok(), after.modified().ok());
        assert_eq!(bench.names(), ["film"]);
    }
}

#[test]
fn a_server_that_ignores_conditions_is_believed_by_an_identical_strong_etag() {
    let script = FileScript::honest(Version::new(1, 1000).etag("\"v1\""));
    let bench = Bench::serving(Script::one("/film", script));
    assert_eq!(overwrite(&bench, &[]).code, Some(0));
    let ran = overwrite(&bench, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(": unchanged on the server"), "{}", ran.err);
    // --force does not ask.
    let ran = overwrite(&bench, &["--force"]);
    assert!(ran.err.contains(": complete, "), "{}", ran.err);
    let etag = Some("\"v1\"".to_owned());
    assert_eq!(conditions(&bench), [(None, None), (etag, None), (None, None)]);
}

#[test]
fn rename_takes_another_name_beside_whatever_has_the_name() {
    let script = || Script::one("/film", FileScript::honest(Version::new(1, 1000)));
    type Make = fn(&std::path::Path);
    let makes: [Make; 3] = [
        |path| std::fs::create_dir(path).expect("made"),
        |path| std::os::unix::fs::symlink("elsewhere", path).expect("made"),
        |path| std::fs::write(path, "mine").expect("written"),
    ];
    for make in makes {
        let bench = Bench::serving(script());
        make(&bench.path("film"));
        let ran = bench.run(&[&bench.url("/film"), "--on-exists", "rename"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is("film.1", Content::new(1, 1000));
    }
}

#[test]
fn a_file_that_is_larger_than_allowed_is_refused_with_the_option_that_allows_it() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 2049))));
    let ran = bench.run(&[&bench.url("/film"), "--max-filesize", "2k"]);
    assert!(ran.code == Some(1) && ran.err.contains("--max-filesize"), "{ran:?}");
    assert_eq!(bench.run(&[&bench.url("/film"), "--max-filesize", "2049"]).code, Some(0));
}

// FD05
#[test]
fn a_new_version_replaces_the_file_once_it_is_complete_and_a_cut_is_resumed() {
    let (old, new) = (Version::new(1, 300_000).etag("\"v1\""), Version::new(2, 300_000).etag("\"v2\""));
    let script = FileScript::honest(old)
        .version(new)
        .answer(HONEST)
        .answer([Replace::with(1), Cut::after(100_000)])
        .answer([Status::code(503)]);
    let bench = Bench::serving(Script::one("/film", script));
    assert_eq!(overwrite(&bench, &[]).code, Some(0));
    let ran = overwrite(&bench, &["--max-attempts", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    bench.assert_is("film", Content::new(1, 300_000));
    assert_eq!(length(&bench.path("film.part")), 100_000);
    assert_eq!(overwrite(&bench, &[]).code, Some(0));
    bench.assert_is("film", Content::new(2, 300_000));
    let resumed = Some("bytes=100000-".to_owned());
    assert_eq!(bench.ranges("/film"), [None, None, resumed.clone(), resumed]);
}

#[test]
fn a_file_that_was_not_left_so_by_regrip_is_replaced_without_a_condition() {
    for touched in [false, true] {
        let script = FileScript::honest(Version::new(1, 1000).etag("\"v1\""));
        let bench = Bench::serving(Script::one("/film", script));
        if touched {
            assert_eq!(overwrite(&bench, &[]).code, Some(0));
        }
        std::fs::write(bench.path("film"), "mine").expect("written");
        assert_eq!(overwrite(&bench, &[]).code, Some(0));
        bench.assert_is("film", Content::new(1, 1000));
        assert!(conditions(&bench).iter().all(|sent| *sent == (None, None)));
    }
}

#[test]
fn a_server_that_fails_to_answer_leaves_the_file_and_fails_the_run() {
    for (status, requests) in [(404, 1), (503, 2)] {
        let script =
            FileScript::honest(Version::new(1, 1000).etag("\"v1\"")).answer(HONEST).then([Status::code(status)]);
        let bench = Bench::serving(Script::one("/film", script));
        assert_eq!(overwrite(&bench, &[]).code, Some(0));
        let ran = overwrite(&bench, &["--max-attempts", "2"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(&status.to_string()), "{}", ran.err);
        bench.assert_is("film", Content::new(1, 1000));
        assert_eq!(bench.server.log().len(), 1 + requests);
    }
}

#[test]
fn a_complete_file_is_left_without_a_request_and_the_run_says_since_when() {
    let script = FileScript::honest(Version::new(1, 1000).etag("\"v1\""));
    let bench = Bench::serving(Script::one("/film", script));
    let url = bench.url("/film");
    assert_eq!(bench.run(&[&url]).code, Some(0));
    let ran = bench.run(&[&url]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.starts_with("film: unchanged, fetched 20") && ran.err.contains("UTC; the server was not asked"),
        "{}",
        ran.err
    );
    assert_eq!(bench.server.log().len(), 1);
    let ran = bench.run(&[&url, "--force"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bench.server.log().len(), 2);
}

#[test]
fn force_gives_up_an_unfinished_download_of_another_url() {
    let cut = FileScript::honest(Version::new(1, 300_000)).answer([Cut::after(100_000)]).then([Status::code(503)]);
    let script = Script::new().file("/old/film", cut).file("/new/film", FileScript::honest(Version::new(2, 1000)));
    let bench = Bench::serving(script);
    let ran = bench.run(&[&bench.url("/old/film"), "--max-attempts", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let new = bench.url("/new/film");
    let ran = bench.run(&[&new]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(length(&bench.path("film.part")), 100_000);
    let ran = bench.run(&[&new, "--force"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film", Content::new(2, 1000));
    assert_eq!(bench.names(), ["film"]);
}

// FD06
#[test]
fn colliding_names_are_numbered_in_the_order_given_and_the_same_run_again_changes_nothing() {
    for by_list in [false, true] {
        let mut script = Script::new();
        for seed in 1..=40 {
            let file = FileScript::honest(Version::new(seed, 1000 + seed));
            script = script.file(&format!("/{seed}/0.jpg"), file);
        }
        let bench = Bench::serving(script);
        std::fs::write(bench.path("0.2.jpg"), "mine").expect("written");
        let urls: Vec<String> = (1..=40).map(|seed| bench.url(&format!("/{seed}/0.jpg"))).collect();
        std::fs::write(bench.path("urls"), urls.join("\n")).expect("written");
        let mut arguments = vec!["--on-exists", "rename", "-j", "8"];
        match by_list {
            true => arguments.extend(["-i", "urls"]),
            false => arguments.extend(urls.iter().map(String::as_str)),
        }
        for _ in 0..2 {
            let ran = bench.run(&arguments);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            bench.assert_is("0.jpg", Content::new(1, 1001));
            bench.assert_is("0.1.jpg", Content::new(2, 1002));
            for seed in 3..=40 {
                bench.assert_is(&format!("0.{seed}.jpg"), Content::new(seed, 1000 + seed));
            }
            assert_eq!(std::fs::read(bench.path("0.2.jpg")).expect("there"), b"mine");
            assert_eq!(bench.server.log().len(), 40);
        }
    }
}

#[test]
fn a_name_that_only_other_systems_forbid_is_allowed() {
    let mut script = Script::new();
    for path in ["/Film%3A%20Two.mkv", "/what%3F.iso", "/NUL", "/a%22b%7C"] {
        script = script.file(path, FileScript::honest(Version::new(1, 1000)));
    }
    let bench = Bench::serving(script);
    for (path, name) in [
        ("/Film%3A%20Two.mkv", "Film: Two.mkv"),
        ("/what%3F.iso", "what?.iso"),
        ("/NUL", "NUL"),
        ("/a%22b%7C", "a\"b|"),
    ] {
        let ran = bench.run(&[&bench.url(path)]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        bench.assert_is(name, Content::new(1, 1000));
    }
}
