//! Runs many downloads at once: accepts, drives, cancels and retries them.

mod admission;
mod claim;
mod downloads;
mod drive;
mod line;
mod peers;
mod permits;
mod shared;
mod stop;

pub use admission::{Accepted, Admission, NewUrl, admission};
pub use downloads::{Engine, Recovered};
