//! Several sources of one file: which takes over, what is proven before, and which is dropped.

use crate::world::*;
use futures::future::select;
use futures::join;
use regrip_core::engine::NewUrl;
use regrip_core::record::{DigestRow, NewDownload, RestartReason, Source};
use regrip_core::testing::{Asked, Piece, Reply, new_download};
use regrip_core::{DownloadId, DownloadsConfig, Error, Status, Summary, What};
use std::pin::pin;
use std::time::Duration;

const FIRST: &str = "http://first.example/film.mkv";
const SECOND: &str = "http://second.example/film.mkv";
const THIRD: &str = "http://third.example/film.mkv";

fn with_mirrors(digests: Vec<DigestRow>) -> NewDownload {
    let mirrors = vec![SECOND.to_owned(), THIRD.to_owned()];
    NewDownload { mirrors, digests, ..new_download(FIRST, FILE) }
}

/// The same of a peer.
fn of_peer(peer_id: &str) -> NewDownload {
    let source = Source::Peer {
        peer_id: peer_id.to_owned(),
        peer_name: "Peer".to_owned(),
        item_id: "1".to_owned(),
        url: FIRST.to_owned(),
    };
    NewDownload { source, ..with_mirrors(vec![]) }
}

/// A server of `file` that knows ranges.
fn honest(file: &[u8], asked: &Asked) -> Reply {
    match asked.first.filter(|&first| first > 0) {
        Some(first) => rest(file, first as usize),
        None => whole(file),
    }
}

fn gone() -> Answer {
    Ok(reply(404, &[], vec![]))
}

/// Downloads with the answer to each request and its number, from 0.
fn get(
    digests: Vec<DigestRow>,
    answer: impl FnMut(&Asked, usize) -> Answer + Send + 'static,
) -> (World, DownloadId, Result<Summary, Error>) {
    let (mut answer, mut n) = (answer, 0);
    let world = World::answering(config(), move |asked| {
        n += 1;
        answer(asked, n - 1)
    });
    let id = world.run(world.engine.accept(with_mirrors(digests))).expect("it is new").id;
    let result = world.drive(id);
    (world, id, result)
}

fn hosts(world: &World) -> Vec<String> {
    let requests = world.host.transport.requests().into_iter();
    requests.filter_map(|asked| Some(asked.url.split(['/', '.']).nth(2)?.to_owned())).collect()
}

#[test]
fn a_source_that_fails_for_good_is_dropped_and_the_next_one_takes_over_at_once() {
    let file = content(1000);
    let (world, id, result) = get(vec![], move |asked, _| match &*asked.url {
        FIRST => gone(),
        _ => Ok(honest(&content(1000), asked)),
    });
    result.expect("the second source has it");
    world.assert_whole(&file);
    assert_eq!(hosts(&world), ["first", "second"]);
    assert_eq!(world.clock.elapsed(), Duration::ZERO, "nothing to wait for");
    assert_eq!((world.row(id).new.source.url(), &*world.row(id).new.mirrors), (SECOND, &[THIRD.to_owned()][..]));
}

#[test]
fn the_next_source_goes_on_only_after_its_bytes_were_compared_even_under_the_same_etag() {
    let file = content(100_000);
    let (world, _, result) = get(vec![], move |asked, n| match (&*asked.url, n) {
        (FIRST, 0) => cut(whole(&content(100_000)), 90_000),
        (FIRST, _) => gone(),
        _ => Ok(honest(&content(100_000), asked)),
    });
    result.expect("the second source has the same file");
    world.assert_whole(&file);
    assert_eq!(hosts(&world), ["first", "first", "second"]);
    let (first, if_range) = world.asked().pop().expect("three requests");
    assert_eq!((first, if_range), (Some(90_000 - 65_536), None), "64 KiB are compared");
    assert_eq!(world.restarts(), []);
}

#[test]
fn a_mirror_of_other_bytes_or_another_size_is_dropped_and_costs_no_byte() {
    for other in [bytes_of(7, 1000), content(1001)] {
        let file = content(1000);
        let (world, id, result) = get(vec![], move |asked, n| match (&*asked.url, n) {
            (FIRST, 0) => cut(whole(&content(1000)), 900),
            (FIRST, _) => gone(),
            (SECOND, _) => Ok(honest(&other, asked)),
            _ => Ok(honest(&content(1000), asked)),
        });
        result.expect("the third source has the same file");
        world.assert_whole(&file);
        assert_eq!(world.restarts(), []);
        assert_eq!(world.row(id).new.source.url(), THIRD);
        assert_eq!(world.row(id).new.mirrors, [FIRST], "the second one is dropped");
    }
}

#[test]
fn a_mirror_may_have_a_file_of_another_size_if_nothing_was_received_of_the_first_one() {
    let (world, _, result) = get(vec![], |asked, n| match (&*asked.url, n) {
        (FIRST, 0) => cut(whole(&content(1000)), 0),
        (FIRST, _) => gone(),
        _ => Ok(honest(&bytes_of(2, 1200), asked)),
    });
    result.expect("there is nothing to compare");
    world.assert_whole(&bytes_of(2, 1200));
}

#[test]
fn if_no_source_has_the_file_the_error_of_the_first_one_is_reported_and_the_part_stays() {
    let (world, id, result) = get(vec![], move |asked, n| match (&*asked.url, n) {
        (FIRST, 0) => cut(whole(&content(1000)), 900),
        (FIRST, _) => gone(),
        _ => Ok(honest(&bytes_of(7, 1000), asked)),
    });
    assert!(matches!(result, Err(Error::Status { status: 404, .. })), "{result:?}");
    assert_eq!(world.row(id).status, Status::Failed);
    assert_eq!(world.part().as_deref(), Some(&content(1000)[..900]));
    assert_eq!(world.row(id).new.source.url(), FIRST);
}

#[test]
fn sources_that_fail_for_the_time_being_take_turns_and_a_round_costs_one_attempt() {
    let (world, id, result) = get(vec![], move |_, _| Ok(reply(500, &[], vec![])));
    assert!(matches!(result, Err(Error::Status { status: 500, .. })), "{result:?}");
    let most = config().max_download_attempts as usize;
    assert_eq!(hosts(&world).len(), 3 * most);
    assert_eq!(hosts(&world)[..4], ["first", "second", "third", "first"]);
    assert_eq!(world.row(id).new.mirrors.len(), 2, "none is dropped");
}

#[test]
fn the_one_that_is_next_is_asked_at_once_and_none_that_is_gone_for_good() {
    /// The status that the nth request is answered with; 200 is the file.
    type Answers = &'static [u16];
    let table: [(usize, Answers, &[&str]); 5] = [
        // After the last mirror it is the turn of the first source, also if that mirror is gone.
        (2, &[500, 500, 404, 200], &["first", "second", "third", "first"]),
        (2, &[500, 500, 500], &["first", "second", "third"]),
        (1, &[500, 404, 200], &["first", "second", "first"]),
        // One that is gone has no turn.
        (2, &[404, 500, 500], &["first", "second", "third"]),
        (2, &[404, 500, 404, 200], &["first", "second", "third", "second"]),
    ];
    for (mirrors, answers, asked_first) in table {
        let world = World::answering(config(), {
            let mut left = answers.iter();
            move |asked| match left.next() {
                Some(200) | None => Ok(honest(&content(1000), asked)),
                Some(status) => Ok(reply(*status, &[], vec![])),
            }
        });
        let mut new = with_mirrors(vec![]);
        new.mirrors.truncate(mirrors);
        let id = world.run(world.engine.accept(new)).expect("it is new").id;
        world.drive(id).expect("somebody has it");
        world.assert_whole(&content(1000));
        let at: Vec<_> = world.host.transport.requests().into_iter().map(|asked| asked.at).collect();
        assert_eq!(hosts(&world)[..asked_first.len()], *asked_first, "{answers:?}");
        assert_eq!(at[asked_first.len() - 1], Duration::ZERO, "{answers:?}: nothing to wait for");
        // A round in which each one failed costs an attempt.
        assert_eq!(world.delays().iter().any(|delay| !delay.is_zero()), answers.last() != Some(&200), "{answers:?}");
    }
}

#[test]
fn a_round_of_the_mirrors_of_a_source_that_is_gone_costs_one_attempt() {
    let (world, _, result) = get(vec![], |asked, _| match &*asked.url {
        FIRST => gone(),
        _ => Ok(reply(500, &[], vec![])),
    });
    assert!(matches!(result, Err(Error::Status { status: 500, .. })), "{result:?}");
    let most = config().max_download_attempts as usize;
    assert_eq!(hosts(&world).len(), 1 + 2 * most);
    assert!(hosts(&world)[1..].chunks(2).all(|round| round == ["second", "third"]), "{:?}", hosts(&world));
}

#[test]
fn the_timeline_names_the_source_that_failed_and_what_it_sent_is_no_progress_of_the_next_one() {
    let world = World::answering(config(), |asked| match &*asked.url {
        FIRST => cut(whole(&content(1000)), 400),
        _ => Ok(Reply { body: vec![Piece::Forever], ..honest(&content(1000), asked) }),
    });
    let id = world.run(world.engine.accept(with_mirrors(vec![]))).expect("it is new").id;
    let dies = wait(&world.clock, Duration::from_secs(5));
    world.run(select(pin!(world.engine.drive(id)), pin!(dies)));
    let [first, second] = &world.host.ledger.timeline(id)[..] else { panic!("two attempts") };
    let end = first.end.as_ref().expect("it was cut");
    let text = end.error.as_ref().map(|error| error.text.as_str());
    assert_eq!((end.to, text), (400, Some("http://first.example/film.mkv: connection failed: reading")));
    assert_eq!((second.begin.from, &second.end), (400, &None));
    assert_eq!(world.row(id).bounds.furthest, 400);
}

#[test]
fn a_url_of_the_user_that_fails_is_followed_by_no_mirror_and_changes_no_source() {
    const MINE: &str = "http://mine.example/film.mkv";
    let (world, id, result) = get(vec![], |asked, n| match (&*asked.url, n) {
        (FIRST, 0) => cut(whole(&content(1000)), 900),
        _ => gone(),
    });
    result.expect_err("all are gone");
    let before = world.row(id).new;
    let requests = hosts(&world).len();
    let new = NewDownload { mirrors: vec![], ..new_download(MINE, FILE) };
    world.run(world.engine.accept_with(new, NewUrl::Any)).expect("it may be tried");
    world.drive(id).expect_err("it is gone, too");
    assert_eq!(hosts(&world)[requests..], ["mine"]);
    assert_eq!(world.row(id).new, before);
}

#[test]
fn no_other_source_is_asked_for_what_is_no_fault_of_the_source() {
    let world = World::answering(config(), |asked| Ok(honest(&content(1000), asked)));
    world.host.store.set_room(Some(10));
    let id = world.run(world.engine.accept(with_mirrors(vec![]))).expect("it is new").id;
    let result = world.drive(id);
    assert!(matches!(result, Err(Error::DiskFull { .. })), "{result:?}");
    assert_eq!(hosts(&world), ["first"]);
    assert_eq!(world.row(id).new.mirrors.len(), 2, "none is dropped");
}

#[test]
fn under_a_digest_a_source_that_lies_is_dropped_and_the_next_one_starts_over() {
    let file = content(1000);
    let (world, id, result) = get(vec![given(&sha256(&file))], move |asked, _| match &*asked.url {
        FIRST | SECOND => Ok(honest(&bytes_of(7, 1000), asked)),
        _ => Ok(honest(&content(1000), asked)),
    });
    result.expect("the third source is honest");
    world.assert_whole(&file);
    assert_eq!(hosts(&world), ["first", "second", "third"]);
    assert_eq!(world.row(id).new.source.url(), THIRD);
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000); 2]);
}

#[test]
fn the_limit_of_restarts_does_not_stop_the_search_for_an_honest_source() {
    let file = content(1000);
    let lowest = DownloadsConfig { max_download_attempts: 1, ..config() };
    let world = World::answering(lowest, move |asked| match &*asked.url {
        FIRST | SECOND => Ok(honest(&bytes_of(7, 1000), asked)),
        _ => Ok(honest(&content(1000), asked)),
    });
    let id = world.run(world.engine.accept(with_mirrors(vec![given(&sha256(&file))]))).expect("it is new").id;
    world.drive(id).expect("the third source is honest");
    world.assert_whole(&file);
}

#[test]
fn under_a_digest_that_no_source_has_the_download_fails() {
    let (world, id, result) = get(vec![given(&sha256(b"other"))], move |asked, _| Ok(honest(&content(1000), asked)));
    assert!(matches!(result, Err(Error::DigestMismatch { .. })), "{result:?}");
    assert_eq!(hosts(&world), ["first", "second", "third"]);
    assert_eq!(world.row(id).status, Status::Failed);
}

#[test]
fn while_the_peer_cannot_be_reached_its_mirrors_are_asked_before_the_download_waits() {
    let config = DownloadsConfig { breaker_failures: 1, ..config() };
    let world = World::answering(config, |asked| match &*asked.url {
        FIRST => Err(broken()),
        SECOND => Ok(reply(500, &[], vec![])),
        _ => Ok(honest(&content(1000), asked)),
    });
    for (number, asked) in [(1, &["first", "second", "third"][..]), (2, &["second", "third"])] {
        let before = hosts(&world).len();
        let file = format!("/films/{number}.mkv");
        let new = NewDownload { part: format!("{file}.part"), destination: file, ..of_peer("aabbccdd") };
        let id = world.run(world.engine.accept(new)).expect("it is new").id;
        world.drive(id).expect("the third source has it");
        assert_eq!(hosts(&world)[before..], *asked);
        assert_eq!(world.clock.elapsed(), Duration::ZERO, "nothing is waited for");
    }
}

#[test]
fn the_mirrors_are_asked_again_in_the_next_outage_of_the_peer() {
    const PEER: &str = "aabbccdd";
    let file = content(1000);
    // The peer is back from 100 s to 180 s, for a part of the file; the mirrors, from 200 s on.
    let served = file.clone();
    let world =
        World::answering(DownloadsConfig { progress_reset_bytes: 1, breaker_failures: 1, ..config() }, move |asked| {
            match &*asked.url {
                FIRST if (seconds(100)..seconds(180)).contains(&asked.at) => {
                    let body = vec![bytes(&served[..400]), Piece::Wait(seconds(50)), Piece::Break(broken())];
                    Ok(Reply { body, ..whole(&served) })
                }
                FIRST => Err(broken()),
                _ if asked.at < seconds(200) => Ok(reply(500, &[], vec![])),
                _ => Ok(honest(&served, asked)),
            }
        });
    let fails = || world.engine.reachability(PEER, FIRST).note(&world.clock, 1, &Err::<(), _>(broken()));
    fails();
    let id = world.run(world.engine.accept(of_peer(PEER))).expect("it is new").id;
    let again = async {
        wait(&world.clock, seconds(180)).await;
        fails();
    };
    let (result, ()) = world.run(async { join!(world.engine.drive(id), again) });
    result.expect("a mirror has it");
    world.assert_whole(&file);
    let asked = hosts(&world);
    assert_eq!(asked[..2], ["second", "third"], "once, before it waits");
    assert_eq!(asked[2..].iter().filter(|host| *host != "first").count(), 1, "{asked:?}");
}

#[test]
fn a_mirror_that_is_busy_with_other_downloads_is_waited_for() {
    let world = World::answering(config(), |asked| match (&*asked.url, asked.at < seconds(10)) {
        (FIRST, _) => gone(),
        (SECOND, true) => Ok(reply(429, &[], vec![])),
        (SECOND, false) => Ok(whole(b"film")),
        _ => Ok(Reply { body: vec![Piece::Wait(seconds(10)), bytes(b"other")], ..whole(b"other") }),
    });
    let new = NewDownload { mirrors: vec![SECOND.to_owned()], ..new_download(FIRST, FILE) };
    let other = new_download("http://second.example/other", "/films/other");
    let (other, id) = world.run(async { join!(world.engine.accept(other), world.engine.accept(new)) });
    let [other, id] = [other, id].map(|accepted| accepted.expect("it is new").id);
    let (moves, waits) = world.run(async { join!(world.engine.drive(other), world.engine.drive(id)) });
    moves.expect("nothing is wrong with it");
    waits.expect("it waited for the other one");
    assert_eq!(hosts(&world), ["second", "first", "second", "second"]);
    let waits = world.host.events().into_iter().filter(|(_, what)| matches!(what, What::Waiting { .. }));
    assert_eq!(waits.count(), 1);
}

#[test]
fn a_download_that_moved_to_a_mirror_is_known_by_its_first_url_and_keeps_its_sources() {
    let (world, id, result) = get(vec![], move |asked, n| match (&*asked.url, n) {
        (FIRST, 0) => Err(broken()),
        (SECOND, 1) => cut(whole(&content(1000)), 900),
        _ => gone(),
    });
    result.expect_err("all are gone then");
    assert_eq!(world.row(id).new.source.url(), SECOND);
    assert_eq!(world.row(id).new.mirrors, [] as [String; 0], "the others are dropped");
    let again = world.run(world.engine.accept(with_mirrors(vec![]))).expect("it is the same");
    assert_eq!((again.id, again.known), (id, true));
    let row = world.row(id);
    assert_eq!((row.new.source.url(), &*row.new.mirrors), (SECOND, &[FIRST.to_owned(), THIRD.to_owned()][..]));
}
