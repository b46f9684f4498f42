//! ETag and Last-Modified: the fields that distinguish versions of a file (RFC 9110 §8.8).

use super::date::parse_date;
use crate::record::Validators;
use crate::split::cut;
use crate::transport::Headers;
use std::time::Duration;

/// A Last-Modified younger than this may be that of two versions from the same second (RFC 9110 §8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The longest field in bytes. A longer one is ignored: rows store fields as sent, and a cut one would be useless.
const LONGEST_BYTES: usize = 512;

/// Returns `true` if an ETag is strong and well-formed and may be sent in If-Range. An ETag that is not ASCII is legal, but not
/// every client can send it, so it is only compared.
pub fn is_strong_etag(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte)))
}

/// Returns `true` if a Last-Modified is at least 60 s older than the Date of the same response.
pub fn is_strong_last_modified(last_modified: &str, date: &str) -> bool {
    let (Some(modified), Some(date)) = (parse_date(last_modified), parse_date(date)) else {
        return false;
    };
    date.duration_since(modified).is_ok_and(|age| age >= STRONG_AFTER)
}

/// The validators of a response, as sent, without those that are too long.
pub fn validators(headers: &Headers) -> Validators {
    let date = headers.only("date").unwrap_or_default();
    let field = |name| {
        let value = headers.only(name)?;
        (value.len() <= LONGEST_BYTES).then(|| value.to_owned())
    };
    let last_modified = field("last-modified");
    let strong = |value: &String| is_strong_last_modified(value, date);
    Validators {
        etag: field("etag"),
        last_modified_strong: last_modified.as_ref().is_some_and(strong),
        last_modified,
        content_type: field("content-type").and_then(|value| media_type(&value)),
    }
}

/// The type and subtype of a Content-Type, lower-case (RFC 9110 §8.3.1).
fn media_type(value: &str) -> Option<String> {
    let (name, _parameters) = cut(value, b';').unwrap_or((value, ""));
    let name = name.trim_ascii();
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}
