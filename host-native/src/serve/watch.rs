//! The watch folder: which stubs are new, and when they are complete.
//!
//! The system reports changes (inotify and its like), and the folder is scanned every ten seconds besides, since network
//! folders report nothing. It has a thread of its own: a folder that hangs stops nothing else.
//!
//! Invariants: the watcher is registered before the first scan, so that nothing is missed in between. A stub is taken once
//! its size, time and file have stayed the same for a moment; one that was taken too early is not valid bencode, and is
//! read again after it changed. Any other file is skipped and logged once, until it changes; an unreadable file is logged
//! once and read again at every scan.

use super::claims::Claims;
use super::stub_folder::{NotTaken, StubFolder, is_stubs_name};
use crate::control::Troubles;
use crate::store::FileVersion;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use regrip_core::Stub;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often the folder is scanned if no change is reported.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a stub must stay as it is.
const SETTLED: Duration = Duration::from_millis(500);

/// The shortest pause between two scans, and how many times as long as the last one took.
const REST: Duration = Duration::from_millis(100);
const REST_OF_LOOK: u32 = 4;

/// Skipped files that are logged one by one, in one scan.
const LOGGED_ONE_BY_ONE: usize = 20;

/// What the watch folder is watched for.
pub(super) trait Taker: Send + Sync {
    /// Takes a stub, or says why not.
    fn take(self: Arc<Self>, name: &str, stub: Stub) -> Taken;
    /// Returns `true` if there is a stub of that name.
    fn has(&self, name: &str) -> bool;
    /// The stubs that are worked on.
    fn claims(&self) -> &Claims;
    /// What is wrong, for whoever wants to see it.
    fn troubles(&self) -> &Troubles;
}

/// The result of offering a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is worked on.
    Claimed,
    /// There is no room for it now.
    Later,
    /// No peer of that id is configured.
    UnknownPeer,
}

/// Tells the watching thread.
#[derive(Debug)]
pub(super) struct Watch {
    wake: SyncSender<()>,
    reconsider: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch. The thread ends when nobody takes any more.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start<T: Taker + 'static>(stubs: StubFolder, taker: &Arc<T>) -> io::Result<Watch> {
        let (wake, woken) = sync_channel(1);
        let reconsider = Arc::new(AtomicBool::new(false));
        let watching = Watching {
            stubs,
            taker: Arc::downgrade(taker),
            wake: wake.clone(),
            watcher: None,
            stale: Arc::default(),
            reconsider: Arc::clone(&reconsider),
            hasher: RandomState::new(),
            seen: SeenFiles::default(),
        };
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || watching.run(&woken))?;
        Ok(Watch { wake, reconsider })
    }

    /// Looks at the folder soon: room was made, or a stub was let go.
    pub(super) fn look_soon(&self) {
        // One pending signal is enough.
        let _ = self.wake.try_send(());
    }

    /// Looks again also at stubs whose peer was not known.
    pub(super) fn reconsider(&self) {
        self.reconsider.store(true, Ordering::Release);
        self.look_soon();
    }
}

/// The results of earlier scans, forgotten when the file disappears. Hashes keep it small if thousands of foreign files
/// are in the folder.
#[derive(Debug, Default)]
struct SeenFiles {
    /// Stubs that may still be written to, and since when they are as they are.
    young: HashMap<String, (FileVersion, Instant)>,
    /// What is file skipped, by the hash of its name: the hash of its stamp.
    left: HashMap<u64, u64>,
    /// The same for stubs of peers that are not configured.
    strangers: HashMap<u64, u64>,
    /// The same for files that could not be read. They are tried again: what permits it may be no part of the file.
    unreadable: HashMap<u64, u64>,
}

/// The result of one scan.
#[derive(Debug, Default)]
struct Pass {
    /// Some stubs were too young.
    young: bool,
    seen: SeenFiles,
    skipped: usize,
}

struct Watching<T> {
    stubs: StubFolder,
    taker: Weak<T>,
    wake: SyncSender<()>,
    /// The watcher, and the folder it watches: one that was made anew needs a new one.
    watcher: Option<(RecommendedWatcher, (u64, u64))>,
    /// Something happened to the folder itself: a new one may even have its inode.
    stale: Arc<AtomicBool>,
    reconsider: Arc<AtomicBool>,
    hasher: RandomState,
    seen: SeenFiles,
}

impl<T: Taker> Watching<T> {
    fn run(mut self, woken: &Receiver<()>) {
        while let Some(taker) = self.taker.upgrade() {
            let began = Instant::now();
            self.keep_watching(&taker);
            let young = self.look(&taker);
            drop(taker);
            let rest = REST.max(began.elapsed().saturating_mul(REST_OF_LOOK));
            let next = if young { SETTLED } else { LOOK_EVERY };
            std::thread::sleep(rest);
            if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(next) {
                return;
            }
        }
    }

    /// Registers the watcher if there is none, or if the folder is another one than before.
    fn keep_watching(&mut self, taker: &Arc<T>) {
        let Ok(metadata) = std::fs::metadata(self.stubs.path()) else {
            // The look says so.
            self.watcher = None;
            return;
        };
        let folder = (metadata.dev(), metadata.ino());
        let stale = self.stale.swap(false, Ordering::AcqRel);
        if !stale && self.watcher.as_ref().is_some_and(|(_, of)| *of == folder) {
            return;
        }
        self.watcher = None;
        let (wake, stale) = (self.wake.clone(), Arc::clone(&self.stale));
        match watcher(self.stubs.path(), wake, stale) {
            Ok(watcher) => {
                self.watcher = Some((watcher, folder));
                taker.troubles().over("watch events");
            }
            Err(error) => taker.troubles().note(
                "watch events",
                &format!(
                    "no change notifications for {}, scanning every {} s instead: {error}",
                    self.stubs.path().display(),
                    LOOK_EVERY.as_secs()
                ),
            ),
        }
    }

    /// Scans the folder once. Returns `true` if some stubs are too young to be taken.
    fn look(&mut self, taker: &Arc<T>) -> bool {
        if self.reconsider.swap(false, Ordering::AcqRel) {
            self.seen.strangers.clear();
        }
        match self.look_through(taker) {
            Ok(look) => {
                taker.troubles().over("watch folder");
                if look.skipped > LOGGED_ONE_BY_ONE {
                    let more = look.skipped - LOGGED_ONE_BY_ONE;
                    tracing::warn!(more, "more files skipped: not usable as stubs");
                }
                self.seen = look.seen;
                look.young
            }
            Err(error) => {
                let folder = self.stubs.path().display();
                let trouble = format!("the watch folder {folder} cannot be read: {error}");
                taker.troubles().note("watch folder", &trouble);
                false
            }
        }
    }

    fn look_through(&mut self, taker: &Arc<T>) -> io::Result<Pass> {
        let mut look = Pass::default();
        let mut claimed = HashMap::new();
        for entry in std::fs::read_dir(self.stubs.path())? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_stubs_name(name.as_encoded_bytes()) {
                continue;
            }
            if let Some(name) = name.to_str()
                && taker.claims().has(name)
            {
                claimed.insert(name.to_owned(), ());
                continue;
            }
            // One that is gone by now is looked at no more.
            if let Ok(metadata) = entry.metadata() {
                self.consider(taker, &name, FileVersion::from(&metadata), &mut look);
            }
        }
        taker.claims().keep_only(|name| claimed.contains_key(name) || taker.has(name));
        Ok(look)
    }

    fn consider(&mut self, taker: &Arc<T>, name: &std::ffi::OsStr, stamp: FileVersion, look: &mut Pass) {
        let (key, now) = (self.hasher.hash_one(name), self.hasher.hash_one(stamp));
        if self.seen.left.get(&key) == Some(&now) {
            look.seen.left.insert(key, now);
            return;
        }
        if self.seen.strangers.get(&key) == Some(&now) {
            look.seen.strangers.insert(key, now);
            return;
        }
        let Some(name) = name.to_str() else {
            look.seen.left.insert(key, now);
            log_skipped(look, &name.to_string_lossy(), "its name is not UTF-8");
            return;
        };
        let since = match self.seen.young.get(name) {
            Some((before, since)) if *before == stamp => *since,
            _ => Instant::now(),
        };
        if since.elapsed() < SETTLED {
            look.young = true;
            look.seen.young.insert(name.to_owned(), (stamp, since));
            return;
        }
        match self.stubs.read(name) {
            Ok(stub) => {
                let peer = stub.peer.clone();
                match Arc::clone(taker).take(name, stub) {
                    Taken::Claimed => {}
                    Taken::Later => {
                        look.seen.young.insert(name.to_owned(), (stamp, since));
                    }
                    Taken::UnknownPeer => {
                        look.seen.strangers.insert(key, now);
                        log_skipped(look, name, &format!("no peer {peer} is configured"));
                    }
                }
            }
            Err(NotTaken::Vanished) => {}
            Err(refused @ NotTaken::NoStub(_)) => {
                look.seen.left.insert(key, now);
                log_skipped(look, name, &refused.to_string());
            }
            Err(refused @ NotTaken::Unreadable(_)) => {
                if self.seen.unreadable.get(&key) != Some(&now) {
                    log_skipped(look, name, &refused.to_string());
                }
                look.seen.unreadable.insert(key, now);
                look.seen.young.insert(name.to_owned(), (stamp, since));
            }
        }
    }
}

fn log_skipped(look: &mut Pass, name: &str, why: &str) {
    look.skipped += 1;
    if look.skipped <= LOGGED_ONE_BY_ONE {
        tracing::warn!(stub = ?name, why, "file skipped");
    }
}

fn watcher(folder: &Path, wake: SyncSender<()>, stale: Arc<AtomicBool>) -> notify::Result<RecommendedWatcher> {
    let itself = folder.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if let Ok(event) = &event {
            if !matters(event.kind) {
                return;
            }
            if event.paths.contains(&itself) && !event.kind.is_access() {
                stale.store(true, Ordering::Release);
            }
        }
        let _ = wake.try_send(());
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// The system reports our own reading too.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
