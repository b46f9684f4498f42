//! What a start needs to know of downloads, no more: it may have a hundred thousand of them.

use super::database::Fault;
use crate::ledger::Origin;
use regrip_core::DownloadId;
use regrip_core::record::Mark;
use rusqlite::Connection;

/// What decides which of the unfinished are driven.
pub(super) fn marks(connection: &Connection) -> Result<Vec<Mark>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, dest_path, status = 'committing' AS committing, durable_bytes FROM downloads
         WHERE status IN ('queued', 'downloading', 'waiting', 'committing')",
    )?;
    let marks = statement.query_and_then([], |row| -> Result<Mark, Fault> {
        let durable: i64 = row.get("durable_bytes")?;
        Ok(Mark {
            id: row.get("id")?,
            destination: row.get("dest_path")?,
            committing: row.get("committing")?,
            // A senseless one is told when the row is driven; it keeps no other row from being driven.
            durable: u64::try_from(durable).unwrap_or_default(),
        })
    })?;
    marks.collect()
}

/// Of these downloads, in any order; those that are gone are left out.
pub(super) fn of(connection: &Connection, ids: &[DownloadId]) -> Result<Vec<Origin>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, peer_id, item_id, stub_name FROM downloads
         WHERE id IN (SELECT value FROM json_each(?1))",
    )?;
    let ids = serde_json::json!(ids).to_string();
    let found = statement.query_map([ids], read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Of completed ones whose import has not come to its end, from the one after `after` on: those whose import has not begun,
/// and those with a server that is pending.
pub(super) fn to_import(
    connection: &Connection,
    after: DownloadId,
    limit: u32,
) -> Result<Vec<Origin>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, peer_id, item_id, stub_name FROM downloads WHERE id IN (
             SELECT id FROM (
                 SELECT id FROM downloads INDEXED BY downloads_to_begin_import
                 WHERE id > ?1 AND status IN ('completed', 'import_queued') AND release_json IS NOT NULL
                     AND import_state IS NULL
                 ORDER BY id LIMIT ?2)
             UNION
             SELECT download FROM (
                 SELECT DISTINCT download FROM imports INDEXED BY imports_pending JOIN downloads ON id = download
                 WHERE download > ?1 AND state = 'pending' AND status IN ('completed', 'import_queued')
                     AND release_json IS NOT NULL
                 ORDER BY download LIMIT ?2))
         ORDER BY id LIMIT ?2",
    )?;
    let found = statement.query_map((after, limit), read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read(row: &rusqlite::Row<'_>) -> Result<Origin, rusqlite::Error> {
    Ok(Origin {
        id: row.get("id")?,
        peer_id: row.get("peer_id")?,
        item_id: row.get("item_id")?,
        stub_name: row.get("stub_name")?,
    })
}
