//! The native implementation of the core's host.
//!
//! [`Workers`] are the threads that transfers run on. Disk writes are synchronous in a transfer's own task, so one slow disk
//! must not stop the timers of the others: as many threads as there are downloads at once, up to the number of cores. A
//! single download runs on the calling thread.

use crate::ledger::{FileLedger, is_delivered};
use crate::store::FileStore;
use crate::time::{SmolClock, entropy};
use crate::transport::HttpTransport;
use regrip_core::host::Host;
use regrip_core::{Error, Event, Row};
use smol::{Executor, Task, channel};
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

/// Receives events. Called in the transfer's own thread.
pub trait Listener: Send + Sync {
    /// Receives an event.
    fn hear(&self, event: &Event<'_>);
}

/// The native host, on any [ledger](FileLedger).
pub struct NativeHost<L> {
    /// Sends requests.
    pub transport: HttpTransport,
    /// Writes parts.
    pub store: FileStore,
    /// Records downloads.
    pub ledger: L,
    /// The clock.
    pub clock: SmolClock,
    /// Receives events.
    pub listener: Arc<dyn Listener>,
}

impl<L> fmt::Debug for NativeHost<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NativeHost").finish_non_exhaustive()
    }
}

impl<L: FileLedger> Host for NativeHost<L> {
    type Transport = HttpTransport;
    type Store = FileStore;
    type Ledger = L;
    type Clock = SmolClock;

    fn transport(&self) -> &HttpTransport {
        &self.transport
    }
    fn store(&self) -> &FileStore {
        &self.store
    }
    fn ledger(&self) -> &L {
        &self.ledger
    }
    fn clock(&self) -> &SmolClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        entropy()
    }
    fn on_event(&self, event: &Event<'_>) {
        self.listener.hear(event);
    }
    async fn may_replace(&self, row: &Row) -> Result<bool, Error> {
        if !self.store.replaces_delivered_only() {
            return Ok(true);
        }
        let destination = Path::new(&row.new.destination);
        match self.store.look_at(destination).await? {
            Some(stamp) => is_delivered(&self.ledger, destination, stamp).await,
            // A file that appears there from now on is not ours.
            None => Ok(false),
        }
    }
}

static EXECUTOR: Executor<'static> = Executor::new();

/// Threads that drive spawned tasks.
#[derive(Debug)]
pub struct Workers {
    _stop: channel::Sender<()>,
}

impl Workers {
    /// Starts the threads for `at_once` tasks, including the calling thread.
    pub fn new(at_once: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = cores.min(at_once as usize).saturating_sub(1);
        let (stop, stopped) = channel::bounded::<()>(1);
        let stopped = Arc::new(stopped);
        for number in 0..threads {
            let stopped = Arc::clone(&stopped);
            let work = move || smol::block_on(EXECUTOR.run(async { stopped.recv().await.ok() }));
            // Fewer threads are slower, and nothing else.
            let _ = std::thread::Builder::new().name(format!("transfer {number}")).spawn(work);
        }
        Workers { _stop: stop }
    }

    /// Runs a future on the calling thread, which helps with the spawned ones.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(EXECUTOR.run(future))
    }

    /// Spawns a task; dropping it cancels it.
    pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        EXECUTOR.spawn(future)
    }
}
