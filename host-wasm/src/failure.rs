//! Errors across the border: what JavaScript throws becomes an [`Error`] of the core, and the other way round.

use js_sys::{Object, RangeError, Reflect};
use regrip_core::error::{Source, chain};
use regrip_core::{Error, class};
use wasm_bindgen::prelude::*;

/// What a sink was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Measure,
    Write,
    Read,
    Truncate,
    Sync,
    Commit,
}

impl Doing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Doing::Measure => "measure",
            Doing::Write => "write",
            Doing::Read => "read",
            Doing::Truncate => "truncate",
            Doing::Sync => "sync",
            Doing::Commit => "commit",
        }
    }
}

/// What a sink threw.
pub(crate) fn disk(doing: Doing, path: &str, error: &JsValue) -> Error {
    let path = path.to_owned();
    let source: Option<Source> = Some(message(error).into());
    let code = text(error, "code").or_else(|| text(error, "name"));
    match code.as_deref() {
        Some("ENOSPC" | "EDQUOT" | "QuotaExceededError") => Error::DiskFull { path, source },
        Some("EMFILE" | "ENFILE") => Error::TooManyFiles { source },
        Some("EEXIST") if doing == Doing::Commit => Error::DestinationExists { path },
        _ => Error::Disk {
            what: doing.name(),
            path,
            source,
        },
    }
}

/// What `fetch` or its body threw. Only Node tells a bad certificate from a failed connection.
pub(crate) fn network(what: &str, error: &JsValue) -> Error {
    let cause = Reflect::get(error, &"cause".into()).unwrap_or_default();
    match text(&cause, "code") {
        Some(code) if code.contains("CERT") || code.starts_with("UNABLE_TO_VERIFY") => {
            Error::Certificate(text(&cause, "message").unwrap_or(code))
        }
        _ => Error::network(what, message(error)),
    }
}

/// An error's message, with the cause that Node's `fetch` hides one level down.
pub(crate) fn message(error: &JsValue) -> String {
    let own = text(error, "message").unwrap_or_else(|| format!("{error:?}"));
    let cause = Reflect::get(error, &"cause".into()).unwrap_or_default();
    match text(&cause, "message")
        .filter(|cause| !cause.is_empty())
        .or_else(|| text(&cause, "code"))
    {
        Some(cause) => format!("{own}: {cause}"),
        None => own,
    }
}

/// A `RegripError`, as `js/node.d.ts` describes it.
pub(crate) fn thrown(error: &Error) -> JsValue {
    let made = js_sys::Error::new(&chain(error));
    // As everything in JavaScript that an `AbortSignal` has ended.
    made.set_name(if matches!(error, Error::Cancelled) {
        "AbortError"
    } else {
        "RegripError"
    });
    set(&made, "code", error.code());
    set(&made, "class", class(error).name());
    if let Some(advice) = error.advice() {
        set(&made, "advice", advice);
    }
    if let Error::Status { status, .. } = error {
        set(&made, "status", f64::from(*status));
    }
    made.into()
}

/// For what a program got wrong before anything began.
pub(crate) fn invalid(what: &str) -> JsValue {
    RangeError::new(what).into()
}

fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    // Cannot fail on an object that was made just now.
    let _ = Reflect::set(object, &name.into(), &value.into());
}

fn text(value: &JsValue, name: &str) -> Option<String> {
    Reflect::get(value, &name.into()).ok()?.as_string()
}
