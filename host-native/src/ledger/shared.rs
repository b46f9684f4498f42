//! SHA-256s of shared files.

use super::database::Fault;
use super::values::integer;
use crate::store::FileStamp;
use regrip_core::Error;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Rows kept, more than a share has files; those noted longest ago go first.
const ROWS: i64 = 400_000;

/// The digest noted for a path, and the stamp the file had.
pub(super) fn digest(
    connection: &Connection,
    path: &[u8],
) -> Result<Option<(FileStamp, String)>, Fault> {
    let select = "SELECT size, mtime_ns, sha256 FROM shared_digests WHERE path = ?1";
    let row = connection
        .prepare_cached(select)?
        .query_row([path], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((size, mtime_ns, sha256)) = row else {
        return Ok(None);
    };
    let size: i64 = size;
    let size = u64::try_from(size).map_err(|error| Error::ledger("reading a digest", error))?;
    Ok(Some((FileStamp { size, mtime_ns }, sha256)))
}

/// Notes a digest, in place of an older one for the path.
pub(super) fn note(
    transaction: &Transaction<'_>,
    path: &[u8],
    stamp: FileStamp,
    sha256: &str,
) -> Result<(), Fault> {
    let insert = "INSERT OR REPLACE INTO shared_digests (path, size, mtime_ns, sha256) VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(insert)?.execute(params![
        path,
        integer(stamp.size),
        stamp.mtime_ns,
        sha256
    ])?;
    let trim = "DELETE FROM shared_digests WHERE noted <= ?1";
    let oldest = transaction.last_insert_rowid().saturating_sub(ROWS);
    transaction.prepare_cached(trim)?.execute([oldest])?;
    Ok(())
}
