//! `regrip serve` from end to end: the real binary, a peer as today's software is, and a Radarr.

mod ends;
mod house;
mod import;
mod peer;
mod radarr;
mod reload;
mod restarts;
mod stubs;
mod troubles;
