//! Reads downloads as lists and the API show them, and keeps one line for each attempt.
//!
//! Invariant: a download has at most one attempt without an end. One that a killed process left is closed as `lost` when the
//! next begins.

use super::database::Fault;
use super::database::{Columns, integer, milliseconds, time};
use super::rows;
use crate::ledger::{AttemptLine, LedgerEntry};
use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::record::{AttemptEnd, DownloadId, NewAttempt, Restart, Status};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, named_params};
use std::time::SystemTime;

/// Reads one entry.
pub(super) fn entry(connection: &Connection, id: DownloadId) -> Result<LedgerEntry, Fault> {
    let found = connection
        .prepare_cached("SELECT * FROM downloads WHERE id = ?1")?
        .query_row([id], |row| Ok(read(connection, row, true)))
        .optional()?;
    found.ok_or(Error::NoSuchDownload(id))?
}

/// Reads a page, the releases left out: newest change first, of these statuses, or of all if none is named; those after the entry `after`.
pub(super) fn list(
    connection: &Connection,
    statuses: &[Status],
    limit: u32,
    after: Option<DownloadId>,
) -> Result<Vec<LedgerEntry>, Fault> {
    let after = after.map(|id| place(connection, id)).transpose()?;
    let pages = match statuses {
        [] => vec![page(connection, None, limit, after.as_ref())?],
        statuses => {
            let pages = statuses.iter().map(|status| page(connection, Some(*status), limit, after.as_ref()));
            pages.collect::<Result<Vec<_>, _>>()?
        }
    };
    let mut entries: Vec<LedgerEntry> = pages.into_iter().flatten().collect();
    if statuses.len() > 1 {
        entries.sort_by(|one, other| by_place(other).cmp(&by_place(one)));
        entries.truncate(limit as usize);
    }
    Ok(entries)
}

fn by_place(entry: &LedgerEntry) -> (&str, DownloadId) {
    (&entry.updated_at, entry.row.id)
}

/// Where an entry is in the list: after which others.
type Place = (String, DownloadId);

fn place(connection: &Connection, id: DownloadId) -> Result<Place, Fault> {
    let place = connection
        .prepare_cached("SELECT updated_at, id FROM downloads WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(place.ok_or(Error::NoSuchDownload(id))?)
}

/// One statement for each shape, so that each is read from its index: see `every_page_is_read_from_an_index`.
fn statement(of_status: bool, after: bool) -> &'static str {
    match (of_status, after) {
        (false, false) => "SELECT * FROM downloads ORDER BY updated_at DESC, id DESC LIMIT :limit",
        (false, true) => {
            "SELECT * FROM downloads WHERE (updated_at, id) < (:changed, :after)
             ORDER BY updated_at DESC, id DESC LIMIT :limit"
        }
        (true, false) => {
            "SELECT * FROM downloads WHERE status = :status
             ORDER BY updated_at DESC, id DESC LIMIT :limit"
        }
        (true, true) => {
            "SELECT * FROM downloads WHERE status = :status AND (updated_at, id) < (:changed, :after)
             ORDER BY updated_at DESC, id DESC LIMIT :limit"
        }
    }
}

fn page(
    connection: &Connection,
    status: Option<Status>,
    limit: u32,
    after: Option<&Place>,
) -> Result<Vec<LedgerEntry>, Fault> {
    let status = status.map(Status::name);
    let mut params: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit)];
    if let Some(status) = &status {
        params.push((":status", status));
    }
    if let Some((changed, id)) = after {
        params.push((":changed", changed));
        params.push((":after", id));
    }
    let mut statement = connection.prepare_cached(statement(status.is_some(), after.is_some()))?;
    let found = statement.query_and_then(params.as_slice(), |row| read(connection, row, false))?;
    found.collect()
}

/// How many downloads there are of each status. One that this version does not know is left out.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(Status, u64)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT status, count(*) FROM downloads GROUP BY status")?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut known = Vec::new();
    for count in counts {
        let (name, count): (String, i64) = count?;
        let status = Status::named(&name);
        known.extend(status.map(|status| (status, u64::try_from(count).unwrap_or_default())));
    }
    Ok(known)
}

/// Reads a row; `with_release` also what may be the largest part of it.
fn read(connection: &Connection, row: &rusqlite::Row<'_>, with_release: bool) -> Result<LedgerEntry, Fault> {
    let known = rows::read(connection, row)?;
    let columns = Columns::new(row, known.id);
    let mtime_ns: Option<i64> = columns.get("completed_mtime_ns")?;
    let size = columns.count_if_any("completed_size")?;
    Ok(LedgerEntry {
        row: known,
        filename: columns.get("filename")?,
        stub_name: columns.get("stub_name")?,
        release_json: match with_release {
            true => columns.get("release_json")?,
            false => None,
        },
        import_state: columns.get("import_state")?,
        stamp: size.zip(mtime_ns).map(|(size, mtime_ns)| FileStamp { size, mtime_ns }),
        worker: None,
        created_at: columns.get("created_at")?,
        started_at: columns.get("started_at")?,
        updated_at: columns.get("updated_at")?,
        completed_at: columns.get("completed_at")?,
    })
}

/// Counts an attempt and opens its line.
pub(super) fn begin(transaction: &Transaction<'_>, id: DownloadId, attempt: &NewAttempt) -> Result<u32, Fault> {
    close_open(transaction, Some(id))?;
    let at = time(attempt.at);
    let number: u32 = transaction
        .prepare_cached(
            "UPDATE downloads SET attempts = min(attempts + 1, 4294967295), status = :status, waiting_until = NULL,
                 waiting_why = NULL, started_at = coalesce(started_at, :at), updated_at = :at
             WHERE id = :id AND status IN ('queued', 'downloading', 'waiting', 'committing') RETURNING attempts",
        )?
        .query_row(named_params! { ":status": Status::Downloading.name(), ":at": at, ":id": id }, |row| row.get(0))
        .optional()?
        .map_or_else(|| Err(refusal(transaction, id)), Ok)?;
    // The number comes twice only at the end of its range.
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (download_id, attempt, started_at, offset_from) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((id, number, at, integer(attempt.from)))?;
    Ok(number)
}

/// Why an attempt cannot begin: there is no such row, or it is finished.
fn refusal(transaction: &Transaction<'_>, id: DownloadId) -> Fault {
    match rows::row(transaction, id) {
        Ok(row) => row.wrong_state().into(),
        Err(fault) => fault,
    }
}

/// Writes the end of a line.
pub(super) fn end(
    transaction: &Transaction<'_>,
    id: DownloadId,
    end: &AttemptEnd,
    at: SystemTime,
) -> Result<(), Fault> {
    let error = end.error.as_ref();
    transaction
        .prepare_cached(
            "UPDATE attempts SET ended_at = :at, offset_to = :to, outcome = :outcome, class = :class, code = :code,
                 error = :error, wait_ms = :wait_ms, asked_by = :asked_by
             WHERE download_id = :id AND attempt = :attempt",
        )?
        .execute(named_params! {
            ":at": time(at),
            ":to": integer(end.to),
            ":outcome": end.outcome.name(),
            ":class": error.map(|error| error.class.name()),
            ":code": error.map(|error| error.code.as_str()),
            ":error": error.map(|error| &error.text),
            ":wait_ms": end.wait.map(|(wait, _)| milliseconds(wait)),
            ":asked_by": end.wait.map(|(_, asked_by)| asked_by.name()),
            ":id": id,
            ":attempt": end.attempt,
        })?;
    Ok(())
}

/// Notes on a line that bytes were discarded.
pub(super) fn note_restart(transaction: &Transaction<'_>, id: DownloadId, restart: &Restart) -> Result<(), Fault> {
    let add = "UPDATE attempts SET restart_reason = coalesce(restart_reason || ',', '') || :reason,
                   discarded_bytes = min(coalesce(discarded_bytes, 0), 9223372036854775807 - :discarded) + :discarded
               WHERE download_id = :id AND attempt = :attempt";
    transaction.prepare_cached(add)?.execute(named_params! {
        ":reason": restart.reason.name(),
        ":discarded": integer(restart.discarded),
        ":id": id,
        ":attempt": restart.attempt,
    })?;
    Ok(())
}

/// Closes the lines that killed processes left, of one download or of all. They end at the row's last sign of life.
pub(super) fn close_open(transaction: &Transaction<'_>, id: Option<DownloadId>) -> Result<usize, Fault> {
    // Two statements: one for both cases would be planned anew for each download, and read the attempts of all of them.
    const CLOSE: &str = "UPDATE attempts
         SET outcome = 'lost', ended_at = downloads.updated_at, offset_to = downloads.downloaded_bytes
         FROM downloads
         WHERE downloads.id = attempts.download_id AND attempts.ended_at IS NULL";
    const OF_ONE: &str = " AND attempts.download_id = ?1";
    Ok(match id {
        Some(id) => transaction.prepare_cached(&[CLOSE, OF_ONE].concat())?.execute([id])?,
        None => transaction.prepare_cached(CLOSE)?.execute([])?,
    })
}

/// All lines of a download, first to last.
pub(super) fn lines(connection: &Connection, id: DownloadId) -> Result<Vec<AttemptLine>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM attempts WHERE download_id = ?1 ORDER BY attempt")?;
    let lines = statement.query_map([id], read_attempt)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

fn read_attempt(row: &rusqlite::Row<'_>) -> Result<AttemptLine, rusqlite::Error> {
    Ok(AttemptLine {
        attempt: row.get("attempt")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        offset_from: count(row, "offset_from")?.unwrap_or_default(),
        offset_to: count(row, "offset_to")?,
        outcome: row.get("outcome")?,
        class: row.get("class")?,
        code: row.get("code")?,
        error: row.get("error")?,
        wait_ms: count(row, "wait_ms")?,
        asked_by: row.get("asked_by")?,
        restart_reason: row.get("restart_reason")?,
        discarded_bytes: count(row, "discarded_bytes")?,
    })
}

/// A count, if there is one. The history is for people: a senseless number in it stops nothing.
fn count(row: &rusqlite::Row<'_>, column: &str) -> Result<Option<u64>, rusqlite::Error> {
    let value: Option<i64> = row.get(column)?;
    Ok(value.map(|value| u64::try_from(value).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn every_page_is_read_from_an_index() {
        for (of_status, after) in [(false, false), (false, true), (true, false), (true, true)] {
            let steps = file::plan(statement(of_status, after));
            let index = if of_status { "downloads_by_status_and_change (status=?" } else { "downloads_by_change" };
            assert!(steps[0].contains(index), "{steps:?}");
            // Another step would sort what was found.
            assert_eq!(steps.len(), 1, "{steps:?}");
        }
    }
}
