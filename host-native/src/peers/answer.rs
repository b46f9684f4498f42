//! A peer's JSON: asked for once, read within bounds.

use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::transport::HttpBody;
use futures::future::{Either, select};
use regrip_core::classify::is_transient;
use regrip_core::error::{Timeout, chain};
use regrip_core::http::Head;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Response};
use regrip_core::{DownloadsConfig, Error};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::pin::pin;
use std::time::Duration;

/// Largest answer. A search with a thousand releases is below.
const LARGEST_BYTES: usize = 256 << 10;

/// The body of a 200.
///
/// # Errors
/// `Status` with its `Retry-After`; `Protocol` for any other answer that is no 200, and for a body that is too large;
/// `Coded`; `Timeout` where the body takes longer than a head may.
pub(super) async fn body(
    response: Response<HttpBody>,
    host: &NativeHost<impl NativeLedger>,
    config: &DownloadsConfig,
) -> Result<Vec<u8>, Error> {
    let Response {
        status,
        headers,
        end,
        body,
    } = response;
    let head = Head::read(status, &headers, end, host.clock.wall());
    match status {
        200 => {}
        400..=599 => {
            return Err(Error::Status {
                status,
                retry_after: head.retry_after,
            });
        }
        _ => return Err(Error::Protocol(format!("the status is {status}"))),
    }
    if let Some(coding) = head.coding {
        return Err(Error::Coded(coding));
    }
    let after = Duration::from_millis(config.headers_timeout_ms);
    let too_late = pin!(host.clock.sleep(after));
    match select(pin!(all(body)), too_late).await {
        Either::Left((read, _)) => read,
        Either::Right(((), _)) => {
            let timeout = Timeout::Idle;
            Err(Error::Timeout { timeout, after })
        }
    }
}

/// An answer from another origin, to which the peer redirected: what cannot be used is the redirect's fault, so the error names
/// it.
///
/// # Errors
/// `RedirectRefused` for an error status that no later attempt changes and for a body that is not JSON; else as the body.
pub(super) fn from_elsewhere(
    body: Result<Vec<u8>, Error>,
    crossed: &str,
) -> Result<Vec<u8>, Error> {
    let why = match &body {
        Ok(json) => match serde_json::from_slice::<IgnoredAny>(json) {
            Err(error) if !error.is_eof() => "the answer there is not a peer's".to_owned(),
            _ => return body,
        },
        Err(error) if is_transient(error, &[]) => return body,
        Err(error) => chain(error),
    };
    Err(Error::RedirectRefused(format!("{crossed}; {why}")))
}

async fn all(mut body: HttpBody) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(chunk);
        if bytes.len() > LARGEST_BYTES {
            let what = format!("an answer of more than {LARGEST_BYTES} bytes");
            return Err(Error::Protocol(what));
        }
    }
    Ok(bytes)
}

/// Reads JSON.
///
/// # Errors
/// `Incomplete` where it ends before its end, else `Protocol`.
pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| {
        if error.is_eof() {
            let got = json.len() as u64;
            return Error::Incomplete {
                got,
                expected: None,
            };
        }
        Error::Protocol(format!("the answer is not what was asked for: {error}"))
    })
}
