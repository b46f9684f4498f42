//! One download on the fake host, from its first request to its last word.

#[path = "../world/mod.rs"]
mod world;

mod crashes;
mod digests;
mod disk;
mod model;
mod patience;
mod restarts;
mod sinks;
mod sizes;
mod stories;
