//! The configuration of `regrip serve`: JSONC, camelCase, with comments and trailing commas (spec §7).
//!
//! [`load`] reads a file; [`Config`] is what it means. Everything wrong is told at once, with key, line, what was found and
//! what was expected. A key that regrip does not know is warned about and passed over, so that a configuration of the
//! software this wire comes from is taken as it is.
//!
//! Invariant: a secret is never printed, not in an error, not by `Debug`.

mod block;
mod coincide;
mod downloads;
mod load;
mod model;
mod parties;
mod peer_id;
mod problem;
pub(crate) mod regular_file;
mod secret;
mod server;
mod value;

pub use coincide::data_folder_clash;
pub use load::{ConfigRefused, Loaded, load, parse};
pub use model::{Config, Downloads, ImportServer, ImportServerKind, Peer, Server, ShareKey};
pub use peer_id::id_of;
pub use problem::Problem;
pub use secret::Secret;
