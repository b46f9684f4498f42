//! The host: everything that is asked of JavaScript, by one object (`js/host.js`).

use crate::clock::WebClock;
use crate::event;
use crate::fields::Fields;
use crate::ledger::Rows;
use crate::part::{JsPart, Parts};
use crate::transport::{Fetch, JsRequest};
use regrip_core::Event;
use regrip_core::host::Host;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A `Host` of `js/host.js`. Nothing of it throws.
    #[derive(Debug)]
    pub type JsHost;

    #[wasm_bindgen(method)]
    pub(crate) fn fields(this: &JsHost) -> Fields;
    #[wasm_bindgen(method)]
    fn tell(this: &JsHost, event: Fields);

    /// Undefined, or a promise that resolves when this download may be driven.
    #[wasm_bindgen(method)]
    pub(crate) fn turn(this: &JsHost, id: f64) -> JsValue;

    #[wasm_bindgen(method, js_name = maySendIfRange)]
    pub(crate) fn may_send_if_range(this: &JsHost, url: &str) -> bool;
    #[wasm_bindgen(method)]
    pub(crate) fn request(this: &JsHost, url: &str, first: f64, last: f64, if_range: Option<&str>) -> JsRequest;

    #[wasm_bindgen(method)]
    pub(crate) fn part(this: &JsHost, name: &str) -> JsPart;

    #[wasm_bindgen(method, js_name = idOf)]
    pub(crate) fn id_of(this: &JsHost, destination: &str) -> f64;
    #[wasm_bindgen(method)]
    pub(crate) fn load(this: &JsHost, destination: &str) -> JsValue;
    #[wasm_bindgen(method)]
    pub(crate) fn save(this: &JsHost, record: Fields) -> JsValue;

    #[wasm_bindgen(js_namespace = Math, js_name = random)]
    fn random() -> f64;
}

/// Node, a page or a worker: what they have in common.
#[derive(Debug)]
pub(crate) struct WebHost {
    transport: Fetch,
    parts: Parts,
    rows: Rows,
    pub(crate) js: Rc<JsHost>,
}

impl WebHost {
    pub(crate) fn new(js: JsHost) -> Self {
        let js = Rc::new(js);
        WebHost { transport: Fetch(Rc::clone(&js)), parts: Parts(Rc::clone(&js)), rows: Rows::new(Rc::clone(&js)), js }
    }

    /// A new object with no fields yet.
    pub(crate) fn fields(&self) -> Fields {
        self.js.fields()
    }
}

impl Host for WebHost {
    const ALONE: bool = true;
    type Transport = Fetch;
    type Store = Parts;
    type Ledger = Rows;
    type Clock = WebClock;

    fn transport(&self) -> &Fetch {
        &self.transport
    }
    fn store(&self) -> &Parts {
        &self.parts
    }
    fn ledger(&self) -> &Rows {
        &self.rows
    }
    fn clock(&self) -> &WebClock {
        &WebClock
    }

    fn seed(&self) -> u64 {
        seed()
    }

    fn on_event(&self, event: &Event<'_>) {
        let fields = self.fields();
        event::told(event, &fields);
        self.js.tell(fields);
    }
}

/// From the platform's own generator, which is seeded by its entropy.
pub(crate) fn seed() -> u64 {
    // 2^53: as many bits as a number holds.
    (random() * 9_007_199_254_740_992.0) as u64
}
