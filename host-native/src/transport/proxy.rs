//! Which way a request goes: straight to its origin, or through a proxy.
//!
//! An http request is sent to an HTTP proxy whole, with an absolute target (RFC 9112 §3.2.2); for https, and always by a
//! SOCKS proxy, the proxy only lends a tunnel ([`dial`](super::dial)). Invariants: a proxy's user and password go to that
//! proxy and nowhere else, and a connection through a proxy never stands in for a direct one. Names are resolved by the proxy
//! (except by `socks5`): of a target behind it only literal addresses and `localhost` are judged ([`Reach`]).
//!
//! There is no standard for `NO_PROXY`. [`NoProxy`] reads what curl and Go agree on, and either's additions: names with
//! everything below them, addresses, networks, `*`, and a port after any of these. What cannot be read covers nothing.
//!
//! It reads no environment; [`Proxies::of_environment`] is given what reads it.

use super::address_policy::Reach;
use super::options::{Header, Origin, known_scheme};
use hyper::header::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use regrip_core::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use url::{Host, Url};

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// HTTP, unencrypted.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS 5 (RFC 1928); names are resolved here.
    Socks5,
    /// SOCKS 5; names are resolved by the proxy.
    Socks5h,
}

/// A proxy. `Debug` and `Display` leave its user and password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    host: Host<String>,
    port: u16,
    /// User and password, percent-decoded.
    login: Option<(String, String)>,
}

impl Proxy {
    /// Reads `http://user:password@host:port`, `https://…`, `socks5://…` or `socks5h://…`. The scheme may be left out, and is http
    /// then; so may the port, which is 80 then, 443 for https, or 1080 for SOCKS.
    ///
    /// # Errors
    /// What cannot be read, and proxies of other kinds. The text is not repeated: it may hold a password.
    pub fn parse(text: &str) -> Result<Proxy, ProxyUnusable> {
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let not_a_url = |error| ProxyUnusable(format!("it is not a URL: {error}"));
        let url = Url::parse(&with_scheme).map_err(not_a_url)?;
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            _ => {
                let scheme = known_scheme(&url).unwrap_or("not known");
                let why =
                    format!("its scheme is {scheme}, but only http, https, socks5 and socks5h proxies are supported");
                return Err(ProxyUnusable(why));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| ProxyUnusable("it names no host".to_owned()))?;
        let login = login(&url)?;
        let is_long = |text: &str| text.len() > 255;
        if matches!(kind, ProxyKind::Socks5 | ProxyKind::Socks5h)
            && login.as_ref().is_some_and(|(user, password)| is_long(user) || is_long(password))
        {
            return Err(ProxyUnusable("its user or password is longer than 255 bytes".to_owned()));
        }
        let host = Host::parse(host).map_err(not_a_url)?;
        Ok(Proxy { kind, host, port: url.port().unwrap_or(port), login })
    }

    pub(super) fn kind(&self) -> ProxyKind {
        self.kind
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// Whom its certificate names, if it is spoken to over TLS.
    pub(super) fn secured(&self) -> Option<Origin> {
        (self.kind == ProxyKind::Https).then(|| Origin::https(self.host.clone(), self.port))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// User and password, if it has them.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// The value of `Proxy-Authorization`, if it has one.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.login().map(|(user, password)| Header::basic(user, password).parts().1.clone())
    }
}

fn login(url: &Url) -> Result<Option<(String, String)>, ProxyUnusable> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text| {
        let decoded = percent_decode_str(text).decode_utf8().map(String::from);
        decoded.map_err(|_| ProxyUnusable("its user or password cannot be decoded".to_owned()))
    };
    Ok(Some((decode(url.username())?, decode(url.password().unwrap_or_default())?)))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = format!("{:?}", self.kind).to_lowercase();
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// A proxy that cannot be used: one clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProxyUnusable(String);

impl ProxyUnusable {
    /// The same, with the option or variable that names the proxy.
    pub fn named_by(self, name: &str) -> ProxyUnusable {
        ProxyUnusable(format!("the proxy in {name} cannot be used: {self}"))
    }
}

/// A proxy, or why it cannot be used: an error only for an origin that needs it.
pub type NamedProxy = Result<Arc<Proxy>, ProxyUnusable>;

/// Which proxy serves which origin. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For http.
    pub http: Option<NamedProxy>,
    /// For https.
    pub https: Option<NamedProxy>,
    /// Who is reached without one.
    pub except: NoProxy,
}

impl Proxies {
    /// The proxies that `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` name, as curl reads them. A variable that cannot
    /// be used is an error only for URLs that need it.
    pub fn of_environment(environment: impl Fn(&str) -> Option<String>) -> Proxies {
        let variable = |names: [&'static str; 2]| {
            let mut values = names.into_iter().map(|name| (name, environment(name)));
            values.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        };
        // Behind a web server, its clients choose HTTP_PROXY (httpoxy).
        let cgi = environment("REQUEST_METHOD").is_some();
        let http = if cgi { ["http_proxy", "http_proxy"] } else { ["http_proxy", "HTTP_PROXY"] };
        let of_scheme = |names| {
            let found = variable(names).or_else(|| variable(["all_proxy", "ALL_PROXY"]));
            found.map(|(name, text)| match Proxy::parse(&text) {
                Ok(proxy) => Ok(Arc::new(proxy)),
                Err(unusable) => Err(unusable.named_by(name)),
            })
        };
        let except = variable(["no_proxy", "NO_PROXY"]);
        Proxies {
            http: of_scheme(http),
            https: of_scheme(["https_proxy", "HTTPS_PROXY"]),
            except: NoProxy::parse(&except.map(|(_, list)| list).unwrap_or_default()),
        }
    }

    /// Checks that there is a way to the origin of a URL.
    ///
    /// # Errors
    /// Why the proxy that it needs cannot be used.
    pub fn check(&self, url: &Url) -> Result<(), ProxyUnusable> {
        let route = Origin::of(url).map(|origin| self.route(origin));
        route.transpose().map(drop)
    }

    /// The way to an origin.
    ///
    /// # Errors
    /// Why the proxy that it needs cannot be used.
    pub(super) fn route(&self, origin: Origin) -> Result<ProxyRoute, ProxyUnusable> {
        let proxy = if origin.is_https() { &self.https } else { &self.http };
        let direct = self.except.covers(origin.host(), origin.port());
        let proxy = proxy.as_ref().filter(|_| !direct);
        Ok(ProxyRoute { proxy: proxy.cloned().transpose()?, origin })
    }
}

/// The way to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProxyRoute {
    pub(super) origin: Origin,
    pub(super) proxy: Option<Arc<Proxy>>,
}

impl ProxyRoute {
    /// The proxy that gets the whole request: an HTTP proxy of an http origin.
    pub(super) fn forwarder(&self) -> Option<&Proxy> {
        self.proxy
            .as_deref()
            .filter(|proxy| matches!(proxy.kind, ProxyKind::Http | ProxyKind::Https) && !self.origin.is_https())
    }

    /// The address that will answer, as far as it is known before the dial: that of the URL itself, behind a proxy.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        match self.origin.host() {
            Host::Ipv4(address) => Some(IpAddr::from(*address)),
            Host::Ipv6(address) => Some(IpAddr::from(*address)),
            Host::Domain(_) => None,
        }
    }

    /// Judges a target behind a proxy, as far as that can be done from here. A direct one is judged by the dial.
    ///
    /// # Errors
    /// `AddressRefused`.
    pub(super) fn check(&self, reach: Reach) -> Result<(), Error> {
        let ProxyRoute { origin, proxy } = self;
        if proxy.is_none() {
            return Ok(());
        }
        let address = match origin.host() {
            // RFC 6761 §6.3: that name is the loopback address of whoever resolves it.
            Host::Domain(name) if is_localhost(name) => Some(IpAddr::from([127, 0, 0, 1])),
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => self.literal(),
        };
        match address.filter(|address| !reach.allows(*address)) {
            Some(address) => Err(reach.refusal(origin, address)),
            None => Ok(()),
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Who is reached without a proxy. The default is nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    who: Who,
    /// Any if there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    /// This name and every one below it.
    Name(String),
    /// An address, or all that have its first bits.
    Network(IpNet),
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

    /// Returns `true` if it covers every host and port.
    pub fn is_everybody(&self) -> bool {
        let everybody = Exception { who: Who::Everybody, port: None };
        self.0.contains(&everybody)
    }

    /// Returns `true` if a host is reached without a proxy.
    pub(super) fn covers(&self, host: &Host<String>, port: u16) -> bool {
        let mut entries = self.0.iter();
        entries.any(|entry| entry.port.is_none_or(|only| only == port) && entry.who.is(host))
    }
}

fn entry(text: &str) -> Option<Exception> {
    if let Some(who) = who(text) {
        return Some(Exception { who, port: None });
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(Exception { who: who(host)?, port: Some(port.parse().ok()?) })
}

fn who(text: &str) -> Option<Who> {
    if text == "*" {
        return Some(Who::Everybody);
    }
    let unbracketed = |text: &str| {
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inside.unwrap_or(text).parse::<IpAddr>().ok()
    };
    if let Some(address) = unbracketed(text) {
        return Some(Who::Network(address.into()));
    }
    if let Some((address, length)) = text.split_once('/') {
        let network = IpNet::new(unbracketed(address)?, length.parse().ok()?);
        return network.ok().map(Who::Network);
    }
    let name = text.strip_prefix('*').unwrap_or(text);
    let name = name.strip_prefix('.').unwrap_or(name).trim_end_matches('.');
    // As URLs spell it: in lower case, in ASCII, a number as the address it is.
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(Who::Name(name)),
        Host::Ipv4(address) => Some(Who::Network(IpAddr::from(address).into())),
        Host::Ipv6(address) => Some(Who::Network(IpAddr::from(address).into())),
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
            (Who::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::from(*address)),
            (Who::Network(network), Host::Ipv6(address)) => network.contains(&IpAddr::from(*address)),
            (Who::Name(_), _) | (Who::Network(_), Host::Domain(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Origin;

    #[test]
    fn a_proxy_is_read_with_and_without_its_scheme() {
        let table = [
            ("http://proxy.test:3128", "http://proxy.test:3128", None),
            ("proxy.test:3128", "http://proxy.test:3128", None),
            ("http://proxy.test", "http://proxy.test:80", None),
            ("https://me@proxy.test", "https://proxy.test:443", Some("Basic bWU6")),
            ("[::1]:8080", "http://[::1]:8080", None),
            ("me:s%40crt@p.test:1", "http://p.test:1", Some("Basic bWU6c0BjcnQ=")),
            ("http://me@p.test:1/", "http://p.test:1", Some("Basic bWU6")),
            ("socks5://P.test:80", "socks5://p.test:80", None),
            ("socks5h://me:@127.1", "socks5h://127.0.0.1:1080", Some("Basic bWU6")),
            ("SOCKS5://[::1]", "socks5://[::1]:1080", None),
        ];
        for (text, shown, authorization) in table {
            let proxy = Proxy::parse(text).unwrap();
            let value = proxy.authorization();
            let value = value.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!((proxy.to_string().as_str(), value), (shown, authorization), "{text}");
            assert!(!format!("{proxy:?}").contains("me"), "{proxy:?}");
        }
    }

    #[test]
    fn an_unusable_proxy_is_refused_without_being_repeated() {
        let long = format!("socks5://me:hunter2{}@p.test", "x".repeat(255));
        let table = [
            ("socks4://me:hunter2@p.test:1", "its scheme is socks4,"),
            ("socks4a://me:hunter2@p.test:1", "its scheme is socks4a"),
            ("hunter2://p.test:1", "its scheme is not known"),
            ("socks5://me:hunter2@", "not a URL"),
            ("socks5:///hunter2", "names no host"),
            ("socks5h://me:hunter2@a b:1", "not a URL"),
            (&long, "longer than 255 bytes"),
            ("http://me:hunter2@", "it is not a URL"),
            ("http://me:hunter2@p.test:99999", "it is not a URL"),
            ("http://me:%ff@p.test", "cannot be decoded"),
        ];
        for (text, why) in table {
            let told = Proxy::parse(text).unwrap_err().to_string();
            assert!(told.contains(why) && !told.contains("hunter2"), "{text}: {told}");
        }
    }

    #[test]
    fn each_scheme_has_its_own_proxy_but_for_the_exceptions() {
        let proxy = |text| Some(Ok(Arc::new(Proxy::parse(text).unwrap())));
        let proxies = Proxies {
            http: proxy("http://one.test:1"),
            https: proxy("http://two.test:2"),
            except: NoProxy::parse("inside.test"),
        };
        let table = [
            ("http://a.test/", Some("http://one.test:1")),
            ("https://a.test/", Some("http://two.test:2")),
            ("http://x.inside.test/", None),
        ];
        for (url, by) in table {
            let route = proxies.route(url.parse().unwrap()).unwrap();
            assert_eq!(route.proxy.map(|proxy| proxy.to_string()).as_deref(), by, "{url}");
        }
    }

    #[test]
    fn behind_a_proxy_literal_addresses_and_localhost_are_judged() {
        let proxies =
            Proxies { http: Some(Ok(Arc::new(Proxy::parse("http://127.0.0.1:1").unwrap()))), ..Proxies::default() };
        let table = [
            // target, from the start, after a redirect
            ("http://a.test/", true, true),
            ("http://10.0.0.1/", true, false),
            ("http://1.1.1.1/", true, true),
            ("http://127.0.0.1/", true, false),
            ("http://localhost/", true, false),
            ("http://a.localhost./", true, false),
            ("http://169.254.169.254/", false, false),
        ];
        for (url, at_first, redirected) in table {
            let route = proxies.route(url.parse().unwrap()).unwrap();
            assert_eq!(route.check(Reach::Loopback).is_ok(), at_first, "{url}");
            assert_eq!(route.check(Reach::Public).is_ok(), redirected, "{url}");
        }
    }

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
