//! Transient or permanent: whether another attempt makes sense (spec §4).
//!
//! One exhaustive match without a catch-all arm, so that a new kind of error does not compile until its class is chosen.

use crate::error::Error;
use crate::error_code::ErrorCode;

/// Whether another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may work later.
    Transient,
    /// It will not, by itself.
    Permanent,
}

impl Class {
    /// As the ledger and the events spell it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Permanent => "permanent",
        }
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Class> {
        [Class::Transient, Class::Permanent]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

/// The class of an error. `extra_retry_statuses` are those 4xx that the configuration
/// (`extraRetryStatuses`) holds to be transient.
pub fn class(error: &Error, extra_retry_statuses: &[u16]) -> Class {
    match error {
        Error::Network { .. }
        | Error::Timeout { .. }
        | Error::LowSpeed { .. }
        | Error::Incomplete { .. }
        | Error::TooManyFiles { .. } => Class::Transient,
        Error::Status { status, .. } => class_of_status(*status, extra_retry_statuses),
        Error::Protocol(_)
        | Error::Certificate(_)
        | Error::RedirectRefused(_)
        | Error::AddressRefused(_)
        | Error::ProxyRefused(_)
        | Error::Coded(_)
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
        | Error::Interrupted => Class::Permanent,
    }
}

/// The class of an error status: every 5xx (also unassigned ones) and 429 are transient, and those 4xx that
/// `extraRetryStatuses` lists.
pub fn class_of_status(status: u16, extra_retry_statuses: &[u16]) -> Class {
    match status {
        429 | 500..=599 => Class::Transient,
        400..=499 if extra_retry_statuses.contains(&status) => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Returns `true` if another attempt makes sense.
pub fn is_transient(error: &Error, extra_retry_statuses: &[u16]) -> bool {
    class(error, extra_retry_statuses) == Class::Transient
}

/// Returns `true` if an error with this code is a fault of this machine (its disk, its ledger, another process), not of the
/// source or of the download.
pub fn is_of_this_machine(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::Disk
            | ErrorCode::TooManyFiles
            | ErrorCode::Ledger
            | ErrorCode::PartLocked
    )
}
