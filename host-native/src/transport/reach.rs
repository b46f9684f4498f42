//! Which addresses a request may connect to.
//!
//! A redirect is somebody else's choice of address. Link-local addresses are never connected to: cloud metadata services
//! live there (169.254.169.254). Loopback is reached only by who was there already: a request that a user or a config
//! starts there, or a redirect from there. Private networks are allowed, for that is where peers are.
//!
//! The rule is applied to resolved addresses and the connection goes to an address it allowed, so a name that resolves
//! differently the next time (DNS rebinding) gains nothing. It knows no names.

use super::origin::Origin;
use regrip_core::Error;
use std::net::{IpAddr, Ipv6Addr};

/// Which addresses a request may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Started by the user, or redirected from loopback all the way: all but link-local.
    Loopback,
    /// Redirected from another machine: not loopback either.
    Outside,
}

impl Reach {
    /// The reach of a redirect that came from `peer`, where that is known: who answers behind a proxy may be anybody. What a
    /// chain has lost it does not get back.
    pub(super) fn after(self, peer: Option<IpAddr>) -> Reach {
        let from_loopback = peer.is_some_and(|peer| is_loopback(peer.to_canonical()));
        if self == Reach::Loopback && from_loopback {
            Reach::Loopback
        } else {
            Reach::Outside
        }
    }

    /// Whether a connection may be made.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !is_link_local(address) && (self == Reach::Loopback || !is_loopback(address))
    }

    /// What is said of an address of `origin` that is not allowed.
    pub(super) fn refusal(self, origin: &Origin, address: IpAddr) -> Error {
        let why = match self {
            Reach::Loopback => "it is link-local",
            Reach::Outside => "a redirect from elsewhere must not lead there",
        };
        Error::AddressRefused(format!("{address} for {origin}: {why}"))
    }
}

/// The unspecified address counts: connecting to 0.0.0.0 reaches this machine.
fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || embedded_v4(v6).is_some_and(|v4| v4.is_link_local())
        }
    }
}

/// The IPv4 address that a NAT64 gateway would connect to (RFC 6052 §2.1, the well-known prefix 64:ff9b::/96).
fn embedded_v4(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else {
        return None;
    };
    Some((u32::from(high) << 16 | u32::from(low)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_is_never_reached_and_loopback_only_from_loopback() {
        let table = [
            // address, from the start, after a redirect from elsewhere
            ("93.184.216.34", true, true),
            ("10.0.0.7", true, true),
            ("192.168.1.2", true, true),
            ("fd00::1", true, true),
            ("2001:db8::1", true, true),
            ("127.0.0.1", true, false),
            ("127.9.9.9", true, false),
            ("::1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("0.0.0.0", true, false),
            ("::", true, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("fe80::1", false, false),
            ("febf::1", false, false),
        ];
        for (address, at_first, redirected) in table {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(Reach::Loopback.allows(ip), at_first, "{address}");
            assert_eq!(Reach::Outside.allows(ip), redirected, "{address}");
        }
    }

    #[test]
    fn a_chain_that_left_loopback_does_not_get_back() {
        let (here, elsewhere) = ("127.0.0.1".parse().ok(), "10.0.0.7".parse().ok());
        assert_eq!(Reach::Loopback.after(here), Reach::Loopback);
        assert_eq!(Reach::Loopback.after(None), Reach::Outside);
        assert_eq!(Reach::Loopback.after(elsewhere), Reach::Outside);
        assert_eq!(Reach::Outside.after(here), Reach::Outside);
    }
}
