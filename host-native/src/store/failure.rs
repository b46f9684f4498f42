//! What the system said, as one of the core's errors.

use regrip_core::Error;
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// The error for a call on `path` that failed; `what` completes "cannot … <path>".
pub(super) fn disk(what: &'static str, path: &Path, error: io::Error) -> Error {
    let path = path.display().to_string();
    match errno(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Error::DiskFull {
            path,
            source: Some(error.into()),
        },
        Some(Errno::MFILE | Errno::NFILE) => Error::TooManyFiles {
            source: Some(error.into()),
        },
        _ => Error::Disk {
            what,
            path,
            source: Some(error.into()),
        },
    }
}

/// A part that is not ours to touch.
pub(super) fn foreign(path: &Path) -> Error {
    Error::ForeignPart {
        path: path.display().to_string(),
    }
}

/// The system's number for an error, where it has one.
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_too_many_files_have_errors_of_their_own() {
        let cases = [
            (Errno::NOSPC, "DiskFull"),
            (Errno::DQUOT, "DiskFull"),
            (Errno::MFILE, "TooManyFiles"),
            (Errno::NFILE, "TooManyFiles"),
            (Errno::ROFS, "Disk"),
            (Errno::ACCESS, "Disk"),
            (Errno::IO, "Disk"),
        ];
        for (errno, code) in cases {
            let error = disk("write", Path::new("/f"), errno.into());
            assert_eq!(error.code().as_str(), code, "{errno:?}");
        }
    }
}
