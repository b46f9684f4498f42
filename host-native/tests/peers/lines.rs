//! A peer that cannot be reached: who asks for a release waits by the same line as the downloads.

use crate::support::{Bench, RELEASE, peer, targets};
use crate::wire::{close, ok};
use regrip_core::{DownloadsConfig, Error};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("it has one"))
}

fn without_patience() -> DownloadsConfig {
    DownloadsConfig { breaker_failures: 2, peer_patience_ms: 0, ..DownloadsConfig::default() }
}

#[test]
fn a_dead_peer_costs_no_more_attempts_than_open_the_breaker() {
    let bench = Bench::at(&nowhere(), without_patience());
    assert!(bench.client.line().outage().is_none(), "nothing was asked yet");
    let mut told = 0;
    let result = smol::block_on(bench.client.item("1", |_, _| told += 1));
    assert_eq!(result.expect_err("nobody is there").code().as_str(), "Network");
    assert_eq!(told, 2, "the third attempt waits, and its patience is at its end");
    let peer = bench.client.peer();
    let outage = bench.engine.reachability(peer.id.as_str(), &peer.url).outage();
    assert!(outage.is_some(), "the downloads know it too");
    let mut told = 0;
    let result = smol::block_on(bench.client.item("1", |_, _| told += 1));
    assert!(matches!(result, Err(Error::Network { .. })));
    assert_eq!(told, 0, "nothing was spent");
}

#[test]
fn who_waits_goes_on_when_the_peer_answered_anybody() {
    let server = peer(|_| ok(RELEASE));
    let limits = DownloadsConfig { breaker_failures: 1, ..DownloadsConfig::default() };
    let bench = Bench::at(&server.url(""), limits);
    let line = bench.client.line();
    let clock = &bench.engine.host().clock;
    line.note(clock, 1, &Err::<(), _>(Error::network("connecting", "refused")));
    let asked = bench.client.item("1", |_, _| {});
    let hear = async {
        assert!(targets(&server).is_empty(), "it waits");
        line.answered();
    };
    let (release, ()) = smol::block_on(async { futures::join!(asked, hear) });
    release.expect("the peer has it");
}

#[test]
fn after_a_failed_connection_hands_are_shaken_again() {
    // The first that is closed went over a kept connection, which the transport replaces without a word.
    let asked = AtomicUsize::new(0);
    let server = peer(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        1 | 2 => close(""),
        _ => ok(RELEASE),
    });
    let bench = Bench::of(&server);
    for _ in 0..2 {
        smol::block_on(bench.client.item("1", |_, _| {})).expect("the peer has it");
    }
    let (hands, item) = ("/handshake", "/peer/items/1");
    assert_eq!(targets(&server), [hands, item, item, item, hands, item]);
}
