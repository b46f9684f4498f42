//! Pieces from several sources, under a digest of the whole file.

use super::{CONTENT, OTHER, SIZE, config, honest, ranges, whole_file};
use crate::world::{World, broken, given, reply, seconds, sha256};
use regrip_core::hasher::Hasher;
use regrip_core::record::{DigestRow, DigestSource, NewDownload, RestartReason};
use regrip_core::testing::{Asked, FakeHost, Piece, Reply, new_download};
use regrip_core::{Algorithm, Change, DownloadId, DownloadsConfig, Engine, Error, Status};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FIRST: &str = "http://first.example/film.mkv";
const SECOND: &str = "http://second.example/film.mkv";
const THIRD: &str = "http://third.example/film.mkv";
const FILE: &str = "/films/film.mkv";

fn new(digests: Vec<DigestRow>) -> NewDownload {
    NewDownload { mirrors: vec![SECOND.to_owned(), THIRD.to_owned()], digests, ..new_download(FIRST, FILE) }
}

fn proven() -> Vec<DigestRow> {
    vec![given(&sha256(&CONTENT))]
}

/// A world in which each request is answered by `answer`, if that has one, else honestly, each source with its own ETag.
fn world(config: DownloadsConfig, answer: impl Fn(&Asked) -> Option<Result<Reply, Error>> + Send + 'static) -> World {
    World::answering(config, move |asked| {
        let etag = format!("\"{}\"", asked.url.len());
        answer(asked).unwrap_or_else(|| Ok(honest(&CONTENT, &etag, asked)))
    })
}

fn accept(world: &World, new: NewDownload) -> DownloadId {
    world.run(world.engine.accept(new)).unwrap().id
}

fn asked_of(world: &World, url: &str) -> usize {
    world.host.transport.requests().iter().filter(|asked| asked.url == url).count()
}

#[test]
fn under_a_digest_idle_connections_take_pieces_from_the_other_sources() {
    let world = world(config(4), |_| None);
    let id = accept(&world, new(proven()));
    let summary = world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
    assert_eq!((summary.attempts, summary.restarts), (1, 0));
    assert!(world.clock.elapsed() < seconds(7), "{:?}", world.clock.elapsed());
    assert!(asked_of(&world, SECOND) > 0 && asked_of(&world, THIRD) > 0, "{:?}", world.host.transport.requests());
    let ranges = ranges(&world);
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "each byte once: {ranges:?}");
    let changes = world.host.ledger.changes();
    assert_eq!(
        changes.iter().filter(|(_, change)| matches!(change, Change::Terms(_))).count(),
        1,
        "it is recorded once"
    );
    // The second request to a source repeats the ETag of its first answer.
    let requests = world.host.transport.requests();
    let mut again = requests.iter().filter(|asked| asked.url == SECOND).skip(1);
    assert!(again.all(|asked| asked.if_range.as_deref() == Some("\"30\"")), "{requests:?}");
}

#[test]
fn without_a_digest_of_the_caller_only_one_source_is_asked() {
    for stated in [false, true] {
        let world = world(config(4), move |asked| {
            let mut honest = honest(&CONTENT, "\"v1\"", asked);
            if stated {
                honest.headers.push("repr-digest", format!("sha-256=:{}:", base64(&sha256(&CONTENT).hex)).as_bytes());
            }
            Some(Ok(honest))
        });
        let id = accept(&world, new(vec![]));
        world.drive(id).unwrap();
        world.assert_whole(&CONTENT);
        assert_eq!(asked_of(&world, SECOND) + asked_of(&world, THIRD), 0, "stated: {stated}");
        assert!(!ranges(&world).is_empty());
    }
}

fn base64(hex: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letters = (0..4).map(|at| LETTERS[(number >> (18 - 6 * at)) as usize & 63] as char);
        text.extend(letters.take(three.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

#[test]
fn a_source_that_lies_costs_one_restart_from_one_source() {
    let world = world(config(4), |asked| (asked.url == SECOND).then(|| Ok(honest(&OTHER, "\"30\"", asked))));
    let id = accept(&world, new(proven()));
    let summary = world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
    assert_eq!((summary.attempts, summary.restarts), (1, 1));
    assert!(matches!(world.restarts()[..], [(RestartReason::DigestMismatch, _)]), "{:?}", world.restarts());
    assert!(world.row(id).digest_restarted);
    let requests = world.host.transport.requests();
    let again = requests.iter().rposition(|asked| asked.first.is_none()).unwrap();
    assert!(again > 0 && requests[again..].iter().all(|asked| asked.url == FIRST), "{requests:?}");
    let vouching = |row: &DigestRow| row.source == DigestSource::SeveralSources;
    assert!(!world.row(id).digests.iter().any(vouching), "the file is from one source");
}

/// How a source is bad, and if it stays in the row.
type Bad = (&'static str, bool, fn(&Asked) -> Result<Reply, Error>);

const BAD: [Bad; 14] = [
    ("another size", false, |asked| Ok(honest(&CONTENT[..SIZE - 1], "\"s\"", asked))),
    ("a smaller file", false, |_| Ok(reply(416, &[("content-range", "bytes */100")], vec![]))),
    ("a page", false, |_| Ok(reply(200, &[("content-length", "5")], vec![Piece::Bytes(b"Hello".to_vec())]))),
    ("404", false, |_| Ok(reply(404, &[], vec![]))),
    ("503", true, |_| Ok(reply(503, &[], vec![]))),
    ("a page with 503", true, |_| Ok(reply(503, &[("content-length", "5")], vec![Piece::Bytes(b"Hello".to_vec())]))),
    ("403", true, |_| Ok(reply(403, &[], vec![]))),
    ("the whole file", true, |_| Ok(honest(&CONTENT, "\"s\"", &whole_file()))),
    ("a coding", true, |asked| {
        let mut honest = honest(&CONTENT, "\"s\"", asked);
        honest.headers.push("content-encoding", b"gzip");
        Ok(honest)
    }),
    ("a certificate", false, |_| Err(Error::Certificate("expired".to_owned()))),
    ("dead", true, |_| Err(broken())),
    ("silent", true, |asked| Ok(Reply { delay: Duration::from_secs(1 << 30), ..honest(&CONTENT, "\"s\"", asked) })),
    ("stands still", true, |asked| {
        let mut honest = honest(&CONTENT, "\"s\"", asked);
        honest.body.truncate(2);
        honest.body.push(Piece::Forever);
        Ok(honest)
    }),
    ("one byte a second", true, |asked| {
        let mut honest = honest(&CONTENT, "\"s\"", asked);
        let slowly = |piece| match piece {
            Piece::Bytes(bytes) => {
                bytes.into_iter().flat_map(|byte| [Piece::Wait(seconds(1)), Piece::Bytes(vec![byte])]).collect()
            }
            _ => vec![],
        };
        honest.body = honest.body.into_iter().flat_map(slowly).take(10_000).collect();
        Ok(honest)
    }),
];

#[test]
fn a_bad_source_costs_no_attempt_and_one_that_has_another_file_is_dropped() {
    for (name, stays, bad) in BAD {
        let world = world(config(4), move |asked| (asked.url == SECOND).then(|| bad(asked)));
        let id = accept(&world, new(proven()));
        let summary = world.drive(id).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(world.file().as_ref() == Some(&CONTENT), "{name}");
        world.assert_at_rest();
        assert_eq!((summary.attempts, summary.restarts), (1, 0), "{name}");
        assert!(world.clock.elapsed() < seconds(20), "{name}: {:?}", world.clock.elapsed());
        assert!(asked_of(&world, THIRD) > 0, "{name}");
        let row = world.row(id);
        assert_eq!(row.new.mirrors.contains(&SECOND.to_owned()), stays, "{name}");
        let warning = summary.warning.unwrap_or_default();
        assert_eq!(
            warning.contains("http://second.example/film.mkv is no longer a source"),
            !stays,
            "{name}: {warning}"
        );
    }
}

#[test]
fn a_source_whose_answer_states_another_digest_is_dropped_before_a_byte_of_it_is_used() {
    let world = world(config(4), |asked| {
        let mut lying = honest(&OTHER, "\"s\"", asked);
        lying.headers.push("repr-digest", format!("sha-256=:{}:", base64(&sha256(&OTHER).hex)).as_bytes());
        (asked.url == SECOND).then_some(Ok(lying))
    });
    let id = accept(&world, new(proven()));
    assert_eq!(world.drive(id).unwrap().restarts, 0);
    world.assert_whole(&CONTENT);
    assert_eq!(world.row(id).new.mirrors, [THIRD]);
}

#[test]
fn the_other_sources_go_on_if_the_first_one_refuses_further_connections() {
    for refusal in [|| Ok(reply(503, &[], vec![])), || Err(broken())] as [fn() -> Result<Reply, Error>; 2] {
        let world = world(config(4), move |asked| (asked.url == FIRST && asked.first.is_some()).then(refusal));
        let id = accept(&world, new(proven()));
        assert_eq!(world.drive(id).unwrap().attempts, 1);
        world.assert_whole(&CONTENT);
        assert!(world.clock.elapsed() < seconds(10), "{:?}", world.clock.elapsed());
    }
}

/// Drives a download for this long, as if its process were killed then, and returns the world after the crash.
fn killed_after(world: &World, id: DownloadId, time: Duration, digests: bool, config: DownloadsConfig) -> World {
    world.run(async {
        let clock = regrip_core::time::Clock::sleep(&world.clock, time);
        futures::future::select(pin!(world.engine.drive(id)), pin!(clock)).await;
    });
    let host: FakeHost = world.host.clone();
    let engine = Engine::new(host.clone(), config, digests).unwrap();
    World { clock: host.clock.clone(), host, engine }
}

#[test]
fn a_crash_does_not_forget_that_only_the_digest_vouches_for_the_bytes() {
    // The next request gives no digest and no mirrors, or turns digests off.
    for digests in [true, false] {
        let world = world(config(4), |asked| match &*asked.url {
            SECOND => Some(Ok(honest(&OTHER, "\"30\"", asked))),
            // So that the bytes behind those of the second source have to wait.
            THIRD => Some(Ok(Reply { body: vec![Piece::Forever], ..honest(&CONTENT, "\"29\"", asked) })),
            _ => None,
        });
        let id = accept(&world, new(proven()));
        let after = killed_after(&world, id, seconds(6), digests, config(1));
        let part = after.part().unwrap();
        assert!(!CONTENT.starts_with(&part), "{} bytes are of the liar, too", part.len());
        let again = accept(&after, new_download(FIRST, FILE));
        assert_eq!(again, id);
        let summary = after.drive(id).unwrap();
        after.assert_whole(&CONTENT);
        assert_eq!(summary.restarts, 1, "digests: {digests}");
    }
}

#[test]
fn after_a_mismatch_a_crash_does_not_bring_the_other_sources_back() {
    let world = world(config(4), |asked| (asked.url == SECOND).then(|| Ok(honest(&OTHER, "\"30\"", asked))));
    let id = accept(&world, new(proven()));
    // It is over after about 5 s, and starts over from the first source.
    let after = killed_after(&world, id, seconds(8), true, config(4));
    assert!(after.row(id).digest_restarted);
    let before = after.host.transport.requests().len();
    after.drive(id).unwrap();
    after.assert_whole(&CONTENT);
    let requests = after.host.transport.requests();
    assert!(requests[before..].iter().all(|asked| asked.url == FIRST), "{:?}", &requests[before..]);
}

#[test]
fn a_digest_that_no_source_has_fails_the_download_after_each_was_asked_alone() {
    let world = world(config(4), |_| None);
    let id = accept(&world, new(vec![given(&sha256(b"another file"))]));
    let error = world.drive(id).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert_eq!(world.row(id).status, Status::Failed);
}

#[test]
fn every_source_that_is_dropped_is_warned_about() {
    let world = world(config(4), |asked| (asked.url != FIRST).then(|| Ok(reply(404, &[], vec![]))));
    let id = accept(&world, new(proven()));
    let warning = world.drive(id).unwrap().warning.unwrap();
    for host in ["second", "third"] {
        assert!(warning.contains(&format!("http://{host}.example/film.mkv is no longer a source")), "{warning}");
    }
    world.assert_whole(&CONTENT);
}

#[test]
fn a_source_that_states_a_digest_of_another_algorithm_stays() {
    let world = world(config(4), |asked| {
        let mut stating = honest(&CONTENT, "\"s\"", asked);
        let sha512 = Hasher::of(Algorithm::Sha512, &CONTENT);
        stating.headers.push("repr-digest", format!("sha-512=:{}:", base64(&sha512.hex)).as_bytes());
        (asked.url == SECOND).then_some(Ok(stating))
    });
    let id = accept(&world, new(proven()));
    assert_eq!(world.drive(id).unwrap().warning, None);
    world.assert_whole(&CONTENT);
    assert!(asked_of(&world, SECOND) > 0);
}

#[test]
fn another_source_whose_connection_breaks_once_is_asked_again() {
    let begun = AtomicBool::new(false);
    let world = world(config(4), move |asked| match &*asked.url {
        FIRST => asked.first.map(|_| Ok(reply(503, &[], vec![]))),
        SECOND => (!begun.swap(true, Ordering::Relaxed)).then(|| Err(broken())),
        _ => Some(Ok(reply(404, &[], vec![]))),
    });
    let id = accept(&world, new(proven()));
    world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
    assert!(asked_of(&world, SECOND) > 2, "{:?}", world.host.transport.requests());
}
