//! A ledger in one SQLite file.
//!
//! Invariant: a call returns after its transaction is durable (WAL, `synchronous = FULL`). Several processes may share the
//! file. What only shows downloads is read beside the writes, by a connection of its own: it sees all that was durable when
//! it was asked for.
//!
//! Begin with `ledger`; `queue` and `database` say how statements are run. The tables of `serve` are in `serve`, that of a
//! share in `shared`.

mod catalogue;
mod change;
mod database;
mod file;
mod ledger;
mod queue;
mod rows;
mod serve;

pub use database::Patience;
pub(crate) use database::is_busy;
pub use file::OpenError;
pub use ledger::SqliteLedger;
