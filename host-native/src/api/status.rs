//! `/api/stubs`, `/api/peers` and `/api/troubles`.

use super::{Api, Handled};
use crate::control::PeerCard;
use crate::ledger::NativeLedger;
use crate::server::{Asked, Reply};
use crate::time::rfc3339;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::time::{Clock, Instant};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// Stubs shown at once.
const MOST_STUBS: usize = 1000;

pub(super) async fn stubs<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let stubs = api.control.stubs();
    Ok(Reply::json(&json!({
        "stubs": stubs.list(MOST_STUBS),
        // Including those that are not shown.
        "total": stubs.count(),
        "watch_path": stubs.watch_path().map(|path| path.to_string_lossy().into_owned()),
    })))
}

pub(super) async fn peers<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let cards = api.control.peers().list();
    let peers = cards.into_iter().map(|card| peer(&api, card));
    Ok(Reply::json(&json!({ "peers": peers.collect::<Vec<_>>() })))
}

/// A peer as it was found last or, if its breaker is open, with its outage.
fn peer<L: NativeLedger>(api: &Api<L>, card: PeerCard) -> Value {
    let seen = card.seen;
    let mut peer = json!({
        "id": card.id, "name": card.name, "url": card.url,
        "version": seen.version, "reachable": seen.answered, "since": seen.since.map(rfc3339),
        "error": seen.error, "probes": 0, "next_probe_at": null,
    });
    let engine = api.control.engine();
    if let Some(outage) = engine.reachability(&card.id).outage() {
        let clock = engine.host().clock();
        let at = |instant| rfc3339(wall(instant, clock.now(), clock.wall()));
        peer["reachable"] = false.into();
        peer["since"] = at(outage.since).into();
        peer["error"] = chain(&outage.last.error()).into();
        peer["probes"] = outage.probes.into();
        peer["next_probe_at"] = at(outage.next_probe).into();
    }
    peer
}

pub(super) async fn troubles<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let troubles = api.control.troubles().list();
    Ok(Reply::json(&json!({ "troubles": troubles })))
}

/// An instant of the monotonic clock on the wall clock.
fn wall(instant: Instant, now: Instant, wall: SystemTime) -> SystemTime {
    let moved = match instant >= now {
        true => wall.checked_add(instant.since(now)),
        false => wall.checked_sub(now.since(instant)),
    };
    moved.unwrap_or(wall)
}
