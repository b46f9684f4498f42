//! The engine of regrip for JavaScript: it converts and delegates.
//!
//! Everything outside is asked of one JavaScript object (`host`); no byte of a file enters wasm memory. The idiomatic
//! interface is in `host-wasm/js`; what is exported here is what that is built on.

mod clock;
#[cfg(feature = "contract")]
mod contract;
mod event;
mod failure;
mod fields;
mod host;
mod ledger;
mod options;
mod part;
mod pending;
mod transport;

#[cfg(feature = "contract")]
pub use contract::{check, promises};

use fields::Fields;
use host::{JsHost, WebHost};
use pending::{Pending, spawn};
use regrip_core::engine::NewUrl;
use regrip_core::host::Host;
use regrip_core::{DownloadId, OnExists, class};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::js_sys::Promise;

/// Drives downloads. It lives as long as its process or page.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Core {
    engine: regrip_core::Engine<WebHost>,
}

#[wasm_bindgen]
impl Core {
    /// An engine with these options; those that are missing have their defaults.
    ///
    /// # Errors
    /// A text if an option is out of range.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &Fields, host: JsHost) -> Result<Core, JsValue> {
        let config = options::config(options);
        let engine = regrip_core::Engine::new(WebHost::new(host), config, true);
        let engine = engine.map_err(out_of_range)?;
        Ok(Core { engine })
    }

    /// Takes other options into use.
    ///
    /// # Errors
    /// As the constructor.
    pub fn configure(&self, options: &Fields) -> Result<(), JsValue> {
        let configured = self.engine.reconfigure(options::config(options));
        configured.map_err(out_of_range)
    }

    /// Accepts a download and drives it to its end. Its last event has the result; the promise resolves to nothing, or
    /// to what it failed with.
    pub fn run(&self, asked: &Fields) -> Promise {
        let engine = self.engine.clone();
        let new = ledger::read_new(asked);
        spawn(async move {
            let destination = new.destination.clone();
            let new_url = match new.on_exists {
                OnExists::Rename => NewUrl::Refused,
                OnExists::Overwrite | OnExists::Fail => NewUrl::Any,
            };
            let ended = match engine.accept_with(new, new_url).await {
                Ok(accepted) => {
                    // It never rejects.
                    let _ = Pending::done(engine.host().js.turn(accepted.id as f64)).await;
                    engine.drive(accepted.id).await.map(drop)
                }
                Err(error) => Err(error),
            };
            let host = engine.host();
            host.ledger().let_go(&destination);
            let Err(error) = ended else {
                return Ok(JsValue::UNDEFINED);
            };
            let told = host.fields();
            let class = class(&error, &engine.config().extra_retry_statuses);
            failure::told(&error, class, &told);
            Ok(told.into())
        })
    }

    /// Cancels a running download and keeps its partial data. Returns `false` if it was too late.
    pub fn cancel(&self, id: f64) -> bool {
        self.engine.call_off(id as DownloadId)
    }
}

/// What should not come here: `js/options.js` looks first, and has better words for it.
pub(crate) fn out_of_range<E>(_: E) -> JsValue {
    JsValue::from_str("a number is out of range")
}
