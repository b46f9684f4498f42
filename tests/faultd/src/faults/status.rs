//! Answers that are not the file: errors and redirects.

use serde::{Deserialize, Serialize};

use super::length::FOREIGN_SEED;
use super::{Fault, Misbehave};
use crate::content::Content;
use crate::honest;
use crate::reply::{Op, Reply};
use crate::request::Request;
use crate::script::Version;

/// Another status, with a page of `body_bytes` bytes (H28, H29, H30, H31, H39, T03, T04).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The status code.
    pub code: u16,
    /// The Retry-After line as sent, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<OneOrMany>,
    /// The size of the page in bytes; 0 if it is missing. 204 and 304 never have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
}

/// One header line, or several of the same name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One line.
    One(String),
    /// Several lines.
    Many(Vec<String>),
}

impl OneOrMany {
    fn lines(&self) -> &[String] {
        match self {
            OneOrMany::One(line) => std::slice::from_ref(line),
            OneOrMany::Many(lines) => lines,
        }
    }
}

impl Status {
    /// Answers with this status and no page.
    pub fn code(code: u16) -> Fault {
        Self { code, retry_after: None, body_bytes: None }.into()
    }

    /// Answers with this status and this Retry-After.
    pub fn retry_after(code: u16, value: &str) -> Fault {
        Self { code, retry_after: Some(OneOrMany::One(value.to_owned())), body_bytes: None }.into()
    }

    /// Answers with this status and a page of that many bytes.
    pub fn page(code: u16, body_bytes: u64) -> Fault {
        Self { code, retry_after: None, body_bytes: Some(body_bytes) }.into()
    }
}

impl Misbehave for Status {
    fn apply(&self, request: &Request, _: &Version, reply: &mut Reply) {
        *reply = bare(request, self.code, reply);
        for line in self.retry_after.iter().flat_map(OneOrMany::lines) {
            reply.add_header("Retry-After", line);
        }
        if matches!(self.code, 100..=199 | 204 | 304) {
            reply.remove_header("Content-Length");
        } else if let Some(bytes) = self.body_bytes {
            reply.set_header("Content-Length", bytes.to_string());
            reply.body = vec![Op::Content { content: Content::new(FOREIGN_SEED, bytes), from: 0, to: bytes }];
        }
    }
}

/// A request with a Range is answered with this status; one without it honestly.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RefuseRange {
    /// The status code.
    pub code: u16,
}

impl RefuseRange {
    /// Answers a Range with this status.
    pub fn with(code: u16) -> Fault {
        Self { code }.into()
    }
}

impl Misbehave for RefuseRange {
    fn apply(&self, request: &Request, _: &Version, reply: &mut Reply) {
        if request.header("Range").is_some() {
            *reply = bare(request, self.code, reply);
        }
    }
}

/// A redirect, or one without Location (H32, H33, H34, H35).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The Location as sent; `{origin}` stands for this server's own origin. Missing: no Location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The status code; 302 if it is missing.
    #[serde(default = "found")]
    pub code: u16,
}

fn found() -> u16 {
    302
}

impl Redirect {
    /// Redirects there with 302.
    pub fn to(to: &str) -> Fault {
        Self { to: Some(to.to_owned()), code: found() }.into()
    }

    /// Redirects there with this status.
    pub fn with_code(code: u16, to: &str) -> Fault {
        Self { to: Some(to.to_owned()), code }.into()
    }

    /// Redirects without a target.
    pub fn nowhere() -> Fault {
        Self { to: None, code: found() }.into()
    }
}

impl Misbehave for Redirect {
    fn apply(&self, request: &Request, _: &Version, reply: &mut Reply) {
        *reply = bare(request, self.code, reply);
        if let Some(to) = &self.to {
            // The site puts its origin in place of `{origin}`.
            reply.add_header("Location", to);
        }
    }
}

/// An empty answer with the Date of another.
fn bare(request: &Request, status: u16, old: &Reply) -> Reply {
    honest::plain(request, status, "", old.header("Date"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATE, spoil};
    use super::*;

    #[test]
    fn a_status_replaces_the_file_and_its_validators() {
        let reply = spoil(&[Status::code(503)], &Request::get("/a"));
        assert_eq!((reply.status, reply.payload_len(), reply.header("ETag")), (503, 0, None));
        assert_eq!((reply.header("Content-Length"), reply.header("Date")), (Some("0"), Some(DATE)));
        assert_eq!(reply.header("Retry-After"), None);
    }

    #[test]
    fn a_range_can_be_refused_and_the_whole_served() {
        let refusal = [RefuseRange::with(403)];
        let ranged = Request::get("/a").with("Range", "bytes=10-");
        let (ranged, plain) = (spoil(&refusal, &ranged), spoil(&refusal, &Request::get("/a")));
        assert_eq!((ranged.status, ranged.payload_len(), ranged.header("ETag")), (403, 0, None));
        assert_eq!((plain.status, plain.payload_len()), (200, 100));
    }

    #[test]
    fn retry_after_is_sent_as_written_once_or_twice() {
        let once = spoil(&[Status::retry_after(429, " 5")], &Request::get("/a"));
        assert_eq!(once.values("Retry-After").collect::<Vec<_>>(), [b" 5"]);
        let two =
            Status { code: 429, retry_after: Some(OneOrMany::Many(vec!["1".into(), "2".into()])), body_bytes: None };
        let twice = spoil(&[two.into()], &Request::get("/a"));
        assert_eq!(twice.values("Retry-After").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn an_error_page_has_its_size_and_takes_no_memory() {
        let ten_gigabytes = 10_000_000_000;
        let reply = spoil(&[Status::page(500, ten_gigabytes)], &Request::get("/a"));
        assert_eq!((reply.payload_len(), reply.header("Content-Length")), (ten_gigabytes, Some("10000000000")));
    }

    #[test]
    fn a_status_without_content_has_neither_body_nor_length() {
        for code in [204, 304] {
            let reply = spoil(&[Status::page(code, 10)], &Request::get("/a"));
            assert_eq!((reply.payload_len(), reply.header("Content-Length")), (0, None), "{code}");
        }
    }

    #[test]
    fn a_redirect_says_where_or_does_not() {
        let reply = spoil(&[Redirect::with_code(307, "//other/x")], &Request::get("/a"));
        assert_eq!((reply.status, reply.header("Location")), (307, Some("//other/x")));
        let nowhere = spoil(&[Redirect::nowhere()], &Request::get("/a"));
        assert_eq!((nowhere.status, nowhere.header("Location")), (302, None));
    }
}
