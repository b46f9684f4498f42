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
