//! Classifies errors as transient or permanent.
//!
//! The match is exhaustive and has no catch-all arm: a new kind of error does not compile until it has a class.

use crate::error::Error;
use crate::error_code::ErrorCode;
use serde::{Deserialize, Serialize};

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Another attempt may succeed.
    Transient,
    /// Another attempt would fail in the same way.
    Permanent,
}

impl Class {
    /// The name in the ledger and in events.
    pub fn name(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Permanent => "permanent",
        }
    }

    /// The class with this name.
    pub fn named(name: &str) -> Option<Class> {
        [Class::Transient, Class::Permanent].into_iter().find(|class| class.name() == name)
    }
}

/// Where the cause of an error is.
#[derive(PartialEq, Eq)]
enum Cause {
    /// In the source: another one may do better.
    Source,
    /// In this machine: its disk, its ledger, another process.
    Machine,
    /// In the download.
    Download,
}

/// The class and the cause of every error. The status of the server decides on the class of `Status`.
fn kind(code: &ErrorCode) -> (Class, Cause) {
    match code {
        ErrorCode::Network
        | ErrorCode::ConnectTimeout
        | ErrorCode::HeadersTimeout
        | ErrorCode::IdleTimeout
        | ErrorCode::LowSpeed
        | ErrorCode::Incomplete
        | ErrorCode::Shrunk => (Class::Transient, Cause::Source),
        ErrorCode::TooManyFiles => (Class::Transient, Cause::Machine),
        ErrorCode::Status
        | ErrorCode::Protocol
        | ErrorCode::Certificate
        | ErrorCode::Tls
        | ErrorCode::RedirectRefused
        | ErrorCode::AddressRefused
        | ErrorCode::ProxyRefused
        | ErrorCode::Coded
        | ErrorCode::UnexpectedPage
        | ErrorCode::NotResumable
        | ErrorCode::UnknownSize
        | ErrorCode::TooLarge
        | ErrorCode::DigestMismatch
        | ErrorCode::DigestConflict
        | ErrorCode::DestinationBusy => (Class::Permanent, Cause::Source),
        ErrorCode::DiskFull | ErrorCode::Disk | ErrorCode::Ledger | ErrorCode::PartLocked => {
            (Class::Permanent, Cause::Machine)
        }
        ErrorCode::TooManyRestarts
        | ErrorCode::ForeignPart
        | ErrorCode::DestinationExists
        | ErrorCode::DestinationRefused
        | ErrorCode::NameRefused
        | ErrorCode::CredentialsMissing
        | ErrorCode::NoSuchDownload
        | ErrorCode::WrongState
        | ErrorCode::Lost
        | ErrorCode::Superseded
        | ErrorCode::Cancelled
        | ErrorCode::Paused
        | ErrorCode::Interrupted
        | ErrorCode::Other(_) => (Class::Permanent, Cause::Download),
    }
}

/// The class of an error. `extra_retry_statuses` are the 4xx statuses that the configuration (`extraRetryStatuses`) treats as
/// transient.
pub fn class(error: &Error, extra_retry_statuses: &[u16]) -> Class {
    match error {
        Error::Status { status, .. } => class_of_status(*status, extra_retry_statuses),
        error => kind(&error.code()).0,
    }
}

/// The class of an error status: every 5xx (even unassigned), 429, and the 4xx statuses in `extra_retry_statuses` are transient.
pub fn class_of_status(status: u16, extra_retry_statuses: &[u16]) -> Class {
    match status {
        429 | 500..=599 => Class::Transient,
        400..=499 if extra_retry_statuses.contains(&status) => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Returns `true` if another attempt may succeed.
pub fn is_transient(error: &Error, extra_retry_statuses: &[u16]) -> bool {
    class(error, extra_retry_statuses) == Class::Transient
}

/// Returns `true` if the release itself is at fault, so that another release of the same film may do: it is gone at its source,
/// its bytes or its size are not what was announced, or its file has an unsafe name. Credentials, a source that cannot be
/// reached, this machine and a cancel are no fault of the release.
pub fn is_of_the_release(error: &Error) -> bool {
    match error {
        Error::Status { status, .. } => matches!(status, 404 | 410),
        Error::DigestMismatch { .. }
        | Error::DigestConflict { .. }
        | Error::Shrunk { .. }
        | Error::NameRefused { .. } => true,
        _ => false,
    }
}

/// Returns `true` if the cause is this machine (its disk, its ledger, another process), not the source or the download.
pub fn is_of_this_machine(code: &ErrorCode) -> bool {
    kind(code).1 == Cause::Machine
}

/// Returns `true` if another source of the file may do better.
pub(crate) fn is_of_source(error: &Error) -> bool {
    kind(&error.code()).1 == Cause::Source
}
