//! `regrip get`.

mod accept;
mod list;
mod network;
mod run;
mod target;

pub(crate) use run::main;
pub(crate) use target::Target;
