//! A response body that goes on after a cut, over the caller's own reqwest client. Copy this file.
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use regrip_example_resumable_body::get;
//!
//! # async fn example() -> Result<(), regrip_core::Error> {
//! let client = reqwest::Client::new(); // with the redirects, proxies, headers and `read_timeout` of your program
//! let response = get(&client, "https://host/big.tar").await?;
//! let mut body = std::pin::pin!(response.into_stream());
//! while let Some(bytes) = body.try_next().await? {
//!     println!("{} bytes", bytes.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! If the connection breaks, the stream requests the rest. `plan` says what to request, `verdict` whether the answer is the rest of
//! the same version: the bytes of two versions are never mixed. Bytes that were handed on cannot be taken back, so a body without a
//! strong ETag ends with an error when it is cut ([`Error::NotResumable`]), and so does one whose file changed.
//!
//! Nothing times out here: set `read_timeout` on the client, and a stalled connection counts as a broken one. Dropping the stream
//! closes the connection.

use bytes::Bytes;
use futures::stream::{Stream, try_unfold};
use regrip_core::error::Error;
use regrip_core::http::{Head, body_end};
use regrip_core::record::{RestartReason, Validators};
use regrip_core::resume::{Held, IfRange, Plan, Verdict, plan, verdict, verdict_on_plain};
use regrip_core::store::StoreRules;
use regrip_core::transport::{BodyEnd, Headers, RequestRules};
use regrip_core::{RetryPolicy, is_transient};
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, Response};
use std::time::SystemTime;

/// A consumer that has used its bytes: they can neither be read back nor taken back.
const CONSUMER: StoreRules = StoreRules { read_back_bytes: 0, truncate: false, durable_unit_bytes: 1 };

/// Requests a body, with the default policy.
///
/// # Errors
/// As [`get_with`].
pub async fn get(client: &Client, url: &str) -> Result<ResumableBody, Error> {
    get_with(client, url, RetryPolicy::default()).await
}

/// Requests a body. `policy` limits the attempts in a row that bring no new byte, the first request included.
///
/// # Errors
/// `Status`, `Network` and others, if no attempt was answered with a file; `UnknownSize` if a cut body could not be distinguished from a
/// complete one.
pub async fn get_with(client: &Client, url: &str, policy: RetryPolicy) -> Result<ResumableBody, Error> {
    let (response, head) = policy
        .retry(tokio::time::sleep, fastrand::Rng::new(), async |_| {
            let (response, head) = send(client, url, None).await?;
            // Nothing is held, so there is nothing that could differ.
            match verdict_on_plain(RequestRules::FREE, false, nothing(&Validators::default()), &head, NO_REASON) {
                Verdict::Full { end: BodyEnd::Unmarked, .. } => Err(Error::UnknownSize),
                Verdict::Full { .. } => Ok((response, head)),
                Verdict::Fail(error) => Err(error),
                other => Err(unusable(&other)),
            }
        })
        .when(|error| is_transient(error, &[]))
        .retry_after(Error::retry_after)
        .await?;
    let size = match head.end {
        Ok(BodyEnd::Length(bytes)) => Some(bytes),
        _ => None,
    };
    Ok(ResumableBody {
        client: client.clone(),
        url: url.to_owned(),
        policy,
        response: Some(response),
        size,
        validators: head.validators,
        offset: 0,
        skip: 0,
        end: size,
        attempts: 0,
    })
}

/// Of a request for the whole file while nothing is held.
const NO_REASON: RestartReason = RestartReason::RangeIgnored;

fn nothing(validators: &Validators) -> Held<'_> {
    Held::new(0, None, validators)
}

/// A body whose bytes continue where a broken connection left off.
#[derive(Debug)]
pub struct ResumableBody {
    client: Client,
    url: String,
    policy: RetryPolicy,
    /// `None` after a cut.
    response: Option<Response>,
    size: Option<u64>,
    validators: Validators,
    /// Bytes handed on.
    offset: u64,
    /// Bytes at the start of this response that were handed on before.
    skip: u64,
    /// Where this response ends in the file; `None` if its own end is that of the file.
    end: Option<u64>,
    /// Failed attempts since the last new byte.
    attempts: u32,
}

impl ResumableBody {
    /// The size of the file in bytes, if the server stated it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes; `None` at the proven end of the file.
    ///
    /// # Errors
    /// `NotResumable` if the body was cut and has no strong ETag, `Protocol` if the file changed or the server answers with
    /// something else than the rest, otherwise the error of the last attempt. The stream is over then.
    ///
    /// # Cancel safety
    /// No byte is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let error = match self.chunk().await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            self.response = None;
            self.attempts += 1;
            if self.attempts >= self.policy.max_attempts.get() || !is_transient(&error, &[]) {
                return Err(error);
            }
            let mut random = fastrand::Rng::new();
            let (delay, _asked_by) = self.policy.wait(self.attempts, error.retry_after(), &mut random);
            tokio::time::sleep(delay).await;
        }
    }

    /// The body as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        try_unfold(self, |mut body| async move { Ok(body.next().await?.map(|bytes| (bytes, body))) })
    }

    /// The next bytes of this response, or of one for the rest.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.response.is_none() && !self.resume().await? {
                return Ok(None);
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            let chunk = response.chunk().await.map_err(|error| failed("reading the response body", error))?;
            let Some(mut bytes) = chunk else {
                // reqwest reports an end before the announced length or the last chunk. A range may end before the file does.
                self.response = None;
                return match self.end {
                    Some(end) if self.offset < end || self.size != Some(end) => {
                        Err(Error::Incomplete { got: self.offset, expected: self.size })
                    }
                    _ => Ok(None),
                };
            };
            let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= known as u64;
            let mut bytes = bytes.split_off(known);
            if let Some(end) = self.end {
                // A chunked range may be longer than it says.
                bytes.truncate(usize::try_from(end - self.offset).unwrap_or(usize::MAX));
            }
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                self.attempts = 0;
                return Ok(Some(bytes));
            }
        }
    }

    /// Requests the rest. Returns `false` if nothing is left to request.
    async fn resume(&mut self) -> Result<bool, Error> {
        let held = Held::new(self.offset, self.size, &self.validators);
        let ask = match plan(held, 0, RequestRules::FREE, CONSUMER) {
            Plan::Finish => return Ok(false),
            Plan::Ranged(ask) => ask,
            Plan::Plain => {
                // No byte was handed on yet, so any version will do.
                let body = Box::pin(get_with(&self.client, &self.url, self.policy)).await?;
                *self = ResumableBody { attempts: self.attempts, ..body };
                return Ok(true);
            }
            _ => return Err(Error::NotResumable),
        };
        let range = (ask.first, ask.if_range.as_ref());
        let (response, head) = send(&self.client, &self.url, Some(range)).await?;
        (self.skip, self.end) = match verdict(&ask, held, &head) {
            Verdict::Append { end, total } => {
                self.size = self.size.or(total);
                (0, Some(end))
            }
            // The server knows no ranges, and its whole file is the same version.
            Verdict::IgnoredIfRange { .. } => (self.offset, self.size),
            Verdict::Complete => return Ok(false),
            Verdict::Fail(error) => return Err(error),
            other => return Err(unusable(&other)),
        };
        self.response = Some(response);
        Ok(true)
    }
}

/// Sends a GET, of everything or from a byte on.
async fn send(client: &Client, url: &str, range: Option<(u64, Option<&IfRange>)>) -> Result<(Response, Head), Error> {
    // Offsets count the bytes of the file: no coding, and none of reqwest's features that decode one.
    let mut get = client.get(url).header(ACCEPT_ENCODING, "identity");
    if let Some((first, if_range)) = range {
        get = get.header(RANGE, format!("bytes={first}-"));
        if let Some(validator) = if_range {
            get = get.header(IF_RANGE, validator.value());
        }
    }
    let response = get.send().await.map_err(|error| failed("waiting for the response", error))?;
    let headers: Headers = response.headers().iter().collect();
    let head = Head::read(response.status().as_u16(), &headers, body_end(&headers), SystemTime::now());
    Ok((response, head))
}

fn unusable(verdict: &Verdict) -> Error {
    let why = match verdict {
        Verdict::Full { reason, .. } | Verdict::AskWhole { reason, .. } => reason.name(),
        _ => "not the file",
    };
    Error::Protocol(format!("the rest of the file cannot be had: {why}"))
}

fn failed(what: &str, error: reqwest::Error) -> Error {
    Error::network(what, error.without_url()) // its query may be a secret
}
