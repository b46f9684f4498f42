//! A server whose every response draws its own misbehaviour. It lies about anything but what a client has to believe: a
//! Content-Range names the bytes that follow it, and bytes under a strong validator are those of that version.

use crate::versions::{Entity, Telling, noise, versions};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

const DATE: &str = "Sat, 28 Nov 2026 12:00:00 GMT";

/// What the server is made of. Entities only grow; the versions of the file are the first ones.
#[derive(Debug)]
pub(crate) struct Site {
    rng: Rng,
    pub(crate) entities: Vec<Entity>,
    pub(crate) served: Vec<bool>,
    versions: usize,
    current: usize,
    /// Other ETags of entities.
    aliases: BTreeMap<String, usize>,
    loose: bool,
    /// The file is never replaced, and nothing else is sent in its place.
    pub(crate) one_version: bool,
    pub(crate) honest: bool,
    misbehaves_percent: u8,
    pub(crate) requests: Vec<String>,
    /// Kill the client after this many more bytes of bodies.
    pub(crate) kill_after_bytes: Option<usize>,
    pub(crate) kill_now: bool,
    over: bool,
}

/// What was asked.
struct Asked {
    first: Option<usize>,
    last: Option<usize>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Asked {
    /// The length of the range, if it names its last byte.
    fn length(&self) -> Option<usize> {
        Some((self.last? + 1).saturating_sub(self.first?))
    }
}

#[derive(Debug, Default)]
struct Reply {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    framing: Framing,
    cut: Option<usize>,
    /// Nothing at all.
    silent: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Framing {
    #[default]
    Length,
    Chunked,
    Close,
}

impl Site {
    /// With `scale` above 1 the versions of a strong ETag are larger by that factor: others have no pieces.
    pub(crate) fn new(mut rng: Rng, scale: usize) -> Site {
        let telling = Telling::drawn(&mut rng);
        let loose = rng.u8(..4) == 0;
        let mut entities = versions(&mut rng, telling, loose);
        for entity in entities.iter_mut().filter(|one| one.etag.as_ref().is_some_and(|etag| etag.starts_with('"'))) {
            let more = entity.bytes.len() * (scale - 1);
            entity.bytes.extend(noise(&mut rng, more));
        }
        Site {
            versions: entities.len(),
            served: vec![false; entities.len()],
            one_version: entities.len() == 1 && rng.bool(),
            misbehaves_percent: [20, 50, 80, 95][rng.usize(..4)],
            entities,
            current: 0,
            aliases: BTreeMap::new(),
            loose,
            honest: false,
            requests: Vec::new(),
            kill_after_bytes: None,
            kill_now: false,
            over: false,
            rng,
        }
    }

    pub(crate) fn current(&self) -> &Entity {
        &self.entities[self.current]
    }

    pub(crate) fn replace(&mut self) {
        self.current = self.rng.usize(..self.versions);
    }

    fn add(&mut self, entity: Entity) -> usize {
        self.entities.push(entity);
        self.served.push(false);
        self.entities.len() - 1
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        if !self.honest && self.rng.u8(..4) == 0 {
            self.replace();
        }
        let misbehaves = !self.honest && self.rng.u8(..100) < self.misbehaves_percent;
        let mut reply = match asked.first {
            _ if !misbehaves => self.fitting(asked),
            Some(first) => self.odd_to_range(asked, first),
            None => self.odd_to_plain(asked),
        };
        if misbehaves {
            self.deform(&mut reply);
        }
        reply
    }

    /// How the body is sent, and at which offset it breaks.
    fn deform(&mut self, reply: &mut Reply) {
        if reply.status < 400 {
            reply.framing = match self.rng.u8(..10) {
                0..2 => Framing::Chunked,
                2 => Framing::Close,
                _ => Framing::Length,
            };
        }
        let length = reply.body.len();
        if self.rng.bool() && length > 0 {
            let near = [0, 1, length - 1, 65_536, 16_384];
            let drawn = self.rng.usize(..length);
            reply.cut = Some(match self.rng.u8(..4) {
                0 => near[self.rng.usize(..near.len())].min(length - 1),
                _ => drawn,
            });
        }
    }

    /// As RFC 9110 says.
    fn fitting(&mut self, asked: &Asked) -> Reply {
        let current = self.current;
        if self.names_current(asked.if_none_match.as_deref()) {
            let mut reply = self.with_validators(current, 304, None);
            reply.body = Vec::new();
            return reply;
        }
        let matches = asked.if_range.is_none() || self.names_current(asked.if_range.as_deref());
        match asked.first.filter(|_| matches) {
            Some(first) if first >= self.current().bytes.len() => self.unsatisfied(asked),
            Some(first) => self.part(current, first, asked.length(), asked.if_range.as_deref()),
            None => self.whole(current),
        }
    }

    /// Returns `true` if a validator is one of the current version.
    fn names_current(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return false };
        let current = self.current();
        current.etag.as_deref() == Some(value)
            || current.last_modified.as_deref() == Some(value)
            || self.aliases.get(value) == Some(&self.current)
    }

    fn whole(&mut self, of: usize) -> Reply {
        self.served[of] = true;
        let mut reply = self.with_validators(of, 200, None);
        reply.body = self.entities[of].bytes.clone();
        reply
    }

    fn part(&mut self, of: usize, first: usize, length: Option<usize>, etag: Option<&str>) -> Reply {
        self.served[of] = true;
        let mut reply = self.with_validators(of, 206, etag);
        let bytes = &self.entities[of].bytes;
        let to = length.map_or(bytes.len(), |length| bytes.len().min(first + length));
        reply.body = bytes[first..to].to_vec();
        let range = format!("bytes {first}-{}/{}", to - 1, bytes.len());
        reply.fields.push(("Content-Range", range));
        reply
    }

    /// 416 with the true size. If it could pass for "complete" though the If-Range names another version, with the ETag.
    fn unsatisfied(&mut self, asked: &Asked) -> Reply {
        let current = self.current;
        let mut reply = self.with_validators(current, 416, asked.if_range.as_deref());
        let total = self.current().bytes.len();
        self.served[current] |= total == 0; // `bytes */0` is an empty file
        let matches = asked.if_range.is_none() || self.names_current(asked.if_range.as_deref());
        if matches || self.current().etag.is_some() {
            reply.fields.push(("Content-Range", format!("bytes */{total}")));
        }
        reply
    }

    /// `etag` is sent in place of the entity's own if it is one of its other ones.
    fn with_validators(&self, of: usize, status: u16, etag: Option<&str>) -> Reply {
        let entity = &self.entities[of];
        let alias = etag.filter(|etag| self.aliases.get(*etag) == Some(&of));
        let etag = alias.map(str::to_owned).or_else(|| entity.etag.clone());
        let mut fields = vec![("Date", DATE.to_owned())];
        fields.push(("Content-Type", entity.content_type.to_owned()));
        fields.extend(etag.map(|etag| ("ETag", etag)));
        fields.extend(entity.last_modified.clone().map(|date| ("Last-Modified", date)));
        Reply { status, fields, ..Reply::default() }
    }

    fn status(&mut self, statuses: &[u16]) -> Reply {
        let status = statuses[self.rng.usize(..statuses.len())];
        let fields = vec![("Retry-After", "0".to_owned()), ("Content-Type", "text/html".to_owned())];
        Reply { status, fields, body: noise(&mut self.rng, 50), ..Reply::default() }
    }

    /// Another ETag of the same bytes.
    fn rotate(&mut self, of: usize, reply: &mut Reply) {
        let alias = format!("\"node-{}\"", self.aliases.len());
        self.aliases.insert(alias.clone(), of);
        reply.fields.retain(|(name, _)| *name != "ETag");
        reply.fields.push(("ETag", alias));
    }

    fn odd_to_range(&mut self, asked: &Asked, first: usize) -> Reply {
        let current = self.current;
        let total = self.current().bytes.len();
        let if_range = asked.if_range.as_deref();
        // The one that would mix two versions is drawn more often.
        let kind = match self.rng.u8(..4) {
            0 => 0,
            _ => self.rng.u8(..22),
        };
        if kind < 9 && first >= total {
            return self.odd_416(asked, first);
        }
        match kind {
            // Although the If-Range names another version.
            0 => self.part(current, first, asked.length(), if_range),
            1 => {
                let near = [first.saturating_sub(1), (first + 1).min(total - 1), 0, self.rng.usize(..total)];
                let from = near[self.rng.usize(..4)];
                self.part(current, from, None, if_range)
            }
            2 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                let more = total + self.rng.usize(1..100);
                set(&mut reply, "Content-Range", format!("bytes {first}-{}/{more}", total - 1));
                reply
            }
            3 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                self.rotate(current, &mut reply);
                reply
            }
            4 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                reply.fields.retain(|(name, _)| *name != "ETag" && *name != "Last-Modified");
                reply
            }
            5 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                if let Some((_, etag)) = reply.fields.iter_mut().find(|(name, _)| *name == "ETag") {
                    *etag = format!("W/{}", etag.trim_start_matches("W/"));
                }
                reply
            }
            6 => {
                let length = self.rng.usize(1..=total - first);
                self.part(current, first, Some(length), if_range)
            }
            7 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                reply.status = 200;
                reply
            }
            8 => {
                let mut reply = self.part(current, first, asked.length(), if_range);
                reply.fields.retain(|(name, _)| *name != "Content-Range");
                if self.rng.bool() {
                    set(&mut reply, "Content-Type", "multipart/byteranges; boundary=x".to_owned());
                }
                reply
            }
            9..12 => self.odd_200(asked),
            12 | 13 => self.odd_416(asked, first),
            14..17 => self.status(&[400, 403, 405, 501, 501]),
            _ => self.odd_to_any(),
        }
    }

    fn odd_to_plain(&mut self, asked: &Asked) -> Reply {
        match self.rng.u8(..10) {
            0 if !self.current().bytes.is_empty() => {
                let first = self.rng.usize(..self.current().bytes.len());
                let mut reply = self.part(self.current, first, None, None);
                reply.status = [200, 206][self.rng.usize(..2)];
                reply
            }
            1 => self.odd_416(asked, 0),
            2..6 => self.odd_200(asked),
            _ => self.odd_to_any(),
        }
    }

    fn odd_200(&mut self, asked: &Asked) -> Reply {
        let current = self.current;
        let mut reply = self.whole(current);
        match self.rng.u8(..5) {
            0 => self.rotate(current, &mut reply),
            1 if self.loose => reply.fields.retain(|(name, _)| *name != "ETag" && *name != "Last-Modified"),
            2 if !reply.body.is_empty() => {
                let total = reply.body.len();
                reply.fields.push(("Content-Range", format!("bytes 0-{}/{total}", total - 1)));
            }
            // The held ETag, although If-Range was sent.
            3 => {
                let other = asked.if_range.as_deref();
                if let Some(alias) = other.filter(|etag| self.aliases.get(*etag) == Some(&current)) {
                    set(&mut reply, "ETag", alias.to_owned());
                }
            }
            _ => {}
        }
        reply
    }

    fn odd_416(&mut self, asked: &Asked, first: usize) -> Reply {
        let mut reply = self.unsatisfied(asked);
        match self.rng.u8(..4) {
            0 => reply.fields.retain(|(name, _)| *name != "Content-Range"),
            1 => set(&mut reply, "Content-Range", format!("bytes */{}", first + 1 + self.rng.usize(..9))),
            2 => set(&mut reply, "Content-Range", "bytes */*".to_owned()),
            // What is held would be complete; only the true size may say so.
            _ if self.current().bytes.len() != first => {
                reply.fields.retain(|(name, _)| *name != "Content-Range");
            }
            _ => {}
        }
        reply
    }

    fn odd_to_any(&mut self) -> Reply {
        let kind = self.rng.u8(..8);
        let current = self.current;
        match kind {
            0 | 1 => self.status(&[429, 500, 502, 503, 599]),
            2 => self.status(&[401, 404, 410]),
            3 => Reply { silent: true, ..Reply::default() },
            4 | 5 if self.one_version => self.whole(current),
            4 => {
                let bytes = format!("<html>{}</html>", self.rng.u64(..)).into_bytes();
                let page = Entity { bytes, etag: None, last_modified: None, content_type: "text/html", is_file: true };
                let page = self.add(page);
                self.whole(page)
            }
            5 => {
                let small = self.rng.usize(..1000);
                let bytes = noise(&mut self.rng, small);
                let etag = self.current().etag.is_some().then(|| format!("\"small-{}\"", self.entities.len()));
                let small =
                    Entity { bytes, etag, last_modified: None, content_type: "video/x-matroska", is_file: true };
                let small = self.add(small);
                self.whole(small)
            }
            6 => {
                let bytes = noise(&mut self.rng, 3000);
                let etag = Some(format!("\"coded-{}\"", self.entities.len()));
                let coded = Entity { bytes, etag, is_file: false, ..self.current().clone() };
                let coded = self.add(coded);
                let mut reply = self.whole(coded);
                reply.fields.push(("Content-Encoding", "gzip".to_owned()));
                reply
            }
            _ => self.whole(current),
        }
    }
}

fn set(reply: &mut Reply, name: &'static str, value: String) {
    reply.fields.retain(|(have, _)| *have != name);
    reply.fields.push((name, value));
}

/// A server on a port of its own.
pub(crate) struct Server {
    site: Arc<Mutex<Site>>,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(site: Site) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let site = Arc::new(Mutex::new(site));
        let shared = Arc::clone(&site);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).over {
                    return;
                }
                let (Ok(stream), site) = (stream, Arc::clone(&shared)) else {
                    continue;
                };
                thread::spawn(move || connection(stream, &site));
            }
        });
        Server { site, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/film.mkv", self.address)
    }

    pub(crate) fn site(&self) -> MutexGuard<'_, Site> {
        lock(&self.site)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.site().over = true;
        let _ = TcpStream::connect(self.address); // ends the loop
    }
}

fn lock(site: &Mutex<Site>) -> MutexGuard<'_, Site> {
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection. An error is the client's end of it.
fn connection(mut stream: TcpStream, site: &Mutex<Site>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let asked = read_request(&mut stream)?;
        let reply = {
            let mut site = lock(site);
            let reply = site.answer(&asked);
            let line = format!(
                "{:?} if-range {:?} -> {} {:?} {:?} {} bytes, cut {:?}",
                asked.first,
                asked.if_range,
                reply.status,
                reply.fields,
                reply.framing,
                reply.body.len(),
                reply.cut
            );
            site.requests.push(line);
            reply
        };
        if reply.silent {
            return None;
        }
        send(&mut stream, &reply, site)?;
        if reply.cut.is_some() || reply.framing == Framing::Close {
            stream.shutdown(Shutdown::Both).ok()?;
            return None;
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) | Err(_) => return None,
            Ok(count) => head.extend_from_slice(&byte[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |wanted: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let range = field("range").unwrap_or_default();
    let mut ends = range.strip_prefix("bytes=").unwrap_or_default().split('-').map(|end| end.parse().ok());
    let (first, last) = (ends.next().flatten(), ends.next().flatten());
    Some(Asked { first, last, if_range: field("if-range"), if_none_match: field("if-none-match") })
}

fn send(stream: &mut TcpStream, reply: &Reply, site: &Mutex<Site>) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let bodiless = reply.status == 304;
    match reply.framing {
        _ if bodiless => {}
        Framing::Length => head += &format!("Content-Length: {}\r\n", reply.body.len()),
        Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Framing::Close => head += "Connection: close\r\n",
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    for piece in body.chunks(8192) {
        if reply.framing == Framing::Chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).ok()?;
            stream.write_all(piece).ok()?;
            stream.write_all(b"\r\n").ok()?;
        } else {
            stream.write_all(piece).ok()?;
        }
        let mut site = lock(site);
        if let Some(left) = site.kill_after_bytes {
            site.kill_after_bytes = left.checked_sub(piece.len());
            site.kill_now |= left < piece.len();
        }
    }
    if reply.framing == Framing::Chunked && reply.cut.is_none() {
        stream.write_all(b"0\r\n\r\n").ok()?;
    }
    Some(())
}
