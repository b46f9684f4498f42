//! A test peer. By default it is as today's software is: a bare version, no validators, Range ignored.

use regrip_faultd::Content;
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const KEY: &str = "hush";

/// A film or an episode.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) filename: String,
    pub(crate) category: u32,
    pub(crate) content: Content,
}

#[derive(Default)]
struct State {
    items: Mutex<HashMap<String, Item>>,
    asked: Mutex<Vec<String>>,
    key: Mutex<String>,
    /// Statuses that the next questions for a release are answered with.
    statuses: Mutex<Vec<u16>>,
    /// Where files of items are said to be instead.
    redirects: Mutex<HashMap<String, String>>,
    /// Sends validators, and takes ranges.
    honest: AtomicBool,
    /// States ids and digests, and can be searched.
    described: AtomicBool,
    /// Closes every connection without an answer.
    away: AtomicBool,
    /// Bytes a second and connection; 0 is as fast as it goes.
    rate: AtomicU64,
    /// Cuts bodies after this many bytes; 0 never does.
    cut: AtomicU64,
}

/// A peer; its threads end with the test process.
#[derive(Clone)]
pub(crate) struct Peer {
    address: SocketAddr,
    state: Arc<State>,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        *state.key.lock().unwrap() = KEY.to_owned();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream, &state));
            }
        });
        Peer { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has an item; its id is the number, its bytes follow from it.
    pub(crate) fn film(&self, number: u64, size: u64) -> Content {
        self.item(number, &format!("Film {number}.mkv"), 2000, size)
    }

    /// A film of the same name and size with other bytes.
    pub(crate) fn other_film(&self, number: u64, size: u64) {
        self.film(number, size);
        let mut items = self.state.items.lock().unwrap();
        items.entry(number.to_string()).and_modify(|item| item.content = Content::new(number + 1, size));
    }

    pub(crate) fn item(&self, number: u64, filename: &str, category: u32, size: u64) -> Content {
        let content = Content::new(number, size);
        let item = Item { filename: filename.to_owned(), category, content };
        let mut items = self.state.items.lock().unwrap();
        items.insert(number.to_string(), item);
        content
    }

    pub(crate) fn honest(self) -> Peer {
        self.state.honest.store(true, Ordering::SeqCst);
        self
    }

    pub(crate) fn described(self) -> Peer {
        self.state.described.store(true, Ordering::SeqCst);
        self
    }

    pub(crate) fn away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn rate(&self, bytes_per_second: u64) {
        self.state.rate.store(bytes_per_second, Ordering::SeqCst);
    }

    pub(crate) fn cut_after(&self, bytes: u64) {
        self.state.cut.store(bytes, Ordering::SeqCst);
    }

    /// Answers for a file with a redirect.
    pub(crate) fn redirect(&self, number: u64, location: &str) {
        let mut redirects = self.state.redirects.lock().unwrap();
        redirects.insert(number.to_string(), location.to_owned());
    }

    pub(crate) fn key(&self, key: &str) {
        *self.state.key.lock().unwrap() = key.to_owned();
    }

    /// Answers the next questions for a release with these statuses.
    pub(crate) fn refuse(&self, statuses: &[u16]) {
        let mut queue = self.state.statuses.lock().unwrap();
        queue.extend(statuses);
    }

    /// All requests that were answered: target, and range if there was one.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How often a file was asked for.
    pub(crate) fn fetched(&self, number: u64) -> usize {
        let target = format!("/peer/items/{number}/file");
        let asked = self.asked();
        asked.iter().filter(|line| line.starts_with(&target)).count()
    }
}

fn converse(stream: TcpStream, state: &State) {
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let mut lines = BufReader::new(stream);
    while let Some((target, headers)) = read_head(&mut lines) {
        if state.away.load(Ordering::SeqCst) {
            return;
        }
        let range = headers.get("range").cloned();
        let line = match &range {
            Some(range) => format!("{target} {range}"),
            None => target.clone(),
        };
        state.asked.lock().unwrap().push(line);
        let right = headers.get("x-api-key") == Some(&*state.key.lock().unwrap());
        let answered = match right {
            true => answer(&mut out, state, &target, range.as_deref()),
            false => status(&mut out, 401),
        };
        if answered.is_err() {
            return;
        }
    }
}

fn read_head(lines: &mut impl BufRead) -> Option<(String, HashMap<String, String>)> {
    let mut line = String::new();
    lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            return Some((target, headers));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn answer(out: &mut TcpStream, state: &State, target: &str, range: Option<&str>) -> std::io::Result<()> {
    if target == "/handshake" {
        return json_body(out, &json!({ "version": "0.1.0" }));
    }
    if let Some((_, query)) = target.split_once("/peer/search?")
        && state.described.load(Ordering::SeqCst)
    {
        let items = state.items.lock().unwrap();
        let found = items.iter().filter(|(id, _)| query == format!("imdbId=tt{id}"));
        let found: Vec<_> = found.map(|(id, item)| release(state, id, item)).collect();
        return json_body(out, &json!({ "items": found }));
    }
    if target.starts_with("/peer/search") {
        return json_body(out, &json!({ "items": [] }));
    }
    let Some(rest) = target.strip_prefix("/peer/items/") else {
        return status(out, 404);
    };
    let id = rest.strip_suffix("/file").unwrap_or(rest);
    let item = state.items.lock().unwrap().get(id).cloned();
    let Some(item) = item else {
        return status(out, 404);
    };
    if rest.ends_with("/file") {
        let redirect = state.redirects.lock().unwrap().get(id).cloned();
        if let Some(location) = redirect {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            return out.write_all(head.as_bytes());
        }
        return file(out, state, &item, range);
    }
    let refused = {
        let mut statuses = state.statuses.lock().unwrap();
        (!statuses.is_empty()).then(|| statuses.remove(0))
    };
    if let Some(refused) = refused {
        return status(out, refused);
    }
    json_body(out, &release(state, id, &item))
}

fn release(state: &State, id: &str, item: &Item) -> serde_json::Value {
    let mut release = json!({
        "id": id, "title": "A title", "filename": item.filename, "category": item.category,
        "size": item.content.size, "quality": "1080p",
    });
    if state.described.load(Ordering::SeqCst) {
        release["imdbId"] = json!(format!("tt{id}"));
        release["sha256"] = json!(item.content.sha256());
    }
    release
}

fn status(out: &mut TcpStream, code: u16) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n");
    out.write_all(head.as_bytes())
}

fn json_body(out: &mut TcpStream, value: &serde_json::Value) -> std::io::Result<()> {
    let body = value.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    out.write_all(head.as_bytes())?;
    out.write_all(body.as_bytes())
}

fn file(out: &mut TcpStream, state: &State, item: &Item, range: Option<&str>) -> std::io::Result<()> {
    let size = item.content.size;
    let honest = state.honest.load(Ordering::SeqCst);
    let first =
        range.filter(|_| honest).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let first: Option<u64> = first;
    let from = first.unwrap_or(0);
    let etag = if honest { "ETag: \"v1\"\r\n" } else { "" };
    let head = match first {
        Some(first) => format!(
            "HTTP/1.1 206 Partial Content\r\n{etag}Content-Range: bytes {first}-{}/{size}\r\nContent-Length: {}\r\n\r\n",
            size - 1,
            size - first
        ),
        None => format!("HTTP/1.1 200 OK\r\n{etag}Content-Length: {size}\r\n\r\n"),
    };
    out.write_all(head.as_bytes())?;
    let cut = state.cut.load(Ordering::SeqCst);
    let mut at = from;
    while at < size {
        if state.away.load(Ordering::SeqCst) || (cut > 0 && at - from >= cut) {
            return Err(std::io::Error::other("cut"));
        }
        let rate = state.rate.load(Ordering::SeqCst);
        let piece = if rate == 0 { 65_536 } else { (rate / 50).max(1) };
        let to = size.min(at + piece);
        out.write_all(&item.content.bytes(at..to))?;
        at = to;
        if rate > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
