//! Files that regrip itself uses and never shares, wherever they are and whatever they are called.
//!
//! They are identified by device and inode, so that another name (a link, a second mount) hides nothing, and looked up anew
//! each time: SQLite makes and removes its log, and an editor puts another file in place of a configuration.

use crate::store::FileVersion;
use regrip_core::store::FileId;
use rustix::fs::stat;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside a database.
const OF_A_DATABASE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The paths of regrip's own files.
#[derive(Debug)]
pub(super) struct OwnFiles(Vec<PathBuf>);

impl OwnFiles {
    /// These files, and what SQLite keeps beside those of them that are databases.
    pub(super) fn new(paths: &[PathBuf]) -> OwnFiles {
        let beside = |path: &Path, suffix: &str| {
            let mut name = OsString::from(path);
            name.push(suffix);
            PathBuf::from(name)
        };
        let of_databases = paths
            .iter()
            .flat_map(|path| OF_A_DATABASE.map(|suffix| beside(path, suffix)));
        OwnFiles(paths.iter().cloned().chain(of_databases).collect())
    }

    /// Which files they are now. A link counts for the file it leads to.
    pub(super) fn ids(&self) -> Vec<FileId> {
        let found = self.0.iter().filter_map(|path| stat(path).ok());
        found.map(|stat| FileVersion::from(&stat).id).collect()
    }
}
