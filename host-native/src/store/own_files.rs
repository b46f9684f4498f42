//! Files of regrip's own: the ledger, locks, the configuration, keys, the log.
//!
//! Invariant: no download is written to one of them and none is shared, whatever it is called and whatever way leads there:
//! another spelling of the folder, a link, another case of the name, a second name of the same file. They are looked up anew
//! each time: SQLite makes and removes its log, an editor puts another file in place of a configuration, and a reload names
//! other key files.

use super::path::folder_of;
use super::version::FileId;
use crate::sync::{read, write};
use regrip_core::Error;
use rustix::fs::fstat;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, RwLock};

/// What is beside a SQLite database while it is open.
const BESIDE_DATABASE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The list of them. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct OwnFiles(Arc<RwLock<Vec<PathBuf>>>);

impl OwnFiles {
    /// Adds a file; it need not exist.
    pub fn add(&self, file: &Path) {
        let mut files = write(&self.0);
        if !files.iter().any(|known| known == file) {
            files.push(file.to_owned());
        }
    }

    /// Adds a database and what SQLite keeps beside it.
    pub fn add_database(&self, file: &Path) {
        for ending in BESIDE_DATABASE {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            self.add(Path::new(&name));
        }
    }

    /// Refuses a path that is one of them.
    ///
    /// # Errors
    /// `DestinationRefused`.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        match self.has(path) {
            true => Err(Error::DestinationRefused {
                path: path.display().to_string(),
                what: "a file of regrip itself",
            }),
            false => Ok(()),
        }
    }

    /// Which files they are now. A link counts for the file it leads to.
    pub(crate) fn ids(&self) -> Vec<FileId> {
        let files = read(&self.0);
        let files = files.iter().filter_map(|file| id(file));
        files.chain(outputs().into_iter().flatten()).collect()
    }

    fn has(&self, path: &Path) -> bool {
        let (folder, there) = (id(folder_of(path)), id(path));
        if there.is_some() && outputs().contains(&there) {
            return true;
        }
        read(&self.0).iter().any(|own| {
            let is_named_so = is_same_name(own, path)
                && match folder {
                    Some(_) => id(folder_of(own)) == folder,
                    None => is_same_folder(folder_of(own), folder_of(path)),
                };
            is_named_so || (there.is_some() && id(own) == there)
        })
    }
}

/// Where standard output and standard error go: a log, perhaps.
fn outputs() -> [Option<FileId>; 2] {
    let id = |stat: rustix::io::Result<rustix::fs::Stat>| {
        let stat = stat.ok()?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
        is_file.then_some(FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        })
    };
    [id(fstat(std::io::stdout())), id(fstat(std::io::stderr()))]
}

/// Some file systems do not tell the cases of a letter apart.
fn is_same_name(one: &Path, other: &Path) -> bool {
    let folded = |path: &Path| {
        path.file_name()
            .map(OsStr::to_string_lossy)
            .map(|name| name.to_lowercase())
    };
    folded(one) == folded(other)
}

/// Of what is there, links followed.
fn id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path)
        .ok()
        .map(|there| FileId::from(&there))
}

/// Returns `true` if two paths lead to one folder, or will once they exist.
pub fn is_same_folder(one: &Path, other: &Path) -> bool {
    match (id(one), id(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => resolved(one) == resolved(other),
        _ => false,
    }
}

/// The path with links and `..` resolved as far as it exists, and by its text beyond that.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_of_ours_is_refused_by_every_way_that_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("data/inner")).unwrap();
        std::fs::write(at("data/state.db"), "rows").unwrap();
        symlink(at("data"), at("linked")).unwrap();
        std::fs::write(at("real.jsonc"), "{}").unwrap();
        symlink(at("real.jsonc"), at("config.jsonc")).unwrap();
        std::fs::hard_link(at("data/state.db"), at("second name.mkv")).unwrap();
        let own = OwnFiles::default();
        own.add_database(&at("data/state.db"));
        own.add(&at("config.jsonc"));
        for path in [
            "data/state.db",
            "data/state.db-wal",
            "data/STATE.db-SHM",
            "data/state.db-journal",
            "data/inner/../state.db",
            "linked/state.db",
            "config.jsonc",
            "real.jsonc",
            "Config.JSONC",
            "second name.mkv",
        ] {
            let refused = own.check(&at(path)).unwrap_err();
            assert_eq!(refused.code().as_str(), "DestinationRefused", "{path}");
        }
        for path in ["data/film.mkv", "state.db", "data/state.db.mkv", "none/x"] {
            own.check(&at(path)).unwrap();
        }
    }

    #[test]
    fn folders_are_compared_by_where_they_lead_also_before_they_exist() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        symlink(at("a"), at("link")).unwrap();
        let table = [
            ("a", "link", true),
            ("a", "a/b/..", true),
            ("a/new", "link/b/../new", true),
            ("a/new", "a/new/./", true),
            ("a", "a/b", false),
            ("a/new", "a/newer", false),
            ("a", "a/new", false),
        ];
        for (one, other, same) in table {
            assert_eq!(is_same_folder(&at(one), &at(other)), same, "{one} {other}");
        }
    }
}
