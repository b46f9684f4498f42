//! Lengths and framing that are missing, wrong or broken (RFC 9112 §6, §7.1).

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::content::Content;
use crate::edit;
use crate::reply::{End, Framing, Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The default size of a chunk.
const CHUNK_BYTES: usize = 16 * 1024;
/// The seed of bytes that belong to no file. Below 256, so that they differ in every byte from small seeds.
pub(super) const FOREIGN_SEED: u64 = 0xEE;

/// The body is chunked and has no Content-Length (H21).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Chunked {
    /// The most payload in a chunk; 16 KiB if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

impl Chunked {
    /// Chunks of the usual size.
    pub fn plain() -> Fault {
        Self { bytes: None }.into()
    }

    /// Chunks of that many bytes.
    pub fn of(bytes: usize) -> Fault {
        Self { bytes: Some(bytes) }.into()
    }
}

impl Misbehave for Chunked {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        chunk(reply, self.bytes.unwrap_or(CHUNK_BYTES).max(1));
    }
}

fn chunk(reply: &mut Reply, bytes: usize) {
    reply.framing = Framing::Chunked { bytes };
    reply.remove_header("Content-Length");
    reply.set_header("Transfer-Encoding", "chunked");
}

/// The body has neither a length nor chunks and ends with the connection (H22).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Unframed {}

impl Unframed {
    /// Says no length at all.
    pub fn body() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for Unframed {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.framing = Framing::Close;
        reply.end = End::Close;
        reply.remove_header("Content-Length");
        reply.remove_header("Transfer-Encoding");
        reply.set_header("Connection", "close");
    }
}

/// The body goes on after its Content-Length, with bytes of no file (H24; on a connection that stays, H40).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Longer {
    /// How many bytes too many.
    pub bytes: u64,
}

impl Longer {
    /// Sends that many bytes too many.
    pub fn by(bytes: u64) -> Fault {
        Self { bytes }.into()
    }
}

impl Misbehave for Longer {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let content = Content::new(FOREIGN_SEED, self.bytes);
        reply.body.push(Op::Content { content, from: 0, to: self.bytes });
    }
}

/// The Content-Length lines are replaced by these, the body stays (H26, H27; after `chunked` both are sent).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ContentLength {
    /// The value of each line; none leaves the header out.
    pub values: Vec<String>,
}

impl ContentLength {
    /// Sends these lines instead.
    pub fn values<const N: usize>(values: [&str; N]) -> Fault {
        Self { values: values.map(str::to_owned).to_vec() }.into()
    }
}

impl Misbehave for ContentLength {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.remove_header("Content-Length");
        for value in &self.values {
            reply.add_header("Content-Length", value);
        }
    }
}

/// The body is chunked, and after `after` bytes the chunking breaks; then the connection closes (H25).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BadChunk {
    /// How many payload bytes are sent first, in good chunks.
    pub after: u64,
    /// How it breaks.
    pub kind: BadChunkKind,
}

/// How the chunking breaks.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BadChunkKind {
    /// A size that is not hexadecimal.
    Size,
    /// An empty line in place of the size.
    Empty,
    /// A size beyond 64 bits.
    Huge,
    /// A good size, and fewer bytes than it says.
    Cut,
}

impl BadChunk {
    /// Breaks the chunking after that many payload bytes.
    pub fn after(after: u64, kind: BadChunkKind) -> Fault {
        Self { after, kind }.into()
    }
}

impl Misbehave for BadChunk {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        if !matches!(reply.framing, Framing::Chunked { .. }) {
            chunk(reply, CHUNK_BYTES);
        }
        let (body, rest) = edit::split(std::mem::take(&mut reply.body), self.after);
        let wire = match self.kind {
            BadChunkKind::Size => b"zz\r\n".to_vec(),
            BadChunkKind::Empty => b"\r\n".to_vec(),
            BadChunkKind::Huge => b"fffffffffffffffff\r\n".to_vec(),
            // A client that takes them as they come has three more bytes of the file.
            BadChunkKind::Cut => [b"1000\r\n".to_vec(), edit::payload(rest, 3)].concat(),
        };
        reply.body = body;
        reply.body.push(Op::Wire(wire));
        reply.body.push(Op::Cut);
        reply.end = End::Close;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{payload, spoil, version};
    use super::*;

    #[test]
    fn a_chunked_answer_has_no_length() {
        let reply = spoil(&[Chunked::of(7)], &Request::get("/a"));
        assert_eq!(reply.framing, Framing::Chunked { bytes: 7 });
        assert_eq!((reply.header("Content-Length"), reply.header("Transfer-Encoding")), (None, Some("chunked")));
        assert_eq!(payload(&reply).len(), 100);
    }

    #[test]
    fn an_unframed_answer_ends_with_the_connection() {
        let reply = spoil(&[Unframed::body()], &Request::get("/a"));
        assert_eq!((reply.framing, reply.end), (Framing::Close, End::Close));
        assert_eq!((reply.header("Content-Length"), reply.header("Transfer-Encoding")), (None, None));
    }

    #[test]
    fn a_longer_body_keeps_the_smaller_length_and_adds_foreign_bytes() {
        let reply = spoil(&[Longer::by(20)], &Request::get("/a"));
        let got = payload(&reply);
        assert_eq!((got.len(), reply.header("Content-Length")), (120, Some("100")));
        assert_eq!(got[..100], version().content().bytes(0..100));
        let more = version().content().bytes(100..120);
        assert!(got[100..].iter().zip(&more).all(|(sent, own)| sent != own));
    }

    #[test]
    fn content_length_lines_are_sent_as_given() {
        let reply = spoil(&[ContentLength::values(["5", "-1"])], &Request::get("/a"));
        assert_eq!(reply.values("Content-Length").collect::<Vec<_>>(), [b"5".as_slice(), b"-1"]);
        assert_eq!(payload(&reply).len(), 100);
        assert_eq!(spoil(&[ContentLength::values([])], &Request::get("/a")).header("Content-Length"), None);
        let both = spoil(&[Chunked::plain(), ContentLength::values(["100"])], &Request::get("/a"));
        assert_eq!((both.header("Content-Length"), both.header("Transfer-Encoding")), (Some("100"), Some("chunked")));
    }

    #[test]
    fn a_bad_chunk_comes_after_good_bytes_and_ends_the_answer() {
        for kind in [BadChunkKind::Size, BadChunkKind::Empty, BadChunkKind::Huge, BadChunkKind::Cut] {
            let reply = spoil(&[BadChunk::after(30, kind)], &Request::get("/a"));
            assert_eq!(payload(&reply).len(), 30, "{kind:?}");
            assert!(matches!(reply.body[1..], [Op::Wire(_), Op::Cut]), "{kind:?}");
            assert!(matches!(reply.framing, Framing::Chunked { .. }), "{kind:?}");
        }
        let own = spoil(&[Chunked::of(7), BadChunk::after(30, BadChunkKind::Size)], &Request::get("/a"));
        assert_eq!(own.framing, Framing::Chunked { bytes: 7 });
    }
}
