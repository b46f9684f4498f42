//! What was added by the API of the download client: stubs, by the hash of their `info`, and categories.
//!
//! A torrent has a record in the ledger until a client deletes it, and a stub in a folder of regrip's own until its download is
//! completed. From there the stub takes the same way as one of the watch folder, so that a restart loses nothing.
//!
//! Invariants: the record is written before the stub, and removed after it. A category is a folder below the completed one: its
//! name is made of safe names.

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
use std::collections::BTreeMap;
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
}

impl Torrent {
    /// The name of its stub, as it is listed.
    pub(crate) fn stub_name(&self) -> String {
        format!("{CLIENT_PREFIX}{}.torrent", self.hash)
    }
}

/// Where the stub of a torrent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let records = ledger.client_records().await?;
        let mut inner = lock(&self.inner);
        inner.folder = folder;
        for ClientRecord { kind, key, record } in records {
            let record = record.unwrap_or_default();
            if kind == "category" {
                inner.categories.insert(key, record);
            } else if let Ok(torrent) = serde_json::from_str(&record) {
                inner.torrents.insert(key, torrent);
            }
        }
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
        let turn = self.changing.lock().await;
        self.put(ledger, torrent).await?;
        drop(turn);
        self.remove_stubs(&hash)?;
        let folder = self.folder();
        let temporary = folder.join(format!(".{hash}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(stub)?;
        file.sync_all()?;
        let [queued, held, _] = self.places(&hash);
        std::fs::rename(temporary, if stopped { held } else { queued })?;
        File::open(folder)?.sync_all()?;
        self.look_soon();
        Ok(())
    }

    async fn put(&self, ledger: &impl NativeLedger, torrent: Torrent) -> Result<(), Error> {
        let record = serde_json::to_string(&torrent).ok();
        let (kind, key) = ("torrent".to_owned(), torrent.hash.clone());
        ledger.put_client_record(ClientRecord { kind, key, record }).await?;
        lock(&self.inner).torrents.insert(torrent.hash.clone(), torrent);
        Ok(())
    }

    /// Changes the record of a torrent. Returns `false` if there is none.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn change(
        &self,
        ledger: &impl NativeLedger,
        hash: &str,
        change: impl FnOnce(&mut Torrent),
    ) -> Result<bool, Error> {
        let _turn = self.changing.lock().await;
        let Some(before) = self.get(hash) else {
            return Ok(false);
        };
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            self.put(ledger, after).await?;
        }
        Ok(true)
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
        if self.get(hash).is_some_and(|torrent| torrent.download != download) {
            return Ok(false);
        }
        let (kind, key) = ("torrent".to_owned(), hash.to_owned());
        ledger.put_client_record(ClientRecord { kind, key, record: None }).await?;
        lock(&self.inner).torrents.remove(hash);
        Ok(true)
    }

    /// Where the stub of a torrent is.
    pub(crate) fn place(&self, hash: &str) -> StubPlace {
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
        let text = crate::text_file::read(&failed.with_extension("txt"), MOST_WHY_BYTES).ok()?;
        text.lines().skip(1).find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Stops the work on a stub.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn stop(&self, hash: &str) -> io::Result<()> {
        let [queued, stopped, _] = self.places(hash);
        std::fs::rename(queued, stopped)?;
        self.look_soon();
        Ok(())
    }

    /// Has a stub worked on that was stopped or failed.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn start(&self, hash: &str) -> io::Result<()> {
        let [queued, stopped, failed] = self.places(hash);
        match self.place(hash) {
            StubPlace::Stopped => std::fs::rename(stopped, queued)?,
            StubPlace::Failed => std::fs::rename(failed, queued)?,
            StubPlace::Queued | StubPlace::Gone => {}
        }
        self.look_soon();
        Ok(())
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
