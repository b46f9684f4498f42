//! One set of scenarios, run on every host of regrip.
//!
//! A behaviour is written once, as data: what a peer does, and how the download must end ([`scenario`]). Each host
//! runs it in its own way, [`core_host`] in memory on a virtual clock, [`native_host`] over a socket onto a disk; both hand
//! back the same [`Outcome`], and [`judge`] holds it against what was expected.

pub mod client;
pub mod core_host;
mod drive;
pub mod judge;
pub mod native_host;
mod outcome;
pub mod scenario;

pub use outcome::Outcome;
