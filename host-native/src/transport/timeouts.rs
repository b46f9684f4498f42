//! How long a transport waits, which may change while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The timeouts, in milliseconds. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Timeouts(Arc<Held>);

#[derive(Debug)]
struct Held {
    connect: AtomicU64,
    headers: AtomicU64,
}

impl Timeouts {
    pub(super) fn new(connect: Duration, headers: Duration) -> Timeouts {
        Timeouts(Arc::new(Held {
            connect: AtomicU64::new(milliseconds(connect)),
            headers: AtomicU64::new(milliseconds(headers)),
        }))
    }

    pub(super) fn replace(&self, connect: Duration, headers: Duration) {
        self.0
            .connect
            .store(milliseconds(connect), Ordering::Relaxed);
        self.0
            .headers
            .store(milliseconds(headers), Ordering::Relaxed);
    }

    /// For name lookup, TCP and TLS together.
    pub(super) fn connect(&self) -> Duration {
        Duration::from_millis(self.0.connect.load(Ordering::Relaxed))
    }

    /// From the request being sent to the end of the response head.
    pub(super) fn headers(&self) -> Duration {
        Duration::from_millis(self.0.headers.load(Ordering::Relaxed))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
