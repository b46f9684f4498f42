//! ETag, Last-Modified, Date and digest that are missing, weak or wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Misbehave};
use crate::honest;
use crate::reply::Reply;
use crate::request::Request;
use crate::script::Version;

/// Another ETag, or none (H15, H16, H18).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Etag {
    /// The value as sent; missing: no ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Etag {
    /// Sends this value.
    pub fn value(value: &str) -> Fault {
        Self { value: Some(value.to_owned()) }.into()
    }

    /// Sends none.
    pub fn missing() -> Fault {
        Self { value: None }.into()
    }
}

impl Misbehave for Etag {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        replace(reply, "ETag", self.value.as_deref());
    }
}

/// Another Last-Modified, or none (H17, H18).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LastModified {
    /// The value as sent; with `seconds_before_date` missing too: no Last-Modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Instead of a value: this many seconds before the response's Date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_before_date: Option<u64>,
}

impl LastModified {
    /// Sends this value.
    pub fn value(value: &str) -> Fault {
        Self { value: Some(value.to_owned()), seconds_before_date: None }.into()
    }

    /// Sends a time this many seconds before the response's Date.
    pub fn seconds_before_date(seconds: u64) -> Fault {
        Self { value: None, seconds_before_date: Some(seconds) }.into()
    }

    /// Sends none.
    pub fn missing() -> Fault {
        Self { value: None, seconds_before_date: None }.into()
    }
}

impl Misbehave for LastModified {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        let computed = self.seconds_before_date.and_then(|seconds| {
            let date = httpdate::parse_http_date(reply.header("Date")?).ok()?;
            date.checked_sub(Duration::from_secs(seconds)).map(honest::http_date)
        });
        replace(reply, "Last-Modified", self.value.as_deref().or(computed.as_deref()));
    }
}

/// Neither ETag nor Last-Modified (H16, H18).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NoValidators {}

impl NoValidators {
    /// Sends neither.
    pub fn at_all() -> Fault {
        Self {}.into()
    }
}

impl Misbehave for NoValidators {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        reply.remove_header("ETag");
        reply.remove_header("Last-Modified");
    }
}

/// Another Date, or none (H17, T05).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Date {
    /// The value as sent; missing: no Date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Date {
    /// Sends this value.
    pub fn value(value: &str) -> Fault {
        Self { value: Some(value.to_owned()) }.into()
    }

    /// Sends none.
    pub fn missing() -> Fault {
        Self { value: None }.into()
    }
}

impl Misbehave for Date {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        replace(reply, "Date", self.value.as_deref());
    }
}

/// Another Repr-Digest, or none (H19, H24).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ReprDigest {
    /// The value as sent; missing: no Repr-Digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl ReprDigest {
    /// Sends this value.
    pub fn value(value: &str) -> Fault {
        Self { value: Some(value.to_owned()) }.into()
    }

    /// Sends none.
    pub fn missing() -> Fault {
        Self { value: None }.into()
    }
}

impl Misbehave for ReprDigest {
    fn apply(&self, _: &Request, _: &Version, reply: &mut Reply) {
        replace(reply, "Repr-Digest", self.value.as_deref());
    }
}

/// One line of this header, or none.
fn replace(reply: &mut Reply, name: &str, value: Option<&str>) {
    reply.remove_header(name);
    if let Some(value) = value {
        reply.add_header(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::spoil;
    use super::*;
    use crate::faults::Headers;

    #[test]
    fn each_of_them_is_replaced_or_left_out() {
        let table = [
            (Etag::value("W/\"x\""), "ETag", Some("W/\"x\"")),
            (Etag::missing(), "ETag", None),
            (LastModified::value("x"), "Last-Modified", Some("x")),
            (LastModified::missing(), "Last-Modified", None),
            (Date::value("x"), "Date", Some("x")),
            (Date::missing(), "Date", None),
            (ReprDigest::value("sha-256=:x:"), "Repr-Digest", Some("sha-256=:x:")),
            (ReprDigest::missing(), "Repr-Digest", None),
        ];
        for (fault, name, expected) in table {
            let reply = spoil(&[Headers::add("Repr-Digest", "old"), fault.clone()], &Request::get("/a"));
            assert_eq!(reply.header(name), expected, "{fault:?}");
            assert!(reply.values(name).count() <= 1, "{fault:?}");
        }
    }

    #[test]
    fn a_last_modified_can_be_too_close_to_the_date_of_its_answer() {
        let fault = LastModified::seconds_before_date(59);
        let dated = spoil(&[Date::value("Tue, 24 Nov 2026 15:00:00 GMT"), fault], &Request::get("/a"));
        assert_eq!(dated.header("Last-Modified"), Some("Tue, 24 Nov 2026 14:59:01 GMT"));
    }

    #[test]
    fn no_validators_takes_both() {
        let reply = spoil(&[NoValidators::at_all()], &Request::get("/a"));
        assert_eq!((reply.header("ETag"), reply.header("Last-Modified")), (None, None));
    }
}
