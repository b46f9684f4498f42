//! Peers that cannot be reached: when to stop asking, and how their downloads wait.

mod breaker;
mod reachability;

pub use breaker::{Breaker, NoAnswer, Outage};
pub use reachability::Reachability;
