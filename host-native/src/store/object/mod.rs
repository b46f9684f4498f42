//! Object storage by the S3 protocol: the part of a file is a multipart upload, its commit is CompleteMultipartUpload.
//!
//! Invariants: a part of an upload counts only once the ledger has its number, size and ETag, and only as far as ListParts
//! confirms it; Complete names exactly these. An upload that was given up is aborted, until ListParts no longer knows it,
//! before another one begins. So neither a late request nor a reply that was lost can mix two versions of a file.
//!
//! The bytes of an upload cannot be read back. Those of the part that is still being filled are in memory; if the process
//! dies, only they are fetched again.
//!
//! Read [`ObjectStore`] first, then [`ObjectPart`]. [`FileStore`] is what a host has: files on disk, and objects beside them.

mod client;
mod files;
mod part;
mod store;
mod uploads;

pub use client::{ObjectName, S3Settings};
pub use files::{FilePart, FileStore};
pub use part::ObjectPart;
pub use store::ObjectStore;
pub use uploads::{Upload, UploadEnd, UploadLedger, UploadedPart};
