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
    (&["{url}", "-d", "file"], "/file is not a folder"),
    (&["{url}", "-d", "file/new/er"], "/file is not a folder"),
    (&["{url}", "-o", "file/film"], "/file is not a folder"),
    (&["{url}", "-d", "dangling/new"], "/dangling is a link to something that does not exist"),
    (&["film", "-d", "missing"], "is not a URL"),
    (&["{url}", "-d", "missing", "--checksum", "abc"], "64 hexadecimal digits"),
    (&["{url}", "-N", "--on-exists", "fail"], "--newer replaces"),
    (&["{url}", "--newer", "--on-exists", "rename"], "--newer replaces"),
    (&["{url}", "-N", "-o", "-"], "--newer compares a file"),
    (&["{url}", "-N", "--force"], "--force"),
    (&["{url}", "--content-disposition", "-o", "film"], "--output"),
    (&["{url}", "--content-disposition", "-o", "-"], "--output"),
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
    (&["{url}", "--cacert", "/dev/zero"], "larger than"),
    (&["{url}", "--cacert", "file", "-k"], "--insecure"),
    (&["{url}", "-A", "hunter2\u{1}"], "--user-agent: "),
    (&["{url}", "-e", "hunter2\n"], "--referer: "),
    (&["{url}", "-b", "hunter2=\u{7f}"], "--cookie: "),
    (&["{url}", "--resolve", ""], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:80"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:0:127.0.0.1"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:99999:127.0.0.1"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:80:hunter2"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:80:127.0.0.1,"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a.test:80:127.0.0.1:80"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "127.0.0.1:80:127.0.0.1"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "--resolve", "a b:80:127.0.0.1"], "write HOST:PORT:ADDRESS"),
    (&["{url}", "-4", "-6"], "--ipv6"),
    (&["{url}", "--proxy", "socks4://me:hunter2@127.0.0.1:1"], "its scheme is socks4"),
    (&["{url}", "--proxy", "socks4a://me:hunter2@127.0.0.1:1"], "its scheme is socks4a"),
    (&["{url}", "--proxy", "socks5://"], "it names no host"),
    (&["{url}", "--proxy", "ftp://me:hunter2@127.0.0.1:1"], "only http, https, socks5 and socks5h proxies"),
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
    std::os::unix::fs::symlink("nowhere", bench.path("dangling")).expect("linked");
    std::fs::write(bench.path("utf16"), b"\xff\xfeh\0").expect("a file");
    let url = bench.url("/film");
    for (arguments, message) in TABLE {
        let typed: Vec<String> = arguments.iter().map(|argument| argument.replace("{url}", &url)).collect();
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let ran = bench.run(&typed);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{arguments:?}: {}", ran.err);
        assert_eq!(bench.names(), ["dangling", "file", "folder", "utf16"], "{arguments:?}");
        assert!(!bench.path("state").exists(), "{arguments:?}");
    }
    assert!(bench.server.log().is_empty(), "a request was made");
}

// L04
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
