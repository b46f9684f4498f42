//! Exactly what goes on the wire, as a value: no socket, no clock.
//!
//! The socket server ([`crate::Server`]) and the in-memory transport of the other tests both carry it out.
//! Invariant: nothing is added on the way. Headers are complete, in order, duplicates kept; whoever wants
//! a lie in them writes the lie here.
//!
//! In order: wait [`Reply::delay`]; send [`Reply::interim`]; send the head as [`Reply::head`] says; carry out
//! each [`Op`] of [`Reply::body`]; if the framing is chunked, send the last chunk; then [`Reply::end`].

use std::time::Duration;

use crate::content::Content;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// How long nothing is sent, before anything else.
    pub delay: Duration,
    /// Answers before the answer (RFC 9110 §15.2): status and headers of each.
    pub interim: Vec<(u16, Vec<(String, String)>)>,
    /// How much of the head is sent.
    pub head: Head,
    /// The status code, in no way checked.
    pub status: u16,
    /// Every header line, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How the head is written, if not as it should be.
    pub oddity: Oddity,
    /// How the payload is delimited. It says nothing about the headers.
    pub framing: Framing,
    /// What happens after the head.
    pub body: Vec<Op>,
    /// What happens to the connection then.
    pub end: End,
    /// The most payload bytes a second; none means as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

/// How a head differs from one that RFC 9112 allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddity {
    /// This status line, in place of the usual one.
    pub status_line: Option<Vec<u8>>,
    /// These lines before the headers, in no way checked.
    pub lines: Vec<Vec<u8>>,
    /// Lines end with LF alone.
    pub bare_lf: bool,
}

/// How much of the head is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Status line, headers, empty line.
    Whole,
    /// Nothing at all; the body's operations follow directly.
    Withheld,
    /// Status line and headers, then header lines for ever; the body is never reached.
    Endless,
}

/// How the payload is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Bare bytes; a Content-Length, if there is one, says how many there should be.
    Length,
    /// In chunks of at most `bytes`, ended by a last chunk, unless an [`Op::Cut`] comes first.
    Chunked {
        /// The most payload in a chunk, at least 1.
        bytes: usize,
    },
    /// Bare bytes until the connection closes.
    Close,
}

/// One thing that happens after the head.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Payload: the bytes `from..to` of a content.
    Content {
        /// What it is taken from.
        content: Content,
        /// The first offset.
        from: u64,
        /// The offset after the last.
        to: u64,
    },
    /// Payload, as given.
    Raw(Vec<u8>),
    /// Bytes put on the wire outside any framing, for instance a bad chunk size.
    Wire(Vec<u8>),
    /// Nothing is sent for this long.
    Wait(Duration),
    /// Nothing is sent any more, until the peer closes or the server stops. Nothing after it is reached.
    Forever,
    /// Payload in small pieces: before each piece of `bytes` it waits `every`.
    Trickle {
        /// What it is taken from.
        content: Content,
        /// The first offset.
        from: u64,
        /// The offset after the last.
        to: u64,
        /// The wait before each piece.
        every: Duration,
        /// The size of a piece, at least 1.
        bytes: usize,
    },
    /// The answer stops here: nothing after it is sent, and no last chunk. The connection ends as `end` says.
    Cut,
}

impl Op {
    /// How many payload bytes it sends.
    pub fn payload_len(&self) -> u64 {
        match self {
            Op::Content { from, to, .. } | Op::Trickle { from, to, .. } => to.saturating_sub(*from),
            Op::Raw(bytes) => bytes.len() as u64,
            Op::Wire(_) | Op::Wait(_) | Op::Forever | Op::Cut => 0,
        }
    }
}

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed in order (FIN; over TLS after a close_notify).
    Close,
    /// It is reset (RST), which may destroy bytes that the peer has not read.
    Reset,
}

impl Reply {
    /// An answer with no header and no body, after which the connection stays.
    pub fn new(status: u16) -> Self {
        Self {
            delay: Duration::ZERO,
            interim: Vec::new(),
            head: Head::Whole,
            status,
            headers: Vec::new(),
            oddity: Oddity::default(),
            framing: Framing::Length,
            body: Vec::new(),
            end: End::KeepAlive,
            bytes_per_second: None,
        }
    }

    /// The first value of a header, if it is UTF-8; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of a header.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// Adds a header line at the end.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
    }

    /// Removes every line of this header.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// Makes this the only line of its header.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove_header(name);
        self.add_header(name, value);
    }

    /// How many payload bytes the body sends, an [`Op::Cut`] or [`Op::Forever`] left aside.
    pub fn payload_len(&self) -> u64 {
        self.body.iter().map(Op::payload_len).fold(0, u64::saturating_add)
    }

    /// The bytes of status line and headers, with the empty line after them. Whole, endless or withheld is
    /// not looked at.
    pub fn head_bytes(&self) -> Vec<u8> {
        let usual = || format!("HTTP/1.1 {} {}", self.status, reason(self.status)).into_bytes();
        let status_line = self.oddity.status_line.clone().unwrap_or_else(usual);
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| [name.as_bytes(), b": ", value].concat());
        let lines = self.oddity.lines.iter().cloned();
        let end: &[u8] = if self.oddity.bare_lf { b"\n" } else { b"\r\n" };
        let mut out = Vec::new();
        for line in [status_line].into_iter().chain(lines).chain(fields) {
            out.extend_from_slice(&line);
            out.extend_from_slice(end);
        }
        out.extend_from_slice(end);
        out
    }
}

/// The usual phrase for a status; `Status` for the rest.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_holds_every_header_in_order_duplicates_and_odd_bytes_kept() {
        let mut reply = Reply::new(200);
        reply.add_header("B", "1");
        reply.add_header("A", [0xFF]);
        reply.add_header("B", "2");
        assert_eq!(reply.head_bytes(), b"HTTP/1.1 200 OK\r\nB: 1\r\nA: \xFF\r\nB: 2\r\n\r\n");
    }

    #[test]
    fn setting_a_header_leaves_one_line_of_it() {
        let mut reply = Reply::new(200);
        reply.add_header("etag", "a");
        reply.add_header("ETag", "b");
        reply.set_header("Etag", "c");
        assert_eq!(reply.values("etag").collect::<Vec<_>>(), [b"c"]);
    }
}
