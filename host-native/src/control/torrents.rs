//! What was added by the API of the download client: stubs, by the hash of their `info`, and categories.
//!
//! A torrent has a record in the ledger until a client deletes it, and a stub in a folder of regrip's own until its download is
//! completed. From there the stub takes the same way as one of the watch folder, so that a restart loses nothing.
//!
//! Invariants: the record is written before the stub, and removed after it. A category is a folder below the completed one: its
//! name is made of safe names.

use crate::ledger::{ClientRecord, NativeLedger};
use crate::sync::lock;
use regrip_core::hasher::Hasher;
use regrip_core::stub::StubRefused;
use regrip_core::{Algorithm, DownloadId, Error, PeerId, SafeName, Stub};
use serde::{Deserialize, Serialize};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How the names of these stubs begin: no file's name in the watch folder has a slash.
pub(crate) const CLIENT_PREFIX: &str = "client/";

/// Torrents and categories at once, each.
const MOST: usize = 10_000;
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
pub(crate) struct Torrents(Arc<Mutex<Inner>>, (Sender<()>, Receiver<()>));

#[derive(Debug, Default)]
struct Inner {
    folder: PathBuf,
    servers: Vec<String>,
    torrents: BTreeMap<String, Torrent>,
    /// Their paths below the completed folder, by name.
    categories: BTreeMap<String, String>,
}

impl Default for Torrents {
    fn default() -> Self {
        Torrents(Arc::default(), bounded(1))
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
        let mut inner = lock(&self.0);
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
        lock(&self.0).folder.clone()
    }

    /// Takes over the names of the configured servers.
    pub(crate) fn configure(&self, servers: Vec<String>) {
        lock(&self.0).servers = servers;
    }

    /// The configured server of that name.
    pub(crate) fn server(&self, name: &str) -> Option<String> {
        lock(&self.0).servers.iter().find(|server| *server == name).cloned()
    }

    /// Signals that the folder of stubs has changed.
    pub(crate) fn look_soon(&self) {
        // One pending signal is enough.
        let _ = self.1.0.try_send(());
    }

    /// What [`look_soon`](Self::look_soon) sends to.
    pub(crate) fn signal(&self) -> Receiver<()> {
        self.1.1.clone()
    }

    /// All torrents, by hash.
    pub(crate) fn list(&self) -> Vec<Torrent> {
        lock(&self.0).torrents.values().cloned().collect()
    }

    /// The torrent of a hash.
    pub(crate) fn get(&self, hash: &str) -> Option<Torrent> {
        lock(&self.0).torrents.get(hash).cloned()
    }

    /// The torrent of a stub, without its place: who adds it decides that.
    ///
    /// # Errors
    /// `Stub`, `OtherItem`.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Torrent, TorrentError> {
        let stub = Stub::read(bytes)?;
        let info = Stub::info(bytes).unwrap_or_default();
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
        if lock(&self.0).torrents.len() >= MOST {
            return Err(TorrentError::TooMany);
        }
        self.put(ledger, torrent).await?;
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

    /// Writes the record of a torrent.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn put(&self, ledger: &impl NativeLedger, torrent: Torrent) -> Result<(), Error> {
        let record = serde_json::to_string(&torrent).ok();
        let (kind, key) = ("torrent".to_owned(), torrent.hash.clone());
        ledger.put_client_record(ClientRecord { kind, key, record }).await?;
        lock(&self.0).torrents.insert(torrent.hash.clone(), torrent);
        Ok(())
    }

    /// Records the download that the stub of this name is, if it is one of these.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn link(&self, ledger: &impl NativeLedger, stub: &str, id: DownloadId) -> Result<(), Error> {
        match hash_of(stub).and_then(|hash| self.get(hash)) {
            Some(torrent) if torrent.download != Some(id) => {
                self.put(ledger, Torrent { download: Some(id), ..torrent }).await
            }
            _ => Ok(()),
        }
    }

    /// Removes the stub of a torrent, so that nobody works on it any more.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn remove_stubs(&self, hash: &str) -> io::Result<()> {
        for path in self.places(hash) {
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

    /// Removes the record of a torrent, after its stub.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) async fn forget(&self, ledger: &impl NativeLedger, hash: &str) -> Result<(), Error> {
        let (kind, key) = ("torrent".to_owned(), hash.to_owned());
        ledger.put_client_record(ClientRecord { kind, key, record: None }).await?;
        lock(&self.0).torrents.remove(hash);
        Ok(())
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

    /// The folder below the completed one for the file of a stub; `None` if it is none of these.
    pub(crate) fn folder_of(&self, stub: &str) -> Option<String> {
        hash_of(stub).and_then(|hash| self.get(hash)).map(|torrent| torrent.folder)
    }

    /// All categories with their folders below the completed one.
    pub(crate) fn categories(&self) -> BTreeMap<String, String> {
        lock(&self.0).categories.clone()
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
            if lock(&self.0).categories.len() >= MOST {
                return Err(TorrentError::TooMany);
            }
        }
        let (kind, key) = ("category".to_owned(), name.to_owned());
        ledger.put_client_record(ClientRecord { kind, key, record: folder.clone() }).await?;
        let mut inner = lock(&self.0);
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

fn hash_of(stub: &str) -> Option<&str> {
    stub.strip_prefix(CLIENT_PREFIX)?.strip_suffix(".torrent")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
