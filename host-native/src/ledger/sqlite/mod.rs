//! A ledger in one SQLite file.
//!
//! Invariant: a call returns after its transaction is durable (WAL, `synchronous = FULL`). Several processes may share the
//! file. What only shows downloads is read beside the writes, by a connection of its own: it sees all that was durable when
//! it was asked for.
//!
//! Begin with `ledger`; `queue` and `database` say how statements are run. The tables of `serve`, of a
//! share and of peers' keys are in `serve`. `jack` reads another program's database.

mod catalogue;
mod change;
mod database;
mod file;
pub(super) mod jack;
mod ledger;
mod queue;
mod rows;
mod serve;
#[cfg(feature = "fleet")]
mod uploads;

pub use database::Patience;
pub(crate) use database::is_busy;
pub use file::OpenError;
pub use ledger::SqliteLedger;
