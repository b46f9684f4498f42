//! What is wrong with the server's surroundings: told once when it begins, once when it changes, once when it is over.
//!
//! Such trouble fails no download. What needs the folder, the disk or the file that is in trouble waits, and goes on when it
//! is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it concerns: `watch folder`, `completed folder`, `configuration`, and the like.
    pub what: &'static str,
    /// What is wrong, in one line.
    pub told: String,
    /// Since when something is wrong with it.
    pub since: SystemTime,
}

/// All there is, by what it concerns. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<&'static str, Trouble>>>);

impl Troubles {
    /// Something is wrong. It is logged unless it is known.
    pub fn note(&self, what: &'static str, told: &str) {
        let mut held = self.held();
        let known = held.get(what);
        if known.is_some_and(|known| known.told == told) {
            return;
        }
        tracing::error!("{told}");
        let since = known.map_or_else(SystemTime::now, |known| known.since);
        let told = told.to_owned();
        held.insert(what, Trouble { what, told, since });
    }

    /// It is over, if it was there.
    pub fn over(&self, what: &'static str) {
        if let Some(trouble) = self.held().remove(what) {
            tracing::info!("over: {}", trouble.told);
        }
    }

    /// All there is now.
    pub fn list(&self) -> Vec<Trouble> {
        self.held().values().cloned().collect()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
