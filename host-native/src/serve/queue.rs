//! Downloads that met trouble of this machine's own: no room on the disk, a folder that is gone, a locked database. None of
//! them failed for good. They are tried again for as long as it takes.
//!
//! Invariant: trouble makes no storm, of requests or of words. What can be seen without trying (room, the folder) is looked
//! at every half minute, in silence; a download that found no room waits until there is as much as it needs. What only a
//! try can tell is tried at intervals that grow to an hour.
//!
//! Downloads that wait for their turn, a line for each source, so that nothing but their numbers is in memory.
//!
//! The engine's permits say whose bytes move. This says how many downloads of a source may be under way at all, those that
//! wait for a permit, a backoff or their peer included: a peer with a thousand of them takes no room from another one, and
//! a hundred thousand rows begin with the first few.

use super::service::Service;
use crate::ledger::NativeLedger;
use crate::sync::lock;
use futures::future::{Either, select};
use regrip_core::error::chain;
use regrip_core::semaphore::{Permit, Semaphore};
use regrip_core::{DownloadId, Error, ErrorCode, Row, Status};
use smol::channel::{Receiver, Sender, bounded, unbounded};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two tries, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Between two looks at trouble that can be seen.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The wait after so many tries in vain.
pub(super) fn rest_after(tries: u32) -> Duration {
    let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
    FIRST_REST.saturating_mul(factor).min(LONGEST_REST)
}

#[derive(Debug, Default)]
struct Waiting {
    due: BTreeSet<(Instant, DownloadId)>,
    tries: HashMap<DownloadId, u32>,
}

/// Those that wait.
#[derive(Debug)]
pub(super) struct LocalRetries {
    waiting: Mutex<Waiting>,
    news: (Sender<()>, Receiver<()>),
}

impl Default for LocalRetries {
    fn default() -> Self {
        LocalRetries {
            waiting: Mutex::default(),
            news: bounded(1),
        }
    }
}

impl LocalRetries {
    /// Has a download tried again later. Returns in how long.
    pub(super) fn put(&self, id: DownloadId) -> Duration {
        let rest = {
            let mut waiting = lock(&self.waiting);
            let tries = waiting.tries.entry(id).or_default();
            let rest = rest_after(*tries);
            *tries = tries.saturating_add(1);
            rest
        };
        self.at(id, rest)
    }

    /// Has a download looked at again, without a try having been in vain. Returns in how long.
    fn put_back(&self, id: DownloadId) -> Duration {
        lock(&self.waiting).tries.entry(id).or_default();
        self.at(id, LOOK_EVERY)
    }

    fn at(&self, id: DownloadId, rest: Duration) -> Duration {
        {
            let mut waiting = lock(&self.waiting);
            waiting.due.retain(|(_, other)| *other != id);
            waiting.due.insert((Instant::now() + rest, id));
        }
        // One word that waits already is enough.
        let _ = self.news.0.try_send(());
        rest
    }

    /// The trouble of a download is over, one way or another.
    pub(super) fn forget(&self, id: DownloadId) {
        let mut waiting = lock(&self.waiting);
        if waiting.tries.remove(&id).is_some() {
            waiting.due.retain(|(_, other)| *other != id);
        }
    }

    /// Those whose time has come, and when the next one's comes.
    fn due(&self) -> (Vec<DownloadId>, Option<Instant>) {
        let mut waiting = lock(&self.waiting);
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(&(at, id)) = waiting.due.first() {
            if at > now {
                return (due, Some(at));
            }
            waiting.due.pop_first();
            due.push(id);
        }
        (due, None)
    }
}

/// Tries those again whose time has come. Never ends.
pub(super) async fn run<L: NativeLedger>(service: Arc<Service<L>>) {
    loop {
        let (due, next) = service.retries.due();
        for id in due {
            try_again(&service, id).await;
        }
        let news = pin!(service.retries.news.1.recv());
        match next {
            Some(at) => {
                if let Either::Left((Err(_), _)) = select(news, pin!(smol::Timer::at(at))).await {
                    return;
                }
            }
            None => {
                if news.await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn try_again<L: NativeLedger>(service: &Arc<Service<L>>, id: DownloadId) {
    let row = match service.control.ledger().row(id).await {
        Ok(row) => row,
        Err(Error::NoSuchDownload(_)) => return service.retries.forget(id),
        Err(_) => {
            service.retries.put(id);
            return;
        }
    };
    match row.status {
        Status::Completed | Status::ImportQueued | Status::Cancelled => service.retries.forget(id),
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {
            service.drive(&source_of(&row), id);
        }
        Status::Failed if !may_go_on(service, &row) => {
            let rest = service.retries.put_back(id);
            service.show_postponed(id, rest);
        }
        Status::Failed => match service.control.engine().retry(id).await {
            Ok(()) => service.drive(&source_of(&row), id),
            // Somebody else was faster.
            Err(Error::WrongState { .. } | Error::NoSuchDownload(_)) => service.retries.forget(id),
            Err(error) => {
                tracing::warn!(id, error = %chain(&error), "cannot be tried again yet");
                service.retries.put(id);
            }
        },
    }
}

/// Whether what a download failed by may be over.
fn may_go_on<L: NativeLedger>(service: &Service<L>, row: &Row) -> bool {
    let is_full = row
        .failure
        .as_ref()
        .is_some_and(|failure| failure.code == ErrorCode::DiskFull);
    let size = row.known_size().map_or(0, |size| size.bytes);
    let needs = size.saturating_sub(row.downloaded);
    service.completed.check().is_ok() && (!is_full || service.completed.has_room(needs))
}

/// What a row waits in line for.
pub(super) fn source_of(row: &Row) -> String {
    match &row.new.source {
        regrip_core::Source::Url { .. } => String::new(),
        regrip_core::Source::Peer { peer_id, .. } => peer_id.clone(),
    }
}

/// Downloads of one source that are under way at once.
const UNDER_WAY: usize = 64;

/// All lines. There are as many as there were sources: the peers of the configuration, and one for plain URLs.
#[derive(Default)]
pub(super) struct SourceQueues {
    /// By source: its line.
    lines: Mutex<HashMap<String, Sender<DownloadId>>>,
    /// Those in a line: one that is asked for again and again stands there once.
    waiting: Mutex<HashSet<DownloadId>>,
    /// By download: its place among those under way.
    places: Mutex<HashMap<DownloadId, Permit>>,
}

impl SourceQueues {
    /// Puts a download at the end of its source's line.
    pub(super) fn push<L: NativeLedger>(
        &self,
        service: &Arc<Service<L>>,
        source: &str,
        id: DownloadId,
    ) {
        if !lock(&self.waiting).insert(id) {
            return;
        }
        let mut lines = lock(&self.lines);
        let line = lines.entry(source.to_owned()).or_insert_with(|| {
            let (line, waiting) = unbounded();
            service.spawn(begin(Arc::clone(service), waiting));
            line
        });
        // Its other end lives as long as the line.
        let _ = line.try_send(id);
    }

    /// A download is under way no more.
    pub(super) fn left(&self, id: DownloadId) {
        lock(&self.places).remove(&id);
    }
}

/// Has those of one line driven, one after the other, as places become free and while files can go where they belong.
async fn begin<L: NativeLedger>(service: Arc<Service<L>>, waiting: Receiver<DownloadId>) {
    let Ok(places) = Semaphore::new(UNDER_WAY) else {
        return;
    };
    while let Ok(id) = waiting.recv().await {
        let place = places.acquire().await;
        service.completed.usable().await;
        lock(&service.queues.waiting).remove(&id);
        lock(&service.queues.places).insert(id, place);
        service.control.drive(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_between_tries_grows_to_an_hour() {
        let rests = [0, 1, 2, 5, 9, 10, 40].map(|tries| rest_after(tries).as_secs());
        assert_eq!(rests, [5, 10, 20, 160, 2560, 3600, 3600]);
    }

    #[test]
    fn one_that_waits_twice_is_tried_once() {
        let later = LocalRetries::default();
        later.put(1);
        assert_eq!(later.put(1), FIRST_REST * 2);
        assert_eq!(lock(&later.waiting).due.len(), 1);
        later.forget(1);
        assert_eq!(later.put(1), FIRST_REST);
    }
}
