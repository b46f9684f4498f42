//! A host with large files that arrive as fast as they are read, and with a disk that takes a second for a write. What its peer sends
//! takes no memory.

use regrip_core::error::Error;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::http::body_end;
use regrip_core::store::{Committed, DigestState, Found, OpenPart, Part, PartBytes, PartStore, PartToken, Replace};
use regrip_core::store::{Committing, StoreRules};
use regrip_core::testing::{MemoryLedger, MemoryPart, MemoryStore, VirtualClock};
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Request, RequestRules, Response, Transport};
use regrip_core::{Algorithm, Event};
use std::time::Duration;

const SIZE: u64 = 1 << 30;
static PIECE: [u8; 16 << 10] = [7; 16 << 10];

#[derive(Debug, Default)]
pub(crate) struct Endless {
    store: SlowStore,
    ledger: MemoryLedger,
}

impl Host for Endless {
    type Transport = Endless;
    type Store = SlowStore;
    type Ledger = MemoryLedger;
    type Clock = VirtualClock;

    fn transport(&self) -> &Endless {
        self
    }
    fn store(&self) -> &SlowStore {
        &self.store
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }
    fn clock(&self) -> &VirtualClock {
        &self.store.clock
    }
    fn seed(&self) -> u64 {
        1
    }
    fn on_event(&self, _: &Event<'_>) {}
}

impl Transport for Endless {
    type Body = Pieces;

    fn rules(&self, _url: &str) -> RequestRules {
        RequestRules::FREE
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<Pieces>, Error> {
        let range = request.range;
        let first = range.map_or(0, |range| range.first);
        let last = range.and_then(|range| range.last).unwrap_or(SIZE - 1);
        let length = last + 1 - first;
        let fields = [
            ("etag", "\"v1\"".to_owned()),
            ("content-length", length.to_string()),
            ("content-range", format!("bytes {first}-{last}/{SIZE}")),
        ];
        let headers = fields.into_iter().take(if range.is_some() { 3 } else { 2 }).collect();
        let end = body_end(&headers);
        Ok(Response { status: if range.is_some() { 206 } else { 200 }, headers, end, body: Pieces(length) })
    }
}

/// The bytes that are left.
#[derive(Debug)]
pub(crate) struct Pieces(u64);

impl Body for Pieces {
    type Chunk<'a> = &'a [u8];
    type Kept = Vec<u8>;

    fn keep(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }
    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }
    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        let piece = &PIECE[..PIECE.len().min(self.0 as usize)];
        self.0 -= piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

#[derive(Debug, Default)]
pub(crate) struct SlowStore {
    disk: MemoryStore,
    clock: VirtualClock,
}

impl PartStore for SlowStore {
    type Part = SlowPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        self.disk.exists(part).await
    }
    async fn open(&self, part: &str, how: OpenPart) -> Result<SlowPart, Error> {
        Ok(SlowPart(self.disk.open(part, how).await?, self.clock.clone()))
    }
    async fn commit(&self, part: SlowPart, destination: &str, replace: Replace) -> Result<Committed, Error> {
        self.disk.commit(part.0, destination, replace).await
    }
    async fn find(&self, part: &str, destination: &str, committing: &Committing) -> Result<Found, Error> {
        self.disk.find(part, destination, committing).await
    }
    async fn remove(&self, part: &str) -> Result<(), Error> {
        self.disk.remove(part).await
    }
}

#[derive(Debug)]
pub(crate) struct SlowPart(MemoryPart, VirtualClock);

impl Part for SlowPart {
    type Digest = Hasher;

    async fn length(&mut self) -> Result<u64, Error> {
        self.0.length().await
    }
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.0.truncate(length).await
    }
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        self.0.reserve(size).await
    }
    async fn flush(&mut self) -> Result<u64, Error> {
        self.0.flush().await
    }
    fn token(&self) -> PartToken {
        self.0.token()
    }
    fn epoch(&self) -> String {
        self.0.epoch()
    }
    fn rules(&self) -> StoreRules {
        self.0.rules()
    }
    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        self.0.is_uniform(from, to).await
    }
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<Hasher>, Error> {
        self.0.digest(algorithm, saved, to).await
    }
}

impl PartBytes<&[u8]> for SlowPart {
    async fn write(&mut self, _offset: u64, _chunk: &[u8], _digests: &mut [Hasher]) -> Result<(), Error> {
        self.1.sleep(Duration::from_secs(1)).await;
        Ok(())
    }
    async fn matches(&mut self, offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        self.0.matches(offset, chunk).await
    }
}
