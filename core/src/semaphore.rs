//! A counting semaphore that is fair and can be resized while it is in use.
//!
//! Invariant: a released permit goes straight to the first waiter, so a newcomer can never barge in between, and a permit
//! granted to a waiter that is dropped goes to the next.
//!
//! Why not [`async_lock::Semaphore`]: there a release only wakes a waiter, and whoever polls first takes the permit, so
//! newcomers overtake; and its number of permits cannot be lowered. Where a lock held over an await is all that is needed,
//! async-lock's own types are used: a `Mutex` per destination in [`engine`](crate::engine), a `OnceCell` in the native
//! host's TLS roots and per peer.

use crate::mutex::{Arc, Mutex, MutexGuard, lock};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Hands out permits, first come first served.
#[derive(Clone, Debug)]
pub struct Semaphore(Arc<Mutex<State>>);

/// The number of permits was 0: nothing could ever run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number of permits is 0, expected at least 1")]
pub struct ZeroPermits;

/// Which of two queues to wait in. The first is served before the second; each is first in, first out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// For those that had a permit before and gave it back for a while.
    Returning,
    /// For all others.
    #[default]
    Arriving,
}

/// Its place in the queue: lane, then ticket.
type Place = (Lane, u64);

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits held or granted. Above `limit` only after the limit was lowered.
    used: usize,
    next_ticket: u64,
    /// In order of their places, the first at the end, where it is taken off.
    waiting: Vec<(Place, Waker)>,
    /// Permits handed over to waiters that have not been polled since: few at any moment.
    granted: Vec<Place>,
}

impl Semaphore {
    /// A semaphore with `permits` permits.
    ///
    /// # Errors
    /// `permits` is 0.
    pub fn new(permits: usize) -> Result<Self, ZeroPermits> {
        if permits == 0 {
            return Err(ZeroPermits);
        }
        let semaphore = Semaphore::unlimited();
        semaphore.state().limit = permits;
        Ok(semaphore)
    }

    /// A semaphore that lets everybody in, until it is resized.
    pub(crate) fn unlimited() -> Self {
        let state = State {
            limit: usize::MAX,
            used: 0,
            next_ticket: 0,
            waiting: Vec::new(),
            granted: Vec::new(),
        };
        Semaphore(Arc::new(Mutex::new(state)))
    }

    /// Waits for a permit. It is given back when the [`Permit`] is dropped, however that comes about.
    ///
    /// # Cancel safety
    /// A waiter that is dropped, before or after it was granted a permit, loses nothing for the others. Its place in the
    /// queue is taken at the first poll.
    pub fn acquire(&self) -> Acquire {
        self.acquire_in(Lane::Arriving)
    }

    /// As [`acquire`](Self::acquire), in a given lane.
    pub fn acquire_in(&self, lane: Lane) -> Acquire {
        Acquire {
            semaphore: self.clone(),
            lane,
            place: None,
        }
    }

    /// A permit, if one is free and nobody waits.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.state();
        state.take().then(|| Permit {
            semaphore: self.clone(),
        })
    }

    /// Changes the number of permits. More are handed out at once; when there are fewer, those in use stay valid and the
    /// excess drains as they come back.
    ///
    /// # Errors
    /// `permits` is 0; nothing is changed.
    pub fn resize(&self, permits: usize) -> Result<(), ZeroPermits> {
        if permits == 0 {
            return Err(ZeroPermits);
        }
        self.change(|state| state.limit = permits);
        Ok(())
    }

    /// Permits in use.
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// Those in the queue.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Changes the state, then wakes those who were granted a permit by it, outside the lock.
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

    /// Queues up, or leaves another waker at a place that is taken already. Returns the one that was there.
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

    /// Whether a permit was handed over to this place; it is no more then.
    fn collect(&mut self, place: Place) -> bool {
        let index = self.granted.iter().position(|granted| *granted == place);
        index.map(|index| self.granted.swap_remove(index)).is_some()
    }
}

/// The wait for a permit.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Acquire {
    semaphore: Semaphore,
    lane: Lane,
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
        let lane = self.lane;
        let place = *self.place.get_or_insert_with(|| {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            (lane, ticket)
        });
        let replaced = state.wait(place, context.waker().clone());
        // Dropping a waker may drop a task, and with it a permit: never under the lock.
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

/// The right to run. Dropping it hands it to the first waiter.
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
