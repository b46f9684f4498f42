//! The ledger's threads, each with a connection of its own and a bounded queue: one does what is written and what the engine
//! reads, in order; the other one, started when it is first needed, reads what is only shown. So another program that keeps
//! the database locked for writing keeps nobody from seeing what is there.
//!
//! Whatever waits when it is ready for more is done in one transaction, so that downloads side by side share one sync of
//! the disk. A request that comes alone is done alone, at once; while several come at a time, each transaction waits a moment
//! for more, since a transaction costs more than a request.
//!
//! Invariant: requests are done in the order they were taken in, and each is answered after the transaction it was part of
//! is durable, a read too: it may have seen what a neighbour wrote.

use super::database::{Database, Fault, Request};
use crate::sync::lock;
use futures::channel::oneshot;
use regrip_core::Error;
use rusqlite::Transaction;
use smol::channel::{Receiver, Sender, bounded};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests that may wait. Whoever comes then waits for room, so a slow disk costs a bounded amount of memory.
const REQUESTS: usize = 64;

/// If the last transaction had this many requests, the next one waits for more.
const CROWD: usize = 4;
/// How long it waits.
const GATHER: Duration = Duration::from_micros(400);

/// A request that takes longer has the thread stuck: the database is locked, or its disk hangs.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// The way to the threads. Dropping it lets the requests that wait be done, closes the database and ends the threads.
pub(super) struct Queue {
    /// Before the other one: who writes closes the file last.
    reader: OnceLock<Lane>,
    writer: Lane,
    path: PathBuf,
}

/// The way to one thread.
struct Lane {
    requests: Sender<Box<dyn Request>>,
    /// Since when it does what it is doing.
    since: Arc<Mutex<Option<Instant>>>,
    /// Set at the end: what waits for a lock is given up then.
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    fn start(database: Database) -> io::Result<Self> {
        let (requests, incoming) = bounded(REQUESTS);
        let since = Arc::default();
        let clock = Arc::clone(&since);
        let ending = database.ending();
        let thread = std::thread::Builder::new()
            .name("regrip-ledger".to_owned())
            .spawn(move || serve(database, &incoming, &clock))?;
        Ok(Lane { requests, since, ending, thread: Some(thread) })
    }
}

impl Queue {
    /// Starts the thread that writes.
    pub(super) fn start(database: Database, path: &Path) -> io::Result<Self> {
        Ok(Queue { reader: OnceLock::new(), writer: Lane::start(database)?, path: path.to_owned() })
    }

    /// Has something read that is only shown, beside what is written. `act` may run several times.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub(super) async fn show<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(self.reader(), what, false, act).await
    }

    /// The lane of what is shown; if it cannot be had, the other one.
    fn reader(&self) -> &Lane {
        if let Some(reader) = self.reader.get() {
            return reader;
        }
        let started = Database::beside(&self.path).ok().and_then(|database| Lane::start(database).ok());
        match started {
            Some(lane) => self.reader.get_or_init(|| lane),
            None => &self.writer,
        }
    }

    /// Returns `true` if the current write takes longer than a person would wait.
    pub(super) fn is_stuck(&self) -> bool {
        let since = *lock(&self.writer.since);
        since.is_some_and(|since| since.elapsed() > STUCK_AFTER)
    }

    /// Has something read. `act` may run several times.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(&self.writer, what, false, act).await
    }

    /// Has something written; it is durable when this returns. `act` may run several times, each time from the state
    /// before.
    ///
    /// # Cancel safety
    /// Dropped before it was taken into the queue it is not done; dropped later it is, and nobody learns how it went.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(&self.writer, what, true, act).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        lane: &Lane,
        what: &'static str,
        writes: bool,
        act: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = QueuedRequest { what, writes, act, value: None, reply };
        lane.requests.send(Box::new(asked)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Requests that wait now.
    pub(super) fn waiting(&self) -> usize {
        self.writer.requests.len()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.requests.close();
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it has been printed
        }
    }
}

/// Something that was asked for, and who waits for the answer.
struct QueuedRequest<T, F> {
    what: &'static str,
    writes: bool,
    act: F,
    /// Its result, once it was done.
    value: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Request for QueuedRequest<T, F>
where
    T: Send,
    F: Fn(&Transaction<'_>) -> Result<T, Fault> + Send,
{
    fn what(&self) -> &'static str {
        self.what
    }

    fn writes(&self) -> bool {
        self.writes
    }

    fn act(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        self.value = Some((self.act)(transaction)?);
        Ok(())
    }

    fn answer(self: Box<Self>, done: Result<(), Error>) {
        let value = self.value.ok_or_else(gone);
        // If nobody waits any more the download was dropped.
        let _ = self.reply.send(done.and(value));
    }
}

fn serve(mut database: Database, incoming: &Receiver<Box<dyn Request>>, since: &Mutex<Option<Instant>>) {
    let note = |at| *lock(since) = at;

    let mut batch = Vec::with_capacity(REQUESTS);
    let mut crowd = 0;
    while let Ok(first) = incoming.recv_blocking() {
        if (CROWD..REQUESTS / 2).contains(&crowd.max(incoming.len())) {
            std::thread::sleep(GATHER);
        }
        batch.push(first);
        while batch.len() < REQUESTS
            && let Ok(next) = incoming.try_recv()
        {
            batch.push(next);
        }
        crowd = batch.len();
        note(Some(Instant::now()));
        database.serve(&mut batch);
        note(None);
    }
    database.close();
}

fn gone() -> Error {
    Error::Ledger { what: "its thread has ended".to_owned(), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_the_request_that_caused_it_and_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = crate::ledger::SqliteLedger::open(&path).unwrap();
        drop(ledger);
        let queue = Queue::start(Database::beside(&path).unwrap(), &path).unwrap();
        for _ in 0..3 {
            let asked = queue.read("panicking", |_| -> Result<(), Fault> { panic!("as a library does") });
            assert!(matches!(smol::block_on(asked), Err(Error::Ledger { .. })));
            let asked = queue.read("reading", |found| Ok(found.query_row("SELECT 7", [], |row| row.get::<_, i64>(0))?));
            assert_eq!(smol::block_on(asked).unwrap(), 7);
        }
    }
}
