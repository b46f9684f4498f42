//! Downloads that wait for their turn, a line for each source, so that nothing but their numbers is in memory.
//!
//! The engine's permits say whose bytes move. This says how many downloads of a source may be under way at all, those that
//! wait for a permit, a backoff or their peer included: a peer with a thousand of them takes no room from another one, and
//! a hundred thousand rows begin with the first few.

use super::service::Service;
use crate::ledger::NativeLedger;
use regrip_core::DownloadId;
use regrip_core::semaphore::{Permit, Semaphore};
use smol::channel::{Receiver, Sender, unbounded};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Downloads of one source that are under way at once.
const UNDER_WAY: usize = 64;

/// All lines. There are as many as there were sources: the peers of the configuration, and one for plain URLs.
#[derive(Default)]
pub(super) struct Lines {
    /// By source: its line.
    lines: Mutex<HashMap<String, Sender<DownloadId>>>,
    /// Those in a line: one that is asked for again and again stands there once.
    waiting: Mutex<HashSet<DownloadId>>,
    /// By download: its place among those under way.
    places: Mutex<HashMap<DownloadId, Permit>>,
}

impl Lines {
    /// Puts a download at the end of its source's line.
    pub(super) fn push<L: NativeLedger>(
        &self,
        service: &Arc<Service<L>>,
        source: &str,
        id: DownloadId,
    ) {
        if !held(&self.waiting).insert(id) {
            return;
        }
        let mut lines = held(&self.lines);
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
        held(&self.places).remove(&id);
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
        held(&service.lines.waiting).remove(&id);
        held(&service.lines.places).insert(id, place);
        service.control.drive(id);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
