//! What was added by the API of the download client: stubs, by the hash of their `info`, and categories.
//!
//! A torrent has a record in the ledger until a client deletes it, and a stub in a folder of regrip's own until its download is
//! completed. From there the stub takes the same way as one of the watch folder, so that a restart loses nothing.
//!
//! If workers share the ledger, its records are what all of them show and change ([`Control::follow_torrents`]): each one is written
//! only in place of what was read. The stub of a torrent without a download is in the folder of one worker, its home, which does
//! what the record says; if that worker is gone, another one makes the stub anew.
//!
//! Invariants: the record is written before the stub, and removed after it. A category is a folder below the completed one: its
//! name is made of safe names.

use super::downloads::Control;
use crate::host::NativeHost;
use crate::ledger::{ClientRecord, NativeLedger};
use crate::store::is_object;
use crate::sync::lock;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use regrip_core::error::Timeout;
use regrip_core::hasher::Hasher;
use regrip_core::stub::{LARGEST_BYTES, StubRefused};
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Response};
use regrip_core::{Algorithm, DownloadId, Error, PeerId, SafeName, Stub};
use serde::{Deserialize, Serialize};
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// How the names of these stubs begin: no file's name in the watch folder has a slash.
pub(crate) const CLIENT_PREFIX: &str = "client/";

/// Torrents and categories at once, each.
const MOST: usize = 10_000;
/// How long a stub may take after the head of its response.
const STUB_WITHIN: Duration = Duration::from_secs(30);
/// The largest text beside a stub that failed.
const MOST_WHY_BYTES: u64 = 64 << 10;
/// Folders of a category, one below the other.
const DEEPEST: usize = 8;

/// A stub that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Torrent {
    /// The SHA-1 of its `info`.
    pub hash: String,
    /// The name in the stub.
    pub name: String,
    /// The size in the stub.
    pub length: u64,
    /// The peer.
    pub peer: String,
    /// The peer's id of the item.
    pub item: String,
    /// Its category, or "".
    pub category: String,
    /// The folder of its file, relative to the completed one.
    pub folder: String,
    /// The configured server that added it, if one did.
    pub server: Option<String>,
    /// When it was added, in seconds since 1970.
    pub added_on: u64,
    /// Its download, once there is one.
    pub download: Option<DownloadId>,
    /// Why its release is at fault, until it is blocklisted.
    #[serde(default)]
    pub fault: Option<String>,
    /// Its stub, if workers share the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stub: Option<SharedStub>,
}

/// A stub as all workers know it, until it is a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedStub {
    /// The worker that has it.
    pub home: String,
    /// Where the stub is at that worker, or will be.
    pub place: StubPlace,
    /// Why it failed.
    pub why: Option<String>,
}

impl Torrent {
    /// The name of its stub, as it is listed.
    pub(crate) fn stub_name(&self) -> String {
        format!("{CLIENT_PREFIX}{}.torrent", self.hash)
    }
}

/// Where the stub of a torrent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StubPlace {
    /// It is worked on.
    Queued,
    /// It waits until somebody starts it.
    Stopped,
    /// It failed.
    Failed,
    /// There is none: the download is completed.
    Gone,
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TorrentError {
    /// Not a stub.
    #[error("this server takes stubs of its peers only: {0}")]
    Stub(#[from] StubRefused),
    /// A stub of somebody else.
    #[error("no peer {0} is configured")]
    UnknownPeer(PeerId),
    /// Something else than the URL of a stub.
    #[error("{0}")]
    Url(String),
    /// Another item has this hash.
    #[error("a torrent with this hash is another item of a peer: delete it first")]
    OtherItem,
    /// The name of a category or the path of a folder.
    #[error("{0:?} is not a folder below the completed folder")]
    Folder(String),
    /// Too many.
    #[error("there are {MOST} already: delete some first")]
    TooMany,
    /// The folder of stubs.
    #[error("the stub cannot be stored: {0}")]
    Io(#[from] io::Error),
    /// The ledger.
    #[error(transparent)]
    Core(#[from] Error),
}

/// All of them. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Torrents {
    inner: Arc<Mutex<Inner>>,
    /// Held while a record is read, changed and written.
    changing: Arc<async_lock::Mutex<()>>,
    /// The folder of stubs has changed.
    look: (Sender<()>, Receiver<()>),
    /// Import servers may have something new to say.
    ask: (Sender<()>, Receiver<()>),
}

#[derive(Default)]
struct Inner {
    folder: PathBuf,
    servers: Vec<String>,
    /// How other programs reach this server.
    own_url: Option<String>,
    torrents: BTreeMap<String, Torrent>,
    /// The torrents as the ledger has them.
    records: BTreeMap<String, String>,
    /// Their paths below the completed folder, by name.
    categories: BTreeMap<String, String>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inner").field("torrents", &self.torrents).finish_non_exhaustive()
    }
}

impl Default for Torrents {
    fn default() -> Self {
        Torrents { inner: Arc::default(), changing: Arc::default(), look: bounded(1), ask: bounded(1) }
    }
}

impl Torrents {
    /// Reads the records, and makes the folder of stubs (mode 0700) if it is missing.
    ///
    /// # Errors
    /// `Ledger`, `Disk`.
    pub(crate) async fn open(&self, ledger: &impl NativeLedger, folder: PathBuf) -> Result<(), Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| Error::Disk {
            what: "create",
            path: folder.display().to_string(),
            source: Some(error.into()),
        })?;
        lock(&self.inner).folder = folder;
        self.read_records(ledger).await
    }

    /// Takes over what the ledger has.
    async fn read_records(&self, ledger: &impl NativeLedger) -> Result<(), Error> {
        let (mut torrents, mut texts, mut categories) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for ClientRecord { kind, key, record } in ledger.client_records().await? {
            let record = record.unwrap_or_default();
            if kind == "category" {
                categories.insert(key, record);
            } else if let Ok(torrent) = serde_json::from_str(&record) {
                torrents.insert(key.clone(), torrent);
                texts.insert(key, record);
            }
        }
        let mut inner = lock(&self.inner);
        (inner.torrents, inner.records, inner.categories) = (torrents, texts, categories);
        Ok(())
    }

    /// The folder of stubs.
    pub(crate) fn folder(&self) -> PathBuf {
        lock(&self.inner).folder.clone()
    }

    /// Takes over the names of the configured servers, and how they reach this one.
    pub(crate) fn configure(&self, servers: Vec<String>, own_url: Option<String>) {
        let mut inner = lock(&self.inner);
        (inner.servers, inner.own_url) = (servers, own_url);
    }

    /// How other programs reach this server, if it is configured.
    pub(crate) fn own_url(&self) -> Option<String> {
        lock(&self.inner).own_url.clone()
    }

    /// The configured server of that name.
    pub(crate) fn server(&self, name: &str) -> Option<String> {
        lock(&self.inner).servers.iter().find(|server| *server == name).cloned()
    }

    /// Signals that the folder of stubs has changed.
    pub(crate) fn look_soon(&self) {
        // One pending signal is enough.
        let _ = self.look.0.try_send(());
    }

    /// What [`look_soon`](Self::look_soon) sends to.
    pub(crate) fn signal(&self) -> Receiver<()> {
        self.look.1.clone()
    }

    /// Has the import servers asked soon.
    pub(crate) fn ask_soon(&self) {
        // One pending signal is enough.
        let _ = self.ask.0.try_send(());
    }

    /// What [`ask_soon`](Self::ask_soon) sends to.
    pub(crate) fn ask_signal(&self) -> Receiver<()> {
        self.ask.1.clone()
    }

    /// All torrents, by hash.
    pub(crate) fn list(&self) -> Vec<Torrent> {
        lock(&self.inner).torrents.values().cloned().collect()
    }

    /// The torrent of a hash.
    pub(crate) fn get(&self, hash: &str) -> Option<Torrent> {
        lock(&self.inner).torrents.get(hash).cloned()
    }

    /// The torrent of a stub, without its place: who adds it decides that.
    ///
    /// # Errors
    /// `Stub`, `OtherItem`.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Torrent, TorrentError> {
        let stub = Stub::read(bytes)?;
        let info = Stub::info_of(bytes).unwrap_or_default();
        let hash = Hasher::of(Algorithm::Sha1, info).hex;
        let known = self.get(&hash);
        if known.is_some_and(|known| known.peer != stub.peer.as_str() || known.item != stub.item) {
            return Err(TorrentError::OtherItem);
        }
        Ok(Torrent {
            hash,
            name: stub.name,
            length: stub.length,
            peer: stub.peer.as_str().to_owned(),
            item: stub.item,
            category: String::new(),
            folder: String::new(),
            server: None,
            added_on: 0,
            download: None,
            fault: None,
            stub: None,
        })
    }

    /// Adds a torrent with its stub, in place of one of the same hash.
    ///
    /// # Errors
    /// `TooMany`, `Io`, `Core`.
    pub(crate) async fn add(
        &self,
        ledger: &impl NativeLedger,
        torrent: Torrent,
        stub: &[u8],
        stopped: bool,
    ) -> Result<(), TorrentError> {
        let hash = torrent.hash.clone();
        if lock(&self.inner).torrents.len() >= MOST {
            return Err(TorrentError::TooMany);
        }
        // Until the stub is there, nobody asks why it is not.
        let _turn = self.changing.lock().await;
        self.put(ledger, torrent).await?;
        self.remove_stubs(&hash)?;
        self.write_stub(&hash, stub, stopped)?;
        self.look_soon();
        Ok(())
    }

    fn write_stub(&self, hash: &str, stub: &[u8], stopped: bool) -> io::Result<()> {
        let folder = self.folder();
        let temporary = folder.join(format!(".{hash}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(stub)?;
        file.sync_all()?;
        let [queued, held, _] = self.places(hash);
        std::fs::rename(temporary, if stopped { held } else { queued })?;
        File::open(folder)?.sync_all()
    }

    async fn put(&self, ledger: &impl NativeLedger, torrent: Torrent) -> Result<(), Error> {
        let (hash, text) = (torrent.hash.clone(), serde_json::to_string(&torrent).unwrap_or_default());
        ledger.put_client_record(record_of(&hash, Some(&text))).await?;
        let mut inner = lock(&self.inner);
        inner.records.insert(hash.clone(), text);
        inner.torrents.insert(hash, torrent);
        Ok(())
    }

    /// Writes a torrent in place of what was last read of it, or removes it. Returns `false` if another worker was first.
    async fn swap(&self, ledger: &impl NativeLedger, hash: &str, after: Option<Torrent>) -> Result<bool, Error> {
        let text = after.as_ref().map(|torrent| serde_json::to_string(torrent).unwrap_or_default());
        let before = lock(&self.inner).records.get(hash).cloned().unwrap_or_default();
        if !ledger.replace_client_record(record_of(hash, text.as_deref()), before).await? {
            return Ok(false);
        }
        let mut inner = lock(&self.inner);
        inner.torrents.remove(hash);
        inner.records.remove(hash);
        if let Some((torrent, text)) = after.zip(text) {
            inner.records.insert(hash.to_owned(), text);
            inner.torrents.insert(hash.to_owned(), torrent);
        }
        Ok(true)
    }

    /// Changes the record of a torrent. Returns `false` if there is none.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn change(
        &self,
        ledger: &impl NativeLedger,
        hash: &str,
        change: impl Fn(&mut Torrent),
    ) -> Result<bool, Error> {
        let _turn = self.changing.lock().await;
        self.change_in_turn(ledger, hash, change).await
    }

    async fn change_in_turn(
        &self,
        ledger: &impl NativeLedger,
        hash: &str,
        change: impl Fn(&mut Torrent),
    ) -> Result<bool, Error> {
        loop {
            if ledger.fleet().is_some() {
                self.read_records(ledger).await?;
            }
            let Some(before) = self.get(hash) else {
                return Ok(false);
            };
            let mut after = before.clone();
            change(&mut after);
            if after == before || self.swap(ledger, hash, Some(after)).await? {
                return Ok(true);
            }
        }
    }

    /// Records the download that the stub of this name is, if it is one of these. Returns `false` if its torrent was deleted.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn link(&self, ledger: &impl NativeLedger, stub: &str, id: DownloadId) -> Result<bool, Error> {
        match hash_of(stub) {
            Some(hash) => self.change(ledger, hash, |torrent| torrent.download = Some(id)).await,
            None => Ok(true),
        }
    }

    /// Removes the stub of a torrent, so that nobody works on it any more.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn remove_stubs(&self, hash: &str) -> io::Result<()> {
        let [queued, stopped, failed] = self.places(hash);
        for path in [failed.with_extension("txt"), queued, stopped, failed] {
            match std::fs::remove_file(path) {
                Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        self.look_soon();
        Ok(())
    }

    /// Removes the record of a torrent, after its stub, unless it has another download than this one by now. Returns `true` if
    /// there is no record any more.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn forget(
        &self,
        ledger: &impl NativeLedger,
        hash: &str,
        download: Option<DownloadId>,
    ) -> Result<bool, Error> {
        let _turn = self.changing.lock().await;
        loop {
            if ledger.fleet().is_some() {
                self.read_records(ledger).await?;
            }
            match self.get(hash) {
                Some(torrent) if torrent.download != download => return Ok(false),
                None => return Ok(true),
                Some(_) if self.swap(ledger, hash, None).await? => return Ok(true),
                Some(_) => {}
            }
        }
    }

    /// Where the stub of a torrent is, here or in the folder of another worker.
    pub(crate) fn place(&self, hash: &str) -> StubPlace {
        match self.place_here(hash) {
            StubPlace::Gone => self.shared(hash).map_or(StubPlace::Gone, |stub| stub.place),
            place => place,
        }
    }

    /// The stub of a torrent as all workers know it. With a download it is of no interest, unless it failed.
    fn shared(&self, hash: &str) -> Option<SharedStub> {
        let torrent = self.get(hash)?;
        torrent.stub.filter(|stub| torrent.download.is_none() || stub.place == StubPlace::Failed)
    }

    fn place_here(&self, hash: &str) -> StubPlace {
        let [queued, stopped, failed] = self.places(hash);
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        match (is_there(&queued), is_there(&stopped), is_there(&failed)) {
            (true, _, _) => StubPlace::Queued,
            (_, true, _) => StubPlace::Stopped,
            (_, _, true) => StubPlace::Failed,
            _ => StubPlace::Gone,
        }
    }

    /// What is written beside a stub that failed.
    pub(crate) fn why_failed(&self, hash: &str) -> Option<String> {
        let [_, _, failed] = self.places(hash);
        let Ok(text) = crate::text_file::read(&failed.with_extension("txt"), MOST_WHY_BYTES) else {
            return self.shared(hash)?.why;
        };
        text.lines().skip(1).find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Stops the work on a stub.
    ///
    /// # Errors
    /// `Io`, `Core`.
    pub(crate) async fn stop(&self, ledger: &impl NativeLedger, hash: &str) -> Result<(), TorrentError> {
        self.put_place(ledger, hash, StubPlace::Stopped, None).await?;
        Ok(self.stop_here(hash)?)
    }

    fn stop_here(&self, hash: &str) -> io::Result<()> {
        let [queued, stopped, _] = self.places(hash);
        if self.place_here(hash) == StubPlace::Queued {
            std::fs::rename(queued, stopped)?;
        }
        self.look_soon();
        Ok(())
    }

    /// Has a stub worked on that was stopped or failed.
    ///
    /// # Errors
    /// `Io`, `Core`.
    pub(crate) async fn start(&self, ledger: &impl NativeLedger, hash: &str) -> Result<(), TorrentError> {
        self.put_place(ledger, hash, StubPlace::Queued, None).await?;
        Ok(self.start_here(hash)?)
    }

    fn start_here(&self, hash: &str) -> io::Result<()> {
        let [queued, stopped, failed] = self.places(hash);
        match self.place_here(hash) {
            StubPlace::Stopped => std::fs::rename(stopped, queued)?,
            StubPlace::Failed => std::fs::rename(failed, queued)?,
            StubPlace::Queued | StubPlace::Gone => {}
        }
        self.look_soon();
        Ok(())
    }

    /// Records for all workers that the stub of this name failed, before it is moved, if it is one of these.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn failed(&self, ledger: &impl NativeLedger, stub: &str, why: &str) -> Result<(), Error> {
        match hash_of(stub) {
            Some(hash) => self.put_place(ledger, hash, StubPlace::Failed, why.lines().next()).await,
            None => Ok(()),
        }
    }

    /// Records where a stub is to be, if workers share the ledger.
    async fn put_place(
        &self,
        ledger: &impl NativeLedger,
        hash: &str,
        place: StubPlace,
        why: Option<&str>,
    ) -> Result<(), Error> {
        if ledger.fleet().is_none() {
            return Ok(());
        }
        let put = |torrent: &mut Torrent| {
            if let Some(stub) = &mut torrent.stub {
                (stub.place, stub.why) = (place, why.map(str::to_owned));
            }
        };
        self.change(ledger, hash, put).await.map(drop)
    }

    /// The hashes of the stubs that are in this worker's folder.
    fn hashes_here(&self) -> io::Result<BTreeSet<String>> {
        let mut hashes = BTreeSet::new();
        let folder = self.folder();
        for folder in [folder.join("failed"), folder] {
            let entries = match std::fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                let hash = name.strip_suffix(".torrent").or(name.strip_suffix(".stopped"));
                hashes.extend(hash.filter(|hash| is_hash(hash)).map(str::to_owned));
            }
        }
        Ok(hashes)
    }

    /// The paths of a stub: worked on, stopped, failed.
    fn places(&self, hash: &str) -> [PathBuf; 3] {
        let folder = self.folder();
        let name = format!("{hash}.torrent");
        [folder.join(&name), folder.join(format!("{hash}.stopped")), folder.join("failed").join(&name)]
    }

    /// The folder below the completed one for the file of a stub; `None` if it is not a stub's category.
    pub(crate) fn folder_of(&self, stub: &str) -> Option<String> {
        hash_of(stub).and_then(|hash| self.get(hash)).map(|torrent| torrent.folder)
    }

    /// All categories with their folders below the completed one.
    pub(crate) fn categories(&self) -> BTreeMap<String, String> {
        lock(&self.inner).categories.clone()
    }

    /// Writes a category; without a folder it is removed.
    ///
    /// # Errors
    /// `Folder`, `TooMany`, `Core`.
    pub(crate) async fn put_category(
        &self,
        ledger: &impl NativeLedger,
        name: &str,
        folder: Option<String>,
    ) -> Result<(), TorrentError> {
        if folder.is_some() {
            below(name)?;
            if lock(&self.inner).categories.len() >= MOST {
                return Err(TorrentError::TooMany);
            }
        }
        let (kind, key) = ("category".to_owned(), name.to_owned());
        ledger.put_client_record(ClientRecord { kind, key, record: folder.clone() }).await?;
        let mut inner = lock(&self.inner);
        match folder {
            Some(folder) => inner.categories.insert(name.to_owned(), folder),
            None => inner.categories.remove(name),
        };
        Ok(())
    }
}

impl<L: NativeLedger> Control<L> {
    /// Reads what workers that share the ledger have added, changed and deleted, and does what the records say with the stubs of
    /// this one. Without such workers nobody else changes anything.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn follow_torrents(&self) -> Result<(), Error> {
        let (torrents, ledger, me) = (self.torrents(), self.ledger(), self.engine().owner());
        let Some(fleet) = ledger.fleet() else {
            return Ok(());
        };
        let _turn = torrents.changing.lock().await;
        torrents.read_records(ledger).await?;
        let failed =
            |hash: &str, error: &io::Error| tracing::warn!(hash, %error, "cannot move a stub of the download client");
        let here = torrents.hashes_here().unwrap_or_default();
        for hash in here.iter().filter(|hash| torrents.get(hash).is_none()) {
            // It was deleted at another worker.
            torrents.remove_stubs(hash).unwrap_or_else(|error| failed(hash, &error));
        }
        let mut live = None;
        for torrent in torrents.list().into_iter().filter(|torrent| torrent.download.is_none()) {
            let hash = torrent.hash.as_str();
            let is_here = here.contains(hash);
            // One that another version added has no home yet.
            let known = torrent.stub.clone().or_else(|| {
                let place = torrents.place_here(hash);
                is_here.then(|| SharedStub { home: String::new(), place, why: torrents.why_failed(hash) })
            });
            let Some(stub) = known else {
                continue;
            };
            if stub.home != me {
                if live.is_none() {
                    let workers = fleet.workers().await?.into_iter().filter(|worker| worker.state != "lost");
                    live = Some(workers.map(|worker| worker.id).collect::<BTreeSet<_>>());
                }
                let is_elsewhere = live.as_ref().is_some_and(|live| live.contains(&stub.home));
                if is_elsewhere || self.is_ending() {
                    if is_here {
                        torrents.remove_stubs(hash).unwrap_or_else(|error| failed(hash, &error));
                    }
                    continue;
                }
                let adopted = SharedStub { home: me.to_owned(), ..stub.clone() };
                let adopt = |torrent: &mut Torrent| {
                    if torrent.stub.as_ref().is_none_or(|now| *now == stub) {
                        torrent.stub = Some(adopted.clone());
                    }
                };
                torrents.change_in_turn(ledger, hash, adopt).await?;
                let is_mine = |torrent: Torrent| torrent.stub.as_ref() == Some(&adopted) && torrent.download.is_none();
                if !torrents.get(hash).is_some_and(is_mine) {
                    continue;
                }
                if !is_here
                    && let Some(stub) = torrent.stub_again()
                    && let Err(error) = torrents.write_stub(hash, &stub, adopted.place != StubPlace::Queued)
                {
                    failed(hash, &error);
                }
                torrents.look_soon();
            }
            let moved = match (stub.place, torrents.place_here(hash)) {
                (StubPlace::Stopped, StubPlace::Queued) => torrents.stop_here(hash),
                (StubPlace::Queued, StubPlace::Stopped | StubPlace::Failed) => torrents.start_here(hash),
                _ => Ok(()),
            };
            moved.unwrap_or_else(|error| failed(hash, &error));
        }
        Ok(())
    }
}

impl Torrent {
    /// Its stub, made anew: of the same item.
    fn stub_again(&self) -> Option<Vec<u8>> {
        Stub::new(PeerId::new(&self.peer)?, &self.item, &self.name, self.length).ok().map(|stub| stub.write())
    }
}

fn record_of(hash: &str, record: Option<&str>) -> ClientRecord {
    ClientRecord { kind: "torrent".to_owned(), key: hash.to_owned(), record: record.map(str::to_owned) }
}

fn is_hash(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A relative path of safe names, as it is.
///
/// # Errors
/// `Folder`.
pub(crate) fn below(path: &str) -> Result<String, TorrentError> {
    let segments = path.split('/');
    match segments.clone().count() <= DEEPEST && segments.clone().all(|segment| SafeName::new(segment).is_ok()) {
        true => Ok(path.to_owned()),
        false => Err(TorrentError::Folder(path.chars().take(100).collect())),
    }
}

/// The folder of a relative path of [safe names](below) in a folder, made if it is missing. No link is followed below that one.
///
/// # Errors
/// The path that cannot be used, and why: `NotADirectory` if something else than a folder is there.
pub(crate) fn make_below(folder: &Path, relative: &str) -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut path = folder.to_owned();
    for name in relative.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        if is_object(&path) {
            continue;
        }
        let made = match DirBuilder::new().create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.symlink_metadata() {
                Ok(there) if there.is_dir() => Ok(()),
                Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "expected a folder, not a link or a file")),
                Err(error) => Err(error),
            },
            made => made,
        };
        made.map_err(|error| (path.clone(), error))?;
    }
    Ok(path)
}

/// Peer and item of a URL of this server's own Torznab: `/torznab/download/{peerId}:{itemId}.torrent` at one of its `own`
/// addresses.
pub(crate) fn own_stub(url: &Url, mut own: impl Iterator<Item = String>) -> Option<(PeerId, String)> {
    let base = own.find_map(|own| Url::parse(&own).ok().filter(|own| own.origin() == url.origin()))?;
    let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let name = path.strip_prefix("/torznab/download/")?.strip_suffix(".torrent")?;
    let name = percent_decode_str(name).decode_utf8().ok()?;
    let (peer, item) = name.split_once(':')?;
    Some((PeerId::new(peer)?, item.to_owned()))
}

/// Fetches a stub, by the rules for redirects and addresses that downloads have.
///
/// # Errors
/// `Status`, `Protocol` for anything but a 200 and for a body that is too large, `Timeout`; else as the transport.
pub(crate) async fn fetch_stub(host: &NativeHost<impl NativeLedger>, url: &str) -> Result<Bytes, Error> {
    let (Response { status, mut body, .. }, _) = host.transport.get_noting_origin(url).await?;
    if status != 200 {
        return Err(match status {
            400..=599 => Error::Status { status, retry_after: None },
            _ => Error::Protocol(format!("the status is {status}")),
        });
    }
    let read = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(chunk);
            if bytes.len() > LARGEST_BYTES {
                return Err(Error::Protocol(format!("it is larger than {LARGEST_BYTES} bytes")));
            }
        }
        Ok(Bytes::from(bytes))
    };
    let too_late = async {
        host.clock.sleep(STUB_WITHIN).await;
        Err(Error::Timeout { timeout: Timeout::Idle, after: STUB_WITHIN })
    };
    or(read, too_late).await
}

/// The hash of the torrent whose stub has this name, as it is listed.
pub(crate) fn hash_of(stub: &str) -> Option<&str> {
    stub.strip_prefix(CLIENT_PREFIX)?.strip_suffix(".torrent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{ServeTables, SqliteLedger};

    #[test]
    fn a_category_is_a_folder_below_the_completed_one_and_nothing_else() {
        for name in ["films", "tv-sonarr", "films/4k", "Ä Ö", "a.b"] {
            assert_eq!(below(name).ok().as_deref(), Some(name));
        }
        let deep = ["a"; DEEPEST + 1].join("/");
        let hostile = ["", "..", ".", "/etc", "a/..", "../a", "a//b", "a/", "a\\b", "a\nb", "a\0", "a/./b", &deep];
        for name in hostile {
            assert!(below(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_torrent_that_gets_its_download_while_it_is_deleted_is_not_forgotten_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("state.db")).unwrap();
        let torrents = Torrents::default();
        smol::block_on(async {
            torrents.open(&ledger, folder.path().join("client")).await.unwrap();
            let stub = Stub::new(PeerId::new("0123abcd").unwrap(), "1", "Film", 9).unwrap().write();
            let torrent = torrents.read(&stub).unwrap();
            let (hash, name) = (torrent.hash.clone(), torrent.stub_name());
            torrents.add(&ledger, torrent, &stub, false).await.unwrap();
            // Whoever deletes it has seen no download, and then there is one.
            assert!(torrents.link(&ledger, &name, 7).await.unwrap());
            assert!(!torrents.forget(&ledger, &hash, None).await.unwrap());
            assert!(torrents.forget(&ledger, &hash, Some(7)).await.unwrap());
            // The other way round: whoever makes the row learns that nobody wants it.
            assert!(!torrents.link(&ledger, &name, 8).await.unwrap());
            assert_eq!(torrents.get(&hash), None);
            assert_eq!(ledger.client_records().await.unwrap(), []);
        });
    }

    #[test]
    fn a_url_of_torznab_is_ones_own_at_ones_own_address_only() {
        let own = ["http://regrip:5225/base/", "http://127.0.0.1:5225"];
        let found = |url: &str| {
            let found = own_stub(&Url::parse(url).unwrap(), own.iter().map(|own| (*own).to_owned()));
            found.map(|(peer, item)| format!("{peer} {item}"))
        };
        let item = Some("0123abcd film:42".to_owned());
        for (url, wanted) in [
            ("http://regrip:5225/base/torznab/download/0123abcd:film:42.torrent?apikey=a", &item),
            ("http://127.0.0.1:5225/torznab/download/0123abcd%3Afilm%3A42.torrent", &item),
            ("http://regrip:5225/torznab/download/0123abcd:film:42.torrent", &None),
            ("https://127.0.0.1:5225/torznab/download/0123abcd:film:42.torrent", &None),
            ("http://127.0.0.1:5226/torznab/download/0123abcd:film:42.torrent", &None),
            ("http://127.0.0.1:5225/torznab/download/nobody:1.torrent", &None),
            ("http://127.0.0.1:5225/torznab/download/0123abcd.torrent", &None),
            ("http://127.0.0.1:5225/torznab/api", &None),
        ] {
            assert_eq!(found(url), *wanted, "{url}");
        }
    }
}
