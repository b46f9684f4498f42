//! The configuration of `regrip serve`: JSONC, camelCase, with comments and trailing commas (spec §7).
//!
//! [`load`] reads a file; [`Config`] is what it means. Everything wrong is told at once, with key, line, what was found and
//! what was expected. A key that regrip does not know is warned about and passed over, so that a configuration of the
//! software this wire comes from is taken as it is.
//!
//! Invariant: a secret is never printed, not in an error, not by `Debug`.

mod diagnostics;
mod downloads;
mod load;
mod model;
mod object;
mod peers;
mod secret;

pub use diagnostics::Problem;
pub use downloads::data_folder_clash;
pub use load::{ConfigRefused, Loaded, load, parse};
pub use model::{Config, Downloads, ImportServer, ImportServerKind, Peer, Server, ShareKey, id_of};
pub use secret::Secret;
