//! Origins: scheme, host and port (RFC 6454 §4). Credentials, redirects and pooled connections are bound to one.

use std::fmt;
use std::str::FromStr;
use url::{Host, Url};

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
    /// The origin of a URL; `None` where it is neither http nor https.
    pub fn of(url: &Url) -> Option<Origin> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Origin {
            https,
            host: url.host()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Whether connections to it are encrypted.
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
const KNOWN_SCHEMES: [&str; 17] = [
    "http", "https", "ftp", "ftps", "sftp", "file", "data", "magnet", "s3", "ws", "wss", "gopher",
    "blob", "socks4", "socks5", "socks5h", "rsync",
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
        Url::parse(url)
            .ok()
            .and_then(|url| Origin::of(&url))
            .ok_or(NotAnOrigin)
    }
}
