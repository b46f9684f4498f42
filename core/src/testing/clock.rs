//! A virtual clock, which advances only when nothing else can happen.

use crate::time::{Clock, Instant};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

/// A virtual clock. Clones share their state.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<Mutex<Time>>);

#[derive(Debug)]
struct Time {
    now: Duration,
    /// For how long the machine was suspended.
    suspended: Duration,
    /// The wall clock at the monotonic clock's zero.
    wall: SystemTime,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

impl Default for VirtualClock {
    fn default() -> Self {
        // 2026-01-01, a date that is valid in certificates and HTTP-dates.
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let time =
            Time { now: Duration::ZERO, suspended: Duration::ZERO, wall, next_timer: 0, timers: BTreeMap::new() };
        VirtualClock(Arc::new(Mutex::new(time)))
    }
}

impl VirtualClock {
    /// Runs a future to its end and advances the clock whenever nothing else can happen. Returns `None` on a deadlock: no timer is
    /// set and nothing was woken.
    pub fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        loop {
            while flag.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return Some(output);
                }
            }
            self.ring_next()?;
        }
    }

    /// Changes the wall clock, as a user or NTP would. Timers are not affected.
    pub fn set_wall(&self, wall: SystemTime) {
        let mut time = self.time();
        time.wall = wall.checked_sub(time.now + time.suspended).unwrap_or(SystemTime::UNIX_EPOCH);
    }

    /// Advances the clock, as disk work would; timers in between fire late.
    pub fn advance(&self, by: Duration) {
        self.time().now += by;
    }

    /// Suspends the machine: the monotonic clock and the timers stand still meanwhile.
    pub fn suspend(&self, by: Duration) {
        self.time().suspended += by;
    }

    /// The time since the start of the clock.
    pub fn elapsed(&self) -> Duration {
        self.time().now
    }

    /// The number of timers that are set and have not fired.
    pub fn timers(&self) -> usize {
        self.time().timers.len()
    }

    fn ring_next(&self) -> Option<()> {
        let waker = {
            let mut time = self.time();
            let ((at, _), waker) = time.timers.pop_first()?;
            time.now = time.now.max(at);
            waker
        };
        waker.wake();
        Some(())
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant(self.time().now)
    }
    fn now_with_suspension(&self) -> Instant {
        let time = self.time();
        Instant(time.now + time.suspended)
    }
    fn wall(&self) -> SystemTime {
        let time = self.time();
        time.wall.checked_add(time.now + time.suspended).unwrap_or(time.wall)
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let at = self.time().now.saturating_add(duration);
        Sleep { clock: self.clone(), at, timer: None }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A timer of a [`VirtualClock`].
#[derive(Debug)]
pub struct Sleep {
    clock: VirtualClock,
    at: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.time();
        if time.now >= self.at {
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            time.next_timer += 1;
            time.next_timer
        });
        time.timers.insert((self.at, timer), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.clock.time().timers.remove(&(self.at, timer));
        }
    }
}
