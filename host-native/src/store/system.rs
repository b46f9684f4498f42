//! The few system calls whose failures no test can provoke on an ordinary file system, behind a table of functions.

use super::failure::errno;
use super::room;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A call that gives a file another name.
type Naming = fn(&Path, &Path) -> io::Result<()>;

/// What the store asks of the system for durability and names.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    /// rename(2): replaces a file at the new name, atomically.
    pub(super) rename: Naming,
    /// renameat2(2) with `RENAME_NOREPLACE`: `EEXIST` where the new name is taken.
    pub(super) rename_new: Naming,
    /// link(2): a second name; `EEXIST` where it is taken.
    pub(super) link: Naming,
    /// flock(2), exclusive, without waiting.
    pub(super) try_lock: fn(&File) -> Result<(), TryLockError>,
    /// fallocate(2): room for this many bytes, the length unchanged.
    pub(super) reserve: fn(&File, u64) -> io::Result<()>,
    /// fdatasync(2): bytes and length, not times.
    pub(super) sync_data: fn(&File) -> io::Result<()>,
    /// fsync(2) of a folder: its names.
    pub(super) sync_names: fn(&File) -> io::Result<()>,
}

impl Default for System {
    fn default() -> Self {
        System {
            rename: |from, to| std::fs::rename(from, to),
            rename_new,
            link: |from, to| std::fs::hard_link(from, to),
            try_lock: File::try_lock,
            reserve: room::reserve,
            sync_data: |file| where_supported(file.sync_data()),
            sync_names: |folder| where_supported(folder.sync_all()),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(Errno::NOSYS.into())
}

/// The call, or the file system, does not know what was asked for.
pub(super) fn unsupported(error: &io::Error) -> bool {
    matches!(
        errno(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
    )
}

/// The file system has no flock. (Over NFS, ENOLCK says so.)
pub(super) fn no_flock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            errno(error),
            Some(Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP)
        )
}

/// The file system has no hard links, or not as many.
pub(super) fn has_no_links(error: &io::Error) -> bool {
    unsupported(error) || matches!(errno(error), Some(Errno::PERM | Errno::MLINK))
}

/// A file system that cannot sync is used as it is: there is nothing better to be had from it.
fn where_supported(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if unsupported(&error) => Ok(()),
        other => other,
    }
}

/// The folder a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
