//! Numbers, names and errors as people read them.

use super::output::Look;
use console::measure_text_width;
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

/// A time span: `0.4 s`, `12 s`, `2 min 5 s`, `3 h 20 min`, `2 d 3 h`.
pub(crate) fn wait(wait: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let seconds = wait.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", wait.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..DAY => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / DAY, seconds % DAY / 3600),
    }
}

/// When something comes: `at once`, `in 0.4 s`, `in 12 s`.
pub(crate) fn in_a_while(left: Duration) -> String {
    if left < Duration::from_millis(50) {
        return "at once".to_owned();
    }
    format!("in {}", wait(left))
}

/// When something was: `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `12 d ago`.
pub(crate) fn ago(since: Duration) -> String {
    match since.as_secs() {
        0..2 => "just now".to_owned(),
        seconds @ 2..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// A time left, of fixed shape so that it does not dance: `00:12`, `59:59`, `1:02:03`, `2 d 3 h`.
pub(crate) fn clock(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        3600..86_400 => format!(
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds % 3600 / 60,
            seconds % 60
        ),
        _ if seconds < 100 * 86_400 => wait(left),
        _ => "> 99 d".to_owned(),
    }
}

/// `2026-10-20T15:50:52.123Z` as `2026-10-20 15:50:52`.
pub(crate) fn day_and_time(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

/// How much of a file is there, in whole percent; 100 only when it is all.
pub(crate) fn percent(bytes: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    let percent = u128::from(bytes.min(total)) * 100 / u128::from(total);
    u64::try_from(percent).unwrap_or(100)
}

/// Text from elsewhere (a server, a file's name) without what could move the cursor or colour the screen.
pub(crate) fn plain(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() {
            '?'
        } else {
            character
        }
    };
    text.chars().map(shown).collect()
}

/// A name of at most so many columns: cut in the middle, its extension kept.
pub(crate) fn shorten(name: &str, width: usize, look: Look) -> String {
    if measure_text_width(name) <= width {
        return name.to_owned();
    }
    let ellipsis = look.ellipsis();
    let Some(room) = width.checked_sub(measure_text_width(ellipsis)) else {
        return start_of(name, width).to_owned();
    };
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 => measure_text_width(&name[dot..]),
        Some(_) | None => 0,
    };
    // Of the stem's end a little is kept, too: parts of a series differ there.
    let tail = (room / 3).max((extension + 3).min(room / 2));
    format!(
        "{}{ellipsis}{}",
        start_of(name, room - tail),
        end_of(name, tail)
    )
}

/// Text of at most so many columns, cut at its end.
pub(crate) fn cut(text: &str, width: usize, look: Look) -> String {
    let ellipsis = look.ellipsis();
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    match width.checked_sub(measure_text_width(ellipsis)) {
        Some(room) => format!("{}{ellipsis}", start_of(text, room).trim_end()),
        None => start_of(text, width).to_owned(),
    }
}

/// Lines of at most so many columns, broken between words where possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        if !line.is_empty() && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while line.is_empty() && measure_text_width(word) > width {
            let start = start_of(word, width);
            if start.is_empty() {
                break; // a character wider than the line
            }
            lines.push(start.to_owned());
            word = &word[start.len()..];
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Filled up with blanks to so many columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{:missing$}", "")
}

fn start_of(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += measure_text_width(character.encode_utf8(&mut [0; 4]));
        if used > width {
            return &text[..at];
        }
    }
    text
}

fn end_of(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices().rev() {
        used += measure_text_width(character.encode_utf8(&mut [0; 4]));
        if used > width {
            return &text[at + character.len_utf8()..];
        }
    }
    text
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
    fn time_spans_name_their_two_largest_units() {
        let table = [
            (0, "0.0 s"),
            (400, "0.4 s"),
            (12_000, "12 s"),
            (125_000, "2 min 5 s"),
            (12_000_000, "3 h 20 min"),
            (183_600_000, "2 d 3 h"),
        ];
        for (millis, shown) in table {
            assert_eq!(wait(Duration::from_millis(millis)), shown);
        }
        assert_eq!(in_a_while(Duration::from_millis(3)), "at once");
        assert_eq!(in_a_while(Duration::from_millis(400)), "in 0.4 s");
    }

    #[test]
    fn what_was_is_so_long_ago_and_what_is_left_has_a_fixed_shape() {
        let table = [
            (0, "just now", "00:00"),
            (59, "59 s ago", "00:59"),
            (3599, "59 min ago", "59:59"),
            (3723, "1 h ago", "1:02:03"),
            (183_600, "2 d ago", "2 d 3 h"),
            (u64::MAX, "213503982334601 d ago", "> 99 d"),
        ];
        for (seconds, was, left) in table {
            assert_eq!(ago(Duration::from_secs(seconds)), was);
            assert_eq!(clock(Duration::from_secs(seconds)), left);
        }
    }

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        let table = [
            (0, 0, 100),
            (0, 7, 0),
            (999, 1000, 99),
            (1000, 1000, 100),
            (u64::MAX, 3, 100),
            (u64::MAX - 1, u64::MAX, 99),
        ];
        for (bytes, total, shown) in table {
            assert_eq!(percent(bytes, total), shown);
        }
    }

    const UNICODE: Look = Look {
        width: None,
        unicode: true,
    };
    const ASCII: Look = Look {
        width: None,
        unicode: false,
    };

    #[test]
    fn a_long_name_is_cut_in_the_middle_and_keeps_its_extension() {
        let table = [
            ("film.mkv", 8, "film.mkv"),
            ("a.very.long.name.s01e02.mkv", 16, "a.very.l…e02.mkv"),
            (
                "a.very.long.name.s01e02.mkv",
                40,
                "a.very.long.name.s01e02.mkv",
            ),
            ("no-extension-but-long", 10, "no-ext…ong"),
            ("archive.a-very-long-extension", 12, "archiv…nsion"),
            (".hidden-and-long", 8, ".hid…ong"),
            ("映画のとても長い名前.mkv", 14, "映画の…前.mkv"),
            ("film.mkv", 1, "…"),
            ("film.mkv", 0, ""),
        ];
        let short = table.map(|(name, width, _)| shorten(name, width, UNICODE));
        assert_eq!(short, table.map(|(_, _, wanted)| wanted.to_owned()));
        for ((_, width, _), short) in table.into_iter().zip(short) {
            assert!(measure_text_width(&short) <= width, "{short:?}");
        }
        assert_eq!(shorten("a.very.long.name.mkv", 12, ASCII), "a.ver....mkv");
        assert_eq!(shorten("film.mkv", 2, ASCII), "fi");
    }

    #[test]
    fn text_is_cut_at_its_end_and_wrapped_between_words() {
        assert_eq!(cut("the line was cut", 9, UNICODE), "the line…");
        assert_eq!(cut("the line was cut", 9, ASCII), "the li...");
        assert_eq!(cut("short", 9, ASCII), "short");
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh i", 3), ["abc", "def", "gh", "i"]);
        assert_eq!(wrap("映画", 1), ["映画"]);
        assert_eq!(wrap("", 5), [""; 0]);
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{9b}d é"), "a?[31mb?c?d é");
    }
}
