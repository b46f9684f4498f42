//! `-v`: what is shown of requests and responses, and that no secret and no control character is.

use crate::proxy::Proxy;
use crate::support::Bench;
use regrip_faultd::faults::{Cut, Headers, Redirect, Status};
use regrip_faultd::{FileScript, Script, Version};

fn film() -> FileScript {
    FileScript::honest(Version::new(1, 300_000).etag("\"v1\""))
}

#[test]
fn the_heads_of_all_requests_and_responses_are_shown_with_their_connections() {
    let script = film().answer([Redirect::to("/film?sig=hunter2")]).answer([Cut::after(1000)]);
    let bench = Bench::serving(Script::one("/film", script));
    let port = bench.server.address().port();
    for option in ["-v", "--verbose"] {
        let ran = bench.run(&[&bench.url("/film?key=hunter2"), option, "--force"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.out, "");
        let err = ran.err;
        assert!(err.contains(&format!("* connected to 127.0.0.1 (127.0.0.1) port {port}\n")), "{err}");
        assert!(err.contains("> GET /film?*** HTTP/1.1\n"), "{err}");
        assert!(err.contains(&format!("\n> Host: 127.0.0.1:{port}\n")), "{err}");
        assert!(err.contains("\n>\n") && err.contains("\n<\n"), "{err}");
        assert!(!err.contains("hunter2"), "{err}");
        if option == "-v" {
            assert!(err.contains("< HTTP/1.1 302 ") && err.contains("ocation: /film?***\n"), "{err}");
            assert!(err.contains("> Range: bytes=1000-\n") && err.contains("< HTTP/1.1 206 "), "{err}");
        }
    }
}

#[test]
fn secrets_and_control_characters_are_not_shown() {
    let headers = [
        Headers::add("Set-Cookie", "session=hunter2; Path=/"),
        Headers::add("X-Auth-Token", "hunter2"),
        Headers::add("X-Odd", "a\u{1b}[31mb\u{7f}"),
        Headers::add("Link", "<https://me:hunter2@a.test/x?y=hunter2>; rel=next"),
        Headers::add("WWW-Authenticate", "Basic realm=files"),
    ];
    let script =
        film().answer(std::iter::once(Redirect::to("https://me:hunter2@127.0.0.1:1/x?hunter2")).chain(headers));
    let bench = Bench::serving(Script::one("/film", script));
    let url = bench.url("/film").replace("://", "://me:hunter2@");
    let secret = ["X-Api-Key", "Private-Token", "X-Secret", "X-Pass", "Api-Signature", "Cookie"];
    let typed: Vec<String> = secret.iter().flat_map(|name| ["-H".to_owned(), format!("{name}: hunter2")]).collect();
    let mut arguments: Vec<&str> = typed.iter().map(String::as_str).collect();
    arguments.extend([
        url.as_str(),
        "-v",
        "--json",
        "--max-attempts",
        "1",
        "-H",
        "X-Plain: hunter2",
        "-e",
        "http://me:hunter2@b/?hunter2",
    ]);
    let ran = bench.run(&arguments);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!ran.err.contains("hunter2") && !ran.err.contains("aHVudGVyMg"), "{}", ran.err);
    for name in secret.into_iter().chain(["Authorization"]) {
        assert!(ran.err.contains(&format!("\n> {name}: ***\n")), "{name}: {}", ran.err);
    }
    for line in [
        "> X-Plain: ***",
        "> Referer: http://***@b/?***",
        "< Set-Cookie: ***",
        "< X-Auth-Token: ***",
        "< X-Odd: a?[31mb?",
        "< Link: <https://***@a.test/x?***",
        "< WWW-Authenticate: Basic realm=files",
    ] {
        assert!(ran.err.lines().any(|have| have.eq_ignore_ascii_case(line)), "{line}: {}", ran.err);
    }
    assert!(ran.events().len() > 1, "the events stay on standard output: {}", ran.out);
}

#[test]
fn a_tunnel_and_tls_are_shown() {
    let bench = Bench::serving_tls(Script::one("/film", film()));
    let proxy = Proxy::start();
    let ran = bench.run(&[&bench.url("/film"), "-kv", "--proxy", &proxy.url("me:hunter2@")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = [
        format!("* connected to 127.0.0.1 (the proxy {}) port {}", proxy.url(""), proxy.address.port()),
        format!("> CONNECT {} HTTP/1.1", bench.server.address()),
        "> Proxy-Authorization: ***".to_owned(),
        "< HTTP/1.1 200 Connection established".to_owned(),
        "> GET /film HTTP/1.1".to_owned(),
    ];
    for line in lines {
        assert!(ran.err.lines().any(|have| have == line), "{line}: {}", ran.err);
    }
    assert!(ran.err.contains("* TLS connection using TLSv1.3 / TLS13_"), "{}", ran.err);
}

#[test]
fn the_last_of_quiet_and_verbose_counts() {
    let bench = Bench::serving(Script::one("/film", film().answer([Status::code(503)])));
    let url = bench.url("/film");
    for (arguments, is_shown) in [(["-q", "-v"], true), (["-v", "-q"], false)] {
        let ran = bench.run(&[&[url.as_str(), "--force"], arguments.as_slice()].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.err.contains("> GET /film HTTP/1.1"), is_shown, "{arguments:?}: {}", ran.err);
    }
}
