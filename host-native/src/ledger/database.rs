//! The open database, and how a write is repeated while another process is writing.
//!
//! Invariant: every write is one immediate transaction; it is durable when it returns, or has not happened.

use super::file::{self, OpenError};
use super::migrate;
use regrip_core::Error;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 64;

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

impl Default for Patience {
    fn default() -> Self {
        Patience {
            busy_timeout: Duration::from_secs(5),
            tries: 6,
            max_pause: Duration::from_millis(250),
        }
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

/// The connection, owned by the ledger's thread.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    patience: Patience,
}

impl Database {
    /// Opens the ledger, making the file and its folder where they are missing, and brings it up to date.
    pub(super) fn open(path: &Path, patience: Patience) -> Result<Self, OpenError> {
        file::make(path).map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        let connection = file::open(path, patience)?;
        let mut database = Database {
            connection,
            path: path.to_owned(),
            patience,
        };
        database.settle()?;
        Ok(database)
    }

    /// Only now, after every check, may the file change.
    fn settle(&mut self) -> Result<(), OpenError> {
        file::make_private(&self.path).map_err(|source| OpenError::File {
            path: self.path.clone(),
            source,
        })?;
        self.connection
            .set_prepared_statement_cache_capacity(STATEMENTS);
        self.patiently(|database| set_pragmas(&database.connection))
            .map_err(|source| file::refusal(source, &self.path))?;
        for migration in migrate::MIGRATIONS {
            let path = self.path.clone();
            self.transact(|transaction| Ok(migrate::run(transaction, migration)?))
                .map_err(|fault| match fault {
                    Fault::Sqlite(source) => file::refusal(source, &path),
                    Fault::Core(error) => OpenError::Corrupt {
                        path,
                        what: error.to_string(),
                    },
                })?;
        }
        Ok(())
    }

    /// Reads, with `what` for the error's text.
    pub(super) fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        read(&self.connection).map_err(|fault| self.error(what, fault))
    }

    /// Writes in one transaction, which is durable when this returns. `write` may run several times, each time from the
    /// state before.
    pub(super) fn write<T>(
        &mut self,
        what: &'static str,
        write: impl Fn(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let written = self.transact(write);
        written.map_err(|fault| self.error(what, fault))
    }

    fn transact<T>(
        &mut self,
        write: impl Fn(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.patiently(|database| {
            // Immediate: a lock taken at the first write, after a read, would ignore the busy timeout.
            let transaction = database
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Repeats `act` while another process holds the database, a bounded number of times.
    fn patiently<T, E: MaybeBusy>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 1..self.patience.tries {
            match act(self) {
                Err(error) if error.is_busy() => std::thread::sleep(self.pause()),
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
                Error::DiskFull {
                    path: self.path.display().to_string(),
                    source: Some(error.into()),
                }
            }
            Fault::Sqlite(error) => Error::ledger(what, error),
        }
    }

    /// Writes the log back into the file, so that nothing lies beside it, and closes.
    pub(super) fn close(self) {
        // Nothing depends on it: the next one to open the file finds the log and goes on from there.
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        drop(self.connection.close());
    }
}

trait MaybeBusy {
    fn is_busy(&self) -> bool;
}

impl MaybeBusy for rusqlite::Error {
    fn is_busy(&self) -> bool {
        matches!(
            self.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
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

fn set_pragmas(connection: &Connection) -> Result<(), rusqlite::Error> {
    // A file system without shared memory keeps its rollback journal, which is as durable.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;   -- a commit is on the disk when it returns
         PRAGMA foreign_keys = ON;    -- a download takes its attempts with it
         PRAGMA trusted_schema = OFF; -- nothing in the file runs code
         PRAGMA journal_size_limit = 67108864;",
    )
}
