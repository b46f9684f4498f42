//! The engine of regrip for JavaScript: it converts and delegates.
//!
//! `fetch` brings the bytes (`transport`) and a JavaScript object takes them (`sink`); none of them enters wasm memory,
//! but for the few that are compared on a resume. The idiomatic interface is in `host-wasm/js`; what is exported here is
//! what that is built on.

mod clock;
mod event;
mod failure;
mod host;
mod ledger;
mod sink;
mod transport;

use failure::{invalid, thrown};
use host::WebHost;
use js_sys::{Function, Promise};
use regrip_core::io::{Host, Ledger};
use regrip_core::record::NewDownload;
use regrip_core::{DownloadsConfig, Error, OnExists, Source};
use sink::JsSink;
use std::future::Future;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// Drives downloads. It lives as long as its process or page, and so does what it remembers.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine {
    engine: regrip_core::Engine<WebHost>,
    on_exists: OnExists,
}

#[wasm_bindgen]
impl Engine {
    /// An engine with the knobs of the `downloads` block, all of them defaulted. `listener` is called with every event.
    ///
    /// # Errors
    /// A `RangeError` that names the first knob that is no such number, or out of range.
    #[wasm_bindgen(constructor)]
    pub fn new(config: JsValue, listener: Function) -> Result<Engine, JsValue> {
        let config: DownloadsConfig = if config.is_undefined() {
            DownloadsConfig::default()
        } else {
            serde_wasm_bindgen::from_value(config).map_err(|error| invalid(&error.to_string()))?
        };
        let on_exists = config.on_exists;
        let host = WebHost::new(&config, listener);
        let engine = regrip_core::Engine::new(host, config, false);
        let engine = engine.map_err(|error| invalid(&error.to_string()))?;
        Ok(Engine { engine, on_exists })
    }

    /// Accepts a download of an absolute URL to the destination called `name`; resolves to its id. The same URL and name
    /// have the same id until it is completed. With `adopt` bytes that this engine knows nothing of are taken up.
    pub fn accept(&self, url: String, name: String, adopt: bool) -> Promise {
        let engine = self.engine.clone();
        let new = NewDownload {
            source: Source::Url { url },
            header_names: Vec::new(),
            part: format!("{name}.part"),
            destination: name,
            on_exists: self.on_exists,
            release_size: None,
            sha256: None,
            adopt,
        };
        promise(async move {
            let accepted = engine.accept(new).await?;
            // Ids count from 1: no program comes near the first that a JavaScript number cannot hold.
            Ok(JsValue::from_f64(accepted.id as f64))
        })
    }

    /// Drives a download into `sink`; resolves to how it ended, rejects with what it ended with.
    pub fn drive(&self, id: f64, sink: JsSink) -> Promise {
        let (engine, id) = (self.engine.clone(), id as i64);
        promise(async move {
            let host = engine.host();
            let part = host.ledger().row(id).await?.new.part;
            // Where another drive has the destination the engine says so, and that drive keeps its sink.
            let lent = host.store().lend(&part, sink);
            let ended = engine.drive(id).await;
            if lent {
                host.store().take_back(&part);
            }
            let summary = ended?;
            // Nothing is left to be resumed, and nobody asks for the row.
            host.ledger().remove(id).await?;
            Ok(event::summary(&summary))
        })
    }

    /// Calls a download off. What it was driven into keeps its bytes.
    pub fn cancel(&self, id: f64) -> Promise {
        let (engine, id) = (self.engine.clone(), id as i64);
        promise(async move { engine.cancel(id).await.map(|()| JsValue::UNDEFINED) })
    }
}

fn promise(work: impl Future<Output = Result<JsValue, Error>> + 'static) -> Promise {
    future_to_promise(async move { work.await.map_err(|error| thrown(&error)) })
}
