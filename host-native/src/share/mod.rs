//! Sharing folders with peers (spec §8, the peer wire): handshake, search, item and file.
//!
//! Begin with [`Share`]. `tree` walks the folders and opens files without following a link, `names` reads what file
//! names tell, `inventory` is what can be found and under which id, `range` decides what a request gets of a file,
//! `digests` computes SHA-256s in the background.
//!
//! Invariants: nothing outside the folders is listed or opened; a path never leaves this machine, ids do; a digest is sent
//! only for the very file, by size and time, that it was computed from.

mod conditions;
mod digests;
mod inventory;
mod keeper;
mod names;
mod range;
mod routes;
mod shelf;
mod tree;
mod unfinished;
mod version;

pub use keeper::{Share, ShareError, ShareOptions};
pub use shelf::{Census, FolderError};
