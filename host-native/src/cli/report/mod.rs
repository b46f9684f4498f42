//! What a user sees while downloads run: bars on a terminal, plain lines elsewhere, JSON lines for programs.

mod bars;
mod plain;
mod progress;

use super::get::Target;
use super::output::{self, Exit, Layout};
use crate::control::object;
use crate::host::Listener;
use crate::time::rfc3339;
use regrip_core::error::chain;
use regrip_core::{Error, Event, Row, Summary, What, class, display_url};
use serde_json::{Value, json};
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::SystemTime;

use bars::Bars;
use plain::Plain;
pub(crate) use plain::why;

/// Why a file of an earlier run was not downloaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WasDone {
    /// The server was not asked, or for the name only. When the file was completed, in RFC 3339.
    NotAsked { completed_at: Option<String>, named: bool },
    /// The server was asked and has no other version.
    Unchanged,
    /// The server was asked and has no newer version than a file that regrip did not download.
    NotNewer,
}

/// Shows downloads.
pub(crate) trait Reporter: Listener {
    /// A file of an earlier run is complete and unchanged, so nothing was downloaded.
    fn was_done(&self, row: &Row, how: &WasDone);
    /// Something the user should know, in one line or two.
    fn warn(&self, text: &str) {
        say!("regrip: warning: {text}");
    }
    /// A target was refused before it became a row.
    fn refused(&self, target: &Target, error: &Error);
    /// Lines about something else: of `--verbose`, or the output of the user's command.
    fn note(&self, lines: &str) {
        say!("{lines}");
    }
    /// The run ended.
    fn end(&self, end: &End<'_>);
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) exit: Exit,
    /// Files that were asked for.
    pub(crate) files: u32,
    /// Those among them that are lines of a list which cannot be used.
    pub(crate) unusable: u32,
    /// How to resume an interrupted run: `run …`.
    pub(crate) to_resume: &'a str,
}

/// The reporter that fits the flags and the terminal.
pub(crate) fn reporter(json: bool, quiet: bool) -> Arc<dyn Reporter> {
    if json {
        Arc::new(Json::default())
    } else if quiet {
        Arc::new(Quiet)
    } else if output::can_draw(&console::Term::stderr()) {
        Arc::new(Bars::new())
    } else {
        Arc::new(Plain::new())
    }
}

/// Writes events as lines.
#[derive(Debug, Default)]
pub(crate) struct Json {
    on_stderr: bool,
}

impl Json {
    /// Lines on standard error, because the bytes of files go to standard output.
    pub(crate) fn on_stderr() -> Json {
        Json { on_stderr: true }
    }

    fn line(&self, value: &Value) {
        // The downloads go on if the reader is gone.
        if self.on_stderr {
            say!("{value}");
            return;
        }
        let mut out = stdout().lock();
        let _ = writeln!(out, "{value}").and_then(|()| out.flush());
    }
}

impl Listener for Json {
    fn hear(&self, event: &Event<'_>) {
        self.line(&object(event));
    }
}

impl Reporter for Json {
    fn was_done(&self, row: &Row, how: &WasDone) {
        let summary = Summary {
            bytes: row.downloaded,
            attempts: row.attempts,
            restarts: row.restarts,
            digests: row.checksums(),
            ..Summary::default()
        };
        let url = display_url(row.new.source.url());
        let what = What::Completed(summary);
        let event = Event { id: row.id, at: SystemTime::now(), url: &url, path: &row.new.destination, what };
        let mut line = object(&event);
        if *how == WasDone::NotNewer {
            line["id"] = Value::Null; // it is no download
        }
        self.line(&line);
    }

    fn warn(&self, text: &str) {
        if !self.on_stderr {
            say!("regrip: warning: {text}");
        }
    }

    fn refused(&self, target: &Target, error: &Error) {
        self.line(&json!({
            "event": "failed",
            "id": null,
            "at": rfc3339(SystemTime::now()),
            "url": display_url(target.url.as_str()),
            "path": target.destination,
            "bytes": 0, "attempts": 0, "restarts": 0, "sha256": null, "digests": [], "warning": null,
            "class": class(error, &[]).name(), "code": error.code(), "error": chain(error),
        }));
    }

    fn end(&self, _: &End<'_>) {}
}

/// Says nothing but errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl Listener for Quiet {
    fn hear(&self, event: &Event<'_>) {
        if let What::Failed(summary) = &event.what {
            say!("{}", plain::failed(event.path, summary, Layout::of_stderr()));
        }
    }
}

impl Reporter for Quiet {
    fn was_done(&self, _row: &Row, _how: &WasDone) {}
    fn warn(&self, _text: &str) {}
    fn refused(&self, target: &Target, error: &Error) {
        say!("{}", plain::refused(target, error, Layout::of_stderr()));
    }
    fn end(&self, _: &End<'_>) {}
}

/// Takes every event and prints nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent;

impl Listener for Silent {
    fn hear(&self, _event: &Event<'_>) {}
}
