//! ETag and Last-Modified: what tells one version of a file from another (RFC 9110 §8.8).

use super::digest::sha256_of_repr_digest;
use crate::record::Validators;
use crate::transport::Headers;
use std::time::Duration;

/// A Last-Modified younger than this may name two versions of the same second (RFC 9110 §8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// Longer ETags are taken for none: a row keeps them as sent, and a cut one would tell nothing.
const LONGEST_ETAG_BYTES: usize = 512;

/// Whether an ETag is strong and well-formed, so that it may stand in an If-Range. One with bytes beyond ASCII is legal,
/// but cannot be sent back by every client, so it is only compared.
pub fn is_strong_etag(etag: &str) -> bool {
    let inner = etag
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| {
        inner
            .bytes()
            .all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte))
    })
}

/// Whether a Last-Modified is at least 60 s before the Date of the same response.
pub fn is_strong_last_modified(last_modified: &str, date: &str) -> bool {
    let (Ok(modified), Ok(date)) = (
        httpdate::parse_http_date(last_modified),
        httpdate::parse_http_date(date),
    ) else {
        return false;
    };
    date.duration_since(modified)
        .is_ok_and(|age| age >= STRONG_AFTER)
}

/// The validators of a response: the ETag as sent if it is not absurdly long, the Last-Modified where it is strong, the digest where it is stated.
pub fn validators(headers: &Headers) -> Validators {
    let date = headers.only("date").unwrap_or_default();
    let strong = |value: &&str| is_strong_last_modified(value, date);
    Validators {
        etag: headers
            .only("etag")
            .filter(|etag| etag.len() <= LONGEST_ETAG_BYTES)
            .map(str::to_owned),
        last_modified: headers
            .only("last-modified")
            .filter(strong)
            .map(str::to_owned),
        sha256: headers.only("repr-digest").and_then(sha256_of_repr_digest),
    }
}
