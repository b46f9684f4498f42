//! What shows that a finished file was not changed since: its size and time.

use super::failure::disk;
use regrip_core::Error;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Size and time of a file. Two that are equal are taken for the same unchanged file, as make and rsync do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Length in bytes.
    pub size: u64,
    /// Last change of its bytes, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl FileStamp {
    /// The stamp of the regular file at `path`, links not followed; `None` where there is none.
    ///
    /// # Errors
    /// `Disk` where the folder cannot be read.
    pub fn of(path: &Path) -> Result<Option<FileStamp>, Error> {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(disk("look at", path, error)),
        };
        Ok(metadata.is_file().then(|| FileStamp::from(&metadata)))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        let seconds = metadata.mtime().saturating_mul(1_000_000_000);
        FileStamp {
            size: metadata.len(),
            mtime_ns: seconds.saturating_add(metadata.mtime_nsec()),
        }
    }
}

/// Nothing has that name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
