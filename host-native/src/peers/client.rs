//! The client of the peer wire.
//!
//! Invariants: nothing is asked of a peer before its handshake; every request is recorded on the peer's line, by which its
//! downloads wait too; no answer is read beyond a bound.

use super::release::{self, Query, Release};
use crate::config::Peer;
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::sync::lock;
use crate::transport::HttpBody;
use async_lock::Mutex;
use futures::future::{Either, select};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regrip_core::classify::is_transient;
use regrip_core::error::{Timeout, chain};
use regrip_core::host::Host;
use regrip_core::http::Head;
use regrip_core::peer::{NoAnswer, Reachability};
use regrip_core::retry::{RetryRules, Retrying, retry};
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Response};
use regrip_core::{DownloadsConfig, Engine, Error, Source};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What stands for itself in a path (RFC 3986 §2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A peer, as it is asked.
pub struct PeerClient<L: NativeLedger> {
    engine: Engine<NativeHost<L>>,
    peer: Peer,
    line: Reachability,
    /// The handshake was made and holds. Locked while it is made, so that many who ask at once make one.
    greeted: Mutex<bool>,
    /// What the last handshake said.
    version: std::sync::Mutex<Option<String>>,
}

impl<L: NativeLedger> fmt::Debug for PeerClient<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PeerClient").field(&self.peer).finish()
    }
}

/// An error, and whether its patience is used up as well.
struct AttemptFailed {
    error: Error,
    for_good: bool,
}

/// Decides about another attempt, and reports it.
struct PeerRetry<T> {
    on_retry: T,
    config: Arc<DownloadsConfig>,
}

impl<T: FnMut(&Error, Duration)> RetryRules<AttemptFailed> for PeerRetry<T> {
    fn is_retryable(&self, failed: &AttemptFailed) -> bool {
        !failed.for_good && is_transient(&failed.error, &self.config.extra_retry_statuses)
    }
    fn retry_after(&self, failed: &AttemptFailed) -> Option<Duration> {
        failed.error.retry_after()
    }
    fn on_retry(&mut self, retrying: Retrying<'_, AttemptFailed>) {
        (self.on_retry)(&retrying.error.error, retrying.delay);
    }
}

fn base(peer: &Peer) -> &str {
    peer.url.trim_end_matches('/')
}

fn item_url(peer: &Peer, id: &str) -> Result<String, Error> {
    // A URL's path has no such segment, encoded or not: it would name another resource (WHATWG URL, path state).
    if matches!(id, "" | "." | "..") {
        return Err(Error::NameRefused { name: id.to_owned(), why: "it cannot be the id of an item" });
    }
    let id = utf8_percent_encode(id, ENCODED);
    Ok(format!("{}/peer/items/{id}", base(peer)))
}

/// Where a download of an item of a peer gets its bytes from.
///
/// # Errors
/// `NameRefused` for an id that no path can have.
pub(crate) fn source_of(peer: &Peer, id: &str) -> Result<Source, Error> {
    Ok(Source::Peer {
        peer_id: peer.id.as_str().to_owned(),
        peer_name: peer.name.clone(),
        item_id: id.to_owned(),
        url: format!("{}/file", item_url(peer, id)?),
    })
}

impl<L: NativeLedger> PeerClient<L> {
    /// A client for a configured peer, whose credentials the engine's transport has. Nothing is asked yet.
    pub fn new(engine: Engine<NativeHost<L>>, peer: Peer) -> Self {
        PeerClient {
            line: engine.reachability(peer.id.as_str()),
            engine,
            peer,
            greeted: Mutex::new(false),
            version: std::sync::Mutex::new(None),
        }
    }

    /// Its configuration.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it can be reached, shared with its downloads.
    pub fn line(&self) -> &Reachability {
        &self.line
    }

    /// Its version, by the last handshake that worked.
    pub fn version(&self) -> Option<String> {
        lock(&self.version).clone()
    }

    /// Makes a handshake, and a search that finds nothing, which needs the key. Returns the peer's version.
    ///
    /// # Errors
    /// As [`item`](Self::item), after one attempt.
    pub(crate) async fn test(&self) -> Result<Option<String>, Error> {
        self.shake_hands().await?;
        let url = format!("{}/peer/search?tmdbId=0", self.base());
        self.ask(&url).await?;
        Ok(self.version())
    }

    /// Requests a release. `on_retry` is called with the error and the wait before each further attempt.
    ///
    /// # Errors
    /// `NameRefused` for an id that no path can have or a file name that is not a plain safe one, `Status` if the peer
    /// does not have it, `Protocol`, `Coded`, and what the last attempt failed with.
    pub async fn item(&self, id: &str, on_retry: impl FnMut(&Error, Duration)) -> Result<Release, Error> {
        let url = self.item_url(id)?;
        Release::read(self.ask_persistently(&url, on_retry).await?)
    }

    /// Searches it. Releases that are none, or whose files no safe name has, are left out.
    ///
    /// # Errors
    /// As [`item`](Self::item).
    pub async fn search(&self, query: &Query, on_retry: impl FnMut(&Error, Duration)) -> Result<Vec<Release>, Error> {
        #[derive(Deserialize)]
        struct SearchResult {
            items: Vec<Value>,
        }
        let base = format!("{}/peer/search", self.base());
        let url = Url::parse_with_params(&base, query.pairs()).map_err(unreadable)?;
        let SearchResult { items } = self.ask_persistently(url.as_str(), on_retry).await?;
        let releases = items.into_iter().map(Release::read);
        Ok(releases.filter_map(Result::ok).collect())
    }

    /// Returns `true` if it answers a handshake now.
    pub async fn is_there(&self) -> bool {
        self.shake_hands().await.is_ok()
    }

    /// Where a download of an item gets its bytes from.
    ///
    /// # Errors
    /// `NameRefused` for an id that no path can have.
    pub fn source(&self, id: &str) -> Result<Source, Error> {
        source_of(&self.peer, id)
    }

    fn base(&self) -> &str {
        base(&self.peer)
    }

    fn item_url(&self, id: &str) -> Result<String, Error> {
        item_url(&self.peer, id)
    }

    /// Asks until there is an answer or no hope, by the engine's limits. While the peer cannot be reached no attempt is
    /// spent.
    async fn ask_persistently<T: DeserializeOwned>(
        &self,
        url: &str,
        on_retry: impl FnMut(&Error, Duration),
    ) -> Result<T, Error> {
        let host = self.engine.host();
        let config = self.engine.config();
        let policy = config.retry_policy();
        let policy = policy.map_err(|error| Error::Protocol(error.to_string()))?;
        let mut rules = PeerRetry { on_retry, config };
        let mut random = fastrand::Rng::with_seed(host.seed());
        let attempt = |_| self.attempt(url);
        retry(&policy, &host.clock, &mut random, &mut rules, attempt).await.map_err(|failed| failed.error)
    }

    async fn attempt<T: DeserializeOwned>(&self, url: &str) -> Result<T, AttemptFailed> {
        let patience = Duration::from_millis(self.engine.config().peer_patience_ms);
        let probe = || self.shake_hands();
        let reached = self.line.reachable(&self.engine.host().clock, patience, probe);
        reached.await.map_err(|error| AttemptFailed { error, for_good: true })?;
        let answer = self.greet_then_ask(url).await;
        // An answer that was cut off is worth another attempt, so it is read here.
        let value = answer.and_then(|json| read(&json));
        value.map_err(|error| AttemptFailed { error, for_good: false })
    }

    async fn greet_then_ask(&self, url: &str) -> Result<Vec<u8>, Error> {
        {
            let mut greeted = self.greeted.lock().await;
            if !*greeted {
                self.shake_hands().await?;
                *greeted = true;
            }
        }
        let answer = self.ask(url).await;
        if answer.as_ref().err().and_then(NoAnswer::of).is_some() {
            // Who comes back may be another version.
            *self.greeted.lock().await = false;
        }
        answer
    }

    async fn shake_hands(&self) -> Result<(), Error> {
        let handshake = self.ask(&format!("{}/handshake", self.base())).await?;
        *lock(&self.version) = Some(release::check(&handshake)?);
        Ok(())
    }

    async fn ask(&self, url: &str) -> Result<Vec<u8>, Error> {
        let (host, config) = (self.engine.host(), self.engine.config());
        let head = host.transport.get_noting_origin(url).await;
        self.line.note(&host.clock, config.breaker_failures, &head);
        let (head, crossed) = head?;
        let body = body(head, host, &config).await;
        match crossed {
            None => body,
            Some(crossed) => from_elsewhere(body, &crossed),
        }
    }
}

fn unreadable(error: url::ParseError) -> Error {
    Error::Protocol(format!("invalid address: {error}"))
}

/// Largest answer. A search with a thousand releases is below.
const LARGEST_BYTES: usize = 256 << 10;

/// The body of a 200.
///
/// # Errors
/// `Status` with its `Retry-After`; `Protocol` for any other answer that is no 200, and for a body that is too large;
/// `Coded`; `Timeout` if the body takes longer than a head may.
pub(super) async fn body(
    response: Response<HttpBody>,
    host: &NativeHost<impl NativeLedger>,
    config: &DownloadsConfig,
) -> Result<Vec<u8>, Error> {
    let Response { status, headers, end, body } = response;
    let head = Head::read(status, &headers, end, host.clock.wall());
    match status {
        200 => {}
        400..=599 => {
            return Err(Error::Status { status, retry_after: head.retry_after });
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
pub(super) fn from_elsewhere(body: Result<Vec<u8>, Error>, crossed: &str) -> Result<Vec<u8>, Error> {
    let why = match &body {
        Ok(json) => match serde_json::from_slice::<IgnoredAny>(json) {
            Err(error) if !error.is_eof() => "the answer is not from a peer".to_owned(),
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
/// `Incomplete` if it ends before its end, else `Protocol`.
pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| {
        if error.is_eof() {
            let got = json.len() as u64;
            return Error::Incomplete { got, expected: None };
        }
        Error::Protocol(format!("unexpected answer: {error}"))
    })
}
