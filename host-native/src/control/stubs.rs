//! The stubs that are not downloads yet: their release has not arrived.

use regrip_core::shown;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A stub whose release is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingStub {
    /// Its file's name in the watch folder.
    pub stub_name: String,
    /// The peer it names.
    pub peer_id: String,
    /// That peer, as configured; `None` where none is.
    pub peer_name: Option<String>,
    /// The item, as the peer names it.
    pub item_id: String,
    /// The name in the stub, to show.
    pub name: String,
    /// The size in the stub.
    pub size: Option<u64>,
    /// When it was found.
    pub found_at: SystemTime,
    /// How often the peer was asked.
    pub attempts: u32,
    /// How asking went last; `None` where it was not asked yet.
    pub error: Option<String>,
    /// When it is asked again; `None` while it is asked.
    pub next_try_at: Option<SystemTime>,
}

/// All of them, by the stub's name. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Stubs(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    stubs: BTreeMap<String, PendingStub>,
    watch: Option<PathBuf>,
}

impl Stubs {
    /// Puts a stub on the board, in place of what stood there under its name.
    pub fn put(&self, mut stub: PendingStub) {
        stub.name = shown(&stub.name).into_owned();
        self.lock().stubs.insert(stub.stub_name.clone(), stub);
    }

    /// Changes a stub that is on the board.
    pub fn change(&self, stub_name: &str, change: impl FnOnce(&mut PendingStub)) {
        if let Some(stub) = self.lock().stubs.get_mut(stub_name) {
            change(stub);
        }
    }

    /// Asking failed, and is tried again then.
    pub fn failed(&self, stub_name: &str, error: String, next_try_at: Option<SystemTime>) {
        self.change(stub_name, |stub| {
            stub.attempts = stub.attempts.saturating_add(1);
            stub.error = Some(error);
            stub.next_try_at = next_try_at;
        });
    }

    /// Takes a stub off the board: it is a download now, or gone.
    pub fn remove(&self, stub_name: &str) {
        self.lock().stubs.remove(stub_name);
    }

    /// Those on the board, by name, `most` at most.
    pub fn list(&self, most: usize) -> Vec<PendingStub> {
        self.lock().stubs.values().take(most).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().stubs.len()
    }

    /// Says which folder is watched.
    pub fn watch(&self, folder: PathBuf) {
        self.lock().watch = Some(folder);
    }

    /// The folder that is watched, where one is.
    pub fn watch_path(&self) -> Option<PathBuf> {
        self.lock().watch.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
