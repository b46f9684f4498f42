//! Which stubs are being worked on, and for which download.
//!
//! What is claimed is an item of a peer; the stubs that name it are claimed with it, however many there are and whatever
//! their names. So a thousand copies of a stub are one piece of work, and a stub of a download that an earlier process
//! began finds it again by its item, even if that process was killed before it recorded the stub's name.
//!
//! Invariants: an item has one claim at a time, and checking and claiming are one step. A claim ends only once its stubs
//! were dealt with. What is claimed is bounded, peer by peer: the rest waits in the folder.

use crate::sync::lock;
use regrip_core::{DownloadId, PeerId, Stub};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Stubs of one peer that are claimed at once.
const STUBS_OF_A_PEER: usize = 1024;

/// An item of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerItem {
    pub(super) peer: PeerId,
    pub(super) id: String,
}

impl From<&Stub> for PeerItem {
    fn from(stub: &Stub) -> Self {
        PeerItem { peer: stub.peer.clone(), id: stub.item.clone() }
    }
}

/// The result of offering a stub.
#[derive(Debug)]
pub(super) enum Offered {
    /// It is new work. The receiver is closed when nobody wants it any more.
    New(Receiver<()>),
    /// Its item is worked on already.
    Joined,
    /// Its peer has too much claimed as it is.
    NoRoom,
}

/// Small: there is one for each row that a start takes up.
#[derive(Debug, Default)]
struct Claim {
    names: Vec<Arc<str>>,
    download: Option<DownloadId>,
    /// Dropped with the claim, or when its stubs are gone.
    wanted: Option<Sender<()>>,
}

#[derive(Debug, Default)]
struct ClaimTable {
    claims: HashMap<Arc<PeerItem>, Claim>,
    /// By the name of a stub.
    names: HashMap<Arc<str>, Arc<PeerItem>>,
    /// By download.
    downloads: HashMap<DownloadId, Arc<PeerItem>>,
    /// How many stubs each peer has claimed.
    of_peers: HashMap<PeerId, usize>,
    /// Stubs of completed downloads that cannot be removed, by name. Each ends for itself, not with a claim.
    left: HashMap<String, PeerItem>,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<ClaimTable>);

impl Claims {
    /// Returns `true` if a stub of this name is claimed.
    pub(super) fn has(&self, name: &str) -> bool {
        let held = lock(&self.0);
        held.names.contains_key(name) || held.left.contains_key(name)
    }

    /// Keeps the name of a stub that is done and cannot be removed, beyond the end of its claim.
    pub(super) fn leave(&self, name: &str, item: &PeerItem) {
        lock(&self.0).left.insert(name.to_owned(), item.clone());
    }

    /// Those that were left.
    pub(super) fn left(&self) -> Vec<(String, PeerItem)> {
        let held = lock(&self.0);
        let left = held.left.iter();
        left.map(|(name, item)| (name.clone(), item.clone())).collect()
    }

    /// Returns `true` if a stub of that name was left.
    pub(super) fn is_left(&self, name: &str) -> bool {
        lock(&self.0).left.contains_key(name)
    }

    /// Gives up the name of a stub that was left and is gone now.
    pub(super) fn let_go(&self, name: &str) {
        lock(&self.0).left.remove(name);
    }

    /// Claims a stub for its item.
    pub(super) fn offer(&self, name: &str, item: &PeerItem) -> Offered {
        let mut held = lock(&self.0);
        if held.names.contains_key(name) {
            return Offered::Joined;
        }
        let count = held.of_peers.get(&item.peer).copied().unwrap_or(0);
        if count >= STUBS_OF_A_PEER {
            return Offered::NoRoom;
        }
        let known = held.claims.contains_key(item);
        let item = held.item(item);
        held.add(name, &item);
        if known {
            return Offered::Joined;
        }
        let (wanted, unwanted) = bounded(1);
        if let Some(claim) = held.claims.get_mut(&item) {
            claim.wanted = Some(wanted);
        }
        Offered::New(unwanted)
    }

    /// Claims an item for a download that an earlier process began, with the stub it noted. Not bounded: the rows are.
    pub(super) fn take_up(&self, item: &PeerItem, download: DownloadId, name: Option<&str>) {
        let mut held = lock(&self.0);
        let item = held.item(item);
        held.claims.entry(Arc::clone(&item)).or_default();
        if let Some(name) = name
            && !held.names.contains_key(name)
        {
            held.add(name, &item);
        }
        held.drives(&item, download);
    }

    /// An item is a download now.
    pub(super) fn drives(&self, item: &PeerItem, download: DownloadId) {
        lock(&self.0).drives(item, download);
    }

    /// The downloads that items were claimed for.
    pub(super) fn downloads(&self) -> Vec<DownloadId> {
        lock(&self.0).downloads.keys().copied().collect()
    }

    /// The item that a download was claimed for.
    pub(super) fn item_of(&self, download: DownloadId) -> Option<PeerItem> {
        let held = lock(&self.0);
        held.downloads.get(&download).map(|item| (**item).clone())
    }

    /// The download that an item is.
    pub(super) fn download_of(&self, item: &PeerItem) -> Option<DownloadId> {
        lock(&self.0).claims.get(item)?.download
    }

    /// The stubs that name an item.
    pub(super) fn names(&self, item: &PeerItem) -> Vec<String> {
        let held = lock(&self.0);
        let claim = held.claims.get(item);
        claim.map_or_else(Vec::new, |claim| claim.names.iter().map(|name| (**name).to_owned()).collect())
    }

    /// Ends a claim whose stubs were `settled`. Where others joined meanwhile it goes on, and those are returned.
    pub(super) fn end(&self, item: &PeerItem, settled: &[String]) -> Vec<String> {
        let mut held = lock(&self.0);
        let Some(claim) = held.claims.get(item) else {
            return Vec::new();
        };
        let is_settled = |name: &Arc<str>| settled.iter().any(|other| **other == **name);
        let joined = claim.names.iter().filter(|name| !is_settled(name));
        let joined: Vec<String> = joined.map(|name| (**name).to_owned()).collect();
        if joined.is_empty() {
            held.drop_claim(item);
        }
        joined
    }

    /// Drops interest in items without a download whose stubs are no longer in the folder: a user took them away.
    pub(super) fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        let mut held = lock(&self.0);
        let pending = held
            .claims
            .iter()
            .filter(|(_, claim)| claim.download.is_none() && !claim.names.iter().any(|name| is_there(name)));
        let unwanted: Vec<Arc<PeerItem>> = pending.map(|(item, _)| Arc::clone(item)).collect();
        for item in unwanted {
            if let Some(claim) = held.claims.get_mut(&item) {
                claim.wanted = None;
            }
        }
    }
}

impl ClaimTable {
    /// The item as it is held, so that it is held once.
    fn item(&self, item: &PeerItem) -> Arc<PeerItem> {
        let held = self.claims.get_key_value(item);
        held.map_or_else(|| Arc::new(item.clone()), |(held, _)| Arc::clone(held))
    }

    fn add(&mut self, name: &str, item: &Arc<PeerItem>) {
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), Arc::clone(item));
        let claim = self.claims.entry(Arc::clone(item)).or_default();
        claim.names.push(name);
        *self.of_peers.entry(item.peer.clone()).or_default() += 1;
    }

    fn drives(&mut self, item: &PeerItem, download: DownloadId) {
        let item = self.item(item);
        if let Some(claim) = self.claims.get_mut(&item) {
            if let Some(before) = claim.download.replace(download) {
                self.downloads.remove(&before);
            }
            self.downloads.insert(download, item);
        }
    }

    fn drop_claim(&mut self, item: &PeerItem) {
        let Some(claim) = self.claims.remove(item) else {
            return;
        };
        if let Some(download) = claim.download {
            self.downloads.remove(&download);
        }
        for name in &claim.names {
            self.names.remove(name);
        }
        if let Some(count) = self.of_peers.get_mut(&item.peer) {
            *count = count.saturating_sub(claim.names.len());
            if *count == 0 {
                self.of_peers.remove(&item.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> PeerItem {
        PeerItem { peer: PeerId::new("0123abcd").unwrap(), id: id.to_owned() }
    }

    // X03
    #[test]
    fn copies_of_a_stub_are_one_piece_of_work() {
        let claims = Claims::default();
        assert!(matches!(claims.offer("a", &item("1")), Offered::New(_)));
        for name in ["a", "b", "c"] {
            assert!(matches!(claims.offer(name, &item("1")), Offered::Joined));
        }
        assert!(matches!(claims.offer("d", &item("2")), Offered::New(_)));
        assert_eq!(claims.names(&item("1")), ["a", "b", "c"]);
    }

    #[test]
    fn a_claim_ends_once_every_stub_was_settled_also_those_that_came_meanwhile() {
        let claims = Claims::default();
        let _wanted = claims.offer("a", &item("1"));
        claims.drives(&item("1"), 7);
        assert_eq!(claims.item_of(7), Some(item("1")));
        let settled = claims.names(&item("1"));
        let _joined = claims.offer("b", &item("1"));
        assert_eq!(claims.end(&item("1"), &settled), ["b"]);
        assert!(claims.has("a") && claims.has("b"));
        assert!(claims.end(&item("1"), &["a".into(), "b".into()]).is_empty());
        assert!(!claims.has("a") && !claims.has("b"));
        assert_eq!(claims.item_of(7), None);
        assert!(matches!(claims.offer("a", &item("1")), Offered::New(_)));
    }

    // C02
    #[test]
    fn a_download_that_is_taken_up_has_its_stub_by_name_and_by_item() {
        let claims = Claims::default();
        claims.take_up(&item("1"), 7, Some("a"));
        claims.take_up(&item("2"), 8, None);
        assert!(claims.has("a"));
        assert!(matches!(claims.offer("b", &item("2")), Offered::Joined));
        assert_eq!(claims.download_of(&item("2")), Some(8));
    }

    // X03
    #[test]
    fn a_peer_has_so_many_claims_and_takes_no_room_from_others() {
        let claims = Claims::default();
        let mut receivers = Vec::new();
        for number in 0..STUBS_OF_A_PEER {
            receivers.push(claims.offer(&format!("stub {number}"), &item(&number.to_string())));
        }
        assert!(matches!(claims.offer("more", &item("more")), Offered::NoRoom));
        let other = PeerItem { peer: PeerId::new("ffffffff").unwrap(), id: "1".to_owned() };
        assert!(matches!(claims.offer("other", &other), Offered::New(_)));
        claims.end(&item("0"), &["stub 0".to_owned()]);
        assert!(matches!(claims.offer("more", &item("more")), Offered::New(_)));
    }

    #[test]
    fn a_stub_that_was_taken_away_is_wanted_no_more_unless_it_is_a_download() {
        let claims = Claims::default();
        let Offered::New(unwanted) = claims.offer("a", &item("1")) else {
            panic!("it is new");
        };
        let Offered::New(driven) = claims.offer("b", &item("2")) else {
            panic!("it is new");
        };
        claims.drives(&item("2"), 7);
        claims.keep_only(|name| name == "a");
        assert!(!unwanted.is_closed());
        claims.keep_only(|_| false);
        assert!(unwanted.is_closed());
        assert!(!driven.is_closed());
    }
}
