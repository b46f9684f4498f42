//! Time, supplied by the host.

use std::future::Future;
use std::time::{Duration, SystemTime};

/// A point on the host's monotonic clock, as the time since a fixed moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Duration);

impl Instant {
    /// The time since `earlier`; zero if the clock went backwards.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
    /// The instant `after` this one.
    pub fn after(self, after: Duration) -> Instant {
        Instant(self.0.saturating_add(after))
    }
}

/// A clock. Deadlines use [`now`](Clock::now); only dates on the wire and in records use [`wall`](Clock::wall).
pub trait Clock {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// Like [`now`](Clock::now), but it also counts the time for which the machine was suspended, if the host has such a clock. Claims
    /// that others see end are measured by it.
    fn now_with_suspension(&self) -> Instant {
        self.now()
    }
    /// The wall clock, which may jump.
    fn wall(&self) -> SystemTime;
    /// Completes `duration` from now, or later.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<Self>;
}
