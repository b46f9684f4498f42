//! The validators of a version of a file.

use super::conditions::{Validators, whole_seconds};
use crate::store::FileVersion;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// A file that changed within this is not sent: timestamps move in ticks, and it may change again and keep its own.
const SETTLED: Duration = Duration::from_secs(1);
/// The same for whole seconds: the tick of FAT is two of them.
const SETTLED_COARSE: Duration = Duration::from_secs(2);

/// Whether a version is old enough that the next one will differ from it.
pub(super) fn is_settled(version: &FileVersion, now: SystemTime) -> bool {
    let is_whole = |time_ns: i64| time_ns % 1_000_000_000 == 0;
    let is_coarse = is_whole(version.mtime_ns) && is_whole(version.ctime_ns);
    let within = if is_coarse { SETTLED_COARSE } else { SETTLED };
    !version.changed_within(within, now)
}

/// The strong ETag of a version.
pub(super) fn etag(version: &FileVersion) -> String {
    let mut hash = Sha256::new();
    hash.update(version.id.device.to_be_bytes());
    hash.update(version.id.inode.to_be_bytes());
    hash.update(version.size.to_be_bytes());
    hash.update(version.mtime_ns.to_be_bytes());
    hash.update(version.ctime_ns.to_be_bytes());
    let tag: String = hash.finalize()[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{tag}\"")
}

/// The validators of a version; `kept` is an ETag that an earlier version with the same bytes had.
pub(super) fn validators(
    version: &FileVersion,
    kept: Option<String>,
    now: SystemTime,
) -> Validators {
    let mut etags: Vec<String> = kept.into_iter().collect();
    let own = etag(version);
    if !etags.contains(&own) {
        etags.push(own);
    }
    // Not from before 1970 and, by RFC 9110 §8.8.2.1, not from the future.
    let modified = whole_seconds(version.mtime_ns).filter(|modified| *modified <= now);
    // Every response with this date was made a second after it, or later. An edit after the response has a ctime that is
    // later still, even if its mtime was set back.
    let next_second = version.mtime_ns.div_euclid(1_000_000_000).saturating_add(1);
    let date_is_strong = version.ctime_ns < next_second.saturating_mul(1_000_000_000);
    Validators {
        etags,
        modified,
        date_is_strong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileId;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn version(mtime_ns: i64, ctime_ns: i64) -> FileVersion {
        FileVersion {
            id: FileId {
                device: 1,
                inode: 2,
            },
            size: 10,
            mtime_ns,
            ctime_ns,
        }
    }

    #[test]
    fn every_part_of_a_version_shows_in_its_etag() {
        let first = version(5_000_000_001, 6);
        let mut others = [first; 5];
        others[0].mtime_ns += 1;
        others[1].size += 1;
        others[2].id.inode += 1;
        others[3].id.device += 1;
        others[4].ctime_ns += 1;
        for other in others {
            assert_ne!(etag(&other), etag(&first));
        }
        assert_eq!(etag(&version(5_000_000_001, 6)), etag(&first));
        assert!(etag(&first).starts_with('"') && etag(&first).len() > 10);
    }

    #[test]
    fn a_version_with_coarse_times_takes_longer_to_settle() {
        let settled = |mtime_ns, ctime_ns| is_settled(&version(mtime_ns, ctime_ns), at(100));
        assert!(settled(98_000_000_000, 98_000_000_000));
        assert!(!settled(99_000_000_000, 99_000_000_000));
        assert!(settled(50_000_000_000, 99_000_000_000 - 1));
        assert!(!settled(50_000_000_000, 99_000_000_000 + 1));
    }

    #[test]
    fn a_kept_etag_comes_first_and_the_versions_own_counts_too() {
        let version = version(1, 2);
        let own = etag(&version);
        let kept = validators(&version, Some("\"kept\"".to_owned()), at(1000));
        assert_eq!(kept.etags, ["\"kept\"", &own]);
        assert_eq!(
            validators(&version, Some(own.clone()), at(1000)).etags,
            [own.as_str()]
        );
        assert_eq!(validators(&version, None, at(1000)).etags, [own]);
    }

    #[test]
    fn a_date_is_strong_if_nothing_changed_after_its_second() {
        let table = [
            (100_500_000_000, 100_500_000_000, true),
            (100_000_000_000, 100_999_999_999, true),
            (100_500_000_000, 50_000_000_000, true),
            (100_500_000_000, 101_000_000_000, false),
            (100_500_000_000, 900_000_000_000, false),
            (i64::MAX, i64::MAX, false),
        ];
        for (mtime_ns, ctime_ns, strong) in table {
            let validators = validators(&version(mtime_ns, ctime_ns), None, at(1000));
            assert_eq!(validators.date_is_strong, strong, "{mtime_ns} {ctime_ns}");
        }
    }

    #[test]
    fn no_date_is_from_the_future_or_from_before_1970() {
        let modified = |mtime_ns| validators(&version(mtime_ns, 0), None, at(1000)).modified;
        assert_eq!(modified(999_900_000_000), Some(at(999)));
        assert_eq!(modified(1_001_000_000_000), None);
        assert_eq!(modified(-1), None);
    }
}
