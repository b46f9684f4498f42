//! Every ledger there is, each new and empty.

use regrip::ledger::SqliteLedger;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A SQLite ledger's folder, in memory if possible: a commit waits for the disk.
pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Sqlite {
        let memory = Path::new("/dev/shm");
        Sqlite(if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }

    pub(crate) fn open(&self) -> SqliteLedger {
        SqliteLedger::open(&self.path()).unwrap()
    }
}

/// A schema of its own in the database of `tests/fleet/run`.
#[cfg(feature = "fleet")]
#[path = "postgres.rs"]
pub(crate) mod postgres;

/// Runs tests, which take a ledger, on every one of them.
macro_rules! on_every_ledger {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { let place = super::ledgers::Sqlite::new(); super::$name(&place.open()); })*
        }
        #[cfg(feature = "fleet")]
        mod postgres {
            $(#[test] fn $name() { let place = super::ledgers::postgres::Schema::new(); super::$name(&place.open()); })*
        }
    };
}
pub(crate) use on_every_ledger;
