//! Many downloads on one engine: permits, order, destinations, calling off, start-up.

#[path = "../world/mod.rs"]
mod world;

mod admissions;
mod calling_off;
mod claims;
mod permits;
mod start_up;
mod unreachable;
