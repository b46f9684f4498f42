//! A share that runs: threads keep what was found and its digests up to date.

use super::digests::{self, Digests};
use super::routes::ROUTES;
use super::shelf::{Census, FolderError, Shelf};
use crate::ledger::SharedDigests;
use crate::server::{Guard, Router};
use crate::store::OwnFiles;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

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
    pub fn start(
        options: &ShareOptions,
        ledger: impl SharedDigests + 'static,
    ) -> Result<Share, ShareError> {
        let folders: Result<Vec<_>, _> =
            options.folders.iter().map(|folder| whole(folder)).collect();
        let own = options.own_files.clone();
        let (ask, asked) = sync_channel(1);
        let (again, to_hash_again) = sync_channel(HASHED_AGAIN);
        let digests = Digests::new(Box::new(ledger), again);
        let shelf = Shelf::new(folders?, own, options.scan_when_asked_after, digests, ask)?;
        let mut share = Share {
            shelf: Arc::new(shelf),
            threads: Vec::new(),
        };
        let (changed, changes) = sync_channel(1);
        let every = options.scan_every;
        share.spawn("share scan", move |shelf| {
            keep_looking(shelf, every, &asked, &changed)
        })?;
        share.spawn("share digests", move |shelf| keep_hashing(shelf, &changes))?;
        share.spawn("share re-hash", move |shelf| {
            digests::hash_again(shelf, &to_hash_again)
        })?;
        Ok(share)
    }

    /// What the last look through the folders came to.
    pub fn census(&self) -> Census {
        self.shelf.census()
    }

    /// Has the folders looked through soon.
    pub fn look_again(&self) {
        self.shelf.ask_now();
    }

    /// The peer wire's routes, for whom `guard` lets in.
    pub fn router<G: Guard + 'static>(&self, guard: G) -> Router<impl Send + Sync + use<G>> {
        Router::new(Arc::clone(&self.shelf), ROUTES, Arc::new(guard))
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(&Shelf) + Send + 'static,
    ) -> Result<(), ShareError> {
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
        self.shelf.stop.tell();
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
        Err(source) => Err(FolderError {
            folder: folder.to_owned(),
            source,
        }),
    }
}

fn keep_looking(shelf: &Shelf, every: Duration, asked: &Receiver<()>, changed: &SyncSender<()>) {
    // The first look was the start's.
    let _ = changed.try_send(());
    while let Ok(()) | Err(RecvTimeoutError::Timeout) = asked.recv_timeout(every) {
        if shelf.stop.was_told() {
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
