//! The ledger's thread: it alone has the database, and takes one request after the other from a bounded queue.

use super::database::Database;
use futures::channel::oneshot;
use regrip_core::Error;
use smol::channel::{Receiver, Sender, bounded};
use std::io;
use std::thread::JoinHandle;

/// Requests that may wait. Whoever comes then waits for room, so a slow disk costs a bounded amount of memory.
const REQUESTS: usize = 64;

type Request = Box<dyn FnOnce(&mut Database) + Send>;

/// The way to the thread. Dropping it lets the requests that wait be done, closes the database and ends the thread.
pub(super) struct Queue {
    requests: Sender<Request>,
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

    /// Has `request` done.
    ///
    /// # Cancel safety
    /// Dropped before it was taken into the queue it is not done; dropped later it is, and nobody learns how it went.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let request: Request = Box::new(move |database| {
            let _ = reply.send(request(database)); // nobody waits any more: the download was dropped
        });
        self.requests.send(request).await.map_err(|_| gone())?;
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

fn serve(mut database: Database, incoming: &Receiver<Request>) {
    while let Ok(request) = incoming.recv_blocking() {
        request(&mut database);
    }
    database.close();
}

fn gone() -> Error {
    Error::Ledger {
        what: "its thread has ended".to_owned(),
        source: None,
    }
}
