//! Who is reached without a proxy: the list in `NO_PROXY`.
//!
//! There is no standard for it. This reads what curl and Go agree on, and either's additions: names with everything below
//! them, addresses, networks, `*`, and a port after any of these. What cannot be read covers nothing.

use std::net::IpAddr;
use url::Host;

/// Who is reached without a proxy. The default is nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    who: Who,
    /// Any where there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    /// This name and every one below it.
    Name(String),
    /// The addresses that have this one's first bits.
    Network(IpAddr, u8),
}

impl NoProxy {
    /// Reads a list: entries between commas or white space.
    ///
    /// ```text
    /// *   example.org   .example.org   *.example.org   10.0.0.1   10.0.0.0/8   [::1]:8080   example.org:8080
    /// ```
    pub fn parse(list: &str) -> NoProxy {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        NoProxy(entries.filter_map(entry).collect())
    }

    /// Whether it covers every host and port.
    pub fn is_everybody(&self) -> bool {
        let everybody = Entry {
            who: Who::Everybody,
            port: None,
        };
        self.0.contains(&everybody)
    }

    /// Whether a host is reached without a proxy.
    pub(super) fn covers(&self, host: &Host<String>, port: u16) -> bool {
        let mut entries = self.0.iter();
        entries.any(|entry| entry.port.is_none_or(|only| only == port) && entry.who.is(host))
    }
}

fn entry(text: &str) -> Option<Entry> {
    if let Some(who) = who(text) {
        return Some(Entry { who, port: None });
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(Entry {
        who: who(host)?,
        port: Some(port.parse().ok()?),
    })
}

fn who(text: &str) -> Option<Who> {
    if text == "*" {
        return Some(Who::Everybody);
    }
    let unbracketed = |text: &str| {
        let inside = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        inside.unwrap_or(text).parse::<IpAddr>().ok()
    };
    if let Some(address) = unbracketed(text) {
        return Some(Who::Network(address, bits(address)));
    }
    if let Some((address, length)) = text.split_once('/') {
        let (address, length) = (unbracketed(address)?, length.parse().ok()?);
        return (length <= bits(address)).then_some(Who::Network(address, length));
    }
    let name = text.strip_prefix('*').unwrap_or(text);
    let name = name.strip_prefix('.').unwrap_or(name).trim_end_matches('.');
    // As URLs spell it: in lower case, in ASCII, a number as the address it is.
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(Who::Name(name)),
        Host::Ipv4(address) => Some(Who::Network(address.into(), 32)),
        Host::Ipv6(address) => Some(Who::Network(address.into(), 128)),
    }
}

impl Who {
    fn is(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Who::Everybody, _) => true,
            (Who::Name(suffix), Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let above = name.strip_suffix(suffix.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (Who::Network(network, length), Host::Ipv4(address)) => {
                share_bits(*network, IpAddr::from(*address), *length)
            }
            (Who::Network(network, length), Host::Ipv6(address)) => {
                share_bits(*network, IpAddr::from(*address), *length)
            }
            (Who::Name(_), _) | (Who::Network(..), Host::Domain(_)) => false,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn share_bits(one: IpAddr, other: IpAddr, first: u8) -> bool {
    let apart = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            u128::from(one.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(first))
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(first))
        }
        _ => return false,
    };
    // Shifted out altogether, none of them counts.
    apart.unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Origin;

    fn covers(list: &str, url: &str) -> bool {
        let origin: Origin = url.parse().unwrap();
        NoProxy::parse(list).covers(origin.host(), origin.port())
    }

    #[test]
    fn what_a_list_covers_and_what_it_does_not() {
        let table = [
            ("", "http://a.test", false),
            ("*", "http://a.test", true),
            ("*", "http://[::1]", true),
            ("a.test", "http://a.test", true),
            ("a.test", "http://A.TEST.", true),
            ("A.test.", "http://a.test", true),
            ("a.test", "http://x.y.a.test", true),
            ("a.test", "http://xa.test", false),
            ("a.test", "http://a.test.evil", false),
            (".a.test", "http://a.test", true),
            ("*.a.test", "http://x.a.test", true),
            ("b.test, a.test", "http://a.test", true),
            ("b.test a.test", "http://a.test", true),
            (",,", "http://a.test", false),
            ("a.test:80", "http://a.test", true),
            ("a.test:80", "https://a.test", false),
            ("a.test:443", "https://x.a.test", true),
            ("*:8080", "http://a.test:8080", true),
            ("*:8080", "http://a.test", false),
            ("a.test:port", "http://a.test", false),
            ("localhost", "http://localhost:1", true),
            ("localhost", "http://127.0.0.1:1", false),
            ("127.0.0.1", "http://127.0.0.1:1", true),
            ("127.0.0.1", "http://127.0.0.10", false),
            ("127.0.0.1:1", "http://127.0.0.1:2", false),
            ("10.0.0.0/8", "http://10.255.0.1", true),
            ("10.0.0.0/8", "http://11.0.0.1", false),
            ("10.1.2.3/0", "http://11.0.0.1", true),
            ("10.0.0.0/33", "http://10.0.0.0", false),
            ("10.0.0.0/8:80", "http://10.0.0.1", true),
            ("::1", "http://[::1]", true),
            ("[::1]", "http://[::1]:8080", true),
            ("[::1]:8080", "http://[::1]:8081", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("fd00::/8", "http://[fe12::1]", false),
            ("fd00::/0", "http://127.0.0.1", false),
            ("b\u{fc}cher.test", "http://xn--bcher-kva.test", true),
        ];
        for (list, url, covered) in table {
            assert_eq!(covers(list, url), covered, "{list:?} {url}");
        }
    }

    #[test]
    fn only_a_star_without_a_port_is_everybody() {
        assert!(NoProxy::parse("a.test,*").is_everybody());
        assert!(!NoProxy::parse("*:80").is_everybody());
    }
}
