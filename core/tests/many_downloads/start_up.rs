//! What an earlier process left, and what becomes of it (spec §5 Finish and §6 Start-up; C05 to C09).

use crate::world::*;
use regrip_core::engine::Recovered;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Committing, NewAttempt};
use regrip_core::store::{OpenPart, Part, PartStore, Replace};
use regrip_core::testing::new_download;
use regrip_core::{Change, DownloadId, Error, Status};
use std::time::SystemTime;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn insert(world: &World, url: &str, destination: &str) -> DownloadId {
    let new = new_download(url, destination);
    world
        .run(world.host.ledger.insert(&new, NOW))
        .expect("it takes rows")
}

fn record(world: &World, id: DownloadId, change: Change) {
    world
        .run(world.host.ledger.record(id, &change, NOW))
        .expect("it takes changes");
}

fn durable(world: &World, id: DownloadId, bytes: u64) {
    record(world, id, Change::Claimed(true));
    let boot_id = world.host.store.boot_id();
    record(
        world,
        id,
        Change::Checkpoint {
            downloaded: bytes,
            durable: bytes,
            boot_id,
            digest: None,
        },
    );
}

// S47
#[test]
fn of_several_rows_for_a_destination_the_one_with_most_durable_bytes_is_driven() {
    let world = World::scripted(config(), []);
    let few = insert(&world, "http://a.example/", FILE);
    let most = insert(&world, "http://b.example/", FILE);
    let none = insert(&world, "http://c.example/", FILE);
    let alone = insert(&world, "http://d.example/", "/films/other");
    durable(&world, few, 10);
    durable(&world, most, 20);
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(
        recovered,
        Recovered {
            drive: vec![most, alone],
            superseded: vec![few, none]
        }
    );
    for id in [few, none] {
        let row = world.row(id);
        let failure = row.failure.expect("it failed");
        assert_eq!((row.status, failure.code), (Status::Failed, "superseded"));
        assert!(failure.text.contains(&format!("download {most}")));
    }
    assert_eq!(world.row(most).status, Status::Queued);
    // C09: looking again changes nothing more.
    let changes = world.host.ledger.changes().len();
    let again = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(
        again,
        Recovered {
            drive: vec![most, alone],
            superseded: vec![]
        }
    );
    assert_eq!(world.host.ledger.changes().len(), changes);
}

#[test]
fn of_equals_the_oldest_is_driven_and_finished_ones_are_left_alone() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    world.get().expect("it is served");
    let first = insert(&world, "http://a.example/", FILE);
    let second = insert(&world, "http://b.example/", FILE);
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(
        recovered,
        Recovered {
            drive: vec![first],
            superseded: vec![second]
        }
    );
    assert_eq!(world.row(1).status, Status::Completed);
}

// The superseded row claims the same part; it goes without taking the other's bytes along.
#[test]
fn removing_a_superseded_row_leaves_the_part_to_the_one_that_superseded_it() {
    let world = World::scripted(config(), []);
    let less = insert(&world, "http://a.example/", FILE);
    let more = insert(&world, "http://b.example/", FILE);
    durable(&world, less, 1);
    durable(&world, more, 4);
    world.host.store.put(PART, b"film");
    world.run(world.engine.recover()).expect("the ledger works");
    world
        .run(world.engine.remove(less))
        .expect("it is not driven");
    assert_eq!(world.part().as_deref(), Some(b"film".as_slice()));
    world
        .run(world.engine.remove(more))
        .expect("it is not driven");
    assert_eq!(world.part(), None);
}

/// A process that died when its row was `committing` and its part whole.
fn committing(file: &[u8]) -> World {
    let world = World::scripted(config(), []);
    let id = insert(&world, URL, FILE);
    durable(&world, id, file.len() as u64);
    let begin = NewAttempt { at: NOW, from: 0 };
    world
        .run(world.host.ledger.begin_attempt(id, &begin))
        .expect("it takes attempts");
    world.host.store.put(PART, file);
    let part = world
        .run(world.host.store.open(PART, OpenPart::Claimed))
        .expect("it is there");
    let (size, sha256) = (file.len() as u64, Some("ab".to_owned()));
    record(
        &world,
        id,
        Change::Committing(Committing {
            file: part.file_id(),
            size,
            sha256,
        }),
    );
    world
}

fn rename(world: &World) {
    let store = &world.host.store;
    world.run(async {
        let part = store
            .open(PART, OpenPart::Claimed)
            .await
            .expect("it is there");
        store
            .commit(part, FILE, Replace::Existing)
            .await
            .expect("nothing is in the way");
    });
}

fn assert_repaired(world: &World, file: &[u8]) {
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(recovered.drive, [1]);
    let summary = world.drive(1).expect("it is repaired");
    assert_eq!(
        (summary.bytes, summary.sha256.as_deref()),
        (file.len() as u64, Some("ab"))
    );
    world.assert_whole(file);
    assert!(world.asked().is_empty(), "nothing is downloaded again");
    assert_eq!(
        (world.row(1).status, world.row(1).committing),
        (Status::Completed, None)
    );
    assert_eq!(world.host.story(1), ["completed"]);
    // Once more, and nothing happens.
    let again = World::on(world.host.clone(), config());
    assert_eq!(
        again.run(again.engine.recover()).expect("the ledger works"),
        Recovered::default()
    );
    again.drive(1).expect("it is there");
    assert_eq!(again.host.story(1), ["completed"]);
}

// C05
#[test]
fn a_crash_before_the_rename_is_repaired_by_renaming() {
    let file = content(1000);
    assert_repaired(&committing(&file), &file);
}

// C06, C07
#[test]
fn a_crash_after_the_rename_is_repaired_in_the_ledger() {
    let file = content(1000);
    let world = committing(&file);
    rename(&world);
    assert_repaired(&world, &file);
}

#[test]
fn where_neither_part_nor_file_is_left_the_download_is_lost() {
    let world = committing(b"film");
    world
        .run(world.host.store.remove(PART))
        .expect("it is closed");
    assert!(matches!(world.drive(1), Err(Error::Lost)));
    assert_eq!(world.row(1).status, Status::Failed);
    assert_eq!(world.host.story(1), ["failed"]);
    // A file at the destination that is not the part's is no proof.
    let world = committing(b"film");
    world
        .run(world.host.store.remove(PART))
        .expect("it is closed");
    world.host.store.put(FILE, b"film");
    assert!(matches!(world.drive(1), Err(Error::Lost)));
    assert_eq!(
        world.file().as_deref(),
        Some(b"film".as_slice()),
        "and is left alone"
    );
}

// C05: a part that is not what was about to be renamed is not renamed.
#[test]
fn a_part_that_is_another_file_or_another_size_is_not_committed() {
    let file = content(1000);
    for other in [bytes_of(2, 1000), file[..500].to_vec()] {
        let world = committing(&file);
        world.host.store.put(PART, &other);
        let mut host = world.host.clone();
        let served = file.clone();
        host.transport = regrip_core::testing::FakeTransport::new(host.clock.clone(), move |_| {
            Ok(without(whole(&served), "etag"))
        });
        let world = World::on(host, config());
        let _ = world.drive(1);
        let there = world.file();
        assert!(there.is_none() || there.as_deref() == Some(&file[..]));
    }
}

// From `committing` on, cancel is too late; also when the repair is yet to come.
#[test]
fn a_row_that_is_committing_cannot_be_called_off() {
    let world = committing(b"film");
    let late = world.run(world.engine.cancel(1));
    assert!(matches!(
        late,
        Err(Error::WrongState {
            status: "committing",
            ..
        })
    ));
    world.drive(1).expect("it is repaired");
    world.assert_whole(b"film");
}

// L02: the ledger did not take `completed`; the next drive finds the file.
#[test]
fn a_ledger_that_fails_after_the_rename_is_repaired_by_the_next_drive() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let id = world.accept();
    world.host.ledger.fail_after(Some(4)); // claimed, attempt, fresh, committing
    assert!(matches!(world.drive(id), Err(Error::Ledger { .. })));
    assert_eq!(
        (world.row(id).status, world.file().is_some()),
        (Status::Committing, true)
    );
    world.host.ledger.fail_after(None);
    let next = World::on(world.host.clone(), config());
    next.drive(id).expect("it is repaired");
    next.assert_whole(&file);
    assert_eq!(next.asked().len(), 1);
}
