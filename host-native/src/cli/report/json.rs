//! One JSON object a line on standard output (spec §9).

use super::Reporter;
use crate::cli::exit::Exit;
use crate::cli::get::Target;
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
}

impl Json {
    fn line(&self, value: &Value) {
        let _turn = self.turn.lock();
        let mut out = stdout().lock();
        // Whoever reads this may be gone; the downloads go on.
        let _ = writeln!(out, "{value}").and_then(|()| out.flush());
    }
}

impl Listener for Json {
    fn hear(&self, event: &Event<'_>) {
        self.line(&object(event));
    }
}

impl Reporter for Json {
    fn was_done(&self, row: &Row) {
        let summary = Summary {
            bytes: row.downloaded,
            attempts: row.attempts,
            restarts: row.restarts,
            sha256: row.sha256_got.clone(),
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
            "bytes": 0, "attempts": 0, "restarts": 0, "sha256": null,
            "class": class(error).name(), "code": error.code(), "error": chain(error),
        }));
    }

    fn end(&self, _exit: Exit, _to_go_on: &str) {}
}

/// An event as `--json` and SSE send it.
pub(crate) fn object(event: &Event<'_>) -> Value {
    let mut object = json!({
        "event": event.what.name(),
        "id": event.id,
        "at": time(event.at),
        "url": event.url,
        "path": event.path,
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), details(&event.what)) {
        object.extend(more);
    }
    object
}

fn details(what: &What) -> Value {
    match what {
        What::Queued => json!({}),
        What::Started { attempt, from } => json!({ "attempt": attempt, "from": from }),
        What::Headers {
            expected_bytes,
            source,
            mismatch,
        } => {
            json!({ "expected_bytes": expected_bytes, "source": source.map(|s| s.name()), "mismatch": mismatch })
        }
        What::Progress { bytes, total } => json!({ "bytes": bytes, "total": total }),
        What::Restart {
            reason,
            discarded_bytes,
        } => {
            json!({ "reason": reason.name(), "discarded_bytes": discarded_bytes })
        }
        What::Retrying {
            attempt,
            delay,
            asked_by,
            class,
            error,
        } => json!({
            "attempt": attempt,
            "delay_ms": u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "asked_by": asked_by.name(),
            "class": class.name(),
            "error": error,
        }),
        What::Waiting { until, why } => json!({ "until": time(*until), "why": why }),
        What::Completed(summary) | What::Failed(summary) | What::Cancelled(summary) => json!({
            "bytes": summary.bytes,
            "attempts": summary.attempts,
            "restarts": summary.restarts,
            "sha256": summary.sha256,
            "class": summary.class.map(|class| class.name()),
            "code": summary.code,
            "error": summary.error,
        }),
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
