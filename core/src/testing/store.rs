//! A disk in memory that can run full, fail and lose power.

use crate::checksum::Algorithm;
use crate::error::Error;
use crate::hasher::Hasher;
use crate::mutex::lock;
use crate::store::{Committed, Found, OpenPart, Part, PartBytes, PartStore, Replace};
use crate::store::{Committing, DigestState, PartToken, StoreRules};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<String, u64>,
    /// The names as of the last sync of the folder.
    durable_names: BTreeMap<String, u64>,
    /// What changed them since, in order.
    unsynced_names: Vec<Naming>,
    files: BTreeMap<u64, File>,
    boots: u64,
    rules: Option<StoreRules>,
    room: Option<u64>,
    failing_syncs: u32,
    is_down: bool,
    failing_folder_syncs: u32,
    unnamed_bytes: Option<u64>,
}

/// The inode of all folders: no file has it.
const FOLDER: u64 = 0;

/// Names that change together, as in a rename, with the file that each gets.
type Naming = Vec<(String, Option<u64>)>;

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    locked: bool,
}

impl MemoryStore {
    /// The content of the file or part with this name.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(path).and_then(|inode| disk.files.get(inode)).map(|file| file.bytes.clone())
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// Creates a file with synced content.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let inode = disk.create(path);
        if let Some(file) = disk.files.get_mut(&inode) {
            file.bytes = bytes.to_vec();
            file.synced = bytes.to_vec();
        }
        disk.sync_names();
    }

    /// Creates a folder: a name that no part can be opened by.
    pub fn put_folder(&self, path: &str) {
        let mut disk = self.disk();
        disk.rename(vec![(path.to_owned(), Some(FOLDER))]);
        disk.sync_names();
    }

    /// Appends to a file, as another program would.
    pub fn append(&self, path: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let inode = disk.names.get(path).copied().unwrap_or_default();
        if let Some(file) = disk.files.get_mut(&inode) {
            file.bytes.extend_from_slice(bytes);
        }
    }

    /// Cuts a file, as another program would.
    pub fn cut(&self, path: &str, length: usize) {
        let mut disk = self.disk();
        let inode = disk.names.get(path).copied().unwrap_or_default();
        if let Some(file) = disk.files.get_mut(&inode) {
            file.bytes.truncate(length);
            file.synced.truncate(length);
        }
    }

    /// Removes a name, as another program would.
    pub fn delete(&self, path: &str) {
        let mut disk = self.disk();
        disk.rename(vec![(path.to_owned(), None)]);
        disk.sync_names();
    }

    /// Sets the rules of its parts from now on.
    pub fn set_rules(&self, rules: StoreRules) {
        self.disk().rules = Some(rules);
    }

    /// From now on a new part stays unnamed if its file is known to have at most this many bytes.
    pub fn keep_unnamed(&self, bytes: u64) {
        self.disk().unnamed_bytes = Some(bytes);
    }

    /// Limits the total number of bytes from now on.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.disk().room = bytes;
    }

    /// If it is down, it finds, opens, syncs, renames and removes nothing.
    pub fn set_down(&self, is_down: bool) {
        self.disk().is_down = is_down;
    }

    /// Makes the next `times` syncs fail.
    pub fn fail_syncs(&self, times: u32) {
        self.disk().failing_syncs = times;
    }

    /// After the next `n` renames the folder cannot be synced.
    pub fn fail_folder_syncs(&self, times: u32) {
        self.disk().failing_folder_syncs = times;
    }

    /// Makes all names durable, as a sync of the folder does.
    pub fn sync_names(&self) {
        self.disk().sync_names();
    }

    /// Simulates a power loss and a boot: data that was not synced is lost, and so are all locks. Names stay.
    pub fn lose_power(&self) {
        self.lose_power_but(|synced, _written| synced.to_vec(), || true);
    }

    /// Simulates a power loss after which a file has the bytes that `keep` returns. It is called with the synced and with all written
    /// bytes of each file: a disk keeps the synced ones, and of the others any part, or zeros in their place. `keep_name` is called
    /// for each creation, renaming and removal whose folder was not synced: each of them may have reached the disk or not.
    pub fn lose_power_but(&self, mut keep: impl FnMut(&[u8], &[u8]) -> Vec<u8>, mut keep_name: impl FnMut() -> bool) {
        let mut disk = self.disk();
        disk.boots += 1;
        let unsynced = std::mem::take(&mut disk.unsynced_names);
        disk.names = disk.durable_names.clone();
        unsynced.into_iter().filter(|_| keep_name()).for_each(|naming| disk.rename(naming));
        disk.sync_names();
        for file in disk.files.values_mut() {
            if file.bytes != file.synced {
                file.bytes = keep(&file.synced, &file.bytes);
                file.synced = file.bytes.clone();
            }
            file.locked = false;
        }
    }

    /// The number of bytes of the file or part with this name that no power loss takes: none if its name is not durable.
    pub fn synced(&self, path: &str) -> Option<u64> {
        let disk = self.disk();
        let inode = disk.names.get(path)?;
        let bytes = disk.files.get(inode).map(|file| file.synced.len() as u64);
        bytes.filter(|_| disk.durable_names.get(path) == Some(inode)).or(Some(0))
    }

    /// Simulates the death of the process: locks are released, written data stays.
    pub fn crash(&self) {
        self.disk().files.values_mut().for_each(|file| file.locked = false);
    }

    /// The current epoch of its parts.
    pub fn epoch(&self) -> String {
        format!("boot {}", self.disk().boots)
    }

    /// The number of open parts.
    pub fn open_parts(&self) -> usize {
        self.disk().files.values().filter(|file| file.locked).count()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn disk_that_is_up(&self, what: &'static str, path: &str) -> Result<MutexGuard<'_, Disk>, Error> {
        Some(self.disk()).filter(|disk| !disk.is_down).ok_or_else(|| failed(what, path))
    }
}

impl Disk {
    fn create(&mut self, path: &str) -> u64 {
        let inode = self.create_unnamed();
        self.rename(vec![(path.to_owned(), Some(inode))]);
        inode
    }

    /// Changes names until the next power loss; [`sync_names`](Self::sync_names) makes that durable.
    fn rename(&mut self, naming: Naming) {
        apply(&mut self.names, &naming);
        self.unsynced_names.push(naming);
    }

    fn sync_names(&mut self) {
        for naming in std::mem::take(&mut self.unsynced_names) {
            apply(&mut self.durable_names, &naming);
        }
    }

    fn create_unnamed(&mut self) -> u64 {
        let inode = self.files.keys().next_back().map_or(1, |last| last + 1);
        self.files.insert(inode, File::default());
        inode
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.bytes.len() as u64).sum()
    }
}

fn apply(names: &mut BTreeMap<String, u64>, naming: &Naming) {
    for (name, inode) in naming {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl PartStore for MemoryStore {
    type Part = MemoryPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        Ok(self.disk_that_is_up("find", part)?.names.contains_key(part))
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<MemoryPart, Error> {
        let mut disk = self.disk_that_is_up("open", part)?;
        let path = part.to_owned();
        let inode = match disk.names.get(part).copied() {
            Some(_) if how == OpenPart::Create => return Err(Error::ForeignPart { path }),
            Some(inode) => inode,
            None => disk.create(part),
        };
        match disk.files.get_mut(&inode) {
            Some(file) if file.locked => Err(Error::PartLocked { path, pid: None, lock_file: None }),
            Some(file) => {
                file.locked = true;
                Ok(MemoryPart { store: self.clone(), path, inode, named: true })
            }
            None => Err(gone(part)),
        }
    }

    fn unnamed(&self, part: &str) -> Option<MemoryPart> {
        let mut disk = self.disk();
        disk.unnamed_bytes?;
        let inode = disk.create_unnamed();
        Some(MemoryPart { store: self.clone(), path: part.to_owned(), inode, named: false })
    }

    async fn commit(&self, mut part: MemoryPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        if !part.named && self.disk().names.contains_key(destination) {
            part.name().await?;
        }
        let mut disk = self.disk_that_is_up("rename", &part.path)?;
        if replace == Replace::Nothing && disk.names.contains_key(destination) {
            return Err(Error::DestinationExists { path: destination.to_owned() });
        }
        let old_name = part.named.then(|| (part.path.clone(), None));
        disk.rename(old_name.into_iter().chain([(destination.to_owned(), Some(part.inode))]).collect());
        if disk.failing_folder_syncs > 0 {
            disk.failing_folder_syncs -= 1;
            drop(disk); // the part's own drop locks it
            let error = failed("sync the folder of", destination);
            return Ok(Committed::WithWarning(error));
        }
        disk.sync_names();
        drop(disk);
        Ok(Committed::Durable)
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        let mut disk = self.disk_that_is_up("find", part)?;
        let is_file = |inode: &u64| {
            let length = disk.files.get(inode).map(|file| file.bytes.len() as u64);
            token(*inode) == committing.token && length == Some(committing.size)
        };
        let found = match (disk.names.get(part), disk.names.get(destination)) {
            (Some(_), _) => Found::Part,
            (None, Some(inode)) if is_file(inode) => Found::Destination,
            (None, _) => Found::Nothing,
        };
        if found == Found::Destination {
            disk.sync_names();
        }
        Ok(found)
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        let mut disk = self.disk_that_is_up("remove", part)?;
        let locked = disk.names.get(part).and_then(|inode| disk.files.get(inode)).is_some_and(|file| file.locked);
        if locked {
            return Err(Error::PartLocked { path: part.to_owned(), pid: None, lock_file: None });
        }
        if disk.names.contains_key(part) {
            disk.rename(vec![(part.to_owned(), None)]);
            disk.sync_names();
        }
        Ok(())
    }

    fn is_down(&self, error: &Error) -> bool {
        matches!(error, Error::Disk { .. }) && self.disk().is_down
    }
}

/// An open part in memory.
#[derive(Debug)]
pub struct MemoryPart {
    store: MemoryStore,
    path: String,
    inode: u64,
    named: bool,
}

impl Drop for MemoryPart {
    fn drop(&mut self) {
        if let Some(file) = self.store.disk().files.get_mut(&self.inode) {
            file.locked = false;
        }
    }
}

impl MemoryPart {
    /// Zeros in place of the bytes that are not synced: a system may drop pages that it could not write, and the next sync does not
    /// report that.
    pub fn lose_unsynced(&mut self) {
        let mut disk = self.store.disk();
        if let Some(file) = disk.files.get_mut(&self.inode) {
            file.bytes.iter_mut().skip(file.synced.len()).for_each(|byte| *byte = 0);
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut File) -> T) -> Result<T, Error> {
        let mut disk = self.store.disk();
        disk.files.get_mut(&self.inode).map(look).ok_or_else(|| gone(&self.path))
    }
}

impl Part for MemoryPart {
    type Digest = Hasher;

    fn is_named(&self) -> bool {
        self.named
    }

    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        self.store.disk().unnamed_bytes.is_some_and(|most| size <= most)
    }

    async fn name(&mut self) -> Result<(), Error> {
        let mut disk = self.store.disk();
        if !self.named && disk.names.contains_key(&self.path) {
            return Err(Error::ForeignPart { path: self.path.clone() });
        }
        disk.rename(vec![(self.path.clone(), Some(self.inode))]);
        disk.files.entry(self.inode).or_default().locked = true;
        self.named = true;
        Ok(())
    }

    async fn length(&mut self) -> Result<u64, Error> {
        self.with(|file| file.bytes.len() as u64)
    }

    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        let now = self.length().await?;
        if length > now || length < now && !self.rules().truncate {
            return Err(failed("cut", &self.path));
        }
        self.with(|file| file.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX)))
    }

    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        let length = self.length().await?;
        let disk = self.store.disk();
        let needed = disk.used().saturating_add(size.saturating_sub(length));
        match disk.room {
            Some(room) if needed > room => Err(full(&self.path)),
            Some(_) | None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<u64, Error> {
        {
            let mut disk = self.store.disk_that_is_up("sync", &self.path)?;
            if disk.failing_syncs > 0 {
                disk.failing_syncs -= 1;
                return Err(failed("sync", &self.path));
            }
            if self.named {
                disk.sync_names();
            }
        }
        let unit = usize::try_from(self.rules().durable_unit_bytes).unwrap_or(1);
        self.with(|file| {
            let durable = file.bytes.len() - file.bytes.len() % unit.max(1);
            file.synced = file.bytes.get(..durable).unwrap_or_default().to_vec();
            durable as u64
        })
    }

    fn token(&self) -> PartToken {
        token(self.inode)
    }

    fn epoch(&self) -> String {
        self.store.epoch()
    }

    fn rules(&self) -> StoreRules {
        self.store.disk().rules.unwrap_or(StoreRules::FILE)
    }

    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        self.with(|file| {
            let stretch = file.bytes.get(at(from)..at(to)).unwrap_or_default();
            stretch.windows(2).all(|pair| pair.first() == pair.last())
        })
    }

    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        let resumed = saved.and_then(|saved| Some((Hasher::resume(algorithm, saved, to)?, saved.offset)));
        let (mut hasher, from) = resumed.unwrap_or((Hasher::new(algorithm), 0));
        if self.rules().read_back_bytes < to.saturating_sub(from) {
            return Ok(None);
        }
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        self.with(|file| hasher.update(file.bytes.get(at(from)..at(to)).unwrap_or_default()))?;
        Ok(Some(hasher))
    }
}

impl PartBytes<&[u8]> for MemoryPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [Hasher]) -> Result<(), Error> {
        if offset != self.length().await? {
            return Err(failed("write", &self.path));
        }
        {
            let disk = self.store.disk();
            if disk.room.is_some_and(|room| disk.used() + chunk.len() as u64 > room) {
                return Err(full(&self.path));
            }
        }
        self.with(|file| file.bytes.extend_from_slice(chunk))?;
        digests.iter_mut().for_each(|hasher| hasher.update(chunk));
        Ok(())
    }

    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let first_kept = self.length().await?.saturating_sub(self.rules().read_back_bytes);
        if offset < first_kept {
            return Ok(false);
        }
        self.with(|file| file.bytes.get(from..from.saturating_add(chunk.len())) == Some(*chunk))
    }
}

fn token(inode: u64) -> PartToken {
    PartToken(format!("inode {inode}"))
}

fn full(path: &str) -> Error {
    Error::DiskFull { path: path.to_owned(), source: None }
}

fn gone(path: &str) -> Error {
    failed("find", path)
}

fn failed(what: &'static str, path: &str) -> Error {
    Error::Disk { what, path: path.to_owned(), source: None }
}
