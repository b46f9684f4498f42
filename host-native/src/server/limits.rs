//! What a stranger can make the server hold, and for how long.

use std::time::Duration;

/// Bounds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Whoever comes then waits in the kernel's backlog until one ends.
    pub connections: usize,
    /// Most bytes of a request head, at least 8 KiB; a longer one is answered with 431.
    pub head_bytes: usize,
    /// Most fields of a request head; more are answered with 431.
    pub head_fields: usize,
    /// A request head must be complete so long after the connection was made, or after the reply before.
    pub head_timeout: Duration,
    /// A connection on which nothing moves for so long is closed. A slow reader moves, a dead one does not.
    pub idle_timeout: Duration,
    /// How long replies may go on after the server was told to stop.
    pub stop_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 256,
            head_bytes: 16 << 10,
            head_fields: 64,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stop_within: Duration::from_secs(8),
        }
    }
}
