//! The facts of a response head that the verdict needs.

use super::content_range::{ContentRange, content_range};
use super::date::parse_date;
use super::digest::repr_digests;
use super::retry_after::parse_retry_after;
use super::validator::validators;
use crate::checksum::Checksum;
use crate::error::Error;
use crate::record::Validators;
use crate::split::members;
use crate::transport::{BodyEnd, Headers};
use std::time::{Duration, SystemTime};

/// The facts of a response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// How the body ends, or why the fields that should say so are invalid.
    pub end: Result<BodyEnd, String>,
    /// The number of Content-Range fields.
    pub content_ranges: usize,
    /// The Content-Range, if there is exactly one valid field and the body is not multipart.
    pub content_range: Option<ContentRange>,
    /// The content codings except `identity`, in order, separated by commas.
    pub coding: Option<String>,
    /// The validators of the version.
    pub validators: Validators,
    /// The digests of the whole file, by Repr-Digest.
    pub stated: Vec<Checksum>,
    /// The delay that Retry-After asks for.
    pub retry_after: Option<Duration>,
}

impl Head {
    /// Reads a response head. `end` comes from the transport. `wall` is the local clock, which a Retry-After date is compared with
    /// if the response has no Date.
    pub fn read(status: u16, headers: &Headers, end: Result<BodyEnd, String>, wall: SystemTime) -> Head {
        let now = headers.only("date").and_then(parse_date).unwrap_or(wall);
        let multipart = headers
            .all("content-type")
            .any(|value| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")));
        let range = if multipart { None } else { headers.only("content-range").and_then(content_range) };
        Head {
            status,
            end,
            content_ranges: headers.all("content-range").count(),
            content_range: range,
            coding: coding(headers),
            validators: validators(headers),
            stated: repr_digests(headers.all("repr-digest")),
            retry_after: headers.only("retry-after").and_then(|value| parse_retry_after(value, now)),
        }
    }

    /// How the body ends, for a response whose body will be used.
    ///
    /// # Errors
    /// `Coded` if the body has a content coding, `Protocol` if its length is invalid.
    pub fn usable_end(&self) -> Result<BodyEnd, Error> {
        if let Some(coding) = &self.coding {
            return Err(Error::Coded(coding.clone()));
        }
        self.end.clone().map_err(Error::Protocol)
    }
}

fn coding(headers: &Headers) -> Option<String> {
    let mut odd = members(headers.all("content-encoding"));
    odd.retain(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    (!odd.is_empty()).then(|| odd.join(", "))
}
