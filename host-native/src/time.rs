//! The machine's clocks, and the wall clock's times as text.
//!
//! Invariant: every time that is written goes through here. Years before 1970 and after 9999 have no text in these formats,
//! and libraries panic over them; a clock that is there, or a file's time that somebody set, is written as the nearest
//! moment that has one.

use regrip_core::time::{Clock, Instant};
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

/// 9999-12-31T23:59:59.999Z, since 1970.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

/// RFC 3339 in UTC with milliseconds, as the ledger, events and the API spell a time.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(within(at)).to_string()
}

/// Returns `true` if the time formats can represent the time itself.
pub(crate) fn has_text(at: SystemTime) -> bool {
    within(at) == at
}

fn within(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + since.unwrap_or_default().min(LAST)
}

/// A number that no other process draws, on no machine: the keys of a hash map's state are the system's random numbers. `fastrand`
/// alone begins with the time since the machine was booted.
pub(crate) fn entropy() -> u64 {
    RandomState::new().hash_one(fastrand::u64(..))
}

/// Durations, counted by how long they were.
#[derive(Debug, Default)]
pub(crate) struct Histogram(std::sync::Mutex<DurationCounts>);

/// Durations that were counted.
#[derive(Clone, Debug, Default)]
pub struct DurationCounts {
    /// How many were at most as long as each of [`DurationCounts::BOUNDS`], those of the shorter ones left out.
    pub(crate) counts: [u64; DurationCounts::BOUNDS.len()],
    /// All.
    pub(crate) count: u64,
    /// All of them together.
    pub(crate) sum: Duration,
}

impl DurationCounts {
    /// In seconds: a request to a database is near the first, a large download near the last.
    pub(crate) const BOUNDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];
}

impl Histogram {
    /// Counts one.
    pub(crate) fn count(&self, duration: Duration) {
        let mut counts = crate::sync::lock(&self.0);
        let seconds = duration.as_secs_f64();
        if let Some(place) = DurationCounts::BOUNDS.iter().position(|bound| seconds <= *bound) {
            counts.counts[place] += 1;
        }
        counts.count += 1;
        counts.sum = counts.sum.saturating_add(duration);
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> DurationCounts {
        crate::sync::lock(&self.0).clone()
    }
}

/// The monotonic clock since its creation, the wall clock, and timers of the async-io reactor.
#[derive(Clone, Copy, Debug)]
pub struct SmolClock {
    start: std::time::Instant,
}

impl Default for SmolClock {
    fn default() -> Self {
        SmolClock { start: std::time::Instant::now() }
    }
}

impl Clock for SmolClock {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed())
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now_with_suspension(&self) -> Instant {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Instant(since_boot.try_into().unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_calendar_are_written_as_its_ends() {
        let at = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            Err(_) => SystemTime::UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
        };
        let table = [
            (-1, "1970-01-01T00:00:00.000Z", false),
            (-315_000_000_000, "1970-01-01T00:00:00.000Z", false),
            (0, "1970-01-01T00:00:00.000Z", true),
            (1_785_000_000, "2026-07-25T17:20:00.000Z", true),
            (253_402_300_799, "9999-12-31T23:59:59.000Z", true),
            (253_402_300_800, "9999-12-31T23:59:59.999Z", false),
            (316_600_000_000, "9999-12-31T23:59:59.999Z", false),
            (i64::MAX, "9999-12-31T23:59:59.999Z", false),
        ];
        for (seconds, text, has) in table {
            assert_eq!(rfc3339(at(seconds)), text, "{seconds}");
            assert_eq!(has_text(at(seconds)), has, "{seconds}");
        }
    }
}
