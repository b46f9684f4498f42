//! Plain objects across the border, written and read field by field: events, rows, options, errors.
//!
//! By hand, since a serializer for them would be a fifth of the module. The other side is `js/fields.js`.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// An object with named fields.
    #[derive(Debug)]
    pub type Fields;

    #[wasm_bindgen(method, js_name = putText)]
    fn put_text(this: &Fields, name: &str, value: &str);
    #[wasm_bindgen(method, js_name = putNumber)]
    fn put_number(this: &Fields, name: &str, value: f64);
    #[wasm_bindgen(method, js_name = putFlag)]
    fn put_flag(this: &Fields, name: &str, value: bool);
    #[wasm_bindgen(method, js_name = putBytes)]
    fn put_bytes(this: &Fields, name: &str, value: &[u8]);

    #[wasm_bindgen(method, js_name = text)]
    fn maybe_text(this: &Fields, name: &str) -> Option<String>;
    /// One of the words of a text, which colons separate.
    #[wasm_bindgen(method)]
    pub(crate) fn word(this: &Fields, name: &str, index: u32) -> Option<String>;
    #[wasm_bindgen(method, js_name = number)]
    fn maybe_number(this: &Fields, name: &str) -> Option<f64>;
    #[wasm_bindgen(method, js_name = bytes)]
    fn maybe_bytes(this: &Fields, name: &str) -> Option<Vec<u8>>;
    #[wasm_bindgen(method)]
    pub(crate) fn flag(this: &Fields, name: &str) -> bool;
}

impl Fields {
    #[inline(never)]
    pub(crate) fn put(&self, name: &str, value: &str) -> &Self {
        self.put_text(name, value);
        self
    }

    pub(crate) fn put_some(&self, name: &str, value: Option<&str>) -> &Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Counts and sizes: none comes near what a JavaScript number cannot hold.
    #[inline(never)]
    pub(crate) fn count(&self, name: &str, value: u64) -> &Self {
        self.put_number(name, value as f64);
        self
    }

    pub(crate) fn count_some(&self, name: &str, value: Option<u64>) -> &Self {
        match value {
            Some(value) => self.count(name, value),
            None => self,
        }
    }

    pub(crate) fn milliseconds(&self, name: &str, value: f64) -> &Self {
        self.put_number(name, value);
        self
    }

    #[inline(never)]
    pub(crate) fn mark(&self, name: &str, value: bool) -> &Self {
        self.put_flag(name, value);
        self
    }

    pub(crate) fn binary(&self, name: &str, value: &[u8]) -> &Self {
        self.put_bytes(name, value);
        self
    }

    #[inline(never)]
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.maybe_text(name)
    }

    /// A number as whole as it should be; none below zero.
    #[inline(never)]
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.maybe_number(name).map(|value| value as u64)
    }

    pub(crate) fn number_or(&self, name: &str, missing: u64) -> u64 {
        self.number(name).unwrap_or(missing)
    }

    pub(crate) fn small_or(&self, name: &str, missing: u32) -> u32 {
        u32::try_from(self.number_or(name, missing.into())).unwrap_or(u32::MAX)
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.maybe_bytes(name)
    }
}
