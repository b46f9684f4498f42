//! The state that the downloads of an engine share: limits, permits, and the writer of each destination.

use super::line::Line;
use super::peers::Peers;
use super::stop::{Stop, StopSignal};
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed};
use crate::host::Host;
use crate::job::Job;
use crate::mutex::lock;
use crate::origin::Origins;
use crate::pieces::Window;
use crate::record::{DownloadId, Failure, Row, Source, Status, Terms};
use crate::semaphore::Semaphore;
use futures::channel::oneshot;
use litemap::LiteMap;
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(super) struct Shared<H> {
    pub(super) host: H,
    pub(super) digests: bool,
    /// The name of this process in claims.
    pub(super) owner: String,
    pub(super) config: Mutex<Arc<DownloadsConfig>>,
    pub(super) permits: Semaphore,
    /// For complete files without a name, which hold no other permit.
    pub(super) naming: Semaphore,
    pub(super) line: Line,
    pub(super) peers: Peers,
    pub(super) origins: Origins,
    pub(super) window: Window,
    /// By destination: held from reading its rows to inserting one.
    pub(super) doors: Mutex<LiteMap<String, Semaphore>>,
    /// By download: the request of the last call, until the part is locked and the request can be recorded.
    pub(super) asked: Mutex<LiteMap<DownloadId, Asked>>,
    /// Downloads that were accepted but are not driven yet.
    pub(super) accepted: Mutex<LiteMap<DownloadId, ()>>,
    /// The rows among them that were inserted by this process and have not changed since. Not used if the host is alone.
    pub(super) inserted: Mutex<LiteMap<DownloadId, Box<Row>>>,
    /// By download: how often in a row this process gave it back because it could not drive it.
    pub(super) given_back: Mutex<LiteMap<DownloadId, u32>>,
    /// By download: a priority that is not 0. Not used if the host is alone.
    pub(super) priorities: Mutex<LiteMap<DownloadId, i8>>,
    /// By destination: its writer.
    pub(super) writers: Mutex<LiteMap<String, Writer>>,
}

/// The request of the last call for a download.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) terms: Terms,
    /// Another URL, and the status of the row before it was requested.
    pub(super) moving: Option<Moving>,
}

/// A download that may continue from another URL.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    pub(super) url: String,
    pub(super) status: Status,
    pub(super) failure: Option<Failure>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) id: DownloadId,
    pub(super) stop: Option<oneshot::Sender<Stop>>,
    /// The stop that was sent, if the drive was listening.
    sent: Option<Stop>,
}

impl Writer {
    /// Sends a stop. Returns the one that the drive will end by: this or an earlier one, or `None` if it is too late.
    pub(super) fn send(&mut self, stop: Stop) -> Option<Stop> {
        if let Some(sender) = self.stop.take()
            && sender.send(stop).is_ok()
        {
            self.sent = Some(stop);
        }
        self.sent
    }
}

impl<H: Host> Shared<H> {
    /// Takes the row of a download, if this process inserted it and nobody here has changed it since.
    pub(super) fn take_inserted(&self, id: DownloadId) -> Option<Box<Row>> {
        if H::ALONE { None } else { lock(&self.inserted).remove(&id) }
    }

    /// Creates the job of a download.
    pub(super) fn job(&self, row: Row) -> Job<'_, H> {
        let config = self.config();
        let seat = self.origins.seat(&row.new.source, &config);
        Job::new(&self.host, config, self.digests, row, seat, (&self.origins, self.window.clone()))
    }

    /// Seats a job at the origin that is asked next: a URL that is on trial, or was, may be of another one than the first.
    pub(super) fn seat(&self, job: &mut Job<'_, H>) {
        let asked = lock(&self.asked).get(&job.row.id).cloned();
        let source = match asked.and_then(|asked| asked.moving) {
            Some(Moving { url, .. }) => Source::Url { url },
            None => match job.sources.next.as_ref().filter(|_| !H::ALONE) {
                Some(mirror) => Source::Url { url: mirror.clone() },
                None => job.row.new.source.clone(),
            },
        };
        let seat = self.origins.seat(&source, &job.config);
        if !seat.is_beside(&job.seat) {
            job.seat = seat;
        }
    }
}

impl<H> Shared<H> {
    pub(super) fn priority(&self, id: DownloadId) -> i8 {
        lock(&self.priorities).get(&id).copied().unwrap_or_default()
    }

    pub(super) fn config(&self) -> Arc<DownloadsConfig> {
        Arc::clone(&lock(&self.config))
    }
}

/// Reserves a destination for one writer; dropping it admits the next one.
pub(super) struct Entered<'a, H> {
    shared: &'a Shared<H>,
    destination: String,
}

impl<H> Drop for Entered<'_, H> {
    fn drop(&mut self) {
        lock(&self.shared.writers).remove(&self.destination);
    }
}

pub(super) fn enter<'a, H>(
    shared: &'a Shared<H>,
    id: DownloadId,
    destination: &str,
) -> Result<(Entered<'a, H>, StopSignal), Failed> {
    let mut writers = lock(&shared.writers);
    if let Some(writer) = writers.get(destination) {
        let (path, id) = (destination.to_owned(), writer.id);
        return Err(Error::DestinationBusy { path, id, url: String::new() }.into());
    }
    let (sender, receiver) = oneshot::channel();
    writers.insert(destination.to_owned(), Writer { id, stop: Some(sender), sent: None });
    Ok((Entered { shared, destination: destination.to_owned() }, StopSignal::new(receiver)))
}
