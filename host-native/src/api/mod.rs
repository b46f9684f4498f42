//! The HTTP API of a running server, and its dashboard.
//!
//! [`router`] turns a [`Control`] into the request handler of a [`Server`](crate::server::Server). If the same server shares
//! folders with peers, [`beside`] puts both on one address: the peers' keys open the peer wire and nothing else, the
//! server's key opens the API and nothing else (one of a configuration of jack opens both).
//!
//! ```text
//! let api = api::router(control.clone(), CurrentKeys::new(Some(Keys::new([key])?)));
//! let answer = api::beside(api, share.router(access).answer());     // or `api` alone
//! threads.run(server.run(threads.executor(), answer, stopped));     // first `control.end()`, which ends the event streams
//! ```
//!
//! Below `/api/v2/` is the API of another program, qBittorrent, for Radarr and Sonarr: see `qbittorrent`.
//!
//! `torznab` is the indexer for them, `routes` is the table of routes and has the error responses, `auth` decides who may use them. Nothing here decides
//! about downloads.
//!
//! Invariant: no answer has a secret in it: no key, no header's value, of a URL neither userinfo nor query. The links of
//! `torznab` carry the key of their own request.

mod auth;
mod dashboard;
mod downloads;
mod peers;
mod qbittorrent;
mod routes;
mod status;
mod torrent_json;
mod torznab;

use crate::control::Control;
use crate::host::Workers;
use crate::ledger::NativeLedger;
use crate::server::{Answer, CurrentKeys, Refusal, Reply, Router};
use async_lock::Semaphore;
use auth::Auth;
pub(crate) use downloads::{AttemptList, BatchReply, DownloadPage, JSON_LINES, read_wish};
use futures::FutureExt;
use futures::future::{Either, select};
use hyper::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
pub(crate) use peers::{link_of, shown_key};
use routes::{ledger_busy, storage_busy};
use smol::Timer;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Requests that may query the ledger at once. The others wait, so that downloads, which write to it, wait for a few of
/// them at most.
const AT_ONCE: usize = 4;

/// Between two looks at whether the ledger accepts writes.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a change may take that has to do with the storage of files.
const CHANGE_WITHIN: Duration = Duration::from_secs(9);

/// The result of a handler.
type Handled = Result<Reply, Refusal>;

/// What the handlers share.
struct Api<L: NativeLedger> {
    control: Control<L>,
    auth: Arc<Auth>,
    /// Permits to query the ledger.
    turns: Semaphore,
    /// When Torznab first listed each release.
    first_listed: torznab::FirstListed,
    started: SystemTime,
}

impl<L: NativeLedger> Api<L> {
    /// Runs a change. While another program keeps the ledger locked, no change begins, and a running one is not waited for:
    /// its client would give up before it ends. Nor is one that the storage keeps.
    ///
    /// # Errors
    /// `LedgerBusy`, `StorageBusy`, and what `change` ends with.
    async fn change<T, E>(&self, change: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        self.change_within(CHANGE_WITHIN, change).await
    }

    /// The same, with another time for the storage.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    async fn change_within<T, E>(
        &self,
        within: Duration,
        change: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        let ledger = self.control.ledger();
        if ledger.is_stuck() {
            return Err(ledger_busy("; nothing was done"));
        }
        let mut change = Workers::spawn(change);
        let begun = Instant::now();
        loop {
            match select(&mut change, Timer::after(LOOK_EVERY)).await {
                Either::Left((done, _)) => return done.map_err(E::into),
                Either::Right(_) if ledger.is_stuck() => {
                    change.detach();
                    return Err(ledger_busy("; it is done once the lock is gone, unless that takes too long"));
                }
                Either::Right(_) if begun.elapsed() >= within => {
                    change.detach();
                    return Err(storage_busy());
                }
                Either::Right(_) => {}
            }
        }
    }
}

/// The API as a server takes it. Without a key only this machine is served.
pub fn router<L: NativeLedger>(control: Control<L>, keys: CurrentKeys) -> Answer {
    let auth = Arc::new(Auth::new(keys, control.ledger().fleet().is_some()));
    let api = Api {
        control,
        auth: Arc::clone(&auth),
        turns: Semaphore::new(AT_ONCE),
        first_listed: torznab::FirstListed::default(),
        started: SystemTime::now(),
    };
    let api = Arc::new(api);
    let client = qbittorrent::router(Arc::clone(&api));
    let router = Router::new(api, routes::routes(), auth);
    let answer = router.refusing("/torznab/", torznab::refusal).answer();
    Arc::new(move |request, from| {
        let reply = match request.uri().path().starts_with("/api/v2/") {
            true => client(request, from),
            false => answer(request, from),
        };
        let reply = reply.map(|reply| {
            reply
                .default_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
                .default_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        });
        reply.boxed()
    })
}

/// The API and the peer wire on one address.
pub fn beside(api: Answer, wire: Answer) -> Answer {
    Arc::new(move |request, from| {
        let path = request.uri().path();
        match path == "/handshake" || path.starts_with("/peer/") {
            true => wire(request, from),
            false => api(request, from),
        }
    })
}

/// The bytes of a form of the download client's API, for [`fuzzed`](crate::fuzzed).
pub(crate) fn read_form(kind: &str, body: &[u8]) -> Option<usize> {
    let form = smol::block_on(torrent_json::Form::of(Vec::new(), kind, bytes::Bytes::copy_from_slice(body))).ok()?;
    let texts = form.fields.iter().map(|(name, value)| name.len() + value.len());
    Some(texts.chain(form.files.iter().map(bytes::Bytes::len)).sum())
}
