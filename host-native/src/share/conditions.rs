//! Evaluates the conditions of a request (RFC 9110 §13), before its Range counts.

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use std::time::{Duration, SystemTime};

/// What names the version that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// Strong ETags, with their quotes. Each is of these very bytes; the first is sent unless the request holds another.
    pub(super) etags: Vec<String>,
    /// The Last-Modified, in whole seconds; none if a server may not send this date.
    pub(super) modified: Option<SystemTime>,
    /// Whether the date names these very bytes too (a strong validator, RFC 9110 §8.8.2.2).
    pub(super) date_is_strong: bool,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The file; its Range counts only if `range` says so.
    Send { range: bool },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl Validators {
    /// Decides by the conditions of a GET or HEAD, in the order of RFC 9110 §13.2.2.
    pub(super) fn decide(&self, headers: &HeaderMap) -> Outcome {
        if headers.contains_key(IF_MATCH) {
            if !self.is_listed(headers, &IF_MATCH, Comparison::Strong) {
                return Outcome::PreconditionFailed;
            }
        } else if let (Some(date), Some(modified)) =
            (date(headers, &IF_UNMODIFIED_SINCE), self.modified)
            && modified > date
        {
            return Outcome::PreconditionFailed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.is_listed(headers, &IF_NONE_MATCH, Comparison::Weak) {
                return Outcome::NotModified;
            }
        } else if let (Some(date), Some(modified)) =
            (date(headers, &IF_MODIFIED_SINCE), self.modified)
            && modified <= date
        {
            return Outcome::NotModified;
        }
        let range = !headers.contains_key(IF_RANGE)
            || only(headers, &IF_RANGE).is_some_and(|given| self.is_named_by(given));
        Outcome::Send { range }
    }

    /// The ETag to send: the one that the request holds, if it is of these bytes.
    pub(super) fn etag(&self, headers: &HeaderMap) -> &str {
        let held = self.etags.iter().find(|etag| is_held(headers, etag));
        let etag = held.or(self.etags.first());
        etag.map_or("", String::as_str)
    }

    /// Whether an If-Range names these bytes, by a validator strong enough (RFC 9110 §13.1.5).
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
        let mut listed = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(tags);
        listed.any(|tag| {
            let tag = match comparison {
                Comparison::Weak => opaque(tag),
                Comparison::Strong => tag,
            };
            self.etags.iter().any(|etag| etag == tag)
        })
    }
}

/// Whether a request names an ETag in one of its conditions: its client has bytes of that version.
pub(super) fn is_held(headers: &HeaderMap, etag: &str) -> bool {
    [IF_RANGE, IF_MATCH, IF_NONE_MATCH].iter().any(|name| {
        let values = headers.get_all(name).iter();
        let mut held = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(tags);
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

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{NotModified, PreconditionFailed};

    const SENT: &str = "Thu, 01 Jan 1970 00:01:40 GMT";
    const EARLIER: &str = "Thu, 01 Jan 1970 00:01:39 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:01:41 GMT";
    const WHOLE: Outcome = Outcome::Send { range: false };
    const RANGE: Outcome = Outcome::Send { range: true };

    fn validators() -> Validators {
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
        let table: [(HeaderName, &str, Outcome); 38] = [
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
            (
                IF_UNMODIFIED_SINCE,
                "Thursday, 01-Jan-70 00:01:39 GMT",
                PreconditionFailed,
            ),
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
            let got = validators().decide(&headers(&[(name.clone(), value)]));
            assert_eq!(got, wanted, "{name}: {value}");
        }
    }

    #[test]
    fn entity_tags_count_before_dates_and_if_range_last() {
        let (yes, no) = ("\"kept\"", "\"x\"");
        type Fields<'a> = &'a [(HeaderName, &'a str)];
        let table: [(Fields<'_>, Outcome); 12] = [
            (&[], RANGE),
            (&[(IF_MATCH, yes), (IF_UNMODIFIED_SINCE, EARLIER)], RANGE),
            (
                &[(IF_MATCH, no), (IF_UNMODIFIED_SINCE, LATER)],
                PreconditionFailed,
            ),
            (&[(IF_MATCH, no), (IF_NONE_MATCH, yes)], PreconditionFailed),
            (&[(IF_MATCH, yes), (IF_NONE_MATCH, yes)], NotModified),
            (&[(IF_NONE_MATCH, no), (IF_MODIFIED_SINCE, LATER)], RANGE),
            (
                &[(IF_NONE_MATCH, yes), (IF_MODIFIED_SINCE, EARLIER)],
                NotModified,
            ),
            (
                &[(IF_UNMODIFIED_SINCE, EARLIER), (IF_MODIFIED_SINCE, LATER)],
                PreconditionFailed,
            ),
            (&[(IF_NONE_MATCH, yes), (IF_RANGE, no)], NotModified),
            (&[(IF_MATCH, yes), (IF_RANGE, no)], WHOLE),
            (&[(IF_RANGE, yes), (IF_RANGE, yes)], WHOLE),
            (
                &[(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)],
                RANGE,
            ),
        ];
        for (fields, wanted) in table {
            assert_eq!(validators().decide(&headers(fields)), wanted, "{fields:?}");
        }
        let lines = headers(&[(IF_NONE_MATCH, no), (IF_NONE_MATCH, yes)]);
        assert_eq!(validators().decide(&lines), NotModified);
    }

    #[test]
    fn a_date_that_proves_nothing_gives_no_range_and_one_that_is_missing_decides_nothing() {
        let weak = Validators {
            date_is_strong: false,
            ..validators()
        };
        assert_eq!(weak.decide(&headers(&[(IF_RANGE, SENT)])), WHOLE);
        assert_eq!(
            weak.decide(&headers(&[(IF_MODIFIED_SINCE, SENT)])),
            NotModified
        );
        let dateless = Validators {
            modified: None,
            ..validators()
        };
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert_eq!(dateless.decide(&headers(&[(name, EARLIER)])), RANGE);
        }
    }

    #[test]
    fn the_etag_that_the_request_holds_is_the_one_sent() {
        let validators = validators();
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
}
