//! The configuration in force. A reload puts another one in its place.

use crate::config::Config;
use std::sync::{Arc, PoisonError, RwLock};

/// The configuration in force. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Settings(Arc<RwLock<Arc<Config>>>);

impl Settings {
    pub(super) fn new(config: Config) -> Settings {
        Settings(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// As it is now.
    pub(super) fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}
