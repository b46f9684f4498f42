//! The part store: each download's part is a JavaScript object (`js/part.js`) over a sink.
//!
//! No byte of a file enters wasm memory: writing, comparing and hashing are the other side's.

use crate::failure;
use crate::host::JsHost;
use crate::pending::Pending;
use regrip_core::store::{Committed, Digest, Found, OpenPart, Part, PartBytes, PartStore, Replace};
use regrip_core::store::{Committing, DigestState, PartToken, StoreRules};
use regrip_core::transport::Chunk;
use regrip_core::{Algorithm, Error};
use std::future::Future;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A piece of a file. (js-sys has it too, and beside it what every module would carry along.)
    #[derive(Clone, Debug)]
    pub type Uint8Array;
    #[wasm_bindgen(method, getter)]
    fn length(this: &Uint8Array) -> u32;
    #[wasm_bindgen(method)]
    fn subarray(this: &Uint8Array, from: u32, to: u32) -> Uint8Array;

    /// A `Part` of `js/part.js`: nothing of it throws, promises reject with a `Failed`, and calls queue up behind one that
    /// is still under way.
    #[derive(Debug)]
    pub type JsPart;
    #[wasm_bindgen(method)]
    fn exists(this: &JsPart) -> JsValue;
    #[wasm_bindgen(method)]
    fn open(this: &JsPart, create: bool) -> JsValue;
    #[wasm_bindgen(method)]
    fn size(this: &JsPart) -> JsValue;
    #[wasm_bindgen(method)]
    fn write(this: &JsPart, chunk: &Uint8Array, at: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn matches(this: &JsPart, chunk: &Uint8Array, at: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn truncate(this: &JsPart, size: f64) -> JsValue;
    #[wasm_bindgen(method, js_name = isUniform)]
    fn is_uniform(this: &JsPart, from: f64, to: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn flush(this: &JsPart) -> JsValue;
    #[wasm_bindgen(method)]
    fn commit(this: &JsPart, replace: bool) -> JsValue;
    #[wasm_bindgen(method)]
    fn find(this: &JsPart, token: &str, size: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn remove(this: &JsPart) -> JsValue;
    #[wasm_bindgen(method)]
    fn close(this: &JsPart);
    #[wasm_bindgen(method, getter)]
    fn token(this: &JsPart) -> String;
    #[wasm_bindgen(method, getter)]
    fn epoch(this: &JsPart) -> String;
    #[wasm_bindgen(method, getter, js_name = readBackBytes)]
    fn read_back_bytes(this: &JsPart) -> f64;
    #[wasm_bindgen(method, getter)]
    fn truncates(this: &JsPart) -> bool;
    #[wasm_bindgen(method)]
    fn digest(this: &JsPart, algorithm: &str, state: Option<Vec<u8>>, from: f64, to: f64) -> JsValue;

    /// A running hash.
    #[derive(Debug)]
    pub type JsHasher;
    #[wasm_bindgen(method)]
    fn update(this: &JsHasher, chunk: &Uint8Array);
    #[wasm_bindgen(method)]
    fn save(this: &JsHasher) -> Option<Vec<u8>>;
    #[wasm_bindgen(method)]
    fn finish(this: &JsHasher) -> String;
}

/// A chunk whose bytes stay on the JavaScript side. An empty one needs no array.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    array: Option<Uint8Array>,
    length: u32,
}

impl Bytes {
    pub(crate) fn new(array: Uint8Array) -> Self {
        let length = array.length();
        Bytes { array: Some(array), length }
    }

    #[cfg(feature = "contract")]
    pub(crate) fn array(&self) -> Option<&Uint8Array> {
        self.array.as_ref()
    }
}

impl Chunk for Bytes {
    fn length(&self) -> u64 {
        u64::from(self.length)
    }

    fn split_at(self, at: u64) -> (Self, Self) {
        let empty = Bytes { array: None, length: 0 };
        // Nearly every chunk is taken whole: no view is made for it.
        if at == 0 {
            return (empty, self);
        }
        let Some(array) = self.array.as_ref().filter(|_| at < self.length()) else {
            return (self, empty);
        };
        let at = at as u32; // below the length
        (Bytes::new(array.subarray(0, at)), Bytes::new(array.subarray(at, self.length)))
    }
}

/// All parts, by name.
#[derive(Debug)]
pub(crate) struct Parts(pub(crate) Rc<JsHost>);

impl PartStore for Parts {
    type Part = OpenedPart;

    fn exists(&self, part: &str) -> impl Future<Output = Result<bool, Error>> {
        Pending::flag(self.0.part(part).exists())
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<OpenedPart, Error> {
        // Closed even if opening it fails or is not awaited.
        let opened = OpenedPart(self.0.part(part));
        Pending::done(opened.0.open(how == OpenPart::Create)).await?;
        Ok(opened)
    }

    async fn commit(&self, part: OpenedPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        let committed = part.0.commit(replace == Replace::Existing);
        let warning = Pending::new(committed, |warning| warning.as_string());
        Ok(match warning.await? {
            None => Committed::Durable,
            Some(text) => Committed::WithWarning(failure::after_naming(destination, text)),
        })
    }

    fn find(
        &self,
        part: &str,
        _destination: &str,
        committing: &Committing,
    ) -> impl Future<Output = Result<Found, Error>> {
        let (token, size) = (&committing.token.0, committing.size as f64);
        let found = self.0.part(part).find(token, size);
        Pending::new(found, |found| match found.as_f64() {
            Some(1.0) => Found::Part,
            Some(2.0) => Found::Destination,
            _ => Found::Nothing,
        })
    }

    fn remove(&self, part: &str) -> impl Future<Output = Result<(), Error>> {
        Pending::done(self.0.part(part).remove())
    }
}

/// A part that is open; dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenedPart(JsPart);

impl Drop for OpenedPart {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Part for OpenedPart {
    type Digest = Hasher;

    fn length(&mut self) -> impl Future<Output = Result<u64, Error>> {
        Pending::count(self.0.size())
    }

    fn truncate(&mut self, length: u64) -> impl Future<Output = Result<(), Error>> {
        Pending::done(self.0.truncate(length as f64))
    }

    fn reserve(&mut self, _size: u64) -> impl Future<Output = Result<(), Error>> {
        // Nothing JavaScript has reserves room without changing a file's length.
        std::future::ready(Ok(()))
    }

    fn flush(&mut self) -> impl Future<Output = Result<u64, Error>> {
        Pending::count(self.0.flush())
    }

    fn token(&self) -> PartToken {
        PartToken(self.0.token())
    }

    fn epoch(&self) -> String {
        self.0.epoch()
    }

    fn rules(&self) -> StoreRules {
        StoreRules {
            read_back_bytes: self.0.read_back_bytes() as u64,
            truncate: self.0.truncates(),
            durable_unit_bytes: 1,
        }
    }

    fn is_uniform(&mut self, from: u64, to: u64) -> impl Future<Output = Result<bool, Error>> {
        Pending::flag(self.0.is_uniform(from as f64, to as f64))
    }

    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        let state = saved.map(|saved| saved.state.clone());
        let from = saved.map_or(0, |saved| saved.offset);
        let hasher = self.0.digest(algorithm.name(), state, from as f64, to as f64);
        let hash = Pending::new(hasher, |hasher| hasher.is_object().then(|| hasher.unchecked_into::<JsHasher>()));
        Ok(hash.await?.map(|hash| Hasher { hash, algorithm }))
    }
}

impl PartBytes<Bytes> for OpenedPart {
    fn write(&mut self, offset: u64, chunk: Bytes, digests: &mut [Hasher]) -> impl Future<Output = Result<(), Error>> {
        let Some(array) = &chunk.array else {
            return Pending::done(JsValue::UNDEFINED);
        };
        for digest in digests {
            digest.hash.update(array);
        }
        Pending::done(self.0.write(array, offset as f64))
    }

    fn matches(&mut self, offset: u64, chunk: &Bytes) -> impl Future<Output = Result<bool, Error>> {
        let Some(array) = &chunk.array else {
            return Pending::flag(JsValue::TRUE);
        };
        Pending::flag(self.0.matches(array, offset as f64))
    }
}

/// `node:crypto`, or our own if there is none.
#[derive(Debug)]
pub(crate) struct Hasher {
    hash: JsHasher,
    algorithm: Algorithm,
}

impl Digest for Hasher {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    fn save(&self) -> Option<Vec<u8>> {
        self.hash.save()
    }
    fn finish(self) -> String {
        self.hash.finish()
    }
}
