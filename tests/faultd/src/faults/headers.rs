//! Header lines added, removed, multiplied; interim answers; codings that the body does not have.

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::reply::{End, Head, Oddity, Reply};
use crate::request::Request;
use crate::script::Version;

/// Header lines are added as they are (H05, H32, X05: anything a header can say).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// Name and value of each line.
    pub add: Vec<(String, String)>,
}

impl Headers {
    /// Adds one header line.
    pub fn add(name: &str, value: &str) -> Fault {
        Self { add: vec![(name.to_owned(), value.to_owned())] }.into()
    }
}

impl Misbehave for Headers {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        for (name, value) in &self.add {
            reply.add_header(name, value);
        }
    }
}

/// Headers are left out, for instance what CORS needs (H18 seen from a page of another origin).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RemoveHeaders {
    /// Their names, in any case.
    pub names: Vec<String>,
}

impl RemoveHeaders {
    /// Leaves one header out.
    pub fn named(name: &str) -> Fault {
        Self { names: vec![name.to_owned()] }.into()
    }
}

impl Misbehave for RemoveHeaders {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        for name in &self.names {
            reply.remove_header(name);
        }
    }
}

/// The body is said to be coded; its bytes stay as they are (H20).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Coding {
    /// The value of Content-Encoding: `gzip`, `br`, …
    pub name: String,
}

impl Coding {
    /// Says that the body has this coding.
    pub fn named(name: &str) -> Fault {
        Self { name: name.to_owned() }.into()
    }
}

impl Misbehave for Coding {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.set_header("Content-Encoding", &self.name);
    }
}

/// Interim answers come before the answer (H31).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Interim {
    /// Their status codes, 100 to 199.
    pub codes: Vec<u16>,
}

impl Interim {
    /// Sends these interim answers first.
    pub fn codes(codes: impl Into<Vec<u16>>) -> Fault {
        Self { codes: codes.into() }.into()
    }
}

impl Misbehave for Interim {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.interim.extend(self.codes.iter().map(|code| (*code, Vec::new())));
    }
}

/// The head is `bytes` larger, spread over `lines` header lines (H38: too large a head, too many headers).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HugeHead {
    /// Bytes of header values added.
    pub bytes: usize,
    /// Header lines added; 0 counts as 1.
    #[serde(default = "one")]
    pub lines: usize,
}

fn one() -> usize {
    1
}

impl HugeHead {
    /// Adds one header line of that many bytes.
    pub fn bytes(bytes: usize) -> Fault {
        Self { bytes, lines: 1 }.into()
    }

    /// Adds that many short header lines.
    pub fn lines(lines: usize) -> Fault {
        Self { bytes: lines, lines }.into()
    }
}

impl Misbehave for HugeHead {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let lines = self.lines.max(1);
        for line in 0..lines {
            let len = self.bytes / lines + usize::from(line < self.bytes % lines);
            reply.add_header(&format!("X-Padding-{line}"), "a".repeat(len));
        }
    }
}

/// The head is written as RFC 9112 does not allow. In the texts each character stands for one byte.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct OddHead {
    /// This status line, in place of the usual one.
    pub status_line: Option<String>,
    /// These lines before the headers.
    pub lines: Vec<String>,
    /// Lines end with LF alone.
    pub bare_lf: bool,
}

impl OddHead {
    /// Sends these lines before the headers.
    pub fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Fault {
        Self { lines: lines.into_iter().map(str::to_owned).collect(), ..Self::default() }.into()
    }
}

impl Misbehave for OddHead {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let bytes = |text: &String| -> Vec<u8> {
            let byte = |letter| u8::try_from(letter).unwrap_or(b'?');
            text.chars().map(byte).collect()
        };
        reply.oddity = Oddity {
            status_line: self.status_line.as_ref().map(bytes),
            lines: self.lines.iter().map(bytes).collect(),
            bare_lf: self.bare_lf,
        };
    }
}

/// The head never ends (H38).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EndlessHead {}

impl EndlessHead {
    /// Sends header lines for ever.
    pub fn ever() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for EndlessHead {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.head = Head::Endless;
        reply.end = End::Close;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{payload, spoil, version};
    use super::*;

    #[test]
    fn headers_are_added_beside_those_that_are_there_and_removed_in_any_case() {
        let reply =
            spoil(&[Headers::add("ETag", "\"v2\""), RemoveHeaders::named("last-modified")], &Request::get("/a"));
        assert_eq!(reply.values("ETag").collect::<Vec<_>>(), [b"\"v1\"", b"\"v2\""]);
        assert_eq!(reply.header("Last-Modified"), None);
    }

    #[test]
    fn a_coding_is_named_and_the_bytes_stay() {
        let reply = spoil(&[Coding::named("gzip")], &Request::get("/a"));
        assert_eq!(reply.header("Content-Encoding"), Some("gzip"));
        assert_eq!(payload(&reply), version().content().bytes(0..100));
    }

    #[test]
    fn interim_answers_keep_their_order() {
        let reply = spoil(&[Interim::codes([100, 103])], &Request::get("/a"));
        assert_eq!(reply.interim, [(100, vec![]), (103, vec![])]);
    }

    #[test]
    fn a_huge_head_has_so_many_more_bytes_and_lines() {
        let honest = spoil(&[], &Request::get("/a"));
        let huge = spoil(&[HugeHead { bytes: 1001, lines: 70 }.into()], &Request::get("/a"));
        assert_eq!(huge.headers.len(), honest.headers.len() + 70);
        let added: usize = huge.headers[honest.headers.len()..].iter().map(|(_, value)| value.len()).sum();
        assert_eq!(added, 1001);
    }

    #[test]
    fn an_odd_head_is_sent_byte_for_byte() {
        let odd = OddHead {
            status_line: Some("HTTP/1.1 200".to_owned()),
            lines: vec!["X : \u{e9}\u{1}".to_owned(), " folded".to_owned()],
            bare_lf: true,
        };
        let reply = spoil(&[odd.into()], &Request::get("/a"));
        let head = reply.head_bytes();
        assert!(head.starts_with(b"HTTP/1.1 200\nX : \xe9\x01\n folded\n"));
        assert!(head.ends_with(b"\n\n") && !head.contains(&b'\r'));
    }

    #[test]
    fn an_endless_head_never_reaches_the_body() {
        assert_eq!(spoil(&[EndlessHead::ever()], &Request::get("/a")).head, Head::Endless);
    }
}
