//! What a response is worth.

use super::plan::{Ask, Held, IfRange, strong};
use crate::checksum::Checksum;
use crate::error::Error;
use crate::http::{ContentRange, Head};
use crate::record::{DigestRow, DigestSource, KnownSize, RestartReason, SizeSource};
use crate::transport::{BodyEnd, RequestRules};

/// What a response is worth.
#[derive(Debug)]
pub enum Verdict {
    /// Its body goes on where the part ends (after the comparison).
    Append {
        /// The offset after its last byte.
        end: u64,
        /// Size of the file, if it says so.
        total: Option<u64>,
    },
    /// Its body is the file from its first byte on.
    Full {
        /// How it ends.
        end: BodyEnd,
        /// Size of the file, if it says so.
        size: Option<KnownSize>,
        /// Why bytes of the part are discarded, if they differ.
        reason: RestartReason,
    },
    /// Its body is the whole file although an If-Range with the held strong ETag was sent, and it has that very ETag: the
    /// source ignores If-Range. The range alone is worth a try; or the body's first bytes, which are the part's, are skipped.
    IgnoredIfRange {
        /// How it ends.
        end: BodyEnd,
        /// Size of the file, if it says so.
        size: Option<KnownSize>,
    },
    /// Drop it unread, and ask for the whole file.
    AskWhole {
        /// Why bytes of the part are discarded, if they differ.
        reason: RestartReason,
        /// The status refuses the range, and counts if the whole file is refused as well.
        refused: Option<Error>,
    },
    /// The part is the whole file.
    Complete,
    /// The attempt is over.
    Fail(Error),
}

/// What the response to a ranged request is worth.
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

/// What the response to a request for the whole file is worth. `reason` counts if it differs from the part. `bare` says
/// that a client which sends a Range with every request sent none, because the range was refused.
pub fn verdict_on_plain(
    requests: RequestRules,
    bare: bool,
    held: Held<'_>,
    head: &Head,
    reason: RestartReason,
) -> Verdict {
    let ranged = requests.range_always && !bare;
    // `fetch` asks for codings then.
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

/// A response to a request for the whole file that says it is the bytes from 0 to `last`.
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
    // A body without a length is read to its own end, to see that this is the file's; that of a range alone ends with it.
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

/// `fetch` asks for codings if there is no Range, undoes them, and may hide the field that names them. Only a length that
/// was known before shows that the bytes are the file's.
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

/// The whole file of the very version that the If-Range named. An ETag that is the same for another size or digest names
/// no version.
fn ignores_if_range(ask: &Ask, held: Held<'_>, head: &Head, size: Option<KnownSize>) -> bool {
    let same_size = match (held.size, size) {
        (Some(held), Some(size)) => held == size.bytes,
        _ => true,
    };
    let sent = matches!(ask.if_range, Some(IfRange::ETag(_)));
    sent && same_size && same_version(ask, held, head)
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
    if !same_version(ask, held, head) {
        return ask_whole(RestartReason::ValidatorChanged);
    }
    match head.usable_end() {
        Err(error) => Verdict::Fail(error),
        Ok(BodyEnd::Length(bytes)) if bytes != last - first + 1 => Verdict::Fail(unequal_lengths()),
        Ok(_) => Verdict::Append { end: last + 1, total },
    }
}

/// The ETag that was held has to come back identical; one that is missing now is as good as another one. So has the date of
/// an If-Range; another Last-Modified, even a weak one, is another version. A stated digest is no validator, but two that
/// differ are proof enough.
fn same_version(ask: &Ask, held: Held<'_>, head: &Head) -> bool {
    let digest = states_the_same(held.digests, &head.stated);
    let (held, now) = (held.validators, &head.validators);
    let etag = held.etag.is_none() || now.etag == held.etag;
    let date = match (strong(held), &ask.if_range) {
        (Some(IfRange::ETag(_)), _) => true,
        // It need not be repeated (RFC 9110 §15.3.7).
        (_, Some(IfRange::Date(date))) => now.last_modified.is_none() || now.last_modified.as_ref() == Some(date),
        _ => held.last_modified.is_none() || now.last_modified.is_none() || now.last_modified == held.last_modified,
    };
    etag && date && digest
}

/// Whether no digest that a response states differs from one of an earlier response.
pub(crate) fn states_the_same(held: &[DigestRow], stated: &[Checksum]) -> bool {
    held.iter().filter(|row| row.source == DigestSource::ReprDigest).all(|row| {
        let mut same = stated.iter().filter(|now| now.algorithm == row.algorithm);
        same.all(|now| row.wanted.as_ref() == Some(&now.hex))
    })
}

/// 416 with `bytes */N`: with an If-Range, or with the held strong ETag, it says that this very version ends where the part
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

/// A coded body is refused whatever else is wrong with it: a plain GET would bring the same coding.
fn coded_or(head: &Head, verdict: Verdict) -> Verdict {
    match &head.coding {
        Some(coding) => Verdict::Fail(Error::Coded(coding.clone())),
        None => verdict,
    }
}

fn refused(head: &Head) -> Error {
    match head.status {
        400..=599 => Error::Status { status: head.status, retry_after: head.retry_after },
        other => Error::Protocol(format!("status {other}, which no request asked for")),
    }
}

fn unequal_lengths() -> Error {
    Error::Protocol("Content-Length and Content-Range name different lengths".to_owned())
}
