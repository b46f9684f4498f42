//! Locking a mutex under which nothing can panic halfway through a change.

use std::sync::PoisonError;
// `tests/loom` compiles the semaphore with loom's types of the same names.
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

/// Locks `mutex`, also after a panic elsewhere while it was held: what it guards is whole all the same.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
