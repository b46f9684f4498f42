//! `Retry-After` (RFC 9110 §10.2.3): delay-seconds or an HTTP-date.

use super::date::parse_date;
use std::time::{Duration, SystemTime};

/// The delay that a `Retry-After` asks for. Seconds are digits only and saturate. A date in the past is zero. Anything else is
/// `None`, as if the field were missing.
///
/// `now` is the Date of the response if it has one, so that a wrong clock on either side does not matter; else the local clock.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = parse_date(value)?;
    Some(then.duration_since(now).unwrap_or_default())
}
