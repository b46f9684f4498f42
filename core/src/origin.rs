//! Politeness to one origin: how many of its downloads may move at once.
//!
//! A server that answers 429 or 503 while another download from it moves has shown how many it takes. From then on no more
//! than that many get a permit; the limit grows by one after each file that completes, and after each minute. A download
//! that was sent away so waits for a permit and spends no attempt, a bounded number of times in a row.
//!
//! Every download holds a [`Seat`] at its origin while it is driven. An origin where nobody sits is forgotten. No timer runs
//! but those of the downloads that wait.

use crate::config::DownloadsConfig;
use crate::error::Error;
use crate::event::scheme_host_and_path;
use crate::mutex::lock;
use crate::record::Source;
use crate::semaphore::{Lane, Permit, Semaphore};
use crate::time::{Clock, Instant};
use crate::transport::Response;
use futures::future::{Either, select};
use litemap::LiteMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// After this long without a file that completes, one download more may move.
pub(crate) const GROWTH: Duration = Duration::from_secs(60);

/// The origins of the downloads that are driven.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<LiteMap<String, Arc<Origin>>>);

/// One origin.
#[derive(Debug)]
struct Origin {
    is_peer: bool,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Downloads whose bytes move.
    moving: usize,
    /// Downloads that have leave to move.
    inside: usize,
    /// Connections beside the one that each of these has.
    extra: usize,
    /// How many may move at most. A lower limit is lifted once it has grown to this.
    ceiling: usize,
    /// The ceiling is lower than what the engine's own permits allow.
    is_capped: bool,
    /// How many may move, and since when, if the origin said that it is busy.
    limit: Option<(usize, Instant)>,
}

/// The seat of a download at its origin.
#[derive(Debug)]
pub(crate) struct Seat {
    origin: Arc<Origin>,
    moving: AtomicBool,
    /// Waits in a row that cost no attempt.
    free_waits: AtomicU32,
}

/// A download that waits because its origin is busy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Other downloads of the origin that move.
    pub(crate) moving: usize,
    /// When it is its turn at the latest, from now on.
    pub(crate) latest: Duration,
}

impl Origins {
    /// A seat for a download of this source.
    pub(crate) fn seat(&self, source: &Source, config: &DownloadsConfig) -> Seat {
        let (key, is_peer) = match source {
            Source::Peer { peer_id, url, .. } => (at_origin(peer_id, url), true),
            Source::Url { url } => (origin(url), false),
        };
        let mut origins = lock(&self.0);
        origins.retain(|_, origin| Arc::strong_count(origin) > 1);
        let origin = origins.entry(key).or_insert_with(|| Arc::new(Origin::new(is_peer, config)));
        Seat { origin: Arc::clone(origin), moving: AtomicBool::new(false), free_waits: AtomicU32::new(0) }
    }

    /// Takes other limits into use.
    pub(crate) fn reconfigure(&self, config: &DownloadsConfig) {
        let origins: Vec<Arc<Origin>> = lock(&self.0).values().cloned().collect();
        for origin in origins {
            origin.change(|state| (state.ceiling, state.is_capped) = ceiling(origin.is_peer, config));
        }
    }
}

/// How many downloads of an origin may move, and whether the origin itself enforces it.
fn ceiling(is_peer: bool, config: &DownloadsConfig) -> (usize, bool) {
    let is_capped = is_peer || config.max_concurrent_per_peer.is_some();
    let most = if is_capped { config.permits_per_peer() } else { config.max_concurrent_downloads };
    (most.max(1) as usize, is_capped)
}

impl Origin {
    fn new(is_peer: bool, config: &DownloadsConfig) -> Origin {
        let (ceiling, is_capped) = ceiling(is_peer, config);
        let state = State { moving: 0, inside: 0, extra: 0, ceiling, is_capped, limit: None };
        let origin = Origin { is_peer, permits: Semaphore::unlimited(), state: Mutex::new(state) };
        origin.apply();
        origin
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = lock(&self.state);
            change(&mut state);
            if state.limit.is_some_and(|(limit, _)| limit >= state.ceiling) {
                state.limit = None;
            }
        }
        self.apply();
    }

    /// Brings the permits in line with the state, outside of its lock: whoever is woken may want it. If somebody else
    /// changes the state meanwhile, the later state counts.
    fn apply(&self) {
        let mut permits = self.most();
        loop {
            // Never 0.
            let _ = self.permits.resize(permits);
            let most = self.most();
            if most == permits {
                return;
            }
            permits = most;
        }
    }

    /// How many may move.
    fn most(&self) -> usize {
        let state = lock(&self.state);
        match state.limit {
            Some((limit, _)) => limit.max(1),
            None if state.is_capped => state.ceiling,
            None => usize::MAX,
        }
    }

    fn grow(&self, now: Instant) {
        self.change(|state| {
            if let Some((limit, since)) = &mut state.limit {
                (*limit, *since) = (limit.saturating_add(1), now);
            }
        });
    }

    /// Time until the limit grows by itself.
    fn due(&self, now: Instant) -> Duration {
        let since = lock(&self.state).limit.map_or(now, |(_, since)| since);
        GROWTH.saturating_sub(now.since(since))
    }
}

impl Seat {
    /// Waits for a permit.
    ///
    /// # Cancel safety
    /// As [`Semaphore::acquire`].
    pub(crate) async fn permit(&self, clock: &impl Clock, lane: Lane, priority: i8) -> Permit {
        let origin = &self.origin;
        if let Some(permit) = origin.permits.try_acquire() {
            return permit;
        }
        let mut acquire = pin!(origin.permits.acquire_by(lane, priority));
        loop {
            // One that is not limited now may be so by then.
            let due = origin.due(clock.now());
            let grows = pin!(clock.sleep(due));
            if let Either::Left((permit, _)) = select(acquire.as_mut(), grows).await {
                return permit;
            }
            let now = clock.now();
            if origin.due(now).is_zero() {
                origin.grow(now);
            }
        }
    }

    /// Returns `true` if another seat is at the same origin.
    pub(crate) fn is_beside(&self, other: &Seat) -> bool {
        Arc::ptr_eq(&self.origin, &other.origin)
    }

    /// Enters with a permit in hand; `None` if a lowered limit leaves no room after others entered.
    pub(crate) fn enter(&self) -> Option<Inside> {
        let mut state = lock(&self.origin.state);
        if state.limit.is_some_and(|(limit, _)| state.inside >= limit) {
            return None;
        }
        state.inside = state.inside.saturating_add(1);
        Some(Inside(Arc::clone(&self.origin)))
    }

    /// The connections that the origin takes if it takes `most` in all.
    pub(crate) fn extras(&self, most: u32) -> Extras {
        Extras { origin: Arc::clone(&self.origin), most: most as usize }
    }

    /// Takes note of the outcome of a request: with a 200 or 206 bytes move.
    pub(crate) fn answered<B>(&self, answer: &Result<Response<B>, Error>) {
        let moves = matches!(answer, Ok(Response { status: 200 | 206, .. }));
        self.set_moving(moves);
    }

    /// The attempt is over.
    pub(crate) fn stop_moving(&self) {
        self.set_moving(false);
    }

    fn set_moving(&self, moving: bool) {
        if self.moving.swap(moving, Ordering::Relaxed) == moving {
            return;
        }
        let mut state = lock(&self.origin.state);
        state.moving = if moving { state.moving.saturating_add(1) } else { state.moving.saturating_sub(1) };
    }

    /// The file is complete.
    pub(crate) fn completed(&self, now: Instant) {
        self.origin.grow(now);
    }

    /// Lowers the limit of the origin, if `error` says that it is busy and others of its downloads move. `None` if the
    /// attempt counts: nothing else moves, or this download has had `most` such waits in a row.
    pub(crate) fn busy(&self, error: &Error, now: Instant, most: u32) -> Option<Busy> {
        if !matches!(error, Error::Status { status: 429 | 503, .. }) {
            self.free_waits.store(0, Ordering::Relaxed); // no longer in a row
            return None;
        }
        let moving = lock(&self.origin.state).moving;
        if moving == 0 || self.free_waits.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.free_waits.fetch_add(1, Ordering::Relaxed);
        self.origin.change(|state| {
            let limit = state.limit.map_or(moving, |(limit, _)| limit.min(moving));
            state.limit = Some((limit, now));
        });
        let before = u32::try_from(self.origin.permits.waiting()).unwrap_or(u32::MAX);
        let latest = GROWTH.saturating_mul(before.saturating_add(1));
        Some(Busy { moving, latest })
    }
}

/// The further connections that an origin takes, beside one for each download.
#[derive(Debug)]
pub(crate) struct Extras {
    origin: Arc<Origin>,
    most: usize,
}

impl Extras {
    /// One more connection, without waiting; `None` if there are enough, or another download waits for the origin.
    pub(crate) fn acquire(&self) -> Option<Extra> {
        let is_wanted = self.origin.permits.waiting() > 0;
        let mut state = lock(&self.origin.state);
        let open = state.inside.saturating_add(state.extra);
        if is_wanted || state.limit.is_some() || open >= self.most {
            return None;
        }
        state.extra = state.extra.saturating_add(1);
        Some(Extra(Arc::clone(&self.origin)))
    }
}

/// A further connection to an origin. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Extra(Arc<Origin>);

impl Drop for Extra {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.extra = state.extra.saturating_sub(1);
    }
}

/// A download that has leave to move. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Origin>);

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.inside = state.inside.saturating_sub(1);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stop_moving();
    }
}

/// A peer at the origin of a URL, as a key.
pub(crate) fn at_origin(peer_id: &str, url: &str) -> String {
    [peer_id, " ", &origin(url)].concat()
}

/// Scheme, host and port of a URL, as a key: two that differ only in case or in a default port are one.
fn origin(url: &str) -> String {
    let (scheme, host, _) = scheme_host_and_path(url).unwrap_or(("", url, ""));
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let default = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(default).unwrap_or(&host);
    [&scheme, "://", host].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let table = [
            ("http://a.test/x?y#z", "http://a.test"),
            ("HTTP://me:p@A.test:80/", "http://a.test"),
            ("https://a.test:443", "https://a.test"),
            ("https://a.test:80/x@y", "https://a.test:80"),
            ("http://[::1]:8080?x", "http://[::1]:8080"),
        ];
        for (url, expected) in table {
            assert_eq!(origin(url), expected, "{url}");
        }
    }

    #[test]
    fn an_origin_where_nobody_sits_is_forgotten() {
        let (origins, config) = (Origins::default(), DownloadsConfig::default());
        let seat = |url: &str| {
            let url = url.to_owned();
            origins.seat(&Source::Url { url }, &config)
        };
        let (one, other) = (seat("http://a.test/1"), seat("http://a.test/2"));
        assert!(Arc::ptr_eq(&one.origin, &other.origin));
        drop((one, other));
        let _third = seat("http://b.test/");
        assert_eq!(lock(&origins.0).len(), 1);
    }
}
