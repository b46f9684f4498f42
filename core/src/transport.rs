//! The transport: HTTP requests, responses and bodies. The core never looks at the bytes of a body.

use crate::error::Error;
use std::fmt;

/// A range of bytes from `first` to `last`, both inclusive (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; `None` means up to the end of the file.
    pub last: Option<u64>,
}

impl ByteRange {
    /// All bytes from `first` on.
    pub fn from(first: u64) -> ByteRange {
        ByteRange { first, last: None }
    }
}

/// Formats the value of a `Range` field: `bytes=100-` or `bytes=100-199`.
impl fmt::Display for ByteRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes={}-", self.first)?;
        match self.last {
            Some(last) => write!(formatter, "{last}"),
            None => Ok(()),
        }
    }
}

/// A GET request. The transport adds `Accept-Encoding: identity` and credentials, and nothing that changes the meaning of the
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Absolute, http or https, without userinfo.
    pub url: &'a str,
    /// The range to request; `None` requests the whole file.
    pub range: Option<ByteRange>,
    /// The value of `If-Range`, as sent.
    pub if_range: Option<&'a str>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// After this many bytes.
    Length(u64),
    /// By a mark in the stream: the last chunk of a chunked body, or END_STREAM in HTTP/2.
    Marked,
    /// Only by the end of the connection, which proves nothing.
    Unmarked,
}

/// A response whose head was received.
#[derive(Debug)]
pub struct Response<B> {
    /// 200 to 599. The transport handles interim responses (1xx) and redirects.
    pub status: u16,
    /// The header fields that the core may read, see [`Headers`].
    pub headers: Headers,
    /// How the body ends, or why the fields that should say so are invalid, which matters only if the body is used. An HTTP/1
    /// client calls [`http::body_end`](crate::http::body_end).
    pub end: Result<BodyEnd, String>,
    /// The body. Dropping it stops the transfer promptly and disturbs no other request.
    pub body: B,
}

/// Header fields in the order received, including duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The lower-case names that the core and [`http::body_end`](crate::http::body_end) read. A host may omit all others.
    pub const NAMES: [&'static str; 11] = [
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "repr-digest",
        "retry-after",
        "transfer-encoding",
        "location",
    ];

    /// Adds a field. `name` may have any case; a value that is not ASCII is decoded as Latin-1.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let value = value.iter().map(|&byte| char::from(byte)).collect();
        self.0.push((name.to_ascii_lowercase(), value));
    }

    /// All values of a field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name).into_iter()
    }

    /// Not an iterator itself: its code would exist once per caller, and the wasm module travels over the network.
    #[inline(never)]
    fn values<'a>(&'a self, name: &str) -> Vec<&'a str> {
        let fields = self.0.iter().filter(|(have, _)| have == name);
        fields.map(|(_, value)| value.trim_ascii()).collect()
    }

    /// The value of a field that occurs exactly once.
    pub fn only<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_ref(), value.as_ref());
        }
        headers
    }
}

/// What the HTTP client of a host can and must do for one URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// `If-Range` can be sent. A cross-origin `fetch` cannot: it would cause a preflight that many servers refuse.
    pub if_range: bool,
    /// A request for the whole file carries `bytes=0-`, because `fetch` adds codings to a request without a range. It carries no
    /// range if the source refused ranges.
    pub range_always: bool,
    /// The client decodes content codings, so coded bytes never reach the store as sent.
    pub decodes: bool,
}

impl RequestRules {
    /// A client without restrictions.
    pub const FREE: RequestRules = RequestRules { if_range: true, range_always: false, decodes: false };
}

/// An HTTP client.
pub trait Transport {
    /// The body of a response.
    type Body: Body;

    /// What this transport can send to `url`.
    fn rules(&self, url: &str) -> RequestRules;

    /// Sends a GET and waits for the response head, within the connect and header timeouts of the transport.
    ///
    /// # Errors
    /// `Network`, `Timeout`, `Protocol`, `Certificate`, `RedirectRefused`, `AddressRefused`, `ProxyRefused`. An
    /// error status is a response.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the request, as dropping a body does.
    async fn get(&self, request: Request<'_>) -> Result<Response<Self::Body>, Error>;

    /// Waits until this many bytes may be processed, if a user limits the rate. Called for each chunk between two waits for the
    /// network, so this wait counts neither as idle nor as slow.
    ///
    /// # Cancel safety
    /// A dropped future may have used up its share of the rate.
    async fn pace(&self, bytes: u64) {
        let _ = bytes; // no limit
    }
}

/// The bytes of a response, in borrowed chunks.
pub trait Body: 'static {
    /// A chunk borrowed from the body, so that nothing is copied on the way to the disk.
    type Chunk<'a>: Chunk;

    /// The bytes of a chunk, kept while they wait for those before them: a file that is received over several connections is
    /// put in order in memory.
    type Kept;

    /// Keeps a chunk.
    fn keep(chunk: Self::Chunk<'_>) -> Self::Kept;

    /// Lends a kept chunk.
    fn lend(kept: &Self::Kept) -> Self::Chunk<'_>;

    /// Waits for the next chunk, which is never empty. `None` is the proven end of the body: its length was reached, its last chunk
    /// was received, or the connection was closed and nothing else delimits the body.
    ///
    /// # Errors
    /// `Network` or `Incomplete` if the body is cut, `Protocol` if its framing is invalid.
    async fn chunk(&mut self) -> Result<Option<Self::Chunk<'_>>, Error>;
}

/// A chunk of a body. The core counts its bytes and never looks at them. A clone shares them.
pub trait Chunk: Clone {
    /// Its length in bytes.
    fn length(&self) -> u64;
    /// Splits it after `at` bytes, or after all of them if there are fewer.
    fn split_at(self, at: u64) -> (Self, Self);
}

impl Chunk for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn split_at(self, at: u64) -> (Self, Self) {
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
        <[u8]>::split_at(self, at)
    }
}
