//! What is typed: the command that is meant, habits from curl, wget and aria2, defaults, lists of digests and of URLs.

use crate::support::{Bench, Ran};
use regrip_faultd::{Content, FileScript, Script, Version};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The digest of ten bytes of the first version.
fn sha256_of(bench: &Bench, path: &str) -> String {
    let ran = bench.regrip(&["-q", &bench.url(path), "-o", "digest", "--print-checksum", "sha256"]);
    fs::remove_file(bench.path("digest")).expect("downloaded");
    bench.regrip(&["remove", "1"]);
    ran.out.split(' ').next().expect("a digest").to_owned()
}

fn film() -> Bench {
    Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 10))))
}

fn content() -> Content {
    Content::new(1, 10)
}

#[track_caller]
fn ok(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_url_alone_is_get_with_its_options_before_and_behind_it() {
    let bench = film();
    let url = bench.url("/film");
    let table: [&[&str]; 7] = [
        &[&url, "-o", "a"],
        &["-o", "a", &url],
        &["-qj", "2", "-o", "a", "--", &url],
        &["-q", "get", &url, "-o", "a"],
        &["-o", "get", "-L", &url, "-o", "a"],
        &["-L", "-f", "-C", "-", "-c", &url, "-o", "a"],
        &["-fLC-", "-qc", "-x4", &url, "-o", "a"],
    ];
    for typed in table {
        let ran = bench.regrip(typed);
        ok(&ran);
        bench.assert_is("a", content());
        assert_eq!(bench.names(), ["a"], "{typed:?}");
        fs::remove_file(bench.path("a")).expect("there");
    }
}

#[test]
fn a_word_that_is_not_a_url_is_a_command_or_gets_a_suggestion() {
    let bench = film();
    let table: [(&[&str], i32, &str); 11] = [
        (&["--json", "list"], 0, "no downloads yet"),
        (&["retyr", "3"], 2, "'retry'"),
        (&["-q", "lsit"], 2, "'list'"),
        (&["gett", "http://a/b"], 2, "'get'"),
        (&["host/film"], 2, "write it with its scheme, for example https://host/file"),
        (&["localhost:80/film"], 2, "a URL begins with its scheme"),
        (&["host.example"], 2, "write it with its scheme"),
        (&["ftp://host/film"], 2, "only http and https are fetched"),
        (&["sftp://host/film"], 2, "only http and https are fetched"),
        (&["-i", "missing"], 2, "-i missing: No such file"),
        (&["-q"], 2, "<URL>"),
    ];
    for (typed, code, message) in table {
        let ran = bench.regrip(typed);
        assert_eq!(ran.code, Some(code), "{typed:?}: {ran:?}");
        assert!(ran.err.contains(message), "{typed:?}: {}", ran.err);
    }
    assert!(bench.regrip(&["--help"]).out.contains("Commands:"));
    assert!(bench.regrip(&["http://a/b", "--help"]).out.contains("--max-attempts"));
}

#[test]
fn an_option_given_twice_counts_the_last_time_and_headers_add_up() {
    let bench = film();
    let url = bench.url("/film");
    let typed =
        ["-o", "a", "-o", "b", "--json", "--json", "-q", "-q", "-H", "A: 1", "-H", "B: 2", &url, "-j", "1", "-j", "2"];
    ok(&bench.regrip(&typed));
    assert_eq!(bench.names(), ["b"]);
    let row = bench.regrip(&["list", "--json", "--json"]).out;
    let row: Value = serde_json::from_str(&row).expect("one object");
    assert!(row["header_names"].to_string().contains("a") && row["header_names"].to_string().contains("b"), "{row}");
}

/// The table of the command line.
fn habits() -> Value {
    serde_json::from_str(include_str!("../../src/cli/habits.json")).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn an_option_of_another_program_is_an_error_that_says_what_to_type() {
    let bench = film();
    let mut seen = 0;
    for habit in habits()["options"].as_array().expect("a list") {
        let Some(say) = habit["say"].as_str() else { continue };
        let next = match habit["if"].as_str() {
            None | Some("word") => "hunter2",
            Some("file") => "hunter2.txt",
            Some("url") => "http://hunter2/",
            Some("data") => "a=hunter2",
            Some("size") => "1M",
            other => panic!("{other:?}"),
        };
        for option in habit["typed"].as_array().expect("a list") {
            let ran = bench.regrip(&["http://a/b", text(option), next]);
            assert_eq!(ran.code, Some(2), "{option}: {ran:?}");
            assert_eq!(ran.err, format!("regrip: {}: {say}\n", text(option)));
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(bench.names().is_empty());
}

#[test]
fn the_errors_of_the_contract_name_the_long_option_and_no_value() {
    let bench = film();
    let table: [(&[&str], &str); 18] = [
        (&["-O", "http://a/b"], "--output FILE"),
        (&["-fsSLO", "http://a/b"], "--quiet"),
        (&["-s", "4", "http://a/b"], "--connections N"),
        (&["-x", "socks5://me:hunter2@h:1", "http://a/b"], "--proxy URL"),
        (&["-xhunter2", "http://a/b"], "--connections"),
        (&["-d", "a=hunter2", "http://a/b"], "--dir DIR"),
        (&["-d@hunter2", "http://a/b"], "POST"),
        (&["-d", "{\"hunter2\": 1}", "http://a/b"], "POST"),
        (&["-c", "hunter2", "http://a/b"], "--cookie"),
        (&["-c", "-", "http://a/b"], "--cookie"),
        (&["-C", "100", "http://a/b"], "leave it out"),
        (&["--digest", "http://a/b"], "--checksum"),
        (&["--remote-name", "http://a/b"], "the URL names the file"),
        (&["-X", "POST", "http://a/b"], "every request is a GET"),
        (&["--data=hunter2", "http://a/b"], "POST"),
        (&["-i", "http://a/b"], "--verbose"),
        (&["-H", "http://a/b"], "--header"),
        (&["-k", "1M", "http://a/b"], "--insecure"),
    ];
    for (typed, message) in table {
        let ran = bench.regrip(typed);
        assert_eq!(ran.code, Some(2), "{typed:?}: {ran:?}");
        assert!(ran.err.contains(message) && !ran.err.contains("hunter2"), "{typed:?}: {}", ran.err);
    }
    for unknown in ["-W", "-HW", "--nonsense", "--header-file"] {
        let ran = bench.regrip(&["http://a/b", unknown]);
        assert!(ran.code == Some(2) && !ran.err.contains("-- -"), "{unknown}: {}", ran.err);
    }
}

#[test]
fn every_option_that_an_error_names_is_one_of_get() {
    let help = film().regrip(&["get", "--help"]).out;
    for habit in habits()["options"].as_array().expect("a list") {
        let say = habit["say"].as_str().unwrap_or_default();
        for name in say.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
            let is_ours = help.contains(&format!("{name} ")) || help.contains(&format!("{name}\n"));
            let elsewhere = ["--min-split-size", "--version"];
            if name.starts_with("--") && name.len() > 2 && !elsewhere.contains(&name) {
                assert!(is_ours, "{name}: {say}");
            }
        }
    }
}

#[test]
fn every_command_of_the_table_for_users_of_other_programs_is_understood() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("there");
    let bench = film();
    fs::create_dir(bench.path("films")).expect("a folder");
    fs::create_dir(bench.path("isos")).expect("a folder");
    fs::write(bench.path("urls.txt"), "https://host/film.mkv\n").expect("written");
    let certificate = Bench::serving_tls(Script::one("/film", FileScript::honest(Version::new(1, 10))));
    fs::copy(certificate.path("ca.pem"), bench.path("ca.pem")).expect("copied");
    fs::write(bench.path("netrc"), "machine host login me password secret\n").expect("written");
    fs::write(bench.path("SHA256SUMS"), format!("{}  film.mkv\n", "0".repeat(64))).expect("written");
    let document = "<metalink><file name='film.mkv'><url>https://host/film.mkv</url></file></metalink>";
    fs::write(bench.path("film.meta4"), document).expect("written");
    let manual = bench.regrip(&["man"]).out.replace("\\-", "-").replace("\\*(Aq", "'");
    let before = bench.names();
    let mut table = String::from("| curl, wget or aria2 | regrip |\n|---|---|\n");
    let mut commands = 0;
    for row in habits()["table"].as_array().expect("a list") {
        let (elsewhere, here) = (text(&row[0]), text(&row[1]));
        table.push_str(&format!("| {elsewhere} | {here} |\n"));
        assert!(manual.contains(&elsewhere.replace('`', "")), "{elsewhere}");
        for command in here.split('`').skip(1).step_by(2).filter(|code| code.starts_with("regrip ")) {
            let words: Vec<&str> =
                command.split('\'').enumerate().flat_map(words).skip(1).chain(["--dry-run"]).collect();
            let ran = bench.regrip(&words);
            assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
            assert!(ran.out.contains("not there yet") || ran.out.is_empty(), "{command}: {ran:?}");
            commands += 1;
        }
    }
    assert!(commands > 15, "{commands}");
    assert!(
        readme.contains(&format!("<!-- habits -->\n{table}<!-- /habits -->\n")),
        "README.md has another table:\n{table}"
    );
    assert_eq!(bench.names(), before);
    assert!(!bench.path("state").exists());
}

/// The words of a command: those within quotes are one each.
fn words((number, text): (usize, &str)) -> Vec<&str> {
    match number % 2 {
        0 => text.split_whitespace().collect(),
        _ => vec![text],
    }
}

/// Runs in a folder with these defaults.
fn with_defaults(bench: &Bench, defaults: &str, typed: &[&str]) -> Ran {
    fs::create_dir_all(bench.path("config/regrip")).expect("a folder");
    fs::write(bench.path("config/regrip/get.jsonc"), defaults).expect("written");
    let mut command = bench.regrip_command(typed);
    Ran::of(command.env("XDG_CONFIG_HOME", bench.path("config")).output().expect("regrip runs"))
}

#[test]
fn defaults_come_from_a_file_and_the_command_line_wins() {
    let bench = film();
    let url = bench.url("/film");
    fs::create_dir(bench.path("films")).expect("a folder");
    let defaults = "\u{feff}{ // mine\r\n \"dir\": \"films\", \"jobs\": 2, \"json\": true, \"quiet\": false,\n \"header\": [\"X-Key: hunter2\"], }";
    let ran = with_defaults(&bench, defaults, &[&url, "--dry-run"]);
    let line: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert!(text(&line["path"]).ends_with("films/film"), "{ran:?}");
    let ran = with_defaults(&bench, defaults, &[&url, "--dry-run", "-o", "other"]);
    assert!(ran.code == Some(0) && ran.out.contains("/other"), "{ran:?}");
    let ran = with_defaults(&bench, "{\"jobs\": 1, \"nonsense\": 3}", &[&url, "--dry-run"]);
    assert!(ran.code == Some(0) && ran.err.contains("get.jsonc: line 1: nonsense: is unknown"), "{ran:?}");
    assert!(with_defaults(&bench, "{\"nonsense\": 3}", &[&url, "--dry-run", "-q"]).err.is_empty());
    ok(&with_defaults(&bench, "{\"user\": \"a:b\"}", &[&url, "--dry-run", "-u", "hunter2:c"]));
}

#[test]
fn a_wrong_default_is_named_by_file_line_and_key() {
    let bench = film();
    let table = [
        ("", "found nothing"),
        ("[]", "expected an object"),
        ("{\n\"jobs\": }", "line 2: it cannot be read"),
        ("{\n\n\"jobs\": 0}", "line 3: jobs: invalid value"),
        ("{\"jobs\": \"hunter2\"}", "line 1: jobs: invalid value"),
        ("{\"jobs\": true}", "line 1: jobs: expected a string or a number"),
        ("{\"jobs\": [\"1\"]}", "line 1: jobs: expected a string or a number"),
        ("{\"quiet\": \"yes\"}", "line 1: quiet: expected true or false"),
        ("{\"header\": [1]}", "line 1: header: expected a string or a list of strings"),
        ("{\"header\": [\"hunter2\"]}", "line 1: header: --header: it has no colon"),
        ("{\"checksum\": \"hunter2\"}", "line 1: checksum: a string of 7"),
        ("{\"cacert\": \"missing\",\n\"insecure\": true}", "cacert"),
        ("{\"insecure\": true,\n\"proxy\": \"nosuch://me:hunter2@x\"}", "line 2: proxy: "),
        ("{\"on-exists\": \"maybe\"}", "line 1: on-exists: invalid value"),
        ("{\"jobs\": 1, \"jobs\": 2}", "jobs: found a second time"),
    ];
    for (defaults, message) in table {
        let ran = with_defaults(&bench, defaults, &[&bench.url("/film"), "--dry-run"]);
        assert_eq!(ran.code, Some(2), "{defaults}: {ran:?}");
        assert!(ran.err.contains("regrip/get.jsonc: ") && ran.err.contains(message), "{defaults}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    ok(&with_defaults(&bench, "{\"jobs\": 0}", &["get", "--help"]));
    // Two that need each other, in any order.
    let (cert, key) = ("\"cert\": \"cert.pem\"", "\"key\": \"key.pem\"");
    let pair = rcgen::KeyPair::generate().expect("a key");
    let made = rcgen::CertificateParams::new(["me".to_owned()]).expect("a name").self_signed(&pair).expect("made");
    fs::write(bench.path("cert.pem"), made.pem()).expect("written");
    fs::write(bench.path("key.pem"), pair.serialize_pem()).expect("written");
    for (first, second) in [(cert, key), (key, cert)] {
        ok(&with_defaults(&bench, &format!("{{{first}, {second}}}"), &[&bench.url("/film"), "--dry-run"]));
    }
    for home in ["/dev/null", "/nonexistent", "relative", ""] {
        let mut command = bench.regrip_command(&[&bench.url("/film"), "--dry-run"]);
        ok(&Ran::of(command.env("HOME", home).output().expect("regrip runs")));
    }
}

#[test]
fn a_file_of_digests_is_checked_and_a_name_that_is_missing_stops_before_a_request() {
    let bench = film();
    let url = bench.url("/film");
    let hex = sha256_of(&bench, "/film");
    let requests = bench.server.log().len();
    let wrong = "0".repeat(64);
    let write = |text: String| fs::write(bench.path("SUMS"), text).expect("written");
    let run = |more: &[&str]| bench.regrip(&[&[&*url, "--checksum-file", "SUMS"], more].concat());
    write(format!("{wrong}  other\n{wrong}  \u{1b}[31mred\n"));
    let ran = run(&[]);
    assert!(ran.code == Some(2) && ran.err.contains("film is not in it\n  it has other, ?[31mred"), "{ran:?}");
    write(format!("{hex}  film\n"));
    let ran = run(&["--checksum", &wrong]);
    assert!(ran.code == Some(2) && ran.err.contains("another sha256"), "{ran:?}");
    assert_eq!(bench.server.log().len(), requests, "a request was made");
    ok(&run(&["--checksum", &hex, "-o", "one"]));
    write(format!("SHA256 (./film) = {hex}\r\n"));
    ok(&run(&["-o", "two"]));
    write(format!("{hex}\n"));
    ok(&run(&["-o", "three"]));
    write(format!("{wrong} *film\n"));
    assert_eq!(run(&["-o", "four"]).code, Some(1));
    write(format!("{hex}  four\n"));
    ok(&run(&["-o", "four"]));
    assert_eq!(bench.names(), ["SUMS", "four", "one", "three", "two"]);
}

#[test]
fn a_dry_run_makes_no_request_and_writes_nothing() {
    let bench = film();
    let url = bench.url("/film");
    let found = |typed: &[&str]| {
        let ran = bench.regrip(&[typed, &["--dry-run", "--json"]].concat());
        ok(&ran);
        ran.events()
            .into_iter()
            .map(|line| (text(&line["found"]).to_owned(), line["part_bytes"].clone()))
            .collect::<Vec<_>>()
    };
    let nothing = ("nothing".to_owned(), Value::Null);
    assert_eq!(found(&[&url, &format!("{url}2")]), [nothing.clone(), nothing.clone()]);
    assert_eq!(found(&[&url, "-o", "-"]), [nothing]);
    fs::write(bench.path("film.part"), "12345").expect("written");
    assert_eq!(found(&[&url]), [("foreign_part".to_owned(), 5.into())]);
    assert_eq!(found(&[&url, "--adopt-part"]), [("part".to_owned(), 5.into())]);
    fs::remove_file(bench.path("film.part")).expect("there");
    assert!(bench.names().is_empty() && !bench.path("state").exists() && bench.server.log().is_empty());
    fs::write(bench.path("film"), "mine").expect("written");
    assert_eq!(found(&[&url]), [("exists".to_owned(), Value::Null)]);
    let other = format!("{url}?other");
    let ran = bench.regrip(&[&url, &other, "--dry-run", "--json", "--on-exists", "rename"]);
    let paths: Vec<_> = ran.events().iter().map(|line| text(&line["path"]).to_owned()).collect();
    assert!(paths[0].ends_with("/film.1") && paths[1].ends_with("/film.2"), "{paths:?}");
    fs::remove_file(bench.path("film")).expect("there");
    ok(&bench.regrip(&[&url]));
    assert_eq!(found(&[&url]), [("complete".to_owned(), Value::Null)]);
    assert_eq!(bench.regrip(&["-d", "nosuch/x", "--on-exists", "maybe", &url, "--dry-run"]).code, Some(2));
}

#[test]
fn a_list_has_options_of_its_own_for_each_url_as_one_of_aria2() {
    let files = ["/a", "/b", "/c", "/d"];
    let script = files
        .into_iter()
        .fold(Script::new(), |script, path| script.file(path, FileScript::honest(Version::new(1, 10))));
    let bench = Bench::serving(script);
    let hex = sha256_of(&bench, "/a");
    fs::create_dir(bench.path("sub")).expect("a folder");
    let of = |path: &str| bench.url(path);
    let list = format!(
        "\u{feff}# mine\r\n{}\thttp://mirror/a\r\n  out=first\r\n  dir=sub\r\n\theader=X-Key: hunter2\r\n  checksum=sha-256={hex}\r\n\
         {}\n  out=../evil\n  dir=sub\n{}\n  split=5\n bad line\n  out=x\n{}\n  checksum=sha-256={}\n{}\n out=again\n",
        of("/a"),
        of("/b"),
        of("/c"),
        of("/d"),
        "0".repeat(64),
        of("/a")
    );
    fs::write(bench.path("list"), list).expect("written");
    let ran = bench.regrip(&["-i", "list", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for message in [
        "regrip: list, line 8: out=: expected a name below the folder",
        "regrip: warning: list, line 11: split= is unknown",
        "regrip: list, line 12: white space",
    ] {
        assert!(ran.err.contains(message), "{message}: {}", ran.err);
    }
    assert!(!ran.err.contains("hunter2"));
    assert_eq!(bench.names(), ["again", "c", "d.part", "list", "sub"], "{ran:?}");
    assert_eq!(fs::read_dir(bench.path("sub")).expect("a folder").count(), 1);
    let log = bench.server.log();
    let asked = |path: &str| log.iter().filter(|entry| entry.path == path).count();
    assert_eq!((asked("/b"), asked("/c")), (0, 1));
}

#[test]
fn with_one_job_urls_start_in_the_order_given() {
    let names: Vec<String> = (0..8).map(|number| format!("/{}", (number * 5) % 8)).collect();
    let script =
        names.iter().fold(Script::new(), |script, path| script.file(path, FileScript::honest(Version::new(1, 10))));
    let bench = Bench::serving(script);
    let urls: Vec<String> = names.iter().map(|path| bench.url(path)).collect();
    let typed: Vec<&str> = urls.iter().map(String::as_str).chain(["-j", "1"]).collect();
    ok(&bench.regrip(&typed));
    let asked: Vec<String> = bench.server.log().into_iter().map(|entry| entry.path).collect();
    assert_eq!(asked, names);
}
