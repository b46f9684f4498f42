//! The native host of regrip: HTTP by surf on a transport of its own, part files, a SQLite ledger, and the command line.
//!
//! A program that downloads files needs [`host::NativeHost`] and its parts: [`transport`] reads a byte from the socket, the
//! core counts it, [`store`] writes it, [`ledger`] records the progress, [`time`] has the clock and [`host::Workers`] the threads.
//! The modules that are not documented here belong to the binary; they are public only for its tests.

#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod control;
mod hooks;
pub mod host;
pub mod ledger;
#[doc(hidden)]
pub mod peers;
#[doc(hidden)]
pub mod serve;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod share;
pub mod store;
mod sync;
mod text_file;
pub mod time;
pub mod transport;
