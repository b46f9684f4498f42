//! SHA-256s of what is shared, computed in the background and kept in the ledger.
//!
//! Invariant: a digest belongs to the version that the open file had before the first byte was read and after the last, and
//! it is handed out for that version only. A restart reads no file again whose version is still the recorded one.
//!
//! A version that differs in ctime alone may have the same bytes (a link was made) or others (size and mtime were set back).
//! Only hashing again can distinguish them. An equal digest keeps the ETag, so that a peer goes on with what it has.

use super::inventory::Item;
use super::state::Shelf;
use super::validators::{Validators, is_held};
use super::validators::{etag, is_settled, validators};
use crate::ledger::{SharedDigest, SharedDigests};
use crate::store::FileVersion;
use crate::sync::lock;
use async_io::Timer;
use hyper::HeaderMap;
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use regrip_core::store::Digest;
use smol::future::FutureExt;
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// What is read at once.
const STEP_BYTES: usize = 1 << 20;
/// How often a file that has just changed is looked at until it can be hashed.
const UNTIL_SETTLED: Duration = Duration::from_millis(250);
/// How long peers are asked to wait for a hash that may keep the ETag: two or three of their attempts. A file that is not
/// hashed by then is sent with an ETag of its own.
const HASH_WITHIN: Duration = Duration::from_secs(4);
/// Whoever holds that ETag has more to lose, and waits for about as long as hashing takes.
const HASHED_A_SECOND: u64 = 100 << 20;
/// At most three waits of a minute: peers try five times.
const HELD_WITHIN: Duration = Duration::from_secs(180);
/// When peers are asked to come again, at the earliest and at the latest.
pub(super) const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(60);
/// How long a request waits for what the ledger has.
const RECALL_WITHIN: Duration = Duration::from_secs(1);
/// The lowest priority there is; Linux derives the one for the disk from it.
const NICEST: i32 = 19;

/// The digests known by now, by item.
#[derive(Debug)]
pub(super) struct Digests {
    known: Mutex<HashMap<String, KnownDigest>>,
    ledger: Box<dyn SharedDigests>,
    again: SyncSender<Option<Arc<Item>>>,
}

/// What is known of an item; nothing if no digest of it was ever computed.
#[derive(Debug, Default)]
struct KnownDigest {
    digest: Option<SharedDigest>,
    /// Since when peers ask for a version that differs in ctime alone from the hashed one, and which.
    doubted: Option<(FileVersion, Instant)>,
}

/// What a version of a file is sent with.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) validators: Validators,
    /// Lower-case hex.
    pub(super) sha256: Option<String>,
}

impl Digests {
    /// `again` is how requests have a file hashed at once, and how the thread that does it is woken to end.
    pub(super) fn new(ledger: Box<dyn SharedDigests>, again: SyncSender<Option<Arc<Item>>>) -> Digests {
        Digests { known: Mutex::default(), ledger, again }
    }

    /// The digest of an item whose file is this version, lower-case hex.
    pub(super) fn of(&self, id: &str, version: &FileVersion) -> Option<String> {
        let known = lock(&self.known);
        let digest = known.get(id)?.digest.as_ref()?;
        (digest.version == *version).then(|| digest.sha256.clone())
    }

    /// What a version of an item's file is sent with to a request with these headers.
    ///
    /// # Errors
    /// When to ask again: a hash is under way that may keep the ETag.
    pub(super) async fn describe(
        &self,
        item: &Arc<Item>,
        version: &FileVersion,
        now: SystemTime,
        headers: &HeaderMap,
    ) -> Result<Described, Duration> {
        // Without the ledger's answer the version has an ETag of its own, which is right too.
        let late = async {
            Timer::after(RECALL_WITHIN).await;
        };
        self.recall(item).or(late).await;
        let mut known = lock(&self.known);
        let known = known.entry(item.id.clone()).or_default();
        let of_it = known.digest.as_ref();
        if let Some(digest) = of_it.filter(|digest| digest.version == *version) {
            return Ok(Described {
                validators: validators(version, Some(digest.etag.clone()), now),
                sha256: Some(digest.sha256.clone()),
            });
        }
        if let Some(digest) = of_it.filter(|digest| version.differs_in_ctime_alone(&digest.version)) {
            let within = hash_within(version.size, is_held(headers, &digest.etag));
            let since = match known.doubted {
                Some((doubted, since)) if doubted == *version => since,
                _ => {
                    // If the queue is full, the next pass hashes it.
                    let _ = self.again.try_send(Some(Arc::clone(item)));
                    let since = Instant::now();
                    known.doubted = Some((*version, since));
                    since
                }
            };
            let left = within.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Err(ask_again_after(left));
            }
        }
        Ok(Described { validators: validators(version, None, now), sha256: None })
    }

    /// Wakes the thread that hashes again, to end.
    pub(super) fn wake(&self) {
        // If the queue is full, the thread is awake, and checks before it takes the next.
        let _ = self.again.try_send(None);
    }

    /// Forgets items that are shared no more.
    pub(super) fn retain(&self, is_shared: impl Fn(&str) -> bool) {
        lock(&self.known).retain(|id, _| is_shared(id));
    }

    /// Takes up what the ledger has of an item, unless something is known already. A ledger that cannot be read costs another
    /// hashing and nothing else.
    async fn recall(&self, item: &Item) {
        if lock(&self.known).contains_key(&item.id) {
            return;
        }
        if let Ok(digest) = self.ledger.shared_digest(key(item)).await {
            let doubted = None;
            let recalled = KnownDigest { digest, doubted };
            lock(&self.known).entry(item.id.clone()).or_insert(recalled);
        }
    }

    /// How far an item is from being known: 0 if it is, 1 if a hash may keep its ETag, else 2.
    fn distance(&self, item: &Item) -> u8 {
        let known = lock(&self.known);
        let digest = known.get(&item.id).and_then(|known| known.digest.as_ref());
        match digest {
            Some(digest) if digest.version == item.version => 0,
            Some(digest) if item.version.differs_in_ctime_alone(&digest.version) => 1,
            _ => 2,
        }
    }

    /// Records a digest, with the ETag of the previous version if only ctime differs and the digests are equal.
    fn record(&self, item: &Item, version: FileVersion, sha256: String) {
        let digest = {
            let mut known = lock(&self.known);
            let known = known.entry(item.id.clone()).or_default();
            let kept = known.digest.take().filter(|before| {
                let same = before.version == version || version.differs_in_ctime_alone(&before.version);
                same && before.sha256 == sha256
            });
            let etag = kept.map_or_else(|| etag(&version), |before| before.etag);
            let digest = SharedDigest { version, sha256, etag };
            *known = KnownDigest { digest: Some(digest.clone()), doubted: None };
            digest
        };
        // If it cannot be written, the digest is known until the next start.
        let _ = smol::block_on(self.ledger.note_shared_digest(key(item), digest));
    }
}

/// How long a request may wait for the hash of a file of this size.
fn hash_within(size: u64, holds_the_etag: bool) -> Duration {
    let hashing = Duration::from_secs(size / HASHED_A_SECOND);
    match holds_the_etag {
        true => HELD_WITHIN.min(HASH_WITHIN + hashing),
        false => HASH_WITHIN,
    }
}

fn ask_again_after(left: Duration) -> Duration {
    match left > HASH_WITHIN {
        true => left.min(LATE),
        false => SOON,
    }
}

fn key(item: &Item) -> Vec<u8> {
    item.root.join(&item.path).as_os_str().as_bytes().to_vec()
}

/// Goes through all items once: first takes up what is recorded, then hashes the others, those first whose ETag that may keep.
pub(super) fn pass(shelf: &Shelf) {
    let inventory = shelf.inventory();
    let mut unknown: Vec<(u8, &Arc<Item>)> = inventory
        .items()
        .iter()
        .take_while(|_| !shelf.stop.is_stopped())
        .map(|item| {
            smol::block_on(shelf.digests.recall(item));
            (shelf.digests.distance(item), item)
        })
        .filter(|(distance, _)| *distance > 0)
        .collect();
    unknown.sort_by_key(|(distance, _)| *distance);
    for (_, item) in unknown {
        if shelf.stop.is_stopped() {
            return;
        }
        hash(shelf, item);
    }
}

/// Hashes the files that requests wait for, until the share stops.
pub(super) fn hash_again(shelf: &Shelf, asked: &Receiver<Option<Arc<Item>>>) {
    lower_priority();
    while let Ok(item) = asked.recv() {
        if shelf.stop.is_stopped() {
            return;
        }
        if let Some(item) = item {
            hash(shelf, &item);
        }
    }
}

/// The thread that hashes gives way to everything else.
pub(super) fn lower_priority() {
    // A system that refuses lets it run as the others do.
    let _ = rustix::process::setpriority_process(None, NICEST);
}

/// Hashes the file of an item. One that is gone, unreadable or changed meanwhile is for the next pass.
fn hash(shelf: &Shelf, item: &Item) {
    if let Ok(Some((version, sha256))) = digest(shelf, item) {
        shelf.digests.record(item, version, sha256);
    }
}

/// Reads a file in steps and rests after each as long as it took, so that it takes half of the disk at most.
fn digest(shelf: &Shelf, item: &Item) -> io::Result<Option<(FileVersion, String)>> {
    let (mut file, version) = shelf.open(item)?;
    if shelf.digests.of(&item.id, &version).is_some() {
        return Ok(None);
    }
    while !is_settled(&version, SystemTime::now()) {
        if !shelf.stop.rest(UNTIL_SETTLED) {
            return Ok(None);
        }
    }
    if FileVersion::of_open_now(&file)? != version {
        return Ok(None); // it is still being written
    }
    let mut digest = Hasher::new(Algorithm::Sha256);
    let mut step = vec![0; STEP_BYTES];
    loop {
        let begun = Instant::now();
        match file.read(&mut step) {
            Ok(0) => break,
            Ok(read) => digest.update(&step[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !shelf.stop.rest(begun.elapsed()) {
            return Ok(None);
        }
    }
    let unchanged = FileVersion::of_open_now(&file)? == version;
    Ok(unchanged.then(|| (version, digest.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_the_etag_of_a_large_file_waits_for_its_hash_within_four_tries() {
        let seconds = Duration::from_secs;
        let table = [
            (1_000_000, false, 4),
            (1_000_000, true, 4),
            (1 << 40, false, 4),
            (1000 << 20, true, 14),
            (1 << 40, true, 180),
        ];
        for (size, holds, wanted) in table {
            assert_eq!(hash_within(size, holds), seconds(wanted), "{size} {holds}");
        }
        for within in [4, 5, 14, 60, 61, 119, 121, 180] {
            let (mut left, mut tries) = (seconds(within), 0);
            while !left.is_zero() {
                let wait = ask_again_after(left);
                assert!(wait >= SOON && wait <= LATE, "{left:?}");
                left = left.saturating_sub(wait);
                tries += 1;
            }
            assert!(tries <= 4, "{within}: {tries}");
        }
    }
}
