//! What a transport is built from: timeouts, headers, credentials, origins (RFC 6454 §4), trust.
//!
//! Invariants: a [`Header`] can go on the wire as it is (no control characters), and its value is never printed. Headers are
//! added once for each request, before any redirect is followed: what a redirect leaves behind ([`redirect`](super::redirect))
//! is not restored here. Those of a URL replace those of its origin, and these replace those for all.

use super::client::{WireHeaders, add_wire_headers};
use super::cookies::CookieJar;
use super::head::Trace;
use super::proxy::Proxies;
use super::roots::{Identity, Roots};
use crate::sync::{Replaceable, lock};
use hyper::header::{self, HeaderName, HeaderValue};
use regrip_core::DownloadsConfig;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use surf::http::auth::BasicAuth;
use surf::middleware::{Middleware, Next};
use surf::utils::async_trait;
use surf::{Client, Request, Response};
use url::{Host, Url};

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
    /// Headers for one URL each, without userinfo and fragment; see [`header_of`](Self::header_of).
    pub by_url: HashMap<Url, Vec<Header>>,
    /// Cookies to begin with. Responses may replace them.
    pub cookies: CookieJar,
    /// Which certificates are trusted.
    pub roots: Roots,
    /// A certificate of our own, and the origins that get to see it if they ask for one.
    pub identity: Option<(Identity, HashSet<Origin>)>,
    /// Which proxies are used.
    pub proxies: Proxies,
    /// Addresses for a host name (in lower case, or `*` for all others) and port, in place of those that a lookup finds.
    pub resolve: HashMap<(String, u16), Vec<IpAddr>>,
    /// Connect to IPv6 addresses only (`true`), or to IPv4 addresses only (`false`).
    pub ipv6: Option<bool>,
    /// Is given the heads of requests and responses.
    pub trace: Trace,
    /// The rate that all bodies together keep to, if there is one.
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
            by_url: HashMap::new(),
            cookies: CookieJar::default(),
            roots: Roots::platform(),
            identity: None,
            proxies: Proxies::default(),
            resolve: HashMap::new(),
            ipv6: None,
            trace: Trace::default(),
            bytes_per_second: None,
        }
    }

    /// A header for requests that start at `url`, for example a login ([`Header::basic`]), in place of the one of that name that
    /// it had. Its own userinfo is ignored. Another URL of the same origin does not get it: it may have its own.
    pub fn header_of(&mut self, url: &Url, header: Header) {
        let mut url = url.clone();
        // Neither fails on a URL that has a host, and others are never asked for anything.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let headers = self.by_url.entry(url).or_default();
        headers.retain(|have| have.name != header.name);
        headers.push(header);
    }
}

/// How long a transport waits. May be replaced while it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For name lookup, TCP and TLS together.
    pub(super) connect: Duration,
    /// From the request being sent to the end of the response head.
    pub(super) headers: Duration,
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
    /// A name that is not a token, a value with control characters (CR and LF would start another header), and the headers
    /// that the transport itself is responsible for: framing, ranges, content codings.
    pub fn new(name: &str, value: &str) -> Result<Header, HeaderRefused> {
        // A name that is not known may be a secret in the wrong place.
        let refused = |why| HeaderRefused { name: format!("with a name of {} characters", name.chars().count()), why };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("the name is not a header name"))?;
        if RESERVED.contains(&parsed) {
            return Err(HeaderRefused { name: format!("{name:?}"), why: "it is set by regrip itself" });
        }
        let mut value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
            .map_err(|_| refused("the value contains control characters"))?;
        value.set_sensitive(true);
        Ok(Header { name: parsed, value })
    }

    /// `Authorization: Basic` (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Header {
        let text = BasicAuth::new(user, password).value();
        // Base64 has no character that a header cannot have.
        let mut value = HeaderValue::from_str(text.as_str()).unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        Header { name: header::AUTHORIZATION, value }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn parts(&self) -> (&HeaderName, &HeaderValue) {
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

/// Scheme, host and port of an http or https URL. Two origins are one only if all three are equal.
///
/// ```
/// use regrip::transport::Origin;
/// let origin: Origin = "https://example.org/a?b".parse().unwrap();
/// assert_eq!(origin.to_string(), "https://example.org:443");
/// assert_ne!(origin, "http://example.org:443".parse().unwrap());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of a URL; `None` if it is neither http nor https.
    pub fn of(url: &Url) -> Option<Origin> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Origin { https, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    pub(super) fn https(host: Host<String>, port: u16) -> Origin {
        Origin { https: true, host, port }
    }

    /// Returns `true` if connections to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Schemes that are no secret.
const KNOWN_SCHEMES: [&str; 19] = [
    "http", "https", "ftp", "ftps", "sftp", "file", "data", "magnet", "s3", "ws", "wss", "gopher", "blob", "socks",
    "socks4", "socks4a", "socks5", "socks5h", "rsync",
];

/// The scheme of a URL as it may be shown. Of `me:secret@host` the scheme is `me`, and it may be the secret.
pub(super) fn known_scheme(url: &Url) -> Option<&'static str> {
    let known = KNOWN_SCHEMES.iter().find(|known| **known == url.scheme());
    known.copied()
}

/// The text is not an http or https URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https address")]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    /// Reads the origin of a URL given as text.
    fn from_str(url: &str) -> Result<Origin, NotAnOrigin> {
        Url::parse(url).ok().and_then(|url| Origin::of(&url)).ok_or(NotAnOrigin)
    }
}

/// The middleware that adds them.
pub(super) struct AddCredentials {
    /// For the URL a request starts at, whichever that is.
    pub(super) for_all: Vec<Header>,
    /// For one origin each.
    pub(super) by_origin: Replaceable<Vec<Credentials>>,
    /// For one URL each.
    pub(super) by_url: UrlHeaders,
}

/// Headers for one URL each. Clones are the same.
pub(super) type UrlHeaders = Arc<Mutex<HashMap<Url, Vec<Header>>>>;

#[async_trait]
impl Middleware for AddCredentials {
    async fn handle(&self, mut request: Request, client: Client, next: Next<'_>) -> surf::Result<Response> {
        let headers = self.for_url(request.url());
        // What the request brings is closest of all.
        let own = request.ext::<WireHeaders>().map(|WireHeaders(own)| own.clone()).unwrap_or_default();
        let parts = headers.iter().map(Header::parts);
        add_wire_headers(&mut request, parts.filter(|(name, _)| !own.contains_key(*name)));
        next.run(request, client).await
    }
}

impl AddCredentials {
    fn for_url(&self, url: &Url) -> Vec<Header> {
        let origin = Origin::of(url);
        let all = self.by_origin.get();
        let of_origin = all.iter();
        let of_origin = of_origin.filter(|credentials| Some(&credentials.origin) == origin.as_ref());
        let own = lock(&self.by_url).get(url).cloned().unwrap_or_default();
        let own: Vec<_> = own.iter().collect();
        let of_origin = of_origin.flat_map(|credentials| &credentials.headers);
        let closer = replace_more_general(own, of_origin);
        let all = replace_more_general(closer, &self.for_all);
        all.into_iter().cloned().collect()
    }
}

/// Adds the more general headers whose names are not there yet.
fn replace_more_general<'a>(closer: Vec<&'a Header>, general: impl IntoIterator<Item = &'a Header>) -> Vec<&'a Header> {
    let general = general.into_iter();
    let others = general.filter(|header| closer.iter().all(|have| have.name() != header.name()));
    let others: Vec<_> = others.collect();
    others.into_iter().chain(closer).collect()
}
