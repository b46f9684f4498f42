//! The host: `fetch`, a JavaScript sink for each download, rows in memory, the timers all JavaScript has.

use crate::clock::WebClock;
use crate::event;
use crate::ledger::MemoryLedger;
use crate::sink::Sinks;
use crate::transport::Fetch;
use js_sys::{Function, Uint8Array};
use regrip_core::io::Host;
use regrip_core::{DownloadsConfig, Event};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(into: &Uint8Array);
}

/// Node, a page or a worker: what they have in common.
#[derive(Debug)]
pub(crate) struct WebHost {
    transport: Fetch,
    sinks: Sinks,
    ledger: MemoryLedger,
    clock: WebClock,
    listener: Function,
}

impl WebHost {
    pub(crate) fn new(config: &DownloadsConfig, listener: Function) -> Self {
        WebHost {
            transport: Fetch::new(config),
            sinks: Sinks::default(),
            ledger: MemoryLedger::default(),
            clock: WebClock,
            listener,
        }
    }
}

impl Host for WebHost {
    type Transport = Fetch;
    type Store = Sinks;
    type Ledger = MemoryLedger;
    type Clock = WebClock;

    fn transport(&self) -> &Fetch {
        &self.transport
    }
    fn store(&self) -> &Sinks {
        &self.sinks
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }
    fn clock(&self) -> &WebClock {
        &self.clock
    }

    fn seed(&self) -> u64 {
        let bytes = Uint8Array::new_with_length(8);
        get_random_values(&bytes);
        let mut seed = [0; 8];
        bytes.copy_to(&mut seed);
        u64::from_le_bytes(seed)
    }

    fn on_event(&self, event: &Event<'_>) {
        // A listener that throws must not end a download.
        let _ = self
            .listener
            .call1(&JsValue::UNDEFINED, &event::told(event));
    }
}
