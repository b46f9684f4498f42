//! Answers to a Range that a client must not take at their word (RFC 9110 §14, §15.3.7, §15.5.17).

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::honest;
use crate::range;
use crate::reply::{Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// The boundary of a multipart answer.
const BOUNDARY: &str = "regrip-faultd-boundary";

/// The Range is ignored: 200 with the whole file (H09).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct IgnoreRange {}

impl IgnoreRange {
    /// Answers as if no Range had been sent.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for IgnoreRange {
    fn apply(&self, request: &Request, version: &Version, reply: &mut Reply) {
        *reply = honest::answer(&request.clone().without("Range"), version, reply.header("Date"));
    }
}

/// The If-Range is ignored: 206 of what the file is now (H19).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct IgnoreIfRange {}

impl IgnoreIfRange {
    /// Answers as if no If-Range had been sent.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for IgnoreIfRange {
    fn apply(&self, request: &Request, version: &Version, reply: &mut Reply) {
        *reply = honest::answer(&request.clone().without("If-Range"), version, reply.header("Date"));
    }
}

/// A 206 starts elsewhere than asked, and says so (H02, H03).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RangeStart {
    /// How many bytes later; negative is earlier. The start stays inside the file.
    pub shift: i64,
}

impl RangeStart {
    /// Starts this many bytes later, or earlier.
    pub fn shifted(shift: i64) -> Fault {
        Self { shift }.into()
    }
}

impl Misbehave for RangeStart {
    fn apply(&self, _: &Request, version: &Version, reply: &mut Reply) {
        if let Some((from, to)) = part_of(reply) {
            let from = from.saturating_add_signed(self.shift).min(to.saturating_sub(1));
            send_part(reply, version, from, to);
        }
    }
}

/// A 206 ends earlier than asked, and says so: an honest shorter answer (H04).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RangeShort {
    /// How many bytes are sent at most; 0 counts as 1.
    pub bytes: u64,
}

impl RangeShort {
    /// Sends at most this many bytes.
    pub fn to(bytes: u64) -> Fault {
        Self { bytes }.into()
    }
}

impl Misbehave for RangeShort {
    fn apply(&self, _: &Request, version: &Version, reply: &mut Reply) {
        if let Some((from, to)) = part_of(reply) {
            send_part(reply, version, from, from.saturating_add(self.bytes.max(1)).min(to));
        }
    }
}

/// The Content-Range lines are replaced by these; the body stays (H05, H07).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ContentRange {
    /// The value of each line; none leaves the header out.
    pub value: Vec<String>,
}

impl ContentRange {
    /// Sends these lines instead.
    pub fn values<const N: usize>(values: [&str; N]) -> Fault {
        Self { value: values.map(str::to_owned).to_vec() }.into()
    }
}

impl Misbehave for ContentRange {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.remove_header("Content-Range");
        for value in &self.value {
            reply.add_header("Content-Range", value);
        }
    }
}

/// A 206 comes as multipart/byteranges of one part (H08).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Multipart {}

impl Multipart {
    /// Wraps the part.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for Multipart {
    fn apply(&self, _: &Request, version: &Version, reply: &mut Reply) {
        let Some((from, to)) = part_of(reply) else {
            return;
        };
        let content_range = range::content_range(from, to, version.size);
        let before =
            format!("--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {content_range}\r\n\r\n");
        reply.body.insert(0, Op::Raw(before.into_bytes()));
        reply.body.push(Op::Raw(format!("\r\n--{BOUNDARY}--\r\n").into_bytes()));
        reply.remove_header("Content-Range");
        reply.set_header("Content-Type", format!("multipart/byteranges; boundary={BOUNDARY}"));
        reply.set_header("Content-Length", reply.payload_len().to_string());
    }
}

/// A request without Range is answered with 206 of the whole (H06).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PartialUnasked {}

impl PartialUnasked {
    /// Answers 206 in place of 200.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for PartialUnasked {
    fn apply(&self, _: &Request, version: &Version, reply: &mut Reply) {
        if reply.status == 200 {
            reply.status = 206;
            reply.set_header("Content-Range", range::content_range(0, version.size, version.size));
        }
    }
}

/// A 200 carries a Content-Range: of the requested part if a Range was sent, else of the whole (H10).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ContentRangeOn200 {}

impl ContentRangeOn200 {
    /// Says both.
    pub fn always() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for ContentRangeOn200 {
    fn apply(&self, _: &Request, version: &Version, reply: &mut Reply) {
        match reply.status {
            206 => reply.status = 200,
            200 => reply.set_header("Content-Range", range::content_range(0, version.size, version.size)),
            _ => {}
        }
    }
}

/// 416 with this Content-Range, or without one (H11, H12, H13, H14).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RangeNotSatisfiable {
    /// The Content-Range as sent; missing: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_range: Option<String>,
}

impl RangeNotSatisfiable {
    /// 416 with this Content-Range.
    pub fn saying(content_range: &str) -> Fault {
        Self { content_range: Some(content_range.to_owned()) }.into()
    }

    /// 416 without a Content-Range.
    pub fn silent() -> Fault {
        Self { content_range: None }.into()
    }
}

impl Misbehave for RangeNotSatisfiable {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.status = 416;
        reply.body.clear();
        reply.set_header("Content-Length", "0");
        reply.remove_header("Content-Range");
        if let Some(value) = &self.content_range {
            reply.add_header("Content-Range", value);
        }
    }
}

/// The bytes that a 206 of one part sends.
fn part_of(reply: &Reply) -> Option<(u64, u64)> {
    let content_range = reply.header("Content-Range").filter(|_| reply.status == 206)?;
    range::read_content_range(content_range)
}

/// Makes a 206 the part `from..to`, headers and body.
fn send_part(reply: &mut Reply, version: &Version, from: u64, to: u64) {
    reply.set_header("Content-Range", range::content_range(from, to, version.size));
    reply.set_header("Content-Length", to.saturating_sub(from).to_string());
    reply.body = vec![Op::Content { content: version.content(), from, to }];
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATE, payload, spoil, version};
    use super::*;

    fn ranged() -> Request {
        Request::get("/a").with("Range", "bytes=40-")
    }

    fn bytes(from: u64, to: u64) -> Vec<u8> {
        version().content().bytes(from..to)
    }

    #[test]
    fn an_ignored_range_is_answered_with_the_whole() {
        let reply = spoil(&[IgnoreRange::always()], &ranged());
        assert_eq!((reply.status, payload(&reply)), (200, bytes(0, 100)));
        assert_eq!((reply.header("Content-Range"), reply.header("Date")), (None, Some(DATE)));
    }

    #[test]
    fn an_ignored_if_range_is_answered_with_206_of_the_version_that_is_there() {
        let request = ranged().with("If-Range", "\"of another version\"");
        assert_eq!(spoil(&[], &request).status, 200);
        let reply = spoil(&[IgnoreIfRange::always()], &request);
        assert_eq!((reply.status, payload(&reply)), (206, bytes(40, 100)));
    }

    #[test]
    fn a_shifted_start_is_said_and_sent() {
        for (shift, from) in [(-10, 30), (10, 50), (-1000, 0), (1000, 99)] {
            let reply = spoil(&[RangeStart::shifted(shift)], &ranged());
            assert_eq!(payload(&reply), bytes(from, 100), "{shift}");
            assert_eq!(reply.header("Content-Range"), Some(format!("bytes {from}-99/100").as_str()));
            assert_eq!(reply.header("Content-Length"), Some((100 - from).to_string().as_str()));
        }
        assert_eq!(spoil(&[RangeStart::shifted(1)], &Request::get("/a")), spoil(&[], &Request::get("/a")));
    }

    #[test]
    fn a_shorter_part_keeps_the_total() {
        let reply = spoil(&[RangeShort::to(5)], &ranged());
        assert_eq!((payload(&reply), reply.header("Content-Range")), (bytes(40, 45), Some("bytes 40-44/100")));
        assert_eq!(payload(&spoil(&[RangeShort::to(500)], &ranged())), bytes(40, 100));
    }

    #[test]
    fn content_range_lines_are_sent_as_given_and_the_body_stays() {
        let reply = spoil(&[ContentRange::values(["bytes 1-2/3", "rubbish"])], &ranged());
        assert_eq!(reply.values("Content-Range").collect::<Vec<_>>(), [b"bytes 1-2/3".as_slice(), b"rubbish"]);
        assert_eq!(payload(&reply), bytes(40, 100));
        let none = spoil(&[ContentRange::values([])], &ranged());
        assert_eq!((none.status, none.header("Content-Range")), (206, None));
    }

    #[test]
    fn a_multipart_answer_has_its_content_range_inside() {
        let reply = spoil(&[Multipart::always()], &ranged());
        let body = payload(&reply);
        assert_eq!((reply.status, reply.header("Content-Range")), (206, None));
        assert!(reply.header("Content-Type").is_some_and(|value| value.starts_with("multipart/byteranges; boundary=")));
        assert_eq!(reply.header("Content-Length"), Some(body.len().to_string().as_str()));
        assert!(body.windows(60).any(|window| window == bytes(40, 100)));
        assert!(String::from_utf8_lossy(&body).contains("Content-Range: bytes 40-99/100"));
    }

    #[test]
    fn a_206_nobody_asked_for_is_of_the_whole() {
        let reply = spoil(&[PartialUnasked::always()], &Request::get("/a"));
        assert_eq!((reply.status, reply.header("Content-Range")), (206, Some("bytes 0-99/100")));
        assert_eq!(payload(&reply), bytes(0, 100));
    }

    #[test]
    fn a_200_with_a_content_range_says_the_asked_part_or_the_whole() {
        let part = spoil(&[ContentRangeOn200::always()], &ranged());
        assert_eq!((part.status, part.header("Content-Range")), (200, Some("bytes 40-99/100")));
        let whole = spoil(&[ContentRangeOn200::always()], &Request::get("/a"));
        assert_eq!((whole.status, whole.header("Content-Range")), (200, Some("bytes 0-99/100")));
    }

    #[test]
    fn a_416_says_what_it_is_told_to_say() {
        let reply = spoil(&[RangeNotSatisfiable::saying("bytes */7")], &ranged());
        assert_eq!((reply.status, reply.header("Content-Range"), reply.payload_len()), (416, Some("bytes */7"), 0));
        let silent = spoil(&[RangeNotSatisfiable::silent()], &ranged());
        assert_eq!((silent.status, silent.header("Content-Range")), (416, None));
    }
}
