//! What really goes over a socket, byte for byte.

mod raw;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use raw::{ask, bytes, connect, read_exactly, read_head, read_to_end, server};
use regrip_faultd::faults::{
    BadChunk, BadChunkKind, Chunked, ContentLength, Cut, DropBeforeReply, EndlessHead, Flip, HugeHead, Interim, Longer,
    Pause, Redirect, ResetBeforeReply, Status, Trickle, Unframed,
};
use regrip_faultd::{Fault, FileScript, Script, Server, Version};

/// One request for a file of `size` bytes with these faults, read to the end of the connection after its head.
fn body_until_closed(size: u64, faults: Vec<Fault>) -> (raw::Head, Vec<u8>, Option<ErrorKind>) {
    let server = server(size, |file| file.answer(faults));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    let head = read_head(&mut stream);
    let (body, error) = read_to_end(&mut stream);
    (head, body, error)
}

#[test]
fn a_large_file_arrives_whole_and_the_log_counts_it() {
    let size = 1_000_003;
    let server = server(size, |file| file);
    let mut stream = connect(&server);
    ask(&mut stream, "Connection: close\r\n");
    let head = read_head(&mut stream);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("1000003")));
    let (body, error) = read_to_end(&mut stream);
    assert_eq!(error, None);
    assert!(body == bytes(0, size), "the bytes differ");
    let log = server.log();
    assert_eq!((log.len(), log[0].sent_bytes, log[0].finished, log[0].peer_closed), (1, size, true, false));
}

#[test]
fn a_range_arrives_exactly() {
    let server = server(600_000, |file| file);
    let mut stream = connect(&server);
    ask(&mut stream, "Range: bytes=300001-\r\nIf-Range: \"v1\"\r\n");
    let head = read_head(&mut stream);
    assert_eq!((head.status, head.header("Content-Range")), (206, Some("bytes 300001-599999/600000")));
    assert!(read_exactly(&mut stream, 299_999) == bytes(300_001, 600_000), "the bytes differ");
    assert_eq!(server.log()[0].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = server(10, |file| file);
    let mut stream = connect(&server);
    for _ in 0..3 {
        ask(&mut stream, "");
        assert_eq!(read_head(&mut stream).status, 200);
        assert_eq!(read_exactly(&mut stream, 10), bytes(0, 10));
    }
    let mut other = connect(&server);
    ask(&mut other, "");
    read_head(&mut other);
    let connections: Vec<u64> = server.log().iter().map(|entry| entry.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2]);
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let server = server(10, |file| file.answer([Status::code(500)]).answer([Pause::after(5, 20)]));
    let mut stream = connect(&server);
    for _ in 0..3 {
        ask(&mut stream, "");
    }
    assert_eq!(read_head(&mut stream).status, 500);
    for _ in 0..2 {
        assert_eq!(read_head(&mut stream).status, 200);
        assert_eq!(read_exactly(&mut stream, 10), bytes(0, 10));
    }
}

#[test]
fn a_head_request_has_no_body_that_would_spoil_the_next_answer() {
    let server = server(10, |file| file);
    let mut stream = connect(&server);
    stream.write_all(b"HEAD /a HTTP/1.1\r\n\r\n").expect("the server reads");
    assert_eq!(read_head(&mut stream).header("Content-Length"), Some("10"));
    ask(&mut stream, "");
    assert_eq!(read_head(&mut stream).status, 200);
}

#[test]
fn a_cut_body_ends_in_order_and_short_of_its_length() {
    let (head, body, error) = body_until_closed(100, vec![Cut::after(30)]);
    assert_eq!((head.header("Content-Length"), body, error), (Some("100"), bytes(0, 30), None));
}

#[test]
fn a_cut_by_reset_is_an_error_of_the_connection() {
    let (_, body, error) = body_until_closed(100, vec![Cut::reset_after(30)]);
    assert_eq!((body.len(), error), (30, Some(ErrorKind::ConnectionReset)));
}

#[test]
fn chunks_have_their_size_and_a_last_chunk() {
    let server = server(10, |file| file.answer([Chunked::of(4)]));
    let mut stream = connect(&server);
    ask(&mut stream, "Connection: close\r\n");
    let head = read_head(&mut stream);
    assert_eq!((head.header("Transfer-Encoding"), head.header("Content-Length")), (Some("chunked"), None));
    let whole = bytes(0, 10);
    let parts: [&[u8]; 7] =
        [b"4\r\n", &whole[..4], b"\r\n4\r\n", &whole[4..8], b"\r\n2\r\n", &whole[8..], b"\r\n0\r\n\r\n"];
    assert_eq!(read_to_end(&mut stream), (parts.concat(), None));
}

#[test]
fn a_cut_chunked_body_lacks_its_last_chunk() {
    let (_, body, error) = body_until_closed(10, vec![Chunked::of(4), Cut::after(4)]);
    let parts: [&[u8]; 3] = [b"4\r\n", &bytes(0, 4), b"\r\n"];
    assert_eq!((body, error), (parts.concat(), None));
}

#[test]
fn a_bad_chunk_is_on_the_wire_as_it_is() {
    let cut = [b"1000\r\n".to_vec(), bytes(4, 7)].concat();
    let table: [(BadChunkKind, &[u8]); 4] = [
        (BadChunkKind::Size, b"zz\r\n"),
        (BadChunkKind::Empty, b"\r\n"),
        (BadChunkKind::Huge, b"fffffffffffffffff\r\n"),
        (BadChunkKind::Cut, &cut),
    ];
    for (kind, bad) in table {
        let (_, body, error) = body_until_closed(10, vec![BadChunk::after(4, kind)]);
        let parts: [&[u8]; 4] = [b"4\r\n", &bytes(0, 4), b"\r\n", bad];
        assert_eq!((body, error), (parts.concat(), None), "{kind:?}");
    }
}

#[test]
fn an_unframed_body_ends_with_its_connection() {
    let (head, body, error) = body_until_closed(10, vec![Unframed::body()]);
    assert_eq!((head.header("Content-Length"), head.header("Transfer-Encoding")), (None, None));
    assert_eq!((body, error), (bytes(0, 10), None));
}

#[test]
fn a_body_that_is_too_long_leaves_bytes_before_the_next_answer() {
    let server = server(10, |file| file.answer([Longer::by(3)]));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    assert_eq!(read_head(&mut stream).header("Content-Length"), Some("10"));
    assert_eq!(read_exactly(&mut stream, 10), bytes(0, 10));
    ask(&mut stream, "");
    assert_ne!(read_exactly(&mut stream, 3), b"HTT");
    assert_eq!(read_head(&mut stream).status, 200);
}

#[test]
fn unequal_lengths_are_sent_both() {
    let (head, ..) = body_until_closed(10, vec![ContentLength::values(["5", "10"]), Cut::after(10)]);
    assert!(head.text.contains("Content-Length: 5\r\nContent-Length: 10\r\n"), "{}", head.text);
}

#[test]
fn interim_answers_come_first() {
    let server = server(10, |file| file.answer([Interim::codes([100, 103])]));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    let heads: Vec<u16> = (0..3).map(|_| read_head(&mut stream).status).collect();
    assert_eq!(heads, [100, 103, 200]);
}

#[test]
fn a_dropped_request_gets_no_byte() {
    for (fault, expected) in
        [(DropBeforeReply::now(), None), (ResetBeforeReply::now(), Some(ErrorKind::ConnectionReset))]
    {
        let server = server(10, |file| file.answer([fault]));
        let mut stream = connect(&server);
        ask(&mut stream, "");
        assert_eq!(read_to_end(&mut stream), (Vec::new(), expected));
    }
}

#[test]
fn a_huge_head_is_sent_whole() {
    let server = server(10, |file| file.answer([HugeHead::bytes(300_000)]));
    let mut stream = connect(&server);
    ask(&mut stream, "Connection: close\r\n");
    let (all, _) = read_to_end(&mut stream);
    assert!(all.len() > 300_000 && all.ends_with(&bytes(0, 10)));
}

#[test]
fn an_endless_head_goes_on_until_the_peer_has_enough() {
    let server = server(10, |file| file.answer([EndlessHead::ever()]));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    let start = read_exactly(&mut stream, 500_000);
    assert!(start.starts_with(b"HTTP/1.1 200 OK\r\n") && !start.windows(4).any(|window| window == b"\r\n\r\n"));
    drop(stream);
    raw::eventually("the connection is given up", || server.open_connections() == 0);
    assert!(server.log()[0].peer_closed);
}

#[test]
fn a_flipped_byte_is_the_only_one_that_differs() {
    let (_, body, _) = body_until_closed(100, vec![Flip::at(50), Cut::after(100)]);
    let differing: Vec<usize> =
        bytes(0, 100).iter().zip(&body).enumerate().filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
    assert_eq!((body.len(), differing), (100, vec![50]));
}

#[test]
fn a_redirect_names_this_server() {
    let server = server(10, |file| file.answer([Redirect::with_code(307, "{origin}/b")]));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    let head = read_head(&mut stream);
    assert_eq!((head.status, head.header("Location")), (307, Some(server.url("/b").as_str())));
}

#[test]
fn what_is_slow_by_script_is_slow() {
    let slow = |script: Script| {
        let server = Server::start(script).expect("a loopback port is free");
        let mut stream = connect(&server);
        ask(&mut stream, "Connection: close\r\n");
        let begin = Instant::now();
        let (all, _) = read_to_end(&mut stream);
        assert!(all.ends_with(&bytes(0, 1000)));
        begin.elapsed()
    };
    let file = || FileScript::honest(Version::new(raw::SEED, 1000));
    let least = Duration::from_millis(60);
    assert!(slow(Script::one("/a", file()).latency_ms(60)) >= least);
    assert!(slow(Script::one("/a", file().answer([Pause::after(500, 60)]))) >= least);
    assert!(slow(Script::one("/a", file().answer([Trickle::every(10, 150)]))) >= least);
    assert!(slow(Script::one("/a", file()).bytes_per_second(16_000)) >= least);
}

#[test]
fn a_request_that_breaks_http_is_refused_and_the_connection_closed() {
    let server = server(10, |file| file);
    for (sent, status) in [("rubbish\r\n\r\n", 400), ("POST /a HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413)] {
        let mut stream = connect(&server);
        stream.write_all(sent.as_bytes()).expect("the server reads");
        assert_eq!(read_head(&mut stream).status, status, "{sent}");
        let (_, error) = read_to_end(&mut stream);
        assert_eq!(error, None);
    }
    assert_eq!(server.log().len(), 0);
}

#[test]
fn the_server_is_controlled_over_its_own_port() {
    let server = server(10, |file| file);
    let script = r#"{"files": {"/a": {"versions": [{"seed": 1, "size": 4}, {"seed": 2, "size": 5}]}}}"#;
    let mut stream = connect(&server);
    let mut post = |target: &str, body: &str| {
        write!(stream, "POST {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("it is read");
        let head = read_head(&mut stream);
        let len = head.header("Content-Length").and_then(|len| len.parse().ok()).unwrap_or(0);
        (head.status, read_exactly(&mut stream, len))
    };
    assert_eq!(post("/_faultd/script", script).0, 200);
    assert_eq!(post("/_faultd/script", "{").0, 400);
    assert_eq!(post("/_faultd/replace?path=/a&version=1", "").0, 200);
    ask(&mut stream, "");
    assert_eq!(read_head(&mut stream).header("Content-Length"), Some("5"));
    read_exactly(&mut stream, 5);
    stream.write_all(b"GET /_faultd/log HTTP/1.1\r\nConnection: close\r\n\r\n").expect("it is read");
    assert_eq!(read_head(&mut stream).header("Content-Type"), Some("application/json"));
    let mut json = String::new();
    stream.read_to_string(&mut json).expect("JSON is UTF-8");
    let log: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(
        (log.as_array().map(Vec::len), &log[0]["path"], &log[0]["sent_bytes"]),
        (Some(1), &"/a".into(), &5.into())
    );
}
