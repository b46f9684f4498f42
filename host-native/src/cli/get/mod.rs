//! `regrip get`.

mod ask;
pub(crate) mod metalink;
mod network;
mod run;
mod stream;
mod target;

pub(super) use network::{proxies, unusable_proxy};
pub(crate) use run::{check, main};
pub(crate) use target::{Target, read_list};
