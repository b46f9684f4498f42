//! Plain lines on standard error: for logs, pipes and dumb terminals.

use super::Reporter;
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::cli::text;
use crate::host::Listener;
use regrip_core::record::RestartReason;
use regrip_core::retry::AskedBy;
use regrip_core::{Error, Event, Row, Summary, What};
use std::path::Path;
use std::time::Duration;

/// Writes a line for each thing that happens, progress left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines;

impl Listener for Lines {
    fn hear(&self, event: &Event<'_>) {
        if let Some(line) = line(event) {
            eprintln!("{line}");
        }
    }
}

impl Reporter for Lines {
    fn was_done(&self, row: &Row) {
        eprintln!("{}", was_done(row));
    }
    fn refused(&self, target: &Target, error: &Error) {
        eprintln!("{}", refused(target, error));
    }
    fn end(&self, exit: Exit) {
        if exit == Exit::Interrupted {
            eprintln!("{INTERRUPTED}");
        }
    }
}

/// What Ctrl-C leaves behind, and how to go on.
pub(super) const INTERRUPTED: &str =
    "regrip: interrupted; what came is kept, run the same command again to go on from there";

/// The line for an event, where it deserves one.
pub(super) fn line(event: &Event<'_>) -> Option<String> {
    let name = name(event.path);
    Some(match &event.what {
        What::Queued | What::Progress { .. } => return None,
        What::Started {
            attempt: 1,
            from: 0,
        } => format!("{name}: from {}", event.url),
        What::Started { attempt, from } => {
            format!("{name}: attempt {attempt}, from {}", text::bytes(*from))
        }
        What::Headers {
            expected_bytes,
            mismatch,
            ..
        } => {
            let size = expected_bytes.map_or_else(|| "of unknown size".to_owned(), text::bytes);
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
            delay,
            asked_by,
            error,
            ..
        } => format!("{name}: {}", retrying(*delay, *asked_by, error)),
        What::Waiting { why, .. } => format!("{name}: waiting: {why}"),
        What::Completed(summary) => completed(event.path, summary),
        What::Failed(summary) => failed(event.path, summary),
        What::Cancelled(_) => format!("{name}: cancelled; what came is kept"),
    })
}

/// The wait before the next attempt, and why.
pub(super) fn retrying(delay: Duration, asked_by: AskedBy, error: &str) -> String {
    let asked = match asked_by {
        AskedBy::Jitter => "",
        AskedBy::RetryAfter => ", as the server asked",
    };
    format!("{error}; again in {}{asked}", text::wait(delay))
}

/// The last line of a finished file.
pub(super) fn completed(path: &str, summary: &Summary) -> String {
    let restarts = match summary.restarts {
        0 => String::new(),
        restarts => format!(", {}", text::count(restarts, "restart")),
    };
    let digest = summary
        .sha256
        .as_ref()
        .map(|sha256| format!(", sha256 {sha256}"))
        .unwrap_or_default();
    let attempts = text::count(summary.attempts, "attempt");
    format!(
        "{}: whole, {} in {attempts}{restarts}{digest}",
        name(path),
        text::bytes(summary.bytes)
    )
}

/// The last lines of a file that did not come.
pub(super) fn failed(path: &str, summary: &Summary) -> String {
    let error = summary.error.as_deref().unwrap_or("failed");
    let attempts = match summary.attempts {
        0 | 1 => String::new(),
        attempts => format!(" (after {attempts} attempts)"),
    };
    text::with_advice(
        &format!("regrip: {}: {error}{attempts}", name(path)),
        summary.advice,
    )
}

pub(super) fn refused(target: &Target, error: &Error) -> String {
    text::error(&name(&target.destination.to_string_lossy()), error)
}

pub(super) fn was_done(row: &Row) -> String {
    format!(
        "{}: there already, whole and unchanged; nothing fetched",
        name(&row.new.destination)
    )
}

/// The file's own name.
pub(super) fn name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(
        || path.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// A restart's reason in a sentence.
pub(super) fn why(reason: RestartReason) -> &'static str {
    match reason {
        RestartReason::PartOversize => "the part is longer than the file",
        RestartReason::PartChanged => "the part is not as it was left",
        RestartReason::ContentRangeMismatch => "the server sent another range than was asked for",
        RestartReason::ValidatorChanged => "the file was replaced on the server",
        RestartReason::OverlapMismatch => "the server has other bytes where the part ends",
        RestartReason::RangeIgnored => "the server sent the whole file again",
        RestartReason::RangeNotSatisfiable => "the server says the file is shorter than the part",
        RestartReason::DigestMismatch => "the whole file has another digest",
    }
}
