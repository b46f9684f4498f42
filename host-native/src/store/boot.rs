//! What tells one boot of the machine from the next.

use std::hash::{BuildHasher, RandomState};

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
