//! The database's tables: made in an empty database, brought up to date in one that is ours, and never touched in another one.

use super::address::{BadDatabaseUrl, ConnectError, DatabaseAddress};
use super::link::Link;
use regrip_core::Error;
use std::fmt::Write;

/// The steps to the schema of this version. The first leads to schema 1, and so on.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_downloads.sql"),
    include_str!("migrations/0002_uploads.sql"),
    include_str!("migrations/0003_rest.sql"),
];

/// Held by who changes the schema, so that of many workers one does. A number of our own: "regrip".
const LOCK: i64 = 0x7265_6772_6970;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseRefused {
    /// The URL names none.
    #[error("regrip.ledger.postgres is not a database's URL")]
    Url(#[from] BadDatabaseUrl),
    /// It cannot be connected to.
    #[error("cannot open the ledger")]
    Connect(#[source] Unconnected),
    /// It has tables, but not ours.
    #[error(
        "{0} is a database of another program: create an empty one, or a schema of its own with ?options=-csearch_path%3DNAME"
    )]
    OfAnotherProgram(String),
    /// A later version of regrip made it.
    #[error("the ledger in {at} has schema {found}, this version of regrip knows up to {known}")]
    Newer {
        /// The database.
        at: String,
        /// Its schema.
        found: i32,
        /// The latest known one.
        known: i32,
    },
    /// It refuses what is needed.
    #[error("cannot use the ledger in {at}")]
    Unusable {
        /// The database.
        at: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An attempt to connect that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unconnected(#[from] ConnectError);

impl DatabaseRefused {
    /// Returns `true` if the configuration is at fault, `false` if the database is.
    pub(crate) fn is_of_settings(&self) -> bool {
        match self {
            DatabaseRefused::Url(_) => true,
            DatabaseRefused::Connect(Unconnected(error)) => error.is_of_settings(),
            _ => false,
        }
    }
}

/// Checks whose the database is, and brings it up to date.
pub(super) async fn settle(link: &Link, target: &DatabaseAddress) -> Result<(), DatabaseRefused> {
    let unusable = |source: Error| DatabaseRefused::Unusable { at: target.to_string(), source: source.into() };
    let at = version(link).await.map_err(unusable)?;
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    match at {
        Version::None => {}
        Version::OfAnotherProgram => return Err(DatabaseRefused::OfAnotherProgram(target.to_string())),
        Version::Ours(found) if found > known => {
            return Err(DatabaseRefused::Newer { at: target.to_string(), found, known });
        }
        Version::Ours(found) if found == known => return Ok(()),
        Version::Ours(_) => {}
    }
    let migrated = link.script(&script()).await;
    migrated.map_err(|source| DatabaseRefused::Unusable { at: target.to_string(), source: source.into() })
}

enum Version {
    None,
    Ours(i32),
    OfAnotherProgram,
}

async fn version(link: &Link) -> Result<Version, Error> {
    let select = "SELECT
            count(*) FILTER (WHERE relname = 'regrip_schema') > 0,
            count(*) > 0
        FROM pg_catalog.pg_class
        WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
            AND relkind IN ('r', 'p', 'v', 'm', 'f')";
    let rows = link.run("looking at the database", select, &[]).await?;
    let (ours, any) = rows.first().map_or((false, false), |row| (row.get(0), row.get(1)));
    if !ours {
        return Ok(if any { Version::OfAnotherProgram } else { Version::None });
    }
    let rows = link.run("looking at the database", "SELECT version FROM regrip_schema", &[]).await?;
    Ok(rows.first().map_or(Version::OfAnotherProgram, |row| Version::Ours(row.get(0))))
}

/// All steps in one transaction, as a script is. Each is taken only if it was not taken yet: another worker may have been first.
fn script() -> String {
    let mut script = format!(
        "SELECT pg_advisory_xact_lock({LOCK});
         CREATE TABLE IF NOT EXISTS regrip_schema (version INTEGER NOT NULL);
         INSERT INTO regrip_schema SELECT 0 WHERE NOT EXISTS (SELECT FROM regrip_schema);"
    );
    for (sql, to) in MIGRATIONS.iter().zip(1_i32..) {
        // Writing to a string does not fail.
        let _ = write!(
            script,
            "DO $step$ BEGIN IF (SELECT version FROM regrip_schema) < {to} THEN
                 {sql}
                 UPDATE regrip_schema SET version = {to};
             END IF; END $step$;"
        );
    }
    script
}
