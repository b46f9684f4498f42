//! Asks the server if it still has the version that an earlier run downloaded (`--on-exists overwrite`).
//!
//! A conditional GET (RFC 9110 §13): 304 says so, and so does a 200 of the same size with the identical strong ETag, or
//! without any ETag with the identical Last-Modified, from a server that ignores conditions. Its body is not read. What neither says is
//! another version: the response is kept for the download that follows, so that it is sent once.

use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::transport::Header;
use regrip_core::classify::is_transient;
use regrip_core::host::Host;
use regrip_core::http::Head;
use regrip_core::record::{Row, Validators};
use regrip_core::retry::{RetryRules, Retrying};
use regrip_core::time::Clock;
use regrip_core::transport::Response;
use regrip_core::{Engine, Error, retry};
use std::time::Duration;
use surf::http::Method;

/// Asks about a completed download, as often as an attempt at it would be made.
///
/// # Errors
/// `Status` for an error status; what the last try failed with.
pub(super) async fn is_unchanged<L: NativeLedger>(engine: &Engine<NativeHost<L>>, row: &Row) -> Result<bool, Error> {
    let Some(condition) = condition(&row.validators) else {
        return Ok(false);
    };
    let host = engine.host();
    let policy = engine.config().retry_policy();
    let policy = policy.map_err(|error| Error::Protocol(error.to_string()))?;
    let mut random = fastrand::Rng::with_seed(host.seed());
    let mut rules = UnchangedRules;
    let once = |_| ask(host, row, &condition);
    retry(&policy, &host.clock, &mut random, &mut rules, once).await
}

struct UnchangedRules;

impl RetryRules<Error> for UnchangedRules {
    fn is_retryable(&self, error: &Error) -> bool {
        is_transient(error, &[])
    }
    fn retry_after(&self, error: &Error) -> Option<Duration> {
        error.retry_after()
    }
    fn on_retry(&mut self, _: Retrying<'_, Error>) {}
}

async fn ask<L: NativeLedger>(host: &NativeHost<L>, row: &Row, condition: &Header) -> Result<bool, Error> {
    let url = row.new.source.url();
    let headers = std::slice::from_ref(condition);
    let response = host.transport.ask(Method::Get, url, headers, None).await?;
    let Response { status, headers, .. } = &response;
    let size = headers.only("content-length");
    let size = size.and_then(|size| size.parse().ok());
    match *status {
        304 => Ok(true),
        200 => {
            let validators = Validators {
                etag: headers.only("etag").map(str::to_owned),
                last_modified: headers.only("last-modified").map(str::to_owned),
                ..Validators::default()
            };
            let same = is_same(&row.validators, &validators) && size == Some(row.downloaded);
            if !same {
                host.transport.keep(url, response);
            }
            Ok(same)
        }
        400..=599 => Err(Error::Status {
            status: *status,
            retry_after: Head::read(*status, headers, response.end.clone(), host.clock.wall()).retry_after,
        }),
        // Whatever it means, the download finds out.
        _ => Ok(false),
    }
}

/// The condition by what was recorded: the ETag, else Last-Modified. `None` if neither can be sent.
fn condition(recorded: &Validators) -> Option<Header> {
    let (name, value) = match (&recorded.etag, &recorded.last_modified) {
        (Some(etag), _) => ("If-None-Match", etag),
        (None, Some(date)) => ("If-Modified-Since", date),
        (None, None) => return None,
    };
    Header::new(name, value).ok()
}

fn is_same(recorded: &Validators, now: &Validators) -> bool {
    match (&recorded.etag, &now.etag) {
        (Some(recorded), Some(now)) => recorded == now && !now.starts_with("W/"),
        (None, None) => recorded.last_modified.is_some() && recorded.last_modified == now.last_modified,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators(etag: Option<&str>, last_modified: Option<&str>) -> Validators {
        Validators {
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
            ..Validators::default()
        }
    }

    #[test]
    fn a_200_is_the_same_version_only_by_an_identical_strong_validator() {
        let date = Some("Sat, 28 Nov 2026 10:00:00 GMT");
        let table = [
            (Some("\"a\""), date, Some("\"a\""), None, true),
            (Some("\"a\""), date, Some("\"b\""), date, false),
            (Some("W/\"a\""), date, Some("W/\"a\""), date, false),
            (Some("\"a\""), date, None, date, false),
            (None, date, Some("\"a\""), date, false),
            (None, date, None, date, true),
            (None, date, None, Some("Sat, 28 Nov 2026 09:00:00 GMT"), false),
            (None, None, None, None, false),
        ];
        for (etag, last_modified, etag_now, last_modified_now, same) in table {
            let recorded = validators(etag, last_modified);
            let now = validators(etag_now, last_modified_now);
            assert_eq!(is_same(&recorded, &now), same, "{recorded:?} {now:?}");
        }
    }
}
