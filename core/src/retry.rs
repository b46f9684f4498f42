//! Bounded attempts with full jitter.
//!
//! The wait is a pure function ([`RetryPolicy::wait`]); the loop ([`retry`]) is for single operations such as a peer's JSON
//! or an import trigger. The engine has a loop of its own, since its attempts in a row start anew after progress, and
//! shares the wait.

use crate::random::Random;
use crate::time::Clock;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

/// How often and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most, the first included.
    pub max_attempts: NonZeroU32,
    /// The wait after the first attempt, at most; zero means no wait.
    pub base_delay: Duration,
    /// No wait is longer, an explicit one included.
    pub max_delay: Duration,
}

/// `max_attempts` was 0: the operation would never be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("max_attempts is 0, expected at least 1: the first attempt counts")]
pub struct ZeroAttempts;

/// Who asked for a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedBy {
    /// Our own backoff.
    Jitter,
    /// The server.
    RetryAfter,
}

impl AskedBy {
    /// As the ledger and the events spell it.
    pub fn name(self) -> &'static str {
        match self {
            AskedBy::Jitter => "jitter",
            AskedBy::RetryAfter => "retry_after",
        }
    }
}

impl RetryPolicy {
    /// A policy.
    ///
    /// # Errors
    /// `max_attempts` is 0.
    pub fn new(
        max_attempts: u32,
        base_delay: Duration,
        max_delay: Duration,
    ) -> Result<Self, ZeroAttempts> {
        let max_attempts = NonZeroU32::new(max_attempts).ok_or(ZeroAttempts)?;
        Ok(RetryPolicy {
            max_attempts,
            base_delay,
            max_delay,
        })
    }

    /// The longest wait after attempt `attempt` (from 1): `min(max_delay, base_delay · 2^(attempt−1))`, whatever the numbers.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let grown = match 1_u32.checked_shl(doublings) {
            Some(factor) => self.base_delay.saturating_mul(factor),
            None if self.base_delay.is_zero() => Duration::ZERO,
            // 2^32 times even a nanosecond is four seconds; go on doubling, which ends at the cap or after 96 rounds.
            None => doubled(self.base_delay, doublings, self.max_delay),
        };
        grown.min(self.max_delay)
    }

    /// Full jitter: uniform from zero to [`ceiling`](Self::ceiling), the cap applied before drawing, so that waits at the
    /// cap stay spread out.
    pub fn jitter(&self, attempt: u32, random: &mut impl Random) -> Duration {
        let ceiling = u64::try_from(self.ceiling(attempt).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.up_to(ceiling))
    }

    /// The wait after attempt `attempt`: the one that was asked for, exact, else jitter; neither above `max_delay`.
    pub fn wait(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        random: &mut impl Random,
    ) -> (Duration, AskedBy) {
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

/// What is told to an observer before each wait.
#[derive(Debug)]
pub struct Retrying<'a, E> {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// The wait before the next.
    pub delay: Duration,
    /// Who asked for it.
    pub asked_by: AskedBy,
    /// Its error.
    pub error: &'a E,
}

/// How a caller's errors are read, and who watches.
pub trait RetryRules<E> {
    /// Whether another attempt makes sense.
    fn is_retryable(&self, error: &E) -> bool;
    /// The wait the error asks for.
    fn retry_after(&self, error: &E) -> Option<Duration>;
    /// Is told of every attempt that is followed by another.
    fn on_retry(&mut self, _retrying: Retrying<'_, E>) {}
}

/// Runs `operation` until it succeeds, fails for good, or its attempts are used up.
///
/// It is told its attempt number, from 1. A first success returns at once.
///
/// # Errors
/// The permanent error, or that of the last attempt, as it is.
///
/// # Cancel safety
/// Dropping the future drops the operation or the wait it is in; nothing else is held.
pub async fn retry<T, E, A>(
    policy: &RetryPolicy,
    clock: &impl Clock,
    random: &mut impl Random,
    rules: &mut impl RetryRules<E>,
    mut operation: impl FnMut(u32) -> A,
) -> Result<T, E>
where
    // Not `AsyncFnMut`: whether the futures of one are `Send` cannot be told yet where it borrows.
    A: Future<Output = Result<T, E>>,
{
    let mut attempt = 1;
    loop {
        let error = match operation(attempt).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if attempt >= policy.max_attempts.get() || !rules.is_retryable(&error) {
            return Err(error);
        }
        let (delay, asked_by) = policy.wait(attempt, rules.retry_after(&error), random);
        rules.on_retry(Retrying {
            attempt,
            delay,
            asked_by,
            error: &error,
        });
        if !delay.is_zero() {
            clock.sleep(delay).await;
        }
        attempt += 1;
    }
}
