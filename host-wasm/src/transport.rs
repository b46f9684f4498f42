//! The transport: `fetch`, as Node, pages and workers have it.
//!
//! Every request carries a Range, for without one `fetch` asks for content codings. `If-Range` goes only where it causes no
//! preflight: to the page's own origin, and anywhere from Node. Redirects are followed by `fetch`, by its own rules.

use crate::clock::WebClock;
use crate::failure::{message, network};
use crate::sink::Bytes;
use futures::future::{Either, select};
use js_sys::{Promise, Uint8Array};
use regrip_core::error::Timeout;
use regrip_core::io::{Body, Chunk, Clock, Headers, Request, RequestRules, Response, Transport};
use regrip_core::{DownloadsConfig, Error};
use std::pin::pin;
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader, RequestCache, RequestInit};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    fn js_fetch(url: &str, init: &RequestInit) -> Result<Promise, JsValue>;

    type Location;
    #[wasm_bindgen(method, getter)]
    fn origin(this: &Location) -> String;
    #[wasm_bindgen(thread_local_v2, js_namespace = globalThis, js_name = location)]
    static LOCATION: Option<Location>;

    /// What `reader.read()` resolves to.
    type Piece;
    #[wasm_bindgen(method, getter)]
    fn done(this: &Piece) -> bool;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Piece) -> Uint8Array;
}

/// `fetch`.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// For connection and response head together: `fetch` does not tell one from the other.
    patience: Duration,
}

impl Fetch {
    pub(crate) fn new(config: &DownloadsConfig) -> Self {
        let patience = config
            .connect_timeout_ms
            .saturating_add(config.headers_timeout_ms);
        Fetch {
            patience: Duration::from_millis(patience),
        }
    }
}

impl Transport for Fetch {
    type Body = Stream;

    fn rules(&self, url: &str) -> RequestRules {
        let page = LOCATION.with(|location| location.as_ref().map(Location::origin));
        let if_range = page.is_none_or(|origin| is_of_origin(url, &origin));
        RequestRules {
            if_range,
            range_always: true,
        }
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<Stream>, Error> {
        let cut = Cut::new()?;
        let init = request_init(&request, &cut)
            .map_err(|error| network("building the request", &error))?;
        let promise = js_fetch(request.url, &init).map_err(|error| network("asking", &error))?;
        let answer =
            match select(JsFuture::from(promise), pin!(WebClock.sleep(self.patience))).await {
                Either::Left((answer, _)) => answer.map_err(|error| network("asking", &error))?,
                Either::Right(((), _)) => {
                    return Err(Error::Timeout {
                        timeout: Timeout::Headers,
                        after: self.patience,
                    });
                }
            };
        let answer: web_sys::Response = answer.unchecked_into();
        let headers = headers(&answer.headers());
        let reader = answer.body().map(|body| body.get_reader().unchecked_into());
        Ok(Response {
            status: answer.status(),
            headers,
            body: Stream { reader, cut },
        })
    }
}

/// Whether an address in its normal form is of an origin.
fn is_of_origin(url: &str, origin: &str) -> bool {
    url.strip_prefix(origin)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn request_init(request: &Request<'_>, cut: &Cut) -> Result<RequestInit, JsValue> {
    let headers = web_sys::Headers::new()?;
    headers.set("range", &format!("bytes={}-", request.first.unwrap_or(0)))?;
    if let Some(validator) = request.if_range {
        headers.set("if-range", validator)?;
    }
    let init = RequestInit::new();
    init.set_headers(&headers);
    init.set_signal(Some(&cut.controller.signal()));
    // A browser's cache keeps ranges of files, and puts them together by its own rules.
    init.set_cache(RequestCache::NoStore);
    Ok(init)
}

fn headers(from: &web_sys::Headers) -> Headers {
    let field = |name: &'static str| {
        let value = from.get(name).ok().flatten()?;
        // `fetch` reads header bytes as Latin-1.
        let bytes: Vec<u8> = value
            .chars()
            .map(|letter| u8::try_from(letter).unwrap_or(b'?'))
            .collect();
        Some((name, bytes))
    };
    Headers::NAMES.into_iter().filter_map(field).collect()
}

/// A response body.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Gone at the end.
    reader: Option<ReadableStreamDefaultReader>,
    cut: Cut,
}

impl Body for Stream {
    type Chunk<'a> = Bytes;

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(reader) = &self.reader {
            let piece = JsFuture::from(reader.read())
                .await
                .map_err(|error| network("reading the body", &error))?;
            let piece: Piece = piece.unchecked_into();
            if piece.done() {
                self.reader = None;
                self.cut.armed = false;
                break;
            }
            let chunk = Bytes::new(piece.value());
            if chunk.length() > 0 {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

/// Ends the request when it is dropped, unless the request has ended by itself.
#[derive(Debug)]
struct Cut {
    controller: AbortController,
    armed: bool,
}

impl Cut {
    fn new() -> Result<Self, Error> {
        let controller = AbortController::new();
        let controller = controller.map_err(|error| Error::Protocol(message(&error)))?;
        Ok(Cut {
            controller,
            armed: true,
        })
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if self.armed {
            self.controller.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_origin;

    #[test]
    fn an_address_is_of_the_origin_it_begins_with_as_a_whole() {
        let own = |url| is_of_origin(url, "https://a.example");
        assert!(own("https://a.example/film"));
        assert!(own("https://a.example"));
        assert!(own("https://a.example?film"));
        assert!(!own("https://a.example.org/film"));
        assert!(!own("https://a.example:8443/film"));
        assert!(!own("http://a.example/film"));
        assert!(!is_of_origin("https://a.example/film", "null"));
    }
}
