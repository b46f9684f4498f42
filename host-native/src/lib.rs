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

mod text_file {
    //! Reads the text files that a user names: a configuration, secrets, keys.
    //!
    //! Invariant: only regular files are opened (links are followed), and a bounded part is read. A pipe or a device at that
    //! path neither blocks a start or a SIGHUP nor fills the memory.

    use rustix::fs::OFlags;
    use std::fs::{File, FileType, OpenOptions};
    use std::io::{self, Read};
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::path::Path;

    /// Reads a regular file of at most `most_bytes` bytes of UTF-8, without a byte order mark before it.
    ///
    /// # Errors
    /// The system's error; `InvalidInput` for anything but a regular file, `FileTooLarge` for a larger one, `InvalidData` if it
    /// is not UTF-8.
    pub(crate) fn read(path: &Path, most_bytes: u64) -> io::Result<String> {
        bounded(open(path)?, most_bytes)
    }

    /// Reads at most `most_bytes` bytes of UTF-8 from an open file.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn bounded(file: impl Read, most_bytes: u64) -> io::Result<String> {
        match String::from_utf8(bytes(file, most_bytes)?) {
            Ok(text) => Ok(without_mark(&text).to_owned()),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")),
        }
    }

    /// Reads at most `most_bytes` bytes from an open file.
    ///
    /// # Errors
    /// The system's error; `FileTooLarge` for a larger one.
    pub(crate) fn bytes(file: impl Read, most_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most_bytes {
            let what = format!("it is larger than {} KiB", most_bytes >> 10);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(bytes)
    }

    fn open(path: &Path) -> io::Result<File> {
        // Opening a device can have effects, so its kind is looked at first, and again on the open file.
        check(std::fs::metadata(path)?.file_type())?;
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        check(file.metadata()?.file_type())?;
        Ok(file)
    }

    fn check(kind: FileType) -> io::Result<()> {
        let what = match kind {
            kind if kind.is_file() => return Ok(()),
            kind if kind.is_dir() => "a folder",
            kind if kind.is_fifo() => "a named pipe",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        };
        let what = format!("it is {what}, expected a regular file");
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }

    /// The text without the byte order mark (U+FEFF) that Windows editors put before it.
    pub(crate) fn without_mark(text: &str) -> &str {
        text.strip_prefix('\u{feff}').unwrap_or(text)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_a_regular_file_within_the_bound_is_read_and_nothing_blocks() {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            std::fs::write(at("key"), "secret").unwrap();
            std::os::unix::fs::symlink("key", at("link")).unwrap();
            let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
            rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), kind, mode, 0).unwrap();
            for name in ["key", "link"] {
                assert_eq!(read(&at(name), 6).unwrap(), "secret", "{name}");
            }
            let refused = [
                (at("key"), 5, "larger than"),
                (at("pipe"), 9, "a named pipe"),
                (folder.path().to_owned(), 9, "a folder"),
                ("/dev/zero".into(), 9, "a device"),
                (at("none"), 9, "No such file"),
            ];
            for (path, most_bytes, why) in refused {
                let error = read(&path, most_bytes).unwrap_err().to_string();
                assert!(error.contains(why), "{path:?}: {error}");
            }
        }
    }
}
