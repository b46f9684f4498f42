//! Fetching over HTTP: requests, responses and bodies whose bytes the core never looks at.

use crate::error::Error;
use std::fmt;

/// The bytes asked for, from `first` to `last` inclusive (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; `None` asks for all there are.
    pub last: Option<u64>,
}

impl ByteRange {
    /// All bytes from `first` on.
    pub fn from(first: u64) -> ByteRange {
        ByteRange { first, last: None }
    }
}

/// As the value of a `Range` field: `bytes=100-` or `bytes=100-199`.
impl fmt::Display for ByteRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes={}-", self.first)?;
        match self.last {
            Some(last) => write!(formatter, "{last}"),
            None => Ok(()),
        }
    }
}

/// What to ask for. The transport adds `Accept-Encoding: identity` and its own credentials, and nothing that changes the
/// meaning of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Absolute, http or https, without userinfo.
    pub url: &'a str,
    /// The value of `Range`; without it the whole file is asked for.
    pub range: Option<ByteRange>,
    /// `If-Range`, as it goes on the wire.
    pub if_range: Option<&'a str>,
}

/// How the transport knows that a body is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// After this many bytes.
    Length(u64),
    /// By a mark in the stream: the last chunk of a chunked body, END_STREAM of HTTP/2.
    Marked,
    /// By the end of the connection alone, which proves nothing.
    Unmarked,
}

/// A response whose head was received and whose body is still on the wire.
#[derive(Debug)]
pub struct Response<B> {
    /// 200 to 599. Interim responses (1xx) and followed redirects are the transport's.
    pub status: u16,
    /// The fields the core may ask for, see [`Headers`].
    pub headers: Headers,
    /// How the body ends, or what is wrong with the fields that should say so; the latter matters only if the body is used.
    /// An HTTP/1 client asks [`http::body_end`](crate::http::body_end).
    pub end: Result<BodyEnd, String>,
    /// Dropping it stops the transfer promptly and disturbs no other request.
    pub body: B,
}

/// Header fields in the order they came, duplicates kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The names the core reads, lower-case, and those of [`http::body_end`](crate::http::body_end). A host may leave all
    /// others out.
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

    /// Adds a field. `name` in any case; a value that is not ASCII is kept as Latin-1 reads it.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let value = value.iter().map(|&byte| char::from(byte)).collect();
        self.0.push((name.to_ascii_lowercase(), value));
    }

    /// Every value of a field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(have, _)| have == name)
            .map(|(_, value)| value.trim_ascii())
    }

    /// The value of a field that came exactly once.
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

/// What a host's HTTP client can and must do, for one URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// `If-Range` can be sent. Not so on a cross-origin `fetch`, where it causes a preflight that many servers refuse.
    pub if_range: bool,
    /// A request for the whole file carries `bytes=0-`, since without a Range `fetch` asks for codings. It carries none if
    /// the source refused ranges.
    pub range_always: bool,
    /// It undoes content codings by itself, so that coded bytes never reach the store as they were sent.
    pub decodes: bool,
}

impl RequestRules {
    /// A client that can send what it likes.
    pub const FREE: RequestRules = RequestRules {
        if_range: true,
        range_always: false,
        decodes: false,
    };
}

/// Fetches over HTTP.
pub trait Transport {
    /// The body of a response.
    type Body: Body;

    /// What this transport can send to `url`.
    fn rules(&self, url: &str) -> RequestRules;

    /// Sends a GET and waits for the response head, within the transport's own connect and header timeouts.
    ///
    /// # Errors
    /// `Network`, `Timeout`, `Protocol`, `Certificate`, `RedirectRefused`, `AddressRefused`, `ProxyRefused`. An
    /// error status is a response.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up, as dropping a body does.
    async fn get(&self, request: Request<'_>) -> Result<Response<Self::Body>, Error>;

    /// Waits until this many bytes may be received, if a user limits the rate. It is called for each chunk between the one
    /// wait for the network and the next, so that this wait counts neither as idle nor as slow.
    ///
    /// # Cancel safety
    /// A dropped wait may have used up what it asked for.
    async fn pace(&self, bytes: u64) {
        let _ = bytes; // no limit
    }
}

/// The bytes of a response, lent chunk by chunk.
pub trait Body {
    /// A chunk that borrows from the body, so that no copy is needed on the way to the disk.
    type Chunk<'a>: Chunk
    where
        Self: 'a;

    /// Waits for the next chunk, never empty; `None` is the proven end of the body (its length reached, its last chunk
    /// seen, or the connection closed where nothing else delimits it).
    ///
    /// # Errors
    /// `Network` or `Incomplete` where the body is cut, `Protocol` where its framing is broken.
    async fn chunk(&mut self) -> Result<Option<Self::Chunk<'_>>, Error>;
}

/// A piece of a body. The core counts its bytes and never looks at them.
pub trait Chunk: Sized {
    /// Its length in bytes.
    fn length(&self) -> u64;
    /// The first `at` bytes (at most all of them) and the rest.
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
