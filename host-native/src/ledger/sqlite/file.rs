//! The ledger's file: created for its owner only, checked before it is opened for writing, and migrated.
//!
//! Invariant: a file that is not a sound ledger of this version or an older one is refused before a byte of it, or of what
//! lies beside it, changes.
//!
//! A migration is never edited once released. Each runs in one transaction together with the number it leads to, so that a
//! process killed in it leaves the file at the schema before.

use super::database::Patience;
use crate::store::FileStamp;
use crate::sync::lock;
use regrip_core::DownloadId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// The most examinations, if other processes keep writing meanwhile.
const LOOKS: u32 = 8;

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder or the file cannot be made, opened or read.
    #[error("cannot open the ledger {path}", path = .path.display())]
    File {
        /// The ledger, or its folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A later version of regrip wrote it.
    #[error(
        "the ledger {path} has schema {found}, this version of regrip knows up to {known}",
        path = .path.display()
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest known one.
        known: i64,
    },
    /// Not a database, or a damaged one.
    #[error("{path} is damaged or not a ledger: {what}", path = .path.display())]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// SQLite failed in another way.
    #[error("cannot open the ledger {path}", path = .path.display())]
    Sqlite {
        /// The ledger.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Returns `true` if the place cannot be used, and `false` if the file that is there is the reason.
    pub(crate) fn is_of_its_place(&self) -> bool {
        match self {
            OpenError::File { .. } => true,
            OpenError::Newer { .. } | OpenError::Corrupt { .. } => false,
            OpenError::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::CannotOpen
                        | ErrorCode::ReadOnly
                        | ErrorCode::PermissionDenied
                        | ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::FileLockingProtocolFailed
                )
            ),
        }
    }
}

/// Mode 0600 before SQLite writes the first byte; the files it puts beside take the mode from this one.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::metadata(path)?.is_file() {
                return Ok(());
            }
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))
        }
        Err(error) => Err(error),
    }
}

/// The downloads that this process keeps others from driving: locks on bytes of the state file far behind its end, which the kernel
/// drops with the process.
///
/// Closing a descriptor of a file drops the locks that SQLite has on it by another one, so this one is never closed, and a file has one.
#[derive(Clone, Debug)]
pub(super) struct Holds {
    path: PathBuf,
    /// Opened when it is first needed.
    file: OnceLock<Option<&'static File>>,
}

/// The byte of download 0.
const FIRST_BYTE: i64 = 1 << 62;

impl Holds {
    /// For the state file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        Holds { path: path.to_owned(), file: OnceLock::new() }
    }

    fn open(path: &Path) -> Option<&'static File> {
        static OPEN: Mutex<BTreeMap<(u64, u64), &'static File>> = Mutex::new(BTreeMap::new());
        let id = |found: Metadata| (found.dev(), found.ino());
        let mut open = lock(&OPEN);
        if let Some(file) = open.get(&std::fs::metadata(path).map(id).ok()?) {
            return Some(*file);
        }
        let file: &'static File = Box::leak(Box::new(OpenOptions::new().read(true).write(true).open(path).ok()?));
        open.insert(file.metadata().map(id).ok()?, file);
        Some(file)
    }

    /// Returns `false` if another process has the download.
    pub(super) fn take(&self, id: DownloadId) -> bool {
        // Of a system or file system without such locks nothing is known.
        !matches!(self.set(id, true), Err(Errno::AGAIN | Errno::ACCESS))
    }

    pub(super) fn let_go(&self, id: DownloadId) {
        let _ = self.set(id, false); // it ends with the process
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn set(&self, id: DownloadId, held: bool) -> Result<(), Errno> {
        let Some(file) = self.file.get_or_init(|| Holds::open(&self.path)) else {
            return Ok(());
        };
        // SAFETY: all zeros are a value of this structure of integers.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        let kind = if held { libc::F_WRLCK } else { libc::F_UNLCK };
        (range.l_type, range.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
        (range.l_start, range.l_len) = (FIRST_BYTE.saturating_add(id), 1);
        // SAFETY: the descriptor is open as long as the process runs, and the structure outlives the call.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
        }
    }

    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    fn set(&self, _id: DownloadId, _held: bool) -> Result<(), Errno> {
        Ok(())
    }
}

/// An older file, or one put there by hand, may be open to others.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// A connection to a file that is a sound ledger, or empty.
pub(super) fn open(path: &Path, patience: Patience) -> Result<Connection, OpenError> {
    let fail = |source| refusal(source, path);
    accept(look(path), path).or_else(|refused| {
        // The valid content may be in the log that a killed process left; only SQLite can read that.
        if has_log(path) { Ok(()) } else { Err(refused) }
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(patience.busy_timeout).map_err(fail)?;
    // Closing it on a refusal must not write the log into the file.
    let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keep_log, true).map_err(fail)?;
    let verdict = if has_log(path) { examine(&connection) } else { check(&connection) };
    accept(verdict, path)?;
    connection.set_db_config(keep_log, false).map_err(fail)?;
    Ok(connection)
}

fn accept(verdict: Result<Verdict, rusqlite::Error>, path: &Path) -> Result<(), OpenError> {
    let owned = path.to_owned();
    match verdict {
        Ok(Verdict::Ours) => Ok(()),
        Ok(Verdict::Newer { found, known }) => Err(OpenError::Newer { path: owned, found, known }),
        Ok(Verdict::Corrupt(what)) => Err(OpenError::Corrupt { path: owned, what }),
        Err(source) => Err(refusal(source, path)),
    }
}

/// Examines the file as if nobody could change it: no lock is taken and nothing is put beside it. The result counts
/// only if nobody changed it meanwhile.
fn look(path: &Path) -> Result<Verdict, rusqlite::Error> {
    let mut found = look_once(path);
    for _ in 1..LOOKS {
        if matches!(found, Ok((Verdict::Ours, _) | (_, true))) {
            break;
        }
        found = look_once(path);
    }
    found.map(|(verdict, _)| verdict)
}

/// The verdict, and whether the file stayed as it was.
fn look_once(path: &Path) -> Result<(Verdict, bool), rusqlite::Error> {
    let stamp = || FileStamp::of(path).ok();
    let before = stamp();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let verdict = Connection::open_with_flags(immutable(path), flags).and_then(|connection| examine(&connection));
    let quiet = stamp() == before;
    match verdict {
        Err(error) if is_corrupt(&error) => Ok((Verdict::Corrupt(error.to_string()), quiet)),
        verdict => verdict.map(|verdict| (verdict, quiet)),
    }
}

/// The path as SQLite reads a URI.
pub(super) fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

pub(super) fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0)
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// What SQLite said, as a reason not to open.
pub(super) fn refusal(source: rusqlite::Error, path: &Path) -> OpenError {
    let path = path.to_owned();
    if is_corrupt(&source) {
        let what = source.to_string();
        return OpenError::Corrupt { path, what };
    }
    OpenError::Sqlite { path, source }
}

/// The steps to the schema of this version. The first leads to schema 1 (`user_version`), and so on.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_downloads.sql"),
    include_str!("../migrations/0002_attempts.sql"),
    include_str!("../migrations/0003_shared_digests.sql"),
    include_str!("../migrations/0004_list_by_status.sql"),
    include_str!("../migrations/0005_to_import.sql"),
    include_str!("../migrations/0006_shared_versions.sql"),
    include_str!("../migrations/0007_left_stubs_and_bounds.sql"),
    include_str!("../migrations/0008_imports.sql"),
    include_str!("../migrations/0009_full_responses.sql"),
    include_str!("../migrations/0010_digests.sql"),
    include_str!("../migrations/0011_mirrors.sql"),
    include_str!("../migrations/0012_client_records.sql"),
    include_str!("../migrations/0013_peer_keys.sql"),
    include_str!("../migrations/0014_uploads.sql"),
];

/// The schema's number in this version.
const KNOWN: i64 = MIGRATIONS.len() as i64;
/// The application id of our databases, "rgrp".
const APPLICATION_ID: i64 = 0x7267_7270;

/// What a file turned out to be.
pub(super) enum Verdict {
    /// Empty, or a ledger up to this version's schema.
    Ours,
    /// A later version's.
    Newer {
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Something else, or damaged.
    Corrupt(String),
}

/// Says whose a file is and how far along.
pub(super) fn check(connection: &Connection) -> Result<Verdict, rusqlite::Error> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let found = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    if tables == 0 && found == 0 {
        return Ok(Verdict::Ours);
    }
    if application != APPLICATION_ID || found < 1 {
        return Ok(Verdict::Corrupt("a database of another program".to_owned()));
    }
    if found > KNOWN {
        let known = KNOWN;
        return Ok(Verdict::Newer { found, known });
    }
    Ok(Verdict::Ours)
}

/// [`check`], and whether every page is sound.
pub(super) fn examine(connection: &Connection) -> Result<Verdict, rusqlite::Error> {
    let verdict = check(connection)?;
    if !matches!(verdict, Verdict::Ours) {
        return Ok(verdict);
    }
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(match health.as_str() {
        "ok" => Verdict::Ours,
        _ => Verdict::Corrupt(health),
    })
}

/// Brings the file from the schema before to schema `to`, unless another process has done so. The number is read within the
/// transaction: another process may have been first.
pub(super) fn run(transaction: &Transaction<'_>, to: i64, sql: &str) -> Result<(), rusqlite::Error> {
    let at: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if at >= to {
        return Ok(());
    }
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", to)
}

/// The steps of SQLite's plan for a statement, on an empty ledger.
#[cfg(test)]
pub(super) fn plan(statement: &str) -> Vec<String> {
    let mut connection = Connection::open_in_memory().unwrap();
    for (to, sql) in (1..).zip(MIGRATIONS) {
        let transaction = connection.transaction().unwrap();
        run(&transaction, to, sql).unwrap();
        transaction.commit().unwrap();
    }
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let mut plan = connection.prepare(&explain).unwrap();
    let steps = plan.raw_query().mapped(|row| row.get("detail"));
    steps.collect::<Result<_, _>>().unwrap()
}
