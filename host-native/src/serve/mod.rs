//! `regrip serve`: from stubs in a folder to imported files, for a year without attention.
//!
//! ```text
//! watch ── claims ── stub_run ── queue ── Control::drive ── finish ──┬── stub removed, import
//!   │                   │          ▲                                 ├── stub to failed/
//! stub_folder       PeerClient     └─────────────────────────────────┘ local trouble
//! ```
//!
//! Begin with `daemon`, which orders the start and the stop, then `service`, which ties the parts together. `recover` takes up
//! what an earlier process left, `reload` applies another configuration.
//!
//! Invariants: an item that a stub names is worked on once, whatever dies in between; a stub lies in the watch folder until
//! its file is complete and it can be removed, or in `failed/` with the reason; local trouble (a full disk, a missing folder, a
//! locked database) fails nothing for good. Memory is bounded by what is under way, not by how long the server runs.
//!
//! It decides nothing about attempts, resuming or permits: the core's engine does.

mod claims;
mod daemon;
mod finish;
mod folders;
mod import;
mod import_poll;
mod import_server;
mod queue;
mod reload;
mod service;
mod stub_folder;
mod stub_run;
mod watch;

pub(crate) use daemon::start_log;
pub use daemon::{LogFormat, ServeError, ServeOptions, serve};
pub use folders::{DataFolder, DataFolderRefused, ledger_in, serving};
