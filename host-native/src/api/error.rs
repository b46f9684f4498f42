//! The API's error responses.

use crate::control::{BadAddress, Refused};
use crate::ledger::is_busy;
use crate::server::Refusal;
use hyper::StatusCode;
use regrip_core::Error;
use regrip_core::error::chain;
use std::time::Duration;

/// `Retry-After` of a request that found the ledger locked.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The ledger does not answer. `more` is the consequence for the request.
pub(super) fn ledger_busy(more: &str) -> Refusal {
    let message = format!("another program keeps the ledger locked, or its disk hangs{more}");
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "LedgerBusy", message);
    refusal.retry_after(AGAIN_AFTER)
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        if is_busy(&error) {
            return ledger_busy("");
        }
        if let Error::NameRefused { why, .. } = error {
            return name_refused(why);
        }
        Refusal::new(status(&error), error.code(), chain(&error))
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::NoDownloads => Refusal::new(StatusCode::CONFLICT, "NoDownloads", refused.to_string()),
            Refused::Credentials => {
                Refusal::new(StatusCode::BAD_REQUEST, "CredentialsRefused", refused.to_string()).about("url")
            }
            Refused::Address(error) => address(&error),
            Refused::Core(error) => error.into(),
        }
    }
}

/// The message leaves the name out: the client has it, and it may be a secret in the wrong field.
fn name_refused(why: &str) -> Refusal {
    let line = format!("the name of the file was refused: {why}");
    Refusal::new(StatusCode::BAD_REQUEST, "NameRefused", line).about("filename")
}

fn address(error: &BadAddress) -> Refusal {
    if let BadAddress::Name(Error::NameRefused { why, .. }) = error {
        return name_refused(&format!("{why}; name the file by filename"));
    }
    let (code, field) = match error {
        // The name is taken from the URL; another one can be given.
        BadAddress::NoName(_) | BadAddress::NameNotText(_) | BadAddress::Name(_) => ("NameRefused", "filename"),
        _ => ("BadUrl", "url"),
    };
    let line = match field {
        "filename" => format!("{error}; name the file by filename"),
        _ => error.to_string(),
    };
    Refusal::new(StatusCode::BAD_REQUEST, code, line).about(field)
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::NoSuchDownload(_) => StatusCode::NOT_FOUND,
        Error::NameRefused { .. } => StatusCode::BAD_REQUEST,
        Error::WrongState { .. }
        | Error::DestinationBusy { .. }
        | Error::DestinationExists { .. }
        | Error::DestinationRefused { .. }
        | Error::PartLocked { .. }
        | Error::ForeignPart { .. }
        | Error::CredentialsMissing { .. } => StatusCode::CONFLICT,
        Error::DiskFull { .. } | Error::Disk { .. } | Error::TooManyFiles { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
