//! The situations, the responses, and a peer that gives one response again and again.

use crate::world::{Answer, broken, bytes_of};
use regrip_core::record::{Behaviour, KnownSize, SizeSource, Validators};
use regrip_core::store::StoreRules;
use regrip_core::testing::{Asked, Piece, Reply};
use regrip_core::transport::RequestRules;
use std::time::Duration;

/// Size of the file.
pub(crate) const SIZE: u64 = 16_000;
/// Bytes that are held.
pub(crate) const OFFSET: u64 = 6_000;
/// A body arrives in pieces of this size.
pub(crate) const PIECE: usize = 500;
const OVERLAP: u64 = 1_000;
const FILM: &str = "video/x-matroska";
const MODIFIED: &str = "Wed, 31 Dec 1997 23:59:59 GMT";
const OTHER_MODIFIED: &str = "Thu, 01 Jan 1998 23:59:59 GMT";

/// The versions that are served.
#[derive(Clone)]
pub(crate) struct Files {
    /// The one that the part is of.
    pub(crate) same: Vec<u8>,
    /// One that begins as that does.
    middle: Vec<u8>,
    /// One that begins otherwise.
    other: Vec<u8>,
    /// A small one that begins as the first one does.
    small: Vec<u8>,
    /// A small page, and one that is larger than the file.
    page: Vec<u8>,
    large_page: Vec<u8>,
}

impl Files {
    fn new(uniform: bool) -> Files {
        let whole = SIZE as usize;
        let mut same = bytes_of(1, whole);
        if uniform {
            same[..OFFSET as usize].fill(0);
        }
        let mut middle = same.clone();
        middle[3000..].copy_from_slice(&bytes_of(2, whole)[3000..]);
        Files {
            middle,
            small: same[..2000].to_vec(),
            same,
            other: bytes_of(3, whole),
            page: bytes_of(4, 300),
            large_page: bytes_of(5, whole + 1000),
        }
    }

    pub(crate) fn all(&self) -> [&[u8]; 7] {
        [
            &[], // as a 416 with `*/0` says
            &self.same,
            &self.middle,
            &self.other,
            &self.small,
            &self.page,
            &self.large_page,
        ]
    }
}

/// What is held, and what is known.
#[derive(Clone)]
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) offset: u64,
    pub(crate) size: Option<KnownSize>,
    pub(crate) announced: Option<u64>,
    etag: Option<&'static str>,
    /// Last-Modified, and that it is strong.
    modified: Option<bool>,
    pub(crate) behaviour: Behaviour,
    pub(crate) requests: RequestRules,
    pub(crate) store: StoreRules,
    pub(crate) overlap: u64,
    pub(crate) adopted: bool,
    pub(crate) files: Files,
}

impl Situation {
    pub(crate) fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.map(str::to_owned),
            last_modified: self.modified.map(|_| MODIFIED.to_owned()),
            last_modified_strong: self.modified == Some(true),
            content_type: Some(FILM.to_owned()),
        }
    }
}

impl Situation {
    /// A strong ETag stands for every byte.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.requests.if_range && self.etag.is_some_and(|etag| etag.starts_with('"'))
    }
}

pub(crate) fn situations() -> Vec<Situation> {
    let known = |bytes| {
        let source = SizeSource::ContentLength;
        Some(KnownSize { bytes, source })
    };
    let base = Situation {
        name: "",
        offset: OFFSET,
        size: known(SIZE),
        announced: None,
        etag: None,
        modified: None,
        behaviour: Behaviour::default(),
        requests: RequestRules::FREE,
        store: StoreRules::FILE,
        overlap: OVERLAP,
        adopted: false,
        files: Files::new(false),
    };
    let strong = Situation { etag: Some("\"a\""), ..base.clone() };
    let fetch = RequestRules { if_range: true, range_always: true, decodes: true };
    let cross_origin = RequestRules { if_range: false, ..fetch };
    let ignores_if_range = Behaviour { ignores_if_range: true, ..Behaviour::default() };
    let refuses_ranges = Behaviour { refuses_ranges: true, ..Behaviour::default() };
    let shrunk = Behaviour { shrunk: Some(format!("2000 {} ", tag(&base.files.small))), ..Behaviour::default() };
    let upload = StoreRules { read_back_bytes: 0, ..StoreRules::FILE };
    let stream = StoreRules { truncate: false, ..upload };
    #[rustfmt::skip] // one line a row
    let all = vec![
        Situation { name: "N = 0", offset: 0, size: None, ..base.clone() },
        Situation { name: "N = 0, on fetch", offset: 0, size: None, requests: fetch, ..base.clone() },
        Situation { name: "N > known size (5000)", size: known(5000), ..strong.clone() },
        Situation { name: "N = known size (16000)", offset: SIZE, ..strong.clone() },
        Situation { name: "N = a size that only the release gave (16000)", offset: SIZE, size: None, announced: Some(SIZE), ..strong.clone() },
        Situation { name: "N > a size that only the release gave (5000), no validator", size: None, announced: Some(5000), ..base.clone() },
        Situation { name: "strong ETag", ..strong.clone() },
        Situation { name: "strong ETag, size unknown", size: None, ..strong.clone() },
        Situation { name: "strong ETag, the source ignores If-Range", behaviour: ignores_if_range, ..strong.clone() },
        Situation { name: "strong Last-Modified", modified: Some(true), ..base.clone() },
        Situation { name: "weak Last-Modified", modified: Some(false), ..base.clone() },
        Situation { name: "weak ETag", etag: Some("W/\"a\""), ..base.clone() },
        Situation { name: "no validator", ..base.clone() },
        Situation { name: "no validator, size unknown", size: None, ..base.clone() },
        Situation { name: "no validator, one repeated byte", files: Files::new(true), ..base.clone() },
        Situation { name: "no validator, overlap 0", overlap: 0, ..base.clone() },
        Situation { name: "strong ETag, the source refuses ranges", behaviour: refuses_ranges.clone(), ..strong.clone() },
        Situation { name: "strong ETag, on fetch", requests: fetch, ..strong.clone() },
        Situation { name: "strong ETag, on cross-origin fetch", requests: cross_origin, ..strong.clone() },
        Situation { name: "no validator, on fetch, size unknown", requests: fetch, size: None, ..base.clone() },
        Situation { name: "strong ETag, on fetch, the source refuses ranges", requests: fetch, behaviour: refuses_ranges, ..strong.clone() },
        Situation { name: "strong ETag, a smaller response was seen", behaviour: shrunk, ..strong.clone() },
        Situation { name: "a part that was adopted", size: None, adopted: true, ..base.clone() },
        Situation { name: "strong ETag, a store that cannot read back", store: upload, ..strong.clone() },
        Situation { name: "no validator, a store that cannot read back", store: upload, ..base.clone() },
        Situation { name: "N = a size that only the release gave (6000), overlap 0, no validator", size: None, announced: Some(OFFSET), overlap: 0, ..base.clone() },
        Situation { name: "N = a size that only the release gave (6000), a store that cannot read back or cut", size: None, announced: Some(OFFSET), store: stream, ..strong.clone() },
        Situation { name: "strong ETag, a store that cannot read back or cut", store: stream, ..strong },
        Situation { name: "no validator, a store that cannot read back or cut", store: stream, ..base },
    ];
    all
}

/// A response, by name.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) answer: fn(&Peer, &Asked) -> Wire,
}

/// A response before it is a reply.
pub(crate) struct Wire {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// It breaks after this many bytes.
    breaks: Option<usize>,
}

/// Which validators a response has.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Held,
    Other,
    Nothing,
}

pub(crate) struct Peer {
    situation: Situation,
    /// What it responds, by the number of the request from 1; the last one again and again.
    responses: Vec<fn(&Peer, &Asked) -> Wire>,
    requests: u64,
    /// Bytes of bodies, dropped ones included.
    pub(crate) sent: u64,
}

impl Peer {
    pub(crate) fn new(situation: Situation, responses: Vec<fn(&Peer, &Asked) -> Wire>) -> Peer {
        Peer { situation, responses, requests: 0, sent: 0 }
    }

    pub(crate) fn answer(&mut self, asked: &Asked) -> Answer {
        self.requests += 1;
        let number = usize::try_from(self.requests).unwrap_or(usize::MAX);
        let respond = self.responses[number.min(self.responses.len()) - 1];
        let wire = respond(self, asked);
        if wire.status == 0 {
            return Err(broken());
        }
        let mut body = wire.body;
        if let Some(at) = wire.breaks {
            body.truncate(at);
        }
        self.sent += body.len() as u64;
        let mut pieces: Vec<_> = body.chunks(PIECE).map(|piece| Piece::Bytes(piece.to_vec())).collect();
        if wire.breaks.is_some() {
            pieces.push(Piece::Break(broken()));
        }
        Ok(Reply {
            delay: Duration::ZERO,
            status: wire.status,
            headers: wire.fields.into_iter().collect(),
            body: pieces,
        })
    }

    fn files(&self) -> &Files {
        &self.situation.files
    }

    fn validators(&self, of: Of, content: &[u8]) -> Vec<(&'static str, String)> {
        let held = match of {
            Of::Held => self.situation.validators(),
            Of::Other => Validators { etag: Some(tag(content)), ..Validators::default() },
            Of::Nothing => Validators::default(),
        };
        let fields = [("etag", held.etag), ("last-modified", held.last_modified)];
        let sent = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        sent.chain([("content-type", FILM.to_owned())]).collect()
    }

    fn whole(&self, of: Of, content: &[u8]) -> Wire {
        let wire = self.chunked(of, content);
        wire.with("content-length", &content.len().to_string()).without("transfer-encoding")
    }

    fn chunked(&self, of: Of, content: &[u8]) -> Wire {
        let mut fields = self.validators(of, content);
        fields.push(("transfer-encoding", "chunked".to_owned()));
        Wire { status: 200, fields, body: content.to_vec(), breaks: None }
    }

    /// A 206 of these bytes, or the whole file if no range was asked for.
    fn range(&self, asked: &Asked, of: Of, content: &[u8], last: u64) -> Wire {
        let Some(first) = asked.first else {
            return self.whole(of, content);
        };
        let last = last.min(SIZE - 1);
        if first > last {
            return self.unsatisfied(asked, of, SIZE);
        }
        let body = content[first as usize..=last as usize].to_vec();
        Wire { status: 206, body, ..self.whole(of, content) }
            .with("content-length", &(last - first + 1).to_string())
            .with("content-range", &format!("bytes {first}-{last}/{SIZE}"))
    }

    fn unsatisfied(&self, asked: &Asked, of: Of, total: u64) -> Wire {
        if asked.first.is_none() {
            return self.whole(Of::Held, &self.files().same);
        }
        Wire { status: 416, body: Vec::new(), ..self.whole(of, &[]) }.with("content-range", &format!("bytes */{total}"))
    }

    fn fits(&self, asked: &Asked) -> Wire {
        self.range(asked, Of::Held, &self.files().same, SIZE)
    }

    /// A status to a request with a Range.
    fn refuses(&self, asked: &Asked, status: u16) -> Wire {
        match asked.first {
            Some(_) => error(status),
            None => self.whole(Of::Held, &self.files().same),
        }
    }
}

impl Wire {
    fn with(self, name: &'static str, value: &str) -> Wire {
        let mut wire = self.without(name);
        wire.fields.push((name, value.to_owned()));
        wire
    }

    fn without(mut self, name: &str) -> Wire {
        self.fields.retain(|(have, _)| *have != name);
        self
    }

    /// This, if it is a 206.
    fn if_ranged(self, change: impl FnOnce(Wire) -> Wire) -> Wire {
        match self.status {
            206 => change(self),
            _ => self,
        }
    }

    fn breaking(mut self, at: usize) -> Wire {
        self.breaks = Some(at);
        self
    }
}

/// An ETag that stands for these bytes.
fn tag(content: &[u8]) -> String {
    let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
    format!("\"{}-{sum}\"", content.len())
}

fn error(status: u16) -> Wire {
    Wire { status, fields: vec![("content-length", "0".to_owned())], body: Vec::new(), breaks: None }
}

macro_rules! kinds {
    ($($name:literal => $answer:expr,)*) => {
        &[$(Kind { name: $name, answer: $answer },)*]
    };
}

#[rustfmt::skip] // one line a row
pub(crate) const KINDS: &[Kind] = kinds![
    "206 that fits" => |peer, asked| peer.fits(asked),
    "206 that fits, of unknown size" => |peer, asked| peer.fits(asked).if_ranged(|wire| {
        let range = format!("bytes {}-{}/*", asked.first.unwrap_or(0), SIZE - 1);
        wire.with("content-range", &range)
    }),
    "206 that fits, other bytes under the same strong ETag or none" => |peer, asked| peer.range(asked, Of::Held, &peer.files().other, SIZE),
    "206 that fits, shorter" => |peer, asked| peer.range(asked, Of::Held, &peer.files().same, asked.first.unwrap_or(0) + 1999),
    "206 that fits, broken" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.breaking(2000)),
    "206 that fits, broken in the overlap" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.breaking(500)),
    "206 with an earlier start" => |peer, asked| peer.fits(asked).if_ranged(|wire| {
        let first = asked.first.unwrap_or(0).saturating_sub(1);
        wire.with("content-range", &format!("bytes {first}-{}/{SIZE}", SIZE - 1)).without("content-length")
    }),
    "206 with another total" => |peer, asked| peer.fits(asked).if_ranged(|wire| {
        let range = format!("bytes {}-{}/{}", asked.first.unwrap_or(0), SIZE - 1, SIZE + 1);
        wire.with("content-range", &range)
    }),
    "206 without a Content-Range" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.without("content-range")),
    "206 in several parts" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.with("content-type", "multipart/byteranges")),
    "206 with another length than its range" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.with("content-length", "7")),
    "206 with another ETag" => |peer, asked| peer.range(asked, Of::Other, &peer.files().same, SIZE),
    "206 with another ETag, other bytes" => |peer, asked| peer.range(asked, Of::Other, &peer.files().other, SIZE),
    "206 without validators" => |peer, asked| peer.range(asked, Of::Nothing, &peer.files().same, SIZE),
    "206 with another Last-Modified" => |peer, asked| peer.fits(asked).with("last-modified", OTHER_MODIFIED),
    "206, coded" => |peer, asked| peer.fits(asked).if_ranged(|wire| wire.with("content-encoding", "gzip")),
    "200" => |peer, _| peer.whole(Of::Held, &peer.files().same),
    "200 with another ETag" => |peer, _| peer.whole(Of::Other, &peer.files().same),
    "200 without validators" => |peer, _| peer.whole(Of::Nothing, &peer.files().same),
    "200 that differs in the middle" => |peer, _| peer.whole(Of::Other, &peer.files().middle),
    "200 that differs from the start" => |peer, _| peer.whole(Of::Other, &peer.files().other),
    "200 that differs, under the same strong ETag or none" => |peer, _| peer.whole(Of::Held, &peer.files().other),
    "200, chunked" => |peer, _| peer.chunked(Of::Other, &peer.files().same),
    "200, chunked, that differs" => |peer, _| peer.chunked(Of::Other, &peer.files().other),
    "200, chunked, smaller" => |peer, _| peer.chunked(Of::Other, &peer.files().small),
    "200 that breaks before N" => |peer, _| peer.whole(Of::Other, &peer.files().same).breaking(3000),
    "200 that breaks after N" => |peer, _| peer.whole(Of::Other, &peer.files().same).breaking(8000),
    "200 that breaks a little later each time" => |peer, _| {
        peer.whole(Of::Other, &peer.files().same).breaking(6000 + 1000 * usize::try_from(peer.requests.min(9)).unwrap_or(9))
    },
    "200 that differs and breaks" => |peer, _| peer.whole(Of::Other, &peer.files().other).breaking(3000),
    "200 without a length" => |peer, _| peer.chunked(Of::Other, &peer.files().same).without("transfer-encoding"),
    "200, smaller" => |peer, _| peer.whole(Of::Other, &peer.files().small),
    "200, smaller, JSON" => |peer, _| peer.whole(Of::Nothing, &peer.files().page).with("content-type", "application/json"),
    "200, HTML" => |peer, _| peer.whole(Of::Nothing, &peer.files().page).with("content-type", "text/html"),
    "200, HTML, larger" => |peer, _| peer.whole(Of::Nothing, &peer.files().large_page).with("content-type", "text/html"),
    "200 with the Content-Range of a part" => |peer, _| peer.whole(Of::Held, &peer.files().same).with("content-range", "bytes 1-15999/16000"),
    "200 with the Content-Range of the whole" => |peer, _| peer.whole(Of::Held, &peer.files().same).with("content-range", "bytes 0-15999/16000"),
    "200, coded" => |peer, _| peer.whole(Of::Held, &peer.files().same).with("content-encoding", "gzip"),
    "200, too large" => |peer, _| peer.whole(Of::Other, &peer.files().same).with("content-length", "1000000"),
    "416 at N, the held validators" => |peer, asked| peer.unsatisfied(asked, Of::Held, peer.situation.offset),
    "416 at N, no validators" => |peer, asked| peer.unsatisfied(asked, Of::Nothing, peer.situation.offset),
    "416 at N, another ETag" => |peer, asked| peer.unsatisfied(asked, Of::Other, peer.situation.offset),
    "416 elsewhere" => |peer, asked| peer.unsatisfied(asked, Of::Held, 2000),
    "416 without a Content-Range" => |peer, asked| peer.unsatisfied(asked, Of::Held, 0).without("content-range"),
    "400 to a range" => |peer, asked| peer.refuses(asked, 400),
    "403 to a range" => |peer, asked| peer.refuses(asked, 403),
    "405 to a range" => |peer, asked| peer.refuses(asked, 405),
    "501 to a range" => |peer, asked| peer.refuses(asked, 501),
    "401 to a range" => |peer, asked| peer.refuses(asked, 401),
    "404 to a range" => |peer, asked| peer.refuses(asked, 404),
    "503 to a range" => |peer, asked| peer.refuses(asked, 503),
    "403 to a range, and the whole breaks before N" => |peer, asked| match asked.first {
        Some(_) => error(403),
        None => peer.whole(Of::Held, &peer.files().same).breaking(3000),
    },
    "403 to a range, and the whole breaks after N" => |peer, asked| match asked.first {
        Some(_) => error(403),
        None => peer.whole(Of::Held, &peer.files().same).breaking(8000),
    },
    "403 to a range, and the whole differs" => |peer, asked| match asked.first {
        Some(_) => error(403),
        None => peer.whole(Of::Other, &peer.files().middle),
    },
    "400" => |_, _| error(400),
    "401" => |_, _| error(401),
    "403" => |_, _| error(403),
    "404" => |_, _| error(404),
    "405" => |_, _| error(405),
    "410" => |_, _| error(410),
    "416" => |_, _| error(416),
    "429" => |_, _| error(429),
    "451" => |_, _| error(451),
    "500" => |_, _| error(500),
    "501" => |_, _| error(501),
    "503" => |_, _| error(503),
    "599" => |_, _| error(599),
    "204" => |_, _| error(204),
    "226" => |_, _| error(226),
    "304" => |_, _| error(304),
    "302 that is not followed" => |_, _| error(302),
    "no response" => |_, _| error(0),
];
