//! The core's `Transport`: every request goes through one surf client.

use super::client::HyperClient;
use super::credentials::AddCredentials;
use super::dial::Dialer;
use super::errors;
use super::options::TransportOptions;
use super::pool::Pool;
use super::rate::Rate;
use super::redirect::FollowRedirects;
use super::roots::Tls;
use super::wire::{Head, add_wire_headers, head};
use futures::AsyncBufReadExt;
use hyper::header::{self, HeaderMap, HeaderValue};
use regrip_core::Error;
use regrip_core::io::{Body, Headers, Request, RequestRules, Response, Transport};
use std::fmt;
use std::sync::Arc;
use surf::http::Method;
use surf::{Client, RequestBuilder, Url};

/// Fetches over HTTP/1.1, with and without TLS. Cheap to share by reference; one for a process is enough.
pub struct HttpTransport {
    client: Client,
    rate: Option<Rate>,
}

impl HttpTransport {
    /// A transport with connections and trust of its own. Nothing is connected to or read from the disk yet.
    pub fn new(options: TransportOptions) -> HttpTransport {
        let rate = options.bytes_per_second.map(Rate::new);
        let backend = HyperClient {
            dialer: Dialer {
                timeout: options.connect_timeout,
                tls: Tls::new(options.roots),
                receive_buffer_bytes: rate.as_ref().and_then(Rate::receive_buffer_bytes),
            },
            headers_timeout: options.headers_timeout,
            proxies: options.proxies,
            pool: Arc::new(Pool::default()),
        };
        let credentials = AddCredentials {
            for_all: options.headers,
            by_origin: options.credentials,
            by_url: options.userinfo,
        };
        let client = Client::with_http_client(backend)
            .with(credentials)
            .with(FollowRedirects);
        HttpTransport { client, rate }
    }

    /// The surf client, for requests that are no GETs: import commands. Without a default client a request is
    /// made by `RequestBuilder::new(..).build()` and goes out by `client.send`. Of its response read
    /// [`head`](super::wire::head), not `status()`.
    #[allow(dead_code, reason = "imports, which use it, come next")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    type Body = HttpBody;

    fn rules(&self, _url: &str) -> RequestRules {
        RequestRules::FREE
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<HttpBody>, Error> {
        let url = Url::parse(request.url)
            .map_err(|error| Error::Protocol(format!("the address cannot be read: {error}")))?;
        let mut outgoing = RequestBuilder::new(Method::Get, url).build();
        add_wire_headers(&mut outgoing, &range_headers(&request)?);
        let mut response = self
            .client
            .send(outgoing)
            .await
            .map_err(errors::from_surf)?;
        let Head {
            status, headers, ..
        } = head(&response).ok_or_else(no_head)?;
        let (status, headers) = (*status, readable(headers));
        Ok(Response {
            status,
            headers,
            body: HttpBody {
                body: response.take_body(),
                lent: 0,
                most: self.rate.as_ref().map_or(usize::MAX, Rate::piece_bytes),
            },
        })
    }

    async fn pace(&self, bytes: u64) {
        if let Some(rate) = &self.rate {
            rate.take(bytes).await;
        }
    }
}

/// `Range` and `If-Range` (RFC 9110 §14.2, §13.1.5).
fn range_headers(request: &Request<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(first) = request.first {
        let range = HeaderValue::try_from(format!("bytes={first}-")).map_err(|_| unsendable())?;
        headers.insert(header::RANGE, range);
    }
    if let Some(validator) = request.if_range {
        headers.insert(header::IF_RANGE, latin1(validator)?);
    }
    Ok(headers)
}

/// The bytes a validator came as: the core keeps them as Latin-1 reads them, and only an identical one matches.
fn latin1(validator: &str) -> Result<HeaderValue, Error> {
    let bytes = validator
        .chars()
        .map(u8::try_from)
        .collect::<Result<Vec<u8>, _>>();
    let bytes = bytes.map_err(|_| unsendable())?;
    HeaderValue::from_bytes(&bytes).map_err(|_| unsendable())
}

fn unsendable() -> Error {
    Error::Protocol("the validator cannot be sent back".to_owned())
}

fn no_head() -> Error {
    Error::Protocol("a response without a head".to_owned())
}

/// The fields the core reads.
fn readable(headers: &HeaderMap) -> Headers {
    let of_name = |name| {
        headers
            .get_all(name)
            .iter()
            .map(move |value| (name, value.as_bytes()))
    };
    Headers::NAMES.into_iter().flat_map(of_name).collect()
}

/// The body of a response. Dropping it before its end closes the connection at once.
pub struct HttpBody {
    body: surf::Body,
    /// How much of the reader's chunk the caller has had.
    lent: usize,
    /// How much it gets at once.
    most: usize,
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBody").finish_non_exhaustive()
    }
}

impl Body for HttpBody {
    type Chunk<'a> = &'a [u8];

    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        self.body.consume_unpin(std::mem::take(&mut self.lent));
        let chunk = self.body.fill_buf().await.map_err(errors::from_io)?;
        let chunk = &chunk[..chunk.len().min(self.most)];
        self.lent = chunk.len();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
