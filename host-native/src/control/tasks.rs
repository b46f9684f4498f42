//! The downloads that are driven now, one drive each.
//!
//! A drive is asked for after the ledger says that there is something to drive. Where one is under way at that moment, it
//! may have read the row before: so the asking is remembered, and the row is looked at again when the drive has ended.

use regrip_core::{DownloadId, Error, Summary};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a drive ended.
#[derive(Debug)]
pub struct End {
    /// The download.
    pub id: DownloadId,
    /// What it came to. `Interrupted` where the process ends: it is not over then.
    pub result: Result<Summary, Error>,
}

/// Is told of every end, in the drive's own task: must not block, and spawns what takes long.
pub(super) type Hook = Arc<dyn Fn(&End) + Send + Sync>;

/// A drive under way.
struct Drive {
    /// It was asked for once more.
    again: bool,
    /// Closes when it is gone.
    _gone: Sender<Infallible>,
    going: Receiver<Infallible>,
}

#[derive(Default)]
struct State {
    drives: HashMap<DownloadId, Drive>,
    hooks: Vec<Hook>,
    ending: bool,
}

/// The table.
#[derive(Default)]
pub(super) struct Drives(Mutex<State>);

impl fmt::Debug for Drives {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Drives({})", self.count())
    }
}

impl Drives {
    /// Whether the caller is to drive it; else somebody does, or everything ends.
    pub(super) fn enter(&self, id: DownloadId) -> bool {
        let mut state = self.lock();
        if state.ending {
            return false;
        }
        if let Some(drive) = state.drives.get_mut(&id) {
            drive.again = true;
            return false;
        }
        let (gone, going) = bounded(1);
        let drive = Drive {
            again: false,
            _gone: gone,
            going,
        };
        state.drives.insert(id, drive);
        true
    }

    /// Leaves the table, unless a drive was asked for meanwhile; whether it left.
    pub(super) fn leave(&self, id: DownloadId) -> bool {
        let mut state = self.lock();
        let again = match state.drives.get_mut(&id) {
            Some(drive) => std::mem::take(&mut drive.again),
            None => false,
        };
        if again && !state.ending {
            return false;
        }
        state.drives.remove(&id);
        true
    }

    /// Leaves the table, whatever was asked for. For a drive that was dropped.
    pub(super) fn drop_out(&self, id: DownloadId) {
        self.lock().drives.remove(&id);
    }

    /// What closes when the drive of a download is gone; `None` where there is none.
    pub(super) fn going(&self, id: DownloadId) -> Option<Receiver<Infallible>> {
        let state = self.lock();
        state.drives.get(&id).map(|drive| drive.going.clone())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().drives.len()
    }

    /// No more from now on.
    pub(super) fn end(&self) {
        self.lock().ending = true;
    }

    /// Adds a hook.
    pub(super) fn hook(&self, hook: Hook) {
        self.lock().hooks.push(hook);
    }

    /// Tells every hook. Not under the lock: a hook may ask for a drive.
    pub(super) fn tell(&self, end: &End) {
        let hooks = self.lock().hooks.clone();
        for hook in hooks {
            hook(end);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
