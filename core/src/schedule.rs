//! Lets a test run other threads at every lock of the core.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

static SWITCH: OnceLock<fn()> = OnceLock::new();

/// From now on `switch` is called before each lock that the core takes, in this process. It may run other threads: nothing waits for a
/// lock then, so that a scheduler that runs one thread at a time, such as shuttle's, is not blocked.
pub fn switch_at_locks(switch: fn()) {
    SWITCH.get_or_init(|| switch);
}

/// Locks `mutex`, and lets others run until that is possible; `None` if no switch is set.
pub(crate) fn lock_in_turn<T: ?Sized>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    let switch = SWITCH.get()?;
    loop {
        switch();
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(error)) => return Some(PoisonError::into_inner(error)),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}
