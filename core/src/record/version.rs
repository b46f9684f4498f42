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
    /// Last-Modified as sent, weak or strong.
    pub last_modified: Option<String>,
    /// That Last-Modified is strong: at least 60 s before that response's Date (RFC 9110 §8.8.2.2).
    pub last_modified_strong: bool,
    /// The media type of Content-Type, lower-case and without parameters. It validates nothing, but tells an error page
    /// from a film.
    pub content_type: Option<String>,
}

/// What requests to a URL have shown, so that it is not learned again with every attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    /// It answered 200 with the held strong ETag to an If-Range: it ignores that field.
    pub ignores_if_range: bool,
    /// It refused a range and then served the whole file.
    pub refuses_ranges: bool,
    /// Size and validators of a full response that was smaller than what is held. A second one like it is believed.
    pub shrunk: Option<String>,
}
