//! The schema's numbered steps, and whether a file may take them.
//!
//! A step is never edited once released. Each runs in one transaction together with the number it leads to, so that a
//! process killed in it leaves the file at the step before.

use rusqlite::{Connection, Transaction};

/// One step.
pub(super) struct Migration {
    /// The schema's number after it (`user_version`).
    pub(super) to: i64,
    sql: &'static str,
}

/// All of them, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        to: 1,
        sql: include_str!("../migrations/0001_downloads.sql"),
    },
    Migration {
        to: 2,
        sql: include_str!("../migrations/0002_attempts.sql"),
    },
    Migration {
        to: 3,
        sql: include_str!("../migrations/0003_shared_digests.sql"),
    },
    Migration {
        to: 4,
        sql: include_str!("../migrations/0004_list_by_status.sql"),
    },
    Migration {
        to: 5,
        sql: include_str!("../migrations/0005_to_import.sql"),
    },
    Migration {
        to: 6,
        sql: include_str!("../migrations/0006_shared_versions.sql"),
    },
    Migration {
        to: 7,
        sql: include_str!("../migrations/0007_left_stubs_and_bounds.sql"),
    },
    Migration {
        to: 8,
        sql: include_str!("../migrations/0008_imports.sql"),
    },
    Migration {
        to: 9,
        sql: include_str!("../migrations/0009_full_responses.sql"),
    },
    Migration {
        to: 10,
        sql: include_str!("../migrations/0010_digests.sql"),
    },
];

/// A number that comes twice would be a step that is never taken.
const _: () = {
    let mut number = 0;
    while number < MIGRATIONS.len() {
        assert!(MIGRATIONS[number].to == number as i64 + 1);
        number += 1;
    }
};

/// The schema's number in this version.
const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].to;
/// What tells our databases from others, "rgrp".
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

/// Takes a step, unless the file is past it. The number is read within the transaction: another process may have been first.
pub(super) fn run(
    transaction: &Transaction<'_>,
    migration: &Migration,
) -> Result<(), rusqlite::Error> {
    let at: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if at >= migration.to {
        return Ok(());
    }
    transaction.execute_batch(migration.sql)?;
    transaction.pragma_update(None, "user_version", migration.to)
}
