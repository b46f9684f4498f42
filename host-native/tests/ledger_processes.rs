//! The ledger between processes: shared, held up, and left by one that was killed.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use regrip::ledger::{Catalogue, Patience, ServeTables, SqliteLedger};
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::{Error, OnExists};
use rusqlite::Connection;
use smol::block_on;
use smol::future::poll_once;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const AT: SystemTime = UNIX_EPOCH;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    (folder, path)
}

fn new(name: &str) -> NewDownload {
    NewDownload {
        source: Source::Url { url: format!("https://example.org/{name}") },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: format!("/films/{name}"),
        part: format!("/films/{name}.part"),
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Every file of the folder, with its bytes.
fn snapshot(folder: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

// L06
#[test]
fn a_refused_ledger_keeps_the_log_that_a_killed_process_left() {
    let (_folder, killed) = place();
    let mut child = adder(&killed);
    assert!(added(&mut child).nth(20).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    // The newer schema's number is in the log alone, whatever the file says.
    let newer = Connection::open(&killed).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let newer_log = std::fs::read(beside(&killed, "-wal")).unwrap();
    let newer_file = std::fs::read(&killed).unwrap();
    for (what, file, log) in [("damaged", vec![0x55; 8192], vec![0x55; 8192]), ("newer", newer_file, newer_log)] {
        let (folder, path) = place();
        std::fs::write(&path, &file).unwrap();
        std::fs::write(beside(&path, "-wal"), &log).unwrap();
        SqliteLedger::open(&path).unwrap_err();
        let after = snapshot(&folder);
        assert!(after.contains(&(path.clone(), file)), "{what}");
        assert!(after.contains(&(beside(&path, "-wal"), log)), "{what}");
    }
}

// L01
#[test]
fn a_write_waits_for_another_process_only_so_long() {
    let (_folder, path) = place();
    let patience = Patience { busy_timeout: Duration::ZERO, tries: 3, max_pause: Duration::ZERO };
    let ledger = SqliteLedger::open_with(&path, patience).unwrap();
    let id = block_on(ledger.insert(&new("f"), AT)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = block_on(ledger.record(id, &Change::Cancelled, AT)).unwrap_err();
    assert_eq!(error.code().as_str(), "Ledger");
    assert_eq!(block_on(ledger.row(id)).unwrap().status, Status::Queued, "reads go on");

    other.execute_batch("COMMIT").unwrap();
    block_on(ledger.record(id, &Change::Cancelled, AT)).unwrap();
    assert_eq!(block_on(ledger.row(id)).unwrap().status, Status::Cancelled);
}

// K10
#[test]
fn while_the_ledgers_thread_is_stuck_the_callers_go_on_and_the_queue_stays_short() {
    let (_folder, path) = place();
    let patience = Patience { busy_timeout: Duration::ZERO, tries: 1_000_000, max_pause: Duration::from_millis(1) };
    let ledger = SqliteLedger::open_with(&path, patience).unwrap();
    let id = block_on(ledger.insert(&new("f"), AT)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let change = Change::Claimed(true);
    let mut calls: FuturesUnordered<_> = (0..1000).map(|_| ledger.record(id, &change, AT)).collect();
    block_on(async {
        // Long enough for the thread to have tried, and to have gone on if it does not wait.
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            // All that can be taken in is; the task is not held up.
            assert!(smol::future::poll_once(calls.next()).await.is_none());
            let waiting = ledger.waiting_requests();
            assert!(waiting <= 64, "{waiting}");
        }
        other.execute_batch("ROLLBACK").unwrap();
        let mut done = 0;
        while let Some(recorded) = calls.next().await {
            recorded.unwrap();
            done += 1;
        }
        assert_eq!(done, 1000);
    });
}

#[test]
fn several_ledgers_on_one_file_see_each_others_rows_and_lose_none() {
    let (_folder, path) = place();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let ledger = SqliteLedger::open(path).unwrap(); // all four make the file, at once
                for number in 0..20 {
                    block_on(ledger.insert(&new(&format!("{thread}-{number}")), AT)).unwrap();
                }
            });
        }
    });
    let ledger = SqliteLedger::open(&path).unwrap();
    assert_eq!(block_on(ledger.unfinished_marks()).unwrap().len(), 80);
}

#[test]
fn a_request_whose_caller_has_gone_is_still_done() {
    let (_folder, path) = place();
    let ledger = SqliteLedger::open(&path).unwrap();
    let new = new("f");
    let mut call = Box::pin(ledger.insert(&new, AT));
    assert!(block_on(smol::future::poll_once(&mut call)).is_none_or(|done| done.is_ok()));
    drop(call);
    assert_eq!(block_on(ledger.unfinished_marks()).unwrap().len(), 1);
}

const LEDGER_OF_THE_CHILD: &str = "REGRIP_TEST_LEDGER";

/// Not a test of its own: what the process that is killed does.
#[test]
fn as_a_child_it_adds_rows_until_it_is_killed() {
    let Ok(path) = std::env::var(LEDGER_OF_THE_CHILD) else {
        return;
    };
    let ledger = SqliteLedger::open(Path::new(&path)).unwrap();
    for number in 0..1_000_000 {
        let name = format!("{number} of {}", std::process::id());
        let id = block_on(ledger.insert(&new(&name), AT)).unwrap();
        println!("\nadded {id}");
    }
}

/// This same program, adding rows.
fn adder(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_a_child_it_adds_rows_until_it_is_killed"])
        .arg("--nocapture")
        .env(LEDGER_OF_THE_CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The ids it prints once they are recorded.
fn added(child: &mut Child) -> impl Iterator<Item = i64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| {
        let id = line.strip_prefix("added ")?;
        Some(id.parse().unwrap())
    })
}

// L06
#[test]
fn what_was_recorded_is_there_after_the_process_was_killed() {
    let (_folder, path) = place();
    let mut told = 0;
    for round in 1..=5 {
        let mut child = adder(&path);
        let mut added = added(&mut child);
        told = added.nth(round * 7).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        told = added.last().unwrap_or(told); // what it had printed before it died

        let ledger = SqliteLedger::open(&path).unwrap();
        let rows = block_on(ledger.unfinished_marks()).unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let all: Vec<_> = (1..=ids.len() as i64).collect();
        assert_eq!(ids, all, "round {round}");
        assert!(ids.last() >= Some(&told), "round {round}: told {told}");
    }
    assert!(told > 5 * 7);
}
// L08
#[test]
fn what_one_process_holds_no_other_one_can_until_it_lets_go_or_ends() {
    let (_folder, path) = place();
    let mut child = adder(&path);
    let theirs = added(&mut child).nth(3).unwrap();
    let ledger = SqliteLedger::open(&path).unwrap();
    let own = block_on(ledger.insert(&new("own"), AT)).unwrap();
    let hold = |id| Ledger::hold(&ledger, id);
    assert_eq!([theirs, theirs - 1, own, own].map(hold), [false, false, true, true]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!([theirs, own].map(hold), [true, true]);
    let second = new("own");
    assert!(matches!(block_on(ledger.insert(&second, AT)), Err(Error::DestinationBusy { id, .. }) if id == own));
    block_on(ledger.record(own, &Change::Cancelled, AT)).unwrap();
    block_on(ledger.insert(&second, AT)).unwrap();
}

// L01
#[test]
fn a_write_that_reads_first_is_not_thrown_back_by_another_writer() {
    let (_folder, path) = place();
    let patience = Patience { busy_timeout: Duration::from_secs(60), tries: 1, max_pause: Duration::ZERO };
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let ledger = SqliteLedger::open_with(&path, patience).unwrap();
            let id = block_on(ledger.insert(&new("f"), AT)).unwrap();
            let size = 1;
            block_on(ledger.record(id, &Change::Completed { size, warning: None }, AT)).unwrap();
            scope.spawn(move || {
                for number in 0..200 {
                    let state = format!("{thread} {number}");
                    block_on(ledger.record_imports(id, Vec::new(), state, AT)).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_is_shown_is_read_while_a_write_waits_for_another_program() {
    let (_folder, path) = place();
    let ledger = SqliteLedger::open(&path).unwrap();
    let id = block_on(ledger.insert(&new("f"), AT)).unwrap();
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut write = pin!(ledger.record(id, &Change::Cancelled, AT));
    assert!(block_on(poll_once(write.as_mut())).is_none());
    let listed = block_on(ledger.list(&[], 9, None)).unwrap();
    assert_eq!((listed.len(), listed[0].row.status), (1, Status::Queued));
    assert_eq!(block_on(ledger.entry(id)).unwrap().row.id, id);
    assert!(block_on(poll_once(write.as_mut())).is_none(), "it still waits");
    lock.execute_batch("ROLLBACK").unwrap();
    block_on(write).unwrap();
    // What is durable is seen by whoever asks next.
    let shown = block_on(ledger.entry(id)).unwrap();
    assert_eq!(shown.row.status, Status::Cancelled);
}
