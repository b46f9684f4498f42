//! All parts of a server that downloads, tied together.
//!
//! The order of things for a stub: the watch folder offers it, it is claimed, its release is asked for ([`stub_run`]), a row
//! is made, the row waits for its turn ([`Lines`]), it is driven, and its [`ending`](super::ending) removes the stub or
//! moves it, ends the claim and tells the import servers.

use super::acquaintances::Acquaintances;
use super::claims::{Claims, Item, Offered};
use super::completed_folder::CompletedFolder;
use super::import::Imports;
use super::later::Later;
use super::lines::Lines;
use super::settings::Settings;
use super::stub_folder::StubFolder;
use super::stub_run;
use super::watch::{Taken, Taker, Watch};
use crate::config::Downloads;
use crate::control::{Control, PendingStub, Troubles};
use crate::ledger::{Entry, NativeLedger};
use regrip_core::{DownloadId, Stub, shown};
use smol::Executor;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// A server that downloads.
pub(super) struct Service<L: NativeLedger> {
    pub(super) control: Control<L>,
    pub(super) settings: Settings,
    pub(super) claims: Claims,
    pub(super) stubs: StubFolder,
    pub(super) completed: CompletedFolder,
    pub(super) acquaintances: Acquaintances<L>,
    pub(super) imports: Imports<L>,
    pub(super) lines: Lines,
    pub(super) later: Later,
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
        let acquaintances = Acquaintances::new(control.clone());
        acquaintances.configure(&settings.get().peers);
        let imports = Imports::new(
            control.clone(),
            settings.clone(),
            downloads.completed.clone(),
        );
        Arc::new(Service {
            settings,
            claims: Claims::default(),
            stubs: StubFolder::new(&downloads.watch),
            completed: CompletedFolder::new(&downloads.completed, control.troubles().clone()),
            acquaintances,
            imports,
            lines: Lines::default(),
            later: Later::default(),
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
        self.lines.push(self, source, id);
    }

    /// Ends the claim of an item whose stubs were `settled`; those that joined meanwhile are returned and go on.
    pub(super) fn end_claim(&self, item: &Item, settled: &[String]) -> Vec<String> {
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
    pub(super) fn wait_on_board(&self, item: &Item, why: &str, until: Option<SystemTime>) {
        for name in self.claims.names(item) {
            self.control.stubs().failed(&name, why.to_owned(), until);
        }
    }

    /// Shows the stubs of a download that waits for this machine as pending again.
    pub(super) fn show_waiting(
        &self,
        item: &Item,
        entry: &Entry,
        why: &str,
        until: Option<SystemTime>,
    ) {
        for name in self.claims.names(item) {
            self.control.stubs().put(PendingStub {
                stub_name: name,
                peer_id: item.peer.as_str().to_owned(),
                peer_name: self.acquaintances.named(&item.peer),
                item_id: item.id.clone(),
                name: entry.filename.clone(),
                size: entry.row.new.release_size,
                found_at: SystemTime::now(),
                attempts: entry.row.attempts,
                error: Some(why.to_owned()),
                next_try_at: until,
            });
        }
    }

    /// Shows that a download is tried again later than was thought.
    pub(super) fn postpone_on_board(&self, id: DownloadId, rest: Duration) {
        let Some(item) = self.claims.item_of(id) else {
            return;
        };
        for name in self.claims.names(&item) {
            self.control.stubs().change(&name, |stub| {
                stub.next_try_at = SystemTime::now().checked_add(rest);
            });
        }
    }

    fn put_on_board(&self, name: &str, stub: &Stub) {
        let peer = self.acquaintances.named(&stub.peer);
        self.control.stubs().put(PendingStub {
            stub_name: name.to_owned(),
            peer_id: stub.peer.as_str().to_owned(),
            peer_name: peer,
            item_id: stub.item.clone(),
            name: stub.name.clone(),
            size: Some(stub.length),
            found_at: SystemTime::now(),
            attempts: 0,
            error: None,
            next_try_at: None,
        });
    }
}

/// What the watching thread holds: the service, which it must not keep alive by itself.
impl<L: NativeLedger> Taker for Service<L> {
    fn take(self: Arc<Self>, name: &str, stub: Stub) -> Taken {
        if self.acquaintances.named(&stub.peer).is_none() {
            return Taken::UnknownPeer;
        }
        let item = Item::from(&stub);
        match self.claims.offer(name, &item) {
            Offered::NoRoom => return Taken::Later,
            Offered::Joined if self.claims.download_of(&item).is_some() => {}
            Offered::Joined => self.put_on_board(name, &stub),
            Offered::New(unwanted) => {
                self.put_on_board(name, &stub);
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
