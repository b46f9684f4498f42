//! The configuration of `regrip serve`: JSONC, camelCase, with comments and trailing commas.
//!
//! `load` reads a file; [`Config`] is what it means. All errors are reported at once, with key, line, value and expectation.
//! Unknown keys are ignored with a warning. A configuration of any version of jack, the software that this protocol was
//! designed for, works unchanged: its `jack` block is read as `regrip`, and what had another name or place in earlier
//! versions is read from there.
//!
//! Invariant: a secret is never printed, not in an error, not by `Debug`.

mod downloads;
mod link;
mod load;
mod model;
mod object;
mod peers;

pub(crate) use downloads::{bytes_per_second, data_folder_clash, permissions};
pub use link::{LinkRefused, QuickLink};
pub use load::{ConfigRefused, Loaded, load, parse};
pub(crate) use load::{EditRefused, Setting, SettingValue, add_peer, all_of, remove_peer, settings};
pub use model::{
    Autoregister, Config, Downloads, External, HookCommands, ImportServer, ImportServerKind, Peer, Postgres,
    ServerConfig, ShareKey, id_of,
};
pub(crate) use object::secret_at;
pub use object::{Problem, Secret};
