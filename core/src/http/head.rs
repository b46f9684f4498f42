//! A response head, read once: the facts that the verdict is made of.

use super::content_range::{ContentRange, content_range, digits};
use super::retry_after::parse_retry_after;
use super::validator::validators;
use crate::error::{Error, quoted};
use crate::record::Validators;
use crate::transport::Headers;
use std::time::{Duration, SystemTime};

/// What delimits a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    Length(u64),
    /// A last chunk.
    Chunked,
    /// Only the end of the connection, which proves nothing.
    Close,
}

/// The facts of a response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// What delimits the body, or what is wrong with its length.
    pub framing: Result<Framing, String>,
    /// How many Content-Range fields there are.
    pub content_ranges: usize,
    /// The Content-Range, where there is exactly one that can be read and the body is not multipart.
    pub content_range: Option<ContentRange>,
    /// The first content coding that is not `identity`.
    pub coding: Option<String>,
    /// What tells the version.
    pub validators: Validators,
    /// Last-Modified as sent.
    pub last_modified: Option<String>,
    /// The delay Retry-After asks for.
    pub retry_after: Option<Duration>,
}

impl Head {
    /// Reads a response head. `wall` is our own clock, for a Retry-After date without a Date beside it.
    pub fn read(status: u16, headers: &Headers, wall: SystemTime) -> Head {
        let now = headers
            .only("date")
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or(wall);
        let multipart = headers.all("content-type").any(|value| {
            value
                .get(..10)
                .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
        });
        let range = if multipart {
            None
        } else {
            headers.only("content-range").and_then(content_range)
        };
        Head {
            status,
            framing: framing(headers),
            content_ranges: headers.all("content-range").count(),
            content_range: range,
            coding: coding(headers),
            validators: validators(headers),
            last_modified: headers.only("last-modified").map(str::to_owned),
            retry_after: headers
                .only("retry-after")
                .and_then(|value| parse_retry_after(value, now)),
        }
    }

    /// The framing, of a response whose body is to be used.
    ///
    /// # Errors
    /// `Coded` where the bytes are not the file's, `Protocol` where the length is absurd.
    pub fn usable_framing(&self) -> Result<Framing, Error> {
        if let Some(coding) = &self.coding {
            return Err(Error::Coded(coding.clone()));
        }
        self.framing.clone().map_err(Error::Protocol)
    }
}

fn framing(headers: &Headers) -> Result<Framing, String> {
    let mut length = None;
    for value in headers.all("content-length") {
        let bytes = digits(value).filter(|&bytes| bytes <= i64::MAX as u64);
        let bytes = bytes.ok_or_else(|| format!("Content-Length is {}", quoted(value)))?;
        if length.is_some_and(|other| other != bytes) {
            return Err("two Content-Length fields differ".to_owned());
        }
        length = Some(bytes);
    }
    let encodings: Vec<&str> = headers.all("transfer-encoding").collect();
    match (length, encodings.as_slice()) {
        (Some(_), [_, ..]) => Err("both Content-Length and Transfer-Encoding".to_owned()),
        (Some(bytes), []) => Ok(Framing::Length(bytes)),
        (None, [one]) if one.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        // Any other one codes the bytes, or ends with the connection, or both: it is not the file, or proves no end.
        (None, [first, ..]) => Err(format!("Transfer-Encoding is {}", quoted(first))),
        (None, []) => Ok(Framing::Close),
    }
}

fn coding(headers: &Headers) -> Option<String> {
    let codings = headers
        .all("content-encoding")
        .flat_map(|value| value.split(','));
    let mut odd = codings
        .map(str::trim_ascii)
        .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"));
    odd.next().map(str::to_owned)
}
