//! Who may hold a connection.
//!
//! A connection is *known* once a request on it was let in by its key (or, without a configured key, by being of this
//! machine). Everybody else is unknown: so that they cannot keep out those with a key, they have only three quarters of the
//! places, and the idlest of them makes room for a newcomer, whatever it is doing. A network has at most a quarter of the
//! places for unknown connections that are older than [`GRACE`], and three quarters for known ones: what is more stays
//! unknown. A known connection makes room only if no reply is under way; if all places are taken by replies, a newcomer
//! waits for one to end.
//!
//! Invariant: no more than the limit hold a place at once. A connection that made room may take a moment to close.

use super::guesses::ClientNetwork;
use crate::sync::lock;
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A connection that is younger may still be sending its first request.
const GRACE: Duration = Duration::from_secs(1);
/// Connections that made room and are not closed yet; while there are more, a newcomer waits.
const MOST_LEAVING: usize = 32;

/// All places of a server.
#[derive(Debug)]
pub(super) struct Places {
    table: Arc<Mutex<PlaceTable>>,
    /// A connection was closed.
    freed: (Sender<()>, Receiver<()>),
}

/// How a connection is to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// At once.
    Now,
    /// After a reply that may have begun meanwhile.
    AfterReply,
}

/// A connection's place. Clones are the same; dropping the last one frees it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<HeldPlace>);

#[derive(Debug)]
struct HeldPlace {
    table: Arc<Mutex<PlaceTable>>,
    number: u64,
    leave: Receiver<Leave>,
    freed: Sender<()>,
    /// Closed once the client has closed its sending half.
    client_sends: (Sender<()>, Receiver<()>),
}

impl Places {
    /// A server with `count` places, at least one.
    pub(super) fn new(count: usize) -> Places {
        Places { table: Arc::new(Mutex::new(PlaceTable::new(count))), freed: bounded(1) }
    }

    /// A place for a newcomer. If there is no room, somebody else makes room or it waits.
    pub(super) async fn admit(&self, network: ClientNetwork) -> Place {
        loop {
            let admitted = lock(&self.table).admit(network, Instant::now());
            if let Some((number, leave)) = admitted {
                return Place(Arc::new(HeldPlace {
                    table: Arc::clone(&self.table),
                    number,
                    leave,
                    freed: self.freed.0.clone(),
                    client_sends: bounded(1),
                }));
            }
            // The sender is ours, so it is open.
            let _ = self.freed.1.recv().await;
        }
    }

    /// Has one connection make room, if there is one that may: the system is out of file descriptors or memory.
    pub(super) fn make_room(&self) {
        lock(&self.table).make_room(Instant::now());
    }

    /// Waits until all connections are closed.
    pub(super) async fn all_closed(&self) {
        while lock(&self.table).open > 0 {
            let _ = self.freed.1.recv().await;
        }
    }
}

impl Place {
    /// A request on it was let in.
    pub(super) fn is_known(&self) {
        lock(&self.0.table).is_known(self.0.number);
    }

    /// A request began.
    pub(super) fn begin(&self) {
        lock(&self.0.table).change(self.0.number, true);
    }

    /// The reply was sent.
    pub(super) fn end(&self) {
        lock(&self.0.table).change(self.0.number, false);
        // It may make room for whoever waits. A full channel says so already.
        let _ = self.0.freed.try_send(());
    }

    /// The client has closed its sending half: it is gone, or it waits for its replies.
    pub(super) fn client_sends_no_more(&self) {
        self.0.client_sends.0.close();
    }

    /// A channel that is closed once the client has closed its sending half.
    pub(super) fn client_sends(&self) -> Receiver<()> {
        self.0.client_sends.1.clone()
    }

    /// Waits until it is to make room.
    pub(super) async fn asked_to_leave(&self) -> Leave {
        match self.0.leave.recv().await {
            Ok(leave) => leave,
            // Only what has left has nobody that could ask it to.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.connections.remove(&self.number);
        table.open -= 1;
        drop(table);
        // A full channel says so already.
        let _ = self.freed.try_send(());
    }
}

#[derive(Debug)]
struct PlaceTable {
    count: usize,
    next: u64,
    connections: HashMap<u64, Occupant>,
    /// Connections that are not closed, those that made room included.
    open: usize,
}

#[derive(Debug)]
struct Occupant {
    network: ClientNetwork,
    known: bool,
    /// A reply is under way.
    busy: bool,
    accepted: Instant,
    /// When its last request began or its last reply ended.
    active: Instant,
    leave: Sender<Leave>,
}

impl Occupant {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.accepted) < GRACE
    }
}

impl PlaceTable {
    fn new(count: usize) -> PlaceTable {
        PlaceTable { count: count.max(1), next: 0, connections: HashMap::new(), open: 0 }
    }

    /// Three quarters of the places.
    fn most(&self) -> usize {
        self.count - self.count / 4
    }

    fn admit(&mut self, network: ClientNetwork, now: Instant) -> Option<(u64, Receiver<Leave>)> {
        if self.open >= self.count + MOST_LEAVING {
            return None;
        }
        let unknown = self.connections.values().filter(|one| !one.known);
        let (all, of_network) =
            unknown.fold((0, 0), |(all, own), one| (all + 1, own + usize::from(one.network == network)));
        if of_network >= (self.count / 4).max(1) {
            self.dismiss_unknown(now, |one| one.network == network && !one.is_young(now));
        }
        if all >= self.most() {
            self.dismiss_unknown(now, |_| true);
        }
        if self.connections.len() >= self.count && !self.make_room(now) {
            return None;
        }
        let (leave, asked) = bounded(1);
        let number = self.next;
        self.next += 1;
        self.open += 1;
        let connection = Occupant { network, known: false, busy: false, accepted: now, active: now, leave };
        self.connections.insert(number, connection);
        Some((number, asked))
    }

    /// Has an unknown connection make room, else a known one without a reply under way. Returns `true` if there was one.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.dismiss_unknown(now, |_| true) {
            return true;
        }
        let idle = self.connections.iter().filter(|(_, one)| !one.busy);
        let idlest = idle.min_by_key(|(_, one)| one.active);
        self.dismiss(idlest.map(|(number, _)| *number), Leave::AfterReply)
    }

    /// Has the idlest of some unknown connections make room: of the network that has the most, and young ones last.
    fn dismiss_unknown(&mut self, now: Instant, of: impl Fn(&Occupant) -> bool) -> bool {
        let mut crowds: HashMap<ClientNetwork, usize> = HashMap::new();
        for one in self.connections.values().filter(|one| !one.known) {
            *crowds.entry(one.network).or_default() += 1;
        }
        let some = (self.connections.iter()).filter(|(_, one)| !one.known && of(one));
        let idlest = some.min_by_key(|(number, one)| {
            let crowd = crowds.get(&one.network).copied().unwrap_or_default();
            (std::cmp::Reverse(crowd), one.is_young(now), one.active, **number)
        });
        self.dismiss(idlest.map(|(number, _)| *number), Leave::Now)
    }

    fn dismiss(&mut self, number: Option<u64>, how: Leave) -> bool {
        let Some(one) = number.and_then(|number| self.connections.remove(&number)) else {
            return false;
        };
        // Nobody asked it before, so there is room in its channel.
        let _ = one.leave.try_send(how);
        true
    }

    fn is_known(&mut self, number: u64) {
        let Some(network) = self.connections.get(&number).map(|one| one.network) else {
            return;
        };
        let known = self.connections.values();
        let known = known.filter(|one| one.known && one.network == network);
        if known.count() < self.most()
            && let Some(one) = self.connections.get_mut(&number)
        {
            one.known = true;
        }
    }

    fn change(&mut self, number: u64, busy: bool) {
        if let Some(one) = self.connections.get_mut(&number) {
            one.busy = busy;
            one.active = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> ClientNetwork {
        ClientNetwork::of([192, 0, 2, last].into())
    }

    type Asked = Receiver<Leave>;

    fn admit(table: &mut PlaceTable, last: u8, now: Instant) -> Option<(u64, Asked)> {
        table.admit(network(last), now)
    }

    /// Which of them were asked to leave.
    fn left(all: &[(u64, Asked)]) -> Vec<u64> {
        let left = all.iter().filter(|(_, asked)| asked.try_recv().is_ok());
        left.map(|(number, _)| *number).collect()
    }

    #[test]
    fn unknown_connections_of_one_network_make_room_for_each_other_the_idlest_first() {
        let mut table = PlaceTable::new(16);
        let now = Instant::now();
        let all: Vec<_> = (0..4).map(|_| admit(&mut table, 1, now).unwrap()).collect();
        table.connections.get_mut(&0).unwrap().active = now + GRACE;
        let later = now + 2 * GRACE;
        admit(&mut table, 1, later).unwrap();
        assert_eq!(left(&all), [1]);
        // Others are not touched by it.
        admit(&mut table, 2, later).unwrap();
        assert_eq!((left(&all), table.connections.len()), (vec![], 5));
    }

    #[test]
    fn young_connections_of_one_network_may_be_more_and_keep_places_for_the_known() {
        let mut table = PlaceTable::new(16);
        let now = Instant::now();
        let few = admit(&mut table, 2, now).unwrap();
        let all: Vec<_> = (0..100).filter_map(|_| admit(&mut table, 1, now)).collect();
        assert_eq!(table.connections.len(), 12);
        assert!(table.connections.contains_key(&few.0), "the small network lost its only one");
        assert_eq!(table.open, 16 + MOST_LEAVING);
        assert_eq!(all.len(), table.open - 1);
    }

    #[test]
    fn a_known_connection_is_never_cut_while_a_reply_is_under_way() {
        let mut table = PlaceTable::new(4);
        let now = Instant::now();
        let all: Vec<_> = (1..=4)
            .map(|last| {
                let one = admit(&mut table, last, now).unwrap();
                table.is_known(one.0);
                table.change(one.0, true);
                one
            })
            .collect();
        assert!(admit(&mut table, 5, now).is_none(), "all places are taken by replies");
        table.change(all[2].0, false);
        let new = admit(&mut table, 5, now).unwrap();
        assert_eq!(all[2].1.try_recv(), Ok(Leave::AfterReply));
        // The only unknown connection makes room for the next newcomer.
        admit(&mut table, 6, now).unwrap();
        assert_eq!(new.1.try_recv(), Ok(Leave::Now));
        assert_eq!(left(&all), [0_u64; 0]);
    }

    #[test]
    fn known_connections_of_one_network_leave_places_for_others() {
        let mut table = PlaceTable::new(8);
        let now = Instant::now();
        for _ in 0..8 {
            let (number, _) = admit(&mut table, 1, now).unwrap();
            table.is_known(number);
            table.change(number, true);
        }
        assert_eq!(table.connections.values().filter(|one| one.known).count(), 6);
        assert!(admit(&mut table, 2, now).is_some());
    }
}
