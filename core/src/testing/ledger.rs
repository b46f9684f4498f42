//! A ledger in memory: [`Row::apply`] and a timeline.

use super::clock::VirtualClock;
use crate::error::Error;
use crate::event::display_url;
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::record::{AttemptEnd, Change, DownloadId, Mark, NewAttempt, NewDownload, RestartReason, Row};
use crate::time::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

/// A ledger, as one process sees it. Clones are the same one; it survives what the disk survives.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    tables: Arc<Mutex<Tables>>,
    leases: Option<Leases>,
}

/// How a process claims what it drives.
#[derive(Clone, Debug)]
struct Leases {
    lease: Duration,
    clock: VirtualClock,
    /// The last owner that claimed each download through this handle.
    owners: Arc<Mutex<BTreeMap<DownloadId, String>>>,
    /// The writes that the process has seen or made.
    seen: Arc<Mutex<u64>>,
}

#[derive(Debug, Default)]
struct Tables {
    last: DownloadId,
    rows: BTreeMap<DownloadId, Row>,
    lines: Vec<(DownloadId, Line)>,
    changes: Vec<(DownloadId, Change)>,
    /// The last owner of each download, and until when. One that gave it back or whose row has ended is remembered.
    claims: BTreeMap<DownloadId, (String, SystemTime)>,
    /// How long each download that was given back is to rest, in order.
    rests: Vec<(DownloadId, Duration)>,
    /// Writes so far, and who waits for the next one.
    writes: u64,
    waiting: Vec<Waker>,
    /// Calls until one fails.
    fail_after: Option<u32>,
    /// Reads of a row that fail.
    failing_reads: u32,
    /// Claims are not answered.
    holds_claims: bool,
    /// Another process drives these.
    driven_elsewhere: BTreeSet<DownloadId>,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number over the row's life.
    pub attempt: u32,
    /// Its start.
    pub begin: NewAttempt,
    /// Its end; none while it is under way or was killed.
    pub end: Option<AttemptEnd>,
    /// The restart in it, with the bytes it discarded.
    pub restart: Option<(RestartReason, u64)>,
}

impl MemoryLedger {
    /// The same tables as another process sees them, in which downloads are claimed for this long at a time.
    pub fn leasing(&self, lease: Duration, clock: VirtualClock) -> Self {
        MemoryLedger {
            tables: Arc::clone(&self.tables),
            leases: Some(Leases {
                lease,
                clock,
                owners: Arc::default(),
                seen: Arc::new(Mutex::new(self.tables().writes)),
            }),
        }
    }

    /// From now on another process drives a download, or no longer does.
    pub fn drive_elsewhere(&self, id: DownloadId, drives: bool) {
        let mut tables = self.tables();
        match drives {
            true => tables.driven_elsewhere.insert(id),
            false => tables.driven_elsewhere.remove(&id),
        };
    }

    /// Who has claimed a download, and until when.
    pub fn claimed(&self, id: DownloadId) -> Option<(String, SystemTime)> {
        self.tables().claims.get(&id).filter(|(_, until)| *until > SystemTime::UNIX_EPOCH).cloned()
    }

    /// How long each download that was [released](Ledger::release) is to rest, in order.
    pub fn rests(&self) -> Vec<(DownloadId, Duration)> {
        self.tables().rests.clone()
    }

    /// The timeline of a download.
    pub fn timeline(&self, id: DownloadId) -> Vec<Line> {
        self.tables().lines.iter().filter(|(row, _)| *row == id).map(|(_, line)| line.clone()).collect()
    }

    /// Every change so far, in order.
    pub fn changes(&self) -> Vec<(DownloadId, Change)> {
        self.tables().changes.clone()
    }

    /// The rows as they are.
    pub fn rows(&self) -> Vec<Row> {
        self.tables().rows.values().cloned().collect()
    }

    /// Puts a row there, in place of the one with its id, as no change would.
    pub fn put(&self, row: Row) {
        self.tables().rows.insert(row.id, row);
    }

    /// Every write after the next `n` fails, until this is called again.
    pub fn fail_after(&self, writes: Option<u32>) {
        self.tables().fail_after = writes;
    }

    /// The next `n` reads of a row fail.
    pub fn fail_reads(&self, times: u32) {
        self.tables().failing_reads = times;
    }

    /// From now on a claim is never answered, until this is called again.
    pub fn hold_claims(&self, hold: bool) {
        self.tables().holds_claims = hold;
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tables) -> Result<T, Error>) -> Result<T, Error> {
        let mut tables = self.tables();
        match &mut tables.fail_after {
            Some(0) => {
                return Err(failed("writing"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let changed = change(&mut tables)?;
        if let Some(mut seen) = self.leases.as_ref().map(|leases| lock(&leases.seen))
            && *seen == tables.writes
        {
            *seen += 1; // its own write is no news
        }
        tables.writes += 1;
        tables.waiting.drain(..).for_each(Waker::wake);
        Ok(changed)
    }

    /// Refuses a change of a download that another owner has claimed: while that claim lasts, and after it what a drive records that has
    /// lost its own.
    fn fence(&self, tables: &Tables, id: DownloadId, change: Option<&Change>) -> Result<(), Error> {
        let Some(leases) = &self.leases else {
            return Ok(());
        };
        let mut owners = lock(&leases.owners);
        let mine = owners.get(&id);
        let is_of_user =
            matches!(change, Some(Change::Retried | Change::Unpaused | Change::Terms(_) | Change::Restart(_)));
        if let Some((owner, until)) = tables.claims.get(&id)
            && mine != Some(owner)
            && (*until > leases.clock.wall() || (mine.is_some() && !is_of_user))
        {
            let path = tables.rows.get(&id).map(|row| row.new.part.clone()).unwrap_or_default();
            return Err(Error::PartLocked { path, pid: None, lock_file: None });
        }
        if matches!(change, Some(Change::Retried | Change::Unpaused)) {
            owners.remove(&id); // a user of this process has it now, not the drive
        }
        Ok(())
    }
}

impl Tables {
    fn row(&mut self, id: DownloadId) -> Result<&mut Row, Error> {
        self.rows.get_mut(&id).ok_or(Error::NoSuchDownload(id))
    }

    fn line(&mut self, id: DownloadId, attempt: u32) -> Option<&mut Line> {
        self.lines.iter_mut().rev().find(|(row, line)| *row == id && line.attempt == attempt).map(|(_, line)| line)
    }
}

impl Ledger for MemoryLedger {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        self.write(|tables| {
            let mut rows = tables.rows.values().filter(|row| row.new.destination == new.destination);
            if self.leases.is_some()
                && let Some(row) = rows.find(|row| !row.status.is_finished())
            {
                let (path, url) = (new.destination.clone(), display_url(row.new.source.url()));
                return Err(Error::DestinationBusy { path, id: row.id, url });
            }
            tables.last += 1;
            let id = tables.last;
            tables.rows.insert(id, Row::new(id, new.clone()));
            Ok(id)
        })
    }

    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        let mut tables = self.tables();
        if tables.failing_reads > 0 {
            tables.failing_reads -= 1;
            return Err(failed("reading"));
        }
        tables.row(id).cloned()
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let tables = self.tables();
        Ok(tables.rows.values().rev().filter(|row| row.new.destination == destination).cloned().collect())
    }

    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let tables = self.tables();
        let unfinished = tables.rows.values().filter(|row| row.status.is_active());
        Ok(unfinished.cloned().map(Mark::from).collect())
    }

    async fn begin_attempt(&self, id: DownloadId, begin: &NewAttempt) -> Result<u32, Error> {
        self.write(|tables| {
            self.fence(tables, id, None)?;
            let row = tables.row(id)?;
            if !row.status.is_active() {
                return Err(row.wrong_state());
            }
            let attempt = row.begin_attempt();
            let line = Line { attempt, begin: begin.clone(), end: None, restart: None };
            tables.lines.push((id, line));
            Ok(attempt)
        })
    }

    async fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> Result<(), Error> {
        self.write(|tables| {
            let row = tables.row(id)?;
            if !row.status.admits(change) {
                return Err(row.wrong_state());
            }
            if !matches!(change, Change::Cancelled | Change::Paused) {
                self.fence(tables, id, Some(change))?;
            }
            let row = tables.row(id)?;
            row.apply(change);
            if !row.status.is_active() {
                tables.claims.entry(id).and_modify(|(_, until)| *until = SystemTime::UNIX_EPOCH);
            }
            tables.changes.push((id, change.clone()));
            match change {
                Change::Restart(restart) | Change::Fresh { restart: Some(restart), .. } => {
                    if let Some(line) = tables.line(id, restart.attempt) {
                        line.restart = Some((restart.reason, restart.discarded));
                    }
                }
                Change::AttemptEnded { end, .. } => {
                    if let Some(line) = tables.line(id, end.attempt) {
                        line.end = Some(end.clone());
                    }
                }
                _ => {}
            }
            Ok(())
        })
    }

    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.write(|tables| {
            tables.lines.retain(|(row, _)| *row != id);
            tables.rows.remove(&id).map(drop).ok_or(Error::NoSuchDownload(id))
        })
    }

    fn hold(&self, id: DownloadId) -> bool {
        !self.tables().driven_elsewhere.contains(&id)
    }

    fn lease(&self) -> Option<Duration> {
        self.leases.as_ref().map(|leases| leases.lease)
    }

    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        let Some(leases) = &self.leases else {
            return Ok(true);
        };
        let now = leases.clock.wall();
        if self.tables().holds_claims {
            pending::<()>().await;
        }
        self.write(|tables| {
            tables.row(id)?;
            let mut owners = lock(&leases.owners);
            let had_it = owners.get(&id).is_some_and(|mine| mine == owner);
            let free = match tables.claims.get(&id) {
                Some((other, until)) => other == owner || (!had_it && *until <= now),
                None => !had_it,
            };
            if free {
                owners.insert(id, owner.to_owned());
                tables.claims.insert(id, (owner.to_owned(), until));
            }
            Ok(free)
        })
    }

    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        self.write(|tables| {
            if let Some((other, until)) = tables.claims.get_mut(&id)
                && other == owner
            {
                *until = SystemTime::UNIX_EPOCH;
            }
            tables.rests.push((id, rest));
            Ok(())
        })
    }

    async fn changes(&self) {
        let Some(leases) = &self.leases else {
            return pending().await;
        };
        poll_fn(|context| {
            let mut tables = self.tables();
            let mut seen = lock(&leases.seen);
            if *seen == tables.writes {
                tables.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            *seen = tables.writes;
            Poll::Ready(())
        })
        .await
    }
}

fn failed(what: &str) -> Error {
    Error::Ledger { what: what.to_owned(), source: None }
}
