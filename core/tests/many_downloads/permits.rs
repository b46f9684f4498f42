//! Who may move bytes when.

use crate::world::slow::Slow;
use crate::world::*;
use futures::future::join_all;
use regrip_core::record::{NewDownload, Source};
use regrip_core::testing::{Asked, FakeHost, FakeTransport, Piece, VirtualClock, new_download};
use regrip_core::{DownloadId, DownloadsConfig, Engine, Error, Status, What};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

fn permits(max_concurrent_downloads: u32) -> DownloadsConfig {
    DownloadsConfig { max_concurrent_downloads, ..config() }
}

fn url(n: u32) -> String {
    format!("http://peer.example/{n}")
}

fn numbered(n: u32) -> NewDownload {
    new_download(&url(n), &format!("/films/{n}"))
}

fn of_peer(peer: &str, n: u32) -> NewDownload {
    let source = Source::Peer {
        peer_id: peer.to_owned(),
        peer_name: peer.to_owned(),
        item_id: n.to_string(),
        url: format!("http://{peer}.example/{n}"),
    };
    NewDownload { source, ..numbered(n) }
}

/// A body that takes ten seconds.
fn ten_seconds(_: &Asked) -> Answer {
    let mut reply = whole(b"film");
    reply.body.insert(0, Piece::Wait(seconds(10)));
    Ok(reply)
}

async fn accept_all(engine: &Engine<FakeHost>, all: Vec<NewDownload>) -> Vec<DownloadId> {
    let mut ids = Vec::new();
    for new in all {
        ids.push(engine.accept(new).await.expect("every destination is another").id);
    }
    ids
}

/// Accepts and drives them all together.
fn run_all(world: &World, all: Vec<NewDownload>) -> Vec<Result<(), Error>> {
    world.run(async {
        let ids = accept_all(&world.engine, all).await;
        join_all(ids.iter().map(async |id| world.engine.drive(*id).await.map(drop))).await
    })
}

/// The ids in the order in which their attempts started.
fn started(world: &World) -> Vec<DownloadId> {
    let events = world.host.events();
    let started = events.into_iter().filter(|(_, what)| matches!(what, What::Started { .. }));
    started.map(|(id, _)| id).collect()
}

#[test]
fn downloads_start_in_the_order_of_their_first_polls_however_late_the_first_one_is() {
    let world = World::answering(permits(1), ten_seconds);
    let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), permits(1), true).expect("it is in range");
    world.run(async {
        let mut ids = Vec::new();
        for number in 0..3 {
            // By another engine: this one has to read the rows.
            ids.push(world.engine.accept(numbered(number)).await.expect("every destination is another").id);
        }
        let mut drives: Vec<_> = ids.iter().map(|id| Box::pin(engine.drive(*id))).collect();
        let mut context = Context::from_waker(Waker::noop());
        for drive in &mut drives {
            assert!(drive.as_mut().poll(&mut context).is_pending(), "its ledger is slow");
        }
        for _ in 0..50 {
            for drive in drives.iter_mut().skip(1).rev() {
                assert!(drive.as_mut().poll(&mut context).is_pending(), "the first one is still on its way");
            }
        }
        assert_eq!(engine.permits_used(), 0);
        join_all(drives).await;
    });
    let started = started(&world);
    assert_eq!(started, {
        let mut ordered = started.clone();
        ordered.sort_unstable();
        ordered
    });
    assert_eq!(started.len(), 3);
}

#[test]
fn a_download_that_is_dropped_on_its_way_lets_the_next_one_pass() {
    let world = World::answering(permits(1), ten_seconds);
    let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), permits(1), true).expect("it is in range");
    world.run(async {
        // By another engine: this one has to read the rows.
        let first = world.engine.accept(numbered(1)).await.expect("new").id;
        let second = world.engine.accept(numbered(2)).await.expect("new").id;
        let mut dropped = Box::pin(engine.drive(first));
        let mut context = Context::from_waker(Waker::noop());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        let mut drive = Box::pin(engine.drive(second));
        for _ in 0..50 {
            assert!(drive.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(engine.permits_used(), 0);
        drop(dropped);
        drive.await.expect("nobody is before it");
    });
}

// S11, S42, G4
#[test]
fn no_more_downloads_move_at_once_than_there_are_permits() {
    for limit in [1, 2, 3, 7] {
        let world = World::answering(permits(limit), ten_seconds);
        let results = run_all(&world, (0..20).map(numbered).collect());
        assert!(results.iter().all(Result::is_ok));
        let mut by_time: BTreeMap<_, u32> = BTreeMap::new();
        for asked in world.host.transport.requests() {
            *by_time.entry(asked.at).or_default() += 1;
        }
        let busiest = by_time.values().max();
        assert_eq!(busiest, Some(&limit), "as many as allowed, and no more");
        assert_eq!(world.clock.elapsed(), seconds(10 * u64::from(20_u32.div_ceil(limit))));
        world.assert_at_rest();
    }
}

// S12
#[test]
fn downloads_start_in_the_order_they_came() {
    let world = World::answering(permits(2), ten_seconds);
    run_all(&world, (0..9).map(numbered).collect());
    assert_eq!(started(&world), (1..=9).collect::<Vec<_>>());
}

/// Answers 503 with a wait of `wait` seconds to the first request for each of `busy`, and with the file else.
fn busy_at_first(busy: &[u32], wait: u64) -> impl FnMut(&Asked) -> Answer + Send + 'static {
    let mut busy: Vec<String> = busy.iter().map(|n| url(*n)).collect();
    move |asked| match busy.iter().position(|url| *url == asked.url) {
        Some(at) => {
            busy.remove(at);
            let wait = wait.to_string();
            Ok(reply(503, &[("retry-after", &wait)], vec![]))
        }
        None => ten_seconds(asked),
    }
}

// K08
#[test]
fn a_backoff_holds_no_permit() {
    let world = World::answering(permits(1), busy_at_first(&[0], 60));
    let results = run_all(&world, vec![numbered(0), numbered(1)]);
    assert!(results.iter().all(Result::is_ok));
    let at: Vec<_> = world.host.transport.requests().into_iter().map(|asked| (asked.url, asked.at)).collect();
    let expected = [(url(0), seconds(0)), (url(1), seconds(0)), (url(0), seconds(60))];
    assert_eq!(at, expected, "the second ran while the first waited");
}

// K08
#[test]
fn when_all_are_in_backoff_no_permit_is_held() {
    let world = World::answering(permits(3), busy_at_first(&[0, 1, 2], 60));
    world.run(async {
        let ids = accept_all(&world.engine, (0..3).map(numbered).collect()).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let look = async {
            wait(&world.clock, seconds(30)).await;
            assert_eq!(world.engine.permits_used(), 0);
        };
        futures::join!(drives, look);
    });
}

#[test]
fn after_a_backoff_a_download_comes_before_those_never_started() {
    // One permit; 0 and 1 are sent away for 15 s, by when 2 is at work and 3 to 5 wait.
    let world = World::answering(permits(1), busy_at_first(&[0, 1], 15));
    run_all(&world, (0..6).map(numbered).collect());
    assert_eq!(started(&world), [1, 2, 3, 4, 1, 2, 5, 6]);
}

// K09
#[test]
fn a_dead_peer_does_not_starve_the_others() {
    let dead = |asked: &Asked| {
        let mut reply = ten_seconds(asked)?;
        if asked.url.starts_with("http://dead") {
            reply.body = vec![Piece::Forever];
        }
        Ok(reply)
    };
    let world = World::answering(permits(3), dead);
    let mut all: Vec<NewDownload> = (0..50).map(|n| of_peer("dead", n)).collect();
    all.extend((50..60).map(|n| of_peer("good", n)));
    world.run(async {
        let ids = accept_all(&world.engine, all).await;
        let (dead, good) = ids.split_at(50);
        let mut dead = join_all(dead.iter().map(|id| world.engine.drive(*id)));
        let good = join_all(good.iter().map(|id| world.engine.drive(*id)));
        let first = futures::future::select(&mut dead, good).await;
        let futures::future::Either::Right((good, _)) = first else {
            panic!("the dead peer's were over first");
        };
        assert!(good.iter().all(Result::is_ok));
    });
    // One permit is left to the good one, whatever the dead one does: ten times ten seconds.
    assert!(world.clock.elapsed() <= seconds(100));
}

#[test]
fn an_origin_has_at_most_its_own_permits() {
    let peers = |n| of_peer("one", n);
    for (all, own, of_a_peer, of_another) in [(3, None, 2, 3), (1, None, 1, 1), (3, Some(1), 1, 1), (2, Some(9), 2, 2)]
    {
        for (expected, new) in [(of_a_peer, &peers as &dyn Fn(u32) -> NewDownload), (of_another, &numbered)] {
            let config = DownloadsConfig { max_concurrent_per_peer: own, ..permits(all) };
            let world = World::answering(config, ten_seconds);
            run_all(&world, (0..6).map(new).collect());
            let at_once = world.host.transport.requests().iter().filter(|asked| asked.at.is_zero()).count();
            assert_eq!(at_once, expected, "{all} in all, {own:?} of an origin");
        }
    }
}

#[test]
fn the_permits_of_an_origin_change_while_its_downloads_run() {
    let of_each = |own| DownloadsConfig { max_concurrent_per_peer: own, ..permits(4) };
    let peers = |n| of_peer("one", n);
    let changes = [(Some(3), 3, &peers as &dyn Fn(u32) -> NewDownload), (Some(3), 3, &numbered), (None, 4, &numbered)];
    for (later, expected, new) in changes {
        let world = World::answering(of_each(Some(1)), ten_seconds);
        world.run(async {
            let ids = accept_all(&world.engine, (0..6).map(new).collect()).await;
            let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
            let change = async {
                wait(&world.clock, seconds(5)).await;
                assert_eq!(world.engine.permits_used(), 1);
                world.engine.reconfigure(of_each(later)).expect("in range");
                wait(&world.clock, seconds(1)).await;
                assert_eq!(world.engine.permits_used(), expected, "more start at once");
            };
            let (results, ()) = futures::join!(drives, change);
            assert!(results.iter().all(Result::is_ok));
        });
        world.assert_at_rest();
    }
}

#[test]
fn a_small_file_is_given_its_name_without_a_permit_and_one_that_has_a_part_with_it() {
    for (unnamed, used) in [(1 << 20, 0), (0, 1)] {
        let world = World::answering(permits(1), |_| Ok(whole(b"film")));
        world.host.store.keep_unnamed(unnamed);
        let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), permits(1), true).expect("in range");
        let seen = world.run(async {
            let id = engine.accept(numbered(1)).await.expect("it is new").id;
            let drive = std::pin::pin!(engine.drive(id));
            let look = async {
                while world.host.ledger.rows()[0].status != Status::Committing {
                    pause().await;
                }
                engine.permits_used()
            };
            futures::join!(drive, look)
        });
        assert!(matches!(seen, (Ok(_), n) if n == used), "{seen:?}");
    }
}

// K04, K08: plain URLs have no limit of their own.
#[test]
fn limits_change_while_downloads_run() {
    let world = World::answering(permits(1), ten_seconds);
    world.run(async {
        let ids = accept_all(&world.engine, (0..8).map(numbered).collect()).await;
        let drives = join_all(ids.iter().map(|id| world.engine.drive(*id)));
        let change = async {
            wait(&world.clock, seconds(5)).await;
            world.engine.reconfigure(permits(4)).expect("in range");
            wait(&world.clock, seconds(1)).await;
            assert_eq!((world.engine.permits_used(), world.engine.permits_waiting()), (4, 4), "more start at once");
            assert_eq!(*world.engine.config(), permits(4));
            world.engine.reconfigure(permits(2)).expect("in range");
            assert_eq!(world.engine.permits_used(), 4, "those at work go on");
            wait(&world.clock, seconds(10)).await;
            assert_eq!(world.engine.permits_used(), 2, "the excess drains");
            let refused = world.engine.reconfigure(permits(0)).expect_err("0 is out of range");
            assert_eq!(refused.key, "maxConcurrentDownloads");
        };
        let (results, ()) = futures::join!(drives, change);
        assert!(results.iter().all(Result::is_ok));
    });
    world.assert_at_rest();
}

#[test]
fn a_new_attempt_cap_counts_from_the_next_attempt_on() {
    let world = World::answering(config(), |_| Err(broken()));
    let id = world.accept();
    let change = async {
        wait(&world.clock, std::time::Duration::from_nanos(1)).await;
        let fewer = DownloadsConfig { max_download_attempts: 2, ..config() };
        world.engine.reconfigure(fewer).expect("in range");
    };
    let (result, ()) = world.run(async { futures::join!(world.engine.drive(id), change) });
    result.expect_err("the peer is dead");
    assert_eq!(world.asked().len(), 2);
}

// G3, G4: a thousand downloads, a peer that fails at random, and never one permit too many.
#[test]
fn permits_are_conserved_under_random_faults() {
    let clock = VirtualClock::default();
    let busiest = Arc::new(Mutex::new(0));
    let mut random = fastrand::Rng::with_seed(3);
    let peer = move |asked: &Asked| match random.u8(0..4) {
        0 => Err(broken()),
        1 => cut(whole(b"film"), usize::from(random.u8(0..4))),
        2 => Ok(reply(500, &[], vec![])),
        _ => match asked.first {
            Some(from) => Ok(rest(b"film", usize::try_from(from).expect("it is short"))),
            None => ten_seconds(asked),
        },
    };
    let host = FakeHost::new(clock.clone(), FakeTransport::new(clock, peer));
    let world = World::on(host, DownloadsConfig { retry_base_delay_ms: 10, ..permits(4) });
    let results = world.run(async {
        let ids = accept_all(&world.engine, (0..1000).map(numbered).collect()).await;
        let drives = ids.iter().map(async |id| {
            let ended = world.engine.drive(*id).await;
            let mut most = busiest.lock().expect("one thread");
            *most = world.engine.permits_used().max(*most);
            ended
        });
        join_all(drives).await
    });
    let whole = results.iter().filter(|result| result.is_ok()).count();
    assert!((500..1000).contains(&whole), "{whole} of 1000");
    assert!(*busiest.lock().expect("one thread") <= 4);
    for (id, result) in (1..).zip(&results) {
        let attempts = world.host.ledger.timeline(id).len();
        assert!(attempts <= 5 && (attempts == 5 || result.is_ok()), "{attempts} attempts");
        let last = world.host.story(id).pop();
        assert_eq!(last, Some(if result.is_ok() { "completed" } else { "failed" }));
    }
    world.assert_at_rest();
}
