//! The open database, and how a write is repeated while another process is writing.
//!
//! Invariant: every write is part of one immediate transaction; it is durable when it is answered, or has not happened.
//! Writes in one transaction share its sync and nothing else: if one of them or the commit fails, the transaction is rolled
//! back and each write is repeated in its own.
//!
//! Numbers, times and words are read back from the database without trusting it.

use super::file::{self, OpenError};
use crate::ledger::cause;
pub(super) use crate::time::rfc3339 as time;
use regrip_core::Error;
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, TransactionBehavior};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 64;

/// How long reading waits for another program that keeps even readers out.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a write waits for another process's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long SQLite itself waits, each time.
    pub busy_timeout: Duration,
    /// How often it is asked, at least once.
    pub tries: u32,
    /// The longest pause between two tries; each is drawn from zero to this.
    pub max_pause: Duration,
}

impl Patience {
    /// Of a server: its downloads wait minutes rather than fail, and its end does not wait for a long try.
    pub const SERVER: Patience =
        Patience { busy_timeout: Duration::from_secs(1), tries: 300, max_pause: Duration::from_millis(250) };
}

impl Default for Patience {
    fn default() -> Self {
        Patience { busy_timeout: Duration::from_secs(5), tries: 6, max_pause: Duration::from_millis(250) }
    }
}

/// What can go wrong within a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Core(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Core(error)
    }
}

/// Something asked of the database.
pub(super) trait Request: Send {
    /// For the error's text.
    fn what(&self) -> &'static str;
    /// Returns `true` if it changes anything.
    fn writes(&self) -> bool;
    /// Does it. May be called several times, each time from the state before.
    fn act(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault>;
    /// Sends its result.
    fn answer(self: Box<Self>, done: Result<(), Error>);
}

/// How requests fared in one transaction.
enum Together {
    /// Durable, all of them.
    Done,
    /// Another process kept the database for itself.
    Busy(rusqlite::ffi::Error, Option<String>),
    /// Nothing was done.
    Failed,
}

/// The connection, owned by the ledger's thread.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    patience: Patience,
    /// Whoever asks is about to end: no try follows another one.
    ending: Arc<AtomicBool>,
}

impl Database {
    /// Opens the ledger, making the file and its folder if they are missing, and brings it up to date.
    pub(super) fn open(path: &Path, patience: Patience) -> Result<Self, OpenError> {
        file::make(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let connection = file::open(path, patience)?;
        let mut database = Database { connection, path: path.to_owned(), patience, ending: Arc::default() };
        database.settle()?;
        Ok(database)
    }

    /// A second connection to a ledger that is open: it reads, beside what the first one writes, and waits for nobody long.
    pub(super) fn beside(path: &Path) -> Result<Self, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(READER_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
        Ok(Database {
            connection,
            path: path.to_owned(),
            patience: Patience { busy_timeout: READER_TIMEOUT, tries: 1, max_pause: Duration::ZERO },
            ending: Arc::default(),
        })
    }

    /// To be set once the process is about to end.
    pub(super) fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ending)
    }

    /// Only now, after every check, may the file change.
    fn settle(&mut self) -> Result<(), OpenError> {
        file::make_private(&self.path).map_err(|source| OpenError::File { path: self.path.clone(), source })?;
        self.connection.set_prepared_statement_cache_capacity(STATEMENTS);
        self.patiently(|database| set_pragmas(&database.connection))
            .map_err(|source| file::refusal(source, &self.path))?;
        // A step takes the lock of a write, which another process may have.
        let at: i64 = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|source| file::refusal(source, &self.path))?;
        for (to, sql) in (1..).zip(file::MIGRATIONS).filter(|(to, _)| *to > at) {
            let path = self.path.clone();
            self.transact(TransactionBehavior::Immediate, |transaction| Ok(file::run(transaction, to, sql)?)).map_err(
                |fault| match fault {
                    Fault::Sqlite(source) => file::refusal(source, &path),
                    Fault::Core(error) => OpenError::Corrupt { path, what: error.to_string() },
                },
            )?;
        }
        Ok(())
    }

    /// Executes the requests in order, in one transaction if possible, and answers them.
    pub(super) fn serve(&mut self, batch: &mut Vec<Box<dyn Request>>) {
        let any_writes = batch.iter().any(|request| request.writes());
        let together = match batch.len() {
            1 => Together::Failed,
            _ => self.together(batch),
        };
        for mut request in batch.drain(..) {
            let done = match &together {
                Together::Done => Ok(()),
                // Without writes it is the reading that was refused.
                Together::Busy(error, text) if request.writes() || !any_writes => {
                    let busy = rusqlite::Error::SqliteFailure(*error, text.clone());
                    Err(self.error(request.what(), busy.into()))
                }
                Together::Busy(..) | Together::Failed => self.alone(&mut *request),
            };
            request.answer(done);
        }
    }

    /// Does them in one transaction. What one of them, or the commit, did not stand takes all of it back.
    fn together(&mut self, batch: &mut [Box<dyn Request>]) -> Together {
        let behavior = behavior(batch.iter().any(|request| request.writes()));
        let done = self.transact(behavior, |transaction| {
            for request in &mut *batch {
                request.act(transaction)?;
            }
            Ok(())
        });
        match done {
            Ok(()) => Together::Done,
            // It was waited for as long as any of them would have waited.
            Err(Fault::Sqlite(rusqlite::Error::SqliteFailure(error, text))) if is_busy_code(error.code) => {
                Together::Busy(error, text)
            }
            Err(_) => Together::Failed,
        }
    }

    /// Each for itself, so that none suffers for another.
    fn alone(&mut self, request: &mut dyn Request) -> Result<(), Error> {
        self.transact(behavior(request.writes()), |transaction| request.act(transaction))
            .map_err(|fault| self.error(request.what(), fault))
    }

    /// Acts in one transaction, which is durable when this returns. `act` may run several times, each time from the state
    /// before.
    fn transact<T>(
        &mut self,
        behavior: TransactionBehavior,
        mut act: impl FnMut(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.patiently(|database| {
            let transaction = database.connection.transaction_with_behavior(behavior)?;
            // rusqlite panics over a file that is damaged in a way it does not expect, such as a column's name that is no text. What was
            // asked for fails then, and nothing else: a thread that ended would leave others without an answer.
            let acted = catch_unwind(AssertUnwindSafe(|| act(&transaction)));
            let value = acted.unwrap_or_else(|_| Err(damaged().into()))?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Repeats `act` while another process holds the database, a bounded number of times.
    fn patiently<T, E: MaybeBusy>(&mut self, mut act: impl FnMut(&mut Self) -> Result<T, E>) -> Result<T, E> {
        for _ in 1..self.patience.tries {
            match act(self) {
                Err(error) if error.is_busy() && !self.ending.load(Ordering::Relaxed) => {
                    std::thread::sleep(self.pause());
                }
                done => return done,
            }
        }
        act(self)
    }

    fn pause(&self) -> Duration {
        self.patience.max_pause.mul_f64(fastrand::f64())
    }

    fn error(&self, what: &'static str, fault: Fault) -> Error {
        match fault {
            Fault::Core(error) => error,
            Fault::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Error::DiskFull { path: self.path.display().to_string(), source: Some(error.into()) }
            }
            Fault::Sqlite(error) => Error::ledger(what, error),
        }
    }

    /// Writes the log back into the file, so that nothing lies beside it, and closes. Another process that keeps the file
    /// locked is not waited for.
    pub(super) fn close(self) {
        // Nothing depends on it: the next one to open the file finds the log and goes on from there.
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        drop(self.connection.close());
    }
}

fn damaged() -> Error {
    Error::Ledger { what: "its file seems to be damaged".to_owned(), source: None }
}

trait MaybeBusy {
    fn is_busy(&self) -> bool;
}

impl MaybeBusy for rusqlite::Error {
    fn is_busy(&self) -> bool {
        self.sqlite_error_code().is_some_and(is_busy_code)
    }
}

impl MaybeBusy for Fault {
    fn is_busy(&self) -> bool {
        match self {
            Fault::Sqlite(error) => error.is_busy(),
            Fault::Core(_) => false,
        }
    }
}

fn is_busy_code(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
}

/// Returns `true` if an error is that another program kept the database locked.
pub(crate) fn is_busy(error: &Error) -> bool {
    cause::<rusqlite::Error>(error).is_some_and(MaybeBusy::is_busy)
}

/// A lock taken at the first write, after a read, would ignore the busy timeout.
fn behavior(writes: bool) -> TransactionBehavior {
    if writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred }
}

fn set_pragmas(connection: &Connection) -> Result<(), rusqlite::Error> {
    // The bundled SQLite would plan a statement anew for each value that is bound, in case statistics say something about
    // it. There are none, and each of these statements has one good plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A file system without shared memory keeps its rollback journal, which is as durable.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;   -- a commit is on the disk when it returns
         PRAGMA foreign_keys = ON;    -- a download takes its attempts with it
         PRAGMA trusted_schema = OFF; -- nothing in the file runs code
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -512;    -- KiB: what is read often is little, and the system caches the rest",
    )
}

/// A count as SQLite keeps it. What does not fit is beyond any disk, so the largest number stands for it.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A wait as the database keeps it.
pub(super) fn milliseconds(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

/// A row of the table `downloads`, read column by column.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    id: i64,
    /// Where the last one was found. Read in the table's order, each is found at once.
    last: Cell<usize>,
}

impl<'a> Columns<'a> {
    /// Of the row of the download `id`.
    pub(super) fn new(row: &'a Row<'a>, id: i64) -> Self {
        let last = Cell::new(0);
        Columns { row, id, last }
    }

    /// The column, by its type.
    pub(super) fn get<T: FromSql>(&self, column: &str) -> Result<T, Error> {
        let got = self.find(column).and_then(|index| self.row.get(index));
        got.map_err(|error| self.bad(column, error))
    }

    fn find(&self, column: &str) -> Result<usize, rusqlite::Error> {
        let statement = self.row.as_ref();
        let from = self.last.get();
        let there = |&index: &usize| statement.column_name(index).is_ok_and(|name| name == column);
        let index = (from..statement.column_count()).chain(0..from).find(there);
        let index = index.ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))?;
        self.last.set(index);
        Ok(index)
    }

    /// A count: a negative one, or one too large for its type, is an error.
    pub(super) fn count<T: TryFrom<i64>>(&self, column: &str) -> Result<T, Error> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|_| self.bad(column, FromSqlError::OutOfRange(value)))
    }

    /// A count that may be missing.
    pub(super) fn count_if_any(&self, column: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.get::<Option<i64>>(column)? else {
            return Ok(None);
        };
        let count = u64::try_from(value);
        count.map(Some).map_err(|_| self.bad(column, FromSqlError::OutOfRange(value)))
    }

    /// One of a few words.
    pub(super) fn word<T>(&self, column: &str, named: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        let word: String = self.get(column)?;
        named(&word).ok_or_else(|| self.bad(column, UnknownWord(word)))
    }

    /// A time.
    pub(super) fn time(&self, column: &str) -> Result<SystemTime, Error> {
        let text: String = self.get(column)?;
        humantime::parse_rfc3339(&text).map_err(|error| self.bad(column, error))
    }

    /// The error for a value that makes no sense.
    pub(super) fn bad(&self, column: &str, source: impl Into<regrip_core::error::Source>) -> Error {
        Error::ledger(format!("reading {column} of download {}", self.id), source)
    }
}

/// A word this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is unknown to this version")]
pub(super) struct UnknownWord(pub(super) String);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Adds this many bytes to a table.
    struct Add {
        bytes: i64,
        answers: Answers,
    }

    type Answers = Arc<Mutex<Vec<(i64, Option<regrip_core::ErrorCode>)>>>;

    impl Request for Add {
        fn what(&self) -> &'static str {
            "adding"
        }
        fn writes(&self) -> bool {
            true
        }
        fn act(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault> {
            transaction.execute("INSERT INTO added VALUES (zeroblob(?1))", [self.bytes])?;
            Ok(())
        }
        fn answer(self: Box<Self>, done: Result<(), Error>) {
            let code = done.err().map(|error| error.code());
            self.answers.lock().unwrap().push((self.bytes, code));
        }
    }

    // L02
    #[test]
    fn one_that_does_not_fit_on_the_disk_takes_nothing_from_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let mut database = Database::open(&path, Patience::default()).unwrap();
        let table = "CREATE TABLE added (bytes BLOB); PRAGMA max_page_count = 100;";
        database.connection.execute_batch(table).unwrap();
        let answers = Answers::default();
        let sizes = [10, 20, 10_000_000, 30, 40];
        let mut batch: Vec<Box<dyn Request>> = Vec::new();
        for bytes in sizes {
            let answers = Arc::clone(&answers);
            batch.push(Box::new(Add { bytes, answers }));
        }
        database.serve(&mut batch);
        let wanted = sizes.map(|bytes| (bytes, (bytes > 100).then_some(regrip_core::ErrorCode::DiskFull)));
        assert_eq!(*answers.lock().unwrap(), wanted);

        let other = Connection::open(&path).unwrap();
        let select = "SELECT group_concat(length(bytes)) FROM added";
        let there: String = other.query_row(select, [], |row| row.get(0)).unwrap();
        assert_eq!(there, "10,20,30,40", "each once, in order");
    }

    #[test]
    fn counts_beyond_the_databases_range_become_its_largest() {
        assert_eq!(integer(u64::MAX), i64::MAX);
        assert_eq!(integer(7), 7);
        assert_eq!(milliseconds(Duration::MAX), i64::MAX);
    }
}
