//! What the transport sends, and which heads it takes.

use crate::support::{Server, close, fetch, fetch_request, hold, keep, ok, options, transport};
use regrip::transport::{Credentials, Header, HttpTransport};
use regrip_core::Error;
use regrip_core::error::Timeout;
use regrip_core::transport::{ByteRange, Request, RequestRules, Transport};
use std::time::Duration;

#[test]
fn a_request_says_who_asks_for_what_and_asks_for_no_coding() {
    let server = Server::new(|_| ok("x"));
    fetch(&transport(), &server.url("/a%20b?c=d#e")).unwrap();
    let request = server.only_request();
    assert_eq!(request.head.lines().next(), Some("GET /a%20b?c=d HTTP/1.1"));
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(request.header("accept"), Some("*/*"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("user-agent"), Some(concat!("regrip/", env!("CARGO_PKG_VERSION"))));
    for absent in ["content-type", "content-length", "transfer-encoding", "range", "if-range", "authorization"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
}

#[test]
fn a_validator_that_cannot_be_sent_back_is_an_error_and_not_left_out() {
    let server = Server::new(|_| ok("x"));
    let url = server.url("/");
    for validator in ["\"\u{20ac}\"", "\"a\r\nX: y\""] {
        let request = Request { url: &url, range: Some(ByteRange::from(1)), if_range: Some(validator) };
        let error = fetch_request(&transport(), request).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn the_native_transport_may_send_what_it_likes() {
    assert_eq!(transport().rules("http://a.test/"), RequestRules::FREE);
}

#[test]
fn userinfo_never_goes_on_the_wire() {
    let server = Server::new(|_| ok("x"));
    let url = server.url("/").replace("http://", "http://me:secret@");
    fetch(&transport(), &url).unwrap();
    let request = server.only_request();
    assert!(!request.head.contains("secret") && !request.head.contains("me@"), "{}", request.head);
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
}

#[test]
fn configured_headers_go_to_their_own_origin_only() {
    let (mine, other) = (Server::new(|_| ok("x")), Server::new(|_| ok("x")));
    let mut options = options();
    options.headers = vec![
        Header::new("X-For-All", "caf\u{e9}").unwrap(),
        Header::new("Authorization", "Bearer of_all").unwrap(),
        Header::new("User-Agent", "another/1").unwrap(),
    ];
    options.credentials = vec![Credentials {
        origin: mine.url("/").parse().unwrap(),
        headers: vec![Header::new("X-Api-Key", "k1").unwrap(), Header::new("Authorization", "Basic eDp5").unwrap()],
    }];
    let transport = HttpTransport::new(options);
    fetch(&transport, &mine.url("/")).unwrap();
    fetch(&transport, &other.url("/")).unwrap();
    let (mine, other) = (mine.only_request(), other.only_request());
    assert_eq!(mine.header("x-api-key"), Some("k1"));
    assert_eq!(mine.header("authorization"), Some("Basic eDp5"));
    assert_eq!(mine.header("x-for-all"), Some("caf\u{c3}\u{a9}"), "UTF-8, as it was given");
    assert_eq!(mine.header("user-agent"), Some("another/1"));
    assert_eq!((other.header("x-api-key"), other.header("authorization")), (None, Some("Bearer of_all")));
}

#[test]
fn each_url_has_the_user_and_password_that_were_given_for_it() {
    let server = Server::new(|_| ok("x"));
    let mut options = options();
    options.headers = vec![Header::basic("everybody", "")];
    let mut give = |path: &str, user: &str, password: &str| {
        let url = server.url(path).replace("http://", "http://not:this@");
        options.header_of(&url.parse().unwrap(), Header::basic(user, password));
    };
    give("/one", "someone", "else");
    give("/one#part", "Aladdin", "open sesame");
    give("/two?q", "me", "secret");
    let transport = HttpTransport::new(options);
    let table = [
        // The example of RFC 7617 §2.
        ("/one", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("/two?q", "Basic bWU6c2VjcmV0"),
        ("/two", "Basic ZXZlcnlib2R5Og=="),
    ];
    for (at, (path, expected)) in table.into_iter().enumerate() {
        fetch(&transport, &server.url(path)).unwrap();
        let seen = server.seen();
        assert_eq!(seen[at].header("authorization"), Some(expected), "{path}");
    }
}

// X09
#[test]
fn a_header_that_would_change_the_request_is_refused() {
    let table = [
        ("X-Key", "a\r\nHost: evil", "the value contains control characters"),
        ("X-Key", "a\0", "the value contains control characters"),
        ("X Key", "a", "the name is not a header name"),
        ("X-Key\r\nHost", "a", "the name is not a header name"),
        ("", "a", "the name is not a header name"),
        ("Range", "bytes=0-1", "it is set by regrip itself"),
        ("accept-encoding", "gzip", "it is set by regrip itself"),
        ("Transfer-Encoding", "chunked", "it is set by regrip itself"),
        ("Proxy-Authorization", "a", "it is set by regrip itself"),
    ];
    for (name, value, why) in table {
        assert_eq!(Header::new(name, value).unwrap_err().why, why, "{name}: {value}");
    }
}

#[test]
fn a_secret_is_not_printed() {
    let mut options = options();
    let secret = || Header::new("X-Api-Key", "hunter2").unwrap();
    options.headers = vec![secret()];
    options.credentials = vec![Credentials { origin: "http://a.test".parse().unwrap(), headers: vec![secret()] }];
    let printed = format!("{options:?} {:?}", HttpTransport::new(options.clone()));
    assert!(printed.contains("x-api-key: ***") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn every_status_comes_as_it_was_sent() {
    for status in [200, 204, 206, 226, 299, 300, 304, 305, 404, 416, 418, 429, 451, 499, 500, 503, 511, 520, 599] {
        let line = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n");
        let server = Server::new(move |_| keep(&line));
        assert_eq!(fetch(&transport(), &server.url("/")).unwrap().status, status);
    }
}

#[test]
fn an_interim_response_is_never_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let server = Server::new(move |_| keep(format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")));
    let response = fetch(&transport(), &server.url("/")).unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
}

#[test]
fn a_head_that_breaks_http_is_a_protocol_error() {
    let table = [
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
        ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc"),
        ("a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc"),
        ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ("a length without a colon", "HTTP/1.1 200 OK\r\nContent-Length 3\r\n\r\nabc"),
        ("a length with a control character", "HTTP/1.1 200 OK\r\nContent-Length: 3\x01\r\n\r\nabc"),
        ("a folded list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n 5\r\n\r\nabcde"),
        (
            "a length that could be the value of the field before",
            "HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 3\r\n\r\nabc",
        ),
        ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
        ("a status beyond 599", "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n"),
        ("a switch of protocols", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
    ];
    for (what, head) in table {
        let head = head.to_owned();
        let server = Server::new(move |_| close(&head));
        let error = fetch(&transport(), &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error:?}");
    }
}

#[test]
fn a_head_that_curl_or_wget_accepts_is_accepted() {
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}", "X-Any: y\r\n".repeat(300));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "y".repeat(255 << 10));
    let table = [
        ("a folded value", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\n"),
        ("control characters in unused fields", "HTTP/1.1 200 OK\r\nX: a\x01\x7f\0\r\nServer: \x1b[0m\r\n"),
        ("a space before the colon", "HTTP/1.1 200 OK\r\nX : y\r\n"),
        ("lines that are no field", "HTTP/1.1 200 OK\r\nnothing\r\n: y\r\nX Y: z\r\n"),
        ("a fold of no field", "HTTP/1.1 200 OK\r\n X: y\r\n"),
        ("bare LFs", "HTTP/1.1 200 OK\nX: y\n"),
        ("no reason", "HTTP/1.1 200\r\n"),
        ("an empty line first", "\r\nHTTP/1.1 200 OK\r\n"),
        ("lower case", "http/1.1 200 ok\r\n"),
        ("HTTP/2", "HTTP/2 200\r\n"),
        ("300 fields", &many_fields),
        ("a head of 255 KiB", &long),
    ];
    for (what, head) in table {
        for length in ["Content-Length: 2\r\n", "Content-Length :\r\n 2\r\n"] {
            let head = format!("{head}{length}\r\nok");
            let server = Server::new(move |_| keep(&head));
            let transport = transport();
            for _ in 0..2 {
                let response = fetch(&transport, &server.url("/")).expect(what);
                assert_eq!((response.status, response.body.as_str()), (200, "ok"), "{what}");
            }
            let seen = server.seen();
            assert_eq!(seen[1].connection, 0, "{what}: a connection is kept as usual");
        }
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_by_its_limit() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(256 << 10));
    let server = Server::new(move |_| hold(&head));
    let error = fetch(&transport(), &server.url("/")).unwrap_err();
    assert!(error.to_string().contains("longer than 256 KiB"), "{error}");
}

// H38
#[test]
fn a_head_without_end_is_a_protocol_error() {
    let megabyte = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1 << 20));
    let whole = format!("{megabyte}\r\nContent-Length: 0\r\n\r\n");
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1 << 18);
    for (what, head) in [("cut", megabyte), ("whole", whole), ("interim for ever", interim)] {
        let server = Server::new(move |_| hold(&head));
        let error = fetch(&transport(), &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error:?}");
    }
}

#[test]
fn a_large_body_right_behind_its_head_does_not_count_as_head() {
    let body = "b".repeat(9 << 20);
    let expected = body.len();
    let server = Server::new(move |_| ok(&body));
    assert_eq!(fetch(&transport(), &server.url("/")).unwrap().body.len(), expected);
}

#[test]
fn a_server_that_never_answers_runs_into_the_headers_timeout() {
    for silence in ["", "HTTP/1.1 200 OK\r\nX-Half: a he"] {
        let server = Server::new(move |_| hold(silence));
        let mut options = options();
        options.headers_timeout = Duration::from_millis(50);
        let error = fetch(&HttpTransport::new(options), &server.url("/")).unwrap_err();
        let Error::Timeout { timeout: Timeout::Headers, after } = error else { panic!("{error:?}") };
        assert_eq!(after, Duration::from_millis(50));
        assert!(server.client_closed());
    }
}

#[test]
fn a_connection_closed_before_the_answer_is_a_network_error() {
    for start in ["", "HTTP/1.1 200 OK\r\nX-Half: a he"] {
        let server = Server::new(move |_| close(start));
        let error = fetch(&transport(), &server.url("/")).unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{error:?}");
        assert_eq!(server.seen().len(), 1, "a new connection is not tried twice");
    }
}

// X06
#[test]
fn an_address_that_cannot_be_fetched_is_an_error_before_anything_is_sent() {
    for url in ["", "a.test", "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "http://[1/"] {
        let error = fetch(&transport(), url).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{url}: {error:?}");
    }
}
