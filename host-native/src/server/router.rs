//! The routing table, and the checks of `Host` and of a target in absolute form (RFC 9112 §3.2).
//!
//! Invariant: a client that the [`Guard`] does not let in learns nothing, not even which paths exist.

use super::access::{Entry, Guard};
use super::guesses::{Guesses, Way};
use super::places::Place;
use super::reply;
use super::reply::{BodyLines, Refusal, Reply};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use smol::channel::Receiver;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Answers a request; the connection's other end comes with it.
pub type Answer = Arc<dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Reply> + Send + Sync>;

/// What a handler is given. A body that no handler reads is not read: hyper drops what comes of it.
#[derive(Debug)]
pub struct Asked {
    head: Parts,
    from: SocketAddr,
    captured: Option<String>,
    body: Option<Incoming>,
}

impl Asked {
    /// The method: GET or HEAD if the route says GET.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Who asks.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// A channel that is closed once the client has closed its sending half; if the client is gone, sending to it fails.
    /// `None` for a request without a connection.
    pub fn client_sends(&self) -> Option<Receiver<()>> {
        self.head.extensions.get().map(Place::client_sends)
    }

    /// The text in place of the pattern's braces, percent-decoded.
    pub fn captured(&self) -> &str {
        self.captured.as_deref().unwrap_or_default()
    }

    /// Reads the body as JSON; once.
    ///
    /// # Errors
    /// 415 if its Content-Type is not JSON, 413 if it is too long, 408 if it is too slow, 400 if it does not have the
    /// expected fields.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        self.json_up_to(reply::MOST_BYTES).await
    }

    /// The same, for a body of at most `most` bytes.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub async fn json_up_to<T: DeserializeOwned>(&mut self, most: usize) -> Result<T, Refusal> {
        let body = self.body.take();
        reply::json(&self.head.headers, body, most).await
    }

    /// The lines of the body, if it is said to be of a media type; once.
    pub fn lines_of(&mut self, media_type: &str) -> Option<BodyLines> {
        reply::is_of_type(&self.head.headers, media_type).then(|| BodyLines::new(self.body.take()))
    }

    /// Reads the body; once.
    ///
    /// # Errors
    /// 413 if it is longer than `most` bytes, 408 if it is too slow, 400 if it ends early.
    pub async fn bytes(&mut self, most: usize) -> Result<Bytes, Refusal> {
        let body = self.body.take();
        reply::bytes(body, most).await
    }

    /// The parameters of the query, decoded, in order.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.head.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
    }
}

/// Does what a request asks for.
pub type Handler<S> = fn(Arc<S>, Asked) -> BoxFuture<'static, Result<Reply, Refusal>>;

/// A line of the table.
#[derive(Debug)]
pub struct Route<S> {
    /// The method; GET takes HEAD too.
    pub method: Method,
    /// The path, with at most one segment in braces that stands for any one: `/peer/items/{id}`.
    pub path: &'static str,
    /// Who it is for.
    pub entry: Entry,
    /// What to do.
    pub handler: Handler<S>,
}

/// The table and what its handlers share.
#[derive(Debug)]
pub struct Router<S: 'static> {
    state: Arc<S>,
    routes: &'static [Route<S>],
    guard: Arc<dyn Guard>,
    guesses: Guesses,
    special: Option<(&'static str, RefusalForm)>,
}

/// Writes a refusal.
type RefusalForm = fn(Refusal) -> Reply;

impl<S: Send + Sync> Router<S> {
    /// A router.
    pub fn new(state: Arc<S>, routes: &'static [Route<S>], guard: Arc<dyn Guard>) -> Self {
        Router { state, routes, guard, guesses: Guesses::default(), special: None }
    }

    /// Writes the refusals of paths with this prefix in another form than JSON.
    #[must_use]
    pub fn refusing(self, prefix: &'static str, form: fn(Refusal) -> Reply) -> Self {
        Router { special: Some((prefix, form)), ..self }
    }

    fn form(&self, path: &str) -> RefusalForm {
        let special = self.special.filter(|(prefix, _)| path.starts_with(prefix));
        special.map_or(Reply::from, |(_, form)| form)
    }

    /// The router as a server takes it.
    pub fn answer(self) -> Answer {
        let router = Arc::new(self);
        Arc::new(move |request, from| Arc::clone(&router).respond(request, from).boxed())
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>, from: SocketAddr) -> Reply {
        let (head, body) = request.into_parts();
        let form = self.form(head.uri.path());
        let (handler, mut asked) = match self.find(head, from, form) {
            Ok(found) => found,
            Err(reply) => return *reply,
        };
        asked.body = Some(body);
        let handled = AssertUnwindSafe(handler(Arc::clone(&self.state), asked));
        match handled.catch_unwind().await {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => form(self.refuse(refusal, from, Way::Login)),
            // It has been printed; the other requests go on.
            Err(_) => form(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Bug", "this is a bug in regrip")),
        }
    }

    /// Counts a wrong key against the network of its address.
    fn refuse(&self, refusal: Refusal, from: SocketAddr, way: Way) -> Refusal {
        match refusal.is_wrong_key {
            true => self.guesses.count(from.ip(), way, refusal),
            false => refusal,
        }
    }

    fn find(&self, head: Parts, from: SocketAddr, form: RefusalForm) -> Result<(Handler<S>, Asked), Box<Reply>> {
        let path = head.uri.path();
        let here = |route: &&Route<S>| captured(route.path, path).is_some();
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let route = self.routes.iter().filter(here).find(|route| route.method == method);
        let entry = route.map_or(Entry::Keyed, |route| route.entry);
        let checked = self.guard.check(&head, from, entry);
        checked.map_err(|refusal| Box::new(form(self.refuse(refusal, from, Way::Header))))?;
        if let (Entry::Keyed | Entry::QueryKeyed, Some(place)) = (entry, head.extensions.get::<Place>()) {
            place.is_known();
        }
        let Some(route) = route else {
            return Err(Box::new(self.without_route(path)));
        };
        let captured = captured(route.path, path).flatten();
        let asked = Asked { head, from, captured, body: None };
        Ok((route.handler, asked))
    }

    /// 405 if the path is known with other methods, else 404.
    fn without_route(&self, path: &str) -> Reply {
        let mut allowed = Vec::new();
        for route in self.routes {
            if captured(route.path, path).is_some() {
                allowed.push(route.method.as_str());
                allowed.extend((route.method == Method::GET).then_some("HEAD"));
            }
        }
        if allowed.is_empty() {
            return Refusal::not_found("there is nothing at this path").into();
        }
        let refusal =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path does not take that method");
        Reply::from(refusal).text_header(ALLOW, &allowed.join(", "))
    }
}

/// Matches a path against a pattern and returns the text in place of its braces. Split before decoding: an id may have
/// slashes.
#[allow(clippy::option_option, reason = "no fit, or a fit with or without braces")]
fn captured(pattern: &str, path: &str) -> Option<Option<String>> {
    let mut captured = None;
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            captured = Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
        } else if segment != wanted {
            return None;
        }
    }
    segments.next().is_none().then_some(captured)
}

/// Checks `Host`. The authority of a target in absolute form takes its place, whatever it is (RFC 9112 §3.2.2).
///
/// # Errors
/// 400: none or several in HTTP/1.1, several in HTTP/1.0, or what names no host.
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::bad_request("the request has several Host fields")),
        (Some(host), None) if is_host(host.as_bytes()) => {}
        (Some(_), None) => return Err(Refusal::bad_request("the Host field names no host")),
        (None, None) if request.version() < Version::HTTP_11 => {}
        (None, None) => return Err(Refusal::bad_request("the request has no Host field")),
    }
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    let web = (uri.scheme_str()).is_none_or(|scheme| matches!(scheme, "http" | "https"));
    let host = HeaderValue::from_str(authority.as_str()).ok();
    match host.filter(|_| web && is_host(authority.as_str().as_bytes())) {
        Some(host) => {
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
        None => Err(Refusal::bad_request("the target of the request names no host")),
    }
}

/// `uri-host [ ":" port ]` with a host in it: an http URI without one is invalid (RFC 9110 §4.2.1).
fn is_host(value: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(value) else {
        return false;
    };
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host());
    let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
    !authority.host().is_empty()
        && !text.contains('@')
        && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_paths_and_captures_one_decoded_segment() {
        let pattern = "/peer/items/{id}/file";
        let table = [
            ("/peer/items/ab/file", Some("ab")),
            ("/peer/items/a%2Fb%3Ac/file", Some("a/b:c")),
            ("/peer/items/../file", Some("..")),
            ("/peer/items/%ff/file", None),
            ("/peer/items//file", None),
            ("/peer/items/ab/file/", None),
            ("/peer/items/ab", None),
            ("/peer/items/a/b/file", None),
            ("peer/items/ab/file", None),
            ("//peer/items/ab/file", None),
        ];
        for (path, wanted) in table {
            let got = captured(pattern, path).flatten();
            assert_eq!(got.as_deref(), wanted, "{path}");
        }
        assert_eq!(captured("/handshake", "/handshake"), Some(None));
        assert_eq!(captured("/handshake", "/handshake/"), None);
    }

    fn settled(target: &str, version: Version, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        settle(&mut request).ok()?;
        let host = request.headers().get(HOST);
        Some(host.map_or_else(String::new, |host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        let table: [(&str, Version, &[&str], Option<&str>); 23] = [
            ("/", Version::HTTP_11, &["a.test"], Some("a.test")),
            ("/", Version::HTTP_11, &["a.test:80"], Some("a.test:80")),
            ("/", Version::HTTP_11, &["a.test:"], Some("a.test:")),
            ("/", Version::HTTP_11, &["127.0.0.1:1"], Some("127.0.0.1:1")),
            ("/", Version::HTTP_11, &["[::1]:1"], Some("[::1]:1")),
            ("/", Version::HTTP_11, &["[::1]"], Some("[::1]")),
            ("/", Version::HTTP_11, &[], None),
            ("/", Version::HTTP_10, &[], Some("")),
            ("/", Version::HTTP_10, &["a.test"], Some("a.test")),
            ("/", Version::HTTP_10, &["a.test", "a.test"], None),
            ("/", Version::HTTP_11, &["a.test", "b.test"], None),
            ("/", Version::HTTP_11, &["a.test", "a.test"], None),
            ("/", Version::HTTP_11, &[""], None),
            ("/", Version::HTTP_11, &[":80"], None),
            ("/", Version::HTTP_11, &["a.test/"], None),
            ("/", Version::HTTP_11, &["a test"], None),
            ("/", Version::HTTP_11, &["me@a.test"], None),
            ("/", Version::HTTP_11, &["a.test:b"], None),
            ("/", Version::HTTP_11, &["a.test, b.test"], None),
            ("http://b.test:1/x", Version::HTTP_11, &["localhost"], Some("b.test:1")),
            ("http://b.test/x", Version::HTTP_11, &[], None),
            ("http://me@b.test/x", Version::HTTP_11, &["a.test"], None),
            ("ftp://b.test/x", Version::HTTP_11, &["b.test"], None),
        ];
        for (target, version, hosts, wanted) in table {
            let settled = settled(target, version, hosts);
            assert_eq!(settled.as_deref(), wanted, "{target} {version:?} {hosts:?}");
        }
    }
}
