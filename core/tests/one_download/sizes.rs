//! How long the file is, who says so, and what is refused before a byte is written.

use crate::world::*;
use regrip_core::hasher::Hasher;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Behaviour, DigestRow, KnownSize, NewDownload, RestartReason, SizeSource};
use regrip_core::testing::{FakeTransport, Piece, new_download};
use regrip_core::time::Clock;
use regrip_core::transport::RequestRules;
use regrip_core::{Algorithm, Change, DownloadsConfig, Error, ErrorCode, Status, Summary, What};

fn release(size: u64) -> NewDownload {
    NewDownload { release_size: Some(size), ..new_download(URL, FILE) }
}

fn get(world: &World, new: NewDownload) -> Result<Summary, Error> {
    world.run(async {
        let id = world.engine.accept(new).await?.id;
        world.engine.drive(id).await
    })
}

fn headers_told(world: &World) -> Vec<(Option<u64>, Option<SizeSource>, bool)> {
    let events = world.host.events();
    let told = events.into_iter().filter_map(|(_, what)| match what {
        What::Headers { expected_bytes, source, mismatch } => Some((expected_bytes, source, mismatch)),
        _ => None,
    });
    told.collect()
}

fn limit(max_download_bytes: u64) -> DownloadsConfig {
    DownloadsConfig { max_download_bytes, ..config() }
}

fn chunked(pieces: Vec<Piece>) -> Answer {
    Ok(reply(200, &[("transfer-encoding", "chunked"), V1], pieces))
}

// H27, S28
#[test]
fn too_large_a_file_is_refused_by_its_header_before_a_byte_is_written() {
    let world = World::scripted(limit(999), [Ok(whole(&content(1000)))]);
    let error = world.get().expect_err("the limit is 999");
    assert!(matches!(error, Error::TooLarge { bytes: 1000, limit: 999 }));
    assert_eq!(world.part().unwrap_or_default(), b"");
    world.assert_at_rest();
    let world = World::scripted(limit(1000), [Ok(whole(&content(1000)))]);
    world.get().expect("the limit itself is allowed");
}

// S28
#[test]
fn too_large_a_chunked_file_is_refused_by_count() {
    let file = content(1000);
    let pieces = file.chunks(400).map(bytes).collect();
    let world = World::scripted(limit(999), [chunked(pieces)]);
    let error = world.get().expect_err("the limit is 999");
    assert!(matches!(error, Error::TooLarge { bytes: 1000, limit: 999 }));
    assert_eq!((world.part().map(|part| part.len()), world.file()), (Some(800), None));
    world.assert_at_rest();
}

// H22, S26
#[test]
fn an_unknown_size_fails_before_a_byte_is_written() {
    let world = World::scripted(config(), [Ok(reply(200, &[V1], vec![bytes(b"film")]))]);
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::UnknownSize)));
    assert_eq!(world.part().unwrap_or_default(), b"");
    assert_eq!(world.row(id).epoch, None, "no version was begun");
    world.assert_at_rest();
}

#[test]
fn a_part_of_the_releases_size_is_the_file_without_a_request_only_if_a_given_digest_says_so() {
    let file = content(1000);
    let end = || Ok(reply(416, &[("content-range", "bytes */1000"), V1], vec![]));
    let asked = || DigestRow::asked(Algorithm::Md5);
    let right = || given(&sha256(&file));
    let wrong = || given(&sha256(b""));
    for (digests, requests) in [
        (vec![], 2),
        (vec![asked()], 2),
        (vec![right()], 1),
        (vec![asked(), right()], 1),
        (vec![right(), given(&Hasher::of(Algorithm::Sha1, &file))], 1),
        (vec![wrong()], 2),
        (vec![right(), given(&Hasher::of(Algorithm::Sha1, b""))], 2),
    ] {
        let all_but_its_end = chunked(vec![bytes(&file), Piece::Break(broken())]);
        let world = World::scripted(config(), [all_but_its_end, end()]);
        let new = NewDownload { digests: digests.clone(), ..release(1000) };
        let result = get(&world, new);
        assert_eq!(world.asked().len(), requests, "{digests:?}");
        if let Ok(summary) = result {
            let expected: Vec<_> = digests.iter().map(|row| Hasher::of(row.algorithm, &file)).collect();
            assert_eq!(summary.digests, expected);
            world.assert_whole(&file);
        }
    }
}

// H22
#[test]
fn an_unframed_body_is_taken_where_the_release_knows_the_size() {
    let answer = || Ok(reply(200, &[V1], vec![bytes(b"film")]));
    let world = World::scripted(config(), [answer()]);
    get(&world, release(4)).expect("four bytes came");
    assert_eq!(headers_told(&world), [(Some(4), Some(SizeSource::ReleaseSize), false)]);
    world.assert_whole(b"film");
    let world = World::scripted(config(), [answer(), Err(Error::UnknownSize)]);
    get(&world, release(5)).expect_err("one is missing");
    let end = world.host.ledger.timeline(1)[0].end.clone();
    let error = end.and_then(|end| end.error).expect("it failed");
    assert_eq!((error.code, &*error.text), (ErrorCode::Incomplete, "the response body ended after 4 of 5 bytes"));
    let world = World::scripted(config(), [answer(), Err(Error::UnknownSize)]);
    get(&world, release(3)).expect_err("nothing says that it ends there");
    let end = world.host.ledger.timeline(1)[0].end.clone();
    let text = end.and_then(|end| end.error).map(|error| error.text);
    assert_eq!(text.as_deref(), Some("the response body ended after 4 of an unknown number of bytes"));
}

// H21
#[test]
fn a_chunked_body_is_complete_by_its_last_chunk() {
    let file = content(1000);
    let world = World::scripted(config(), [chunked(file.chunks(300).map(bytes).collect())]);
    assert_eq!(world.get().expect("its last chunk came").bytes, 1000);
    world.assert_whole(&file);
    assert_eq!(headers_told(&world), [(None, None, false)]);
}

// H27: the transfer counts, whatever the release announced.
#[test]
fn a_chunked_body_is_complete_by_its_last_chunk_whatever_its_release_says() {
    let file = content(1000);
    for announced in [0, 1, 300, 999, 1001, 5000] {
        let slowly = |piece| [Piece::Wait(seconds(1)), bytes(piece)];
        let pieces = file.chunks(300).flat_map(slowly).collect();
        let world = World::scripted(limit(4000), [chunked(pieces)]);
        get(&world, release(announced)).expect("its last chunk came");
        world.assert_whole(&file);
        assert_eq!(
            headers_told(&world),
            [(Some(announced), Some(SizeSource::ReleaseSize), false), (Some(1000), None, true)]
        );
        let row = world.row(1);
        assert!(row.mismatch);
        assert_eq!((row.size, row.known_size()), (None, None));
        for (_, what) in world.host.events() {
            if let What::Progress { bytes, total, .. } = what {
                assert!(total.is_none_or(|total| total >= bytes), "{bytes} of {total:?}");
            }
        }
    }
}

// H25
#[test]
fn a_cut_chunked_body_is_kept_and_resumed() {
    let file = content(1000);
    let cut = vec![bytes(&file[..400]), Piece::Break(broken())];
    let world = World::scripted(config(), [chunked(cut), Ok(rest(&file, 400))]);
    world.get().expect("it resumes");
    world.assert_whole(&file);
    let size = KnownSize { bytes: 1000, source: SizeSource::ContentRange };
    assert_eq!(world.row(1).size, Some(size));
}

// H11: all of a chunked body was received but its last chunk.
#[test]
fn a_416_at_the_parts_end_completes_a_file_of_unknown_size() {
    let file = content(1000);
    let cut = vec![bytes(&file), Piece::Break(broken())];
    let end = reply(416, &[("content-range", "bytes */1000")], vec![bytes(b"nothing more")]);
    let world = World::scripted(config(), [chunked(cut), Ok(end)]);
    assert_eq!(world.get().expect("there is no more").attempts, 2);
    world.assert_whole(&file);
    // Also if its release is wrong.
    let end = reply(416, &[("content-range", "bytes */1000"), V1], vec![]);
    let world = World::scripted(config(), [chunked(vec![bytes(&file), Piece::Break(broken())]), Ok(end)]);
    get(&world, release(999)).expect("there is no more");
    world.assert_whole(&file);
    assert_eq!(headers_told(&world).last(), Some(&(Some(1000), Some(SizeSource::ContentRange), true)));
}

// The end of a range is no proof of the end of a file whose length it does not state.
#[test]
fn a_range_of_an_unknown_whole_does_not_complete_it() {
    let file = content(1000);
    let cut = vec![bytes(&file[..400]), Piece::Break(broken())];
    let some = reply(206, &[("content-range", "bytes 400-699/*"), V1], vec![bytes(&file[400..700])]);
    let world = World::scripted(config(), [chunked(cut), Ok(some), Ok(rest(&file, 700))]);
    assert_eq!(world.get().expect("the third knows the size").attempts, 3);
    world.assert_whole(&file);
}

// H24, H40
#[test]
fn a_body_longer_than_its_length_is_cut_there() {
    let file = content(1000);
    for pieces in [vec![content(1500)], vec![file.clone(), b"EVIL".to_vec()]] {
        let mut long = whole(&file);
        long.body = pieces.into_iter().map(Piece::Bytes).collect();
        long.body[0] = match &long.body[0] {
            Piece::Bytes(all) => bytes(&[&file, &all[1000..]].concat()),
            _ => unreachable!("the body begins with bytes"),
        };
        let world = World::scripted(config(), [Ok(long)]);
        assert_eq!(world.get().expect("its length came").bytes, 1000);
        world.assert_whole(&file);
    }
}

// H24
#[test]
fn a_range_longer_than_it_says_is_cut_there() {
    let file = content(1000);
    let long = reply(
        206,
        &[("content-range", "bytes 400-699/1000"), V1],
        vec![bytes(&file[400..600]), bytes(&[&file[600..700], b"EVIL".as_slice()].concat())],
    );
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(long), Ok(rest(&file, 700))]);
    world.get().expect("it resumes");
    world.assert_whole(&file);
}

// H27, S26, S38
#[test]
fn a_length_other_than_the_releases_is_recorded_and_counts() {
    let file = content(1000);
    for size in [1, 999, 1001, 5000] {
        let world = World::scripted(config(), [Ok(whole(&file))]);
        get(&world, release(size)).expect("the transfer counts");
        world.assert_whole(&file);
        assert_eq!(headers_told(&world), [(Some(1000), Some(SizeSource::ContentLength), true)]);
        let row = world.row(1);
        assert!(row.mismatch);
        assert_eq!(row.size.map(|size| size.source), Some(SizeSource::ContentLength));
    }
}

// H26
#[test]
fn absurd_lengths_are_permanent_and_nothing_is_written() {
    let absurd: [&[(&str, &str)]; 4] = [
        &[("content-length", "-1")],
        &[("content-length", "4"), ("content-length", "5")],
        &[("content-length", "4"), ("transfer-encoding", "chunked")],
        &[("content-length", "9223372036854775808")],
    ];
    for fields in absurd {
        let world = World::scripted(config(), [Ok(reply(200, fields, vec![bytes(b"film")]))]);
        let id = world.accept();
        assert!(matches!(world.drive(id), Err(Error::Protocol(_))), "{fields:?}");
        assert_eq!((world.part().unwrap_or_default(), world.row(id).status), (Vec::new(), Status::Failed));
    }
}

/// A world whose host is a cross-origin fetch.
fn fetching(answers: impl IntoIterator<Item = Answer>) -> World {
    fetching_by(config(), answers)
}

fn fetching_by(config: DownloadsConfig, answers: impl IntoIterator<Item = Answer>) -> World {
    let mut answers: Vec<Answer> = answers.into_iter().collect();
    answers.reverse();
    let mut world = World::scripted(config.clone(), []);
    let peer = move |_: &_| answers.pop().expect("no more requests than answers");
    let rules = RequestRules { if_range: false, range_always: true, decodes: true };
    world.host.transport = FakeTransport::new(world.clock.clone(), peer).with_rules(rules);
    World::on(world.host, config)
}

#[test]
fn on_fetch_every_request_has_a_range_and_none_an_if_range() {
    let file = content(100_000);
    let mut first = rest(&file, 0);
    first.body = vec![bytes(&file[..80_000]), Piece::Break(broken())];
    let world = fetching([Ok(first), Ok(rest(&file, 80_000 - 65_536))]);
    let summary = world.get().expect("it resumes");
    assert_eq!((summary.attempts, summary.restarts), (2, 0));
    world.assert_whole(&file);
    assert_eq!(world.asked(), [(Some(0), None), (Some(80_000 - 65_536), None)]);
}

#[test]
fn on_fetch_a_416_of_an_empty_file_is_the_file() {
    let empty = reply(416, &[("content-range", "bytes */0")], vec![bytes(b"<html>no</html>")]);
    let world = fetching([Ok(empty)]);
    assert_eq!(world.get().expect("it is empty").bytes, 0);
    world.assert_whole(b"");
    assert!(world.restarts().is_empty());
}

#[test]
fn on_fetch_a_first_range_that_ends_early_is_not_the_file() {
    let file = content(1000);
    let fields = [("content-range", "bytes 0-499/1000"), V1];
    let early = reply(206, &fields, vec![bytes(&file[..500]), bytes(b"EVIL")]);
    let world = fetching([Ok(early), Ok(rest(&file, 0))]);
    assert_eq!(world.get().expect("the rest comes").attempts, 2);
    world.assert_whole(&file);
    let starred = [("content-range", "bytes 0-499/*"), ("transfer-encoding", "chunked")];
    let world = fetching([Ok(reply(206, &starred, vec![bytes(&file[..500])]))]);
    assert!(matches!(world.get(), Err(Error::UnknownSize)));
}

/// The range of `file` from `first` up to `to`, under another ETag than the first.
fn range_of(file: &[u8], first: usize, to: usize) -> Answer {
    let range = format!("bytes {first}-{}/{}", to - 1, file.len());
    let fields = [("content-range", &*range), ("etag", "\"v2\"")];
    Ok(reply(206, &fields, vec![bytes(&file[first..to])]))
}

#[test]
fn on_fetch_a_whole_file_that_is_sent_in_capped_ranges_is_compared_and_gone_on_with() {
    let file = content(1000);
    let config = DownloadsConfig { resume_overlap_bytes: 50, progress_reset_bytes: 1, ..config() };
    let answers = [
        cut(rest(&file, 0), 600),
        range_of(&file, 550, 850), // of another version, as its ETag says: the whole is asked for
        range_of(&file, 0, 300),
        range_of(&file, 250, 550),
        range_of(&file, 500, 800),
        range_of(&file, 750, 1000),
    ];
    let world = fetching_by(config, answers);
    world.get().expect("each range goes on");
    assert_eq!(world.restarts(), [(RestartReason::ValidatorChanged, 300)], "only what the first range does not have");
    world.assert_whole(&file);
}

#[test]
fn on_fetch_a_416_is_followed_by_a_range_from_the_start_if_the_whole_does_not_count() {
    let (old, file) = (content(1000), bytes_of(2, 300));
    let unsatisfied = || Ok(reply(416, &[("content-range", "bytes */300")], vec![]));
    let whole = || Ok(whole(&file));
    let small = || range_of(&file, 0, 300);
    let mut of_unknown_size = rest(&old, 0);
    of_unknown_size.headers = [("content-range", "bytes 0-999/*"), V1].into_iter().collect();
    // A smaller file is believed the second time.
    let of_known_size = [unsatisfied(), whole(), small(), unsatisfied(), whole(), small()];
    let first = cut(rest(&old, 0), 400);
    let world = fetching(std::iter::once(first).chain(of_known_size));
    world.get().expect("the range has a total");
    assert_eq!(world.asked()[1..4], [(Some(0), None), (None, None), (Some(0), None)]);
    world.assert_whole(&file);
}

#[test]
fn on_fetch_a_refused_range_is_asked_for_again_once_the_whole_has_another_length() {
    let (old, file) = (content(1000), bytes_of(2, 1200));
    let refused = || Ok(reply(403, &[], vec![]));
    let answers = [
        cut(rest(&old, 0), 400),
        refused(),
        cut(whole(&old), 600),
        Ok(whole(&file)), // which may be a coding of the file
        range_of(&file, 0, 1200),
        range_of(&file, 0, 1200),
    ];
    let world = fetching(answers);
    let id = world.accept();
    let error = world.drive(id).expect_err("its length is another one");
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert!(!world.row(id).behaviour.refuses_ranges);
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("ranges are served again");
    world.assert_whole(&file);
}

#[test]
fn on_fetch_an_empty_part_is_requested_by_a_range_although_ranges_were_refused() {
    let file = content(1000);
    let world = fetching([Ok(rest(&file, 0))]);
    let id = world.accept();
    let learned = Change::Learned(Behaviour { refuses_ranges: true, ..Behaviour::default() });
    world.run(world.host.ledger.record(id, &learned, world.clock.wall())).expect("it is a fact");
    let world = World::on(world.host, config());
    world.drive(id).expect("it is served");
    assert_eq!(world.asked(), [(Some(0), None)]);
    world.assert_whole(&file);
}

#[test]
fn a_coded_body_is_the_file_if_a_digest_or_the_releases_size_says_so() {
    let file = content(1000);
    let coded = || {
        let mut coded = whole(&file);
        coded.headers.push("content-encoding", b"gzip");
        Ok(coded)
    };
    let digest = NewDownload { digests: vec![given(&sha256(&file))], ..new_download(URL, FILE) };
    for (new, expected) in
        [(digest, true), (release(1000), true), (release(999), false), (new_download(URL, FILE), false)]
    {
        let world = World::scripted(config(), [coded()]);
        let result = get(&world, new);
        assert_eq!(result.is_ok(), expected);
        assert_eq!(matches!(result, Err(Error::Coded(_))), !expected);
    }
}
