//! What to ask for, and what the answer is worth.
//!
//! Three pure functions: [`usable`] says how many of the part's bytes count, [`plan`] what to request, [`verdict`] what to
//! do with the response. Together they keep the promise that bytes of two versions never stand in one file: a byte is
//! appended only after the server proved, by a strong validator or by the bytes themselves, that it belongs to the ones
//! before it. They follow RFC 9110 §13.1.5, §14 and §15.3.7.

use crate::error::Error;
use crate::http::{ContentRange, Head, is_strong_etag};
use crate::record::{KnownSize, RestartReason, SizeSource, Validators};
use crate::store::StoreRules;
use crate::transport::{BodyEnd, RequestRules};

/// How much of a part counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// All of it.
    All,
    /// Only so many bytes: cut it back.
    First(u64),
    /// None: it is not what was recorded.
    None,
}

/// How many of a part's `length` bytes count.
///
/// `unbroken` says whether the part is still in the [epoch](crate::store::Part::epoch) in which its bytes were written, and is
/// `None` before any byte was recorded. Within one epoch the part's own length counts; in another one only what was made
/// durable does.
pub fn usable(length: u64, durable: u64, unbroken: Option<bool>) -> Usable {
    match unbroken {
        None if length == 0 => Usable::All,
        None => Usable::None,
        Some(_) if length < durable => Usable::None,
        Some(true) => Usable::All,
        Some(false) if length == durable => Usable::All,
        Some(false) => Usable::First(durable),
    }
}

/// What is held of a file.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Bytes in the part that count.
    pub offset: u64,
    /// Size of the file, if a transfer of this version gave it.
    pub size: Option<u64>,
    /// Size by the release's metadata. It never refuses a response, discards a part or ends a download by itself.
    pub announced: Option<u64>,
    /// What tells the version they are of.
    pub validators: &'a Validators,
}

/// What to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The whole file.
    Plain,
    /// The part cannot be of this file: discard it, then the whole file.
    Discard(RestartReason),
    /// Nothing: all bytes are there.
    Finish,
    /// The part has the size that the release announced: nothing if a digest matches, else this.
    Prove(Ask),
    /// The rest.
    Ranged(Ask),
    /// Nothing: the bytes so far cannot be proven to belong to the rest, and cannot be taken back.
    NotResumable,
}

/// A ranged request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The first byte asked for.
    pub first: u64,
    /// The bytes from `first` up to here are in the part and are compared before one is appended.
    pub offset: u64,
    /// What makes the server answer with the whole file where it is another version.
    pub if_range: Option<IfRange>,
}

/// The value of an If-Range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// A strong ETag.
    ETag(String),
    /// A strong Last-Modified.
    Date(String),
}

impl IfRange {
    /// As it goes on the wire.
    pub fn value(&self) -> &str {
        match self {
            IfRange::ETag(value) | IfRange::Date(value) => value,
        }
    }
}

/// What to request, given what is held.
pub fn plan(held: Held<'_>, overlap_bytes: u64, requests: RequestRules, store: StoreRules) -> Plan {
    let offset = held.offset;
    match held.size {
        Some(size) if offset > size => return Plan::Discard(RestartReason::PartOversize),
        Some(size) if offset == size => return Plan::Finish,
        _ if offset == 0 => return Plan::Plain,
        Some(_) => {}
        None => {
            if let Some(announced) = held.announced.filter(|&announced| offset >= announced) {
                return beyond_the_announced(offset, announced, overlap_bytes, store);
            }
        }
    }
    let if_range = if requests.if_range {
        if_range(held.validators)
    } else {
        None
    };
    // A strong ETag vouches for every byte; anything less is checked against the part's own tail.
    let overlap = match if_range {
        Some(IfRange::ETag(_)) => 0,
        Some(IfRange::Date(_)) => overlap_bytes.min(store.read_back_bytes),
        None if store.read_back_bytes == 0 => return without_proof(store),
        None => overlap_bytes.min(store.read_back_bytes),
    };
    Plan::Ranged(Ask {
        first: offset.saturating_sub(overlap),
        offset,
        if_range,
    })
}

/// The announced bytes are all there, but no transfer said that the file ends there. At least the last byte is asked for
/// once more, so that the response has a total even if the file is complete.
fn beyond_the_announced(
    offset: u64,
    announced: u64,
    overlap_bytes: u64,
    store: StoreRules,
) -> Plan {
    if store.read_back_bytes == 0 {
        return without_proof(store);
    }
    let overlap = overlap_bytes.saturating_add(1).min(store.read_back_bytes);
    let ask = Ask {
        first: offset.saturating_sub(overlap),
        offset,
        if_range: None,
    };
    if offset == announced {
        Plan::Prove(ask)
    } else {
        Plan::Ranged(ask)
    }
}

/// Nothing vouches for the part's bytes, and they cannot be compared: no request for the rest would be of use.
fn without_proof(store: StoreRules) -> Plan {
    if store.truncate {
        Plan::Discard(RestartReason::OverlapMismatch)
    } else {
        Plan::NotResumable
    }
}

/// A date only where there is no ETag at all, not even a weak one (RFC 9110 §13.1.5).
fn if_range(validators: &Validators) -> Option<IfRange> {
    match validators.etag.clone() {
        Some(etag) => is_strong_etag(&etag).then_some(IfRange::ETag(etag)),
        None => validators.last_modified.clone().map(IfRange::Date),
    }
}

/// What a response is worth.
#[derive(Debug)]
pub enum Verdict {
    /// Its body goes on where the part ends (after the comparison).
    Append {
        /// The offset after its last byte.
        end: u64,
        /// Size of the file, where it told.
        total: Option<u64>,
    },
    /// Its body is the file from the start.
    Fresh {
        /// How it ends.
        end: BodyEnd,
        /// Size of the file, where it told.
        size: Option<KnownSize>,
        /// Why the part's bytes are discarded, where it has any.
        restart: Option<RestartReason>,
    },
    /// Drop it unread, discard the part and ask for the whole file.
    Restart(RestartReason),
    /// The part is the whole file.
    Complete,
    /// The attempt is over.
    Fail(Error),
}

/// What the response to a ranged request is worth.
pub fn verdict(ask: &Ask, held: Held<'_>, head: &Head) -> Verdict {
    match head.status {
        206 => verdict_on_206(ask, held, head),
        200 if head.content_ranges > 0 => {
            coded_or(head, Verdict::Restart(RestartReason::ContentRangeMismatch))
        }
        200 => {
            let changed = ask.if_range.is_some();
            let reason = if changed {
                RestartReason::ValidatorChanged
            } else {
                RestartReason::RangeIgnored
            };
            fresh(head, Some(reason))
        }
        416 if proves_complete(ask, held, head) => Verdict::Complete,
        416 => Verdict::Restart(RestartReason::RangeNotSatisfiable),
        _ => Verdict::Fail(refused(head)),
    }
}

/// What the response to a request for the whole file is worth.
pub fn verdict_on_plain(rules: RequestRules, head: &Head) -> Verdict {
    match (head.status, head.content_range) {
        (200, _) if head.content_ranges == 0 => fresh(head, None),
        (
            200,
            Some(ContentRange::Part {
                first: 0,
                last,
                total: Some(total),
            }),
        ) if last.saturating_add(1) == total => first_range(head, last, Some(total)),
        (200, _) => coded_or(
            head,
            Verdict::Fail(Error::Protocol(
                "a 200 whose Content-Range is not the whole file".to_owned(),
            )),
        ),
        (
            206,
            Some(ContentRange::Part {
                first: 0,
                last,
                total,
            }),
        ) if rules.range_always => first_range(head, last, total),
        (416, Some(ContentRange::Unsatisfied { total: 0 })) if rules.range_always => {
            let size = Some(KnownSize {
                bytes: 0,
                source: SizeSource::ContentRange,
            });
            Verdict::Fresh {
                end: BodyEnd::Length(0),
                size,
                restart: None,
            }
        }
        (206, _) => Verdict::Fail(Error::Protocol(
            "a 206 that was not asked for, or not for these bytes".to_owned(),
        )),
        _ => Verdict::Fail(refused(head)),
    }
}

/// A response to a request for the whole file that says it is the bytes from 0 to `last`.
fn first_range(head: &Head, last: u64, total: Option<u64>) -> Verdict {
    let end = match head.usable_end() {
        Ok(end) => end,
        Err(error) => return Verdict::Fail(error),
    };
    let length = last.saturating_add(1);
    if matches!(end, BodyEnd::Length(bytes) if bytes != length) {
        return Verdict::Fail(unequal_lengths());
    }
    let size = total.map(|bytes| KnownSize {
        bytes,
        source: SizeSource::ContentRange,
    });
    // A body without a length is read to its own end, to see that this is the file's; that of a range alone ends with it.
    let end = match total == Some(length) {
        true => end,
        false => BodyEnd::Length(length),
    };
    Verdict::Fresh {
        end,
        size,
        restart: None,
    }
}

fn fresh(head: &Head, restart: Option<RestartReason>) -> Verdict {
    match head.usable_end() {
        Err(error) => Verdict::Fail(error),
        Ok(end) => {
            let size = match end {
                BodyEnd::Length(bytes) => Some(KnownSize {
                    bytes,
                    source: SizeSource::ContentLength,
                }),
                BodyEnd::Marked | BodyEnd::Unmarked => None,
            };
            Verdict::Fresh { end, size, restart }
        }
    }
}

fn verdict_on_206(ask: &Ask, held: Held<'_>, head: &Head) -> Verdict {
    let mismatch = coded_or(head, Verdict::Restart(RestartReason::ContentRangeMismatch));
    let Some(ContentRange::Part { first, last, total }) = head.content_range else {
        return mismatch;
    };
    let total_fits = match held.size {
        Some(size) => total == Some(size),
        None => total.is_none_or(|total| total >= held.offset),
    };
    if first != ask.first || !total_fits {
        return mismatch;
    }
    if !same_version(ask, held, head) {
        return coded_or(head, Verdict::Restart(RestartReason::ValidatorChanged));
    }
    match head.usable_end() {
        Err(error) => Verdict::Fail(error),
        Ok(BodyEnd::Length(bytes)) if bytes != last - first + 1 => Verdict::Fail(unequal_lengths()),
        Ok(_) => Verdict::Append {
            end: last + 1,
            total,
        },
    }
}

/// The validator that was held has to come back identical; one that is missing now is as good as another one. A stated
/// digest is no validator, but two that differ are proof enough.
fn same_version(ask: &Ask, held: Held<'_>, head: &Head) -> bool {
    let etag = held.validators.etag.is_none() || head.validators.etag == held.validators.etag;
    let date = match &ask.if_range {
        Some(IfRange::Date(date)) => head.last_modified.as_ref() == Some(date),
        Some(IfRange::ETag(_)) | None => true,
    };
    let digest = match (&held.validators.sha256, &head.validators.sha256) {
        (Some(held), Some(stated)) => held == stated,
        _ => true,
    };
    etag && date && digest
}

/// 416 with `bytes */N`: with an If-Range it says that this very version ends where the part ends.
fn proves_complete(ask: &Ask, held: Held<'_>, head: &Head) -> bool {
    let at_end = head.content_range == Some(ContentRange::Unsatisfied { total: held.offset });
    let same_etag = head.validators.etag.is_none() || head.validators.etag == held.validators.etag;
    let same_size = held.size.is_none_or(|size| size == held.offset);
    ask.if_range.is_some() && at_end && same_etag && same_size
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
        400..=599 => Error::Status {
            status: head.status,
            retry_after: head.retry_after,
        },
        other => Error::Protocol(format!("status {other}, which no request asked for")),
    }
}

fn unequal_lengths() -> Error {
    Error::Protocol("Content-Length and Content-Range name different lengths".to_owned())
}
