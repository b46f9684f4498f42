//! The database of jack, from which `regrip migrate` takes over what is unfinished.
//!
//! Invariant: the file is not written to, and nothing is put beside it: it is read as if nobody could change it, which is made
//! sure of by its locks. If an ended process left a log beside it, a copy of both is read.

use super::file::{has_log, immutable};
use crate::ledger::NewPeerKey;
use regrip_core::error::Source;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Migrations of the schema that is known.
const KNOWN: i64 = 11;

/// A download of jack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JackDownload {
    /// The stub that asked for it.
    pub stub_name: String,
    /// The peer, by the digest of its URL.
    pub peer_id: String,
    /// The peer's name.
    pub peer_name: String,
    /// The item.
    pub item_id: String,
    /// The file.
    pub destination: PathBuf,
    /// Its size, as the peer said.
    pub release_size: u64,
    /// The release, as the peer described it.
    pub release_json: String,
    /// How far it is.
    pub status: JackStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: SystemTime,
    /// The category and the server by which it was added, if a download client added it.
    pub client: Option<(String, String)>,
}

/// The state of a download that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JackStatus {
    /// Under way, or it was when jack ended.
    Downloading,
    /// Complete, and not imported yet.
    ImportQueued,
    /// It failed; its part may be left.
    Failed,
}

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JackRefused {
    /// The file.
    #[error("it cannot be read")]
    File(#[from] io::Error),
    /// A program has it open.
    #[error("process {pid} has it open: stop jack first, or both would write the same files")]
    InUse {
        /// The process.
        pid: i32,
    },
    /// Something else.
    #[error("it is not a database of jack: {0}")]
    NotJacks(String),
    /// A later version made it.
    #[error("a newer version of jack made it: it has schema {found}, and this version of regrip knows up to {KNOWN}")]
    Newer {
        /// Its schema.
        found: i64,
    },
    /// A row makes no sense.
    #[error("its table {table} has a row that makes no sense")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: Source,
    },
}

/// Reads what is unfinished in a database of jack, and the keys that it issued. A copy that may be needed is made in the folder
/// `scratch`, and removed.
///
/// # Errors
/// [`JackRefused`].
pub fn read_jack(path: &Path, scratch: &Path) -> Result<(Vec<JackDownload>, Vec<NewPeerKey>), JackRefused> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file").into());
    }
    refuse_if_open(&file)?;
    if let Ok(shared) = File::open(beside(path, "-shm")) {
        refuse_if_open(&shared)?;
    }
    // Dropped, and removed, at the end.
    let copy = if has_log(path) || has_journal(path) { Some(ScratchCopy::of(path, scratch)?) } else { None };
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = match &copy {
        Some(copy) => Connection::open_with_flags(&copy.0, flags | OpenFlags::SQLITE_OPEN_READ_WRITE),
        None => Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_READ_ONLY),
    };
    let connection = connection.map_err(not_jacks)?;
    check(&connection)?;
    Ok((downloads(&connection)?, keys(&connection)?))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn has_journal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0)
}

/// What SQLite puts beside a database.
const BESIDE: [&str; 3] = ["-wal", "-journal", "-shm"];

/// A copy of a database and its log, until it is dropped.
struct ScratchCopy(PathBuf);

impl ScratchCopy {
    fn of(path: &Path, scratch: &Path) -> io::Result<ScratchCopy> {
        let copy = ScratchCopy(scratch.join(".jack.sqlite"));
        copy.remove();
        std::fs::copy(path, &copy.0)?;
        for suffix in ["-wal", "-journal"] {
            match std::fs::copy(beside(path, suffix), beside(&copy.0, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(copy)
    }

    fn remove(&self) {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(&self.0);
        for suffix in BESIDE {
            let _ = std::fs::remove_file(beside(&self.0, suffix));
        }
    }
}

impl Drop for ScratchCopy {
    fn drop(&mut self) {
        self.remove();
    }
}

/// SQLite locks bytes of the file; with a log, a program that has it open does so all the time.
fn refuse_if_open(file: &File) -> Result<(), JackRefused> {
    let whole = Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    match fcntl_getlk(file, &whole).map_err(io::Error::from)? {
        Some(held) => Err(JackRefused::InUse { pid: held.pid.map_or(0, rustix::process::Pid::as_raw_pid) }),
        None => Ok(()),
    }
}

fn not_jacks(error: rusqlite::Error) -> JackRefused {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
            JackRefused::File(io::Error::other(error.to_string()))
        }
        _ => JackRefused::NotJacks(error.to_string()),
    }
}

fn check(connection: &Connection) -> Result<(), JackRefused> {
    let columns = |table: &str| {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
        names.collect::<Result<Vec<_>, _>>()
    };
    let there = columns("downloads").map_err(not_jacks)?;
    const NEEDED: [&str; 9] = [
        "torrent_filename",
        "peer_id",
        "peer_name",
        "item_id",
        "dest_path",
        "release_size",
        "release_json",
        "status",
        "started_at",
    ];
    if let Some(missing) = NEEDED.iter().find(|name| !there.iter().any(|column| column == *name)) {
        let what = match there.is_empty() {
            true => "it has no table downloads".to_owned(),
            false => format!("its table downloads has no column {missing}"),
        };
        return Err(JackRefused::NotJacks(what));
    }
    let schemas = "SELECT count(*) FROM __drizzle_migrations";
    // A database that somebody restored from a dump may lack the table; its columns were checked.
    let found: i64 = connection.query_row(schemas, [], |row| row.get(0)).unwrap_or_default();
    if found > KNOWN { Err(JackRefused::Newer { found }) } else { Ok(()) }
}

fn downloads(connection: &Connection) -> Result<Vec<JackDownload>, JackRefused> {
    // In its first schemas `completed` was what `imported` is now.
    let select = "SELECT * FROM downloads WHERE status IN ('downloading', 'import_queued', 'failed') ORDER BY id";
    let mut statement = connection.prepare(select).map_err(not_jacks)?;
    let found = statement.query_map([], |row| Ok(download(row))).map_err(not_jacks)?;
    found.map(|row| row.map_err(not_jacks)?.map_err(|source| JackRefused::Row { table: "downloads", source })).collect()
}

fn download(row: &Row<'_>) -> Result<JackDownload, Source> {
    let text = |column: &str| row.get::<_, String>(column);
    // Earlier schemas lack these columns.
    let optional = |column: &str| row.get::<_, Option<String>>(column).ok().flatten();
    let size: i64 = row.get("release_size")?;
    Ok(JackDownload {
        stub_name: text("torrent_filename")?,
        peer_id: text("peer_id")?,
        peer_name: text("peer_name")?,
        item_id: text("item_id")?,
        destination: text("dest_path")?.into(),
        release_size: size.try_into()?,
        release_json: text("release_json")?,
        status: match text("status")?.as_str() {
            "downloading" => JackStatus::Downloading,
            "failed" => JackStatus::Failed,
            _ => JackStatus::ImportQueued,
        },
        error: optional("error"),
        started_at: humantime::parse_rfc3339(&text("started_at")?)?,
        client: optional("qb_category").zip(optional("qb_source_server").or_else(|| optional("source_server_id"))),
    })
}

/// The keys that peers have. Schemas before the seventh have no such table.
fn keys(connection: &Connection) -> Result<Vec<NewPeerKey>, JackRefused> {
    let Ok(mut statement) = connection.prepare("SELECT * FROM api_keys ORDER BY id") else {
        return Ok(Vec::new());
    };
    let found = statement.query_map([], |row| Ok(key(row))).map_err(not_jacks)?;
    found.map(|row| row.map_err(not_jacks)?.map_err(|source| JackRefused::Row { table: "api_keys", source })).collect()
}

fn key(row: &Row<'_>) -> Result<NewPeerKey, Source> {
    let id: i64 = row.get("id")?;
    let (hex, name): (String, Option<String>) = (row.get("key_hash")?, row.get("name")?);
    let mut hash = [0; 32];
    if hex.len() != 64 {
        return Err("a hash that is not a SHA-256".into());
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        let digits = hex.get(2 * at..2 * at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16)?;
    }
    let expires: Option<String> = row.get("expires_at")?;
    let created: String = row.get("created_at")?;
    let name = name.filter(|name| !name.trim().is_empty());
    Ok(NewPeerKey {
        name: name.unwrap_or_else(|| format!("jack's key {id}")),
        hash,
        created_at: humantime::parse_rfc3339(&created)?,
        expires_at: expires.map(|expires| humantime::parse_rfc3339(&expires)).transpose()?,
    })
}
