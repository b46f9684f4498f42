//! The fake host with a disk and a ledger that take their time: every call yields before its effect and after it, so that a
//! future can be dropped, or another one run, at every await; and writing takes virtual time.

use super::pause;
use regrip_core::error::Error;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Mark, NewAttempt, NewDownload};
use regrip_core::store::{Committed, Found, OpenPart, Part, PartBytes, PartStore, Replace};
use regrip_core::store::{Committing, DigestState, PartToken, StoreRules};
use regrip_core::testing::{FakeHost, FakeTransport, MemoryLedger, MemoryPart, MemoryStore, VirtualClock};
use regrip_core::{Algorithm, Change, DownloadId, Event, Row};
use std::future::Future;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) fake: FakeHost,
    store: SlowStore,
    ledger: SlowLedger,
}

impl Slow {
    pub(crate) fn new(fake: FakeHost, write_takes: Duration) -> Slow {
        let (disk, clock) = (fake.store.clone(), fake.clock.clone());
        let store = SlowStore { disk, clock, write_takes };
        let ledger = SlowLedger(fake.ledger.clone());
        Slow { fake, store, ledger }
    }
}

impl Host for Slow {
    type Transport = FakeTransport;
    type Store = SlowStore;
    type Ledger = SlowLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &FakeTransport {
        &self.fake.transport
    }
    fn store(&self) -> &SlowStore {
        &self.store
    }
    fn ledger(&self) -> &SlowLedger {
        &self.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.fake.clock
    }
    fn seed(&self) -> u64 {
        self.fake.seed()
    }
    fn on_event(&self, event: &Event<'_>) {
        self.fake.on_event(event);
    }
}

async fn slowly<T>(work: impl Future<Output = T>) -> T {
    pause().await;
    let done = work.await;
    pause().await;
    done
}

#[derive(Clone, Debug)]
pub(crate) struct SlowStore {
    disk: MemoryStore,
    clock: VirtualClock,
    write_takes: Duration,
}

impl PartStore for SlowStore {
    type Part = SlowPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        slowly(self.disk.exists(part)).await
    }
    async fn open(&self, part: &str, how: OpenPart) -> Result<SlowPart, Error> {
        let (clock, write_takes) = (self.clock.clone(), self.write_takes);
        let part = slowly(self.disk.open(part, how)).await?;
        Ok(SlowPart { part, clock, write_takes })
    }
    fn unnamed(&self, part: &str) -> Option<SlowPart> {
        let part = self.disk.unnamed(part)?;
        Some(SlowPart { part, clock: self.clock.clone(), write_takes: self.write_takes })
    }
    async fn commit(&self, part: SlowPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        slowly(self.disk.commit(part.part, destination, replace)).await
    }
    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        slowly(self.disk.find(part, destination, committing)).await
    }
    async fn remove(&self, part: &str) -> Result<(), Error> {
        slowly(self.disk.remove(part)).await
    }
}

#[derive(Debug)]
pub(crate) struct SlowPart {
    part: MemoryPart,
    clock: VirtualClock,
    write_takes: Duration,
}

impl Part for SlowPart {
    type Digest = Hasher;

    fn is_named(&self) -> bool {
        self.part.is_named()
    }
    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        self.part.may_stay_unnamed(size)
    }
    async fn name(&mut self) -> Result<(), Error> {
        slowly(self.part.name()).await
    }
    async fn length(&mut self) -> Result<u64, Error> {
        slowly(self.part.length()).await
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        slowly(self.part.truncate(length)).await
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        slowly(self.part.reserve(size)).await
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        slowly(self.part.flush()).await
    }
    fn token(&self) -> PartToken {
        self.part.token()
    }
    fn epoch(&self) -> String {
        self.part.epoch()
    }
    fn rules(&self) -> StoreRules {
        self.part.rules()
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        slowly(self.part.is_uniform(from, to)).await
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        slowly(self.part.digest(algorithm, saved, to)).await
    }
}

impl PartBytes<&[u8]> for SlowPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        self.clock.advance(self.write_takes);
        slowly(self.part.write(offset, chunk, digests)).await
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        slowly(self.part.matches(offset, chunk)).await
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SlowLedger(MemoryLedger);

impl Ledger for SlowLedger {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        slowly(self.0.insert(new, at)).await
    }
    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        slowly(self.0.row(id)).await
    }
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        slowly(self.0.rows_for(destination)).await
    }
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        slowly(self.0.unfinished_marks()).await
    }
    async fn begin_attempt(&self, id: DownloadId, begin: &NewAttempt) -> Result<u32, Error> {
        slowly(self.0.begin_attempt(id, begin)).await
    }
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        slowly(self.0.record(id, change, at)).await
    }
    /// One transaction only if processes share the ledger: that others may come in between is the harder case.
    async fn record_all(
        &self,
        id: DownloadId,
        begin: Option<&NewAttempt>,
        changes: &[Change],
        at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        if self.lease().is_some() {
            return slowly(self.0.record_all(id, begin, changes, at)).await;
        }
        let mut number = None;
        if let Some(attempt) = begin {
            number = Some(self.begin_attempt(id, attempt).await?);
        }
        for change in changes {
            self.record(id, change, at).await?;
        }
        Ok(number)
    }
    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        slowly(self.0.remove(id)).await
    }
    fn lease(&self) -> Option<Duration> {
        self.0.lease()
    }
    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        slowly(self.0.claim(id, owner, until)).await
    }
    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        slowly(self.0.release(id, owner, rest)).await
    }
    async fn changes(&self) {
        Ledger::changes(&self.0).await;
    }
}
