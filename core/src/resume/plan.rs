//! Decides how many bytes of a part count, and what to request.

use crate::http::is_strong_etag;
use crate::record::{Behaviour, DigestRow, RestartReason, Validators};
use crate::store::StoreRules;
use crate::transport::RequestRules;

/// The bytes of a part that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// All of them.
    All,
    /// Only this many: cut the part back.
    First(u64),
    /// None: the part is not the recorded one.
    None,
}

/// Decides how many of the `length` bytes of a part count.
///
/// `unbroken` is `true` if the part is still in the [epoch](crate::store::Part::epoch) in which its bytes were written, and `None`
/// before any byte was recorded. Within one epoch the length of the part counts, in another one only the durable offset.
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

/// The data that is held of a file.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The bytes in the part that count.
    pub offset: u64,
    /// The size of the file, if a transfer of this version stated it.
    pub size: Option<u64>,
    /// The size that the release's metadata states. By itself it never refuses a response, discards a part or ends a download.
    pub announced: Option<u64>,
    /// The validators of their version.
    pub validators: &'a Validators,
    /// Its digests, including those that earlier responses stated.
    pub digests: &'a [DigestRow],
    /// How the URL behaved in earlier requests.
    pub behaviour: &'a Behaviour,
}

/// A URL about which nothing is known.
static UNKNOWN: Behaviour = Behaviour { ignores_if_range: false, refuses_ranges: false, shrunk: None };

impl<'a> Held<'a> {
    /// The first `offset` bytes of a version, without digests and of a URL about which nothing else is known.
    pub fn new(offset: u64, size: Option<u64>, validators: &'a Validators) -> Held<'a> {
        Held { offset, size, announced: None, validators, digests: &[], behaviour: &UNKNOWN }
    }
}

/// What to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The whole file.
    Plain,
    /// The whole file, after the part was discarded: it cannot be of this file.
    Discard(RestartReason),
    /// Nothing: all bytes are there.
    Finish,
    /// The part has the size that the release states: nothing if a digest matches, else this.
    Prove(Ask),
    /// The rest.
    Ranged(Ask),
    /// The whole file, to be compared with the part; the reason applies if they differ.
    Full(RestartReason),
    /// Nothing: the bytes so far cannot be proven to belong to the rest, and cannot be discarded.
    NotResumable,
}

/// A ranged request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The first byte of the range.
    pub first: u64,
    /// The bytes from `first` up to here are in the part and are compared before one is appended.
    pub offset: u64,
    /// The If-Range: the server sends the whole file if its version is another one.
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
    /// The value as sent.
    pub fn value(&self) -> &str {
        match self {
            IfRange::ETag(value) | IfRange::Date(value) => value,
        }
    }
}

/// Decides what to request.
pub fn plan(held: Held<'_>, overlap_bytes: u64, requests: RequestRules, store: StoreRules) -> Plan {
    let offset = held.offset;
    // Also of an empty file, which may not be one any more.
    if offset == 0 {
        return Plan::Plain;
    }
    match held.size {
        Some(size) if offset > size && store.truncate => {
            return Plan::Discard(RestartReason::PartOversize);
        }
        Some(size) if offset > size => return Plan::NotResumable,
        Some(size) if offset == size => return Plan::Finish,
        _ => {}
    }
    let from = |overlap: u64, if_range| Ask {
        first: offset.saturating_sub(overlap.min(store.read_back_bytes)),
        offset,
        if_range,
    };
    // A part that cannot be read back is not compared, so nothing before its end is requested.
    let asked_about = held.size.is_none() && store.read_back_bytes > 0;
    let announced = held.announced.filter(|_| asked_about);
    // The part may be complete, but no transfer stated that the file ends there. At least the last byte is requested again, so that
    // the response states the total even if the file is complete.
    let from_before_the_end = || from(overlap_bytes.saturating_add(1), None);
    match announced.filter(|&announced| offset >= announced) {
        Some(announced) if offset == announced => return Plan::Prove(from_before_the_end()),
        _ if held.behaviour.refuses_ranges => {
            return Plan::refused(RestartReason::RangeRefused, store, held.validators);
        }
        Some(_) if is_unproven(held.validators, overlap_bytes) => {
            return Plan::compared(RestartReason::OverlapMismatch, store);
        }
        Some(_) => return Plan::Ranged(from_before_the_end()),
        None => {}
    }
    match strong(held.validators).filter(|_| requests.if_range) {
        // A strong ETag vouches for every byte; without one, the tail of the part is compared.
        Some(IfRange::ETag(_)) if held.behaviour.ignores_if_range => Plan::Ranged(from(0, None)),
        Some(etag @ IfRange::ETag(_)) => Plan::Ranged(from(0, Some(etag))),
        Some(date @ IfRange::Date(_)) => Plan::Ranged(from(overlap_bytes, Some(date))),
        None if overlap_bytes.min(store.read_back_bytes) == 0 => Plan::compared(RestartReason::OverlapMismatch, store),
        None => Plan::Ranged(from(overlap_bytes, None)),
    }
}

impl Plan {
    /// The whole file, to be compared with the part. A part that cannot be read back is discarded once the response was received; a
    /// part that cannot be cut cannot use it.
    pub fn compared(reason: RestartReason, store: StoreRules) -> Plan {
        match store.truncate {
            true => Plan::Full(reason),
            false => Plan::NotResumable,
        }
    }

    /// The same after a range was refused. With a strong ETag a part that cannot be cut can use it, too: of the same version, the bytes
    /// that are there already are skipped.
    pub(crate) fn refused(reason: RestartReason, store: StoreRules, validators: &Validators) -> Plan {
        match Plan::compared(reason, store) {
            Plan::NotResumable if !is_unproven(validators, 0) => Plan::Full(reason),
            plan => plan,
        }
    }
}

/// Returns `true` if neither a comparison nor a strong ETag would vouch for the bytes of a range without If-Range.
pub(crate) fn is_unproven(validators: &Validators, overlap_bytes: u64) -> bool {
    overlap_bytes == 0 && !matches!(strong(validators), Some(IfRange::ETag(_)))
}

/// The validator for an If-Range: a date only if there is no ETag at all, not even a weak one (RFC 9110 §13.1.5).
pub(super) fn strong(validators: &Validators) -> Option<IfRange> {
    match validators.etag.clone() {
        Some(etag) => is_strong_etag(&etag).then_some(IfRange::ETag(etag)),
        None if validators.last_modified_strong => validators.last_modified.clone().map(IfRange::Date),
        None => None,
    }
}
