//! The threads that transfers run on.
//!
//! Disk writes are synchronous in a transfer's own task, so one slow disk must not stop the timers of the others: as many
//! threads as there are downloads at once, up to the number of cores. A single download runs on the calling thread.

use smol::{Executor, Task, channel};
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

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
