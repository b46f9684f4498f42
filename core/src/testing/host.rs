//! The fake host, which combines all fakes.

use super::clock::VirtualClock;
use super::ledger::MemoryLedger;
use super::store::MemoryStore;
use super::transport::{FakeTransport, Served};
use crate::config::OnExists;
use crate::event::{Event, What};
use crate::host::Host;
use crate::random::Random;
use crate::record::{DownloadId, NewDownload, Source};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A host made of fakes. Clones share their state.
#[derive(Clone, Debug)]
pub struct FakeHost {
    /// Its clock.
    pub clock: VirtualClock,
    /// Its peer.
    pub transport: FakeTransport,
    /// Its disk.
    pub store: MemoryStore,
    /// Its ledger.
    pub ledger: MemoryLedger,
    events: Arc<Mutex<Vec<(DownloadId, What)>>>,
    seed: Arc<AtomicU64>,
}

impl FakeHost {
    /// Creates a host with an empty disk and ledger and the clock of the transport.
    pub fn new(clock: VirtualClock, transport: FakeTransport) -> Self {
        FakeHost {
            clock,
            transport,
            store: MemoryStore::default(),
            ledger: MemoryLedger::default(),
            events: Arc::default(),
            seed: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Creates a host whose server has one file.
    pub fn serving(mut served: Served) -> Self {
        let clock = VirtualClock::default();
        let transport = FakeTransport::new(clock.clone(), move |asked| served.answer(asked));
        FakeHost::new(clock, transport)
    }

    /// All events so far, in order.
    pub fn events(&self) -> Vec<(DownloadId, What)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of the events of a download, without progress.
    pub fn story(&self, id: DownloadId) -> Vec<&'static str> {
        let events = self.events();
        let own = events.iter().filter(|(of, what)| *of == id && !matches!(what, What::Progress { .. }));
        own.map(|(_, what)| what.name()).collect()
    }
}

impl Host for FakeHost {
    type Transport = FakeTransport;
    type Store = MemoryStore;
    type Ledger = MemoryLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &FakeTransport {
        &self.transport
    }
    fn store(&self) -> &MemoryStore {
        &self.store
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::SeqCst)
    }
    fn on_event(&self, event: &Event<'_>) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push((event.id, event.what.clone()));
    }
}

/// A request to download a URL to a destination, with its part beside it.
pub fn new_download(url: &str, destination: &str) -> NewDownload {
    NewDownload {
        source: Source::Url { url: url.to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: destination.to_owned(),
        part: format!("{destination}.part"),
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

/// A random source that always draws the same percentage of the range, from 0 to 100.
#[derive(Clone, Copy, Debug)]
pub struct Constant(pub u8);

impl Random for Constant {
    fn up_to(&mut self, max: u64) -> u64 {
        u64::try_from(u128::from(max) * u128::from(self.0.min(100)) / 100).unwrap_or(max)
    }
}
