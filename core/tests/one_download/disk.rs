//! The part and the disk under it: checkpoints, room, failing syncs, whose part it is, the final name.

use crate::world::slow::Slow;
use crate::world::*;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{NewDownload, RestartReason};
use regrip_core::store::{OpenPart, PartStore, StoreRules};
use regrip_core::testing::{
    FakeHost, FakeTransport, MemoryLedger, MemoryStore, Piece, Reply, VirtualClock, new_download,
};
use regrip_core::time::Clock;
use regrip_core::{Change, DownloadId, Engine, Error, Event, OnExists, Row, Status, Summary};

fn get(world: &World, new: NewDownload) -> Result<Summary, Error> {
    world.run(async {
        let id = world.engine.accept(new).await?.id;
        world.engine.drive(id).await
    })
}

fn told(world: &World) -> Vec<&'static str> {
    let changes = world.host.ledger.changes();
    let names = changes.into_iter().filter_map(|(_, change)| match change {
        Change::Claimed(true) => Some("claimed"),
        Change::Fresh { .. } => Some("fresh"),
        Change::Resumed { .. } => Some("resumed"),
        Change::Checkpoint { .. } => Some("checkpoint"),
        Change::Committing { .. } => Some("committing"),
        Change::Completed { .. } => Some("completed"),
        _ => None,
    });
    names.collect()
}

#[test]
fn the_part_is_claimed_and_the_version_recorded_before_the_first_byte() {
    let file = content(1000);
    let mut reply = whole(&file);
    reply.body = file.chunks(600).map(bytes).collect();
    let world = World::scripted(config(), [Ok(reply)]);
    world.get().expect("it is served");
    assert_eq!(told(&world), ["claimed", "fresh", "checkpoint", "committing", "completed"]);
    // And if the ledger does not record the version, no byte is written.
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let id = world.accept();
    world.host.ledger.fail_after(Some(2)); // claimed, attempt, and then `fresh`
    assert!(matches!(world.drive(id), Err(Error::Ledger { .. })));
    assert_eq!(world.part().as_deref(), Some(b"".as_slice()));
}

// S29
#[test]
fn a_checkpoint_is_due_after_the_first_chunk_and_every_64_mib() {
    const CHUNK: usize = 8 << 20;
    let total = (18 * CHUNK).to_string();
    let pieces = (0..18).map(|_| Piece::Bytes(vec![7; CHUNK])).collect();
    let world = World::scripted(config(), [Ok(reply(200, &[("content-length", &total)], pieces))]);
    // Hashing in the fake keeps every byte.
    let engine = Engine::new(world.host.clone(), config(), false).expect("in range");
    let id = world.accept();
    world.run(engine.drive(id)).expect("it is served");
    assert_eq!(world.checkpoints(), [8 << 20, 72 << 20, 136 << 20]);
}

// S29
#[test]
fn a_checkpoint_is_due_every_ten_seconds() {
    let file = content(1_000_000);
    let mut slow = whole(&file);
    slow.body = file.chunks(100_000).flat_map(|piece| [Piece::Wait(seconds(4)), bytes(piece)]).collect();
    let world = World::scripted(config(), [Ok(slow)]);
    world.get().expect("it is served");
    // At 4 s, and then at the first chunk ten seconds later or more.
    assert_eq!(world.checkpoints(), [100_000, 400_000, 700_000]);
}

#[test]
fn an_attempt_that_changes_nothing_records_no_checkpoint() {
    let file = content(1000);
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(reply(404, &[], vec![]))]);
    world.get().expect_err("404 is permanent");
    assert_eq!(told(&world), ["claimed", "fresh", "checkpoint"]);
}

fn in_units_of(durable_unit_bytes: u64) -> StoreRules {
    StoreRules { durable_unit_bytes, ..StoreRules::FILE }
}

#[test]
fn a_checkpoint_waits_for_a_whole_unit_of_durable_bytes() {
    // Slowly: every ten seconds there would be one.
    let file = content(350_000);
    let mut slow = whole(&file);
    let pieces = file.chunks(10_000).map(bytes);
    slow.body = pieces.flat_map(|piece| [Piece::Wait(seconds(4)), piece]).collect();
    let world = World::scripted(config(), [Ok(slow)]);
    world.host.store.set_rules(in_units_of(100_000));
    world.get().expect("it is served");
    assert_eq!(world.checkpoints(), [100_000, 200_000, 300_000]);
    // A hasher's state beyond that would be of no use after a crash.
    for (_, change) in world.host.ledger.changes() {
        if let Change::Checkpoint { durable, digests, .. } = change {
            assert!(digests.iter().all(|(_, state)| state.offset <= durable));
        }
    }
    world.assert_whole(&file);

    // At once: every 64 MiB there would be one.
    const CHUNK: usize = 8 << 20;
    let total = (19 * CHUNK).to_string();
    let pieces = (0..19).map(|_| Piece::Bytes(vec![7; CHUNK])).collect();
    let world = World::scripted(config(), [Ok(reply(200, &[("content-length", &total)], pieces))]);
    let engine = Engine::new(world.host.clone(), config(), false).expect("in range");
    world.host.store.set_rules(in_units_of(72 << 20));
    let id = world.accept();
    world.run(engine.drive(id)).expect("it is served");
    assert_eq!(world.checkpoints(), [72 << 20, 144 << 20]);
}

#[test]
fn after_an_attempt_the_durable_offset_may_trail_what_was_received() {
    let file = content(300_000);
    for (power, goes_on_from) in [(true, 150_000), (false, 100_000_usize)] {
        let world = World::scripted(
            config(),
            [cut(whole(&file), 150_000), Ok(reply(404, &[], vec![])), Ok(rest(&file, goes_on_from))],
        );
        world.host.store.set_rules(in_units_of(100_000));
        let id = world.accept();
        world.drive(id).expect_err("404 is permanent");
        let row = world.row(id);
        assert_eq!((row.downloaded, row.durable, row.digests), (150_000, 100_000, vec![]));
        assert_eq!(world.asked()[1].0, Some(150_000), "within one boot every byte counts");
        if !power {
            world.host.store.lose_power();
        }
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect("it resumes");
        assert_eq!(world.asked()[2].0, Some(goes_on_from as u64));
        world.assert_whole(&file);
    }
}

#[test]
fn bytes_that_can_neither_be_compared_nor_discarded_end_a_download_without_another_request() {
    let file = content(1000);
    let world = World::scripted(config(), [cut(without(whole(&file), "etag"), 400)]);
    world.host.store.set_rules(StoreRules { read_back_bytes: 0, truncate: false, durable_unit_bytes: 1 });
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::NotResumable)));
    assert_eq!((world.asked().len(), world.row(id).status), (1, Status::Failed));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    world.assert_at_rest();
    // With an ETag they need no comparison.
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(rest(&file, 400))]);
    let rules = StoreRules { truncate: false, ..StoreRules::FILE };
    world.host.store.set_rules(StoreRules { read_back_bytes: 0, ..rules });
    world.get().expect("it resumes");
    world.assert_whole(&file);
}

// D01, S32
#[test]
fn no_room_to_reserve_is_permanent_and_nothing_is_asked_again() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file)), Ok(whole(&file))]);
    world.host.store.set_room(Some(999));
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::DiskFull { .. })));
    assert_eq!((world.asked().len(), world.row(id).status), (1, Status::Failed));
    world.assert_at_rest();
    world.host.store.set_room(None);
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("there is room now");
    world.assert_whole(&file);
}

// D01
#[test]
fn a_disk_that_fills_up_while_writing_keeps_the_part_and_is_not_retried() {
    let file = content(1000);
    let chunked = [("transfer-encoding", "chunked"), V1];
    let pieces = file.chunks(400).map(bytes).collect();
    let world = World::scripted(config(), [Ok(reply(200, &chunked, pieces)), Ok(rest(&file, 400))]);
    world.host.store.set_room(Some(500));
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::DiskFull { .. })));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    assert_eq!((world.asked().len(), world.row(id).durable), (1, 400));
    world.assert_at_rest();
    world.host.store.set_room(None);
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("there is room now");
    world.assert_whole(&file);
}

// D03: the next sync does not report what a failed one dropped, so its success proves nothing.
#[test]
fn after_a_failed_sync_the_part_is_not_believed() {
    let file = content(1000);
    let mut reply = whole(&file);
    reply.body = file.chunks(400).map(bytes).collect();
    let world = World::scripted(config(), [Ok(reply), Ok(whole(&file))]);
    world.host.store.fail_syncs(1);
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::Disk { what: "sync", .. })));
    assert_eq!(world.restarts(), [(RestartReason::PartChanged, 400)]);
    assert_eq!((world.row(id).durable, world.part().unwrap_or_default().len()), (0, 0));
    assert_eq!(world.checkpoints(), [0_u64; 0], "nothing is called durable");
    world.assert_at_rest();
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("the disk works again");
    assert_eq!(world.asked()[1], (None, None));
    world.assert_whole(&file);
}

// D03
#[test]
fn a_file_whose_last_sync_fails_does_not_get_its_name() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file)), Ok(whole(&file))]);
    world.host.store.fail_syncs(1);
    let id = world.accept();
    assert!(matches!(world.drive(id), Err(Error::Disk { what: "sync", .. })));
    assert_eq!((world.file(), world.row(id).status), (None, Status::Failed));
    assert!(!told(&world).contains(&"committing"));
    world.run(world.engine.retry(id)).expect("it failed");
    world.drive(id).expect("the disk works again");
    world.assert_whole(&file);
}

// D07
#[test]
fn a_part_no_row_claims_is_not_touched() {
    for theirs in [b"somebody else's".as_slice(), b""] {
        let world = World::scripted(config(), []);
        world.host.store.put(PART, theirs);
        let id = world.accept();
        for _ in 0..2 {
            let error = world.drive(id).expect_err("it is not ours");
            assert!(matches!(&error, Error::ForeignPart { path } if path == PART));
            assert!(error.advice().is_some_and(|advice| advice.contains("adopt it")));
            assert_eq!(world.part().as_deref(), Some(theirs));
            world.run(world.engine.retry(id)).expect("it failed");
        }
        world.run(world.engine.remove(id)).expect("it is not driven");
        assert_eq!(world.part().as_deref(), Some(theirs));
    }
}

/// Drives a download by an engine with a slow disk and ledger, and after this many polls does something else.
fn while_driven<T>(
    world: &World,
    id: DownloadId,
    polls: u32,
    other: impl AsyncFnOnce() -> T,
) -> (Result<Summary, Error>, T) {
    let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), config(), true).expect("in range");
    world.run(async {
        let other = async {
            for _ in 0..polls {
                pause().await;
            }
            other().await
        };
        futures::join!(engine.drive(id), other)
    })
}

// Between looking for it and creating it.
#[test]
fn a_part_that_another_program_creates_first_is_not_touched() {
    let mut refused = 0;
    for polls in 0..40 {
        let world = World::scripted(config(), [Ok(whole(b"film"))]);
        let id = world.accept();
        let (ended, put) = while_driven(&world, id, polls, async || {
            let is_free = world.part().is_none();
            if is_free {
                world.host.store.put(PART, b"theirs");
            }
            is_free
        });
        match ended {
            Ok(_) => assert_eq!(world.file().as_deref(), Some(b"film".as_slice()), "poll {polls}"),
            Err(Error::ForeignPart { .. }) => {
                let claims =
                    world.host.ledger.changes().into_iter().filter(|(_, change)| *change == Change::Claimed(true));
                refused += claims.count();
            }
            Err(error) => panic!("poll {polls}: {error}"),
        }
        assert!(!put || !world.row(id).claimed || world.file().is_some(), "poll {polls}");
        world.run(world.engine.remove(id)).expect("it is not driven");
        assert_eq!(world.part().is_some_and(|part| part == b"theirs"), put, "poll {polls}");
    }
    assert!(refused > 0, "never between the two");
}

#[test]
fn of_two_processes_that_begin_a_download_at_once_the_one_that_writes_the_part_keeps_its_claim() {
    let mut refused = 0;
    for polls in 0..20 {
        let world = World::answering(config(), |_| {
            let mut late = whole(b"film");
            late.body.insert(0, Piece::Wait(seconds(10)));
            Ok(late)
        });
        let id = world.accept();
        let other = Engine::new(Slow::new(world.host.clone(), seconds(0)), config(), true).expect("in range");
        let (one, other) = while_driven(&world, id, polls, async || {
            let ended = other.drive(id).await;
            (ended, world.row(id).claimed || world.row(id).status.is_complete())
        });
        let changes = world.host.ledger.changes();
        match (one, other) {
            (Ok(_), (Err(Error::PartLocked { .. }), claimed)) | (Err(Error::PartLocked { .. }), (Ok(_), claimed)) => {
                assert!(claimed && changes.iter().all(|(_, change)| *change != Change::Claimed(false)), "poll {polls}");
                refused +=
                    usize::from(changes.iter().filter(|(_, change)| *change == Change::Claimed(true)).count() == 2);
            }
            other => panic!("poll {polls}: {other:?}"),
        }
        world.assert_whole(b"film");
    }
    assert!(refused > 0, "never both before the part was there");
}

#[test]
fn an_attempt_that_does_not_begin_leaves_the_bytes_there_are() {
    let file = content(1000);
    let begun = || {
        let world =
            World::scripted(config(), [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400))]);
        let id = world.accept();
        world.drive(id).expect_err("404 is permanent");
        world.run(world.engine.retry(id)).expect("it failed");
        (world, id)
    };
    let (world, id) = begun();
    world.host.ledger.fail_after(Some(0));
    assert!(matches!(world.drive(id), Err(Error::Ledger { .. })));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
    for polls in 0..30 {
        let (world, id) = begun();
        let _ = while_driven(&world, id, polls, async || {
            world.run(world.host.ledger.record(id, &Change::Cancelled, world.clock.wall()))
        });
        let bytes = world.part().or_else(|| world.file()).expect("one of them");
        assert!(bytes.len() >= 400 && file.starts_with(&bytes), "poll {polls}: {} bytes", bytes.len());
    }
}

#[test]
fn what_is_no_file_has_the_name_of_a_part_and_is_not_written_by_another_process() {
    let world = World::scripted(config(), []);
    world.host.store.put_folder(PART);
    let error = world.get().expect_err("it is not ours");
    assert!(matches!(&error, Error::ForeignPart { path } if path == PART), "{error}");
}

#[test]
fn an_adopted_part_is_taken_up_after_a_comparison() {
    let file = content(100_000);
    let new = || NewDownload { adopt: true, ..new_download(URL, FILE) };
    // Also if comparing is turned off: nothing else vouches for it.
    for overlap in [0, 65_536] {
        let config = regrip_core::DownloadsConfig { resume_overlap_bytes: overlap, ..config() };
        let world = World::scripted(config, [Ok(rest(&file, 70_000 - 65_536))]);
        world.host.store.put(PART, &file[..70_000]);
        let summary = get(&world, new()).expect("it fits");
        assert_eq!((summary.attempts, summary.restarts), (1, 0));
        assert_eq!(world.asked(), [(Some(70_000 - 65_536), None)]);
        assert_eq!(told(&world)[..2], ["claimed", "checkpoint"], "its bytes are recorded before anything is requested");
        world.assert_whole(&file);
    }
    // Once bytes of the source are behind them, the configuration counts again.
    let config_of_0 = regrip_core::DownloadsConfig { resume_overlap_bytes: 0, ..config() };
    let first = cut(without(rest(&file, 70_000 - 65_536), "etag"), 75_536);
    let world = World::scripted(config_of_0, [first, Ok(without(whole(&file), "etag"))]);
    world.host.store.put(PART, &file[..70_000]);
    get(&world, new()).expect("the whole is compared");
    assert_eq!(world.asked(), [(Some(70_000 - 65_536), None), (None, None)]);
    world.assert_whole(&file);
    // There may be nothing to adopt.
    let world = World::scripted(config(), [Ok(whole(&file[..1000]))]);
    get(&world, new()).expect("it is served");
    assert_eq!(told(&world), ["claimed", "fresh", "committing", "completed"]);
    let world = World::scripted(config(), [Ok(rest(&file, 70_000 - 65_536)), Ok(whole(&file))]);
    world.host.store.put(PART, &bytes_of(2, 70_000));
    get(&world, new()).expect("it starts over");
    assert_eq!(world.restarts(), [(RestartReason::OverlapMismatch, 70_000)]);
    world.assert_whole(&file);
}

#[test]
fn bytes_in_a_claimed_part_that_were_never_recorded_are_discarded() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let id = world.accept();
    world.run(world.host.ledger.record(id, &Change::Claimed(true), world.clock.wall())).expect("it is open");
    world.host.store.put(PART, b"left");
    world.drive(id).expect("it starts over");
    assert_eq!(world.restarts(), [(RestartReason::PartChanged, 4)]);
    world.assert_whole(&file);
}

#[test]
fn a_part_that_is_being_written_by_another_is_left_to_it() {
    let file = content(1000);
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    world.run(world.engine.retry(id)).expect("it failed");
    let held = world.run(world.host.store.open(PART, OpenPart::Claimed)).expect("it is closed");
    let before = world.row(id);
    assert!(matches!(world.drive(id), Err(Error::PartLocked { .. })));
    assert_eq!(world.row(id), before, "the row is its writer's");
    drop(held);
    world.drive(id).expect("it resumes");
    world.assert_whole(&file);
}

// D10, S23
#[test]
fn what_stands_at_the_destination_is_replaced_or_not_as_was_asked() {
    let file = content(1000);
    let on = |on_exists| NewDownload { on_exists, ..new_download(URL, FILE) };
    let world = World::scripted(config(), [Ok(whole(&file))]);
    world.host.store.put(FILE, b"old");
    get(&world, on(OnExists::Overwrite)).expect("it is replaced");
    world.assert_whole(&file);
    for on_exists in [OnExists::Fail, OnExists::Rename] {
        let world = World::scripted(config(), [Ok(whole(&file))]);
        world.host.store.put(FILE, b"old");
        let error = get(&world, on(on_exists)).expect_err("it is in the way");
        assert!(matches!(error, Error::DestinationExists { .. }));
        assert_eq!(world.file().as_deref(), Some(b"old".as_slice()));
        assert_eq!(world.part().as_deref(), Some(&file[..]), "the part stays");
        assert_eq!(told(&world), ["claimed", "fresh", "committing", "checkpoint"]);
        world.assert_at_rest();
        // Once it is out of the way the part is finished, without another request, and verified again.
        world.run(world.host.store.remove(FILE)).expect("it is a file");
        world.run(world.engine.retry(1)).expect("it failed");
        assert_eq!(world.drive(1).expect("nothing is in the way").bytes, 1000);
        assert_eq!(world.asked().len(), 1);
        let story = world.host.story(1);
        assert_eq!(story[story.len() - 3..], ["started", "headers", "completed"]);
        world.assert_whole(&file);
    }
}

/// A host on which something happens right before the commit. An existing file may not be replaced.
struct Meanwhile<F> {
    fake: FakeHost,
    happens: F,
}

impl<F: Fn(&FakeHost)> Host for Meanwhile<F> {
    type Transport = FakeTransport;
    type Store = MemoryStore;
    type Ledger = MemoryLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &FakeTransport {
        &self.fake.transport
    }
    fn store(&self) -> &MemoryStore {
        &self.fake.store
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.fake.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.fake.clock
    }
    fn seed(&self) -> u64 {
        self.fake.seed()
    }
    fn on_event(&self, event: &Event<'_>) {
        self.fake.on_event(event);
    }
    async fn may_replace(&self, _row: &Row) -> Result<bool, Error> {
        (self.happens)(&self.fake);
        Ok(false)
    }
}

// Its bytes are in a part then, and not about to be renamed.
#[test]
fn a_download_whose_storage_goes_down_at_the_commit_can_still_be_cancelled() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    let mut fake = world.host.clone();
    fake.ledger = fake.ledger.leasing(seconds(30), world.clock.clone());
    let host = Meanwhile { fake, happens: |fake: &FakeHost| fake.store.set_down(true) };
    let engine = Engine::new(host, config(), true).expect("in range");
    let id = world.accept();
    let error = world.run(engine.drive(id)).expect_err("it is down");
    assert!(matches!(error, Error::Disk { .. }), "{error}");
    assert_eq!((world.row(id).status, told(&world).pop()), (Status::Queued, Some("checkpoint")));
    world.run(engine.cancel(id)).expect("it is queued");
}

#[test]
fn a_name_that_is_taken_right_before_the_commit_is_not_replaced_and_a_part_that_stays_is_claimed() {
    let file = content(1000);
    let claims: [&[&str]; 3] = [
        &["claimed", "fresh", "committing", "checkpoint"],
        &["fresh", "committing", "claimed", "checkpoint"],
        &["fresh", "committing"],
    ];
    let rows: [(bool, &'static [&'static str], &str); 3] = [
        (true, &[FILE], "DestinationExists"),
        (false, &[FILE], "DestinationExists"),
        (false, &[FILE, PART], "ForeignPart"),
    ];
    for ((is_named, names, code), changes) in rows.into_iter().zip(claims) {
        let world = World::scripted(config(), [Ok(whole(&file))]);
        if !is_named {
            world.host.store.keep_unnamed(1 << 20);
        }
        let take = move |fake: &FakeHost| names.iter().for_each(|name| fake.store.put(name, b"another"));
        let host = Meanwhile { fake: world.host.clone(), happens: take };
        let engine = Engine::new(host, config(), true).expect("in range");
        let id = world.run(engine.accept(new_download(URL, FILE))).expect("the destination is free").id;
        let error = world.run(engine.drive(id)).expect_err("its name is taken");
        assert_eq!(error.code().as_str(), code);
        assert_eq!(world.file().as_deref(), Some(b"another".as_slice()));
        assert_eq!(told(&world), changes);
        let (row, stays) = (world.row(id), code == "DestinationExists");
        assert_eq!((row.status, row.claimed), (Status::Failed, stays));
        assert_eq!(row.durable, if stays { 1000 } else { 0 });
        assert_eq!(world.part().is_some_and(|part| part == file), stays);
    }
}

// L02: whichever write fails, nothing is called finished that is not, and the next drive gets there.
// L01
#[test]
fn a_ledger_that_fails_at_any_write_finishes_nothing_wrongly() {
    let file = content(100_000);
    for writes in 0.. {
        let mut first = whole(&file);
        first.body = file[..60_000].chunks(20_000).map(bytes).collect();
        first.body.push(Piece::Break(broken()));
        let mut served = Some(first);
        let answers = file.clone();
        let world = World::answering(config(), move |asked| {
            let from = asked.first.map_or(0, |first| usize::try_from(first).expect("it is short"));
            Ok(match (served.take(), asked.first) {
                (Some(first), None) => first,
                (_, None) => whole(&answers),
                (_, Some(_)) => rest(&answers, from),
            })
        });
        let id = world.accept();
        world.host.ledger.fail_after(Some(writes));
        let result = world.drive(id);
        world.host.ledger.fail_after(None);
        world.assert_at_rest();
        let row = world.run(world.host.ledger.row(id)).expect("it is there");
        let failed = result.is_err();
        match (&result, row.status) {
            (Ok(summary), Status::Completed) => assert_eq!(summary.warning, None),
            // Only the last write failed: the file has its name, and the next drive says so.
            (Ok(summary), status) => {
                assert_eq!(status, Status::Committing, "write {writes}");
                assert!(summary.warning.is_some(), "write {writes}");
                assert!(world.file().is_some(), "write {writes}");
            }
            (Err(error), Status::Completed) => {
                panic!("write {writes}: {error} of a completed download")
            }
            (Err(error), status) => {
                assert!(matches!(error, Error::Ledger { .. }), "write {writes}: {error}");
                assert!(!status.is_finished(), "write {writes}: {status:?}");
            }
        }
        if world.file().is_some() {
            assert!(matches!(row.status, Status::Committing | Status::Completed), "write {writes}");
        }
        let again = World::on(world.host.clone(), config());
        again.drive(id).unwrap_or_else(|error| panic!("write {writes}: {error}"));
        again.assert_whole(&file);
        if !failed && writes > 20 {
            return;
        }
    }
}

#[test]
fn a_download_that_came_to_nothing_leaves_its_destination_to_others() {
    let world = World::scripted(config(), [Ok(reply(404, &[], vec![])), Ok(whole(b"film"))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    assert_eq!((world.part(), world.row(id).claimed), (None, false));
    let other = new_download("http://other.example/film.mkv", FILE);
    get(&world, other).expect("the name is free");
    world.assert_whole(b"film");
}

// The folder may be away for a while, with the part in it.
#[test]
fn a_part_that_is_away_when_its_download_fails_stays_claimed() {
    for received in [0, 400] {
        let file = content(1000);
        let late = Reply { delay: seconds(10), ..reply(404, &[], vec![]) };
        let last = if received == 0 { whole(&file) } else { rest(&file, received) };
        let world = World::scripted(config(), [cut(whole(&file), received), Ok(late), Ok(last)]);
        let id = world.accept();
        let away = async {
            wait(&world.clock, seconds(9)).await;
            let part = world.part().expect("it is created");
            world.host.store.delete(PART);
            part
        };
        let (ended, part) = world.run(async { futures::join!(world.engine.drive(id), away) });
        ended.expect_err("404 is permanent");
        assert_eq!((part.len(), world.part(), world.row(id).claimed), (received, None, true));
        world.host.store.put(PART, &part);
        world.run(world.engine.retry(id)).expect("it failed");
        world.drive(id).expect("the part is there again");
        world.assert_whole(&file);
    }
}
