//! Processes that share a ledger and claim what they drive. Each has a disk of its own, so that no lock keeps them apart.

use crate::world::*;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::store::{Committing, OpenPart, Part, PartBytes, PartStore};
use regrip_core::testing::{FakeHost, Piece};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadsConfig, Error, ErrorCode, Status};
use std::time::Duration;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
const CHUNK: usize = 10_000;

/// A file of a hundred chunks.
fn film() -> Vec<u8> {
    content(100 * CHUNK)
}

/// The nth process.
pub(crate) fn process(of: &World, n: usize) -> World {
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
    one.host.store.set_down(true);
    let ended = one.drive(1);
    assert!(matches!(ended, Err(Error::Disk { .. })), "{ended:?}");
    assert_eq!(one.host.story(1), ["queued", "queued"]);
    let row = other.row(1);
    assert_eq!((row.status, row.bounds.in_a_row, row.failure), (Status::Queued, 0, None));
    assert_eq!(other.host.ledger.claimed(1), None);
    other.drive(1).expect("it has a disk");
    other.assert_whole(&film());
}

// From then on it is too late to cancel, whoever looks where the file is.
#[test]
fn a_process_without_storage_leaves_a_file_that_is_being_renamed_so() {
    let [one, other] = two(1);
    let part = other.run(async {
        let mut part = other.host.store.open(PART, OpenPart::Create).await.expect("it is new");
        part.write(0, &film(), &mut []).await.expect("there is room");
        Committing { token: part.token(), size: film().len() as u64 }
    });
    for change in [Change::Claimed(true), Change::Committing { committing: part, digests: Vec::new() }] {
        one.run(one.host.ledger.record(1, &change, one.clock.wall())).expect("it takes changes");
    }
    one.host.store.set_down(true);
    let ended = one.drive(1);
    assert!(matches!(ended, Err(Error::Disk { .. })), "{ended:?}");
    let late = one.run(one.engine.cancel(1));
    assert!(matches!(late, Err(Error::WrongState { status: Status::Committing, .. })), "{late:?}");
    other.drive(1).expect("it has a disk");
    other.assert_whole(&film());
    assert_eq!(other.asked(), []);
}

#[test]
fn a_process_that_is_alone_fails_without_storage_and_one_of_several_fails_of_anything_else() {
    for (is_down, leases) in [(true, false), (false, true)] {
        let alone = World::scripted(config(), [Ok(reply(404, &[], vec![]))]);
        let world = if leases { process(&alone, 0) } else { alone };
        world.host.store.set_down(is_down);
        let error = world.get().expect_err("it has no disk, or the file is gone");
        assert_eq!((error.code() == ErrorCode::Disk, world.row(1).status), (is_down, Status::Failed));
    }
}

#[test]
fn a_download_that_a_process_cannot_drive_rests_longer_each_time_and_any_other_is_free_at_once() {
    for is_locked in [false, true] {
        let [one, other] = two(1);
        let held = is_locked.then(|| one.run(one.host.store.open(PART, OpenPart::Create)).expect("it is new"));
        one.host.store.set_down(!is_locked);
        for _ in 0..8 {
            let error = one.drive(1).expect_err("it cannot write");
            assert_eq!(error.code(), if is_locked { ErrorCode::PartLocked } else { ErrorCode::Disk });
        }
        drop(held);
        one.host.store.delete(PART);
        one.host.store.set_down(false);
        one.drive(1).expect("it can write");
        let rests: Vec<Duration> = other.host.ledger.rests().into_iter().map(|(_, rest)| rest).collect();
        let first = Duration::from_millis(config().retry_base_delay_ms);
        assert!(rests[..8].iter().all(|rest| !rest.is_zero()), "{rests:?}");
        assert!(rests[0] <= first && rests.iter().any(|rest| *rest > first * 4), "{rests:?}");
        assert_eq!(rests[8..], [Duration::ZERO]);
    }
}

#[test]
fn a_claim_names_the_process_and_the_drive() {
    let [one, other] = two(1);
    let claim_of = |world: &World| {
        let ended = world.run(at_most(1, world.engine.drive(1)));
        assert!(ended.is_none(), "it takes its time");
        owner(world)
    };
    let claims = [claim_of(&one), {
        other.run(wait(&other.clock, LEASE));
        claim_of(&other)
    }];
    for (claim, world) in claims.iter().zip([&one, &other]) {
        let (process, drive) = claim.split_once('-').expect("two names");
        assert_eq!(process, world.engine.owner());
        assert!(!drive.is_empty());
    }
    assert_ne!(one.engine.owner(), other.engine.owner());
    assert_eq!(World::scripted(config(), []).engine.owner(), "", "nothing is claimed");
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
