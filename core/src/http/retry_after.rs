//! `Retry-After` (RFC 9110 §10.2.3): delay-seconds or an HTTP-date.

use std::time::{Duration, SystemTime};

/// The delay a `Retry-After` asks for. Seconds are digits only and saturate; a date is what httpdate reads, and one in the
/// past is zero; anything else is `None`, as if the field were not there.
///
/// `now` is the sender's own Date where there is one, so that a wrong clock on either side does no harm, else our wall
/// clock.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}
