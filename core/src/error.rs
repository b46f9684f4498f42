//! What can go wrong with a download, as facts.
//!
//! A variant says what happened, never what to do about it. The decision on another attempt is made in one place,
//! [`classify`](crate::classify); what a person can do about it is [`Error::advice`].

use crate::checksum::Checksum;
use crate::error_code::ErrorCode;
use crate::record::status::Status;
use crate::shown::shown;
use std::time::Duration;

/// The source of an error, as the host saw it (an `io::Error`, a TLS alert, a SQLite message).
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Which timeout ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Name lookup, TCP, TLS: no connection in time.
    Connect,
    /// The request was sent and no response head was received in time.
    Headers,
    /// The body stood still.
    Idle,
}

/// The lock file of a part that another writer has, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFile {
    /// Its path.
    pub path: String,
    /// The host it names.
    pub host: Option<String>,
    /// Why nobody can say whether its process still writes; `None` if that process runs.
    pub doubt: Option<Doubt>,
}

/// Why a lock file stays locked although nobody can say whether its process still writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is not a lock file that regrip wrote, or only half of one.
    Unreadable,
    /// It names another host.
    OtherHost,
    /// It names another boot.
    OtherBoot,
    /// It names another process namespace, for example of another container.
    OtherNamespace,
    /// The system does not show enough of its process.
    Hidden,
    /// It was this writer's own, and was removed or replaced.
    Lost,
}

impl Doubt {
    /// The reason in a few words.
    pub fn why(self) -> &'static str {
        match self {
            Doubt::Unreadable => "not a readable lock file",
            Doubt::OtherHost => "another host",
            Doubt::OtherBoot => "another boot",
            Doubt::OtherNamespace => "another process namespace",
            Doubt::Hidden => "no information about processes",
            Doubt::Lost => "removed or replaced",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Doubt::Lost => "run it again once nothing else writes the part; the bytes are kept",
            _ => "if nothing writes the part any more, delete the lock file and run it again; the bytes are kept",
        }
    }
}

/// Why one attempt, or the whole download, ended without a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be made or broke: DNS, refused, reset, handshake cut.
    #[error("connection failed: {what}")]
    Network {
        /// What was being done, for example `connecting to 127.0.0.1:80`.
        what: String,
        /// What the system said.
        #[source]
        source: Option<Source>,
    },
    /// A timeout ran out.
    #[error("{}", timeout_text(*.timeout, *.after))]
    Timeout {
        /// Which one.
        timeout: Timeout,
        /// How long it was.
        after: Duration,
    },
    /// Fewer bytes than the low-speed limit allows, over its whole window.
    #[error("only {bytes} bytes received in {} s", .window.as_secs())]
    LowSpeed {
        /// Bytes received within the window.
        bytes: u64,
        /// Length of the window.
        window: Duration,
    },
    /// The body ended before its length was reached.
    #[error("the response body ended after {got} of {} bytes", known(*.expected))]
    Incomplete {
        /// Offset in the file that was reached.
        got: u64,
        /// Size of the file, if known.
        expected: Option<u64>,
    },
    /// The server answered with an error status.
    #[error("the server answered {status}")]
    Status {
        /// The status as sent, 400 to 599.
        status: u16,
        /// `Retry-After`, if it was present and valid.
        retry_after: Option<Duration>,
    },
    /// The peer broke HTTP, or sent what was not asked for.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// A certificate that does not hold.
    #[error("the certificate was refused: {0}")]
    Certificate(String),
    /// The server and this client have no way of TLS in common, or the server does not accept this client.
    #[error("no TLS connection is possible: {0}")]
    Tls(String),
    /// A redirect that must not be followed.
    #[error("a redirect was refused: {0}")]
    RedirectRefused(String),
    /// The address must not be connected to.
    #[error("the address was refused: {0}")]
    AddressRefused(String),
    /// The proxy does not let the request through.
    #[error("the proxy refused: {0}")]
    ProxyRefused(String),
    /// The body has a content coding.
    #[error("unexpected Content-Encoding {} (expected identity)", quoted(.0))]
    Coded(String),
    /// A page in place of the file, such as a login form or an error text with status 200.
    #[error("the server sent a page ({}) in place of the file", quoted(.content_type))]
    UnexpectedPage {
        /// Its media type.
        content_type: String,
    },
    /// The file is smaller than what was received of it before; not believed at once.
    #[error("the file on the server is now {bytes} bytes, less than the {held} bytes already received")]
    Shrunk {
        /// Size of the response.
        bytes: u64,
        /// Bytes in the part.
        held: u64,
    },
    /// The rest cannot be proven to belong to the bytes so far, which can neither be compared nor taken back.
    #[error("cannot resume: no strong validator, and the written data cannot be read back")]
    NotResumable,
    /// Neither the response nor the release says how long the file is.
    #[error("the size of the file is unknown")]
    UnknownSize,
    /// Larger than `maxDownloadBytes`.
    #[error("the file is too large: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size announced or counted.
        bytes: u64,
        /// The limit in force.
        limit: u64,
    },
    /// More restarts than the attempt cap.
    #[error("started over {restarts} times, more than the {limit} allowed")]
    TooManyRestarts {
        /// Restarts so far, the refused one included.
        restarts: u32,
        /// The limit in force.
        limit: u32,
    },
    /// The bytes are not the ones their digest names.
    #[error("the {} is {got}, not {}", wanted.algorithm, wanted.hex)]
    DigestMismatch {
        /// As asked for.
        wanted: Checksum,
        /// Lower-case hex, as computed.
        got: String,
    },
    /// Two digests were given for one file.
    #[error("two digests differ: {first} from {first_source}, {second} from {second_source}")]
    DigestConflict {
        /// The one that ranks higher.
        first: Checksum,
        /// Its source.
        first_source: &'static str,
        /// The other one, of the same algorithm.
        second: Checksum,
        /// Its source.
        second_source: &'static str,
    },
    /// A part file that no row of this ledger claims.
    #[error("{path} already exists and was not created by regrip")]
    ForeignPart {
        /// The part file.
        path: String,
    },
    /// Another writer has locked the part, or may have.
    #[error("{path} {}", locked_text(*.pid, .lock_file.as_ref()))]
    PartLocked {
        /// The part file.
        path: String,
        /// The process that holds it, if known.
        pid: Option<u32>,
        /// The lock file, if one locks it.
        lock_file: Option<LockFile>,
    },
    /// The destination exists and `onExists` is `fail` (or a file appeared meanwhile).
    #[error("{path} already exists")]
    DestinationExists {
        /// The destination.
        path: String,
    },
    /// The destination is a link, a folder or a device: never followed, never replaced.
    #[error("{path} is {what}, which is never replaced")]
    DestinationRefused {
        /// The destination.
        path: String,
        /// For example `a folder`.
        what: &'static str,
    },
    /// Another source is being downloaded to this destination, or has bytes there that are not the new source's.
    #[error("{path} is the destination of download {id} from {url}")]
    DestinationBusy {
        /// The destination.
        path: String,
        /// The download that has it.
        id: i64,
        /// Where that one comes from, without query.
        url: String,
    },
    /// The name is not a plain safe file name.
    #[error("the name {} was refused: {why}", quoted(.name))]
    NameRefused {
        /// As the peer sent it.
        name: String,
        /// For example `it has a path in it`.
        why: &'static str,
    },
    /// The row needs credentials that this run was not given.
    #[error("the download needs credentials that are not stored: {names}")]
    CredentialsMissing {
        /// The header names, comma separated.
        names: String,
    },
    /// No room on the disk (ENOSPC, EDQUOT).
    #[error("no space left for {path}")]
    DiskFull {
        /// The file being written.
        path: String,
        /// What the system said.
        #[source]
        source: Option<Source>,
    },
    /// The disk failed in another way.
    #[error("cannot {what} {path}")]
    Disk {
        /// What was being done, for example `open`.
        what: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        #[source]
        source: Option<Source>,
    },
    /// Too many open files: there will be fewer later.
    #[error("too many open files")]
    TooManyFiles {
        /// What the system said.
        #[source]
        source: Option<Source>,
    },
    /// The ledger could not be read or written.
    #[error("ledger error: {what}")]
    Ledger {
        /// What was being done.
        what: String,
        /// What the database said.
        #[source]
        source: Option<Source>,
    },
    /// No such download.
    #[error("there is no download {0}")]
    NoSuchDownload(i64),
    /// The state does not allow it.
    #[error("download {id} is {}", .status.name())]
    WrongState {
        /// The download.
        id: i64,
        /// Its status.
        status: Status,
    },
    /// Part and destination are both gone.
    #[error("the data is lost: neither the part file nor the destination exists")]
    Lost,
    /// Another row for the same destination was driven instead.
    #[error("superseded by download {by}")]
    Superseded {
        /// The row that is driven.
        by: i64,
    },
    /// A user (or an `AbortSignal`) called it off.
    #[error("cancelled")]
    Cancelled,
    /// A user paused it. Never a row's last word.
    #[error("paused")]
    Paused,
    /// The process ends; the download goes on at the next start. Never a row's last word.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The stable name a program can match: the ledger's `error_code`, the API's and the events' `code`.
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Network { .. } => ErrorCode::Network,
            Error::Timeout { timeout, .. } => match timeout {
                Timeout::Connect => ErrorCode::ConnectTimeout,
                Timeout::Headers => ErrorCode::HeadersTimeout,
                Timeout::Idle => ErrorCode::IdleTimeout,
            },
            Error::LowSpeed { .. } => ErrorCode::LowSpeed,
            Error::Incomplete { .. } => ErrorCode::Incomplete,
            Error::Status { .. } => ErrorCode::Status,
            Error::Protocol(_) => ErrorCode::Protocol,
            Error::Certificate(_) => ErrorCode::Certificate,
            Error::Tls(_) => ErrorCode::Tls,
            Error::RedirectRefused(_) => ErrorCode::RedirectRefused,
            Error::AddressRefused(_) => ErrorCode::AddressRefused,
            Error::ProxyRefused(_) => ErrorCode::ProxyRefused,
            Error::Coded(_) => ErrorCode::Coded,
            Error::UnexpectedPage { .. } => ErrorCode::UnexpectedPage,
            Error::Shrunk { .. } => ErrorCode::Shrunk,
            Error::NotResumable => ErrorCode::NotResumable,
            Error::UnknownSize => ErrorCode::UnknownSize,
            Error::TooLarge { .. } => ErrorCode::TooLarge,
            Error::TooManyRestarts { .. } => ErrorCode::TooManyRestarts,
            Error::DigestMismatch { .. } => ErrorCode::DigestMismatch,
            Error::DigestConflict { .. } => ErrorCode::DigestConflict,
            Error::ForeignPart { .. } => ErrorCode::ForeignPart,
            Error::PartLocked { .. } => ErrorCode::PartLocked,
            Error::DestinationExists { .. } => ErrorCode::DestinationExists,
            Error::DestinationRefused { .. } => ErrorCode::DestinationRefused,
            Error::DestinationBusy { .. } => ErrorCode::DestinationBusy,
            Error::NameRefused { .. } => ErrorCode::NameRefused,
            Error::CredentialsMissing { .. } => ErrorCode::CredentialsMissing,
            Error::DiskFull { .. } => ErrorCode::DiskFull,
            Error::Disk { .. } => ErrorCode::Disk,
            Error::TooManyFiles { .. } => ErrorCode::TooManyFiles,
            Error::Ledger { .. } => ErrorCode::Ledger,
            Error::NoSuchDownload(_) => ErrorCode::NoSuchDownload,
            Error::WrongState { .. } => ErrorCode::WrongState,
            Error::Lost => ErrorCode::Lost,
            Error::Superseded { .. } => ErrorCode::Superseded,
            Error::Cancelled => ErrorCode::Cancelled,
            Error::Paused => ErrorCode::Paused,
            Error::Interrupted => ErrorCode::Interrupted,
        }
    }

    /// What a person can do about it, if anything: one sentence.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Error::ForeignPart { .. } => "move it away, or adopt it: its tail is compared with the source first",
            Error::PartLocked { lock_file, .. } => lock_file
                .as_ref()
                .and_then(|lock_file| lock_file.doubt)
                .map_or("wait for that process to end, or stop it; the bytes are kept", Doubt::advice),
            Error::DestinationExists { .. } => "choose another name, or set onExists to overwrite or rename",
            Error::DestinationRefused { .. } => "choose another destination",
            Error::DestinationBusy { .. } => "choose another destination, or remove that download",
            Error::DiskFull { .. } => "make room and run it again; the bytes so far are kept",
            Error::CredentialsMissing { .. } => "run it again with the same credentials; the part is kept",
            Error::TooManyRestarts { .. } => "the source keeps changing; try again when it is quiet",
            Error::UnexpectedPage { .. } => {
                "open the address in a browser: it may need a login or a new link; the bytes so far are kept"
            }
            Error::NotResumable => "download to a file instead: its bytes can be compared with the source's",
            Error::UnknownSize => "the server must send a Content-Length or a chunked body",
            Error::TooLarge { .. } => {
                "raise maxDownloadBytes, or --max-filesize of `regrip get`, if the file is meant to be that large"
            }
            Error::DigestMismatch { .. } => "check the digest; the source may hold another file",
            Error::Certificate(_) => "check the server's name and clock, or trust its authority",
            Error::ProxyRefused(_) => "check the proxy's address, user and password",
            Error::Status { status: 401 | 403, .. } => "the server wants credentials, or others than it got",
            Error::Status { status: 404 | 410, .. } => "check the address; the server does not have this file",
            Error::Lost => "download it again",
            _ => return None,
        })
    }

    /// The delay the server asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A network error with its source.
    pub fn network(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Error::Network { what: what.into(), source: Some(source.into()) }
    }

    /// A ledger error with its source.
    pub fn ledger(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Error::Ledger { what: what.into(), source: Some(source.into()) }
    }
}

/// What a stranger sent, in quotes, and without what could move a terminal's cursor.
pub(crate) fn quoted(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { '?' } else { letter };
    let mut quoted = String::from("\"");
    quoted.extend(text.chars().map(shown));
    quoted.push('"');
    quoted
}

/// An error on its way up. In a box of its own: errors are large and rare, and every future it passes through would have
/// room for it, and code to move it.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Box<Error>);

impl std::ops::Deref for Failed {
    type Target = Error;

    fn deref(&self) -> &Error {
        &self.0
    }
}

impl Failed {
    /// The error. Not `From`: that would make `?` ambiguous in crates that use this one.
    pub(crate) fn unboxed(self) -> Error {
        *self.0
    }
}

impl From<Error> for Failed {
    #[cold]
    #[inline(never)]
    fn from(error: Error) -> Self {
        Failed(Box::new(error))
    }
}

/// An error and its sources in one line, within the bounds of [`shown`]: what the ledger and the events keep, and what
/// people see. Both may quote what a stranger sent.
pub fn chain<E: std::error::Error + ?Sized>(error: &E) -> String {
    let line = with_sources(error.to_string(), error.source());
    shown(&line).into_owned()
}

fn with_sources(mut line: String, mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(inner) = source {
        let text = inner.to_string();
        // hyper and rustls repeat their source in their own text; a reader needs it once.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = inner.source();
    }
    line
}

fn timeout_text(timeout: Timeout, after: Duration) -> String {
    let after = seconds(after);
    match timeout {
        Timeout::Connect => format!("no connection within {after} s"),
        Timeout::Headers => format!("no response within {after} s"),
        Timeout::Idle => format!("no data received for {after} s"),
    }
}

/// Seconds with as many decimals as there are, three at most. Without floats, whose formatting alone would be a tenth of
/// the wasm module.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => duration.as_secs().to_string(),
        millis => {
            let mut text = format!("{}.{millis:03}", duration.as_secs());
            while text.ends_with("0") {
                text.pop();
            }
            text
        }
    }
}

fn known(size: Option<u64>) -> String {
    size.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string())
}

fn locked_text(pid: Option<u32>, lock_file: Option<&LockFile>) -> String {
    let process = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let Some(LockFile { path, host, doubt }) = lock_file else {
        return format!("is being written by {process}");
    };
    let host = host.as_deref().unwrap_or("unknown");
    match doubt {
        None => format!("is being written by {process} on host {host} (lock file {path})"),
        Some(Doubt::Unreadable) => {
            format!("is locked by {path}, which is not a readable lock file")
        }
        Some(Doubt::Lost) => {
            format!("is no longer locked by this download: {path} was removed or replaced")
        }
        Some(doubt) => format!(
            "may be in use by {process} on host {host}, which cannot be checked: {} (lock file {path})",
            doubt.why()
        ),
    }
}
