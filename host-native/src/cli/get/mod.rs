//! `regrip get`.

mod accept;
mod run;
mod target;

pub(crate) use run::main;
pub(crate) use target::Target;
