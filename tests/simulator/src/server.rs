//! The servers: each has its own habits, and the files on them are replaced at bad moments.

use crate::world::{Kind, World};
use regrip_core::error::Error;
use regrip_core::testing::{Asked, Piece, Reply};
use regrip_core::transport::Headers;
use std::borrow::Cow;
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

/// The clock of every server.
const NOW: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// How a server tells one version from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validator {
    Strong,
    /// The same strong ETag for every version, as some servers make of the name alone. The sizes tell the versions apart.
    Constant,
    /// A weak ETag, which the first two versions share.
    Weak,
    LastModified,
    /// All versions have the date of the response: they were replaced within one second.
    Recent,
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
    /// The download has the digest of the first version.
    has_digest: bool,
}

impl Origin {
    /// A server with habits drawn from the seed.
    pub fn new(world: &World, name: &'static str, versions: Vec<Version>, has_digest: bool) -> Self {
        let all = [
            Validator::Strong,
            Validator::Strong,
            Validator::Weak,
            Validator::LastModified,
            Validator::Recent,
            Validator::Nothing,
        ];
        let size = versions.first().map_or(0, |version| version.bytes.len() as u64);
        let sizes: BTreeSet<usize> = versions.iter().map(|version| version.bytes.len()).collect();
        let chunked = world.one_in("chunked", 5);
        // If nothing tells two versions apart, nobody can.
        let is_told = has_digest || (sizes.len() == versions.len() && !chunked);
        let is_constant = is_told && world.one_in("one ETag for all", 3);
        Origin {
            name,
            current: 0,
            validator: if is_constant { Validator::Constant } else { world.pick("validator", &all) },
            ranges: !world.one_in("no ranges", 6),
            obeys_if_range: !world.one_in("ignores If-Range", 6),
            chunked,
            always_cuts: world.one_in("always cuts", 5).then(|| size / 7 + 70_000),
            chunk_bytes: (size / 40).max(world.pick("chunk size", &[1_000, 16_384, 65_536, 65_537])),
            versions,
            has_digest,
            world: world.clone(),
        }
    }

    /// Its ETag does not tell versions of one size apart: only a digest does.
    pub fn is_lying(&self) -> bool {
        let sizes: BTreeSet<usize> = self.versions.iter().map(|version| version.bytes.len()).collect();
        self.validator == Validator::Constant && sizes.len() < self.versions.len()
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
        if world.fault(Kind::Habits, 20, "the server has other habits") {
            self.change();
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

    /// As after an update, or behind another cache.
    fn change(&mut self) {
        let world = &self.world;
        match world.below("which habit", 4) {
            0 => self.ranges = !self.ranges,
            1 => self.obeys_if_range = !self.obeys_if_range,
            2 if self.validator != Validator::Constant => self.chunked = !self.chunked,
            _ if self.validator != Validator::Constant => {
                let all = [Validator::Strong, Validator::Weak, Validator::LastModified, Validator::Nothing];
                self.validator = world.pick("validator from now on", &all);
            }
            _ => {}
        }
    }

    fn status(&self) -> Option<Reply> {
        let world = &self.world;
        if !world.fault(Kind::Status, 8, "an error status") {
            return None;
        }
        let mut headers = Headers::default();
        headers.push("content-length", b"0");
        let status =
            world.pick("which status", &[500, 502, 503, 503, 429, 408, 404, 403, 400, 405, 416, 501, 204, 304, 206]);
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
        let mut headers = Headers::default();
        let coded = world.fault(Kind::Coded, 12, "the body is coded");
        let content = if coded { Cow::from(self.coded(version)) } else { Cow::from(version.bytes.as_slice()) };
        let total = content.len() as u64;
        if coded {
            headers.push("content-encoding", b"gzip");
        }
        let form = if coded { "-gzip" } else { "" };
        let etag = match self.validator {
            Validator::Strong => Some(format!("\"{}-{}{form}\"", self.name, version.number)),
            Validator::Constant => Some(format!("\"{}{form}\"", self.name)),
            Validator::Weak => Some(format!("W/\"{}-{}\"", self.name, version.number / 2)),
            Validator::LastModified | Validator::Recent | Validator::Nothing => None,
        };
        let last_modified = match self.validator {
            Validator::LastModified => Some(format!("Mon, {:02} Dec 2025 10:00:00 GMT", version.number + 1)),
            Validator::Recent => Some(NOW.to_owned()),
            _ => None,
        };
        if let Some(etag) = &etag {
            headers.push("etag", etag.as_bytes());
        }
        if let Some(date) = &last_modified {
            headers.push("last-modified", date.as_bytes());
            headers.push("date", NOW.as_bytes());
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
        let mut bytes = &content[index(from)..index(to)];
        let mut status = if range.is_some() { 206 } else { 200 };
        if range.is_some() {
            let (mut first, mut stated, mut fields) = (from, total.to_string(), 1);
            if world.fault(Kind::WrongRange, 12, "another range than the requested one") {
                match world.below("which range", 8) {
                    0 => first = from.saturating_sub(1),
                    1 => stated = (total + 1).to_string(),
                    2 => stated = "*".to_owned(),
                    3 => fields = 0,
                    4 => fields = 2,
                    5 => status = 200,
                    // A shorter one is allowed; the rest is requested next.
                    6 => bytes = &bytes[..bytes.len().div_ceil(2)],
                    // The bytes are those of the start, whatever the header says.
                    _ => {
                        first = 0;
                        bytes = &content[..index(to - from)];
                    }
                }
            }
            let last = first + (bytes.len() as u64) - 1;
            for _ in 0..fields {
                headers.push("content-range", format!("bytes {first}-{last}/{stated}").as_bytes());
            }
        }
        if self.chunked {
            headers.push("transfer-encoding", b"chunked");
        } else {
            headers.push("content-length", bytes.len().to_string().as_bytes());
        }
        let mut body = self.body(bytes);
        if !self.chunked && world.fault(Kind::WrongRange, 20, "the body is longer than it says") {
            body.push(Piece::Bytes(vec![0; 100]));
        }
        Reply { status, headers, body, ..Reply::default() }
    }

    /// A coded body. It is as long as the file if a digest says that it is not the file: else only its length does.
    fn coded(&self, version: &Version) -> Vec<u8> {
        let extra = if self.has_digest { 0 } else { 20 };
        version.bytes.iter().map(|byte| !byte).chain(std::iter::repeat_n(7, extra)).collect()
    }

    fn body(&self, bytes: &[u8]) -> Vec<Piece> {
        let world = &self.world;
        let mut sent = bytes.len() as u64;
        let cut = self.always_cuts.filter(|most| *most < sent);
        sent = cut.unwrap_or(sent);
        let mut broken_off = cut.is_some();
        if world.fault(Kind::Cut, 3, "the body breaks") {
            // The limits of a checkpoint, of a comparison and of the body are more likely than other places.
            let places = [0, 1, 65_535, 65_536, 65_537, sent.saturating_sub(1), sent];
            let anywhere = world.below("where", sent + 1);
            sent = match world.one_in("at a limit", 3) {
                true => world.pick("which limit", &places).min(sent),
                false => anywhere,
            };
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
