//! An origin that sends downloads away while others of it move.

use crate::world::*;
use futures::future::{join, join_all, select};
use regrip_core::engine::NewUrl;
use regrip_core::record::NewDownload;
use regrip_core::testing::{Asked, Piece, Reply, new_download};
use regrip_core::{DownloadsConfig, Error, What};
use std::pin::pin;
use std::time::Duration;

fn of(host: &str, n: u32) -> NewDownload {
    new_download(&format!("http://{host}.example/{n}"), &format!("/films/{host}{n}"))
}

/// `count` downloads of one origin.
fn of_one(count: u32) -> Vec<NewDownload> {
    (0..count).map(|n| of("one", n)).collect()
}

fn attempts(max_download_attempts: u32) -> DownloadsConfig {
    DownloadsConfig {
        max_concurrent_downloads: 10,
        low_speed_bytes_per_sec: 0,
        max_download_attempts,
        retry_base_delay_ms: 0,
        ..config()
    }
}

/// The file, in pieces of ten seconds.
fn tens_of_seconds(pieces: usize) -> Answer {
    let mut reply = whole(&vec![b'x'; pieces]);
    reply.body = (0..pieces).flat_map(|_| [Piece::Wait(seconds(10)), bytes(b"x")]).collect();
    Ok(reply)
}

fn too_many() -> Answer {
    Ok(reply(429, &[], vec![]))
}

fn run_all(world: &World, all: Vec<NewDownload>) -> Vec<Result<(), Error>> {
    world.run(async {
        let mut ids = Vec::new();
        for new in all {
            ids.push(world.engine.accept(new).await.expect("it is free").id);
        }
        let drives = ids.iter().map(|id| world.engine.drive(*id));
        let ended = join_all(drives).await;
        ended.into_iter().map(|ended| ended.map(drop)).collect()
    })
}

/// When each URL that ends so was asked for.
fn asked_at(world: &World, end: &str) -> Vec<u64> {
    let requests = world.host.transport.requests();
    let requests = requests.into_iter().filter(|asked| asked.url.ends_with(end));
    requests.map(|asked| asked.at.as_secs()).collect()
}

/// Why downloads waited.
fn waits(world: &World) -> Vec<String> {
    let events = world.host.events().into_iter();
    let waits = events.filter_map(|(_, what)| match what {
        What::Waiting { why, .. } => Some(why),
        _ => None,
    });
    waits.collect()
}

#[test]
fn downloads_that_a_server_sends_away_wait_for_the_others_and_spend_no_attempt() {
    for status in [429, 503] {
        let mut ends: Vec<Duration> = Vec::new();
        let three_at_once = move |asked: &Asked| {
            ends.retain(|end| *end > asked.at);
            if ends.len() == 3 {
                return Ok(reply(status, &[], vec![]));
            }
            ends.push(asked.at + seconds(10));
            tens_of_seconds(1)
        };
        let world = World::answering(attempts(1), three_at_once);
        // One wait in a row is free: nobody is sent away twice, since two more than move are asked for at most.
        let results = run_all(&world, of_one(4));
        assert!(results.iter().all(Result::is_ok), "{status}: {results:?}");
        assert_eq!(
            waits(&world),
            [format!("origin_busy: the server answered {status} while 3 other downloads from there move")]
        );
        assert_eq!(asked_at(&world, "/3"), [0, 10]);
        let row = world.row(4);
        assert_eq!((row.bounds.in_a_row, row.bounds.in_all, row.attempts), (0, 0, 2));
        assert!(world.delays().is_empty());
        world.assert_at_rest();
    }
}

#[test]
fn a_busy_mirror_on_trial_costs_the_row_nothing() {
    const MIRROR: &str = "http://one.example/film";
    let (mut begun, mut refusals) = (false, [500, 429, 404].into_iter());
    let answer = move |asked: &Asked| match &*asked.url {
        MIRROR => Ok(reply(refusals.next().unwrap_or(404), &[], vec![])),
        "http://one.example/0" => tens_of_seconds(6),
        _ if std::mem::replace(&mut begun, true) => Ok(reply(404, &[], vec![])),
        _ => cut(whole(&content(1000)), 400),
    };
    let world = World::answering(attempts(5), answer);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    world.run(async {
        let other = world.engine.accept(of("one", 0)).await.expect("it is free").id;
        let moved = world.engine.accept_with(new_download(MIRROR, FILE), NewUrl::Any).await.expect("it may be tried");
        let (other, moved) = join(world.engine.drive(other), world.engine.drive(moved.id)).await;
        other.expect("nothing is wrong with it");
        moved.expect_err("404 is permanent");
    });
    assert_eq!(waits(&world).len(), 1, "the mirror was busy once");
    let bounds = world.row(id).bounds;
    assert_eq!((bounds.in_a_row, bounds.in_all), (0, 0));
}

#[test]
fn many_downloads_of_a_server_that_takes_few_are_all_completed() {
    let mut ends: Vec<Duration> = Vec::new();
    let three_at_once = move |asked: &Asked| {
        ends.retain(|end| *end > asked.at);
        if ends.len() == 3 {
            return too_many();
        }
        ends.push(asked.at + seconds(10));
        tens_of_seconds(1)
    };
    let world = World::answering(attempts(5), three_at_once);
    let results = run_all(&world, of_one(30));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!((1..=30).all(|id| world.row(id).bounds.in_all == 0));
    // No place of the server is left empty.
    assert_eq!(world.clock.elapsed(), seconds(100));
    let requests = world.host.transport.requests().len();
    assert!(requests < 30 + 7 + 10 * 4, "{requests} requests");
    world.assert_at_rest();
}

#[test]
fn a_limit_holds_for_downloads_that_were_queued_before_it() {
    let mut end = Duration::ZERO;
    let one_at_once = move |asked: &Asked| {
        if asked.at < end {
            // By then all others wait for a permit of the engine.
            let mut late = too_many()?;
            late.delay = seconds(1);
            return Ok(late);
        }
        end = asked.at + seconds(10);
        tens_of_seconds(1)
    };
    let mut config = attempts(5);
    config.max_concurrent_downloads = 3;
    let world = World::answering(config, one_at_once);
    let results = run_all(&world, of_one(12));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let requests = world.host.transport.requests();
    let at_first = requests.iter().filter(|asked| asked.at < seconds(10));
    assert_eq!(at_first.count(), 3, "the other nine were not asked for");
    world.assert_at_rest();
}

#[test]
fn a_limit_grows_by_one_every_minute() {
    let world = World::answering(attempts(1), |asked| match asked.at.as_secs() {
        0 if !asked.url.ends_with("/0") => too_many(),
        _ => tens_of_seconds(20),
    });
    let results = run_all(&world, of_one(3));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(asked_at(&world, "/1"), [0, 60]);
    // It arrived after the limit was lowered.
    assert_eq!(asked_at(&world, "/2"), [120]);
    world.assert_at_rest();
}

#[test]
fn a_limit_grows_by_one_with_each_file_that_completes() {
    let world = World::answering(attempts(1), |asked| match asked.at.as_secs() {
        0 if !asked.url.ends_with("/0") => too_many(),
        _ => tens_of_seconds(1),
    });
    let results = run_all(&world, of_one(3));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((asked_at(&world, "/1"), asked_at(&world, "/2")), (vec![0, 10], vec![10]));
    world.assert_at_rest();
}

#[test]
fn a_download_that_is_dropped_moves_no_more() {
    let world = World::answering(attempts(1), |asked| match asked.url.ends_with("/0") {
        true => tens_of_seconds(9),
        false => too_many().map(|reply| Reply { delay: seconds(6), ..reply }),
    });
    let result = world.run(async {
        let first = world.engine.accept(of("one", 0)).await.expect("free").id;
        let second = world.engine.accept(of("one", 1)).await.expect("free").id;
        let dropped = async {
            let (drive, soon) = (pin!(world.engine.drive(first)), pin!(wait(&world.clock, seconds(5))));
            select(drive, soon).await;
        };
        join(world.engine.drive(second), dropped).await.0
    });
    assert!(matches!(result, Err(Error::Status { status: 429, .. })), "{result:?}");
    assert!(waits(&world).is_empty(), "for nothing that moves: {:?}", waits(&world));
}

#[test]
fn a_retry_after_is_waited_for_too() {
    let world = World::answering(attempts(1), |asked| match asked.at.as_secs() {
        0 if asked.url.ends_with("/1") => Ok(reply(503, &[("retry-after", "30")], vec![])),
        _ => tens_of_seconds(1),
    });
    let results = run_all(&world, of_one(2));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(asked_at(&world, "/1"), [0, 30]);
    world.assert_at_rest();
}

#[test]
fn waits_in_a_row_are_free_up_to_the_attempt_cap() {
    let world = World::answering(attempts(3), |asked| {
        if asked.url.ends_with("/1") {
            return too_many();
        }
        tens_of_seconds(100)
    });
    let results = run_all(&world, of_one(2));
    assert!(matches!(results[0], Ok(())));
    assert!(matches!(results[1], Err(Error::Status { status: 429, .. })));
    assert_eq!(waits(&world).len(), 3);
    let row = world.row(2);
    assert_eq!((row.bounds.in_a_row, row.attempts), (3, 6));
    assert_eq!(asked_at(&world, "/1").len(), 6);
    world.assert_at_rest();
}

#[test]
fn a_download_that_moved_again_has_its_free_waits_again() {
    // Three times sent away, then a piece of the file, and so on; the file needs four pieces.
    let content = content(4);
    let mut asked_for_1 = 0;
    let world = World::answering(attempts(3), move |asked| {
        if asked.url.ends_with("/0") {
            return tens_of_seconds(200);
        }
        asked_for_1 += 1;
        if asked_for_1 % 4 != 0 {
            return too_many();
        }
        match asked.first {
            None => cut(whole(&content), 1),
            Some(3) => Ok(rest(&content, 3)),
            Some(first) => cut(rest(&content, usize::try_from(first).expect("it is short")), 1),
        }
    });
    let mut config = attempts(3);
    config.progress_reset_bytes = 1;
    world.engine.reconfigure(config).expect("in range");
    let results = run_all(&world, of_one(2));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(waits(&world).len(), 12);
    world.assert_at_rest();
}

#[test]
fn an_answer_costs_an_attempt_if_nothing_else_of_the_origin_moves() {
    let world = World::answering(attempts(1), |asked| {
        if asked.url.starts_with("http://one.") {
            return too_many();
        }
        tens_of_seconds(1)
    });
    let results = run_all(&world, vec![of("other", 0), of("one", 0), of("one", 1)]);
    assert!(results[0].is_ok());
    assert!(results[1].is_err() && results[2].is_err());
    assert_eq!(waits(&world).len(), 0);
    assert_eq!(world.clock.elapsed(), seconds(10));
    world.assert_at_rest();
}

#[test]
fn another_error_costs_an_attempt_whatever_else_moves() {
    for status in [500, 502, 408] {
        let world = World::answering(attempts(1), move |asked| {
            if asked.url.ends_with("/1") {
                return Ok(reply(status, &[], vec![]));
            }
            tens_of_seconds(1)
        });
        let results = run_all(&world, of_one(2));
        assert!(results[0].is_ok() && results[1].is_err(), "{status}");
        assert_eq!(asked_at(&world, "/1").len(), 1);
    }
}

#[test]
fn a_download_that_waits_for_a_busy_origin_can_be_cancelled() {
    let world = World::answering(attempts(3), |asked| {
        if asked.url.ends_with("/1") {
            return too_many();
        }
        tens_of_seconds(2)
    });
    let results = world.run(async {
        let first = world.engine.accept(of("one", 0)).await.expect("free").id;
        let second = world.engine.accept(of("one", 1)).await.expect("free").id;
        let cancel = async {
            wait(&world.clock, seconds(5)).await;
            world.engine.cancel(second).await.expect("it waits");
        };
        let drives = (world.engine.drive(first), world.engine.drive(second));
        futures::join!(drives.0, drives.1, cancel)
    });
    assert!(results.0.is_ok());
    assert!(matches!(results.1, Err(Error::Cancelled)));
    assert_eq!(asked_at(&world, "/1"), [0]);
    world.assert_at_rest();
}

#[test]
fn a_download_that_goes_on_from_another_url_counts_at_that_origin() {
    let file = content(100_000);
    let peer = move |asked: &Asked| match &*asked.url {
        "http://two.example/other" => tens_of_seconds(3),
        // While the other one moves there, it is sent away once.
        "http://two.example/film" if asked.at < seconds(25) => too_many(),
        "http://two.example/film" => Ok(rest(&file, asked.first.unwrap_or(0) as usize)),
        _ if asked.at.is_zero() => cut(whole(&file), 90_000),
        _ => Ok(reply(404, &[], vec![])),
    };
    let world = World::answering(attempts(2), peer);
    let first = new_download("http://one.example/film", FILE);
    let id = world.run(world.engine.accept(first)).expect("it is free").id;
    world.drive(id).expect_err("it is gone");
    let moved = new_download("http://two.example/film", FILE);
    let moved = world.run(world.engine.accept_with(moved, NewUrl::Any));
    moved.expect("another URL");
    let other = new_download("http://two.example/other", "/films/other");
    let other = world.run(world.engine.accept(other)).expect("it is free").id;
    let (other, moved) = world.run(join(world.engine.drive(other), world.engine.drive(id)));
    other.expect("it moves");
    moved.expect("it waited for the other one");
    assert_eq!(waits(&world), ["origin_busy: the server answered 429 while 1 other download from there moves"]);
    world.assert_at_rest();
}
