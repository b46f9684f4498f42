//! A response head, read once: the facts that the verdict is made of.

use super::content_range::{ContentRange, content_range};
use super::digest::repr_digests;
use super::retry_after::parse_retry_after;
use super::validator::validators;
use crate::checksum::Checksum;
use crate::error::Error;
use crate::record::Validators;
use crate::transport::{BodyEnd, Headers};
use std::time::{Duration, SystemTime};

/// The facts of a response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// How the body ends, or what is wrong with the fields that should say so.
    pub end: Result<BodyEnd, String>,
    /// How many Content-Range fields there are.
    pub content_ranges: usize,
    /// The Content-Range, where there is exactly one that can be read and the body is not multipart.
    pub content_range: Option<ContentRange>,
    /// The content codings but `identity`, in order and separated by commas. One is the common case.
    pub coding: Option<String>,
    /// What tells the version.
    pub validators: Validators,
    /// The digests of the whole file, by Repr-Digest.
    pub stated: Vec<Checksum>,
    /// The delay Retry-After asks for.
    pub retry_after: Option<Duration>,
}

impl Head {
    /// Reads a response head. `end` is the transport's. `wall` is our own clock, for a Retry-After date without a Date beside
    /// it.
    pub fn read(
        status: u16,
        headers: &Headers,
        end: Result<BodyEnd, String>,
        wall: SystemTime,
    ) -> Head {
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
            end,
            content_ranges: headers.all("content-range").count(),
            content_range: range,
            coding: coding(headers),
            validators: validators(headers),
            stated: repr_digests(headers.all("repr-digest")),
            retry_after: headers
                .only("retry-after")
                .and_then(|value| parse_retry_after(value, now)),
        }
    }

    /// How the body ends, of a response whose body is to be used.
    ///
    /// # Errors
    /// `Coded` if the bytes are not the file's, `Protocol` if the length is absurd.
    pub fn usable_end(&self) -> Result<BodyEnd, Error> {
        if let Some(coding) = &self.coding {
            return Err(Error::Coded(coding.clone()));
        }
        self.end.clone().map_err(Error::Protocol)
    }
}

fn coding(headers: &Headers) -> Option<String> {
    let codings = headers
        .all("content-encoding")
        .flat_map(|value| value.split(','));
    let odd: Vec<_> = codings
        .map(str::trim_ascii)
        .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"))
        .collect();
    (!odd.is_empty()).then(|| odd.join(", "))
}
