//! What an HTTP client makes of a reply of the fault server: framing checked, lengths enforced, interim answers skipped.
//!
//! It is the part of a transport that a fake has to have of its own, in memory and on a virtual clock. It decides nothing
//! that the core decides: headers go on as they were sent.

use regrip_core::Error;
use regrip_core::testing::{Piece, Reply};
use regrip_faultd::{End, Framing, Head, Op};
use std::time::Duration;

/// Bytes arrive in pieces of at most this size.
const PIECE_BYTES: usize = 16 << 10;
/// Longer than any timeout.
const NEVER: Duration = Duration::from_secs(1 << 40);

/// The reply as a client hands it on.
///
/// # Errors
/// `Network` if the connection ends before a head, `Protocol` if the head cannot be read.
pub fn received(reply: &regrip_faultd::Reply) -> Result<Reply, Error> {
    match reply.head {
        Head::Withheld => return withheld(reply),
        Head::Endless => return Err(protocol("the response head is too long")),
        Head::Whole => {}
    }
    if !(200..=599).contains(&reply.status) {
        return Err(protocol("the status"));
    }
    let headers = reply.headers.iter().map(|(name, value)| (name, value));
    Ok(Reply {
        delay: reply.delay,
        status: reply.status,
        headers: headers.collect(),
        body: Arriving::new(delimiter(reply)?).body(reply),
    })
}

fn withheld(reply: &regrip_faultd::Reply) -> Result<Reply, Error> {
    match reply.body.first() {
        Some(Op::Forever) => Ok(Reply { delay: NEVER, ..Reply::default() }),
        Some(Op::Wire(_)) => Err(protocol("the answer is no HTTP")),
        _ => Err(network("closed before an answer came")),
    }
}

/// What a client takes for the end of a body (RFC 9112 §6.3).
enum Delimiter {
    Length(u64),
    LastChunk,
    Close,
}

fn delimiter(reply: &regrip_faultd::Reply) -> Result<Delimiter, Error> {
    if matches!(reply.status, 204 | 304) {
        return Ok(Delimiter::Length(0));
    }
    // It overrides a length beside it; what such an answer is worth, the core decides.
    if reply.header("Transfer-Encoding").is_some() {
        return Ok(Delimiter::LastChunk);
    }
    let mut length = None;
    for value in reply.values("Content-Length") {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let bytes: Option<u64> = text.parse().ok().filter(|_| plain);
        let bytes = bytes.ok_or_else(|| protocol("the Content-Length is no number"))?;
        if length.is_some_and(|other| other != bytes) {
            return Err(protocol("two lengths differ"));
        }
        length = Some(bytes);
    }
    Ok(length.map_or(Delimiter::Close, Delimiter::Length))
}

/// A body on its way.
struct Arriving {
    delimiter: Delimiter,
    pieces: Vec<Piece>,
    got: u64,
}

impl Arriving {
    fn new(delimiter: Delimiter) -> Self {
        Arriving { delimiter, pieces: Vec::new(), got: 0 }
    }

    fn body(mut self, reply: &regrip_faultd::Reply) -> Vec<Piece> {
        for op in &reply.body {
            if self.is_over() {
                return self.pieces;
            }
            match op {
                Op::Content { content, from, to } => self.content(*content, *from, *to, PIECE_BYTES as u64, None),
                Op::Trickle { content, from, to, every, bytes } => {
                    self.content(*content, *from, *to, *bytes as u64, Some(*every))
                }
                Op::Raw(bytes) => self.take(bytes.clone()),
                Op::Wire(bytes) => return self.broken_chunk(bytes),
                Op::Wait(time) => self.pieces.push(Piece::Wait(*time)),
                Op::Forever => {
                    self.pieces.push(Piece::Forever);
                    return self.pieces;
                }
                Op::Cut => return self.closed(),
            }
        }
        match (&self.delimiter, reply.framing, reply.end) {
            (Delimiter::LastChunk, Framing::Chunked { .. }, _) => self.pieces,
            (_, _, End::Close | End::Reset) => self.closed(),
            (Delimiter::Length(length), ..) if self.got >= *length => self.pieces,
            (_, _, End::KeepAlive) => {
                self.pieces.push(Piece::Forever);
                self.pieces
            }
        }
    }

    /// A length is reached: nothing after it belongs to this body.
    fn is_over(&self) -> bool {
        matches!(self.delimiter, Delimiter::Length(length) if self.got >= length)
    }

    fn content(&mut self, content: regrip_faultd::Content, from: u64, to: u64, piece: u64, every: Option<Duration>) {
        let mut at = from;
        while at < to && !self.is_over() {
            self.pieces.extend(every.map(Piece::Wait));
            let next = (at + piece).min(to);
            self.take(content.bytes(at..next));
            at = next;
        }
    }

    fn take(&mut self, mut bytes: Vec<u8>) {
        if let Delimiter::Length(length) = self.delimiter {
            bytes.truncate(usize::try_from(length - self.got).unwrap_or(usize::MAX));
        }
        self.got += bytes.len() as u64;
        match self.pieces.last_mut() {
            // What is sent at once arrives at once.
            Some(Piece::Bytes(last)) if last.len() + bytes.len() <= PIECE_BYTES => {
                last.append(&mut bytes);
            }
            _ if bytes.is_empty() => {}
            _ => self.pieces.push(Piece::Bytes(bytes)),
        }
    }

    /// The connection ended.
    fn closed(mut self) -> Vec<Piece> {
        let proven = match self.delimiter {
            Delimiter::Length(length) => self.got >= length,
            Delimiter::LastChunk => false,
            Delimiter::Close => true,
        };
        if !proven {
            self.pieces.push(Piece::Break(network("the body was cut")));
        }
        self.pieces
    }

    /// What comes instead of a chunk. Where it has a good size, the bytes after it are taken before the end shows.
    fn broken_chunk(mut self, wire: &[u8]) -> Vec<Piece> {
        let line = wire.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let (size, rest) = wire.split_at(line + 1);
        let size = std::str::from_utf8(size).unwrap_or_default().trim();
        if u64::from_str_radix(size, 16).is_ok() {
            self.take(rest.to_vec());
        }
        let broken = network("the chunks of the body are broken");
        self.pieces.push(Piece::Break(broken));
        self.pieces
    }
}

fn network(what: &str) -> Error {
    Error::Network { what: what.to_owned(), source: None }
}

fn protocol(what: &str) -> Error {
    Error::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrip_faultd::faults::{
        BadChunk, BadChunkKind, Chunked, ContentLength, Cut, Longer, NoReply, Stall, Unframed,
    };
    use regrip_faultd::{FileScript, Request, Script, Site, Version};

    /// What arrives of a file of 100 bytes, and how it ends.
    fn arrives<const N: usize>(faults: [regrip_faultd::Fault; N]) -> (u64, String) {
        let file = FileScript::honest(Version::new(1, 100)).answer(faults);
        let site = Site::new(Script::one("/a", file));
        let reply = match received(&site.answer(&Request::get("/a"))) {
            Ok(reply) => reply,
            Err(error) => return (0, error.code().to_string()),
        };
        let bytes = reply.body.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            _ => 0,
        });
        let end = match reply.body.last() {
            Some(Piece::Break(error)) => error.code().to_string(),
            Some(Piece::Forever) => "forever".to_owned(),
            _ if reply.delay == NEVER => "never".to_owned(),
            _ => "end".to_owned(),
        };
        (bytes.sum(), end)
    }

    #[test]
    fn a_body_ends_where_its_framing_says_and_breaks_where_it_lies() {
        assert_eq!(arrives([]), (100, "end".to_owned()));
        assert_eq!(arrives([Longer::by(20)]), (100, "end".to_owned()));
        assert_eq!(arrives([Cut::after(30)]), (30, "Network".to_owned()));
        assert_eq!(arrives([Cut::after(100)]), (100, "end".to_owned()));
        assert_eq!(arrives([Stall::after(30)]), (30, "forever".to_owned()));
        assert_eq!(arrives([NoReply::ever()]), (0, "never".to_owned()));
        assert_eq!(arrives([Chunked::of(7)]), (100, "end".to_owned()));
        assert_eq!(arrives([Chunked::of(7), Cut::after(100)]), (100, "Network".to_owned()));
        assert_eq!(arrives([Unframed::body()]), (100, "end".to_owned()));
        assert_eq!(arrives([Unframed::body(), Cut::after(30)]), (30, "end".to_owned()));
        assert_eq!(arrives([BadChunk::after(30, BadChunkKind::Size)]), (30, "Network".to_owned()));
        assert_eq!(arrives([BadChunk::after(30, BadChunkKind::Huge)]), (30, "Network".to_owned()));
        assert_eq!(arrives([BadChunk::after(30, BadChunkKind::Empty)]), (30, "Network".to_owned()));
        assert_eq!(arrives([ContentLength::values([])]), (100, "forever".to_owned()));
        assert_eq!(arrives([ContentLength::values(["200"])]), (100, "forever".to_owned()));
        assert_eq!(arrives([ContentLength::values(["-1"])]), (0, "Protocol".to_owned()));
        assert_eq!(arrives([ContentLength::values(["1", "2"])]), (0, "Protocol".to_owned()));
    }
}
