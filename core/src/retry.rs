//! Bounded attempts with full jitter.
//!
//! [`RetryPolicy::wait`] computes the delay and is pure. [`retry`] is the loop around one operation, such as a request to a
//! peer or an import. The engine uses the same delay in a loop of its own, because progress resets its attempt count.

use crate::random::Random;
use crate::time::Clock;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::num::NonZeroU32;
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

impl RetryPolicy {
    /// Creates a policy.
    ///
    /// # Errors
    /// [`ZeroAttempts`] if `max_attempts` is 0.
    pub fn new(max_attempts: u32, base_delay: Duration, max_delay: Duration) -> Result<Self, ZeroAttempts> {
        let max_attempts = NonZeroU32::new(max_attempts).ok_or(ZeroAttempts)?;
        Ok(RetryPolicy { max_attempts, base_delay, max_delay })
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

/// How to interpret the caller's errors, and an observer.
pub trait RetryRules<E> {
    /// Returns `true` if another attempt may succeed.
    fn is_retryable(&self, error: &E) -> bool;
    /// The delay that the error asks for, such as a `Retry-After`.
    fn retry_after(&self, error: &E) -> Option<Duration>;
    /// Called after each failed attempt that another one follows.
    fn on_retry(&mut self, _retrying: Retrying<'_, E>) {}
}

/// Runs `operation` until it succeeds, fails permanently, or runs out of attempts.
///
/// The operation receives its attempt number, from 1.
///
/// # Errors
/// The permanent error, or the error of the last attempt, unchanged.
///
/// # Cancel safety
/// Dropping the future drops the operation or the delay in progress; nothing else is held.
pub async fn retry<T, E, A>(
    policy: &RetryPolicy,
    clock: &impl Clock,
    random: &mut impl Random,
    rules: &mut impl RetryRules<E>,
    mut operation: impl FnMut(u32) -> A,
) -> Result<T, E>
where
    // Not `AsyncFnMut`: the compiler cannot yet tell whether its futures are `Send` if they borrow.
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
        rules.on_retry(Retrying { attempt, delay, asked_by, error: &error });
        if !delay.is_zero() {
            clock.sleep(delay).await;
        }
        attempt += 1;
    }
}
