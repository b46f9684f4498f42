//! HTTP by reqwest.
//!
//! Redirects, TLS, proxies and the two timeouts below are the transport's own. The idle timeout, retries, and what a response
//! is worth are the core's.

use bytes::Bytes;
use regrip_core::error::{Error, Timeout, chain};
use regrip_core::http::body_end;
use regrip_core::transport::{Body, Headers, Request, RequestRules, Response, Transport};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

const CONNECT: Duration = Duration::from_secs(15);
const HEADERS: Duration = Duration::from_secs(30);

/// **[`Transport`]** sends a GET and returns the head.
pub(crate) struct Http(reqwest::Client);

impl Http {
    pub(crate) fn new() -> Result<Http, Error> {
        // Mozilla's list of authorities, so that the example works on a system without one.
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore { roots })
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT)
            .referer(false) // a query may be a secret, and a redirect may lead to another host
            .build();
        client.map(Http).map_err(|error| failed("building the client", error))
    }
}

impl Transport for Http {
    type Body = HttpBody;

    fn rules(&self, _url: &str) -> RequestRules {
        RequestRules::FREE // it can send any header; a cross-origin `fetch` cannot
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<HttpBody>, Error> {
        // Offsets count the bytes of the file: no coding, and none of reqwest's features that decode one.
        let mut get = self.0.get(request.url).header("accept-encoding", "identity");
        if let Some(range) = request.range {
            get = get.header("range", range.to_string());
        }
        if let Some(validator) = request.if_range {
            get = get.header("if-range", validator);
        }
        let Ok(answer) = timeout(HEADERS, get.send()).await else {
            return Err(timed_out(Timeout::Headers, HEADERS));
        };
        let response = answer.map_err(|error| failed("waiting for the response", error))?;
        let headers: Headers = response.headers().iter().collect();
        Ok(Response {
            status: response.status().as_u16(),
            end: body_end(&headers), // of HTTP/1, the only version without reqwest's feature `http2`
            headers,
            body: HttpBody { response, chunk: Bytes::new() },
        })
    }
}

/// **[`Body`]** lends the bytes chunk by chunk. hyper reports an end before the announced length or the last chunk as an
/// error, as the trait asks. Dropping the response closes its connection.
pub(crate) struct HttpBody {
    response: reqwest::Response,
    chunk: Bytes,
}

impl Body for HttpBody {
    type Chunk<'a> = &'a [u8];
    type Kept = Vec<u8>;

    fn keep(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }

    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }

    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        loop {
            let next = self.response.chunk().await;
            match next.map_err(|error| failed("reading the response body", error))? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => {
                    self.chunk = chunk;
                    return Ok(Some(&self.chunk));
                }
                None => return Ok(None),
            }
        }
    }
}

/// States the fact. Whether another attempt makes sense follows from the variant: a broken connection may work later, a bad
/// certificate will not.
fn failed(what: &str, error: reqwest::Error) -> Error {
    let error = error.without_url(); // its query may be a secret
    if error.is_connect() && error.is_timeout() {
        return timed_out(Timeout::Connect, CONNECT);
    }
    if error.is_redirect() {
        return Error::RedirectRefused(chain(&error));
    }
    if error.is_builder() {
        return Error::Protocol(chain(&error));
    }
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(this) = cause {
        if let Some(rustls::Error::InvalidCertificate(why)) = this.downcast_ref() {
            return Error::Certificate(why.to_string());
        }
        let inner = this.downcast_ref().and_then(io::Error::get_ref);
        cause = inner.map(|inner| inner as _).or_else(|| this.source());
    }
    Error::network(what, error)
}

fn timed_out(timeout: Timeout, after: Duration) -> Error {
    Error::Timeout { timeout, after }
}
