//! Starting over: why, what it discards, and how often at most.

use crate::world::*;
use regrip_core::record::RestartReason;
use regrip_core::store::PartStore;
use regrip_core::testing::{Piece, Reply};
use regrip_core::{Change, DownloadsConfig, Error, Status, What};

/// A part of 400 bytes of `old`, and then these answers.
fn after_400(old: &[u8], answers: Vec<Answer>) -> World {
    let first = cut(whole(old), 400);
    World::scripted(config(), std::iter::once(first).chain(answers))
}

fn ranged(range: &str, etag: &str, body: &[u8]) -> Reply {
    reply(206, &[("content-range", range), ("etag", etag)], vec![bytes(body)])
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
    multipart.headers.push("content-type", b"multipart/byteranges; boundary=x");
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
        ("H10", reply(200, &[("content-range", "bytes 400-999/1000"), V1], vec![bytes(evil)]), range),
        ("H15", ranged("bytes 400-999/1000", "\"v2\"", evil), changed),
        ("H18", without(ranged("bytes 400-999/1000", v1, evil), "etag"), changed),
        ("H12", reply(416, &[("content-range", "bytes */300")], vec![bytes(evil)]), unsatisfiable),
        ("H12", reply(416, &[("content-range", "bytes */400")], vec![bytes(evil)]), unsatisfiable),
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
        assert_eq!(world.host.ledger.timeline(id)[1].restart, Some((reason, 400)));
        let at: Vec<_> = world.host.transport.requests().iter().map(|asked| asked.at).collect();
        assert_eq!(at[1], at[2], "{case}: at once");
    }
}

// H09, H15
#[test]
fn a_200_to_a_ranged_request_is_the_file_from_its_start() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = after_400(&old, vec![Ok(newer(&file))]);
    let summary = world.get().expect("it is used at once");
    assert_eq!((summary.attempts, summary.restarts), (2, 1));
    assert_eq!(world.restarts(), [(RestartReason::ValidatorChanged, 400)]);
    assert_eq!(world.asked().len(), 2, "no third request");
    world.assert_whole(&file);
    // Without an If-Range, it only ignored the range.
    let plain = |file: &[u8]| without(whole(file), "etag");
    let world = World::scripted(config(), [cut(plain(&old), 400), Ok(plain(&file))]);
    world.get().expect("it is used at once");
    assert_eq!(world.restarts(), [(RestartReason::RangeIgnored, 400)]);
    world.assert_whole(&file);
}

/// The whole file under a newer ETag.
fn newer(file: &[u8]) -> Reply {
    let length = file.len().to_string();
    let fields = [("content-length", &*length), ("etag", "\"v2\"")];
    reply(200, &fields, file.chunks(150).map(bytes).collect())
}

#[test]
fn a_full_response_keeps_the_bytes_it_agrees_with() {
    let file = content(1000);
    let mut old = file.clone();
    old[320..].fill(0);
    for (held, kept, restarts) in [(&file, 400, vec![]), (&old, 300, vec![100])] {
        let world = after_400(held, vec![Ok(newer(&file))]);
        let id = world.accept();
        let summary = world.drive(id).expect("it is compared");
        let discarded: Vec<u64> = world.restarts().iter().map(|restart| restart.1).collect();
        assert_eq!((summary.attempts, discarded), (2, restarts));
        world.assert_whole(&file);
        let taken = world.host.ledger.changes().into_iter().rev().find_map(|(_, change)| match change {
            Change::Fresh { kept, .. } => Some(kept),
            _ => None,
        });
        assert_eq!(taken, Some(kept), "from the start of the chunk that differs");
    }
}

#[test]
fn the_first_difference_is_found_within_a_large_chunk() {
    let file = content(300_000);
    let mut old = file.clone();
    old[200_000..].fill(0);
    let mut full = newer(&file);
    full.body = vec![bytes(&file)];
    let world = World::scripted(config(), [cut(whole(&old), 280_000), Ok(full)]);
    world.get().expect("it is compared");
    let kept = 3 * 65_536;
    assert_eq!(world.restarts(), [(RestartReason::ValidatorChanged, 280_000 - kept)]);
    world.assert_whole(&file);
}

#[test]
fn a_comparison_that_breaks_or_ends_early_leaves_part_and_row_as_they_were() {
    let file = content(1000);
    let mut short = newer(&file);
    short.body.truncate(2);
    for interrupted in [cut(newer(&file), 399), Ok(short)] {
        let world = after_400(&file, vec![interrupted, Err(Error::Lost)]);
        let id = world.accept();
        world.drive(id).expect_err("the last answer is permanent");
        let row = world.row(id);
        assert_eq!((row.downloaded, row.durable, row.restarts), (400, 400, 0));
        assert_eq!(row.validators.etag.as_deref(), Some("\"v1\""));
        assert_eq!(world.part().as_deref(), Some(&file[..400]));
    }
}

#[test]
fn a_source_that_ignores_if_range_is_asked_without_it_from_then_on() {
    let file = content(1000);
    let without_if_range = || cut(rest(&file, 400), 100);
    let world = after_400(&file, vec![Ok(whole(&file)), without_if_range(), Ok(rest(&file, 500))]);
    let summary = world.get().expect("the ETag vouches for the bytes");
    assert_eq!((summary.attempts, summary.restarts), (3, 0));
    let if_range = Some("\"v1\"".to_owned());
    let asked = [(None, None), (Some(400), if_range), (Some(400), None), (Some(500), None)];
    assert_eq!(world.asked(), asked);
    world.assert_whole(&file);
}

#[test]
fn a_source_that_refuses_ranges_is_compared_until_a_plain_get_breaks() {
    let file = content(1000);
    for status in [400, 403, 405, 501, 416] {
        let refuses = || Ok(reply(status, &[], vec![]));
        let world = after_400(
            &file,
            vec![refuses(), cut(whole(&file), 600), cut(whole(&file), 100), refuses(), Ok(whole(&file))],
        );
        let summary = world.get().expect("the plain GET serves it");
        assert_eq!((summary.attempts, summary.restarts), (4, 0), "{status}");
        let ranged: Vec<Option<u64>> = world.asked().into_iter().map(|(first, _)| first).collect();
        assert_eq!(ranged, [None, Some(400), None, None, Some(600), None], "{status}");
        world.assert_whole(&file);
        // If the plain GET fails too, its error counts and nothing is lost.
        let world = after_400(&file, vec![refuses(), Ok(reply(404, &[], vec![]))]);
        let error = world.get().expect_err("404 is permanent");
        assert!(matches!(error, Error::Status { status: 404, .. }), "{status}");
        assert_eq!(world.part().as_deref(), Some(&file[..400]), "{status}");
    }
}

#[test]
fn a_page_in_place_of_the_file_is_refused_and_the_part_is_kept() {
    let file = content(1000);
    let page = |length: usize| {
        let bytes_in_it = length.to_string();
        let fields = [("content-length", &*bytes_in_it), ("content-type", "text/html; charset=x")];
        Ok(reply(200, &fields, vec![bytes(&bytes_of(9, length))]))
    };
    for length in [20, 5000] {
        let mut first = whole(&file);
        first.headers.push("content-type", b"video/x-matroska");
        let world = World::scripted(config(), [cut(first, 400), page(length), Ok(rest(&file, 400))]);
        let id = world.accept();
        let error = world.drive(id).expect_err("it is a page");
        assert!(matches!(error, Error::UnexpectedPage { .. }), "{error}");
        assert_eq!(world.part().as_deref(), Some(&file[..400]));
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect("it goes on from the part");
        world.assert_whole(&file);
    }
}

#[test]
fn a_file_takes_the_place_of_a_page_that_is_longer() {
    let (page, file) = (bytes_of(9, 1000), content(300));
    let typed = |mut reply: Reply, content_type: &str| {
        reply.headers.push("content-type", content_type.as_bytes());
        without(reply, "etag")
    };
    for page_type in ["text/html", "application/json"] {
        let first = cut(typed(whole(&page), page_type), 400);
        let served = || Ok(typed(whole(&file), "video/x-matroska"));
        let world = World::scripted(config(), [first, served(), served()]);
        world.get().expect("the page was never the file");
        world.assert_whole(&file);
    }
}

#[test]
fn a_first_response_that_is_a_page_is_warned_about() {
    let file = content(1000);
    let mut first = whole(&file);
    first.headers.push("content-type", b"text/html");
    let summary = World::scripted(config(), [Ok(first)]).get().expect("it is taken");
    let warning = summary.warning.unwrap_or_default();
    assert!(warning.contains("text/html"), "{warning:?}");
}

#[test]
fn a_smaller_file_is_believed_the_second_time() {
    let (old, file) = (content(1000), bytes_of(3, 300));
    let chunked = || {
        let fields = [("transfer-encoding", "chunked"), ("etag", "\"v2\"")];
        // As far as the old one goes, so that only the end differs.
        Ok(reply(200, &fields, vec![bytes(&old[..300])]))
    };
    // A length is stated, and the connection is closed at the end: to a range it fits nothing, to a plain GET it is the file.
    let closed = || {
        let fields = [("content-range", "bytes 0-299/300"), ("etag", "\"v2\"")];
        Ok(reply(200, &fields, vec![bytes(&old[..300])]))
    };
    let measured = || Ok(Reply { body: vec![bytes(&file)], ..newer(&file) });
    let other = Ok(newer(&bytes_of(4, 299)));
    let (newer, misfit) = (RestartReason::ValidatorChanged, RestartReason::ContentRangeMismatch);
    let rows: [(Vec<Answer>, u32, &[u8], _); 4] = [
        (vec![measured(), measured()], 3, &file, (newer, 400)),
        (vec![measured(), other, measured(), measured()], 5, &file, (newer, 400)),
        (vec![chunked(), chunked()], 3, &old[..300], (newer, 100)),
        (vec![closed(), closed(), closed(), closed()], 3, &old[..300], (misfit, 100)),
    ];
    for (answers, attempts, file, restart) in rows {
        let world = after_400(&old, answers);
        let summary = world.get().expect("it is that small");
        assert_eq!(summary.attempts, attempts);
        assert_eq!(world.restarts(), [restart]);
        let is_end = |(_, what): &(_, What)| matches!(what, What::Progress { bytes: 300, .. });
        let ends = world.host.events().iter().filter(|event| is_end(event)).count();
        assert_eq!(ends, usize::from(restart.1 == 400), "progress to the end, once if bytes were written");
        world.assert_whole(file);
    }
}

#[test]
fn an_overlap_of_one_repeated_byte_proves_nothing() {
    let mut file = content(300_000);
    file[100_000..200_000].fill(0);
    let plain = |status, fields: &[(&str, &str)], from: usize| {
        Ok(reply(status, fields, file[from..].chunks(1000).map(bytes).collect()))
    };
    let first = || cut(without(whole(&file), "etag"), 190_000);
    let range = "bytes 0-299999/300000";
    let world = World::scripted(config(), [first(), plain(206, &[("content-range", range)], 0)]);
    world.get().expect("it is compared from further back");
    assert_eq!(world.asked()[1].0, Some(0), "four times as far as 65536 bytes");
    world.assert_whole(&file);
    // If the whole part is one repeated byte, only the whole file proves anything.
    let zeros = vec![0; 300_000];
    let world =
        World::scripted(config(), [cut(without(whole(&zeros), "etag"), 190_000), Ok(without(whole(&zeros), "etag"))]);
    world.get().expect("it is compared");
    assert_eq!(world.asked()[1], (None, None), "a plain GET");
    assert_eq!(world.restarts(), []);
    world.assert_whole(&zeros);
}

// H09: old bytes are gone before new ones come, so that a cut leaves no mixture.
#[test]
fn a_200_to_a_ranged_request_truncates_before_it_writes() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = after_400(&old, vec![cut(newer(&file), 100), Err(Error::UnknownSize)]);
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
        let tail = reply(206, &[("content-range", "bytes 0-999/1000")], file.chunks(150).map(bytes).collect());
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
    let tail = || reply(206, &[("content-range", "bytes 0-999/1000")], file.chunks(150).map(bytes).collect());
    let mut cut_short = tail();
    cut_short.body.truncate(2);
    cut_short.body.push(Piece::Break(broken()));
    let world = World::scripted(config(), [cut(plain(), 400), Ok(cut_short), Ok(tail())]);
    let summary = world.get().expect("the third compares to the end");
    assert_eq!((summary.attempts, summary.restarts), (3, 0));
    let to = world.host.ledger.timeline(1)[1].end.as_ref().map(|end| end.to);
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
    let some = reply(206, &[("content-range", "bytes 0-99/400")], vec![bytes(&file[..100])]);
    let world = World::scripted(config(), [Ok(first), Ok(some), Err(Error::UnknownSize)]);
    world.get().expect_err("the third answer is permanent");
    assert_eq!(world.file(), None);
}

// S22
#[test]
fn a_part_longer_than_the_file_starts_over_without_a_ranged_request() {
    let file = content(1000);
    let world = after_400(&file, vec![Ok(reply(404, &[], vec![])), Ok(whole(&file))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
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
    world.run(world.host.store.remove(PART)).expect("it is closed");
    world.host.store.put(PART, bytes);
}

// D06, D08
#[test]
fn a_part_shorter_than_what_was_durable_starts_over() {
    let file = content(1000);
    for left in [0, 399] {
        let world = after_400(&file, vec![Ok(reply(404, &[], vec![])), Ok(whole(&file))]);
        let id = world.accept();
        world.drive(id).expect_err("404 is permanent");
        grow(&world, &file[..left]);
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect("it starts over");
        assert_eq!(world.restarts(), [(RestartReason::PartChanged, left as u64)]);
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
    assert_eq!(world.part().as_deref(), Some(&file[..400]), "nothing is lost");
    assert_eq!(world.row(id).status, Status::Failed);
}

#[test]
fn more_restarts_than_attempts_in_a_row_are_permanent_whatever_the_progress() {
    let config = DownloadsConfig { max_download_attempts: 3, progress_reset_bytes: 1, ..config() };
    // Every answer is another version, cut a little later than the one before.
    let mut version = 0;
    let world = World::answering(config, move |_| {
        version += 1;
        let mut next = without(whole(&bytes_of(version, 1000)), "etag");
        next.headers.push("etag", format!("\"v{version}\"").as_bytes());
        cut(next, 100 + 50 * version as usize)
    });
    let id = world.accept();
    let error = world.drive(id).expect_err("it never ends otherwise");
    assert!(matches!(error, Error::TooManyRestarts { restarts: 4, limit: 3 }));
    assert_eq!((world.row(id).restarts, world.asked().len()), (4, 5));
    // A user may have more patience.
    world.run(world.engine.retry(id)).expect("it failed");
    assert_eq!((world.row(id).bounds.restarts, world.row(id).restarts), (0, 4));
}

#[test]
fn a_misfit_changes_nothing_until_the_whole_file_is_there_to_be_compared() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let misfit = Ok(ranged("bytes 0-999/1000", "\"v1\"", b"EVIL"));
    let world = after_400(&old, vec![misfit, Ok(reply(404, &[], vec![])), Ok(whole(&file))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    let row = world.row(id);
    assert_eq!((row.downloaded, row.durable, row.restarts), (400, 400, 0));
    assert_eq!(row.validators.etag.as_deref(), Some("\"v1\""));
    assert_eq!(world.part().as_deref(), Some(&old[..400]));
    world.run(world.engine.retry(id)).expect("it failed");
}

#[test]
fn a_comparison_of_one_repeated_byte_is_made_four_times_as_long() {
    let mut file = content(400_000);
    file[200_000..300_000].fill(0);
    let first = 300_000 - 4 * 65_536;
    let served = without(rest(&file, first), "etag");
    let world = World::scripted(config(), [cut(without(whole(&file), "etag"), 300_000), Ok(served)]);
    world.get().expect("it goes on");
    assert_eq!(world.asked()[1], (Some(first as u64), None));
    world.assert_whole(&file);
}
