//! How numbers, times and words are kept in the database, and read back without trusting it.

pub(super) use crate::time::rfc3339 as time;
use regrip_core::Error;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError};
use std::cell::Cell;
use std::time::{Duration, SystemTime};

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
        let there = |&index: &usize| {
            statement
                .column_name(index)
                .is_ok_and(|name| name == column)
        };
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
        count
            .map(Some)
            .map_err(|_| self.bad(column, FromSqlError::OutOfRange(value)))
    }

    /// One of a few words.
    pub(super) fn word<T>(
        &self,
        column: &str,
        named: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Error> {
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

    #[test]
    fn counts_beyond_the_databases_range_become_its_largest() {
        assert_eq!(integer(u64::MAX), i64::MAX);
        assert_eq!(integer(7), 7);
        assert_eq!(milliseconds(Duration::MAX), i64::MAX);
    }
}
