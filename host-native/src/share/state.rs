//! A running share: the folders, what was found in them, the digests, and the threads that keep both up to date.

use super::digests::{self, Digests};
use super::inventory::{Inventory, Item};
use super::library::LibraryFile;
use super::routes::ROUTES;
use super::tree;
use crate::ledger::SharedDigests;
use crate::server::{Guard, Router};
use crate::store::{FileId, FileVersion, OwnFiles};
use crate::sync::{lock, read, write};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A folder cannot be shared.
#[derive(Debug, thiserror::Error)]
#[error("cannot share {folder}", folder = .folder.display())]
pub struct FolderError {
    /// The folder.
    pub folder: PathBuf,
    /// The error of the system.
    pub source: io::Error,
}

/// The result of a scan of the folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Files shared.
    pub files: usize,
    /// Their bytes in all.
    pub bytes: u64,
    /// Files left out because no peer would take their names.
    pub refused_names: usize,
    /// Files left out because another folder has one at the same path.
    pub shadowed: usize,
    /// Folders that could not be read.
    pub unreadable: usize,
    /// There was more than is looked at.
    pub cut_short: bool,
}

/// The shared state of a share.
#[derive(Debug)]
pub(super) struct Shelf {
    folders: Vec<Arc<Path>>,
    own: OwnFiles,
    pub(super) digests: Digests,
    pub(super) stop: Stop,
    found: RwLock<Snapshot>,
    scan_when_asked_after: Duration,
    ask: SyncSender<()>,
    /// What servers have files for, by the server's name.
    libraries: Mutex<BTreeMap<String, Vec<Arc<LibraryFile>>>>,
    /// A peer has asked since it was last looked at.
    is_asked: AtomicBool,
}

/// What was found, and when.
#[derive(Debug)]
pub(super) struct Snapshot {
    inventory: Arc<Inventory>,
    census: Census,
    at: Instant,
}

impl Shelf {
    /// Looks through the folders for the first time. `ask` is how handlers have it done again.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn new(
        folders: Vec<Arc<Path>>,
        own: OwnFiles,
        scan_when_asked_after: Duration,
        digests: Digests,
        ask: SyncSender<()>,
    ) -> Result<Shelf, FolderError> {
        let unread = |folder: &Path, source| Err(FolderError { folder: folder.to_owned(), source });
        let found = look(&folders, &own, &[], &Inventory::default(), unread)?;
        Ok(Shelf {
            folders,
            own,
            digests,
            stop: Stop::default(),
            found: RwLock::new(found),
            scan_when_asked_after,
            ask,
            libraries: Mutex::default(),
            is_asked: AtomicBool::new(false),
        })
    }

    /// What is shared now.
    pub(super) fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&read(&self.found).inventory)
    }

    /// The result of the last scan.
    pub(super) fn census(&self) -> Census {
        read(&self.found).census
    }

    /// Looks through the folders again. Of one that cannot be read, a network folder that is away, everything stays: its
    /// files are then unavailable, which passes, and not gone, which ends a peer's download.
    pub(super) fn look_again(&self) {
        let before = self.inventory();
        let kept = |folder: &Path, _| {
            let of_it = before.items().iter().filter(|item| *item.root == *folder);
            Ok::<_, std::convert::Infallible>(of_it.cloned().collect())
        };
        let files: Vec<_> = lock(&self.libraries).values().flatten().cloned().collect();
        let Ok(found) = look(&self.folders, &self.own, &files, &before, kept);
        let inventory = Arc::clone(&found.inventory);
        *write(&self.found) = found;
        self.digests.retain(|id| inventory.item(id).is_some());
    }

    /// Opens the file of an item, and says which version it is.
    ///
    /// # Errors
    /// It is gone, unfinished or not to be shared (`NOENT` and its like), or cannot be read now.
    pub(super) fn open(&self, item: &Item) -> Result<(File, FileVersion), Errno> {
        let file = tree::open_file(&item.root, &item.path)?;
        let version =
            FileVersion::of_open_now(&file).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        match self.own.ids().contains(&version.id) {
            true => Err(Errno::NOENT),
            false => Ok((file, version)),
        }
    }

    /// A peer asks for what may be new: has the folders looked through, unless that was done just now.
    pub(super) fn may_be_behind(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        if read(&self.found).at.elapsed() >= self.scan_when_asked_after {
            self.ask_now();
        }
    }

    /// Wakes the thread that looks, to look or to end.
    pub(super) fn ask_now(&self) {
        // One pending signal is enough.
        let _ = self.ask.try_send(());
    }
}

/// Looks through the folders and at the files of libraries; `unread` says what counts for a folder that cannot be read.
fn look<E>(
    folders: &[Arc<Path>],
    own: &OwnFiles,
    files: &[Arc<LibraryFile>],
    before: &Inventory,
    unread: impl Fn(&Path, io::Error) -> Result<Vec<Arc<Item>>, E>,
) -> Result<Snapshot, E> {
    let mut census = Census::default();
    let mut items = Vec::new();
    let own = own.ids();
    for folder in folders {
        let scan = match tree::scan(folder, &own) {
            Ok(scan) => scan,
            Err(error) => {
                census.unreadable += 1;
                items.extend(unread(folder, error.into())?);
                continue;
            }
        };
        census.refused_names += scan.refused;
        census.unreadable += scan.unreadable;
        census.cut_short |= scan.cut_short;
        items.extend(scan.found.into_iter().map(|found| Arc::new(Item::new(folder, found))));
    }
    items.extend(files.iter().filter_map(|file| look_at(file, &own, before)));
    let inventory = Inventory::new(items);
    census.files = inventory.items().len();
    census.bytes = inventory.bytes();
    census.shadowed = inventory.shadowed;
    Ok(Snapshot { inventory: Arc::new(inventory), census, at: Instant::now() })
}

/// A file of a library as it is now; `None` if it is gone, empty or not to be shared. While its folder is away, it is as it was.
fn look_at(file: &Arc<LibraryFile>, own: &[FileId], before: &Inventory) -> Option<Arc<Item>> {
    let version = tree::open_file(&file.root, &file.path).ok().and_then(|open| FileVersion::of_open_now(&open).ok());
    match version {
        Some(version) if version.size == 0 || own.contains(&version.id) => None,
        Some(version) => Some(Arc::new(Item::of_library(file, version))),
        None if !tree::is_there(&file.root) => before.item(&file.id).cloned(),
        None => None,
    }
}

/// The signal to stop, and waits that it ends.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        *lock(&self.stopped)
    }

    /// Waits; returns `false` as soon as the threads are to stop.
    pub(super) fn rest(&self, wait: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let rested = self.changed.wait_timeout_while(stopped, wait, |stopped| !*stopped);
        let (stopped, _) = rested.unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

/// Most files that wait to be hashed again because peers ask for them.
const HASHED_AGAIN: usize = 64;

/// What to share and how.
#[derive(Clone, Debug)]
pub struct ShareOptions {
    /// The folders, each with all that is in it.
    pub folders: Vec<PathBuf>,
    /// Files that are never shared, wherever they are: the ledger, the configuration, key files. One that is added while
    /// the share runs counts at once.
    pub own_files: OwnFiles,
    /// How often they are looked through.
    pub scan_every: Duration,
    /// A search, or a request for an unknown item, has them looked through once the last look is so old.
    pub scan_when_asked_after: Duration,
}

impl ShareOptions {
    /// These folders, at the usual intervals.
    pub fn new(folders: Vec<PathBuf>) -> ShareOptions {
        ShareOptions {
            folders,
            own_files: OwnFiles::default(),
            scan_every: Duration::from_secs(15 * 60),
            scan_when_asked_after: Duration::from_secs(30),
        }
    }
}

/// Why a share cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Folders that are shared. Dropping it ends its threads; a router made from it then answers from what it has.
#[derive(Debug)]
pub struct Share {
    shelf: Arc<Shelf>,
    threads: Vec<JoinHandle<()>>,
}

impl Share {
    /// Looks through the folders, then begins to keep that up to date and to compute digests. Blocks while it looks.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn start(options: &ShareOptions, ledger: impl SharedDigests + 'static) -> Result<Share, ShareError> {
        let folders: Result<Vec<_>, _> = options.folders.iter().map(|folder| whole(folder)).collect();
        let own = options.own_files.clone();
        let (ask, asked) = sync_channel(1);
        let (again, to_hash_again) = sync_channel(HASHED_AGAIN);
        let digests = Digests::new(Box::new(ledger), again);
        let shelf = Shelf::new(folders?, own, options.scan_when_asked_after, digests, ask)?;
        let mut share = Share { shelf: Arc::new(shelf), threads: Vec::new() };
        let (changed, changes) = sync_channel(1);
        let every = options.scan_every;
        share.spawn("share scan", move |shelf| keep_looking(shelf, every, &asked, &changed))?;
        share.spawn("share digests", move |shelf| keep_hashing(shelf, &changes))?;
        share.spawn("share re-hash", move |shelf| digests::hash_again(shelf, &to_hash_again))?;
        Ok(share)
    }

    /// The result of the last scan of the folders.
    pub fn census(&self) -> Census {
        self.shelf.census()
    }

    /// Takes over what a server has files for, in place of what it had.
    pub(crate) fn replace_library(&self, server: &str, files: Vec<LibraryFile>) {
        let files = files.into_iter().map(Arc::new).collect();
        lock(&self.shelf.libraries).insert(server.to_owned(), files);
        self.shelf.ask_now();
    }

    /// Forgets the libraries of other servers than these.
    pub(crate) fn keep_libraries(&self, servers: &[&str]) {
        let mut libraries = lock(&self.shelf.libraries);
        let before = libraries.len();
        libraries.retain(|server, _| servers.contains(&server.as_str()));
        if libraries.len() < before {
            self.shelf.ask_now();
        }
    }

    /// Returns `true` if a peer has asked for what may be new since the last call.
    pub(crate) fn take_asked(&self) -> bool {
        self.shelf.is_asked.swap(false, Ordering::Relaxed)
    }

    /// Has the folders looked through soon.
    pub fn look_again(&self) {
        self.shelf.ask_now();
    }

    /// The peer wire's routes, for whom `guard` lets in.
    pub fn router<G: Guard + 'static>(&self, guard: G) -> Router<impl Send + Sync + use<G>> {
        Router::new(Arc::clone(&self.shelf), ROUTES, Arc::new(guard))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shelf) + Send + 'static) -> Result<(), ShareError> {
        let shelf = Arc::clone(&self.shelf);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&shelf))
            .map_err(ShareError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shelf.stop.stop();
        self.shelf.ask_now();
        self.shelf.digests.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic in it has been printed
        }
    }
}

/// The folder as it is recorded in the ledger.
fn whole(folder: &Path) -> Result<Arc<Path>, FolderError> {
    match std::path::absolute(folder) {
        Ok(whole) => Ok(whole.into()),
        Err(source) => Err(FolderError { folder: folder.to_owned(), source }),
    }
}

fn keep_looking(shelf: &Shelf, every: Duration, asked: &Receiver<()>, changed: &SyncSender<()>) {
    // The first look was the start's.
    let _ = changed.try_send(());
    while let Ok(()) | Err(RecvTimeoutError::Timeout) = asked.recv_timeout(every) {
        if shelf.stop.is_stopped() {
            return;
        }
        shelf.look_again();
        // A pass that waits already will see this look too.
        let _ = changed.try_send(());
    }
}

/// Ends when the other thread does, whose end of the channel is then gone.
fn keep_hashing(shelf: &Shelf, changes: &Receiver<()>) {
    digests::lower_priority();
    while changes.recv().is_ok() {
        digests::pass(shelf);
    }
}
