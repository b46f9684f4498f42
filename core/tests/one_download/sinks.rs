//! Stores that can do less than a file: they cannot read back what they took, or cannot be cut.

use crate::world::*;
use regrip_core::record::RestartReason;
use regrip_core::store::StoreRules;
use regrip_core::testing::Reply;
use regrip_core::{Error, ErrorCode};

/// An upload: bytes leave for good, but it can be begun again.
const UPLOAD: StoreRules = StoreRules { read_back_bytes: 0, truncate: true, durable_unit_bytes: 1 };
/// A stream: bytes leave for good.
const STREAM: StoreRules = StoreRules { truncate: false, ..UPLOAD };

/// A store of this kind that has the first 400 bytes of `first`, and then these answers.
fn after_400(rules: StoreRules, first: Reply, answers: Vec<Answer>) -> World {
    let first = cut(first, 400);
    let world = World::scripted(config(), std::iter::once(first).chain(answers));
    world.host.store.set_rules(rules);
    world
}

fn bare(content: &[u8]) -> Reply {
    without(whole(content), "etag")
}

fn etag(content: &[u8], etag: &str) -> Reply {
    let mut reply = bare(content);
    reply.headers.push("etag", etag.as_bytes());
    reply
}

fn status(status: u16) -> Answer {
    Ok(reply(status, &[], vec![]))
}

fn code(world: &World) -> ErrorCode {
    world.get().expect_err("it cannot go on").code()
}

#[test]
fn any_store_goes_on_by_a_strong_etag() {
    let file = content(1000);
    for rules in [UPLOAD, STREAM] {
        let world = after_400(rules, whole(&file), vec![Ok(rest(&file, 400))]);
        world.get().expect("the ETag vouches for the bytes");
        assert_eq!(world.asked()[1], (Some(400), Some(V1.1.to_owned())));
        world.assert_whole(&file);
    }
}

#[test]
fn a_body_that_ignores_if_range_is_used_if_the_bytes_cannot_be_read_back() {
    let file = content(1000);
    for rules in [UPLOAD, STREAM] {
        let world = after_400(rules, whole(&file), vec![Ok(whole(&file))]);
        world.get().expect("the ETag vouches for the bytes");
        assert_eq!(world.asked().len(), 2, "no third request");
        assert_eq!(world.restarts(), []);
        world.assert_whole(&file);
    }
}

#[test]
fn a_body_that_ignores_if_range_and_ends_before_the_part_does_proves_nothing() {
    let file = content(1000);
    let answers = vec![cut(whole(&file), 100), Ok(rest(&file, 400))];
    let world = after_400(STREAM, whole(&file), answers);
    world.get().expect("the third answer has the rest");
    assert_eq!(world.asked()[2].0, Some(400));
    world.assert_whole(&file);
}

#[test]
fn the_same_etag_with_another_size_is_not_skipped_into() {
    let (file, other) = (content(1000), bytes_of(2, 900));
    let world = after_400(UPLOAD, whole(&file), vec![Ok(whole(&other))]);
    world.get().expect("the other file is whole");
    let changed = RestartReason::ValidatorChanged;
    assert_eq!(world.restarts(), [(changed, 400)]);
    world.assert_whole(&other);

    let world = after_400(STREAM, whole(&file), vec![Ok(whole(&other))]);
    assert_eq!(code(&world), Error::NotResumable.code());
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
}

#[test]
fn what_cannot_be_read_back_is_discarded_only_for_a_whole_file_that_is_there() {
    let file = content(1000);
    let other = || etag(&bytes_of(2, 1000), "\"v2\"");
    let overlap = RestartReason::OverlapMismatch;
    let refused = RestartReason::RangeRefused;
    let changed = RestartReason::ValidatorChanged;
    let misfit = RestartReason::ContentRangeMismatch;
    let unfit = || Ok(rest(&file, 401));
    let rows = [
        // the first answer, those to the range, the reason once the whole file is there
        ("no validator", bare(&file), [None, None], overlap),
        ("refused", whole(&file), [Some(status(403)), Some(status(403))], refused),
        ("a misfit", whole(&file), [Some(unfit()), Some(unfit())], misfit),
    ];
    for (name, first, [range, again], reason) in rows {
        let mut answers: Vec<_> = range.into_iter().collect();
        answers.push(status(503));
        answers.extend(again);
        answers.push(Ok(other()));
        let world = after_400(UPLOAD, first, answers);
        let summary = world.get().expect(name);
        assert_eq!(summary.attempts, 3, "{name}");
        assert_eq!(world.restarts(), [(reason, 400)], "{name}");
        world.assert_whole(&bytes_of(2, 1000));
    }
    let world = after_400(UPLOAD, whole(&file), vec![Ok(other())]);
    world.get().expect("the whole file is there");
    assert_eq!(world.asked().len(), 2, "the body that is there is used");
    assert_eq!(world.restarts(), [(changed, 400)]);
    world.assert_whole(&bytes_of(2, 1000));
}

#[test]
fn what_can_neither_be_proven_nor_taken_back_is_not_asked_for() {
    let file = content(1000);
    let world = after_400(STREAM, bare(&file), vec![]);
    assert_eq!(code(&world), Error::NotResumable.code());
    assert_eq!(world.asked().len(), 1, "no request whose response is of no use");
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    world.assert_at_rest();
}

// FW02
#[test]
fn a_stream_whose_range_is_refused_skips_what_it_has_of_the_same_version() {
    let file = content(1000);
    for refusal in [400, 403, 405, 416, 501] {
        // Cut once more: then the whole file is asked for at once.
        let answers = vec![status(refusal), cut(whole(&file), 700), Ok(whole(&file))];
        let world = after_400(STREAM, whole(&file), answers);
        world.get().unwrap_or_else(|error| panic!("{refusal}: {error}"));
        assert_eq!(world.asked().iter().map(|(from, _)| *from).collect::<Vec<_>>(), [None, Some(400), None, None]);
        assert_eq!(world.restarts(), []);
        world.assert_whole(&file);
    }
}

#[test]
fn a_stream_ends_with_what_refused_its_range() {
    let file = content(1000);
    let not_resumable = || Error::NotResumable.code();
    let answers = [
        (vec![status(403), status(404)], Error::Status { status: 404, retry_after: None }.code()),
        (vec![status(403), Ok(etag(&bytes_of(2, 1000), "\"v2\""))], not_resumable()),
        (vec![status(403), Ok(etag(&bytes_of(2, 900), "\"v1\""))], not_resumable()),
        (vec![status(403), Ok(bare(&file))], not_resumable()),
        (vec![Ok(etag(&file, "\"v2\""))], not_resumable()),
        (vec![Ok(without(rest(&file, 400), "etag"))], not_resumable()),
    ];
    for (answers, expected) in answers {
        let world = after_400(STREAM, whole(&file), answers);
        assert_eq!(code(&world), expected);
        assert_eq!(world.part().as_deref(), Some(&file[..400]));
        world.assert_at_rest();
    }
}

#[test]
fn a_store_that_reads_back_some_bytes_compares_those() {
    let file = content(1000);
    let rules = StoreRules { read_back_bytes: 100, ..UPLOAD };
    let tail = without(rest(&file, 300), "etag");
    let world = after_400(rules, bare(&file), vec![Ok(tail)]);
    world.get().expect("the last 100 bytes are the same");
    assert_eq!(world.asked()[1], (Some(300), None));
    world.assert_whole(&file);

    // A whole file begins before what can be read back.
    let world = after_400(rules, bare(&file), vec![Ok(bare(&file))]);
    world.get().expect("it starts over");
    assert_eq!(world.asked()[1], (Some(300), None));
    assert_eq!(world.restarts(), [(RestartReason::RangeIgnored, 400)]);
    world.assert_whole(&file);
}
