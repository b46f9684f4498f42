//! The HTTP API, through sockets: what it answers, to whom, and what it survives.

mod access;
mod boards;
mod bodies;
mod downloads;
mod drives;
mod events;
mod list;
mod load;
mod metrics;
mod support;
