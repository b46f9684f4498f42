//! Where a download's file and its part go.
//!
//! Decides names only. Whether a stranger's name is safe is decided before, where it comes in.

use super::failure::disk;
use regrip_core::Error;
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest file name, in bytes (`NAME_MAX`).
pub(crate) const NAME_BYTES: usize = 255;
const SUFFIX: &str = ".part";
const LOCK_SUFFIX: &str = ".lock";
/// Longer "extensions" are not one, and would leave no room.
const EXTENSION_BYTES: usize = 64;

/// The one absolute path of `name` in `dir`: `./`, `..` and links in `dir` are resolved, so that two ways to write one
/// destination give one key.
///
/// # Errors
/// `NameRefused` where `name` is not the name of a file in `dir`; `Disk` where `dir` cannot be resolved or is not UTF-8.
pub fn destination(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let why = match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it names a folder"),
        _ if name.contains('/') => Some("it has a path in it"),
        _ if name.contains('\0') => Some("it has a NUL in it"),
        _ if name.len() > NAME_BYTES => Some("it is longer than 255 bytes"),
        _ => None,
    };
    if let Some(why) = why {
        let name = name.to_owned();
        return Err(Error::NameRefused { name, why });
    }
    let here = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let folder = here
        .canonicalize()
        .map_err(|error| disk("find", here, error))?;
    // The ledger keeps paths as text.
    if folder.to_str().is_none() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
        return Err(disk("use", &folder, source));
    }
    Ok(folder.join(name))
}

/// `<destination>.part`. Where that name would exceed 255 bytes, the SHA-256 of the file's name, its extension and `.part`.
pub fn part_path(destination: &Path) -> PathBuf {
    let name = destination.file_name().unwrap_or_default();
    destination.with_file_name(part_name(name))
}

/// `<part>.lock`. Where that name with two times `.new` would exceed 255 bytes, the SHA-256 of the part's name and `.lock`.
pub(super) fn lock_path(part: &Path) -> PathBuf {
    let mut name = part.file_name().unwrap_or_default().to_owned();
    if name.len() + LOCK_SUFFIX.len() + 2 * ".new".len() > NAME_BYTES {
        name = hex(&Sha256::digest(name.as_bytes())).into();
    }
    name.push(LOCK_SUFFIX);
    part.with_file_name(name)
}

fn part_name(name: &OsStr) -> OsString {
    if name.len() + SUFFIX.len() <= NAME_BYTES {
        return [name, OsStr::new(SUFFIX)].into_iter().collect();
    }
    let mut short = OsString::from(hex(&Sha256::digest(name.as_bytes())));
    let extension = Path::new(name).extension();
    if let Some(extension) = extension.filter(|extension| extension.len() <= EXTENSION_BYTES) {
        short.push(".");
        short.push(extension);
    }
    short.push(SUFFIX);
    short
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes all that is written to it
        text
    })
}
