//! The core's primitives alone: retry, backoff, Retry-After, classes, permits.

use crate::clock::{duration, ms};
use crate::out_of_range;
use crate::pending::{Pending, promised, spawn};
use regrip_core::classify::class_of_status;
use regrip_core::http::parse_retry_after;
use regrip_core::random::Random;
use regrip_core::retry::{RetryRules, Retrying};
use regrip_core::semaphore::{Permit, Semaphore};
use regrip_core::time::{Clock, Instant};
use regrip_core::{Class, RetryPolicy};
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::js_sys::Promise;

#[wasm_bindgen]
extern "C" {
    /// A `Hooks` of `js/retry.js`. Nothing of it throws.
    #[derive(Clone, Debug)]
    pub type Hooks;
    #[wasm_bindgen(method)]
    fn operate(this: &Hooks, attempt: u32) -> JsValue;
    #[wasm_bindgen(method, js_name = isRetryable)]
    fn is_retryable(this: &Hooks, error: &JsValue) -> bool;
    #[wasm_bindgen(method, js_name = retryAfter)]
    fn retry_after(this: &Hooks, error: &JsValue) -> Option<f64>;
    #[wasm_bindgen(method, js_name = onRetry)]
    fn on_retry(this: &Hooks, attempt: u32, delay_ms: f64, asked_by: &str, error: &JsValue);
    #[wasm_bindgen(method)]
    fn sleep(this: &Hooks, ms: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn random(this: &Hooks) -> f64;
}

/// The core's `retry`; a promise.
#[wasm_bindgen]
pub fn retry(max_attempts: u32, base_ms: f64, max_ms: f64, hooks: Hooks) -> Promise {
    spawn(async move {
        let policy = policy(max_attempts, base_ms, max_ms)?;
        let hooks = Hooked(hooks);
        let (mut random, mut rules) = (hooks.clone(), hooks.clone());
        let operation = async |attempt| promised(hooks.0.operate(attempt)).await;
        regrip_core::retry(&policy, &hooks, &mut random, &mut rules, operation).await
    })
}

/// A delay of full jitter after this attempt, in milliseconds. `random` is from 0 up to and without 1.
///
/// # Errors
/// A text if an argument is out of range.
#[wasm_bindgen(js_name = backoffDelay)]
pub fn backoff_delay(attempt: u32, base_ms: f64, max_ms: f64, random: f64) -> Result<f64, JsValue> {
    let policy = policy(1, base_ms, max_ms)?;
    Ok(ms(policy.jitter(attempt, &mut Drawn(random))))
}

/// The delay that a `Retry-After` asks for, in milliseconds; `now` is milliseconds since 1970.
#[wasm_bindgen(js_name = parseRetryAfter)]
pub fn retry_after_ms(value: &str, now: f64) -> Option<f64> {
    let now: SystemTime = UNIX_EPOCH + duration(now);
    parse_retry_after(value, now).map(ms)
}

/// Returns `true` if this response is worth another attempt.
#[wasm_bindgen(js_name = isTransientStatus)]
pub fn is_transient_status(status: u16) -> bool {
    class_of_status(status, &[]) == Class::Transient
}

fn policy(max_attempts: u32, base_ms: f64, max_ms: f64) -> Result<RetryPolicy, JsValue> {
    let policy = RetryPolicy::new(max_attempts, duration(base_ms), duration(max_ms));
    policy.map_err(out_of_range)
}

#[derive(Clone, Debug)]
struct Hooked(Hooks);

impl Clock for Hooked {
    fn now(&self) -> Instant {
        Instant::default()
    }
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let slept = Pending::done(self.0.sleep(ms(duration)));
        async {
            // It resolves whatever comes; why it ended is seen by who asks next.
            let _ = slept.await;
        }
    }
}

impl Random for Hooked {
    fn up_to(&mut self, max: u64) -> u64 {
        Drawn(self.0.random()).up_to(max)
    }
}

impl RetryRules<JsValue> for Hooked {
    fn is_retryable(&self, error: &JsValue) -> bool {
        self.0.is_retryable(error)
    }
    fn retry_after(&self, error: &JsValue) -> Option<Duration> {
        self.0.retry_after(error).map(duration)
    }
    fn on_retry(&mut self, retrying: Retrying<'_, JsValue>) {
        let Retrying { attempt, delay, asked_by, error } = retrying;
        self.0.on_retry(attempt, ms(delay), asked_by.name(), error);
    }
}

/// A number that was drawn already, from 0 up to and without 1.
struct Drawn(f64);

impl Random for Drawn {
    fn up_to(&mut self, max: u64) -> u64 {
        ((self.0 * (max as f64 + 1.0)) as u64).min(max)
    }
}

/// Hands out permits, first come first served.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Permits(Semaphore);

#[wasm_bindgen]
impl Permits {
    /// So many.
    ///
    /// # Errors
    /// A text if they are invalid.
    #[wasm_bindgen(constructor)]
    pub fn new(permits: u32) -> Result<Permits, JsValue> {
        let semaphore = Semaphore::new(permits as usize);
        semaphore.map(Permits).map_err(out_of_range)
    }

    /// A permit, if one is free and nobody waits.
    #[wasm_bindgen(js_name = tryAcquire)]
    pub fn try_acquire(&self) -> Option<Held> {
        self.0.try_acquire().map(Held)
    }

    /// A promise of one.
    pub fn acquire(&self) -> Promise {
        let permit = self.0.acquire();
        spawn(async move { Ok(Held(permit.await).into()) })
    }

    /// Changes their number.
    ///
    /// # Errors
    /// A text if they are invalid.
    pub fn resize(&self, permits: u32) -> Result<(), JsValue> {
        let resized = self.0.resize(permits as usize);
        resized.map_err(out_of_range)
    }

    /// Permits in use.
    pub fn used(&self) -> u32 {
        self.0.used() as u32
    }

    /// Those in the queue.
    pub fn waiting(&self) -> u32 {
        self.0.waiting() as u32
    }
}

/// The right to run; freeing it gives it back.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is dropped")] Permit);
