//! The HTTP API, through sockets: what it answers, to whom, and what it survives.

mod access;
mod boards;
mod bodies;
#[path = "../support/client.rs"]
mod client;
mod crowd;
mod downloads;
mod drives;
mod events;
mod keys;
mod list;
mod load;
mod locked;
mod metrics;
mod support;
