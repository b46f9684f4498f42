//! The version that partial data belongs to: its size and its validators.

use serde::{Deserialize, Serialize};

/// Where the size of a file was stated.
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
    /// The name in the ledger and in events.
    pub fn name(self) -> &'static str {
        match self {
            SizeSource::ContentRange => "content_range",
            SizeSource::ContentLength => "content_length",
            SizeSource::ReleaseSize => "release_size",
        }
    }
    /// The source with this name.
    pub fn named(name: &str) -> Option<SizeSource> {
        [SizeSource::ContentRange, SizeSource::ContentLength, SizeSource::ReleaseSize]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// A size, and where it was stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSize {
    /// The size of the file in bytes.
    pub bytes: u64,
    /// Where it was stated.
    pub source: SizeSource,
}

/// The fields that distinguish versions of a file, as sent by the response with the first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// ETag as sent, weak or strong.
    pub etag: Option<String>,
    /// Last-Modified as sent, weak or strong.
    pub last_modified: Option<String>,
    /// That Last-Modified is strong: at least 60 s before that response's Date (RFC 9110 §8.8.2.2).
    pub last_modified_strong: bool,
    /// The media type of Content-Type, lower-case and without parameters. It validates nothing, but distinguishes an error page
    /// from a film.
    pub content_type: Option<String>,
}

/// How a URL behaves, so that not every attempt has to find out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    /// It ignores If-Range: it answered 200 with the strong ETag that is held.
    pub ignores_if_range: bool,
    /// It refused a range and then served the whole file.
    pub refuses_ranges: bool,
    /// Size and validators of a full response that was smaller than the part. A second one like it is believed.
    pub shrunk: Option<String>,
}
