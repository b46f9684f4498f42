//! `regrip get`.

mod network;
mod run;
mod stream;
mod target;
mod unchanged;

pub(super) use network::{proxies, unusable_proxy};
pub(crate) use run::{check, main};
pub(crate) use target::Target;
