//! The configured peers and what is known of them. Whether one can be reached is the engine's to say
//! ([`Engine::reachability`](regrip_core::Engine::reachability)), by the same breaker that its downloads wait by.

use crate::config::Peer;
use regrip_core::display_url;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A configured peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCard {
    /// What stubs call it.
    pub id: String,
    /// As configured.
    pub name: String,
    /// As it may be shown: without userinfo, query and fragment.
    pub url: String,
    /// Names of the headers that requests to it carry.
    pub header_names: Vec<String>,
    /// How it was found last.
    pub seen: PeerSeen,
}

impl PeerCard {
    /// Of a peer nobody has talked to.
    pub fn new(peer: &Peer) -> PeerCard {
        let names = peer.headers.iter().map(|header| header.name().to_owned());
        PeerCard {
            id: peer.id.as_str().to_owned(),
            name: peer.name.clone(),
            url: display_url(&peer.url),
            header_names: names.collect(),
            seen: PeerSeen::default(),
        }
    }
}

/// How a peer was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSeen {
    /// Its version, by the last handshake that worked.
    pub version: Option<String>,
    /// Whether it answered when it was asked last; `None` where it was not asked yet.
    pub answered: Option<bool>,
    /// Since when that is so.
    pub since: Option<SystemTime>,
    /// What went wrong, where it did not answer as a peer does.
    pub error: Option<String>,
}

/// All of them, in the order of the configuration. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<Vec<PeerCard>>>);

impl Peers {
    /// Takes over a configuration. What is known of peers that stay is kept.
    pub fn configure(&self, peers: &[Peer]) {
        let mut cards = self.lock();
        let fresh = peers.iter().map(|peer| {
            let mut card = PeerCard::new(peer);
            if let Some(known) = cards.iter().find(|known| known.id == card.id) {
                card.seen = known.seen.clone();
            }
            card
        });
        *cards = fresh.collect();
    }

    /// A peer answered, with its version where that was asked for.
    pub fn answered(&self, id: &str, version: Option<String>, at: SystemTime) {
        self.see(id, true, at, |seen| {
            seen.version = version.or(seen.version.take());
            seen.error = None;
        });
    }

    /// A peer did not answer, or not as a peer does.
    pub fn failed(&self, id: &str, error: String, at: SystemTime) {
        self.see(id, false, at, |seen| seen.error = Some(error));
    }

    /// All of them.
    pub fn list(&self) -> Vec<PeerCard> {
        self.lock().clone()
    }

    /// Names of the headers that requests to a peer carry; none where no such peer is configured.
    pub fn header_names(&self, id: &str) -> Vec<String> {
        let cards = self.lock();
        let card = cards.iter().find(|card| card.id == id);
        card.map_or_else(Vec::new, |card| card.header_names.clone())
    }

    fn see(&self, id: &str, answered: bool, at: SystemTime, change: impl FnOnce(&mut PeerSeen)) {
        let mut cards = self.lock();
        let Some(card) = cards.iter_mut().find(|card| card.id == id) else {
            return;
        };
        if card.seen.answered != Some(answered) {
            card.seen.answered = Some(answered);
            card.seen.since = Some(at);
        }
        change(&mut card.seen);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PeerCard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
