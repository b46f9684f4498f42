//! The rate that all downloads of a transport share: a token bucket, kept as the moment at which it will be full enough.
//!
//! Whoever takes bytes pays for them in time, in the order of asking. Time nobody used is forgotten but for a moment, which
//! makes up for timers that ring late.

use async_io::Timer;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much unused time is made up for.
const BURST: Duration = Duration::from_millis(100);

/// Shorter debts are carried on: a timer for each chunk would cost more than it keeps.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// Under this rate the kernel's own buffers would hide the limit from the sender for too long.
const SLOW: u64 = 1 << 20;

/// A limit in bytes per second.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: NonZeroU64,
    /// When all that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Rate {
        Rate {
            bytes_per_second,
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Takes bytes, and waits until they are paid for.
    ///
    /// # Cancel safety
    /// What was taken stays taken.
    pub(super) async fn take(&self, bytes: u64) {
        let wait = self.debt(Instant::now(), bytes);
        if wait >= SHORTEST_WAIT {
            Timer::after(wait).await;
        }
    }

    fn debt(&self, now: Instant, bytes: u64) -> Duration {
        let rate = u128::from(self.bytes_per_second.get());
        let nanos = u128::from(bytes) * 1_000_000_000 / rate;
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        // Within the burst before now; an instant that cannot be told is not before it.
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *paid = (*paid).max(earliest);
        *paid = paid.checked_add(cost).unwrap_or(*paid);
        paid.saturating_duration_since(now)
    }

    /// What is handed on at once, at most: a tenth of a second's worth, so that a slow transfer moves in small steps.
    pub(super) fn piece_bytes(&self) -> usize {
        let piece = (self.bytes_per_second.get() / 10).max(1);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// The kernel's receive buffer for a slow rate: a quarter of a second's worth, but at least what TCP needs to move at
    /// all. `None` leaves it to the kernel, which sizes it by how fast it is read.
    pub(super) fn receive_buffer_bytes(&self) -> Option<usize> {
        let rate = self.bytes_per_second.get();
        let quarter = usize::try_from(rate / 4).unwrap_or(usize::MAX);
        (rate < SLOW).then_some(quarter.max(32 << 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(bytes_per_second: u64) -> (Rate, Instant) {
        let rate = Rate::new(NonZeroU64::new(bytes_per_second).unwrap());
        let now = Instant::now() + SECOND;
        *rate.paid.lock().unwrap() = now;
        (rate, now)
    }

    #[test]
    fn each_byte_is_paid_for_in_the_order_of_asking() {
        let (rate, now) = rate(1000);
        assert_eq!(rate.debt(now, 500), SECOND / 2);
        // Somebody else, at the same moment, comes after.
        assert_eq!(rate.debt(now, 1000), SECOND * 3 / 2);
        assert_eq!(rate.debt(now + SECOND, 1), SECOND / 2 + SECOND / 1000);
    }

    #[test]
    fn unused_time_is_forgotten_but_for_a_moment() {
        let (rate, now) = rate(1000);
        let later = now + 3600 * SECOND;
        assert_eq!(rate.debt(later, 1000), SECOND - BURST);
    }

    #[test]
    fn the_largest_numbers_neither_overflow_nor_wait_for_nothing() {
        let (slow, now) = rate(1);
        assert!(slow.debt(now, u64::MAX) > Duration::from_secs(500 * 365 * 86_400));
        let (fast, now) = rate(u64::MAX);
        assert_eq!(fast.debt(now, u64::MAX), SECOND);
        assert_eq!(
            (slow.piece_bytes(), slow.receive_buffer_bytes()),
            (1, Some(32 << 10))
        );
        assert_eq!(fast.receive_buffer_bytes(), None);
    }
}
