//! Wrong keys, limited and logged by [`ClientNetwork`].
//!
//! A right key is always served, so that nobody is locked out by others behind the same address (a proxy, loopback). Each
//! network may send [`AT_ONCE`] wrong keys, and one more each [`EVERY`]; those beyond get a 429. Logins are counted apart from
//! keys in `X-Api-Key`. The log has one line a minute for a network, with the number of wrong keys since the line before.

use super::reply::Refusal;
use crate::sync::lock;
use async_io::Timer;
use hyper::StatusCode;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Wrong keys of a network that are answered like the first.
const AT_ONCE: u32 = 30;
/// How long a network waits for another one.
const EVERY: Duration = Duration::from_secs(2);
/// Between two lines of the log about a network.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Networks that are remembered at once; the one whose last wrong key is the oldest makes room.
const MOST_NETWORKS: usize = 4096;

/// How a key was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In `X-Api-Key`.
    Header,
    /// In the body of a login.
    Login,
}

/// The wrong keys of all networks.
#[derive(Debug, Default)]
pub(super) struct Guesses(Arc<Mutex<NetworkTable>>);

impl Guesses {
    /// Counts a wrong key. Returns the refusal for it: the one given, or 429.
    pub(super) fn count(&self, from: IpAddr, way: Way, refusal: Refusal) -> Refusal {
        let mut table = lock(&self.0);
        let counted = table.count(ClientNetwork::of(from), way, Instant::now());
        if counted.is_first_of_all {
            smol::spawn(log_later(Arc::downgrade(&self.0))).detach();
        }
        drop(table);
        if let Some((network, count)) = counted.due {
            log(network, count);
        }
        match counted.wait {
            None => refusal,
            Some(wait) => {
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyWrongKeys", "too many wrong keys from this address")
                    .retry_after(wait)
            }
        }
    }
}

fn log(network: ClientNetwork, count: u64) {
    tracing::warn!(address = %network, count, "wrong keys");
}

/// Logs what was counted since the last line of a network, until there is nothing more to log.
async fn log_later(table: Weak<Mutex<NetworkTable>>) {
    loop {
        Timer::after(LOG_EVERY / 4).await;
        let Some(table) = table.upgrade() else {
            return;
        };
        let (due, more) = lock(&table).due(Instant::now());
        for (network, count) in due {
            log(network, count);
        }
        if !more {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct NetworkTable {
    networks: HashMap<ClientNetwork, Record>,
    /// The task that logs later runs.
    is_watched: bool,
}

/// What is known of a network.
#[derive(Debug)]
struct Record {
    /// When no wrong key would count any more, of each way.
    recovered: [Instant; 2],
    last: Instant,
    unlogged: u64,
    logged: Option<Instant>,
}

/// What a wrong key led to.
#[derive(Debug, PartialEq, Eq)]
struct CountedKey {
    /// Time until another one is answered like the first, if this is one too many.
    wait: Option<Duration>,
    /// To be logged now.
    due: Option<(ClientNetwork, u64)>,
    /// The task that logs later does not run.
    is_first_of_all: bool,
}

impl NetworkTable {
    fn count(&mut self, network: ClientNetwork, way: Way, now: Instant) -> CountedKey {
        if self.networks.len() >= MOST_NETWORKS && !self.networks.contains_key(&network) {
            self.forget_one();
        }
        let record = self.networks.entry(network).or_insert_with(|| Record {
            recovered: [now; 2],
            last: now,
            unlogged: 0,
            logged: None,
        });
        record.last = now;
        record.unlogged += 1;
        let due = record.due(now).map(|count| (network, count));
        let recovered = &mut record.recovered[way as usize];
        let after = (*recovered).max(now) + EVERY;
        let wait = after.saturating_duration_since(now + AT_ONCE * EVERY);
        if wait.is_zero() {
            *recovered = after;
        }
        CountedKey {
            wait: Some(wait).filter(|wait| !wait.is_zero()),
            due,
            is_first_of_all: !std::mem::replace(&mut self.is_watched, true),
        }
    }

    /// Returns what is to be logged now, and `true` if there may be more later.
    fn due(&mut self, now: Instant) -> (Vec<(ClientNetwork, u64)>, bool) {
        let of = |(network, record): (&ClientNetwork, &mut Record)| Some((*network, record.due(now)?));
        let due = self.networks.iter_mut().filter_map(of).collect();
        // Nothing is left to say about these, and nothing counts against them.
        self.networks.retain(|_, record| {
            record.unlogged > 0 || record.is_quiet(now) || record.recovered.iter().any(|at| *at > now)
        });
        self.is_watched = !self.networks.is_empty();
        (due, self.is_watched)
    }

    fn forget_one(&mut self) {
        let oldest = self.networks.iter().min_by_key(|(_, record)| record.last);
        if let Some(network) = oldest.map(|(network, _)| *network) {
            self.networks.remove(&network);
        }
    }
}

impl Record {
    /// Returns `true` while its last line is too recent for another one.
    fn is_quiet(&self, now: Instant) -> bool {
        self.logged.is_some_and(|logged| now < logged + LOG_EVERY)
    }

    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.unlogged == 0 || self.is_quiet(now) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// One address of IPv4 or a /64 of IPv6: whoever has one address of a /64 has all of them (RFC 6177 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The network of an address. An IPv4 address that is written as IPv6 is the IPv4 address.
    pub(crate) fn of(address: IpAddr) -> ClientNetwork {
        ClientNetwork(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
            v4 => v4,
        })
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    #[test]
    fn wrong_keys_are_limited_by_network_and_one_more_is_allowed_after_a_while() {
        let mut table = NetworkTable::default();
        let (one, other) = (network("192.0.2.1"), network("192.0.2.2"));
        let now = Instant::now();
        for _ in 0..AT_ONCE {
            assert_eq!(table.count(one, Way::Header, now).wait, None);
        }
        assert_eq!(table.count(one, Way::Header, now).wait, Some(EVERY));
        assert_eq!(table.count(one, Way::Header, now).wait, Some(EVERY));
        assert_eq!(table.count(other, Way::Header, now).wait, None);
        assert_eq!(table.count(one, Way::Login, now).wait, None);
        let later = now + EVERY;
        assert_eq!(table.count(one, Way::Header, later).wait, None);
        assert_eq!(table.count(one, Way::Header, later).wait, Some(EVERY));
    }

    #[test]
    fn the_log_has_one_line_a_minute_of_a_network_and_no_wrong_key_is_missing() {
        let mut table = NetworkTable::default();
        let one = network("192.0.2.1");
        let now = Instant::now();
        assert_eq!(table.count(one, Way::Header, now).due, Some((one, 1)));
        for _ in 0..5500 {
            assert_eq!(table.count(one, Way::Header, now).due, None);
        }
        assert_eq!(table.due(now + LOG_EVERY / 2), (vec![], true));
        assert_eq!(table.due(now + LOG_EVERY), (vec![(one, 5500)], true));
        let after = now + 3 * LOG_EVERY;
        assert_eq!(table.due(after), (vec![], false));
        assert!(table.networks.is_empty());
        assert!(table.count(one, Way::Login, after).is_first_of_all);
    }

    #[test]
    fn few_networks_are_remembered_and_the_quietest_makes_room() {
        let mut table = NetworkTable::default();
        let now = Instant::now();
        for number in 0..=MOST_NETWORKS as u32 {
            let address = IpAddr::V4(number.into());
            table.count(ClientNetwork::of(address), Way::Header, now + EVERY * number);
        }
        assert_eq!(table.networks.len(), MOST_NETWORKS);
        assert!(!table.networks.contains_key(&network("0.0.0.0")));
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_64() {
        let table = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ];
        for (address, network) in table {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(ClientNetwork::of(address).to_string(), network);
        }
    }
}
