//! Connections end when they should: when the peer goes, and when the server stops.

mod raw;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use raw::{ask, bytes, connect, eventually, read_exactly, read_head, read_to_end, server};
use regrip_faultd::faults::{EndlessHead, NoReply, Pause, Stall, Trickle};
use regrip_faultd::{Fault, Script, Server};

/// Far below the pauses of the scripts, far above what a stop takes.
const PROMPT: Duration = Duration::from_secs(3);

fn endless() -> [Fault; 5] {
    [Stall::after(30), NoReply::ever(), Pause::after(30, 60_000), Trickle::every(60_000, 1), EndlessHead::ever()]
}

#[test]
fn a_stop_ends_a_connection_whatever_it_is_doing() {
    for fault in endless() {
        let server = server(100, |file| file.answer([fault.clone()]));
        let mut stream = connect(&server);
        ask(&mut stream, "");
        eventually("the request is read", || server.log().len() == 1);
        let begin = Instant::now();
        server.stop();
        assert!(begin.elapsed() < PROMPT, "{fault:?}: {:?}", begin.elapsed());
        assert_eq!(server.open_connections(), 0, "{fault:?}");
        // By an end or by a reset: the reading is over.
        let _ = read_to_end(&mut stream);
        assert!(begin.elapsed() < PROMPT, "{fault:?}: the peer has not noticed");
    }
}

#[test]
fn a_cut_ends_what_is_under_way_and_nothing_that_comes_after() {
    for fault in endless() {
        if fault == EndlessHead::ever() {
            continue; // it never gets to a piece, and is not the line of a download
        }
        let server = server(100, |file| file.answer([fault.clone()]));
        let mut stream = connect(&server);
        ask(&mut stream, "");
        eventually("the request is read", || server.log().len() == 1);
        server.site().cut_all();
        eventually(&format!("{fault:?} is cut"), || server.open_connections() == 0);
        let _ = read_to_end(&mut stream);
        let mut stream = connect(&server);
        ask(&mut stream, "");
        read_head(&mut stream);
        assert_eq!(read_exactly(&mut stream, 100), bytes(0, 100));
    }
}

#[test]
fn a_pause_ends_where_the_client_has_said_so_also_one_that_is_yet_to_come() {
    let pauses = [Pause::after(30, 60_000), Pause::after(60, 60_000)];
    let server = server(100, |file| file.answer(pauses.clone()).answer(pauses));
    let begin = Instant::now();
    for _ in 0..2 {
        let mut stream = connect(&server);
        ask(&mut stream, "");
        read_head(&mut stream);
        assert_eq!(read_exactly(&mut stream, 30), bytes(0, 30));
        assert_eq!(server.log().last().map(|entry| entry.sent_bytes), Some(30));
        server.site().go_on();
        assert_eq!(read_exactly(&mut stream, 70), bytes(30, 100));
    }
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
}

#[test]
fn a_stop_ends_a_connection_whose_peer_does_not_read() {
    let server = server(u64::MAX / 2, |file| file);
    let mut stream = connect(&server);
    ask(&mut stream, "");
    let sent = || server.log().first().map_or(0, |entry| entry.sent_bytes);
    eventually("bytes are under way", || sent() > 0);
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < PROMPT && server.open_connections() == 0);
}

#[test]
fn a_stop_ends_idle_connections_and_frees_the_port() {
    let server = server(10, |file| file);
    let address = server.address();
    let mut stream = connect(&server);
    ask(&mut stream, "");
    read_head(&mut stream);
    assert_eq!(server.open_connections(), 1);
    server.stop();
    server.stop();
    assert_eq!(server.open_connections(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_peer_that_goes_is_noticed_in_every_wait() {
    for fault in [Stall::after(30), NoReply::ever(), Pause::after(30, 60_000), Trickle::every(60_000, 1)] {
        let server = server(100, |file| file.answer([fault.clone()]));
        let mut stream = connect(&server);
        ask(&mut stream, "");
        eventually("the request is read", || server.log().len() == 1);
        drop(stream);
        eventually(&format!("{fault:?} is given up"), || server.open_connections() == 0);
        let log = server.log();
        assert!(log[0].finished && log[0].peer_closed, "{fault:?}");
    }
}

#[test]
fn a_stall_sends_what_comes_before_it_and_then_nothing() {
    let server = server(100, |file| file.answer([Stall::after(30)]));
    let mut stream = connect(&server);
    ask(&mut stream, "");
    read_head(&mut stream);
    assert_eq!(read_exactly(&mut stream, 30), bytes(0, 30));
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
    assert!(matches!(read_to_end(&mut stream), (rest, Some(_)) if rest.is_empty()));
    eventually("the log counts them", || server.log()[0].sent_bytes == 30);
    assert!(!server.log()[0].finished);
}

#[test]
fn two_servers_have_two_ports() {
    let (one, two) = (server(1, |file| file), server(1, |file| file));
    assert_ne!(one.origin(), two.origin());
    assert_eq!(one.url("/a"), format!("http://{}/a", one.address()));
}

#[test]
fn a_port_in_use_is_an_error() {
    let one = server(1, |file| file);
    let options = regrip_faultd::Options { listen: one.address(), ..Default::default() };
    assert!(Server::start_with(options, Script::new()).is_err());
}
