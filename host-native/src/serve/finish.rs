//! What follows the end of a download.
//!
//! The row decides, not the result of the drive: the next process would find only the row. Completed: the stubs are removed,
//! then the import servers are notified. Failed for good or cancelled: the stubs are moved to `failed/`. Local trouble does not end a
//! download.
//!
//! Invariants: a claim is kept until all its stubs are removed or moved, however long the watch folder refuses that. If the
//! file is complete, a stub that cannot be removed delays neither the import nor another stub of its item: its name stays
//! claimed, in the ledger too, so that no process takes it as new work. It is listed with the reason, and its removal is retried.

use super::claims::PeerItem;
use super::service::Service;
use super::stub_run;
use crate::control::{End, PendingStub};
use crate::ledger::{LedgerEntry, LeftStub, NativeLedger};
use regrip_core::classify::{is_of_the_release, is_of_this_machine};
use regrip_core::error::chain;
use regrip_core::store::PartStore;
use regrip_core::{DownloadId, Error, PeerId, Source, Status};
use smol::Timer;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often stubs that could not be removed or moved are tried again.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// The troubles of stubs that cannot be moved, and of those that cannot be removed.
const MOVING_FAILS: &str = "stubs";
const REMOVING_FAILS: &str = "completed stubs";

/// The explanation beside a stub in `failed/` although nothing failed.
const CALLED_OFF: &str = "The download was called off by a user.";
const REMOVED: &str = "The download was removed by a user.";

/// Called at the end of a download, in the task that drives it.
pub(super) fn on_end<L: NativeLedger>(service: &Arc<Service<L>>, end: &End) {
    service.queues.left(end.id);
    if matches!(end.result, Err(Error::Interrupted)) {
        return;
    }
    if let Err(error) = &end.result
        && service.control.ledger().fleet().is_some()
        && service.control.engine().host().store.is_down(error)
    {
        return service.completed.went_down(&chain(error));
    }
    if let Err(Error::PartLocked { .. }) = &end.result
        && service.control.ledger().fleet().is_some()
    {
        tracing::warn!(
            id = end.id,
            "not driven here any more: its lease is lost, or another worker or program has its part"
        );
    }
    let advice = end.result.as_ref().err().and_then(Error::advice);
    let is_at_fault = end.result.as_ref().err().is_some_and(is_of_the_release);
    let (service, id) = (Arc::clone(service), end.id);
    service.clone().spawn(async move {
        after(&service, id, advice, is_at_fault).await;
    });
}

/// Does what is to be done after a drive.
async fn after<L: NativeLedger>(
    service: &Arc<Service<L>>,
    id: DownloadId,
    advice: Option<&'static str>,
    is_at_fault: bool,
) {
    let entry = match service.control.ledger().entry(id).await {
        Ok(entry) => entry,
        Err(Error::NoSuchDownload(_)) => {
            service.retries.forget(id);
            if let Some(item) = service.claims.item_of(id) {
                fail_stubs(service, &item, &[], REMOVED).await;
            }
            return;
        }
        Err(error) => {
            tracing::error!(id, error = %chain(&error), "cannot read the outcome; trying again");
            service.retries.put(id);
            return;
        }
    };
    match entry.row.status {
        Status::Completed | Status::ImportQueued | Status::Imported => {
            service.retries.forget(id);
            finish(service, id, false).await;
        }
        Status::Failed if failed_here(&entry) => wait(service, &entry),
        Status::Failed => {
            service.retries.forget(id);
            if let Some(item) = item_of(&entry).filter(|_| is_at_fault) {
                service.blame(&item, entry.stub_name.as_deref(), &failed_because(&entry)).await;
            }
            give_up(service, &entry, &why(&failed_because(&entry), advice)).await;
            if is_at_fault {
                service.control.torrents().ask_soon();
            }
        }
        Status::Cancelled => {
            service.retries.forget(id);
            give_up(service, &entry, CALLED_OFF).await;
        }
        // Its stubs stay claimed until it goes on or ends.
        Status::Paused => service.retries.forget(id),
        // It is offered to all workers again.
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing
            if service.control.ledger().fleet().is_some() => {}
        // Its drive ended and it did not: another process has its part, the ledger refused, or it was taken up again.
        Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => {
            service.retries.put(id);
        }
    }
}

/// Removes the stubs of a completed download, then notifies the import servers; `again` also those that accepted before.
pub(super) async fn finish<L: NativeLedger>(service: &Arc<Service<L>>, id: DownloadId, again: bool) {
    match service.control.ledger().entry(id).await {
        Ok(entry) => {
            if let Some(item) = item_of(&entry) {
                let mut noted: Vec<String> = entry.stub_name.into_iter().collect();
                if entry.release_json.is_none() {
                    // Its first process died between making the row and noting release and stub. While the stub is
                    // there, whoever comes after a further crash finds it.
                    stub_run::learn_release(service, &item, id).await;
                    noted.extend(service.stubs.find(&item));
                }
                // Before the import: what is imported is moved away, and a stub that is found then would be new work.
                remove_stubs(service, &item, &noted).await;
            }
        }
        Err(error) => {
            tracing::error!(id, error = %chain(&error), "cannot read the stub of a completed download")
        }
    }
    if let Err(error) = service.imports.import(id, again).await {
        tracing::error!(id, error = %chain(&error), "cannot start the import; the next start resumes it");
    }
}

/// Removes the stubs of a completed download and ends the claim. Those that cannot be removed are listed; nothing waits for
/// them.
async fn remove_stubs<L: NativeLedger>(service: &Service<L>, item: &PeerItem, noted: &[String]) {
    let mut left = Vec::new();
    let mut stubs = Unsettled::of(service, item, noted);
    while let Some(name) = stubs.next() {
        if let Err(error) = remove(service, &name, item) {
            leave(service, &name, item, &error).await;
            left.push((name, error));
        }
    }
    for (name, error) in left {
        list(service, &name, item, &error);
    }
}

/// Moves the stubs of an item to `failed/` and ends its claim.
pub(super) async fn fail_stubs<L: NativeLedger>(service: &Service<L>, item: &PeerItem, noted: &[String], why: &str) {
    let mut stubs = Unsettled::of(service, item, noted);
    while let Some(name) = stubs.next() {
        let mut failed = false;
        let (ledger, torrents) = (service.control.ledger(), service.control.torrents());
        if let Err(error) = torrents.failed(ledger, &name, why).await {
            tracing::error!(stub = ?name, error = %chain(&error), "cannot record for other workers that a stub failed");
        }
        while let Err(error) = service.stubs.fail(&name, item, why) {
            let folder = service.stubs.path(&name).display();
            let trouble = format!("cannot move stubs in {folder} to failed/: {error}");
            service.control.troubles().note(MOVING_FAILS, &trouble);
            failed = true;
            Timer::after(TRY_EVERY).await;
        }
        if failed {
            service.control.troubles().over(MOVING_FAILS);
        }
    }
}

/// The stubs of an item that are still to be removed or moved, those that join meanwhile too. After the last one the claim
/// is ended, once: from then on it may be made again at any moment.
struct Unsettled<'a, L: NativeLedger> {
    service: &'a Service<L>,
    item: &'a PeerItem,
    waiting: std::vec::IntoIter<String>,
    settled: Vec<String>,
}

impl<'a, L: NativeLedger> Unsettled<'a, L> {
    fn of(service: &'a Service<L>, item: &'a PeerItem, noted: &[String]) -> Self {
        let mut names = service.claims.names(item);
        names.extend_from_slice(noted);
        Unsettled { service, item, waiting: names.into_iter(), settled: Vec::new() }
    }

    /// The next one. The caller has removed or moved those before it.
    fn next(&mut self) -> Option<String> {
        loop {
            match self.waiting.next() {
                Some(name) if self.settled.contains(&name) => {}
                Some(name) => {
                    self.settled.push(name.clone());
                    return Some(name);
                }
                None => {
                    let joined = self.service.end_claim(self.item, &self.settled);
                    if joined.is_empty() {
                        return None;
                    }
                    self.waiting = joined.into_iter();
                }
            }
        }
    }
}

/// What is said of an error, and what can be done about it.
pub(super) fn why(error: &str, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{error}\n{advice}"),
        None => error.to_owned(),
    }
}

async fn give_up<L: NativeLedger>(service: &Arc<Service<L>>, entry: &LedgerEntry, why: &str) {
    if let Some(item) = item_of(entry) {
        let noted: Vec<String> = entry.stub_name.clone().into_iter().collect();
        fail_stubs(service, &item, &noted, why).await;
    }
}

/// The download goes on when the trouble is over; until then its stubs are shown as pending.
fn wait<L: NativeLedger>(service: &Service<L>, entry: &LedgerEntry) {
    let rest = service.retries.put(entry.row.id);
    let Some(failure) = &entry.row.failure else {
        return;
    };
    tracing::warn!(id = entry.row.id, error = failure.text, "retrying in {} s", rest.as_secs());
    if let Some(item) = item_of(entry) {
        service.show_waiting(&item, entry, &failure.text, SystemTime::now().checked_add(rest));
    }
}

/// Returns `true` if a fault of this machine ended it.
pub(super) fn failed_here(entry: &LedgerEntry) -> bool {
    let failure = entry.row.failure.as_ref();
    failure.is_some_and(|failure| is_of_this_machine(&failure.code))
}

fn failed_because(entry: &LedgerEntry) -> String {
    let failure = entry.row.failure.as_ref();
    failure.map_or_else(String::new, |failure| failure.text.clone())
}

/// The item that a row is of.
pub(super) fn item_of(entry: &LedgerEntry) -> Option<PeerItem> {
    match &entry.row.new.source {
        Source::Url { .. } => None,
        Source::Peer { peer_id, item_id, .. } => Some(PeerItem { peer: PeerId::new(peer_id)?, id: item_id.clone() }),
    }
}

/// Removes a stub of a completed download and what lies of it in `failed/`.
///
/// # Errors
/// The error of the system; the stub may still be there.
pub(super) fn remove<L: NativeLedger>(service: &Service<L>, name: &str, item: &PeerItem) -> io::Result<()> {
    service.stubs.remove(name, item)?;
    service.stubs.remove_failed(name, item);
    Ok(())
}

/// Claims a stub that cannot be removed, for this process and the next.
pub(super) async fn leave<L: NativeLedger>(service: &Service<L>, name: &str, item: &PeerItem, error: &io::Error) {
    service.claims.leave(name, item);
    note(service, name, error);
    let stub =
        LeftStub { stub_name: name.to_owned(), peer_id: item.peer.as_str().to_owned(), item_id: item.id.clone() };
    if let Err(error) = service.control.ledger().note_left_stub(stub).await {
        tracing::error!(stub = ?name, error = %chain(&error), "cannot record that this stub is done");
    }
}

/// Lists a stub that was left.
pub(super) fn list<L: NativeLedger>(service: &Service<L>, name: &str, item: &PeerItem, error: &io::Error) {
    service.control.stubs().put(PendingStub {
        error: Some(format!("the download is completed, but the stub cannot be removed: {error}")),
        next_try_at: SystemTime::now().checked_add(TRY_EVERY),
        ..service.pending(name, item)
    });
}

/// Claims those that an earlier process left.
///
/// # Errors
/// `Ledger`.
pub(super) async fn recover<L: NativeLedger>(service: &Service<L>) -> Result<(), Error> {
    for stub in service.control.ledger().left_stubs().await? {
        if let Some(peer) = PeerId::new(&stub.peer_id) {
            let id = stub.item_id;
            service.claims.leave(&stub.stub_name, &PeerItem { peer, id });
        }
    }
    try_all(service).await;
    Ok(())
}

/// Tries to remove them again and again. Never ends.
pub(super) async fn retry_removals<L: NativeLedger>(service: Arc<Service<L>>) {
    loop {
        smol::Timer::after(TRY_EVERY).await;
        try_all(&service).await;
    }
}

async fn try_all<L: NativeLedger>(service: &Service<L>) {
    let mut first_error = None;
    for (name, item) in service.claims.left() {
        if let Err(error) = remove(service, &name, &item) {
            list(service, &name, &item, &error);
            first_error.get_or_insert((name, error));
            continue;
        }
        match service.control.ledger().forget_left_stub(name.clone()).await {
            Ok(()) => {
                service.claims.let_go(&name);
                service.control.stubs().remove(&name);
                service.look_soon();
            }
            Err(error) => {
                tracing::warn!(stub = ?name, error = %chain(&error), "cannot record that this stub is gone");
            }
        }
    }
    match first_error {
        Some((name, error)) => note(service, &name, &error),
        None => service.control.troubles().over(REMOVING_FAILS),
    }
}

fn note<L: NativeLedger>(service: &Service<L>, name: &str, error: &io::Error) {
    let folder = service.stubs.path(name).display();
    let trouble = format!("cannot remove stubs of completed downloads in {folder}: {error}");
    service.control.troubles().note(REMOVING_FAILS, &trouble);
}
