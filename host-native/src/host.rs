//! The native implementation of the core's host.

use crate::ledger::{NativeLedger, is_delivered};
use crate::store::{DiskStore, FileStamp};
use crate::time::SmolClock;
use crate::transport::HttpTransport;
use regrip_core::host::Host;
use regrip_core::{Error, Event, Row};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Receives events. Called in the transfer's own thread.
pub trait Listener: Send + Sync {
    /// Receives an event.
    fn hear(&self, event: &Event<'_>);
}

/// The native host, on any [ledger](NativeLedger).
pub struct NativeHost<L> {
    /// Sends requests.
    pub transport: HttpTransport,
    /// Writes parts.
    pub store: DiskStore,
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

impl<L: NativeLedger> Host for NativeHost<L> {
    type Transport = HttpTransport;
    type Store = DiskStore;
    type Ledger = L;
    type Clock = SmolClock;

    fn transport(&self) -> &HttpTransport {
        &self.transport
    }
    fn store(&self) -> &DiskStore {
        &self.store
    }
    fn ledger(&self) -> &L {
        &self.ledger
    }
    fn clock(&self) -> &SmolClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        // fastrand's global generator is seeded from the system's entropy, once a thread.
        fastrand::u64(..)
    }
    fn on_event(&self, event: &Event<'_>) {
        self.listener.hear(event);
    }
    async fn may_replace(&self, row: &Row) -> Result<bool, Error> {
        if !self.store.replaces_delivered_only() {
            return Ok(true);
        }
        let destination = Path::new(&row.new.destination);
        match FileStamp::of(destination)? {
            Some(stamp) => is_delivered(&self.ledger, destination, stamp).await,
            // A file that appears there from now on is not ours.
            None => Ok(false),
        }
    }
}
