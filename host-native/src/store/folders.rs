//! Syncing the names in a folder, once for all who wait for it.
//!
//! A sync makes durable every name that was given before it began. So while one is under way the others only queue, and
//! the next one serves them all.
//!
//! Invariant: a call returns success only after a sync that began after the call did. One that failed is told to
//! everybody it was to serve: the kernel reports a lost write once, so a second sync would prove nothing.

use super::system::{System, folder_of};
use async_lock::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// The folders in use.
#[derive(Debug, Default)]
pub(super) struct Folders(std::sync::Mutex<HashMap<PathBuf, Arc<Folder>>>);

/// One folder.
#[derive(Debug, Default)]
struct Folder {
    /// Calls so far, each with its number, from 1.
    calls: AtomicU64,
    /// Held by whoever syncs, and waited for by the others.
    served: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    /// The last call that was served.
    to: u64,
    /// Calls whose sync failed, and how. It grows from the first to the last of them, so that one that waits through a
    /// second failure still learns of its own; a call in between that was well served may hear of one too many.
    failed: Option<(RangeInclusive<u64>, Failed)>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        failed
            .errno
            .map_or_else(|| failed.kind.into(), io::Error::from_raw_os_error)
    }
}

impl Folders {
    /// Makes the names in the folder of `path` durable.
    pub(super) async fn sync_folder_of(&self, path: &Path, system: &System) -> io::Result<()> {
        let path = folder_of(path);
        self.folder(path).sync(path, system).await
    }

    fn folder(&self, path: &Path) -> Arc<Folder> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders.get(path) {
            return Arc::clone(folder);
        }
        // Those nobody syncs now have nothing to remember.
        folders.retain(|_, folder| Arc::strong_count(folder) > 1);
        Arc::clone(folders.entry(path.to_owned()).or_default())
    }
}

impl Folder {
    async fn sync(&self, path: &Path, system: &System) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut served = self.served.lock().await;
        if served.to >= call {
            return match &served.failed {
                Some((calls, failed)) if calls.contains(&call) => Err((*failed).into()),
                _ => Ok(()),
            };
        }
        // Whoever has its number by now gave its names before.
        let to = self.calls.load(Ordering::SeqCst);
        let synced = File::open(path).and_then(|folder| (system.sync_names)(&folder));
        if let Err(error) = &synced {
            let failed = Failed {
                kind: error.kind(),
                errno: error.raw_os_error(),
            };
            let earlier = served.failed.as_ref().map(|(calls, _)| *calls.start());
            let first = earlier.unwrap_or(served.to + 1);
            served.failed = Some((first..=to, failed));
        }
        served.to = to;
        synced
    }
}
