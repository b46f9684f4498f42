//! The part store on disk, errors of the system as errors of the core, and room for a file.

use super::commit::refused;
use super::lock::{self, Locked};
use super::lock_file;
use super::part::DiskPart;
use super::path::OwnFiles;
use super::path::{Folders, System};
use super::version::{FileId, FileStamp, metadata};
use super::{commit, version};
use regrip_core::hasher::Hasher;
use regrip_core::store::{Committed, Committing, Digest, Found, OpenPart, PartStore, Replace};
use regrip_core::{Algorithm, Checksum, Error};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Keeps part files on disk.
#[derive(Clone, Debug)]
pub struct DiskStore {
    boot_id: Arc<str>,
    system: System,
    folders: Arc<Folders>,
    own: OwnFiles,
    replaces_delivered_only: Arc<AtomicBool>,
    /// The permissions of a completed file; 0 leaves them to the umask.
    file_mode: Arc<AtomicU32>,
    /// A completed file gets the time of its Last-Modified.
    pub(crate) remote_time: bool,
    /// The ledger says who writes a part: who has its claim may take it from a process that still has it locked.
    pub(crate) takes_over: bool,
}

impl DiskStore {
    /// A store on this machine.
    pub fn new() -> Self {
        DiskStore::with_boot_id(version::boot_id())
    }

    /// A store that takes the machine to be in its boot `boot_id`: with another one a test has a reboot.
    pub fn with_boot_id(boot_id: impl Into<Arc<str>>) -> Self {
        DiskStore {
            boot_id: boot_id.into(),
            system: System::default(),
            folders: Arc::default(),
            own: OwnFiles::default(),
            replaces_delivered_only: Arc::default(),
            file_mode: Arc::default(),
            remote_time: false,
            takes_over: false,
        }
    }

    /// The stamp of the file at a destination; `None` if nothing is there.
    ///
    /// # Errors
    /// As [`look_at`].
    pub async fn look_at(&self, destination: &Path) -> Result<Option<FileStamp>, Error> {
        look_at(destination)
    }

    /// Deletes a completed file.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) async fn delete(&self, destination: &Path) -> Result<(), Error> {
        std::fs::remove_file(destination).map_err(|error| disk("remove", destination, error))
    }

    /// Writes a file into a folder and removes it.
    ///
    /// # Errors
    /// `Disk`, `DiskFull`.
    pub(crate) async fn probe(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(format!(".regrip-probe-{:016x}", fastrand::u64(..)));
        let probe = move || {
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(b"regrip")?;
                file.sync_all()
            });
            let removed = std::fs::remove_file(&path);
            written.and(removed).map_err(|error| disk("write", &path, error))
        };
        smol::unblock(probe).await
    }

    /// Files of regrip's own, to which no download is written.
    pub fn own(&self) -> &OwnFiles {
        &self.own
    }

    /// Says whether `overwrite` replaces only what regrip itself delivered: so it is if the user did not ask for it.
    pub fn replace_delivered_only(&self, only: bool) {
        self.replaces_delivered_only.store(only, Ordering::Relaxed);
    }

    /// Sets the permissions of files that complete from now on; `None` leaves them to the umask.
    pub fn set_file_mode(&self, mode: Option<u32>) {
        self.file_mode.store(mode.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn replaces_delivered_only(&self) -> bool {
        self.replaces_delivered_only.load(Ordering::Relaxed)
    }

    fn part(&self, held: Locked, path: &Path, metadata: &Metadata, named: bool) -> DiskPart {
        let (folders, boot_id) = (Arc::clone(&self.folders), Arc::clone(&self.boot_id));
        DiskPart::new(held, path.to_owned(), self.system, folders, boot_id, metadata, named)
    }

    #[cfg(test)]
    pub(super) fn on(system: System) -> Self {
        DiskStore::on_boot(system, "a boot")
    }

    #[cfg(test)]
    pub(super) fn on_boot(system: System, boot_id: &str) -> Self {
        DiskStore { system, ..DiskStore::with_boot_id(boot_id) }
    }
}

impl Default for DiskStore {
    fn default() -> Self {
        DiskStore::new()
    }
}

impl PartStore for DiskStore {
    type Part = DiskPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        Ok(metadata(part.as_ref())?.is_some())
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<DiskPart, Error> {
        let path = Path::new(part);
        self.own.check(path)?;
        let held = match lock::open(path, how, &self.system) {
            Err(Error::PartLocked { .. }) if self.takes_over && how == OpenPart::Claimed => {
                let from = path.to_owned();
                smol::unblock(move || lock::replace_by_copy(&from)).await?;
                lock::open(path, how, &self.system)?
            }
            opened => opened?,
        };
        let metadata = held.file.metadata().map_err(|error| disk("look at", path, error))?;
        Ok(self.part(held, path, &metadata, true))
    }

    fn unnamed(&self, part: &str) -> Option<DiskPart> {
        let path = Path::new(part);
        if lock_file::is_there(path) {
            return None; // another writer's, or one to be taken over
        }
        let (held, metadata) = lock::open_unnamed(path)?;
        Some(self.part(held, path, &metadata, false))
    }

    async fn commit(&self, mut part: DiskPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        let destination = Path::new(destination);
        part.last_modified = part.last_modified.filter(|_| self.remote_time);
        part.mode = self.file_mode.load(Ordering::Relaxed);
        part.may_be_taken_over = self.takes_over;
        commit::commit(part, destination, replace, &self.own).await
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        // A part that is not a regular file is nobody's part.
        let file = |path: &str| metadata(path.as_ref()).map(|found| found.filter(Metadata::is_file));
        let (at_part, at_destination) = (file(part)?, file(destination)?);
        let is_file = |there: &Metadata| {
            let id = FileId::from(there);
            id.token() == committing.token || id.token_of_unnamed(version::born_ns(there)) == committing.token
        };
        Ok(if at_part.as_ref().is_some_and(is_file) {
            Found::Part
        } else if at_destination.is_some_and(|there| is_file(&there) && there.len() == committing.size) {
            // Its process may have died before it synced the folder. If that fails, the file is there all the same.
            let _ = self.folders.sync_folder_of(destination.as_ref(), &self.system).await;
            Found::Destination
        } else if at_part.is_some() {
            // Another inode, as a restored backup has it: its bytes are verified before it is committed.
            Found::Part
        } else {
            Found::Nothing
        })
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        let path = Path::new(part);
        self.own.check(path)?;
        // Locked while it goes, so that whoever opened it meanwhile finds the name gone and begins anew.
        let Some(_locked) = lock::open_existing(path, &self.system)? else {
            return Ok(());
        };
        std::fs::remove_file(path).map_err(|error| disk("remove", path, error))?;
        let synced = self.folders.sync_folder_of(path, &self.system).await;
        synced.map_err(|error| disk("sync the folder of", path, error))
    }

    /// The system cannot reach the disk or the file server, or has given it up. A folder that is gone is one that is not mounted.
    fn is_down(&self, error: &Error) -> bool {
        let Error::Disk { path, source: Some(source), .. } = error else {
            return false;
        };
        match source.downcast_ref::<io::Error>().and_then(errno) {
            Some(Errno::NOENT) => !Path::new(path).parent().is_some_and(Path::is_dir),
            Some(errno) => DOWN.contains(&errno),
            None => false,
        }
    }
}

/// Errors of a disk or a file server as a whole.
const DOWN: [Errno; 13] = [
    Errno::IO,
    Errno::STALE,
    Errno::ROFS,
    Errno::NODEV,
    Errno::REMOTEIO,
    Errno::SHUTDOWN,
    Errno::NOTCONN,
    Errno::CONNRESET,
    Errno::TIMEDOUT,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NETDOWN,
    Errno::NETUNREACH,
];

/// How much is read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// The stamp of the file at a destination; `None` if nothing is there.
///
/// # Errors
/// `DestinationRefused` if it is a link, a folder or a device; `Disk`.
pub fn look_at(destination: &Path) -> Result<Option<FileStamp>, Error> {
    let Some(there) = metadata(destination)? else {
        return Ok(None);
    };
    match refused(there.file_type()) {
        Some(what) => Err(Error::DestinationRefused { path: destination.display().to_string(), what }),
        None => FileStamp::of(destination),
    }
}

/// The checksum of a file.
///
/// # Errors
/// `Disk` if it cannot be read.
pub fn checksum_of(path: &Path, algorithm: Algorithm) -> Result<Checksum, Error> {
    let mut file = File::open(path).map_err(|error| disk("open", path, error))?;
    let mut digest = Hasher::new(algorithm);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = file.read(&mut block);
        match read.map_err(|error| disk("read", path, error))? {
            0 => {
                let hex = digest.finish();
                return Ok(Checksum { algorithm, hex });
            }
            read => digest.update(&block[..read]),
        }
    }
}

/// The error for a call on `path` that failed; `what` completes "cannot … <path>".
pub(super) fn disk(what: &'static str, path: &Path, error: io::Error) -> Error {
    let path = path.display().to_string();
    match errno(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Error::DiskFull { path, source: Some(error.into()) },
        Some(Errno::MFILE | Errno::NFILE) => Error::TooManyFiles { source: Some(error.into()) },
        _ => Error::Disk { what, path, source: Some(error.into()) },
    }
}

/// A part that is not ours to touch.
pub(super) fn foreign(path: &Path) -> Error {
    Error::ForeignPart { path: path.display().to_string() }
}

/// The system's number for an error, if it has one.
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// Checks that the process and the file system allow a file of `size` bytes. The file does not change.
///
/// # Errors
/// The size and the limit.
pub(super) fn check_size(file: &File, size: u64) -> io::Result<()> {
    let of_process = getrlimit(Resource::Fsize).current;
    let limits = [(of_process, "this process (ulimit -f)"), (longest(file, size), "the file system")];
    for (limit, whose) in limits {
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            return Err(io::Error::other(format!(
                "the file is {size} bytes, but {whose} allows at most {limit} bytes"
            )));
        }
    }
    Ok(())
}

/// The length of the longest file, if `size` is longer: the kernel lets nobody seek beyond that (FAT: 4 GiB less one byte).
fn longest(file: &File, size: u64) -> Option<u64> {
    let allows = |length| seek(file, SeekFrom::Start(length)) != Err(Errno::INVAL);
    if allows(size) {
        return None;
    }
    let (mut allowed, mut refused) = (0, size);
    while refused - allowed > 1 {
        let middle = allowed + (refused - allowed) / 2;
        if allows(middle) {
            allowed = middle;
        } else {
            refused = middle;
        }
    }
    Some(allowed)
}

/// fallocate(2), without changing the length. A request for more than the free space would take all of it for a moment, and other
/// files would find the disk full, so the free space is checked first. In a tmpfs that check is all: its blocks are pages of memory,
/// and taking them all at once holds the transfer up while the server waits.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use std::os::unix::fs::MetadataExt;
    let allocate = |size| rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, size));
    let system = rustix::fs::fstatvfs(file).ok();
    let system = system.filter(|system| system.f_blocks > 0); // else it has no size
    let free = system.map_or(u64::MAX, |system| system.f_bavail.saturating_mul(system.f_frsize));
    if size > free && size.saturating_sub(file.metadata()?.blocks() * 512) > free {
        // A file system that reserves nothing says so here: its free space may mean nothing either.
        allocate(size.min(4096))?;
        return Err(Errno::NOSPC.into());
    }
    let in_memory = rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type == 0x0102_1994); // TMPFS_MAGIC of statfs(2)
    Ok(allocate(if in_memory { 4096 } else { size })?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_down_if_it_fails_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (there, gone) = (folder.path().join("f"), folder.path().join("not mounted/f"));
        let cases = [
            (Errno::IO, &there, true),
            (Errno::STALE, &there, true),
            (Errno::ACCESS, &there, false),
            (Errno::NAMETOOLONG, &there, false),
            (Errno::NOENT, &there, false),
            (Errno::NOENT, &gone, true),
            (Errno::NOSPC, &there, false),
        ];
        for (errno, path, is_down) in cases {
            let error = disk("write", path, errno.into());
            assert_eq!(DiskStore::new().is_down(&error), is_down, "{error:?}");
        }
    }

    // D02
    #[test]
    fn a_full_disk_and_too_many_files_have_errors_of_their_own() {
        let cases = [
            (Errno::NOSPC, "DiskFull"),
            (Errno::DQUOT, "DiskFull"),
            (Errno::MFILE, "TooManyFiles"),
            (Errno::NFILE, "TooManyFiles"),
            (Errno::ROFS, "Disk"),
            (Errno::ACCESS, "Disk"),
            (Errno::IO, "Disk"),
        ];
        for (errno, code) in cases {
            let error = disk("write", Path::new("/f"), errno.into());
            assert_eq!(error.code().as_str(), code, "{errno:?}");
        }
    }

    #[test]
    fn a_size_that_no_file_can_have_is_refused_with_the_limit_and_the_file_stays() {
        let file = tempfile::tempfile().unwrap();
        check_size(&file, 1 << 30).unwrap();
        let error = check_size(&file, u64::MAX >> 1).err();
        // On most file systems a file cannot have 2^63 - 1 bytes.
        if let Some(error) = error {
            let text = error.to_string();
            assert!(text.contains("9223372036854775807") && text.contains("allows"), "{text}");
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
