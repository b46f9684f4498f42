//! `regrip serve` from end to end: the real binary, a peer as today's software is, and a Radarr.

mod address;
mod bounds;
mod client;
mod ends;
mod folders;
mod house;
mod import;
mod keys;
mod library;
mod pause;
mod peer;
mod radarr;
mod readme;
mod reload;
mod restarts;
mod secrets;
mod stubs;
mod takeover;
mod troubles;
