//! When a download of the server runs: its turn in the queue of its source, and retries after local trouble.
//!
//! The engine's permits say whose bytes move. A [`SourceQueues`] bounds how many downloads of one source are under way at all,
//! including those that wait for a permit, a backoff or their peer: a peer with a thousand downloads does not delay another
//! one, and only ids are kept in memory. Each priority has a queue of its own.
//!
//! Local trouble (a full disk, a missing folder, a locked database) fails no download for good. [`LocalRetries`] retries after a
//! wait that grows to an hour. Free space and the folder are checked every 30 seconds instead, without a request or a log line.
//!
//! Workers that share a ledger have no such queues: [`work`] claims what nobody drives, as permits become free, and whoever is
//! told to drive a download looks for work. A stub is settled by the worker that took it, whoever drove its download.
//!
//! [`recover`] takes up what an earlier process left unfinished, before the watch folder is looked at: every stub of an
//! unfinished download is claimed before the first look, so none of them makes a second row, however fast its drive fails. The
//! stub of a download that was completed by a process that died before it removed the stub goes before its import goes on,
//! which may move the file away.

use super::claims::PeerItem;
use super::finish;
use super::service::Service;
use crate::control::{COMPLETED_FOLDER, Control};
use crate::ledger::{ClaimLimits, DownloadOrigin, LedgerEntry, NativeLedger, WorkerReport};
use crate::sync::lock;
use futures::future::{Either, select};
use regrip_core::error::chain;
use regrip_core::semaphore::{Permit, Semaphore};
use regrip_core::{DownloadId, Error, ErrorCode, PeerId, Row, Source, Status};
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::FutureExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two tries, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Between two looks at trouble that can be seen.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The wait after a number of failed tries.
pub(super) fn rest_after(tries: u32) -> Duration {
    let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
    FIRST_REST.saturating_mul(factor).min(LONGEST_REST)
}

#[derive(Debug, Default)]
struct Waiting {
    due: BTreeSet<(Instant, DownloadId)>,
    tries: HashMap<DownloadId, u32>,
}

/// Downloads that wait for a retry.
#[derive(Debug)]
pub(super) struct LocalRetries {
    waiting: Mutex<Waiting>,
    news: (Sender<()>, Receiver<()>),
}

impl Default for LocalRetries {
    fn default() -> Self {
        LocalRetries { waiting: Mutex::default(), news: bounded(1) }
    }
}

impl LocalRetries {
    /// Has a download retried later. Returns the wait.
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

    /// Has a download checked again later, without counting a try. Returns the wait.
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
        // One pending signal is enough.
        let _ = self.news.0.try_send(());
        rest
    }

    /// Forgets a download: its trouble is over, or it is.
    pub(super) fn forget(&self, id: DownloadId) {
        let mut waiting = lock(&self.waiting);
        if waiting.tries.remove(&id).is_some() {
            waiting.due.retain(|(_, other)| *other != id);
        }
    }

    /// The downloads that are due, and when the next one is.
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

/// Retries downloads when they are due. Never ends.
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
        Status::Completed | Status::ImportQueued | Status::Imported | Status::Cancelled | Status::Paused => {
            service.retries.forget(id)
        }
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {
            if service.control.ledger().fleet().is_some() {
                service.retries.forget(id); // whoever drives it says what follows
            }
            service.drive(source_name(&row.new.source), id);
        }
        Status::Failed if !may_go_on(service, &row) => {
            let rest = service.retries.put_back(id);
            service.show_postponed(id, rest);
        }
        Status::Failed => match service.control.engine().retry(id).await {
            Ok(()) => service.drive(source_name(&row.new.source), id),
            // Another request was first.
            Err(Error::WrongState { .. } | Error::NoSuchDownload(_)) => service.retries.forget(id),
            Err(error) => {
                tracing::warn!(id, error = %chain(&error), "cannot retry yet");
                service.retries.put(id);
            }
        },
    }
}

/// Returns `true` if the cause of the failure may be gone.
fn may_go_on<L: NativeLedger>(service: &Service<L>, row: &Row) -> bool {
    let is_full = row.failure.as_ref().is_some_and(|failure| failure.code == ErrorCode::DiskFull);
    let size = row.known_size().map_or(0, |size| size.bytes);
    let needs = size.saturating_sub(row.downloaded);
    service.completed.check().is_ok() && (!is_full || service.completed.has_room(needs))
}

/// The source whose queue a download waits in: its peer, or "" for plain URLs.
pub(super) fn source_name(source: &Source) -> &str {
    match source {
        Source::Url { .. } => "",
        Source::Peer { peer_id, .. } => peer_id,
    }
}

/// Downloads of one source that are under way at once.
const UNDER_WAY: usize = 64;

/// A queue for each source: each peer of the configuration, and one for plain URLs.
pub(super) struct SourceQueues {
    /// By source and priority.
    lines: Mutex<HashMap<(String, i8), Sender<DownloadId>>>,
    /// Those in a queue; each is queued once.
    waiting: Mutex<HashSet<DownloadId>>,
    /// The permits of those under way.
    places: Mutex<HashMap<DownloadId, Permit>>,
    /// There may be something to claim, or room for it.
    work: (Sender<()>, Receiver<()>),
}

impl Default for SourceQueues {
    fn default() -> Self {
        SourceQueues { lines: Mutex::default(), waiting: Mutex::default(), places: Mutex::default(), work: bounded(1) }
    }
}

impl SourceQueues {
    /// Queues a download behind the others of its source and priority. The engine says which of those under way is next.
    pub(super) fn push<L: NativeLedger>(&self, service: &Arc<Service<L>>, source: &str, id: DownloadId) {
        if !lock(&self.waiting).insert(id) {
            return;
        }
        let mut lines = lock(&self.lines);
        let priority = service.control.engine().priority(id);
        let line = lines.entry((source.to_owned(), priority)).or_insert_with(|| {
            let (line, waiting) = unbounded();
            service.spawn(begin(Arc::clone(service), waiting));
            line
        });
        // The receiver lives as long as the sender.
        let _ = line.try_send(id);
    }

    /// A download is no longer under way.
    pub(super) fn left(&self, id: DownloadId) {
        lock(&self.places).remove(&id);
        self.look_for_work();
    }

    /// Has [`work`] look whether there is something to claim.
    pub(super) fn look_for_work(&self) {
        // One pending signal is enough.
        let _ = self.work.0.try_send(());
    }
}

/// How often a worker looks for work that was not announced, such as downloads of a worker that was lost.
const CLAIM_EVERY: Duration = Duration::from_secs(3);

/// Claims downloads of a shared ledger as there is room for them, and drives them, until the server ends.
pub(super) async fn work<L: NativeLedger>(service: Arc<Service<L>>) {
    let (control, ledger) = (&service.control, service.control.ledger());
    let (Some(fleet), Some(lease)) = (ledger.fleet(), ledger.lease()) else {
        return;
    };
    let owner = control.engine().owner();
    while !control.is_ending() {
        service.completed.usable().await;
        let config = control.engine().config();
        // As many of an origin as one server would drive alone, however many workers there are.
        let of_origin = config.permits_per_peer();
        let claimed = match room(control) {
            0 => Ok(Vec::new()),
            most => fleet.claim_next(owner, ClaimLimits { most, of_origin }).await,
        };
        match claimed {
            Ok(ids) => {
                for id in ids {
                    match control.is_ending() {
                        false => control.drive(id),
                        true => drop(ledger.release(id, owner, Duration::ZERO).await), // it ends by itself otherwise
                    }
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot claim downloads"),
        }
        let news = async {
            let _ = service.queues.work.1.recv().await;
        };
        let timer = async {
            smol::Timer::after(CLAIM_EVERY.min(lease / 4)).await;
        };
        fleet.announced().or(news).or(timer).await;
    }
}

/// Downloads that may begin now: as many as permits are free. Those in a backoff hold none, and are bounded besides.
fn room<L: NativeLedger>(control: &Control<L>) -> u32 {
    let engine = control.engine();
    let limit = engine.config().max_concurrent_downloads as usize;
    let free = limit.saturating_sub(engine.permits_used() + engine.permits_waiting());
    let bound = (limit + UNDER_WAY).saturating_sub(control.drives_count());
    u32::try_from(free.min(bound)).unwrap_or(u32::MAX)
}

/// Says again and again that this worker is there, until the server ends.
pub(super) async fn report<L: NativeLedger>(control: Control<L>, address: SocketAddr) {
    let (Some(fleet), Some(lease)) = (control.ledger().fleet(), control.ledger().lease()) else {
        return;
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    loop {
        let draining = control.is_ending();
        let report = WorkerReport {
            id: control.engine().owner().to_owned(),
            host: host.clone(),
            pid: std::process::id(),
            address: address.to_string(),
            permits: control.engine().config().max_concurrent_downloads,
            draining,
            trouble: control.troubles().of(COMPLETED_FOLDER),
        };
        if let Err(error) = fleet.report(report).await {
            tracing::warn!(error = %chain(&error), "cannot report this worker");
        }
        if draining {
            return;
        }
        let timer = async {
            smol::Timer::after(lease / 3).await;
        };
        control.ending().or(timer).await;
    }
}

/// Forgets this worker among those that share the ledger: it has ended.
pub(super) async fn sign_off<L: NativeLedger>(control: &Control<L>) {
    if let Some(fleet) = control.ledger().fleet() {
        // If it fails, the worker is shown as lost for a while.
        let _ = fleet.sign_off(control.engine().owner()).await;
    }
}

/// How often stubs are looked at whose downloads another worker may have ended.
const SETTLE_EVERY: Duration = Duration::from_secs(5);

/// Does what follows the end of a download for the stubs of this worker, if another one drove it. Never ends.
pub(super) async fn settle_elsewhere<L: NativeLedger>(service: Arc<Service<L>>) {
    if service.control.ledger().fleet().is_none() {
        return;
    }
    let mut settled = HashMap::new();
    loop {
        smol::Timer::after(SETTLE_EVERY).await;
        let ids = service.claims.downloads();
        settled.retain(|id, _| ids.contains(id));
        for id in ids {
            // Each end once: what failed because of this machine is tried again at its own time.
            let ended = match service.control.ledger().row(id).await {
                Ok(row) if row.status.is_finished() => Some(row.status),
                // It was removed: as good as cancelled.
                Err(Error::NoSuchDownload(_)) => Some(Status::Cancelled),
                _ => None,
            };
            if let Some(status) = ended
                && settled.insert(id, status) != Some(status)
            {
                service.control.drive(id); // which does no more than that
            }
        }
    }
}

/// Drives the downloads of one queue in order, as permits become free and while the completed folder can be used.
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

/// Downloads whose import is taken up at once.
const IMPORTS_AT_ONCE: u32 = 64;

/// Rows that are read at once.
const READ_AT_ONCE: usize = 512;

/// Downloads of one status that are read at once.
const READ_PAGE: u32 = 512;

/// Claims, cleans up and puts in line. Starts nothing while files cannot be written.
///
/// # Errors
/// `Ledger`.
pub(super) async fn recover<L: NativeLedger>(service: &Arc<Service<L>>) -> Result<(), Error> {
    let (engine, ledger) = (service.control.engine(), service.control.ledger());
    if ledger.fleet().is_some() {
        // What is left is claimed by whoever has room; only the stubs that wait in this worker's folders are its own.
        claim_paused(service).await?;
        retry_failed(service).await?;
        return finish::recover(service).await;
    }
    let lost = ledger.close_open_attempts().await?;
    let recovered = engine.recover().await?;
    let (drive, superseded) = (recovered.drive.len(), recovered.superseded.len());
    if drive + superseded + lost > 0 {
        tracing::info!(drive, superseded, lost_attempts = lost, "an earlier run left downloads unfinished");
    }
    claim_paused(service).await?;
    // All are claimed before any is begun, and the oldest is begun first.
    let mut by_source: BTreeMap<String, Vec<DownloadId>> = BTreeMap::new();
    for ids in recovered.drive.chunks(READ_AT_ONCE) {
        let mut origins = ledger.origins(ids.to_vec()).await?;
        origins.sort_unstable_by_key(|origin| origin.id);
        for origin in origins {
            let DownloadOrigin { id, stub_name, .. } = origin;
            let Some(item) = item(origin.peer_id, origin.item_id) else {
                by_source.entry(String::new()).or_default().push(id);
                continue;
            };
            service.claims.take_up(&item, id, stub_name.as_deref());
            service.link(&item, id).await;
            let source = item.peer.as_str().to_owned();
            by_source.entry(source).or_default().push(id);
        }
    }
    for (source, ids) in by_source {
        for id in ids {
            service.drive(&source, id);
        }
    }
    remove_finished_stubs(service).await?;
    finish::recover(service).await
}

/// The next downloads of a status; none after the last.
async fn next_of<L: NativeLedger>(
    service: &Service<L>,
    status: Status,
    after: &mut Option<DownloadId>,
) -> Result<Vec<LedgerEntry>, Error> {
    let page = service.control.ledger().list(&[status], READ_PAGE, *after).await?;
    *after = page.last().map(|last| last.row.id).or(*after);
    Ok(page)
}

/// Has downloads retried that failed because of the machine of a worker: that worker may be gone.
async fn retry_failed<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = next_of(service, Status::Failed, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for entry in page.iter().filter(|entry| finish::failed_here(entry)) {
            service.retries.put(entry.row.id);
        }
    }
}

/// Claims the stubs of paused downloads, which would otherwise be new work.
async fn claim_paused<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = next_of(service, Status::Paused, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for entry in &page {
            if let Some(item) = finish::item_of(entry) {
                service.claims.take_up(&item, entry.row.id, entry.stub_name.as_deref());
                service.link(&item, entry.row.id).await;
            }
        }
    }
}

/// Resumes the imports that were under way, some at a time.
pub(super) async fn go_on_with_imports<L: NativeLedger>(service: Arc<Service<L>>) {
    let mut after = 0;
    loop {
        let page = match next_to_import(&service, &mut after).await {
            Ok(page) if page.is_empty() => return,
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "cannot read the pending imports; the next start resumes them");
                return;
            }
        };
        let imports = page.iter().map(|one| service.imports.import(one.id, false));
        for done in futures::future::join_all(imports).await {
            if let Err(error) = done {
                tracing::error!(%error, "cannot resume an import");
            }
        }
    }
}

async fn remove_finished_stubs<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = next_to_import(service, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for origin in page {
            if let Some(name) = origin.stub_name
                && let Some(item) = item(origin.peer_id, origin.item_id)
                && let Err(error) = service.stubs.remove(&name, &item)
            {
                finish::leave(service, &name, &item, &error).await;
            }
        }
    }
}

/// The next page of completed downloads whose import is pending; empty at the end.
async fn next_to_import<L: NativeLedger>(
    service: &Service<L>,
    after: &mut DownloadId,
) -> Result<Vec<DownloadOrigin>, Error> {
    let ledger = service.control.ledger();
    let page = ledger.to_import(*after, IMPORTS_AT_ONCE).await?;
    if let Some(last) = page.last() {
        *after = last.id;
    }
    Ok(page)
}

fn item(peer: Option<String>, id: Option<String>) -> Option<PeerItem> {
    Some(PeerItem { peer: PeerId::new(&peer?)?, id: id? })
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
