//! A peer in memory: answers by a closure, with bodies that wait, stall and break.

use super::clock::VirtualClock;
use crate::error::{Error, Timeout};
use crate::http::body_end;
use crate::mutex::lock;
use crate::time::Clock;
use crate::transport::{Body, Headers, Request, RequestRules, Response, Transport};
use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as the peer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The URL.
    pub url: String,
    /// First byte of the Range, if there was one.
    pub first: Option<u64>,
    /// Last byte of the Range, if it names one.
    pub last: Option<u64>,
    /// If-Range.
    pub if_range: Option<String>,
    /// When, by the virtual clock.
    pub at: Duration,
}

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// These bytes arrive.
    Bytes(Vec<u8>),
    /// Nothing arrives for this time.
    Wait(Duration),
    /// Nothing ever arrives.
    Forever,
    /// The body breaks.
    Break(Error),
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// Before the head arrives.
    pub delay: Duration,
    /// 200 to 599.
    pub status: u16,
    /// As sent.
    pub headers: Headers,
    /// What follows; its end is the proven end of the body.
    pub body: Vec<Piece>,
}

type Peer = Box<dyn FnMut(&Asked) -> Result<Reply, Error> + Send>;

/// A transport to one peer.
#[derive(Clone)]
pub struct FakeTransport {
    clock: VirtualClock,
    rules: RequestRules,
    headers_timeout: Option<Duration>,
    pace: Duration,
    peer: Arc<Mutex<Peer>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for FakeTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FakeTransport").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl FakeTransport {
    /// A transport whose peer answers by `peer`.
    pub fn new(clock: VirtualClock, peer: impl FnMut(&Asked) -> Result<Reply, Error> + Send + 'static) -> Self {
        FakeTransport {
            clock,
            rules: RequestRules::FREE,
            headers_timeout: None,
            pace: Duration::ZERO,
            peer: Arc::new(Mutex::new(Box::new(peer))),
            asked: Arc::default(),
            open: Arc::default(),
        }
    }

    /// The same with other rules, such as those of `fetch`.
    pub fn with_rules(self, rules: RequestRules) -> Self {
        FakeTransport { rules, ..self }
    }

    /// The same with a timeout for a reply's `delay`; without one it is waited for.
    pub fn with_headers_timeout(self, timeout: Duration) -> Self {
        FakeTransport { headers_timeout: Some(timeout), ..self }
    }

    /// The same under a rate limit that delays every chunk by this time.
    pub fn with_pace(self, pace: Duration) -> Self {
        FakeTransport { pace, ..self }
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// Requests and bodies that were not dropped: open connections.
    pub fn open_bodies(&self) -> usize {
        lock(&self.open).len()
    }

    /// Returns `true` if a request for this URL is open.
    pub fn is_open(&self, url: &str) -> bool {
        lock(&self.open).iter().any(|open| open == url)
    }
}

impl Transport for FakeTransport {
    type Body = FakeBody;

    fn rules(&self, _url: &str) -> RequestRules {
        self.rules
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<FakeBody>, Error> {
        let asked = Asked {
            url: request.url.to_owned(),
            first: request.range.map(|range| range.first),
            last: request.range.and_then(|range| range.last),
            if_range: request.if_range.map(str::to_owned),
            at: self.clock.elapsed(),
        };
        lock(&self.asked).push(asked.clone());
        let answer = lock(&self.peer)(&asked);
        let Reply { delay, status, headers, body } = answer?;
        lock(&self.open).push(asked.url.clone());
        // Open from here on: dropping the future closes it.
        let body = FakeBody {
            url: asked.url,
            clock: self.clock.clone(),
            pieces: body.into(),
            current: Vec::new(),
            until: None,
            open: Arc::clone(&self.open),
        };
        let after = self.headers_timeout.unwrap_or(Duration::MAX);
        if delay > after {
            self.clock.sleep(after).await;
            let timeout = Timeout::Headers;
            return Err(Error::Timeout { timeout, after });
        }
        if !delay.is_zero() {
            self.clock.sleep(delay).await;
        }
        let end = body_end(&headers);
        Ok(Response { status, headers, end, body })
    }

    async fn pace(&self, _bytes: u64) {
        if !self.pace.is_zero() {
            self.clock.sleep(self.pace).await;
        }
    }
}

/// A body in memory.
#[derive(Debug)]
pub struct FakeBody {
    url: String,
    clock: VirtualClock,
    pieces: VecDeque<Piece>,
    current: Vec<u8>,
    /// When the wait at the front is over, once it has begun.
    until: Option<Duration>,
    open: Arc<Mutex<Vec<String>>>,
}

impl Drop for FakeBody {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(index) = open.iter().position(|url| *url == self.url) {
            open.swap_remove(index);
        }
    }
}

impl Body for FakeBody {
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
            match self.pieces.front_mut() {
                None => return Ok(None),
                Some(Piece::Forever) => pending::<()>().await,
                Some(Piece::Wait(wait)) => {
                    // A wait that is dropped and taken up again goes on, and does not begin anew.
                    let now = self.clock.elapsed();
                    let until = *self.until.get_or_insert(now.saturating_add(*wait));
                    self.clock.sleep(until.saturating_sub(now)).await;
                    self.until = None;
                    self.pieces.pop_front();
                }
                Some(Piece::Bytes(_) | Piece::Break(_)) => break,
            }
        }
        match self.pieces.pop_front() {
            Some(Piece::Bytes(bytes)) => {
                self.current = bytes;
                Ok(Some(&self.current))
            }
            Some(Piece::Break(error)) => {
                let again = Error::Network { what: "reading a broken body".to_owned(), source: None };
                self.pieces.push_front(Piece::Break(again));
                Err(error)
            }
            _ => Ok(None),
        }
    }
}

/// A file behind an honest server, with faults to come: the simplest peer.
#[derive(Clone, Debug)]
pub struct Served {
    content: Vec<u8>,
    etag: Option<String>,
    cuts: VecDeque<u64>,
}

/// Bodies arrive in pieces of this size.
const PIECE_BYTES: usize = 16 << 10;

impl Served {
    /// A file without a validator.
    pub fn new(content: Vec<u8>) -> Self {
        Served { content, etag: None, cuts: VecDeque::new() }
    }

    /// With an ETag, as it goes on the wire.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    /// The next answer's body breaks after this many bytes; call it again for the one after.
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cuts.push_back(bytes);
        self
    }

    /// Answers a request, as RFC 9110 says, but for the next cut.
    pub fn answer(&mut self, asked: &Asked) -> Result<Reply, Error> {
        let total = self.content.len() as u64;
        let same = asked.if_range.is_none() || asked.if_range == self.etag;
        let first = asked.first.filter(|_| same);
        let mut headers = Headers::default();
        if let Some(etag) = &self.etag {
            headers.push("etag", etag.as_bytes());
        }
        if first.is_some_and(|first| first >= total) {
            headers.push("content-range", format!("bytes */{total}").as_bytes());
            return Ok(Reply { status: 416, headers, ..Reply::default() });
        }
        let from = first.unwrap_or(0);
        let last = asked.last.filter(|_| first.is_some());
        let end = last.map_or(total, |last| last.saturating_add(1).min(total)).max(from);
        headers.push("content-length", (end - from).to_string().as_bytes());
        if first.is_some() {
            let last = end.saturating_sub(1);
            headers.push("content-range", format!("bytes {from}-{last}/{total}").as_bytes());
        }
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let whole = self.content.get(at(from)..at(end)).unwrap_or_default();
        let cut = self.cuts.pop_front().and_then(|cut| usize::try_from(cut).ok());
        let sent = whole.get(..cut.unwrap_or(whole.len())).unwrap_or(whole);
        let mut body: Vec<Piece> = sent.chunks(PIECE_BYTES).map(|piece| Piece::Bytes(piece.to_vec())).collect();
        if sent.len() < whole.len() {
            body.push(Piece::Break(Error::Network { what: "reading the body".to_owned(), source: None }));
        }
        let status = if first.is_some() { 206 } else { 200 };
        Ok(Reply { status, headers, body, ..Reply::default() })
    }
}
