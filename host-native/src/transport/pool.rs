//! Idle connections, kept for the next request to the same origin by the same way.
//!
//! Invariant: what is in here was left at the clean end of a response and had nothing more to say then. Keyed by scheme,
//! host, port and proxy, never by address: a connection verified for one host serves no other on the same machine, and one
//! through a proxy is never taken for a direct one. Bounded in number and age. It makes no connections and polls them only when they come and go.

use super::connection::Connection;
use super::proxy::Route;
use super::reach::Reach;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most idle connections to one origin by one way.
const MAX_IDLE_PER_ROUTE: usize = 32;

/// Most idle connections in all.
const MAX_IDLE: usize = 256;

/// How long a connection is kept. Servers commonly close theirs after about as long.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

struct Idle {
    route: Route,
    connection: Connection,
    since: Instant,
}

/// Idle connections, oldest first.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    /// Takes the connection by `route` that was used last and is still good, where there is one.
    pub(super) fn take(&self, route: &Route, reach: Reach) -> Option<Connection> {
        loop {
            let mut connection = self.pop(route, reach)?;
            // Another address of the host may do better than one that failed lately.
            if !connection.trial().gives_way() && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, route: &Route, reach: Reach) -> Option<Connection> {
        let mut idle = self.fresh();
        // A request may have come here by other ways than the connection did, so its reach counts, not the dialler's.
        let allowed = |peer: Option<_>| peer.is_none_or(|peer| reach.allows(peer));
        let fits = |idle: &Idle| idle.route == *route && allowed(idle.connection.peer());
        let newest = idle.iter().rposition(fits)?;
        Some(idle.remove(newest).connection)
    }

    /// Keeps a connection, if it is idle and there is room.
    pub(super) fn put(&self, route: Route, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.fresh();
        let by_this_route = idle.iter().filter(|idle| idle.route == route).count();
        if by_this_route < MAX_IDLE_PER_ROUTE && idle.len() < MAX_IDLE {
            idle.push(Idle {
                route,
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
