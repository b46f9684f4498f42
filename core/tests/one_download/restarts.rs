//! Starting over: why, what it discards, and how often at most (spec §5, The response and Bounds).

use crate::world::*;
use regrip_core::record::RestartReason;
use regrip_core::store::PartStore;
use regrip_core::testing::{Piece, Reply};
use regrip_core::{DownloadsConfig, Error, Status};

/// A part of 400 bytes of `old`, and then these answers.
fn after_400(old: &[u8], answers: Vec<Answer>) -> World {
    let first = cut(whole(old), 400);
    World::scripted(config(), std::iter::once(first).chain(answers))
}

fn ranged(range: &str, etag: &str, body: &[u8]) -> Reply {
    reply(
        206,
        &[("content-range", range), ("etag", etag)],
        vec![bytes(body)],
    )
}

// H02, H03, H05, H07, H08, H10, H12, H13, H15, H18; S20, S21
#[test]
fn what_does_not_fit_is_dropped_unread_and_the_whole_file_asked_for() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let evil = b"EVIL".as_slice();
    let range = RestartReason::ContentRangeMismatch;
    let changed = RestartReason::ValidatorChanged;
    let unsatisfiable = RestartReason::RangeNotSatisfiable;
    let v1 = "\"v1\"";
    let mut multipart = ranged("bytes 400-999/1000", v1, evil);
    multipart
        .headers
        .push("content-type", b"multipart/byteranges; boundary=x");
    let mut doubled = ranged("bytes 400-999/1000", v1, evil);
    doubled.headers.push("content-range", b"bytes 400-999/1000");
    let rows = [
        ("H02", ranged("bytes 399-999/1000", v1, evil), range),
        ("H03", ranged("bytes 401-999/1000", v1, evil), range),
        ("H05", reply(206, &[V1], vec![bytes(evil)]), range),
        ("H05", ranged("bytes 400-1000/1000", v1, evil), range),
        ("H05", doubled, range),
        ("H07", ranged("bytes 400-999/2000", v1, evil), range),
        ("H08", multipart, range),
        (
            "H10",
            reply(
                200,
                &[("content-range", "bytes 400-999/1000"), V1],
                vec![bytes(evil)],
            ),
            range,
        ),
        ("H15", ranged("bytes 400-999/1000", "\"v2\"", evil), changed),
        (
            "H18",
            without(ranged("bytes 400-999/1000", v1, evil), "etag"),
            changed,
        ),
        (
            "H12",
            reply(416, &[("content-range", "bytes */300")], vec![bytes(evil)]),
            unsatisfiable,
        ),
        (
            "H12",
            reply(416, &[("content-range", "bytes */400")], vec![bytes(evil)]),
            unsatisfiable,
        ),
        ("H13", reply(416, &[], vec![bytes(evil)]), unsatisfiable),
    ];
    for (case, misfit, reason) in rows {
        let world = after_400(&old, vec![Ok(misfit), Ok(whole(&file))]);
        let id = world.accept();
        let summary = world.drive(id).expect("the whole file comes");
        assert_eq!((summary.attempts, summary.restarts), (2, 1), "{case}");
        assert_eq!(world.restarts(), [(reason, 400)], "{case}");
        world.assert_whole(&file);
        assert_eq!(world.asked()[2], (None, None), "{case}: a plain GET");
        assert_eq!(
            world.host.ledger.timeline(id)[1].restart,
            Some((reason, 400))
        );
        let at: Vec<_> = world
            .host
            .transport
            .requests()
            .iter()
            .map(|asked| asked.at)
            .collect();
        assert_eq!(at[1], at[2], "{case}: at once");
    }
}

// H09, H15
#[test]
fn a_200_to_a_ranged_request_is_the_file_from_its_start() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = after_400(&old, vec![Ok(whole(&file))]);
    let summary = world.get().expect("it is used at once");
    assert_eq!((summary.attempts, summary.restarts), (2, 1));
    assert_eq!(world.restarts(), [(RestartReason::ValidatorChanged, 400)]);
    assert_eq!(world.asked().len(), 2, "no third request");
    world.assert_whole(&file);
    // Where no If-Range was sent, it only ignored the range.
    let (first, again) = (without(whole(&file), "etag"), without(whole(&file), "etag"));
    let world = World::scripted(config(), [cut(first, 400), Ok(again)]);
    world.get().expect("it is used at once");
    assert_eq!(world.restarts(), [(RestartReason::RangeIgnored, 400)]);
    world.assert_whole(&file);
}

// H09: old bytes are gone before new ones come, so that a cut leaves no mixture.
#[test]
fn a_200_to_a_ranged_request_truncates_before_it_writes() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = after_400(&old, vec![cut(whole(&file), 100), Err(Error::UnknownSize)]);
    world.get().expect_err("the last answer is permanent");
    assert_eq!(world.part().as_deref(), Some(&file[..100]));
}

// H16, H19
#[test]
fn a_tail_that_differs_is_never_appended_to() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    // Only the very last byte of the part differs.
    let mut nearly = file.clone();
    nearly[399] ^= 1;
    for held in [old, nearly] {
        let plain = |file: &[u8]| without(whole(file), "etag");
        let tail = reply(
            206,
            &[("content-range", "bytes 0-999/1000")],
            file.chunks(150).map(bytes).collect(),
        );
        let answers = [cut(plain(&held), 400), Ok(tail), Ok(plain(&file))];
        let world = World::scripted(config(), answers);
        world.get().expect("the whole file comes");
        assert_eq!(world.asked()[1], (Some(0), None));
        assert_eq!(world.restarts(), [(RestartReason::OverlapMismatch, 400)]);
        world.assert_whole(&file);
    }
}

#[test]
fn a_cut_in_the_comparison_writes_nothing_and_keeps_the_part() {
    let file = content(1000);
    let plain = || without(whole(&file), "etag");
    let tail = || {
        reply(
            206,
            &[("content-range", "bytes 0-999/1000")],
            file.chunks(150).map(bytes).collect(),
        )
    };
    let mut cut_short = tail();
    cut_short.body.truncate(2);
    cut_short.body.push(Piece::Break(broken()));
    let world = World::scripted(config(), [cut(plain(), 400), Ok(cut_short), Ok(tail())]);
    let summary = world.get().expect("the third compares to the end");
    assert_eq!((summary.attempts, summary.restarts), (3, 0));
    let to = world.host.ledger.timeline(1)[1]
        .end
        .as_ref()
        .map(|end| end.to);
    assert_eq!(to, Some(400));
    world.assert_whole(&file);
}

// A range that ends within the overlap has not compared all of it, so it proves nothing, not even that all is there.
#[test]
fn a_comparison_that_ends_early_completes_nothing() {
    let (old, file) = (bytes_of(2, 400), content(400));
    let held = [&file[..300], &old[300..]].concat();
    let chunked = [("transfer-encoding", "chunked")];
    let first = reply(200, &chunked, vec![bytes(&held), Piece::Break(broken())]);
    let some = reply(
        206,
        &[("content-range", "bytes 0-99/400")],
        vec![bytes(&file[..100])],
    );
    let world = World::scripted(config(), [Ok(first), Ok(some), Err(Error::UnknownSize)]);
    world.get().expect_err("the third answer is permanent");
    assert_eq!(world.file(), None);
}

// S22
#[test]
fn a_part_longer_than_the_file_starts_over_without_a_ranged_request() {
    let file = content(1000);
    let world = after_400(&file, vec![Ok(reply(403, &[], vec![])), Ok(whole(&file))]);
    let id = world.accept();
    world.drive(id).expect_err("403 is permanent");
    // Somebody wrote to the part.
    grow(&world, &content(1001));
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("it starts over");
    assert_eq!(world.restarts(), [(RestartReason::PartOversize, 1001)]);
    assert_eq!(world.asked()[2], (None, None));
    world.assert_whole(&file);
}

/// Replaces the part's bytes.
fn grow(world: &World, bytes: &[u8]) {
    world
        .run(world.host.store.remove(PART))
        .expect("it is closed");
    world.host.store.put(PART, bytes);
}

// D06, D08
#[test]
fn a_part_shorter_than_what_was_durable_starts_over() {
    let file = content(1000);
    for left in [0, 399] {
        let world = after_400(&file, vec![Ok(reply(403, &[], vec![])), Ok(whole(&file))]);
        let id = world.accept();
        world.drive(id).expect_err("403 is permanent");
        grow(&world, &file[..left]);
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect("it starts over");
        assert_eq!(
            world.restarts(),
            [(RestartReason::PartChanged, left as u64)]
        );
        world.assert_whole(&file);
    }
}

// H02: one plain GET an attempt.
#[test]
fn a_second_misfit_in_an_attempt_is_permanent() {
    let file = content(1000);
    let misfit = || Ok(ranged("bytes 0-999/1000", "\"v1\"", b"EVIL"));
    let world = after_400(&file, vec![misfit(), misfit()]);
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::Protocol(_))));
    assert_eq!(world.part().unwrap_or_default(), b"");
    assert_eq!(world.row(id).status, Status::Failed);
}

#[test]
fn more_restarts_than_attempts_in_a_row_are_permanent_whatever_the_progress() {
    let config = DownloadsConfig {
        max_download_attempts: 3,
        progress_reset_bytes: 1,
        ..config()
    };
    // Every answer is another version, cut a little later than the one before.
    let mut version = 0;
    let world = World::answering(config, move |_| {
        version += 1;
        let mut next = without(whole(&bytes_of(version, 1000)), "etag");
        next.headers
            .push("etag", format!("\"v{version}\"").as_bytes());
        cut(next, 100 + 50 * version as usize)
    });
    let id = world.accept();
    let error = world.drive(id).expect_err("it never ends otherwise");
    assert!(matches!(
        error,
        Error::TooManyRestarts {
            restarts: 4,
            limit: 3
        }
    ));
    assert_eq!((world.row(id).restarts, world.asked().len()), (4, 5));
    // A user may have more patience.
    world.run(world.engine.retry(id)).expect("it failed");
    assert_eq!(
        (world.row(id).bounds.restarts, world.row(id).restarts),
        (0, 4)
    );
}

#[test]
fn a_restart_resets_what_is_recorded() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let misfit = Ok(ranged("bytes 0-999/1000", "\"v1\"", b"EVIL"));
    let world = after_400(
        &old,
        vec![misfit, Ok(reply(403, &[], vec![])), Ok(whole(&file))],
    );
    let id = world.accept();
    world.drive(id).expect_err("403 is permanent");
    let row = world.row(id);
    assert_eq!(
        (row.downloaded, row.durable, row.size, row.epoch),
        (0, 0, None, None)
    );
    assert_eq!(row.validators, Default::default());
    assert_eq!(
        (row.bounds.furthest, row.responses, row.restarts),
        (0, 0, 1)
    );
}
