//! What the ledger records of multipart uploads.

use crate::store::version::FileStamp;
use futures::future::BoxFuture;
use regrip_core::{Algorithm, Error};
use std::fmt;

/// The partial data of an object. `object` is its name, `s3://bucket/key`, wherever a method takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Identifies the partial data as long as it exists, also after it was discarded and begun again.
    pub token: String,
    /// Counts the uploads that were begun for it, from 1.
    pub generation: u32,
    /// The upload that has its bytes, by the storage's id; `None` before the first of them is sent.
    pub id: Option<String>,
    /// Its parts, by number.
    pub parts: Vec<UploadedPart>,
}

impl Upload {
    /// What the object carries as metadata: no other upload has the same.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.token, self.generation)
    }
}

/// A part of an upload, as the storage acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its number, from 1.
    pub number: u16,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag, as the storage sent it.
    pub etag: String,
    /// States of the digests after its last byte.
    pub digests: Vec<(Algorithm, Vec<u8>)>,
}

/// How an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadEnd {
    /// The object has its bytes, and this stamp, if the storage said so. It is that of the download's file from then on.
    Completed(Option<FileStamp>),
    /// Its bytes were discarded; another upload begins, with the next generation if there was one.
    Restarted,
    /// The partial data was removed.
    Removed,
}

/// Records uploads. Each call is one transaction and is durable when it returns. A ledger whose downloads are claimed with a
/// lease refuses the calls that change an upload (`WrongState`) unless this process has the claim on the download.
pub trait UploadLedger: fmt::Debug + Send + Sync {
    /// The upload of an object, if it has one.
    ///
    /// # Errors
    /// `Ledger`.
    fn upload(&self, object: String) -> BoxFuture<'_, Result<Option<Upload>, Error>>;

    /// Counts that a process opens an upload, and returns how often that was.
    fn open_upload(&self, object: String) -> BoxFuture<'_, Result<u64, Error>>;

    /// Adds one. Its token is the id of the object's download, or 0, and `nonce`.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`, `WrongState`; also for all other changes.
    fn add_upload(&self, object: String, nonce: String) -> BoxFuture<'_, Result<Upload, Error>>;

    /// Records the storage's id of an upload that was begun.
    fn begin_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>>;

    /// Records a part, in place of one of its number. From then on it counts.
    ///
    /// # Errors
    /// `Ledger` also if the object has another upload by now.
    fn add_uploaded_part(&self, object: String, id: String, part: UploadedPart) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends an upload. Unless it is completed, it is one to abort from then on.
    fn end_upload(&self, object: String, end: UploadEnd) -> BoxFuture<'_, Result<(), Error>>;

    /// The uploads to abort, each with its object: those of one object, or all of them. Among all are also uploads whose
    /// download is gone or complete.
    ///
    /// # Errors
    /// `Ledger`.
    fn uploads_to_abort(&self, object: Option<String>) -> BoxFuture<'_, Result<Vec<(String, String)>, Error>>;

    /// Forgets an upload that was aborted.
    fn forget_upload(&self, object: String, id: String) -> BoxFuture<'_, Result<(), Error>>;
}
