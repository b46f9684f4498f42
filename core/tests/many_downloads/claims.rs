//! Processes that share a ledger and claim what they drive. Each has a disk of its own, so that no lock keeps them apart.

use crate::world::*;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::testing::{FakeHost, Piece};
use regrip_core::time::Clock;
use regrip_core::{DownloadsConfig, Error, ErrorCode, Status};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(30);
const CHUNK: usize = 10_000;

/// A file of a hundred chunks.
fn film() -> Vec<u8> {
    content(100 * CHUNK)
}

/// The nth process.
fn process(of: &World, n: usize) -> World {
    let mut host = FakeHost::new(of.clock.clone(), of.host.transport.clone());
    host.ledger = of.host.ledger.leasing(LEASE, of.clock.clone());
    (0..n).map(|_| host.seed()).for_each(drop); // each has an entropy of its own
    let config = DownloadsConfig { low_speed_bytes_per_sec: 0, ..config() };
    World::on(host, config)
}

/// Two processes, and a download that neither drives yet. Its chunks arrive at a fixed interval.
fn two(every: u64) -> [World; 2] {
    let world = World::answering(config(), move |asked| {
        let from = asked.first.unwrap_or(0) as usize;
        let mut reply = match from {
            0 => whole(&film()),
            _ => rest(&film(), from),
        };
        let pieces = film()[from..].chunks(CHUNK).map(bytes).collect::<Vec<_>>();
        reply.body = pieces.into_iter().flat_map(|piece| [Piece::Wait(seconds(every)), piece]).collect();
        Ok(reply)
    });
    let processes = [process(&world, 0), process(&world, 1)];
    assert_eq!(processes[0].accept(), 1);
    processes
}

fn owner(world: &World) -> String {
    world.host.ledger.claimed(1).expect("it is claimed").0
}

// C10
#[test]
fn of_two_processes_one_drives_a_download_and_the_other_one_asks_for_nothing() {
    let [one, other] = two(1);
    let second = async {
        wait(&one.clock, seconds(50)).await;
        let refused = other.engine.drive(1).await;
        (refused, one.host.transport.requests().len())
    };
    let (first, (refused, requests)) = one.run(async { futures::join!(one.engine.drive(1), second) });
    assert_eq!(first.expect("it is served").attempts, 1);
    assert!(matches!(&refused, Err(Error::PartLocked { path, .. }) if path == PART), "{refused:?}");
    assert_eq!((requests, one.clock.elapsed()), (1, seconds(100)));
    one.assert_whole(&film());
    assert_eq!(other.host.store.names(), [""; 0]);
    other.assert_at_rest();
}

#[test]
fn a_download_that_has_ended_is_taken_up_by_another_process_at_once() {
    let [one, other] = two(1);
    let cancel = async {
        wait(&one.clock, seconds(5)).await;
        one.engine.cancel(1).await
    };
    let (ended, _) = one.run(async { futures::join!(one.engine.drive(1), cancel) });
    assert!(matches!(ended, Err(Error::Cancelled)));
    other.run(other.engine.retry(1)).expect("nobody has it");
    other.drive(1).expect("it is served");
    assert_eq!(other.clock.elapsed(), seconds(105));
    other.assert_whole(&film());
}

#[test]
fn after_its_owner_died_another_process_goes_on_when_the_lease_is_over() {
    let [one, other] = two(1);
    one.run(async {
        let dies = wait(&one.clock, seconds(25));
        futures::future::select(Box::pin(one.engine.drive(1)), Box::pin(dies)).await;
    });
    // The claim was extended at 20 s.
    assert!(matches!(other.drive(1), Err(Error::PartLocked { .. })));
    other.run(wait(&other.clock, seconds(24)));
    assert!(matches!(other.drive(1), Err(Error::PartLocked { .. })));
    other.run(wait(&other.clock, seconds(1)));
    other.drive(1).expect("it is served");
    other.assert_whole(&film());
}

#[test]
fn an_owner_that_cannot_extend_its_claim_stops_before_it_ends() {
    type Break = fn(&World);
    let breaks: [(Break, u64); 2] = [
        // Looked at at 10 s and 20 s; the third failure would be too late.
        (|world| world.host.ledger.fail_after(Some(0)), 20),
        // Asked at 10 s, and given up half a step after the next look was due.
        (|world| world.host.ledger.hold_claims(true), 25),
    ];
    for (no_more, stops_at) in breaks {
        // Nothing arrives before, so that nothing else ends it.
        let [one, other] = two(40);
        one.run(async {
            let broken = async {
                wait(&one.clock, seconds(9)).await;
                no_more(&one);
            };
            let stalled = one.engine.drive(1);
            let (ended, ()) = futures::join!(stalled, broken);
            assert!(matches!(ended, Err(Error::PartLocked { .. })), "{ended:?}");
        });
        assert_eq!(one.clock.elapsed(), seconds(stops_at));
        one.assert_at_rest();
        one.host.ledger.fail_after(None);
        one.host.ledger.hold_claims(false);
        other.run(wait(&other.clock, seconds(30)));
        other.drive(1).expect("the lease is over");
        other.assert_whole(&film());
    }
}

#[test]
fn an_owner_whose_claim_was_taken_while_its_machine_slept_writes_nothing_more() {
    let [one, other] = two(1);
    let taken = async {
        wait(&one.clock, seconds(25)).await;
        let before = one.part().expect("it has bytes");
        one.clock.advance(LEASE * 2);
        let until = one.clock.wall() + LEASE;
        assert!(other.host.ledger.claim(1, "another", until).await.expect("it works"));
        (before, one.row(1))
    };
    let (ended, (before, row)) = one.run(async { futures::join!(one.engine.drive(1), taken) });
    assert!(matches!(ended, Err(Error::PartLocked { .. })), "{ended:?}");
    assert_eq!(one.row(1), row);
    assert_eq!(one.part(), Some(before), "a byte was written after the claim was lost");
    assert_eq!(owner(&other), "another");
    one.assert_at_rest();
}

#[test]
fn a_cancel_by_another_process_stops_the_owner_as_soon_as_the_ledger_shows_it() {
    // A ledger that cannot be read is asked again.
    for (removed, failing_reads) in [(false, 0), (true, 0), (false, 3)] {
        let [one, other] = two(1);
        let cancel = async {
            wait(&one.clock, seconds(50)).await;
            let ended = match removed {
                false => other.engine.cancel(1).await,
                true => other.engine.remove(1).await,
            };
            one.host.ledger.fail_reads(failing_reads);
            ended
        };
        let ended = one.run(async {
            let drive = Box::pin(async { futures::join!(one.engine.drive(1), cancel) });
            let follow = Box::pin(one.engine.follow_changes::<()>());
            match futures::future::select(drive, follow).await {
                futures::future::Either::Left(((ended, asked), _)) => {
                    asked.expect("it is in time");
                    ended
                }
                futures::future::Either::Right(_) => panic!("it never returns"),
            }
        });
        let code = ended.map_err(|error| error.code());
        let expected = match removed {
            true => ErrorCode::NoSuchDownload,
            false => ErrorCode::Cancelled,
        };
        assert_eq!(code, Err(expected));
        let looks = Duration::from_millis(500) * failing_reads;
        assert_eq!(one.clock.elapsed(), seconds(50) + looks);
        let kept = one.part().map_or(0, |part| part.len());
        assert!(kept >= 49 * CHUNK, "{kept} bytes are kept");
        if !removed {
            assert_eq!(one.row(1).status, Status::Cancelled);
        }
        one.assert_at_rest();
    }
}

#[test]
fn a_process_without_storage_leaves_the_download_to_another_one() {
    let [one, other] = two(1);
    one.host.store.set_down();
    one.host.store.fail_syncs(u32::MAX);
    let ended = one.drive(1);
    assert!(matches!(ended, Err(Error::Disk { .. })), "{ended:?}");
    let row = other.row(1);
    assert_eq!((row.status, row.bounds.in_a_row, row.failure), (Status::Queued, 0, None));
    assert_eq!(other.host.ledger.claimed(1), None);
    other.drive(1).expect("it has a disk");
    other.assert_whole(&film());
}

#[test]
fn an_owner_whose_machine_was_suspended_for_longer_than_its_lease_writes_nothing_more() {
    let [one, other] = two(1);
    let suspended = async {
        wait(&one.clock, Duration::from_millis(5_500)).await;
        one.clock.suspend(LEASE * 2); // the next chunk comes before the claim is to be extended
        let length = one.part().map(|part| part.len());
        (length, other.host.ledger.claim(1, "other", one.clock.wall() + LEASE).await)
    };
    let (ended, (length, claimed)) = one.run(async { futures::join!(one.engine.drive(1), suspended) });
    assert!(matches!(ended, Err(Error::PartLocked { .. })), "{ended:?}");
    assert!(claimed.expect("the ledger answers"));
    assert_eq!((one.part().map(|part| part.len()), length), (length, Some(5 * CHUNK)));
}
