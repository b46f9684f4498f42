//! The native host of regrip: HTTP by surf on a transport of our own, part files, a SQLite ledger, and the command line.
//!
//! The path of a byte: [`transport`] reads it from the socket, the core counts it, [`store`] writes it, [`ledger`] records
//! the progress. [`host`] ties them together for the core's engine, [`cli`] is what a user types.

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod host;
pub mod ledger;
pub mod peers;
pub mod serve;
pub mod server;
pub mod share;
pub mod store;
mod sync;
mod text_file;
pub mod time;
pub mod transport;

pub mod workers;
