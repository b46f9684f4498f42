//! Secrets: their sources, and that they are never shown.

use crate::support::{config, errors, read};
use regrip::config::parse;
use std::path::Path;

fn with_key(secret: &str) -> String {
    format!("{{\n\"regrip\": {{\"apiKey\": {secret}}}}}")
}

#[test]
fn a_secret_is_a_string_or_in_the_environment_or_in_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("key");
    let in_file = format!(r#"{{"file": {:?}}}"#, file);
    for (content, secret, expected) in [
        ("", r#""plain""#, "plain"),
        ("", r#"{"env": "KEY"}"#, "from the environment"),
        ("in a file\n", &in_file, "in a file"),
        ("in a file\r\n", &in_file, "in a file"),
        ("in a file", &in_file, "in a file"),
        ("\u{feff}in a file\r\n", &in_file, "in a file"),
        ("in a file\n\n", &in_file, "in a file"),
    ] {
        std::fs::write(&file, content).expect("a file");
        let key = config(&with_key(secret)).server.api_key;
        assert_eq!(key.expect("there is one").reveal(), expected, "{secret}");
    }
}

#[test]
fn a_secret_that_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    std::fs::write(folder.path().join("large"), vec![b'x'; 9 << 10]).expect("written");
    std::os::unix::fs::symlink("pipe", folder.path().join("link")).expect("linked");
    let table = [
        (pipe, "it is a named pipe, expected a regular file"),
        (folder.path().join("link"), "it is a named pipe, expected a regular file"),
        (folder.path().to_owned(), "it is a folder, expected a regular file"),
        ("/dev/zero".into(), "it is a device, expected a regular file"),
        (folder.path().join("large"), "it is larger than 8 KiB"),
    ];
    for (file, why) in table {
        let told = errors(&with_key(&format!(r#"{{"file": {file:?}}}"#)));
        assert!(told[0].starts_with("line 2: regrip.apiKey.file: found "), "{told:?}");
        assert!(told[0].ends_with(why), "{file:?}: {told:?}");
    }
}

#[test]
fn a_secret_that_is_not_there_is_named_with_its_line() {
    let table = [
        (r#"5"#, r#"found a number, expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#),
        (r#"null"#, r#"found null, expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#),
        (
            r#"{}"#,
            r#"found neither one nor the other, expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#,
        ),
        (
            r#"{"env": "KEY", "file": "/key"}"#,
            r#"found neither one nor the other, expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#,
        ),
        (r#""""#, "found nothing, expected a secret"),
        (r#""  ""#, "found nothing but white space, expected a secret"),
        (r#""a\nX-Other: b""#, "found other than visible ASCII characters, expected what a header can carry"),
        (r#""pässword""#, "found other than visible ASCII characters, expected what a header can carry"),
    ];
    for (secret, expected) in table {
        assert_eq!(errors(&with_key(secret)), [format!("line 2: regrip.apiKey: {expected}")]);
    }
    let missing = errors(&with_key(r#"{"env": "NO_KEY"}"#));
    assert_eq!(
        missing,
        [
            "line 2: regrip.apiKey.env: found a string of 6 characters, expected the name of a variable that the environment has"
        ]
    );
    let relative = errors(&with_key(r#"{"file": "key"}"#));
    assert_eq!(relative, ["line 2: regrip.apiKey.file: found a string of 3 characters, expected an absolute path"]);
    let gone = errors(&with_key(r#"{"file": "/no/such/key"}"#));
    assert!(gone[0].starts_with("line 2: regrip.apiKey.file: found a string of 12 characters, which cannot be read: "));
}

#[test]
fn a_blank_key_is_refused_wherever_it_stands_and_wherever_it_comes_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("key");
    std::fs::write(&file, " \t\n").expect("a file");
    let in_file = format!(r#"{{"file": {file:?}}}"#);
    let places = [
        r#"{"regrip": {"apiKey": KEY}}"#,
        r#"{"regrip": {"shareKeys": [{"name": "Anna", "apiKey": KEY}]}}"#,
        r#"{"peers": [{"url": "http://a", "apiKey": KEY}]}"#,
        r#"{"peers": [{"url": "http://a", "headers": {"X-A": KEY}}]}"#,
        r#"{"servers": [{"type": "radarr", "url": "http://a", "apiKey": KEY}]}"#,
    ];
    for place in places {
        for blank in [r#""""#, r#""   ""#, r#"{"env": "BLANK"}"#, &in_file] {
            let text = place.replace("KEY", blank);
            let env = |_: &str| Some(" ".to_owned());
            let refused = parse(&text, Path::new("/etc/regrip"), &env).expect_err(&text);
            assert!(format!("{refused:?}").contains("expected a secret"), "{text}: {refused:?}");
        }
    }
}

// X10
#[test]
fn nobody_gets_to_see_a_secret() {
    let text = r#"{
        "regrip": {"apiKey": "hush1", "shareKeys": [{"name": "Anna", "apiKey": "hush2"}]},
        "peers": [{"url": "http://a", "apiKey": "hush3", "headers": {"X-A": "hush4"}}],
        "servers": [{"type": "radarr", "url": "http://b", "apiKey": "hush5", "headers": {"X-B": "hush6"}}],
    }"#;
    let shown = format!("{:?}", config(text));
    assert!(shown.contains("***") && !shown.contains("hush"), "{shown}");
    let refused = read(&text.replace("hush", "hüsh")).expect_err("no header carries them");
    let shown = format!("{refused} {refused:?}");
    assert!(!shown.contains("hüsh"), "{shown}");
}

// X09
#[test]
fn a_header_that_cannot_be_sent_is_named() {
    for (header, why) in
        [(r#""Range": "bytes=0-""#, "it is set by regrip itself"), (r#""a b": "c""#, "the name is not a header name")]
    {
        let told = errors(&format!(r#"{{"peers": [{{"url": "http://a", "headers": {{{header}}}}}]}}"#));
        let expected = format!("found a header that cannot be sent: {why}");
        assert!(told[0].ends_with(&expected), "{told:?}");
    }
}
