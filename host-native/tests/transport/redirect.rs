//! Redirects: their targets, and the headers they drop.

use crate::support::{Answer, Server, fetch, fetch_request, found, keep, ok, options, transport};
use regrip::transport::{Credentials, Header, HttpTransport};
use regrip_core::Error;
use regrip_core::transport::{ByteRange, Request};
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// A transport that has secrets for one server.
fn with_secrets(server: &Server) -> HttpTransport {
    let mut options = options();
    options.headers = vec![
        Header::new("X-Stub", "s").unwrap(),
        Header::new("User-Agent", "mine/1").unwrap(),
        Header::new("Referer", "http://a.test/page").unwrap(),
        Header::new("Accept", "video/*").unwrap(),
        Header::new("Accept-Language", "de").unwrap(),
    ];
    let secrets = [("Authorization", "Basic eDp5"), ("Cookie", "a=b"), ("X-Api-Key", "k")];
    options.credentials = vec![Credentials {
        origin: server.url("/").parse().unwrap(),
        headers: secrets.map(|(name, value)| Header::new(name, value).unwrap()).to_vec(),
    }];
    HttpTransport::new(options)
}

const SECRETS: [&str; 4] = ["authorization", "cookie", "x-api-key", "x-stub"];

#[test]
fn a_redirect_within_the_origin_keeps_everything() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::new(move |seen| match seen.target() {
            "/a/b" => keep(format!("HTTP/1.1 {status} Go\r\nLocation: ../c?d#e\r\nContent-Length: 0\r\n\r\n")),
            _ => ok("there"),
        });
        let url = server.url("/a/b");
        let request = Request { url: &url, range: Some(ByteRange::from(7)), if_range: Some("\"v\"") };
        let response = fetch_request(&with_secrets(&server), request).unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, "there"), "{status}");
        let seen = server.seen();
        assert_eq!(seen[1].target(), "/c?d");
        for name in SECRETS.into_iter().chain(["range", "if-range"]) {
            assert!(seen[1].header(name).is_some(), "{status} lost {name}");
            assert_eq!(seen[1].header(name), seen[0].header(name), "{status}");
        }
    }
}

#[test]
fn a_redirect_to_another_origin_takes_along_who_asks_for_what_and_no_secret() {
    let elsewhere = Server::new(|_| ok("there"));
    let to = elsewhere.url("/x");
    let server = Server::new(move |_| found(&to));
    let url = server.url("/");
    let request = Request { url: &url, range: Some(ByteRange::from(7)), if_range: Some("\"v\"") };
    fetch_request(&with_secrets(&server), request).unwrap();
    assert!(SECRETS.iter().all(|name| server.only_request().header(name).is_some()));
    let crossed = elsewhere.only_request();
    for name in SECRETS {
        assert_eq!(crossed.header(name), None, "{name} crossed");
    }
    assert_eq!(crossed.header("range"), Some("bytes=7-"));
    assert_eq!(crossed.header("if-range"), Some("\"v\""));
    assert_eq!(crossed.header("accept-encoding"), Some("identity"));
    assert_eq!(crossed.header("host"), Some(elsewhere.address.to_string().as_str()));
    assert_eq!(crossed.header("user-agent"), Some("mine/1"));
    assert_eq!(crossed.header("referer"), Some("http://a.test/page"));
    assert_eq!(crossed.header("accept"), Some("video/*"));
    assert_eq!(crossed.header("accept-language"), Some("de"));
}

#[test]
fn another_origin_that_wants_credentials_is_named_with_those_that_stayed() {
    for status in [401, 403] {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let elsewhere = Server::new(move |_| keep(answer.clone()));
        let to = elsewhere.url("/in?token=secret");
        let server = Server::new(move |_| found(&to));
        let url = server.url("/");
        let refused = fetch(&with_secrets(&server), &url).unwrap_err();
        assert_eq!(refused.code().as_str(), "RedirectRefused");
        let text = refused.to_string();
        let (to, from) = (elsewhere.url("/in"), url.trim_end_matches('/'));
        assert!(text.contains(&to) && text.contains("x-api-key"), "{text}");
        assert!(text.contains(&format!(" stays at {from}")), "{text}");
        assert!(!text.contains("secret"), "{text}");
        // Who sent none learns the status.
        let plain = HttpTransport::new(options());
        assert_eq!(fetch(&plain, &url).unwrap().status, status);
    }
}

#[test]
fn a_chain_that_returns_to_its_origin_has_all_headers_there_again() {
    let back = Arc::new(Mutex::new(String::new()));
    let elsewhere = Server::new({
        let back = back.clone();
        move |_| found(&back.lock().unwrap())
    });
    let to = elsewhere.url("/x");
    let server = Server::new(move |seen| if seen.target() == "/back" { ok("there") } else { found(&to) });
    *back.lock().unwrap() = server.url("/back");
    assert_eq!(fetch(&with_secrets(&server), &server.url("/")).unwrap().body, "there");
    let seen = server.seen();
    assert_eq!(seen[1].target(), "/back");
    for name in SECRETS {
        assert!(seen[0].header(name).is_some(), "{name}");
        assert_eq!(seen[0].header(name), seen[1].header(name), "{name}");
        assert_eq!(elsewhere.only_request().header(name), None, "{name}");
    }
}

#[test]
fn a_redirect_without_a_scheme_goes_to_the_host_it_names() {
    let elsewhere = Server::new(|_| ok("there"));
    let to = format!("//{}/x", elsewhere.address);
    let server = Server::new(move |_| found(&to));
    assert_eq!(fetch(&with_secrets(&server), &server.url("/")).unwrap().body, "there");
    assert_eq!(elsewhere.only_request().header("x-api-key"), None);
}

#[test]
fn ten_redirects_are_followed_and_an_eleventh_is_not() {
    let server = Server::new(|seen| {
        let left: u32 = seen.target().trim_start_matches('/').parse().unwrap();
        if left == 0 { ok("there") } else { found(&format!("/{}", left - 1)) }
    });
    assert_eq!(fetch(&transport(), &server.url("/10")).unwrap().body, "there");
    assert_eq!(server.seen().len(), 11);
    let error = fetch(&transport(), &server.url("/11")).unwrap_err();
    assert!(matches!(error, Error::RedirectRefused(_)), "{error:?}");
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
    assert_eq!(server.seen().len(), 22);
}

#[test]
fn a_redirect_that_leads_nowhere_is_refused() {
    let table = [
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
    ];
    for bytes in table {
        let server = Server::new(move |_| keep(bytes));
        let error = fetch(&transport(), &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::RedirectRefused(_)), "{bytes}: {error:?}");
        server.only_request();
    }
}

#[test]
fn what_a_redirect_says_of_itself_does_not_reach_the_answer() {
    let server = Server::new(|seen| match seen.target() {
        "/" => keep(
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nRetry-After: 3600\r\nETag: \"redirect\"\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => keep("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
    });
    let response = fetch(&transport(), &server.url("/")).unwrap();
    assert_eq!(response.status, 503);
    assert_eq!((response.headers.only("retry-after"), response.headers.only("etag")), (None, None));
}

#[test]
fn other_3xx_are_answers() {
    for status in [300, 304, 305, 306] {
        let server =
            Server::new(move |_| keep(format!("HTTP/1.1 {status} Odd\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")));
        assert_eq!(fetch(&transport(), &server.url("/")).unwrap().status, status);
        server.only_request();
    }
}

// X07
#[test]
fn a_redirect_never_leads_to_a_link_local_or_cloud_metadata_address() {
    for host in [
        "169.254.169.254",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1]",
        "2852039166",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[2002:a9fe:a9fe::1]",
    ] {
        let server = Server::new(move |_| found(&format!("http://{host}/latest/meta-data/")));
        let mut options = options();
        // Were a connection tried, this is what would come of it.
        options.connect_timeout = std::time::Duration::from_millis(100);
        let error = fetch(&HttpTransport::new(options), &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::AddressRefused(_)), "{host}: {error:?}");
    }
}

/// An address of this machine that others see; no packet is sent to find it.
fn address_outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

// X07
#[test]
fn a_redirect_from_elsewhere_does_not_reach_loopback() {
    let Some(outside) = address_outside() else {
        eprintln!("skipped: this machine has loopback only");
        return;
    };
    let inside = Server::new(|_| ok("private"));
    let (port, hosts) = (inside.address.port(), ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "0x7f.1"]);
    for host in hosts {
        let Some(server) = Server::at(&format!("{outside}:0"), move |_| found(&format!("http://{host}:{port}/")))
        else {
            eprintln!("skipped: cannot listen on {outside}");
            return;
        };
        let transport = transport();
        // A connection in the pool must not be a way around the check.
        fetch(&transport, &format!("http://{host}:{port}/")).unwrap();
        let before = inside.seen().len();
        let error = fetch(&transport, &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::AddressRefused(_)), "{host}: {error:?}");
        assert_eq!(inside.seen().len(), before, "{host}");
    }
}

#[test]
fn the_body_of_a_redirect_is_not_read() {
    let server = Server::new(|seen| match seen.target() {
        "/" => Answer(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 10000000000\r\n\r\n".to_vec(),
            crate::support::Then::Flood,
        ),
        _ => ok("there"),
    });
    assert_eq!(fetch(&transport(), &server.url("/")).unwrap().body, "there");
    assert!(server.client_closed());
}

#[test]
fn a_location_is_encoded_byte_by_byte() {
    let table: [(&[u8], &str); 5] = [
        (b"/caf\xe9", "/caf%E9"),
        (b"/caf\xc3\xa9?q=\xe9", "/caf%C3%A9?q=%E9"),
        (b"/a b\x7f", "/a%20b%7F"),
        (b"caf\xe9%20x", "/caf%E9%20x"),
        (b"/x#\xe9", "/x"),
    ];
    for (location, target) in table {
        let head = [b"HTTP/1.1 302 Found\r\nLocation: ", location, b"\r\nContent-Length: 0\r\n\r\n"];
        let head = head.concat();
        let server = Server::new(move |seen| match seen.target() {
            "/" => keep(&head),
            _ => ok("there"),
        });
        assert_eq!(fetch(&transport(), &server.url("/")).unwrap().body, "there");
        assert_eq!(server.seen()[1].target(), target, "{location:?}");
    }
}

/// A redirect that sets a cookie.
fn found_with_cookie(location: &str, cookie: &str) -> Answer {
    keep(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn a_redirect_to_itself_that_sets_a_cookie_is_followed_with_it() {
    let server = Server::new(|seen| match seen.header("cookie") {
        Some("session=1") => ok("there"),
        _ => found_with_cookie("/", "session=1"),
    });
    let transport = transport();
    for requests in [2, 3] {
        assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "there");
        assert_eq!(server.seen().len(), requests, "the cookie is kept");
    }
}

#[test]
fn cookies_of_errors_are_kept_and_those_of_another_host_stay_with_it() {
    let elsewhere = Server::new(|_| ok("there"));
    let to = format!("http://localhost:{}/", elsewhere.address.port());
    let server = Server::new(move |seen| match seen.header("cookie") {
        None => keep("HTTP/1.1 503 Busy\r\nSet-Cookie: wait=1\r\nContent-Length: 0\r\n\r\n"),
        Some(_) => found(&to),
    });
    let transport = transport();
    assert_eq!(fetch(&transport, &server.url("/")).unwrap().status, 503);
    assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "there");
    assert_eq!(server.seen()[1].header("cookie"), Some("wait=1"));
    assert_eq!(elsewhere.only_request().header("cookie"), None);
}

#[test]
fn a_cookie_that_the_user_gave_is_sent_beside_those_of_the_server_and_stays_at_its_origin() {
    let elsewhere = Server::new(|_| ok("there"));
    let to = format!("http://localhost:{}/", elsewhere.address.port());
    let server = Server::new(move |seen| match seen.target() {
        "/" => found_with_cookie("/next", "b=2; Path=/"),
        _ => found_with_cookie(&to, "c=3"),
    });
    fetch(&with_secrets(&server), &server.url("/")).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].header("cookie"), Some("a=b"));
    assert_eq!(seen[1].header("cookie"), Some("a=b; b=2"));
    assert_eq!(elsewhere.only_request().header("cookie"), None);
}
