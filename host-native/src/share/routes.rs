//! The routes of the peer wire, and the range of a file that a GET asks for (RFC 9110 §14.2).
//!
//! One range is served. Several ranges, another unit and bad grammar get the whole file, as the RFC allows: no client of the
//! peer wire asks for several.
//!
//! [`PeerAccess`] lets requests in: those with a key of the configuration, or with one that was issued. Issued keys are in the
//! ledger, which other processes change (`regrip key`). It is read before each request, so that a key that was revoked opens
//! nothing from then on. If nobody has a key, only this machine is served. A key that was once issued keeps that rule from coming
//! back: a server that others used does not open itself to proxies' requests.

use super::digests::{Described, SOON};
use super::inventory::{Item, Search, SharedRelease};
use super::state::Shelf;
use super::tree;
use super::validators::{Decision, is_settled, only};
use crate::ledger::{NewPeerKey, PeerKey, PeerKeys};
use crate::server::{
    Access, Answer, Asked, CurrentKeys, Entry, FileSpan, Guard, Keys, Payload, Refusal, Reply, Route, X_API_KEY,
    random, unauthorized,
};
use crate::store::FileVersion;
use crate::sync::{read, write};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use regrip_core::error::chain;
use rustix::io::Errno;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::future::ready;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};
use subtle::{Choice, ConstantTimeEq};

/// A body up to this length is copied before the reply begins, so that a change can still be answered.
const COPIED_FIRST: u64 = 64 << 10;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The table.
pub(super) const ROUTES: &[Route<Shelf>] = &[
    Route { method: Method::GET, path: "/handshake", entry: Entry::Keyed, handler: |_, _| done(Ok(handshake())) },
    Route {
        method: Method::GET,
        path: "/peer/search",
        entry: Entry::Keyed,
        handler: |shelf, asked| done(search(&shelf, &asked)),
    },
    Route {
        method: Method::GET,
        path: "/peer/items/{id}",
        entry: Entry::Keyed,
        handler: |shelf, asked| done(item(&shelf, &asked)),
    },
    Route {
        method: Method::GET,
        path: "/peer/items/{id}/file",
        entry: Entry::Keyed,
        handler: |shelf, asked| async move { file(&shelf, &asked).await }.boxed(),
    },
];

/// These wait for nothing but the disk, which has the server's own threads for that.
fn done(answer: Result<Reply, Refusal>) -> BoxFuture<'static, Result<Reply, Refusal>> {
    ready(answer).boxed()
}

fn handshake() -> Reply {
    Reply::json(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<SharedRelease<'a>>,
}

fn search(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let mut query = Search::default();
    for (name, value) in asked.query() {
        query.read(&name, &value).map_err(|name| Refusal::bad_request(format!("{name} is not a number")))?;
    }
    shelf.may_be_behind();
    let inventory = shelf.inventory();
    // As found the last time: opening a thousand files would keep a peer waiting for the disk.
    let items = inventory.search(&query).map(|item| {
        let version = &item.version;
        item.release(version.size, shelf.digests.of(&item.id, version))
    });
    Ok(Reply::json(&Items { items: items.collect() }))
}

/// The item as it is now. Of one that cannot be looked at, since a network folder is away, what was found the last time.
fn item(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let item = find(shelf, asked)?;
    let (size, sha256) = match shelf.open(&item) {
        Ok((_, version)) => (version.size, shelf.digests.of(&item.id, &version)),
        Err(error) if is_gone(&item, error) => return Err(gone()),
        Err(_) => (item.version.size, None),
    };
    Ok(Reply::json(&item.release(size, sha256)))
}

fn find(shelf: &Shelf, asked: &Asked) -> Result<Arc<Item>, Refusal> {
    let found = shelf.inventory().item(asked.captured()).cloned();
    found.ok_or_else(|| {
        shelf.may_be_behind();
        Refusal::not_found("there is no item with this id")
    })
}

/// The file, or the range of it that the request wants (RFC 9110 §13, §14.2).
async fn file(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let item = find(shelf, asked)?;
    let (file, version) = shelf.open(&item).map_err(|error| match is_gone(&item, error) {
        true => gone(),
        false => unavailable(),
    })?;
    if version != item.version {
        shelf.may_be_behind();
    }
    let now = SystemTime::now();
    if !is_settled(&version, now) {
        return Ok(changing(SOON));
    }
    let headers = asked.headers();
    let described = match shelf.digests.describe(&item, &version, now, headers).await {
        Ok(described) => described,
        Err(after) => return Ok(changing(after)),
    };
    let reply = match described.validators.decide(headers) {
        // Range means something to GET only.
        Decision::Send { range } => {
            let range = only(headers, &RANGE).filter(|_| range && asked.method() == Method::GET);
            let extent = extent(range, version.size);
            match content(asked, file, version, extent, &described) {
                Some(reply) => reply,
                None => return Ok(changing(SOON)),
            }
        }
        Decision::NotModified => Reply::new(StatusCode::NOT_MODIFIED, Payload::Empty),
        Decision::PreconditionFailed => Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            "the file is not the version that the request names",
        )
        .into(),
    };
    // A proxy on the way must not code the bytes: ranges would no longer fit.
    let reply = reply
        .header(CACHE_CONTROL, HeaderValue::from_static("no-transform"))
        .text_header(ETAG, described.validators.etag(headers));
    Ok(match described.validators.modified {
        Some(modified) => reply.text_header(LAST_MODIFIED, &httpdate::fmt_http_date(modified)),
        None => reply,
    })
}

/// The reply that has bytes of the file, or would have them if it were not to a HEAD; none if the file changed meanwhile.
fn content(asked: &Asked, file: File, version: FileVersion, extent: Extent, described: &Described) -> Option<Reply> {
    let size = version.size;
    let (status, offset, length) = match extent {
        Extent::Whole => (StatusCode::OK, 0, size),
        Extent::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Extent::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let span = FileSpan { file: Arc::new(file), offset, length, version };
    let payload = match asked.method() == Method::GET && length <= COPIED_FIRST {
        true => copied(&span)?,
        false => Payload::File(span),
    };
    let reply = Reply::new(status, payload)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .header(CONTENT_LENGTH, HeaderValue::from(length));
    let reply = match extent {
        Extent::Whole => reply,
        Extent::Bytes { first, last } => reply.text_header(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}")),
        Extent::Unsatisfiable => reply.text_header(CONTENT_RANGE, &format!("bytes */{size}")),
    };
    Some(match described.sha256.as_deref().and_then(repr_digest) {
        Some(digest) => reply.text_header(REPR_DIGEST, &digest),
        None => reply,
    })
}

/// The bytes of a span; none if the file changed meanwhile or cannot be read.
fn copied(span: &FileSpan) -> Option<Payload> {
    let mut bytes = vec![0; usize::try_from(span.length).ok()?];
    span.file.read_exact_at(&mut bytes, span.offset).ok()?;
    let unchanged = FileVersion::of_open_now(&span.file).ok()? == span.version;
    unchanged.then(|| Payload::Bytes(bytes.into()))
}

/// Returns `true` if an item's file is gone, and not its whole folder away.
fn is_gone(item: &Item, error: Errno) -> bool {
    let is_absent = matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO);
    is_absent && tree::is_there(&item.root)
}

fn gone() -> Refusal {
    Refusal::not_found("the file of this item is gone")
}

/// What passes: a network folder that is away, no file descriptors left. Peers try again.
fn unavailable() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "the file cannot be read now")
}

/// A change that will be over by the time the peer asks again.
fn changing(after: Duration) -> Reply {
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Changing", "the file has just changed");
    Reply::from(refusal).header(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
}

/// `sha-256=:<base64>:` (RFC 9530).
fn repr_digest(hex: &str) -> Option<String> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Some(format!("sha-256=:{}:", BASE64_STANDARD.encode(bytes?)))
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The whole file, with 200.
    Whole,
    /// From `first` to `last`, both included, with 206.
    Bytes { first: u64, last: u64 },
    /// Nothing, with 416.
    Unsatisfiable,
}

/// What a Range header asks for, of a file of `size` bytes.
pub(super) fn extent(range: Option<&str>, size: u64) -> Extent {
    range.and_then(|range| asked(range, size)).unwrap_or(Extent::Whole)
}

/// `None` if the header is to be ignored.
fn asked(range: &str, size: u64) -> Option<Extent> {
    let (unit, spec) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim_matches([' ', '\t']).split_once('-')?;
    if first.is_empty() {
        return match number(last)? {
            0 => Some(Extent::Unsatisfiable),
            // RFC 9110 §14.1.2: a suffix longer than the file is all of it; of an empty file there is nothing to name.
            suffix => (size > 0).then(|| Extent::Bytes { first: size.saturating_sub(suffix), last: size - 1 }),
        };
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first < size { Extent::Bytes { first, last: last.min(size - 1) } } else { Extent::Unsatisfiable })
}

/// Digits only; what does not fit is beyond any file.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Between two notes that a key is used.
const NOTE_EVERY: Duration = Duration::from_secs(60);
/// How long a request waits for the ledger, if another program keeps it locked. Then the keys that were read before count.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 100;

/// Makes a key for a peer of that name: the key itself, which is shown once, and what the ledger keeps of it.
///
/// # Errors
/// What is wrong with the name or the end, or why there is no key.
pub(crate) fn issue(name: &str, expires_at: Option<SystemTime>) -> Result<(String, NewPeerKey), String> {
    let (name, created_at) = (name.trim(), SystemTime::now());
    if !(1..=LONGEST_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err("the name of a key has 1 to 100 characters, and no control characters".to_owned());
    }
    if expires_at.is_some_and(|end| end <= created_at) {
        return Err("the key would have expired already".to_owned());
    }
    let random = random().map_err(|error| format!("the system has no random numbers: {error}"))?;
    let key = format!("regrip_{random}");
    let hash = Sha256::digest(key.as_bytes()).into();
    Ok((key, NewPeerKey { name: name.to_owned(), hash, created_at, expires_at }))
}

/// The guard of the peer wire. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct PeerAccess(Arc<PeerAccessState>);

#[derive(Debug)]
struct PeerAccessState {
    /// Those of the configuration.
    configured: Option<Keys>,
    /// The server's own, if it opens the wire as well.
    own: Option<CurrentKeys>,
    ledger: Box<dyn PeerKeys>,
    issued: RwLock<Vec<PeerKey>>,
}

impl PeerAccess {
    /// The keys of `configured` and those in the ledger, and `own` if the server's key opens the wire as well.
    pub(crate) fn new(
        configured: Option<Keys>,
        own: Option<CurrentKeys>,
        ledger: impl PeerKeys + 'static,
    ) -> PeerAccess {
        PeerAccess(Arc::new(PeerAccessState { configured, own, ledger: Box::new(ledger), issued: RwLock::default() }))
    }

    /// The wire as this guard lets requests in.
    pub(crate) fn guarding(self, wire: Answer) -> Answer {
        Arc::new(move |request, from| {
            let (access, wire) = (self.clone(), Arc::clone(&wire));
            async move {
                access.refresh().await;
                wire(request, from).await
            }
            .boxed()
        })
    }

    async fn refresh(&self) {
        match select(self.0.ledger.peer_keys(), smol::Timer::after(READ_WITHIN)).await {
            Either::Left((Ok(issued), _)) => *write(&self.0.issued) = issued,
            Either::Left((Err(error), _)) => tracing::warn!(error = %chain(&error), "cannot read the keys of peers"),
            Either::Right(_) => {}
        }
    }

    /// The issued key that this is. All are compared, whichever fits.
    fn issued(&self, key: &[u8]) -> Option<PeerKey> {
        let given: [u8; 32] = Sha256::digest(key).into();
        let issued = read(&self.0.issued);
        let mut found = None;
        for known in issued.iter() {
            let fits: Choice = known.new.hash.ct_eq(&given);
            if fits.into() {
                found = Some(known.clone());
            }
        }
        found
    }

    fn note_use(&self, key: &PeerKey, now: SystemTime) {
        let is_noted = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < NOTE_EVERY);
        if key.last_used_at.is_some_and(is_noted) {
            return;
        }
        let (access, id) = (self.clone(), key.id);
        smol::spawn(async move {
            if let Err(error) = access.0.ledger.note_peer_key_used(id, now).await {
                tracing::warn!(error = %chain(&error), "cannot note the use of a key");
            }
        })
        .detach();
    }
}

impl Guard for PeerAccess {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        if entry == Entry::Anyone {
            return Ok(());
        }
        let own = self.0.own.as_ref().and_then(|own| own.get().0);
        if self.0.configured.is_none() && own.is_none() && read(&self.0.issued).is_empty() {
            return Access::Loopback.check(&head.headers, from);
        }
        let key = crate::server::only(&head.headers, &X_API_KEY).filter(|key| !key.is_empty());
        let key = key.ok_or_else(unauthorized)?;
        let fits = |keys: Option<&Keys>| keys.is_some_and(|keys| keys.fits(key));
        if fits(self.0.configured.as_ref()) | fits(own.as_ref()) {
            return Ok(());
        }
        let now = SystemTime::now();
        match self.issued(key) {
            Some(issued) if issued.is_in_force(now) => {
                self.note_use(&issued, now);
                Ok(())
            }
            _ => Err(unauthorized().wrong_key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_may_be_ignored_is() {
        let bytes = |first, last| Extent::Bytes { first, last };
        let table = [
            ("bytes=0-", bytes(0, 99)),
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=10-19", bytes(10, 19)),
            ("Bytes= 10-19 ", bytes(10, 19)),
            ("bytes=99-", bytes(99, 99)),
            ("bytes=50-1000", bytes(50, 99)),
            ("bytes=50-99999999999999999999999", bytes(50, 99)),
            ("bytes=-1", bytes(99, 99)),
            ("bytes=-100", bytes(0, 99)),
            ("bytes=-1000", bytes(0, 99)),
            ("bytes=100-", Extent::Unsatisfiable),
            ("bytes=100-200", Extent::Unsatisfiable),
            ("bytes=99999999999999999999999-", Extent::Unsatisfiable),
            ("bytes=-0", Extent::Unsatisfiable),
            ("bytes=20-10", Extent::Whole),
            ("bytes=0-1,5-6", Extent::Whole),
            ("bytes=-1,-2", Extent::Whole),
            ("bytes=", Extent::Whole),
            ("bytes=-", Extent::Whole),
            ("bytes=a-b", Extent::Whole),
            ("bytes=+1-2", Extent::Whole),
            ("bytes=1 -2", Extent::Whole),
            ("bytes=0x1-2", Extent::Whole),
            ("items=0-1", Extent::Whole),
            ("0-1", Extent::Whole),
            ("", Extent::Whole),
        ];
        for (range, wanted) in table {
            assert_eq!(extent(Some(range), 100), wanted, "{range}");
        }
        assert_eq!(extent(None, 100), Extent::Whole);
    }

    #[test]
    fn an_empty_file_has_no_range() {
        assert_eq!(extent(Some("bytes=0-"), 0), Extent::Unsatisfiable);
        assert_eq!(extent(Some("bytes=-5"), 0), Extent::Whole);
        assert_eq!(extent(None, 0), Extent::Whole);
    }
}
