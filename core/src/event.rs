//! What a user may want to see while a download runs.

use crate::checksum::{Algorithm, Checksum};
use crate::classify::Class;
use crate::error_code::ErrorCode;
use crate::record::{DownloadId, RestartReason, SizeSource};
use crate::retry::AskedBy;
use std::time::{Duration, SystemTime};

/// One thing that happened to one download.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// The download.
    pub id: DownloadId,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// Where the bytes come from, without userinfo, query and fragment.
    pub url: &'a str,
    /// The destination.
    pub path: &'a str,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Accepted, and not started yet.
    Queued,
    /// An attempt starts.
    Started {
        /// Its number over the row's life.
        attempt: u32,
        /// The offset it starts from.
        from: u64,
    },
    /// A response was taken up: its bytes count.
    Headers {
        /// Size of the file, where known.
        expected_bytes: Option<u64>,
        /// What said so.
        source: Option<SizeSource>,
        /// The transfer's size is not the release's.
        mismatch: bool,
    },
    /// Bytes arrived; a few times a second at most.
    Progress {
        /// Bytes in the part.
        bytes: u64,
        /// Size of the file, where known.
        total: Option<u64>,
    },
    /// The bytes so far were discarded.
    Restart {
        /// Why.
        reason: RestartReason,
        /// How many.
        discarded_bytes: u64,
    },
    /// An attempt failed and another one follows.
    Retrying {
        /// The one that failed.
        attempt: u32,
        /// The wait before the next.
        delay: Duration,
        /// Who asked for that wait.
        asked_by: AskedBy,
        /// Its class, always transient.
        class: Class,
        /// The error and its sources in one line.
        error: String,
    },
    /// It waits for something else than its own backoff.
    Waiting {
        /// Until when at the latest, by the wall clock.
        until: SystemTime,
        /// Why, in a few words.
        why: String,
    },
    /// The file is at its final name.
    Completed(Summary),
    /// Ended without a file.
    Failed(Summary),
    /// Called off; the part is kept.
    Cancelled(Summary),
}

impl What {
    /// As `--json`, SSE and JavaScript spell it.
    pub fn name(&self) -> &'static str {
        match self {
            What::Queued => "queued",
            What::Started { .. } => "started",
            What::Headers { .. } => "headers",
            What::Progress { .. } => "progress",
            What::Restart { .. } => "restart",
            What::Retrying { .. } => "retrying",
            What::Waiting { .. } => "waiting",
            What::Completed(_) => "completed",
            What::Failed(_) => "failed",
            What::Cancelled(_) => "cancelled",
        }
    }
}

/// How a download ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Bytes in the file, or in the part that is kept.
    pub bytes: u64,
    /// Attempts over the row's life.
    pub attempts: u32,
    /// Restarts over the row's life.
    pub restarts: u32,
    /// The file's digests that were computed.
    pub digests: Vec<Checksum>,
    /// What failed after a completed file got its name, in one line.
    pub warning: Option<String>,
    /// Class of the error.
    pub class: Option<Class>,
    /// [`Error::code`](crate::Error::code).
    pub code: Option<ErrorCode>,
    /// The error and its sources in one line.
    pub error: Option<String>,
    /// What a person can do about it.
    pub advice: Option<&'static str>,
}

impl Summary {
    /// The file's digest, in lower-case hex, if it was computed.
    pub fn hex(&self, algorithm: Algorithm) -> Option<&str> {
        let mut digests = self.digests.iter();
        let found = digests.find(|digest| digest.algorithm == algorithm);
        found.map(|digest| digest.hex.as_str())
    }
}

/// A URL as it may be shown: without userinfo, query and fragment. Of what is no URL of a known scheme only kind and length
/// are shown: it may be a secret that belongs elsewhere.
///
/// ```
/// assert_eq!(regrip_core::display_url("https://me:secret@host/a?key=1#x"), "https://host/a");
/// assert_eq!(regrip_core::display_url("me:secret@host"), "a string of 14 characters");
/// ```
pub fn display_url(url: &str) -> String {
    without_secrets(url).unwrap_or_else(|| redacted(url))
}

/// What is said of a text that may be a secret: kind and length.
///
/// ```
/// assert_eq!(regrip_core::redacted("secret"), "a string of 6 characters");
/// ```
pub fn redacted(text: &str) -> String {
    match text.chars().count() {
        0 => "an empty string".to_owned(),
        1 => "a string of 1 character".to_owned(),
        count => format!("a string of {count} characters"),
    }
}

/// Schemes of the form `scheme://host`, which are no secret themselves.
const KNOWN_SCHEMES: [&str; 9] = [
    "http", "https", "ftp", "ftps", "sftp", "s3", "ws", "wss", "socks5",
];

fn without_secrets(url: &str) -> Option<String> {
    let end = url.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    let (url, _) = url.split_at(end.unwrap_or(url.len()));
    let (scheme, rest) = url.split_once("://")?;
    let mut known = KNOWN_SCHEMES.iter();
    known.find(|known| scheme.eq_ignore_ascii_case(known))?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let userinfo = authority.bytes().rposition(|byte| byte == b'@');
    let (_, host) = authority.split_at(userinfo.map_or(0, |at| at + 1));
    is_host(host).then(|| format!("{scheme}://{host}{path}"))
}

/// A name or an address, with or without a port. A password with a slash in it leaves something else before the slash.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let fits = |letter: char| match bare {
        Some(_) => letter.is_ascii_hexdigit() || matches!(letter, ':' | '.'),
        None => letter.is_alphanumeric() || matches!(letter, '-' | '.' | '_' | '~'),
    };
    let name = bare.unwrap_or(name);
    !name.is_empty() && name.chars().all(fits) && port.bytes().all(|byte| byte.is_ascii_digit())
}
