//! The host: the fakes of the core, with a step before and after every effect, so that a process can die at each, and with faults.

use crate::world::{Kind, MOST_LIVES, World};
use regrip_core::ErrorCode;
use regrip_core::checksum::Algorithm;
use regrip_core::config::DownloadsConfig;
use regrip_core::error::Error;
use regrip_core::event::Event;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, DownloadId, Mark, NewAttempt, NewDownload, Row, Status};
use regrip_core::store::{Committed, Committing, Digest, DigestState, Found, OpenPart, Part, PartBytes, PartStore};
use regrip_core::store::{PartToken, Replace, StoreRules};
use regrip_core::testing::{FakeBody, FakeTransport, MemoryLedger, MemoryPart, MemoryStore, VirtualClock};
use regrip_core::time::{Clock, Instant};
use regrip_core::transport::{Request, RequestRules, Response, Transport};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A host in a simulated world.
#[derive(Debug)]
pub struct SimHost {
    /// Its clock, which no crash sets back.
    pub clock: SimClock,
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
    type Clock = SimClock;

    fn transport(&self) -> &SimTransport {
        &self.transport
    }
    fn store(&self) -> &SimStore {
        &self.store
    }
    fn ledger(&self) -> &SimLedger {
        &self.ledger
    }
    fn clock(&self) -> &SimClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        self.seeds.set(self.seeds.get() + 1);
        self.seeds.get()
    }
    fn on_event(&self, event: &Event<'_>) {
        self.world.log(&format!("event {} {}", event.id, event.what.name()));
        self.world.check_public(event.url);
    }
}

/// The clock of one machine.
#[derive(Clone, Debug)]
pub struct SimClock {
    /// The time of the world.
    pub world: VirtualClock,
    /// The wall clock of this machine is ahead by so much, or behind.
    pub ahead: Duration,
    /// It is behind.
    pub behind: Duration,
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.world.now()
    }
    fn wall(&self) -> SystemTime {
        let wall = self.world.wall();
        (wall + self.ahead).checked_sub(self.behind).unwrap_or(wall)
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.world.sleep(duration)
    }
}

/// The network.
#[derive(Debug)]
pub struct SimTransport {
    /// Its servers.
    pub inner: FakeTransport,
    /// The most requests at once, if each download has one connection.
    pub most_bodies: Option<usize>,
    /// The world that it is a part of.
    pub world: World,
}

impl Transport for SimTransport {
    type Body = FakeBody;

    fn rules(&self, url: &str) -> RequestRules {
        self.inner.rules(url)
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<FakeBody>, Error> {
        // By the clock of the ledger claims end; those of the machines differ from it anyway.
        if self.world.worker().is_none() && self.world.fault(Kind::Clock, 40, "the wall clock jumps during a transfer")
        {
            self.world.set_clock();
        }
        if self.most_bodies.is_some_and(|most| self.inner.open_bodies() >= most) {
            self.world.violate(format!("{} requests at once", self.inner.open_bodies() + 1));
        }
        self.world.requested();
        if self.world.step("get", request.url).await {
            return Err(Error::Network { what: "connecting".to_owned(), source: None });
        }
        self.inner.get(request).await
    }
}

/// The disk.
#[derive(Clone, Debug)]
pub struct SimStore {
    /// Its files, which outlive the process.
    pub inner: MemoryStore,
    /// Destinations whose names may be lost, and whose downloads have a warning that says so.
    pub weak: Names,
    /// The world that it is a part of.
    pub world: World,
}

/// A set of paths that processes share.
pub type Names = Arc<Mutex<BTreeSet<String>>>;

impl SimStore {
    fn part(&self, inner: MemoryPart, path: &str) -> SimPart {
        SimPart { inner, world: self.world.clone(), path: path.to_owned(), lost: false }
    }
}

impl PartStore for SimStore {
    type Part = SimPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        self.inner.exists(part).await
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<SimPart, Error> {
        if self.world.step("open", part).await {
            return Err(disk("open", part));
        }
        let opened = self.inner.open(part, how).await?;
        if self.world.step("opened", part).await {
            return Err(disk("look at", part));
        }
        Ok(self.part(opened, part))
    }

    fn unnamed(&self, part: &str) -> Option<SimPart> {
        self.inner.unnamed(part).map(|inner| self.part(inner, part))
    }

    async fn commit(&self, mut part: SimPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        if self.world.step("commit", destination).await {
            if !part.inner.is_named() {
                part.inner.name().await?; // a failed commit leaves a part
                part.inner.flush().await?;
            }
            return Err(disk("rename", destination));
        }
        // Renamed first and synced later, so that a process can die in between.
        self.inner.fail_folder_syncs(1);
        let renamed = self.inner.commit(part.inner, destination, replace).await;
        self.inner.fail_folder_syncs(0);
        let fails = self.world.step("renamed", destination).await;
        if fails || self.world.fault(Kind::Sync, 10, "the folder cannot be synced") {
            self.weak.lock().unwrap_or_else(PoisonError::into_inner).insert(destination.to_owned());
            return renamed;
        }
        let _ = renamed?; // a warning, because it is not synced yet
        self.inner.sync_names();
        let fails = self.world.step("committed", destination).await;
        Ok(if fails { Committed::WithWarning(disk("look at", destination)) } else { Committed::Durable })
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        self.inner.find(part, destination, committing).await
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        if self.world.step("remove", part).await {
            return Err(disk("remove", part));
        }
        self.inner.remove(part).await?;
        if self.world.step("removed", part).await {
            return Err(disk("sync the folder of", part));
        }
        Ok(())
    }
}

/// An open part.
#[derive(Debug)]
pub struct SimPart {
    inner: MemoryPart,
    world: World,
    path: String,
    /// A sync failed: what it was to write is lost as soon as the part is used again.
    lost: bool,
}

impl SimPart {
    /// Not at once: a process that dies before it can cut the part cannot tell anybody.
    fn lose(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.inner.lose_unsynced();
        }
    }

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
        if self.world.step("name", &self.path).await {
            return Err(disk("create", &self.path));
        }
        self.inner.name().await
    }
    async fn length(&mut self) -> Result<u64, Error> {
        self.inner.length().await
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        if self.world.step("truncate", &self.path).await {
            return Err(disk("cut", &self.path));
        }
        self.inner.truncate(length).await?;
        self.lose();
        if self.world.step("truncated", &self.path).await {
            return Err(disk("cut", &self.path));
        }
        Ok(())
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        if self.world.fault(Kind::DiskFull, 15, "no room to reserve") {
            return Err(self.full());
        }
        self.inner.reserve(size).await
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        self.lose();
        let fails = self.world.step("sync", &self.path).await;
        self.world.delay(10, "the disk is slow").await;
        if fails || self.world.fault(Kind::Sync, 10, "a sync fails") {
            self.lost = true;
            return Err(match self.world.one_in("for want of room", 4) {
                true => self.full(),
                false => disk("sync", &self.path),
            });
        }
        let durable = self.inner.flush().await;
        if self.world.step("synced", &self.path).await {
            return Err(disk("sync", &self.path));
        }
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
        self.lose();
        self.world.wrote(&self.path, chunk.len() as u64);
        let fails = self.world.step("write", &self.path).await;
        if fails || self.world.fault(Kind::DiskFull, 60, "no room to write") {
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
    /// The clock of this machine, by which it says until when it claims.
    pub clock: SimClock,
    /// Which process claimed a download last.
    pub holders: Holders,
    /// What each download has been through.
    pub tallies: Tallies,
    /// The limits of the process.
    pub limits: DownloadsConfig,
    /// One download from one source: beside others some attempts are free.
    pub is_alone: bool,
    /// The world that it is a part of.
    pub world: World,
}

/// By download: the processes that have claimed it, in order, until its row is finished or paused.
pub type Holders = Arc<Mutex<BTreeMap<DownloadId, Vec<u64>>>>;

/// By download, shared by all processes.
pub type Tallies = Arc<Mutex<BTreeMap<DownloadId, Tally>>>;

impl SimLedger {
    /// Reads fail while the ledger cannot be reached: at once, or when it answers again.
    async fn reach(&self) -> Result<(), Error> {
        let cut_off = self.world.cut_off();
        if cut_off.is_zero() {
            return Ok(());
        }
        if self.world.one_in("waits for the ledger", 2) {
            self.clock.sleep(cut_off).await;
        }
        Err(failed())
    }

    async fn before(&self, what: &str, of: &str) -> Result<(), Error> {
        self.reach().await?;
        self.world.delay(40, "the ledger is slow").await;
        let fails = self.world.step(what, of).await;
        if fails || self.world.fault(Kind::Ledger, 40, "a write to the ledger fails") {
            return Err(failed());
        }
        Ok(())
    }

    async fn after<T>(&self, done: T) -> Result<T, Error> {
        let fails = self.world.step("recorded", "").await;
        if fails || self.world.fault(Kind::Ledger, 40, "the reply of the ledger is lost") {
            return Err(failed());
        }
        Ok(done)
    }

    /// No write of a process is accepted once another one has claimed the download; while that claim lasts, none of anybody else.
    async fn check_fence(&self, id: DownloadId, what: &str) {
        let Some(worker) = self.world.worker() else { return };
        let is_active = self.inner.row(id).await.is_ok_and(|row| row.status.is_active());
        let lasts = self.inner.claimed(id).is_some_and(|(_, until)| until > self.clock.world.wall());
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_row) = holders.get(&id) else { return };
        if let Some(holder) = of_row.last().filter(|holder| **holder != worker)
            && (lasts || of_row.contains(&worker))
        {
            self.world
                .violate(format!("{what} by worker {worker}, although worker {holder} has claimed download {id}"));
        }
        if !is_active {
            holders.remove(&id);
        }
    }

    /// What is recorded of the part is true of it.
    async fn check_change(&self, id: DownloadId, change: &Change) {
        let violate = |what: String| self.world.violate(format!("download {id}: {what}"));
        if let Some(text) = text_of(change) {
            self.world.check_public(text);
        }
        let Ok(row) = self.inner.row(id).await else { return };
        match change {
            Change::Checkpoint { downloaded, durable, digests, .. } => {
                let synced = self.store.synced(&row.new.part).unwrap_or(0);
                if *durable > synced {
                    violate(format!("{durable} bytes recorded as durable, {synced} are"));
                }
                // An unnamed part cannot be looked at.
                let Some(bytes) = self.store.file(&row.new.part).filter(|_| row.claimed) else { return };
                if *downloaded > bytes.len() as u64 {
                    violate(format!("{downloaded} bytes recorded, {} exist", bytes.len()));
                }
                for (algorithm, state) in digests {
                    if !is_state_of(*algorithm, state, &bytes) {
                        violate(format!("the digest of {} bytes is another one", state.offset));
                    }
                }
            }
            Change::AttemptEnded { end, .. } => {
                let most = Duration::from_millis(self.limits.retry_max_delay_ms);
                if end.wait.is_some_and(|(delay, _)| delay > most) {
                    violate(format!("{:?} before the next attempt, {most:?} are allowed", end.wait));
                }
            }
            Change::Completed { size, .. } => {
                let bytes = self.store.file(&row.new.destination);
                // It may have been renamed away by another download of this destination.
                let Some(bytes) = bytes.filter(|bytes| bytes.len() as u64 == *size) else {
                    return violate(format!("the file is not of the recorded size {size}"));
                };
                for digest in row.checksums() {
                    if Hasher::of(digest.algorithm, &bytes) != digest {
                        violate("the file has another digest than recorded".to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    /// The status goes a way that the states allow, and the limits hold, over all processes.
    async fn check_row(&self, before: &Row, change: &Change) {
        let Ok(row) = self.inner.row(before.id).await else { return };
        let violate = |what: String| self.world.violate(format!("download {}: {what}", row.id));
        let is_possible = before.status == row.status
            || match before.status {
                Status::Completed => false,
                Status::Failed | Status::Cancelled => row.status == Status::Queued,
                Status::Paused => matches!(row.status, Status::Queued | Status::Cancelled),
                Status::Committing => !matches!(row.status, Status::Paused | Status::Cancelled),
                _ => true,
            };
        if !is_possible {
            violate(format!("from {} to {}", before.status.name(), row.status.name()));
        }
        let limits = &self.limits;
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(row.id).or_default();
        tally.count(change, self.world.requests());
        let written = self.world.written(&row.new.part);
        // Two workers may say of the same bytes that a digest refused them.
        if tally.discarded > written && self.inner.lease().is_none() {
            violate(format!("{} bytes discarded, {written} were written", tally.discarded));
        }
        if !self.is_alone {
            return;
        }
        if tally.asked_nobody {
            violate("bytes that a digest refused are refused again, and no server was asked".to_owned());
        }
        if tally.in_a_row >= limits.max_download_attempts {
            let most = limits.max_download_attempts;
            violate(format!("another attempt after {} without progress, {most} are allowed", tally.in_a_row));
        }
        // A process may die before it fails for the last of them.
        let most = limits.max_download_attempts + 2 + u32::try_from(MOST_LIVES).unwrap_or(u32::MAX);
        if tally.restarts > most {
            violate(format!("{} restarts", tally.restarts));
        }
    }
}

/// The part of a change that a user can read.
fn text_of(change: &Change) -> Option<&str> {
    match change {
        Change::Failed(failure) => Some(&failure.text),
        Change::Completed { warning, .. } => warning.as_ref().map(|warning| warning.text.as_str()),
        Change::AttemptEnded { end, .. } => end.error.as_ref().map(|error| error.text.as_str()),
        Change::Waits(waiting) => Some(&waiting.why),
        _ => None,
    }
}

/// Returns `true` if the state is that of the first of these bytes.
pub fn is_state_of(algorithm: Algorithm, state: &DigestState, bytes: &[u8]) -> bool {
    let start = usize::try_from(state.offset).ok().and_then(|offset| bytes.get(..offset));
    let resumed = Hasher::resume(algorithm, state, state.offset).map(Digest::finish);
    start.is_some_and(|start| resumed == Some(Hasher::of(algorithm, start).hex))
}

/// What a row has been through, counted without its own counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Failed attempts in a row after which another one followed and that came no further than those before them.
    in_a_row: u32,
    furthest: u64,
    /// Since a user asked for it.
    restarts: u32,
    /// Bytes, over all its life.
    discarded: u64,
    /// The number of requests before a user asked for it again.
    retried_at: Option<u64>,
    /// It was refused by its digest, and no server was asked since then.
    asked_nobody: bool,
}

impl Tally {
    fn count(&mut self, change: &Change, requests: u64) {
        match change {
            Change::AttemptEnded { end, .. } if end.wait.is_some() => {
                self.in_a_row = if end.to > self.furthest { 0 } else { self.in_a_row + 1 };
                self.furthest = self.furthest.max(end.to);
            }
            Change::AttemptEnded { end, .. } if end.to > self.furthest => self.in_a_row = 0,
            Change::Restart(restart) | Change::Fresh { restart: Some(restart), .. } => {
                self.restarts += 1;
                self.discarded += restart.discarded;
                self.furthest = 0;
            }
            Change::Retried => {
                *self = Tally { discarded: self.discarded, retried_at: Some(requests), ..Tally::default() };
            }
            Change::Failed(failure) if failure.code == ErrorCode::DigestMismatch => {
                self.asked_nobody = self.retried_at == Some(requests);
            }
            _ => {}
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
        self.reach().await?;
        self.inner.row(id).await
    }
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        self.reach().await?;
        self.inner.rows_for(destination).await
    }
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        self.reach().await?;
        self.inner.unfinished_marks().await
    }
    async fn begin_attempt(&self, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Error> {
        self.before("begin", "").await?;
        let number = self.inner.begin_attempt(id, attempt).await?;
        self.check_fence(id, "the attempt").await;
        self.after(number).await
    }
    async fn record(&self, id: DownloadId, change: &Change, at: SystemTime) -> Result<(), Error> {
        self.before("record", &format!("{id} {change:?}")).await?;
        self.check_change(id, change).await;
        let before = self.inner.row(id).await;
        self.inner.record(id, change, at).await?;
        if let Ok(before) = before {
            self.check_row(&before, change).await;
        }
        match change {
            // Anybody may end a download.
            Change::Cancelled | Change::Paused => drop(self.holders.lock().map(|mut holders| holders.remove(&id))),
            _ => self.check_fence(id, "a change").await,
        }
        self.after(()).await
    }
    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.before("delete", "").await?;
        self.inner.remove(id).await?;
        self.after(()).await
    }
    fn lease(&self) -> Option<Duration> {
        self.inner.lease()
    }
    async fn claim(&self, id: DownloadId, owner: &str, until: SystemTime) -> Result<bool, Error> {
        self.before("claim", owner).await?;
        // The ledger counts the duration by its own clock.
        let lasts = until.duration_since(self.clock.wall()).unwrap_or_default();
        let claimed = self.inner.claim(id, owner, self.clock.world.wall() + lasts).await?;
        if let Some(worker) = self.world.worker().filter(|_| claimed) {
            self.holders.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().push(worker);
        }
        self.after(claimed).await
    }
    async fn release(&self, id: DownloadId, owner: &str, rest: Duration) -> Result<(), Error> {
        self.before("release", owner).await?;
        self.inner.release(id, owner, rest).await?;
        self.after(()).await
    }
    async fn changes(&self) {
        Ledger::changes(&self.inner).await;
    }
}

fn disk(what: &'static str, path: &str) -> Error {
    Error::Disk { what, path: path.to_owned(), source: None }
}

fn failed() -> Error {
    Error::Ledger { what: "writing".to_owned(), source: None }
}
