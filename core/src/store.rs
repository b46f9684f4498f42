//! The part store: part files are locked, appended to, compared, synced, and renamed when complete.

use crate::checksum::Algorithm;
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// How to open a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPart {
    /// It must not exist, else `ForeignPart`.
    Create,
    /// The ledger claims it: open it, or create it if it is missing.
    Claimed,
    /// Open whatever exists, or create it.
    Adopt,
}

/// How the part gets its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// A regular file at the destination is replaced, atomically.
    Existing,
    /// A file at the destination is an error, `DestinationExists`, and the part stays.
    Nothing,
}

/// What the store finds of a download that was `committing` when its process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The part exists: the rename has not happened.
    Part,
    /// The destination is the file that was the part.
    Destination,
    /// Neither.
    Nothing,
}

/// The result of a commit.
#[derive(Debug)]
#[must_use]
pub enum Committed {
    /// The name is durable.
    Durable,
    /// The file was renamed, but something after that failed: the name may be lost in a power failure, or the part's name
    /// still exists.
    WithWarning(Error),
}

/// Stores part files and gives them their final names.
pub trait PartStore {
    /// An open, locked part.
    type Part: Part;

    /// Returns `true` if anything has the part's name.
    ///
    /// # Errors
    /// `Disk` if the folder cannot be read.
    async fn exists(&self, part: &str) -> Result<bool, Error>;

    /// Opens the part, without following links, and locks it against other writers.
    ///
    /// # Errors
    /// `ForeignPart`, `PartLocked`, `Disk`, `DiskFull`, `TooManyFiles`.
    async fn open(&self, part: &str, how: OpenPart) -> Result<Self::Part, Error>;

    /// A new part without a name: its bytes are in memory, and nothing of it is left after a crash. `None` if the store
    /// has no such parts.
    fn unnamed(&self, part: &str) -> Option<Self::Part> {
        let _ = part;
        None
    }

    /// Renames a synced part to its destination and syncs the folder. An unnamed part gets that name at once. A failure after the rename is a warning.
    ///
    /// # Errors
    /// `DestinationExists`, `DestinationRefused`, `Disk`; the part still exists then.
    async fn commit(&self, part: Self::Part, destination: &str, replace: Replace) -> Result<Committed, Error>;

    /// Finds the file of an interrupted [`commit`](Self::commit), and makes the name durable that it has by now. A destination with
    /// another size is not the file.
    ///
    /// # Errors
    /// `Disk`.
    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error>;

    /// Removes the part, if it exists.
    ///
    /// # Errors
    /// `PartLocked`, `Disk`.
    async fn remove(&self, part: &str) -> Result<(), Error>;

    /// Returns `true` if this error of the store means that the storage cannot be reached or fails for every download, such as a
    /// network or a disk that is down. A process that shares its ledger leaves the download to the others then.
    fn is_down(&self, error: &Error) -> bool {
        let _ = error;
        false
    }
}

/// An open part. Dropping it unlocks and closes it.
pub trait Part {
    /// A digest over the part's bytes.
    type Digest: Digest;

    /// Returns `true` unless the part is [unnamed](PartStore::unnamed).
    fn is_named(&self) -> bool {
        true
    }

    /// Returns `true` if an unnamed part can stay so until it has all of its `size` bytes.
    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        let _ = size;
        false
    }

    /// Gives an unnamed part its name, with all its bytes.
    ///
    /// # Errors
    /// `ForeignPart` if something has the name; `PartLocked`, `Disk`, `DiskFull`, `TooManyFiles`.
    async fn name(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The length in bytes.
    async fn length(&mut self) -> Result<u64, Error>;

    /// Cuts the part to `length` bytes. The file stays the same file.
    async fn truncate(&mut self, length: u64) -> Result<(), Error>;

    /// Reserves space for `size` bytes without changing the length, if the file system can; otherwise does nothing.
    ///
    /// # Errors
    /// `DiskFull`.
    async fn reserve(&mut self, size: u64) -> Result<(), Error>;

    /// Makes as many written bytes as possible durable, and returns the offset up to which all bytes are durable. The offset may be
    /// less than the length if the store makes bytes durable in units.
    ///
    /// # Errors
    /// `Disk`, `DiskFull`: then the bytes after the last returned offset may be lost.
    async fn flush(&mut self) -> Result<u64, Error>;

    /// Identifies the part's bytes, also under their final name.
    fn token(&self) -> PartToken;

    /// Names the time span within which no written byte is lost: one boot of the machine and one mount for a file. A store
    /// whose bytes are lost with its process names each process, one that loses none always says the same.
    fn epoch(&self) -> String;

    /// Returns `true` if all bytes written in the epoch `recorded` still exist, flushed or not.
    fn is_of_epoch(&self, recorded: &str) -> bool {
        recorded == self.epoch()
    }

    /// Receives the Last-Modified of the complete file right before the commit. A store may give the file this time; most
    /// ignore it.
    fn note_last_modified(&mut self, last_modified: &str) {
        let _ = last_modified;
    }

    /// What the part can do.
    fn rules(&self) -> StoreRules {
        StoreRules::FILE
    }

    /// Returns `true` if all bytes from `from` up to `to` are equal: comparing such a range proves nothing.
    ///
    /// # Errors
    /// `Disk`.
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error>;

    /// A digest of the part's first `to` bytes, continued from `saved` if that is usable, else by reading them all. `None`
    /// if they would have to be read and cannot be.
    ///
    /// # Errors
    /// `Disk`.
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Self::Digest>, Error>;
}

/// How a part writes and compares the chunks of one kind of body.
pub trait PartBytes<C>: Part {
    /// Writes a chunk at `offset`, which is the part's length, and takes it into the digests.
    ///
    /// # Errors
    /// `DiskFull`, `Disk`.
    async fn write(&mut self, offset: u64, chunk: C, digests: &mut [Self::Digest]) -> Result<(), Error>;

    /// Returns `true` if the part's bytes at `offset` equal the chunk. The part does not change.
    async fn matches(&mut self, offset: u64, chunk: &C) -> Result<bool, Error>;
}

/// A running digest.
pub trait Digest {
    /// What computes it.
    fn algorithm(&self) -> Algorithm;
    /// Its state, from which [`Part::digest`] can continue; `None` if the hasher cannot save it.
    fn save(&self) -> Option<Vec<u8>>;
    /// Lower-case hex of all bytes so far.
    fn finish(self) -> String;
}

/// What a part can do beside taking bytes at its end. The [plan](crate::resume::plan) takes it into account, so that no
/// request is paid for whose response cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRules {
    /// How many of the last bytes can be read back for a comparison; `u64::MAX` for all.
    pub read_back_bytes: u64,
    /// The part can be truncated. Otherwise a download never starts over.
    pub truncate: bool,
    /// [`Part::flush`] makes multiples of this many bytes durable; a checkpoint before there is one would be for nothing.
    pub durable_unit_bytes: u64,
}

impl StoreRules {
    /// The rules of a file, which can do everything.
    pub const FILE: StoreRules = StoreRules { read_back_bytes: u64::MAX, truncate: true, durable_unit_bytes: 1 };
}

/// Identifies a part independent of its name: device and inode, or the id of an upload. Only its store interprets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartToken(pub String);

/// The saved state of a hasher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestState {
    /// The number of bytes hashed.
    pub offset: u64,
    /// The state, as returned by [`Digest::save`].
    pub state: Vec<u8>,
}

/// Recorded before the rename, so that an interrupted commit can be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committing {
    /// The identity of the part, which the rename preserves.
    pub token: PartToken,
    /// The size in bytes.
    pub size: u64,
}
