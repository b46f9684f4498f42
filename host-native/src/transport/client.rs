//! surf's `HttpClient` on hyper: one request, one response, over a pooled connection or a new one.
//!
//! It says which headers go on the wire, bounds the wait for the head, and repeats a request in one case only: a GET or HEAD
//! over a pooled connection that died without a byte of an answer, once, over a new connection. Everything else that can
//! be tried again is the core's decision. Redirects and credentials are middleware, above.

use super::body::{BodyReader, Lease};
use super::connection::Connection;
use super::dial::{Dialer, dial};
use super::errors;
use super::origin::Origin;
use super::pool::Pool;
use super::proxy::{Proxies, Proxy, Route};
use super::reach::Reach;
use super::timeouts::Timeouts;
use super::wire::{Head, WireHeaders};
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
use std::sync::Arc;
use url::{Position, Url};

/// What the program calls itself.
pub(super) const USER_AGENT: &str = concat!("regrip/", env!("CARGO_PKG_VERSION"));

/// surf's backend.
pub(super) struct HyperClient {
    pub(super) dialer: Dialer,
    pub(super) timeouts: Timeouts,
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
        let body = Bytes::from(request.take_body().into_bytes().await?);
        self.fetch(&request, body).await.map_err(errors::into_surf)
    }
}

impl HyperClient {
    async fn fetch(&self, request: &Request, body: Bytes) -> Result<Response, Error> {
        let origin = Origin::of(request.url())
            .ok_or_else(|| Error::Protocol("neither http nor https".to_owned()))?;
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
        incoming(connection, response, |connection| Lease {
            connection,
            route,
            pool,
        })
    }

    /// `None` where no connection is idle, or one was and had been closed before a byte of an answer came.
    async fn over_pooled(
        &self,
        route: &Route,
        reach: Reach,
        request: Outgoing,
    ) -> Result<Option<Answered>, Error> {
        // A POST that dies on a pooled connection could not be sent again, so it never goes over one.
        if !matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD) {
            return Ok(None);
        }
        let Some(mut connection) = self.pool.take(route, reach) else {
            return Ok(None);
        };
        let before = connection.received();
        match self.exchange(&mut connection, request).await? {
            Ok(response) => Ok(Some((connection, response))),
            Err(_) if connection.received() == before => Ok(None),
            Err(error) => Err(errors::answer(error)),
        }
    }

    async fn over_new(
        &self,
        route: &Route,
        reach: Reach,
        request: Outgoing,
    ) -> Result<Answered, Error> {
        let dialed = dial(&self.dialer, route, reach).await?;
        let mut connection = Connection::open(dialed).await?;
        let response = self
            .exchange(&mut connection, request)
            .await?
            .map_err(errors::answer)?;
        Ok((connection, response))
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Outgoing,
    ) -> Result<Result<hyper::Response<Incoming>, hyper::Error>, Error> {
        let answer = async { Ok(connection.exchange(request).await) };
        let timeout = self.timeouts.headers();
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
fn headers(request: &Request, route: &Route, has_body: bool) -> Result<HeaderMap, Error> {
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
            headers.append(
                name.clone(),
                HeaderValue::from_str(value.as_str()).map_err(unsendable)?,
            );
        }
    }
    if let Some(WireHeaders(others)) = request.ext().get::<WireHeaders>() {
        for name in others.keys() {
            headers.remove(name);
        }
        headers.extend(
            others
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if let Some(value) = route.forwarder().and_then(Proxy::authorization) {
        headers.insert(header::PROXY_AUTHORIZATION, value.clone());
    }
    Ok(headers)
}

/// Without userinfo: that is never sent (RFC 9110 §4.2.4).
fn host(url: &Url) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(unsendable)
}

fn outgoing(
    request: &Request,
    route: &Route,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Outgoing, Error> {
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
    let built = hyper::Request::builder()
        .method(method.as_str())
        .uri(target)
        .body(Full::new(body));
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
    let head = Head {
        status,
        headers: parts.headers,
        peer: connection.peer(),
    };
    // A status http-types does not know must not look like a success to whoever overlooks `Head`.
    let status = StatusCode::try_from(status).unwrap_or(StatusCode::BadGateway);
    let mut response = Response::new(status);
    let body = BodyReader::new(frames, lease(connection));
    response.set_body(surf::Body::from_reader(body, None));
    response.ext_mut().insert(head);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::http_types::Method;

    fn direct() -> Route {
        Proxies::default()
            .route("http://a.test".parse().unwrap())
            .unwrap()
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
        let expected = expected.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        assert_eq!(sent, HeaderMap::from_iter(expected));
    }

    #[test]
    fn a_body_says_what_it_is() {
        let mut request = Request::new(Method::Post, "http://a.test/");
        request.set_body(surf::Body::from_string("{}".to_owned()));
        let sent = headers(&request, &direct(), true).unwrap();
        assert_eq!(
            sent.get("content-type").unwrap(),
            "text/plain;charset=utf-8"
        );
    }
}
