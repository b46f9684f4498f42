//! The native host of regrip: HTTP by surf on a transport of our own, part files, a SQLite ledger, and the command line.
#![allow(async_fn_in_trait)]

pub mod ledger;
pub mod store;
pub mod transport;
