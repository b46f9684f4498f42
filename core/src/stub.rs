//! Stubs: small `.torrent` files that name an item of a peer.
//!
//! A stub is bencode. Its `comment` is `jack:<peerId>:<itemId>` or `regrip:<peerId>:<itemId>`, and `info` has the name and length
//! of the item. Anyone who can write to the watch folder can supply one, so the reader is strict and bounded. Nothing in a stub
//! becomes a path: the peer supplies the name of the file with its release.

use crate::bencode::{self, Value};
use std::fmt;

/// The largest stub, in bytes. Read at most one byte more of a file.
pub const LARGEST_BYTES: usize = 64 << 10;

/// The longest item id and name, in bytes.
const LONGEST_TEXT_BYTES: usize = 1024;

/// Pieces that a stub claims if a piece can be long enough, and at most.
const PIECES: u64 = 64;
const MOST_PIECES: u64 = 2048;

/// Torrent libraries read the length of a piece as a 32-bit integer.
const SMALLEST_PIECE_BYTES: u64 = 16 << 10;
const LARGEST_PIECE_BYTES: u64 = 1 << 30;

/// Stands for a SHA-1, which nothing compares.
const PIECE_HASH: &str = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The prefixes of a comment. The first is that of jack, the software whose protocol this is.
const SCHEMES: [&str; 2] = ["jack", "regrip"];

/// Identifies a peer: the first 8 hex digits, in lower case, of the SHA-256 of its URL as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(String);

impl PeerId {
    /// The number of digits.
    pub const DIGITS: usize = 8;

    /// Parses eight hex digits in either case.
    pub fn new(text: &str) -> Option<PeerId> {
        let hex = text.len() == PeerId::DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| PeerId(text.to_ascii_lowercase()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The content of a stub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The peer that offers the item.
    pub peer: PeerId,
    /// The peer's id of the item. It may contain colons, and is neither a path nor a URL.
    pub item: String,
    /// The item's name, only to be shown; never the name of a file.
    pub name: String,
    /// The item's size in bytes when the stub was created.
    pub length: u64,
}

/// Why a file is not a stub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StubRefused {
    /// Larger than [`LARGEST_BYTES`].
    #[error("it is larger than {LARGEST_BYTES} bytes")]
    TooLarge,
    /// Not bencode, or bencode followed by other bytes.
    #[error("it is no bencode: {what}, at byte {at}")]
    NotBencode {
        /// Offset of the first invalid byte.
        at: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bencode, perhaps a torrent, that does not name an item of a peer.
    #[error("it names no item of a peer: {0}")]
    Foreign(&'static str),
}

impl Stub {
    /// Creates a stub that [`read`](Self::read) accepts.
    ///
    /// # Errors
    /// `Foreign` with the first invalid value.
    pub fn new(peer: PeerId, item: &str, name: &str, length: u64) -> Result<Stub, StubRefused> {
        if let Some(flaw) = flaw(item) {
            return Err(StubRefused::Foreign(flaw.in_item));
        }
        if let Some(flaw) = flaw(name) {
            return Err(StubRefused::Foreign(flaw.in_name));
        }
        if i64::try_from(length).is_err() {
            return Err(StubRefused::Foreign("the length is too large"));
        }
        Ok(Stub { peer, item: item.to_owned(), name: name.to_owned(), length })
    }

    /// Parses a stub. Never panics.
    ///
    /// ```
    /// let bytes = b"d7:comment21:jack:1a2b3c4d:film:424:infod6:lengthi5e4:name4:Filmee";
    /// let stub = regrip_core::Stub::read(bytes)?;
    /// assert_eq!((stub.peer.as_str(), stub.item.as_str()), ("1a2b3c4d", "film:42"));
    /// # Ok::<(), regrip_core::stub::StubRefused>(())
    /// ```
    ///
    /// # Errors
    /// Why the bytes are not a stub.
    pub fn read(bytes: &[u8]) -> Result<Stub, StubRefused> {
        if bytes.len() > LARGEST_BYTES {
            return Err(StubRefused::TooLarge);
        }
        let torrent = bencode::read(bytes).map_err(|flaw| StubRefused::NotBencode { at: flaw.at, what: flaw.what })?;
        let foreign = StubRefused::Foreign;
        let comment = torrent.get("comment").and_then(Value::text);
        let (peer, item) = named_in(comment.ok_or(foreign("it has no comment"))?)
            .ok_or(foreign("its comment is not jack:<peerId>:<itemId>"))?;
        let info = torrent.get("info").ok_or(foreign("it has no info"))?;
        let name = info.get("name").and_then(Value::text);
        let name = name.ok_or(foreign("its info has no name"))?;
        let length = match info.get("length") {
            Some(Value::Number(length)) => u64::try_from(*length).ok(),
            _ => None,
        };
        Stub::new(peer, item, name, length.ok_or(foreign("its info has no length"))?)
    }

    /// The `info` of a stub as its bytes are: their SHA-1 is the hash by which programs for torrents name it.
    ///
    /// ```
    /// let bytes = b"d7:comment21:jack:1a2b3c4d:film:424:infod6:lengthi5e4:name4:Filmee";
    /// assert_eq!(regrip_core::Stub::info_of(bytes), Some(&b"d6:lengthi5e4:name4:Filme"[..]));
    /// ```
    pub fn info_of(bytes: &[u8]) -> Option<&[u8]> {
        bencode::raw(bytes, "info")
    }

    /// The stub as bytes that [`read`](Self::read) accepts.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"d");
        bencode::write_text("comment", &mut out);
        bencode::write_text(&self.source(), &mut out);
        bencode::write_text("info", &mut out);
        out.extend_from_slice(&self.info());
        out.extend_from_slice(b"e");
        out
    }

    /// The `info` of [`write`](Self::write), whose SHA-1 is the info hash. Radarr and Sonarr read a stub with a torrent library,
    /// so it has pieces (of zeros); `source` makes the hash differ between items of the same name and length.
    pub fn info(&self) -> Vec<u8> {
        let piece = self.length.div_ceil(PIECES).checked_next_power_of_two().unwrap_or(LARGEST_PIECE_BYTES);
        let piece = piece.clamp(SMALLEST_PIECE_BYTES, LARGEST_PIECE_BYTES);
        let pieces = self.length.div_ceil(piece).clamp(1, MOST_PIECES);
        let mut out = b"d".to_vec();
        bencode::write_text("length", &mut out);
        bencode::write_number(self.length, &mut out);
        bencode::write_text("name", &mut out);
        bencode::write_text(&self.name, &mut out);
        bencode::write_text("piece length", &mut out);
        bencode::write_number(piece, &mut out);
        bencode::write_text("pieces", &mut out);
        bencode::write_text(&(0..pieces).map(|_| PIECE_HASH).collect::<String>(), &mut out);
        bencode::write_text("source", &mut out);
        bencode::write_text(&self.source(), &mut out);
        out.extend_from_slice(b"e");
        out
    }

    fn source(&self) -> String {
        format!("regrip:{}:{}", self.peer, self.item)
    }
}

/// Peer and item of a comment. Only the first two colons are separators.
fn named_in(comment: &str) -> Option<(PeerId, &str)> {
    let (scheme, rest) = comment.split_once(':')?;
    let (peer, item) = rest.split_once(':')?;
    let peer = PeerId::new(peer)?;
    SCHEMES.contains(&scheme).then_some((peer, item))
}

struct TextFlaw {
    in_item: &'static str,
    in_name: &'static str,
}

/// Why a text cannot be an item id or a name: both are shown, and the id becomes part of a URL.
fn flaw(text: &str) -> Option<TextFlaw> {
    let flaw = |in_item, in_name| Some(TextFlaw { in_item, in_name });
    if text.is_empty() {
        return flaw("the item id is empty", "the name is empty");
    }
    if text.len() > LONGEST_TEXT_BYTES {
        return flaw("the item id is longer than 1024 bytes", "the name is longer than 1024 bytes");
    }
    if text.chars().any(char::is_control) {
        return flaw("the item id has control characters", "the name has control characters");
    }
    None
}
