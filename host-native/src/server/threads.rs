//! The threads that connections run on.
//!
//! Sending a file may block its thread while the disk is read, so there are several, and never the transfers' own: a slow
//! disk makes some replies late and stops nothing.

use smol::{Executor, channel};
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// At least so many, whatever the number of cores: they wait for disks more than they compute.
const FEWEST: usize = 4;

/// Threads that drive the tasks of an executor. Dropping it ends them.
#[derive(Debug)]
pub struct Threads {
    executor: Arc<Executor<'static>>,
    _stop: channel::Sender<()>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start() -> io::Result<Threads> {
        let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = channel::bounded::<()>(1);
        for number in 0..count.max(FEWEST) {
            let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
            std::thread::Builder::new()
                .name(format!("server {number}"))
                .spawn(move || {
                    // Ends when the sender is dropped, as an error.
                    let _ = smol::block_on(executor.run(stopped.recv()));
                })?;
        }
        Ok(Threads {
            executor,
            _stop: stop,
        })
    }

    /// Where tasks are spawned.
    pub fn executor(&self) -> &Arc<Executor<'static>> {
        &self.executor
    }

    /// Runs a future on the calling thread.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }
}
