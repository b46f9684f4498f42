//! The table. `openapi.json` describes it; a test compares the two.

use super::{Api, Handled, auth, dashboard, downloads, events, status, torznab};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Entry, Payload, Reply, Route};
use bytes::Bytes;
use futures::FutureExt;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use std::sync::Arc;

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
        route!(GET "/", Keyless, dashboard::index),
        route!(GET "/dashboard/{file}", Keyless, dashboard::file),
        route!(POST "/api/session", Keyless, auth::log_in),
        route!(DELETE "/api/session", Keyless, auth::log_out),
        route!(GET "/api/downloads", Keyed, downloads::list),
        route!(POST "/api/downloads", Keyed, downloads::add),
        route!(GET "/api/downloads/{id}", Keyed, downloads::one),
        route!(DELETE "/api/downloads/{id}", Keyed, downloads::remove),
        route!(GET "/api/downloads/{id}/timeline", Keyed, downloads::timeline),
        route!(POST "/api/downloads/{id}/retry", Keyed, downloads::retry),
        route!(POST "/api/downloads/{id}/cancel", Keyed, downloads::cancel),
        route!(POST "/api/downloads/{id}/pause", Keyed, downloads::pause),
        route!(POST "/api/downloads/{id}/resume", Keyed, downloads::resume),
        route!(GET "/api/stubs", Keyed, status::stubs),
        route!(GET "/api/peers", Keyed, status::peers),
        route!(GET "/api/troubles", Keyed, status::troubles),
        route!(GET "/api/events", Keyed, events::events),
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
