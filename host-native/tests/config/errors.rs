//! How errors read: line, key, what was found, what was expected.

use crate::support::{errors, read};
use regrip::config::{ConfigRefused, load};

/// What is in the `downloads` block beside the paths, and what is said about it.
const KNOBS: &[(&str, &str)] = &[
    (r#""maxConcurrentDownloads": 0"#, "maxConcurrentDownloads: found 0, expected at least 1"),
    (r#""maxConcurrentPerPeer": 0"#, "maxConcurrentPerPeer: found 0, expected at least 1"),
    (
        r#""connectionsPerDownload": 17"#,
        "connectionsPerDownload: found 17, expected a number from 1 to 16, or \"auto\"",
    ),
    (
        r#""connectionsPerDownload": "all""#,
        "connectionsPerDownload: found \"all\", expected a number from 1 to 16, or \"auto\"",
    ),
    (r#""connectionsPerOrigin": 0"#, "connectionsPerOrigin: found 0, expected at least 1"),
    (r#""maxDownloadAttempts": "5""#, "maxDownloadAttempts: found \"5\", expected a whole number from 0 on"),
    (r#""retryBaseDelayMs": -1"#, "retryBaseDelayMs: found -1, expected a whole number from 0 on"),
    (r#""retryBaseDelayMs": 0.5"#, "retryBaseDelayMs: found 0.5, expected a whole number from 0 on"),
    (r#""maxTotalAttempts": 4294967296"#, "maxTotalAttempts: found 4294967296, expected a whole number from 0 on"),
    (r#""idleTimeoutMs": true"#, "idleTimeoutMs: found true, expected a whole number from 0 on"),
    (r#""peerPatienceMs": null"#, "peerPatienceMs: found null, expected a whole number from 0 on"),
    (r#""connectTimeoutMs": 0"#, "connectTimeoutMs: found 0, expected at least 1 millisecond"),
    (r#""extraRetryStatuses": 408"#, "extraRetryStatuses: found a number, expected a list"),
    (r#""extraRetryStatuses": ["a"]"#, "extraRetryStatuses[0]: found \"a\", expected a whole number from 0 on"),
    (r#""extraRetryStatuses": [500]"#, "extraRetryStatuses: found 500, expected statuses from 400 to 499"),
    (r#""onExists": "ask""#, "onExists: found \"ask\", expected \"overwrite\", \"fail\" or \"rename\""),
    (
        r#""onExists": "topsecretkey""#,
        "onExists: found a string of 12 characters, expected \"overwrite\", \"fail\" or \"rename\"",
    ),
    (r#""onExists": 1"#, "onExists: found a number, expected a string"),
];

#[test]
fn a_knob_out_of_range_is_named_with_its_line() {
    for (knob, expected) in KNOBS {
        let text = format!(
            "{{\"downloads\": {{\n\"watchPath\": \"/w\",\n\"completedPath\": \"/c\",\n// the knob\n{knob}\n}}}}"
        );
        assert_eq!(errors(&text), [format!("line 5: downloads.{expected}")], "{knob}");
    }
}

#[test]
fn what_is_missing_or_of_another_kind_is_named() {
    let table = [
        ("[]", "line 1: found a list, expected an object"),
        ("", "line 1: found nothing, expected an object"),
        (r#"{"downloads": []}"#, "line 1: downloads: found a list, expected an object"),
        (
            r#"{"downloads": {"watchPath": "/w"}}"#,
            "line 1: downloads.completedPath: found nothing, expected the folder that files go to",
        ),
        (
            r#"{"downloads": {"watchPath": "/w", "completedPath": ""}}"#,
            "line 1: downloads.completedPath: found an empty string, expected a path",
        ),
        (
            r#"{"downloads": {"watchPath": "/w", "completedPath": "/w"}}"#,
            "line 1: downloads.completedPath: found a string of 2 characters, expected another folder than watchPath",
        ),
        (
            r#"{"regrip": {"listen": "5225"}}"#,
            "line 1: regrip.listen: found \"5225\", expected an address and a port, such as \"127.0.0.1:5225\"",
        ),
        (
            r#"{"regrip": {"shareKeys": [{"apiKey": "a"}]}}"#,
            "line 1: regrip.shareKeys[0].name: found nothing, expected whose key it is",
        ),
        (r#"{"peers": {}}"#, "line 1: peers: found an object, expected a list"),
        (r#"{"peers": ["a"]}"#, "line 1: peers[0]: found a string of 1 character, expected an object"),
        (r#"{"peers": [{"name": "A"}]}"#, "line 1: peers[0].url: found nothing, expected an http or https URL"),
        (
            r#"{"servers": [{"type": "lidarr", "url": "http://a"}]}"#,
            "line 1: servers[0].type: found \"lidarr\", expected \"radarr\" or \"sonarr\"",
        ),
        (r#"{"hooks": "true"}"#, "line 1: hooks: found a string of 4 characters, expected an object"),
        (
            r#"{"hooks": {"onComplete": ""}}"#,
            "line 1: hooks.onComplete: found an empty string, expected a command for sh -c",
        ),
        (
            "{\"hooks\": {\n\"onFail\": \"a\\u0000b\"}}",
            "line 2: hooks.onFail: found a string of 3 characters, expected a command for sh -c",
        ),
        (r#"{"hooks": {"onFail": ["true"]}}"#, "line 1: hooks.onFail: found a list, expected a string"),
        (r#"{"share": "/films"}"#, "line 1: share: found a string of 6 characters, expected a list"),
        (r#"{"share": [1]}"#, "line 1: share[0]: found a number, expected a string"),
        ("{\"regrip\": {},\n\"regrip\": {}}", "line 2: regrip: found a second time, expected once"),
        (
            "{\"peers\": [{\"url\": \"http://a\"},\n{\"url\": \"http://a:80/b\"}]}",
            "line 2: peers[1].url: found http://a:80, expected an origin of its own",
        ),
    ];
    for (text, expected) in table {
        let told = errors(text);
        assert_eq!(told[0], expected, "{text}");
    }
    let twice = "{\"downloads\": {\"completedPath\": \"/c\",\n\"completedPath\": \"/d\"}}";
    match read(twice) {
        Err(ConfigRefused::Wrong { errors, warnings }) => assert_eq!((errors.len(), warnings), (1, Vec::new())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_cannot_be_one_is_named_without_what_is_secret_in_it() {
    for (url, why) in [
        ("anna.example:5225", "it is neither http nor https"),
        ("anna", "it is not a URL"),
        ("file:///etc", "it is neither http nor https"),
        ("http://", "it is not a URL"),
        ("http://me:secret@anna", "it has a user or password in it; send them by headers"),
        ("http://anna/?key=secret", "it has a ? or # in it"),
        ("http://anna/#secret", "it has a ? or # in it"),
    ] {
        let told = errors(&format!(r#"{{"peers": [{{"url": "{url}"}}]}}"#));
        assert!(told[0].starts_with("line 1: peers[0].url: found "), "{told:?}");
        assert!(told[0].ends_with(why), "{url}: {told:?}");
        assert!(!told[0].contains("secret"), "{told:?}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = "{\n\"share\": 1,\n\"peers\": 2,\n\"downloads\": 3\n}";
    let lines: Vec<_> = errors(text).iter().map(|told| told[..7].to_owned()).collect();
    assert_eq!(lines, ["line 2:", "line 3:", "line 4:"]);
}

#[test]
fn what_is_no_jsonc_is_named_with_its_line() {
    for (text, expected) in [
        ("{\n\n\"regrip\": {\n", "line 3: it cannot be read: Unterminated object"),
        ("{\n'regrip': {}}", "line 2: it cannot be read: Single-quoted strings"),
        ("{\nregrip: {}}", "line 2: it cannot be read: "),
        ("{\"a\": 1\n\"b\": 2}", "line 1: it cannot be read: Expected comma"),
        ("{\"a\": 0x10}", "line 1: it cannot be read: Hexadecimal"),
        ("{}\n{}", "line 2: it cannot be read: "),
        ("{\n/* no end", "line 2: it cannot be read: "),
    ] {
        let told = errors(text);
        assert!(told[0].starts_with(expected), "{text:?}: {told:?}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(errors(&deep)[0].contains("it cannot be read"));
}

#[test]
fn downloads_may_not_go_where_files_of_regrips_own_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |path: &str| folder.path().join(path);
    for name in ["etc", "secrets", "watch", "done", "films"] {
        std::fs::create_dir(at(name)).expect("a folder");
    }
    std::fs::write(at("secrets/key"), "hush").expect("written");
    std::os::unix::fs::symlink(at("secrets/key"), at("films/linked key")).expect("linked");
    std::os::unix::fs::symlink(at("etc"), at("link")).expect("linked");
    let key = |file: &str| serde_json::json!({ "file": at(file) });
    let load_with = |completed: &str, data: &str, api_key: serde_json::Value| {
        let config = serde_json::json!({
            "downloads": { "watchPath": "../watch", "completedPath": completed },
            "regrip": { "dataDir": data, "apiKey": api_key },
        });
        let file = at("etc/config.jsonc");
        std::fs::write(&file, config.to_string()).expect("written");
        load(&file)
    };
    let refused = [
        ("../done", "../done/", key("secrets/key"), "regrip.dataDir"),
        ("../new", "../etc/../new", key("secrets/key"), "regrip.dataDir"),
        (".", "data", key("secrets/key"), "the configuration file"),
        ("../link", "data", key("secrets/key"), "the configuration file"),
        ("../secrets", "data", key("secrets/key"), "regrip.apiKey.file"),
        ("../films", "data", key("films/linked key"), "regrip.apiKey.file"),
        ("../secrets", "data", key("films/linked key"), "regrip.apiKey.file"),
        ("../watch/.", "data", key("secrets/key"), "watchPath"),
        ("../watch/failed", "data", key("secrets/key"), "failed in watchPath"),
    ];
    for (completed, data, api_key, setting) in refused {
        let told = match load_with(completed, data, api_key) {
            Err(ConfigRefused::Wrong { errors, .. }) => errors[0].to_string(),
            other => panic!("{completed} {data}: {other:?}"),
        };
        let is_named = told.contains("downloads.completedPath: found") && told.contains(setting);
        assert!(is_named, "{completed} {data}: {told}");
    }
    // Beside each other and one in the other are ordinary arrangements.
    for (completed, data) in [("../done", "../data"), ("..", "data"), ("../done", "..")] {
        let loaded = load_with(completed, data, key("secrets/key"));
        assert!(loaded.is_ok(), "{completed} {data}: {loaded:?}");
    }
}

#[test]
fn a_file_that_is_no_configuration_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.jsonc");
    assert!(matches!(load(&file), Err(ConfigRefused::Unreadable(_))));
    std::fs::write(&file, [0xff, 0xfe]).expect("a file");
    assert!(matches!(load(&file), Err(ConfigRefused::Unreadable(_))));
    std::fs::write(&file, vec![b' '; (1 << 20) + 1]).expect("a file");
    assert!(matches!(load(&file), Err(ConfigRefused::Unreadable(_))));
}
