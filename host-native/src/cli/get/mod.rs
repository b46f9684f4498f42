//! `regrip get`.

mod list;
mod network;
mod run;
mod target;

pub(super) use network::proxies;
pub(crate) use run::main;
pub(crate) use target::Target;
