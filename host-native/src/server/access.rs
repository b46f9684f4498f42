//! Who is let in: clients with a key, or, if none is configured, this machine alone.
//!
//! Keys are kept as their SHA-256 and compared in constant time, every one of them, so that neither a key's length nor how
//! much of it was right shows in the time an answer takes. Without a key, a web page that the user visits could reach a
//! server on loopback through the user's own browser: so `Host` must name this machine (DNS rebinding), and an `Origin`,
//! which browsers add, must be the server itself. A request that a proxy on this machine forwards may be anybody's: it needs
//! a key.

use super::reply::Refusal;
use crate::sync::{read, write};
use crate::text_file::without_mark;
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use smol::channel::{Receiver, Sender, bounded};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use subtle::{Choice, ConstantTimeEq};

/// The header that carries a key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Keys that open the server, one a peer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<[u8; 32]>);

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A key that no header can carry.
    #[error("key {number} contains characters other than visible ASCII")]
    NotAscii {
        /// Which one, from 1.
        number: usize,
    },
    /// A key that a request without one would have.
    #[error("key {number} is blank")]
    Blank {
        /// Which one, from 1.
        number: usize,
    },
    /// No key at all.
    #[error("there is no key in it")]
    Empty,
}

impl Keys {
    /// These keys, each as it is: what would be a comment in a file is a key here.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Keys, KeysError> {
        let digests: Result<Vec<_>, _> = (1..)
            .zip(keys)
            // No header begins or ends with a space.
            .map(|(number, key)| match without_mark(key).trim() {
                "" => Err(KeysError::Blank { number }),
                key if is_sendable(key) => Ok(digest(key.as_bytes())),
                _ => Err(KeysError::NotAscii { number }),
            })
            .collect();
        match digests? {
            none if none.is_empty() => Err(KeysError::Empty),
            digests => Ok(Keys(digests)),
        }
    }

    /// Reads the keys of a file, one a line; blank lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn parse(text: &str) -> Result<Keys, KeysError> {
        let lines = without_mark(text).lines().map(str::trim);
        Keys::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Their SHA-256s.
    #[cfg(feature = "fleet")]
    pub(crate) fn digests(&self) -> &[[u8; 32]] {
        &self.0
    }

    /// Returns `true` if this is one of the keys. A blank one never is.
    pub fn fits(&self, key: &[u8]) -> bool {
        let given = digest(key);
        let fits = self.0.iter().fold(Choice::from(0), |fits, known| fits | known.as_slice().ct_eq(given.as_slice()));
        fits.into()
    }
}

/// Returns `true` if a header can carry it.
fn is_sendable(key: &str) -> bool {
    key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.0.len())
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// 256 bits from the system, as hex.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The rule of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Requests with one of these keys in `X-Api-Key`.
    Keys(Keys),
    /// Requests from this machine to this machine.
    Loopback,
}

/// Lets requests in, or says why not.
pub trait Guard: fmt::Debug + Send + Sync {
    /// Looks at the head of a request for a route of which `entry` is asked.
    ///
    /// # Errors
    /// The answer to whoever is not let in.
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal>;
}

/// Who a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Everybody, anywhere.
    Anyone,
    /// Whoever has no key yet.
    Keyless,
    /// Whoever has a key.
    Keyed,
    /// Whoever has a key, which may also be the parameter `apikey` of the query, as Torznab has it.
    QueryKeyed,
}

impl Guard for Access {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        match entry {
            Entry::Anyone => Ok(()),
            Entry::Keyless if matches!(self, Access::Keys(_)) => Ok(()),
            Entry::Keyless | Entry::Keyed | Entry::QueryKeyed => Access::check(self, &head.headers, from),
        }
    }
}

/// The answer to whoever has no right key.
pub fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "the header X-Api-Key is missing or wrong")
}

impl Access {
    /// Lets a request in or says why not.
    ///
    /// # Errors
    /// 401 without a right key, 403 if only this machine is served.
    pub fn check(&self, headers: &HeaderMap, from: SocketAddr) -> Result<(), Refusal> {
        match self {
            Access::Keys(keys) => match only(headers, &X_API_KEY) {
                Some(key) if keys.fits(key) => Ok(()),
                Some(key) if !key.is_empty() => Err(unauthorized().wrong_key()),
                _ => Err(unauthorized()),
            },
            Access::Loopback => {
                if let Some(name) = forwarded_by(headers) {
                    return Err(forbidden(format!(
                        "a proxy forwarded this request ({name}), and without a configured key only requests of this \
                         machine itself are served: configure a key, and send it in X-Api-Key"
                    )));
                }
                let local = from.ip().to_canonical().is_loopback();
                if local && is_local_host(headers) && is_own_origin(headers) {
                    return Ok(());
                }
                Err(forbidden("without a key, only requests from this machine to its own name are served"))
            }
        }
    }
}

fn forbidden(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
}

/// What proxies add to say for whom they ask (RFC 7239, RFC 9110 §7.6.3, RFC 8586, and what was usual before).
const FORWARDED: [&str; 7] = [
    "cdn-loop",
    "forwarded",
    "forwarded-for",
    "via",
    "x-azure-clientip",
    "x-envoy-external-address",
    "x-original-forwarded-for",
];

/// Returns `true` for the name of a field that a proxy adds: one of the list, `X-Forwarded-*`, or one that carries the
/// client's address (`X-Real-IP`, `CF-Connecting-IP`, `Proxy-Client-IP`, `X-Remote-Addr` and so on).
fn is_of_a_proxy(name: &str) -> bool {
    name.starts_with("x-forwarded")
        || name.ends_with("-ip")
        || name.ends_with("remote-addr")
        || FORWARDED.contains(&name)
}

/// The field by which a request shows that a proxy forwarded it.
fn forwarded_by(headers: &HeaderMap) -> Option<&str> {
    let mut names = headers.keys().map(HeaderName::as_str);
    names.find(|name| is_of_a_proxy(name))
}

/// The keys in force, or none. Clones are the same, and a change holds for the next request.
#[derive(Clone, Debug, Default)]
pub struct CurrentKeys(Arc<RwLock<InForce>>);

#[derive(Debug)]
struct InForce {
    keys: Option<Keys>,
    /// Changes so far.
    changes: u64,
    /// Closed at the next change.
    until_change: (Sender<()>, Receiver<()>),
}

impl InForce {
    fn new(keys: Option<Keys>, changes: u64) -> InForce {
        InForce { keys, changes, until_change: bounded(1) }
    }
}

impl Default for InForce {
    fn default() -> InForce {
        InForce::new(None, 0)
    }
}

impl CurrentKeys {
    /// These keys; without any, only this machine is served.
    pub fn new(keys: Option<Keys>) -> CurrentKeys {
        CurrentKeys(Arc::new(RwLock::new(InForce::new(keys, 0))))
    }

    /// The keys, and the number of changes so far.
    pub fn get(&self) -> (Option<Keys>, u64) {
        let held = read(&self.0);
        (held.keys.clone(), held.changes)
    }

    /// A channel that is closed once other keys are in force.
    pub fn until_change(&self) -> Receiver<()> {
        let held = read(&self.0);
        held.until_change.1.clone()
    }

    /// Puts others in their place, which ends what was opened by these.
    pub fn replace(&self, keys: Option<Keys>) {
        let mut held = write(&self.0);
        if held.keys != keys {
            let changes = held.changes + 1;
            // Dropping the sender before closes its channel.
            *held = InForce::new(keys, changes);
        }
    }
}

impl Guard for CurrentKeys {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        let access = match self.get() {
            (Some(keys), _) => Access::Keys(keys),
            (None, _) => Access::Loopback,
        };
        Guard::check(&access, head, from, entry)
    }
}

/// The value of a header that was sent exactly once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes())
}

/// `localhost` or a loopback address, with or without a port.
fn is_local_host(headers: &HeaderMap) -> bool {
    let host = only(headers, &HOST).and_then(|host| std::str::from_utf8(host).ok());
    host.is_some_and(|host| {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let address = bare.unwrap_or(name).parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

/// No `Origin`, or the one that `Host` names; by https if a proxy in front terminates TLS.
pub fn is_own_origin(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let (Some(origin), Some(host)) = (only(headers, &ORIGIN), only(headers, &HOST)) else {
        return false;
    };
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn one_right_key_opens_and_nothing_else_does() {
        let access = Access::Keys(Keys::parse("# friends\nalpha\n\n beta \n").unwrap());
        let table: [(Fields<'_>, bool); 8] = [
            (&[("x-api-key", "alpha")], true),
            (&[("x-api-key", "beta")], true),
            (&[], false),
            (&[("x-api-key", "")], false),
            (&[("x-api-key", "alph")], false),
            (&[("x-api-key", "Alpha")], false),
            (&[("x-api-key", "alpha"), ("x-api-key", "alpha")], false),
            (&[("authorization", "alpha")], false),
        ];
        for (fields, open) in table {
            let checked = access.check(&headers(fields), "8.8.8.8:1".parse().unwrap());
            assert_eq!(checked.is_ok(), open, "{fields:?}");
        }
    }

    #[test]
    fn without_a_key_only_this_machine_under_its_own_name_is_served() {
        let table: [(&str, Fields<'_>, bool); 14] = [
            ("127.0.0.1:9", &[("host", "127.0.0.1:5226")], true),
            ("[::1]:9", &[("host", "[::1]:5226")], true),
            ("[::ffff:127.0.0.1]:9", &[("host", "127.1.2.3")], true),
            ("127.0.0.1:9", &[("host", "LocalHost:5226")], true),
            ("127.0.0.1:9", &[("host", "localhost"), ("origin", "http://localhost")], true),
            ("127.0.0.1:9", &[], false),
            ("127.0.0.1:9", &[("host", "evil.example")], false),
            ("127.0.0.1:9", &[("host", "localhost.evil.example")], false),
            ("127.0.0.1:9", &[("host", "127.0.0.1.evil.example:80")], false),
            ("127.0.0.1:9", &[("host", "localhost"), ("host", "evil")], false),
            ("127.0.0.1:9", &[("host", "localhost"), ("origin", "http://evil.example")], false),
            ("127.0.0.1:9", &[("host", "localhost:1"), ("origin", "http://localhost:2")], false),
            ("127.0.0.1:9", &[("host", "localhost"), ("origin", "null")], false),
            ("192.168.1.2:9", &[("host", "127.0.0.1:5226")], false),
        ];
        for (from, fields, open) in table {
            let checked = Access::Loopback.check(&headers(fields), from.parse().unwrap());
            assert_eq!(checked.is_ok(), open, "{from} {fields:?}");
        }
    }

    #[test]
    fn without_a_key_a_request_that_a_proxy_forwarded_is_not_of_this_machine() {
        let forwarded = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "localhost"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-server", "proxy"),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
            ("cf-connecting-ip", ""),
            ("fly-client-ip", "192.0.2.1"),
            ("x-remote-addr", "192.0.2.1"),
            ("cdn-loop", "a"),
        ];
        let from = "127.0.0.1:9".parse().unwrap();
        for field in forwarded {
            let fields = headers(&[("host", "localhost"), field]);
            let refusal = Access::Loopback.check(&fields, from).unwrap_err();
            assert_eq!(refusal.status, StatusCode::FORBIDDEN, "{field:?}");
            assert!(refusal.message.contains("configure a key"), "{refusal}");
            let with_key = headers(&[("x-api-key", "alpha"), field]);
            let access = Access::Keys(Keys::new(["alpha"]).unwrap());
            assert_eq!(access.check(&with_key, from), Ok(()), "{field:?}");
        }
    }

    #[test]
    fn only_a_key_that_was_given_and_is_wrong_counts_as_wrong() {
        let access = Access::Keys(Keys::new(["alpha"]).unwrap());
        let table: [(Fields<'_>, bool); 4] = [
            (&[], false),
            (&[("x-api-key", "")], false),
            (&[("x-api-key", "a"), ("x-api-key", "b")], false),
            (&[("x-api-key", "beta")], true),
        ];
        for (fields, wrong) in table {
            let refusal = access.check(&headers(fields), "8.8.8.8:1".parse().unwrap());
            assert_eq!(refusal.unwrap_err().is_wrong_key, wrong, "{fields:?}");
        }
    }

    #[test]
    fn a_key_that_is_given_by_itself_is_no_comment_and_never_blank() {
        let keys = Keys::new(["#alpha", " two words "]).unwrap();
        assert!(keys.fits(b"#alpha") && keys.fits(b"two words"));
        assert!(!keys.fits(b"") && !keys.fits(b" "));
        for blank in ["", " ", "\t \n"] {
            let refused = Keys::new(["alpha", blank]);
            assert_eq!(refused, Err(KeysError::Blank { number: 2 }), "{blank:?}");
        }
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused_and_none_is_ever_shown() {
        assert_eq!(Keys::parse("\n# x\n"), Err(KeysError::Empty));
        assert_eq!(Keys::parse("ok\nno\tgood"), Err(KeysError::NotAscii { number: 2 }));
        assert_eq!(Keys::parse("schlüssel"), Err(KeysError::NotAscii { number: 1 }));
        assert_eq!(format!("{:?}", Keys::parse("secret").unwrap()), "Keys(1)");
    }
}
