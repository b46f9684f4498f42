//! One item from its stub to its row.
//!
//! Its release is asked for by the retry engine, behind the peer's breaker; before it is there the destination is not
//! known, and there is no row. Then the row is made, or found, and its download waits in line.
//!
//! Invariant: from the moment a row is there somebody answers for it. Nothing of this is dropped between making a row and
//! noting on the claim which one it is.

use super::claims::Item;
use super::ending;
use super::later::rest_after;
use super::service::Service;
use crate::control::{Acceptance, Wanted, accept};
use crate::ledger::NativeLedger;
use crate::peers::Release;
use crate::store::destination;
use regrip_core::classify::is_of_this_machine;
use regrip_core::engine::NewUrl;
use regrip_core::error::chain;
use regrip_core::{DownloadId, Error};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest wait for what may be over at any moment and costs little to look at: a destination that is in use, a folder
/// that is gone.
const LONGEST_REST: Duration = Duration::from_secs(15);

/// How far it got.
enum Step {
    /// There is a row, or nothing to do any more.
    Over,
    /// Something is in the way that may go away.
    Wait(Error),
    /// It failed for good.
    Failed(Error),
}

/// Runs until there is a row, or none will ever be. `unwanted` closes when all stubs of the item are gone.
pub(super) async fn run<L: NativeLedger>(
    service: Arc<Service<L>>,
    item: Item,
    unwanted: Receiver<()>,
) {
    let mut release = None;
    let mut tries = 0;
    loop {
        match step(&service, &item, &unwanted, &mut release).await {
            Step::Over => return,
            Step::Failed(error) => {
                let why = ending::why(&chain(&error), error.advice());
                tracing::error!(item = ?item.id, peer = %item.peer, error = %chain(&error), "the stub failed");
                return ending::fail_stubs(&service, &item, &[], &why).await;
            }
            Step::Wait(error) => {
                let rest = rest_after(tries).min(LONGEST_REST);
                tries = tries.saturating_add(1);
                let until = SystemTime::now().checked_add(rest);
                service.wait_on_board(&item, &chain(&error), until);
                unless_unwanted(&unwanted, async {
                    Timer::after(rest).await;
                })
                .await;
            }
        }
    }
}

async fn step<L: NativeLedger>(
    service: &Arc<Service<L>>,
    item: &Item,
    unwanted: &Receiver<()>,
    known: &mut Option<Release>,
) -> Step {
    if !is_wanted(service, item) {
        return let_go(service, item, "the stub is gone");
    }
    let Some(acquaintance) = service.acquaintances.get(&item.peer) else {
        return let_go(service, item, "its peer is not configured any more");
    };
    if known.is_none() {
        let asked = unless_unwanted(unwanted, ask(service, item, &acquaintance)).await;
        match asked {
            None => return let_go(service, item, "the stub is gone"),
            Some(Ok(release)) => *known = Some(release),
            Some(Err(error)) if is_of_this_machine(&error.code()) => return Step::Wait(error),
            Some(Err(error)) => return Step::Failed(error),
        }
        if !is_wanted(service, item) {
            return let_go(service, item, "the stub is gone");
        }
    }
    let Some(release) = known else {
        return Step::Over;
    };
    match make_row(service, item, release, &acquaintance).await {
        Ok(()) => Step::Over,
        Err(error @ Error::DestinationBusy { .. }) => Step::Wait(error),
        Err(error) if is_of_this_machine(&error.code()) => Step::Wait(error),
        Err(error) => Step::Failed(error),
    }
}

/// Asks the peer for the release, when it is this item's turn.
async fn ask<L: NativeLedger>(
    service: &Service<L>,
    item: &Item,
    acquaintance: &super::acquaintances::Acquaintance<L>,
) -> Result<Release, Error> {
    let _turn = acquaintance.turns.acquire().await;
    let (client, peers) = (&acquaintance.client, service.control.peers());
    let id = item.peer.as_str();
    let told = |error: &Error, delay: Duration| {
        let (why, now) = (chain(error), SystemTime::now());
        tracing::warn!(item = ?item.id, peer = client.peer().name, error = %why, "the release is asked for again");
        peers.failed(id, why.clone(), now);
        service.wait_on_board(item, &why, now.checked_add(delay));
    };
    let asked = client.item(&item.id, told).await;
    match &asked {
        Ok(_) => peers.answered(id, client.version(), SystemTime::now()),
        Err(error) => peers.failed(id, chain(error), SystemTime::now()),
    }
    asked
}

/// Makes or finds the row, and has it driven.
async fn make_row<L: NativeLedger>(
    service: &Arc<Service<L>>,
    item: &Item,
    release: &Release,
    acquaintance: &super::acquaintances::Acquaintance<L>,
) -> Result<(), Error> {
    service.completed.check().map_err(|told| Error::Disk {
        what: "use",
        path: service.completed.path().display().to_string(),
        source: Some(told.into()),
    })?;
    let peer = acquaintance.client.peer();
    let names = peer.headers.iter().map(|header| header.name().to_owned());
    let wanted = Wanted {
        source: acquaintance.client.source(&item.id)?,
        header_names: names.collect(),
        destination: destination(service.completed.path(), release.filename.as_str())?,
        release_size: Some(release.size),
        sha256: release.sha256.clone(),
        on_exists: service.control.engine().config().on_exists,
        adopt: false,
        again: false,
        new_url: NewUrl::SamePath,
    };
    match accept(service.control.engine(), &wanted).await? {
        Acceptance::Drive(accepted, path) => {
            service.claims.drives(item, accepted.id);
            note(service, item, release, accepted.id).await;
            if accepted.known {
                tracing::info!(id = accepted.id, file = ?path, "the stub is of a known download");
            }
            for name in service.claims.names(item) {
                service.control.stubs().remove(&name);
            }
            service.drive(item.peer.as_str(), accepted.id);
        }
        Acceptance::Done(row) => {
            service.claims.drives(item, row.id);
            note(service, item, release, row.id).await;
            tracing::info!(
                id = row.id,
                "the file is there already: it is imported again"
            );
            let (service, id) = (Arc::clone(service), row.id);
            service.clone().spawn(async move {
                ending::finish(&service, id, true).await;
            });
        }
    }
    Ok(())
}

/// Asks for the release of a download whose row does not have it, and notes it. Without it nobody knows who imports the
/// file; where the peer does not have it any more nobody ever will, and the file stays as it is.
pub(super) async fn learn_release<L: NativeLedger>(
    service: &Service<L>,
    item: &Item,
    id: DownloadId,
) {
    let Some(acquaintance) = service.acquaintances.get(&item.peer) else {
        return;
    };
    match ask(service, item, &acquaintance).await {
        Ok(release) => note(service, item, &release, id).await,
        Err(error) => {
            tracing::warn!(id, error = %chain(&error), "the release cannot be had: the file is not imported");
        }
    }
}

/// Notes the release, by which the import knows its servers, and the stub, by which the next process knows its claim. The
/// row is there, so this goes on until the ledger takes it.
async fn note<L: NativeLedger>(
    service: &Service<L>,
    item: &Item,
    release: &Release,
    id: DownloadId,
) {
    let stub = service.claims.names(item).into_iter().next();
    let ledger = service.control.ledger();
    let mut tries = 0;
    loop {
        let json = Some(release.json.clone());
        match ledger.note_release(id, stub.clone(), json).await {
            Ok(()) | Err(Error::NoSuchDownload(_)) => return,
            Err(error) => {
                tracing::error!(id, error = %chain(&error), "the release cannot be noted yet");
                Timer::after(rest_after(tries)).await;
                tries = tries.saturating_add(1);
            }
        }
    }
}

/// Whether a stub of the item is there still, or that cannot be told.
fn is_wanted<L: NativeLedger>(service: &Service<L>, item: &Item) -> bool {
    let names = service.claims.names(item);
    let is_there = |name: &String| service.stubs.names(name, item).unwrap_or(true);
    names.iter().any(is_there)
}

fn let_go<L: NativeLedger>(service: &Service<L>, item: &Item, why: &str) -> Step {
    tracing::info!(item = ?item.id, peer = %item.peer, "let go: {why}");
    let names = service.claims.names(item);
    // What joined meanwhile is claimed anew by the next look.
    let joined = service.end_claim(item, &names);
    if !joined.is_empty() {
        let all = service.claims.names(item);
        service.end_claim(item, &all);
    }
    Step::Over
}

async fn unless_unwanted<T>(unwanted: &Receiver<()>, work: impl Future<Output = T>) -> Option<T> {
    let gone = async {
        // Nothing is ever sent: it closes.
        let _ = unwanted.recv().await;
        None
    };
    async { Some(work.await) }.or(gone).await
}
