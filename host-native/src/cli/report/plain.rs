//! Plain lines on standard error: for logs, pipes and dumb terminals.

use super::journey::{Journey, Journeys};
use super::{Reporter, WasDone};
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::cli::text;
use crate::host::Listener;
use regrip_core::record::RestartReason;
use regrip_core::retry::AskedBy;
use regrip_core::{Class, DownloadId, Error, Event, Row, Summary, What};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A log hears of a long download so often.
const STILL_COMING: Duration = Duration::from_secs(30);

/// Writes a line for each thing that happens, and now and then one for how far a file is.
#[derive(Debug)]
pub(crate) struct Lines(Mutex<Told>);

#[derive(Debug)]
struct Told {
    journeys: Journeys,
    /// When there was a line about a file last.
    last: HashMap<DownloadId, Instant>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Lines(Mutex::new(Told {
            journeys: Journeys::begin(Instant::now()),
            last: HashMap::new(),
        }))
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Lines {
    fn hear(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut told = self.told();
        let journey = told.journeys.hear(event, now);
        let progress = matches!(event.what, What::Progress { .. });
        let line = if progress {
            Some(still_coming(event.path, journey, now))
        } else {
            line(event, journey, now)
        };
        let last = told.last.entry(event.id).or_insert(now);
        if progress && now - *last < STILL_COMING {
            return;
        }
        if let Some(line) = line {
            *last = now;
            say!("{line}");
        }
        if let What::Completed(_) | What::Failed(_) | What::Cancelled(_) = &event.what {
            told.last.remove(&event.id);
            told.journeys.forget(event.id);
        }
    }
}

impl Reporter for Lines {
    fn was_done(&self, row: &Row, how: &WasDone) {
        self.told().journeys.was_done(row.downloaded);
        say!("{}", was_done(row, how));
    }
    fn refused(&self, target: &Target, error: &Error) {
        self.told().journeys.was_not_done();
        say!("{}", refused(target, error));
    }
    fn end(&self, exit: Exit, to_go_on: &str) {
        end(&self.told().journeys, exit, to_go_on);
    }
}

/// The last lines of a run: the sum of many files, and how to go on after Ctrl-C.
pub(super) fn end(journeys: &Journeys, exit: Exit, to_go_on: &str) {
    if let Some(sum) = journeys.sum(Instant::now()) {
        say!("{sum}");
    }
    if exit == Exit::Interrupted {
        say!("{}", interrupted(to_go_on));
    }
}

/// What Ctrl-C leaves behind, and how to go on.
pub(super) fn interrupted(to_go_on: &str) -> String {
    format!("regrip: interrupted; what came is kept\n  to go on from there, {to_go_on}")
}

/// The line for an event, where it deserves one.
pub(super) fn line(event: &Event<'_>, journey: &Journey, now: Instant) -> Option<String> {
    let name = name(event.path);
    Some(match &event.what {
        What::Queued | What::Progress { .. } => return None,
        What::Headers { .. } if !journey.size_is_news => return None,
        What::Started {
            attempt: 1,
            from: 0,
        } => format!("{name}: fetching {}", event.url),
        What::Started { attempt, from: 0 } => format!("{name}: attempt {attempt}, from the start"),
        What::Started { attempt, from } => {
            format!(
                "{name}: attempt {attempt}, going on from {}",
                text::bytes(*from)
            )
        }
        What::Headers {
            expected_bytes,
            mismatch,
            ..
        } => {
            let size = expected_bytes.map_or_else(
                || "its size is not known".to_owned(),
                |bytes| format!("it has {}", text::bytes(bytes)),
            );
            let warning = if *mismatch {
                ", which is not what was announced"
            } else {
                ""
            };
            format!("{name}: {size}{warning}")
        }
        What::Restart {
            reason,
            discarded_bytes,
        } => {
            format!(
                "{name}: starting over, {} discarded: {}",
                text::bytes(*discarded_bytes),
                why(*reason)
            )
        }
        What::Retrying {
            attempt,
            delay,
            asked_by,
            error,
            ..
        } => format!(
            "{name}: attempt {attempt} failed: {}; attempt {} {}",
            wait_reason(*asked_by, error),
            attempt.saturating_add(1),
            text::in_a_while(*delay)
        ),
        What::Waiting { why, .. } => format!("{name}: waiting: {}", text::plain(why)),
        What::Completed(summary) => completed(event.path, summary, &journey.came(summary, now)),
        What::Failed(summary) => failed(event.path, summary),
        What::Cancelled(summary) => format!(
            "{name}: cancelled; {} are kept, `regrip retry {}` goes on from there",
            text::bytes(summary.bytes),
            event.id
        ),
    })
}

/// How far a file is, for who reads a log.
fn still_coming(path: &str, journey: &Journey, now: Instant) -> String {
    let bytes = text::bytes(journey.bytes);
    let so_far = match journey.total {
        Some(total) => format!(
            "{bytes} of {}, {}%",
            text::bytes(total),
            text::percent(journey.bytes, total)
        ),
        None => bytes,
    };
    let speed = journey.speed.per_second(now);
    let speed = speed.map(|speed| format!(", {}/s", text::bytes(speed)));
    let left = journey.left(now);
    let left = left.map(|left| format!(", {} left", text::wait(left)));
    format!(
        "{}: {so_far}{}{}",
        name(path),
        speed.unwrap_or_default(),
        left.unwrap_or_default()
    )
}

/// What went wrong, and whether the server asked for the wait that follows.
pub(super) fn wait_reason(asked_by: AskedBy, error: &str) -> String {
    let asked = match asked_by {
        AskedBy::Jitter => "",
        AskedBy::RetryAfter => " and asked to wait",
    };
    text::plain(&format!("{error}{asked}"))
}

/// The last line of a finished file.
fn completed(path: &str, summary: &Summary, came: &str) -> String {
    let attempts = match summary.attempts {
        0 | 1 => String::new(),
        attempts => format!(", {}", text::count(attempts, "attempt")),
    };
    let restarts = match summary.restarts {
        0 => String::new(),
        restarts => format!(", {}", text::count(restarts, "restart")),
    };
    let digest = summary.sha256.as_ref();
    let digest = digest.map(|sha256| format!(", sha256 {sha256}"));
    let warning = summary.warning.as_ref();
    let warning = warning.map(|warning| format!("\n  warning: {}", text::plain(warning)));
    format!(
        "{}: whole, {}{came}{attempts}{restarts}{}{}",
        name(path),
        text::bytes(summary.bytes),
        digest.unwrap_or_default(),
        warning.unwrap_or_default()
    )
}

/// The last lines of a file that did not come.
pub(super) fn failed(path: &str, summary: &Summary) -> String {
    let error = text::plain(summary.error.as_deref().unwrap_or("failed"));
    let attempts = match summary.attempts {
        0 | 1 => String::new(),
        attempts => format!(" (after {attempts} attempts)"),
    };
    let advice = match (summary.advice, summary.class) {
        (None, Some(Class::Transient)) if summary.bytes > 0 => {
            Some("run it again later: it goes on from the bytes that are here")
        }
        (None, Some(Class::Transient)) => {
            Some("run it again later; --max-attempts N allows more attempts")
        }
        (advice, _) => advice,
    };
    text::with_advice(
        &format!("regrip: {}: {error}{attempts}", name(path)),
        advice,
    )
}

pub(super) fn refused(target: &Target, error: &Error) -> String {
    text::error(&name(&target.destination.to_string_lossy()), error)
}

pub(super) fn was_done(row: &Row, how: &WasDone) -> String {
    let name = name(&row.new.destination);
    match how {
        WasDone::NotAsked { completed_at } => {
            let at = completed_at.as_deref().map(text::day_and_time);
            let since = at.map_or_else(String::new, |at| format!(" since {at} UTC"));
            format!("{name}: complete{since}; the server was not asked")
        }
        WasDone::Unchanged => format!("{name}: is unchanged on the server"),
    }
}

/// The file's own name.
pub(super) fn name(path: &str) -> String {
    let name = Path::new(path).file_name();
    text::plain(&name.map_or_else(|| path.into(), |name| name.to_string_lossy()))
}

/// A restart's reason in a sentence.
pub(crate) fn why(reason: RestartReason) -> &'static str {
    match reason {
        RestartReason::PartOversize => "the part is longer than the file",
        RestartReason::PartChanged => "the part is not as it was left",
        RestartReason::ContentRangeMismatch => "the server sent another range than was asked for",
        RestartReason::ValidatorChanged => "the file was replaced on the server",
        RestartReason::OverlapMismatch => "the server has other bytes where the part ends",
        RestartReason::RangeIgnored => "the server sent the whole file again",
        RestartReason::RangeNotSatisfiable => "the server says the file is shorter than the part",
        RestartReason::RangeRefused => "the server refuses ranges and sent other bytes",
        RestartReason::DigestMismatch => "the whole file has another digest",
    }
}
