//! A secret in the place of any argument, variable or line of a list is shown nowhere.

use crate::support::{Bench, Ran};
use regrip_faultd::faults::{Headers, Redirect, Status};
use regrip_faultd::{FileScript, Script, Version};

/// Whoever sees this text, whatever the case of its letters, has seen a secret.
const MARKER: &str = "hunter2marker";

fn assert_hidden(ran: &Ran, about: &str) {
    let seen = format!("{}{}", ran.out, ran.err).to_ascii_lowercase();
    assert!(!seen.contains(MARKER) && !seen.contains("ker@"), "{about}: {ran:?}");
}

fn bench() -> Bench {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 10))));
    std::fs::write(bench.path("empty"), "").expect("a file");
    bench
}

/// URLs that are none, or that are not taken.
const URLS: [&str; 12] = [
    "MARKER",
    "me:MARKER",
    "me:MARKER@nas",
    "//me:MARKER@nas",
    "MARKER://nas/film",
    "ftp://me:MARKER@nas/film",
    "http://me:MARKER@",
    "http://me:MAR/KER@nas/MARKER@",
    "http://me:MARKER@nas/",
    "http://me:MARKER%ff@nas/film",
    "http:\\\\me:MARKER@nas:x/film",
    "http://nas/?key=MARKER",
];

// X10
#[test]
fn a_url_that_is_refused_is_shown_without_secrets() {
    let bench = bench();
    for url in URLS {
        let url = url.replace("MARKER", MARKER);
        std::fs::write(bench.path("list"), format!("{url}\n")).expect("a file");
        for arguments in [&[url.as_str()][..], &["-i", "list"]] {
            let ran = bench.run(arguments);
            assert_eq!(ran.code, Some(2), "{url}: {ran:?}");
            assert_hidden(&ran, &url);
        }
        let server = ["list", "--server", &url];
        let add = ["add", &url, "--server", "http://127.0.0.1:9"];
        let stub = ["stub", "create", "--peer", &url, "--item", "1", "--name", "a", "--length", "1"];
        for arguments in [&server[..], &add, &stub] {
            assert_hidden(&bench.regrip(arguments), &format!("{arguments:?}"));
        }
        // A word by itself is the name of a proxy.
        if url == MARKER {
            continue;
        }
        let proxy = ["http://127.0.0.1:9/film", "--max-attempts", "1", "--proxy", &url];
        assert_hidden(&bench.run(&proxy), &format!("{proxy:?}"));
        for name in ["http_proxy", "HTTPS_PROXY", "all_proxy"] {
            let mut command = bench.get(&["http://127.0.0.1:9/film", "--max-attempts", "1"]);
            let ran = Ran::of(command.env(name, &url).output().expect("regrip runs"));
            assert_hidden(&ran, &format!("{name} {url}"));
        }
    }
}

#[test]
fn an_argument_that_is_refused_is_not_repeated() {
    let bench = bench();
    let url = bench.url("/film");
    let table: [&[&str]; 26] = [
        &["get", &url, "--header", "MARKER"],
        &["get", &url, "--header", "MARKER: \u{1}"],
        &["get", &url, "--header", "X: MARKER\u{1}"],
        &["get", &url, "--header", "Authorization MARKER: x"],
        &["get", &url, "--header", "Range: MARKER"],
        &["get", &url, "--user", "MARKER"],
        &["get", &url, "--sha256", "MARKER"],
        &["get", &url, "--checksum", "md5:MARKER"],
        &["get", &url, "--print-checksum", "MARKER"],
        &["get", &url, "--jobs", "MARKER"],
        &["get", &url, "--max-attempts", "MARKER"],
        &["get", &url, "--retry-base-ms", "MARKER"],
        &["get", &url, "--idle-timeout-ms=MARKER"],
        &["get", &url, "--limit-rate", "MARKER"],
        &["get", &url, "--on-exists", "MARKER"],
        &["get", &url, "--password=MARKER"],
        &["MARKER"],
        &["show", "MARKER"],
        &["retry", "MARKER"],
        &["list", "--status", "MARKER"],
        &["list", "MARKER"],
        &["serve", "--config", "empty", "--log", "MARKER"],
        &["share", ".", "--listen", "MARKER"],
        &["share", ".", "--key-env", "MARKER"],
        &["share", ".", "--key-file", "MARKER"],
        &["completions", "MARKER"],
    ];
    for arguments in table {
        let typed: Vec<String> = (arguments.iter()).map(|argument| argument.replace("MARKER", MARKER)).collect();
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let ran = bench.regrip(&typed);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert_hidden(&ran, &format!("{arguments:?}"));
    }
}

// X10
#[test]
fn cookies_are_kept_and_shown_nowhere() {
    let cookie = |value: &str| Headers::add("Set-Cookie", &format!("session={value}"));
    let file = FileScript::honest(Version::new(1, 10))
        .answer([Redirect::to("/film"), cookie(MARKER)])
        .answer([Status::code(503), cookie(&format!("{MARKER}\u{e9}"))])
        .answer([Status::code(404), cookie(&format!("{MARKER}; Path"))]);
    let bench = Bench::serving(Script::one("/film", file));
    let ran = bench.run(&[&bench.url("/film"), "--json", "--header", &format!("Cookie: mine={MARKER}")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_hidden(&ran, "a cookie");
    let sent = bench.server.log();
    let sent = sent.iter().map(|entry| entry.header("cookie").unwrap_or_default().len());
    assert!(sent.is_sorted_by(|one, next| one < next), "a cookie was not sent back");
    for entry in std::fs::read_dir(bench.path("state/regrip")).expect("the state") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        let found = bytes.windows(MARKER.len()).any(|text| text == MARKER.as_bytes());
        assert!(!found, "a cookie is in the state");
    }
}

#[test]
fn keys_of_the_environment_are_shown_nowhere() {
    let bench = bench();
    for key in [MARKER.to_owned(), format!("{MARKER}\u{e9}"), format!("{MARKER}\n{MARKER}")] {
        let mut command = bench.regrip_command(&["list", "--server", "http://127.0.0.1:9"]);
        let ran = command.env("REGRIP_API_KEY", &key).output();
        assert_hidden(&Ran::of(ran.expect("regrip runs")), "REGRIP_API_KEY");
        let mut command = bench.regrip_command(&["share", "missing", "--key-env", "FRIEND"]);
        let ran = command.env("FRIEND", &key).output();
        assert_hidden(&Ran::of(ran.expect("regrip runs")), "--key-env");
    }
}
