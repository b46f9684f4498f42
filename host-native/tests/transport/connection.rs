//! Connections: made, kept, reused, refused.

use crate::support::{Answer, Seen, Server, close, fetch, keep, ok, options, plain, transport};
use futures::future::join_all;
use regrip::transport::HttpTransport;
use regrip_core::transport::{Body, Transport};
use regrip_core::{DownloadsConfig, Error, is_transient};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::mpsc::channel;

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn downloads_may_move_between_threads() {
    let server = Server::new(|_| ok("abc"));
    let transport = transport();
    smol::block_on(async {
        let mut response = is_send(transport.get(plain(&server.url("/")))).await.unwrap();
        assert_eq!(is_send(response.body.chunk()).await.unwrap(), Some(b"abc".as_slice()));
        is_send(response);
    });
    is_send(transport);
}

#[test]
fn a_connection_is_used_again_after_a_clean_end() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let table = [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("chunks", chunked, "abc"),
        ("no body", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ];
    for (what, bytes, body) in table {
        let server = Server::new(move |_| keep(bytes));
        let transport = transport();
        for _ in 0..3 {
            assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, body, "{what}");
        }
        let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 0, 0], "{what}");
    }
}

#[test]
fn a_body_whose_last_byte_was_read_gives_its_connection_back_without_being_asked_for_more() {
    let server = Server::new(|_| ok("abc"));
    let transport = transport();
    for _ in 0..2 {
        smol::block_on(async {
            let mut response = transport.get(plain(&server.url("/"))).await.unwrap();
            assert_eq!(response.body.chunk().await.unwrap(), Some(b"abc".as_slice()));
        });
    }
    assert_eq!(server.seen()[1].connection, 0);
}

#[test]
fn a_connection_is_not_used_again_when_the_server_says_close() {
    for head in ["HTTP/1.1 200 OK\r\nConnection: close", "HTTP/1.0 200 OK"] {
        let server = Server::new(move |_| keep(format!("{head}\r\nContent-Length: 2\r\n\r\nok")));
        let transport = transport();
        fetch(&transport, &server.url("/")).unwrap();
        fetch(&transport, &server.url("/")).unwrap();
        assert_eq!(server.seen()[1].connection, 1, "{head}");
    }
}

/// The stock backend of surf answered `EVILEVI` here.
// H40
#[test]
fn the_bytes_of_a_dropped_response_never_answer_the_next_request() {
    let server = Server::new(|seen| match seen.target() {
        "/first" => keep(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nEVILEVI".repeat(2000)
        )),
        _ => ok("good"),
    });
    let transport = transport();
    for read_some in [false, true] {
        smol::block_on(async {
            let mut response = transport.get(plain(&server.url("/first"))).await.unwrap();
            if read_some {
                response.body.chunk().await.unwrap();
            }
        });
        assert_eq!(fetch(&transport, &server.url("/second")).unwrap().body, "good");
    }
    let seen = server.seen();
    assert_ne!(seen[0].connection, seen[1].connection);
}

#[test]
fn a_pooled_connection_that_the_server_closed_is_replaced_once() {
    // The first request of a connection is answered, the second closes it without a word.
    let server = Server::new({
        let busy = std::sync::Mutex::new(std::collections::HashSet::new());
        move |seen| {
            if busy.lock().unwrap().insert(seen.connection) { ok("abc") } else { close("") }
        }
    });
    let transport = transport();
    for _ in 0..3 {
        assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "abc");
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2]);
}

#[test]
fn a_request_is_not_repeated_on_a_new_connection_more_than_once() {
    let server = Server::new(|seen| if seen.target() == "/first" { ok("abc") } else { close("") });
    let transport = transport();
    fetch(&transport, &server.url("/first")).unwrap();
    let error = fetch(&transport, &server.url("/second")).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn a_request_is_not_repeated_once_an_answer_has_begun() {
    let server = Server::new(|seen| if seen.target() == "/first" { ok("abc") } else { close("HTTP/1.1 2") });
    let transport = transport();
    fetch(&transport, &server.url("/first")).unwrap();
    let error = fetch(&transport, &server.url("/second")).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn origins_do_not_share_connections() {
    let server = Server::new(|_| ok("abc"));
    let transport = transport();
    fetch(&transport, &server.url("/")).unwrap();
    fetch(&transport, &server.url("/").replace("127.0.0.1", "localhost")).unwrap();
    assert_eq!(server.seen()[1].connection, 1);
}

#[test]
fn a_refused_connection_is_a_network_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fetch(&transport(), &format!("http://{address}/")).unwrap_err();
    assert!(matches!(&error, Error::Network { what, .. } if *what == format!("connecting to {address}")), "{error:?}");
}

#[test]
fn a_name_that_does_not_resolve_is_a_network_error() {
    // RFC 6761 §6.4: `.invalid` never resolves.
    let error = fetch(&transport(), "http://nowhere.invalid/").unwrap_err();
    assert!(matches!(error, Error::Network { .. }) && is_transient(&error, &[]), "{error:?}");
}

// X07
#[test]
fn a_link_local_or_cloud_metadata_address_is_refused_without_a_connection() {
    let mut options = options();
    options.connect_timeout = std::time::Duration::from_millis(1);
    let transport = HttpTransport::new(options);
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "0xa9fea9fe",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "[fd00:ec2::254]",
        "[2002:a9fe:a9fe::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[::ffff:168.63.129.16]",
    ] {
        let error = fetch(&transport, &format!("http://{host}/latest/meta-data/")).unwrap_err();
        assert!(matches!(error, Error::AddressRefused(_)), "{host}: {error:?}");
    }
}

#[test]
fn ipv6_is_spoken_where_there_is_any() {
    let Some(server) = Server::at("[::1]:0", |_| ok("abc")) else {
        eprintln!("skipped: no ::1 here");
        return;
    };
    assert_eq!(fetch(&transport(), &server.url("/")).unwrap().body, "abc");
    assert_eq!(server.only_request().header("host"), Some(server.address.to_string().as_str()));
}

#[test]
fn a_name_with_several_addresses_is_reached_at_the_one_that_listens() {
    // `localhost` is ::1 and 127.0.0.1 on most machines, and the server listens at one of them only.
    let server = Server::new(|_| ok("abc"));
    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(fetch(&transport(), &url).unwrap().body, "abc");
}

#[test]
fn the_connect_timeout_covers_the_whole_dial() {
    // Accepts (the backlog does) and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options();
    options.connect_timeout = std::time::Duration::from_millis(50);
    let transport = HttpTransport::new(options);
    let error = fetch(&transport, &format!("https://{}/", listener.local_addr().unwrap())).unwrap_err();
    assert!(matches!(error, Error::Timeout { timeout: regrip_core::error::Timeout::Connect, .. }), "{error:?}");
}

#[test]
fn thirty_two_idle_connections_are_kept_and_no_more() {
    const AT_ONCE: usize = 64;
    // No answer before all have asked, so each needs a connection.
    let all_asked = Barrier::new(AT_ONCE);
    let server = Server::new(move |seen| {
        all_asked.wait();
        ok(seen.target())
    });
    let transport = transport();
    let fetch_one = async |number: usize| {
        let target = format!("/{number}");
        let url = server.url(&target);
        let mut response = transport.get(plain(&url)).await.unwrap();
        let mut body = Vec::new();
        while let Some(chunk) = response.body.chunk().await.unwrap() {
            body.extend_from_slice(chunk);
        }
        assert_eq!(body, target.into_bytes());
    };
    for connections in [64, 96] {
        smol::block_on(join_all((0..AT_ONCE).map(&fetch_one)));
        let last = server.seen().iter().map(|seen| seen.connection).max();
        assert_eq!(last, Some(connections - 1));
    }
}

// H40
#[test]
fn what_an_idle_connection_says_unasked_is_never_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (go, gone) = (channel(), channel());
    let server = std::thread::spawn(move || {
        let answer = |stream: &mut TcpStream, body: &str| {
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}").unwrap();
        };
        let (mut first, _) = listener.accept().unwrap();
        answer(&mut first, "good");
        go.1.recv().unwrap();
        write!(first, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL").unwrap();
        gone.0.send(()).unwrap();
        answer(&mut listener.accept().unwrap().0, "fine");
    });
    let transport = transport();
    assert_eq!(fetch(&transport, &url).unwrap().body, "good");
    go.0.send(()).unwrap();
    gone.1.recv().unwrap();
    assert_eq!(fetch(&transport, &url).unwrap().body, "fine");
    server.join().unwrap();
}

/// Two servers of one name: two addresses, one port. `None` if the machine has one loopback address only.
fn of_one_name(
    first: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    second: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> Option<(Server, Server, HttpTransport, String)> {
    let first = Server::new(first);
    let port = first.address.port();
    let second = Server::at(&format!("127.0.0.2:{port}"), second)?;
    let addresses = [first.address.ip(), second.address.ip()].to_vec();
    let mut options = options();
    options.resolve = [(("two.test".to_owned(), port), addresses)].into();
    let url = format!("http://two.test:{port}/");
    Some((first, second, HttpTransport::new(options), url))
}

// FW08
#[test]
fn the_attempt_after_one_that_failed_takes_another_address() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let table = [
        ("closed", close("")),
        ("a cut head", close("HTTP/1.1 200 OK\r\nX: ")),
        ("a cut body", close(cut)),
        ("a 503", keep("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")),
    ];
    for (what, Answer(bytes, then)) in table {
        let bad = move |_: &Seen| Answer(bytes.clone(), then);
        let Some((first, second, transport, url)) = of_one_name(bad, |_| ok("there")) else {
            eprintln!("skipped: this machine has one loopback address only");
            return;
        };
        let _ = fetch(&transport, &url);
        assert_eq!((first.seen().len(), second.seen().len()), (1, 0), "{what}");
        for _ in 0..2 {
            assert_eq!(fetch(&transport, &url).expect(what).body, "there");
        }
        assert_eq!((first.seen().len(), second.seen().len()), (1, 2), "{what}");
    }
}

#[test]
fn attempts_rotate_through_addresses_that_all_fail() {
    let Some((first, second, transport, url)) = of_one_name(|_| close(""), |_| close("")) else {
        eprintln!("skipped: this machine has one loopback address only");
        return;
    };
    for _ in 0..4 {
        fetch(&transport, &url).unwrap_err();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (2, 2));
}

#[test]
fn an_idle_connection_to_an_address_that_failed_since_gives_way_to_another_address() {
    let script = |seen: &Seen| match seen.target() {
        "/" => ok("first"),
        _ => close("HTTP/1.1 200 OK\r\nX: "),
    };
    let Some((first, _second, transport, url)) = of_one_name(script, |_| ok("second")) else {
        eprintln!("skipped: this machine has one loopback address only");
        return;
    };
    smol::block_on(async {
        let both = [transport.get(plain(&url)), transport.get(plain(&url))];
        for mut response in join_all(both).await.into_iter().flatten() {
            while response.body.chunk().await.unwrap().is_some() {}
        }
    });
    // Two are idle; one of them dies.
    fetch(&transport, &format!("{url}bad")).unwrap_err();
    assert_eq!(fetch(&transport, &url).unwrap().body, "second");
    assert_eq!(first.seen().iter().filter(|seen| seen.target() == "/").count(), 2);
}

#[test]
fn an_address_on_which_the_handshake_hangs_is_left_for_another_one() {
    let hang = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hang.local_addr().unwrap().port();
    let Ok(closing) = TcpListener::bind(("127.0.0.2", port)) else {
        eprintln!("skipped: this machine has one loopback address only");
        return;
    };
    let mut options = options();
    options.connect_timeout = std::time::Duration::from_millis(100);
    let addresses = ["127.0.0.1", "127.0.0.2"].map(|address| address.parse().unwrap());
    options.resolve = [(("two.test".to_owned(), port), addresses.to_vec())].into();
    let transport = HttpTransport::new(options);
    let url = format!("https://two.test:{port}/");
    let error = fetch(&transport, &url).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    std::thread::spawn(move || drop(closing.accept()));
    let patient = DownloadsConfig { connect_timeout_ms: 20_000, ..DownloadsConfig::default() };
    transport.reconfigure(&patient, Vec::new());
    let error = fetch(&transport, &url).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}
