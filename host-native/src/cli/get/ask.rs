//! What a server is asked before a download is accepted.
//!
//! Whether it still has the version that is there (`--on-exists overwrite`, `--newer`): a conditional GET (RFC 9110 §13). 304 says
//! so. So does a 200 from a server that ignores conditions, if it has the same size and the identical strong ETag, or
//! without any ETag the identical Last-Modified; for a file that regrip did not download, the same size and a Last-Modified
//! that is not after the file's. Its body is not read.
//!
//! Under which name it has the file (`--content-disposition`): a GET.
//!
//! In both cases the response is kept for the download that follows, so that it is sent once.
//!
//! For the Metalink document that names the files: a GET, whose body is read.

use super::metalink;
use crate::cli::report::Reporter;
use crate::cli::text;
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::store::FileStamp;
use crate::text_file::bounded;
use crate::time::SmolClock;
use crate::transport::{Header, HttpBody, HttpTransport};
use regrip_core::classify::is_transient;
use regrip_core::error::{Timeout, chain};
use regrip_core::host::Host;
use regrip_core::http::{Head, suggested_name};
use regrip_core::record::{Row, Validators};
use regrip_core::retry::Retrying;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Request, Response, Transport};
use regrip_core::{DownloadsConfig, Engine, Error, display_url};
use smol::Timer;
use smol::future::FutureExt;
use std::time::{Duration, SystemTime};
use surf::http::Method;

/// A file whose version the server is asked about.
pub(super) struct Local<'a> {
    /// The download that left it, or one that no ledger has.
    pub(super) row: &'a Row,
    /// Its stamp, if its time may be compared with a Last-Modified.
    pub(super) stamp: Option<FileStamp>,
}

impl Local<'_> {
    /// The condition by what was recorded: the ETag, else Last-Modified, else the file's time. `None` if none can be sent.
    fn condition(&self) -> Option<Header> {
        let recorded = &self.row.validators;
        let (name, value) = match (&recorded.etag, &recorded.last_modified, self.modified()) {
            (Some(etag), _, _) => ("If-None-Match", etag.clone()),
            (None, Some(date), _) => ("If-Modified-Since", date.clone()),
            (None, None, Some(modified)) => ("If-Modified-Since", httpdate::fmt_http_date(modified)),
            (None, None, None) => return None,
        };
        Header::new(name, &value).ok()
    }

    /// The file's time in whole seconds, as HTTP has them.
    fn modified(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.stamp?.mtime_ns / 1_000_000_000).unwrap_or_default();
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Returns `true` if a 200 of the same size is no other version, or no newer one.
    fn is_same(&self, now: &Validators) -> bool {
        let recorded = &self.row.validators;
        match (&recorded.etag, &now.etag) {
            (Some(recorded), Some(now)) => recorded == now && !now.starts_with("W/"),
            (None, None) if recorded.last_modified.is_some() => recorded.last_modified == now.last_modified,
            (None, _) if recorded.last_modified.is_none() => {
                let now = now.last_modified.as_ref().and_then(|now| httpdate::parse_http_date(now).ok());
                now.zip(self.modified()).is_some_and(|(now, modified)| now <= modified)
            }
            _ => false,
        }
    }
}

/// Asks about a file, as often as an attempt at it would be made.
///
/// # Errors
/// `Status` for an error status; what the last try failed with.
pub(super) async fn is_current<L: NativeLedger>(
    engine: &Engine<NativeHost<L>>,
    reporter: &dyn Reporter,
    local: Local<'_>,
) -> Result<bool, Error> {
    let Some(condition) = local.condition() else {
        return Ok(false);
    };
    repeated(engine, reporter, local.row.new.source.url(), || ask(engine.host(), &local, &condition)).await
}

/// The name by the Content-Disposition of the server's response, a stranger's; `None` if it has none.
///
/// # Errors
/// As [`is_current`].
pub(super) async fn served_name<L: NativeLedger>(
    engine: &Engine<NativeHost<L>>,
    reporter: &dyn Reporter,
    url: &str,
) -> Result<Option<String>, Error> {
    let host = engine.host();
    repeated(engine, reporter, url, async || {
        let response = host.transport.get(Request { url, range: None, if_range: None }).await?;
        check_status(&response, host.clock.wall())?;
        let name = response.headers.only("content-disposition").and_then(suggested_name);
        if response.status == 200 {
            host.transport.keep(url, response);
        }
        Ok(name)
    })
    .await
}

/// The text of a Metalink document on a server.
///
/// # Errors
/// As [`is_current`]; `Protocol` if it is too large or no text.
pub(super) async fn document(
    transport: &HttpTransport,
    config: &DownloadsConfig,
    reporter: &dyn Reporter,
    url: &str,
) -> Result<String, Error> {
    let (clock, after) = (SmolClock::default(), config.idle_timeout());
    let policy = config.retry_policy().map_err(|error| Error::Protocol(error.to_string()))?;
    let read = async || {
        let response = transport.ask(Method::Get, url, &[], None).await?;
        check_status(&response, clock.wall())?;
        let (mut body, mut bytes) = (response.body, Vec::new());
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
            if bytes.len() as u64 > metalink::MAX_BYTES {
                break;
            }
        }
        bounded(&*bytes, metalink::MAX_BYTES).map_err(|error| Error::Protocol(error.to_string()))
    };
    let late = async || {
        Timer::after(after).await;
        Err(Error::Timeout { timeout: Timeout::Idle, after })
    };
    policy
        .retry(Timer::after, fastrand::Rng::new(), async |_| read().or(late()).await)
        .when(|error| is_transient(error, &[]))
        .retry_after(Error::retry_after)
        .on_retry(|retrying| warn(reporter, url, &retrying))
        .await
}

async fn repeated<L: NativeLedger, T>(
    engine: &Engine<NativeHost<L>>,
    reporter: &dyn Reporter,
    url: &str,
    once: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    let policy = engine.config().retry_policy();
    let policy = policy.map_err(|error| Error::Protocol(error.to_string()))?;
    let random = fastrand::Rng::with_seed(engine.host().seed());
    policy
        .retry(Timer::after, random, async |_| once().await)
        .when(|error| is_transient(error, &[]))
        .retry_after(Error::retry_after)
        .on_retry(|retrying| warn(reporter, url, &retrying))
        .await
}

fn warn(reporter: &dyn Reporter, url: &str, retrying: &Retrying<'_, Error>) {
    let (url, why) = (display_url(url), chain(retrying.error));
    reporter.warn(&format!("{url}: {why}; asking again {}", text::in_a_while(retrying.delay)));
}

async fn ask<L: NativeLedger>(host: &NativeHost<L>, local: &Local<'_>, condition: &Header) -> Result<bool, Error> {
    let url = local.row.new.source.url();
    let headers = std::slice::from_ref(condition);
    let response = host.transport.ask(Method::Get, url, headers, None).await?;
    check_status(&response, host.clock.wall())?;
    let headers = &response.headers;
    match response.status {
        304 => Ok(true),
        200 => {
            let validators = Validators {
                etag: headers.only("etag").map(str::to_owned),
                last_modified: headers.only("last-modified").map(str::to_owned),
                ..Validators::default()
            };
            let size = headers.only("content-length").and_then(|size| size.parse().ok());
            let same = local.is_same(&validators) && size == Some(local.row.downloaded);
            if !same {
                host.transport.keep(url, response);
            }
            Ok(same)
        }
        // Whatever it means, the download finds out.
        _ => Ok(false),
    }
}

fn check_status(response: &Response<HttpBody>, wall: SystemTime) -> Result<(), Error> {
    let Response { status, headers, end, .. } = response;
    match *status {
        400..=599 => Err(Error::Status {
            status: *status,
            retry_after: Head::read(*status, headers, end.clone(), wall).retry_after,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrip_core::record::NewDownload;
    use regrip_core::{OnExists, Source};

    fn validators(etag: Option<&str>, last_modified: Option<&str>) -> Validators {
        Validators {
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
            ..Validators::default()
        }
    }

    fn row(validators: Validators) -> Row {
        let new = NewDownload {
            source: Source::Url { url: "http://host/film".to_owned() },
            mirrors: Vec::new(),
            header_names: Vec::new(),
            destination: "/film".to_owned(),
            part: "/film.part".to_owned(),
            on_exists: OnExists::Overwrite,
            release_size: None,
            digests: Vec::new(),
            adopt: false,
        };
        Row { validators, ..Row::new(1, new) }
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
            (None, None, None, date, false),
        ];
        for (etag, last_modified, etag_now, last_modified_now, same) in table {
            let row = row(validators(etag, last_modified));
            let now = validators(etag_now, last_modified_now);
            let local = Local { row: &row, stamp: None };
            assert_eq!(local.is_same(&now), same, "{row:?} {now:?}");
        }
    }

    #[test]
    fn a_file_without_validators_is_asked_for_by_its_time_in_whole_seconds() {
        let (older, same, newer) =
            ("Sat, 28 Nov 2026 09:59:59 GMT", "Sat, 28 Nov 2026 10:00:00 GMT", "Sat, 28 Nov 2026 10:00:01 GMT");
        let row = row(Validators::default());
        let local = |mtime_ns| Local { row: &row, stamp: Some(FileStamp { size: 1, mtime_ns }) };
        let at_ten = local(1_795_860_000_999_999_999);
        assert_eq!(at_ten.condition(), Header::new("If-Modified-Since", same).ok());
        for (now, is_same) in [(Some(older), true), (Some(same), true), (Some(newer), false), (None, false)] {
            assert_eq!(at_ten.is_same(&validators(Some("\"a\""), now)), is_same, "{now:?}");
        }
        // Times that HTTP cannot state.
        let first = Header::new("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT").ok();
        assert_eq!((local(-1).condition(), local(i64::MIN).condition()), (first.clone(), first));
        assert!(local(i64::MAX).condition().is_some());
    }
}
