//! The executor: tasks, and what they wait for in JavaScript.
//!
//! One waker a task and one slot a wait, without a closure for each promise: JavaScript (`js/runtime.js`) is handed a
//! number and calls [`settle`] with it, once. A task runs as soon as something it waits for has come, in that same turn.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The `Runtime` of `js/runtime.js`.
    #[derive(Clone)]
    pub type Runtime;
    /// Settles a slot when the promise is.
    #[wasm_bindgen(method)]
    fn when(this: &Runtime, promise: &JsValue, slot: u32);
    /// Settles a slot after this many milliseconds.
    #[wasm_bindgen(method)]
    fn sleep(this: &Runtime, ms: f64, slot: u32);
    #[wasm_bindgen(method, js_name = cancelSleep)]
    fn cancel_sleep(this: &Runtime, slot: u32);
    /// Calls [`turn`] when what runs now is over.
    #[wasm_bindgen(method)]
    fn soon(this: &Runtime);
    /// A promise for the end of a task.
    #[wasm_bindgen(method)]
    fn promise(this: &Runtime, task: u32) -> JsValue;
    #[wasm_bindgen(method)]
    fn resolve(this: &Runtime, task: u32, value: JsValue);
    #[wasm_bindgen(method)]
    fn reject(this: &Runtime, task: u32, error: JsValue);
}

type Work = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;

struct Executor {
    runtime: Option<Runtime>,
    /// By number; none where a number is free, or its task is being polled.
    tasks: Vec<Option<Work>>,
    free_tasks: Vec<u32>,
    /// First come, first run; few at any moment.
    ready: Vec<u32>,
    running: bool,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
}

/// The result of a wait.
enum Slot {
    Waiting(Option<Waker>),
    Settled(Result<JsValue, JsValue>),
    /// Nobody waits any more. The number is free when JavaScript has settled it.
    Abandoned,
    Free,
}

thread_local! {
    static EXECUTOR: RefCell<Executor> = const { RefCell::new(Executor::new()) };
}

/// Nothing that runs under this borrow calls back.
fn with<T>(work: impl FnOnce(&mut Executor) -> T) -> T {
    EXECUTOR.with_borrow_mut(work)
}

fn runtime() -> Option<Runtime> {
    with(|executor| executor.runtime.clone())
}

/// Called once, before anything else.
#[wasm_bindgen]
pub fn begin(runtime: Runtime) {
    with(|executor| executor.runtime = Some(runtime));
}

/// What a slot waited for has come.
#[wasm_bindgen]
pub fn settle(slot: u32, fulfilled: bool, value: JsValue) {
    let result = if fulfilled { Ok(value) } else { Err(value) };
    let before = with(|executor| executor.settled(slot, result));
    if let Slot::Waiting(Some(waker)) = before {
        // It is run right here, not soon.
        let running = with(|executor| std::mem::replace(&mut executor.running, true));
        waker.wake();
        with(|executor| executor.running = running);
    }
    run();
}

/// Runs what is ready.
#[wasm_bindgen]
pub fn turn() {
    run();
}

/// Starts a task; a promise for its end.
pub(crate) fn spawn(work: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> JsValue {
    spawn_boxed(Box::pin(work))
}

fn spawn_boxed(work: Work) -> JsValue {
    let task = with(|executor| executor.add(work));
    let promise = runtime().map(|runtime| runtime.promise(task));
    run();
    promise.unwrap_or_default()
}

/// Runs what is ready, and what becomes so by it.
fn run() {
    if with(|executor| std::mem::replace(&mut executor.running, true)) {
        return; // the loop that is under way comes to it
    }
    while let Some((task, mut work)) = with(Executor::next) {
        let waker = Waker::from(Arc::new(Woken(task)));
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => with(|executor| executor.put_back(task, work)),
            Poll::Ready(result) => {
                drop(work);
                with(|executor| executor.free_tasks.push(task));
                end(task, result);
            }
        }
    }
    with(|executor| executor.running = false);
}

fn end(task: u32, result: Result<JsValue, JsValue>) {
    let Some(runtime) = runtime() else { return };
    match result {
        Ok(value) => runtime.resolve(task, value),
        Err(error) => runtime.reject(task, error),
    }
}

impl Executor {
    const fn new() -> Self {
        Executor {
            runtime: None,
            tasks: Vec::new(),
            free_tasks: Vec::new(),
            ready: Vec::new(),
            running: false,
            slots: Vec::new(),
            free_slots: Vec::new(),
        }
    }

    fn add(&mut self, work: Work) -> u32 {
        let task = self.free_tasks.pop().unwrap_or(self.tasks.len() as u32);
        if task as usize == self.tasks.len() {
            self.tasks.push(None);
        }
        self.put_back(task, work);
        self.ready.push(task);
        task
    }

    fn put_back(&mut self, task: u32, work: Work) {
        if let Some(place) = self.tasks.get_mut(task as usize) {
            *place = Some(work);
        }
    }

    /// The next task that is ready. One that has ended meanwhile is passed over.
    fn next(&mut self) -> Option<(u32, Work)> {
        loop {
            if self.ready.is_empty() {
                return None;
            }
            let task = self.ready.remove(0);
            let work = self.tasks.get_mut(task as usize).and_then(Option::take);
            if let Some(work) = work {
                return Some((task, work));
            }
        }
    }

    fn wait(&mut self) -> u32 {
        let slot = self.free_slots.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(Slot::Free);
        }
        self.change(slot, Slot::Waiting(None));
        slot
    }

    fn settled(&mut self, slot: u32, result: Result<JsValue, JsValue>) -> Slot {
        let before = self.change(slot, Slot::Settled(result));
        if matches!(before, Slot::Abandoned) {
            self.free(slot);
        }
        before
    }

    fn free(&mut self, slot: u32) {
        self.change(slot, Slot::Free);
        self.free_slots.push(slot);
    }

    fn change(&mut self, slot: u32, to: Slot) -> Slot {
        match self.slots.get_mut(slot as usize) {
            Some(place) => std::mem::replace(place, to),
            None => to,
        }
    }
}

struct Woken(u32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let idle = with(|executor| {
            executor.ready.push(self.0);
            !executor.running && executor.ready.len() == 1
        });
        // Not at once: whoever wakes may hold a lock.
        if let Some(runtime) = runtime().filter(|_| idle) {
            runtime.soon();
        }
    }
}

/// A promise, or a time, that is waited for.
#[derive(Debug)]
pub(crate) struct Waited {
    slot: u32,
    timer: bool,
    over: bool,
}

impl Waited {
    pub(crate) fn promise(promise: &JsValue) -> Self {
        Waited::new(false, |runtime, slot| runtime.when(promise, slot))
    }

    /// At most 2^31 − 1 milliseconds.
    pub(crate) fn sleep(ms: f64) -> Self {
        Waited::new(true, |runtime, slot| runtime.sleep(ms, slot))
    }

    fn new(timer: bool, ask: impl FnOnce(Runtime, u32)) -> Self {
        let slot = with(Executor::wait);
        if let Some(runtime) = runtime() {
            ask(runtime, slot);
        }
        let over = false;
        Waited { slot, timer, over }
    }
}

impl Future for Waited {
    type Output = Result<JsValue, JsValue>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot;
        let state = with(|executor| {
            let waiting = Slot::Waiting(Some(context.waker().clone()));
            let state = executor.change(slot, waiting);
            if matches!(state, Slot::Settled(_)) {
                executor.free(slot);
            }
            state
        });
        match state {
            Slot::Settled(result) => {
                self.over = true;
                Poll::Ready(result)
            }
            Slot::Waiting(_) | Slot::Abandoned | Slot::Free => Poll::Pending,
        }
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let before = with(|executor| executor.change(self.slot, Slot::Abandoned));
        if matches!(before, Slot::Settled(_)) {
            with(|executor| executor.free(self.slot));
        } else if self.timer {
            with(|executor| executor.free(self.slot));
            if let Some(runtime) = runtime() {
                runtime.cancel_sleep(self.slot);
            }
        }
    }
}
