//! A new URL for the same file: another signature, another mirror.

use crate::world::*;
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::record::NewDownload;
use regrip_core::testing::{Reply, new_download};
use regrip_core::{DownloadId, Error, Status};

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
    assert_eq!(
        world.asked().pop(),
        Some((Some(400), Some("\"v1\"".to_owned())))
    );
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
    let (world, id) = failed_at_400(
        &file,
        vec![cut(range_of(&file, 0), 700), Ok(range_of(&file, 700))],
    );
    let error = accept(&world, MIRROR, NewUrl::SamePath).expect_err("another path");
    assert!(matches!(error, Error::DestinationBusy { .. }));
    accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
    world.drive(id).expect("it has the file");
    // The first request compares without If-Range; the next one has the mirror's own ETag.
    let asked = world.asked();
    assert_eq!(
        asked[2..],
        [(Some(0), None), (Some(700), Some("\"mirror\"".to_owned()))]
    );
    assert_eq!(world.row(id).new.source.url(), MIRROR);
    world.assert_whole(&file);
}

#[test]
fn another_url_with_another_file_changes_nothing() {
    let (old, other) = (content(1000), bytes_of(2, 1000));
    let answers: [Answer; 3] = [
        Ok(range_of(&other, 0)),
        Ok(without(whole(&other), "etag")),
        Ok(reply(404, &[], vec![])),
    ];
    for answer in answers {
        let (world, id) = failed_at_400(&old, vec![answer, Ok(rest(&old, 400))]);
        let before = world.row(id);
        accept(&world, MIRROR, NewUrl::Any).expect("it may be tried");
        let error = world.drive(id).expect_err("it has another file");
        assert!(
            matches!(error, Error::DestinationBusy { .. } | Error::Status { .. }),
            "{error}"
        );
        let after = world.row(id);
        assert_eq!((after.status, &after.new), (Status::Failed, &before.new));
        assert_eq!(
            (&after.failure, &after.validators),
            (&before.failure, &before.validators)
        );
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
    assert!(busy(
        accept(&world, SIGNED, NewUrl::Any).expect_err("it is about to be driven")
    ));
    world.drive(id).expect_err("no peer");
    accept(&world, SIGNED, NewUrl::Any).expect("nobody drives it");
    let world = World::on(world.host, config());
    assert!(busy(
        accept(&world, MIRROR, NewUrl::Refused).expect_err("it is refused")
    ));
}

#[test]
fn a_new_url_that_breaks_before_the_proof_is_tried_again() {
    let file = content(1000);
    let (world, id) = failed_at_400(
        &file,
        vec![cut(range_of(&file, 0), 300), Ok(range_of(&file, 0))],
    );
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
        assert_eq!(
            (after.bounds.in_all, after.behaviour),
            (0, before.behaviour)
        );
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
    first
        .headers
        .push("last-modified", b"Wed, 31 Dec 1997 23:59:59 GMT");
    let gone = Ok(reply(404, &[], vec![]));
    let world = World::scripted(
        config(),
        [
            cut(first, 400),
            gone,
            cut(rest(&file, 400), 100),
            Ok(rest(&file, 500)),
        ],
    );
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    let before = world.row(id).validators;
    accept(&world, SIGNED, NewUrl::SamePath).expect("only the query differs");
    world.drive(id).expect("it goes on");
    assert_eq!(world.row(id).validators, before);
    world.assert_whole(&file);
}

#[test]
fn a_file_that_its_digest_refused_is_fetched_afresh_from_a_new_url() {
    let (wrong, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(config(), [Ok(whole(&wrong)), Ok(whole(&file))]);
    let wanted = |url| NewDownload {
        digests: vec![given(&sha256(&file))],
        ..new_download(url, FILE)
    };
    let id = world
        .run(world.engine.accept(wanted(URL)))
        .expect("it is free")
        .id;
    let error = world.drive(id).expect_err("the digest differs");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    world
        .run(world.engine.accept(wanted(SIGNED)))
        .expect("another signature");
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
    world
        .run(world.engine.retry(id))
        .expect("it failed before, too");
    world.drive(id).expect("the old URL is asked");
    assert_eq!(urls(&world)[2..], [SIGNED, URL]);
    world.assert_whole(&file);
}
