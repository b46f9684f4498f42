//! Stubs: small `.torrent` files that name an item of a peer (spec §8).
//!
//! A stub is bencode whose `comment` is `jack:<peerId>:<itemId>` or `regrip:<peerId>:<itemId>`, with the name and length of
//! the item in `info`. It comes from whoever can write into the watch folder, so it is read strictly and within bounds,
//! and nothing in it becomes a path: the file's name is the release's, which the peer is asked for.

use crate::bencode::{self, Value};
use std::fmt;

/// Largest stub, in bytes. Read no more of a file than one byte beyond it.
pub const LARGEST_BYTES: usize = 64 << 10;

/// Longest item id and name, in bytes.
const LONGEST_TEXT_BYTES: usize = 1024;

/// What may stand before the peer's id: the first is what the software wrote that this wire comes from.
const SCHEMES: [&str; 2] = ["jack", "regrip"];

/// Names a peer: the first 8 hex digits of the SHA-256 of its URL as configured, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(String);

impl PeerId {
    /// Digits of an id.
    pub const DIGITS: usize = 8;

    /// Takes eight hex digits, in either case.
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

/// What a stub says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The peer that has the item.
    pub peer: PeerId,
    /// As the peer names it. It may contain colons, and is neither a path nor a URL.
    pub item: String,
    /// The item's name, to show; never the name of a file.
    pub name: String,
    /// The item's size in bytes, as it was when the stub was made.
    pub length: u64,
}

/// Why a file is no stub of ours. It is left where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StubRefused {
    /// Larger than [`LARGEST_BYTES`].
    #[error("it is larger than {LARGEST_BYTES} bytes")]
    TooLarge,
    /// No bencode, or more than that.
    #[error("it is no bencode: {what}, at byte {at}")]
    NotBencode {
        /// Offset of the first byte that is wrong.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Bencode, perhaps a torrent, that names no item of a peer.
    #[error("it names no item of a peer: {0}")]
    Foreign(&'static str),
}

impl Stub {
    /// A stub of these, where they can be one: what [`read`](Self::read) takes is what can be made.
    ///
    /// # Errors
    /// `Foreign` with the first thing that cannot be.
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
        Ok(Stub {
            peer,
            item: item.to_owned(),
            name: name.to_owned(),
            length,
        })
    }

    /// Reads a stub. Never panics, whatever the bytes.
    ///
    /// ```
    /// let bytes = b"d7:comment21:jack:1a2b3c4d:film:424:infod6:lengthi5e4:name4:Filmee";
    /// let stub = regrip_core::Stub::read(bytes)?;
    /// assert_eq!((stub.peer.as_str(), stub.item.as_str()), ("1a2b3c4d", "film:42"));
    /// # Ok::<(), regrip_core::stub::StubRefused>(())
    /// ```
    ///
    /// # Errors
    /// Why it is not a stub.
    pub fn read(bytes: &[u8]) -> Result<Stub, StubRefused> {
        if bytes.len() > LARGEST_BYTES {
            return Err(StubRefused::TooLarge);
        }
        let torrent = bencode::read(bytes).map_err(|flaw| StubRefused::NotBencode {
            at: flaw.at,
            what: flaw.what,
        })?;
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
        Stub::new(
            peer,
            item,
            name,
            length.ok_or(foreign("its info has no length"))?,
        )
    }

    /// The stub as bytes, which [`read`](Self::read) gives back.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"d");
        bencode::write_text("comment", &mut out);
        bencode::write_text(&format!("regrip:{}:{}", self.peer, self.item), &mut out);
        bencode::write_text("info", &mut out);
        out.extend_from_slice(b"d");
        bencode::write_text("length", &mut out);
        bencode::write_number(self.length, &mut out);
        bencode::write_text("name", &mut out);
        bencode::write_text(&self.name, &mut out);
        out.extend_from_slice(b"ee");
        out
    }
}

/// Peer and item of a comment. Only the first two colons separate.
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

/// What no item id and no name can be: both are shown, and the id goes into a URL.
fn flaw(text: &str) -> Option<TextFlaw> {
    let flaw = |in_item, in_name| Some(TextFlaw { in_item, in_name });
    if text.is_empty() {
        return flaw("the item id is empty", "the name is empty");
    }
    if text.len() > LONGEST_TEXT_BYTES {
        return flaw(
            "the item id is longer than 1024 bytes",
            "the name is longer than 1024 bytes",
        );
    }
    if text.chars().any(char::is_control) {
        return flaw(
            "the item id has control characters",
            "the name has control characters",
        );
    }
    None
}
