//! Reads rows with what the host adds to them, as lists and the API show them.

use super::database::Fault;
use super::rows;
use super::values::Columns;
use crate::ledger::Entry;
use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::record::{DownloadId, Status};
use rusqlite::{Connection, OptionalExtension, ToSql};

/// Reads one entry.
pub(super) fn entry(connection: &Connection, id: DownloadId) -> Result<Entry, Fault> {
    let found = connection
        .prepare_cached("SELECT * FROM downloads WHERE id = ?1")?
        .query_row([id], |row| Ok(read(connection, row, true)))
        .optional()?;
    Ok(found.ok_or(Error::NoSuchDownload(id))??)
}

/// Reads a page, the releases left out: newest change first, of these statuses or, where none is named, of all; those after the entry `after`.
pub(super) fn list(
    connection: &Connection,
    statuses: &[Status],
    limit: u32,
    after: Option<DownloadId>,
) -> Result<Vec<Entry>, Fault> {
    let after = after.map(|id| place(connection, id)).transpose()?;
    let pages = match statuses {
        [] => vec![page(connection, None, limit, after.as_ref())?],
        statuses => {
            let pages = statuses
                .iter()
                .map(|status| page(connection, Some(*status), limit, after.as_ref()));
            pages.collect::<Result<Vec<_>, _>>()?
        }
    };
    let mut entries: Vec<Entry> = pages.into_iter().flatten().collect();
    if statuses.len() > 1 {
        entries.sort_by(|one, other| by_place(other).cmp(&by_place(one)));
        entries.truncate(limit as usize);
    }
    Ok(entries)
}

fn by_place(entry: &Entry) -> (&str, DownloadId) {
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
) -> Result<Vec<Entry>, Fault> {
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
    let mut statement =
        connection.prepare_cached("SELECT status, count(*) FROM downloads GROUP BY status")?;
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
fn read(
    connection: &Connection,
    row: &rusqlite::Row<'_>,
    with_release: bool,
) -> Result<Entry, Fault> {
    let known = rows::read(connection, row)?;
    let columns = Columns::new(row, known.id);
    let mtime_ns: Option<i64> = columns.get("completed_mtime_ns")?;
    let size = columns.count_if_any("completed_size")?;
    Ok(Entry {
        row: known,
        filename: columns.get("filename")?,
        stub_name: columns.get("stub_name")?,
        release_json: match with_release {
            true => columns.get("release_json")?,
            false => None,
        },
        import_state: columns.get("import_state")?,
        stamp: size
            .zip(mtime_ns)
            .map(|(size, mtime_ns)| FileStamp { size, mtime_ns }),
        created_at: columns.get("created_at")?,
        started_at: columns.get("started_at")?,
        updated_at: columns.get("updated_at")?,
        completed_at: columns.get("completed_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::migrate;
    use super::*;

    #[test]
    fn every_page_is_read_from_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in migrate::MIGRATIONS {
            let transaction = connection.transaction().unwrap();
            migrate::run(&transaction, migration).unwrap();
            transaction.commit().unwrap();
        }
        for (of_status, after) in [(false, false), (false, true), (true, false), (true, true)] {
            let explain = format!("EXPLAIN QUERY PLAN {}", statement(of_status, after));
            let mut plan = connection.prepare(&explain).unwrap();
            let steps = plan
                .raw_query()
                .mapped(|row| row.get::<_, String>("detail"));
            let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
            let index = if of_status {
                "downloads_by_status_and_change (status=?"
            } else {
                "downloads_by_change"
            };
            assert!(steps[0].contains(index), "{steps:?}");
            // Another step would sort what was found.
            assert_eq!(steps.len(), 1, "{steps:?}");
        }
    }
}
