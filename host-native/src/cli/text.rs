//! Numbers and errors as people read them.

use regrip_core::Error;
use regrip_core::error::chain;
use std::time::Duration;

/// Bytes in powers of 1000, three digits: `60.0 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.decimals$} {unit}")
}

/// A wait: `0.4 s`, `12 s`, `2 min 5 s`, `3 h 20 min`.
pub(crate) fn wait(wait: Duration) -> String {
    let seconds = wait.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", wait.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// An error in two lines: what happened, and what to do where there is something.
pub(crate) fn error(about: &str, error: &Error) -> String {
    with_advice(
        &format!("regrip: {about}: {}", chain(error)),
        error.advice(),
    )
}

/// A line and, where there is one, the advice below it.
pub(crate) fn with_advice(line: &str, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{line}\n  {advice}"),
        None => line.to_owned(),
    }
}

/// One of a thing, or several: `1 attempt`, `3 attempts`.
pub(crate) fn count(number: u32, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_999, "1.00 MB"),
            (60_000_000_000, "60.0 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (given, shown) in table {
            assert_eq!(bytes(given), shown);
        }
    }

    #[test]
    fn waits_name_their_two_largest_units() {
        let table = [
            (400, "0.4 s"),
            (12_000, "12 s"),
            (125_000, "2 min 5 s"),
            (12_000_000, "3 h 20 min"),
        ];
        for (millis, shown) in table {
            assert_eq!(wait(Duration::from_millis(millis)), shown);
        }
    }
}
