//! Downloads files over unreliable links: [`download`].
//!
//! ```no_run
//! # async fn example() -> Result<(), regrip::DownloadError> {
//! let file = regrip::download("https://host/film.mkv", "films/film.mkv").await?;
//! assert_eq!(file.path.file_name(), Some("film.mkv".as_ref()));
//! # Ok(())
//! # }
//! ```
//!
//! If the connection drops, it waits, reconnects and continues; after a crash the next call continues. A file is always one version
//! that the server had, and gets its name only when it is complete.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | none | [`download`]; the record is in memory |
//! | `sqlite` | the record is the command's state file, so later processes and `regrip list` know the download |
//! | `cli` (default) | the command `regrip` with its server, API, shares and peers; includes `sqlite` |
//! | `fleet` | object storage, and a ledger in Postgres; includes `cli` |
//! | `demo` (default) | `regrip demo`, with a fault server in the binary; includes `cli` |
//!
//! A library wants `default-features = false, features = ["sqlite"]`. Without `sqlite` a download resumes within its process. In a
//! later process its part file is not in the record: the call fails with [`Error::ForeignPart`] and leaves it as it is, unless
//! [`adopt_part`](DownloadRequest::adopt_part) is set. Then it resumes once the last bytes of the part were compared with the
//! server's, instead of by its ETag. Lost are also: which files are complete since an earlier process, the attempts made so far,
//! the state of digests (the part is read again), and the repair of a commit that a crash interrupted. Locks, validators and
//! checks within the process are the same.
//!
//! # A host of your own
//!
//! A program that runs the [engine](regrip_core::Engine) itself needs [`host::NativeHost`] and its parts: [`transport`] reads a byte
//! from the socket, the core counts it, [`store`] writes it, [`ledger`] records the progress, [`time`] has the clock and
//! [`host::Workers`] the threads. The modules that are not documented here belong to the binary; they are public only for its tests.
// Without the command, parts of the store, the transport and the ledger have no caller.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unreachable_pub, unused_imports))]

mod accept;
mod address;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod api;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod cli;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod config;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod control;
mod download;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod fuzzed;
#[cfg(feature = "cli")]
mod hooks;
pub mod host;
pub mod ledger;
mod limits;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod peers;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod serve;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod server;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod share;
#[cfg(feature = "sqlite")]
mod state;
pub mod store;
mod text_file;
pub mod time;
pub mod transport;

pub use download::{DownloadError, DownloadRequest, Downloaded, download};
pub use regrip_core::{Checksum, Connections, Error, OnExists, RetryPolicy};

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
