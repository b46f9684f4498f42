//! Downloads to a real folder on a machine that loses power.
//!
//! What the store syncs and renames is recorded by the calls of its `System`; what it writes, creates and cuts is seen in the folder.
//! Each moment of a run, also of one whose process before was killed at any moment, is then replayed with what a disk may have of it:
//! - of bytes that were not synced all, none, half, or zeros in their place;
//! - of names whose folder was not synced, each change or not.
//!
//! After the reboot a file that is said to be complete must be there, durable bytes must be those of one version, and the next process
//! must end with the whole file.

use super::DiskStore;
use super::path::System;
use super::version::{FileId, born_ns};
use regrip_core::config::{Connections, DownloadsConfig, OnExists};
use regrip_core::event::Event;
use regrip_core::host::Host;
use regrip_core::record::{NewDownload, Row, Source, Status};
use regrip_core::store::PartToken;
use regrip_core::testing::{Asked, FakeTransport, MemoryLedger, Piece, Reply, VirtualClock};
use regrip_core::transport::Headers;
use regrip_core::{Engine, Error};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CHUNK: usize = 100_000;

/// The record of the one machine that this test has.
static MACHINE: Mutex<Option<Machine>> = Mutex::new(None);

/// By inode.
type Bytes = BTreeMap<u64, Vec<u8>>;
type Names = BTreeMap<String, u64>;
/// Names that change together.
type Naming = Vec<(String, Option<u64>)>;

struct Machine {
    folder: PathBuf,
    ledger: MemoryLedger,
    /// What no power loss takes.
    disk: Disk,
    /// The names as they were last seen.
    names: Names,
    /// How many moments until the process dies.
    dies_in: Option<usize>,
    moments: Vec<Moment>,
}

#[derive(Clone, Default)]
struct Disk {
    synced: Bytes,
    durable_names: Names,
    unsynced_names: Vec<Naming>,
}

struct Moment {
    what: String,
    disk: Disk,
    written: Bytes,
    /// By inode: as the ledger may name the file, with and without its birth.
    tokens: BTreeMap<u64, [PartToken; 2]>,
    rows: Vec<Row>,
}

fn machine() -> MutexGuard<'static, Option<Machine>> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(look: impl FnOnce(&mut Machine) -> T) -> T {
    look(machine().as_mut().expect("a machine runs"))
}

/// Something happened, or is about to. The process may die here.
fn moment(what: &str) {
    let dies = with(|machine| {
        machine.see_names(false);
        machine.keep(what);
        machine.dies_in = machine.dies_in.map(|left| left.saturating_sub(1));
        machine.dies_in == Some(0)
    });
    if dies {
        resume_unwind(Box::new("the process dies"));
    }
}

impl Machine {
    /// Notes what has changed its name: at once, as in a rename, or one after the other.
    fn see_names(&mut self, at_once: bool) {
        let now = names(&self.folder);
        let gone = self.names.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), None));
        let new = now.iter().filter(|(name, inode)| self.names.get(*name) != Some(inode));
        let changes: Naming = gone.chain(new.map(|(name, inode)| (name.clone(), Some(*inode)))).collect();
        match at_once {
            true if !changes.is_empty() => self.disk.unsynced_names.push(changes),
            _ => self.disk.unsynced_names.extend(changes.into_iter().map(|change| vec![change])),
        }
        self.names = now;
    }

    fn keep(&mut self, what: &str) {
        let (mut written, mut tokens) = (Bytes::new(), BTreeMap::new());
        for (name, inode) in &self.names {
            let path = self.folder.join(name);
            let metadata = std::fs::metadata(&path).unwrap();
            let id = FileId::from(&metadata);
            tokens.insert(*inode, [id.token(), id.token_of_unnamed(born_ns(&metadata))]);
            written.insert(*inode, std::fs::read(path).unwrap());
        }
        let (disk, rows) = (self.disk.clone(), self.ledger.rows());
        self.moments.push(Moment { what: what.to_owned(), disk, written, tokens, rows });
    }
}

fn names(folder: &Path) -> Names {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino())).collect()
}

/// Calls that are recorded. Nothing is really synced.
fn recorded() -> System {
    fn naming(call: fn(&Path, &Path) -> io::Result<()>, from: &Path, to: &Path) -> io::Result<()> {
        moment("before a name changes");
        call(from, to)?;
        with(|machine| machine.see_names(true));
        moment("after a name changed");
        Ok(())
    }
    System {
        rename: |from, to| naming(System::default().rename, from, to),
        rename_new: |from, to| naming(System::default().rename_new, from, to),
        link: |from, to| naming(System::default().link, from, to),
        link_open: |file, to| {
            moment("before a file gets its first name");
            (System::default().link_open)(file, to)?;
            moment("after a file got its first name");
            Ok(())
        },
        sync_data: |file| {
            moment("before bytes are synced");
            let metadata = file.metadata()?;
            let mut bytes = vec![0; usize::try_from(metadata.len()).unwrap()];
            file.read_exact_at(&mut bytes, 0)?;
            with(|machine| machine.disk.synced.insert(metadata.ino(), bytes));
            moment("after bytes were synced");
            Ok(())
        },
        sync_names: |_: &File| {
            moment("before names are synced");
            with(|machine| {
                machine.disk.durable_names = machine.names.clone();
                machine.disk.unsynced_names.clear();
            });
            moment("after names were synced");
            Ok(())
        },
        ..System::default()
    }
}

fn unsynced() -> System {
    System { sync_data: |_| Ok(()), sync_names: |_| Ok(()), ..System::default() }
}

struct TestHost {
    clock: VirtualClock,
    transport: FakeTransport,
    store: DiskStore,
    ledger: MemoryLedger,
    seeds: AtomicU64,
    is_recorded: bool,
}

impl Host for TestHost {
    type Transport = FakeTransport;
    type Store = DiskStore;
    type Ledger = MemoryLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &FakeTransport {
        &self.transport
    }
    fn store(&self) -> &DiskStore {
        &self.store
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
    fn on_event(&self, event: &Event<'_>) {
        if self.is_recorded {
            // Checkpoints are due every ten seconds.
            self.clock.advance(Duration::from_secs(6));
            moment(event.what.name());
        }
    }
}

/// A file on a server, and how it is served the first time.
struct Story {
    name: &'static str,
    versions: Vec<Vec<u8>>,
    /// The first response breaks after this number of bytes; those after it are of the last version.
    cut: Option<usize>,
    /// Something has the name already.
    existing: bool,
}

fn version(size: usize, number: u8) -> Vec<u8> {
    (0..size).map(|at| (at / 7 % 251) as u8 ^ number).collect()
}

fn stories() -> Vec<Story> {
    let large = version(1_100_000, 0); // larger than what gets its name only in the end
    let edited = [&large[..400_000], &version(700_000, 7)].concat();
    vec![
        Story { name: "small", versions: vec![version(300_000, 0)], cut: None, existing: false },
        Story { name: "large, over another file", versions: vec![large.clone()], cut: None, existing: true },
        Story { name: "cut", versions: vec![large.clone()], cut: Some(700_000), existing: false },
        Story { name: "cut and replaced", versions: vec![large, edited], cut: Some(900_000), existing: false },
    ]
}

impl Story {
    fn last(&self) -> &Vec<u8> {
        self.versions.last().unwrap()
    }

    /// A server on which it is the `from`th request.
    fn peer(&self, clock: &VirtualClock, from: usize) -> FakeTransport {
        let (versions, cut, mut requests) = (self.versions.clone(), self.cut, from);
        FakeTransport::new(clock.clone(), move |asked: &Asked| {
            let number = if requests == 0 { 0 } else { versions.len() - 1 };
            let (file, etag) = (&versions[number], format!("\"v{number}\""));
            let first = asked.first.filter(|_| asked.if_range.as_ref() == Some(&etag)).map(|first| first as usize);
            let bytes = &file[first.unwrap_or(0)..];
            let mut headers = Headers::default();
            headers.push("etag", etag.as_bytes());
            headers.push("content-length", bytes.len().to_string().as_bytes());
            if let Some(first) = first {
                let range = format!("bytes {first}-{}/{}", file.len() - 1, file.len());
                headers.push("content-range", range.as_bytes());
            }
            let sent = cut.filter(|_| requests == 0).unwrap_or(bytes.len());
            let mut body: Vec<Piece> = bytes[..sent].chunks(CHUNK).map(|chunk| Piece::Bytes(chunk.to_vec())).collect();
            if sent < bytes.len() {
                body.push(Piece::Break(Error::Network { what: "reading the body".to_owned(), source: None }));
            }
            requests += 1;
            let status = if first.is_some() { 206 } else { 200 };
            Ok(Reply { status, headers, body, ..Reply::default() })
        })
    }
}

fn new_download(folder: &Path) -> NewDownload {
    let destination = folder.join("film.mkv").display().to_string();
    NewDownload {
        source: Source::Url { url: "http://peer.example/film.mkv".to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        part: format!("{destination}.part"),
        destination,
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

/// One process: it takes up what is there, or begins. `None` if it died.
fn process(host: TestHost, folder: &Path) -> Option<Result<(), Error>> {
    let (clock, ledger) = (host.clock.clone(), host.ledger.clone());
    let config = DownloadsConfig {
        connections_per_download: Connections::Fixed(1),
        retry_base_delay_ms: 0,
        ..DownloadsConfig::default()
    };
    let engine = Engine::new(host, config, true).unwrap();
    let work = async {
        for id in engine.recover().await?.drive {
            engine.drive(id).await?;
        }
        if ledger.rows().is_empty() {
            let accepted = engine.accept(new_download(folder)).await?;
            engine.drive(accepted.id).await?;
        }
        Ok(())
    };
    let ran = catch_unwind(AssertUnwindSafe(|| clock.run(work)));
    ran.ok().map(|ran| ran.expect("nothing waits for ever"))
}

/// Runs a story whose first process dies at a moment, if at all. Returns every moment of the last process, and whether one died.
fn record(story: &Story, dies_in: Option<usize>) -> (Vec<Moment>, bool) {
    let folder = tempfile::tempdir().unwrap();
    if story.existing {
        std::fs::write(folder.path().join("film.mkv"), "another file").unwrap();
    }
    let ledger = MemoryLedger::default();
    let found = names(folder.path());
    let synced = found.values().map(|inode| (*inode, b"another file".to_vec())).collect();
    *machine() = Some(Machine {
        folder: folder.path().to_owned(),
        ledger: ledger.clone(),
        disk: Disk { synced, durable_names: found.clone(), unsynced_names: Vec::new() },
        names: found,
        dies_in,
        moments: Vec::new(),
    });
    let host = |requests| {
        let clock = VirtualClock::default();
        let (transport, store) = (story.peer(&clock, requests), DiskStore::on(recorded()));
        TestHost { clock, transport, store, ledger: ledger.clone(), seeds: AtomicU64::new(1), is_recorded: true }
    };
    let mut ran = process(host(0), folder.path());
    let died = ran.is_none();
    if died {
        with(|machine| {
            machine.dies_in = None;
            machine.moments.clear();
        });
        ran = process(host(1), folder.path());
    }
    ran.expect("it does not die").unwrap_or_else(|error| panic!("{}, dying in {dies_in:?}: {error}", story.name));
    (machine().take().unwrap().moments, died)
}

/// What a disk may have of a file: the `variant`th way.
fn left_of(synced: &[u8], written: &[u8], variant: usize) -> Vec<u8> {
    let rest = written.get(synced.len()..).unwrap_or_default();
    match variant {
        0 => synced.to_vec(),
        1 => written.to_vec(),
        2 => [synced, &rest[..rest.len() / 2]].concat(),
        _ => [synced, &vec![0; rest.len()]].concat(),
    }
}

const VARIANTS: usize = 4;

/// The changes of names that may be lost: each set of a few, else all, none, and each one alone.
fn lost_names(count: usize) -> Vec<Vec<bool>> {
    if count <= 3 {
        return (0..1_usize << count).map(|set| (0..count).map(|at| set >> at & 1 == 1).collect()).collect();
    }
    let alone = (0..count).map(|kept| (0..count).map(|at| at == kept).collect());
    [vec![true; count], vec![false; count]].into_iter().chain(alone).collect()
}

/// The machine loses power at this moment, boots, and goes on.
fn replay(story: &Story, moment: &Moment, kept_names: &[bool], variant: usize) {
    let context =
        || format!("{}, {}: names {kept_names:?}, bytes {variant}, {:?}", story.name, moment.what, moment.rows);
    let folder = tempfile::tempdir().unwrap();
    let mut names = moment.disk.durable_names.clone();
    for naming in
        moment.disk.unsynced_names.iter().zip(kept_names).filter(|(_, kept)| **kept).flat_map(|(naming, _)| naming)
    {
        match naming {
            (name, Some(inode)) => names.insert(name.clone(), *inode),
            (name, None) => names.remove(name),
        };
    }
    let mut tokens = Vec::new();
    for (name, inode) in &names {
        let synced = moment.disk.synced.get(inode).map_or(&[][..], Vec::as_slice);
        // A file that has lost its name since was whole before: it is found under it again.
        let written = moment.written.get(inode).map_or(synced, Vec::as_slice);
        let path = folder.path().join(name);
        std::fs::write(&path, left_of(synced, written, variant)).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let id = FileId::from(&metadata);
        let new = [id.token(), id.token_of_unnamed(born_ns(&metadata))];
        tokens.extend(moment.tokens.get(inode).into_iter().flatten().cloned().zip(new));
    }
    let ledger = MemoryLedger::default();
    for mut row in moment.rows.iter().cloned() {
        row.new = NewDownload { on_exists: row.new.on_exists, ..new_download(folder.path()) };
        if let Some(committing) = &mut row.committing
            && let Some((_, token)) = tokens.iter().find(|(old, _)| *old == committing.token)
        {
            committing.token = token.clone();
        }
        ledger.put(row);
    }
    let file = || std::fs::read(folder.path().join("film.mkv")).ok();
    for row in ledger.rows() {
        if row.status == Status::Completed {
            assert!(file().as_ref() == Some(story.last()), "complete and not there: {}", context());
        } else if row.claimed && row.durable > 0 && row.committing.is_none() {
            let part = std::fs::read(folder.path().join("film.mkv.part")).unwrap_or_default();
            let durable = usize::try_from(row.durable).unwrap();
            let is_one = story.versions.iter().any(|version| part.get(..durable) == version.get(..durable));
            assert!(is_one, "{durable} bytes are durable, the part has {}: {}", part.len(), context());
        }
    }
    let clock = VirtualClock::default();
    let host = TestHost {
        transport: story.peer(&clock, 1),
        clock,
        store: DiskStore::on_boot(unsynced(), "another boot"),
        ledger: ledger.clone(),
        seeds: AtomicU64::new(1),
        is_recorded: false,
    };
    let ran = process(host, folder.path()).expect("nobody kills it");
    assert!(ran.is_ok(), "{ran:?}: {}", context());
    assert!(file().as_ref() == Some(story.last()), "not the file: {}", context());
    let left: Vec<_> = self::names(folder.path()).into_keys().filter(|name| name != "film.mkv").collect();
    assert!(left.is_empty(), "{left:?} is left: {}", context());
}

// C03, C04, C05, C06, C07, D03
#[test]
fn whatever_a_power_loss_takes_the_next_process_ends_with_the_file() {
    // All moments at which the first process may die, or some of them.
    let stride = if std::env::var_os("REGRIP_KILL_ROUNDS").is_some() { 1 } else { 5 };
    let (mut moments, mut replays) = (0, 0);
    for story in stories() {
        for dies_in in (0..).step_by(stride).map(|at| (at > 0).then_some(at)) {
            let (recorded, died) = record(&story, dies_in);
            if dies_in.is_some() && !died {
                break;
            }
            for moment in &recorded {
                moments += 1;
                for kept in lost_names(moment.disk.unsynced_names.len()) {
                    for variant in 0..VARIANTS {
                        replays += 1;
                        replay(&story, moment, &kept, variant);
                    }
                }
            }
        }
    }
    println!("{moments} moments, {replays} replays");
    assert!(moments > 100, "only {moments} moments");
}
