//! Idle connections, kept for the next request to the same origin.
//!
//! Invariant: what is in here was left at the clean end of a response and had nothing more to say then. Keyed by scheme,
//! host and port, never by address: a connection verified for one host serves no other on the same machine. Bounded in
//! number and age. It makes no connections and polls them only when they come and go.

use super::connection::Connection;
use super::origin::Origin;
use super::reach::Reach;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most idle connections to one origin.
const MAX_IDLE_PER_ORIGIN: usize = 32;

/// Most idle connections in all.
const MAX_IDLE: usize = 256;

/// How long a connection is kept. Servers commonly close theirs after about as long.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

/// Idle connections, oldest first.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    /// Takes the connection to `origin` that was used last and is still good, where there is one.
    pub(super) fn take(&self, origin: &Origin, reach: Reach) -> Option<Connection> {
        loop {
            let mut connection = self.pop(origin, reach)?;
            if connection.is_idle() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, origin: &Origin, reach: Reach) -> Option<Connection> {
        let mut idle = self.fresh();
        // A request may have come here by other ways than the connection did, so its reach counts, not the dialler's.
        let fits =
            |idle: &Idle| idle.origin == *origin && reach.allows(idle.connection.peer().ip());
        let newest = idle.iter().rposition(fits)?;
        Some(idle.remove(newest).connection)
    }

    /// Keeps a connection, if it is idle and there is room.
    pub(super) fn put(&self, origin: Origin, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.fresh();
        let of_this_origin = idle.iter().filter(|idle| idle.origin == origin).count();
        if of_this_origin < MAX_IDLE_PER_ORIGIN && idle.len() < MAX_IDLE {
            idle.push(Idle {
                origin,
                connection,
                since: Instant::now(),
            });
        }
    }

    /// Those that are not too old; the others are closed.
    fn fresh(&self) -> MutexGuard<'_, Vec<Idle>> {
        // A panic elsewhere leaves a list of connections, nothing half done.
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < MAX_IDLE_TIME);
        idle
    }
}
