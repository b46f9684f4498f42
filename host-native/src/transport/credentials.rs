//! Adds the headers that were given for the URL a request starts at, for its origin, or for all: the closer replaces the
//! more general of the same name.
//!
//! It runs once for each request, before any redirect is followed, and never again: what a redirect leaves behind
//! ([`redirect`](super::redirect)) is not restored, not even by a chain that returns.

use super::options::{Credentials, Header};
use super::origin::Origin;
use super::wire::add_wire_headers;
use std::collections::HashMap;
use surf::middleware::{Middleware, Next};
use surf::utils::async_trait;
use surf::{Client, Request, Response, Url};

/// The middleware that adds them.
pub(super) struct AddCredentials {
    /// For the URL a request starts at, whichever that is.
    pub(super) for_all: Vec<Header>,
    /// For one origin each.
    pub(super) by_origin: Vec<Credentials>,
    /// For one URL each.
    pub(super) by_url: HashMap<Url, Header>,
}

#[async_trait]
impl Middleware for AddCredentials {
    async fn handle(
        &self,
        mut request: Request,
        client: Client,
        next: Next<'_>,
    ) -> surf::Result<Response> {
        let headers = self.for_url(request.url());
        add_wire_headers(&mut request, headers.into_iter().map(Header::parts));
        next.run(request, client).await
    }
}

impl AddCredentials {
    fn for_url(&self, url: &Url) -> Vec<&Header> {
        let origin = Origin::of(url);
        let of_origin = self.by_origin.iter();
        let of_origin =
            of_origin.filter(|credentials| Some(&credentials.origin) == origin.as_ref());
        let own: Vec<_> = self.by_url.get(url).into_iter().collect();
        let of_origin = of_origin.flat_map(|credentials| &credentials.headers);
        let closer = replace_more_general(own, of_origin);
        replace_more_general(closer, &self.for_all)
    }
}

/// Adds the more general headers whose names are not there yet.
fn replace_more_general<'a>(
    closer: Vec<&'a Header>,
    general: impl IntoIterator<Item = &'a Header>,
) -> Vec<&'a Header> {
    let general = general.into_iter();
    let others = general.filter(|header| closer.iter().all(|have| have.name() != header.name()));
    let others: Vec<_> = others.collect();
    others.into_iter().chain(closer).collect()
}
