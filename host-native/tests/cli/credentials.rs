//! Headers from files, cookies, netrc and client certificates: who gets them, and what is said about malformed files.

use crate::support::{Bench, Ran};
use regrip_faultd::faults::{Headers, Redirect};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

fn film() -> FileScript {
    FileScript::honest(Version::new(1, 1000).etag("\"v1\""))
}

fn bench() -> Bench {
    Bench::serving(Script::one("/film", film()))
}

/// The value of a header in the last request.
fn last(bench: &Bench, name: &str) -> Option<String> {
    bench.server.log().last()?.header(name).map(str::to_owned)
}

fn write(bench: &Bench, name: &str, text: &str) {
    std::fs::write(bench.path(name), text).expect("a file");
    std::fs::set_permissions(bench.path(name), PermissionsExt::from_mode(0o600)).expect("its mode");
}

#[test]
fn headers_are_read_from_a_file_and_from_standard_input() {
    let bench = bench();
    let lines = "\u{feff}# keys\r\n\r\nX-One: 1\r\n  X-Two:2  \n\t# no\nX-Empty:\nX-Last: \u{e9}";
    write(&bench, "headers", lines);
    for file in ["@headers", "@-"] {
        let arguments = [&bench.url("/film"), "--force", "-H", "X-Three: 3", "-H", file];
        let mut child = bench.get(&arguments).stdin(Stdio::piped()).spawn().expect("regrip starts");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("written");
        assert!(child.wait().expect("it ends").success(), "{file}");
        let sent = ["x-one", "x-two", "x-three", "x-empty"].map(|name| last(&bench, name));
        assert_eq!(sent, [Some("1".to_owned()), Some("2".to_owned()), Some("3".to_owned()), None], "{file}");
        assert!(last(&bench, "x-last").is_some(), "{file}");
    }
}

#[test]
fn an_invalid_header_line_is_named_by_its_number_and_not_shown() {
    let bench = bench();
    for (text, why) in [
        ("X: 1\n\n# no\nhunter2\n", "@headers, line 4: it has no colon"),
        ("X hunter2: 1", "@headers, line 1: "),
        ("X: 1\nRange: hunter2", "@headers, line 2: the header \"Range\""),
        ("X: hunter2\u{1}", "@headers, line 1: "),
    ] {
        write(&bench, "headers", text);
        let ran = bench.run(&[&bench.url("/film"), "-H", "@headers"]);
        assert_eq!(ran.code, Some(2), "{text:?}: {ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("hunter2"), "{text:?}: {}", ran.err);
    }
    std::fs::write(bench.path("headers"), b"X: \xff").expect("a file");
    for (file, why) in
        [("@headers", "not UTF-8"), ("@none", "No such file"), ("@", "No such file"), ("@/", "directory")]
    {
        let ran = bench.run(&[&bench.url("/film"), "-H", file]);
        assert_eq!(ran.code, Some(2), "{file:?}: {ran:?}");
        assert!(ran.err.contains(why), "{file}: {}", ran.err);
    }
    let ran = bench.run(&["-i", "-", "-H", "@-"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("-i - and --header @-"), "{}", ran.err);
}

#[test]
fn agent_and_referer_are_headers_that_a_header_of_the_same_name_replaces() {
    let bench = bench();
    let url = bench.url("/film");
    let ours = Some(concat!("regrip/", env!("CARGO_PKG_VERSION")));
    type Row<'a> = (&'a [&'a str], Option<&'a str>, Option<&'a str>);
    let table: [Row<'_>; 6] = [
        (&[], ours, None),
        (&["-A", "mine/1", "-e", "http://a.test/"], Some("mine/1"), Some("http://a.test/")),
        (&["-A", "", "-e", ""], None, None),
        (&["-A", "mine", "-H", "User-Agent: other"], Some("other"), None),
        (&["--referer", "x", "-H", "Referer: y"], ours, Some("y")),
        (&["-H", "User-Agent:"], None, None),
    ];
    for (arguments, agent, referer) in table {
        let ran = bench.run(&[&[url.as_str(), "--force"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        assert_eq!(last(&bench, "user-agent").as_deref(), agent, "{arguments:?}");
        assert_eq!(last(&bench, "referer").as_deref(), referer, "{arguments:?}");
    }
}

#[test]
fn cookies_of_the_command_line_go_to_the_host_of_the_url_and_those_of_a_file_to_its_hosts() {
    let other = bench();
    let port = other.server.address().port();
    let to = format!("http://localhost:{port}/film");
    let bench =
        Bench::serving(Script::one("/film", film().answer([Redirect::to(&to), Headers::add("Set-Cookie", "new=1")])));
    write(
        &bench,
        "jar",
        "# Netscape HTTP Cookie File\r\n\n\
         #HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\thunter2\r\n\
         127.0.0.1\tFALSE\t/other\tFALSE\t0\tpath\tx\n\
         127.0.0.1\tFALSE\t/\tFALSE\t1\texpired\tx\n\
         127.0.0.1\tFALSE\t/\tfalse\t99999999999999\tlater\t\u{e9}=y\n\
         .localhost\tTRUE\t/\tFALSE\t4102444800\tthere\t\n",
    );
    let ran = bench.run(&[&bench.url("/film"), "-b", "jar", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let sent = last(&bench, "cookie").expect("cookies");
    assert!(sent.contains("later=") && sent.contains("=y") && sent.ends_with("session=hunter2"), "{sent}");
    assert_eq!(sent.matches(';').count(), 1, "{sent}");
    assert_eq!(last(&other, "cookie").as_deref(), Some("there="));
    let state = std::fs::read(bench.path("state/regrip/state.db")).expect("the state file");
    let has = |text: &[u8]| state.windows(text.len()).any(|window| window == text);
    assert!(has(b"[\"cookie\"]") && !has(b"hunter2"));
    // On the command line.
    let bench = Bench::serving(Script::one("/film", film().answer([Redirect::to(&to)])));
    let ran = bench.run(&[&bench.url("/film"), "--cookie", "a=hunter2; b"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(last(&bench, "cookie").as_deref(), Some("a=hunter2; b"));
    assert_eq!(last(&other, "cookie"), None);
    let ran = bench.run(&[&bench.url("/film"), "--force", "-b", "a=1", "-H", "Cookie: b=2"]);
    assert_eq!((ran.code, last(&bench, "cookie").as_deref()), (Some(0), Some("b=2")));
    let ran = bench.run(&[&bench.url("/film"), "--force", "-b", ""]);
    assert_eq!((ran.code, last(&bench, "cookie")), (Some(0), None));
}

#[test]
fn a_malformed_cookie_file_is_refused_by_its_line() {
    let bench = bench();
    let line = |fields: &str| format!("# x\n{}\n", fields.replace(' ', "\t"));
    let table = [
        ("<!DOCTYPE html>\nhunter2".to_owned(), "line 1"),
        ("hunter2".to_owned(), "line 1"),
        (line("a.test TRUE / FALSE 0"), "line 2"),
        (line("a.test TRUE / FALSE 0 n hunter2 more"), "line 2"),
        (line("a.test YES / FALSE 0 n hunter2"), "line 2"),
        (line("a.test TRUE / MAYBE 0 n hunter2"), "line 2"),
        (line("a.test TRUE / FALSE soon n hunter2"), "line 2"),
        (line("a.test TRUE x FALSE 0 n hunter2"), "line 2"),
        (line("a.test TRUE / FALSE 0  hunter2"), "line 2"),
        (line("a/b TRUE / FALSE 0 n hunter2"), "line 2"),
        (line("a.test TRUE / FALSE 0 n hunter2;Domain=b.test"), "line 2"),
    ];
    for (text, why) in table {
        write(&bench, "jar", &text);
        let ran = bench.run(&[&bench.url("/film"), "-b", "jar"]);
        assert_eq!(ran.code, Some(2), "{text:?}: {ran:?}");
        assert!(ran.err.contains("--cookie jar: ") && ran.err.contains(why), "{text:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{text:?}: {}", ran.err);
    }
    for (typed, why) in [("hunter2", "names no file"), ("/", "directory"), ("/dev/zero", "larger than")] {
        let ran = bench.run(&[&bench.url("/film"), "-b", typed]);
        assert_eq!(ran.code, Some(2), "{typed}: {ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("hunter2"), "{typed}: {}", ran.err);
    }
}

const NETRC: &str = "# machine 127.0.0.1 login no password no\n\
                     macdef init\nmachine 127.0.0.1 login no password no\n\n\
                     machine 7.0.0.1 login no machine 127.0.0.1.test login no machine 127.0.0. login no\n\
                     machine other.test login other password other\r\n\
                     machine 127.0.0.1\n\tlogin \"me \\\"too\\\"\" account x port 80\n\tpassword #hunter2 # mine\n\
                     default login any password hunter3";

#[test]
fn netrc_serves_hosts_by_their_exact_name_and_gives_way_to_every_other_login() {
    let bench = bench();
    write(&bench, "netrc", NETRC);
    let url = bench.url("/film");
    let by_user = url.replace("://", "://own:1@");
    let by_name = url.replace("127.0.0.1", "localhost");
    let basic = |text: &str| Some(format!("Basic {text}"));
    let table: [(&[&str], _); 6] = [
        (&[&url], basic("bWUgInRvbyI6I2h1bnRlcjI=")),
        (&[&by_name], basic("YW55Omh1bnRlcjM=")),
        (&[&by_user], basic("b3duOjE=")),
        (&[&url, "-u", "x:y"], basic("eDp5")),
        (&[&url, "-H", "Authorization: mine"], Some("mine".to_owned())),
        (&[&url, "--netrc-file", "missing"], None),
    ];
    for (arguments, sent) in table {
        let mut command = bench.get(&[arguments, &["--force", "--netrc"]].concat());
        let ran = Ran::of(command.env("NETRC", bench.path("netrc")).output().expect("regrip runs"));
        let code = if sent.is_some() { 0 } else { 2 };
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(sent.is_none() || last(&bench, "authorization") == sent, "{arguments:?}");
        assert!(!ran.err.contains("hunter") && !ran.err.contains("chmod"), "{ran:?}");
    }
    // ~/.netrc, and not without being asked for.
    write(&bench, ".netrc", "machine 127.0.0.1 login home");
    for (arguments, sent) in [(["--netrc"].as_slice(), basic("aG9tZTo=")), (&[], None)] {
        let mut command = bench.get(&[&[url.as_str(), "--force"], arguments].concat());
        let ran = Ran::of(command.env("HOME", bench.path("")).output().expect("regrip runs"));
        assert_eq!((ran.code, last(&bench, "authorization")), (Some(0), sent), "{ran:?}");
    }
    let state = std::fs::read(bench.path("state/regrip/state.db")).expect("the state file");
    assert!(!state.windows(7).any(|text| text == b"hunter2"));
}

#[test]
fn a_login_of_netrc_does_not_follow_to_another_origin() {
    let other = bench();
    let bench = Bench::serving(Script::one("/film", film().answer([Redirect::to(&other.url("/film"))])));
    write(&bench, "netrc", "default login me password hunter2");
    let ran = bench.run(&[&bench.url("/film"), "--netrc-file", "netrc"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(last(&bench, "authorization").is_some());
    assert_eq!(last(&other, "authorization"), None);
}

#[test]
fn a_netrc_that_others_can_read_is_warned_about_once() {
    let bench = bench();
    write(&bench, "netrc", "machine 127.0.0.1 login me password hunter2");
    std::fs::set_permissions(bench.path("netrc"), PermissionsExt::from_mode(0o640)).expect("its mode");
    let ran = bench.run(&[&bench.url("/film"), "-o", "a", "--netrc-file", "netrc"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.err.matches("warning: other users can read the passwords in netrc").count(), 1, "{}", ran.err);
    let ran = bench.run(&[&bench.url("/film"), "-o", "b", "-q", "--netrc-file", "netrc"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn a_malformed_netrc_is_refused_without_being_shown() {
    let bench = bench();
    for (text, why) in [
        ("# x\nhunter2", "line 2: expected lines of the form: machine HOST login USER"),
        ("machine a login", "the last word needs a value"),
        ("login me password hunter2", "line 1: expected lines"),
        ("machine a\nlogin b password \"hunter2", "line 2: a quoted value does not end"),
        ("machine a password \"hunter2\\", "line 1: a quoted value does not end"),
    ] {
        write(&bench, "netrc", text);
        let ran = bench.run(&[&bench.url("/film"), "--netrc-file", "netrc"]);
        assert_eq!(ran.code, Some(2), "{text:?}: {ran:?}");
        assert!(ran.err.contains("--netrc: netrc: ") && ran.err.contains(why), "{text:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{text:?}: {}", ran.err);
    }
    let ran = bench.run(&[&bench.url("/film"), "--netrc"]);
    assert!(ran.code == Some(2) && ran.err.contains("neither NETRC nor HOME"), "{ran:?}");
    write(&bench, "netrc", "# none yet\n");
    assert_eq!(bench.run(&[&bench.url("/film"), "--netrc-file", "netrc"]).code, Some(0));
    bench.assert_is("film", Content::new(1, 1000));
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_refused_before_anything_is_fetched() {
    let bench = bench();
    let pair = || {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["me".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    };
    let ((cert, key), (_, other_key)) = (pair(), pair());
    write(&bench, "cert.pem", &cert);
    write(&bench, "both.pem", &format!("{cert}{key}"));
    write(&bench, "key.pem", &key);
    write(&bench, "other.pem", &other_key);
    write(&bench, "junk", "hunter2");
    write(&bench, "empty", "");
    write(&bench, "enc1.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let proc = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\nhunter2\n-----END RSA PRIVATE KEY-----\n";
    write(&bench, "enc2.pem", proc);
    write(&bench, "broken.pem", "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n");
    let table: [(&[&str], &str); 12] = [
        (&["--cert", "missing"], "--cert missing: No such file"),
        (&["--cert", "missing:hunter2"], "--cert missing: No such file"),
        (&["--cert", "junk"], "contains no certificate"),
        (&["--cert", "empty", "--key", "key.pem"], "contains no certificate"),
        (&["--cert", "/dev/zero"], "larger than"),
        (&["--cert", "cert.pem"], "no private key"),
        (&["--cert", "cert.pem", "--key", "missing"], "--key missing: No such file"),
        (&["--cert", "cert.pem", "--key", "other.pem"], "belongs to another certificate"),
        (&["--cert", "cert.pem", "--key", "enc1.pem"], "the private key is encrypted"),
        (&["--cert", "cert.pem", "--key", "enc2.pem"], "the private key is encrypted"),
        (&["--cert", "cert.pem", "--key", "broken.pem"], "no private key"),
        (&["--key", "key.pem"], "--cert"),
    ];
    for (arguments, why) in table {
        let ran = bench.run(&[&[bench.url("/film").as_str()], arguments].concat());
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("hunter2"), "{arguments:?}: {}", ran.err);
    }
    assert!(bench.server.log().is_empty());
    for arguments in [["--cert", "both.pem"].as_slice(), &["--cert", "cert.pem", "--key", "key.pem"]] {
        let ran = bench.run(&[&[bench.url("/film").as_str(), "--force"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    }
}
