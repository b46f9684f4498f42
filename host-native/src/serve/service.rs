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
use super::stub_folder::StubFolder;
use super::stub_run;
use super::watch::{Taken, Taker, Watch};
use crate::config::{Downloads, Peer};
use crate::control::{Control, PendingStub, Troubles};
use crate::host::NativeHost;
use crate::ledger::{LedgerEntry, NativeLedger};
use crate::peers::PeerClient;
use crate::sync::{read, write};
use regrip_core::error::chain;
use regrip_core::semaphore::Semaphore;
use regrip_core::time::Clock;
use regrip_core::{DownloadId, Engine, PeerId, Stub, shown};
use smol::Executor;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, SystemTime};

/// A server that downloads.
pub(super) struct Service<L: NativeLedger> {
    pub(super) control: Control<L>,
    pub(super) settings: Settings,
    pub(super) claims: Claims,
    pub(super) stubs: StubFolder,
    pub(super) completed: CompletedFolder,
    pub(super) peers: PeerClients<L>,
    pub(super) imports: Imports<L>,
    pub(super) queues: SourceQueues,
    pub(super) retries: LocalRetries,
    watch: OnceLock<Watch>,
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
        let peers = PeerClients::new(control.clone());
        peers.configure(&settings.get().peers);
        let imports = Imports::new(control.clone(), settings.clone(), downloads.completed.clone());
        Arc::new(Service {
            settings,
            claims: Claims::default(),
            stubs: StubFolder::new(&downloads.watch),
            completed: CompletedFolder::new(&downloads.completed, control.troubles().clone()),
            peers,
            imports,
            queues: SourceQueues::default(),
            retries: LocalRetries::default(),
            watch: OnceLock::new(),
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
        let watch = Watch::start(self.stubs.clone(), self)?;
        // It is started once.
        let _ = self.watch.set(watch);
        Ok(())
    }

    /// Looks into the watch folder soon.
    pub(super) fn look_soon(&self) {
        if let Some(watch) = self.watch.get() {
            watch.look_soon();
        }
    }

    /// Looks again at stubs whose peer was not known.
    pub(super) fn reconsider(&self) {
        if let Some(watch) = self.watch.get() {
            watch.reconsider();
        }
    }

    /// Drives a download when it is its turn.
    pub(super) fn drive(self: &Arc<Self>, source: &str, id: DownloadId) {
        self.queues.push(self, source, id);
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
            Offered::Joined if self.claims.download_of(&item).is_some() => {}
            Offered::Joined => self.show(name, &stub),
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

    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn troubles(&self) -> &Troubles {
        self.control.troubles()
    }
}

/// Releases that one peer is asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// A peer and those who ask it.
#[derive(Clone)]
pub(super) struct KnownPeer<L: NativeLedger> {
    pub(super) client: Arc<PeerClient<L>>,
    /// Whoever asks holds a permit.
    pub(super) turns: Semaphore,
}

/// All of them, by what stubs call them.
pub(super) struct PeerClients<L: NativeLedger> {
    control: Control<L>,
    known: RwLock<HashMap<PeerId, KnownPeer<L>>>,
}

impl<L: NativeLedger> PeerClients<L> {
    pub(super) fn new(control: Control<L>) -> Self {
        PeerClients { control, known: RwLock::default() }
    }

    /// Takes over a configuration. Of a peer that stays as it was the handshake holds.
    pub(super) fn configure(&self, peers: &[Peer]) {
        self.control.peers().configure(peers);
        let mut known = write(&self.known);
        let before = std::mem::take(&mut *known);
        for peer in peers {
            let kept = before.get(&peer.id).filter(|kept| kept.client.peer() == peer);
            let kept = kept.cloned().or_else(|| meet(self.control.engine(), peer));
            if let Some(kept) = kept {
                known.insert(peer.id.clone(), kept);
            }
        }
    }

    /// The peer of that id.
    pub(super) fn get(&self, id: &PeerId) -> Option<KnownPeer<L>> {
        read(&self.known).get(id).cloned()
    }

    /// All but the one of that id.
    pub(super) fn others(&self, id: &PeerId) -> Vec<KnownPeer<L>> {
        read(&self.known).iter().filter(|(other, _)| *other != id).map(|(_, peer)| peer.clone()).collect()
    }

    /// The name of the peer of that id.
    pub(super) fn name(&self, id: &PeerId) -> Option<String> {
        let held = read(&self.known);
        held.get(id).map(|known| known.client.peer().name.clone())
    }
}

fn meet<L: NativeLedger>(engine: &Engine<NativeHost<L>>, peer: &Peer) -> Option<KnownPeer<L>> {
    Some(KnownPeer {
        client: Arc::new(PeerClient::new(engine.clone(), peer.clone())),
        turns: Semaphore::new(ASKED_AT_ONCE).ok()?,
    })
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
        if let Some(outage) = engine.reachability(peer.id.as_str()).outage() {
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
