//! How the imports of completed downloads stand, a row for each server.

use super::database::Fault;
use super::rows;
use super::values::time;
use crate::ledger::{Import, ImportState};
use regrip_core::{DownloadId, Error, Status};
use rusqlite::{Connection, Transaction, named_params, params};
use std::time::SystemTime;

/// The imports of a download, in the order they were recorded.
pub(super) fn of(connection: &Connection, id: DownloadId) -> Result<Vec<Import>, Fault> {
    let select = "SELECT server, state, tries, next_try, error FROM imports WHERE download = ?1 ORDER BY place";
    let mut statement = connection.prepare_cached(select)?;
    let found = statement.query_map([id], |row| {
        let (state, next_try): (String, Option<String>) = (row.get(1)?, row.get(3)?);
        Ok(Import {
            server: row.get(0)?,
            // If this version does not know it, the server is sent another command, which changes nothing if it had one.
            state: ImportState::named(&state).unwrap_or(ImportState::Pending),
            tries: row.get(2)?,
            next_try: next_try.and_then(|text| humantime::parse_rfc3339(&text).ok()),
            error: row.get(4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Replaces the imports of a completed download and the line that is shown of them. If one was accepted, the download is
/// `import_queued`.
pub(super) fn record(
    transaction: &Transaction<'_>,
    id: DownloadId,
    imports: &[Import],
    shown: &str,
    at: SystemTime,
) -> Result<(), Fault> {
    let status = rows::row(transaction, id)?.status;
    let accepted = imports
        .iter()
        .any(|import| import.state == ImportState::Accepted);
    let after = match (status, accepted) {
        (Status::Completed, true) => Status::ImportQueued,
        (Status::Completed | Status::ImportQueued, _) => status,
        _ => return Err(Error::WrongState { id, status }.into()),
    };
    let set = "UPDATE downloads SET import_state = ?2, status = ?3, updated_at = ?4 WHERE id = ?1";
    let params = params![id, shown, after.name(), time(at)];
    transaction.prepare_cached(set)?.execute(params)?;
    let delete = "DELETE FROM imports WHERE download = ?1";
    transaction.prepare_cached(delete)?.execute([id])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO imports (download, place, server, state, tries, next_try, error)
         VALUES (:download, :place, :server, :state, :tries, :next_try, :error)",
    )?;
    for (import, place) in imports.iter().zip(1_u32..) {
        insert.execute(named_params! {
            ":download": id,
            ":place": place,
            ":server": import.server,
            ":state": import.state.name(),
            ":tries": import.tries,
            ":next_try": import.next_try.map(time),
            ":error": import.error,
        })?;
    }
    Ok(())
}
