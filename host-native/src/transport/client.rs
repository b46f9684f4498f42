//! surf's `HttpClient` on hyper: one request, one response, over an idle connection or a new one.
//!
//! It says which headers go on the wire, bounds the wait for the head, and repeats a request in one case only: a GET, HEAD or PUT
//! over an idle connection that died without a byte of an answer, once, over a new connection. Every other retry is the core's
//! decision. Redirects and credentials are middleware, above.
//!
//! Invariant: a connection in the [`Pool`] was left at the clean end of a response. The key is scheme, host, port and proxy,
//! never the address: a connection verified for one host serves no other on the same machine, and one through a proxy never
//! stands in for a direct one.

use super::address_policy::Reach;
use super::connection::{BodyReader, Connection, Lease};
use super::dial::{Dialer, dial};
use super::errors;
use super::options::{Origin, Timeouts};
use super::proxy::{Proxies, Proxy, ProxyRoute};
use crate::sync::{Replaceable, lock};
use async_io::Timer;
use bytes::Bytes;
use http_body_util::Full;
use http_client::http_types::StatusCode;
use http_client::{HttpClient, Request, Response, async_trait};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use regrip_core::Error;
use regrip_core::error::{Timeout, chain};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use url::{Position, Url};

/// What the program calls itself.
pub(super) const USER_AGENT: &str = concat!("regrip/", env!("CARGO_PKG_VERSION"));

/// surf's backend.
pub(super) struct HyperClient {
    pub(super) dialer: Dialer,
    pub(super) timeouts: Replaceable<Timeouts>,
    pub(super) proxies: Proxies,
    pub(super) pool: Arc<Pool>,
}

impl fmt::Debug for HyperClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperClient")
    }
}

#[async_trait]
impl HttpClient for HyperClient {
    async fn send(&self, mut request: Request) -> Result<Response, surf::Error> {
        let body = match request.ext().get::<WireBody>() {
            Some(WireBody(bytes)) => bytes.clone(),
            None => Bytes::from(request.take_body().into_bytes().await?),
        };
        self.fetch(&request, body).await.map_err(errors::into_surf)
    }
}

impl HyperClient {
    async fn fetch(&self, request: &Request, body: Bytes) -> Result<Response, Error> {
        let origin = Origin::of(request.url()).ok_or_else(|| Error::Protocol("neither http nor https".to_owned()))?;
        let reach = request.ext().get::<Reach>().copied();
        let reach = reach.unwrap_or(Reach::Loopback);
        let route = self.proxies.route(origin);
        let route = route.map_err(|unusable| Error::ProxyRefused(unusable.to_string()))?;
        route.check(reach)?;
        let headers = headers(request, &route, !body.is_empty())?;
        let outgoing = outgoing(request, &route, headers, body)?;
        let pooled = self.over_pooled(&route, reach, outgoing.clone()).await?;
        let (connection, response) = match pooled {
            Some(answered) => answered,
            None => self.over_new(&route, reach, outgoing).await?,
        };
        if let Some(proxy) = route.forwarder()
            && response.status() == hyper::StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            return Err(Error::ProxyRefused(format!("{proxy} answered 407")));
        }
        let pool = Arc::clone(&self.pool);
        incoming(connection, response, |connection| Lease { connection, route, pool })
    }

    /// `None` if no connection is idle, or the idle one was closed before the first byte of the response.
    async fn over_pooled(
        &self,
        route: &ProxyRoute,
        reach: Reach,
        request: Outgoing,
    ) -> Result<Option<Answered>, Error> {
        // A POST that dies on a pooled connection could not be sent again, so it never goes over one. A PUT is the same twice.
        if !matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD | hyper::Method::PUT) {
            return Ok(None);
        }
        let Some(mut connection) = self.pool.take(route, reach) else {
            return Ok(None);
        };
        let before = connection.received();
        self.dialer.trace.note(|| format!("using the open connection to {}", route.origin));
        match self.exchange(&mut connection, request).await? {
            Ok(response) => Ok(Some((connection, response))),
            Err(_) if connection.received() == before => Ok(None),
            Err(error) => Err(errors::answer(error)),
        }
    }

    async fn over_new(&self, route: &ProxyRoute, reach: Reach, request: Outgoing) -> Result<Answered, Error> {
        let dialed = dial(&self.dialer, route, reach).await?;
        let mut connection = Connection::open(dialed).await?;
        let response = self.exchange(&mut connection, request).await?.map_err(errors::answer)?;
        Ok((connection, response))
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Outgoing,
    ) -> Result<Result<hyper::Response<Incoming>, hyper::Error>, Error> {
        let answer = async { Ok(connection.exchange(request).await) };
        let timeout = self.timeouts.get().headers;
        let too_late = async {
            Timer::after(timeout).await;
            Err(errors::timed_out(Timeout::Headers, timeout))
        };
        smol::future::or(answer, too_late).await
    }
}

type Outgoing = hyper::Request<Full<Bytes>>;
type Answered = (Connection, hyper::Response<Incoming>);

/// Ours, then surf's, then those that travelled beside it; a later one of a name replaces the earlier.
fn headers(request: &Request, route: &ProxyRoute, has_body: bool) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, host(request.url())?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for (name, values) in request.iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(unsendable)?;
        // http-types adds one whenever a body is set, an empty one too.
        if name == header::CONTENT_TYPE && !has_body {
            continue;
        }
        headers.remove(&name);
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value.as_str()).map_err(unsendable)?);
        }
    }
    if let Some(WireHeaders(others)) = request.ext().get::<WireHeaders>() {
        for name in others.keys() {
            headers.remove(name);
        }
        // As with curl, an empty value takes the header away.
        let others = others.iter().filter(|(_, value)| !value.is_empty());
        headers.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(value) = route.forwarder().and_then(Proxy::authorization) {
        headers.insert(header::PROXY_AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Without userinfo: that is never sent (RFC 9110 §4.2.4).
fn host(url: &Url) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(unsendable)
}

fn outgoing(request: &Request, route: &ProxyRoute, headers: HeaderMap, body: Bytes) -> Result<Outgoing, Error> {
    let url = request.url();
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let target = match route.forwarder() {
        None => path.to_owned(),
        Some(_) => {
            let authority = &url[Position::BeforeHost..Position::AfterPort];
            format!("{}://{authority}{path}", url.scheme())
        }
    };
    let method = request.method().to_string();
    let built = hyper::Request::builder().method(method.as_str()).uri(target).body(Full::new(body));
    let mut outgoing = built.map_err(unsendable)?;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

fn unsendable(error: impl std::error::Error + 'static) -> Error {
    Error::Protocol(format!("the request cannot be sent: {}", chain(&error)))
}

fn incoming(
    mut connection: Connection,
    response: hyper::Response<Incoming>,
    lease: impl FnOnce(Connection) -> Lease,
) -> Result<Response, Error> {
    let (parts, frames) = response.into_parts();
    let status = parts.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(Error::Protocol(format!("the status is {status}")));
    }
    match status {
        // A redirect's body is not waited for.
        300..=399 => connection.trial().end_well(),
        429 | 500.. => connection.trial().blame(),
        _ => {}
    }
    let head = Head { status, headers: parts.headers, peer: connection.peer() };
    // A status http-types does not know must not look like a success to whoever overlooks `Head`.
    let status = StatusCode::try_from(status).unwrap_or(StatusCode::BadGateway);
    let mut response = Response::new(status);
    let body = BodyReader::new(frames, lease(connection));
    response.set_body(surf::Body::from_reader(body, None));
    response.ext_mut().insert(head);
    Ok(response)
}

/// Most idle connections to one origin by one way.
const MAX_IDLE_PER_ROUTE: usize = 32;

/// Most idle connections in all.
const MAX_IDLE: usize = 256;

/// How long a connection is kept. Servers commonly close theirs after about as long.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

struct IdleConnection {
    route: ProxyRoute,
    connection: Connection,
    since: Instant,
}

/// Idle connections, oldest first.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<IdleConnection>>);

impl Pool {
    /// Takes the connection by `route` that was used last and is still good, if there is one.
    pub(super) fn take(&self, route: &ProxyRoute, reach: Reach) -> Option<Connection> {
        loop {
            let mut connection = self.pop(route, reach)?;
            // Another address of the host may do better than one that failed lately.
            if !connection.trial().gives_way() && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, route: &ProxyRoute, reach: Reach) -> Option<Connection> {
        let mut idle = self.fresh();
        // A request may have come here by other ways than the connection did, so its reach counts, not the dialler's.
        let allowed = |peer: Option<_>| peer.is_none_or(|peer| reach.allows(peer));
        let fits = |idle: &IdleConnection| idle.route == *route && allowed(idle.connection.peer());
        let newest = idle.iter().rposition(fits)?;
        Some(idle.remove(newest).connection)
    }

    /// Keeps a connection, if it is idle and there is room.
    pub(super) fn put(&self, route: ProxyRoute, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.fresh();
        let by_this_route = idle.iter().filter(|idle| idle.route == route).count();
        if by_this_route < MAX_IDLE_PER_ROUTE && idle.len() < MAX_IDLE {
            idle.push(IdleConnection { route, connection, since: Instant::now() });
        }
    }

    /// Those that are not too old; the others are closed.
    fn fresh(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        // A panic elsewhere leaves a list of connections, nothing half done.
        let mut idle = lock(&self.0);
        idle.retain(|idle| idle.since.elapsed() < MAX_IDLE_TIME);
        idle
    }
}

/// The head of a response, as received.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status as sent, 200 to 599.
    pub(crate) status: u16,
    /// All fields, duplicates kept, values unchanged.
    pub(crate) headers: HeaderMap,
    /// Who answered, if that is known: not behind a proxy, unless the URL has it.
    pub(crate) peer: Option<IpAddr>,
}

/// The head of a response received through a transport's client.
pub(crate) fn head(response: &surf::Response) -> Option<&Head> {
    response.ext::<Head>()
}

/// The body of a request, without a copy.
#[derive(Clone, Debug)]
pub(super) struct WireBody(pub(super) Bytes);

/// Request headers that http-types cannot hold or must not see. They replace those of the same name.
#[derive(Clone, Debug, Default)]
pub(super) struct WireHeaders(pub(super) HeaderMap);

/// Adds headers to the ones a request carries in its `ext()`.
pub(super) fn add_wire_headers<'a>(
    request: &mut surf::Request,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    let mut headers = request.ext::<WireHeaders>().cloned().unwrap_or_default();
    for (name, value) in fields {
        headers.0.append(name.clone(), value.clone());
    }
    request.set_ext(headers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::http_types::Method;

    fn direct() -> ProxyRoute {
        Proxies::default().route("http://a.test".parse().unwrap()).unwrap()
    }

    #[test]
    fn what_travels_beside_surf_replaces_what_surf_says_and_that_replaces_ours() {
        let mut request = Request::new(Method::Post, "http://me:secret@a.test:80/x");
        request.set_body("");
        request.insert_header("accept", "application/json");
        request.insert_header("accept-encoding", "gzip");
        request.insert_header("x-api-key", "surf");
        let mut beside = HeaderMap::new();
        beside.insert("x-api-key", HeaderValue::from_static("beside"));
        request.ext_mut().insert(WireHeaders(beside));
        let sent = headers(&request, &direct(), false).unwrap();
        let expected = [
            ("host", "a.test"),
            ("user-agent", USER_AGENT),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("x-api-key", "beside"),
        ];
        let expected = expected.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(sent, HeaderMap::from_iter(expected));
    }

    #[test]
    fn a_body_says_what_it_is() {
        let mut request = Request::new(Method::Post, "http://a.test/");
        request.set_body(surf::Body::from_string("{}".to_owned()));
        let sent = headers(&request, &direct(), true).unwrap();
        assert_eq!(sent.get("content-type").unwrap(), "text/plain;charset=utf-8");
    }
}
