//! One JSON object a line on standard output (spec §9).

use super::{Reporter, WasDone};
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::control::{object, time};
use crate::host::Listener;
use regrip_core::error::chain;
use regrip_core::{Error, Event, Row, Summary, What, class, display_url};
use serde_json::{Value, json};
use std::io::{Write, stdout};
use std::sync::Mutex;
use std::time::SystemTime;

/// Writes events as lines.
#[derive(Debug, Default)]
pub(crate) struct Json {
    /// Lines of several transfers do not mix.
    turn: Mutex<()>,
    on_stderr: bool,
}

impl Json {
    /// Lines on standard error, because the bytes of files go to standard output.
    pub(crate) fn on_stderr() -> Json {
        Json {
            on_stderr: true,
            ..Json::default()
        }
    }

    fn line(&self, value: &Value) {
        let _turn = self.turn.lock();
        // Whoever reads this may be gone; the downloads go on.
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
    fn was_done(&self, row: &Row, _how: &WasDone) {
        let summary = Summary {
            bytes: row.downloaded,
            attempts: row.attempts,
            restarts: row.restarts,
            digests: row.checksums(),
            ..Summary::default()
        };
        let url = display_url(row.new.source.url());
        let what = What::Completed(summary);
        self.line(&object(&Event {
            id: row.id,
            at: SystemTime::now(),
            url: &url,
            path: &row.new.destination,
            what,
        }));
    }

    fn refused(&self, target: &Target, error: &Error) {
        self.line(&json!({
            "event": "failed",
            "id": null,
            "at": time(SystemTime::now()),
            "url": display_url(target.url.as_str()),
            "path": target.destination,
            "bytes": 0, "attempts": 0, "restarts": 0, "sha256": null, "digests": [], "warning": null,
            "class": class(error, &[]).name(), "code": error.code(), "error": chain(error),
        }));
    }

    fn end(&self, _exit: Exit, _to_go_on: &str) {}
}
