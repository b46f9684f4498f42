//! The HTTP API, through sockets: what it answers, to whom, and what it survives.

mod access;
mod bodies;
#[path = "../support/client.rs"]
mod client;
mod crowd;
mod downloads;
mod events;
mod keys;
mod list;
mod load;
mod locked;
mod metrics;
mod qbittorrent;
mod status;
mod support;
mod tasks;
mod torznab;
#[allow(dead_code, reason = "the transport's tests use all of it")]
#[path = "../transport/support.rs"]
mod wire;
