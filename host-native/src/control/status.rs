//! What the API shows beside downloads: the configured peers, the stubs that are not downloads yet, and problems of the
//! server's surroundings.
//!
//! The state of a peer is decided by the engine's breaker
//! ([`Engine::reachability`](regrip_core::Engine::reachability)). A problem is logged when it begins, changes and ends. It fails
//! no download: whatever needs the folder, disk or file in question waits.

use crate::config::Peer;
use crate::sync::lock;
use crate::time::rfc3339;
use regrip_core::{display_url, shown};
use serde::{Serialize, Serializer};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The name of the folder of completed files, or of its storage, among the troubles.
pub(crate) const COMPLETED_FOLDER: &str = "completed folder";

/// A configured peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerCard {
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
    /// A peer before the first request.
    pub(crate) fn new(peer: &Peer) -> PeerCard {
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
pub(crate) struct PeerSeen {
    /// Its version, by the last handshake that worked.
    pub version: Option<String>,
    /// `true` if it answered the last request; `None` before the first one.
    pub answered: Option<bool>,
    /// Since when that is so.
    pub since: Option<SystemTime>,
    /// Why it did not answer as a peer does.
    pub error: Option<String>,
    /// The last Torznab search that asked it.
    pub last_search: Option<LastSearch>,
}

/// How a peer answered a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LastSearch {
    /// When it answered or its time was over.
    #[serde(serialize_with = "time")]
    pub at: SystemTime,
    /// The number of releases; `None` if it failed.
    pub releases: Option<usize>,
    /// Why it failed.
    pub error: Option<String>,
}

/// All of them, in the order of the configuration. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<Vec<PeerCard>>>);

impl Peers {
    /// Takes over a configuration. What is known of peers that stay is kept.
    pub fn configure(&self, peers: &[Peer]) {
        let mut cards = lock(&self.0);
        let fresh = peers.iter().map(|peer| {
            let mut card = PeerCard::new(peer);
            if let Some(known) = cards.iter().find(|known| known.id == card.id) {
                card.seen = known.seen.clone();
            }
            card
        });
        *cards = fresh.collect();
    }

    /// A peer answered, with its version if that was requested.
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

    /// A search of a peer found this many releases, or failed.
    pub(crate) fn searched(&self, id: &str, found: Result<usize, String>, at: SystemTime) {
        if let Some(card) = lock(&self.0).iter_mut().find(|card| card.id == id) {
            let (releases, error) = match found {
                Ok(count) => (Some(count), None),
                Err(error) => (None, Some(error)),
            };
            card.seen.last_search = Some(LastSearch { at, releases, error });
        }
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<PeerCard> {
        lock(&self.0).clone()
    }

    /// Names of the headers that requests to a peer carry; none if no such peer is configured.
    pub(crate) fn header_names(&self, id: &str) -> Vec<String> {
        let cards = lock(&self.0);
        let card = cards.iter().find(|card| card.id == id);
        card.map_or_else(Vec::new, |card| card.header_names.clone())
    }

    fn see(&self, id: &str, answered: bool, at: SystemTime, change: impl FnOnce(&mut PeerSeen)) {
        let mut cards = lock(&self.0);
        let Some(card) = cards.iter_mut().find(|card| card.id == id) else {
            return;
        };
        if card.seen.answered != Some(answered) {
            card.seen.answered = Some(answered);
            card.seen.since = Some(at);
        }
        change(&mut card.seen);
    }
}

/// A stub whose release is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingStub {
    /// Its file's name in the watch folder.
    pub stub_name: String,
    /// The peer it names.
    pub peer_id: String,
    /// The name of that peer, if it is configured.
    pub peer_name: Option<String>,
    /// The item, as the peer names it.
    pub item_id: String,
    /// The name in the stub, to show.
    pub name: String,
    /// The size in the stub.
    pub size: Option<u64>,
    /// When it was found.
    #[serde(serialize_with = "time")]
    pub found_at: SystemTime,
    /// Number of requests to the peer.
    pub attempts: u32,
    /// Why the last request failed; `None` before the first one.
    pub error: Option<String>,
    /// When it is asked again; `None` during a request.
    #[serde(serialize_with = "time_if_any")]
    pub next_try_at: Option<SystemTime>,
}

/// All of them, by the stub's name. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Stubs(Arc<Mutex<StubsInner>>);

#[derive(Debug, Default)]
struct StubsInner {
    stubs: BTreeMap<String, PendingStub>,
    watch: Option<PathBuf>,
}

impl Stubs {
    /// Puts a stub on the board, in place of what stood there under its name.
    pub fn put(&self, mut stub: PendingStub) {
        stub.name = shown(&stub.name).into_owned();
        lock(&self.0).stubs.insert(stub.stub_name.clone(), stub);
    }

    /// Changes a stub that is on the board.
    pub(crate) fn change(&self, stub_name: &str, change: impl FnOnce(&mut PendingStub)) {
        if let Some(stub) = lock(&self.0).stubs.get_mut(stub_name) {
            change(stub);
        }
    }

    /// Asking failed, and is tried again then.
    pub fn failed(&self, stub_name: &str, error: String, next_try_at: Option<SystemTime>) {
        self.change(stub_name, |stub| {
            stub.attempts = stub.attempts.saturating_add(1);
            stub.error = Some(error);
            stub.next_try_at = next_try_at;
        });
    }

    /// Takes a stub off the board: it is a download now, or gone.
    pub fn remove(&self, stub_name: &str) {
        lock(&self.0).stubs.remove(stub_name);
    }

    /// Those on the board, by name, `most` at most.
    pub(crate) fn list(&self, most: usize) -> Vec<PendingStub> {
        lock(&self.0).stubs.values().take(most).cloned().collect()
    }

    /// Why the last request for a stub's release failed.
    pub(crate) fn error(&self, stub_name: &str) -> Option<String> {
        lock(&self.0).stubs.get(stub_name)?.error.clone()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.0).stubs.len()
    }

    /// Says which folder is watched.
    pub fn watch(&self, folder: PathBuf) {
        lock(&self.0).watch = Some(folder);
    }

    /// The watched folder, if there is one.
    pub(crate) fn watch_path(&self) -> Option<PathBuf> {
        lock(&self.0).watch.clone()
    }
}

/// A configured Radarr or Sonarr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServerCard {
    /// As configured.
    pub name: String,
    /// `radarr` or `sonarr`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// As it may be shown.
    pub url: String,
    /// The category of its downloads; `None` if this server does not register itself there.
    pub category: Option<String>,
    /// `off`, `pending`, `registered` or `failed`.
    pub registration: &'static str,
    /// Why it is off or failed, with the whole answer.
    pub error: Option<String>,
    /// When it was registered, or refused, last.
    #[serde(serialize_with = "time_if_any")]
    pub tried_at: Option<SystemTime>,
}

/// All of them, and the signal to register again. Clones are the same board.
#[derive(Clone, Debug)]
pub(crate) struct ImportServers {
    cards: Arc<Mutex<Vec<ServerCard>>>,
    again: (Sender<()>, Receiver<()>),
}

impl Default for ImportServers {
    fn default() -> Self {
        ImportServers { cards: Arc::default(), again: bounded(1) }
    }
}

impl ImportServers {
    /// Takes over a configuration.
    pub(crate) fn configure(&self, cards: Vec<ServerCard>) {
        *lock(&self.cards) = cards;
    }

    /// The result of a registration.
    pub(crate) fn tried(&self, name: &str, result: Result<(), String>) {
        if let Some(card) = lock(&self.cards).iter_mut().find(|card| card.name == name) {
            card.registration = if result.is_ok() { "registered" } else { "failed" };
            (card.error, card.tried_at) = (result.err(), Some(SystemTime::now()));
        }
    }

    /// Has all of them registered again, which are `pending` until then.
    pub(crate) fn register(&self) {
        for card in lock(&self.cards).iter_mut().filter(|card| card.registration != "off") {
            card.registration = "pending";
        }
        // One pending signal is enough.
        let _ = self.again.0.try_send(());
    }

    /// What [`register`](Self::register) sends to.
    pub(crate) fn signal(&self) -> Receiver<()> {
        self.again.1.clone()
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn list(&self) -> Vec<ServerCard> {
        lock(&self.cards).clone()
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// What it concerns: `watch folder`, `completed folder`, `configuration`, and the like.
    pub what: String,
    /// What is wrong, in one line.
    pub message: String,
    /// Since when something is wrong with it.
    #[serde(serialize_with = "time")]
    pub since: SystemTime,
}

/// All there is, by what it concerns. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, Trouble>>>);

impl Troubles {
    /// Something is wrong. It is logged unless it is known.
    pub fn note(&self, what: &str, message: &str) {
        let mut held = lock(&self.0);
        let known = held.get(what);
        if known.is_some_and(|known| known.message == message) {
            return;
        }
        tracing::error!("{message}");
        let since = known.map_or_else(SystemTime::now, |known| known.since);
        let message = message.to_owned();
        held.insert(what.to_owned(), Trouble { what: what.to_owned(), message, since });
    }

    /// It is over, if it was there.
    pub fn over(&self, what: &str) {
        if let Some(trouble) = lock(&self.0).remove(what) {
            tracing::info!("over: {}", trouble.message);
        }
    }

    /// What is wrong with this, if anything.
    pub(crate) fn of(&self, what: &str) -> Option<String> {
        lock(&self.0).get(what).map(|trouble| trouble.message.clone())
    }

    /// All there is now.
    pub(crate) fn list(&self) -> Vec<Trouble> {
        lock(&self.0).values().cloned().collect()
    }
}

fn time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

fn time_if_any<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}
