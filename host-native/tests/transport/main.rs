//! The transport against raw loopback servers that send exactly what a test wants sent.
//!
//! The servers are plain threads on ports the system picks. Time appears only as timeouts: short ones if running out is
//! what is tested, long ones if it would mean that the test failed.

mod body;
mod connection;
mod contract;
mod head;
mod proxied;
#[path = "../proxy/mod.rs"]
mod proxy;
mod rate;
mod redirect;
mod support;
mod tls;
