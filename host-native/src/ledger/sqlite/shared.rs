//! SHA-256s of shared files.

use super::database::Fault;
use super::database::integer;
use super::ledger::SqliteLedger;
use crate::ledger::{SharedDigest, SharedDigests};
use crate::store::{FileId, FileVersion};
use futures::FutureExt;
use futures::future::BoxFuture;
use regrip_core::Error;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Rows kept, more than a share has files; those noted longest ago go first.
const ROWS: i64 = 400_000;

impl SharedDigests for SqliteLedger {
    fn shared_digest(&self, path: Vec<u8>) -> BoxFuture<'_, Result<Option<SharedDigest>, Error>> {
        let read = self.queue.read("reading a digest", move |transaction| find(transaction, &path));
        read.boxed()
    }

    fn note_shared_digest(&self, path: Vec<u8>, digest: SharedDigest) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.write("noting a digest", move |transaction| note(transaction, &path, &digest));
        write.boxed()
    }
}

/// The digest noted for a path. Rows from before schema 6 do not say of which version theirs is, and do not count.
fn find(connection: &Connection, path: &[u8]) -> Result<Option<SharedDigest>, Fault> {
    let select = "SELECT size, mtime_ns, sha256, device, inode, ctime_ns, etag FROM shared_digests
        WHERE path = ?1 AND device IS NOT NULL AND inode IS NOT NULL AND ctime_ns IS NOT NULL AND etag IS NOT NULL";
    let found = connection
        .prepare_cached(select)?
        .query_row([path], |row| {
            let (device, inode): (i64, i64) = (row.get(3)?, row.get(4)?);
            let version = FileVersion {
                id: FileId { device: device.cast_unsigned(), inode: inode.cast_unsigned() },
                size: 0,
                mtime_ns: row.get(1)?,
                ctime_ns: row.get(5)?,
            };
            let (sha256, etag) = (row.get(2)?, row.get(6)?);
            let size: i64 = row.get(0)?;
            Ok((size, SharedDigest { version, sha256, etag }))
        })
        .optional()?;
    let Some((size, mut digest)) = found else {
        return Ok(None);
    };
    digest.version.size = u64::try_from(size).map_err(|error| Error::ledger("reading a digest", error))?;
    Ok(Some(digest))
}

/// Notes a digest, in place of an older one for the path.
fn note(transaction: &Transaction<'_>, path: &[u8], digest: &SharedDigest) -> Result<(), Fault> {
    let insert = "INSERT OR REPLACE INTO shared_digests (path, size, mtime_ns, sha256, device, inode, ctime_ns, etag)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let version = &digest.version;
    transaction.prepare_cached(insert)?.execute(params![
        path,
        integer(version.size),
        version.mtime_ns,
        digest.sha256,
        version.id.device.cast_signed(),
        version.id.inode.cast_signed(),
        version.ctime_ns,
        digest.etag,
    ])?;
    let trim = "DELETE FROM shared_digests WHERE noted <= ?1";
    let oldest = transaction.last_insert_rowid().saturating_sub(ROWS);
    transaction.prepare_cached(trim)?.execute([oldest])?;
    Ok(())
}
