//! `/api/stubs`, `/api/peers` and `/api/troubles`.

use super::Api;
use crate::control::{PeerCard, PendingStub};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Refusal, Reply};
use crate::time::rfc3339 as time;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::time::{Clock, Instant};
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;

/// Stubs shown at once.
const MOST_STUBS: usize = 1000;

#[derive(Serialize)]
struct Stubs {
    stubs: Vec<Stub>,
    /// How many there are, those that are not shown included.
    total: usize,
    watch_path: Option<String>,
}

#[derive(Serialize)]
struct Stub {
    stub_name: String,
    peer_id: String,
    peer_name: Option<String>,
    item_id: String,
    name: String,
    size: Option<u64>,
    found_at: String,
    attempts: u32,
    error: Option<String>,
    next_try_at: Option<String>,
}

impl From<PendingStub> for Stub {
    fn from(stub: PendingStub) -> Stub {
        Stub {
            stub_name: stub.stub_name,
            peer_id: stub.peer_id,
            peer_name: stub.peer_name,
            item_id: stub.item_id,
            name: stub.name,
            size: stub.size,
            found_at: time(stub.found_at),
            attempts: stub.attempts,
            error: stub.error,
            next_try_at: stub.next_try_at.map(time),
        }
    }
}

pub(super) async fn stubs<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Result<Reply, Refusal> {
    let board = api.control.stubs();
    let stubs = board.list(MOST_STUBS).into_iter().map(Stub::from);
    Ok(Reply::json(&Stubs {
        stubs: stubs.collect(),
        total: board.count(),
        watch_path: board
            .watch_path()
            .map(|path| path.to_string_lossy().into_owned()),
    }))
}

#[derive(Serialize)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    id: String,
    name: String,
    url: String,
    version: Option<String>,
    reachable: Option<bool>,
    since: Option<String>,
    error: Option<String>,
    probes: u32,
    next_probe_at: Option<String>,
}

pub(super) async fn peers<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Result<Reply, Refusal> {
    let cards = api.control.peers().list();
    let peers = cards.into_iter().map(|card| peer(&api, card));
    Ok(Reply::json(&Peers {
        peers: peers.collect(),
    }))
}

/// An outage by the breaker says more than what was seen last.
fn peer<L: NativeLedger>(api: &Api<L>, card: PeerCard) -> Peer {
    let seen = card.seen;
    let mut peer = Peer {
        version: seen.version,
        reachable: seen.answered,
        since: seen.since.map(time),
        error: seen.error,
        probes: 0,
        next_probe_at: None,
        id: card.id,
        name: card.name,
        url: card.url,
    };
    let engine = api.control.engine();
    if let Some(outage) = engine.reachability(&peer.id).outage() {
        let clock = engine.host().clock();
        let at = |moment| time(wall(moment, clock.now(), clock.wall()));
        peer.reachable = Some(false);
        peer.since = Some(at(outage.since));
        peer.error = Some(chain(&outage.last.error()));
        peer.probes = outage.probes;
        peer.next_probe_at = Some(at(outage.next_probe));
    }
    peer
}

#[derive(Serialize)]
struct Troubles {
    troubles: Vec<Trouble>,
}

#[derive(Serialize)]
struct Trouble {
    what: &'static str,
    message: String,
    since: String,
}

pub(super) async fn troubles<L: NativeLedger>(
    api: Arc<Api<L>>,
    _: Asked,
) -> Result<Reply, Refusal> {
    let troubles = api.control.troubles().list().into_iter();
    let troubles = troubles.map(|trouble| Trouble {
        what: trouble.what,
        message: trouble.told,
        since: time(trouble.since),
    });
    Ok(Reply::json(&Troubles {
        troubles: troubles.collect(),
    }))
}

/// A moment of the monotonic clock on the wall clock.
fn wall(moment: Instant, now: Instant, wall: SystemTime) -> SystemTime {
    let moved = match moment >= now {
        true => wall.checked_add(moment.since(now)),
        false => wall.checked_sub(now.since(moment)),
    };
    moved.unwrap_or(wall)
}
