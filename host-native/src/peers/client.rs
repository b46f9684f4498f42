//! The client of the peer wire.
//!
//! Invariants: nothing is asked of a peer before its handshake; every request is recorded on the peer's line, by which its
//! downloads wait too; no answer is read beyond a bound.

use super::release::{self, Query, Release};
use crate::config::Peer;
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::sync::{lock, read as read_lock, write};
use crate::transport::HttpBody;
use async_lock::Mutex;
use futures::future::{Either, select};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regrip_core::classify::is_transient;
use regrip_core::error::{Timeout, chain};
use regrip_core::host::Host;
use regrip_core::http::Head;
use regrip_core::peer::{NoAnswer, Reachability};
use regrip_core::semaphore::Semaphore;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Response};
use regrip_core::{DownloadsConfig, Engine, Error, PeerId, Source};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use url::Url;

/// What stands for itself in a path (RFC 3986 §2.3).
pub(crate) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
            line: engine.reachability(peer.id.as_str(), &peer.url),
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
        self.ask(&url, LARGEST_BYTES).await?;
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

    /// Requests a release once: whoever waits for it asks again.
    ///
    /// # Errors
    /// As [`item`](Self::item).
    pub async fn item_once(&self, id: &str) -> Result<Release, Error> {
        let url = self.item_url(id)?;
        let answered = self.attempt(&url, LARGEST_BYTES, ONCE_PATIENCE).await;
        Release::read(answered.map_err(|failed| failed.error)?)
    }

    /// Searches it once. Releases that are none, or whose files no safe name has, are left out.
    ///
    /// # Errors
    /// As [`item`](Self::item).
    pub async fn search(&self, query: &Query) -> Result<Vec<Release>, Error> {
        #[derive(Deserialize)]
        struct SearchResult {
            items: Vec<Value>,
        }
        let base = format!("{}/peer/search", self.base());
        let url = Url::parse_with_params(&base, query.pairs()).map_err(unreadable)?;
        let answered = self.attempt(url.as_str(), LARGEST_SEARCH_BYTES, ONCE_PATIENCE).await;
        let SearchResult { items } = answered.map_err(|failed| failed.error)?;
        let releases = items.into_iter().take(MOST_RELEASES).map(Release::read);
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
        mut on_retry: impl FnMut(&Error, Duration),
    ) -> Result<T, Error> {
        let host = self.engine.host();
        let config = self.engine.config();
        let policy = config.retry_policy();
        let policy = policy.map_err(|error| Error::Protocol(error.to_string()))?;
        let patience = Duration::from_millis(config.peer_patience_ms);
        let random = fastrand::Rng::with_seed(host.seed());
        let attempts = policy
            .retry(|delay| host.clock.sleep(delay), random, |_| self.attempt(url, LARGEST_BYTES, patience))
            .when(|failed| !failed.for_good && is_transient(&failed.error, &config.extra_retry_statuses))
            .retry_after(|failed| failed.error.retry_after())
            .on_retry(|retrying| on_retry(&retrying.error.error, retrying.delay));
        attempts.await.map_err(|failed| failed.error)
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        url: &str,
        most_bytes: usize,
        patience: Duration,
    ) -> Result<T, AttemptFailed> {
        let probe = || self.shake_hands();
        let reached = self.line.reachable(&self.engine.host().clock, patience, probe);
        reached.await.map_err(|error| AttemptFailed { error, for_good: true })?;
        let answer = self.greet_then_ask(url, most_bytes).await;
        // An answer that was cut off is worth another attempt, so it is read here.
        let value = answer.and_then(|json| read(&json));
        value.map_err(|error| AttemptFailed { error, for_good: false })
    }

    async fn greet_then_ask(&self, url: &str, most_bytes: usize) -> Result<Vec<u8>, Error> {
        {
            let mut greeted = self.greeted.lock().await;
            if !*greeted {
                self.shake_hands().await?;
                *greeted = true;
            }
        }
        let answer = self.ask(url, most_bytes).await;
        if answer.as_ref().err().and_then(NoAnswer::of).is_some() {
            // Who comes back may be another version.
            *self.greeted.lock().await = false;
        }
        answer
    }

    async fn shake_hands(&self) -> Result<(), Error> {
        let handshake = self.ask(&format!("{}/handshake", self.base()), LARGEST_BYTES).await?;
        *lock(&self.version) = Some(release::check(&handshake)?);
        Ok(())
    }

    async fn ask(&self, url: &str, most_bytes: usize) -> Result<Vec<u8>, Error> {
        let (host, config) = (self.engine.host(), self.engine.config());
        let head = host.transport.get_noting_origin(url).await;
        self.line.note(&host.clock, config.breaker_failures, &head);
        let (head, crossed) = head?;
        let body = body(head, host, &config, most_bytes).await;
        match crossed {
            None => body,
            Some(crossed) => from_elsewhere(body, &crossed),
        }
    }
}

/// What a request that is made once waits for the probe of an unreachable peer.
const ONCE_PATIENCE: Duration = Duration::from_secs(1);

/// Requests that one peer gets at once.
const ASKED_AT_ONCE: usize = 8;

/// A peer and those who ask it.
#[derive(Clone, Debug)]
pub(crate) struct KnownPeer<L: NativeLedger> {
    pub(crate) client: Arc<PeerClient<L>>,
    /// Whoever asks holds a permit.
    pub(crate) turns: Semaphore,
}

/// The clients of all configured peers. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct PeerClients<L: NativeLedger> {
    engine: Engine<NativeHost<L>>,
    known: Arc<RwLock<HashMap<PeerId, KnownPeer<L>>>>,
}

impl<L: NativeLedger> PeerClients<L> {
    pub(crate) fn new(engine: Engine<NativeHost<L>>) -> Self {
        PeerClients { engine, known: Arc::default() }
    }

    /// Applies a configuration. The handshake of a peer that did not change stays valid.
    pub(crate) fn configure(&self, peers: &[Peer]) {
        let mut known = write(&self.known);
        let before = std::mem::take(&mut *known);
        for peer in peers {
            let kept = before.get(&peer.id).filter(|kept| kept.client.peer() == peer).cloned();
            let kept = kept.or_else(|| {
                let client = Arc::new(PeerClient::new(self.engine.clone(), peer.clone()));
                Some(KnownPeer { client, turns: Semaphore::new(ASKED_AT_ONCE).ok()? })
            });
            known.extend(kept.map(|kept| (peer.id.clone(), kept)));
        }
    }

    /// The peer of that id.
    pub(crate) fn get(&self, id: &PeerId) -> Option<KnownPeer<L>> {
        read_lock(&self.known).get(id).cloned()
    }

    /// All but the one of that id.
    pub(crate) fn others(&self, id: &PeerId) -> Vec<KnownPeer<L>> {
        read_lock(&self.known).iter().filter(|(other, _)| *other != id).map(|(_, peer)| peer.clone()).collect()
    }

    /// The name of the peer of that id.
    pub(crate) fn name(&self, id: &PeerId) -> Option<String> {
        read_lock(&self.known).get(id).map(|known| known.client.peer().name.clone())
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<KnownPeer<L>> {
        read_lock(&self.known).values().cloned().collect()
    }
}

fn unreadable(error: url::ParseError) -> Error {
    Error::Protocol(format!("invalid address: {error}"))
}

/// Largest handshake or release.
const LARGEST_BYTES: usize = 256 << 10;

/// Largest result of a search: without an id it is all that the peer has. Releases beyond the first are left out.
const LARGEST_SEARCH_BYTES: usize = 16 << 20;
const MOST_RELEASES: usize = 5000;

/// The body of a 200.
///
/// # Errors
/// `Status` with its `Retry-After`; `Protocol` for any other answer that is no 200, and for a body that is too large;
/// `Coded`; `Timeout` if the body takes longer than a head may.
pub(super) async fn body(
    response: Response<HttpBody>,
    host: &NativeHost<impl NativeLedger>,
    config: &DownloadsConfig,
    most_bytes: usize,
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
    match select(pin!(all(body, most_bytes)), too_late).await {
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

async fn all(mut body: HttpBody, most_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(chunk);
        if bytes.len() > most_bytes {
            let what = format!("an answer of more than {most_bytes} bytes");
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
