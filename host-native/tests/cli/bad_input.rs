//! What is wrong is said, with what to do, and nothing is written: exit 2.

use crate::support::Bench;
use regrip_faultd::{FileScript, Script, Version};

/// Arguments (`{url}` is a file that exists), and what the message must contain.
const TABLE: &[(&[&str], &str)] = &[
    (&["film"], "is not a URL"),
    (&["http://"], "is not a URL"),
    (&["http://[::1"], "is not a URL"),
    (&["ftp://host/film"], "only http and https"),
    (&["file:///etc/passwd"], "only http and https"),
    (&["{url}", "-o", "folder"], "is a folder"),
    (&["{url}", "-o", "new/"], "is a folder"),
    (&["{url}", "-o", "missing/film"], "does not exist"),
    (&["{url}", "-d", "missing"], "does not exist"),
    (&["{url}", "-d", "file"], "is not a folder"),
    (&["{url}", "{url}2", "-o", "film"], "-o names one file"),
    (&["{url}", "{url}?other", "-d", "folder"], "both"),
    (&["{url}", "--sha256", "abc"], "64 hexadecimal digits"),
    (&["{url}", "--checksum", "md5:abc"], "32 hexadecimal digits"),
    (&["{url}", "--checksum", "crc32:00112233"], "the algorithm is"),
    (&["{url}", "--print-checksum", "crc32"], "--print-checksum"),
    (&["{url}", "{url}2", "--sha256", "0000000000000000000000000000000000000000000000000000000000000000"], "one file"),
    (&["{url}", "--max-attempts", "0"], "--max-attempts"),
    (&["{url}", "--max-attempts", "many"], "--max-attempts"),
    (&["{url}", "-j", "0"], "--jobs"),
    (&["{url}", "--on-exists", "maybe"], "--on-exists"),
    (&["{url}/"], "-o FILE"),
    (&["{url}/..%2fetc"], "-o FILE"),
    (&["{url}/%00"], "-o FILE"),
    (&["{url}/film.part"], "-o FILE"),
    (&["{url}", "--nonsense"], "--nonsense"),
    (&["{url}", "--header", "hunter2"], "--header: it has no colon"),
    (&["{url}", "--header", "Range: hunter2"], "\"Range\" cannot be sent"),
    (&["{url}", "--header", "Proxy-Authorization: hunter2"], "by regrip itself"),
    (&["{url}", "--header", "A b: hunter2"], "not a header name"),
    (&["{url}", "--header", "A: hunter2\r\nB: c"], "control characters"),
    (&["{url}", "--user", "hunter2"], "--user has no colon"),
    (&["{url}", "--user", "me:hunter2", "--header", "authorization: hunter2"], "--user and --header"),
    (&["{url}", "--cacert", "missing"], "--cacert missing: No such file"),
    (&["{url}", "--cacert", "folder"], "--cacert folder"),
    (&["{url}", "--cacert", "file"], "contains no certificate"),
    (&["{url}", "--cacert", "/dev/zero"], "too long"),
    (&["{url}", "--cacert", "file", "-k"], "--insecure"),
    (&["{url}", "--proxy", "socks5://me:hunter2@127.0.0.1:1"], "socks5"),
    (&["{url}", "--proxy", "https://me:hunter2@127.0.0.1:1"], "only http proxies"),
    (&["{url}", "--proxy", "http://"], "--proxy"),
    (&["{url}", "-x", "0"], "1 to 16"),
    (&["{url}", "-x", "17"], "1 to 16"),
    (&["{url}", "--connections", "many"], "1 to 16"),
    (&["{url}", "--mirror", "hunter2"], "--mirror: a string of 7 characters is not a URL"),
    (&["{url}", "--mirror", "ftp://a/b"], "--mirror: ftp://a/b"),
    (&["{url}", "{url}2", "--mirror", "http://a/b"], "--mirror is another source of one file"),
    (&["{url}", "--checksum-file", "missing"], "--checksum-file missing: No such file"),
    (&["{url}", "--checksum-file", "folder"], "--checksum-file folder: Is a directory"),
    (&["{url}", "--checksum-file", "/dev/zero"], "larger than 16384 KiB"),
    (&["{url}", "--checksum-file", "utf16"], "not UTF-8"),
    (&["{url}", "--checksum-file", "file"], "no digest in it"),
    (&["{url}", "--checksum-file", "file", "--no-digest"], "--no-digest"),
    (&["-i", "-", "--checksum-file", "-"], "no URL"),
    (&["{url}", "--limit-rate", "0"], "--limit-rate"),
    (&["{url}", "--limit-rate", "fast"], "--limit-rate"),
    (&["-i", "missing"], "-i missing: No such file"),
    (&["-i", "file"], "file, line 1: a string of 4 characters is not a URL"),
    (&["-i", "utf16"], "the list is UTF-16"),
    (&["-i", "-"], "no URL in the list"),
    (&["{url}", "-i", "file", "-o", "film"], "there are 2 URLs"),
    (&[], "<URL>"),
];

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 10))));
    std::fs::create_dir(bench.path("folder")).expect("a folder");
    std::fs::write(bench.path("file"), "mine").expect("a file");
    std::fs::write(bench.path("utf16"), b"\xff\xfeh\0").expect("a file");
    let url = bench.url("/film");
    for (arguments, message) in TABLE {
        let typed: Vec<String> = arguments.iter().map(|argument| argument.replace("{url}", &url)).collect();
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let ran = bench.run(&typed);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{arguments:?}: {}", ran.err);
        assert_eq!(bench.names(), ["file", "folder", "utf16"], "{arguments:?}");
        assert!(!bench.path("state").exists(), "{arguments:?}");
    }
    assert!(bench.server.log().is_empty(), "a request was made");
}

#[test]
fn a_state_file_that_cannot_be_used_is_exit_3_and_stays_as_it_is() {
    let bench = Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 10))));
    std::fs::write(bench.path("junk"), "this is no database, and long enough to be looked at").expect("a file");
    let before = std::fs::read(bench.path("junk")).expect("there");
    let ran = bench.run(&[&bench.url("/film"), "--state", "junk"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("--state"), "{}", ran.err);
    assert_eq!(std::fs::read(bench.path("junk")).expect("there"), before);
    assert_eq!(bench.names(), ["junk"]);
}
