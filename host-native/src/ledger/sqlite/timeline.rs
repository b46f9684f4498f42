//! The attempts of a download, one line each.
//!
//! Invariant: a download has at most one line without an end. One that a killed process left is closed as `lost` when the
//! next begins.

use super::database::Fault;
use super::rows;
use super::values::{integer, milliseconds, time};
use crate::ledger::AttemptLine;
use regrip_core::record::{AttemptEnd, DownloadId, NewAttempt, Restart, Status};
use rusqlite::{Connection, OptionalExtension, Transaction, named_params};
use std::time::SystemTime;

/// Counts an attempt and opens its line.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    id: DownloadId,
    attempt: &NewAttempt,
) -> Result<u32, Fault> {
    close_open(transaction, Some(id))?;
    let at = time(attempt.at);
    let number: u32 = transaction
        .prepare_cached(
            "UPDATE downloads SET attempts = min(attempts + 1, 4294967295), status = :status, waiting_until = NULL,
                 waiting_why = NULL, started_at = coalesce(started_at, :at), updated_at = :at
             WHERE id = :id AND status IN ('queued', 'downloading', 'waiting', 'committing') RETURNING attempts",
        )?
        .query_row(
            named_params! { ":status": Status::Downloading.name(), ":at": at, ":id": id },
            |row| row.get(0),
        )
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
pub(super) fn note_restart(
    transaction: &Transaction<'_>,
    id: DownloadId,
    restart: &Restart,
) -> Result<(), Fault> {
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
pub(super) fn close_open(
    transaction: &Transaction<'_>,
    id: Option<DownloadId>,
) -> Result<usize, Fault> {
    // Two statements: one for both cases would be planned anew for each download, and read the attempts of all of them.
    const CLOSE: &str = "UPDATE attempts
         SET outcome = 'lost', ended_at = downloads.updated_at, offset_to = downloads.downloaded_bytes
         FROM downloads
         WHERE downloads.id = attempts.download_id AND attempts.ended_at IS NULL";
    const OF_ONE: &str = " AND attempts.download_id = ?1";
    Ok(match id {
        Some(id) => transaction
            .prepare_cached(&[CLOSE, OF_ONE].concat())?
            .execute([id])?,
        None => transaction.prepare_cached(CLOSE)?.execute([])?,
    })
}

/// All lines of a download, first to last.
pub(super) fn lines(connection: &Connection, id: DownloadId) -> Result<Vec<AttemptLine>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM attempts WHERE download_id = ?1 ORDER BY attempt")?;
    let lines = statement.query_map([id], read)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

fn read(row: &rusqlite::Row<'_>) -> Result<AttemptLine, rusqlite::Error> {
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

/// A count, where there is one. The history is for people: a senseless number in it stops nothing.
fn count(row: &rusqlite::Row<'_>, column: &str) -> Result<Option<u64>, rusqlite::Error> {
    let value: Option<i64> = row.get(column)?;
    Ok(value.map(|value| u64::try_from(value).unwrap_or_default()))
}
