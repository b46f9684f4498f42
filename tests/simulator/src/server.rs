//! The servers: each has its own habits, and the files on them are replaced at bad moments.

use crate::world::{Kind, World};
use regrip_core::error::Error;
use regrip_core::testing::{Asked, Piece, Reply};
use regrip_core::transport::Headers;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A file as it was at some time.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
    number: u64,
}

impl Version {
    /// A version of a file; the bytes of two versions have nothing in common.
    pub fn new(file: u64, number: u64, size: u64) -> Self {
        let mut state = (file << 32) ^ (number << 8) ^ 0x9E37_79B9_7F4A_7C15;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 8);
        while (bytes.len() as u64) < size {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        bytes.truncate(usize::try_from(size).unwrap_or(0));
        Version { bytes: Arc::new(bytes), number }
    }
}

/// How a server tells one version from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validator {
    Strong,
    /// The same strong ETag for every version, as some servers make of the name alone. The sizes tell the versions apart.
    Constant,
    Weak,
    LastModified,
    Nothing,
}

/// A server of one file.
#[derive(Debug)]
pub struct Origin {
    world: World,
    name: &'static str,
    versions: Vec<Version>,
    current: usize,
    validator: Validator,
    ranges: bool,
    obeys_if_range: bool,
    chunked: bool,
    /// The most bytes of a response, if it cuts every one.
    always_cuts: Option<u64>,
    chunk_bytes: u64,
}

impl Origin {
    /// A server with habits drawn from the seed.
    pub fn new(world: &World, name: &'static str, versions: Vec<Version>) -> Self {
        let all = [Validator::Strong, Validator::Strong, Validator::Weak, Validator::LastModified, Validator::Nothing];
        let size = versions.first().map_or(0, |version| version.bytes.len() as u64);
        let sizes: BTreeSet<usize> = versions.iter().map(|version| version.bytes.len()).collect();
        let chunked = world.one_in("chunked", 5);
        let is_constant = sizes.len() == versions.len() && !chunked && world.one_in("one ETag for all", 3);
        Origin {
            name,
            current: 0,
            validator: if is_constant { Validator::Constant } else { world.pick("validator", &all) },
            ranges: !world.one_in("no ranges", 6),
            obeys_if_range: !world.one_in("ignores If-Range", 6),
            chunked,
            always_cuts: world.one_in("always cuts", 5).then(|| size / 7 + 70_000),
            chunk_bytes: size / 40 + world.pick("chunk size", &[1_000, 16_384, 65_536]),
            versions,
            world: world.clone(),
        }
    }

    /// Behaves as well as it can from now on.
    pub fn calm_down(&mut self, back_to_first: bool) {
        self.always_cuts = None;
        if back_to_first {
            self.current = 0;
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// As the transport of a host says it.
    pub fn answer(&mut self, asked: &Asked) -> Result<Reply, Error> {
        let world = self.world.clone();
        let most = self.versions.iter().map(|version| version.bytes.len() as u64).max().unwrap_or(0);
        if asked.first.is_some_and(|first| first > most) {
            world.violate(format!("a request from byte {:?} of a file that never had more than {most}", asked.first));
        }
        if world.fault(Kind::Unreachable, 6, "the connection is refused") {
            return Err(broken("connecting"));
        }
        if self.current + 1 < self.versions.len() && world.fault(Kind::Replace, 6, "the file is replaced") {
            self.current += 1;
        }
        let mut reply = match self.status() {
            Some(reply) => reply,
            None => self.file(asked),
        };
        if world.fault(Kind::Stall, 12, "the head comes late") {
            reply.delay = Duration::from_secs(world.pick("how late", &[1, 29, 61, 500]));
        }
        Ok(reply)
    }

    fn status(&self) -> Option<Reply> {
        let world = &self.world;
        if !world.fault(Kind::Status, 8, "an error status") {
            return None;
        }
        let mut headers = Headers::default();
        headers.push("content-length", b"0");
        let status = world.pick("which status", &[500, 502, 503, 503, 429, 408, 404, 403]);
        if world.one_in("Retry-After", 2) {
            headers.push("retry-after", world.pick("how long", &["0", "1", "30", "100000", "never"]).as_bytes());
        }
        Some(Reply { status, headers, ..Reply::default() })
    }

    fn file(&self, asked: &Asked) -> Reply {
        let world = &self.world;
        let Some(version) = self.versions.get(self.current) else {
            return Reply { status: 404, ..Reply::default() };
        };
        let total = version.bytes.len() as u64;
        let mut headers = Headers::default();
        let coded = world.fault(Kind::Coded, 25, "the body is coded");
        if coded {
            headers.push("content-encoding", b"gzip");
        }
        let form = if coded { "-gzip" } else { "" };
        let etag = match self.validator {
            Validator::Strong => Some(format!("\"{}-{}{form}\"", self.name, version.number)),
            Validator::Constant => Some(format!("\"{}{form}\"", self.name)),
            Validator::Weak => Some(format!("W/\"{}-{}\"", self.name, version.number)),
            Validator::LastModified | Validator::Nothing => None,
        };
        let last_modified = (self.validator == Validator::LastModified)
            .then(|| format!("Mon, {:02} Dec 2025 10:00:00 GMT", version.number + 1));
        if let Some(etag) = &etag {
            headers.push("etag", etag.as_bytes());
        }
        if let Some(date) = &last_modified {
            headers.push("last-modified", date.as_bytes());
            headers.push("date", b"Thu, 01 Jan 2026 00:00:00 GMT");
        }
        let is_same = match &asked.if_range {
            None => true,
            Some(sent) => {
                Some(sent) == etag.as_ref().filter(|etag| !etag.starts_with("W/"))
                    || Some(sent) == last_modified.as_ref()
            }
        };
        let range = asked.first.filter(|_| self.ranges && (is_same || !self.obeys_if_range));
        let range = range.filter(|_| !world.fault(Kind::WholeFile, 12, "a range is answered with the whole file"));
        if range.is_some_and(|first| first >= total) {
            headers.push("content-range", format!("bytes */{total}").as_bytes());
            return Reply { status: 416, headers, ..Reply::default() };
        }
        let from = range.unwrap_or(0);
        let to = asked.last.filter(|_| range.is_some()).map_or(total, |last| (last + 1).min(total));
        let mut bytes = &version.bytes[index(from)..index(to)];
        if range.is_some() {
            let (mut first, mut stated) = (from, total);
            if world.fault(Kind::WrongRange, 12, "another range than the requested one") {
                match world.below("which range", 3) {
                    0 => first = from.saturating_sub(1),
                    1 => stated = total + 1,
                    // The bytes are those of the start, whatever the header says.
                    _ => {
                        first = 0;
                        bytes = &version.bytes[..index(to - from)];
                    }
                }
            }
            let last = first + (to - from) - 1;
            headers.push("content-range", format!("bytes {first}-{last}/{stated}").as_bytes());
        }
        if self.chunked {
            headers.push("transfer-encoding", b"chunked");
        } else {
            headers.push("content-length", bytes.len().to_string().as_bytes());
        }
        let status = if range.is_some() { 206 } else { 200 };
        let bytes: Vec<u8> = bytes.iter().map(|byte| if coded { !byte } else { *byte }).collect();
        let bytes = &bytes;
        Reply { status, headers, body: self.body(bytes), ..Reply::default() }
    }

    fn body(&self, bytes: &[u8]) -> Vec<Piece> {
        let world = &self.world;
        let mut sent = bytes.len() as u64;
        let cut = self.always_cuts.filter(|most| *most < sent);
        sent = cut.unwrap_or(sent);
        let mut broken_off = cut.is_some();
        if world.fault(Kind::Cut, 3, "the body breaks") {
            sent = world.below("where", sent + 1);
            broken_off = true;
        }
        let chunk = usize::try_from(self.chunk_bytes).unwrap_or(1).max(1);
        let mut body: Vec<Piece> =
            bytes[..index(sent)].chunks(chunk).map(|piece| Piece::Bytes(piece.to_vec())).collect();
        if world.fault(Kind::Stall, 10, "the body stalls") {
            let at = index(world.below("stall at", body.len() as u64 + 1));
            let stall = match world.below("for how long", 4) {
                0 => Piece::Forever,
                1 => Piece::Wait(Duration::from_secs(59)),
                2 => Piece::Wait(Duration::from_secs(61)),
                _ => Piece::Wait(Duration::from_secs(3)),
            };
            body.insert(at, stall);
        } else if body.len() > 1 {
            // A line has a speed: with several connections it matters which piece arrives first.
            let pause = Duration::from_millis(world.pick("speed", &[0, 1, 40, 700]));
            if !pause.is_zero() {
                let every = |piece| [Piece::Wait(pause), piece];
                body = body.into_iter().flat_map(every).collect();
            }
        }
        if broken_off {
            body.push(Piece::Break(match world.below("how it breaks", 2) {
                0 => broken("reading the body"),
                _ => Error::Incomplete { got: sent, expected: Some(bytes.len() as u64) },
            }));
        }
        body
    }
}

fn broken(what: &str) -> Error {
    Error::Network { what: what.to_owned(), source: None }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
