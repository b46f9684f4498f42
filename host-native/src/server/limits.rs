//! What a stranger can make the server hold, and for how long.

use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Bounds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, fewer if the process may open few files. A newcomer then takes the place of an idle one; a
    /// quarter is kept for those that showed a key.
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

impl Limits {
    /// No more connections than a quarter of the files that the process may open: each may send a file, and downloads need
    /// some.
    pub(super) fn within_open_files(self) -> Limits {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok());
        let most = files.map_or(usize::MAX, |files| (files / 4).max(4));
        Limits {
            connections: self.connections.min(most),
            ..self
        }
    }
}
