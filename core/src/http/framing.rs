//! How the body of an HTTP/1 response ends (RFC 9112 §6.3). Other versions mark the end themselves.

use super::content_range::digits;
use crate::error::quoted;
use crate::transport::{BodyEnd, Headers};

/// How the body of an HTTP/1 response ends.
///
/// # Errors
/// The reason, if the fields contradict each other or contain an invalid length.
pub fn body_end(headers: &Headers) -> Result<BodyEnd, String> {
    let mut length = None;
    for value in headers.all("content-length") {
        let bytes = digits(value).filter(|&bytes| bytes <= i64::MAX as u64);
        let bytes = bytes.ok_or_else(|| format!("Content-Length is {}", quoted(value)))?;
        if length.is_some_and(|other| other != bytes) {
            return Err("two Content-Length fields differ".to_owned());
        }
        length = Some(bytes);
    }
    let encodings: Vec<&str> = headers.all("transfer-encoding").collect();
    match (length, encodings.as_slice()) {
        (Some(_), [_, ..]) => Err("both Content-Length and Transfer-Encoding".to_owned()),
        (Some(bytes), []) => Ok(BodyEnd::Length(bytes)),
        (None, [one]) if one.eq_ignore_ascii_case("chunked") => Ok(BodyEnd::Marked),
        // Any other coding changes the bytes, or ends with the connection, which proves nothing.
        (None, [first, ..]) => Err(format!("Transfer-Encoding is {}", quoted(first))),
        (None, []) => Ok(BodyEnd::Unmarked),
    }
}
