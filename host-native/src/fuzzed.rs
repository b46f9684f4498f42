//! Parsers of strangers' bytes that are private otherwise, for `tests/fuzz`.
//!
//! They are public for that only, and may change with every release.

use crate::address::{self, ChecksumList};
use crate::cli::metalink;
use crate::peers::Release;
use regrip_core::Error;

/// A release as a peer answers it.
///
/// # Errors
/// As the download of its item.
pub fn release(json: &[u8]) -> Result<Release, Error> {
    let value = serde_json::from_slice(json).map_err(|error| Error::Protocol(error.to_string()))?;
    Release::read(value)
}

/// The files of a Metalink document, each with its sources; none if the document is refused.
pub fn metalink(text: &str) -> Vec<(String, Vec<String>)> {
    let files = metalink::parse(text).unwrap_or_default();
    files.into_iter().flatten().map(|file| (file.name, file.urls)).collect()
}

/// A URL without its userinfo, and the name of the file that it gives.
pub fn url(typed: &str) -> Option<(url::Url, Option<String>)> {
    let (url, _) = address::parse_url(typed).ok()?;
    let name = address::file_name(&url).ok().map(|name| name.to_string());
    Some((url, name))
}

/// The number of digests that a list of checksums has for a name.
pub fn checksums(text: &str, name: &str) -> Option<usize> {
    ChecksumList::parse(text).ok()?.of(&[name], true).ok().map(|found| found.len())
}

/// The URL of a download that is asked for by the API.
pub fn asked_download(json: &[u8]) -> Option<String> {
    crate::api::read_wish(json)
}

/// The bytes of the fields and files of a form, as the download client's API reads it.
pub fn form(kind: &str, body: &[u8]) -> Option<usize> {
    crate::api::read_form(kind, body)
}
