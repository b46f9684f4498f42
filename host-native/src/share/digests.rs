//! SHA-256s of what is shared, computed in the background and kept in the ledger.
//!
//! Invariant: a digest belongs to a stamp (size and time) that the open file had before the first byte was read and after
//! the last, and it is handed out for that stamp only. A restart reads no file again whose stamp is still the recorded one.

use super::catalogue::Item;
use super::shelf::Shelf;
use super::tree;
use crate::ledger::SqliteLedger;
use crate::store::{FileStamp, Sha256Digest};
use regrip_core::store::Digest;
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What is read at once.
const STEP_BYTES: usize = 1 << 20;
/// A file that changed within this is still being written, or could change and keep its time.
const SETTLED: Duration = Duration::from_secs(2);
/// The lowest priority there is; Linux derives the one for the disk from it.
const NICEST: i32 = 19;

/// The digests known by now, by item.
#[derive(Debug)]
pub(super) struct Digests {
    known: Mutex<HashMap<String, (FileStamp, String)>>,
    ledger: SqliteLedger,
}

impl Digests {
    pub(super) fn new(ledger: SqliteLedger) -> Digests {
        Digests {
            known: Mutex::default(),
            ledger,
        }
    }

    /// The digest of an item whose file has this stamp, lower-case hex.
    pub(super) fn of(&self, id: &str, stamp: FileStamp) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, sha256) = known.get(id)?;
        (*of == stamp).then(|| sha256.clone())
    }

    fn note(&self, id: &str, stamp: FileStamp, sha256: String) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), (stamp, sha256));
    }

    /// Forgets items that are shared no more.
    pub(super) fn retain(&self, is_shared: impl Fn(&str) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| is_shared(id));
    }

    /// Takes up what the ledger has of an item; whether that was its digest.
    fn recall(&self, item: &Item) -> bool {
        if self.of(&item.id, item.stamp()).is_some() {
            return true;
        }
        let recorded = smol::block_on(self.ledger.shared_digest(key(item)));
        match recorded {
            Ok(Some((stamp, sha256))) if stamp == item.stamp() => {
                self.note(&item.id, stamp, sha256);
                true
            }
            // A ledger that cannot be read costs another hashing and nothing else.
            _ => false,
        }
    }

    fn record(&self, item: &Item, stamp: FileStamp, sha256: String) {
        self.note(&item.id, stamp, sha256.clone());
        // Nor does one that cannot be written: the digest is known until the next start.
        let _ = smol::block_on(self.ledger.note_shared_digest(key(item), stamp, sha256));
    }
}

fn key(item: &Item) -> Vec<u8> {
    item.root.join(&item.path).as_os_str().as_bytes().to_vec()
}

/// Goes through all items once: first those whose digests are recorded, then the others, file by file.
pub(super) fn pass(shelf: &Shelf) {
    let catalogue = shelf.catalogue();
    let unknown: Vec<&Arc<Item>> = catalogue
        .items()
        .iter()
        .take_while(|_| !shelf.stop.was_told())
        .filter(|item| !shelf.digests.recall(item))
        .collect();
    for item in unknown {
        if shelf.stop.was_told() {
            return;
        }
        // One that is gone, unreadable or changed meanwhile is for the next pass.
        if let Ok(Some((stamp, sha256))) = digest(shelf, item) {
            shelf.digests.record(item, stamp, sha256);
        }
    }
}

/// The thread that hashes gives way to everything else.
pub(super) fn lower_priority() {
    // A system that refuses lets it run as the others do.
    let _ = rustix::process::setpriority_process(None, NICEST);
}

/// Reads a file in steps and rests after each as long as it took, so that it takes half of the disk at most.
fn digest(shelf: &Shelf, item: &Item) -> io::Result<Option<(FileStamp, String)>> {
    let mut file = tree::open_file(&item.root, &item.path)?;
    let stamp = FileStamp::of_open(&file)?;
    if !settles(shelf, stamp) {
        return Ok(None);
    }
    let mut digest = Sha256Digest::default();
    let mut step = vec![0; STEP_BYTES];
    loop {
        let begun = Instant::now();
        match file.read(&mut step) {
            Ok(0) => break,
            Ok(read) => digest.take(&step[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !shelf.stop.rest(begun.elapsed()) {
            return Ok(None);
        }
    }
    let unchanged = FileStamp::of_open(&file)? == stamp;
    Ok(unchanged.then(|| (stamp, digest.finish())))
}

/// Waits until the file is [`SETTLED`]; false when the shelf is told to stop first.
fn settles(shelf: &Shelf, stamp: FileStamp) -> bool {
    let changed = Duration::from_nanos(u64::try_from(stamp.mtime_ns).unwrap_or_default());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let age = now.unwrap_or_default().checked_sub(changed);
    // A time in the future was set by hand.
    let wait = age.map_or(Duration::ZERO, |age| SETTLED.saturating_sub(age));
    shelf.stop.rest(wait)
}
