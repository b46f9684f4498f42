//! A new URL for the same file: another signature, another mirror.

use crate::world::slow::Slow;
use crate::world::*;
use futures::future::{join, select};
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::hasher::Hasher;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Behaviour, DigestRow, DigestSource, NewDownload};
use regrip_core::testing::{Asked, Piece, Reply, new_download};
use regrip_core::time::Clock;
use regrip_core::{Algorithm, Change, DownloadId, DownloadsConfig, Engine, Error, OnExists, Status};
use std::pin::pin;
use std::time::Duration;

const SIGNED: &str = "http://peer.example/film.mkv?signature=new";
const MIRROR: &str = "http://mirror.example/films/film.mkv";

/// A world in which 400 bytes of `old` were received before the download failed for good.
fn failed_at_400(old: &[u8], answers: Vec<Answer>) -> (World, DownloadId) {
    let gone = Ok(reply(404, &[], vec![]));
    let first = [cut(whole(old), 400), gone];
    let world = World::scripted(config(), first.into_iter().chain(answers));
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    (world, id)
}

fn accept(world: &World, url: &str, new_url: NewUrl) -> Result<Accepted, Error> {
    world.run(world.engine.accept_with(new_download(url, FILE), new_url))
}

fn urls(world: &World) -> Vec<String> {
    let requests = world.host.transport.requests();
    requests.into_iter().map(|asked| asked.url).collect()
}

/// The range from `first` on, under another ETag.
fn range_of(file: &[u8], first: usize) -> Reply {
    let range = format!("bytes {first}-{}/{}", file.len() - 1, file.len());
    let fields = [("content-range", &*range), ("etag", "\"mirror\"")];
    reply(206, &fields, file[first..].chunks(150).map(bytes).collect())
}

#[test]
fn another_signature_goes_on_by_the_same_etag() {
    let file = content(1000);
    let (world, id) = failed_at_400(&file, vec![Ok(rest(&file, 400))]);
    let accepted = accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    assert_eq!((accepted.id, accepted.known), (id, true));
    world.drive(id).expect("it goes on");
    assert_eq!(urls(&world).pop().as_deref(), Some(SIGNED));
    assert_eq!(world.asked().pop(), Some((Some(400), Some("\"v1\"".to_owned()))));
    assert_eq!(world.row(id).new.source.url(), SIGNED);
    assert_eq!(world.restarts(), []);
    world.assert_whole(&file);
}

#[test]
fn another_signature_for_another_version_keeps_what_agrees() {
    let (mut old, file) = (content(1000), content(1000));
    old[200..].fill(0);
    let mut newer = whole(&file);
    newer.body = file.chunks(100).map(bytes).collect();
    let newer = without(newer, "etag");
    let (world, id) = failed_at_400(&old, vec![Ok(newer)]);
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect("it is compared");
    assert_eq!(world.restarts().len(), 1);
    assert_eq!(world.restarts()[0].1, 200, "200 bytes are the same");
    world.assert_whole(&file);
}

#[test]
fn another_url_goes_on_if_the_bytes_are_the_same_whatever_its_etag() {
    let file = content(1000);
    let (world, id) = failed_at_400(&file, vec![cut(range_of(&file, 0), 700), Ok(range_of(&file, 700))]);
    let error = accept(&world, MIRROR, NewUrl::SamePath).expect_err("another path");
    assert!(matches!(error, Error::DestinationBusy { .. }));
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    world.drive(id).expect("it has the file");
    // The first request compares without If-Range; the next one has the mirror's own ETag.
    let asked = world.asked();
    assert_eq!(asked[2..], [(Some(0), None), (Some(700), Some("\"mirror\"".to_owned()))]);
    assert_eq!(world.row(id).new.source.url(), MIRROR);
    world.assert_whole(&file);
}

// FW11
#[test]
fn another_url_with_another_file_changes_nothing() {
    let (old, other) = (content(1000), bytes_of(2, 1000));
    let answers: [Answer; 3] =
        [Ok(range_of(&other, 0)), Ok(without(whole(&other), "etag")), Ok(reply(404, &[], vec![]))];
    for answer in answers {
        let (world, id) = failed_at_400(&old, vec![answer, Ok(rest(&old, 400))]);
        let before = world.row(id);
        accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
        let error = world.drive(id).expect_err("it has another file");
        assert!(matches!(error, Error::DestinationBusy { .. } | Error::Status { .. }), "{error}");
        let after = world.row(id);
        assert_eq!((after.status, &after.new), (Status::Failed, &before.new));
        assert_eq!((&after.failure, &after.validators), (&before.failure, &before.validators));
        assert_eq!((after.downloaded, after.restarts), (400, 0));
        assert_eq!(world.part().as_deref(), Some(&old[..400]));
        world.assert_at_rest();
        // The old URL goes on from there.
        world.accept();
        world.drive(id).expect("nothing was lost");
        world.assert_whole(&old);
    }
}

#[test]
fn a_download_that_is_accepted_or_driven_keeps_its_url() {
    let world = World::answering(config(), |_| Err(Error::Protocol("no peer".to_owned())));
    let id = world.accept();
    let busy = |error| matches!(error, Error::DestinationBusy { .. });
    assert!(busy(accept(&world, SIGNED, NewUrl::Any).expect_err("it is about to be driven")));
    world.drive(id).expect_err("no peer");
    accept(&world, SIGNED, NewUrl::Any).expect("nobody drives it");
    let world = World::on(world.host, config());
    assert!(busy(accept(&world, MIRROR, NewUrl::Refused).expect_err("it is refused")));
    // Also if it was accepted together with others.
    let world = World::scripted(config(), []);
    world.run(world.engine.accept_new(vec![new_download(URL, FILE)])).expect("the ledger works");
    assert!(busy(accept(&world, SIGNED, NewUrl::Any).expect_err("it is about to be driven")));
}

#[test]
fn a_download_that_was_asked_for_again_while_it_was_driven_gets_a_new_url_after_that() {
    let late = Reply { delay: seconds(10), ..reply(404, &[], vec![]) };
    let world = World::scripted(config(), [cut(whole(&content(1000)), 400), Ok(late)]);
    let id = world.accept();
    let joins = async {
        wait(&world.clock, seconds(5)).await;
        world.engine.accept(new_download(URL, FILE)).await
    };
    let (ended, joined) = world.run(join(world.engine.drive(id), joins));
    ended.expect_err("404 is permanent");
    assert_eq!(joined.expect("it is driven").id, id);
    assert_eq!(accept(&world, SIGNED, NewUrl::SamePath).expect("nobody drives it").id, id);
}

#[test]
fn what_was_asked_of_a_url_that_another_process_has_moved_to_meanwhile_counts() {
    let file = content(1000);
    let mut stuck = rest(&file, 400);
    stuck.body = vec![bytes(&file[400..700]), Piece::Forever];
    let (world, id) = failed_at_400(&file, vec![Ok(stuck), Ok(reply(404, &[], vec![]))]);
    let new = NewDownload { header_names: vec!["cookie".to_owned()], ..new_download(SIGNED, FILE) };
    world.run(world.engine.accept(new)).expect("only the query differs");
    let other = World::on(world.host.clone(), config());
    accept(&other, SIGNED, NewUrl::SamePath).expect("only the query differs");
    other.run(async {
        let dies = pin!(wait(&other.clock, seconds(5)));
        select(pin!(other.engine.drive(id)), dies).await;
    });
    other.host.store.crash();
    assert_eq!(world.row(id).new.source.url(), SIGNED);
    world.drive(id).expect_err("404 is permanent");
    let row = world.row(id);
    assert_eq!((row.status, &*row.new.header_names), (Status::Failed, &["cookie".to_owned()][..]));
    assert_eq!(world.asked().last(), Some(&(Some(700), Some("\"v1\"".to_owned()))));
}

#[test]
fn a_new_url_that_breaks_before_the_proof_is_tried_again() {
    let file = content(1000);
    let (world, id) = failed_at_400(&file, vec![cut(range_of(&file, 0), 300), Ok(range_of(&file, 0))]);
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    world.drive(id).expect("the second try compares to the end");
    assert_eq!(world.row(id).new.source.url(), MIRROR);
    world.assert_whole(&file);
}

#[test]
fn another_url_with_a_file_of_another_size_changes_nothing() {
    let old = content(1000);
    let longer = [&old[..], &bytes_of(2, 200)].concat();
    let shorter = old[..300].to_vec();
    let plain = |file: &[u8]| Ok(without(whole(file), "etag"));
    let answers: [Answer; 3] = [Ok(range_of(&longer, 0)), plain(&longer), plain(&shorter)];
    for answer in answers {
        let (world, id) = failed_at_400(&old, vec![answer, Ok(rest(&old, 400))]);
        let before = world.row(id);
        accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
        let error = world.drive(id).expect_err("it has another file");
        assert!(matches!(error, Error::DestinationBusy { .. }), "{error}");
        let after = world.row(id);
        assert_eq!((&after.new, after.downloaded), (&before.new, 400));
        assert_eq!((after.bounds.in_all, after.behaviour), (0, before.behaviour));
        world.accept();
        world.drive(id).expect("the old URL goes on");
        world.assert_whole(&old);
    }
}

#[test]
fn a_response_that_goes_on_need_not_repeat_what_is_known() {
    let file = content(1000);
    let mut first = whole(&file);
    first.headers.push("content-type", b"video/x-matroska");
    first.headers.push("last-modified", b"Wed, 31 Dec 1997 23:59:59 GMT");
    let gone = Ok(reply(404, &[], vec![]));
    let world = World::scripted(config(), [cut(first, 400), gone, cut(rest(&file, 400), 100), Ok(rest(&file, 500))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    let before = world.row(id).validators;
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect("it goes on");
    assert_eq!(world.row(id).validators, before);
    world.assert_whole(&file);
}

#[test]
fn the_validators_of_one_url_are_not_those_of_another_one() {
    let file = content(100_000);
    let dated = |mut reply: Reply| {
        reply.headers.push("last-modified", b"Wed, 31 Dec 1997 23:59:59 GMT");
        reply
    };
    let gone = Ok(reply(404, &[], vec![]));
    let plain = without(range_of(&file, 90_000 - 65_536), "etag");
    let world = World::scripted(config(), [cut(dated(whole(&file)), 90_000), gone, Ok(plain)]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    world.drive(id).expect("it has the same bytes");
    let validators = world.row(id).validators;
    assert_eq!((validators.etag, validators.last_modified), (None, None));
    world.assert_whole(&file);
}

#[test]
fn the_terms_of_a_new_url_count_although_all_bytes_are_there() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    world.host.store.put(FILE, b"old");
    let new = NewDownload { on_exists: OnExists::Fail, ..new_download(URL, FILE) };
    let id = world.run(world.engine.accept(new)).expect("it is new").id;
    let error = world.drive(id).expect_err("the name is taken");
    assert!(matches!(error, Error::DestinationExists { .. }), "{error}");
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect("it replaces the old file");
    assert_eq!(urls(&world), [URL], "nothing is requested again");
    world.assert_whole(&file);
}

#[test]
fn a_file_that_its_digest_refused_is_fetched_afresh_from_a_new_url() {
    let (wrong, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(config(), [Ok(whole(&wrong)), Ok(whole(&file))]);
    let wanted = |url| NewDownload { digests: vec![given(&sha256(&file))], ..new_download(url, FILE) };
    let id = world.run(world.engine.accept(wanted(URL))).expect("it is free").id;
    let error = world.drive(id).expect_err("the digest differs");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    world.run(world.engine.accept(wanted(SIGNED))).expect("another signature");
    world.drive(id).expect("the new URL has the file");
    assert_eq!(urls(&world), [URL, SIGNED]);
    world.assert_whole(&file);
}

#[test]
fn what_was_asked_for_ends_with_its_drive() {
    let file = content(1000);
    let refused = || Ok(reply(404, &[], vec![]));
    let (world, id) = failed_at_400(&file, vec![refused(), Ok(rest(&file, 400))]);
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect_err("404 is permanent");
    world.run(world.engine.retry(id)).expect("it failed before, too");
    world.drive(id).expect("the old URL is asked");
    assert_eq!(urls(&world)[2..], [SIGNED, URL]);
    world.assert_whole(&file);
}

#[test]
fn what_a_new_url_serves_is_not_remembered_of_the_old_one() {
    let (old, small) = (content(1000), bytes_of(3, 300));
    let config = || DownloadsConfig { max_download_attempts: 1, ..config() };
    let smaller = || Ok(without(whole(&small), "etag"));
    let answers = [cut(whole(&old), 400), smaller(), smaller(), Ok(rest(&old, 400))];
    let world = World::scripted(config(), answers);
    let id = world.accept();
    world.drive(id).expect_err("one attempt is not enough");
    let before = world.row(id).behaviour;
    // A smaller file is believed the second time, of one URL.
    for url in [SIGNED, URL] {
        accept(&world, url, NewUrl::SamePath).expect("nobody drives it");
        let error = world.drive(id).expect_err("smaller");
        assert!(matches!(error, Error::Shrunk { .. }), "{url}: {error}");
        if url == SIGNED {
            assert_eq!(world.row(id).behaviour, before);
        }
    }
    assert_eq!(world.part().as_deref(), Some(&old[..400]));
    world.accept();
    world.drive(id).expect("the file is there again");
    world.assert_whole(&old);
}

#[test]
fn a_smaller_file_at_a_new_url_is_believed_the_second_time() {
    let (old, small) = (content(1000), bytes_of(3, 300));
    let smaller = || Ok(without(whole(&small), "etag"));
    let (world, id) = failed_at_400(&old, vec![smaller(), smaller()]);
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect("it is that small");
    assert_eq!(world.row(id).new.source.url(), SIGNED);
    world.assert_whole(&small);
}

#[test]
fn what_a_call_that_joined_asked_for_ends_with_the_drive_it_joined() {
    let file = content(1000);
    let late = Reply { delay: seconds(10), ..whole(&file) };
    let world = World::scripted(config(), [Ok(late), Ok(whole(&file))]);
    let id = world.accept();
    let wanting = NewDownload {
        digests: vec![DigestRow::wanted(Hasher::of(Algorithm::Sha256, b"another file"), DigestSource::Caller)],
        header_names: vec!["authorization".to_owned()],
        ..new_download(URL, FILE)
    };
    let joins = async {
        wait(&world.clock, seconds(1)).await;
        let joined = world.engine.accept(wanting).await;
        world.engine.end();
        joined
    };
    let (ended, joined) = world.run(join(world.engine.drive(id), joins));
    let ended = ended.expect_err("the process ends");
    assert!(matches!(ended, Error::Interrupted), "{ended}");
    assert_eq!(joined.expect("it is under way").id, id);
    world.drive(id).expect("nothing was asked of its digest");
    let row = world.row(id);
    assert_eq!((row.new.digests, row.new.header_names), (vec![], vec![]));
    world.assert_whole(&file);
}

/// Versions of one size that begin alike: of the old URL, and of a new signature.
fn two_versions() -> [Vec<u8>; 2] {
    let (old, mut newer) = (content(100), bytes_of(2, 100));
    newer[..30].copy_from_slice(&old[..30]);
    [old, newer]
}

/// A server that follows RFC 9110. The first body is cut; from then on a new signature has another version, and a mirror the
/// same one under an ETag of its own.
fn moving_peer(mut begun: bool) -> impl FnMut(&Asked) -> Answer + Send {
    let versions = two_versions();
    move |asked| {
        let (file, etag) = match &*asked.url {
            SIGNED => (&versions[1], "\"v2\""),
            MIRROR => (&versions[0], "\"mirror\""),
            _ => (&versions[0], "\"v1\""),
        };
        let matches = asked.if_range.as_deref().is_none_or(|held| held == etag);
        let first = asked.first.filter(|_| matches).map(|first| first as usize);
        let mut answer = match first {
            Some(first) => rest(file, first),
            None => whole(file),
        };
        answer = without(answer, "etag");
        answer.headers.push("etag", etag.as_bytes());
        answer.body = file[first.unwrap_or(0)..].chunks(20).map(bytes).collect();
        match std::mem::replace(&mut begun, true) {
            false => cut(answer, 60),
            true => Ok(answer),
        }
    }
}

#[test]
fn a_crash_at_any_await_of_a_move_to_a_new_url_leaves_what_either_url_can_finish() {
    let once = || DownloadsConfig { max_download_attempts: 1, resume_overlap_bytes: 8, ..config() };
    let versions = two_versions();
    for (url, then, loses_power) in [SIGNED, MIRROR].into_iter().flat_map(|url| {
        let thens = [url, URL].into_iter();
        thens.flat_map(move |then| [false, true].map(|loses_power| (url, then, loses_power)))
    }) {
        for polls in 0.. {
            let story = format!("{url}, then {then}, {loses_power}, poll {polls}");
            let world = World::answering(once(), moving_peer(false));
            world.get().expect_err("it is cut");
            let slow = Slow::new(world.host.clone(), Duration::ZERO);
            let engine = Engine::new(slow, once(), true).expect("it is in range");
            let process = async {
                let new = new_download(url, FILE);
                let accepted = engine.accept_with(new, NewUrl::Any).await?;
                engine.drive(accepted.id).await
            };
            let done = world.run(at_most(polls, process));
            match loses_power {
                true => world.host.store.lose_power(),
                false => world.host.store.crash(),
            }
            let part = world.part().unwrap_or_default();
            assert!(versions.iter().any(|one| one.starts_with(&part)), "{story}: a part of two versions");
            let more = DownloadsConfig { max_download_attempts: 3, ..once() };
            let next = World::on(world.host.clone(), more);
            // What is being committed is finished first, whatever is asked for.
            next.run(next.engine.repair(1)).expect(&story);
            let id = accept(&next, then, NewUrl::Any).expect(&story).id;
            next.drive(id).expect(&story);
            let file = next.file().expect(&story);
            assert!(versions.contains(&file), "{story}: the file is no one version");
            if done.is_some() {
                break;
            }
        }
    }
}

#[test]
fn a_new_url_is_asked_as_if_nothing_were_known_of_how_it_behaves() {
    let file = content(1000);
    for (url, asked, answer) in [
        (SIGNED, (Some(400), Some("\"v1\"".to_owned())), rest(&file, 400)),
        (MIRROR, (Some(0), None), range_of(&file, 0)),
    ] {
        let (world, id) = failed_at_400(&file, vec![Ok(answer)]);
        let behaviour = Behaviour { ignores_if_range: true, refuses_ranges: true, shrunk: None };
        let learned = Change::Learned(behaviour);
        world.run(world.host.ledger.record(id, &learned, world.clock.wall())).expect("it is a fact");
        accept(&world, url, NewUrl::Any).expect("it may be tried");
        world.drive(id).expect("it goes on");
        assert_eq!(world.asked().last(), Some(&asked));
        world.assert_whole(&file);
    }
}

#[test]
fn another_url_is_compared_whatever_size_the_release_has() {
    let file = content(100_000);
    let first = 90_000 - 65_536;
    let gone = Ok(reply(404, &[], vec![]));
    let world = World::scripted(config(), [cut(whole(&file), 90_000), gone, Ok(range_of(&file, first))]);
    let new = |url| NewDownload { release_size: Some(80_000), ..new_download(url, FILE) };
    let id = world.run(world.engine.accept(new(URL))).expect("it is new").id;
    world.drive(id).expect_err("404 is permanent");
    world.run(world.engine.accept_with(new(MIRROR), NewUrl::Any)).expect("it may be tried");
    world.drive(id).expect("it has the same bytes");
    assert_eq!(world.asked().last(), Some(&(Some(first as u64), None)));
    world.assert_whole(&file);
}

#[test]
fn another_url_that_states_another_digest_has_another_file() {
    let file = content(1000);
    let stating = |mut reply: Reply, letter: &str| {
        let value = format!("sha-256=:{letter}{}=:", "A".repeat(42));
        reply.headers.push("repr-digest", value.as_bytes());
        reply
    };
    let gone = Ok(reply(404, &[], vec![]));
    let first = cut(stating(whole(&file), "A"), 400);
    let world = World::scripted(config(), [first, gone, Ok(stating(range_of(&file, 0), "B"))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    let error = world.drive(id).expect_err("it has another file");
    assert!(matches!(error, Error::DestinationBusy { .. }), "{error}");
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
}

#[test]
fn a_url_on_trial_that_refuses_ranges_teaches_nothing_of_the_old_one() {
    let (file, other) = (content(1000), bytes_of(2, 1000));
    let (world, id) = failed_at_400(&file, vec![Ok(reply(403, &[], vec![])), Ok(whole(&other))]);
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    let error = world.drive(id).expect_err("it has another file");
    assert!(matches!(error, Error::DestinationBusy { .. }), "{error}");
    let learned = |(_, change): &(DownloadId, Change)| matches!(change, Change::Learned(_));
    assert!(!world.host.ledger.changes().iter().any(learned), "not even for a while");
}
