//! A row with what the host adds to it, as lists and the API show it.

use super::database::Fault;
use super::rows;
use super::values::Columns;
use crate::store::FileStamp;
use regrip_core::record::{DownloadId, Row, Status};
use regrip_core::{Error, record::Source};
use rusqlite::{Connection, OptionalExtension, named_params};

/// A download and what is known about it besides. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The row.
    pub row: Row,
    /// The file's name.
    pub filename: String,
    /// The stub it came from.
    pub stub_name: Option<String>,
    /// The release as the peer sent it.
    pub release_json: Option<String>,
    /// How telling the servers about it went.
    pub import_state: Option<String>,
    /// The finished file's size and time, as they were noted.
    pub stamp: Option<FileStamp>,
    /// When it was accepted.
    pub created_at: String,
    /// When its first attempt began.
    pub started_at: Option<String>,
    /// When anything of it changed last.
    pub updated_at: String,
    /// When it was completed.
    pub completed_at: Option<String>,
}

impl Entry {
    /// `url` or `peer`.
    pub fn kind(&self) -> &'static str {
        match self.row.new.source {
            Source::Url { .. } => "url",
            Source::Peer { .. } => "peer",
        }
    }
}

/// Reads one entry.
pub(super) fn entry(connection: &Connection, id: DownloadId) -> Result<Entry, Fault> {
    let found = connection
        .prepare_cached("SELECT * FROM downloads WHERE id = ?1")?
        .query_row([id], |row| Ok(read(row)))
        .optional()?;
    Ok(found.ok_or(Error::NoSuchDownload(id))??)
}

/// Reads a page: newest change first, those after the entry `after`.
pub(super) fn list(
    connection: &Connection,
    status: Option<Status>,
    limit: u32,
    after: Option<DownloadId>,
) -> Result<Vec<Entry>, Fault> {
    if let Some(id) = after {
        let known = connection
            .prepare_cached("SELECT 1 FROM downloads WHERE id = ?1")?
            .exists([id])?;
        if !known {
            return Err(Error::NoSuchDownload(id).into());
        }
    }
    let mut statement = connection.prepare_cached(
        "SELECT * FROM downloads
         WHERE (:status IS NULL OR status = :status)
             AND (:after IS NULL
                  OR (updated_at, id) < (SELECT updated_at, id FROM downloads WHERE id = :after))
         ORDER BY updated_at DESC, id DESC
         LIMIT :limit",
    )?;
    let found = statement.query_and_then(
        named_params! {
            ":status": status.map(Status::name),
            ":after": after,
            ":limit": limit,
        },
        |row| Ok(read(row)?),
    )?;
    found.collect()
}

fn read(row: &rusqlite::Row<'_>) -> Result<Entry, Error> {
    let known = rows::read(row)?;
    let columns = Columns::new(row, known.id);
    let mtime_ns: Option<i64> = columns.get("completed_mtime_ns")?;
    let size = columns.count_if_any("completed_size")?;
    Ok(Entry {
        row: known,
        filename: columns.get("filename")?,
        stub_name: columns.get("stub_name")?,
        release_json: columns.get("release_json")?,
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
