//! The folder that files go to, and whether it can be used now.
//!
//! Invariant: it is never made. A folder that is missing may be a disk that is not mounted, and what is written in its
//! place would be found by nobody.

use crate::control::Troubles;
use rustix::fs::{Access, access};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked at while it cannot be used.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What it is called among the troubles.
const TROUBLE: &str = "completed folder";

/// Room that is left to others.
const SPARE_BYTES: u64 = 1 << 20;

/// The completed folder.
pub(super) struct CompletedFolder {
    path: PathBuf,
    troubles: Troubles,
    /// A disk was mounted there when the server began.
    mounted: bool,
}

impl CompletedFolder {
    pub(super) fn new(path: &Path, troubles: Troubles) -> CompletedFolder {
        CompletedFolder {
            mounted: is_mount_point(path) == Some(true),
            path: path.to_owned(),
            troubles,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files can go there; what keeps them from it is noted among the troubles.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.flaw() {
            None => {
                self.troubles.over(TROUBLE);
                Ok(())
            }
            Some(flaw) => {
                let told = format!("the completed folder {} {flaw}", self.path.display());
                self.troubles.note(TROUBLE, &told);
                Err(told)
            }
        }
    }

    /// Waits until files can go there.
    pub(super) async fn usable(&self) {
        while self.check().is_err() {
            smol::Timer::after(LOOK_EVERY).await;
        }
    }

    /// Returns `true` if there is room for this many more bytes, or if the system does not say.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.path) else {
            return true;
        };
        disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes.saturating_add(SPARE_BYTES)
    }

    fn flaw(&self) -> Option<String> {
        match std::fs::metadata(&self.path) {
            Err(error) => Some(format!("cannot be used: {error}; make or mount it")),
            Ok(metadata) if !metadata.is_dir() => Some("is not a folder".to_owned()),
            Ok(_) if self.mounted && is_mount_point(&self.path) == Some(false) => {
                Some("is no disk of its own any more: mount it again".to_owned())
            }
            Ok(_) => access(&self.path, Access::WRITE_OK | Access::EXEC_OK)
                .err()
                .map(|error| format!("cannot be written to: {error}")),
        }
    }
}

/// Whether another file system begins there; `None` where that cannot be told.
fn is_mount_point(path: &Path) -> Option<bool> {
    let here = std::fs::metadata(path).ok()?;
    let above = std::fs::metadata(path.join("..")).ok()?;
    Some(here.dev() != above.dev())
}
