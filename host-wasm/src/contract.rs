//! The contracts of the core, run on this host by its tests: a build with the feature `contract`, which is not shipped.
//!
//! What a test needs beside the host is asked of a JavaScript object, `tests/contract/subject.js`.

use crate::host::JsHost;
use crate::ledger::Rows;
use crate::part::{Bytes, Parts, Uint8Array};
use crate::pending::{Pending, spawn};
use crate::transport::{Fetch, Stream};
use regrip_core::testing::contract::ledger::LedgerUnderTest;
use regrip_core::testing::contract::store::{Names, StoreUnderTest};
use regrip_core::testing::contract::transport::{Answer, Received, Then, TransportUnderTest};
use regrip_core::testing::contract::{Broken, ledger, store, transport};
use regrip_core::transport::Body;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::js_sys::Promise;

#[wasm_bindgen]
extern "C" {
    /// A `Subject` of `tests/contract/subject.js`.
    #[derive(Debug)]
    pub type JsSubject;
    #[wasm_bindgen(method)]
    fn destination(this: &JsSubject) -> String;
    #[wasm_bindgen(method)]
    fn put(this: &JsSubject, name: &str, bytes: Vec<u8>) -> JsValue;
    #[wasm_bindgen(method)]
    fn content(this: &JsSubject, name: &str) -> JsValue;
    #[wasm_bindgen(method)]
    fn serve(this: &JsSubject, bytes: Vec<u8>, hold: bool) -> JsValue;
    #[wasm_bindgen(method)]
    fn received(this: &JsSubject, url: &str) -> JsValue;
    #[wasm_bindgen(method)]
    fn header(this: &JsSubject, url: &str, name: &str) -> Option<String>;
    #[wasm_bindgen(method, js_name = gaveUp)]
    fn gave_up(this: &JsSubject, url: &str) -> JsValue;

    #[wasm_bindgen(js_namespace = Uint8Array, js_name = from)]
    fn array(bytes: &[u8]) -> Uint8Array;
    #[wasm_bindgen(js_namespace = Uint8Array, js_name = from)]
    fn copied(array: &JsValue) -> Vec<u8>;
}

/// The names of the promises of a contract.
#[wasm_bindgen]
pub fn promises(contract: &str) -> Vec<String> {
    let names = match contract {
        "store" => store::PROMISES,
        "transport" => transport::PROMISES,
        "ledger" => ledger::PROMISES,
        _ => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks one promise of a contract. The JavaScript promise rejects with what does not hold.
#[wasm_bindgen]
pub fn check(contract: String, promise: String, host: JsHost, subject: JsSubject) -> Promise {
    let host = Rc::new(host);
    let subject = Subject { transport: Fetch(Rc::clone(&host)), parts: Parts(Rc::clone(&host)), host, js: subject };
    spawn(async move {
        let checked = match contract.as_str() {
            "store" => store::check(&promise, &subject).await,
            "transport" => transport::check(&promise, &subject).await,
            _ => ledger::check(&promise, &subject).await,
        };
        let told = |broken: Broken| JsValue::from_str(&broken.to_string());
        checked.map(|()| JsValue::UNDEFINED).map_err(told)
    })
}

struct Subject {
    transport: Fetch,
    parts: Parts,
    host: Rc<JsHost>,
    js: JsSubject,
}

impl StoreUnderTest for Subject {
    type Chunk<'a> = Bytes;
    type Store = Parts;

    fn store(&self) -> &Parts {
        &self.parts
    }
    fn chunk(&self, bytes: &[u8]) -> Bytes {
        Bytes::new(array(bytes))
    }
    fn names(&self) -> Names {
        let destination = self.js.destination();
        Names { part: format!("{destination}.part"), destination }
    }
    async fn put(&self, name: &str, bytes: &[u8]) {
        let _ = Pending::done(self.js.put(name, bytes.to_vec())).await;
    }
    async fn content(&self, name: &str) -> Option<Vec<u8>> {
        let content = Pending::new(self.js.content(name), |content| content);
        let content = content.await.ok()?;
        content.is_object().then(|| copied(&content))
    }
}

impl TransportUnderTest for Subject {
    type Transport = Fetch;

    fn transport(&self) -> &Fetch {
        &self.transport
    }
    fn bytes(chunk: <Stream as Body>::Chunk<'_>) -> Vec<u8> {
        chunk.array().map(|array| copied(array)).unwrap_or_default()
    }
    async fn serve(&self, answer: Answer) -> String {
        let served = self.js.serve(answer.to_http1(), answer.then == Then::Hold);
        let url = Pending::new(served, |url| url.as_string().unwrap_or_default());
        url.await.unwrap_or_default()
    }
    async fn received(&self, url: &str) -> Received {
        let _ = Pending::done(self.js.received(url)).await;
        Received {
            range: self.js.header(url, "range"),
            if_range: self.js.header(url, "if-range"),
            accept_encoding: self.js.header(url, "accept-encoding"),
        }
    }
    async fn gave_up(&self, url: &str) -> bool {
        Pending::flag(self.js.gave_up(url)).await.unwrap_or(false)
    }
}

/// Nothing is leased, so no time passes.
impl LedgerUnderTest for Subject {
    type Ledger = Rows;

    fn open(&self) -> Rows {
        Rows::new(Rc::clone(&self.host))
    }
    fn now(&self) -> SystemTime {
        UNIX_EPOCH
    }
    async fn pass(&self, _time: Duration) {}
}
