//! Requests that wait for the ledger together: one transaction, one sync, and nothing else in common.

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use regrip::ledger::{Patience, SqliteLedger};
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::{Error, OnExists};
use rusqlite::Connection;
use smol::block_on;
use smol::future::poll_once;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const AT: SystemTime = UNIX_EPOCH;

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

/// A ledger, and another process's connection to its file.
struct Place {
    _folder: TempDir,
    path: PathBuf,
    ledger: SqliteLedger,
    other: Connection,
}

type Asked<'a, T> = FuturesUnordered<LocalBoxFuture<'a, (usize, Result<T, Error>)>>;

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let patience = Patience { busy_timeout: Duration::ZERO, tries: 1_000_000, max_pause: Duration::from_millis(1) };
        let ledger = SqliteLedger::open_with(&path, patience).unwrap();
        let other = Connection::open(&path).unwrap();
        Place { _folder: folder, path, ledger, other }
    }

    fn add(&self, count: usize) -> Vec<DownloadId> {
        let add = |number| block_on(self.ledger.insert(&new(&format!("{number}")), AT)).unwrap();
        (0..count).map(add).collect()
    }

    fn record(&self, id: DownloadId, change: &Change) -> Result<(), Error> {
        block_on(self.ledger.record(id, change, AT))
    }

    fn status(&self, id: DownloadId) -> Status {
        block_on(self.ledger.row(id)).unwrap().status
    }

    /// Another process's view: what is committed, and nothing else.
    fn committed_status(&self, id: DownloadId) -> String {
        let select = "SELECT status FROM downloads WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| row.get(0);
        self.other.query_row(select, [id], read).unwrap()
    }

    /// Has all of `asked` wait together: while another process writes, the ledger's thread stands still with what it has
    /// taken in, and the rest is in its queue.
    async fn together<T>(&self, asked: &mut Asked<'_, T>) {
        self.other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let answered = poll_once(asked.next()).await; // polls each of them
        assert!(answered.is_none(), "answered before it was written");
        self.other.execute_batch("COMMIT").unwrap();
    }
}

/// Transactions in the log: its frames that end one (sqlite.org/fileformat2.html §4.1).
fn transactions(path: &Path) -> usize {
    const LOG_HEAD: usize = 32;
    const FRAME_HEAD: usize = 24;
    let log = std::fs::read(format!("{}-wal", path.display())).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salts) = (number(8) as usize, &log[16..24]);
    (LOG_HEAD..log.len())
        .step_by(FRAME_HEAD + page)
        .take_while(|at| &log[at + 8..at + 16] == salts)
        .filter(|at| number(at + 4) > 0)
        .count()
}

#[test]
fn what_waits_together_is_one_transaction_and_is_answered_after_it() {
    let place = Place::new();
    let ids = place.add(40);
    let before = transactions(&place.path);
    block_on(async {
        let change = Change::Cancelled;
        let mut asked: Asked<'_, ()> = FuturesUnordered::new();
        for (number, &id) in ids.iter().enumerate() {
            let record = place.ledger.record(id, &change, AT);
            asked.push(Box::pin(async move { (number, record.await) }));
        }
        place.together(&mut asked).await;
        let mut answers = Vec::new();
        while let Some((number, done)) = asked.next().await {
            done.unwrap();
            assert_eq!(place.committed_status(ids[number]), "cancelled");
            answers.push(number);
        }
        assert_eq!(answers, (0..40).collect::<Vec<_>>(), "in order");
    });
    let transactions = transactions(&place.path) - before;
    assert!(matches!(transactions, 1 | 2), "{transactions}");
}

#[test]
fn one_that_fails_takes_nothing_from_its_neighbours() {
    let place = Place::new();
    let ids = place.add(20);
    let nobody = 4711;
    block_on(async {
        let change = Change::Cancelled;
        let mut asked: Asked<'_, ()> = FuturesUnordered::new();
        for (number, &id) in ids.iter().enumerate() {
            let id = if number % 7 == 3 { nobody } else { id };
            let record = place.ledger.record(id, &change, AT);
            asked.push(Box::pin(async move { (number, record.await) }));
        }
        place.together(&mut asked).await;
        while let Some((number, done)) = asked.next().await {
            let wanted = match number % 7 {
                3 => {
                    assert_eq!(done.unwrap_err().code().as_str(), "NoSuchDownload");
                    Status::Queued
                }
                _ => done.map(|()| Status::Cancelled).unwrap(),
            };
            assert_eq!(place.committed_status(ids[number]), wanted.name());
        }
    });
}

#[test]
fn what_one_download_asks_for_happens_in_that_order_and_reads_see_what_came_before() {
    let place = Place::new();
    let id = place.add(1)[0];
    let changes = [Change::Cancelled, Change::Retried, Change::Claimed(true), Change::Queued, Change::Cancelled];
    block_on(async {
        let mut asked: Asked<'_, Option<Row>> = FuturesUnordered::new();
        for (number, change) in changes.iter().enumerate() {
            let record = place.ledger.record(id, change, AT);
            let read = place.ledger.row(id);
            asked.push(Box::pin(async move { (number, record.await.map(|()| None)) }));
            asked.push(Box::pin(async move { (number, read.await.map(Some)) }));
        }
        place.together(&mut asked).await;
        let mut wanted = Row::new(id, new("0"));
        let mut applied = 0;
        while let Some((number, done)) = asked.next().await {
            match done.unwrap() {
                None => {
                    wanted.apply(&changes[number]);
                    applied += 1;
                }
                Some(row) => assert_eq!(row, wanted, "after {number}"),
            }
        }
        assert_eq!(applied, changes.len());
    });
}

// K01
#[test]
fn whoever_no_longer_waits_holds_up_nobody() {
    let place = Place::new();
    let ids = place.add(10);
    block_on(async {
        let change = Change::Cancelled;
        let mut asked: Asked<'_, ()> = FuturesUnordered::new();
        for (number, &id) in ids.iter().enumerate() {
            let record = place.ledger.record(id, &change, AT);
            asked.push(Box::pin(async move { (number, record.await) }));
        }
        place.together(&mut asked).await;
        let (_, done) = asked.next().await.unwrap();
        done.unwrap();
        drop(asked);
    });
    // They had been taken in, so they are done; this one comes after them.
    place.record(ids[0], &Change::Retried).unwrap();
    assert_eq!(place.status(ids[0]), Status::Queued);
    assert!(ids[1..].iter().all(|&id| place.status(id) == Status::Cancelled));
}
