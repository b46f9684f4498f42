//! Sharing folders with peers: handshake, search, item and file.
//!
//! Begin with [`Share`]. `library` has what Radarr and Sonarr list, `tree` walks the folders and opens files without following a link, `inventory` says what can be
//! found and under which id, `validators` decides whether a request gets the file, `digests` computes SHA-256s in the
//! background.
//!
//! Invariants: nothing outside the folders is listed or opened; a path never leaves this machine, ids do; a digest is sent
//! only for the very file, by size and time, that it was computed from.

mod digests;
mod inventory;
pub(crate) mod library;
mod routes;
mod state;
mod tree;
mod validators;

pub(crate) use routes::{PeerAccess, issue};
pub use state::{Census, FolderError, Share, ShareError, ShareOptions};
