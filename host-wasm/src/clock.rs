//! Time, by the clocks and timers that Node, pages and workers share. Rust's own panic on this target.

use gloo_timers::future::TimeoutFuture;
use regrip_core::io::{Clock, Instant};
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn monotonic_ms() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn wall_ms() -> f64;
}

/// Timers hold 31 bits of milliseconds; a longer one rings at once.
const LONGEST_TIMER_MS: u128 = i32::MAX as u128;

/// `performance.now()`, `Date.now()` and `setTimeout`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebClock;

impl Clock for WebClock {
    fn now(&self) -> Instant {
        Instant(milliseconds(monotonic_ms()))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + milliseconds(wall_ms())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let deadline = self.now().after(duration);
        async move {
            // A timer may ring a little early, and a long wait takes several.
            loop {
                let left = deadline.since(WebClock.now());
                if left.is_zero() {
                    return;
                }
                let whole = left.as_nanos().div_ceil(1_000_000);
                TimeoutFuture::new(whole.min(LONGEST_TIMER_MS) as u32).await;
            }
        }
    }
}

fn milliseconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1000.0).unwrap_or_default()
}
