//! One run: a world from a seed, processes that die in it, and a last one that nothing happens to.

use crate::host::{Holders, Names, SimClock, SimHost, SimLedger, SimStore, SimTransport, Tallies, is_state_of};
use crate::server::{Origin, Version};
use crate::world::{Kind, MOST_LIVES, SECRET, Script, World};
use futures::future::{Either, join, join_all, select};
use regrip_core::checksum::Algorithm;
use regrip_core::config::{Connections, DownloadsConfig, OnExists};
use regrip_core::error::Error;
use regrip_core::hasher::Hasher;
use regrip_core::record::{DigestRow, DigestSource, DownloadId, NewDownload, Row, Source, Status};
use regrip_core::testing::{Asked, FakeTransport, MemoryLedger, MemoryStore, Reply, VirtualClock};
use regrip_core::time::Clock;
use regrip_core::{Engine, Summary};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

/// How large the worlds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// One small file on one connection: thousands of runs a second.
    Small,
    /// Up to four files, some large enough for several connections and sources.
    Full,
    /// Two or three workers with one folder and one ledger, in which they claim what they drive. Their clocks differ, they stand still
    /// for longer than a claim lasts, and lose the way to the ledger.
    Fleet,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model.
    pub model: Model,
    /// What happens beside what the seed says.
    pub script: Script,
    /// The first process dies at this effect, and not at a random one.
    pub dies_at: Option<u64>,
}

impl Options {
    /// A run as the seed has it.
    pub fn new(model: Model) -> Self {
        Options { model, script: Script::default(), dies_at: None }
    }
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The invariant that did not hold.
    pub violation: Option<String>,
    /// The faults that happened.
    pub faults: Vec<(u32, String)>,
    /// The faults that happened, by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// The number of faults that could have happened.
    pub fault_points: u32,
    /// The number of effects.
    pub effects: u64,
    /// Those of the first process.
    pub effects_of_first: u64,
    /// The bytes that were compared with those of a server.
    pub compared: u64,
    /// The virtual time that it took.
    pub elapsed: Duration,
    /// Identifies the log.
    pub log_hash: u64,
    /// The log, if it was wanted.
    pub trace: Vec<String>,
}

/// How often a user asks for the same file again once nothing fails any more. A limit of one attempt is reached by what a user has to
/// know of, such as a file that is smaller than before.
const MOST_CALLS: u32 = 3;

/// How long a claim lasts.
const LEASE: Duration = Duration::from_secs(30);

/// How long a worker waits before it looks again for work that no other one has.
const LOOK_AGAIN: Duration = Duration::from_secs(7);

/// How often a worker looks for work before it ends.
const MOST_LOOKS: u32 = 12;

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Report {
    let world = World::new(seed, &options.script);
    let mut run = Run::new(&world, options.model);
    let mut effects_of_first = 0;
    if options.model == Model::Fleet {
        effects_of_first = run.fleet(options.dies_at);
    } else {
        // With one list of faults there is one process to die, and one to repair what it left.
        let mut lives = if options.script.only.is_some() { 1 } else { world.below("lives", MOST_LIVES) + 1 };
        let mut dies_at = options.dies_at;
        while lives > 0 && world.violation().is_none() {
            lives -= 1;
            let crash = dies_at.take().or_else(|| run.random_crash());
            let effects = run.live(crash, lives);
            if effects_of_first == 0 {
                effects_of_first = effects;
            }
        }
    }
    if world.violation().is_none() {
        run.end_well();
    }
    Report {
        violation: world.violation(),
        faults: world.faults(),
        kinds: world.kinds(),
        fault_points: world.fault_points(),
        effects: world.effects(),
        effects_of_first,
        compared: world.compared_bytes(),
        elapsed: world.clock.elapsed(),
        log_hash: world.log_hash(),
        trace: world.trace(),
    }
}

/// A download of the run, with the versions that its servers have had.
#[derive(Debug)]
struct Planned {
    new: NewDownload,
    versions: Vec<Version>,
    /// What a source serves that has another file.
    lie: Option<Version>,
    has_digest: bool,
}

type Origins = Arc<Mutex<BTreeMap<String, Origin>>>;

struct Run {
    world: World,
    model: Model,
    clock: VirtualClock,
    store: MemoryStore,
    weak: Names,
    ledger: MemoryLedger,
    holders: Holders,
    tallies: Tallies,
    /// Parts that another program has changed.
    tampered: BTreeSet<String>,
    origins: Origins,
    planned: Vec<Planned>,
    config: DownloadsConfig,
    /// The number of permits that a user sets while downloads run; 0 if nobody does.
    limit_later: u32,
}

impl Run {
    fn new(world: &World, model: Model) -> Self {
        let mut run = Run {
            world: world.clone(),
            model,
            clock: world.clock.clone(),
            store: MemoryStore::default(),
            weak: Names::default(),
            ledger: MemoryLedger::default(),
            holders: Holders::default(),
            tallies: Tallies::default(),
            tampered: BTreeSet::new(),
            origins: Origins::default(),
            planned: Vec::new(),
            config: config(world, model),
            limit_later: match model {
                Model::Small | Model::Fleet => 0,
                Model::Full => u32::try_from(world.pick("permits later", &[0, 0, 1, 2, 16])).unwrap_or(0),
            },
        };
        if world.one_in("unnamed parts", 3) {
            run.store.keep_unnamed(1 << 20);
        }
        let downloads = match model {
            Model::Small => 1,
            Model::Full if world.one_in("many downloads", 30) => world.below("how many downloads", 200) + 1,
            Model::Full | Model::Fleet => world.below("downloads", 4) + 1,
        };
        for number in 0..downloads {
            let planned = run.plan(if downloads > 4 { Model::Small } else { model }, number);
            run.planned.push(planned);
        }
        run
    }

    fn plan(&self, model: Model, number: u64) -> Planned {
        let world = &self.world;
        let sizes: &[u64] = match model {
            Model::Small => &[0, 1, 100, 16_384, 65_535, 65_536, 65_537, 70_000, 150_000, 150_000],
            Model::Full | Model::Fleet => &[0, 1, 65_537, 200_000, 1_100_000, 2_300_000, 2_300_000],
        };
        let size = world.pick("size", sizes);
        let version = |version: u64| {
            let other = world.pick("size of another version", &[size, size, size / 2, size + 1000]);
            Version::new(number, version, if version == 0 { size } else { other })
        };
        let versions: Vec<Version> = (0..3).map(version).collect();
        let (here, mirror, liar) = (url("here", number), url("mirror", number), url("liar", number));
        let has_digest = world.one_in("digest", 3);
        let mut origins = locked(&self.origins);
        origins.insert(here.clone(), Origin::new(world, "here", versions.clone(), has_digest));
        let (mut mirrors, mut lie) = (Vec::new(), None);
        if model != Model::Small && world.one_in("mirror", 2) {
            origins.insert(mirror.clone(), Origin::new(world, "mirror", versions.clone(), has_digest));
            mirrors.push(mirror);
            if has_digest && world.one_in("liar", 3) {
                lie = Some(Version::new(number + 100, 7, size));
                origins.insert(liar.clone(), Origin::new(world, "liar", lie.iter().cloned().collect(), true));
                mirrors.push(liar);
            }
        }
        let digest =
            versions.first().filter(|_| has_digest).map(|version| Hasher::of(Algorithm::Sha256, &version.bytes));
        let destination = format!("/films/{number}");
        let new = NewDownload {
            source: Source::Url { url: here },
            mirrors,
            header_names: Vec::new(),
            part: format!("{destination}.part"),
            destination,
            on_exists: OnExists::Overwrite,
            release_size: world
                .one_in("release", 3)
                .then(|| world.pick("its size", &[size, size, size / 2, size + 1000])),
            digests: digest.into_iter().map(|digest| DigestRow::wanted(digest, DigestSource::Caller)).collect(),
            adopt: false,
        };
        Planned { new, versions, lie, has_digest }
    }

    fn random_crash(&self) -> Option<u64> {
        let world = &self.world;
        if !world.fault(Kind::Crash, 2, "the process will die") {
            return None;
        }
        let most = world.pick("how soon", &[10, 60, 400]);
        Some(1 + world.below("at which effect", most))
    }

    fn host(&self, world: &World) -> SimHost {
        let (world, origins) = (world.clone(), Arc::clone(&self.origins));
        let answer = move |asked: &Asked| match locked(&origins).get_mut(&asked.url) {
            Some(origin) => origin.answer(asked),
            None => Ok(Reply { status: 404, ..Reply::default() }),
        };
        let inner = FakeTransport::new(self.clock.clone(), answer)
            .with_headers_timeout(Duration::from_millis(self.config.headers_timeout_ms));
        let is_fleet = self.model == Model::Fleet;
        let skew = || Duration::from_secs(if is_fleet { world.pick("skew", &[0, 0, 1, 29, 3600]) } else { 0 });
        let clock = SimClock { world: self.clock.clone(), ahead: skew(), behind: skew() };
        let tables = match is_fleet {
            true => self.ledger.leasing(LEASE, self.clock.clone()),
            false => self.ledger.clone(),
        };
        SimHost {
            clock: clock.clone(),
            transport: SimTransport { inner, most_bodies: self.most_bodies(), world: world.clone() },
            store: SimStore { inner: self.store.clone(), weak: Arc::clone(&self.weak), world: world.clone() },
            ledger: SimLedger {
                inner: tables,
                store: self.store.clone(),
                clock,
                holders: Arc::clone(&self.holders),
                tallies: Arc::clone(&self.tallies),
                limits: self.config.clone(),
                is_alone: !is_fleet && matches!(&*self.planned, [only] if only.new.mirrors.is_empty()),
                world: world.clone(),
            },
            seeds: Cell::new(world.below("seed of the host", 1 << 32)),
            world,
        }
    }

    /// The most requests at once, if a download has one connection: one for each permit.
    fn most_bodies(&self) -> Option<usize> {
        let has_one = self.config.connections_per_download == Connections::Fixed(1) && self.model != Model::Fleet;
        let most = self.config.max_concurrent_downloads.max(self.limit_later);
        usize::try_from(most).ok().filter(|_| has_one)
    }

    /// Another program cuts or removes a part.
    fn tamper(&mut self) {
        for planned in &self.planned {
            let part = &planned.new.part;
            let Some(bytes) = self.store.file(part) else { continue };
            if !self.world.fault(Kind::Tampering, 6, "another program changes a part") {
                continue;
            }
            self.tampered.insert(part.clone());
            match self.world.below("what it does", 3) {
                0 => self.store.delete(part),
                _ => {
                    let length = self.world.below("how much it leaves", bytes.len() as u64);
                    self.store.cut(part, usize::try_from(length).unwrap_or(0));
                }
            }
        }
    }

    /// One process, to its end or its death. Returns the number of its effects.
    fn live(&mut self, dies_at: Option<u64>, lives_left: u64) -> u64 {
        self.tamper();
        self.clock.advance(Duration::from_secs(self.world.pick("restart delay", &[0, 0, 1, 3600, 2_592_000])));
        let world = self.world.new_life(None, dies_at);
        world.log(&format!("a process begins; it dies after {dies_at:?} effects"));
        if world.fault(Kind::Clock, 6, "the wall clock jumps") {
            world.set_clock();
        }
        let Some(engine) = self.engine(&world) else { return 0 };
        let end = match lives_left {
            // Some processes are ended before they are ready, as by a signal.
            1.. if world.fault(Kind::User, 4, "the process is ended") => Some(self.random_time()),
            _ => None,
        };
        let ran = self.clock.run(until_death(&world, self.work(&engine, end)));
        self.after_life(&engine, ran);
        drop(engine);
        if world.is_dead() {
            self.die();
        }
        self.check_rest();
        world.effects_of_life()
    }

    /// Several workers at once, each of which may die and begin again. Returns the number of effects of the first.
    fn fleet(&mut self, dies_at: Option<u64>) -> u64 {
        let workers = self.world.below("workers", 2) + 2;
        let (run, effects_of_first) = (&*self, &Cell::new(0));
        let all = join_all((0..workers).map(|number| async move {
            let lives = run.world.below("lives", 3) + 1;
            for life in 0..lives {
                let crash = dies_at.filter(|_| number == 0 && life == 0).or_else(|| run.random_crash());
                let world = run.world.new_life(Some(number + 10 * life), crash);
                world.log(&format!("a worker begins; it dies after {crash:?} effects"));
                let Some(engine) = run.engine(&world) else { return };
                let ran = until_death(&world, run.work_beside_others(&engine, number)).await;
                run.after_life(&engine, Some(ran));
                if number == 0 && life == 0 {
                    effects_of_first.set(world.effects_of_life());
                }
                if world.violation().is_some() {
                    return;
                }
            }
        }));
        if self.clock.run(all).is_none() {
            self.world.violate("nothing moves any more".to_owned());
        }
        self.check_rest();
        effects_of_first.get()
    }

    /// What a worker does: adds its share of the downloads, and drives what no other worker has.
    async fn work_beside_others(&self, engine: &Engine<SimHost>, number: u64) {
        let world = &self.world;
        let own = self.planned.iter().enumerate().filter(|(index, _)| *index as u64 % 2 == number);
        for (_, planned) in own {
            let is_known = self.ledger.rows().iter().any(|row| row.new.destination == planned.new.destination);
            if !is_known && engine.accept(planned.new.clone()).await.is_ok() {
                self.take_turn(engine).await;
            }
        }
        let looks = async {
            for _ in 0..MOST_LOOKS {
                self.take_turn(engine).await;
                if self.planned.iter().all(|planned| self.is_complete(planned)) {
                    return;
                }
                if let Some(row) = self.ledger.rows().first()
                    && world.fault(Kind::User, 6, "a user stops a download")
                {
                    let _ = match world.below("how", 2) {
                        0 => engine.cancel(row.id).await,
                        _ => engine.pause(row.id).await,
                    };
                }
                self.clock.sleep(LOOK_AGAIN).await;
            }
        };
        if let Either::Left(((), _)) = select(pin!(looks), pin!(engine.follow_changes::<()>())).await {}
    }

    /// Drives every unfinished download that nobody else has to its end.
    async fn take_turn(&self, engine: &Engine<SimHost>) {
        for row in self.ledger.rows() {
            // As a user does who comes back to it.
            let _ = match row.status {
                Status::Paused => engine.resume(row.id).await,
                Status::Failed | Status::Cancelled => engine.retry(row.id).await,
                _ => Ok(()),
            };
        }
        let Ok(recovered) = engine.recover().await else { return };
        join_all(recovered.drive.into_iter().map(|id| async move {
            let driven = engine.drive(id).await;
            let row = self.ledger_row(id);
            let planned =
                row.and_then(|row| self.planned.iter().find(|one| one.new.destination == row.new.destination));
            if let Some(planned) = planned {
                self.check_end(id, planned, &driven).await;
            }
        }))
        .await;
    }

    fn engine(&self, world: &World) -> Option<Engine<SimHost>> {
        match Engine::new(self.host(world), self.config.clone(), true) {
            Ok(engine) => Some(engine),
            Err(error) => {
                self.world.violate(format!("the configuration is refused: {error}"));
                None
            }
        }
    }

    fn after_life<T>(&self, engine: &Engine<SimHost>, ran: Option<Option<T>>) {
        match ran {
            None => self.world.violate("nothing moves any more".to_owned()),
            Some(None) => {}
            Some(Some(_)) if engine.permits_used() != 0 || engine.permits_waiting() != 0 => {
                self.world.violate(format!("{} permits are used after the end", engine.permits_used()));
            }
            Some(Some(_)) if engine.host().transport.inner.open_bodies() != 0 => {
                self.world.violate("a connection is open after the end".to_owned());
            }
            Some(Some(_)) => {}
        }
    }

    /// What a process does: takes up what is there, accepts everything, drives it.
    async fn work(&self, engine: &Engine<SimHost>, end: Option<Duration>) {
        let resized = async {
            self.clock.sleep(self.random_time()).await;
            let config = DownloadsConfig { max_concurrent_downloads: self.limit_later, ..self.config.clone() };
            if engine.reconfigure(config).is_err() {
                self.world.violate("other limits are refused".to_owned());
            }
        };
        let drives = async {
            if let (Ok(first), Ok(second)) = (engine.recover().await, engine.recover().await)
                && first.drive != second.drive
            {
                self.world.violate("recovering twice is not recovering once".to_owned());
            }
            let all = self.planned.iter().map(|planned| self.one(engine, planned));
            let all = in_any_order(&self.world, all.collect());
            match self.limit_later {
                0 => all.await,
                _ => drop(join(all, resized).await),
            }
        };
        let Some(end) = end else { return drives.await };
        if let Either::Right((_, drives)) = select(pin!(drives), pin!(self.clock.sleep(end))).await {
            engine.end();
            drives.await;
        }
    }

    /// One download, as a user has it: accepted, driven, perhaps stopped and taken up again.
    async fn one(&self, engine: &Engine<SimHost>, planned: &Planned) {
        // A complete file is not asked for again; that would be another download.
        if self.is_complete(planned) {
            return;
        }
        let Ok(accepted) = engine.accept(planned.new.clone()).await else { return };
        let world = &self.world;
        for _ in 0..3 {
            let stops = world.fault(Kind::User, 3, "a user stops a download");
            let mut drive = pin!(engine.drive(accepted.id));
            let driven = if stops {
                let wait = self.random_time();
                match select(drive.as_mut(), pin!(self.clock.sleep(wait))).await {
                    Either::Left((driven, _)) => driven,
                    Either::Right(_) => {
                        let _ = match world.below("how", 2) {
                            0 => engine.cancel(accepted.id).await,
                            _ => engine.pause(accepted.id).await,
                        };
                        drive.await
                    }
                }
            } else {
                drive.await
            };
            self.check_end(accepted.id, planned, &driven).await;
            let again = match driven {
                Err(Error::Cancelled) => engine.retry(accepted.id).await,
                Err(Error::Paused) => engine.resume(accepted.id).await,
                _ => return,
            };
            if again.is_err() {
                return;
            }
        }
    }

    fn random_time(&self) -> Duration {
        Duration::from_millis(self.world.pick("when", &[0, 1, 100, 5_000, 100_000]))
    }

    async fn check_end(&self, id: DownloadId, planned: &Planned, driven: &Result<Summary, Error>) {
        if driven.is_ok() {
            self.check_file(planned, true);
            // `committing` if the ledger fails at the very end; the next process finishes that.
            let status = self.ledger_row(id).map(|row| row.status);
            if !matches!(status, Some(Status::Completed | Status::Committing)) {
                self.world.violate(format!("download {id} is said to be complete, its row says {status:?}"));
            }
        }
    }

    fn is_complete(&self, planned: &Planned) -> bool {
        let is_of = |row: &Row| row.new.destination == planned.new.destination && row.status == Status::Completed;
        self.ledger.rows().iter().any(is_of)
    }

    /// It may have lost its name in a power loss, and a warning on its row says so.
    fn is_weak(&self, planned: &Planned) -> bool {
        locked(&self.weak).contains(&planned.new.destination)
    }

    fn ledger_row(&self, id: DownloadId) -> Option<Row> {
        self.ledger.rows().into_iter().find(|row| row.id == id)
    }

    /// The file is one whole version, or absent.
    fn check_file(&self, planned: &Planned, must_exist: bool) {
        let destination = &planned.new.destination;
        let known = |bytes: &Vec<u8>| planned.versions.iter().any(|version| *version.bytes == *bytes);
        let wanted = |bytes: &Vec<u8>| planned.versions.first().is_some_and(|version| *version.bytes == *bytes);
        let file = self.store.file(destination);
        self.world.compared(file.as_ref().map_or(0, Vec::len) as u64);
        match file {
            None if must_exist => self.world.violate(format!("{destination} is complete and does not exist")),
            Some(bytes) if !known(&bytes) => {
                self.world.violate(format!("{destination} is no version that a server had: {} bytes", bytes.len()));
            }
            Some(bytes) if planned.has_digest && !wanted(&bytes) => {
                self.world.violate(format!("{destination} has not the digest it must have"));
            }
            _ => {}
        }
        let length = self.store.file(destination).map(|bytes| bytes.len() as u64);
        if must_exist && self.store.synced(destination) != length && !locked(&self.weak).contains(destination) {
            self.world.violate(format!("{destination} is complete and not synced"));
        }
    }

    /// The end of a process that died.
    fn die(&self) {
        let world = &self.world;
        if !world.fault(Kind::Power, 2, "and the machine loses power") {
            return self.store.crash();
        }
        let keep = |synced: &[u8], written: &[u8]| {
            let kept = synced.len()
                + usize::try_from(world.below("kept", (written.len().saturating_sub(synced.len())) as u64 + 1))
                    .unwrap_or(0);
            let mut bytes = written.get(..kept.min(written.len())).unwrap_or_default().to_vec();
            if written.len() < synced.len() {
                // Cut, and the cut not synced: either may be there.
                bytes = if world.one_in("the cut is lost", 2) { synced.to_vec() } else { written.to_vec() };
            } else if world.one_in("zeros", 2) {
                bytes.resize(written.len(), 0);
            }
            bytes
        };
        self.store.lose_power_but(keep, || !world.one_in("a name is lost", 2));
    }

    /// What holds between two processes.
    fn check_rest(&self) {
        for planned in &self.planned {
            self.check_file(planned, self.is_complete(planned) && !self.is_weak(planned));
        }
        if self.store.open_parts() != 0 {
            self.world.violate("a part is locked, and no process is alive".to_owned());
        }
        let mut destinations = BTreeSet::new();
        for row in self.ledger.rows() {
            if !destinations.insert(row.new.destination.clone()) {
                self.world.violate(format!("two rows for {}", row.new.destination));
            }
            self.check_part(&row);
        }
    }

    /// The durable bytes of a part begin one version, unless they are of several sources, under a digest.
    fn check_part(&self, row: &Row) {
        let Some(planned) = self.planned.iter().find(|planned| planned.new.destination == row.new.destination) else {
            return;
        };
        let several = row.digests.iter().any(|digest| digest.source == DigestSource::SeveralSources);
        if !row.claimed || !row.status.is_active() || row.durable == 0 || several || row.committing.is_some() {
            return;
        }
        let bytes = self.store.file(&row.new.part).unwrap_or_default();
        // A process may die after it discarded the part and before it recorded that.
        if bytes.is_empty() || self.tampered.contains(&row.new.part) {
            return;
        }
        for digest in &row.digests {
            // One beyond the end counts once the part has those bytes again.
            if let Some(state) = digest.state.as_ref().filter(|state| state.offset <= bytes.len() as u64)
                && !is_state_of(digest.algorithm, state, &bytes)
            {
                self.world.violate(format!("the saved digest of {} bytes is of others", state.offset));
            }
        }
        if locked(&self.origins).get(row.new.source.url()).is_some_and(Origin::is_lying) {
            return;
        }
        // By its date a coded body is the same version, and nothing is compared; the digest at the end refuses the file.
        if planned.has_digest && self.config.resume_overlap_bytes == 0 {
            return;
        }
        let durable = usize::try_from(row.durable).unwrap_or(usize::MAX);
        let Some(start) = bytes.get(..durable) else {
            return self.world.violate(format!(
                "{durable} bytes of {} are durable, {} exist",
                row.new.part,
                bytes.len()
            ));
        };
        let mut known = planned.versions.iter().chain(&planned.lie);
        // Under a digest a coded body may be the file.
        let is_coded = |version: &Version| {
            let coded = version.bytes.iter().map(|byte| !byte);
            planned.has_digest && coded.zip(start).all(|(coded, byte)| coded == *byte)
        };
        if !known.any(|version| version.bytes.starts_with(start) || is_coded(version)) {
            self.world.violate(format!("the first {durable} bytes of {} are of no version", row.new.part));
        }
    }

    /// The last process: nothing fails any more, so every download must complete.
    fn end_well(&mut self) {
        let world = self.world.clone();
        world.log("the last process begins");
        world.calm_down();
        let world = world.new_life(None, None);
        for (url, origin) in locked(&self.origins).iter_mut() {
            let wants_first =
                self.planned.iter().any(|planned| planned.has_digest && number(&planned.new) == number_of(url));
            origin.calm_down(wants_first);
        }
        let Some(engine) = self.engine(&world) else { return };
        let ran = self.clock.run(until_death(&world, async {
            if self.model == Model::Fleet {
                self.clock.sleep(LEASE * 2).await; // whoever died has no claim any more
            }
            let _ = engine.recover().await;
            join_all(self.planned.iter().map(|planned| async {
                let mut last = Ok(());
                for _ in 0..MOST_CALLS {
                    if !self.is_complete(planned) {
                        last =
                            async { engine.drive(engine.accept(planned.new.clone()).await?.id).await.map(drop) }.await;
                    }
                }
                if let Err(error) = last {
                    world
                        .violate(format!("{} fails although nothing fails any more: {error}", planned.new.destination));
                }
                self.check_file(planned, !self.is_weak(planned));
            }))
            .await;
        }));
        self.after_life(&engine, ran);
        drop(engine);
        self.check_rest();
        let weak: Vec<&String> =
            self.planned.iter().filter(|one| self.is_weak(one)).map(|planned| &planned.new.part).collect();
        let names = self.store.names().into_iter();
        let parts: Vec<String> = names.filter(|name| name.ends_with(".part") && !weak.contains(&name)).collect();
        if !parts.is_empty() {
            world.violate(format!("parts are left after the end: {parts:?}"));
        }
        if self.clock.timers() != 0 {
            world.violate("a timer is left after the end".to_owned());
        }
    }
}

fn config(world: &World, model: Model) -> DownloadsConfig {
    let connections = match model {
        Model::Small => Connections::Fixed(1),
        Model::Full | Model::Fleet => {
            Connections::Fixed(u32::try_from(world.pick("connections", &[1, 2, 4, 8])).unwrap_or(1))
        }
    };
    DownloadsConfig {
        max_concurrent_downloads: u32::try_from(world.pick("permits", &[1, 1, 2, 3, 16])).unwrap_or(1),
        max_concurrent_per_peer: None,
        connections_per_download: connections,
        connections_per_origin: u32::try_from(world.pick("per origin", &[1, 3, 16])).unwrap_or(1),
        window_bytes: world.pick("window", &[0, 300_000, 64 << 20]),
        max_download_attempts: u32::try_from(world.pick("attempts", &[1, 2, 5])).unwrap_or(1),
        max_total_attempts: u32::try_from(world.pick("attempts in all", &[1000, 1000, 3, 1])).unwrap_or(1),
        retry_base_delay_ms: world.pick("base delay", &[1000, 1000, 0, u64::MAX]),
        retry_max_delay_ms: world.pick("longest delay", &[60_000, 60_000, 0, 1, 86_400_000]),
        idle_timeout_ms: world.pick("idle timeout", &[60_000, 60_000, 1000]),
        low_speed_bytes_per_sec: world.pick("least speed", &[1024, 0]),
        extra_retry_statuses: match world.one_in("more transient statuses", 3) {
            true => vec![404, 403, 416],
            false => Vec::new(),
        },
        digest: world.one_in("a digest is asked for", 5).then_some(Algorithm::Sha256),
        resume_overlap_bytes: world.pick("overlap", &[0, 65_536, 65_536]),
        progress_reset_bytes: world.pick("progress", &[0, 1, 65_536]),
        ..DownloadsConfig::default()
    }
}

/// Runs a process until it ends or dies. While it is made to stand still, nothing in it moves.
async fn until_death<T>(world: &World, process: impl Future<Output = T>) -> Option<T> {
    let mut process = pin!(process);
    let mut pause: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    poll_fn(|context| {
        loop {
            if let Some(sleep) = &mut pause {
                ready!(sleep.as_mut().poll(context));
                pause = None;
            }
            let polled = process.as_mut().poll(context);
            if world.is_dead() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = polled {
                return Poll::Ready(Some(output));
            }
            if world.polls_oddly("polled although nothing woke it") {
                continue;
            }
            let Some(lasts) = world.take_pause() else { return Poll::Pending };
            pause = Some(Box::pin(world.clock.sleep(lasts)));
        }
    })
    .await
}

/// Polls all of them whenever one is woken, in an order that differs from time to time.
async fn in_any_order(world: &World, futures: Vec<impl Future<Output = ()>>) {
    let mut left: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        if world.polls_oddly("polled in another order") && !left.is_empty() {
            let first = usize::try_from(world.below("which is polled first", left.len() as u64)).unwrap_or(0);
            left.rotate_left(first);
        }
        left.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if left.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn url(origin: &str, number: u64) -> String {
    format!("http://{origin}.test/{number}?token={SECRET}")
}

fn number(new: &NewDownload) -> &str {
    number_of(new.source.url())
}

fn number_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
