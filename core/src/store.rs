//! Part files: opened and locked, written at their end, compared, synced, and renamed when complete.

use crate::checksum::Algorithm;
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// How to open a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPart {
    /// It must not be there yet, else `ForeignPart`.
    Create,
    /// The ledger claims it: take it up, or create it where it is gone.
    Claimed,
    /// Take up whatever is there, or create it.
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

/// What start-up finds of a download that was `committing` when the process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The part is there: the rename has not happened.
    Part,
    /// The destination is the very file that was the part.
    Destination,
    /// Neither.
    Nothing,
}

/// A part that has its final name.
#[derive(Debug)]
#[must_use]
pub enum Committed {
    /// The name is durable.
    Durable,
    /// The file has its name, but something after that failed: the name may be lost in a power failure, or the part's
    /// name is still beside it.
    WithWarning(Error),
}

/// Keeps part files and gives them their final names.
pub trait PartStore {
    /// An open, locked part.
    type Part: Part;

    /// Whether anything has the part's name.
    ///
    /// # Errors
    /// `Disk` where the folder cannot be read.
    async fn exists(&self, part: &str) -> Result<bool, Error>;

    /// Opens the part and locks it against other writers, links not followed.
    ///
    /// # Errors
    /// `ForeignPart`, `PartLocked`, `Disk`, `DiskFull`, `TooManyFiles`.
    async fn open(&self, part: &str, how: OpenPart) -> Result<Self::Part, Error>;

    /// Renames a synced part to its destination and syncs the folder. What fails after the rename is a warning.
    ///
    /// # Errors
    /// `DestinationExists`, `DestinationRefused`, `Disk`; the part is still there then.
    async fn commit(
        &self,
        part: Self::Part,
        destination: &str,
        replace: Replace,
    ) -> Result<Committed, Error>;

    /// Looks for what an interrupted [`commit`](Self::commit) left. A destination of another size is not the file.
    ///
    /// # Errors
    /// `Disk`.
    async fn find(
        &self,
        part: &str,
        destination: &str,
        committing: &Committing,
    ) -> Result<Found, Error>;

    /// Removes the part, where there is one.
    ///
    /// # Errors
    /// `PartLocked`, `Disk`.
    async fn remove(&self, part: &str) -> Result<(), Error>;
}

/// An open part. Dropping it unlocks and closes it.
pub trait Part {
    /// A digest over the part's bytes.
    type Digest: Digest;

    /// Its length in bytes.
    async fn length(&mut self) -> Result<u64, Error>;

    /// Cuts the part to `length` bytes. The file stays the same file.
    async fn truncate(&mut self, length: u64) -> Result<(), Error>;

    /// Reserves room for `size` bytes without changing the length, where the file system can; otherwise does nothing.
    ///
    /// # Errors
    /// `DiskFull`.
    async fn reserve(&mut self, size: u64) -> Result<(), Error>;

    /// Makes as much as possible of what was written durable, and returns the offset up to which all bytes are. It may
    /// trail the length, if the store makes bytes durable in units.
    ///
    /// # Errors
    /// `Disk`, `DiskFull`: after these nothing is known of the bytes past the last offset that was returned.
    async fn flush(&mut self) -> Result<u64, Error>;

    /// Identifies the part's bytes, also under their final name.
    fn token(&self) -> PartToken;

    /// Names the time span within which no written byte is lost: one boot of the machine and one mount for a file. A store
    /// whose bytes are lost with its process names each process, one that loses none always says the same.
    fn epoch(&self) -> String;

    /// Whether what was written in the epoch that `recorded` names is still there, flushed or not.
    fn is_of_epoch(&self, recorded: &str) -> bool {
        recorded == self.epoch()
    }

    /// What can be done with it.
    fn rules(&self) -> StoreRules {
        StoreRules::FILE
    }

    /// Whether all bytes from `from` up to `to` are the same one: such a stretch proves nothing if it is compared.
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

/// What a part does with the chunks of one kind of body.
pub trait PartBytes<C>: Part {
    /// Writes a chunk at `offset`, which is the part's length, and takes it into the digests.
    ///
    /// # Errors
    /// `DiskFull`, `Disk`.
    async fn write(
        &mut self,
        offset: u64,
        chunk: C,
        digests: &mut [Self::Digest],
    ) -> Result<(), Error>;

    /// Whether the part's bytes at `offset` are those of the chunk. The part is not changed.
    async fn matches(&mut self, offset: u64, chunk: &C) -> Result<bool, Error>;
}

/// A running digest.
pub trait Digest {
    /// What computes it.
    fn algorithm(&self) -> Algorithm;
    /// Its state, from which [`Part::digest`] can go on; `None` where the hasher cannot tell.
    fn save(&self) -> Option<Vec<u8>>;
    /// Lower-case hex of all bytes so far.
    fn finish(self) -> String;
}

/// What a part can do beside taking bytes at its end. The [plan](crate::resume::plan) takes it into account, so that no
/// request is paid for whose response cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRules {
    /// How many of the last bytes can be read back, to be compared; `u64::MAX` for all.
    pub read_back_bytes: u64,
    /// It can be cut. Without this a download never starts over.
    pub truncate: bool,
    /// [`Part::flush`] makes multiples of this many bytes durable; a checkpoint before there is one would be for nothing.
    pub durable_unit_bytes: u64,
}

impl StoreRules {
    /// A file: everything, byte by byte.
    pub const FILE: StoreRules = StoreRules {
        read_back_bytes: u64::MAX,
        truncate: true,
        durable_unit_bytes: 1,
    };
}

/// What identifies a part's bytes, whatever their name: device and inode, an upload's id. Only its store can read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartToken(pub String);

/// A hasher's saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestState {
    /// How many bytes it has taken in.
    pub offset: u64,
    /// The state, as [`Digest::save`] gave it.
    pub state: Vec<u8>,
}

/// What is recorded before the rename, so that a crash in it can be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committing {
    /// The part's identity, which the rename keeps.
    pub token: PartToken,
    /// Its size in bytes.
    pub size: u64,
}
