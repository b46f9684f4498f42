//! Events: what a user may want to see while downloads run.

use crate::checksum::{Algorithm, Checksum};
use crate::classify::Class;
use crate::error_code::ErrorCode;
use crate::record::{DownloadId, RestartReason, SizeSource};
use crate::retry::AskedBy;
use crate::shown::{is_invisible, redacted, shown};
use crate::split::{cut, cut_last};
use std::time::{Duration, SystemTime};

/// An event of a download.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// The download.
    pub id: DownloadId,
    /// The time by the wall clock.
    pub at: SystemTime,
    /// The source, without userinfo, query and fragment.
    pub url: &'a str,
    /// The destination.
    pub path: &'a str,
    /// The kind of event and its fields.
    pub what: What,
}

/// A kind of event.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The download was accepted and has not started.
    Queued,
    /// An attempt has started.
    Started {
        /// Its number over the life of the row.
        attempt: u32,
        /// The offset it starts at.
        from: u64,
    },
    /// A response was accepted.
    Headers {
        /// The size of the file, if known.
        expected_bytes: Option<u64>,
        /// Where the size was stated.
        source: Option<SizeSource>,
        /// `true` if the size differs from that of the release.
        mismatch: bool,
    },
    /// Data was received; sent at most a few times per second.
    Progress {
        /// Bytes in the part.
        bytes: u64,
        /// The size of the file, if known.
        total: Option<u64>,
        /// The average speed of the last seconds; `None` until it was measured.
        bytes_per_sec: Option<u64>,
        /// The time left at this speed, in whole seconds rounded up; `None` if the size or the speed is unknown.
        eta_secs: Option<u64>,
    },
    /// Partial data was discarded.
    Restart {
        /// The reason.
        reason: RestartReason,
        /// The number of bytes discarded.
        discarded_bytes: u64,
    },
    /// An attempt failed, and another one follows.
    Retrying {
        /// The number of the failed attempt.
        attempt: u32,
        /// The delay before the next attempt.
        delay: Duration,
        /// Who asked for the delay.
        asked_by: AskedBy,
        /// The class of the error; always transient.
        class: Class,
        /// The error and its sources in one line.
        error: String,
    },
    /// The download waits for something other than its backoff.
    Waiting {
        /// The latest end of the wait, by the wall clock.
        until: SystemTime,
        /// The reason, in a few words.
        why: String,
    },
    /// A user paused the download: it waits until the user resumes it.
    Paused {
        /// Bytes in the part, which is kept.
        bytes: u64,
    },
    /// The file is at its final name.
    Completed(Summary),
    /// The download failed.
    Failed(Summary),
    /// The download was cancelled; the part is kept.
    Cancelled(Summary),
}

impl What {
    /// The name in `--json`, SSE and JavaScript.
    pub fn name(&self) -> &'static str {
        match self {
            What::Queued => "queued",
            What::Started { .. } => "started",
            What::Headers { .. } => "headers",
            What::Progress { .. } => "progress",
            What::Restart { .. } => "restart",
            What::Retrying { .. } => "retrying",
            What::Waiting { .. } | What::Paused { .. } => "waiting",
            What::Completed(_) => "completed",
            What::Failed(_) => "failed",
            What::Cancelled(_) => "cancelled",
        }
    }
}

/// How a download ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The size of the file, or of the part that is kept.
    pub bytes: u64,
    /// Attempts over the life of the row.
    pub attempts: u32,
    /// Restarts over the life of the row.
    pub restarts: u32,
    /// The digests of the file that were computed.
    pub digests: Vec<Checksum>,
    /// A failure after the rename of a completed file, in one line.
    pub warning: Option<String>,
    /// The class of the error.
    pub class: Option<Class>,
    /// [`Error::code`](crate::Error::code).
    pub code: Option<ErrorCode>,
    /// The error and its sources in one line.
    pub error: Option<String>,
    /// What the user can do about it.
    pub advice: Option<&'static str>,
}

impl Summary {
    /// The digest of the file with this algorithm, in lower-case hex, if it was computed.
    pub fn hex(&self, algorithm: Algorithm) -> Option<&str> {
        let mut digests = self.digests.iter();
        let found = digests.find(|digest| digest.algorithm == algorithm);
        found.map(|digest| digest.hex.as_str())
    }
}

/// A URL for display: without userinfo, query and fragment. If the text is not a URL with a known scheme, only its kind and length
/// are shown, because it may be a misplaced secret.
///
/// ```
/// assert_eq!(regrip_core::display_url("https://me:secret@host/a?key=1#x"), "https://host/a");
/// assert_eq!(regrip_core::display_url("me:secret@host"), "a string of 14 characters");
/// ```
pub fn display_url(url: &str) -> String {
    without_secrets(url).unwrap_or_else(|| redacted(url))
}

/// The schemes of the form `scheme://host` that are shown.
const KNOWN_SCHEMES: [&str; 9] = ["http", "https", "ftp", "ftps", "sftp", "s3", "ws", "wss", "socks5"];

fn without_secrets(url: &str) -> Option<String> {
    let (scheme, host, path) = scheme_host_and_path(url)?;
    let mut known = KNOWN_SCHEMES.iter();
    known.find(|known| scheme.eq_ignore_ascii_case(known))?;
    // That of a configuration or a link may have anything in it.
    let is_odd = |letter: char| letter.is_control() || is_invisible(letter);
    let path = if path.contains(is_odd) { shown(path) } else { path.into() };
    is_host(host).then(|| [scheme, "://", host, &path].concat())
}

/// The parts of a URL that may be shown. The host includes the port.
pub(crate) fn scheme_host_and_path(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = cut(without_query(url), b':')?;
    let rest = rest.strip_prefix("//")?;
    let slash = rest.bytes().position(|byte| byte == b'/');
    let (authority, path) = rest.split_at(slash.unwrap_or(rest.len()));
    let userinfo = authority.bytes().rposition(|byte| byte == b'@');
    let (_, host) = authority.split_at(userinfo.map_or(0, |at| at + 1));
    Some((scheme, host, path))
}

/// A URL without query and fragment.
pub(crate) fn without_query(url: &str) -> &str {
    let end = url.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    url.split_at(end.unwrap_or(url.len())).0
}

/// Returns `true` for a name or an address, with or without a port. A password with a slash leaves something else before the slash.
fn is_host(host: &str) -> bool {
    let (name, port) = match cut_last(host, b':') {
        Some((name, port)) if !port.ends_with("]") => (name, port),
        _ => (host, ""),
    };
    let bare = name.strip_prefix("[").and_then(|name| name.strip_suffix("]"));
    let fits = |letter: char| match bare {
        Some(_) => letter.is_ascii_hexdigit() || matches!(letter, ':' | '.'),
        None if letter.is_ascii() => letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | '~'),
        // Of an internationalized name.
        None => !letter.is_control() && !is_invisible(letter),
    };
    let name = bare.unwrap_or(name);
    !name.is_empty() && name.chars().all(fits) && port.bytes().all(|byte| byte.is_ascii_digit())
}
