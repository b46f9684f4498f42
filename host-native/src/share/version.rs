//! Which version of a file is open: what its validators are made from.

use crate::store::FileStamp;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// A file's time moves in ticks of the kernel's clock: within the newest ones it may change again and keep its time.
const TICKS: Duration = Duration::from_secs(1);
/// `Last-Modified` has seconds. It proves a version only if it is so much older than the reply's Date (RFC 9110 §8.8.2.2).
const DATES_APART: Duration = Duration::from_secs(60);

/// One version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) stamp: FileStamp,
    device: u64,
    inode: u64,
}

impl Version {
    /// The version of an open file.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn of(file: &File) -> io::Result<Version> {
        let metadata = file.metadata()?;
        Ok(Version {
            stamp: FileStamp::from(&metadata),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// The ETag: strong, unless the file changed just now (then it may again, unseen).
    pub(super) fn etag(&self, now: SystemTime) -> String {
        let mut hash = Sha256::new();
        hash.update(self.device.to_be_bytes());
        hash.update(self.inode.to_be_bytes());
        hash.update(self.stamp.size.to_be_bytes());
        hash.update(self.stamp.mtime_ns.to_be_bytes());
        let tag: String = hash.finalize()[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if self.is_older_than(TICKS, now) {
            format!("\"{tag}\"")
        } else {
            format!("W/\"{tag}\"")
        }
    }

    /// The Last-Modified; none for a file from before 1970 or, against RFC 9110 §8.8.2.1, from the future.
    pub(super) fn last_modified(&self, now: SystemTime) -> Option<String> {
        let changed = self.changed()?;
        (changed <= now).then(|| httpdate::fmt_http_date(changed))
    }

    /// Whether an `If-Range` names this version, by a validator strong enough (RFC 9110 §13.1.5).
    pub(super) fn is_named_by(&self, if_range: &str, now: SystemTime) -> bool {
        if if_range.starts_with('"') {
            return if_range == self.etag(now);
        }
        // Compared as text: it is the date we sent, or it is not.
        self.is_older_than(DATES_APART, now) && self.last_modified(now).as_deref() == Some(if_range)
    }

    fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let changed = self.changed();
        // A time in the future was set by hand; the next write sets another one.
        changed.is_none_or(|changed| {
            now.duration_since(changed).is_ok_and(|since| since >= age) || changed > now
        })
    }

    fn changed(&self) -> Option<SystemTime> {
        let since = Duration::from_nanos(u64::try_from(self.stamp.mtime_ns).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn version(mtime_ns: i64) -> Version {
        Version {
            stamp: FileStamp { size: 10, mtime_ns },
            device: 1,
            inode: 2,
        }
    }

    #[test]
    fn every_part_of_a_version_shows_in_its_etag() {
        let first = version(5_000_000_001);
        let mut others = [first; 4];
        others[0].stamp.mtime_ns += 1;
        others[1].stamp.size += 1;
        others[2].inode += 1;
        others[3].device += 1;
        for other in others {
            assert_ne!(other.etag(at(1000)), first.etag(at(1000)));
        }
        assert_eq!(version(5_000_000_001).etag(at(9)), first.etag(at(1000)));
    }

    #[test]
    fn an_etag_is_weak_while_the_file_may_change_within_a_tick() {
        let version = version(100_000_000_000);
        assert!(version.etag(at(100)).starts_with("W/\""));
        assert!(version.etag(at(101)).starts_with('"'));
        assert!(version.etag(at(50)).starts_with('"'));
        assert!(!version.is_named_by(&version.etag(at(100)), at(100)));
        assert!(!version.is_named_by(&version.etag(at(101)), at(100)));
        assert!(version.is_named_by(&version.etag(at(101)), at(102)));
    }

    #[test]
    fn a_date_names_a_version_only_when_it_is_exact_and_old_enough() {
        let version = version(100_500_000_000);
        let date = version.last_modified(at(1000)).unwrap();
        let table = [
            (date.as_str(), 161, true),
            (date.as_str(), 160, false),
            ("Thu, 01 Jan 1970 00:01:41 GMT", 1000, false),
            ("Thu, 01 Jan 1970 00:01:39 GMT", 1000, false),
            ("rubbish", 1000, false),
            ("", 1000, false),
        ];
        for (given, now, named) in table {
            assert_eq!(
                version.is_named_by(given, at(now)),
                named,
                "{given} at {now}"
            );
        }
        assert_eq!(version.last_modified(at(99)), None);
    }
}
