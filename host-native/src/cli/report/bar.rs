//! The line of one file while it is under way, made to fit the terminal. A pure function of what is known.

use crate::cli::output::Look;
use crate::cli::text;
use console::Style;
use std::time::Duration;

/// A file as it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) attempt: u32,
    pub(super) bytes: u64,
    pub(super) total: Option<u64>,
    pub(super) phase: Phase<'a>,
}

/// What it is doing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase<'a> {
    /// Asked, not answered.
    Connecting,
    /// Bytes come, or should.
    Moving {
        per_second: Option<u64>,
        left: Option<Duration>,
        silence: Duration,
    },
    /// Between two attempts.
    Waiting { left: Duration, why: &'a str },
}

/// So long without a byte is worth a word.
const SILENT: Duration = Duration::from_secs(3);
/// Of speed: `999 kB/s`, `1.00 MB/s`.
const SPEED: usize = 9;
/// Of a time left: `1:02:03`.
const LEFT: usize = 7;
/// Of `18.0 MB/24.0 MB`.
const BYTES: usize = 15;
/// A bar shorter than this says less than the percentage beside it.
const SHORTEST_BAR: usize = 8;

/// The columns a name gets at most.
pub(super) fn name_width(width: usize) -> usize {
    (width * 3 / 10).clamp(8, 40)
}

/// The line, at most `width` columns. Names are padded to `name` columns so that bars stand below each other.
pub(super) fn line(view: &View<'_>, name: usize, width: usize, look: Look) -> String {
    let name = name.min(name_width(width));
    let name = text::pad(&text::shorten(view.name, name, look), name);
    let room = width.saturating_sub(console::measure_text_width(&name));
    let rest = match view.phase {
        Phase::Connecting => text::cut(&connecting(view), room, look),
        Phase::Waiting { left, why } => {
            let text = text::cut(&waiting(view, left, why, room), room, look);
            Style::new()
                .for_stderr()
                .yellow()
                .apply_to(text)
                .to_string()
        }
        Phase::Moving { .. } => moving(view, room, look),
    };
    let line = format!("{name}{rest}");
    if console::measure_text_width(&line) <= width {
        return line;
    }
    text::cut(&console::strip_ansi_codes(&line), width, look)
}

fn connecting(view: &View<'_>) -> String {
    let attempt = match view.attempt {
        0 | 1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let kept = match view.bytes {
        0 => String::new(),
        bytes => format!(", {} are here", text::bytes(bytes)),
    };
    format!("  connecting{attempt}{kept}")
}

fn waiting(view: &View<'_>, left: Duration, why: &str, room: usize) -> String {
    let percent = match view.total {
        Some(total) if room >= 40 => format!("  {:>3}%", text::percent(view.bytes, total)),
        Some(_) | None => String::new(),
    };
    let next = view.attempt.saturating_add(1);
    // Whole seconds: tenths would only flicker.
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let left = match seconds {
        // It waits for its turn now: others have all the permits.
        0 => "next".to_owned(),
        1..60 => format!("in {seconds} s"),
        _ => format!("in {}", text::wait(Duration::from_secs(seconds))),
    };
    format!("{percent}  attempt {next} {left}: {why}")
}

/// As many of percentage, speed, time left, bytes and a bar as there is room for, in this order.
fn moving(view: &View<'_>, room: usize, look: Look) -> String {
    let Phase::Moving {
        per_second,
        left,
        silence,
    } = view.phase
    else {
        return String::new();
    };
    let mut used = 0;
    let mut take = |columns: usize| {
        let fits = used + columns <= room;
        used += if fits { columns } else { 0 };
        fits
    };
    let percent = view.total.map(|total| text::percent(view.bytes, total));
    let percent = percent.filter(|_| take(6));
    let speed = (take(2 + SPEED)).then(|| speed(per_second, silence));
    let left = left.filter(|_| silence < SILENT);
    let left = take(2 + LEFT).then(|| left.map(text::clock));
    // The bar goes before the bytes: half of what they say is in the percentage.
    let bar_first =
        view.total.is_some() && room < used_with(BYTES, SHORTEST_BAR, percent.is_some());
    let bytes = (!bar_first && take(2 + BYTES)).then(|| bytes(view));
    let mut line = String::new();
    // What is left of the line goes to the bar, so that the numbers of all files stand below each other.
    let free = room.saturating_sub(used);
    match view.total {
        Some(total) if free >= 2 + SHORTEST_BAR => {
            line.push_str("  ");
            line.push_str(&bar(view.bytes, total, free - 2, look));
        }
        Some(_) | None => line.push_str(&" ".repeat(free)),
    }
    if let Some(percent) = percent {
        line.push_str(&format!("  {percent:>3}%"));
    }
    if let Some(bytes) = bytes {
        line.push_str(&format!("  {bytes:>BYTES$}"));
    }
    if let Some(speed) = speed {
        line.push_str(&format!("  {speed:>SPEED$}"));
    }
    if let Some(left) = left {
        let unknown = if view.total.is_some() { "--:--" } else { "" };
        let left = left.unwrap_or_else(|| unknown.to_owned());
        line.push_str(&format!("  {left:>LEFT$}"));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The columns everything takes.
fn used_with(bytes: usize, bar: usize, percent: bool) -> usize {
    (2 + bytes) + (2 + bar) + (2 + SPEED) + (2 + LEFT) + if percent { 6 } else { 0 }
}

/// `1.23 MB/s`, or how long nothing has come.
fn speed(per_second: Option<u64>, silence: Duration) -> String {
    if silence >= SILENT {
        return format!("quiet {}", short(silence));
    }
    per_second.map_or_else(String::new, |speed| format!("{}/s", text::bytes(speed)))
}

/// A duration in three columns.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..100 => format!("{seconds}s"),
        seconds => format!("{}m", (seconds / 60).min(99)),
    }
}

fn bytes(view: &View<'_>) -> String {
    let bytes = text::bytes(view.bytes);
    match view.total {
        Some(total) => format!("{bytes}/{}", text::bytes(total)),
        None => format!("{bytes} of ?"),
    }
}

fn bar(bytes: u64, total: u64, width: usize, look: Look) -> String {
    let (body, head, rest) = if look.unicode {
        ("━", "╸", "─")
    } else {
        ("=", ">", "-")
    };
    let filled = match total {
        0 => width,
        _ => {
            let filled = u128::from(bytes.min(total)) * width as u128 / u128::from(total);
            usize::try_from(filled).unwrap_or(width)
        }
    };
    let style = Style::new().for_stderr();
    let done = if filled < width {
        format!("{}{head}", body.repeat(filled))
    } else {
        body.repeat(width)
    };
    let open = rest.repeat(width.saturating_sub(filled + 1));
    format!(
        "{}{}",
        style.clone().green().apply_to(done),
        style.dim().apply_to(open)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Look = Look {
        width: None,
        unicode: true,
    };
    const ASCII: Look = Look {
        width: None,
        unicode: false,
    };
    const NAME: &str = "a.film.with.a.long.name.s01e02.mkv";

    fn view(phase: Phase<'static>) -> View<'static> {
        View {
            name: NAME,
            attempt: 3,
            bytes: 18_000_000,
            total: Some(24_000_000),
            phase,
        }
    }

    fn moving() -> Phase<'static> {
        Phase::Moving {
            per_second: Some(1_230_000),
            left: Some(Duration::from_secs(65)),
            silence: Duration::ZERO,
        }
    }

    fn waiting() -> Phase<'static> {
        Phase::Waiting {
            left: Duration::from_millis(11_200),
            why: "the connection failed: connection reset by peer",
        }
    }

    fn shown(view: &View<'_>, width: usize, look: Look) -> String {
        line(view, 40, width, look)
    }

    #[test]
    fn a_moving_file_shows_what_there_is_room_for() {
        let table = [
            (20, "a.fi…mkv         75%"),
            (40, "a.film…2.mkv     75%  1.23 MB/s    01:05"),
            (
                60,
                "a.film.wit…e02.mkv  ━━━━━━━━━━╸───   75%  1.23 MB/s    01:05",
            ),
            (
                80,
                "a.film.with.a.lo…e02.mkv  ━━━━━━━━╸──   75%  18.0 MB/24.0 MB  1.23 MB/s    01:05",
            ),
            (
                120,
                "a.film.with.a.long.name.s01e02.mkv    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────────   75%  18.0 MB/24.0 MB  1.23 MB/s    01:05",
            ),
        ];
        let drawn = table.map(|(width, _)| (width, shown(&view(moving()), width, UNICODE)));
        assert_eq!(drawn, table.map(|(width, line)| (width, line.to_owned())));
    }

    #[test]
    fn a_waiting_file_shows_the_countdown_and_the_reason() {
        let table = [
            (40, "a.film…2.mkv  attempt 4 in 12 s: the co…"),
            (
                80,
                "a.film.with.a.lo…e02.mkv   75%  attempt 4 in 12 s: the connection failed: conne…",
            ),
        ];
        for (width, wanted) in table {
            assert_eq!(shown(&view(waiting()), width, UNICODE), wanted);
        }
    }

    #[test]
    fn an_unknown_size_has_neither_bar_nor_percentage() {
        let mut unknown = view(Phase::Moving {
            per_second: Some(1_230_000),
            left: None,
            silence: Duration::ZERO,
        });
        unknown.total = None;
        assert_eq!(
            shown(&unknown, 60, ASCII),
            "a.film.w...e02.mkv          18.0 MB of ?  1.23 MB/s"
        );
    }

    #[test]
    fn silence_is_said_in_place_of_the_speed() {
        let silent = Phase::Moving {
            per_second: Some(3),
            left: None,
            silence: Duration::from_secs(12),
        };
        assert_eq!(
            shown(&view(silent), 40, UNICODE),
            "a.film…2.mkv     75%  quiet 12s    --:--"
        );
        assert_eq!(
            shown(&view(Phase::Connecting), 60, UNICODE),
            "a.film.wit…e02.mkv  connecting, attempt 3, 18.0 MB are here"
        );
    }

    #[test]
    fn no_line_is_ever_wider_than_the_terminal() {
        let phases = [moving(), waiting(), Phase::Connecting];
        for phase in phases {
            for look in [UNICODE, ASCII] {
                for width in 0..200 {
                    for total in [None, Some(0), Some(u64::MAX)] {
                        let line = shown(
                            &View {
                                total,
                                ..view(phase)
                            },
                            width,
                            look,
                        );
                        assert!(
                            console::measure_text_width(&line) <= width,
                            "{width}: {line}"
                        );
                    }
                }
            }
        }
    }
}
