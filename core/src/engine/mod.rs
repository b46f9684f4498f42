//! Many downloads at once: accepted, driven, cancelled, taken up again.

mod admission;
mod claim;
mod downloads;
mod drive;
mod peers;
mod permits;
mod shared;
mod stop;

pub use admission::{Accepted, Admission, NewUrl, admission};
pub use downloads::{Engine, Recovered};
