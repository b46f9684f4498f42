//! The transport: `fetch`, as `js/request.js` wraps it.
//!
//! Every request carries a Range, for without one `fetch` asks for content codings. `If-Range` is sent only if it causes no
//! preflight: to the page's own origin, and anywhere from Node. Redirects are followed by `fetch`, by its own rules.

use crate::host::JsHost;
use crate::part::{Bytes, Uint8Array};
use crate::pending::Pending;
use regrip_core::Error;
use regrip_core::http::body_end;
use regrip_core::transport::{Body, Headers, Request, RequestRules, Response, Transport};
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A `Request` of `js/request.js`.
    #[derive(Debug)]
    pub type JsRequest;
    /// Resolves when the response head is there.
    #[wasm_bindgen(method)]
    fn head(this: &JsRequest) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn status(this: &JsRequest) -> u16;
    #[wasm_bindgen(method)]
    fn field(this: &JsRequest, name: &str) -> Option<Vec<u8>>;
    /// Resolves to the next piece, `undefined` at the end.
    #[wasm_bindgen(method)]
    fn piece(this: &JsRequest) -> JsValue;
    /// Ends the request, unless it has ended by itself.
    #[wasm_bindgen(method)]
    fn cut(this: &JsRequest);
}

/// `fetch`.
#[derive(Debug)]
pub(crate) struct Fetch(pub(crate) Rc<JsHost>);

impl Transport for Fetch {
    type Body = Stream;

    fn rules(&self, url: &str) -> RequestRules {
        RequestRules { if_range: self.0.may_send_if_range(url), range_always: true, decodes: true }
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<Stream>, Error> {
        // A negative first byte asks for no range.
        let first = request.range.map_or(-1.0, |range| range.first as f64);
        let last = request.range.and_then(|range| range.last);
        let last = last.map_or(f64::INFINITY, |last| last as f64);
        let request = self.0.request(request.url, first, last, request.if_range);
        let body = Stream(request);
        Pending::done(body.0.head()).await?;
        Ok(response(body))
    }
}

fn response(body: Stream) -> Response<Stream> {
    let fields = Headers::NAMES.into_iter().filter_map(|name| Some((name, body.0.field(name)?)));
    let headers = fields.collect();
    let end = body_end(&headers);
    let status = body.0.status();
    Response { status, headers, end, body }
}

/// A response body; dropping it closes its connection.
#[derive(Debug)]
pub(crate) struct Stream(JsRequest);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.cut();
    }
}

impl Body for Stream {
    type Chunk<'a> = Bytes;
    type Kept = Bytes;

    fn keep(chunk: Bytes) -> Bytes {
        chunk
    }

    fn lend(kept: &Bytes) -> Bytes {
        kept.clone()
    }

    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Error>> {
        Pending::new(self.0.piece(), |piece| {
            piece.is_object().then(|| Bytes::new(piece.unchecked_into::<Uint8Array>()))
        })
    }
}
