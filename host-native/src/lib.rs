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
#[cfg(feature = "cli")]
mod hooks;
pub mod host;
pub mod ledger;
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

#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod fuzzed {
    //! Parsers of strangers' bytes that are private otherwise, for `tests/fuzz`.
    //!
    //! They are public for that only, and may change with every release.

    use crate::address::{self, ChecksumList};
    use crate::cli::metalink;
    use crate::peers::Release;
    use regrip_core::Error;

    /// A release as a peer answers it.
    ///
    /// # Errors
    /// As the download of its item.
    pub fn release(json: &[u8]) -> Result<Release, Error> {
        let value = serde_json::from_slice(json).map_err(|error| Error::Protocol(error.to_string()))?;
        Release::read(value)
    }

    /// The files of a Metalink document, each with its sources; none if the document is refused.
    pub fn metalink(text: &str) -> Vec<(String, Vec<String>)> {
        let files = metalink::parse(text).unwrap_or_default();
        files.into_iter().flatten().map(|file| (file.name, file.urls)).collect()
    }

    /// A URL without its userinfo, and the name of the file that it gives.
    pub fn url(typed: &str) -> Option<(url::Url, Option<String>)> {
        let (url, _) = address::parse_url(typed).ok()?;
        let name = address::file_name(&url).ok().map(|name| name.to_string());
        Some((url, name))
    }

    /// The number of digests that a list of checksums has for a name.
    pub fn checksums(text: &str, name: &str) -> Option<usize> {
        ChecksumList::parse(text).ok()?.of(&[name], true).ok().map(|found| found.len())
    }

    /// The URL of a download that is asked for by the API.
    pub fn asked_download(json: &[u8]) -> Option<String> {
        crate::api::read_wish(json)
    }

    /// The bytes of the fields and files of a form, as the download client's API reads it.
    pub fn form(kind: &str, body: &[u8]) -> Option<usize> {
        crate::api::read_form(kind, body)
    }
}
