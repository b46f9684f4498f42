//! How a download goes when nothing is odd about it, and what it says meanwhile.

use crate::world::*;
use regrip_core::event::Summary;
use regrip_core::record::{NewDownload, Outcome, SizeSource};
use regrip_core::retry::AskedBy;
use regrip_core::testing::{FakeHost, Piece, Served, new_download};
use regrip_core::{Algorithm, Class, DownloadsConfig, Error, ErrorCode, Status, What};
use std::time::Duration;

// S6, S18
#[test]
fn a_file_comes_in_one_go() {
    let file = content(300_000);
    let config = DownloadsConfig { digest: Some(Algorithm::Sha256), ..config() };
    let world = World::scripted(config, [Ok(whole(&file))]);
    let id = world.accept();
    let summary = world.drive(id).expect("it is served");
    let sha256 = sha256(&file);
    let expected = Summary { bytes: 300_000, attempts: 1, digests: vec![sha256.clone()], ..Summary::default() };
    assert_eq!(summary, expected);
    assert_eq!(summary.hex(Algorithm::Sha256), Some(&*sha256.hex));
    assert_eq!(summary.hex(Algorithm::Md5), None);
    world.assert_whole(&file);
    let row = world.row(id);
    assert_eq!((row.status, row.attempts, row.checksums()), (Status::Completed, 1, vec![sha256]));
    assert_eq!(world.asked(), [(None, None)]);
    let whats: Vec<What> = world.host.events().into_iter().map(|(_, what)| what).collect();
    let expected = [
        What::Queued,
        What::Started { attempt: 1, from: 0 },
        What::Headers { expected_bytes: Some(300_000), source: Some(SizeSource::ContentLength), mismatch: false },
        What::Progress { bytes: 300_000, total: Some(300_000), bytes_per_sec: None, eta_secs: Some(0) },
        What::Completed(summary),
    ];
    assert_eq!(whats, expected);
}

#[test]
fn progress_has_the_speed_of_the_last_seconds_and_the_time_left() {
    let file = content(120_000);
    let mut reply = whole(&file);
    // 1 kB/s, then ten times as fast.
    let pieces = file[..20_000].chunks(1000).chain(file[20_000..].chunks(10_000));
    reply.body = pieces.flat_map(|piece| [Piece::Wait(seconds(1)), bytes(piece)]).collect();
    let world = World::scripted(config(), [Ok(reply)]);
    world.get().expect("it is whole");
    let progress: Vec<_> = (world.host.events().into_iter())
        .filter_map(|(_, what)| match what {
            What::Progress { bytes, bytes_per_sec, eta_secs, .. } => Some((bytes, bytes_per_sec, eta_secs)),
            _ => None,
        })
        .collect();
    let at = |offset| progress.iter().find(|(bytes, ..)| *bytes == offset).copied();
    assert_eq!(at(1000), Some((1000, Some(1000), Some(119))));
    assert_eq!(at(20_000), Some((20_000, Some(1000), Some(100))));
    // About a sixth of the way to the new speed, each second.
    assert_eq!(at(30_000), Some((30_000, Some(2534), Some(36))));
    assert_eq!(at(40_000), Some((40_000, Some(3801), Some(22))));
    assert_eq!(at(120_000).map(|(.., eta)| eta), Some(Some(0)));
}

#[test]
fn an_empty_file_is_a_file() {
    let world = World::scripted(config(), [Ok(whole(&[]))]);
    assert_eq!(world.get().expect("it is served").bytes, 0);
    world.assert_whole(&[]);
}

// H23, S8, S19
#[test]
fn a_cut_body_is_kept_and_the_rest_asked_for() {
    let file = content(300_000);
    let world = World::scripted(config(), [cut(whole(&file), 100_000), Ok(rest(&file, 100_000))]);
    let id = world.accept();
    let summary = world.drive(id).expect("it resumes");
    assert_eq!((summary.attempts, summary.restarts), (2, 0));
    world.assert_whole(&file);
    let etag = Some("\"v1\"".to_owned());
    assert_eq!(world.asked(), [(None, None), (Some(100_000), etag)]);
    let story = ["queued", "started", "headers", "retrying", "started", "headers", "completed"];
    assert_eq!(world.host.story(id), story);
    let lines = world.host.ledger.timeline(id);
    let spans: Vec<_> =
        lines.iter().map(|line| (line.begin.from, line.end.as_ref().map(|end| (end.to, end.outcome)))).collect();
    let expected = [(0, Some((100_000, Outcome::Failed))), (100_000, Some((300_000, Outcome::Completed)))];
    assert_eq!(spans, expected);
    let end = lines[0].end.as_ref().expect("it ended");
    let failure = end.error.as_ref().expect("it failed");
    assert_eq!(failure.class, Class::Transient);
    assert_eq!(failure.code, ErrorCode::Network);
    assert!(end.wait.is_some_and(|(_, asked_by)| asked_by == AskedBy::Jitter));
}

// H23
#[test]
fn a_body_that_ends_early_without_an_error_is_incomplete() {
    let file = content(1000);
    let mut short = whole(&file);
    short.body = vec![bytes(&file[..400])];
    let world = World::scripted(config(), [Ok(short), Ok(rest(&file, 400))]);
    world.get().expect("it resumes");
    world.assert_whole(&file);
    assert!(
        world.host.ledger.timeline(1)[0]
            .end
            .as_ref()
            .is_some_and(|end| { end.error.as_ref().is_some_and(|error| error.code == ErrorCode::Incomplete) })
    );
}

// H04
#[test]
fn an_honest_shorter_range_is_taken_and_the_next_one_asked_for() {
    let file = content(1000);
    let piece = reply(206, &[("content-range", "bytes 400-699/1000"), V1], vec![bytes(&file[400..700])]);
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(piece), Ok(rest(&file, 700))]);
    assert_eq!(world.get().expect("it resumes").attempts, 3);
    world.assert_whole(&file);
}

// H16: without a validator the part's own tail vouches for it.
#[test]
fn a_source_without_a_validator_is_resumed_after_a_comparison() {
    let file = content(300_000);
    let host = FakeHost::serving(Served::new(file.clone()).cut_after(100_000));
    let world = World::on(host, config());
    let summary = world.get().expect("it resumes");
    assert_eq!((summary.attempts, summary.restarts), (2, 0));
    world.assert_whole(&file);
    assert_eq!(world.asked(), [(None, None), (Some(100_000 - 65_536), None)]);
}

// H28, S3, S10
#[test]
fn a_503_with_a_retry_after_waits_exactly_so_long() {
    let file = content(1000);
    let busy = || Ok(reply(503, &[("retry-after", "7")], vec![bytes(b"busy")]));
    let world = World::scripted(config(), [busy(), Ok(whole(&file))]);
    world.get().expect("the second answer is the file");
    assert_eq!(world.delays(), [seconds(7)]);
    let at: Vec<Duration> = world.host.transport.requests().iter().map(|asked| asked.at).collect();
    assert_eq!(at, [seconds(0), seconds(7)]);
    assert!(world.host.events().iter().any(|(_, what)| matches!(
        what,
        What::Retrying { attempt: 1, asked_by: AskedBy::RetryAfter, class: Class::Transient, .. }
    )));
    world.assert_whole(&file);
}

// T03
#[test]
fn a_retry_after_beyond_the_longest_delay_is_capped() {
    let busy = || Ok(reply(429, &[("retry-after", "99999999999999999999")], vec![]));
    let world = World::scripted(config(), [busy(), Ok(whole(b"film"))]);
    world.get().expect("the second answer is the file");
    assert_eq!(world.delays(), [seconds(60)]);
}

// H30, S9
#[test]
fn a_404_is_asked_once_and_leaves_nothing_behind() {
    for status in [400, 401, 403, 404, 408, 410, 416, 425, 451] {
        let world = World::scripted(config(), [Ok(reply(status, &[], vec![bytes(b"no such thing")]))]);
        let id = world.accept();
        let error = world.drive(id).expect_err("it is not there");
        assert!(matches!(error, Error::Status { status: got, .. } if got == status));
        assert_eq!(world.row(id).status, Status::Failed);
        assert_eq!(world.part().unwrap_or_default(), b"", "an error page is no part of a file");
        assert_eq!(world.host.story(id), ["queued", "started", "failed"]);
        world.assert_at_rest();
    }
}

// H28
#[test]
fn a_listed_status_is_worth_another_attempt() {
    let config = DownloadsConfig { extra_retry_statuses: vec![408, 425], ..config() };
    let early = Ok(reply(425, &[], vec![]));
    let world = World::scripted(config, [early, Ok(reply(408, &[], vec![])), Ok(whole(b"film"))]);
    assert_eq!(world.get().expect("the third answer is the file").attempts, 3);
}

// S24
#[test]
fn a_permanent_failure_of_a_resume_leaves_the_part_as_it_was() {
    let file = content(1000);
    let world = World::scripted(
        config(),
        [
            cut(whole(&file), 400),
            Ok(reply(404, &[("content-length", "9")], vec![bytes(b"forbidden")])),
            Ok(rest(&file, 400)),
        ],
    );
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    assert_eq!((world.row(id).durable, world.file()), (400, None));
    world.assert_at_rest();
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("it resumes");
    world.assert_whole(&file);
}

// H20, X08
#[test]
fn a_coded_body_is_refused_and_the_part_kept() {
    let file = content(1000);
    let mut coded = rest(&file, 400);
    coded.headers.push("content-encoding", b"gzip");
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(coded)]);
    let error = world.get().expect_err("coded bytes are not the file's");
    assert!(matches!(error, Error::Coded(_)));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    assert!(world.restarts().is_empty());
}

#[test]
fn attempts_end_at_the_cap_with_the_last_error_itself() {
    let config = DownloadsConfig { max_download_attempts: 3, ..config() };
    let world = World::answering(config, |_| Err(broken()));
    let id = world.accept();
    let error = world.drive(id).expect_err("the peer is dead");
    assert!(matches!(&error, Error::Network { what, .. } if what == "reading"));
    assert_eq!((world.asked().len(), world.row(id).attempts), (3, 3));
    let row = world.row(id);
    assert_eq!(row.failure.map(|failure| failure.code), Some(ErrorCode::Network));
    let Some((_, What::Failed(summary))) = world.host.events().pop() else {
        panic!("the last event is the failure");
    };
    assert_eq!((summary.attempts, summary.class, summary.code), (3, Some(Class::Transient), Some(ErrorCode::Network)));
    world.assert_at_rest();
}

#[test]
fn progress_makes_the_attempts_in_a_row_count_anew() {
    let file = content(100_000);
    let config = DownloadsConfig { max_download_attempts: 2, progress_reset_bytes: 9_000, ..config() };
    let served = (0..9).fold(Served::new(file.clone()).etag("\"v1\""), |served, _| served.cut_after(10_000));
    let world = World::on(FakeHost::serving(served), config);
    assert_eq!(world.get().expect("each attempt makes progress").attempts, 10);
    world.assert_whole(&file);
}

// The overlap that is compared again and again is received, but not new.
#[test]
fn less_than_a_sixteenth_of_what_is_received_is_no_progress() {
    let file = content(50_000);
    let config = DownloadsConfig {
        max_download_attempts: 2,
        progress_reset_bytes: 1000,
        resume_overlap_bytes: 20_000,
        ..config()
    };
    let world = World::answering(config, move |asked| {
        let from = asked.first.unwrap_or(0) as usize;
        let answer = if from > 0 { rest(&file, from) } else { whole(&file) };
        cut(without(answer, "etag"), 21_000)
    });
    let id = world.accept();
    world.drive(id).expect_err("1000 of 21,000 are new");
    assert_eq!(world.part().map(|part| part.len()), Some(23_000));
    assert_eq!(world.row(id).attempts, 3);
}

#[test]
fn bytes_that_were_there_before_an_attempt_are_no_progress_of_it() {
    let file = content(300_000);
    let config = DownloadsConfig { max_download_attempts: 2, ..config() };
    let world = World::answering(config, |_| Err(broken()));
    world.host.store.put(PART, &file[..200_000]);
    let new = NewDownload { adopt: true, ..new_download(URL, FILE) };
    let id = world.run(world.engine.accept(new)).expect("a row").id;
    world.drive(id).expect_err("nobody answers");
    let row = world.row(id);
    assert_eq!((row.attempts, row.bounds.furthest), (2, 200_000));
}

#[test]
fn a_finished_download_is_driven_no_further() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    let id = world.accept();
    let first = world.drive(id).expect("it is served");
    assert_eq!(world.drive(id).expect("it is there").bytes, first.bytes);
    assert_eq!(world.asked().len(), 1);
    assert!(matches!(world.drive(99), Err(Error::NoSuchDownload(99))));
}

// X10
#[test]
fn a_url_is_shown_without_its_secrets() {
    for (url, shown) in [
        ("http://me:secret@peer.example/film?key=secret#secret", "http://peer.example/film"),
        ("http://peer.example?key=secret", "http://peer.example"),
        ("http://peer.example/a@b/c", "http://peer.example/a@b/c"),
        ("http://me@x:secret@peer.example:80/", "http://peer.example:80/"),
        ("http://[::1]:80/film", "http://[::1]:80/film"),
        ("http://[::1]/film", "http://[::1]/film"),
        ("http://bücher.example/film", "http://bücher.example/film"),
        ("http://b\u{202e}.example/a", "a string of 19 characters"),
        ("http://b\u{85}.example/a", "a string of 19 characters"),
        ("HTTPS://peer.example/film", "HTTPS://peer.example/film"),
        ("ftp://me:secret@peer.example/film", "ftp://peer.example/film"),
        ("not an address", "a string of 14 characters"),
        ("me:secret@peer.example", "a string of 22 characters"),
        ("//me:secret@peer.example", "a string of 24 characters"),
        ("http:me:secret@peer.example", "a string of 27 characters"),
        ("http:/me:secret@peer.example", "a string of 28 characters"),
        ("http://me:sec/ret@peer.example", "a string of 30 characters"),
        ("http://me:secret\\@peer.example", "http://peer.example"),
        ("http://me:12\\secret@x\\y", "a string of 23 characters"),
        ("secret://peer.example", "a string of 21 characters"),
        ("http://peer.example/a\u{1b}[2Jb\u{202e}c", "http://peer.example/a?[2Jb?c"),
        ("", "an empty string"),
    ] {
        assert_eq!(regrip_core::display_url(url), shown);
    }
}
