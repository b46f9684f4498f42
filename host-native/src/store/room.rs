//! Room for a file: how large it may be, and blocks that are reserved for it.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Checks that the process and the file system allow a file of `size` bytes. The file does not change.
///
/// # Errors
/// The size and the limit.
pub(super) fn check_size(file: &File, size: u64) -> io::Result<()> {
    let of_process = getrlimit(Resource::Fsize).current;
    let limits = [
        (of_process, "this process (ulimit -f)"),
        (longest(file, size), "the file system"),
    ];
    for (limit, whose) in limits {
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            return Err(io::Error::other(format!(
                "the file has {size} bytes, and {whose} allows {limit} bytes for one file"
            )));
        }
    }
    Ok(())
}

/// The length of the longest file, if `size` is longer: the kernel lets nobody seek beyond that (FAT: 4 GiB less one byte).
fn longest(file: &File, size: u64) -> Option<u64> {
    let allows = |length| seek(file, SeekFrom::Start(length)) != Err(Errno::INVAL);
    if allows(size) {
        return None;
    }
    let (mut allowed, mut refused) = (0, size);
    while refused - allowed > 1 {
        let middle = allowed + (refused - allowed) / 2;
        if allows(middle) {
            allowed = middle;
        } else {
            refused = middle;
        }
    }
    Some(allowed)
}

/// fallocate(2), without changing the length. Asking for more than there is would take all of it for a moment, and other
/// files would find the disk full; so the room is looked at first.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    let allocate =
        |size| rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, size));
    let held = file.metadata()?.blocks() * 512;
    let more_than_there_is = rustix::fs::fstatvfs(file).is_ok_and(|system| {
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        system.f_blocks > 0 && size.saturating_sub(held) > free
    });
    if more_than_there_is {
        // A file system that reserves nothing says so here: its free space may mean nothing either.
        allocate(size.min(4096))?;
        return Err(Errno::NOSPC.into());
    }
    Ok(allocate(size)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_no_file_can_have_is_refused_with_the_limit_and_the_file_stays() {
        let file = tempfile::tempfile().unwrap();
        check_size(&file, 1 << 30).unwrap();
        let error = check_size(&file, u64::MAX >> 1).err();
        // On most file systems a file cannot have 2^63 - 1 bytes.
        if let Some(error) = error {
            let text = error.to_string();
            assert!(
                text.contains("9223372036854775807") && text.contains("allows"),
                "{text}"
            );
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
