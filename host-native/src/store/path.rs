//! Paths of files and parts, syncing their folders, and the system calls that tests replace.
//!
//! Names of strangers are checked earlier, by the code that receives them.
//!
//! A sync makes durable every name that was given before it began. While one is under way the others queue, and the next one
//! serves them all. Invariant: a call succeeds only after a sync that began after the call did. A failed sync is reported to
//! all it was to serve: the kernel reports a lost write once, so a second sync would prove nothing.
//!
//! No download is written to one of [`OwnFiles`] (the ledger, locks, the configuration, keys, the log) and none is shared,
//! whatever it is called and whatever way leads there: another spelling of the folder, a link, another case of the name, a
//! second name of the same file. They are looked up anew each time: SQLite makes and removes its log, an editor puts another file in place of a configuration, and a reload names
//! other key files.

use super::disk;
use super::disk::{disk, errno};
use super::version::FileId;
use crate::sync::{lock, read, write};
use async_lock::Mutex;
use futures::channel::oneshot;
use regrip_core::Error;
use rustix::fs::{CWD, fstat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// Longest file name, in bytes (`NAME_MAX`).
pub(crate) const NAME_BYTES: usize = 255;
const SUFFIX: &str = ".part";
const LOCK_SUFFIX: &str = ".lock";
/// Longer "extensions" are not one, and would leave no room.
const EXTENSION_BYTES: usize = 64;

/// The one absolute path of `name` in `dir`: `./`, `..` and links in `dir` are resolved, so that two ways to write one
/// destination give one key.
///
/// # Errors
/// `NameRefused` if `name` is not the name of a file in `dir`; `Disk` if `dir` cannot be resolved or is not UTF-8.
pub fn destination(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    if is_object(dir) {
        return file_in(dir, name);
    }
    let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let folder = here.canonicalize().map_err(|error| disk("find", here, error))?;
    file_in(&folder, name)
}

/// The path of `name` in a folder whose path is absolute and [resolved]. The folder need not exist.
///
/// # Errors
/// As [`destination`].
pub(crate) fn file_in(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let why = match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it names a folder"),
        _ if name.contains('/') => Some("it has a path in it"),
        _ if name.contains('\0') => Some("it has a NUL in it"),
        _ if name.len() > NAME_BYTES => Some("it is longer than 255 bytes"),
        _ => None,
    };
    if let Some(why) = why {
        let name = name.to_owned();
        return Err(Error::NameRefused { name, why });
    }
    // The ledger keeps paths as text.
    if folder.to_str().is_none() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
        return Err(disk("use", folder, source));
    }
    Ok(folder.join(name))
}

/// How the name of an object begins.
const OBJECT: &str = "s3://";

/// Returns `true` if a path is the name of an object in object storage, or of a prefix there: `s3://bucket/key`.
pub fn is_object(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(OBJECT.as_bytes())
}

/// The name of an object, or with `below` that of a prefix, which needs no slash at its end.
///
/// # Errors
/// It is no such name, or this build has no object storage.
#[cfg(feature = "fleet")]
pub(crate) fn checked_object(meant: &Path, below: &str) -> Result<PathBuf, String> {
    let text = meant.to_str().unwrap_or_default();
    let text = if below.is_empty() { text } else { text.trim_end_matches('/') };
    match super::object::ObjectName::parse(&format!("{text}{below}")) {
        Ok(_) => Ok(text.into()),
        Err(why) => Err(format!("{} cannot be used: {why}\n  write s3://bucket/key", meant.display())),
    }
}

#[cfg(not(feature = "fleet"))]
pub(crate) fn checked_object(meant: &Path, _below: &str) -> Result<PathBuf, String> {
    Err(format!(
        "{}: this build of regrip has no object storage\n  the Debian package and the container image have it, and a build with --features fleet",
        meant.display()
    ))
}

/// `<destination>.part`. Where that name would exceed 255 bytes, the SHA-256 of the file's name, its extension and `.part`;
/// the names of objects have no such limit.
pub fn part_path(destination: &Path) -> PathBuf {
    if is_object(destination) {
        let mut part = destination.as_os_str().to_owned();
        part.push(SUFFIX);
        return part.into();
    }
    let name = destination.file_name().unwrap_or_default();
    destination.with_file_name(part_name(name))
}

/// `<part>.lock`. Where that name with two times `.new` would exceed 255 bytes, the SHA-256 of the part's name and `.lock`.
pub(super) fn lock_path(part: &Path) -> PathBuf {
    let mut name = part.file_name().unwrap_or_default().to_owned();
    if name.len() + LOCK_SUFFIX.len() + 2 * ".new".len() > NAME_BYTES {
        name = hex(&Sha256::digest(name.as_bytes())).into();
    }
    name.push(LOCK_SUFFIX);
    part.with_file_name(name)
}

fn part_name(name: &OsStr) -> OsString {
    if name.len() + SUFFIX.len() <= NAME_BYTES {
        return [name, OsStr::new(SUFFIX)].into_iter().collect();
    }
    let mut short = OsString::from(hex(&Sha256::digest(name.as_bytes())));
    let extension = Path::new(name).extension();
    if let Some(extension) = extension.filter(|extension| extension.len() <= EXTENSION_BYTES) {
        short.push(".");
        short.push(extension);
    }
    short.push(SUFFIX);
    short
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes all that is written to it
        text
    })
}

/// The folders in use, and the small files that are being synced.
#[derive(Debug, Default)]
pub(super) struct Folders {
    folders: std::sync::Mutex<HashMap<PathBuf, Arc<SyncedFolder>>>,
    pub(super) syncs: Syncs,
}

/// Small files that wait to be synced, and who waits for each.
type Waiting = Vec<(Arc<File>, oneshot::Sender<io::Result<()>>)>;

/// Syncs small files: whoever has the turn syncs those of all that wait.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    waiting: std::sync::Mutex<Waiting>,
    turn: Mutex<()>,
}

impl Syncs {
    pub(super) async fn sync(&self, file: &Arc<File>, system: &System) -> io::Result<()> {
        let (done, mut synced) = oneshot::channel();
        lock(&self.waiting).push((Arc::clone(file), done));
        let turn = self.turn.lock().await;
        if let Ok(Some(synced)) = synced.try_recv() {
            return synced;
        }
        let together = std::mem::take(&mut *lock(&self.waiting));
        let sync_data = system.sync_data;
        match together.len() {
            0 | 1 => sync_all(together, sync_data),
            _ => smol::unblock(move || sync_all(together, sync_data)).await,
        }
        drop(turn);
        // If it was dropped with somebody else's turn, it was perhaps not synced.
        synced.await.unwrap_or_else(|_| sync_data(file))
    }
}

/// The kernel begins to write all of them before one is waited for: most file systems then commit them at once.
fn sync_all(together: Waiting, sync_data: fn(&File) -> io::Result<()>) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if together.len() > 1 {
        for (file, _) in &together {
            let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed); // only begins early
        }
    }
    for (file, done) in together {
        let _ = done.send(sync_data(&file)); // whoever waited for it may be gone
    }
}

/// One folder.
#[derive(Debug, Default)]
struct SyncedFolder {
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
    /// second failure still learns of its own; a call in between that was well served may report one too many.
    failed: Option<(RangeInclusive<u64>, SyncFailed)>,
}

#[derive(Clone, Copy, Debug)]
struct SyncFailed {
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl From<SyncFailed> for io::Error {
    fn from(failed: SyncFailed) -> Self {
        failed.errno.map_or_else(|| failed.kind.into(), io::Error::from_raw_os_error)
    }
}

impl Folders {
    /// Makes the names in the folder of `path` durable.
    pub(super) async fn sync_folder_of(&self, path: &Path, system: &System) -> io::Result<()> {
        let path = folder_of(path);
        self.folder(path).sync(path, system).await
    }

    fn folder(&self, path: &Path) -> Arc<SyncedFolder> {
        let mut folders = lock(&self.folders);
        if let Some(folder) = folders.get(path) {
            return Arc::clone(folder);
        }
        // Those nobody syncs now have nothing to remember.
        folders.retain(|_, folder| Arc::strong_count(folder) > 1);
        Arc::clone(folders.entry(path.to_owned()).or_default())
    }
}

impl SyncedFolder {
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
            let failed = SyncFailed { kind: error.kind(), errno: error.raw_os_error() };
            let earlier = served.failed.as_ref().map(|(calls, _)| *calls.start());
            let first = earlier.unwrap_or(served.to + 1);
            served.failed = Some((first..=to, failed));
        }
        served.to = to;
        synced
    }
}

/// A call that gives a file another name.
type Naming = fn(&Path, &Path) -> io::Result<()>;

/// What the store asks of the system for durability and names.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    /// rename(2): replaces a file at the new name, atomically.
    pub(super) rename: Naming,
    /// renameat2(2) with `RENAME_NOREPLACE`: `EEXIST` if the new name is taken.
    pub(super) rename_new: Naming,
    /// link(2): a second name; `EEXIST` if it is taken.
    pub(super) link: Naming,
    /// linkat(2): the first name of an open file; `EEXIST` if it is taken.
    pub(super) link_open: fn(&File, &Path) -> io::Result<()>,
    /// flock(2), exclusive, without waiting.
    pub(super) try_lock: fn(&File) -> Result<(), TryLockError>,
    /// fallocate(2): reserves room, the length unchanged.
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
            link_open: super::lock::link,
            try_lock: File::try_lock,
            reserve: disk::reserve,
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
    matches!(errno(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// The file system has no flock. (Over NFS, ENOLCK says so.)
pub(super) fn no_flock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(errno(error), Some(Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP))
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
        self.check_of(path, id(path))
    }

    /// The same for a path at which nothing is, and which could become one of them.
    pub(crate) fn check_absent(&self, path: &Path) -> Result<(), Error> {
        self.check_of(path, None)
    }

    /// Which files they are now. A link counts for the file it leads to.
    pub(crate) fn ids(&self) -> Vec<FileId> {
        let files = read(&self.0);
        let files = files.iter().filter_map(|file| id(file));
        files.chain(outputs().into_iter().flatten()).collect()
    }

    fn check_of(&self, path: &Path, there: Option<FileId>) -> Result<(), Error> {
        let is_own = |own: &PathBuf| {
            let is_named_so = is_same_name(own, path) && is_same_folder(folder_of(own), folder_of(path));
            is_named_so || (there.is_some() && id(own) == there)
        };
        if (there.is_some() && outputs().contains(&there)) || read(&self.0).iter().any(is_own) {
            return Err(Error::DestinationRefused {
                path: path.display().to_string(),
                what: "a file of regrip itself",
            });
        }
        Ok(())
    }
}

/// Where standard output and standard error go: a log, perhaps.
fn outputs() -> [Option<FileId>; 2] {
    let id = |stat: rustix::io::Result<rustix::fs::Stat>| {
        let stat = stat.ok()?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
        is_file.then_some(FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 })
    };
    [id(fstat(std::io::stdout())), id(fstat(std::io::stderr()))]
}

/// Some file systems ignore case.
fn is_same_name(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| path.file_name().unwrap_or_default());
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    let [one, other] = [one, other].map(|name| name.to_string_lossy().to_lowercase());
    one == other
}

/// Of what is there, links followed.
fn id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|there| FileId::from(&there))
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
pub(crate) fn resolved(path: &Path) -> PathBuf {
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
