//! What is wrong with the server's surroundings: told once when it begins, once when it changes, once when it is over.
//!
//! Such trouble fails no download. What needs the folder, the disk or the file that is in trouble waits, and goes on when it
//! is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All there is, by what it concerns.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<BTreeMap<&'static str, String>>);

impl Troubles {
    /// Something is wrong. It is logged unless it is known.
    pub(super) fn note(&self, what: &'static str, told: &str) {
        let before = self.held().insert(what, told.to_owned());
        if before.as_deref() != Some(told) {
            tracing::error!("{told}");
        }
    }

    /// It is over, if it was there.
    pub(super) fn over(&self, what: &'static str) {
        if let Some(told) = self.held().remove(what) {
            tracing::info!("over: {told}");
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
