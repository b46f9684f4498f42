//! Through a proxy: what it gets to see, what the origin gets to see, and what is kept apart.

use crate::proxy::{Proxy as Relay, Socks};
use crate::support::{Server, fetch, found, hold, ok, options};
use regrip::transport::{Header, HttpTransport, NoProxy, Proxies, Proxy, TransportOptions};
use regrip_core::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

fn through(url: &str) -> TransportOptions {
    let proxy = Some(Ok(Arc::new(Proxy::parse(url).unwrap())));
    let mut options = options();
    options.proxies = Proxies { http: proxy.clone(), https: proxy, except: NoProxy::default() };
    options
}

/// A server whose requests come with an absolute target.
fn as_proxy(server: &Server) -> String {
    format!("http://me:secret@{}", server.address)
}

#[test]
fn an_http_request_is_handed_over_whole_and_its_connection_used_again() {
    let proxy = Server::new(|_| ok("x"));
    let mut options = through(&as_proxy(&proxy));
    options.headers = vec![Header::basic("user", "of the origin")];
    let transport = HttpTransport::new(options);
    for _ in 0..2 {
        fetch(&transport, "http://nowhere.test:8080/film%20a?b#c").unwrap();
    }
    let seen = proxy.seen();
    assert_eq!(seen[0].target(), "http://nowhere.test:8080/film%20a?b");
    assert_eq!(seen[0].header("host"), Some("nowhere.test:8080"));
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(seen[0].header("authorization"), Some("Basic dXNlcjpvZiB0aGUgb3JpZ2lu"));
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].connection, 0);
}

#[test]
fn who_is_excepted_gets_no_word_for_the_proxy() {
    let (proxy, server) = (Server::new(|_| ok("proxy")), Server::new(|_| ok("server")));
    let mut options = through(&as_proxy(&proxy));
    options.proxies.except = NoProxy::parse(&server.address.to_string());
    let transport = HttpTransport::new(options);
    assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "server");
    assert_eq!(server.only_request().target(), "/");
    assert_eq!(server.only_request().header("proxy-authorization"), None);
    assert!(proxy.seen().is_empty());
}

#[test]
fn a_proxy_that_wants_a_password_is_not_mistaken_for_the_origin() {
    let proxy = Server::new(|_| crate::support::keep("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"));
    let error = fetch(&HttpTransport::new(through(&as_proxy(&proxy))), "http://a.test/").unwrap_err();
    assert!(matches!(error, Error::ProxyRefused(_)), "{error:?}");
    // From an origin it is a status like any other.
    let status = fetch(&crate::support::transport(), &proxy.url("/")).unwrap().status;
    assert_eq!(status, 407);
}

#[test]
fn a_redirect_behind_a_local_proxy_leads_neither_to_this_machine_nor_into_a_private_network() {
    // The proxy answers from 127.0.0.1, but who it speaks for is somewhere else.
    let secret = Server::new(|_| ok("secret"));
    let targets = [
        secret.url("/"),
        format!("http://localhost:{}/", secret.address.port()),
        "http://169.254.169.254/".to_owned(),
        "http://10.0.0.7/".to_owned(),
        "http://[fd12:3456:789a::1]/".to_owned(),
        "http://100.100.100.200/".to_owned(),
    ];
    for to in targets {
        let proxy = Server::new({
            let to = to.clone();
            move |seen| {
                if seen.target() == "http://a.test/" { found(&to) } else { ok("x") }
            }
        });
        let error = fetch(&HttpTransport::new(through(&as_proxy(&proxy))), "http://a.test/").unwrap_err();
        assert!(matches!(error, Error::AddressRefused(_)), "{to}: {error:?}");
        assert_eq!(proxy.seen().len(), 1, "{to}");
    }
    // From this machine to itself it may.
    let to = secret.url("/there");
    let proxy = Server::new(move |seen| if seen.target().ends_with("/here") { found(&to) } else { ok("there") });
    let transport = HttpTransport::new(through(&as_proxy(&proxy)));
    assert_eq!(fetch(&transport, &secret.url("/here")).unwrap().body, "there");
}

#[test]
fn what_a_proxy_says_to_connect_decides_about_another_attempt() {
    let table = [
        (403, "ProxyRefused"),
        (407, "ProxyRefused"),
        (302, "ProxyRefused"),
        (429, "Network"),
        (500, "Network"),
        (502, "Network"),
        (503, "Network"),
        (504, "Network"),
    ];
    for (status, code) in table {
        let relay = Relay::refusing([status]);
        let error = fetch(&HttpTransport::new(through(&relay.url("me:secret@"))), "https://a.test/x?y").unwrap_err();
        assert_eq!(error.code().as_str(), code, "{status}: {error}");
        let told = error.to_string();
        assert!(told.contains(&status.to_string()) && told.contains(&relay.address.to_string()), "{told}");
        assert!(!told.contains("secret"), "{told}");
        let head = &relay.seen()[0];
        assert!(head.starts_with("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0"), "{head}");
    }
}

#[test]
fn an_answer_to_connect_that_is_none_is_an_error() {
    let table = [
        ("", "Network"),
        ("HTTP/1.1 2", "Network"),
        ("SSH-2.0\r\n\r\n", "Protocol"),
        ("HTTP/1.1 abc\r\n\r\n", "Protocol"),
        ("HTTP/1.1 200 OK\r\n\r\nmore", "Protocol"),
    ];
    for (answer, code) in table {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer.as_bytes());
        });
        let error = fetch(&HttpTransport::new(through(&url)), "https://a.test/").unwrap_err();
        assert_eq!(error.code().as_str(), code, "{answer:?}: {error}");
    }
}

#[test]
fn an_answer_to_connect_without_end_is_bounded() {
    let flood =
        Server::new(|_| crate::support::Answer(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), crate::support::Then::Flood));
    let url = format!("http://{}", flood.address);
    let error = fetch(&HttpTransport::new(through(&url)), "https://a.test/").unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[test]
fn the_connect_timeout_covers_the_proxy() {
    let silent = Server::new(|_| hold(""));
    let mut options = through(&format!("http://{}", silent.address));
    options.connect_timeout = Duration::from_millis(100);
    let error = fetch(&HttpTransport::new(options), "https://a.test/").unwrap_err();
    assert_eq!(error.code().as_str(), "ConnectTimeout", "{error}");
    assert!(silent.client_closed());
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fetch(&HttpTransport::new(through(&gone.to_string())), "http://a.test/").unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("the proxy http://{gone}")), "{error}");
}

/// A server that answers each request of a client with the next of these pieces, and closes.
fn answering(pieces: &'static [&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        for piece in pieces {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(piece);
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
        while matches!(client.read(&mut [0; 4096]), Ok(1..)) {}
    });
    format!("socks5h://me:secret@{address}")
}

#[test]
fn a_malformed_answer_of_a_socks_proxy_is_an_error() {
    let table: [(&'static [&'static [u8]], &str); 12] = [
        (&[], "Network"),
        (&[b"\x05"], "Network"),
        (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], "Protocol"),
        (&[b"\x04\x00"], "Protocol"),
        (&[b"\x05\x01"], "Protocol"),
        (&[b"\x05\xff"], "ProxyRefused"),
        (&[b"\x05\x02", b"\x01"], "Network"),
        (&[b"\x05\x02", b"\x01\x01"], "ProxyRefused"),
        (&[b"\x05\x00", b"\x05\x00\x00\x01\x00"], "Network"),
        (&[b"\x05\x00", b"\x04\x00\x00\x01\x00"], "Protocol"),
        (&[b"\x05\x00", b"\x05\x00\x00\x02\x00"], "Protocol"),
        (&[b"\x05\x00", b"\x05\x00\x00\x03\xff"], "Network"),
    ];
    for (pieces, code) in table {
        let error = fetch(&HttpTransport::new(through(&answering(pieces))), "http://a.test/").unwrap_err();
        assert_eq!(error.code().as_str(), code, "{pieces:?}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn the_connect_timeout_covers_a_socks_proxy() {
    let silent = Server::new(|_| hold(""));
    let mut options = through(&format!("socks5://{}", silent.address));
    options.connect_timeout = Duration::from_millis(100);
    let error = fetch(&HttpTransport::new(options), "http://127.0.0.1/").unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[test]
fn behind_a_socks_proxy_addresses_are_judged_if_they_are_looked_up_here() {
    let secret = Server::new(|_| ok("secret"));
    let to = secret.url("/");
    let server = Server::new(move |_| found(&to));
    let (name, port) = (format!("a.test:{}", server.address.port()), server.address.port());
    let url = format!("http://{name}/");
    let closed = [std::net::Ipv4Addr::new(169, 254, 169, 254).into()];
    for (scheme, address, is_fetched) in [
        ("socks5", server.address.ip(), true),
        ("socks5", closed[0], false),
        // Who answers is not known, so the redirect must not lead to this machine.
        ("socks5h", server.address.ip(), false),
    ] {
        let socks = Socks::start(None, &[], &[(&name, server.address)]);
        let mut options = through(&socks.url(scheme, ""));
        options.resolve.insert(("a.test".to_owned(), port), vec![address]);
        let fetched = fetch(&HttpTransport::new(options), &url);
        assert_eq!(fetched.is_ok(), is_fetched, "{scheme} {address}: {fetched:?}");
        assert!(is_fetched || matches!(fetched, Err(Error::AddressRefused(_))), "{fetched:?}");
    }
}

#[test]
fn another_address_is_tried_after_one_that_a_socks_proxy_cannot_reach() {
    let server = Server::new(|_| ok("x"));
    let socks = Socks::start(None, &[4], &[]);
    let mut options = through(&socks.url("socks5", ""));
    let addresses = ["127.0.0.9".parse().unwrap(), server.address.ip()];
    options.resolve.insert(("a.test".to_owned(), server.address.port()), addresses.into());
    let transport = HttpTransport::new(options);
    let url = format!("http://a.test:{}/", server.address.port());
    assert!(matches!(fetch(&transport, &url), Err(Error::Network { .. })));
    assert_eq!(fetch(&transport, &url).unwrap().body, "x");
    assert_eq!(socks.seen().len(), 2);
}
