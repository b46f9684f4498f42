//! The folders of a server: the data folder with the ledger, and the folder of completed files.
//!
//! Invariants: whoever holds a [`DataFolder`] has the folder to itself; the lock is a flock, so it ends with its process, and a
//! lock file that is left behind means nothing. The completed folder is never created: a missing one may be a disk that is not
//! mounted, and files written in its place would be lost.

use crate::control::{COMPLETED_FOLDER, Troubles};
use crate::store::{FileStore, is_object, writer};
use crate::sync::lock;
use regrip_core::error::chain;
use rustix::fs::{Access, OFlags, access};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// What is locked.
const LOCK: &str = "regrip.lock";

/// Longest process id that is read from the lock.
const LONGEST_PID: u64 = 20;

/// A data folder that this process has to itself. Dropping it lets the next server in.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataFolderRefused {
    /// Another server has it.
    #[error("the data folder {path} is in use by another `regrip serve`{}", holder(*.pid), path = .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process, if known.
        pid: Option<u32>,
    },
    /// It cannot be made or written to.
    #[error("the data folder {path} cannot be used", path = .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl DataFolder {
    /// Makes the folder (mode 0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// [`DataFolderRefused`]; if another server has the folder, nothing in it was changed.
    pub fn lock(path: &Path) -> Result<DataFolder, DataFolderRefused> {
        let unusable = |source| DataFolderRefused::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderRefused::InUse { path: path.to_owned(), pid: written(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // For whoever is refused; the lock holds without it, also on a full disk.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(DataFolder { path: path.to_owned(), _lock: lock })
    }

    /// If it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is locked.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join(LOCK)
    }

    /// Where the stubs of the download client are.
    pub fn client(&self) -> PathBuf {
        self.path.join("client")
    }

    /// Where the ledger is.
    pub fn ledger(&self) -> PathBuf {
        ledger_in(&self.path)
    }
}

/// Where the ledger is in a data folder.
pub fn ledger_in(folder: &Path) -> PathBuf {
    folder.join("state.db")
}

/// The process id of the server that has a data folder now, if the system knows. Does not lock: a server that is about to
/// lock the folder is not disturbed.
pub fn serving(folder: &Path) -> Option<u32> {
    writer(&folder.join(LOCK))
}

fn written(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(LONGEST_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// How often it is looked at while it cannot be used.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest pause between two looks at storage that is down.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Room that is left to others.
const SPARE_BYTES: u64 = 1 << 20;

/// The completed folder.
pub(super) struct CompletedFolder {
    path: PathBuf,
    troubles: Troubles,
    store: FileStore,
    /// A disk was mounted there when the server began.
    mounted: bool,
    /// Why its storage is down, until it answers again.
    down: Mutex<Option<String>>,
}

impl CompletedFolder {
    pub(super) fn new(path: &Path, store: FileStore, troubles: Troubles) -> CompletedFolder {
        let mounted = is_mount_point(path) == Some(true);
        CompletedFolder { mounted, path: path.to_owned(), store, troubles, down: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns `true` if files can be written there; the reason why not is added to the troubles.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.flaw() {
            None => {
                self.troubles.over(COMPLETED_FOLDER);
                Ok(())
            }
            Some(flaw) => {
                let trouble = format!("the completed folder {} {flaw}", self.path.display());
                self.troubles.note(COMPLETED_FOLDER, &trouble);
                Err(trouble)
            }
        }
    }

    /// Notes that its storage is down. Until it answers again nothing is [usable](Self::usable).
    pub(super) fn went_down(&self, why: &str) {
        *lock(&self.down) = Some(why.to_owned());
        let _ = self.check(); // which says so
    }

    /// Waits until files can go there.
    pub(super) async fn usable(&self) {
        let mut pause = LOOK_EVERY;
        while self.check().is_err() {
            smol::Timer::after(pause).await;
            if lock(&self.down).is_some() {
                match self.store.probe(&self.path).await {
                    Ok(()) => *lock(&self.down) = None,
                    Err(error) => self.went_down(&chain(&error)),
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Returns `true` if `bytes` more fit on the disk, or if the system does not say.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.path) else {
            return true;
        };
        disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes.saturating_add(SPARE_BYTES)
    }

    fn flaw(&self) -> Option<String> {
        if let Some(why) = &*lock(&self.down) {
            return Some(format!("does not answer, and nothing is claimed until it does: {why}"));
        }
        match std::fs::metadata(&self.path) {
            _ if is_object(&self.path) => None, // each download says what is wrong
            Err(error) => Some(format!("cannot be used: {error}; make or mount it")),
            Ok(metadata) if !metadata.is_dir() => Some("is not a folder".to_owned()),
            Ok(_) if self.mounted && is_mount_point(&self.path) == Some(false) => {
                Some("is no longer a mount point: mount it again".to_owned())
            }
            Ok(_) => access(&self.path, Access::WRITE_OK | Access::EXEC_OK)
                .err()
                .map(|error| format!("cannot be written to: {error}")),
        }
    }
}

/// Returns `true` if another file system begins there; `None` if that is unknown.
fn is_mount_point(path: &Path) -> Option<bool> {
    let here = std::fs::metadata(path).ok()?;
    let above = std::fs::metadata(path.join("..")).ok()?;
    Some(here.dev() != above.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_the_other_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert_eq!(serving(&path), None);
        let held = DataFolder::lock(&path).unwrap();
        assert_eq!(serving(&path), Some(std::process::id()));
        let refused = DataFolder::lock(&path).unwrap_err().to_string();
        assert!(refused.contains(&path.display().to_string()), "{refused}");
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        assert_eq!(serving(&path), None);
        DataFolder::lock(&path).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "precious").unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join(LOCK)).unwrap();
        assert!(DataFolder::lock(&data).is_err());
        assert_eq!(std::fs::read(elsewhere).unwrap(), b"precious");
    }
}
