//! The part store: each download's part is a JavaScript object, lent for as long as the download is driven.
//!
//! Invariant: a sink is called once at a time. A call that was under way when its download was stopped is waited for before
//! the next one.

use crate::failure::{Doing, disk};
use js_sys::{Promise, Uint8Array};
use regrip_core::Error;
use regrip_core::io::{Chunk, Digest, Found, OpenPart, Part, PartBytes, PartStore, Replace};
use regrip_core::record::{DigestState, FileId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// A `Sink`, see `js/node.d.ts`. Every method may answer at once or with a promise.
    #[derive(Debug)]
    pub type JsSink;
    #[wasm_bindgen(method, catch)]
    fn size(this: &JsSink) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn write(this: &JsSink, chunk: &Uint8Array, at: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn read(this: &JsSink, at: f64, length: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn truncate(this: &JsSink, size: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn flush(this: &JsSink) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn commit(this: &JsSink, replace: bool) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, js_name = commit)]
    fn how_to_commit(this: &JsSink) -> JsValue;
}

/// A chunk whose bytes stay on the JavaScript side.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    array: Uint8Array,
    from: u32,
    to: u32,
}

impl Bytes {
    pub(crate) fn new(array: Uint8Array) -> Self {
        let to = array.length();
        Bytes { array, from: 0, to }
    }

    /// A view of the bytes.
    fn view(&self) -> Uint8Array {
        self.array.subarray(self.from, self.to)
    }
}

impl Chunk for Bytes {
    fn length(&self) -> u64 {
        u64::from(self.to - self.from)
    }
    fn split_at(self, at: u64) -> (Self, Self) {
        let middle = self.from + at.min(self.length()) as u32;
        let Bytes { array, from, to } = self;
        (
            Bytes {
                array: array.clone(),
                from,
                to: middle,
            },
            Bytes {
                array,
                from: middle,
                to,
            },
        )
    }
}

/// The sinks that are lent, by the name of the part each of them is.
#[derive(Debug, Default)]
pub(crate) struct Sinks(RefCell<HashMap<String, Rc<Lent>>>);

#[derive(Debug)]
struct Lent {
    sink: JsSink,
    part: String,
    under_way: RefCell<Option<Promise>>,
}

impl Sinks {
    /// Lends a sink. Not so where one is lent under this name already.
    pub(crate) fn lend(&self, part: &str, sink: JsSink) -> bool {
        let mut lent = self.0.borrow_mut();
        if lent.contains_key(part) {
            return false;
        }
        let (part, under_way) = (part.to_owned(), RefCell::default());
        lent.insert(
            part.clone(),
            Rc::new(Lent {
                sink,
                part,
                under_way,
            }),
        );
        true
    }

    /// Ends what [`lend`](Self::lend) began.
    pub(crate) fn take_back(&self, part: &str) {
        self.0.borrow_mut().remove(part);
    }

    fn lent(&self, part: &str) -> Result<Rc<Lent>, Error> {
        let missing = || Error::Disk {
            what: "find the sink of",
            path: part.to_owned(),
            source: None,
        };
        self.0.borrow().get(part).cloned().ok_or_else(missing)
    }
}

impl Lent {
    async fn call(
        &self,
        doing: Doing,
        call: impl FnOnce(&JsSink) -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, Error> {
        let answer = self.answer(call).await;
        answer.map_err(|error| disk(doing, &self.part, &error))
    }

    /// Waits only where there is something to wait for: a chunk that fits a sink's buffer costs no turn of the event loop.
    async fn answer(
        &self,
        call: impl FnOnce(&JsSink) -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue> {
        self.wait().await?;
        let answer = call(&self.sink)?;
        if !answer.is_object() {
            return Ok(answer);
        }
        // Whatever can be waited for, also what is no instance of this realm's `Promise`.
        self.under_way.replace(Some(Promise::resolve(&answer)));
        self.wait().await
    }

    /// Waits for the call under way. It stays under way if this future is dropped.
    async fn wait(&self) -> Result<JsValue, JsValue> {
        let Some(promise) = self.under_way.borrow().clone() else {
            return Ok(JsValue::UNDEFINED);
        };
        let answer = JsFuture::from(promise).await;
        self.under_way.take();
        answer
    }

    async fn length(&self) -> Result<u64, Error> {
        let size = self.call(Doing::Measure, JsSink::size).await?;
        let size = size.as_f64().filter(|size| *size >= 0.0);
        size.map(|size| size as u64).ok_or_else(|| Error::Disk {
            what: Doing::Measure.name(),
            path: self.part.clone(),
            source: Some("size() did not answer with a number".into()),
        })
    }
}

impl PartStore for Sinks {
    type Part = SinkPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        // A sink is there as soon as it is lent; what matters is whether somebody's bytes are in it.
        Ok(self.lent(part)?.length().await? > 0)
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<SinkPart, Error> {
        let lent = self.lent(part)?;
        if how == OpenPart::Create && lent.length().await? > 0 {
            return Err(Error::ForeignPart {
                path: part.to_owned(),
            });
        }
        Ok(SinkPart(lent))
    }

    async fn commit(
        &self,
        part: SinkPart,
        destination: &str,
        replace: Replace,
    ) -> Result<(), Error> {
        // A sink without `commit` has its bytes where they belong already.
        if part.0.sink.how_to_commit().is_undefined() {
            return Ok(());
        }
        let replace = replace == Replace::Existing;
        let committed = part.0.answer(|sink| sink.commit(replace)).await;
        committed
            .map(drop)
            .map_err(|error| disk(Doing::Commit, destination, &error))
    }

    async fn find(&self, part: &str, _destination: &str, _file: FileId) -> Result<Found, Error> {
        // Rows live no longer than the process, so no commit was ever cut short by a crash: the part is what there is.
        let length = self.lent(part)?.length().await?;
        Ok(if length > 0 {
            Found::Part
        } else {
            Found::Nothing
        })
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        self.lent(part)?
            .call(Doing::Truncate, |sink| sink.truncate(0.0))
            .await
            .map(drop)
    }

    fn boot_id(&self) -> String {
        // As long as the rows: the same process.
        "this process".to_owned()
    }
}

/// A sink while an attempt uses it.
#[derive(Debug)]
pub(crate) struct SinkPart(Rc<Lent>);

impl Part for SinkPart {
    type Digest = NoDigest;

    async fn length(&mut self) -> Result<u64, Error> {
        self.0.length().await
    }

    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.0
            .call(Doing::Truncate, |sink| sink.truncate(length as f64))
            .await
            .map(drop)
    }

    async fn reserve(&mut self, _size: u64) -> Result<(), Error> {
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), Error> {
        self.0.call(Doing::Sync, JsSink::flush).await.map(drop)
    }

    fn file_id(&self) -> FileId {
        FileId::default()
    }

    async fn digest(&mut self, _saved: Option<&DigestState>, _to: u64) -> Result<NoDigest, Error> {
        let source = Some("this host computes no digests".into());
        Err(Error::Disk {
            what: "hash",
            path: self.0.part.clone(),
            source,
        })
    }
}

impl PartBytes<Bytes> for SinkPart {
    async fn write(
        &mut self,
        offset: u64,
        chunk: Bytes,
        _digest: Option<&mut NoDigest>,
    ) -> Result<(), Error> {
        self.0
            .call(Doing::Write, |sink| {
                sink.write(&chunk.view(), offset as f64)
            })
            .await
            .map(drop)
    }

    async fn matches(&mut self, offset: u64, chunk: Bytes) -> Result<bool, Error> {
        let length = chunk.length() as f64;
        let there = self
            .0
            .call(Doing::Read, |sink| sink.read(offset as f64, length))
            .await?;
        // The only bytes that are looked at from here: `resumeOverlapBytes` of them on a resume.
        Ok(there.is_object() && Uint8Array::new(&there).to_vec() == chunk.view().to_vec())
    }
}

/// The engine is made without digests, so there is none.
#[derive(Debug)]
pub(crate) enum NoDigest {}

impl Digest for NoDigest {
    fn save(&self) -> Option<Vec<u8>> {
        match *self {}
    }
    fn finish(self) -> String {
        match self {}
    }
}
