//! What the tests of the faults share: one file, and a reply's payload as bytes.

use super::{Fault, Misbehave};
use crate::honest;
use crate::reply::{Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The Date of every reply here.
pub(super) const DATE: &str = "Tue, 24 Nov 2026 15:00:00 GMT";

/// 100 bytes with a strong tag and a date.
pub(super) fn version() -> Version {
    Version::new(1, 100).etag("\"v1\"").last_modified("Mon, 23 Nov 2026 15:00:00 GMT")
}

/// The answer to a request after these faults.
pub(super) fn spoil(faults: &[Fault], request: &Request) -> Reply {
    let version = version();
    let mut reply = honest::answer(request, &version, Some(DATE));
    for fault in faults {
        fault.apply(request, &version, &mut reply);
    }
    reply
}

/// The payload that a reply sends.
pub(super) fn payload(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    for op in &reply.body {
        match op {
            Op::Content { content, from, to } | Op::Trickle { content, from, to, .. } => {
                out.extend(content.bytes(*from..*to))
            }
            Op::Raw(raw) => out.extend(raw),
            Op::Wire(_) | Op::Wait(_) => {}
            Op::Forever | Op::Cut => break,
        }
    }
    out
}
