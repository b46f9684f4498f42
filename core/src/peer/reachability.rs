//! The line to one peer: its breaker, and the queue of those that wait until it can be reached.
//!
//! Of all that wait one is the prober: it holds the lock, sleeps until the next probe is due and asks. It hands the lock on
//! when the peer answered, and when it is dropped or gives up; so there is one probe at a time, no timer but the prober's
//! and each one's own patience, and nobody waits for a prober that is gone.

use super::breaker::{Breaker, NoAnswer, Outage};
use crate::error::Error;
use crate::mutex::lock;
use crate::time::Clock;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The line to one peer. Clones are the same line.
#[derive(Clone, Debug, Default)]
pub struct Reachability(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    /// Held by the prober.
    prober: async_lock::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    /// Wakes the prober when somebody else got an answer.
    answered: Option<oneshot::Sender<()>>,
}

impl Reachability {
    /// The outage, while there is one.
    pub fn outage(&self) -> Option<Outage> {
        lock(&self.0.state).breaker.outage().cloned()
    }

    /// Records the outcome of a request to the peer: its response head, or the error in place of it. `limit` is
    /// `breakerFailures`, 0 is off.
    pub fn note<T>(&self, clock: &impl Clock, limit: u32, head: &Result<T, Error>) {
        match head.as_ref().err().and_then(NoAnswer::of) {
            Some(no_answer) => {
                let now = clock.now();
                lock(&self.0.state).breaker.failed(now, limit, no_answer);
            }
            None => self.answered(),
        }
    }

    /// Closes the breaker, and lets all go on that wait.
    pub fn answered(&self) {
        let prober = {
            let mut state = lock(&self.0.state);
            state.breaker.answered();
            state.answered.take()
        };
        if let Some(prober) = prober {
            // One that is gone has handed on already.
            let _ = prober.send(());
        }
    }

    /// Waits until the peer can be reached; at once where nothing says that it cannot. `probe` asks the peer for anything
    /// and returns at its response head.
    ///
    /// # Errors
    /// After `patience` the error of the last connection that failed.
    ///
    /// # Cancel safety
    /// Dropping the future drops a probe it has under way; the next in the queue probes then.
    pub async fn reachable<T, P>(
        &self,
        clock: &impl Clock,
        patience: Duration,
        probe: impl Fn() -> P,
    ) -> Result<(), Error>
    where
        // Not `AsyncFn`: whether the futures of one are `Send` cannot be told yet where it borrows.
        P: Future<Output = Result<T, Error>>,
    {
        if self.outage().is_none() {
            return Ok(());
        }
        let deadline = clock.now().after(patience);
        let turn = {
            let turn = self.0.prober.lock();
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
                // Ends early where somebody else got an answer; the loop looks at the outcome.
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

    /// The outage, and what tells of its end.
    fn listen(&self) -> Option<(Outage, oneshot::Receiver<()>)> {
        let mut state = lock(&self.0.state);
        let outage = state.breaker.outage().cloned()?;
        let (sender, receiver) = oneshot::channel();
        state.answered = Some(sender);
        Some((outage, receiver))
    }

    /// The last error; none where the peer answered in the same moment.
    fn give_up(&self) -> Result<(), Error> {
        match self.outage() {
            Some(outage) => Err(outage.last.error()),
            None => Ok(()),
        }
    }
}
