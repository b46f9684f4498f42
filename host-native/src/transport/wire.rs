//! What travels through surf beside its own types, in `ext()`.
//!
//! http-types knows only ASCII header values and only some status codes, and panics on others (`Response::new(599)`). So the
//! head of a response travels as hyper read it, and headers whose values may be any bytes as hyper will write them. The
//! status in a surf response is a stand-in where http-types does not know the real one: read [`Head::status`].

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// The head of a response, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status as sent, 200 to 599.
    pub(crate) status: u16,
    /// All fields, duplicates kept, values unchanged.
    pub(crate) headers: HeaderMap,
    /// Who answered, where that is known: not behind a proxy, unless the URL has it.
    pub(crate) peer: Option<IpAddr>,
}

/// The head of a response that came through a transport's client.
pub(crate) fn head(response: &surf::Response) -> Option<&Head> {
    response.ext::<Head>()
}

/// Request headers that http-types cannot hold or must not see. They replace those of the same name.
#[derive(Clone, Debug, Default)]
pub(super) struct WireHeaders(pub(super) HeaderMap);

/// Adds headers to the ones a request carries in its `ext()`.
pub(super) fn add_wire_headers<'a>(
    request: &mut surf::Request,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    let mut headers = request.ext::<WireHeaders>().cloned().unwrap_or_default();
    for (name, value) in fields {
        headers.0.append(name.clone(), value.clone());
    }
    request.set_ext(headers);
}
