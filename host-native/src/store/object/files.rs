//! Files on disk, and objects beside them: the name of a file says which it is.

use super::client::StorageFault;
use super::part::ObjectPart;
use super::store::ObjectStore;
use crate::store::disk::DiskStore;
use crate::store::part::{DiskDigest, DiskPart};
use crate::store::path::is_object;
use crate::store::version::FileStamp;
use regrip_core::store::{
    Committed, Committing, DigestState, Found, OpenPart, Part, PartBytes, PartStore, PartToken, Replace, StoreRules,
};
use regrip_core::{Algorithm, Error};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;

/// Keeps parts on disk; those of files whose names begin with `s3://` in object storage, if it has one.
#[derive(Clone, Debug, Default)]
pub struct FileStore {
    disk: DiskStore,
    /// The object storage.
    pub objects: Option<ObjectStore>,
}

/// The settings and rules of files on disk.
impl Deref for FileStore {
    type Target = DiskStore;

    fn deref(&self) -> &DiskStore {
        &self.disk
    }
}

impl DerefMut for FileStore {
    fn deref_mut(&mut self) -> &mut DiskStore {
        &mut self.disk
    }
}

impl FileStore {
    /// A store on this machine, without object storage.
    pub fn new() -> FileStore {
        FileStore::default()
    }

    /// The stamp of the file at a destination; `None` if nothing is there.
    ///
    /// # Errors
    /// `DestinationRefused`, `Disk`.
    pub async fn look_at(&self, destination: &Path) -> Result<Option<FileStamp>, Error> {
        match self.objects_of(&destination.to_string_lossy())? {
            Some(objects) => objects.look_at(&destination.to_string_lossy()).await,
            None => self.disk.look_at(destination).await,
        }
    }

    /// Deletes a completed file.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) async fn delete(&self, destination: &Path) -> Result<(), Error> {
        match self.objects_of(&destination.to_string_lossy())? {
            Some(objects) => objects.delete(&destination.to_string_lossy()).await,
            None => self.disk.delete(destination).await,
        }
    }

    /// Asks the storage of a folder, or of a prefix, whether it answers.
    ///
    /// # Errors
    /// As [`DiskStore::probe`].
    pub(crate) async fn probe(&self, folder: &Path) -> Result<(), Error> {
        match self.objects_of(&folder.to_string_lossy())? {
            Some(objects) => objects.probe(folder).await,
            None => self.disk.probe(folder).await,
        }
    }

    /// The object storage if it is an object's name.
    fn objects_of(&self, name: &str) -> Result<Option<&ObjectStore>, Error> {
        match &self.objects {
            _ if !is_object(name.as_ref()) => Ok(None),
            Some(objects) => Ok(Some(objects)),
            None => {
                let source = io::Error::other("no object storage is configured: set AWS_ACCESS_KEY_ID and so on");
                Err(Error::Disk { what: "use", path: name.to_owned(), source: Some(source.into()) })
            }
        }
    }
}

impl PartStore for FileStore {
    type Part = FilePart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        match self.objects_of(part)? {
            Some(objects) => objects.exists(part).await,
            None => self.disk.exists(part).await,
        }
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<FilePart, Error> {
        Ok(match self.objects_of(part)? {
            Some(objects) => FilePart::Object(objects.open(part, how).await?),
            None => FilePart::Disk(self.disk.open(part, how).await?),
        })
    }

    fn unnamed(&self, part: &str) -> Option<FilePart> {
        match is_object(part.as_ref()) {
            true => None,
            false => self.disk.unnamed(part).map(FilePart::Disk),
        }
    }

    async fn commit(&self, part: FilePart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        match part {
            FilePart::Disk(part) => self.disk.commit(part, destination, replace).await,
            FilePart::Object(part) => {
                let objects = part.store.clone();
                objects.commit(part, destination, replace).await
            }
        }
    }

    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        match self.objects_of(part)? {
            Some(objects) => objects.find(part, destination, committing).await,
            None => self.disk.find(part, destination, committing).await,
        }
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        match self.objects_of(part)? {
            Some(objects) => objects.remove(part).await,
            None => self.disk.remove(part).await,
        }
    }

    fn is_down(&self, error: &Error) -> bool {
        let Error::Disk { source: Some(source), .. } = error else {
            return false;
        };
        match source.downcast_ref::<StorageFault>() {
            Some(fault) => fault.is_transient(),
            None => self.disk.is_down(error),
        }
    }
}

/// An open part of a [`FileStore`].
#[derive(Debug)]
pub enum FilePart {
    /// A file.
    Disk(DiskPart),
    /// An upload.
    Object(ObjectPart),
}

/// The same of either kind.
macro_rules! either {
    ($self:expr, $part:ident => $value:expr) => {
        match $self {
            FilePart::Disk($part) => $value,
            FilePart::Object($part) => $value,
        }
    };
}

impl Part for FilePart {
    type Digest = DiskDigest;

    fn is_named(&self) -> bool {
        either!(self, part => part.is_named())
    }
    fn may_stay_unnamed(&mut self, size: u64) -> bool {
        either!(self, part => part.may_stay_unnamed(size))
    }
    async fn name(&mut self) -> Result<(), Error> {
        either!(self, part => part.name().await)
    }
    async fn length(&mut self) -> Result<u64, Error> {
        either!(self, part => part.length().await)
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        either!(self, part => part.truncate(length).await)
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        either!(self, part => part.reserve(size).await)
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        either!(self, part => part.flush().await)
    }
    fn token(&self) -> PartToken {
        either!(self, part => part.token())
    }
    fn epoch(&self) -> String {
        either!(self, part => part.epoch())
    }
    fn is_of_epoch(&self, recorded: &str) -> bool {
        either!(self, part => part.is_of_epoch(recorded))
    }
    fn note_last_modified(&mut self, last_modified: &str) {
        either!(self, part => part.note_last_modified(last_modified));
    }
    fn rules(&self) -> StoreRules {
        either!(self, part => part.rules())
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        either!(self, part => part.is_uniform(from, to).await)
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<DiskDigest>, Error> {
        either!(self, part => part.digest(algorithm, saved, to).await)
    }
}

impl PartBytes<&[u8]> for FilePart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [DiskDigest]) -> Result<(), Error> {
        either!(self, part => part.write(offset, chunk, digests).await)
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        either!(self, part => part.matches(offset, chunk).await)
    }
}
