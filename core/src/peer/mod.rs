//! Unreachable peers: the circuit breaker, and how downloads wait.

mod breaker;
mod reachability;

pub use breaker::{Breaker, NoAnswer, Outage};
pub use reachability::Reachability;
