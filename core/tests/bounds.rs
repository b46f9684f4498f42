//! What keeps a download from going on for ever.

use regrip_core::bounds::{Bounds, Next};
use regrip_core::retry::AskedBy;
use regrip_core::testing::{Constant, new_download};
use regrip_core::time::Instant;
use regrip_core::{Change, DownloadsConfig, Error, Row};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn cut() -> Error {
    Error::Incomplete { got: 0, expected: None }
}

fn next(bounds: Bounds, error: &Error, config: &DownloadsConfig) -> Next {
    let policy = config.retry_policy().expect("at least one attempt");
    bounds.next(error, config, &policy, &mut Constant(100))
}

fn config(max_download_attempts: u32, max_total_attempts: u32) -> DownloadsConfig {
    DownloadsConfig { max_download_attempts, max_total_attempts, ..DownloadsConfig::default() }
}

/// Runs attempts that end at these offsets and receive only new bytes; how many there were when the last was refused
/// another.
fn attempts(offsets: impl IntoIterator<Item = u64>, reset: u64, config: &DownloadsConfig) -> Option<u32> {
    let mut bounds = Bounds::default();
    for (number, offset) in (1..).zip(offsets) {
        let received = offset.saturating_sub(bounds.furthest);
        bounds = bounds.after_attempt(offset, received, reset);
        if next(bounds, &cut(), config) == Next::Fail {
            return Some(number);
        }
    }
    None
}

#[test]
fn attempts_without_progress_end_at_the_cap_the_first_included() {
    for cap in [1, 2, 5] {
        let ended = attempts(std::iter::repeat(0), 8 * MIB, &config(cap, 1000));
        assert_eq!(ended, Some(cap));
    }
}

#[test]
fn progress_makes_the_attempts_in_a_row_count_anew() {
    let steps = |step: u64| (1..=100).map(move |n| n * step);
    let usual = DownloadsConfig::default().progress_reset_bytes;
    let rows = [
        // bytes an attempt, progressResetBytes, ended after
        (65_536, usual, None),
        (65_535, usual, Some(5)),
        (300_000, usual, None),
        (8 * MIB, 8 * MIB, None),
        // Each attempt is measured by itself: what several moved together does not count.
        (4 * MIB, 8 * MIB, Some(5)),
        (1, 1, None),
        // 0 is never.
        (100 * MIB, 0, Some(5)),
    ];
    for (step, reset, expected) in rows {
        let ended = attempts(steps(step), reset, &config(5, 1000));
        assert_eq!(ended, expected, "{step} bytes an attempt, reset at {reset}");
    }
}

#[test]
fn bytes_fetched_again_after_a_cut_back_are_no_progress() {
    // Up to 8 MiB once; then the machine is rebooted again and again, and the same bytes come again.
    let offsets = [8 * MIB, 0, 8 * MIB, 0, 8 * MIB, 0, 8 * MIB];
    assert_eq!(attempts(offsets, 8 * MIB, &config(5, 1000)), Some(6));
    let again = Bounds { furthest: 8 * MIB, in_a_row: 2, ..Bounds::default() };
    let after = again.after_attempt(16 * MIB - 1, 8 * MIB, 8 * MIB);
    assert_eq!((after.in_a_row, after.furthest), (3, 16 * MIB - 1));
    let after = again.after_attempt(16 * MIB, 8 * MIB, 8 * MIB);
    assert_eq!((after.in_a_row, after.furthest), (0, 16 * MIB));
    let after = again.after_attempt(MIB, 8 * MIB, 8 * MIB);
    assert_eq!(after.furthest, 8 * MIB, "it never goes back");
}

#[test]
fn a_sixteenth_of_what_an_attempt_received_must_be_new() {
    let rows = [
        // gained, received, progress
        (65_536, 65_536, true),
        (65_536, 16 * 65_536, true),
        (65_536, 16 * 65_536 + 1, false),
        (MIB, 16 * MIB, true),
        (MIB, 16 * MIB + 1, false),
        (MIB, u64::MAX, false),
    ];
    for (gained, received, progress) in rows {
        let before = Bounds { in_a_row: 3, in_all: 3, restarts: 0, furthest: 5 * MIB };
        let after = before.after_attempt(5 * MIB + gained, received, 65_536);
        let expected = if progress { (0, 3) } else { (4, 4) };
        let got = (after.in_a_row, after.in_all);
        assert_eq!(got, expected, "{gained} new of {received}");
    }
}

#[test]
fn attempts_without_progress_are_bounded_in_all_and_those_with_progress_are_not() {
    // Every third attempt makes progress, so there are never three in a row without.
    let offsets = (0..).map(|n| n / 3 * MIB);
    assert_eq!(attempts(offsets, MIB, &config(5, 12)), Some(17));
    let progress = (1..=10_000).map(|n| n * MIB);
    assert_eq!(attempts(progress, MIB, &config(5, 12)), None);
}

#[test]
fn a_permanent_error_is_followed_by_nothing() {
    let bounds = Bounds::default().after_attempt(0, 0, 0);
    assert_eq!(next(bounds, &Error::UnknownSize, &config(5, 1000)), Next::Fail);
}

#[test]
fn the_wait_grows_with_the_attempts_in_a_row_and_shrinks_after_progress() {
    let config = config(9, 1000);
    let wait = |in_a_row| {
        let bounds = Bounds { in_a_row, ..Bounds::default() };
        next(bounds, &cut(), &config)
    };
    for (in_a_row, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (8, 60)] {
        let expected = Next::Retry { delay: Duration::from_secs(seconds), asked_by: AskedBy::Jitter };
        assert_eq!(wait(in_a_row), expected, "{in_a_row} in a row");
    }
    let busy = Error::Status { status: 429, retry_after: Some(Duration::from_secs(7)) };
    let expected = Next::Retry { delay: Duration::from_secs(7), asked_by: AskedBy::RetryAfter };
    assert_eq!(next(Bounds::default(), &busy, &config), expected);
}

#[test]
fn as_many_restarts_as_the_cap_are_allowed_and_one_more_is_not() {
    let config = config(3, 1000);
    for restarts in 0..=3 {
        let bounds = Bounds { restarts, ..Bounds::default() };
        assert!(bounds.check_restarts(&config).is_ok(), "{restarts}");
    }
    let bounds = Bounds { restarts: 4, ..Bounds::default() };
    let refused = bounds.check_restarts(&config).expect_err("the fourth");
    assert!(matches!(refused, Error::TooManyRestarts { restarts: 4, limit: 3 }));
}

#[test]
fn progress_takes_back_no_restart() {
    let bounds = Bounds { restarts: 3, ..Bounds::default() };
    assert_eq!(bounds.after_attempt(100 * MIB, 100 * MIB, 8 * MIB).restarts, 3);
}

#[test]
fn a_users_retry_gives_fresh_bounds_and_forgets_no_attempt() {
    let mut row = Row::new(1, new_download("http://peer.example/a", "/a"));
    row.attempts = 7;
    row.restarts = 4;
    row.bounds = Bounds { in_a_row: 5, in_all: 7, restarts: 4, furthest: 9 };
    row.digest_restarted = true;
    row.apply(&Change::Retried);
    assert_eq!(row.bounds, Bounds { furthest: 9, ..Bounds::default() });
    assert_eq!((row.attempts, row.restarts, row.digest_restarted), (7, 4, false));
}

#[test]
fn counts_never_overflow() {
    let full = Bounds { in_a_row: u32::MAX, in_all: u32::MAX, restarts: u32::MAX, furthest: 0 };
    let after = full.after_attempt(0, 0, 1);
    assert_eq!((after.in_a_row, after.in_all), (u32::MAX, u32::MAX));
    assert_eq!(next(after, &cut(), &config(u32::MAX, u32::MAX)), Next::Fail);
}

// T08
#[test]
fn a_monotonic_clock_that_goes_backwards_stands_still_and_none_overflows() {
    let (early, late) = (Instant(Duration::from_secs(5)), Instant(Duration::from_secs(7)));
    assert_eq!(early.since(late), Duration::ZERO);
    assert_eq!(late.since(early), Duration::from_secs(2));
    assert_eq!(late.after(Duration::MAX), Instant(Duration::MAX));
}
