//! Crashes of the process and of the machine, at every await (K01, C03 to C09): what they leave is enough to go on from.

use crate::world::slow::Slow;
use crate::world::*;
use futures::future::Either;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{NewDownload, RestartReason};
use regrip_core::testing::{Asked, FakeHost, FakeTransport, MemoryStore, Piece, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadsConfig, Engine, Error, OnExists, Status};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Crash,
    PowerLoss,
}

/// A peer whose bodies drip, and whose first one breaks half way.
fn dripping_peer(file: Vec<u8>, etag: bool) -> impl FnMut(&Asked) -> Answer + Send {
    let mut breaks = true;
    move |asked| {
        let (from, _) = (asked.first.unwrap_or(0) as usize, asked);
        let mut reply = if asked.first.is_some() { rest(&file, from) } else { whole(&file) };
        if !etag {
            reply = without(reply, "etag");
        }
        let broken_at = std::mem::take(&mut breaks).then_some(file.len() * 3 / 5);
        let sent = &file[from..broken_at.unwrap_or(file.len()).max(from)];
        let drip = |piece: &[u8]| [Piece::Wait(seconds(4)), bytes(piece)];
        reply.body = sent.chunks(4_000).flat_map(drip).collect();
        reply.body.extend(broken_at.map(|_| Piece::Break(broken())));
        Ok(reply)
    }
}

fn host(file: &[u8], etag: bool) -> FakeHost {
    let clock = VirtualClock::default();
    let transport = FakeTransport::new(clock.clone(), dripping_peer(file.to_vec(), etag));
    FakeHost::new(clock, transport)
}

/// A process: finds what the last one left, and drives it or begins.
async fn process(engine: &Engine<Slow>) -> Result<(), Error> {
    let recovered = engine.recover().await?;
    for id in recovered.drive {
        engine.drive(id).await?;
    }
    let rows = engine.host().ledger().rows_for(FILE).await?;
    if rows.is_empty() {
        let id = engine.accept(new_download(URL, FILE)).await?.id;
        engine.drive(id).await?;
    }
    Ok(())
}

/// Runs one process for this many polls, ends it, and examines what it left. Returns `true` if it ended by itself.
fn run_and_end(world: &World, file: &[u8], polls: u32, end: End) -> bool {
    let slow = Slow::new(world.host.clone(), Duration::ZERO);
    let engine = Engine::new(slow, config(), true).expect("the defaults are in range");
    let done = world.run(at_most(polls, process(&engine)));
    assert_eq!(engine.permits_used(), 0, "a permit is held");
    world.assert_at_rest();
    match end {
        End::Crash => world.host.store.crash(),
        End::PowerLoss => world.host.store.lose_power(),
    }
    look(world, file);
    match done {
        Some(result) => result.map(|()| true).expect("nothing fails for good here"),
        None => false,
    }
}

/// What holds after a crash at any moment (I1, I9).
fn look(world: &World, file: &[u8]) {
    if let Some(there) = world.file() {
        assert!(there == file, "a final name holds something else than the file");
    }
    let rows = world.host.ledger.rows();
    assert!(rows.len() <= 1, "one row");
    let part = world.part().unwrap_or_default();
    let Some(row) = rows.first() else {
        assert!(part.is_empty() && world.file().is_none());
        return;
    };
    if !part.is_empty() {
        assert!(row.claimed, "bytes in a part nobody claims");
        assert!(row.epoch.is_some(), "bytes of a version nobody recorded");
        assert!(part.len() as u64 >= row.durable, "less than what was called durable");
        assert!(part == file[..part.len()], "bytes that are not the file's");
    }
    match row.status {
        Status::Completed => assert!(world.file().is_some(), "completed without a file"),
        // An unnamed part, which the row never claimed, goes with its process.
        Status::Committing => assert!(world.file().is_some() || part.len() == file.len() || !row.claimed),
        _ => assert!(world.file().is_none(), "a file without a record"),
    }
}

// K01, C03 to C07
#[test]
fn a_crash_at_any_await_leaves_what_the_next_process_finishes() {
    let file = content(40_000);
    let ends = [End::Crash, End::PowerLoss];
    for (end, etag, unnamed) in ends.into_iter().flat_map(|end| {
        [(true, 0), (false, 0), (true, 40_000), (false, 40_000)].map(|(etag, unnamed)| (end, etag, unnamed))
    }) {
        let mut polls = 0;
        loop {
            let world = World::on(host(&file, etag), config());
            world.host.store.keep_unnamed(unnamed);
            let done = run_and_end(&world, &file, polls, end);
            assert!(run_and_end(&world, &file, u32::MAX, End::Crash), "poll {polls}, {end:?}");
            world.assert_whole(&file);
            let row = world.row(1);
            assert_eq!((row.status, row.restarts), (Status::Completed, 0), "poll {polls}, {end:?}");
            // A third one has nothing to do.
            let asked = world.asked().len();
            assert!(run_and_end(&world, &file, u32::MAX, End::PowerLoss));
            assert_eq!(world.asked().len(), asked);
            if done {
                assert!(polls > 80, "there were {polls} awaits only");
                break;
            }
            polls += 1;
        }
    }
}

// C09, and a kill costs no attempt: with a cap of 2 a hundred of them still end with the file.
#[test]
fn a_process_that_is_killed_again_and_again_gets_there() {
    let file = content(40_000);
    for end in [End::Crash, End::PowerLoss] {
        for polls in [35, 42] {
            let world = World::on(host(&file, true), DownloadsConfig { max_download_attempts: 2, ..config() });
            let processes = (1..1000).find(|_| run_and_end(&world, &file, polls, end));
            assert!(processes.is_some_and(|count| count > 2), "{processes:?}, {polls} polls, {end:?}");
            world.assert_whole(&file);
        }
    }
}

/// A download whose part is at 50,000 of 100,000 bytes, 10,000 of them durable, when its process ends.
fn halfway(file: &[u8], end: End) -> World {
    let mut first = whole(file);
    first.body = vec![bytes(&file[..10_000]), bytes(&file[10_000..50_000]), Piece::Forever];
    let mut first = Some(first);
    let served = file.to_vec();
    let world = World::answering(config(), move |asked| {
        Ok(first.take().unwrap_or_else(|| match asked.first {
            None => whole(&served),
            Some(from) => rest(&served, usize::try_from(from).expect("it is short")),
        }))
    });
    let id = world.accept();
    world.run(at_most(1, world.engine.drive(id)));
    assert_eq!((world.row(id).durable, world.part().map(|part| part.len())), (10_000, Some(50_000)));
    match end {
        End::Crash => world.host.store.crash(),
        End::PowerLoss => world.host.store.lose_power(),
    }
    World::on(world.host, config())
}

// C03
#[test]
fn after_a_crash_of_the_process_the_parts_own_length_counts() {
    let file = content(100_000);
    let world = halfway(&file, End::Crash);
    world.drive(1).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(50_000));
    world.assert_whole(&file);
}

// C04
#[test]
fn after_a_power_loss_only_what_was_synced_counts() {
    let file = content(100_000);
    let world = halfway(&file, End::PowerLoss);
    world.drive(1).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(10_000));
    assert!(world.restarts().is_empty());
    world.assert_whole(&file);
}

// D06: pages beyond the durable offset may have reached the disk, or holes in their place.
#[test]
fn after_a_power_loss_bytes_beyond_the_durable_offset_are_cut_off() {
    let file = content(100_000);
    let world = halfway(&file, End::PowerLoss);
    let mut torn = file[..10_000].to_vec();
    torn.resize(40_000, 0);
    world.host.store.put(PART, &torn);
    world.drive(1).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(10_000));
    world.assert_whole(&file);
}

#[test]
fn after_a_power_loss_a_part_shorter_than_durable_starts_over() {
    let file = content(100_000);
    let world = halfway(&file, End::PowerLoss);
    world.host.store.put(PART, &file[..9_999]);
    world.drive(1).expect("it starts over");
    assert_eq!(world.asked()[1].0, None);
    assert_eq!(world.restarts(), [(RestartReason::PartChanged, 9_999)]);
    world.assert_whole(&file);
}

/// A small file that is served whole, on a store that keeps it unnamed.
fn small_file(answers: impl IntoIterator<Item = Answer>) -> World {
    let world = World::scripted(config(), answers);
    world.host.store.keep_unnamed(1 << 20);
    world
}

#[test]
fn of_a_small_file_a_crash_before_the_commit_leaves_nothing_and_it_is_fetched_again() {
    let file = content(1000);
    let mut stuck = whole(&file);
    stuck.body = vec![bytes(&file[..600]), Piece::Forever];
    let world = small_file([Ok(stuck), Ok(whole(&file))]);
    let id = world.accept();
    world.run(async {
        let soon = pin!(wait(&world.clock, Duration::from_millis(100)));
        let drive = pin!(world.engine.drive(id));
        let ended = futures::future::select(drive, soon).await;
        assert!(matches!(ended, Either::Right(_)), "it waits for the rest");
    });
    assert_eq!(world.host.store.names(), [""; 0]);
    let row = world.row(id);
    assert_eq!((row.claimed, row.attempts, row.status), (false, 0, Status::Queued));
    let next = World::on(world.host.clone(), config());
    next.drive(id).expect("it is served");
    next.assert_whole(&file);
    assert_eq!(next.asked(), [(None, None), (None, None)], "no byte was kept");
}

#[test]
fn a_small_file_whose_name_was_taken_meanwhile_keeps_its_bytes_in_a_part() {
    let file = content(1000);
    for (takes, code) in [(FILE, "DestinationExists"), (PART, "ForeignPart")] {
        let (clock, served) = (VirtualClock::default(), file.clone());
        let disk = Arc::new(Mutex::new(None::<MemoryStore>));
        let there = Arc::clone(&disk);
        let transport = FakeTransport::new(clock.clone(), move |_| {
            there.lock().unwrap().as_ref().unwrap().put(takes, b"another");
            // Longer than a small file may be, so that there must be a part.
            Ok(if takes == PART { whole(&[7; 2000]) } else { whole(&served) })
        });
        let world = World::on(FakeHost::new(clock, transport), config());
        world.host.store.keep_unnamed(1500);
        *disk.lock().unwrap() = Some(world.host.store.clone());
        let new = NewDownload { on_exists: OnExists::Fail, ..new_download(URL, FILE) };
        let id = world.run(world.engine.accept(new)).expect("the destination is free").id;
        assert_eq!(world.drive(id).unwrap_err().code().as_str(), code);
        assert_eq!(world.host.store.file(takes).as_deref(), Some(b"another".as_slice()));
        let row = world.row(id);
        assert_eq!((row.status, row.claimed), (Status::Failed, takes == FILE));
        if takes == FILE {
            assert_eq!(world.part(), Some(file.clone()), "the part stays");
            let changes = world.host.ledger.changes().into_iter().map(|(_, change)| change);
            let first = changes.into_iter().find(|change| !matches!(change, Change::Fresh { .. }));
            assert_eq!(first, Some(Change::Claimed(true)), "before the part gets its name");
        }
        world.assert_at_rest();
    }
}

#[test]
fn a_small_file_that_trickles_is_shown_as_downloading_and_what_broke_goes_on_from_its_bytes() {
    let file = content(1000);
    let mut slow = whole(&file);
    slow.body = vec![bytes(&file[..600]), Piece::Wait(seconds(1)), Piece::Break(broken())];
    let world = small_file([Ok(slow), Ok(rest(&file, 600))]);
    let id = world.accept();
    let drive = world.engine.drive(id);
    world.run(async {
        let looked = async {
            wait(&world.clock, Duration::from_millis(500)).await;
            world.host.ledger.rows()
        };
        let (done, rows) = futures::join!(drive, looked);
        done.expect("it is served");
        assert_eq!(rows.first().map(|row| (row.status, row.attempts)), Some((Status::Downloading, 1)));
    });
    world.assert_whole(&file);
    assert_eq!(world.asked().last(), Some(&(Some(600), Some("\"v1\"".to_owned()))));
    assert_eq!(world.row(id).attempts, 2);
}

#[test]
fn the_row_of_a_small_file_that_was_just_accepted_is_not_read_again() {
    let file = content(1000);
    let world = small_file([Ok(whole(&file))]);
    let id = world.accept();
    world.host.ledger.fail_reads(u32::MAX);
    world.drive(id).expect("it is known");
    world.assert_whole(&file);
}

#[test]
fn a_small_file_that_another_process_completed_meanwhile_is_done() {
    let file = content(1000);
    let world = small_file([Ok(whole(&file))]);
    let id = world.accept();
    world
        .run(world.host.ledger.record(id, &Change::Completed { size: 1000, warning: None }, world.clock.wall()))
        .unwrap();
    world.host.store.put(FILE, &file);
    let summary = world.drive(id).expect("it is complete");
    assert_eq!(summary.bytes, 1000);
    world.assert_at_rest();
}
