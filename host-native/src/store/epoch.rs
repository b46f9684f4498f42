//! The span within which no written byte of a file is lost: one boot of the machine, and one mount of the file system.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// The boot, and the mount of one file if the kernel names it.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    boot_id: Arc<str>,
    mount: Option<u64>,
}

impl Epoch {
    pub(super) fn of(file: &File, boot_id: Arc<str>) -> Self {
        let mount = mount_id(file);
        Epoch { boot_id, mount }
    }

    /// As the ledger keeps it, in the column `boot_id`.
    pub(super) fn current(&self) -> String {
        match self.mount {
            Some(mount) => format!("{} mount {mount}", self.boot_id),
            None => self.boot_id.to_string(),
        }
    }

    /// Whether nothing written then is lost. Earlier versions recorded the boot alone.
    pub(super) fn is(&self, recorded: &str) -> bool {
        recorded == self.current() || recorded == &*self.boot_id
    }
}

/// The mount that a file is on. From Linux 6.8 on the id is never used twice; before that, a file system that was mounted
/// again may have got the same one.
#[cfg(target_os = "linux")]
fn mount_id(file: &File) -> Option<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    /// `STATX_MNT_ID_UNIQUE` of `linux/stat.h`.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let asked = StatxFlags::MNT_ID.union(UNIQUE);
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, asked).ok()?;
    let told = stat.stx_mask & asked.bits();
    (told != 0).then_some(stat.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_id(_: &File) -> Option<u64> {
    None
}

/// The kernel's boot id. Where there is none, something that is new with every start of this process, so that only bytes
/// known to be durable count after it.
pub(super) fn boot_id() -> String {
    from_kernel("/proc/sys/kernel/random/boot_id").unwrap_or_else(of_this_process)
}

fn from_kernel(path: &str) -> Option<String> {
    let id = std::fs::read_to_string(path).ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

fn of_this_process() -> String {
    // `RandomState` draws its keys from the system's entropy.
    let random = RandomState::new().hash_one(std::process::id());
    format!("process-{}-{random:016x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_kernel_id_no_two_starts_look_like_one_boot() {
        assert_eq!(from_kernel("/no/such/file"), None);
        assert_ne!(of_this_process(), of_this_process());
    }

    #[test]
    fn the_kernels_id_is_the_same_within_one_boot() {
        assert_eq!(boot_id(), boot_id());
    }
}
