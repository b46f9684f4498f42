//! The host: the fakes of the core, with a step before and after every effect, so that a process can die at each, and with faults.

use crate::world::{Kind, World};
use regrip_core::checksum::Algorithm;
use regrip_core::error::Error;
use regrip_core::event::Event;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row};
use regrip_core::store::{Committed, Committing, DigestState, Found, OpenPart, Part, PartBytes, PartStore};
use regrip_core::store::{PartToken, Replace, StoreRules};
use regrip_core::testing::{FakeBody, FakeTransport, MemoryLedger, MemoryPart, MemoryStore, VirtualClock};
use regrip_core::transport::{Request, RequestRules, Response, Transport};
use std::cell::Cell;
use std::time::SystemTime;

/// A host in a simulated world.
#[derive(Debug)]
pub struct SimHost {
    /// Its clock, which no crash sets back.
    pub clock: VirtualClock,
    /// Its network.
    pub transport: SimTransport,
    /// Its disk.
    pub store: SimStore,
    /// Its ledger.
    pub ledger: SimLedger,
    /// The world that it is a part of.
    pub world: World,
    /// The last seed that it gave away.
    pub seeds: Cell<u64>,
}

impl Host for SimHost {
    type Transport = SimTransport;
    type Store = SimStore;
    type Ledger = SimLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &SimTransport {
        &self.transport
    }
    fn store(&self) -> &SimStore {
        &self.store
    }
    fn ledger(&self) -> &SimLedger {
        &self.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        self.seeds.set(self.seeds.get() + 1);
        self.seeds.get()
    }
    fn on_event(&self, event: &Event<'_>) {
        self.world.log(&format!("event {} {}", event.id, event.what.name()));
    }
}

/// The network.
#[derive(Debug)]
pub struct SimTransport {
    /// Its servers.
    pub inner: FakeTransport,
    /// The world that it is a part of.
    pub world: World,
}

impl Transport for SimTransport {
    type Body = FakeBody;

    fn rules(&self, url: &str) -> RequestRules {
        self.inner.rules(url)
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<FakeBody>, Error> {
        self.world.step("get", request.url).await;
        self.inner.get(request).await
    }
}

/// The disk.
#[derive(Clone, Debug)]
pub struct SimStore {
    /// Its files, which outlive the process.
    pub inner: MemoryStore,
    /// The world that it is a part of.
    pub world: World,
}

impl SimStore {
    fn part(&self, inner: MemoryPart, path: &str) -> SimPart {
        SimPart { inner, world: self.world.clone(), path: path.to_owned() }
    }
}

impl PartStore for SimStore {
    type Part = SimPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        self.inner.exists(part).await
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<SimPart, Error> {
        self.world.step("open", part).await;
        let opened = self.inner.open(part, how).await?;
        self.world.step("opened", part).await;
        Ok(self.part(opened, part))
    }

    fn unnamed(&self, part: &str) -> Option<SimPart> {
        self.inner.unnamed(part).map(|inner| self.part(inner, part))
    }

    async fn commit(&self, part: SimPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        self.world.step("commit", destination).await;
        if self.world.fault(Kind::Sync, 10, "the folder cannot be synced") {
            self.inner.fail_folder_syncs(1);
        }
        let committed = self.inner.commit(part.inner, destination, replace).await;
        self.world.step("committed", destination).await;
        committed
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        self.inner.find(part, destination, committing).await
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        self.world.step("remove", part).await;
        self.inner.remove(part).await?;
        self.world.step("removed", part).await;
        Ok(())
    }
}

/// An open part.
#[derive(Debug)]
pub struct SimPart {
    inner: MemoryPart,
    world: World,
    path: String,
}

impl SimPart {
    fn full(&self) -> Error {
        Error::DiskFull { path: self.path.clone(), source: None }
    }
}

impl Part for SimPart {
    type Digest = Hasher;

    fn is_named(&self) -> bool {
        self.inner.is_named()
    }
    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        self.inner.may_stay_unnamed(size)
    }
    async fn name(&mut self) -> Result<(), Error> {
        self.world.step("name", &self.path).await;
        self.inner.name().await
    }
    async fn length(&mut self) -> Result<u64, Error> {
        self.inner.length().await
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.world.step("truncate", &self.path).await;
        self.inner.truncate(length).await?;
        self.world.step("truncated", &self.path).await;
        Ok(())
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        if self.world.fault(Kind::DiskFull, 15, "no room to reserve") {
            return Err(self.full());
        }
        self.inner.reserve(size).await
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        self.world.step("sync", &self.path).await;
        if self.world.fault(Kind::Sync, 10, "a sync fails") {
            return Err(Error::Disk { what: "sync", path: self.path.clone(), source: None });
        }
        let durable = self.inner.flush().await;
        self.world.step("synced", &self.path).await;
        durable
    }
    fn token(&self) -> PartToken {
        self.inner.token()
    }
    fn epoch(&self) -> String {
        self.inner.epoch()
    }
    fn rules(&self) -> StoreRules {
        self.inner.rules()
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        self.inner.is_uniform(from, to).await
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        self.inner.digest(algorithm, saved, to).await
    }
}

impl PartBytes<&[u8]> for SimPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        self.world.step("write", &self.path).await;
        if self.world.fault(Kind::DiskFull, 60, "no room to write") {
            return Err(self.full());
        }
        self.inner.write(offset, chunk, digests).await
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        self.inner.matches(offset, chunk).await
    }
}

/// The ledger.
#[derive(Debug)]
pub struct SimLedger {
    /// Its tables, which outlive the process.
    pub inner: MemoryLedger,
    /// The disk, to check what is recorded of it.
    pub store: MemoryStore,
    /// The world that it is a part of.
    pub world: World,
}

impl SimLedger {
    async fn before(&self, what: &str, of: &str) -> Result<(), Error> {
        self.world.step(what, of).await;
        if self.world.fault(Kind::Ledger, 40, "a write to the ledger fails") {
            return Err(failed());
        }
        Ok(())
    }

    async fn after<T>(&self, done: T) -> Result<T, Error> {
        self.world.step("recorded", "").await;
        if self.world.fault(Kind::Ledger, 40, "the reply of the ledger is lost") {
            return Err(failed());
        }
        Ok(done)
    }

    /// What is recorded as durable is durable.
    async fn check(&self, id: DownloadId, change: &Change) {
        let Change::Checkpoint { durable, .. } = change else { return };
        let Ok(row) = self.inner.row(id).await else { return };
        let synced = self.store.synced(&row.new.part).unwrap_or(0);
        if *durable > synced {
            self.world.violate(format!("download {id}: {durable} bytes recorded as durable, {synced} are"));
        }
    }
}

impl Ledger for SimLedger {
    async fn insert(&self, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
        self.before("insert", &new.destination).await?;
        let id = self.inner.insert(new, at).await?;
        self.after(id).await
    }
    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.inner.row(id).await
    }
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        self.inner.rows_for(destination).await
    }
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        self.inner.unfinished_marks().await
    }
    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        self.before("begin", "").await?;
        let number = self.inner.begin_attempt(id, attempt).await?;
        self.after(number).await
    }
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        self.before("record", &format!("{id} {change:?}")).await?;
        self.check(id, change).await;
        self.inner.record(id, change, at).await?;
        self.after(()).await
    }
    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.before("delete", "").await?;
        self.inner.remove(id).await?;
        self.after(()).await
    }
}

fn failed() -> Error {
    Error::Ledger { what: "writing".to_owned(), source: None }
}
