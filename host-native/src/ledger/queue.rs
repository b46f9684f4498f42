//! The ledger's thread: it alone has the database, and takes what is asked of it from a bounded queue.
//!
//! Whatever waits when it is ready for more is done in one transaction, so that downloads side by side share one sync of
//! the disk. Nothing waits for company: a request that comes alone is done alone, at once.
//!
//! Invariant: requests are done in the order they were taken in, and each is answered after the transaction it was part of
//! is durable, a read too: it may have seen what a neighbour wrote.

use super::database::{Database, Fault, Request};
use futures::channel::oneshot;
use regrip_core::Error;
use rusqlite::Transaction;
use smol::channel::{Receiver, Sender, bounded};
use std::io;
use std::thread::JoinHandle;

/// Requests that may wait. Whoever comes then waits for room, so a slow disk costs a bounded amount of memory.
const REQUESTS: usize = 64;

/// The way to the thread. Dropping it lets the requests that wait be done, closes the database and ends the thread.
pub(super) struct Queue {
    requests: Sender<Box<dyn Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(database: Database) -> io::Result<Self> {
        let (requests, incoming) = bounded(REQUESTS);
        let thread = std::thread::Builder::new()
            .name("regrip-ledger".to_owned())
            .spawn(move || serve(database, &incoming))?;
        Ok(Queue {
            requests,
            thread: Some(thread),
        })
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
        self.ask(what, false, act).await
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
        self.ask(what, true, act).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        writes: bool,
        act: impl Fn(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            what,
            writes,
            act,
            value: None,
            reply,
        };
        self.requests
            .send(Box::new(asked))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Requests that wait now.
    pub(super) fn waiting(&self) -> usize {
        self.requests.len()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.requests.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it has been printed
        }
    }
}

/// Something that was asked for, and who waits for the answer.
struct Asked<T, F> {
    what: &'static str,
    writes: bool,
    act: F,
    /// What it came to, once it was done.
    value: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Request for Asked<T, F>
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
        // Where nobody waits any more the download was dropped.
        let _ = self.reply.send(done.and(value));
    }
}

fn serve(mut database: Database, incoming: &Receiver<Box<dyn Request>>) {
    let mut batch = Vec::with_capacity(REQUESTS);
    while let Ok(first) = incoming.recv_blocking() {
        batch.push(first);
        while batch.len() < REQUESTS
            && let Ok(next) = incoming.try_recv()
        {
            batch.push(next);
        }
        database.serve(&mut batch);
    }
    database.close();
}

fn gone() -> Error {
    Error::Ledger {
        what: "its thread has ended".to_owned(),
        source: None,
    }
}
