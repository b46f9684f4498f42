//! The machine's clocks and smol's timers.

use regrip_core::time::{Clock, Instant};
use std::future::Future;
use std::time::{Duration, SystemTime};

/// The monotonic clock since its creation, the wall clock, and timers of the async-io reactor.
#[derive(Clone, Copy, Debug)]
pub struct SmolClock {
    start: std::time::Instant,
}

impl Default for SmolClock {
    fn default() -> Self {
        SmolClock {
            start: std::time::Instant::now(),
        }
    }
}

impl Clock for SmolClock {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed())
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        async move {
            smol::Timer::after(duration).await;
        }
    }
}
