//! Peers that cannot be reached: their downloads wait, and spend nothing.

use crate::world::*;
use futures::future::{Either, join_all, select};
use regrip_core::error::Timeout;
use regrip_core::record::{NewDownload, Outcome, Source};
use regrip_core::testing::{Asked, FakeHost, FakeTransport, Piece, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::{Class, DownloadId, DownloadsConfig, Error, ErrorCode, Status, Summary, What};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HOUR: u64 = 3600;
const ANNA: &str = "http://anna.example";

fn of_peer(n: u32) -> NewDownload {
    let url = format!("http://anna.example/{n}");
    let source = Source::Peer {
        peer_id: "1a2b3c4d".to_owned(),
        peer_name: "Anna".to_owned(),
        item_id: n.to_string(),
        url: url.clone(),
    };
    NewDownload { source, ..new_download(&url, &format!("/films/{n}")) }
}

async fn accept_all(world: &World, all: impl IntoIterator<Item = NewDownload>) -> Vec<DownloadId> {
    let mut ids = Vec::new();
    for new in all {
        let accepted = world.engine.accept(new).await;
        ids.push(accepted.expect("every destination is another").id);
    }
    ids
}

/// Accepts this many downloads of the peer and drives them to their ends.
fn run_all(world: &World, number: u32) -> Vec<Result<Summary, Error>> {
    world.run(async {
        let ids = accept_all(world, (0..number).map(of_peer)).await;
        join_all(ids.iter().map(|id| world.engine.drive(*id))).await
    })
}

/// A peer that is unreachable for this many seconds.
fn away_until(back: u64) -> impl FnMut(&Asked) -> Answer + Send + 'static {
    move |asked| match asked.at < seconds(back) {
        true => Err(broken()),
        false => Ok(whole(b"film")),
    }
}

fn outage(world: &World) -> bool {
    world.engine.reachability("1a2b3c4d", ANNA).outage().is_some()
}

fn attempts(world: &World) -> u32 {
    let rows = world.host.ledger.rows();
    rows.iter().map(|row| row.attempts).sum()
}

/// How often a future is polled.
async fn counting<T>(polls: &mut u32, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        *polls += 1;
        future.as_mut().poll(context)
    })
    .await
}

#[test]
fn a_peer_that_is_away_for_a_night_costs_three_attempts() {
    let world = World::answering(config(), away_until(8 * HOUR));
    let results = run_all(&world, 1);
    assert!(results[0].is_ok(), "{results:?}");
    let row = world.row(1);
    assert_eq!((row.status, row.attempts), (Status::Completed, 4));
    let story = world.host.story(1);
    let expected = [
        "queued",
        "started",
        "retrying",
        "started",
        "retrying",
        "started",
        "retrying",
        "waiting",
        "started",
        "headers",
        "completed",
    ];
    assert_eq!(story, expected);
    // Back within five minutes of its return.
    let late = world.clock.elapsed() - seconds(8 * HOUR);
    assert!(late <= seconds(300), "{late:?}");
    world.assert_at_rest();
}

// K09
#[test]
fn a_thousand_downloads_of_a_dead_peer_spend_nothing_hold_nothing_and_ask_one_at_a_time() {
    let world = World::answering(config(), away_until(8 * HOUR));
    let mut polls = 0;
    world.run(async {
        let ids = accept_all(&world, (0..1000).map(of_peer)).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let look = async {
            wait(&world.clock, seconds(HOUR)).await;
            assert!(outage(&world));
            assert_eq!(world.engine.permits_used(), 0);
            let rows = world.host.ledger.rows();
            assert_eq!(rows.len(), 1000);
            let until = world.clock.wall() + seconds(23 * HOUR);
            for row in rows {
                assert_eq!(row.status, Status::Waiting, "{}", row.id);
                let waiting = row.waiting.expect("it says so");
                let said = "the peer cannot be reached: connection failed: reading";
                assert_eq!(waiting.why, said);
                let away = until.duration_since(waiting.until).unwrap_or_default();
                assert!(away < seconds(120), "a day from when it began to wait");
            }
            assert!(attempts(&world) <= 5, "{}", attempts(&world));
        };
        let (results, ()) = counting(&mut polls, async { futures::join!(drives, look) }).await;
        assert!(results.iter().all(Result::is_ok));
    });
    let asked = world.host.transport.requests();
    let in_vain: Vec<_> = asked.iter().filter(|asked| asked.at < seconds(8 * HOUR)).collect();
    // A few attempts, then 5, 10, 20 … seconds, and 300 for the rest of the night.
    assert!((100..=110).contains(&in_vain.len()), "{}", in_vain.len());
    let gaps = in_vain.windows(2).map(|two| two[1].at - two[0].at);
    assert!(gaps.skip(6).all(|gap| gap >= seconds(5)), "probes at once");
    // Each download is polled a few times and each probe once or twice: nobody spins.
    assert!(polls < 20_000, "{polls} polls");
    assert_eq!(attempts(&world), 1000 + attempts_in_vain(&world));
    world.assert_at_rest();
}

fn attempts_in_vain(world: &World) -> u32 {
    let ids = world.host.ledger.rows().into_iter().map(|row| row.id);
    let lines = ids.flat_map(|id| world.host.ledger.timeline(id));
    let failed = lines.filter(|line| line.end.as_ref().is_some_and(|end| end.outcome == Outcome::Failed));
    u32::try_from(failed.count()).expect("a few")
}

#[test]
fn a_probe_that_takes_its_time_stays_the_only_one_and_holds_nobody_up() {
    let world = World::answering(config(), |_| Err(broken()));
    let hanging = Arc::new(AtomicBool::new(false));
    let line = world.engine.reachability("1a2b3c4d", ANNA);
    for _ in 0..3 {
        line.note(&world.clock, 3, &Err::<(), _>(broken()));
    }
    let probe = || async {
        assert!(!hanging.swap(true, Ordering::SeqCst), "two at once");
        wait(&world.clock, seconds(60)).await;
        hanging.store(false, Ordering::SeqCst);
        Err::<(), _>(broken())
    };
    // A probe is under way from 3495 s to 3555 s. The one that probes sees it through.
    let patience = seconds(3520);
    let waits = (0..10).map(async |_| {
        let reached = line.reachable(&world.clock, patience, probe).await;
        (reached.is_err(), world.clock.elapsed())
    });
    let ends = world.run(join_all(waits));
    assert_eq!(ends[0], (true, seconds(3555)));
    assert!(ends[1..].iter().all(|end| *end == (true, patience)), "{ends:?}");
    assert_eq!(world.clock.timers(), 0);
}

#[test]
fn those_in_the_queue_for_permits_spend_nothing_either() {
    // Connections take ten seconds to fail, so that most wait for a permit when the breaker opens.
    let clock = VirtualClock::default();
    let silent = |asked: &Asked| {
        let mut reply = whole(b"film");
        if asked.at < seconds(HOUR) {
            reply.delay = seconds(60);
        }
        Ok(reply)
    };
    let transport = FakeTransport::new(clock.clone(), silent).with_headers_timeout(seconds(10));
    let world = World::on(FakeHost::new(clock, transport), config());
    let results = run_all(&world, 100);
    assert!(results.iter().all(Result::is_ok));
    assert!((3..=5).contains(&attempts_in_vain(&world)));
    world.assert_at_rest();
}

#[test]
fn a_wait_that_was_in_vain_fails_with_the_last_error() {
    let config = DownloadsConfig {
        // Two hundred seconds before a probe is due.
        peer_patience_ms: 3_400_000,
        ..config()
    };
    let world = World::answering(config, |_| Err(Error::Timeout { timeout: Timeout::Connect, after: seconds(30) }));
    let results = run_all(&world, 4);
    for result in &results {
        let error = result.as_ref().expect_err("the peer is dead");
        assert_eq!(error.code(), ErrorCode::ConnectTimeout, "{error}");
    }
    for row in world.host.ledger.rows() {
        assert_eq!(row.status, Status::Failed);
        let failure = row.failure.expect("it says why");
        assert_eq!(failure.code, ErrorCode::ConnectTimeout);
        assert_eq!(failure.class, Class::Transient);
    }
    // When it began to wait it had three attempts and their backoffs behind it.
    let (least, most) = (seconds(3400), seconds(3430));
    let took = world.clock.elapsed();
    assert!((least..=most).contains(&took), "{took:?}");
    world.assert_at_rest();
}

#[test]
fn zero_failures_is_no_breaker() {
    let config = DownloadsConfig { breaker_failures: 0, ..config() };
    let world = World::answering(config, |_| Err(broken()));
    let results = run_all(&world, 3);
    assert!(results.iter().all(Result::is_err));
    assert_eq!(attempts(&world), 15, "each spends its five");
    assert!(!outage(&world));
    assert!(!world.host.story(1).contains(&"waiting"));
}

#[test]
fn a_breaker_that_is_turned_off_lets_all_go_on() {
    let world = World::answering(config(), away_until(HOUR));
    world.run(async {
        let ids = accept_all(&world, (0..5).map(of_peer)).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let turn_off = async {
            wait(&world.clock, seconds(HOUR + 1)).await;
            assert!(outage(&world));
            let off = DownloadsConfig { breaker_failures: 0, ..config() };
            world.engine.reconfigure(off).expect("in range");
        };
        let (results, ()) = futures::join!(drives, turn_off);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(world.clock.elapsed(), seconds(HOUR + 1), "at once");
}

#[test]
fn an_answer_to_anybody_wakes_all() {
    let world = World::answering(config(), away_until(HOUR));
    world.run(async {
        let ids = accept_all(&world, (0..50).map(of_peer)).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let hear = async {
            wait(&world.clock, seconds(HOUR + 1)).await;
            let line = world.engine.reachability("1a2b3c4d", ANNA);
            assert!(line.outage().is_some());
            line.note(&world.clock, 3, &Ok(()));
        };
        let (results, ()) = futures::join!(drives, hear);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(world.clock.elapsed(), seconds(HOUR + 1), "at once");
}

#[test]
fn the_answer_counts_and_not_the_end_of_the_file() {
    // The first download after the outage takes its time; the others do not wait for its end.
    let world = World::answering(config(), |asked| {
        if asked.at < seconds(600) {
            return Err(broken());
        }
        let mut reply = whole(b"film");
        reply.body.insert(0, Piece::Wait(seconds(50)));
        Ok(reply)
    });
    let results = run_all(&world, 4);
    assert!(results.iter().all(Result::is_ok));
    let at: Vec<Duration> =
        world.host.transport.requests().into_iter().map(|asked| asked.at).filter(|at| *at >= seconds(600)).collect();
    // The probe, two at once by the peer's permits, two more when those are done.
    assert_eq!(at.len(), 5);
    assert!(at[1] == at[0] && at[2] == at[0] && at[3] == at[4]);
}

// K01
#[test]
fn when_the_one_that_probes_is_called_off_the_next_one_probes() {
    let world = World::answering(config(), away_until(HOUR));
    world.run(async {
        let ids = accept_all(&world, (0..3).map(of_peer)).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let call_off = async {
            wait(&world.clock, seconds(600)).await;
            assert!(outage(&world));
            for id in &ids[..2] {
                world.engine.cancel(*id).await.expect("it waits");
            }
        };
        let (results, ()) = futures::join!(drives, call_off);
        assert!(matches!(results[0], Err(Error::Cancelled)));
        assert!(matches!(results[1], Err(Error::Cancelled)));
        assert!(results[2].is_ok(), "{:?}", results[2]);
    });
    world.assert_at_rest();
}

// K01
#[test]
fn waits_that_are_dropped_at_any_moment_leave_nothing_behind() {
    for after in [0, 1, 5, 61, 299, 300, 301, 1000] {
        let world = World::answering(config(), away_until(HOUR));
        world.run(async {
            let ids = accept_all(&world, (0..5).map(of_peer)).await;
            let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
            let over = pin!(wait(&world.clock, seconds(after)));
            let Either::Right((_, drives)) = select(drives, over).await else {
                panic!("the peer is away");
            };
            drop(drives);
        });
        world.assert_at_rest();
        let results = world.run(join_all((1..=5).map(|id| world.engine.drive(id))));
        assert!(results.iter().all(Result::is_ok), "{after}: {results:?}");
    }
}

#[test]
fn an_answer_of_any_kind_is_no_failed_connection() {
    // Six attempts would open it twice over.
    let many = DownloadsConfig { max_download_attempts: 6, ..config() };
    let busy = World::answering(many.clone(), |_| Ok(reply(503, &[], vec![])));
    let cut_short = World::answering(many, |_| cut(whole(b"film"), 0));
    for world in [busy, cut_short] {
        let results = run_all(&world, 1);
        assert!(results[0].is_err());
        assert_eq!(attempts(&world), 6);
        assert!(!world.host.story(1).contains(&"waiting"));
    }
}

#[test]
fn a_plain_url_has_no_breaker() {
    let world = World::answering(config(), |_| Err(broken()));
    world.get().expect_err("the server is dead");
    assert_eq!(attempts(&world), 5);
    let waits = world.host.events();
    let waits = waits.iter().filter(|(_, what)| matches!(what, What::Waiting { .. }));
    assert_eq!(waits.count(), 0);
}

#[test]
fn other_peers_go_on() {
    let world = World::answering(config(), |asked| {
        if asked.url.contains("anna") {
            return Err(broken());
        }
        Ok(whole(b"film"))
    });
    world.run(async {
        let dead = accept_all(&world, (0..20).map(of_peer)).await;
        let good = accept_all(&world, (20..40).map(of_another)).await;
        let dead = join_all(dead.iter().map(|id| world.engine.drive(*id)));
        let good = join_all(good.iter().map(|id| world.engine.drive(*id)));
        let Either::Right((good, _)) = select(dead, good).await else {
            panic!("the dead peer's were over first");
        };
        assert!(good.iter().all(Result::is_ok));
    });
    assert!(world.clock.elapsed().is_zero());
}

fn of_another(n: u32) -> NewDownload {
    let mut new = of_peer(n);
    if let Source::Peer { peer_id, url, .. } = &mut new.source {
        *peer_id = "00000000".to_owned();
        *url = format!("http://bob.example/{n}");
    }
    new
}

#[test]
fn a_mirror_of_another_origin_is_another_peer_also_for_the_next_drive() {
    let file = content(1000);
    for (mirror, is_peer) in [("http://anna.example/0?signature=new", true), ("http://ben.example/0", false)] {
        let served = file.clone();
        let mut answers = 0;
        let world = World::answering(DownloadsConfig { breaker_failures: 1, ..config() }, move |asked| {
            answers += 1;
            match answers {
                1 => cut(whole(&served), 400),
                // The mirror goes on.
                2 => cut(asked.first.filter(|&first| first > 0).map_or(whole(&served), |_| rest(&served, 400)), 500),
                3 | 4 => Ok(reply(404, &[], vec![])),
                _ => Err(broken()),
            }
        });
        let new = NewDownload { mirrors: vec![mirror.to_owned()], ..of_peer(0) };
        let id = world.run(world.engine.accept(new)).expect("it is new").id;
        world.drive(id).expect_err("both are gone");
        assert_eq!(world.row(id).new.source.url(), mirror);
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect_err("it cannot be reached");
        assert_eq!(outage(&world), is_peer, "{mirror}");
        assert!(world.engine.reachability("1a2b3c4d", mirror).outage().is_some(), "{mirror}");
    }
}
