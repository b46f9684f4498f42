//! Bodies: how they end, how they break, and if their connections are used again.

use crate::support::{Answer, Server, Then, close, fetch, fetch_broken, hold, keep, plain, transport};
use regrip_core::Error;
use regrip_core::transport::{Body, Transport};

// X11
#[test]
fn a_body_ends_with_its_length_its_last_chunk_or_its_connection() {
    let table = [
        ("a length", keep("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde")),
        ("two equal lengths", keep("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde")),
        (
            "chunks",
            keep("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=1\r\ncde\r\n0\r\nT: r\r\n\r\n"),
        ),
        ("the connection", close("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde")),
        ("the connection of HTTP/1.0", close("HTTP/1.0 200 OK\r\n\r\nabcde")),
    ];
    for (what, Answer(bytes, then)) in table {
        let server = Server::new(move |_| Answer(bytes.clone(), then));
        assert_eq!(fetch(&transport(), &server.url("/")).unwrap().body, "abcde", "{what}");
    }
}

#[test]
fn a_body_cut_short_is_a_network_error_after_the_bytes_that_came() {
    let table = [
        ("of its length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde"),
        ("of its length, without a byte", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabcde"),
        ("between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
        ("within a chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n1"),
        (
            "before the end of the last chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
        ),
    ];
    for (what, bytes) in table {
        let server = Server::new(move |_| close(bytes));
        let (body, error) = fetch_broken(&transport(), &server.url("/"));
        assert!(matches!(&error, Error::Network { what, .. } if what == "the body was cut"), "{what}: {error:?}");
        assert_eq!(body, if bytes.contains("abcde") { "abcde" } else { "" }, "{what}");
    }
}

#[test]
fn broken_chunks_are_a_network_error_after_the_bytes_before_them() {
    for size in ["", "zz", "-1", "fffffffffffffffff", "5 5", "0x5"] {
        let bytes =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n{size}\r\nmore\r\n0\r\n\r\n");
        let server = Server::new(move |_| hold(&bytes));
        let (body, error) = fetch_broken(&transport(), &server.url("/"));
        assert_eq!(body, "abcde", "{size:?}");
        assert!(
            matches!(&error, Error::Network { what, .. } if what == "the chunks of the body are broken"),
            "{size:?}: {error:?}"
        );
        assert!(server.client_closed(), "{size:?}");
    }
}

// X08
#[test]
fn a_coded_body_is_not_decoded() {
    let server = Server::new(|_| {
        keep(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")
    });
    let response = fetch(&transport(), &server.url("/")).unwrap();
    assert_eq!(response.headers.only("content-encoding"), Some("gzip"));
    assert_eq!(response.body, "\u{1f}\u{8b}\u{8}\0");
}

// H24, H40
#[test]
fn a_body_longer_than_its_length_is_cut_there_and_its_connection_dropped() {
    let server = Server::new(|_| keep("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcEVIL"));
    let transport = transport();
    assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "abc");
    assert!(server.client_closed());
    assert_eq!(fetch(&transport, &server.url("/")).unwrap().body, "abc");
    assert_eq!(server.seen()[1].connection, 1);
}

#[test]
fn dropping_a_body_closes_its_connection_at_once() {
    let server =
        Server::new(|_| Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(), Then::Flood));
    let transport = transport();
    smol::block_on(async {
        let mut response = transport.get(plain(&server.url("/"))).await.unwrap();
        assert!(response.body.chunk().await.unwrap().is_some());
        drop(response);
        // Nothing runs here any more: what closes the socket is the drop and not some task.
        assert!(server.client_closed());
    });
}

// K07
#[test]
fn a_body_that_nobody_reads_is_not_read_ahead() {
    let server = Server::new(|_| Answer(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Then::Flood));
    let transport = transport();
    smol::block_on(async {
        let mut response = transport.get(plain(&server.url("/"))).await.unwrap();
        let (mut most, mut total) = (0, 0);
        while total < 64 << 20 {
            let chunk = response.body.chunk().await.unwrap().unwrap();
            (most, total) = (most.max(chunk.len()), total + chunk.len());
        }
        assert!(most <= 1 << 20, "the largest piece was {most} bytes");
    });
}

// K01
#[test]
fn a_waiting_body_can_be_polled_again_after_its_future_was_dropped() {
    let server = Server::new(|_| hold("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"));
    smol::block_on(async {
        let mut response = transport().get(plain(&server.url("/"))).await.unwrap();
        let mut body = Vec::new();
        while body.len() < 3 {
            body.extend_from_slice(response.body.chunk().await.unwrap().unwrap());
        }
        for _ in 0..3 {
            assert!(futures::poll!(Box::pin(response.body.chunk())).is_pending());
        }
        assert_eq!(body, b"abc");
    });
}
