//! Adds the headers that were given for the origin a request starts at.
//!
//! It runs once for each request, before any redirect is followed, and never again: what a redirect leaves behind
//! ([`redirect`](super::redirect)) is not restored, not even by a chain that returns.

use super::options::{Credentials, Header};
use super::origin::Origin;
use super::wire::add_wire_headers;
use surf::middleware::{Middleware, Next};
use surf::utils::async_trait;
use surf::{Client, Request, Response};

/// The middleware that adds them.
pub(super) struct AddCredentials {
    /// For the origin a request starts at, whichever that is.
    pub(super) for_all: Vec<Header>,
    /// For one origin each.
    pub(super) by_origin: Vec<Credentials>,
}

#[async_trait]
impl Middleware for AddCredentials {
    async fn handle(
        &self,
        mut request: Request,
        client: Client,
        next: Next<'_>,
    ) -> surf::Result<Response> {
        if let Some(origin) = Origin::of(request.url()) {
            add_wire_headers(&mut request, self.for_origin(&origin).map(Header::parts));
        }
        next.run(request, client).await
    }
}

impl AddCredentials {
    fn for_origin<'a>(&'a self, origin: &Origin) -> impl Iterator<Item = &'a Header> {
        let own = self
            .by_origin
            .iter()
            .filter(|credentials| credentials.origin == *origin);
        let own: Vec<_> = own.flat_map(|credentials| &credentials.headers).collect();
        let mut for_all: Vec<_> = self.for_all.iter().collect();
        for_all.retain(|header| own.iter().all(|own| own.name() != header.name()));
        for_all.into_iter().chain(own)
    }
}
