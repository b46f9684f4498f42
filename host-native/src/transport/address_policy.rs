//! Which addresses a request may connect to, and in which order.
//!
//! A redirect is somebody else's choice of address, so it never leads to a place that is closer to this machine than the
//! ones before it: from a public address to public addresses, from a private network to private networks and public
//! addresses, from loopback anywhere. What a user or a configuration starts may go anywhere: peers have private addresses.
//! Link-local addresses and those of cloud metadata services are never connected to.
//!
//! An IPv6 address that stands for an IPv4 address, or leads through one (RFC 4291 §2.5.5, RFC 2765, RFC 3056, RFC 4380,
//! RFC 5214, RFC 6052, RFC 8215), is as close as the closer of the two.
//!
//! The rule is applied to resolved addresses and the connection goes to an address it allowed, so a name that resolves
//! differently the next time (DNS rebinding) gains nothing.
//!
//! [`Addresses`] remembers which addresses failed lately, by address and not by name, and puts them behind the others: one of
//! several may accept connections and serve nothing. The one that failed longest ago comes first among those that failed.

use super::options::Origin;
use crate::sync::lock;
use ipnet::Ipv4Net;
use regrip_core::Error;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Which addresses a request may connect to, the fewest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Redirected from a public or an unknown address: public addresses.
    Public,
    /// Redirected from a private network: not this machine.
    Private,
    /// Started by the user, or redirected from loopback all the way: all but those that are closed to everybody.
    Loopback,
}

/// How far an address is from this machine, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proximity {
    /// Globally reachable unicast.
    Public,
    /// A network of its own, or no place for a server.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, or a cloud metadata service.
    Closed,
}

impl Reach {
    /// The reach of a redirect received from `peer`, if that is known: behind a proxy it is not. What a
    /// chain has lost it does not get back.
    pub(super) fn after(self, peer: Option<IpAddr>) -> Reach {
        let from = match peer.map(place) {
            Some(Proximity::Loopback) => Reach::Loopback,
            Some(Proximity::Private) => Reach::Private,
            Some(Proximity::Public | Proximity::Closed) | None => Reach::Public,
        };
        self.min(from)
    }

    /// Returns `true` if a connection may be made.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        match place(address) {
            Proximity::Public => true,
            Proximity::Private => self >= Reach::Private,
            Proximity::Loopback => self >= Reach::Loopback,
            Proximity::Closed => false,
        }
    }

    /// What is said of an address of `origin` that is not allowed.
    pub(super) fn refusal(self, origin: &Origin, address: IpAddr) -> Error {
        let why = match (place(address), self) {
            (Proximity::Closed, _) => "link-local and cloud metadata addresses are never connected to",
            (_, Reach::Public) => {
                "a redirect from a public address must not lead into a private network or to this machine"
            }
            (_, Reach::Private | Reach::Loopback) => "a redirect from another machine must not lead to this one",
        };
        Error::AddressRefused(format!("{address} for {origin}: {why}"))
    }
}

fn place(address: IpAddr) -> Proximity {
    match address {
        IpAddr::V4(v4) => place_of_v4(v4),
        IpAddr::V6(v6) => {
            let embedded = embedded(v6).into_iter().flatten();
            embedded.map(place_of_v4).fold(place_of_v6(v6), Proximity::max)
        }
    }
}

/// Metadata services outside of 169.254.0.0/16: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Networks that are not globally reachable unicast (the registry of RFC 6890, and RFC 1112 and RFC 5771 for what follows
/// 224.0.0.0).
const PRIVATE_V4: [Ipv4Net; 11] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 88, 99, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// 0.0.0.0/8 counts as this machine: connecting to 0.0.0.0 reaches it.
fn place_of_v4(address: Ipv4Addr) -> Proximity {
    let [first, ..] = address.octets();
    if address.is_link_local() || METADATA_V4.contains(&address) {
        Proximity::Closed
    } else if address.is_loopback() || first == 0 {
        Proximity::Loopback
    } else if PRIVATE_V4.iter().any(|network| network.contains(&address)) {
        Proximity::Private
    } else {
        Proximity::Public
    }
}

/// What an IPv6 address is by itself: globally reachable is 2000::/3 without its special parts (the registry of RFC 6890),
/// and the well-known NAT64 prefix, which is as close as what it stands for.
fn place_of_v6(address: Ipv6Addr) -> Proximity {
    let metadata = match address.segments() {
        // Amazon, Google, Oracle, Scaleway, Akamai.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] | [0xfd00, 0xc1, ..] => true,
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42] | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1] => true,
        _ => false,
    };
    if metadata || address.is_unicast_link_local() {
        return Proximity::Closed;
    }
    if address.is_loopback() || address.is_unspecified() {
        return Proximity::Loopback;
    }
    match address.segments() {
        // Written as IPv6, but an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Proximity::Public,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2002, ..] | [0x2001, 0, ..] => Proximity::Public,
        [0x2001, second, ..] if second < 0x200 => Proximity::Private,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Proximity::Private,
        [0x2000..=0x3fff, ..] => Proximity::Public,
        _ => Proximity::Private,
    }
}

/// The IPv4 addresses that an IPv6 address stands for or leads through.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    let s = address.segments();
    let last = v4(s[6], s[7]);
    match s {
        // These two are IPv6 addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 4],
        // IPv4-mapped, IPv4-compatible, IPv4-translated.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [last, None, None, None],
        // NAT64: the well-known prefix, and the local one, in which the address is at the end or after 48, 56 or 64 bits,
        // around the byte of zeros (RFC 6052 §2.2).
        [0x64, 0xff9b, 0, ..] => [last, None, None, None],
        [0x64, 0xff9b, 1, ..] => {
            let across = |high: u16, low: u16| (high << 8) | (low >> 8);
            let after_48 = v4(s[3], across(s[4], s[5]));
            let after_56 = v4(((s[3] & 0xff) << 8) | (s[4] & 0xff), s[5]);
            let after_64 = v4(across(s[4], s[5]), across(s[5], s[6]));
            let all = [last, after_48, after_56, after_64];
            // What begins with a zero is part of the padding.
            all.map(|v4| v4.filter(|v4| v4.octets().first() != Some(&0)))
        }
        // 6to4.
        [0x2002, high, low, ..] => [v4(high, low), None, None, None],
        // Teredo: the server, and the client, whose bits are inverted.
        [0x2001, 0, high, low, ..] => [v4(high, low), v4(!s[6], !s[7]), None, None],
        // ISATAP.
        [.., 0 | 0x200, 0x5efe, _, _] => [last, None, None, None],
        _ => [None; 4],
    }
}

/// How long a failure counts.
const MEMORY: Duration = Duration::from_secs(600);

/// Most failures that are remembered.
const MAX_FAILED: usize = 1024;

/// The addresses that failed, and when. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<SocketAddr, Instant>>>);

impl Addresses {
    /// Those that did not fail first, in the order given; then those that did.
    pub(super) fn in_order(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let failed = self.fresh();
        addresses.sort_by_key(|address| failed.get(address).copied());
        addresses
    }

    /// Begins to use an address, one of several or the only one of its host.
    pub(super) fn try_out(&self, address: SocketAddr, has_others: bool) -> Trial {
        Trial { addresses: self.clone(), address, has_others, state: TrialState::Open }
    }

    fn failed(&self, address: SocketAddr) {
        let mut failed = self.fresh();
        if failed.len() < MAX_FAILED || failed.contains_key(&address) {
            failed.insert(address, Instant::now());
        }
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        let mut failed = lock(&self.0);
        failed.retain(|_, when| when.elapsed() < MEMORY);
        failed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrialState {
    /// Nothing is known of its outcome yet.
    Open,
    /// It did what it should.
    Good,
    /// It answered with an error that another address may not have.
    Bad,
}

/// The use of an address. If it is dropped before it was found good, the address failed.
#[derive(Debug)]
pub(super) struct Trial {
    addresses: Addresses,
    address: SocketAddr,
    has_others: bool,
    state: TrialState,
}

impl Trial {
    /// The address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.state = TrialState::Open;
    }

    /// The response is one of a server that is overloaded or broken.
    pub(super) fn blame(&mut self) {
        self.state = TrialState::Bad;
        self.addresses.failed(self.address);
    }

    /// A response ended.
    pub(super) fn end_well(&mut self) {
        if self.state == TrialState::Open {
            self.state = TrialState::Good;
            self.addresses.fresh().remove(&self.address);
        }
    }

    /// Returns `true` if another address of the host is to be preferred.
    pub(super) fn gives_way(&self) -> bool {
        self.has_others && self.addresses.fresh().contains_key(&self.address)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.state == TrialState::Open {
            self.addresses.failed(self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    // X06, X07
    #[test]
    fn each_address_is_reached_from_no_farther_than_where_it_is() {
        let table: [(Proximity, &[&str]); 4] = [
            (
                Proximity::Public,
                &[
                    "93.184.216.34",
                    "1.1.1.1",
                    "9.255.255.255",
                    "11.0.0.0",
                    "100.63.255.255",
                    "100.128.0.0",
                    "172.15.255.255",
                    "172.32.0.0",
                    "169.253.255.255",
                    "192.167.1.1",
                    "198.20.0.1",
                    "223.255.255.255",
                    "168.63.129.17",
                    "2606:2800:220:1::1",
                    "2a00::1",
                    "2001:4860::8888",
                    "::ffff:93.184.216.34",
                    "64:ff9b::93.184.216.34",
                    "2002:5db8:d822::1",
                    "2001:0:5db8:d822::a247:27dd",
                ],
            ),
            (
                Proximity::Private,
                &[
                    "10.0.0.7",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.2",
                    "100.64.0.1",
                    "100.127.255.255",
                    "192.0.0.1",
                    "192.0.2.1",
                    "198.18.0.1",
                    "198.19.255.255",
                    "198.51.100.1",
                    "203.0.113.1",
                    "224.0.0.1",
                    "239.255.255.250",
                    "240.0.0.1",
                    "255.255.255.255",
                    "fc00::1",
                    "fd12:3456:789a::1",
                    "fec0::1",
                    "ff02::1",
                    "100::1",
                    "2001:db8::1",
                    "2001:2::1",
                    "3fff:fff::1",
                    "5f00::1",
                    "::ffff:10.0.0.7",
                    "::10.0.0.7",
                    "::ffff:0:10.0.0.7",
                    "64:ff9b::10.0.0.7",
                    "64:ff9b:1::93.184.216.34",
                    "2002:a00:7::1",
                    "2001:0:5db8:d822::f5ff:fff8",
                    "2001:0:a00:7::a247:27dd",
                    "2606:2800::5efe:10.0.0.7",
                ],
            ),
            (
                Proximity::Loopback,
                &[
                    "127.0.0.1",
                    "127.9.9.9",
                    "0.0.0.0",
                    "0.1.2.3",
                    "::1",
                    "::",
                    "::ffff:127.0.0.1",
                    "::ffff:0.0.0.0",
                    "::127.0.0.1",
                    "::ffff:0:127.0.0.1",
                    "64:ff9b::127.0.0.1",
                    "2002:7f00:1::1",
                    "2001:0:5db8:d822::80ff:fffe",
                ],
            ),
            (
                Proximity::Closed,
                &[
                    "169.254.169.254",
                    "169.254.170.2",
                    "100.100.100.200",
                    "168.63.129.16",
                    "192.0.0.192",
                    "fe80::1",
                    "febf::1",
                    "fe80::a9fe:a9fe",
                    "fd00:ec2::254",
                    "fd00:ec2::23",
                    "fd20:ce::254",
                    "fd00:c1::a9fe:a9fe",
                    "fd00:42::42",
                    "fd00:a9fe:a9fe::1",
                    "::ffff:169.254.169.254",
                    "::ffff:100.100.100.200",
                    "::ffff:168.63.129.16",
                    "::169.254.169.254",
                    "::ffff:0:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "64:ff9b::168.63.129.16",
                    "64:ff9b:1::a9fe:a9fe",
                    "64:ff9b:1:a9fe:a9:fe00::",
                    "64:ff9b:1:a9:fe:a9fe::",
                    "64:ff9b:1:0:a9:fea9:fe00::",
                    "2002:a9fe:a9fe::1",
                    "2002:6464:64c8::",
                    "2001:0:a9fe:a9fe::a247:27dd",
                    "2001:0:5db8:d822::5601:5601",
                    "2606:2800::200:5efe:a9fe:a9fe",
                ],
            ),
        ];
        let reaches = [Reach::Public, Reach::Private, Reach::Loopback];
        for (is_at, addresses) in table {
            for address in addresses {
                assert_eq!(place(at(address)), is_at, "{address}");
                let allowed = reaches.map(|reach| reach.allows(at(address)));
                let wanted = match is_at {
                    Proximity::Public => [true, true, true],
                    Proximity::Private => [false, true, true],
                    Proximity::Loopback => [false, false, true],
                    Proximity::Closed => [false, false, false],
                };
                assert_eq!(allowed, wanted, "{address}");
            }
        }
    }

    #[test]
    fn a_redirect_reaches_no_closer_than_where_it_comes_from() {
        let (here, private, public) = (at("127.0.0.1"), at("10.0.0.7"), at("93.184.216.34"));
        let table = [
            (Reach::Loopback, Some(here), Reach::Loopback),
            (Reach::Loopback, Some(private), Reach::Private),
            (Reach::Loopback, Some(public), Reach::Public),
            // Who answers behind a proxy may be anybody.
            (Reach::Loopback, None, Reach::Public),
            // What a chain has lost it does not get back.
            (Reach::Private, Some(here), Reach::Private),
            (Reach::Public, Some(private), Reach::Public),
            (Reach::Public, Some(here), Reach::Public),
        ];
        for (reach, peer, after) in table {
            assert_eq!(reach.after(peer), after, "{reach:?} {peer:?}");
        }
    }

    fn hosts(numbers: &[u8]) -> Vec<SocketAddr> {
        let address = |number: &u8| SocketAddr::from(([10, 0, 0, *number], 80));
        numbers.iter().map(address).collect()
    }

    #[test]
    fn an_address_that_failed_comes_last_and_the_latest_failure_behind_the_earlier_ones() {
        let addresses = Addresses::default();
        let [one, two, three] = hosts(&[1, 2, 3])[..] else { unreachable!() };
        let order = || addresses.in_order(vec![one, two, three]);
        assert_eq!(order(), hosts(&[1, 2, 3]));
        drop(addresses.try_out(one, true));
        assert_eq!(order(), hosts(&[2, 3, 1]));
        addresses.try_out(two, true).blame();
        assert_eq!(order(), hosts(&[3, 1, 2]));
        drop(addresses.try_out(three, true));
        assert_eq!(order(), hosts(&[1, 2, 3]));
        addresses.try_out(two, true).end_well();
        assert_eq!(order(), hosts(&[2, 1, 3]));
    }

    #[test]
    fn a_connection_gives_way_only_if_there_is_another_address() {
        let addresses = Addresses::default();
        let address = hosts(&[1])[0];
        for has_others in [true, false] {
            let mut trial = addresses.try_out(address, has_others);
            trial.begin();
            trial.end_well();
            assert!(!trial.gives_way());
            trial.blame();
            trial.end_well();
            assert_eq!(trial.gives_way(), has_others);
        }
    }
}
