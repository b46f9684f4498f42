//! An open, locked part.
//!
//! Writes happen in the calling task, on purpose: handing each chunk to another thread was measured and costs more than
//! it gives. Long reads give way to other tasks in between.
//!
//! Invariant: the part has no holes and, after a sync that failed, no byte that was not synced before. The kernel reports
//! a lost page once and then forgets it, so a second sync would prove nothing; the bytes go instead.

use super::disk;
use super::disk::{disk, errno};
use super::lock::{self, Locked};
use super::path::Folders;
use super::path::System;
use super::version::{self, Epoch};
use crate::sync::lock as locked;
use regrip_core::hasher::Hasher;
use regrip_core::store::{Digest, DigestState, PartToken};
use regrip_core::store::{Part, PartBytes};
use regrip_core::{Algorithm, Error};
use rustix::io::Errno;
use smol::Task;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A read of the part: large enough to be cheap, small enough for many parts at once.
const BLOCK_BYTES: usize = 256 << 10;
/// A long read yields to other tasks of the thread after this many bytes.
const YIELD_BYTES: u64 = 4 << 20;
/// Files up to this size have no part: they get their name once they are complete.
const SMALL_BYTES: u64 = 1 << 20;
/// Smaller files are not worth a reservation.
const RESERVE_BYTES: u64 = 1 << 20;
/// A Last-Modified further in the future is wrong, and not used.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// A part file on disk.
#[derive(Debug)]
pub struct DiskPart {
    pub(super) held: Locked,
    pub(super) path: PathBuf,
    pub(super) system: System,
    pub(super) folders: Arc<Folders>,
    epoch: Epoch,
    /// Its length, as far as we wrote it.
    end: u64,
    /// Room that was reserved, from the start.
    reserved: u64,
    /// Its length when this handle last synced it.
    synced: u64,
    /// Changed since.
    dirty: bool,
    /// It has its name, and not only that of an open file.
    pub(super) named: bool,
    /// When the file was created, in nanoseconds since 1970, if the file system tells.
    born_ns: Option<u128>,
    /// Its name is not known to be durable; each sync tries again.
    nameless: bool,
    /// A sync failed.
    poisoned: bool,
    /// The time that the server states, if it is to be kept and can be right.
    pub(super) last_modified: Option<SystemTime>,
    /// The permissions of the complete file; 0 leaves them as they are.
    pub(super) mode: u32,
    /// Another process may put its copy of the part in its place.
    pub(super) may_be_taken_over: bool,
}

impl DiskPart {
    pub(super) fn new(
        held: Locked,
        path: PathBuf,
        system: System,
        folders: Arc<Folders>,
        boot_id: Arc<str>,
        metadata: &Metadata,
        named: bool,
    ) -> Self {
        DiskPart {
            end: metadata.len(),
            named,
            born_ns: version::born_ns(metadata),
            nameless: true, // a process that created it may have died before it synced the folder
            epoch: Epoch::of(&held.file, boot_id),
            held,
            path,
            system,
            folders,
            reserved: 0,
            synced: 0,
            dirty: false,
            poisoned: false,
            last_modified: None,
            mode: 0,
            may_be_taken_over: false,
        }
    }

    async fn sync(&self) -> io::Result<()> {
        match self.named {
            true => (self.system.sync_data)(&self.held.file),
            false => self.folders.syncs.sync(&self.held.file, &self.system).await,
        }
    }

    /// Makes the bytes durable, and the name if the folder can be synced.
    pub(super) async fn make_durable(&mut self) -> Result<(), Error> {
        self.held.check()?;
        let fail = |error| disk("sync", &self.path, error);
        if self.poisoned {
            return Err(fail(io::Error::other("an earlier sync of it failed")));
        }
        if let Err(error) = self.sync().await {
            let error = fail(error);
            self.poison();
            return Err(error);
        }
        if self.named && self.nameless {
            // No byte is lost by a folder that cannot be opened or synced. If a power failure takes the name, the part is
            // shorter than the ledger says, and the download starts over.
            let named = self.folders.sync_folder_of(&self.path, &self.system).await;
            self.nameless = named.is_err();
        }
        self.synced = self.end;
        self.dirty = false;
        Ok(())
    }

    /// Gives a file its permissions and the time that the server states. A file system that cannot store them keeps its own.
    pub(super) fn set_mode_and_time(&self, file: &File) {
        if self.mode != 0 {
            let _ = file.set_permissions(Permissions::from_mode(self.mode));
        }
        if let Some(at) = self.last_modified {
            let _ = file.set_modified(at);
        }
    }

    /// What is left to do before the part may get its final name.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        self.held.check()?;
        if self.dirty || self.poisoned {
            self.make_durable().await?;
        }
        if self.reserved > self.end {
            self.give_back();
        }
        Ok(())
    }

    fn poison(&mut self) {
        self.poisoned = true;
        self.end = self.end.min(self.synced);
        if self.held.check().is_err() {
            return; // another writer's by now
        }
        // If even this fails there is nothing left to try; the error of the sync is reported in any case.
        let _ = self.held.file.set_len(self.end);
    }

    /// Frees reserved blocks past the end: cutting a file to the length it has does that and nothing else.
    fn give_back(&mut self) {
        self.reserved = 0;
        if self.held.check().is_err() {
            return; // another writer's by now
        }
        let _ = self.held.file.set_len(self.end); // the room is lost to others for a while, no more
    }

    /// Fills `block` from `offset` on; less than all of it at the end of the file.
    fn read(&self, block: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.held.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(disk("read", &self.path, error)),
            }
        }
        Ok(filled)
    }
}

impl Drop for DiskPart {
    /// A part that stays behind keeps its bytes and no more.
    fn drop(&mut self) {
        if self.reserved > self.end {
            self.give_back();
        }
    }
}

impl Part for DiskPart {
    type Digest = DiskDigest;

    fn is_named(&self) -> bool {
        self.named
    }

    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        size <= SMALL_BYTES
    }

    async fn name(&mut self) -> Result<(), Error> {
        if !self.named {
            lock::name(&mut self.held, &self.path, &self.system)?;
            self.named = true;
        }
        Ok(())
    }

    async fn length(&mut self) -> Result<u64, Error> {
        if !self.named {
            return Ok(self.end); // nobody else can write it
        }
        let metadata = self.held.file.metadata();
        self.end = metadata.map_err(|error| disk("look at", &self.path, error))?.len();
        Ok(self.end)
    }

    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        if length > self.end {
            let source = io::Error::other("the write would leave a hole");
            return Err(disk("cut", &self.path, source));
        }
        self.held.check()?;
        self.held.file.set_len(length).map_err(|error| disk("cut", &self.path, error))?;
        self.end = length;
        self.synced = self.synced.min(length);
        self.reserved = self.reserved.min(length);
        self.dirty = true;
        // Without bytes there is none that could have been lost.
        self.poisoned &= length > 0;
        Ok(())
    }

    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        let fail = |error| disk("reserve room for", &self.path, error);
        // Before the room: asking for too much of it raises a signal.
        disk::check_size(&self.held.file, size).map_err(fail)?;
        if size < RESERVE_BYTES || size <= self.reserved {
            return Ok(());
        }
        let Err(error) = (self.system.reserve)(&self.held.file, size) else {
            self.reserved = size;
            return Ok(());
        };
        if errno(&error) == Some(Errno::FBIG) {
            let why = format!("a file of {size} bytes is too large for the file system");
            return Err(fail(io::Error::other(why)));
        }
        let error = fail(error);
        if matches!(error, Error::DiskFull { .. }) {
            self.give_back(); // some file systems keep what they found before they ran out
            return Err(error);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<u64, Error> {
        self.make_durable().await?;
        Ok(self.synced)
    }

    fn note_last_modified(&mut self, last_modified: &str) {
        let latest = SystemTime::now() + CLOCK_SKEW;
        self.last_modified = httpdate::parse_http_date(last_modified).ok().filter(|at| *at <= latest);
    }

    fn token(&self) -> PartToken {
        match self.named {
            true => self.held.id.token(),
            false => self.held.id.token_of_unnamed(self.born_ns),
        }
    }

    fn epoch(&self) -> String {
        self.epoch.current()
    }

    fn is_of_epoch(&self, recorded: &str) -> bool {
        self.epoch.is(recorded)
    }

    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let mut block = vec![0; block_bytes(to.saturating_sub(from))];
        let (mut at, mut byte) = (from, None);
        while at < to {
            let wanted = block.get_mut(..block_bytes(to - at)).unwrap_or_default();
            let read = self.read(wanted, at)?;
            let read = wanted.get(..read).unwrap_or_default();
            let first = *byte.get_or_insert(read.first().copied().unwrap_or_default());
            if read.is_empty() || read.iter().any(|&other| other != first) {
                return Ok(false);
            }
            at += read.len() as u64;
        }
        Ok(true)
    }

    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<DiskDigest>, Error> {
        let resumed = saved.and_then(|saved| Some((Hasher::resume(algorithm, saved, to)?, saved.offset)));
        let (mut digest, mut at) = resumed.unwrap_or((Hasher::new(algorithm), 0));
        let mut block = vec![0; block_bytes(to - at)];
        let mut unyielded = 0;
        while at < to {
            let wanted = block.get_mut(..block_bytes(to - at)).unwrap_or_default();
            let read = self.read(wanted, at)?;
            if read < wanted.len() {
                let short = io::ErrorKind::UnexpectedEof;
                return Err(disk("read", &self.path, short.into()));
            }
            digest.update(wanted);
            at += read as u64;
            unyielded += read as u64;
            if unyielded >= YIELD_BYTES {
                unyielded = 0;
                smol::future::yield_now().await;
            }
        }
        Ok(Some(DiskDigest::new(digest)))
    }
}

impl PartBytes<&[u8]> for DiskPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [DiskDigest]) -> Result<(), Error> {
        self.held.check()?;
        let fail = |error| disk("write", &self.path, error);
        if offset > self.end {
            return Err(fail(io::Error::other("the write would leave a hole")));
        }
        self.dirty = true;
        let (mut rest, mut at) = (chunk, offset);
        while !rest.is_empty() {
            match self.held.file.write_at(rest, at) {
                Ok(0) => return Err(fail(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    at += written as u64;
                    self.end = self.end.max(at);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fail(error)),
            }
        }
        for digest in digests {
            digest.update(chunk).await;
        }
        Ok(())
    }

    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        let mut block = vec![0; BLOCK_BYTES.min(chunk.len())];
        let mut at = offset;
        for piece in chunk.chunks(BLOCK_BYTES) {
            let mine = block.get_mut(..piece.len()).unwrap_or_default();
            if self.read(mine, at)? < piece.len() || mine != piece {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }
}

/// A digest of bytes as they are written. If there is more than one core it is computed on another thread, a block at a
/// time, while the next block is received.
#[derive(Debug)]
pub struct DiskDigest {
    algorithm: Algorithm,
    taken: Mutex<Hashing>,
}

#[derive(Debug)]
struct Hashing {
    /// `None` while it is on the other thread.
    hasher: Option<Hasher>,
    /// The block that is being hashed; it returns with its memory.
    under_way: Option<Task<(Hasher, Vec<u8>)>>,
    /// What is still to be hashed.
    waiting: Vec<u8>,
}

impl DiskDigest {
    pub(super) fn new(hasher: Hasher) -> Self {
        let algorithm = hasher.algorithm();
        let taken = Hashing { hasher: Some(hasher), under_way: None, waiting: Vec::new() };
        DiskDigest { algorithm, taken: Mutex::new(taken) }
    }

    pub(super) async fn update(&mut self, chunk: &[u8]) {
        let taken = self.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(hasher) = taken.hasher.as_mut().filter(|_| !has_other_core()) {
            return hasher.update(chunk);
        }
        taken.waiting.extend_from_slice(chunk);
        if taken.waiting.len() < BLOCK_BYTES {
            return;
        }
        let returned = match taken.under_way.take() {
            Some(under_way) => Some(under_way.await),
            None => taken.hasher.take().map(|hasher| (hasher, Vec::new())),
        };
        if let Some((mut hasher, mut free)) = returned {
            free.clear();
            let block = std::mem::replace(&mut taken.waiting, free);
            taken.under_way = Some(smol::unblock(move || {
                hasher.update(&block);
                (hasher, block)
            }));
        }
    }

    /// The hasher, with all bytes in it. Waits for one block at most.
    fn settled(taken: &mut Hashing) -> Option<&mut Hasher> {
        if let Some(under_way) = taken.under_way.take() {
            taken.hasher = Some(smol::block_on(under_way).0);
        }
        let hasher = taken.hasher.as_mut()?;
        hasher.update(&taken.waiting);
        taken.waiting.clear();
        Some(hasher)
    }
}

impl Digest for DiskDigest {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn save(&self) -> Option<Vec<u8>> {
        Self::settled(&mut locked(&self.taken))?.save()
    }

    fn finish(self) -> String {
        let mut taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self::settled(&mut taken);
        taken.hasher.map(Hasher::finish).unwrap_or_default()
    }
}

fn has_other_core() -> bool {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get));
    *CORES > 1
}

/// The size of one read if `left` bytes are left.
fn block_bytes(left: u64) -> usize {
    usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES))
}
