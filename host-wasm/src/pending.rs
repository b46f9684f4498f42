//! What JavaScript was asked for, as a future: a leaf without a state machine of its own, one for all calls.

use crate::failure;
use regrip_core::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::js_sys::Promise;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

/// An answer of `js/host.js`: there at once, or promised. A promise that rejects is an error of the core.
pub(crate) struct Pending<T> {
    answer: Answer,
    read: fn(JsValue) -> T,
}

enum Answer {
    There(JsValue),
    Promised(JsFuture),
    /// Nothing was asked, for it could not be.
    Failed(Option<Error>),
}

impl<T> Pending<T> {
    /// Objects are promises; everything else is there at once, and costs no turn of the event loop.
    pub(crate) fn new(answer: JsValue, read: fn(JsValue) -> T) -> Self {
        Pending { answer: Answer::of(answer), read }
    }
}

impl<T> Pending<T> {
    /// Fails at once.
    pub(crate) fn failed(error: Error, read: fn(JsValue) -> T) -> Self {
        let answer = Answer::Failed(Some(error));
        Pending { answer, read }
    }
}

impl Pending<()> {
    pub(crate) fn done(answer: JsValue) -> Self {
        Pending::new(answer, drop)
    }
}

impl Pending<u64> {
    pub(crate) fn count(answer: JsValue) -> Self {
        Pending::new(answer, |count| count.as_f64().unwrap_or_default() as u64)
    }
}

impl Pending<bool> {
    pub(crate) fn flag(answer: JsValue) -> Self {
        Pending::new(answer, |flag| flag.is_truthy())
    }
}

impl Answer {
    #[inline(never)]
    fn of(answer: JsValue) -> Answer {
        if answer.is_object() { Answer::Promised(promised(answer)) } else { Answer::There(answer) }
    }

    #[inline(never)]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<JsValue, Error>> {
        match self {
            Answer::There(value) => Poll::Ready(Ok(std::mem::take(value))),
            Answer::Failed(error) => Poll::Ready(error.take().map_or(Ok(JsValue::UNDEFINED), Err)),
            Answer::Promised(promise) => Pin::new(promise).poll(context).map(|answer| answer.map_err(failure::read)),
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let read = self.read;
        self.answer.poll(context).map(|answer| answer.map(read))
    }
}

/// A promise as a future.
pub(crate) fn promised(promise: JsValue) -> JsFuture {
    JsFuture::from(promise.unchecked_into::<Promise>())
}

/// Starts a task. The promise settles with its result.
pub(crate) fn spawn(task: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    let task: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>> = Box::pin(task);
    future_to_promise(task) // of one type, so that its code exists once
}
