//! Detects changes of a file: its version while it is open, its stamp after it was completed, and the boot and mount within
//! which no written byte is lost.
//!
//! Size and mtime can be set back after an edit; ctime cannot. The kernel sets ctime before a write changes a byte, so bytes
//! that were read before the version was looked at, and found unchanged, are bytes of that version. Two writes can leave the
//! same ctime only within one tick of the kernel's clock: nothing is concluded from a version that has
//! [just changed](FileVersion::changed_within).
//!
//! Not seen: bytes written through a memory map until the kernel writes them back, and a single write call that goes on
//! after its ctime has become old.

use super::disk::disk;
use regrip_core::Error;
use regrip_core::store::PartToken;
use rustix::fs::{Stat, fstat};
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const NANOSECONDS: i64 = 1_000_000_000;

/// What identifies a file on its file system, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// As the core and the ledger keep it.
    pub(super) fn token(self) -> PartToken {
        PartToken(format!("{}:{}", self.device, self.inode))
    }

    /// The same of a file without a name. The system may use its inode again once its process is gone, so the token has the
    /// file's birth, if that is known.
    pub(super) fn token_of_unnamed(self, born_ns: Option<u128>) -> PartToken {
        let PartToken(token) = self.token();
        PartToken(born_ns.map_or(token.clone(), |born| format!("{token}:{born}")))
    }
}

/// A version of a file: which file, how long, and when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileVersion {
    /// The file, whatever its name.
    pub id: FileId,
    /// Length in bytes.
    pub size: u64,
    /// Last change of its bytes as the file system reports it, in nanoseconds since 1970; programs can set it.
    pub mtime_ns: i64,
    /// Last change of its bytes, times, owner, mode, names or links, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl FileVersion {
    /// The version of an open file, as far as this machine knows.
    ///
    /// # Errors
    /// The error of the system.
    pub fn of_open(file: &File) -> io::Result<FileVersion> {
        Ok(FileVersion::from(&fstat(file)?))
    }

    /// The version of an open file; of one on a network or FUSE file system, whose attributes are cached, as it is there now.
    ///
    /// # Errors
    /// The error of the system.
    pub fn of_open_now(file: &File) -> io::Result<FileVersion> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::{AtFlags, StatxFlags, statx};
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
            // A kernel or sandbox without statx has fstat.
            if let Ok(stat) = statx(file, c"", flags, StatxFlags::BASIC_STATS) {
                return Ok(FileVersion {
                    id: FileId {
                        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                        inode: stat.stx_ino,
                    },
                    size: stat.stx_size,
                    mtime_ns: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec.into()),
                    ctime_ns: nanoseconds(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec.into()),
                });
            }
        }
        FileVersion::of_open(file)
    }

    /// Returns `true` if the file changed, by either time, less than `age` before or after `now`: it may then change again and keep
    /// its times. Times further in the future were set by hand or by another clock; the next write sets another ctime.
    pub fn changed_within(&self, age: Duration, now: SystemTime) -> bool {
        let now = match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        };
        let is_young = |time_ns: i64| (now - i128::from(time_ns)).unsigned_abs() < age.as_nanos();
        is_young(self.mtime_ns) || is_young(self.ctime_ns)
    }

    /// Returns `true` if nothing but ctime differs: a new link or mode, or an edit whose size and mtime were set back.
    pub fn differs_in_ctime_alone(&self, other: &FileVersion) -> bool {
        let ctime_ns = self.ctime_ns;
        ctime_ns != other.ctime_ns && *self == FileVersion { ctime_ns, ..*other }
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl From<&Metadata> for FileVersion {
    fn from(metadata: &Metadata) -> Self {
        FileVersion {
            id: FileId::from(metadata),
            size: metadata.len(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "these types differ between systems")]
impl From<&Stat> for FileVersion {
    fn from(stat: &Stat) -> Self {
        FileVersion {
            id: FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(NANOSECONDS).saturating_add(nanoseconds)
}

/// Size and time of a file. Two that are equal are taken for the same unchanged file, as make and rsync do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Length in bytes.
    pub size: u64,
    /// Last change of its bytes, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl FileStamp {
    /// The stamp of the regular file at `path`, links not followed; `None` if there is none.
    ///
    /// # Errors
    /// `Disk` if the folder cannot be read.
    pub fn of(path: &Path) -> Result<Option<FileStamp>, Error> {
        let file = metadata(path)?.filter(Metadata::is_file);
        Ok(file.as_ref().map(FileStamp::from))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        let FileVersion { size, mtime_ns, .. } = FileVersion::from(metadata);
        FileStamp { size, mtime_ns }
    }
}

/// When a file was created, in nanoseconds since 1970.
pub(super) fn born_ns(file: &Metadata) -> Option<u128> {
    let born = file.created().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(born.as_nanos())
}

/// Nothing has that name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is at a path, links not followed; `None` if there is nothing.
///
/// # Errors
/// `Disk`.
pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(disk("look at", path, error)),
    }
}

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

    /// Returns `true` if nothing written then is lost. Earlier versions recorded the boot alone.
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
    let known = stat.stx_mask & asked.bits();
    (known != 0).then_some(stat.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_id(_: &File) -> Option<u64> {
    None
}

/// The kernel's boot id. If there is none, something that is new with every start of this process, so that only bytes
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
    use std::os::unix::fs::FileExt;

    const SECOND: Duration = Duration::from_secs(1);

    fn version(mtime_ns: i64, ctime_ns: i64) -> FileVersion {
        FileVersion { id: FileId::default(), size: 10, mtime_ns, ctime_ns }
    }

    #[test]
    fn both_ways_of_asking_give_the_version_that_std_gives() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"film", 0).unwrap();
        let metadata = file.metadata().unwrap();
        let wanted = FileVersion {
            id: FileId { device: metadata.dev(), inode: metadata.ino() },
            size: 4,
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        };
        assert_eq!(FileVersion::of_open(&file).unwrap(), wanted);
        assert_eq!(FileVersion::of_open_now(&file).unwrap(), wanted);
    }

    #[test]
    fn a_file_has_just_changed_by_either_time_and_a_little_in_the_future_too() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let table = [
            (99_000_000_001, 0, true),
            (0, 99_000_000_001, true),
            (100_000_000_000, 0, true),
            (0, 100_999_999_999, true),
            (0, 0, false),
            (99_000_000_000, 99_000_000_000, false),
            (101_000_000_000, 0, false),
            (0, i64::MAX, false),
            (i64::MIN, i64::MIN, false),
            (-1, -1, false),
        ];
        for (mtime_ns, ctime_ns, wanted) in table {
            let version = version(mtime_ns, ctime_ns);
            assert_eq!(version.changed_within(SECOND, now), wanted, "{version:?}");
        }
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_millis(1);
        assert!(version(0, 0).changed_within(SECOND, before_1970));
    }

    #[test]
    fn a_version_differs_in_ctime_alone_if_the_rest_is_equal() {
        let first = version(1, 2);
        assert!(version(1, 3).differs_in_ctime_alone(&first));
        assert!(!first.differs_in_ctime_alone(&first));
        assert!(!version(0, 3).differs_in_ctime_alone(&first));
        let mut longer = version(1, 3);
        longer.size += 1;
        assert!(!longer.differs_in_ctime_alone(&first));
        let mut other = version(1, 3);
        other.id.inode += 1;
        assert!(!other.differs_in_ctime_alone(&first));
    }

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
