//! The peer wire.

use super::catalogue::{Item, Query, Release};
use super::range::{self, Extent};
use super::shelf::Shelf;
use super::tree;
use super::version::Version;
use crate::server::{Asked, FileSpan, Payload, Refusal, Reply, Route};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::{HeaderMap, Method, StatusCode};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::json;
use std::fs::File;
use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The table.
pub(super) const ROUTES: &[Route<Shelf>] = &[
    Route {
        method: Method::GET,
        path: "/handshake",
        handler: |_, _| done(Ok(handshake())),
    },
    Route {
        method: Method::GET,
        path: "/peer/search",
        handler: |shelf, asked| done(search(&shelf, &asked)),
    },
    Route {
        method: Method::GET,
        path: "/peer/items/{id}",
        handler: |shelf, asked| done(item(&shelf, &asked)),
    },
    Route {
        method: Method::GET,
        path: "/peer/items/{id}/file",
        handler: |shelf, asked| done(file(&shelf, &asked)),
    },
];

/// None of them waits for anything but the disk, which has the server's own threads for that.
fn done(answer: Result<Reply, Refusal>) -> BoxFuture<'static, Result<Reply, Refusal>> {
    ready(answer).boxed()
}

fn handshake() -> Reply {
    Reply::json(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<Release<'a>>,
}

fn search(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let mut query = Query::default();
    for (name, value) in asked.query() {
        query
            .read(&name, &value)
            .map_err(|name| Refusal::bad_request(format!("{name} is not a number")))?;
    }
    shelf.may_be_behind();
    let catalogue = shelf.catalogue();
    let items = catalogue.search(&query);
    Ok(Reply::json(&Items {
        items: items.map(|item| release(shelf, item)).collect(),
    }))
}

fn item(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let item = find(shelf, asked)?;
    Ok(Reply::json(&release(shelf, &item)))
}

fn release<'a>(shelf: &Shelf, item: &'a Item) -> Release<'a> {
    item.release(shelf.digests.of(&item.id, item.stamp()))
}

fn find(shelf: &Shelf, asked: &Asked) -> Result<Arc<Item>, Refusal> {
    let found = shelf.catalogue().item(asked.captured()).cloned();
    found.ok_or_else(|| {
        shelf.may_be_behind();
        Refusal::not_found("there is no item with this id")
    })
}

/// The file, from wherever the request wants it (RFC 9110 §13.1.5, §14.2).
fn file(shelf: &Shelf, asked: &Asked) -> Result<Reply, Refusal> {
    let item = find(shelf, asked)?;
    let file = open(&item)?;
    let version = Version::of(&file).map_err(|_| unavailable())?;
    let now = SystemTime::now();
    let size = version.stamp.size;
    let extent = wanted(asked, &version, now);
    let (status, first, length) = match extent {
        Extent::Whole => (StatusCode::OK, 0, size),
        Extent::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Extent::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let payload = Payload::File(FileSpan {
        file: Arc::new(file),
        offset: first,
        length,
        stamp: version.stamp,
    });
    let mut reply = Reply::new(status, payload)
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
        .header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        // A proxy on the way must not code the bytes: ranges would no longer fit.
        .header(CACHE_CONTROL, HeaderValue::from_static("no-transform"))
        .header(CONTENT_LENGTH, HeaderValue::from(length))
        .text_header(ETAG, &version.etag(now));
    if let Some(date) = version.last_modified(now) {
        reply = reply.text_header(LAST_MODIFIED, &date);
    }
    if let Some(digest) = shelf
        .digests
        .of(&item.id, version.stamp)
        .and_then(|hex| repr_digest(&hex))
    {
        reply = reply.text_header(REPR_DIGEST, &digest);
    }
    Ok(match extent {
        Extent::Whole => reply,
        Extent::Bytes { first, last } => {
            reply.text_header(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"))
        }
        Extent::Unsatisfiable => reply.text_header(CONTENT_RANGE, &format!("bytes */{size}")),
    })
}

fn open(item: &Item) -> Result<File, Refusal> {
    tree::open_file(&item.root, &item.path).map_err(|error| {
        let gone = matches!(
            error,
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO
        );
        if gone && tree::is_there(&item.root) {
            return Refusal::not_found("the file of this item is gone");
        }
        unavailable()
    })
}

/// What passes: a network folder that is away, no file descriptors left. Peers try again.
fn unavailable() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "Unavailable",
        "the file cannot be read now",
    )
}

/// Range means something to GET only; an If-Range that does not name this version undoes it.
fn wanted(asked: &Asked, version: &Version, now: SystemTime) -> Extent {
    if asked.method() != Method::GET {
        return Extent::Whole;
    }
    let headers = asked.headers();
    let same = match headers.contains_key(IF_RANGE) {
        true => only(headers, &IF_RANGE).is_some_and(|given| version.is_named_by(given, now)),
        false => true,
    };
    let range = only(headers, &RANGE).filter(|_| same);
    range::extent(range, version.stamp.size)
}

/// The value of a header that came exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `sha-256=:<base64>:` (RFC 9530).
fn repr_digest(hex: &str) -> Option<String> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Some(format!("sha-256=:{}:", BASE64_STANDARD.encode(bytes?)))
}
