//! A peer as today's software is: a bare version, no validators, Range ignored.

use crate::support::{Bench, HANDSHAKE, RELEASE, peer, targets};
use crate::wire::{close, ok};
use futures::future::join_all;
use regrip::ledger::SqliteLedger;
use regrip::peers::{PeerClient, Query, Release};
use regrip::store::part_path;
use regrip_core::ledger::Ledger;
use regrip_core::record::NewDownload;
use regrip_core::{Error, OnExists, Status};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

fn item(client: &PeerClient<SqliteLedger>, id: &str) -> Result<Release, Error> {
    smol::block_on(client.item(id, |_, _| {}))
}

#[test]
fn a_release_is_read_and_what_is_not_known_of_it_is_kept() {
    let server = peer(|_| ok(RELEASE));
    let bench = Bench::of(&server);
    let release = item(&bench.client, "film:1").expect("the peer has it");
    assert_eq!(release.filename.as_str(), "Film (1999).mkv");
    assert_eq!((release.category, release.size, release.sha256), (2000, 9, None));
    let kept: Value = serde_json::from_str(&release.json).expect("it is JSON");
    assert_eq!(kept["seeders"], serde_json::json!([1, 2]));
    assert_eq!(targets(&server), ["/handshake", "/peer/items/film%3A1"]);
}

// S31
#[test]
fn every_request_has_the_key() {
    let server = peer(|_| ok(RELEASE));
    let bench = Bench::of(&server);
    item(&bench.client, "1").expect("the peer has it");
    assert_eq!(server.seen().len(), 2);
    for seen in server.seen() {
        assert_eq!(seen.header("x-api-key"), Some("hush"));
    }
    assert!(!format!("{:?}", bench.client).contains("hush"));
}

#[test]
fn an_id_is_one_segment_of_the_path_whatever_is_in_it() {
    let server = peer(|_| ok(RELEASE));
    let bench = Bench::of(&server);
    for (id, segment) in [
        ("../../x", "..%2F..%2Fx"),
        ("a?b#c", "a%3Fb%23c"),
        ("%2e%2e", "%252e%252e"),
        ("é b", "%C3%A9%20b"),
        ("-._~", "-._~"),
        ("...", "..."),
    ] {
        item(&bench.client, id).expect("the peer has it");
        let last = targets(&server).pop();
        assert_eq!(last, Some(format!("/peer/items/{segment}")));
        let source = bench.client.source(id).expect("it is one");
        assert_eq!(source.url(), server.url(&format!("/peer/items/{segment}/file")));
    }
    let before = server.seen().len();
    for id in ["", ".", ".."] {
        let refused = item(&bench.client, id).expect_err("no path has it");
        assert_eq!(refused.code().as_str(), "NameRefused");
        assert!(bench.client.source(id).is_err());
    }
    assert_eq!(server.seen().len(), before, "nothing was asked");
}

#[test]
fn a_peer_below_a_path_is_asked_there() {
    let server = crate::wire::Server::new(|seen| match seen.target() {
        "/jack/handshake" => ok(HANDSHAKE),
        _ => ok(RELEASE),
    });
    let bench = Bench::at(&server.url("/jack/"), Default::default());
    item(&bench.client, "1").expect("the peer has it");
    assert_eq!(targets(&server), ["/jack/handshake", "/jack/peer/items/1"]);
}

#[test]
fn a_search_says_what_is_looked_for_and_leaves_out_what_is_no_release() {
    let bad = RELEASE.replace("Film (1999).mkv", "../x");
    let found = format!(r#"{{"items": [{RELEASE}, {bad}, 5, {{}}], "total": 4}}"#);
    let server = peer(move |_| ok(&found));
    let bench = Bench::of(&server);
    let query = Query { imdb_id: Some("tt0133093".to_owned()), season: Some(1), ..Query::default() };
    let releases = smol::block_on(bench.client.search(&query)).expect("it answers");
    assert_eq!(releases.len(), 1);
    assert_eq!(targets(&server)[1], "/peer/search?imdbId=tt0133093&season=1");
}

#[test]
fn many_that_ask_at_once_make_one_handshake() {
    let server = peer(|_| ok(RELEASE));
    let bench = Bench::of(&server);
    let asked = join_all((0..20).map(|n| {
        let (client, id) = (&bench.client, n.to_string());
        async move { client.item(&id, |_, _| {}).await }
    }));
    assert!(smol::block_on(asked).iter().all(Result::is_ok));
    let handshakes = targets(&server).into_iter().filter(|target| target == "/handshake");
    assert_eq!(handshakes.count(), 1);
}

#[test]
fn asking_may_cross_threads() {
    fn assert_send<T: Send>(_: T) {}
    let server = peer(|_| ok(RELEASE));
    let bench = Bench::of(&server);
    assert_send(bench.client.item("1", |_, _| {}));
    assert_send(bench.client.search(&Query::default()));
}

// S19, S21
#[test]
fn its_file_arrives_whole_although_it_ignores_range_and_sends_no_validator() {
    let cut_once = AtomicBool::new(false);
    let server = peer(move |seen| match seen.target().ends_with("/file") {
        true if !cut_once.swap(true, Ordering::SeqCst) => close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour"),
        true => ok("film film"),
        false => ok(RELEASE),
    });
    let bench = Bench::of(&server);
    let release = item(&bench.client, "film:1").expect("the peer has it");
    let destination = bench.folder.path().join(release.filename.as_str());
    let new = NewDownload {
        source: bench.client.source(&release.id).expect("it is one"),
        mirrors: Vec::new(),
        header_names: Vec::new(),
        part: part_path(&destination).to_string_lossy().into_owned(),
        destination: destination.to_string_lossy().into_owned(),
        on_exists: OnExists::Overwrite,
        release_size: Some(release.size),
        digests: Vec::new(),
        adopt: false,
    };
    let row = smol::block_on(async {
        let id = bench.engine.accept(new).await.expect("it is new").id;
        bench.engine.drive(id).await.expect("the second attempt brings it");
        bench.engine.host().ledger.row(id).await.expect("it is there")
    });
    assert_eq!(std::fs::read(destination).expect("the file is there"), b"film film");
    assert_eq!((row.status, row.attempts, row.restarts), (Status::Completed, 2, 1));
    assert!(server.seen().iter().all(|seen| seen.header("x-api-key") == Some("hush")));
}
