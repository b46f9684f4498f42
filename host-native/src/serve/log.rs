//! What the server says while it runs: lines for people, or JSON for programs, on standard error.
//!
//! Only regrip's own words are logged, not those of libraries, which do not know what is secret. URLs come without their
//! query, names that strangers chose come quoted.

use super::daemon::LogFormat;
use crate::host::Listener;
use regrip_core::ErrorCode;
use regrip_core::{Event, What};
use std::io::stderr;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// Begins to log. Once a process; a second time changes nothing.
pub(crate) fn start(format: LogFormat) {
    let own = Targets::new().with_target("regrip", LevelFilter::INFO);
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    let started = match format {
        LogFormat::Text => registry()
            .with(lines.with_ansi(false).with_filter(own))
            .try_init(),
        LogFormat::Json => registry()
            .with(lines.json().flatten_event(true).with_filter(own))
            .try_init(),
    };
    // Somebody logs already: a test that starts two servers.
    drop(started);
}

/// Logs what happens to downloads, each step of it but the bytes.
#[derive(Debug)]
pub(super) struct LogEvents;

impl Listener for LogEvents {
    fn hear(&self, event: &Event<'_>) {
        let (id, url, file) = (event.id, event.url, event.path);
        match &event.what {
            What::Progress { .. } => {}
            What::Queued => tracing::info!(id, url, ?file, "queued"),
            What::Started { attempt, from } => tracing::info!(id, attempt, from, "started"),
            What::Headers {
                expected_bytes,
                mismatch,
                ..
            } => {
                if *mismatch {
                    tracing::warn!(id, expected_bytes, "the size is not the release's");
                }
            }
            What::Restart {
                reason,
                discarded_bytes,
            } => {
                let reason = reason.name();
                tracing::warn!(id, reason, discarded_bytes, "started over");
            }
            What::Retrying {
                attempt,
                delay,
                error,
                ..
            } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    id,
                    attempt,
                    delay_ms,
                    error = error.as_str(),
                    "attempt failed"
                );
            }
            What::Waiting { why, .. } => tracing::warn!(id, why = why.as_str(), "waiting"),
            What::Completed(summary) => {
                let (bytes, attempts) = (summary.bytes, summary.attempts);
                let restarts = summary.restarts;
                tracing::info!(id, ?file, bytes, attempts, restarts, "completed");
                if let Some(warning) = &summary.warning {
                    tracing::warn!(id, ?file, warning, "completed with a warning");
                }
            }
            What::Failed(summary) => {
                let code = summary.code.as_ref().map(ErrorCode::as_str);
                let error = summary.error.as_deref();
                tracing::error!(id, ?file, code, error, "failed");
            }
            What::Cancelled(_) => tracing::info!(id, ?file, "cancelled"),
        }
    }
}
