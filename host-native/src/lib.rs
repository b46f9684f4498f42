//! The native host of regrip: HTTP by surf on a transport of its own, part files, a SQLite ledger, and the command line.
//!
//! A program that downloads files needs [`host::NativeHost`] and its parts: [`transport`] reads a byte from the socket, the
//! core counts it, [`store`] writes it, [`ledger`] records the progress, [`time`] has the clock and [`host::Workers`] the threads.
//! The modules that are not documented here belong to the binary; they are public only for its tests.

#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod control;
mod hooks;
pub mod host;
pub mod ledger;
#[doc(hidden)]
pub mod peers;
#[doc(hidden)]
pub mod serve;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod share;
pub mod store;
mod text_file;
pub mod time;
pub mod transport;

mod sync {
    //! Locks without poisoning: what they guard is consistent at every moment, also after a panic.

    use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
        lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value that may be replaced while it is used: a reader keeps the one it got. Clones share the value.
    #[derive(Debug, Default)]
    pub(crate) struct Replaceable<T>(Arc<RwLock<Arc<T>>>);

    impl<T> Replaceable<T> {
        pub(crate) fn new(value: T) -> Self {
            Replaceable(Arc::new(RwLock::new(Arc::new(value))))
        }

        pub(crate) fn get(&self) -> Arc<T> {
            Arc::clone(&read(&self.0))
        }

        pub(crate) fn replace(&self, value: T) {
            *write(&self.0) = Arc::new(value);
        }
    }

    impl<T> Clone for Replaceable<T> {
        fn clone(&self) -> Self {
            Replaceable(Arc::clone(&self.0))
        }
    }
}
