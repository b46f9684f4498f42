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

/// The class of an error. `extra_retry_statuses` are the 4xx statuses that the configuration (`extraRetryStatuses`) treats as
/// transient.
pub fn class(error: &Error, extra_retry_statuses: &[u16]) -> Class {
    match error {
        Error::Network { .. }
        | Error::Timeout { .. }
        | Error::LowSpeed { .. }
        | Error::Incomplete { .. }
        | Error::Shrunk { .. }
        | Error::TooManyFiles { .. } => Class::Transient,
        Error::Status { status, .. } => class_of_status(*status, extra_retry_statuses),
        Error::Protocol(_)
        | Error::Certificate(_)
        | Error::Tls(_)
        | Error::RedirectRefused(_)
        | Error::AddressRefused(_)
        | Error::ProxyRefused(_)
        | Error::Coded(_)
        | Error::UnexpectedPage { .. }
        | Error::NotResumable
        | Error::UnknownSize
        | Error::TooLarge { .. }
        | Error::TooManyRestarts { .. }
        | Error::DigestMismatch { .. }
        | Error::DigestConflict { .. }
        | Error::ForeignPart { .. }
        | Error::PartLocked { .. }
        | Error::DestinationExists { .. }
        | Error::DestinationRefused { .. }
        | Error::DestinationBusy { .. }
        | Error::NameRefused { .. }
        | Error::CredentialsMissing { .. }
        | Error::DiskFull { .. }
        | Error::Disk { .. }
        | Error::Ledger { .. }
        | Error::NoSuchDownload(_)
        | Error::WrongState { .. }
        | Error::Lost
        | Error::Superseded { .. }
        | Error::Cancelled
        | Error::Paused
        | Error::Interrupted => Class::Permanent,
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
    matches!(
        code,
        ErrorCode::DiskFull | ErrorCode::Disk | ErrorCode::TooManyFiles | ErrorCode::Ledger | ErrorCode::PartLocked
    )
}
