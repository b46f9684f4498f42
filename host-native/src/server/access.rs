//! Who is let in: whoever brings a key, or, where there is none, this machine alone.
//!
//! Keys are kept as their SHA-256 and compared in constant time, every one of them, so that neither a key's length nor how
//! much of it was right shows in the time an answer takes. Without a key, a web page that the user visits could reach a
//! server on loopback through the user's own browser: so `Host` must name this machine (DNS rebinding), and an `Origin`,
//! which browsers add, must be the server itself.

use super::reply::Refusal;
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::{Choice, ConstantTimeEq};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Keys that open the server, one a peer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<[u8; 32]>);

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A key that no header can carry.
    #[error("key {number} is no visible ASCII without spaces")]
    NotAscii {
        /// Which one, from 1.
        number: usize,
    },
    /// No key at all.
    #[error("there is no key in it")]
    Empty,
}

impl Keys {
    /// Reads keys, one a line; blank lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn parse(text: &str) -> Result<Keys, KeysError> {
        let lines = text.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let digests: Result<Vec<_>, _> = (1..)
            .zip(keys)
            .map(|(number, key)| {
                let plain = key.bytes().all(|byte| byte.is_ascii_graphic());
                plain
                    .then(|| digest(key.as_bytes()))
                    .ok_or(KeysError::NotAscii { number })
            })
            .collect();
        match digests? {
            none if none.is_empty() => Err(KeysError::Empty),
            digests => Ok(Keys(digests)),
        }
    }

    fn fits(&self, key: &[u8]) -> bool {
        let given = digest(key);
        let fits = self.0.iter().fold(Choice::from(0), |fits, known| {
            fits | known.as_slice().ct_eq(given.as_slice())
        });
        fits.into()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.0.len())
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The rule of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Requests with one of these keys in `X-Api-Key`.
    Keys(Keys),
    /// Requests from this machine to this machine.
    Loopback,
}

impl Access {
    /// Lets a request in or says why not.
    ///
    /// # Errors
    /// 401 without a right key, 403 where only this machine is served.
    pub fn check(&self, headers: &HeaderMap, from: SocketAddr) -> Result<(), Refusal> {
        match self {
            Access::Keys(keys) => match only(headers, &X_API_KEY) {
                Some(key) if keys.fits(key) => Ok(()),
                _ => Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "Unauthorized",
                    "the header X-Api-Key is missing or wrong",
                )),
            },
            Access::Loopback => {
                let local = from.ip().to_canonical().is_loopback();
                if local && is_local_host(headers) && is_own_origin(headers) {
                    return Ok(());
                }
                Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "Forbidden",
                    "without a key only this machine is served, under its own name",
                ))
            }
        }
    }
}

/// The value of a header that came exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
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
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let address = bare.unwrap_or(name).parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

/// No `Origin`, or the one that `Host` names.
fn is_own_origin(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let (Some(origin), Some(host)) = (only(headers, &ORIGIN), only(headers, &HOST)) else {
        return false;
    };
    origin
        .strip_prefix(b"http://")
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
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
            (
                "127.0.0.1:9",
                &[("host", "localhost"), ("origin", "http://localhost")],
                true,
            ),
            ("127.0.0.1:9", &[], false),
            ("127.0.0.1:9", &[("host", "evil.example")], false),
            ("127.0.0.1:9", &[("host", "localhost.evil.example")], false),
            (
                "127.0.0.1:9",
                &[("host", "127.0.0.1.evil.example:80")],
                false,
            ),
            (
                "127.0.0.1:9",
                &[("host", "localhost"), ("host", "evil")],
                false,
            ),
            (
                "127.0.0.1:9",
                &[("host", "localhost"), ("origin", "http://evil.example")],
                false,
            ),
            (
                "127.0.0.1:9",
                &[("host", "localhost:1"), ("origin", "http://localhost:2")],
                false,
            ),
            (
                "127.0.0.1:9",
                &[("host", "localhost"), ("origin", "null")],
                false,
            ),
            ("192.168.1.2:9", &[("host", "127.0.0.1:5226")], false),
        ];
        for (from, fields, open) in table {
            let checked = Access::Loopback.check(&headers(fields), from.parse().unwrap());
            assert_eq!(checked.is_ok(), open, "{from} {fields:?}");
        }
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused_and_none_is_ever_shown() {
        assert_eq!(Keys::parse("\n# x\n"), Err(KeysError::Empty));
        assert_eq!(
            Keys::parse("ok\nno good"),
            Err(KeysError::NotAscii { number: 2 })
        );
        assert_eq!(
            Keys::parse("schlüssel"),
            Err(KeysError::NotAscii { number: 1 })
        );
        assert_eq!(format!("{:?}", Keys::parse("secret").unwrap()), "Keys(1)");
    }
}
