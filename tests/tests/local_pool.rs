//! A host of one's own, whole and as small as it gets: not `Send`, on `futures::executor::LocalPool`.
//!
//! Read this first when you port regrip to another runtime. The core decides what to do; a host says how, by six traits of
//! [`regrip_core::host`]. The simplest implementation of each stands below, in `Rc` and `RefCell`, since the core never
//! spawns and asks for no `Send`. `host-native` and `host-wasm` are the same, for real disks and networks.

use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use regrip_core::Algorithm;
use regrip_core::error::Error;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Mark, NewAttempt, NewDownload, Row, Source};
use regrip_core::store::*;
use regrip_core::time::{Clock, Instant};
use regrip_core::transport::*;
use regrip_core::{Change, DownloadId, DownloadsConfig, Engine, Event, OnExists};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// The files by name, and the rows by id: this host's disk and database.
type Files = Rc<RefCell<BTreeMap<String, Vec<u8>>>>;
type Rows = Rc<RefCell<BTreeMap<DownloadId, Row>>>;

/// **Host** ties the others together, seeds the jitter, and gets the events.
struct Mine {
    peer: Peer,
    disk: Disk,
    ledger: Table,
    clock: Idle,
    told: RefCell<Vec<&'static str>>,
}

impl Host for Mine {
    type Transport = Peer;
    type Store = Disk;
    type Ledger = Table;
    type Clock = Idle;

    fn transport(&self) -> &Peer {
        &self.peer
    }
    fn store(&self) -> &Disk {
        &self.disk
    }
    fn ledger(&self) -> &Table {
        &self.ledger
    }
    fn clock(&self) -> &Idle {
        &self.clock
    }
    fn seed(&self) -> u64 {
        7 // a real host asks the system for entropy, each time
    }
    fn on_event(&self, event: &Event<'_>) {
        self.told.borrow_mut().push(event.what.name());
    }
}

/// **Transport** sends a GET and gives back the head. Here the peer has one file, and drops the line once half way.
struct Peer {
    file: Rc<Vec<u8>>,
    dropped: Cell<bool>,
}

impl Transport for Peer {
    type Body = Wire;

    fn rules(&self, _url: &str) -> RequestRules {
        RequestRules::FREE // a client that can send what it likes; a cross-origin `fetch` cannot
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<Wire>, Error> {
        let (from, total) = (request.range.map_or(0, |range| range.first) as usize, self.file.len());
        let mut headers = Headers::default();
        headers.push("etag", b"\"v1\"");
        headers.push("content-length", (total - from).to_string().as_bytes());
        if from > 0 {
            assert_eq!(request.if_range, Some("\"v1\""));
            headers.push("content-range", format!("bytes {from}-{}/{total}", total - 1).as_bytes());
        }
        let until = if self.dropped.replace(true) { total } else { total / 2 };
        let (file, status) = (Rc::clone(&self.file), if from > 0 { 206 } else { 200 });
        let body = Wire { file, at: from, until };
        let end = Ok(BodyEnd::Length((total - from) as u64));
        Ok(Response { status, headers, end, body })
    }
}

/// **Body** lends the bytes chunk by chunk. An early end is an error, if the client notices it.
struct Wire {
    file: Rc<Vec<u8>>,
    at: usize,
    until: usize,
}

impl Body for Wire {
    type Chunk<'a> = &'a [u8];
    type Kept = Vec<u8>;

    fn keep(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }

    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }

    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        let (from, to) = (self.at, self.until.min(self.at + 4096));
        self.at = to;
        if from == to && to < self.file.len() {
            return Err(Error::network("reading the body", "the line is dead"));
        }
        Ok((from < to).then(|| &self.file[from..to]))
    }
}

/// **PartStore** opens parts and gives them their final names. A real one locks, follows no link, and syncs the folder.
struct Disk(Files);

impl PartStore for Disk {
    type Part = Open;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        Ok(self.0.borrow().contains_key(part))
    }
    async fn open(&self, part: &str, _how: OpenPart) -> Result<Open, Error> {
        self.0.borrow_mut().entry(part.to_owned()).or_default();
        Ok(Open { files: Rc::clone(&self.0), name: part.to_owned() })
    }
    async fn commit(&self, part: Open, destination: &str, _replace: Replace) -> Result<Committed, Error> {
        let mut files = self.0.borrow_mut();
        let bytes = files.remove(&part.name).unwrap_or_default();
        files.insert(destination.to_owned(), bytes);
        Ok(Committed::Durable)
    }
    async fn find(&self, _part: &str, _destination: &str, _committing: &Committing) -> Result<Found, Error> {
        Ok(Found::Nothing) // nothing here survives a crash, so there is nothing to repair
    }
    async fn remove(&self, part: &str) -> Result<(), Error> {
        self.0.borrow_mut().remove(part);
        Ok(())
    }
}

/// **Part** is an open part: its length, cutting it, making it durable, and a digest of what it holds.
struct Open {
    files: Files,
    name: String,
}

impl Open {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        look(self.files.borrow_mut().entry(self.name.clone()).or_default())
    }
}

impl Part for Open {
    type Digest = Unhashed;

    async fn length(&mut self) -> Result<u64, Error> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.with(|bytes| bytes.truncate(length as usize));
        Ok(())
    }
    async fn reserve(&mut self, _size: u64) -> Result<(), Error> {
        Ok(()) // "or not at all"
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        self.length().await
    }
    fn token(&self) -> PartToken {
        PartToken(self.name.clone())
    }
    fn epoch(&self) -> String {
        "the only one".to_owned() // nothing here outlives the process
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let (from, to) = (from as usize, to as usize);
        Ok(self.with(|bytes| bytes[from..to].windows(2).all(|pair| pair[0] == pair[1])))
    }
    async fn digest(
        &mut self,
        _: Algorithm,
        _saved: Option<&DigestState>,
        _to: u64,
    ) -> Result<Option<Unhashed>, Error> {
        Ok(None)
    }
}

/// **PartBytes** is what a part does with the chunks of this transport's bodies; the core itself looks at no byte.
impl PartBytes<&[u8]> for Open {
    async fn write(&mut self, offset: u64, chunk: &[u8], _: &mut [Unhashed]) -> Result<(), Error> {
        self.with(|bytes| {
            assert_eq!(bytes.len() as u64, offset, "writes go to the part's end");
            bytes.extend_from_slice(chunk);
        });
        Ok(())
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        Ok(self.with(|bytes| bytes.get(offset as usize..offset as usize + chunk.len()) == Some(chunk)))
    }
}

/// **Digest** is a running hash. This host makes its engine without digests, so it is never asked.
struct Unhashed;

impl Digest for Unhashed {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Sha256
    }
    fn save(&self) -> Option<Vec<u8>> {
        None
    }
    fn finish(self) -> String {
        String::new()
    }
}

/// **Ledger** keeps the rows. What a change means is [`Row::apply`]; a database does the same in SQL, one transaction a call.
struct Table(Rows);

impl Ledger for Table {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        let mut rows = self.0.borrow_mut();
        let id = rows.len() as DownloadId + 1;
        rows.insert(id, Row::new(id, new.clone()));
        Ok(id)
    }
    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.0.borrow().get(&id).cloned().ok_or(Error::NoSuchDownload(id))
    }
    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let rows = self.0.borrow();
        Ok(rows.values().rev().filter(|row| row.new.destination == destination).cloned().collect())
    }
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        let rows = self.0.borrow();
        let unfinished = rows.values().filter(|row| row.status.is_active());
        Ok(unfinished.cloned().map(Mark::from).collect())
    }
    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        let mut rows = self.0.borrow_mut();
        rows.get_mut(&id).map(Row::begin_attempt).ok_or(Error::NoSuchDownload(id))
    }
    async fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> Result<(), Error> {
        let mut rows = self.0.borrow_mut();
        rows.get_mut(&id).map(|row| row.apply(change)).ok_or(Error::NoSuchDownload(id))
    }
    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.0.borrow_mut().remove(&id).map(drop).ok_or(Error::NoSuchDownload(id))
    }
}

/// **Clock** reads and waits for time. In this one time passes only in a sleep, at once, so that the test takes none; the
/// sleep of a real one is its runtime's timer.
struct Idle(Rc<Cell<Duration>>);

impl Clock for Idle {
    fn now(&self) -> Instant {
        Instant(self.0.get())
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.get()
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let now = Rc::clone(&self.0);
        async move { now.set(now.get() + duration) }
    }
}

#[test]
fn a_host_that_is_not_send_drives_a_download_through_a_cut_and_a_resume() {
    let file = Rc::new((0..100_000_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    let (files, rows) = (Files::default(), Rows::default());
    let host = Mine {
        peer: Peer { file: Rc::clone(&file), dropped: Cell::new(false) },
        disk: Disk(Rc::clone(&files)),
        ledger: Table(rows),
        clock: Idle(Rc::default()),
        told: RefCell::default(),
    };
    let engine = Engine::new(host, DownloadsConfig::default(), false).expect("the defaults are in range");
    let new = NewDownload {
        source: Source::Url { url: "http://peer.example/film.mkv".to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: "/films/film.mkv".to_owned(),
        part: "/films/film.mkv.part".to_owned(),
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    };

    // The host spawns, where and how it likes: here on the one thread there is.
    let mut pool = LocalPool::new();
    let driver = engine.clone();
    let drive = async move {
        let accepted = driver.accept(new).await?;
        driver.drive(accepted.id).await
    };
    let ended = pool.spawner().spawn_local_with_handle(drive).expect("the pool is there");
    let summary = pool.run_until(ended).expect("it is served in the end");

    assert_eq!((summary.bytes, summary.attempts, summary.restarts), (100_000, 2, 0));
    let names: Vec<String> = files.borrow().keys().cloned().collect();
    assert_eq!(names, ["/films/film.mkv"]);
    assert_eq!(files.borrow().get("/films/film.mkv"), Some(&*file));
    let told = ["queued", "started", "headers", "retrying", "started", "headers", "completed"];
    let heard = engine.host().told.borrow().clone();
    let heard: Vec<_> = heard.into_iter().filter(|name| *name != "progress").collect();
    assert_eq!(heard, told);
}
