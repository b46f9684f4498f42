//! What is known of the version that a part's bytes belong to: its size and its validators.

use serde::{Deserialize, Serialize};

/// What says how long the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeSource {
    /// The total of a Content-Range.
    ContentRange,
    /// A Content-Length.
    ContentLength,
    /// The release's metadata.
    ReleaseSize,
}

impl SizeSource {
    /// As the ledger and the events spell it.
    pub fn name(self) -> &'static str {
        match self {
            SizeSource::ContentRange => "content_range",
            SizeSource::ContentLength => "content_length",
            SizeSource::ReleaseSize => "release_size",
        }
    }
    /// The source of that name.
    pub fn named(name: &str) -> Option<SizeSource> {
        [
            SizeSource::ContentRange,
            SizeSource::ContentLength,
            SizeSource::ReleaseSize,
        ]
        .into_iter()
        .find(|s| s.name() == name)
    }
}

/// A size and what said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSize {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// What said so.
    pub source: SizeSource,
}

/// What tells one version of a file from another, as the response with its first byte sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// ETag as sent, weak or strong.
    pub etag: Option<String>,
    /// Last-Modified as sent, kept only where it is strong: at least 60 s before that response's Date
    /// (RFC 9110 §8.8.2.2).
    pub last_modified: Option<String>,
    /// SHA-256 by Repr-Digest, lower-case hex.
    pub sha256: Option<String>,
}
