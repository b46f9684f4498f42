//! Stubs of completed downloads that cannot be removed: a watch folder that is read-only, or away for a while.
//!
//! Invariants: such a stub keeps neither its file from being imported nor another stub of the same item from being new
//! work, and it is not taken as new work itself, in this process or the next: its name stays claimed, and in the ledger,
//! until the stub is gone. Until then it is listed with the reason, and its removal is tried again.

use super::claims::Item;
use super::service::Service;
use crate::control::PendingStub;
use crate::ledger::{LeftStub, NativeLedger};
use regrip_core::error::chain;
use regrip_core::{Error, PeerId};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often their removal is tried again.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// What they are called among the troubles.
const TROUBLE: &str = "completed stubs";

/// Removes a stub of a completed download and what lies of it in `failed/`.
///
/// # Errors
/// What the system said; the stub may still be there.
pub(super) fn remove<L: NativeLedger>(
    service: &Service<L>,
    name: &str,
    item: &Item,
) -> io::Result<()> {
    service.stubs.remove(name, item)?;
    service.stubs.remove_failed(name, item);
    Ok(())
}

/// Claims a stub that cannot be removed, for this process and the next.
pub(super) async fn leave<L: NativeLedger>(
    service: &Service<L>,
    name: &str,
    item: &Item,
    error: &io::Error,
) {
    service.claims.leave(name, item);
    note(service, error);
    let stub = LeftStub {
        stub_name: name.to_owned(),
        peer_id: item.peer.as_str().to_owned(),
        item_id: item.id.clone(),
    };
    if let Err(error) = service.control.ledger().note_left_stub(stub).await {
        tracing::error!(stub = ?name, error = %chain(&error), "a restart will not know that this stub is done");
    }
}

/// Lists a stub that was left.
pub(super) fn list<L: NativeLedger>(
    service: &Service<L>,
    name: &str,
    item: &Item,
    error: &io::Error,
) {
    let now = SystemTime::now();
    service.control.stubs().put(PendingStub {
        stub_name: name.to_owned(),
        peer_id: item.peer.as_str().to_owned(),
        peer_name: service.acquaintances.named(&item.peer),
        item_id: item.id.clone(),
        name: name.to_owned(),
        size: None,
        found_at: now,
        attempts: 0,
        error: Some(format!(
            "the download is completed, but the stub cannot be removed: {error}"
        )),
        next_try_at: now.checked_add(TRY_EVERY),
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
            service.claims.leave(&stub.stub_name, &Item { peer, id });
        }
    }
    try_all(service).await;
    Ok(())
}

/// Tries to remove them again and again. Never ends.
pub(super) async fn run<L: NativeLedger>(service: Arc<Service<L>>) {
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
            first_error.get_or_insert(error);
            continue;
        }
        match service
            .control
            .ledger()
            .forget_left_stub(name.clone())
            .await
        {
            Ok(()) => {
                service.claims.let_go(&name);
                service.control.stubs().remove(&name);
                service.look_soon();
            }
            Err(error) => {
                tracing::warn!(stub = ?name, error = %chain(&error), "cannot note that this stub is gone");
            }
        }
    }
    match first_error {
        Some(error) => note(service, &error),
        None => service.control.troubles().over(TROUBLE),
    }
}

fn note<L: NativeLedger>(service: &Service<L>, error: &io::Error) {
    let folder = service.stubs.path().display();
    let trouble = format!("stubs of completed downloads in {folder} cannot be removed: {error}");
    service.control.troubles().note(TROUBLE, &trouble);
}
