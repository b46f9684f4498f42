//! The table of routes, and the error responses. `openapi.json` describes both; a test compares the routes.

use super::{Api, Handled, auth, dashboard, downloads, peers, status, torznab};
use crate::control::{BadAddress, Refused};
use crate::ledger::{NativeLedger, is_busy};
use crate::server::{Asked, Entry, Payload, Refusal, Reply, Route};
use bytes::Bytes;
use futures::FutureExt;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use regrip_core::Error;
use regrip_core::error::chain;
use std::sync::Arc;
use std::time::Duration;

/// A line of the table.
macro_rules! route {
    ($method:ident $path:literal, $entry:ident, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            entry: Entry::$entry,
            handler: |api, asked| $handler(api, asked).boxed(),
        }
    };
}

/// The table.
pub(super) const fn routes<L: NativeLedger>() -> &'static [Route<Api<L>>] {
    &[
        route!(GET "/ping", Anyone, auth::ping),
        route!(GET "/ready", Anyone, status::ready),
        route!(GET "/", Keyless, dashboard::index),
        route!(GET "/dashboard/{file}", Keyless, dashboard::file),
        route!(POST "/api/session", Keyless, auth::log_in),
        route!(DELETE "/api/session", Keyless, auth::log_out),
        route!(GET "/api/downloads", Keyed, downloads::list),
        route!(POST "/api/downloads", Keyed, downloads::add),
        route!(POST "/api/batch", Keyed, downloads::add_all),
        route!(GET "/api/downloads/{id}", Keyed, downloads::one),
        route!(DELETE "/api/downloads/{id}", Keyed, downloads::remove),
        route!(GET "/api/downloads/{id}/timeline", Keyed, downloads::timeline),
        route!(POST "/api/downloads/{id}/retry", Keyed, downloads::retry),
        route!(POST "/api/downloads/{id}/cancel", Keyed, downloads::cancel),
        route!(POST "/api/downloads/{id}/pause", Keyed, downloads::pause),
        route!(POST "/api/downloads/{id}/resume", Keyed, downloads::resume),
        route!(GET "/api/stubs", Keyed, status::stubs),
        route!(GET "/api/peers", Keyed, status::peers),
        route!(POST "/api/peers", Keyed, peers::add),
        route!(DELETE "/api/peers/{id}", Keyed, peers::remove),
        route!(POST "/api/peers/{id}/test", Keyed, peers::test),
        route!(GET "/api/keys", Keyed, peers::keys),
        route!(POST "/api/keys", Keyed, peers::create_key),
        route!(DELETE "/api/keys/{id}", Keyed, peers::revoke_key),
        route!(POST "/api/links", Keyed, peers::create_link),
        route!(POST "/api/links/read", Keyed, peers::read_link),
        route!(GET "/api/workers", Keyed, status::workers),
        route!(GET "/api/servers", Keyed, status::servers),
        route!(POST "/api/servers/register", Keyed, status::register),
        route!(GET "/api/troubles", Keyed, status::troubles),
        route!(GET "/api/events", Keyed, status::events),
        route!(GET "/metrics", Keyed, status::metrics),
        route!(GET "/openapi.json", Keyed, description),
        route!(GET "/torznab/api", QueryKeyed, torznab::api),
        route!(GET "/torznab/download/{stub}", QueryKeyed, torznab::download),
    ]
}

/// The API's description, OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

async fn description<L: NativeLedger>(_: Arc<Api<L>>, _: Asked) -> Handled {
    let payload = Payload::Bytes(Bytes::from_static(OPENAPI.as_bytes()));
    Ok(Reply::new(StatusCode::OK, payload).header(CONTENT_TYPE, HeaderValue::from_static("application/json")))
}

/// `Retry-After` of a request that found the ledger locked.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The ledger does not answer. `more` is the consequence for the request.
pub(super) fn ledger_busy(more: &str) -> Refusal {
    let message =
        format!("the ledger does not answer: another program keeps it locked, or its disk or its server hangs{more}");
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "LedgerBusy", message);
    refusal.retry_after(AGAIN_AFTER)
}

/// The storage of files does not answer.
pub(super) fn storage_busy() -> Refusal {
    let message = "the storage of files does not answer; it is done once it does, unless that takes too long";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "StorageBusy", message).retry_after(AGAIN_AFTER)
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
            Refused::Folder(_) => {
                Refusal::new(StatusCode::BAD_REQUEST, "FolderRefused", refused.to_string()).about("folder")
            }
            Refused::Priority => {
                Refusal::new(StatusCode::CONFLICT, "PriorityRefused", refused.to_string()).about("priority")
            }
            Refused::Headers(_) => {
                Refusal::new(StatusCode::CONFLICT, "HeadersRefused", refused.to_string()).about("headers")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::SqliteLedger;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, operations) in description["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                described.insert((method.to_uppercase(), path.clone(), open));
            }
        }
        let routes = routes::<SqliteLedger>().iter().map(|route| {
            let open = !matches!(route.entry, Entry::Keyed | Entry::QueryKeyed);
            (route.method.to_string(), route.path.to_owned(), open)
        });
        assert_eq!(routes.collect::<BTreeSet<_>>(), described);
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
