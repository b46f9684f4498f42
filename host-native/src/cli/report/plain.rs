//! Plain lines on standard error: for logs, pipes and dumb terminals.

use super::progress::{Progress, Run};
use super::{Reporter, WasDone};
use crate::cli::get::Target;
use crate::cli::output::{Exit, Layout};
use crate::cli::text;
use crate::host::Listener;
use crate::store::part_path;
use crate::sync::lock;
use regrip_core::record::RestartReason;
use regrip_core::retry::AskedBy;
use regrip_core::{Class, DownloadId, Error, Event, Row, Summary, What};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines about a file in progress.
const INTERVAL: Duration = Duration::from_secs(30);

/// Writes a line for each event, and now and then one about a file in progress.
#[derive(Debug)]
pub(super) struct Plain(Mutex<PlainState>);

#[derive(Debug)]
struct PlainState {
    run: Run,
    /// Time of the last line about each file.
    last: HashMap<DownloadId, Instant>,
}

impl Plain {
    pub(super) fn new() -> Self {
        Plain(Mutex::new(PlainState { run: Run::begin(Instant::now()), last: HashMap::new() }))
    }
}

impl Listener for Plain {
    fn hear(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut state = lock(&self.0);
        let file = state.run.record(event, now);
        let in_progress = matches!(event.what, What::Progress { .. });
        let line = match in_progress {
            true => Some(so_far(file)),
            false => line(event, file, now),
        };
        let last = state.last.entry(event.id).or_insert(now);
        if in_progress && now - *last < INTERVAL {
            return;
        }
        if let Some(line) = line {
            *last = now;
            say!("{line}");
        }
        if let What::Completed(_) | What::Failed(_) | What::Cancelled(_) | What::Paused { .. } = &event.what {
            state.last.remove(&event.id);
            state.run.forget(event.id);
        }
    }
}

impl Reporter for Plain {
    fn was_done(&self, row: &Row, how: &WasDone) {
        lock(&self.0).run.add_completed(row.downloaded);
        say!("{}", was_done(row, how));
    }
    fn refused(&self, target: &Target, error: &Error) {
        lock(&self.0).run.add_failed();
        say!("{}", refused(target, error));
    }
    fn end(&self, exit: Exit, to_resume: &str) {
        end(&lock(&self.0).run, exit, to_resume);
    }
}

/// The last lines of a run: the total of many files, and how to resume after Ctrl-C.
pub(super) fn end(run: &Run, exit: Exit, to_resume: &str) {
    if let Some(total) = run.total(Instant::now()) {
        say!("{total}");
    }
    if exit == Exit::Interrupted {
        say!("regrip: interrupted; partial data is kept\n  to resume, {to_resume}");
    }
}

/// The line for an event, if it has one.
pub(super) fn line(event: &Event<'_>, file: &Progress, now: Instant) -> Option<String> {
    let name = &file.name;
    Some(match &event.what {
        What::Queued | What::Progress { .. } => return None,
        What::Headers { .. } if !file.size_is_new => return None,
        What::Started { attempt: 1, from: 0 } => format!("{name}: fetching {}", event.url),
        What::Started { attempt, from: 0 } => {
            format!("{name}: attempt {attempt}, from the beginning")
        }
        What::Started { attempt, from } => {
            format!("{name}: attempt {attempt}, resuming at {}", text::bytes(*from))
        }
        What::Headers { expected_bytes, mismatch, .. } => {
            let size = expected_bytes.map_or_else(|| "unknown size".to_owned(), text::bytes);
            let warning = match mismatch {
                true => ", not the announced size",
                false => "",
            };
            format!("{name}: {size}{warning}")
        }
        What::Restart { reason, discarded_bytes } => {
            let discarded = text::bytes(*discarded_bytes);
            let what = match file.bytes() {
                0 => format!("starting over, {discarded} discarded"),
                kept => format!("{discarded} discarded, {} kept", text::bytes(kept)),
            };
            format!("{name}: {what}: {}", why(*reason))
        }
        What::Retrying { attempt, delay, asked_by, error, .. } => format!(
            "{name}: attempt {attempt} failed: {}; attempt {} {}",
            wait_reason(*asked_by, error),
            attempt.saturating_add(1),
            text::in_a_while(*delay)
        ),
        What::Waiting { why, .. } => format!("{name}: waiting: {}", text::plain(why)),
        What::Paused { bytes } => {
            format!("{name}: paused; {} kept, `regrip resume {}` resumes it", text::bytes(*bytes), event.id)
        }
        What::Completed(summary) => {
            let of_this_run = file.of_this_run(summary, now);
            completed(name, summary, &of_this_run, Layout::of_stderr())
        }
        What::Failed(summary) => failed(event.path, summary),
        What::Cancelled(summary) => {
            format!("{name}: cancelled; {} kept, `regrip retry {}` resumes it", text::bytes(summary.bytes), event.id)
        }
    })
}

/// How far a file is.
fn so_far(file: &Progress) -> String {
    let bytes = text::bytes(file.bytes());
    let so_far = match file.total() {
        Some(total) => format!("{bytes} of {}, {}%", text::bytes(total), text::percent(file.bytes(), total)),
        None => bytes,
    };
    let speed = file.per_second();
    let speed = speed.map(|speed| format!(", {}/s", text::bytes(speed)));
    let left = file.left();
    let left = left.map(|left| format!(", {} left", text::wait(left)));
    format!("{}: {so_far}{}{}", file.name, speed.unwrap_or_default(), left.unwrap_or_default())
}

/// What went wrong, and whether the server asked for the wait that follows.
pub(super) fn wait_reason(asked_by: AskedBy, error: &str) -> String {
    let asked = match asked_by {
        AskedBy::Jitter => "",
        AskedBy::RetryAfter => " and asked to wait",
    };
    text::plain(&format!("{error}{asked}"))
}

/// Columns of the first line about a completed file at most.
const COMPLETED: usize = 80;

/// The last lines of a completed file. A name that is too long for the first one is cut.
fn completed(name: &str, summary: &Summary, of_this_run: &str, layout: Layout) -> String {
    let attempts = match summary.attempts {
        0 | 1 => String::new(),
        attempts => format!(", {}", text::count(attempts, "attempt")),
    };
    let restarts = match summary.restarts {
        0 => String::new(),
        restarts => format!(", {}", text::count(restarts, "restart")),
    };
    let bytes = text::bytes(summary.bytes);
    let result = format!(": complete, {bytes}{of_this_run}{attempts}{restarts}");
    let name = text::shorten(name, COMPLETED.saturating_sub(result.len()), layout);
    let warning = summary.warning.as_ref();
    let warning = warning.map(|warning| format!("\n  warning: {}", text::plain(warning)));
    format!("{name}{result}{}", warning.unwrap_or_default())
}

/// The last lines of a file that failed.
pub(super) fn failed(path: &str, summary: &Summary) -> String {
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
    text::with_advice(&format!("regrip: {}: {error}{attempts}", name(path)), advice)
}

pub(super) fn refused(target: &Target, error: &Error) -> String {
    let line = text::error(&name(&target.destination.to_string_lossy()), error);
    match error {
        Error::DestinationExists { path } => text::with_advice(&line, take_over(Path::new(path)).as_deref()),
        _ => line,
    }
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

pub(super) fn was_done(row: &Row, how: &WasDone) -> String {
    let name = name(&row.new.destination);
    match how {
        WasDone::NotAsked { completed_at, named } => {
            let at = completed_at.as_deref().map(text::day_and_time);
            let since = at.map_or_else(String::new, |at| format!(" since {at} UTC"));
            let asked = if *named { "asked only for the name" } else { "not asked" };
            format!("{name}: complete{since}; the server was {asked}")
        }
        WasDone::NotNewer => format!("{name}: not newer on the server"),
        WasDone::Unchanged => format!("{name}: unchanged on the server"),
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

    #[test]
    fn the_line_of_a_completed_file_fits_in_80_columns() {
        let layout = Layout { width: None, unicode: true };
        let summary = Summary { bytes: 24_000_000, attempts: 12, restarts: 2, digests: vec![], ..Summary::default() };
        for name in ["film.mkv", &"\u{6620}".repeat(85), &"x".repeat(255)] {
            let lines = completed(name, &summary, ", 6.00 MB of it now, in 12 min 5 s", layout);
            for line in lines.lines() {
                assert!(console::measure_text_width(line) <= 80, "{line}");
            }
        }
    }
}
