//! Numbers, names and errors for people.

use super::output::Layout;
use console::{Alignment, measure_text_width};
use regrip_core::{Error, ErrorCode};
use std::time::Duration;

/// Help as clap wraps it for the terminal: the lines of a paragraph become one. Those that are indented stay as they are.
pub(crate) fn flowing(help: &str) -> String {
    let mut text = String::new();
    let mut flows = false;
    for line in help.lines() {
        let is_prose = !line.is_empty() && !line.starts_with(' ');
        if !text.is_empty() {
            text.push(if flows && is_prose { ' ' } else { '\n' });
        }
        text.push_str(line);
        flows = is_prose && !line.ends_with(':');
    }
    text
}

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
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
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

/// A time left: `at once`, `in 0.4 s`, `in 12 s`.
pub(crate) fn in_a_while(left: Duration) -> String {
    if left < Duration::from_millis(50) {
        return "at once".to_owned();
    }
    format!("in {}", wait(left))
}

/// A time passed: `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `12 d ago`.
pub(crate) fn ago(since: Duration) -> String {
    match since.as_secs() {
        0..2 => "just now".to_owned(),
        seconds @ 2..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// `2026-10-20T15:50:52.123Z` as `2026-10-20 15:50:52`.
pub(crate) fn day_and_time(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

/// The share of a file in whole percent; 100 only if it is complete.
pub(crate) fn percent(bytes: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    let percent = u128::from(bytes.min(total)) * 100 / u128::from(total);
    u64::try_from(percent).unwrap_or(100)
}

/// Text from elsewhere (a server, a file name) without control characters, which could move the cursor or set colours.
pub(crate) fn plain(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { '?' } else { character }
    };
    text.chars().map(shown).collect()
}

/// A name of at most `width` columns, cut in the middle; its extension is kept.
pub(crate) fn shorten(name: &str, width: usize, layout: Layout) -> String {
    if measure_text_width(name) <= width {
        return name.to_owned();
    }
    let Some(room) = width.checked_sub(measure_text_width(layout.ellipsis())) else {
        return cut(name, width, layout);
    };
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 => measure_text_width(&name[dot..]),
        Some(_) | None => 0,
    };
    // Part of the end is kept, too: parts of a series differ there.
    let tail = (room / 3).max((extension + 3).min(room / 2));
    let end = (name.char_indices().map(|(at, _)| &name[at..]))
        .find(|end| measure_text_width(end) <= tail)
        .unwrap_or_default();
    let start = console::truncate_str(name, room - measure_text_width(end), "");
    cut(&format!("{start}{}{end}", layout.ellipsis()), width, layout)
}

/// Text of at most `width` columns, cut at its end.
pub(crate) fn cut(text: &str, width: usize, layout: Layout) -> String {
    let ellipsis = layout.ellipsis();
    let ellipsis = if width < measure_text_width(ellipsis) { "" } else { ellipsis };
    console::truncate_str(text, width, ellipsis).into_owned()
}

/// Text padded with blanks to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    console::pad_str(text, width, Alignment::Left, None).into_owned()
}

/// What the user of the command line can do about an error.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    advice_by_code(&error.code()).or(error.advice())
}

/// What the user can do about an error with this code, if the command line has an option for it.
pub(crate) fn advice_by_code(code: &ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::ForeignPart => {
            "move it away, or resume it with --adopt-part (its tail is compared with the source first)"
        }
        ErrorCode::DestinationExists => {
            "choose another name, or set --on-exists (onExists in a configuration) to overwrite or rename"
        }
        ErrorCode::DestinationBusy => {
            "choose another destination, or give that download up: --force, or `regrip remove` and its number"
        }
        ErrorCode::NameRefused => "name the file with -o FILE",
        ErrorCode::NoSuchDownload => "`regrip list` shows the known ones",
        _ => return None,
    })
}

/// A line and, if there is any, the advice below it.
pub(crate) fn with_advice(line: &str, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{line}\n  {advice}"),
        None => line.to_owned(),
    }
}

/// A word for a command line, quoted if a shell would read more into it.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/:._-+,=@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
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
    fn a_word_is_quoted_where_a_shell_would_read_more_into_it() {
        let table = [
            ("/films/a.mkv", "/films/a.mkv"),
            ("/films/a film.mkv", "'/films/a film.mkv'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ];
        for (word, shown) in table {
            assert_eq!(shell_word(word), shown);
        }
    }

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
    fn a_time_passed_names_its_largest_unit() {
        let table = [
            (0, "just now"),
            (59, "59 s ago"),
            (3599, "59 min ago"),
            (3723, "1 h ago"),
            (183_600, "2 d ago"),
            (u64::MAX, "213503982334601 d ago"),
        ];
        for (seconds, was) in table {
            assert_eq!(ago(Duration::from_secs(seconds)), was);
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

    const UNICODE: Layout = Layout { width: None, unicode: true };
    const ASCII: Layout = Layout { width: None, unicode: false };

    #[test]
    fn a_long_name_is_cut_in_the_middle_and_keeps_its_extension() {
        let table = [
            ("film.mkv", 8, "film.mkv"),
            ("a.very.long.name.s01e02.mkv", 16, "a.very.l…e02.mkv"),
            ("a.very.long.name.s01e02.mkv", 40, "a.very.long.name.s01e02.mkv"),
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
    fn text_is_cut_at_its_end() {
        assert_eq!(cut("the line was cut", 9, UNICODE), "the line…");
        assert_eq!(cut("the line was cut", 9, ASCII), "the li...");
        assert_eq!(cut("short", 9, ASCII), "short");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{9b}d é"), "a?[31mb?c?d é");
    }
}
