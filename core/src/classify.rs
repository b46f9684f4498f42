//! Transient or permanent: whether another attempt makes sense (spec §4).
//!
//! One exhaustive match without a catch-all arm, so that a new kind of error does not compile until its class is chosen.

use crate::error::Error;

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
}

/// The class of an error.
pub fn class(error: &Error) -> Class {
    match error {
        Error::Network { .. }
        | Error::Timeout { .. }
        | Error::LowSpeed { .. }
        | Error::Incomplete { .. }
        | Error::TooManyFiles { .. } => Class::Transient,
        Error::Status {
            status,
            retry_listed,
            ..
        } => class_of_status(*status, *retry_listed),
        Error::Protocol(_)
        | Error::Certificate(_)
        | Error::RedirectRefused(_)
        | Error::AddressRefused(_)
        | Error::ProxyRefused(_)
        | Error::Coded(_)
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
pub fn class_of_status(status: u16, retry_listed: bool) -> Class {
    match status {
        429 | 500..=599 => Class::Transient,
        400..=499 if retry_listed => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Whether another attempt makes sense.
pub fn is_transient(error: &Error) -> bool {
    class(error) == Class::Transient
}
