//! Bounded attempts with full jitter.
//!
//! [`RetryPolicy::retry`] runs an operation until it succeeds, fails permanently, or runs out of attempts. The core has neither
//! timers nor a random source, so both are arguments: here the timers of tokio and a `fastrand::Rng`.
//!
//! ```
//! use regrip_core::RetryPolicy;
//! use std::io;
//!
//! # async fn get(_url: &str) -> io::Result<Vec<u8>> { Ok(vec![1]) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> io::Result<()> {
//! let page = RetryPolicy::default()
//!     .retry(tokio::time::sleep, fastrand::Rng::with_seed(1), async |_attempt| get("http://host/page").await)
//!     .when(|error| error.kind() != io::ErrorKind::NotFound)
//!     .await?;
//! # assert_eq!(page, [1]);
//! # Ok(())
//! # }
//! ```
//!
//! A program seeds its generator from the system (`fastrand::Rng::new()`), so that not all of its copies wait equally long. Errors
//! that ask for a delay of their own ([`retry_after`](Retry::retry_after)), and an observer ([`on_retry`](Retry::on_retry)):
//!
//! ```
//! use regrip_core::RetryPolicy;
//! use regrip_core::testing::{Constant, VirtualClock};
//! use regrip_core::time::Clock;
//! use std::time::Duration;
//!
//! #[derive(Debug, PartialEq)]
//! struct Refused { status: u16, retry_after: Option<Duration> }
//!
//! let clock = VirtualClock::default(); // jumps to the next timer, so this takes no time
//! let policy = RetryPolicy::new(5, Duration::from_secs(1), Duration::from_secs(60))?;
//! let mut delays = Vec::new();
//! let request = async |attempt| match attempt {
//!     1 => Err(Refused { status: 500, retry_after: None }),
//!     2 => Err(Refused { status: 503, retry_after: Some(Duration::from_secs(7)) }),
//!     _ => Ok("the page"),
//! };
//! // `Constant(100)` draws the longest delay each time.
//! let page = policy
//!     .retry(|delay| clock.sleep(delay), Constant(100), request)
//!     .when(|error| error.status >= 500)
//!     .retry_after(|error| error.retry_after)
//!     .on_retry(|retrying| delays.push(retrying.delay.as_secs()));
//! assert_eq!(clock.run(page), Some(Ok("the page")));
//! assert_eq!(delays, [1, 7]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When not to use it
//!
//! - For the body of a large response: a second attempt begins again at its first byte. Use [`resume`](crate::resume) or the
//!   [engine](crate::engine), which count attempts without progress.
//! - For a request that must not run twice, such as a payment: a lost answer looks like a lost request.
//! - If constant or Fibonacci delays, a jitter that is added to the delay, a limit on the total time, or blocking code are
//!   wanted: backon has them.
//! - If many callers use one service that may be overloaded: this bounds the attempts of each caller, not of all.
//!
//! [`RetryPolicy::wait`] computes the delay and is pure. The engine uses it in a loop of its own, because progress resets its
//! attempt count.

use crate::random::Random;
use pin_project_lite::pin_project;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How often to try, and how long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first.
    pub max_attempts: NonZeroU32,
    /// The longest delay after the first attempt; it doubles with each further attempt. Zero means no delay.
    pub base_delay: Duration,
    /// The longest delay of all, including one that the server asked for.
    pub max_delay: Duration,
}

/// `max_attempts` was 0, so the operation would never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("max_attempts is 0, expected at least 1: the first attempt counts")]
pub struct ZeroAttempts;

/// Who asked for a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedBy {
    /// The backoff of the policy.
    Jitter,
    /// The server.
    RetryAfter,
}

impl AskedBy {
    /// The name in the ledger and in events.
    pub fn name(self) -> &'static str {
        match self {
            AskedBy::Jitter => "jitter",
            AskedBy::RetryAfter => "retry_after",
        }
    }
}

impl Default for RetryPolicy {
    /// Five attempts, with delays of up to 1 s, 2 s, 4 s and 8 s, and of at most a minute if the server asks for one.
    fn default() -> Self {
        let max_attempts = NonZeroU32::MIN.saturating_add(4);
        RetryPolicy { max_attempts, base_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// Creates a policy.
    ///
    /// # Errors
    /// [`ZeroAttempts`] if `max_attempts` is 0.
    pub fn new(max_attempts: u32, base_delay: Duration, max_delay: Duration) -> Result<Self, ZeroAttempts> {
        let max_attempts = NonZeroU32::new(max_attempts).ok_or(ZeroAttempts)?;
        Ok(RetryPolicy { max_attempts, base_delay, max_delay })
    }

    /// Runs `operation` until it succeeds, fails permanently, or runs out of attempts.
    ///
    /// The operation receives its attempt number, from 1. `sleep` is a timer, such as `tokio::time::sleep` or
    /// `smol::Timer::after`. `random` draws the delays: a `fastrand::Rng`, or a closure that returns a number from 0 to its
    /// argument, inclusive. Every error is worth another attempt, unless [`when`](Retry::when) says otherwise.
    ///
    /// # Errors
    /// The permanent error, or the error of the last attempt, unchanged.
    ///
    /// # Cancel safety
    /// Dropping the future drops the operation or the delay in progress; nothing else is held.
    pub fn retry<S, D, N, O, A, T, E>(self, sleep: S, random: N, operation: O) -> Retry<S, D, N, O, A, AlwaysRetry<E>>
    where
        S: FnMut(Duration) -> D,
        D: Future,
        N: Random,
        O: FnMut(u32) -> A,
        A: Future<Output = Result<T, E>>,
    {
        let rules = Rules { when: always as _, retry_after: never as _, on_retry: ignore as _ };
        Retry { policy: self, sleep, random, operation, rules, attempt: 1, state: State::Due }
    }

    /// The longest delay after attempt `attempt` (from 1): `min(max_delay, base_delay · 2^(attempt−1))`. No value overflows.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let grown = match 1_u32.checked_shl(doublings) {
            Some(factor) => self.base_delay.saturating_mul(factor),
            None if self.base_delay.is_zero() => Duration::ZERO,
            // 2^32 ns is already four seconds: keep doubling, which ends at the cap or after 96 rounds.
            None => doubled(self.base_delay, doublings, self.max_delay),
        };
        grown.min(self.max_delay)
    }

    /// Full jitter: uniform from zero to [`ceiling`](Self::ceiling). The cap applies before the draw, so delays at the cap
    /// stay spread out.
    pub fn jitter(&self, attempt: u32, random: &mut impl Random) -> Duration {
        let ceiling = u64::try_from(self.ceiling(attempt).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.up_to(ceiling))
    }

    /// The delay after attempt `attempt`: exactly `retry_after` if there is one, else jitter; at most `max_delay`.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, random: &mut impl Random) -> (Duration, AskedBy) {
        match retry_after {
            Some(asked) => (asked.min(self.max_delay), AskedBy::RetryAfter),
            None => (self.jitter(attempt, random), AskedBy::Jitter),
        }
    }
}

fn doubled(base: Duration, doublings: u32, cap: Duration) -> Duration {
    let mut grown = base;
    for _ in 0..doublings {
        if grown >= cap {
            break;
        }
        grown = grown.saturating_mul(2);
    }
    grown
}

/// Passed to the observer before each delay.
#[derive(Debug)]
pub struct Retrying<'a, E> {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// The delay before the next attempt.
    pub delay: Duration,
    /// Who asked for it.
    pub asked_by: AskedBy,
    /// Its error.
    pub error: &'a E,
}

/// How a [`Retry`] interprets the caller's errors, and its observer.
#[derive(Clone, Copy)]
pub struct Rules<W, F, O> {
    when: W,
    retry_after: F,
    on_retry: O,
}

/// The rules of a [`Retry`] that was given none.
pub type AlwaysRetry<E> = Rules<fn(&E) -> bool, fn(&E) -> Option<Duration>, fn(Retrying<'_, E>)>;

fn always<E>(_: &E) -> bool {
    true
}
fn never<E>(_: &E) -> Option<Duration> {
    None
}
fn ignore<E>(_: Retrying<'_, E>) {}

pin_project! {
    /// A future that runs an operation with retries; see [`RetryPolicy::retry`].
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Retry<S, D, N, O, A, R> {
        policy: RetryPolicy,
        sleep: S,
        random: N,
        operation: O,
        rules: R,
        attempt: u32,
        #[pin]
        state: State<A, D>,
    }
}

pin_project! {
    #[project = Stage]
    enum State<A, D> {
        Due,
        Running { #[pin] operation: A },
        Waiting { #[pin] delay: D },
        Ended,
    }
}

impl<S, D, N, O, A, R> fmt::Debug for Retry<S, D, N, O, A, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Retry");
        shown.field("policy", &self.policy).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl<S, D, N, O, A, T, E, W, F, P> Retry<S, D, N, O, A, Rules<W, F, P>>
where
    A: Future<Output = Result<T, E>>,
{
    /// Another attempt follows only after errors for which `when` returns `true`.
    pub fn when<W2: Fn(&E) -> bool>(self, when: W2) -> Retry<S, D, N, O, A, Rules<W2, F, P>> {
        let Retry { policy, sleep, random, operation, rules, attempt, state } = self;
        let rules = Rules { when, retry_after: rules.retry_after, on_retry: rules.on_retry };
        Retry { policy, sleep, random, operation, rules, attempt, state }
    }

    /// The delay that an error asks for, such as a `Retry-After`. It replaces the one of the policy, up to `max_delay`.
    pub fn retry_after<F2>(self, retry_after: F2) -> Retry<S, D, N, O, A, Rules<W, F2, P>>
    where
        F2: Fn(&E) -> Option<Duration>,
    {
        let Retry { policy, sleep, random, operation, rules, attempt, state } = self;
        let rules = Rules { when: rules.when, retry_after, on_retry: rules.on_retry };
        Retry { policy, sleep, random, operation, rules, attempt, state }
    }

    /// Called after each failed attempt that another one follows, before the delay.
    pub fn on_retry<P2: FnMut(Retrying<'_, E>)>(self, on_retry: P2) -> Retry<S, D, N, O, A, Rules<W, F, P2>> {
        let Retry { policy, sleep, random, operation, rules, attempt, state } = self;
        let rules = Rules { when: rules.when, retry_after: rules.retry_after, on_retry };
        Retry { policy, sleep, random, operation, rules, attempt, state }
    }
}

impl<S, D, N, O, A, T, E, W, F, P> Future for Retry<S, D, N, O, A, Rules<W, F, P>>
where
    S: FnMut(Duration) -> D,
    D: Future,
    N: Random,
    O: FnMut(u32) -> A,
    A: Future<Output = Result<T, E>>,
    W: Fn(&E) -> bool,
    F: Fn(&E) -> Option<Duration>,
    P: FnMut(Retrying<'_, E>),
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        loop {
            let error = match this.state.as_mut().project() {
                Stage::Due => {
                    let operation = (this.operation)(*this.attempt);
                    this.state.set(State::Running { operation });
                    continue;
                }
                Stage::Waiting { delay } => {
                    ready!(delay.poll(context));
                    this.state.set(State::Due);
                    continue;
                }
                Stage::Running { operation } => match ready!(operation.poll(context)) {
                    Err(error) => error,
                    Ok(value) => {
                        this.state.set(State::Ended);
                        return Poll::Ready(Ok(value));
                    }
                },
                // Polled again after its end.
                Stage::Ended => return Poll::Pending,
            };
            this.state.set(State::Ended);
            let attempt = *this.attempt;
            if attempt >= this.policy.max_attempts.get() || !(this.rules.when)(&error) {
                return Poll::Ready(Err(error));
            }
            let retry_after = (this.rules.retry_after)(&error);
            let (delay, asked_by) = this.policy.wait(attempt, retry_after, this.random);
            (this.rules.on_retry)(Retrying { attempt, delay, asked_by, error: &error });
            *this.attempt += 1;
            match delay.is_zero() {
                true => this.state.set(State::Due),
                false => this.state.set(State::Waiting { delay: (this.sleep)(delay) }),
            }
        }
    }
}
