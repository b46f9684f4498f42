//! The client of the peer wire, against a peer as today's software is and against one that means no good.

mod lines;
mod nasty;
mod support;
mod today;
#[allow(dead_code, reason = "the transport's tests use all of it")]
#[path = "../transport/support.rs"]
mod wire;
