//! What a start needs to know of downloads, no more: it may have a hundred thousand of them.

use super::database::Fault;
use regrip_core::DownloadId;
use regrip_core::record::Mark;
use rusqlite::Connection;

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

/// Of completed ones whose import has not come to its end, from the one after `after` on. The words are those of the
/// index, or it could not be used, and `pending at ` begins what they look for.
pub(super) fn to_import(
    connection: &Connection,
    after: DownloadId,
    limit: u32,
) -> Result<Vec<Origin>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, peer_id, item_id, stub_name FROM downloads INDEXED BY downloads_to_import
         WHERE id > ?1 AND status IN ('completed', 'import_queued') AND release_json IS NOT NULL
             AND (import_state IS NULL OR import_state LIKE 'pending at %' OR import_state LIKE '%; pending at %')
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::migrate::{self, MIGRATIONS};
    use crate::serve::import::PENDING;

    #[test]
    fn imports_that_are_pending_are_found() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            let transaction = connection.transaction().unwrap();
            migrate::run(&transaction, migration).unwrap();
            transaction.commit().unwrap();
        }
        let states = [
            None,
            Some(format!("{PENDING}Films")),
            Some(format!(
                "accepted by Films; {PENDING}Anime: the server answered 503"
            )),
            Some("accepted by Films".to_owned()),
            Some("failed at Films: pending at dawn".to_owned()),
            Some("no server takes category 3000".to_owned()),
        ];
        for state in states {
            let insert = "INSERT INTO downloads (kind, url, filename, dest_path, part_path, on_exists, release_json, status,
                              import_state, created_at, updated_at)
                          VALUES ('peer', 'u', 'f', 'd', 'p', 'fail', '{}', 'completed', ?1, '', '')";
            connection.execute(insert, [state]).unwrap();
        }
        let found = to_import(&connection, 0, 9).unwrap();
        let ids: Vec<DownloadId> = found.into_iter().map(|origin| origin.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(of(&connection, &[2, 99, 5]).unwrap().len(), 2);
    }
}
