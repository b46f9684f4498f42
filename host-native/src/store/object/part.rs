//! The partial data of an object: the parts of an upload, those being sent, and the bytes of the next one.
//!
//! Invariant: the bytes are, in this order, the acknowledged parts, the parts on their way, and the buffer. A part that cannot
//! be sent takes what follows it with it: the length says so, and from then on nothing is appended or completed until the part is
//! opened again.

use super::client::ObjectName;
use super::store::ObjectStore;
use super::uploads::{Upload, UploadEnd, UploadedPart};
use crate::store::lock::Locked;
use crate::store::part::DiskDigest;
use bytes::Bytes;
use regrip_core::hasher::Hasher;
use regrip_core::store::{Digest, DigestState, Part, PartBytes, PartToken, StoreRules};
use regrip_core::{Algorithm, Error};
use smol::Task;
use std::collections::VecDeque;
use std::io;

/// The smallest part that another one may follow.
const LEAST_PART_BYTES: u64 = 5 << 20;
/// The largest object.
const LARGEST_OBJECT_BYTES: u64 = 5 << 40;
/// The most parts of an upload, and for how many a part's size is chosen: some may turn out smaller.
const MOST_PARTS: usize = 10_000;
const PLANNED_PARTS: u64 = 9_500;
/// Parts of a file of unknown size double after this many.
const DOUBLED_AFTER: usize = 990;
/// The most bytes on their way beside the buffer, unless a single part has more.
const ON_THEIR_WAY_BYTES: u64 = 16 << 20;
/// All bytes that the ledger has are there in every process.
const EPOCH: &str = "object storage";

/// States of digests at an offset.
type States = Vec<(Algorithm, Vec<u8>)>;

/// An open, locked part of object storage.
#[derive(Debug)]
pub struct ObjectPart {
    pub(super) store: ObjectStore,
    pub(super) object: ObjectName,
    pub(super) upload: Upload,
    /// The number of this opening of the upload.
    opened: u64,
    /// On their way, in order, each with its size.
    sending: VecDeque<(u64, Task<Result<UploadedPart, Error>>)>,
    buffer: Vec<u8>,
    /// The states of the digests where the buffer begins, and at the end of the file.
    states: States,
    states_at_end: States,
    /// The size of the file, if it is known.
    size: Option<u64>,
    /// Bytes were lost, and why, until that was said.
    lost: Option<Option<Error>>,
    _lock: Locked,
}

/// The size of the part after the first `parts`. It is the same for all parts of a file of known size.
fn part_bytes(parts: usize, size: Option<u64>) -> u64 {
    match size {
        Some(size) => size.div_ceil(PLANNED_PARTS).next_multiple_of(1 << 20).max(LEAST_PART_BYTES),
        None => LEAST_PART_BYTES << (parts / DOUBLED_AFTER).min(9),
    }
}

impl ObjectPart {
    /// The part of an upload, whose parts are confirmed. `kept` are bytes after them that an earlier part of this process held.
    pub(super) fn new(
        store: ObjectStore,
        object: ObjectName,
        upload: Upload,
        (opened, kept): (u64, Vec<u8>),
        lock: Locked,
    ) -> ObjectPart {
        let states = upload.parts.last().map(|part| part.digests.clone()).unwrap_or_default();
        ObjectPart {
            store,
            object,
            upload,
            opened,
            sending: VecDeque::new(),
            buffer: kept,
            states,
            states_at_end: States::new(),
            size: None,
            lost: None,
            _lock: lock,
        }
    }

    fn durable(&self) -> u64 {
        self.upload.parts.iter().map(|part| part.size).sum()
    }

    fn sent(&self) -> u64 {
        self.durable() + self.sending.iter().map(|(size, _)| size).sum::<u64>()
    }

    fn end(&self) -> u64 {
        self.sent() + self.buffer.len() as u64
    }

    fn failed(&self, what: &'static str, why: &str) -> Error {
        let path = self.object.as_str().to_owned();
        Error::Disk { what, path, source: Some(io::Error::other(why).into()) }
    }

    /// # Errors
    /// Why bytes were lost.
    fn check(&mut self) -> Result<(), Error> {
        match self.lost.as_mut() {
            None => Ok(()),
            Some(why) => Err(why.take().unwrap_or_else(|| self.failed("upload", "a part before could not be sent"))),
        }
    }

    fn part_bytes(&self) -> u64 {
        part_bytes(self.upload.parts.len() + self.sending.len(), self.size)
    }

    /// Sends the buffer as the next part, after which the digests have these states. Waits while too many are on their way.
    async fn send(&mut self, states: States) -> Result<(), Error> {
        let id = self.store.begun(&self.object, &mut self.upload).await?;
        let size = self.buffer.len() as u64;
        while self.sending.iter().map(|(size, _)| size).sum::<u64>() + size > ON_THEIR_WAY_BYTES
            && !self.sending.is_empty()
        {
            self.acknowledge().await?;
        }
        let number = self.upload.parts.len() + self.sending.len() + 1;
        let number = u16::try_from(number).ok().filter(|number| usize::from(*number) <= MOST_PARTS);
        let number = number.ok_or_else(|| self.failed("upload", "an object has at most 10,000 parts"))?;
        self.states.clone_from(&states);
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let sending = self.store.clone().send_part(self.object.clone(), id, number, bytes, states);
        self.sending.push_back((size, smol::spawn(sending)));
        Ok(())
    }

    /// Waits for the first part on its way. If it fails, the bytes after it are dropped.
    async fn acknowledge(&mut self) -> Result<(), Error> {
        let Some((_, sending)) = self.sending.front_mut() else {
            return Ok(());
        };
        let done = sending.await;
        self.sending.pop_front();
        match done {
            Ok(part) => self.upload.parts.push(part),
            Err(error) => {
                self.sending.clear();
                self.buffer.clear();
                self.states = self.upload.parts.last().map(|part| part.digests.clone()).unwrap_or_default();
                self.lost = Some(Some(error));
            }
        }
        self.check()
    }

    /// Waits for all parts on their way.
    async fn acknowledge_all(&mut self) -> Result<(), Error> {
        while !self.sending.is_empty() {
            self.acknowledge().await?;
        }
        Ok(())
    }

    /// The same. Whoever appends or completes learns why bytes were lost.
    async fn settle(&mut self) {
        if let Err(error) = self.acknowledge_all().await {
            self.lost = Some(Some(error));
        }
    }

    /// Sends what is left, as the last part, which may be small; an empty object has one part, too.
    pub(super) async fn send_all(&mut self) -> Result<(), Error> {
        self.check()?;
        self.acknowledge_all().await?;
        if !self.buffer.is_empty() || self.upload.parts.is_empty() {
            let states = std::mem::take(&mut self.states_at_end);
            self.send(states).await?;
        }
        self.acknowledge_all().await
    }
}

impl Drop for ObjectPart {
    /// The bytes of the next part are kept for the next attempt.
    fn drop(&mut self) {
        if self.sending.is_empty() && !self.buffer.is_empty() {
            let start = self.durable();
            self.store.keep(self.upload.tag(), (self.opened, start), std::mem::take(&mut self.buffer));
        }
    }
}

impl Part for ObjectPart {
    type Digest = DiskDigest;

    async fn length(&mut self) -> Result<u64, Error> {
        Ok(self.end())
    }

    /// Cuts bytes that are still in memory, or discards all: parts that were sent cannot be cut.
    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        if length == self.end() {
            return Ok(());
        }
        self.settle().await;
        self.states_at_end.clear();
        let sent = self.sent();
        match usize::try_from(length.saturating_sub(sent)) {
            Ok(kept) if (sent..=self.end()).contains(&length) => self.buffer.truncate(kept),
            _ if length == 0 => {
                self.store.ledger().end_upload(self.object.as_str().to_owned(), UploadEnd::Restarted).await?;
                self.upload.parts.clear();
                self.buffer.clear();
                self.states.clear();
                self.lost = None;
                if self.upload.id.take().is_some() {
                    self.upload.generation += 1;
                    self.store.abort_uploads(Some(&self.object)).await?;
                }
            }
            _ => return Err(self.failed("cut", "the bytes there are parts of an upload, or missing")),
        }
        Ok(())
    }

    /// Chooses the size of parts.
    ///
    /// # Errors
    /// `Disk` if no object can be so large.
    async fn reserve(&mut self, size: u64) -> Result<(), Error> {
        if size > LARGEST_OBJECT_BYTES {
            return Err(self.failed("upload", &format!("the file is {size} bytes, and an object has at most 5 TiB")));
        }
        self.size = Some(size);
        Ok(())
    }

    /// Never fails: what cannot be sent is not durable, and the next write or the commit says why.
    async fn flush(&mut self) -> Result<u64, Error> {
        self.settle().await;
        Ok(self.durable())
    }

    fn token(&self) -> PartToken {
        PartToken(self.upload.token.clone())
    }

    fn epoch(&self) -> String {
        EPOCH.to_owned()
    }

    fn rules(&self) -> StoreRules {
        StoreRules { read_back_bytes: 0, truncate: true, durable_unit_bytes: self.part_bytes() }
    }

    async fn is_uniform(&mut self, from: u64, to: u64) -> Result<bool, Error> {
        Ok(to.saturating_sub(from) < 2) // a comparison of nothing, or of one byte, is never made
    }

    /// From the states that the ledger has of the last part, and the bytes in memory after it.
    async fn digest(
        &mut self,
        algorithm: Algorithm,
        saved: Option<&DigestState>,
        to: u64,
    ) -> Result<Option<DiskDigest>, Error> {
        let sent = self.sent();
        let state = self.states.iter().find(|(name, _)| *name == algorithm);
        let state = state.map(|(_, state)| DigestState { offset: sent, state: state.clone() });
        let resumed =
            [saved, state.as_ref()].into_iter().flatten().filter(|state| state.offset >= sent).find_map(|state| {
                let hasher = Hasher::resume(algorithm, state, to)?;
                Some((hasher, state.offset - sent))
            });
        let (mut hasher, from) = match resumed {
            Some(resumed) => resumed,
            None if sent == 0 => (Hasher::new(algorithm), 0),
            None => return Ok(None),
        };
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(bytes) = self.buffer.get(at(from)..at(to.saturating_sub(sent))) else {
            return Ok(None);
        };
        hasher.update(bytes);
        Ok(Some(DiskDigest::new(hasher)))
    }
}

impl PartBytes<&[u8]> for ObjectPart {
    async fn write(&mut self, offset: u64, chunk: &[u8], digests: &mut [DiskDigest]) -> Result<(), Error> {
        self.check()?;
        if offset != self.end() {
            return Err(self.failed("write to", "the write would leave a hole"));
        }
        if self.upload.parts.last().is_some_and(|part| part.size < LEAST_PART_BYTES) && !chunk.is_empty() {
            return Err(self.failed("append to", "its last part is smaller than one that another may follow"));
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let size = self.part_bytes();
            let room = usize::try_from(size.saturating_sub(self.buffer.len() as u64)).unwrap_or(usize::MAX);
            let (piece, after) = rest.split_at(room.min(rest.len()));
            if self.buffer.is_empty() {
                // Grown by doubling, it would have room for much more than a part.
                let left = self.size.map_or(size, |size| size.saturating_sub(self.end())).min(size);
                self.buffer.reserve_exact(usize::try_from(left).unwrap_or_default().max(piece.len()));
            }
            self.buffer.extend_from_slice(piece);
            for digest in digests.iter_mut() {
                digest.update(piece).await;
            }
            rest = after;
            let states = || digests.iter().filter_map(|digest| Some((digest.algorithm(), digest.save()?))).collect();
            if self.buffer.len() as u64 >= size {
                self.send(states()).await?;
            }
            if Some(self.end()) == self.size {
                self.states_at_end = states();
            }
        }
        Ok(())
    }

    /// Nothing can be read back; no bytes are equal to no bytes.
    async fn matches(&mut self, _offset: u64, chunk: &&[u8]) -> Result<bool, Error> {
        Ok(chunk.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_fits_into_ten_thousand_parts_of_a_permitted_size() {
        let gib = 1 << 30;
        for size in [1, 5 << 20, 5 * gib, 48 * gib, 100 * gib, 1024 * gib, LARGEST_OBJECT_BYTES] {
            let part = part_bytes(0, Some(size));
            assert!(part >= LEAST_PART_BYTES && part <= 5 * gib, "{size}: {part}");
            assert!(size.div_ceil(part) <= MOST_PARTS as u64, "{size}: {part}");
            assert_eq!(part, part_bytes(9_000, Some(size)), "all parts have one size");
        }
        assert_eq!(part_bytes(0, Some(48 * gib)), 6 << 20);
        assert!((0..MOST_PARTS).all(|parts| part_bytes(parts, None) <= 5 * gib));
        assert!((0..MOST_PARTS).map(|parts| part_bytes(parts, None)).sum::<u64>() >= LARGEST_OBJECT_BYTES);
    }
}
