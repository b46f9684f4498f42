//! Part files on a local disk.
//!
//! The core counts and verifies the bytes, has them synced, and only then asks for the final name. A part is locked while it
//! is open, and no link is followed.

use crate::random;
use regrip_core::Algorithm;
use regrip_core::Error;
use regrip_core::hasher::Hasher;
use regrip_core::store::{
    Committed, Committing, DigestState, Found, OpenPart, Part, PartBytes, PartStore, PartToken, Replace,
};
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use tokio::task::block_in_place;

/// **[`PartStore`]** opens parts and gives them their final names.
pub(crate) struct Disk {
    epoch: String,
}

impl Disk {
    /// Written bytes survive the process, but not a power failure: an epoch is a boot. If the system does not name its boots,
    /// it is a process, and the next one counts only bytes that were synced.
    pub(crate) fn new() -> Disk {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot.map(|id| id.trim().to_owned());
        Disk { epoch: boot.unwrap_or_else(|_| format!("process {:x}", random())) }
    }
}

impl PartStore for Disk {
    type Part = DiskPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        Ok(look_at(Path::new(part))?.is_some())
    }

    /// Opens the part so that no link is followed and no other process writes it.
    async fn open(&self, part: &str, how: OpenPart) -> Result<DiskPart, Error> {
        let path = PathBuf::from(part);
        let foreign = || Error::ForeignPart { path: part.to_owned() };
        let there = look_at(&path)?;
        if there.is_some() && how == OpenPart::Create {
            return Err(foreign());
        }
        let mut options = File::options();
        options.read(true).write(true).create_new(there.is_none());
        let file = disk("open", &path, || options.open(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = part.to_owned();
                return Err(Error::PartLocked { path, pid: None, lock_file: None });
            }
            Err(TryLockError::Error(error)) => return disk("lock", &path, || Err(error)),
        }
        // The name must be this file's: a link's is not, nor one that was renamed or removed before it was locked.
        let opened = disk("look at", &path, || file.metadata())?;
        let token = token_of(&opened);
        if !opened.is_file() || look_at(&path)?.is_none_or(|named| token_of(&named) != token) {
            return Err(foreign());
        }
        sync_folder_of(&path)?; // the name of a new file is to be durable, too
        Ok(DiskPart { file, path, token, epoch: self.epoch.clone() })
    }

    async fn commit(&self, part: DiskPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        let (from, to) = (&part.path, Path::new(destination));
        if look_at(from)?.is_none_or(|named| token_of(&named) != part.token) {
            let taken = io::Error::other("another file has its name now");
            return disk("rename", from, || Err(taken));
        }
        let has_two_names = match look_at(to)? {
            // An earlier process died between the two steps of `Replace::Nothing`.
            Some(file) if token_of(&file) == part.token => true,
            Some(file) if !file.is_file() => {
                let (path, what) = (destination.to_owned(), "a link, a folder or a device");
                return Err(Error::DestinationRefused { path, what });
            }
            _ if replace == Replace::Existing => {
                disk("rename the part to", to, || fs::rename(from, to))?;
                false
            }
            // A rename would replace what appears at this moment; a second name does not.
            _ => match fs::hard_link(from, to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(to)),
                linked => {
                    disk("rename the part to", to, || linked)?;
                    true
                }
            },
        };
        // From here on the file has its name, and what fails is a warning.
        let removed = match has_two_names {
            true => disk("remove", from, || fs::remove_file(from)),
            false => Ok(()),
        };
        let tidied = removed.and_then(|()| sync_folder_of(to));
        Ok(tidied.map_or_else(Committed::WithWarning, |()| Committed::Durable))
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        let is_it = |file: &Metadata| token_of(file) == committing.token;
        Ok(match (look_at(Path::new(part))?, look_at(Path::new(destination))?) {
            (Some(part), _) if is_it(&part) => Found::Part,
            (_, Some(file)) if is_it(&file) && file.len() == committing.size => Found::Destination,
            (Some(_), _) => Found::Part,
            (None, _) => Found::Nothing,
        })
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        if !self.exists(part).await? {
            return Ok(());
        }
        let locked = self.open(part, OpenPart::Claimed).await?;
        disk("remove", &locked.path, || fs::remove_file(&locked.path))?;
        sync_folder_of(&locked.path)
    }
}

/// **[`Part`]** is an open part. Dropping it closes the file, which unlocks it.
pub(crate) struct DiskPart {
    file: File,
    path: PathBuf,
    token: PartToken,
    epoch: String,
}

impl Part for DiskPart {
    type Digest = Hasher;

    async fn length(&mut self) -> Result<u64, Error> {
        disk("look at", &self.path, || self.file.metadata()).map(|file| file.len())
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        disk("cut", &self.path, || self.file.set_len(length))
    }
    async fn reserve(&mut self, _size: u64) -> Result<(), Error> {
        Ok(()) // std has no fallocate: a full disk shows itself later
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        disk("sync", &self.path, || self.file.sync_data())?;
        self.length().await
    }
    fn token(&self) -> PartToken {
        self.token.clone()
    }
    fn epoch(&self) -> String {
        self.epoch.clone()
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let mut stretch = vec![0; (to - from) as usize]; // 16 MiB at most
        disk("read", &self.path, || self.file.read_exact_at(&mut stretch, from))?;
        Ok(stretch.iter().all(|byte| *byte == stretch[0]))
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        let resumed = saved.and_then(|saved| Some((Hasher::resume(algorithm, saved, to)?, saved.offset)));
        let (mut digest, from) = resumed.unwrap_or((Hasher::new(algorithm), 0));
        let mut block = vec![0; 1 << 20];
        for offset in (from..to).step_by(block.len()) {
            let block = &mut block[..(to - offset).min(1 << 20) as usize];
            disk("read", &self.path, || self.file.read_exact_at(block, offset))?;
            digest.update(block);
        }
        Ok(Some(digest))
    }
}

/// **[`PartBytes`]** is what a part does with the chunks of this transport. The core itself looks at no byte.
impl PartBytes<&[u8]> for DiskPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        disk("write", &self.path, || self.file.write_all_at(chunk, offset))?;
        digests.iter_mut().for_each(|digest| digest.update(chunk));
        Ok(())
    }

    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        let mut there = vec![0; chunk.len()];
        disk("read", &self.path, || match self.file.read_exact_at(&mut there, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| there == *chunk),
        })
    }
}

pub(crate) fn exists(path: &Path) -> Error {
    let path = path.display().to_string();
    Error::DestinationExists { path }
}

/// Does what may block, and states the fact if it fails. `block_in_place` needs tokio's multi-thread runtime.
pub(crate) fn disk<T>(what: &'static str, path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    block_in_place(work).map_err(|error| {
        let (path, kind) = (path.display().to_string(), error.kind());
        let source = Some(error.into());
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { path, source },
            _ => Error::Disk { what, path, source },
        }
    })
}

/// What has this name; links are not followed.
pub(crate) fn look_at(path: &Path) -> Result<Option<Metadata>, Error> {
    disk("look at", path, || match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        there => there.map(Some),
    })
}

/// Identifies a file, whatever its name.
fn token_of(file: &Metadata) -> PartToken {
    PartToken(format!("{}:{}", file.dev(), file.ino()))
}

/// Makes the names in a folder durable, which syncing a file does not.
fn sync_folder_of(path: &Path) -> Result<(), Error> {
    disk("sync the folder of", path, || File::open(folder_of(path))?.sync_all())
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
