//! What a transport is built from: timeouts, headers, credentials, trust. It reads no files and knows no defaults but the
//! core's.
//!
//! Invariant: a [`Header`] can go on the wire as it is (no control characters), and its value is never printed.

use super::origin::Origin;
use super::proxy::Proxies;
use super::roots::Roots;
use hyper::header::{self, HeaderName, HeaderValue};
use regrip_core::DownloadsConfig;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;
use surf::http::auth::BasicAuth;
use url::Url;

/// What an [`HttpTransport`](super::HttpTransport) is built from.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// For name lookup, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the request being sent to the end of the response head, for each hop of a redirect.
    pub headers_timeout: Duration,
    /// Headers for the origin a request starts at, whichever that is, unless something closer has others of the same name.
    /// Of these only `User-Agent`, `Referer`, `Accept` and `Accept-Language` follow a redirect to another one. A `User-Agent`
    /// replaces `regrip/<version>`.
    pub headers: Vec<Header>,
    /// Headers for one origin each.
    pub credentials: Vec<Credentials>,
    /// `Authorization` for one URL each, without userinfo and fragment; see [`userinfo()`](Self::userinfo()).
    pub userinfo: HashMap<Url, Header>,
    /// Which certificates are trusted.
    pub roots: Roots,
    /// Which proxies are used.
    pub proxies: Proxies,
    /// Addresses for a host name (in lower case) and port, in place of those that a lookup finds.
    pub resolve: HashMap<(String, u16), Vec<IpAddr>>,
    /// The rate that all bodies together keep to, where there is one.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        TransportOptions::new(&DownloadsConfig::default())
    }
}

impl TransportOptions {
    /// The configured timeouts, the platform's trust, no headers.
    pub fn new(config: &DownloadsConfig) -> TransportOptions {
        TransportOptions {
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            headers_timeout: Duration::from_millis(config.headers_timeout_ms),
            headers: Vec::new(),
            credentials: Vec::new(),
            userinfo: HashMap::new(),
            roots: Roots::platform(),
            proxies: Proxies::default(),
            resolve: HashMap::new(),
            bytes_per_second: None,
        }
    }

    /// User and password for requests that start at `url` (RFC 7617), in place of those it had. Its own userinfo plays no
    /// part. Another URL of the same origin is not served by them: it may have its own.
    pub fn userinfo(&mut self, url: &Url, user: &str, password: &str) {
        let mut url = url.clone();
        // Neither fails on a URL that has a host, and others are never asked for anything.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        self.userinfo.insert(url, Header::basic(user, password));
    }
}

/// Headers that one origin, and no other, gets to see.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who gets them.
    pub origin: Origin,
    /// For example `X-Api-Key`, `Authorization`, `Cookie`.
    pub headers: Vec<Header>,
}

/// A request header whose value may be a secret: `Debug` prints `***` for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// Headers that frame the message, say which bytes are asked for, or are meant for a proxy: those are the transport's own.
const RESERVED: [HeaderName; 13] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::IF_RANGE,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Header {
    /// Checks a header.
    ///
    /// # Errors
    /// A name that is no token, a value with control characters (CR and LF would start another header), and the headers
    /// that the transport itself is responsible for: framing, ranges, content codings.
    pub fn new(name: &str, value: &str) -> Result<Header, HeaderRefused> {
        // A name that is not known may be a secret in the wrong place.
        let refused = |why| HeaderRefused {
            name: format!("with a name of {} characters", name.chars().count()),
            why,
        };
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refused("the name is not a header name"))?;
        if RESERVED.contains(&parsed) {
            return Err(HeaderRefused {
                name: format!("{name:?}"),
                why: "it is set by regrip itself",
            });
        }
        let mut value = HeaderValue::from_str(value.trim_matches([' ', '\t']))
            .map_err(|_| refused("the value has control characters"))?;
        value.set_sensitive(true);
        Ok(Header {
            name: parsed,
            value,
        })
    }

    /// `Authorization: Basic` (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Header {
        let text = BasicAuth::new(user, password).value();
        // Base64 has no character that a header cannot have.
        let mut value =
            HeaderValue::from_str(text.as_str()).unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        Header {
            name: header::AUTHORIZATION,
            value,
        }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn parts(&self) -> (&HeaderName, &HeaderValue) {
        (&self.name, &self.value)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

/// A header that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {name} cannot be sent: {why}")]
pub struct HeaderRefused {
    /// Its name as it may be shown: as given if it is a known one, else its length.
    pub name: String,
    /// One clause.
    pub why: &'static str,
}
