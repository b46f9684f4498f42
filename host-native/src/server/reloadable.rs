//! A rule of who is let in that changes while the server runs.

use super::access::{Access, Entry, Guard};
use super::reply::Refusal;
use hyper::http::request::Parts;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// An [`Access`] that can be replaced. Clones share it; every request is checked against the one that is in force then.
#[derive(Clone, Debug)]
pub struct ReloadableAccess(Arc<RwLock<Access>>);

impl ReloadableAccess {
    /// In force until it is replaced.
    pub fn new(access: Access) -> ReloadableAccess {
        ReloadableAccess(Arc::new(RwLock::new(access)))
    }

    /// Puts another one in force.
    pub fn replace(&self, access: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = access;
    }
}

impl Guard for ReloadableAccess {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        let access = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Guard::check(&*access, head, from, entry)
    }
}
