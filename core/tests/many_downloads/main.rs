//! Many downloads on one engine: permits, order, destinations, calling off, start-up.

#[path = "../world/mod.rs"]
mod world;

mod admissions;
mod busy_origin;
mod calling_off;
mod claims;
mod fleet;
mod mirrors;
mod new_urls;
mod pausing;
mod permits;
mod start_up;
mod unreachable;
