//! The validators of a version of a file, and the conditions of a request (RFC 9110 §13), which are evaluated before its Range.

use crate::store::FileVersion;
use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// What names the version that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// Strong ETags, with their quotes. Each is of these very bytes; the first is sent unless the request holds another.
    pub(super) etags: Vec<String>,
    /// The Last-Modified, in whole seconds; none if a server may not send this date.
    pub(super) modified: Option<SystemTime>,
    /// `true` if the date is a strong validator (RFC 9110 §8.8.2.2).
    pub(super) date_is_strong: bool,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The file; its Range counts only if `range` says so.
    Send { range: bool },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl Validators {
    /// Decides by the conditions of a GET or HEAD, in the order of RFC 9110 §13.2.2.
    pub(super) fn decide(&self, headers: &HeaderMap) -> Decision {
        if headers.contains_key(IF_MATCH) {
            if !self.is_listed(headers, &IF_MATCH, Comparison::Strong) {
                return Decision::PreconditionFailed;
            }
        } else if let (Some(date), Some(modified)) = (date(headers, &IF_UNMODIFIED_SINCE), self.modified)
            && modified > date
        {
            return Decision::PreconditionFailed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.is_listed(headers, &IF_NONE_MATCH, Comparison::Weak) {
                return Decision::NotModified;
            }
        } else if let (Some(date), Some(modified)) = (date(headers, &IF_MODIFIED_SINCE), self.modified)
            && modified <= date
        {
            return Decision::NotModified;
        }
        let range =
            !headers.contains_key(IF_RANGE) || only(headers, &IF_RANGE).is_some_and(|given| self.is_named_by(given));
        Decision::Send { range }
    }

    /// The ETag to send: the one that the request holds, if it is of these bytes.
    pub(super) fn etag(&self, headers: &HeaderMap) -> &str {
        let held = self.etags.iter().find(|etag| is_held(headers, etag));
        let etag = held.or(self.etags.first());
        etag.map_or("", String::as_str)
    }

    /// Returns `true` if an If-Range names these bytes, by a validator strong enough (RFC 9110 §13.1.5).
    fn is_named_by(&self, if_range: &str) -> bool {
        if if_range.starts_with('"') {
            return self.etags.iter().any(|etag| etag == if_range);
        }
        // Compared as text: it is the date that was sent, or it is not.
        let sent = self.modified.map(httpdate::fmt_http_date);
        self.date_is_strong && sent.as_deref() == Some(if_range)
    }

    fn is_listed(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        if only(headers, name).is_some_and(|value| value.trim() == "*") {
            return true;
        }
        let values = headers.get_all(name).iter();
        let mut listed = values.filter_map(|value| value.to_str().ok()).flat_map(tags);
        listed.any(|tag| {
            let tag = match comparison {
                Comparison::Weak => opaque(tag),
                Comparison::Strong => tag,
            };
            self.etags.iter().any(|etag| etag == tag)
        })
    }
}

/// Returns `true` if a request names an ETag in one of its conditions: its client has bytes of that version.
pub(super) fn is_held(headers: &HeaderMap, etag: &str) -> bool {
    [IF_RANGE, IF_MATCH, IF_NONE_MATCH].iter().any(|name| {
        let values = headers.get_all(name).iter();
        let mut held = values.filter_map(|value| value.to_str().ok()).flat_map(tags);
        held.any(|tag| opaque(tag) == etag)
    })
}

/// RFC 9110 §8.8.3.2.
#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

/// The tag without its weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The entity tags of a list, as written, up to the first that breaks the grammar.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quoted = opaque(rest).strip_prefix('"')?;
        let end = rest.len() - quoted.len() + quoted.find('"')? + 1;
        let (tag, after) = rest.split_at_checked(end)?;
        rest = after;
        let after = after.trim_start_matches([' ', '\t']);
        (after.is_empty() || after.starts_with(',')).then_some(tag)
    })
}

/// A date; none if the header is to be ignored: missing, sent twice, or not an HTTP-date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(only(headers, name)?.trim()).ok()
}

/// The value of a header that was sent exactly once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A time in whole seconds since 1970, which is all that an HTTP-date can say.
pub(super) fn whole_seconds(nanoseconds: i64) -> Option<SystemTime> {
    let since = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since.as_secs()))
}

/// A file that changed within this is not sent: timestamps move in ticks, and it may change again and keep its own.
const SETTLED: Duration = Duration::from_secs(1);
/// The same for whole seconds: the tick of FAT is two of them.
const SETTLED_COARSE: Duration = Duration::from_secs(2);

/// Returns `true` if a version is old enough that the next one will differ from it.
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
    let tag: String = hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{tag}\"")
}

/// The validators of a version; `kept` is an ETag that an earlier version with the same bytes had.
pub(super) fn validators(version: &FileVersion, kept: Option<String>, now: SystemTime) -> Validators {
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
    Validators { etags, modified, date_is_strong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileId;
    use Decision::{NotModified, PreconditionFailed};

    const SENT: &str = "Thu, 01 Jan 1970 00:01:40 GMT";
    const EARLIER: &str = "Thu, 01 Jan 1970 00:01:39 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:01:41 GMT";
    const WHOLE: Decision = Decision::Send { range: false };
    const RANGE: Decision = Decision::Send { range: true };

    fn sample() -> Validators {
        Validators {
            etags: vec!["\"kept\"".to_owned(), "\"fresh\"".to_owned()],
            modified: whole_seconds(100_900_000_000),
            date_is_strong: true,
        }
    }

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn each_condition_by_itself() {
        let table: [(HeaderName, &str, Decision); 38] = [
            (IF_MATCH, "\"kept\"", RANGE),
            (IF_MATCH, "\"fresh\"", RANGE),
            (IF_MATCH, "*", RANGE),
            (IF_MATCH, "\"x\", \"kept\"", RANGE),
            (IF_MATCH, "\"x, y\" ,\t\"kept\"", RANGE),
            (IF_MATCH, "W/\"kept\"", PreconditionFailed),
            (IF_MATCH, "\"x\"", PreconditionFailed),
            (IF_MATCH, "kept", PreconditionFailed),
            (IF_MATCH, "\"kept", PreconditionFailed),
            (IF_MATCH, "\"x\" \"kept\"", PreconditionFailed),
            (IF_MATCH, "\"x\", *", PreconditionFailed),
            (IF_MATCH, "", PreconditionFailed),
            (IF_UNMODIFIED_SINCE, SENT, RANGE),
            (IF_UNMODIFIED_SINCE, LATER, RANGE),
            (IF_UNMODIFIED_SINCE, EARLIER, PreconditionFailed),
            (IF_UNMODIFIED_SINCE, "Thursday, 01-Jan-70 00:01:39 GMT", PreconditionFailed),
            (IF_UNMODIFIED_SINCE, "rubbish", RANGE),
            (IF_NONE_MATCH, "\"kept\"", NotModified),
            (IF_NONE_MATCH, "W/\"kept\"", NotModified),
            (IF_NONE_MATCH, "\"x\",\"fresh\"", NotModified),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"x\"", RANGE),
            (IF_NONE_MATCH, "kept", RANGE),
            (IF_NONE_MATCH, "w/\"kept\"", RANGE),
            (IF_MODIFIED_SINCE, SENT, NotModified),
            (IF_MODIFIED_SINCE, LATER, NotModified),
            (IF_MODIFIED_SINCE, EARLIER, RANGE),
            (IF_MODIFIED_SINCE, "Thu Jan  1 00:01:40 1970", NotModified),
            (IF_MODIFIED_SINCE, "", RANGE),
            (IF_RANGE, "\"kept\"", RANGE),
            (IF_RANGE, "\"fresh\"", RANGE),
            (IF_RANGE, SENT, RANGE),
            (IF_RANGE, "W/\"kept\"", WHOLE),
            (IF_RANGE, "\"x\"", WHOLE),
            (IF_RANGE, "*", WHOLE),
            (IF_RANGE, LATER, WHOLE),
            (IF_RANGE, EARLIER, WHOLE),
            (IF_RANGE, "\"kept\", \"fresh\"", WHOLE),
        ];
        for (name, value, wanted) in table {
            let got = sample().decide(&headers(&[(name.clone(), value)]));
            assert_eq!(got, wanted, "{name}: {value}");
        }
    }

    #[test]
    fn entity_tags_count_before_dates_and_if_range_last() {
        let (yes, no) = ("\"kept\"", "\"x\"");
        type Fields<'a> = &'a [(HeaderName, &'a str)];
        let table: [(Fields<'_>, Decision); 12] = [
            (&[], RANGE),
            (&[(IF_MATCH, yes), (IF_UNMODIFIED_SINCE, EARLIER)], RANGE),
            (&[(IF_MATCH, no), (IF_UNMODIFIED_SINCE, LATER)], PreconditionFailed),
            (&[(IF_MATCH, no), (IF_NONE_MATCH, yes)], PreconditionFailed),
            (&[(IF_MATCH, yes), (IF_NONE_MATCH, yes)], NotModified),
            (&[(IF_NONE_MATCH, no), (IF_MODIFIED_SINCE, LATER)], RANGE),
            (&[(IF_NONE_MATCH, yes), (IF_MODIFIED_SINCE, EARLIER)], NotModified),
            (&[(IF_UNMODIFIED_SINCE, EARLIER), (IF_MODIFIED_SINCE, LATER)], PreconditionFailed),
            (&[(IF_NONE_MATCH, yes), (IF_RANGE, no)], NotModified),
            (&[(IF_MATCH, yes), (IF_RANGE, no)], WHOLE),
            (&[(IF_RANGE, yes), (IF_RANGE, yes)], WHOLE),
            (&[(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)], RANGE),
        ];
        for (fields, wanted) in table {
            assert_eq!(sample().decide(&headers(fields)), wanted, "{fields:?}");
        }
        let lines = headers(&[(IF_NONE_MATCH, no), (IF_NONE_MATCH, yes)]);
        assert_eq!(sample().decide(&lines), NotModified);
    }

    #[test]
    fn a_date_that_proves_nothing_gives_no_range_and_one_that_is_missing_decides_nothing() {
        let weak = Validators { date_is_strong: false, ..sample() };
        assert_eq!(weak.decide(&headers(&[(IF_RANGE, SENT)])), WHOLE);
        assert_eq!(weak.decide(&headers(&[(IF_MODIFIED_SINCE, SENT)])), NotModified);
        let dateless = Validators { modified: None, ..sample() };
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert_eq!(dateless.decide(&headers(&[(name, EARLIER)])), RANGE);
        }
    }

    #[test]
    fn the_etag_that_the_request_holds_is_the_one_sent() {
        let validators = sample();
        let table = [
            (IF_RANGE, "\"fresh\"", "\"fresh\""),
            (IF_NONE_MATCH, "\"x\", W/\"fresh\"", "\"fresh\""),
            (IF_MATCH, "\"x\"", "\"kept\""),
        ];
        for (name, value, wanted) in table {
            assert_eq!(validators.etag(&headers(&[(name, value)])), wanted);
        }
        assert_eq!(validators.etag(&HeaderMap::new()), "\"kept\"");
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn version(mtime_ns: i64, ctime_ns: i64) -> FileVersion {
        FileVersion { id: FileId { device: 1, inode: 2 }, size: 10, mtime_ns, ctime_ns }
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
        assert_eq!(validators(&version, Some(own.clone()), at(1000)).etags, [own.as_str()]);
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
