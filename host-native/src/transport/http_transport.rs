//! The core's `Transport`: every request goes through one surf client.

use super::address_policy::Addresses;
use super::client::{Head, HyperClient, Pool, WireBody, add_wire_headers, head};
use super::connection::Rate;
use super::cookies::Cookies;
use super::dial::Dialer;
use super::errors;
use super::options::{AddCredentials, Credentials, Header, Timeouts, TransportOptions, UrlHeaders};
#[cfg(feature = "fleet")]
use super::redirect::StaysHere;
use super::redirect::{Crossed, FollowRedirects};
use super::roots::Tls;
use crate::sync::{Replaceable, lock};
use bytes::Bytes;
use futures::AsyncBufReadExt;
use hyper::header::{self, HeaderMap, HeaderValue};
use regrip_core::http::body_end;
use regrip_core::transport::{Body, Headers, Request, RequestRules, Response, Transport};
use regrip_core::{DownloadsConfig, Error};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use surf::http::Method;
use surf::{Client, RequestBuilder, Url};

/// Fetches over HTTP/1.1, with and without TLS. Cheap to share by reference; one for a process is enough.
pub struct HttpTransport {
    client: Client,
    rate: Replaceable<Option<Rate>>,
    credentials: Replaceable<Vec<Credentials>>,
    by_url: UrlHeaders,
    timeouts: Replaceable<Timeouts>,
    ahead: Mutex<Vec<Ahead>>,
}

/// The response to a GET of a whole file whose head was looked at before its download began.
struct Ahead {
    url: String,
    at: Instant,
    response: Response<HttpBody>,
}

/// How many of them are kept, and how long: their servers wait.
const MOST_AHEAD: usize = 8;
const KEPT_AHEAD: Duration = Duration::from_secs(10);

impl HttpTransport {
    /// A transport with connections and trust of its own. Nothing is connected to or read from the disk yet.
    pub fn new(options: TransportOptions) -> HttpTransport {
        let rate = options.bytes_per_second.map(Rate::new);
        let timeouts =
            Replaceable::new(Timeouts { connect: options.connect_timeout, headers: options.headers_timeout });
        let by_origin = Replaceable::new(options.credentials);
        let by_url = UrlHeaders::new(Mutex::new(options.by_url));
        let backend = HyperClient {
            dialer: Dialer {
                timeouts: timeouts.clone(),
                tls: Tls::new(options.roots, options.identity),
                resolve: options.resolve,
                ipv6: options.ipv6,
                trace: options.trace,
                addresses: Addresses::default(),
                receive_buffer_bytes: rate.as_ref().and_then(Rate::receive_buffer_bytes),
            },
            timeouts: timeouts.clone(),
            proxies: options.proxies,
            pool: Arc::new(Pool::default()),
        };
        let credentials =
            AddCredentials { for_all: options.headers, by_origin: by_origin.clone(), by_url: by_url.clone() };
        let cookies = Cookies::new(options.cookies);
        let client = Client::with_http_client(backend).with(credentials).with(FollowRedirects).with(cookies);
        let rate = Replaceable::new(rate);
        HttpTransport { client, rate, credentials: by_origin, by_url, timeouts, ahead: Mutex::default() }
    }

    /// Keeps the response to a GET of a whole file for the download that is about to ask for it.
    pub(crate) fn keep(&self, url: &str, response: Response<HttpBody>) {
        let mut ahead = self.ahead();
        ahead.retain(|one| one.url != url && one.at.elapsed() < KEPT_AHEAD);
        if ahead.len() < MOST_AHEAD {
            ahead.push(Ahead { url: url.to_owned(), at: Instant::now(), response });
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Vec<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the response that is kept for a download, if there is one.
    pub(crate) fn kept(&self, url: &str) -> Option<Response<HttpBody>> {
        let mut ahead = self.ahead();
        let index = ahead.iter().position(|one| one.url == url)?;
        let one = ahead.swap_remove(index);
        (one.at.elapsed() < KEPT_AHEAD).then_some(one.response)
    }

    /// Takes other credentials and timeouts into use, from the next request on.
    pub fn reconfigure(&self, config: &DownloadsConfig, credentials: Vec<Credentials>) {
        self.timeouts.replace(Timeouts {
            connect: Duration::from_millis(config.connect_timeout_ms),
            headers: Duration::from_millis(config.headers_timeout_ms),
        });
        self.credentials.replace(credentials);
    }

    /// Sends these headers with the requests for a URL, from the next one on; none if they are empty.
    pub(crate) fn set_headers(&self, url: Url, headers: Vec<Header>) {
        let mut by_url = lock(&self.by_url);
        match headers.is_empty() {
            true => by_url.remove(&url),
            false => by_url.insert(url, headers),
        };
    }

    /// Limits the rate of all bodies together, from the next chunk on.
    pub fn limit_rate(&self, bytes_per_second: Option<NonZeroU64>) {
        self.rate.replace(bytes_per_second.map(Rate::new));
    }

    /// Sends JSON by a POST, with these headers, and waits for the response head. It is sent once, whatever happens, and
    /// no redirect is followed.
    ///
    /// # Errors
    /// As [`Transport::get`]. An error status is a response.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have acted.
    pub async fn post(&self, url: &str, headers: &[Header], json: String) -> Result<Response<HttpBody>, Error> {
        self.ask(Method::Post, url, headers, Some(json)).await
    }

    /// Sends a request of any method, once, with these headers and JSON as its body if there is one, and waits for the
    /// response head.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        json: Option<String>,
    ) -> Result<Response<HttpBody>, Error> {
        let mut headers = headers.to_vec();
        headers.extend(json.as_ref().and_then(|_| Header::new("Content-Type", "application/json").ok()));
        self.send_bytes(method, url, &headers, json.unwrap_or_default().into()).await
    }

    /// Sends a request of any method, once, with these headers and bytes, and waits for the response head.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        bytes: Bytes,
    ) -> Result<Response<HttpBody>, Error> {
        self.send(with_bytes(method, url, headers, bytes)?).await
    }

    /// As [`send_bytes`](Self::send_bytes), and a redirect is the response, whatever the method.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    #[cfg(feature = "fleet")]
    pub(crate) async fn send_here(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        bytes: Bytes,
    ) -> Result<Response<HttpBody>, Error> {
        let mut outgoing = with_bytes(method, url, headers, bytes)?;
        outgoing.set_ext(StaysHere);
        self.send(outgoing).await
    }

    /// Sends a GET, as [`Transport::get`] does, and returns the other origin that answered, if there was a redirect, and
    /// which headers were not sent there.
    ///
    /// # Errors
    /// As [`Transport::get`].
    pub(crate) async fn get_noting_origin(&self, url: &str) -> Result<(Response<HttpBody>, Option<String>), Error> {
        self.send_noting_origin(RequestBuilder::new(Method::Get, parse(url)?).build()).await
    }

    async fn send(&self, outgoing: surf::Request) -> Result<Response<HttpBody>, Error> {
        Ok(self.send_noting_origin(outgoing).await?.0)
    }

    async fn send_noting_origin(&self, outgoing: surf::Request) -> Result<(Response<HttpBody>, Option<String>), Error> {
        let mut response = self.client.send(outgoing).await.map_err(errors::from_surf)?;
        let Head { status, headers, .. } = head(&response).ok_or_else(no_head)?;
        let (status, headers) = (*status, readable(headers));
        let end = body_end(&headers);
        let crossed = response.ext::<Crossed>().map(Crossed::to_string);
        let response = Response {
            status,
            headers,
            end,
            body: HttpBody {
                body: response.take_body(),
                lent: 0,
                most: self.rate.get().as_ref().as_ref().map_or(usize::MAX, Rate::piece_bytes),
            },
        };
        Ok((response, crossed))
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
        if request.range.is_none()
            && let Some(response) = self.kept(request.url)
        {
            return Ok(response);
        }
        let url = parse(request.url)?;
        let mut outgoing = RequestBuilder::new(Method::Get, url).build();
        add_wire_headers(&mut outgoing, &range_headers(&request)?);
        self.send(outgoing).await
    }

    async fn pace(&self, bytes: u64) {
        if let Some(rate) = &*self.rate.get() {
            rate.take(bytes).await;
        }
    }
}

fn with_bytes(method: Method, url: &str, headers: &[Header], bytes: Bytes) -> Result<surf::Request, Error> {
    let mut outgoing = RequestBuilder::new(method, parse(url)?).build();
    outgoing.set_ext(WireBody(bytes));
    add_wire_headers(&mut outgoing, headers.iter().map(Header::parts));
    Ok(outgoing)
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::Protocol(format!("invalid address: {error}")))
}

/// `Range` and `If-Range` (RFC 9110 §14.2, §13.1.5).
fn range_headers(request: &Request<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(range) = request.range {
        let range = HeaderValue::try_from(range.to_string()).map_err(|_| unsendable())?;
        headers.insert(header::RANGE, range);
    }
    if let Some(validator) = request.if_range {
        headers.insert(header::IF_RANGE, latin1(validator)?);
    }
    Ok(headers)
}

/// The bytes of a validator as received: the core keeps them as Latin-1 reads them, and only an identical one matches.
fn latin1(validator: &str) -> Result<HeaderValue, Error> {
    let bytes = validator.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
    let bytes = bytes.map_err(|_| unsendable())?;
    HeaderValue::from_bytes(&bytes).map_err(|_| unsendable())
}

fn unsendable() -> Error {
    Error::Protocol("the validator cannot be sent in a request".to_owned())
}

fn no_head() -> Error {
    Error::Protocol("a response without a head".to_owned())
}

/// The fields beside those of the core: one names a file, one an upload to object storage, one the region of a bucket.
const OTHERS: [&str; 3] = ["content-disposition", "x-amz-meta-regrip-upload", "x-amz-bucket-region"];

/// The fields that are read.
fn readable(headers: &HeaderMap) -> Headers {
    let of_name = |name| headers.get_all(name).iter().map(move |value| (name, value.as_bytes()));
    Headers::NAMES.into_iter().chain(OTHERS).flat_map(of_name).collect()
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
    type Kept = Vec<u8>;

    fn keep(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }

    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }

    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        self.body.consume_unpin(std::mem::take(&mut self.lent));
        let chunk = self.body.fill_buf().await.map_err(errors::from_io)?;
        let chunk = &chunk[..chunk.len().min(self.most)];
        self.lent = chunk.len();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
