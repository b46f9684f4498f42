//! The Postgres that `tests/fleet/run` has started.

use regrip::ledger::PostgresLedger;
use std::process::Command;
use std::time::Duration;

/// How long a claim lasts in tests.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// A schema of its own, with nothing in it. It goes with the server.
pub(crate) struct Schema(String);

impl Schema {
    pub(crate) fn new() -> Schema {
        let schema = Schema(format!("test_{:016x}", fastrand_of_the_system()));
        schema.execute(&format!("CREATE SCHEMA {}", schema.0));
        schema
    }

    /// The URL of the database with this schema.
    pub(crate) fn url(&self) -> String {
        self.url_with("")
    }

    /// The same, with further options.
    pub(crate) fn url_with(&self, more: &str) -> String {
        format!("{}?options=-csearch_path%3D{}{more}", server(), self.0)
    }

    pub(crate) fn open(&self) -> PostgresLedger {
        PostgresLedger::open(&self.url(), LEASE).unwrap()
    }

    /// Runs SQL by `psql`, as an administrator would, and returns what it printed.
    pub(crate) fn execute(&self, sql: &str) -> String {
        let ran = Command::new("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--command",
                sql,
                &self.url(),
            ])
            .output()
            .expect("psql starts");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }
}

/// The URL of the server's database, without a query.
pub(crate) fn server() -> String {
    std::env::var("REGRIP_TEST_POSTGRES").expect("run these tests by tests/fleet/run")
}

fn fastrand_of_the_system() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
