//! Locks a mutex that stays consistent even if a thread panics while holding it.

use std::sync::PoisonError;
// `tests/loom` compiles the semaphore with loom's types of the same names.
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

/// Locks `mutex` and ignores poisoning: no code panics halfway through a change of the value it guards.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(feature = "testing")]
    if let Some(guard) = crate::schedule::lock_in_turn(mutex) {
        return guard;
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
