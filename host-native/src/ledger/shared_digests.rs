//! SHA-256s of shared files, which a share keeps.

use crate::store::FileVersion;
use futures::future::BoxFuture;
use regrip_core::Error;
use std::fmt;

/// The table of a share. It can be made into an object: a share needs nothing else of a ledger.
pub trait SharedDigests: fmt::Debug + Send + Sync {
    /// The SHA-256 noted for a shared file at `path`.
    ///
    /// # Errors
    /// `Ledger`.
    fn shared_digest(&self, path: Vec<u8>) -> BoxFuture<'_, Result<Option<SharedDigest>, Error>>;

    /// Notes the SHA-256 of a shared file, in place of what was noted for its path before.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn note_shared_digest(
        &self,
        path: Vec<u8>,
        digest: SharedDigest,
    ) -> BoxFuture<'_, Result<(), Error>>;
}

/// The digest of one version of a shared file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDigest {
    /// The version that was hashed.
    pub version: FileVersion,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// The strong ETag of these bytes: of this version, or of an earlier one that differed in ctime alone and had the same
    /// digest.
    pub etag: String,
}
