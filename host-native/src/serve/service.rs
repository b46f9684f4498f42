//! The parts of a server that downloads, and how they belong together.
//!
//! The watch folder offers a stub, it is claimed, its release is requested ([`stub_run`]), a row is made and waits in the queue
//! of its source ([`SourceQueues`]), it is driven, and [`finish`](super::finish) removes or moves the stub, ends the claim and
//! notifies the import servers.

use super::claims::{Claims, Offered, PeerItem};
use super::folders::CompletedFolder;
use super::import::Imports;
use super::queue::{LocalRetries, SourceQueues};
use super::reload::Settings;
use super::stub_folder::{StubFolder, StubFolders, is_stubs_name};
use super::stub_run;
use super::watch::{Taken, Taker, Watch};
use crate::config::{Config, Downloads};
use crate::control::{CLIENT_PREFIX, Control, PendingStub, Troubles};
use crate::ledger::{LedgerEntry, NativeLedger};
use crate::peers::PeerClients;
use crate::share::{Share, library};
use regrip_core::error::chain;
use regrip_core::time::Clock;
use regrip_core::{DownloadId, Stub, shown};
use smol::Executor;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

/// A server that downloads.
pub(super) struct Service<L: NativeLedger> {
    pub(super) control: Control<L>,
    pub(super) settings: Settings,
    pub(super) claims: Claims,
    pub(super) stubs: StubFolders,
    pub(super) completed: CompletedFolder,
    pub(super) peers: PeerClients<L>,
    pub(super) imports: Imports<L>,
    pub(super) queues: SourceQueues,
    pub(super) retries: LocalRetries,
    watch: OnceLock<Watch>,
    reloads: (Sender<()>, Receiver<()>),
    executor: Arc<Executor<'static>>,
}

impl<L: NativeLedger> Service<L> {
    /// Nothing happens yet. What it spawns runs on `executor`, away from the transfers.
    pub(super) fn new(
        control: Control<L>,
        settings: Settings,
        downloads: &Downloads,
        executor: Arc<Executor<'static>>,
    ) -> Arc<Self> {
        let peers = control.peer_clients().clone();
        let imports = Imports::new(control.clone(), settings.clone(), downloads.completed.clone());
        Arc::new(Service {
            settings,
            claims: Claims::default(),
            stubs: StubFolders {
                watch: downloads.watch.as_deref().map(StubFolder::new),
                client: StubFolder::new(&control.torrents().folder()),
            },
            completed: CompletedFolder::new(
                &downloads.completed,
                control.engine().host().store.clone(),
                control.troubles().clone(),
            ),
            peers,
            imports,
            queues: SourceQueues::default(),
            retries: LocalRetries::default(),
            watch: OnceLock::new(),
            reloads: bounded(1),
            executor,
            control,
        })
    }

    /// Runs a future in a task of its own, to its end.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(future).detach();
    }

    /// Begins to take stubs.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn watch(self: &Arc<Self>) -> io::Result<()> {
        let Some(folder) = self.stubs.watch.clone() else {
            return Ok(());
        };
        let watch = Watch::start(folder, self)?;
        // It is started once.
        let _ = self.watch.set(watch);
        Ok(())
    }

    /// Looks into the folders of stubs soon.
    pub(super) fn look_soon(&self) {
        self.control.torrents().look_soon();
        if let Some(watch) = self.watch.get() {
            watch.look_soon();
        }
    }

    /// Looks again at stubs whose peer was not known, and registers again: the configuration is another one.
    pub(super) fn reconsider(&self) {
        // One pending signal is enough.
        let _ = self.reloads.0.try_send(());
        self.control.torrents().look_soon();
        if let Some(watch) = self.watch.get() {
            watch.reconsider();
        }
    }

    /// Records which download the item's stubs of the download client are.
    /// Returns `false` if all its stubs were of torrents that are deleted.
    pub(super) async fn link(&self, item: &PeerItem, id: DownloadId) -> bool {
        let names = self.claims.names(item);
        let mut is_wanted = names.is_empty();
        for name in names {
            let linked = self.control.torrents().link(self.control.ledger(), &name, id).await;
            is_wanted |= linked.unwrap_or_else(|error| {
                tracing::error!(id, error = %chain(&error), "cannot record the download of a torrent");
                true
            });
        }
        is_wanted
    }

    /// Signals that the configuration was replaced.
    pub(super) fn reloaded(&self) -> Receiver<()> {
        self.reloads.1.clone()
    }

    /// Drives a download when it is its turn. If workers share the ledger, that is the turn of whoever claims it first.
    pub(super) fn drive(self: &Arc<Self>, source: &str, id: DownloadId) {
        match self.control.ledger().fleet() {
            None => self.queues.push(self, source, id),
            Some(_) => self.queues.look_for_work(),
        }
    }

    /// Ends the claim of an item whose stubs were `settled`; those that joined meanwhile are returned and go on.
    pub(super) fn end_claim(&self, item: &PeerItem, settled: &[String]) -> Vec<String> {
        for name in settled {
            self.control.stubs().remove(name);
        }
        let joined = self.claims.end(item, settled);
        if joined.is_empty() {
            // There may be room now, and a stub of the same name again.
            self.look_soon();
        }
        joined
    }

    /// Says on the board what keeps stubs from being downloads.
    pub(super) fn show_trouble(&self, item: &PeerItem, why: &str, until: Option<SystemTime>) {
        for name in self.claims.names(item) {
            self.control.stubs().failed(&name, why.to_owned(), until);
        }
    }

    /// Shows the stubs of a download that waits for this machine as pending again.
    pub(super) fn show_waiting(&self, item: &PeerItem, entry: &LedgerEntry, why: &str, until: Option<SystemTime>) {
        for name in self.claims.names(item) {
            self.control.stubs().put(PendingStub {
                name: entry.filename.clone(),
                size: entry.row.new.release_size,
                attempts: entry.row.attempts,
                error: Some(why.to_owned()),
                next_try_at: until,
                ..self.pending(&name, item)
            });
        }
    }

    /// Shows that a download is tried again later than was thought.
    pub(super) fn show_postponed(&self, id: DownloadId, rest: Duration) {
        let Some(item) = self.claims.item_of(id) else {
            return;
        };
        for name in self.claims.names(&item) {
            self.control.stubs().change(&name, |stub| {
                stub.next_try_at = SystemTime::now().checked_add(rest);
            });
        }
    }

    fn show(&self, name: &str, stub: &Stub) {
        self.control.stubs().put(PendingStub {
            name: stub.name.clone(),
            size: Some(stub.length),
            ..self.pending(name, &PeerItem::from(stub))
        });
    }

    /// A stub as the list of pending stubs has it, before anything is known but its item.
    pub(super) fn pending(&self, name: &str, item: &PeerItem) -> PendingStub {
        PendingStub {
            stub_name: name.to_owned(),
            peer_id: item.peer.as_str().to_owned(),
            peer_name: self.peers.name(&item.peer),
            item_id: item.id.clone(),
            name: name.to_owned(),
            size: None,
            found_at: SystemTime::now(),
            attempts: 0,
            error: None,
            next_try_at: None,
        }
    }
}

/// What the watching thread holds: the service, which it must not keep alive by itself.
impl<L: NativeLedger> Taker for Service<L> {
    fn take(self: Arc<Self>, name: &str, stub: Stub) -> Taken {
        if self.peers.name(&stub.peer).is_none() {
            return Taken::UnknownPeer;
        }
        let item = PeerItem::from(&stub);
        match self.claims.offer(name, &item) {
            Offered::NoRoom => return Taken::Later,
            Offered::Joined => match self.claims.download_of(&item) {
                None => self.show(name, &stub),
                Some(id) => {
                    let service = Arc::clone(&self);
                    self.spawn(async move {
                        service.link(&item, id).await;
                    });
                }
            },
            Offered::New(unwanted) => {
                self.show(name, &stub);
                tracing::info!(stub = ?name, name = ?shown(&stub.name), peer = %stub.peer, "found a stub");
                let service = Arc::clone(&self);
                self.spawn(stub_run::run(service, item, unwanted));
            }
        }
        self.stubs.forget_failure(name);
        Taken::Claimed
    }

    fn has(&self, name: &str) -> bool {
        self.stubs.has(name)
    }

    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn troubles(&self) -> &Troubles {
        self.control.troubles()
    }
}

/// How often the lines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Never ends.
pub(super) async fn show_outages<L: NativeLedger>(service: Arc<Service<L>>) {
    loop {
        smol::Timer::after(LOOK_EVERY).await;
        look(&service);
    }
}

fn look<L: NativeLedger>(service: &Service<L>) {
    let (engine, stubs) = (service.control.engine(), service.control.stubs());
    let clock = engine.host().clock;
    let mut out = HashMap::new();
    for peer in &service.settings.get().peers {
        if let Some(outage) = engine.reachability(peer.id.as_str(), &peer.url).outage() {
            let due = outage.next_probe.since(clock.now());
            let why = format!("the peer cannot be reached: {}", chain(&outage.last.error()));
            out.insert(peer.id.as_str().to_owned(), (why, due));
        }
    }
    if out.is_empty() {
        return;
    }
    for stub in stubs.list(usize::MAX) {
        if let Some((why, due)) = out.get(&stub.peer_id)
            && !service.claims.is_left(&stub.stub_name)
        {
            stubs.change(&stub.stub_name, |stub| {
                stub.error = Some(why.clone());
                stub.next_try_at = SystemTime::now().checked_add(*due);
            });
        }
    }
}

/// How often the stubs of the download client are looked at without a signal.
const LOOK_AT_CLIENT_EVERY: Duration = Duration::from_secs(10);
/// The same if other workers may have changed something.
const FOLLOW_EVERY: Duration = Duration::from_secs(3);

/// Takes the stubs of the download client as they are added, and lets go of those that were taken away. Never ends.
pub(super) async fn look_at_client<L: NativeLedger>(service: Arc<Service<L>>) {
    let signal = service.control.torrents().signal();
    let mut follows = true;
    loop {
        let followed = service.control.follow_torrents().await;
        if let (true, Err(error)) = (follows, &followed) {
            tracing::warn!(error = %chain(error), "cannot read what other workers did for the download client");
        }
        follows = followed.is_ok();
        let folder = service.stubs.client.path();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            let shown = format!("{CLIENT_PREFIX}{name}");
            if !is_stubs_name(name.as_bytes()) || service.claims.has(&shown) {
                continue;
            }
            if let Ok(stub) = service.stubs.client.read(&name) {
                // One whose peer is not configured any more, or has no room now, is looked at again.
                Arc::clone(&service).take(&shown, stub);
            }
        }
        service.claims.keep_only(|name| !name.starts_with(CLIENT_PREFIX) || service.stubs.has(name));
        let timer = async {
            let is_shared = service.control.ledger().fleet().is_some();
            smol::Timer::after(if is_shared { FOLLOW_EVERY } else { LOOK_AT_CLIENT_EVERY }).await;
        };
        let signalled = async {
            let _ = signal.recv().await;
        };
        signalled.or(timer).await;
    }
}

/// Between two looks at a library, if no peer asks for anything.
const READ_LIBRARIES_EVERY: Duration = Duration::from_secs(15 * 60);
/// The same if one does, or after a failure.
const READ_LIBRARIES_AFTER: Duration = Duration::from_secs(30);
/// What a library that cannot be read is called among the troubles.
const LIBRARY_TROUBLE: &str = "library";

/// Reads the libraries of the servers that are sources, as long as the share is there.
pub(super) async fn follow_libraries<L: NativeLedger>(control: Control<L>, settings: Settings, share: Weak<Share>) {
    let mut read: Option<(Instant, Arc<Config>)> = None;
    let mut failed = false;
    while let Some(share) = share.upgrade() {
        let config = settings.get();
        let is_due = match &read {
            Some((at, before)) if Arc::ptr_eq(before, &config) => {
                let is_asked = at.elapsed() >= READ_LIBRARIES_AFTER && (failed || share.take_asked());
                is_asked || at.elapsed() >= READ_LIBRARIES_EVERY
            }
            _ => true,
        };
        if is_due {
            let sources: Vec<_> = config.import_servers.iter().filter(|server| server.source).collect();
            share.keep_libraries(&sources.iter().map(|server| server.name.as_str()).collect::<Vec<_>>());
            let mut why = Vec::new();
            for server in sources {
                match library::fetch(control.engine().host(), server).await {
                    Ok(files) => share.replace_library(&server.name, files),
                    Err(error) => why.push(format!("{}: {}", shown(&server.name), chain(&error))),
                }
            }
            failed = !why.is_empty();
            match failed {
                true => {
                    let why = why.join("; ");
                    let what = format!("a library cannot be read, and what was last read of it is shared: {why}");
                    control.troubles().note(LIBRARY_TROUBLE, &what);
                }
                false => control.troubles().over(LIBRARY_TROUBLE),
            }
            read = Some((Instant::now(), config));
        }
        drop(share);
        smol::Timer::after(Duration::from_secs(1)).await;
    }
}
