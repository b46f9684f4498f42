//! A fair counting semaphore that can be resized while it is in use.
//!
//! Invariant: a released permit goes directly to the first waiter, so newcomers cannot barge. If a waiter is dropped after its
//! permit was granted, the permit goes to the next one.
//!
//! ```
//! use regrip_core::Semaphore;
//!
//! # futures::executor::block_on(async {
//! let semaphore = Semaphore::new(2)?; // clones share the permits
//! let first = semaphore.acquire().await; // may be sent to another task; dropping it releases it
//! let second = semaphore.try_acquire().ok_or("busy")?;
//! assert!(semaphore.try_acquire().is_none());
//! semaphore.resize(3)?;
//! assert!(semaphore.try_acquire().is_some());
//! # drop((first, second));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Six tasks, two at a time:
//!
//! ```
//! use futures::future::join_all;
//! use regrip_core::{Semaphore, testing::VirtualClock, time::Clock};
//! use std::time::Duration;
//!
//! let (clock, semaphore) = (VirtualClock::default(), Semaphore::new(2)?);
//! let tasks = (0..6).map(|_| async {
//!     let _permit = semaphore.acquire().await;
//!     clock.sleep(Duration::from_secs(1)).await;
//! });
//! clock.run(join_all(tasks)).ok_or("deadlock")?;
//! assert_eq!(clock.elapsed(), Duration::from_secs(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When not to use it
//!
//! - If neither the order nor resizing matters: async-lock's semaphore is smaller and needs no lock for a free permit. It only
//!   wakes a waiter on release, and whoever polls first takes the permit, so newcomers can overtake; its number of permits
//!   cannot be lowered.
//! - For blocking threads, for several permits at once, or for a semaphore that can be closed: tokio's can do the last two.
//! - To guard data: use a mutex.

use crate::mutex::{Arc, Mutex, MutexGuard, lock};
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Grants permits, first in, first out.
#[derive(Clone, Debug)]
pub struct Semaphore(Arc<Mutex<State>>);

/// The number of permits was 0, so nothing could ever run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number of permits is 0, expected at least 1")]
pub struct ZeroPermits;

/// Which of two queues to wait in. The first is served before the second; each one is first in, first out among those of one
/// priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// For tasks that released their permit temporarily.
    Returning,
    /// For all others.
    #[default]
    Arriving,
}

/// A position in the queue: from the highest bit on its lane, its priority and its ticket.
type Place = u64;

/// The bits of a ticket: more than are ever given out.
const TICKET_BITS: u32 = u64::BITS - u8::BITS - 1;

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits held or granted; exceeds `limit` only after the limit was lowered.
    used: usize,
    next_ticket: u64,
    /// The waiters by position, the first one at the end.
    waiting: Vec<(Place, Waker)>,
    /// Permits granted to waiters that have not been polled since.
    granted: Vec<Place>,
}

impl Semaphore {
    /// Creates a semaphore with `permits` permits.
    ///
    /// # Errors
    /// [`ZeroPermits`] if `permits` is 0.
    pub fn new(permits: usize) -> Result<Self, ZeroPermits> {
        NonZeroUsize::new(permits).map(Semaphore::from).ok_or(ZeroPermits)
    }

    /// Creates a semaphore that grants every permit, until it is resized.
    pub(crate) fn unlimited() -> Self {
        Semaphore::from(NonZeroUsize::MAX)
    }

    /// Returns `true` if a permit, a waiter or another clone exists.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Waits for a permit. Dropping the [`Permit`] releases it.
    ///
    /// # Cancel safety
    /// Dropping the future, before or after its permit was granted, costs the other waiters nothing. The future takes its position
    /// in the queue when it is first polled.
    pub fn acquire(&self) -> Acquire {
        self.acquire_in(Lane::Arriving)
    }

    /// Like [`acquire`](Self::acquire), in the given lane.
    pub fn acquire_in(&self, lane: Lane) -> Acquire {
        self.acquire_by(lane, 0)
    }

    /// Like [`acquire_in`](Self::acquire_in). In a lane, higher priorities are served first; the others have 0.
    pub fn acquire_by(&self, lane: Lane, priority: i8) -> Acquire {
        let rank = (u64::from(lane as u8) << u8::BITS) | u64::from(i8::MAX.abs_diff(priority));
        Acquire { semaphore: self.clone(), first: rank << TICKET_BITS, place: None }
    }

    /// Returns a permit if one is free and nobody waits.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.state();
        state.take().then(|| Permit { semaphore: self.clone() })
    }

    /// Changes the number of permits. Additional permits are granted at once. After a decrease, permits in use stay valid, and
    /// released ones are not granted again until the number is reached.
    ///
    /// # Errors
    /// [`ZeroPermits`] if `permits` is 0; nothing changes.
    pub fn resize(&self, permits: usize) -> Result<(), ZeroPermits> {
        if permits == 0 {
            return Err(ZeroPermits);
        }
        self.change(|state| state.limit = permits);
        Ok(())
    }

    /// The number of permits in use.
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// The number of waiters.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Changes the state, then wakes the waiters that this granted a permit, outside the lock.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let woken = {
            let mut state = self.state();
            change(&mut state);
            state.grant()
        };
        for waker in woken {
            waker.wake();
        }
    }
}

impl From<NonZeroUsize> for Semaphore {
    /// A semaphore with this many permits, for example `std::thread::available_parallelism()?.into()`.
    fn from(permits: NonZeroUsize) -> Self {
        let limit = permits.get();
        let state = State { limit, used: 0, next_ticket: 0, waiting: Vec::new(), granted: Vec::new() };
        Semaphore(Arc::new(Mutex::new(state)))
    }
}

impl State {
    fn take(&mut self) -> bool {
        let free = self.used < self.limit && self.waiting.is_empty();
        if free {
            self.used += 1;
        }
        free
    }

    fn grant(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while self.used < self.limit {
            let Some((place, waker)) = self.waiting.pop() else {
                break;
            };
            self.used += 1;
            self.granted.push(place);
            woken.push(waker);
        }
        woken
    }

    fn find(&self, place: Place) -> Result<usize, usize> {
        self.waiting.binary_search_by(|(there, _)| place.cmp(there))
    }

    /// Joins the queue, or replaces the waker at a position already taken. Returns the previous waker.
    fn wait(&mut self, place: Place, waker: Waker) -> Option<Waker> {
        match self.find(place) {
            Err(index) => {
                self.waiting.insert(index, (place, waker));
                None
            }
            Ok(index) => {
                let there = self.waiting.get_mut(index);
                there.map(|(_, there)| std::mem::replace(there, waker))
            }
        }
    }

    fn leave(&mut self, place: Place) -> Option<(Place, Waker)> {
        let index = self.find(place).ok()?;
        Some(self.waiting.remove(index))
    }

    /// Takes the permit granted to this position, if there is one.
    fn collect(&mut self, place: Place) -> bool {
        let index = self.granted.iter().position(|granted| *granted == place);
        index.map(|index| self.granted.swap_remove(index)).is_some()
    }
}

/// A future that waits for a permit.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Acquire {
    semaphore: Semaphore,
    /// The position of its lane and priority with the ticket 0.
    first: Place,
    place: Option<Place>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let semaphore = self.semaphore.clone();
        let mut state = semaphore.state();
        let got = match self.place {
            None => state.take(),
            Some(place) => state.collect(place),
        };
        if got {
            self.place = None;
            drop(state);
            return Poll::Ready(Permit { semaphore });
        }
        let first = self.first;
        let place = *self.place.get_or_insert_with(|| {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            first | ticket
        });
        let replaced = state.wait(place, context.waker().clone());
        // Dropping a waker may drop a task, and with it a permit: do this outside the lock.
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut removed = None;
        self.semaphore.change(|state| {
            removed = state.leave(place);
            if state.collect(place) {
                state.used -= 1;
            }
        });
    }
}

/// A permit. Dropping it passes it to the first waiter.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit {
    semaphore: Semaphore,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.change(|state| state.used -= 1);
    }
}
