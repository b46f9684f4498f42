//! What an earlier process left, and how it is recovered.

use crate::world::*;
use regrip_core::engine::Recovered;
use regrip_core::ledger::Ledger;
use regrip_core::record::{DigestRow, DigestSource, Failure, NewAttempt, NewDownload};
use regrip_core::store::{Committed, OpenPart, Part, PartStore, Replace};
use regrip_core::store::{Committing, PartToken};
use regrip_core::testing::{FakeTransport, new_download};
use regrip_core::{Algorithm, Change, Class, DownloadId, Error, ErrorCode, OnExists, Status, What};
use std::time::SystemTime;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn insert(world: &World, url: &str, destination: &str) -> DownloadId {
    let new = new_download(url, destination);
    world.run(world.host.ledger.insert(&new, NOW)).expect("it takes rows")
}

fn record(world: &World, id: DownloadId, change: Change) {
    world.run(world.host.ledger.record(id, &change, NOW)).expect("it takes changes");
}

fn durable(world: &World, id: DownloadId, bytes: u64) {
    record(world, id, Change::Claimed(true));
    let epoch = world.host.store.epoch();
    record(world, id, Change::Checkpoint { downloaded: bytes, durable: bytes, epoch, digests: Vec::new() });
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
    assert_eq!(recovered, Recovered { drive: vec![most, alone], superseded: vec![few, none] });
    for id in [few, none] {
        let row = world.row(id);
        let failure = row.failure.expect("it failed");
        assert_eq!((row.status, failure.code), (Status::Failed, ErrorCode::Superseded));
        assert!(failure.text.contains(&format!("download {most}")));
    }
    assert_eq!(world.row(most).status, Status::Queued);
    // C09: looking again changes nothing more.
    let changes = world.host.ledger.changes().len();
    let again = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(again, Recovered { drive: vec![most, alone], superseded: vec![] });
    assert_eq!(world.host.ledger.changes().len(), changes);
}

#[test]
fn of_equals_the_oldest_is_driven_and_finished_ones_are_left_alone() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    world.get().expect("it is served");
    let first = insert(&world, "http://a.example/", FILE);
    let second = insert(&world, "http://b.example/", FILE);
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(recovered, Recovered { drive: vec![first], superseded: vec![second] });
    assert_eq!(world.row(1).status, Status::Completed);
}

// Its part may be the file already: no other row may fetch over it.
#[test]
fn a_row_that_was_being_renamed_is_driven_before_one_with_more_durable_bytes() {
    let world = World::scripted(config(), []);
    let more = insert(&world, "http://a.example/", FILE);
    let renamed = insert(&world, "http://b.example/", FILE);
    durable(&world, more, 20);
    durable(&world, renamed, 10);
    let committing = Committing { token: PartToken::default(), size: 10 };
    let digests = Vec::new();
    let change = Change::Committing { committing, digests };
    record(&world, renamed, change);
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(recovered, Recovered { drive: vec![renamed], superseded: vec![more] });
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
    world.run(world.engine.remove(less)).expect("it is not driven");
    assert_eq!(world.part().as_deref(), Some(b"film".as_slice()));
    world.run(world.engine.remove(more)).expect("it is not driven");
    assert_eq!(world.part(), None);
}

/// A process that died when its row was `committing` and its part whole.
fn committing(file: &[u8]) -> World {
    committing_with(file, [])
}

fn committing_with<const N: usize>(file: &[u8], answers: [Answer; N]) -> World {
    let world = World::scripted(config(), answers);
    let new = NewDownload { digests: vec![DigestRow::asked(Algorithm::Sha256)], ..new_download(URL, FILE) };
    let id = world.run(world.host.ledger.insert(&new, NOW)).expect("it takes rows");
    durable(&world, id, file.len() as u64);
    let begin = NewAttempt { at: NOW, from: 0 };
    world.run(world.host.ledger.begin_attempt(id, &begin)).expect("it takes attempts");
    world.host.store.put(PART, file);
    let part = world.run(world.host.store.open(PART, OpenPart::Claimed)).expect("it is there");
    let committing = Committing { token: part.token(), size: file.len() as u64 };
    let digests = vec![sha256(file)];
    record(&world, id, Change::Committing { committing, digests });
    world
}

#[test]
fn a_whole_part_that_was_about_to_be_renamed_is_checked_against_a_digest_given_now() {
    let file = content(1000);
    let world = committing_with(&file, [Ok(whole(&file))]);
    let wanting = NewDownload {
        digests: vec![DigestRow::wanted(sha256(b"another file"), DigestSource::Caller)],
        ..new_download(URL, FILE)
    };
    let id = world.run(world.engine.accept(wanting)).expect("it is known").id;
    let error = world.run(world.engine.drive(id)).expect_err("it is another file");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert_eq!(world.file(), None);
}

fn rename(world: &World) {
    let store = &world.host.store;
    world.run(async {
        let part = store.open(PART, OpenPart::Claimed).await.expect("it is there");
        let committed = store.commit(part, FILE, Replace::Existing).await;
        assert!(matches!(committed, Ok(Committed::Durable)));
    });
}

fn assert_repaired(world: &World, file: &[u8]) {
    let recovered = world.run(world.engine.recover()).expect("the ledger works");
    assert_eq!(recovered.drive, [1]);
    let summary = world.drive(1).expect("it is repaired");
    assert_eq!((summary.bytes, summary.digests), (file.len() as u64, vec![sha256(file)]));
    world.assert_whole(file);
    assert!(world.asked().is_empty(), "nothing is downloaded again");
    assert_eq!((world.row(1).status, world.row(1).committing), (Status::Completed, None));
    assert_eq!(world.host.story(1), ["completed"]);
    // Once more, and nothing happens.
    let again = World::on(world.host.clone(), config());
    assert_eq!(again.run(again.engine.recover()).expect("the ledger works"), Recovered::default());
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
    world.run(world.host.store.remove(PART)).expect("it is closed");
    assert!(matches!(world.drive(1), Err(Error::Lost)));
    assert_eq!(world.row(1).status, Status::Failed);
    assert_eq!(world.host.story(1), ["failed"]);
    // A file at the destination that is not the part's is no proof.
    let world = committing(b"film");
    world.run(world.host.store.remove(PART)).expect("it is closed");
    world.host.store.put(FILE, b"film");
    assert!(matches!(world.drive(1), Err(Error::Lost)));
    assert_eq!(world.file().as_deref(), Some(b"film".as_slice()), "and is left alone");
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
        host.transport =
            regrip_core::testing::FakeTransport::new(host.clock.clone(), move |_| Ok(without(whole(&served), "etag")));
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
    assert!(matches!(late, Err(Error::WrongState { status: Status::Committing, .. })));
    world.drive(1).expect("it is repaired");
    world.assert_whole(b"film");
}

// L02: the ledger did not take `completed`; the file is there all the same, and the next drive finds it.
#[test]
fn a_ledger_that_fails_after_the_rename_is_a_warning_and_is_repaired_by_the_next_drive() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let id = world.accept();
    world.host.ledger.fail_after(Some(4)); // claimed, attempt, fresh, committing
    let summary = world.drive(id).expect("the file has its name");
    let warning = summary.warning.expect("the row does not say so");
    assert!(warning.contains("ledger"), "{warning}");
    assert_eq!((summary.bytes, summary.code), (1000, None));
    assert_eq!(world.host.story(id).last(), Some(&"completed"));
    assert_eq!((world.row(id).status, world.file().is_some()), (Status::Committing, true));
    world.host.ledger.fail_after(None);
    let next = World::on(world.host.clone(), config());
    next.drive(id).expect("it is repaired");
    next.assert_whole(&file);
    assert_eq!(next.asked().len(), 1);
}

#[test]
fn a_ledger_that_fails_in_the_repair_after_the_rename_is_a_warning() {
    let file = content(1000);
    let world = committing(&file);
    rename(&world);
    world.host.ledger.fail_after(Some(0));
    let summary = world.drive(1).expect("the file has its name");
    assert!(summary.warning.is_some());
    world.host.ledger.fail_after(None);
    let next = World::on(world.host.clone(), config());
    assert_eq!(next.drive(1).expect("it is repaired").warning, None);
    next.assert_whole(&file);
}

// D15
#[test]
fn a_folder_that_cannot_be_synced_after_the_rename_is_a_warning_on_a_completed_row() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    world.host.store.fail_folder_syncs(1);
    let summary = world.get().expect("the file has its name");
    let warning = summary.warning.clone().expect("the name may be lost");
    assert!(warning.contains("sync the folder"), "{warning}");
    world.assert_whole(&file);
    let row = world.row(1);
    assert_eq!((row.status, row.committing), (Status::Completed, None));
    assert_eq!(row.failure.map(|failure| failure.text), Some(warning));
    assert_eq!(world.host.events().last(), Some(&(1, What::Completed(summary))));
}

fn failed() -> Change {
    Change::Failed(Failure {
        class: Class::Permanent,
        code: ErrorCode::Disk,
        text: "cannot sync the folder".to_owned(),
    })
}

/// A row that an earlier version called failed after its file had got its name.
fn failed_after_the_rename(file: &[u8]) -> World {
    let world = committing(file);
    rename(&world);
    record(&world, 1, failed());
    world
}

#[test]
fn a_retry_of_a_row_that_failed_after_the_rename_finds_its_file() {
    let file = content(1000);
    let world = failed_after_the_rename(&file);
    world.run(world.engine.retry(1)).expect("it failed");
    assert_eq!(world.drive(1).expect("it is there").bytes, 1000);
    world.assert_whole(&file);
    assert!(world.asked().is_empty(), "nothing is downloaded again");
    let row = world.row(1);
    assert_eq!((row.status, row.attempts, row.failure), (Status::Completed, 1, None));
}

#[test]
fn a_retry_finds_no_file_of_another_size_or_digest_or_under_a_part() {
    let file = content(1000);
    // Somebody has written to it since.
    let changed = failed_after_the_rename(&file);
    changed.host.store.append(FILE, b"more");
    // The digest that is wanted now is not the one it had.
    let other_digest = failed_after_the_rename(&file);
    // Its part is there, so it was never renamed.
    let part = failed_after_the_rename(&file);
    part.host.store.put(PART, b"");
    // Nor was this one: whether its bytes are the file is seen by the usual checks.
    let whole_part = committing(&file);
    record(&whole_part, 1, failed());
    for (world, wanted) in [(changed, None), (other_digest, Some(sha256(b""))), (part, None), (whole_part, None)] {
        let served = file.clone();
        let mut host = world.host.clone();
        host.transport = FakeTransport::new(host.clock.clone(), move |_| Ok(whole(&served)));
        let world = World::on(host, config());
        let new = NewDownload { digests: wanted.iter().map(given).collect(), ..new_download(URL, FILE) };
        let id = world.run(world.engine.accept(new)).expect("it failed").id;
        let _ = world.drive(id);
        assert_eq!(world.asked().len(), 1);
    }
}

#[test]
fn a_rename_that_was_refused_leaves_no_identity_by_which_another_file_could_be_taken() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    world.host.store.put(FILE, b"old");
    let new = NewDownload { on_exists: OnExists::Fail, ..new_download(URL, FILE) };
    let id = world.run(world.engine.accept(new)).expect("a row").id;
    let refused = world.drive(id);
    assert!(matches!(refused, Err(Error::DestinationExists { .. })));
    let row = world.row(id);
    assert_eq!((row.status, row.committing), (Status::Failed, None));
}
