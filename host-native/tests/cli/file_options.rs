//! Options about the file itself: `--newer`, `--remote-time`, `--content-disposition`, missing folders, `--force`.

use crate::support::{Bench, Ran, length};
use regrip_faultd::faults::{Cut, Headers, Replace, Status};
use regrip_faultd::{Content, Fault, FileScript, LogEntry, Script, Version};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

const DATE: &str = "Sat, 28 Nov 2020 10:00:00 GMT";
const SIZE: u64 = 300_000;

/// An answer without a fault.
const HONEST: [Fault; 0] = [];

fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_606_557_600)
}

fn film(seed: u64) -> Version {
    Version::new(seed, SIZE).etag(&format!("\"v{seed}\""))
}

fn one(file: FileScript) -> Bench {
    Bench::serving(Script::one("/film", file))
}

/// Files at `/1`, `/2` and so on whose responses have a Content-Disposition each.
fn named(names: &[&str]) -> Bench {
    let mut script = Script::new();
    for (seed, name) in (1..).zip(names) {
        let header = Headers::add("Content-Disposition", name);
        script = script.file(&format!("/{seed}"), FileScript::honest(film(seed)).then([header]));
    }
    Bench::serving(script)
}

fn ok(bench: &Bench, arguments: &[&str]) -> Ran {
    let ran = bench.run(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

fn modified(bench: &Bench, name: &str) -> SystemTime {
    let metadata = std::fs::metadata(bench.path(name)).expect("there");
    metadata.modified().expect("a time")
}

/// A file of `size` bytes that regrip did not download, last changed at `at`.
fn put(bench: &Bench, name: &str, size: u64, at: SystemTime) {
    std::fs::write(bench.path(name), Content::new(9, size).bytes(0..size)).expect("written");
    let file = std::fs::File::options().write(true).open(bench.path(name)).expect("there");
    file.set_modified(at).expect("set");
}

fn conditions(bench: &Bench) -> Vec<Option<String>> {
    let value = |entry: &LogEntry| entry.header("if-modified-since").map(str::to_owned);
    bench.server.log().iter().map(value).collect()
}

fn rows(bench: &Bench) -> Vec<serde_json::Value> {
    bench.regrip(&["list", "--json"]).events()
}

#[test]
fn newer_leaves_a_file_that_regrip_did_not_download_unless_the_server_has_a_newer_one() {
    // 304; then a server that ignores conditions: same size and not newer; newer; another size; without a Last-Modified.
    let table = [
        (Version::new(1, SIZE).last_modified(DATE), true, SIZE, true),
        (Version::new(1, SIZE).last_modified(DATE), false, SIZE, true),
        (Version::new(1, SIZE).last_modified("Sat, 28 Nov 2020 10:00:01 GMT"), false, SIZE, false),
        (Version::new(1, SIZE).last_modified(DATE), false, SIZE - 1, false),
        (Version::new(1, SIZE), false, SIZE, false),
    ];
    for (version, answers_304, size, left) in table {
        let file = FileScript::honest(version);
        let bench = one(if answers_304 { file.answer([Status::code(304)]) } else { file });
        put(&bench, "film", size, date() + Duration::from_millis(999));
        let ran = ok(&bench, &[&bench.url("/film"), "-N"]);
        assert_eq!(conditions(&bench), [Some(DATE.to_owned())], "asked once");
        assert_eq!(ran.err.contains("film: not newer on the server"), left, "{}", ran.err);
        bench.assert_is("film", Content::new(if left { 9 } else { 1 }, SIZE));
        assert_eq!(rows(&bench).len(), usize::from(!left));
        assert_eq!(bench.names(), ["film"]);
    }
}

#[test]
fn newer_replaces_a_file_only_once_the_new_one_is_complete_and_never_a_link() {
    let file = FileScript::honest(film(1)).answer([Cut::after(100_000)]).answer([Status::code(503)]);
    let bench = one(file);
    let url = bench.url("/film");
    put(&bench, "film", 10, date());
    let ran = bench.run(&[&url, "-N", "--max-attempts", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    bench.assert_is("film", Content::new(9, 10));
    ok(&bench, &[&url, "-N"]);
    bench.assert_is("film", Content::new(1, SIZE));
    assert_eq!(bench.ranges("/film").last(), Some(&Some("bytes=100000-".to_owned())));
    symlink("film", bench.path("link")).expect("linked");
    let before = bench.server.log().len();
    let ran = bench.run(&[&url, "-N", "-o", "link"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("a link") && bench.path("link").is_symlink(), "{}", ran.err);
    assert_eq!(bench.server.log().len(), before, "a request was made");
}

#[test]
fn newer_asks_about_a_downloaded_file_by_its_validator_and_by_its_time_without_one() {
    for version in [film(1), Version::new(1, SIZE)] {
        let has_etag = version == film(1);
        let bench = one(FileScript::honest(version).answer(HONEST).answer([Status::code(304)]));
        let url = bench.url("/film");
        ok(&bench, &[&url, "--newer", "--json"]);
        let ran = ok(&bench, &[&url, "--newer"]);
        assert!(ran.err.contains("film: unchanged on the server"), "{}", ran.err);
        let log = bench.server.log();
        assert_eq!(log[1].header("if-none-match"), has_etag.then_some("\"v1\""));
        assert_eq!(log[1].header("if-modified-since").is_some(), !has_etag);
    }
}

#[test]
fn newer_fails_and_leaves_the_file_if_the_server_does_not_say() {
    let bench = one(FileScript::honest(film(1)).then([Status::code(503)]));
    put(&bench, "film", 10, date());
    let ran = bench.run(&[&bench.url("/film"), "-N", "--max-attempts", "2", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!((ran.story(), conditions(&bench).len()), (vec!["failed".to_owned()], 2));
    bench.assert_is("film", Content::new(9, 10));
}

#[test]
fn a_file_has_the_time_of_the_server_also_after_a_cut_and_is_known_as_unchanged() {
    for (arguments, has) in [(&["--remote-time"][..], true), (&["-R"], true), (&[], false)] {
        let bench = one(FileScript::honest(film(1).last_modified(DATE)).answer([Cut::after(100_000)]));
        let url = bench.url("/film");
        let all = [&[url.as_str()], arguments].concat();
        ok(&bench, &all);
        assert_eq!(modified(&bench, "film") == date(), has, "{arguments:?}");
        let ran = ok(&bench, &all);
        assert!(ran.err.contains("unchanged, fetched 20"), "{}", ran.err);
        assert_eq!(bench.ranges("/film").len(), 2);
    }
}

#[test]
fn a_time_that_is_missing_or_cannot_be_true_is_not_used() {
    for date in ["", "yesterday", "Sat, 28 Nov 2071 10:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let version = if date.is_empty() { film(1) } else { film(1).last_modified(date) };
        let bench = one(FileScript::honest(version));
        let before = SystemTime::now() - Duration::from_secs(5);
        ok(&bench, &[&bench.url("/film"), "--remote-time"]);
        let modified = modified(&bench, "film");
        assert!(modified > before && modified < before + Duration::from_secs(3600), "{date}");
    }
}

#[test]
fn the_time_of_the_server_is_that_of_an_adopted_part_and_of_a_replaced_file_too() {
    let bench = one(FileScript::honest(Version::new(1, SIZE).last_modified(DATE)));
    let url = bench.url("/film");
    std::fs::write(bench.path("film.part"), Content::new(1, SIZE).bytes(0..200_000)).expect("written");
    ok(&bench, &[&url, "--adopt-part", "-R"]);
    assert_eq!(modified(&bench, "film"), date());
    assert!(bench.ranges("/film")[0].is_some(), "the part was not used");
    ok(&bench, &[&url, "--force", "-R"]);
    assert_eq!(modified(&bench, "film"), date());
}

#[test]
fn a_commit_that_a_crash_interrupted_is_finished_with_the_time_of_the_server() {
    let bench = one(FileScript::honest(film(1).last_modified(DATE)));
    let url = bench.url("/film");
    ok(&bench, &[&url]);
    // As it was between the record and the rename.
    std::fs::rename(bench.path("film"), bench.path("film.part")).expect("renamed");
    let there = std::fs::metadata(bench.path("film.part")).expect("there");
    let token = format!("{}:{}", there.dev(), there.ino());
    let state = rusqlite::Connection::open(bench.path("state/regrip/state.db")).expect("the state file");
    let set = "UPDATE downloads SET status = 'committing', committing_token = ?1, committing_size = ?2";
    assert_eq!(state.execute(set, (token, SIZE.cast_signed())).expect("set"), 1);
    drop(state);
    ok(&bench, &[&url, "-R"]);
    assert_eq!((modified(&bench, "film"), bench.ranges("/film").len()), (date(), 1));
    let ran = ok(&bench, &[&url]);
    assert!(ran.err.contains("unchanged, fetched 20"), "{}", ran.err);
}

// X05
#[test]
fn the_server_names_the_file_if_it_may_and_its_response_is_the_download() {
    let table = [
        ("attachment; filename=\"a film.mkv\"", "a film.mkv", false),
        ("attachment; filename=no; filename*=UTF-8''%c3%a9t%c3%a9.mkv", "\u{e9}t\u{e9}.mkv", false),
        ("attachment; filename=\"../../../etc/film\"", "film", false),
        ("attachment; filename=\"Film: Two?.mkv\"", "Film: Two?.mkv", false),
        ("inline", "1", false),
        ("attachment; filename=\"..\"", "1", true),
        ("attachment; filename=\".profile\"", "1", true),
        ("attachment; filename=\"film.mkv.part\"", "1", true),
        ("attachment; filename*=UTF-8''a%0ab", "1", true),
        ("attachment; filename=\"\"", "1", true),
    ];
    for (header, name, warned) in table {
        let bench = named(&[header]);
        let ran = ok(&bench, &[&bench.url("/1"), "--content-disposition"]);
        bench.assert_is(name, Content::new(1, SIZE));
        assert_eq!(bench.names(), [name], "{header}");
        assert_eq!(ran.err.contains("warning: the name "), warned, "{}", ran.err);
        assert_eq!(bench.ranges("/1"), [None], "{header}: more than one request");
        let ran = ok(&bench, &[&bench.url("/1"), "--content-disposition"]);
        assert!(ran.err.contains("unchanged, fetched 20"), "{}", ran.err);
        assert_eq!((bench.names(), rows(&bench).len()), (vec![name.to_owned()], 1));
    }
}

#[test]
fn a_url_without_a_name_needs_one_from_the_server() {
    let header = Headers::add("Content-Disposition", "attachment; filename=film.mkv");
    let script = Script::new()
        .file("/with/", FileScript::honest(film(1)).then([header]))
        .file("/without/", FileScript::honest(film(2)));
    let bench = Bench::serving(script);
    let ran = bench.run(&[&bench.url("/with/"), &bench.url("/without/"), "--content-disposition"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("neither the server nor the URL names the file"), "{}", ran.err);
    bench.assert_is("film.mkv", Content::new(1, SIZE));
    assert_eq!(bench.names(), ["film.mkv"]);
}

#[test]
fn a_download_with_the_servers_name_goes_on_by_the_same_command_whatever_the_server_says_then() {
    let header = |name: &str| Headers::add("Content-Disposition", &format!("attachment; filename={name}"));
    for option in ["fail", "overwrite", "rename"] {
        let file = FileScript::honest(film(1))
            .answer([header("film.mkv"), Cut::after(100_000)])
            .answer([Status::code(503)])
            .then([header("another.mkv")]);
        let bench = one(file);
        std::fs::write(bench.path("film"), "mine").expect("written");
        let url = bench.url("/film");
        let arguments = [url.as_str(), "--content-disposition", "--on-exists", option, "-d", "into"];
        let ran = bench.run(&[&arguments[..], &["--max-attempts", "1"]].concat());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(length(&bench.path("into/film.mkv.part")), 100_000);
        ok(&bench, &[&arguments[..], &["--max-attempts", "9"]].concat());
        bench.assert_is("into/film.mkv", Content::new(1, SIZE));
        assert_eq!(rows(&bench).len(), 1);
        let resumed = Some("bytes=100000-".to_owned());
        assert_eq!(bench.ranges("/film"), [None, resumed.clone(), resumed]);
        let files = std::fs::read_dir(bench.path("into")).expect("there");
        assert_eq!((files.count(), std::fs::read(bench.path("film")).expect("there")), (1, b"mine".to_vec()));
    }
}

#[test]
fn killed_at_any_moment_a_download_with_the_servers_name_ends_as_one_row_and_one_file() {
    let header = Headers::add("Content-Disposition", "attachment; filename=film.mkv");
    let bench = one(FileScript::honest(Version::new(2, 2000).etag("\"v2\"")).then([header]));
    let url = bench.url("/film");
    for round in 1..=20 {
        let mut child = bench.start(&[&url, "--content-disposition", "-R"]);
        std::thread::sleep(Duration::from_micros(fastrand::u64(1000..40_000)));
        child.kill().expect("killed");
        child.wait().expect("ended");
        ok(&bench, &[&url, "--content-disposition", "-R"]);
        bench.assert_is("film.mkv", Content::new(2, 2000));
        assert_eq!((bench.names(), rows(&bench).len()), (vec!["film.mkv".to_owned()], round));
        std::fs::remove_file(bench.path("film.mkv")).expect("removed");
    }
}

#[test]
fn names_of_servers_that_collide_follow_on_exists_in_the_order_given() {
    let same = ["attachment; filename=film.mkv"; 3];
    let urls = |bench: &Bench| ["/1", "/2", "/3"].map(|path| bench.url(path));
    let with = |urls: &[String], option: &str| {
        let typed = urls.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("{typed} --content-disposition --on-exists {option}")
    };
    let run = |bench: &Bench, line: &str| bench.run(&line.split(' ').collect::<Vec<_>>());
    for _ in 0..2 {
        let bench = named(&same);
        std::fs::write(bench.path("film.mkv"), "mine").expect("written");
        let line = with(&urls(&bench), "rename");
        for _ in 0..2 {
            let ran = run(&bench, &line);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            for seed in 1..=3 {
                bench.assert_is(&format!("film.{seed}.mkv"), Content::new(seed, SIZE));
            }
            assert_eq!((bench.names().len(), bench.server.log().len(), rows(&bench).len()), (4, 3, 3));
        }
    }
    let bench = named(&same);
    std::fs::write(bench.path("film.mkv"), "mine").expect("written");
    let ran = run(&bench, &with(&urls(&bench)[..1], "fail"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("film.mkv already exists"), "{}", ran.err);
    assert_eq!((bench.names(), rows(&bench).len()), (vec!["film.mkv".to_owned()], 0));
    assert_eq!(std::fs::read(bench.path("film.mkv")).expect("there"), b"mine");
    let ran = run(&bench, &with(&urls(&bench)[..1], "overwrite"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench.assert_is("film.mkv", Content::new(1, SIZE));
}

#[test]
fn a_server_that_does_not_answer_delays_no_name_and_leaves_nothing() {
    let header = || Headers::add("Content-Disposition", "attachment; filename=film.mkv");
    let script = Script::new()
        .file("/gone", FileScript::honest(film(1)).then([Status::code(404)]))
        .file("/busy", FileScript::honest(film(2)).answer([Status::code(503)]).then([header()]));
    let bench = Bench::serving(script);
    let ran = bench.run(&[&bench.url("/gone"), &bench.url("/busy"), "--content-disposition"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("404") && ran.err.contains("503; asking again at once"), "{}", ran.err);
    bench.assert_is("film.mkv", Content::new(2, SIZE));
    assert_eq!((bench.names(), rows(&bench).len()), (vec!["film.mkv".to_owned()], 1));
}

#[test]
fn a_new_version_under_another_name_does_not_replace_the_file_of_the_old_one() {
    let header = |name: &str| Headers::add("Content-Disposition", &format!("attachment; filename={name}"));
    let file = FileScript::honest(film(1))
        .version(film(2))
        .answer([header("app-1.zip")])
        .then([Replace::with(1), header("app-2.zip")]);
    let bench = one(file);
    for _ in 0..3 {
        ok(&bench, &[&bench.url("/film"), "--content-disposition", "-N"]);
    }
    bench.assert_is("app-1.zip", Content::new(1, SIZE));
    bench.assert_is("app-2.zip", Content::new(2, SIZE));
    assert_eq!((bench.names().len(), rows(&bench).len()), (2, 2));
}

#[test]
fn missing_folders_are_created_with_the_usual_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let bench = one(FileScript::honest(film(1)));
    let url = bench.url("/film");
    std::fs::create_dir(bench.path("real")).expect("made");
    symlink("real", bench.path("link")).expect("linked");
    ok(&bench, &[&url, "-d", "a/b/../c"]);
    bench.assert_is("a/c/film", Content::new(1, SIZE));
    ok(&bench, &[&url, "-o", "link/new/other"]);
    bench.assert_is("real/new/other", Content::new(1, SIZE));
    std::fs::create_dir(bench.path("usual")).expect("made");
    let mode = |name: &str| std::fs::metadata(bench.path(name)).expect("there").permissions().mode();
    assert_eq!((mode("a"), mode("a/c"), mode("real/new")), (mode("usual"), mode("usual"), mode("usual")));
    assert!(!bench.path("a/b").exists());
    // The same again finds the file.
    let ran = ok(&bench, &[&url, "-d", "a/c"]);
    assert!(ran.err.contains("unchanged, fetched"), "{}", ran.err);
    assert_eq!(bench.regrip(&["list", "--json"]).events().len(), 2);
}

#[test]
fn a_file_has_the_permissions_that_are_asked_for_small_or_large_and_after_a_cut() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |bench: &Bench| std::fs::metadata(bench.path("film")).expect("there").permissions().mode() & 0o777;
    for script in [
        FileScript::honest(film(1)),
        FileScript::honest(film(1)).answer([Cut::after(100_000)]),
        FileScript::honest(Version::new(1, 2_000_000).etag("\"1\"")).answer([Cut::after(1_500_000)]),
    ] {
        let bench = one(script);
        ok(&bench, &[&bench.url("/film"), "--file-mode", "606"]);
        assert_eq!(mode(&bench), 0o606);
    }
    let bench = one(FileScript::honest(film(1)));
    for wrong in ["", "9", "888", "0400", "4755", "rw-r--r--"] {
        let ran = bench.run(&[&bench.url("/film"), "--file-mode", wrong]);
        assert_eq!(ran.code, Some(2), "{wrong}: {ran:?}");
        assert!(ran.err.contains("--file-mode") && ran.err.contains("octal"), "{}", ran.err);
    }
}

#[test]
fn a_folder_that_the_system_refuses_to_create_is_exit_3() {
    let bench = one(FileScript::honest(film(1)));
    let ran = bench.run(&[&bench.url("/film"), "-d", "/proc/new/folder"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("/proc/new/folder cannot be created"), "{}", ran.err);
    assert!(bench.server.log().is_empty() && bench.names().is_empty());
    assert!(!bench.path("state").exists());
}

#[test]
fn force_replaces_what_regrip_downloaded_and_no_other_file() {
    let bench = one(FileScript::honest(film(1)));
    let url = bench.url("/film");
    std::fs::write(bench.path("film"), "mine").expect("written");
    let ran = bench.run(&[&url, "--force"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("already exists") && ran.err.contains("--on-exists"), "{}", ran.err);
    assert_eq!(std::fs::read(bench.path("film")).expect("there"), b"mine");
    assert!(bench.server.log().is_empty() && rows(&bench).is_empty());
    ok(&bench, &[&url, "--force", "--on-exists", "overwrite"]);
    ok(&bench, &[&url, "--force"]);
    bench.assert_is("film", Content::new(1, SIZE));
    assert_eq!(bench.ranges("/film"), [None, None]);
    // Edited since.
    std::fs::write(bench.path("film"), "mine").expect("written");
    let ran = bench.run(&[&url, "--force"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(std::fs::read(bench.path("film")).expect("there"), b"mine");
}

#[test]
fn force_goes_on_from_a_part_and_leaves_a_foreign_one() {
    let bench = one(FileScript::honest(film(1)).answer([Cut::after(100_000)]).answer([Status::code(503)]));
    let url = bench.url("/film");
    std::fs::write(bench.path("film.part"), "mine").expect("written");
    let ran = bench.run(&[&url, "--force"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(std::fs::read(bench.path("film.part")).expect("there"), b"mine");
    std::fs::remove_file(bench.path("film.part")).expect("removed");
    for code in [1, 0] {
        let ran = bench.run(&[&url, "--force", "--max-attempts", "1"]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
    bench.assert_is("film", Content::new(1, SIZE));
    let resumed = Some("bytes=100000-".to_owned());
    assert_eq!(bench.ranges("/film"), [None, resumed.clone(), resumed]);
}

#[test]
fn the_steps_that_take_over_a_partial_file_of_another_program_are_named_and_work() {
    for (name, from, to) in [("film", "film", "film.part"), ("my film", "'my film'", "'my film.part'")] {
        let bench = one(FileScript::honest(film(1)));
        let arguments = [&bench.url("/film"), "-o", name];
        std::fs::write(bench.path(name), Content::new(1, SIZE).bytes(0..200_000)).expect("written");
        let ran = bench.run(&arguments);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let steps = format!("mv {from} {to}, then the same command with --adopt-part");
        assert!(ran.err.contains(&steps), "{}", ran.err);
        assert_eq!(length(&bench.path(name)), 200_000);
        // Not if a part would be lost by them.
        let part = format!("{name}.part");
        std::fs::write(bench.path(&part), "mine").expect("written");
        assert!(!bench.run(&arguments).err.contains("mv "));
        std::fs::rename(bench.path(name), bench.path(&part)).expect("renamed");
        ok(&bench, &[&arguments[..], &["--adopt-part"]].concat());
        bench.assert_is(name, Content::new(1, SIZE));
        assert_eq!(bench.ranges("/film").len(), 1);
        assert!(bench.ranges("/film")[0].is_some());
    }
}
