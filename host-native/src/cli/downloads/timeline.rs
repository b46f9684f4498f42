//! The timeline of `show`: a row for each attempt, its bar on a time axis that all of them share.
//!
//! The axis is to scale, except that a long pause in which nothing ran or waited (the process had ended, or the download had
//! failed) is shortened, and noted.

use super::Moment;
use crate::cli::output::Layout;
use crate::cli::report::why;
use crate::cli::text;
use crate::ledger::AttemptLine;
use console::Style;
use regrip_core::record::RestartReason;
use std::time::Duration;

/// If the output is not a terminal.
const WIDTH: usize = 100;
/// A bar is not made longer than this: the rest of a wide terminal would only stretch it.
const BAR: usize = 120;
/// Nor shorter, if there is room.
const SHORTEST: usize = 8;
/// A shorter pause is what starting a process takes.
const GRACE: Duration = Duration::from_secs(2);

/// An attempt on the axis, in time since the first one began.
struct Span<'a> {
    line: &'a AttemptLine,
    begin: Duration,
    end: Duration,
    /// Until the next one begins, or the recorded wait is over.
    wait: Duration,
    /// The part of the pause after it that is not drawn.
    left_out: Duration,
}

/// Draws the attempts. If `alive`, a process drives the last one, if that has no end; otherwise it ended with the row's last
/// change, at `last`.
pub(super) fn timeline(attempts: &[AttemptLine], alive: bool, last: &str, now: Moment, layout: Layout) -> Vec<String> {
    let open_end = if alive { now.at } else { now.time(last).unwrap_or(now.at) };
    let spans = spans(attempts, open_end, now);
    let Some(first) = spans.first() else {
        return vec!["no attempt yet".to_owned()];
    };
    let shape = Shape::of(&spans, alive, layout);
    let mut lines = vec![
        cut(format!("attempts from {} UTC", crate::cli::text::day_and_time(&first.line.started_at)), shape.width),
        shape.head(),
    ];
    let mut shift = Duration::ZERO;
    for span in &spans {
        lines.push(shape.row(span, shift, alive));
        for detail in details(span) {
            let indent = shape.number + 2;
            let room = shape.width.saturating_sub(indent);
            let detail = text::plain(&detail);
            let wrapped = textwrap::wrap(&detail, room.max(1)).into_iter();
            lines.extend(wrapped.map(|line| format!("{:indent$}{line}", "")));
        }
        shift += span.left_out;
    }
    lines
}

fn spans<'a>(attempts: &'a [AttemptLine], open_end: std::time::SystemTime, now: Moment) -> Vec<Span<'a>> {
    let Some(zero) = attempts.first().and_then(|line| now.time(&line.started_at)) else {
        return Vec::new();
    };
    // Clocks jump: whatever is before its predecessor is at the same place.
    let since = |at: std::time::SystemTime| at.duration_since(zero).unwrap_or_default();
    let mut spans: Vec<Span<'a>> = Vec::new();
    for line in attempts {
        let before = spans.last().map_or(Duration::ZERO, |span| span.end);
        let begin = now.time(&line.started_at).map_or(before, since).max(before);
        let end = match &line.ended_at {
            Some(at) => now.time(at),
            None => Some(open_end),
        };
        spans.push(Span {
            line,
            begin,
            end: end.map_or(begin, since).max(begin),
            wait: line.wait_ms.map_or(Duration::ZERO, Duration::from_millis),
            left_out: Duration::ZERO,
        });
    }
    // A wait ends with the next attempt; a longer pause is one in which nothing was to happen.
    let begins: Vec<Duration> = spans.iter().skip(1).map(|span| span.begin).collect();
    let busy: Duration = spans.iter().map(|span| span.end - span.begin + span.wait).sum();
    let longest = (busy / 10).max(GRACE);
    for (span, next) in spans.iter_mut().zip(begins) {
        let gap = next - span.end;
        span.wait = span.wait.min(gap);
        let idle = gap - span.wait;
        span.left_out = idle.saturating_sub(longest);
        if span.left_out < GRACE {
            span.left_out = Duration::ZERO;
        }
    }
    spans
}

/// The columns.
struct Shape {
    width: usize,
    /// Of the attempt's number.
    number: usize,
    bar: usize,
    offsets: usize,
    outcome: usize,
    /// What the whole bar stands for.
    total: Duration,
    unicode: bool,
}

impl Shape {
    fn of(spans: &[Span<'_>], alive: bool, layout: Layout) -> Self {
        let number = spans.last().map_or(1, |span| span.line.attempt.to_string().len());
        let widest = |cell: &dyn Fn(&Span<'_>) -> String| {
            let cells = spans.iter().map(|span| console::measure_text_width(&cell(span)));
            cells.max().unwrap_or_default()
        };
        let offsets = widest(&|span| offsets(span.line, layout.unicode));
        let outcome = widest(&|span| outcome(span.line, alive).to_owned()).max("outcome".len());
        let width = layout.width.unwrap_or(WIDTH);
        let beside = number + 2 + 2 + offsets + 2 + outcome;
        let end = spans.iter().map(|span| span.end + span.wait).max();
        let left_out: Duration = spans.iter().map(|span| span.left_out).sum();
        Shape {
            width,
            number,
            bar: width.saturating_sub(beside).clamp(SHORTEST, BAR),
            offsets,
            outcome,
            total: end.unwrap_or_default().saturating_sub(left_out),
            unicode: layout.unicode,
        }
    }

    /// The axis: its ends, and its middle if there is room.
    fn head(&self) -> String {
        let end = text::wait(self.total);
        let middle = text::wait(self.total / 2);
        let room = self.bar.saturating_sub("0 s".len());
        let scale = if room > 4 * end.len() + middle.len() {
            let to_middle = self.bar / 2 - "0 s".len();
            let from_middle = self.bar - self.bar / 2;
            format!("0 s{middle:>to_middle$}{end:>from_middle$}")
        } else {
            format!("0 s{end:>room$}")
        };
        let indent = self.number + 2;
        let (offsets, arrow) = (self.offsets, arrow(self.unicode));
        let head = format!("{:indent$}{scale}  {:offsets$}  outcome", "", format!("from {arrow} to"));
        cut(head, self.width)
    }

    fn row(&self, span: &Span<'_>, shift: Duration, alive: bool) -> String {
        let bar = self.bar(span, shift, alive);
        let offsets = text::pad(&offsets(span.line, self.unicode), self.offsets);
        let outcome = text::pad(outcome(span.line, alive), self.outcome);
        let number = self.number;
        let row = format!("{:>number$}  {bar}  {offsets}  {outcome}", span.line.attempt);
        cut(row.trim_end().to_owned(), self.width)
    }

    /// An attempt takes a cell at least, however short it was; a wait only those that it fills.
    fn bar(&self, span: &Span<'_>, shift: Duration, alive: bool) -> String {
        let begin = self.cell(span.begin - shift).min(self.bar - 1);
        let end = self.cell(span.end - shift).clamp(begin + 1, self.bar);
        let waited = self.cell(span.end + span.wait - shift).clamp(end, self.bar);
        let (body, dots) = if self.unicode { ("━", "┄") } else { ("=", ".") };
        let attempt = format!("{}{}", body.repeat(end - begin - 1), mark(span.line, alive));
        format!(
            "{:begin$}{}{}{:rest$}",
            "",
            style(span.line).apply_to(attempt),
            Style::new().dim().apply_to(dots.repeat(waited - end)),
            "",
            rest = self.bar - waited
        )
    }

    fn cell(&self, at: Duration) -> usize {
        let total = self.total.as_millis().max(1);
        let cell = (at.as_millis() * self.bar as u128 + total / 2) / total;
        usize::try_from(cell).unwrap_or(self.bar)
    }
}

/// Cuts through colour sequences, too, so only if the text does not fit.
fn cut(line: String, width: usize) -> String {
    if console::measure_text_width(&line) <= width {
        return line;
    }
    console::truncate_str(&line, width, "").into_owned()
}

fn arrow(unicode: bool) -> &'static str {
    if unicode { "→" } else { "->" }
}

fn offsets(line: &AttemptLine, unicode: bool) -> String {
    let from = text::bytes(line.offset_from);
    match line.offset_to {
        Some(to) => format!("{from} {} {}", arrow(unicode), text::bytes(to)),
        None => format!("{from} {}", arrow(unicode)),
    }
}

fn outcome(line: &AttemptLine, alive: bool) -> &str {
    match line.outcome.as_deref() {
        Some(outcome) => outcome,
        None if alive => "in progress",
        None => "lost",
    }
}

/// How an attempt ended, as the last cell of its bar says it, readable without colours.
fn mark(line: &AttemptLine, alive: bool) -> &'static str {
    match outcome(line, alive) {
        "completed" => "#",
        "failed" => "x",
        "in progress" => ">",
        _ => "|",
    }
}

fn style(line: &AttemptLine) -> Style {
    match line.outcome.as_deref() {
        Some("completed") => Style::new().green(),
        Some("failed") => Style::new().red(),
        _ => Style::new().yellow(),
    }
}

/// What there is to say about an attempt beside its row, in the order in which it happened.
fn details(span: &Span<'_>) -> Vec<String> {
    let line = span.line;
    let mut details = Vec::new();
    if let Some(reasons) = &line.restart_reason {
        let discarded = text::bytes(line.discarded_bytes.unwrap_or_default());
        let told: Vec<String> = reasons.split(',').map(reason).collect();
        details.push(format!("started over, {discarded} discarded: {}", told.join("; then ")));
    }
    if let Some(error) = &line.error {
        let class = line.class.as_deref().unwrap_or_default();
        let code = line.code.as_deref().unwrap_or("error");
        details.push(format!("{class} {code}: {error}").trim_start().to_owned());
    }
    if let Some(wait) = line.wait_ms.map(Duration::from_millis) {
        let asked = match line.asked_by.as_deref() {
            Some("retry_after") => "as the server asked (Retry-After)",
            _ => "drawn at random (jitter)",
        };
        details.push(format!("then a delay of {}, {asked}", text::wait(wait)));
    }
    if span.left_out > Duration::ZERO {
        details.push(format!("then a pause, {} of it not drawn", text::wait(span.left_out)));
    }
    details
}

fn reason(name: &str) -> String {
    match RestartReason::named(name) {
        Some(reason) => format!("{} ({name})", why(reason)),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::now;
    use super::*;

    fn layout(width: usize, unicode: bool) -> Layout {
        Layout { width: Some(width), unicode }
    }

    /// From second to second of 2026-10-20 11:00.
    fn attempt(number: u32, from: u64, to: u64, bytes: (u64, u64), outcome: &str) -> AttemptLine {
        let at = |second: u64| {
            format!("2026-10-20T{:02}:{:02}:{:02}.000Z", 11 + second / 3600, second % 3600 / 60, second % 60)
        };
        AttemptLine {
            attempt: number,
            started_at: at(from),
            ended_at: Some(at(to)),
            offset_from: bytes.0,
            offset_to: Some(bytes.1),
            outcome: Some(outcome.to_owned()),
            class: None,
            code: None,
            error: None,
            wait_ms: None,
            asked_by: None,
            restart_reason: None,
            discarded_bytes: None,
        }
    }

    fn failing(mut line: AttemptLine, wait_seconds: u64, asked_by: &str) -> AttemptLine {
        line.class = Some("transient".to_owned());
        line.code = Some("Network".to_owned());
        line.error = Some("the connection failed: reading the body: connection reset".to_owned());
        line.wait_ms = Some(wait_seconds * 1000);
        line.asked_by = Some(asked_by.to_owned());
        line
    }

    /// Ten seconds, a wait of ten, then twenty.
    fn three() -> [AttemptLine; 3] {
        let mut second = attempt(2, 20, 30, (7_000_000, 2_000_000), "failed");
        second.restart_reason = Some("validator_changed".to_owned());
        second.discarded_bytes = Some(7_000_000);
        [
            failing(attempt(1, 0, 10, (0, 7_000_000), "failed"), 10, "jitter"),
            failing(second, 10, "retry_after"),
            attempt(3, 40, 60, (2_000_000, 24_000_000), "completed"),
        ]
    }

    fn drawn(attempts: &[AttemptLine], layout: Layout) -> Vec<String> {
        timeline(attempts, false, "2026-10-20T11:01:00.000Z", now(), layout)
    }

    #[test]
    fn bars_stand_on_one_axis_in_sixty_columns() {
        assert_eq!(
            drawn(&three(), layout(60, true)),
            [
                "attempts from 2026-10-20 11:00:00 UTC",
                "   0 s               1 min 0 s  from → to          outcome",
                "1  ━━━━x┄┄┄┄                    0 B → 7.00 MB      failed",
                "   transient Network: the connection failed: reading the",
                "   body: connection reset",
                "   then a delay of 10 s, drawn at random (jitter)",
                "2           ━━━━x┄┄┄┄           7.00 MB → 2.00 MB  failed",
                "   started over, 7.00 MB discarded: the file was replaced on",
                "   the server (validator_changed)",
                "   transient Network: the connection failed: reading the",
                "   body: connection reset",
                "   then a delay of 10 s, as the server asked (Retry-After)",
                "3                    ━━━━━━━━#  2.00 MB → 24.0 MB  completed",
            ]
        );
    }

    #[test]
    fn plain_characters_where_there_are_no_others_and_all_the_width_there_is() {
        let lines = drawn(&three(), layout(200, false));
        assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
        let bars: Vec<&str> = lines.iter().filter(|line| line.contains("=")).map(String::as_str).collect();
        assert_eq!(bars.len(), 3);
        // The last is a third of the axis, which is as long as a bar gets.
        assert_eq!(bars[2].matches(['=', '#']).count(), BAR / 3);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for unicode in [true, false] {
            for width in 40..210 {
                for line in drawn(&three(), layout(width, unicode)) {
                    assert!(console::measure_text_width(&line) <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_long_pause_between_two_runs_is_drawn_short_and_said_to_be() {
        let attempts = [
            attempt(1, 0, 10, (0, 7_000_000), "interrupted"),
            attempt(2, 3610, 3620, (7_000_000, 24_000_000), "completed"),
        ];
        assert_eq!(
            drawn(&attempts, layout(60, false)),
            [
                "attempts from 2026-10-20 11:00:00 UTC",
                "   0 s     11 s        22 s  from -> to          outcome",
                "1  ==========|               0 B -> 7.00 MB      interrupted",
                "   then a pause, 59 min 58 s of it not drawn",
                "2               ==========#  7.00 MB -> 24.0 MB  completed",
            ]
        );
    }

    #[test]
    fn an_attempt_without_an_end_is_under_way_or_lost() {
        let mut open = attempt(1, 0, 0, (0, 0), "");
        (open.ended_at, open.offset_to, open.outcome) = (None, None, None);
        for (alive, word) in [(true, "in progress"), (false, "lost")] {
            let lines =
                timeline(std::slice::from_ref(&open), alive, "2026-10-20T11:00:05.000Z", now(), layout(60, true));
            assert!(lines[2].ends_with(word), "{lines:?}");
        }
        assert_eq!(drawn(&[], layout(60, true)), ["no attempt yet"]);
    }

    #[test]
    fn clocks_that_jump_and_numbers_without_sense_break_nothing() {
        let mut odd = three();
        odd[1].started_at = "2020-01-01T00:00:00.000Z".to_owned();
        odd[2].ended_at = Some("not a time".to_owned());
        odd[2].wait_ms = Some(u64::MAX);
        for width in [1, 10, 60] {
            assert!(drawn(&odd, layout(width, true)).len() > 3);
        }
    }
}
