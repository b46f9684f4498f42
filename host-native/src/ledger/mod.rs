//! The ledger: one SQLite file that remembers every download.
//!
//! Invariant: a call returns after its transaction is durable (WAL, `synchronous = FULL`), and the row it leaves is the
//! one [`Row::apply`](regrip_core::record::Row::apply) describes. Several processes may share the file. What only shows downloads is
//! read beside the writes, by a connection of its own: it sees all that was durable when it was asked for.
//!
//! Read [`SqliteLedger`] first. It decides nothing about downloads.

mod change;
mod database;
mod delivered;
mod download;
mod entry;
mod file;
mod imports;
mod left_stubs;
mod migrate;
mod origin;
mod queue;
mod rows;
mod serve_tables;
mod shared;
mod sqlite;
mod timeline;
mod values;

pub use database::Patience;
pub(crate) use database::is_busy;
pub(crate) use delivered::{is_as_left, is_delivered};
pub use download::Download;
pub use entry::Entry;
pub use file::OpenError;
pub use serve_tables::{Import, ImportState, LeftStub, Origin};
pub use shared::SharedDigest;
pub use sqlite::SqliteLedger;
pub use timeline::AttemptLine;
