//! Waits until a peer can be reached.
//!
//! One of the waiting downloads is the prober: it holds the lock, sleeps until the next probe is due, and sends it. It passes the
//! lock on when the peer responds, when it gives up, and when it is dropped. So there is one probe at a time, and nobody waits
//! for a prober that no longer exists.

use super::breaker::{Breaker, NoAnswer, Outage};
use crate::error::Error;
use crate::mutex::lock;
use crate::semaphore::Semaphore;
use crate::time::Clock;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The reachability of one peer. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Reachability(Arc<Line>);

#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    /// Held by the prober.
    prober: Semaphore,
}

impl Default for Line {
    fn default() -> Self {
        Line { state: Mutex::default(), prober: Semaphore::from(NonZeroUsize::MIN) }
    }
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    /// Wakes the prober when another request got a response.
    answered: Option<oneshot::Sender<()>>,
}

impl Reachability {
    /// The current outage.
    pub fn outage(&self) -> Option<Outage> {
        lock(&self.0.state).breaker.outage().cloned()
    }

    /// Records the outcome of a request to the peer: its response head, or the error in place of it. `limit` is
    /// `breakerFailures`; 0 turns the breaker off.
    pub fn note<T>(&self, clock: &impl Clock, limit: u32, head: &Result<T, Error>) {
        match head.as_ref().err().and_then(NoAnswer::of) {
            Some(no_answer) => {
                let now = clock.now();
                lock(&self.0.state).breaker.failed(now, limit, no_answer);
            }
            None => self.answered(),
        }
    }

    /// Closes the breaker and wakes everyone who waits.
    pub fn answered(&self) {
        let prober = {
            let mut state = lock(&self.0.state);
            state.breaker.answered();
            state.answered.take()
        };
        if let Some(prober) = prober {
            // A prober that was dropped has passed the lock on already.
            let _ = prober.send(());
        }
    }

    /// Waits until the peer can be reached; returns at once if the breaker is closed. `probe` sends any request to the peer and
    /// returns when its response head was received.
    ///
    /// # Errors
    /// The error of the last failed connection, after `patience`.
    ///
    /// # Cancel safety
    /// Dropping the future also drops its probe; the next waiter becomes the prober.
    pub async fn reachable<T, P>(
        &self,
        clock: &impl Clock,
        patience: Duration,
        probe: impl Fn() -> P,
    ) -> Result<(), Error>
    where
        // Not `AsyncFn`: the compiler cannot yet tell whether its futures are `Send` if they borrow.
        P: Future<Output = Result<T, Error>>,
    {
        if self.outage().is_none() {
            return Ok(());
        }
        let deadline = clock.now().after(patience);
        let turn = {
            let turn = self.0.prober.acquire();
            match select(pin!(turn), pin!(clock.sleep(patience))).await {
                Either::Left((turn, _)) => turn,
                Either::Right(((), _)) => return self.give_up(),
            }
        };
        while let Some((outage, answered)) = self.listen() {
            let now = clock.now();
            if now >= deadline {
                return self.give_up();
            }
            let due = outage.next_probe.min(deadline).since(now);
            if !due.is_zero() {
                // Ends early if another request got a response; the loop checks the state.
                select(pin!(clock.sleep(due)), answered).await;
                continue;
            }
            match probe().await.err().as_ref().and_then(NoAnswer::of) {
                Some(no_answer) => {
                    let now = clock.now();
                    lock(&self.0.state).breaker.probe_failed(now, no_answer);
                }
                None => self.answered(),
            }
        }
        drop(turn);
        Ok(())
    }

    /// The current outage, and a receiver that signals its end.
    fn listen(&self) -> Option<(Outage, oneshot::Receiver<()>)> {
        let mut state = lock(&self.0.state);
        let outage = state.breaker.outage().cloned()?;
        let (sender, receiver) = oneshot::channel();
        state.answered = Some(sender);
        Some((outage, receiver))
    }

    /// The last error; `None` if the peer responded in the meantime.
    fn give_up(&self) -> Result<(), Error> {
        match self.outage() {
            Some(outage) => Err(outage.last.error()),
            None => Ok(()),
        }
    }
}
