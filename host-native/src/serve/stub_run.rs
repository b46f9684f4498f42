//! One item from its stub to its row.
//!
//! Its release is asked for by the retry engine, behind the peer's breaker; before it is there the destination is not
//! known, and there is no row. Then the row is made or found, and its download is queued.
//!
//! Invariant: from the moment a row is there somebody answers for it. Nothing of this is dropped between making a row and
//! noting on the claim which one it is.

use super::claims::PeerItem;
use super::finish;
use super::queue::rest_after;
use super::service::Service;
use crate::control::{Acceptance, Wanted, accept, make_below};
use crate::ledger::NativeLedger;
use crate::peers::Release;
use crate::store::destination;
use futures::future::join_all;
use regrip_core::classify::{is_of_the_release, is_of_this_machine};
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::error::chain;
use regrip_core::record::{DigestRow, DigestSource};
use regrip_core::{DownloadId, Error};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest wait for what may be over at any moment and costs little to look at: a destination that is in use, a folder
/// that is gone.
const LONGEST_REST: Duration = Duration::from_secs(15);

/// The time that the other peers have to say if they share a release, too.
const OTHERS_ANSWER_WITHIN: Duration = Duration::from_secs(5);

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
pub(super) async fn run<L: NativeLedger>(service: Arc<Service<L>>, item: PeerItem, unwanted: Receiver<()>) {
    let mut release = None;
    let mut tries = 0;
    loop {
        match step(&service, &item, &unwanted, &mut release).await {
            Step::Over => return,
            Step::Failed(error) => {
                let why = finish::why(&chain(&error), error.advice());
                tracing::error!(item = ?item.id, peer = %item.peer, error = %chain(&error), "the stub failed");
                let is_at_fault = is_of_the_release(&error);
                if is_at_fault {
                    service.blame(&item, None, &why).await;
                }
                finish::fail_stubs(&service, &item, &[], &why).await;
                if is_at_fault {
                    service.control.torrents().ask_soon();
                }
                return;
            }
            Step::Wait(error) => {
                let rest = rest_after(tries).min(LONGEST_REST);
                tries = tries.saturating_add(1);
                let until = SystemTime::now().checked_add(rest);
                service.show_trouble(&item, &chain(&error), until);
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
    item: &PeerItem,
    unwanted: &Receiver<()>,
    known: &mut Option<Release>,
) -> Step {
    if !is_wanted(service, item) {
        return let_go(service, item, "the stub is gone");
    }
    let Some(peer_client) = service.peers.get(&item.peer) else {
        return let_go(service, item, "its peer is no longer configured");
    };
    if known.is_none() {
        let asked = unless_unwanted(unwanted, ask(service, item, &peer_client)).await;
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
    match make_row(service, item, release, &peer_client).await {
        Ok(()) => Step::Over,
        Err(error @ Error::DestinationBusy { .. }) => Step::Wait(error),
        Err(error) if is_of_this_machine(&error.code()) => Step::Wait(error),
        Err(error) => Step::Failed(error),
    }
}

/// Asks the peer for the release, when it is this item's turn.
async fn ask<L: NativeLedger>(
    service: &Service<L>,
    item: &PeerItem,
    peer_client: &crate::peers::KnownPeer<L>,
) -> Result<Release, Error> {
    let _turn = peer_client.turns.acquire().await;
    let (client, peers) = (&peer_client.client, service.control.peers());
    let id = item.peer.as_str();
    let on_retry = |error: &Error, delay: Duration| {
        let (why, now) = (chain(error), SystemTime::now());
        tracing::warn!(item = ?item.id, peer = client.peer().name, error = %why, "requesting the release again");
        peers.failed(id, why.clone(), now);
        service.show_trouble(item, &why, now.checked_add(delay));
    };
    let asked = client.item(&item.id, on_retry).await;
    match &asked {
        Ok(_) => peers.answered(id, client.version(), SystemTime::now()),
        Err(error) => peers.failed(id, chain(error), SystemTime::now()),
    }
    asked
}

/// Makes or finds the row, and has it driven.
async fn make_row<L: NativeLedger>(
    service: &Arc<Service<L>>,
    item: &PeerItem,
    release: &Release,
    peer_client: &crate::peers::KnownPeer<L>,
) -> Result<(), Error> {
    service.completed.check().map_err(|why| Error::Disk {
        what: "use",
        path: service.completed.path().display().to_string(),
        source: Some(why.into()),
    })?;
    let peer = peer_client.client.peer();
    let names = peer.headers.iter().map(|header| header.name().to_owned());
    let named = |checksum| DigestRow::wanted(checksum, DigestSource::Peer);
    let wanted = Wanted {
        source: peer_client.client.source(&item.id)?,
        mirrors: other_sources(service, item, release).await,
        header_names: names.collect(),
        destination: destination(&folder(service, item)?, release.filename.as_str())?,
        release_size: Some(release.size),
        digests: release.sha256.clone().map(named).into_iter().collect(),
        on_exists: service.control.engine().config().on_exists,
        adopt: false,
        again: false,
        new_url: NewUrl::SamePath,
    };
    match accept(service.control.engine(), &wanted).await? {
        Acceptance::Drive(accepted, path) => {
            service.claims.drives(item, accepted.id);
            if !note(service, item, release, accepted.id).await {
                return drop_row(service, item, accepted).await;
            }
            if accepted.known {
                tracing::info!(id = accepted.id, file = ?path, "the stub belongs to a known download");
            }
            for name in service.claims.names(item) {
                service.control.stubs().remove(&name);
            }
            service.drive(item.peer.as_str(), accepted.id);
        }
        Acceptance::Done(row) => {
            service.claims.drives(item, row.id);
            note(service, item, release, row.id).await;
            tracing::info!(id = row.id, "the file already exists: importing it again");
            let (service, id) = (Arc::clone(service), row.id);
            service.clone().spawn(async move {
                finish::finish(&service, id, true).await;
            });
        }
    }
    Ok(())
}

/// Lets go of a row that was made while the client deleted its torrent.
async fn drop_row<L: NativeLedger>(service: &Service<L>, item: &PeerItem, accepted: Accepted) -> Result<(), Error> {
    let dropped = match accepted.known {
        true => service.control.cancel(accepted.id).await,
        false => service.control.remove(accepted.id).await,
    };
    let_go(service, item, "its torrent was deleted");
    match dropped {
        Err(Error::WrongState { .. } | Error::NoSuchDownload(_)) => Ok(()),
        dropped => dropped,
    }
}

/// The folder that an item's file goes to, made if it is missing: that of the category under which it was added to the download
/// client, else the completed folder. No link is followed below that one.
fn folder<L: NativeLedger>(service: &Service<L>, item: &PeerItem) -> Result<PathBuf, Error> {
    let names = service.claims.names(item);
    let category = names.iter().find_map(|name| service.control.torrents().folder_of(name));
    make_below(service.completed.path(), category.as_deref().unwrap_or_default()).map_err(|(path, error)| Error::Disk {
        what: "create",
        path: path.display().to_string(),
        source: Some(error.into()),
    })
}

/// The URLs of the same file at other peers: those that can be reached and share a release of this size and digest. Without a digest
/// nothing shows that it is the same.
async fn other_sources<L: NativeLedger>(service: &Service<L>, item: &PeerItem, release: &Release) -> Vec<String> {
    let Some(query) = release.query().filter(|_| release.sha256.is_some()) else {
        return Vec::new();
    };
    let asked = service.peers.others(&item.peer).into_iter().filter(|peer| peer.client.line().outage().is_none());
    let asked = asked.map(async |peer| {
        let search = async {
            let _turn = peer.turns.acquire().await;
            peer.client.search(&query).await.ok()
        };
        let late = async {
            Timer::after(OTHERS_ANSWER_WITHIN).await;
            None
        };
        let found = search.or(late).await?;
        let same = found.iter().find(|other| other.size == release.size && other.sha256 == release.sha256)?;
        let source = peer.client.source(&same.id).ok()?;
        Some(source.url().to_owned())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Requests and records the release of a download whose row has none. Without it no import server can be chosen; if the
/// peer has deleted the item, the file stays as it is.
pub(super) async fn learn_release<L: NativeLedger>(service: &Service<L>, item: &PeerItem, id: DownloadId) {
    let Some(peer_client) = service.peers.get(&item.peer) else {
        return;
    };
    match ask(service, item, &peer_client).await {
        Ok(release) => {
            note(service, item, &release, id).await;
        }
        Err(error) => {
            tracing::warn!(id, error = %chain(&error), "cannot get the release: the file is not imported");
        }
    }
}

/// Notes the release, by which the import knows its servers, and the stub, by which the next process knows its claim. The
/// row is there, so this goes on until the ledger takes it. Returns `false` as [`Service::link`].
async fn note<L: NativeLedger>(service: &Service<L>, item: &PeerItem, release: &Release, id: DownloadId) -> bool {
    let stub = service.claims.names(item).into_iter().next();
    let ledger = service.control.ledger();
    let mut tries = 0;
    loop {
        let json = Some(release.json.clone());
        match ledger.note_release(id, stub.clone(), json).await {
            Ok(()) | Err(Error::NoSuchDownload(_)) => return service.link(item, id).await,
            Err(error) => {
                tracing::error!(id, error = %chain(&error), "cannot record the release yet");
                Timer::after(rest_after(tries)).await;
                tries = tries.saturating_add(1);
            }
        }
    }
}

/// Returns `true` if a stub of the item is still there, or if that is unknown.
fn is_wanted<L: NativeLedger>(service: &Service<L>, item: &PeerItem) -> bool {
    let names = service.claims.names(item);
    let is_there = |name: &String| service.stubs.names(name, item).unwrap_or(true);
    names.iter().any(is_there)
}

fn let_go<L: NativeLedger>(service: &Service<L>, item: &PeerItem, why: &str) -> Step {
    tracing::info!(item = ?item.id, peer = %item.peer, "stub dropped: {why}");
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
