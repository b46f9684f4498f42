//! Lines on standard error, one for each thing that happens: those above the bars, and all there is in logs, pipes and on dumb
//! terminals.
//!
//! On a terminal no line is wider than it: long names are cut in the middle, details that do not fit are left out, and the last
//! error of a file is wrapped. Elsewhere names and errors are whole.

use super::progress::{Progress, Run};
use super::{End, Reporter, WasDone};
use crate::cli::get::Target;
use crate::cli::output::{Exit, Layout};
use crate::cli::text;
use crate::host::Listener;
use crate::store::part_path;
use crate::sync::lock;
use regrip_core::error::chain;
use regrip_core::record::RestartReason;
use regrip_core::retry::AskedBy;
use regrip_core::{Class, DownloadId, Error, Event, Row, Summary, What};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A file in progress gets its first line after this time, so that a quick one has only the line about its end.
const FIRST: Duration = Duration::from_secs(2);
/// Time between two lines about a file in progress.
const INTERVAL: Duration = Duration::from_secs(30);

/// Writes a line for each event, and now and then one about a file in progress.
#[derive(Debug)]
pub(super) struct Plain(Mutex<PlainState>);

#[derive(Debug)]
struct PlainState {
    run: Run,
    /// When the next line about each file in progress is due.
    due: HashMap<DownloadId, Instant>,
}

impl Plain {
    pub(super) fn new() -> Self {
        Plain(Mutex::new(PlainState { run: Run::begin(Instant::now()), due: HashMap::new() }))
    }
}

impl Listener for Plain {
    fn hear(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut state = lock(&self.0);
        let file = state.run.record(event, now);
        let in_progress = matches!(event.what, What::Progress { .. });
        let line = match in_progress {
            true => Some(so_far(file, Layout::of_stderr())),
            false => line(event, file, now, Layout::of_stderr()),
        };
        if let What::Started { .. } = event.what {
            state.due.insert(event.id, now + FIRST);
        }
        if in_progress && state.due.get(&event.id).is_some_and(|due| now < *due) {
            return;
        }
        if let Some(line) = line {
            state.due.insert(event.id, now + INTERVAL);
            say!("{line}");
        }
        if let What::Completed(_) | What::Failed(_) | What::Cancelled(_) | What::Paused { .. } = &event.what {
            state.due.remove(&event.id);
            state.run.forget(event.id);
        }
    }
}

impl Reporter for Plain {
    fn was_done(&self, row: &Row, how: &WasDone) {
        lock(&self.0).run.add_unchanged();
        say!("{}", was_done(row, how, Layout::of_stderr()));
    }
    fn refused(&self, target: &Target, error: &Error) {
        lock(&self.0).run.add_failed();
        say!("{}", refused(target, error, Layout::of_stderr()));
    }
    fn end(&self, how: &End<'_>) {
        end(&lock(&self.0).run, how);
    }
}

/// The last lines of a run: the counts of several files, and how to resume after Ctrl-C.
pub(super) fn end(run: &Run, end: &End<'_>) {
    if let Some(total) = run.total(end, Layout::of_stderr(), Instant::now()) {
        say!("{total}");
    }
    if end.exit == Exit::Interrupted {
        say!("regrip: interrupted; partial data kept\n  to resume, {}", end.to_resume);
    }
}

/// The text and the first details, as many as fit in these columns.
pub(super) fn with_details(mut text: String, details: &[impl AsRef<str>], width: usize) -> String {
    for detail in details.iter().map(AsRef::as_ref) {
        if console::measure_text_width(&text) + console::measure_text_width(detail) > width {
            break;
        }
        text += detail;
    }
    text
}

/// `NAME: RESULT`, and as many of the details as fit beside the whole name; half of the columns are for the name at most.
fn fitted(name: &str, result: &str, details: &[&str], layout: Layout) -> String {
    let width_of = console::measure_text_width;
    // The last column of a terminal stays free: some begin a new line once it is written to.
    let width = layout.width.map_or(COLUMNS, |width| width.saturating_sub(1));
    let least = match layout.width {
        Some(_) => width_of(name).min(width / 2),
        None => width_of(name),
    };
    let text = with_details(format!(": {result}"), details, width - least.min(width));
    if layout.width.is_none() {
        return format!("{name}{text}");
    }
    let name = text::shorten(name, width.saturating_sub(width_of(&text)).max(least), layout);
    text::cut(&format!("{name}{text}"), width, layout)
}

/// A line with every word of it, and the advice below it, wrapped if a terminal is too narrow.
fn wrapped(name: &str, error: &str, advice: Option<&str>, layout: Layout) -> String {
    let Some(width) = layout.width.map(|width| width.saturating_sub(1).max(1)) else {
        return text::with_advice(&format!("regrip: {name}: {error}"), advice);
    };
    let name = text::shorten(name, width / 2, layout);
    let options = textwrap::Options::new(width).subsequent_indent("  ");
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    let line = format!("regrip: {name}: {error}");
    let mut lines = textwrap::wrap(&line, &options);
    let advice = advice.unwrap_or_default();
    lines.extend(textwrap::wrap(advice, options.initial_indent("  ")).into_iter().filter(|_| !advice.is_empty()));
    lines.join("\n")
}

/// The line for an event, if it has one.
pub(super) fn line(event: &Event<'_>, file: &Progress, now: Instant, layout: Layout) -> Option<String> {
    let fitted = |result: &str, details: &[&str]| Some(fitted(&file.name, result, details, layout));
    match &event.what {
        What::Queued
        | What::Progress { .. }
        | What::Started { attempt: 1, from: 0 }
        | What::Headers { mismatch: false, .. } => None,
        What::Started { attempt, from: 0 } => fitted(&format!("attempt {attempt}, from the beginning"), &[]),
        What::Started { attempt, from } => {
            fitted(&format!("attempt {attempt}, resuming at {}", text::bytes(*from)), &[])
        }
        What::Headers { expected_bytes, .. } => {
            let size = expected_bytes.map_or_else(|| "unknown size".to_owned(), text::bytes);
            fitted(&format!("{size}, not the announced size"), &[])
        }
        What::Restart { reason, discarded_bytes } => {
            let discarded = text::bytes(*discarded_bytes);
            let what = match file.bytes() {
                0 => format!("restart, {discarded} discarded"),
                kept => format!("{discarded} discarded, {} kept", text::bytes(kept)),
            };
            fitted(&format!("{what}: {}", why(*reason)), &[])
        }
        What::Retrying { attempt, delay, asked_by, error, .. } => {
            let (next, left) = (attempt.saturating_add(1), text::in_a_while(*delay));
            fitted(&format!("attempt {next} {left}: {}", wait_reason(*asked_by, error)), &[])
        }
        What::Waiting { why, .. } => fitted(&format!("waiting: {}", text::plain(why)), &[]),
        What::Paused { bytes } => {
            let kept = format!("; {} kept", text::bytes(*bytes));
            fitted("paused", &[&kept, &format!(", `regrip resume {}` resumes it", event.id)])
        }
        What::Completed(summary) => Some(completed(&file.name, summary, &file.of_this_run(summary, now), layout)),
        What::Failed(summary) => Some(failed(event.path, summary, layout)),
        What::Cancelled(summary) => {
            let kept = format!("; {} kept", text::bytes(summary.bytes));
            let resumes = format!(", `regrip retry {}` resumes it", event.id);
            fitted("cancelled", &[&kept, &resumes])
        }
    }
}

/// How far a file is.
fn so_far(file: &Progress, layout: Layout) -> String {
    let bytes = text::bytes(file.bytes());
    let of = |total| format!("{bytes} of {}, {}%", text::bytes(total), text::percent(file.bytes(), total));
    let so_far = file.total().map_or(bytes.clone(), of);
    let speed = file.per_second.map_or_else(String::new, |speed| format!(", {}/s", text::bytes(speed)));
    let left = file.left.map_or_else(String::new, |left| format!(", {} left", text::wait(left)));
    fitted(&file.name, &so_far, &[&speed, &left], layout)
}

/// What went wrong, and whether the server asked for the wait that follows.
pub(super) fn wait_reason(asked_by: AskedBy, error: &str) -> String {
    let asked = match asked_by {
        AskedBy::Jitter => "",
        AskedBy::RetryAfter => " and asked to wait",
    };
    text::plain(&format!("{error}{asked}"))
}

/// Columns of the line of a completed file at most, and of one with details that is not on a terminal.
const COLUMNS: usize = 80;

/// The line of a completed file, and its warning.
fn completed(name: &str, summary: &Summary, of_this_run: &str, layout: Layout) -> String {
    let counted = |number: u32, least, thing| match number >= least {
        true => format!(", {}", text::count(number, thing)),
        false => String::new(),
    };
    let attempts = counted(summary.attempts, 2, "attempt");
    let restarts = counted(summary.restarts, 1, "restart");
    let result = format!("complete, {}", text::bytes(summary.bytes));
    let layout = Layout { width: layout.width.map(|width| width.min(COLUMNS)), ..layout };
    let line = fitted(name, &result, &[of_this_run, &attempts, &restarts], layout);
    match &summary.warning {
        Some(warning) => format!("{line}\n  warning: {}", text::plain(warning)),
        None => line,
    }
}

/// The last lines of a file that failed.
pub(super) fn failed(path: &str, summary: &Summary, layout: Layout) -> String {
    let error = text::plain(summary.error.as_deref().unwrap_or("failed"));
    let attempts = match summary.attempts {
        0 | 1 => String::new(),
        attempts => format!(" (after {attempts} attempts)"),
    };
    let code = summary.code.as_ref();
    let advice = code.and_then(text::advice_by_code).or(summary.advice);
    let advice = match (advice, summary.class) {
        (None, Some(Class::Transient)) if summary.bytes > 0 => Some("run it again later: it resumes"),
        (None, Some(Class::Transient)) => Some("run it again later; --max-attempts N allows more attempts"),
        (advice, _) => advice,
    };
    wrapped(&name(path), &format!("{error}{attempts}"), advice, layout)
}

pub(super) fn refused(target: &Target, error: &Error, layout: Layout) -> String {
    let advice = text::advice(error);
    let take_over = match error {
        Error::DestinationExists { path } => take_over(Path::new(path)),
        _ => None,
    };
    let both = advice.zip(take_over).map(|(advice, take_over)| format!("{advice}; {take_over}"));
    let advice = both.as_deref().or(advice);
    wrapped(&name(&target.destination.to_string_lossy()), &chain(error), advice, layout)
}

/// How to finish the partial file of another program; `None` if that would replace a part.
fn take_over(file: &Path) -> Option<String> {
    let part = part_path(file);
    if part.symlink_metadata().is_ok() {
        return None;
    }
    let here = std::env::current_dir().unwrap_or_default();
    let [file, part] = [file, &part].map(|path| shell_word(path.strip_prefix(&here).unwrap_or(path)));
    Some(format!("to finish a partial file of curl or wget: mv {file} {part}, then the same command with --adopt-part"))
}

/// A path as a word of the shell.
fn shell_word(path: &Path) -> String {
    let text = text::plain(&path.to_string_lossy());
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,@%:".contains(letter);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

pub(super) fn was_done(row: &Row, how: &WasDone, layout: Layout) -> String {
    let name = name(&row.new.destination);
    match how {
        WasDone::NotAsked { completed_at, named } => {
            let at = completed_at.as_deref().map(text::day_and_time).unwrap_or_default();
            let (day, time) = at.split_once(' ').unwrap_or_default();
            let asked = if *named { "asked only for the name" } else { "not asked" };
            let details = [format!(", fetched {day}"), format!(" {time} UTC"), format!("; the server was {asked}")];
            let known = if at.is_empty() { 2.. } else { 0.. };
            let details: Vec<&str> = details[known].iter().map(String::as_str).collect();
            fitted(&name, "unchanged", &details, layout)
        }
        WasDone::NotNewer => fitted(&name, "not newer on the server", &[], layout),
        WasDone::Unchanged => fitted(&name, "unchanged on the server", &[], layout),
    }
}

/// A file's own name.
pub(super) fn name(path: &str) -> String {
    let name = Path::new(path).file_name();
    text::plain(&name.map_or_else(|| path.into(), |name| name.to_string_lossy()))
}

/// The reason for a restart in a sentence.
pub(crate) fn why(reason: RestartReason) -> &'static str {
    match reason {
        RestartReason::PartOversize => "the part is longer than the file",
        RestartReason::PartChanged => "the part was changed by somebody else",
        RestartReason::ContentRangeMismatch => "the server sent another range than requested",
        RestartReason::ValidatorChanged => "the file was replaced on the server",
        RestartReason::OverlapMismatch => "the server sent other bytes than the end of the part",
        RestartReason::RangeIgnored => "the server ignored the range and sent the whole file",
        RestartReason::RangeNotSatisfiable => "the server says the file is shorter than the part",
        RestartReason::RangeRefused => "the server refuses ranges and sent other bytes",
        RestartReason::DigestMismatch => "the complete file has another digest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn event(what: What) -> Event<'static> {
        Event { id: 7, at: SystemTime::UNIX_EPOCH, url: "https://example.org/film", path: "/films/film", what }
    }

    fn layout(width: Option<usize>) -> Layout {
        Layout { width, unicode: true }
    }

    const LONG: &str = "A.Film.With.A.Long.Name.2020.1080p.WEB-DL.DDP5.1.H.264-GROUP.mkv";
    const JAPANESE: &str = "映画のとても長い名前、字幕付き、第二話の続き、そして最終回まで.mkv";

    #[test]
    fn the_line_of_a_completed_file_has_the_details_that_fit() {
        let summary = Summary { bytes: 24_000_000, attempts: 12, restarts: 1, ..Summary::default() };
        let plain = Summary { bytes: 24_000_000, attempts: 1, ..Summary::default() };
        let table = [
            ("film.mkv", &plain, Some(80), "film.mkv: complete, 24.0 MB, in 12 s"),
            ("film.mkv", &plain, Some(40), "film.mkv: complete, 24.0 MB, in 12 s"),
            ("film.mkv", &plain, Some(30), "film.mkv: complete, 24.0 MB"),
            ("film.mkv", &summary, Some(80), "film.mkv: complete, 24.0 MB, in 12 s, 12 attempts, 1 restart"),
            ("film.mkv", &summary, Some(40), "film.mkv: complete, 24.0 MB, in 12 s"),
            (LONG, &plain, Some(80), "A.Film.With.A.Long.Name.2020.1080p….H.264-GROUP.mkv: complete, 24.0 MB, in 12 s"),
            (LONG, &plain, Some(40), "A.Film.With.…OUP.mkv: complete, 24.0 MB"),
            (JAPANESE, &plain, Some(40), "映画のとても…で.mkv: complete, 24.0 MB"),
            ("e\u{301}te\u{301}.mkv", &plain, Some(40), "e\u{301}te\u{301}.mkv: complete, 24.0 MB, in 12 s"),
            (
                LONG,
                &summary,
                Some(200),
                "A.Film.With.A.Long.Name.2020.1080p….H.264-GROUP.mkv: complete, 24.0 MB, in 12 s",
            ),
            ("film.mkv", &summary, None, "film.mkv: complete, 24.0 MB, in 12 s, 12 attempts, 1 restart"),
            (LONG, &summary, None, &format!("{LONG}: complete, 24.0 MB")),
        ];
        for (name, summary, width, line) in table {
            assert_eq!(completed(name, summary, ", in 12 s", layout(width)), line, "{width:?}");
        }
    }

    #[test]
    fn every_kind_of_line_fits_in_the_terminal() {
        let error = "connection failed: tcp connect error: Connection refused (os error 111)".to_owned();
        let summary = Summary {
            bytes: 999_999_999,
            attempts: 12,
            restarts: 2,
            class: Some(Class::Transient),
            error: Some(error.clone()),
            ..Summary::default()
        };
        let retrying = |asked_by| What::Retrying {
            attempt: 11,
            delay: Duration::from_secs(125),
            asked_by,
            class: Class::Transient,
            error: error.clone(),
        };
        let whats = [
            What::Started { attempt: 12, from: 0 },
            What::Started { attempt: 12, from: 999_999_999 },
            What::Headers { expected_bytes: None, source: None, mismatch: true },
            What::Restart { reason: RestartReason::RangeIgnored, discarded_bytes: 999_999_999 },
            retrying(AskedBy::Jitter),
            retrying(AskedBy::RetryAfter),
            What::Waiting { until: SystemTime::UNIX_EPOCH, why: error.clone() },
            What::Completed(summary.clone()),
            What::Failed(summary.clone()),
            What::Cancelled(summary),
        ];
        let now = Instant::now();
        for name in ["film.mkv", LONG, JAPANESE, &"\u{6620}".repeat(85), &"e\u{301}".repeat(60), &"x".repeat(255)] {
            for what in &whats {
                let mut event = event(what.clone());
                event.path = name;
                let mut run = Run::begin(now);
                let file = run.record(&event, now);
                for columns in [2, 12, 20, 40, 80, 200] {
                    let lines = line(&event, file, now, layout(Some(columns))).unwrap();
                    let is_one = matches!(what, What::Failed(_)) || lines.lines().count() == 1;
                    let widths = lines.lines().map(console::measure_text_width);
                    assert!(is_one && widths.max().unwrap() < columns.max(5), "{columns}: {lines}");
                }
                let whole = line(&event, file, now, layout(None)).unwrap();
                assert!(whole.contains(name), "{whole}");
            }
        }
    }

    #[test]
    fn a_quick_file_has_one_line() {
        let now = Instant::now();
        let mut run = Run::begin(now);
        let quick = [
            What::Queued,
            What::Started { attempt: 1, from: 0 },
            What::Headers { expected_bytes: Some(7), source: None, mismatch: false },
            What::Completed(Summary { bytes: 7, attempts: 1, ..Summary::default() }),
        ];
        let lines = quick.map(|what| {
            let event = event(what);
            line(&event, run.record(&event, now), now, layout(Some(80)))
        });
        assert_eq!(lines, [None, None, None, Some("film: complete, 7 B".to_owned())]);
    }
}
