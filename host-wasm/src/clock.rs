//! Time, by the clocks and timers that Node, pages and workers share. Rust's own panic on this target.
//!
//! A page in the background and a laptop that slept have timers that ring late. What a late one missed is no time that a
//! server kept us waiting: it is taken off this clock, so that no idle timeout runs out over it. A backoff is over all the
//! same.

use regrip_core::time::{Clock, Instant};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_futures::js_sys::{Function, Promise};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn monotonic_ms() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn wall_ms() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(call: &Function, ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

/// The longest single timer: within it a machine that slept is noticed.
const NAP_MS: f64 = 15_000.0;
/// A timer that rings so much after its time was held up by more than a busy event loop.
const LATE_MS: f64 = 5_000.0;

thread_local! {
    /// Time that was missed so far, and when the last of it ended.
    static MISSED: Cell<(f64, f64)> = const { Cell::new((0.0, 0.0)) };
}

/// `performance.now()`, `Date.now()` and `setTimeout`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebClock;

impl Clock for WebClock {
    fn now(&self) -> Instant {
        Instant(duration(monotonic_ms() - MISSED.get().0))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + duration(wall_ms())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        sleep_until(monotonic_ms() + ms(duration))
    }
}

async fn sleep_until(deadline: f64) {
    loop {
        let begun = monotonic_ms();
        let left = deadline - begun;
        // A timer may ring a little early.
        if left <= 0.0 {
            return;
        }
        let nap = left.min(NAP_MS).ceil();
        Timer::new(nap).await;
        note_late(begun + nap, monotonic_ms());
    }
}

/// A timer of JavaScript, which ends with its future.
struct Timer {
    id: JsValue,
    resolve: Option<Function>,
    rung: JsFuture,
}

impl Timer {
    /// At most 2^31 − 1 milliseconds.
    fn new(ms: f64) -> Self {
        let (mut id, mut given) = (JsValue::UNDEFINED, None);
        let promise = Promise::new(&mut |resolve: Function, _reject: Function| {
            id = set_timeout(&resolve, ms);
            given = Some(resolve);
        });
        Timer { id, resolve: given, rung: JsFuture::from(promise) }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // It never rejects.
        Pin::new(&mut self.rung).poll(context).map(drop)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
        // The promise holds memory of the module until it is settled.
        if let Some(resolve) = &self.resolve {
            let _: Result<JsValue, JsValue> = resolve.call0(&JsValue::UNDEFINED);
        }
    }
}

/// Several timers that ring late together missed the same time.
fn note_late(due: f64, now: f64) {
    let (missed, ended) = MISSED.get();
    let late = now - due.max(ended);
    if late > LATE_MS {
        MISSED.set((missed + late, now));
    }
}

/// Milliseconds as JavaScript counts them.
pub(crate) fn duration(ms: f64) -> Duration {
    // Negative and NaN become 0, and what is too large the largest there is.
    Duration::from_micros((ms * 1000.0) as u64)
}

/// As milliseconds, fractions included.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs() as f64 * 1000.0 + f64::from(duration.subsec_nanos()) / 1e6
}

/// Milliseconds since 1970.
pub(crate) fn epoch_ms(at: SystemTime) -> f64 {
    ms(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}
