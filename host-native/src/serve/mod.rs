//! `regrip serve`: from stubs in a folder to files that are imported, for a year without being looked at (spec §6, §8).
//!
//! ```text
//! watch ── claims ── stub_run ── lines ── Control::drive ── ending ──┬── stub removed, import
//!   │                   │                     ▲                      ├── stub to failed/
//! stub_folder      acquaintances            later ◄── trouble of this machine
//! ```
//!
//! Begin with `daemon`, which says what happens in which order at the start and at the end, then `service`, which ties the
//! parts together. `recover` takes up what an earlier process left, `reload` puts another configuration in force.
//!
//! Invariants: an item that a stub names is worked on once, whatever dies in between; a stub lies in the watch folder until
//! its file is whole and it can be removed, or in `failed/` with the reason; trouble of this machine (a full disk, a folder that is gone, a locked
//! database) fails nothing for good. What is in memory is bounded by what is under way, not by how long the server runs.
//!
//! It decides nothing about attempts, resuming or permits: the core's engine does.

mod claims;
mod daemon;
mod finish;
mod folders;
mod import;
mod import_command;
mod log;
mod queue;
mod recover;
mod reload;
mod service;
mod stub_folder;
mod stub_run;
mod watch;

pub use daemon::{LogFormat, ServeError, ServeOptions, serve};
pub use folders::{DataFolder, DataFolderRefused, ledger_in, serving};
pub(crate) use log::start as start_log;
