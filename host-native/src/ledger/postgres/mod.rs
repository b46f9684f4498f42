//! The ledger in a Postgres database, for many workers (the feature `fleet`).
//!
//! Rows are what the core says they are: a change is read, applied by [`Row::apply`](regrip_core::record::Row::apply) and written back
//! in one statement, which names the revision that was read and the token of the claim. So it needs no second definition of a change in
//! SQL, no transaction over several round trips, and one connection for the writes of all tasks.
//!
//! Read [`PostgresLedger`] first, then [`link`], which repeats what was not answered. Leases are measured by the database's clock
//! alone: those of workers may be wrong.

mod address;
mod catalogue;
mod fleet;
mod ledger;
mod link;
mod schema;
mod serve;
mod stored;
mod uploads;

pub use address::BadDatabaseUrl;
pub use ledger::PostgresLedger;
pub(crate) use link::is_gone;
pub use schema::DatabaseRefused;
