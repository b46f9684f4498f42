//! Errors across the border: what `js/host.js` rejects with becomes an [`Error`] of the core, and the other way round.

use crate::clock::{duration, ms};
use crate::fields::Fields;
use regrip_core::error::{Doubt, LockFile, Source, Timeout, chain};
use regrip_core::{Class, Error};
use std::fmt;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Reflect, js_name = get)]
    fn property(of: &JsValue, name: &str) -> JsValue;
}

/// What may have been done to a path, and what may stand in a destination's place: the core keeps such words as constants.
const WORDS: [&str; 15] = [
    "open",
    "read",
    "write",
    "truncate",
    "sync",
    "rename",
    "remove",
    "look at",
    "lock",
    "close",
    "a link",
    "a folder",
    "a named pipe",
    "a socket",
    "a device",
];

/// What a `Failed` of `js/failed.js` says.
pub(crate) fn read(failed: JsValue) -> Error {
    let text = |name| property(&failed, name).as_string().unwrap_or_default();
    let what = text("what");
    let path = text("path");
    let source: Option<Source> = Some(Box::new(Said(text("message"))));
    let word = || WORDS.into_iter().find(|word| *word == what).unwrap_or("use");
    match text("code").as_str() {
        "Network" => Error::Network { what, source },
        "HeadersTimeout" => Error::Timeout {
            timeout: Timeout::Headers,
            after: duration(property(&failed, "after").as_f64().unwrap_or_default()),
        },
        "Certificate" => Error::Certificate(text("message")),
        "Tls" => Error::Tls(text("message")),
        "RedirectRefused" => Error::RedirectRefused(text("message")),
        "DiskFull" => Error::DiskFull { path, source },
        "TooManyFiles" => Error::TooManyFiles { source },
        "ForeignPart" => Error::ForeignPart { path },
        // A lock file was lost, or a browser has its own lock: a lock file that is held is refused before.
        "PartLocked" => Error::PartLocked {
            path,
            pid: None,
            lock_file: (!what.is_empty()).then_some(LockFile { path: what, host: None, doubt: Some(Doubt::Lost) }),
        },
        "DestinationExists" => Error::DestinationExists { path },
        "DestinationRefused" => Error::DestinationRefused { path, what: word() },
        "CredentialsMissing" => Error::CredentialsMissing { names: what },
        "Ledger" => Error::Ledger { what, source },
        "Disk" => Error::Disk { what: word(), path, source },
        _ => Error::Protocol(text("message")),
    }
}

/// What went wrong after the file at `path` got its name.
pub(crate) fn after_naming(path: &str, text: String) -> Error {
    Error::Disk { what: "sync the folder of", path: path.to_owned(), source: Some(Box::new(Said(text))) }
}

/// For `js/error.js`, which makes a `RegripError` of it.
pub(crate) fn told(error: &Error, class: Class, into: &Fields) {
    into.put("code", error.code().as_str())
        .put("class", class.name())
        .put("message", &chain(error))
        .put_some("advice", error.advice());
    if let Error::Status { status, .. } = error {
        into.count("status", u64::from(*status));
    }
    if let Some(asked) = error.retry_after() {
        into.milliseconds("retryAfterMs", ms(asked));
    }
}

/// What JavaScript said, as a source of an error. (A plain text would bring the standard library's way to print it.)
struct Said(String);

impl fmt::Debug for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Said {}
