//! What a start needs to know of downloads, no more: it may have a hundred thousand of them.

use super::database::Fault;
use crate::serve::import::PENDING;
use regrip_core::DownloadId;
use regrip_core::record::Mark;
use rusqlite::{Connection, named_params};
use std::collections::HashMap;

/// Where a download came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The download.
    pub id: DownloadId,
    /// The peer, by the digest of its URL; `None` for a plain URL.
    pub peer_id: Option<String>,
    /// The item, as the peer names it.
    pub item_id: Option<String>,
    /// The stub it came from, where that was noted.
    pub stub_name: Option<String>,
}

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

/// Of all that are not finished.
pub(super) fn unfinished(connection: &Connection) -> Result<HashMap<DownloadId, Origin>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, peer_id, item_id, stub_name FROM downloads
         WHERE status IN ('queued', 'downloading', 'waiting', 'committing')",
    )?;
    let found = statement.query_map([], |row| Ok((row.get("id")?, read(row)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Of completed ones whose import has not come to its end, from the one after `after` on.
pub(super) fn to_import(
    connection: &Connection,
    after: DownloadId,
    limit: u32,
) -> Result<Vec<Origin>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, peer_id, item_id, stub_name FROM downloads
         WHERE id > :after AND status IN ('completed', 'import_queued') AND release_json IS NOT NULL
             AND (import_state IS NULL OR import_state LIKE :first OR import_state LIKE :later)
         ORDER BY id LIMIT :limit",
    )?;
    let found = statement.query_map(
        named_params! {
            ":after": after,
            ":first": format!("{PENDING}%"),
            ":later": format!("%; {PENDING}%"),
            ":limit": limit,
        },
        read,
    )?;
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
