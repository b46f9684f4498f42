//! Decides what to do with a response.

use super::plan::{Ask, Held, IfRange, strong};
use crate::checksum::Checksum;
use crate::error::Error;
use crate::http::{ContentRange, Head};
use crate::record::{DigestRow, DigestSource, KnownSize, RestartReason, SizeSource};
use crate::transport::{BodyEnd, RequestRules};

/// What to do with a response.
#[derive(Debug)]
pub enum Verdict {
    /// Append its body to the part (after the comparison).
    Append {
        /// The offset after its last byte.
        end: u64,
        /// The size of the file, if the response states it.
        total: Option<u64>,
    },
    /// Its body is the file from its first byte.
    Full {
        /// How the body ends.
        end: BodyEnd,
        /// The size of the file, if the response states it.
        size: Option<KnownSize>,
        /// Why bytes of the part are discarded, if they differ.
        reason: RestartReason,
    },
    /// Its body is the whole file with the held strong ETag, although an If-Range with it was sent: the source ignores If-Range.
    /// Try the range alone, or skip the first bytes of the body, which are those of the part.
    IgnoredIfRange {
        /// How the body ends.
        end: BodyEnd,
        /// The size of the file, if the response states it.
        size: Option<KnownSize>,
    },
    /// Drop it unread and request the whole file.
    AskWhole {
        /// Why bytes of the part are discarded, if they differ.
        reason: RestartReason,
        /// The error of a status that refuses the range; it counts if the request for the whole file fails, too.
        refused: Option<Error>,
    },
    /// The part is the whole file.
    Complete,
    /// The attempt has failed.
    Fail(Error),
}

/// Decides what to do with the response to a ranged request.
pub fn verdict(ask: &Ask, held: Held<'_>, head: &Head) -> Verdict {
    let ask_whole = |reason| {
        let refused = None;
        coded_or(head, Verdict::AskWhole { reason, refused })
    };
    match head.status {
        206 => verdict_on_206(ask, held, head),
        200 if head.content_ranges > 0 => ask_whole(RestartReason::ContentRangeMismatch),
        200 => match full(head, reason_of_200(ask)) {
            Verdict::Full { end, size, .. } if ignores_if_range(ask, held, head, size) => {
                Verdict::IgnoredIfRange { end, size }
            }
            other => other,
        },
        416 if proves_complete(ask, held, head) => Verdict::Complete,
        416 => Verdict::AskWhole { reason: RestartReason::RangeNotSatisfiable, refused: Some(refused(head)) },
        400 | 403 | 405 | 501 => {
            Verdict::AskWhole { reason: RestartReason::RangeRefused, refused: Some(refused(head)) }
        }
        _ => Verdict::Fail(refused(head)),
    }
}

/// Decides what to do with the response to a request for the whole file. `reason` applies if it differs from the part. `bare` is
/// `true` if a client that sends a Range with every request sent none, because the range was refused.
pub fn verdict_on_plain(
    requests: RequestRules,
    bare: bool,
    held: Held<'_>,
    head: &Head,
    reason: RestartReason,
) -> Verdict {
    let ranged = requests.range_always && !bare;
    // Without a Range, `fetch` requests content codings.
    let decoded = requests.range_always && bare;
    let protocol = |what: &str| Verdict::Fail(Error::Protocol(what.to_owned()));
    match (head.status, head.content_range) {
        (200, _) if head.content_ranges == 0 => {
            let full = full(head, reason);
            if decoded { of_known_size(held, full) } else { full }
        }
        (200, Some(ContentRange::Part { first: 0, last, total: Some(total) })) if last.saturating_add(1) == total => {
            let full = first_range(head, last, Some(total), reason);
            if decoded { of_known_size(held, full) } else { full }
        }
        (200, _) => coded_or(head, protocol("a 200 whose Content-Range is not the whole file")),
        (206, Some(ContentRange::Part { first: 0, last, total })) if ranged => first_range(head, last, total, reason),
        (416, Some(ContentRange::Unsatisfied { total: 0 })) if ranged => Verdict::Full {
            end: BodyEnd::Length(0),
            size: Some(KnownSize { bytes: 0, source: SizeSource::ContentRange }),
            reason,
        },
        (206, _) => protocol("a 206 that was not asked for, or not for these bytes"),
        _ => Verdict::Fail(refused(head)),
    }
}

/// A response to a request for the whole file that states that it is the bytes from 0 to `last`.
fn first_range(head: &Head, last: u64, total: Option<u64>, reason: RestartReason) -> Verdict {
    let end = match head.usable_end() {
        Ok(end) => end,
        Err(error) => return Verdict::Fail(error),
    };
    let length = last.saturating_add(1);
    if matches!(end, BodyEnd::Length(bytes) if bytes != length) {
        return Verdict::Fail(unequal_lengths());
    }
    let size = total.map(|bytes| KnownSize { bytes, source: SizeSource::ContentRange });
    // A body without a length is read to its own end, which must be that of the file; a range alone ends with its last byte.
    let end = match total == Some(length) {
        true => end,
        false => BodyEnd::Length(length),
    };
    Verdict::Full { end, size, reason }
}

fn full(head: &Head, reason: RestartReason) -> Verdict {
    match head.usable_end() {
        Err(error) => Verdict::Fail(error),
        Ok(end) => {
            let size = match end {
                BodyEnd::Length(bytes) => Some(KnownSize { bytes, source: SizeSource::ContentLength }),
                BodyEnd::Marked | BodyEnd::Unmarked => None,
            };
            Verdict::Full { end, size, reason }
        }
    }
}

/// Without a Range, `fetch` requests codings, undoes them, and may hide the field that names them. Only a length that was known
/// before shows that the bytes are those of the file.
fn of_known_size(held: Held<'_>, full: Verdict) -> Verdict {
    let known = held.size.or(held.announced);
    let why = match &full {
        Verdict::Full { size: None, .. } => "does not say how long the whole file is",
        Verdict::Full { size: Some(size), .. } if known != Some(size.bytes) => {
            "sends a whole file of another length than the known one"
        }
        _ => return full,
    };
    Verdict::Fail(Error::Protocol(format!("the server refuses ranges, and {why}")))
}

fn reason_of_200(ask: &Ask) -> RestartReason {
    match ask.if_range {
        Some(_) => RestartReason::ValidatorChanged,
        None => RestartReason::RangeIgnored,
    }
}

/// Returns `true` for the whole file of the version that If-Range named. An ETag that is the same for another size or digest
/// identifies no version.
fn ignores_if_range(ask: &Ask, held: Held<'_>, head: &Head, size: Option<KnownSize>) -> bool {
    matches!(ask.if_range, Some(IfRange::ETag(_))) && is_held_version(held, head, size)
}

/// Returns `true` for the whole file of the version whose strong ETag is held.
pub(crate) fn is_held_version(held: Held<'_>, head: &Head, size: Option<KnownSize>) -> bool {
    let same_size = match (held.size, size) {
        (Some(held), Some(size)) => held == size.bytes,
        _ => true,
    };
    let has_etag = matches!(strong(held.validators), Some(IfRange::ETag(_)));
    has_etag && same_size && same_version(held, head)
}

fn verdict_on_206(ask: &Ask, held: Held<'_>, head: &Head) -> Verdict {
    let ask_whole = |reason| {
        let refused = None;
        coded_or(head, Verdict::AskWhole { reason, refused })
    };
    let Some(ContentRange::Part { first, last, total }) = head.content_range else {
        return ask_whole(RestartReason::ContentRangeMismatch);
    };
    let total_fits = match held.size {
        Some(size) => total == Some(size),
        None => total.is_none_or(|total| total >= held.offset),
    };
    if first != ask.first || !total_fits {
        return ask_whole(RestartReason::ContentRangeMismatch);
    }
    if !same_version(held, head) {
        return ask_whole(RestartReason::ValidatorChanged);
    }
    match head.usable_end() {
        Err(error) => Verdict::Fail(error),
        Ok(BodyEnd::Length(bytes)) if bytes != last - first + 1 => Verdict::Fail(unequal_lengths()),
        Ok(_) => Verdict::Append { end: last + 1, total },
    }
}

/// Returns `true` if a response is of the held version. A held ETag must be sent back unchanged: a missing one counts as different.
/// A Last-Modified need not be repeated (RFC 9110 §15.3.7), but another one, even a weak one, is another version, unless a strong
/// ETag says that it is not. A stated digest is no validator, but a different one shows that the version is another.
fn same_version(held: Held<'_>, head: &Head) -> bool {
    let digest = states_the_same(held.digests, &head.stated);
    let (held, now) = (held.validators, &head.validators);
    let etag = held.etag.is_none() || now.etag == held.etag;
    let date = match strong(held) {
        Some(IfRange::ETag(_)) => true,
        _ => held.last_modified.is_none() || now.last_modified.is_none() || now.last_modified == held.last_modified,
    };
    etag && date && digest
}

/// Returns `true` if no digest that a response states differs from one of an earlier response.
pub(crate) fn states_the_same(held: &[DigestRow], stated: &[Checksum]) -> bool {
    held.iter().filter(|row| row.source == DigestSource::ReprDigest).all(|row| {
        let mut same = stated.iter().filter(|now| now.algorithm == row.algorithm);
        same.all(|now| row.wanted.as_ref() == Some(&now.hex))
    })
}

/// Returns `true` for a 416 with `bytes */N` that proves, by If-Range or the held strong ETag, that this version ends where the part
/// ends.
fn proves_complete(ask: &Ask, held: Held<'_>, head: &Head) -> bool {
    let at_end = head.content_range == Some(ContentRange::Unsatisfied { total: held.offset });
    let same_size = held.size.is_none_or(|size| size == held.offset);
    let etag = &head.validators.etag;
    let same_version = match (&ask.if_range, strong(held.validators)) {
        (Some(_), _) => etag.is_none() || *etag == held.validators.etag,
        (None, Some(IfRange::ETag(held))) => *etag == Some(held),
        (None, _) => false,
    };
    at_end && same_size && same_version
}

/// Refuses a coded body, whatever else is wrong with it: the response to a plain GET would have the same coding.
fn coded_or(head: &Head, verdict: Verdict) -> Verdict {
    match &head.coding {
        Some(coding) => Verdict::Fail(Error::Coded(coding.clone())),
        None => verdict,
    }
}

fn refused(head: &Head) -> Error {
    match head.status {
        400..=599 => Error::Status { status: head.status, retry_after: head.retry_after },
        other => Error::Protocol(format!("unexpected status {other}")),
    }
}

fn unequal_lengths() -> Error {
    Error::Protocol("Content-Length and Content-Range name different lengths".to_owned())
}
