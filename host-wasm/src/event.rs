//! Events as plain objects, spelled as JavaScript spells things.

use crate::clock::{epoch_ms, ms};
use crate::fields::Fields;
use regrip_core::ErrorCode;
use regrip_core::{Algorithm, Checksum};
use regrip_core::{Event, Summary, What};

/// An event for its listener.
pub(crate) fn told(event: &Event<'_>, into: &Fields) {
    into.put("event", event.what.name())
        .count("id", event.id as u64)
        .milliseconds("at", epoch_ms(event.at))
        .put("url", event.url)
        .put("path", event.path);
    match &event.what {
        What::Queued => {}
        What::Started { attempt, from } => {
            into.count("attempt", u64::from(*attempt)).count("from", *from);
        }
        What::Headers { expected_bytes, source, mismatch } => {
            into.count_some("expectedBytes", *expected_bytes)
                .put_some("source", source.map(|source| source.name()))
                .mark("mismatch", *mismatch);
        }
        What::Progress { bytes, total, bytes_per_sec, eta_secs } => {
            into.count("bytes", *bytes)
                .count_some("total", *total)
                .count_some("bytesPerSec", *bytes_per_sec)
                .count_some("etaSecs", *eta_secs);
        }
        What::Restart { reason, discarded_bytes } => {
            into.put("reason", reason.name()).count("discardedBytes", *discarded_bytes);
        }
        What::Retrying { attempt, delay, asked_by, class, error } => {
            into.count("attempt", u64::from(*attempt))
                .milliseconds("delayMs", ms(*delay))
                .put("askedBy", asked_by.name())
                .put("class", class.name())
                .put("error", error);
        }
        What::Waiting { until, why } => {
            into.milliseconds("until", epoch_ms(*until)).put("why", why);
        }
        What::Paused { .. } => {
            into.put("why", "paused");
        }
        What::Completed(summary) | What::Failed(summary) | What::Cancelled(summary) => {
            ended(summary, into);
        }
    }
}

fn ended(summary: &Summary, into: &Fields) {
    let digests: Vec<String> = summary.digests.iter().map(Checksum::to_string).collect();
    let digests = (!digests.is_empty()).then(|| digests.join(" "));
    into.count("bytes", summary.bytes)
        .count("attempts", u64::from(summary.attempts))
        .count("restarts", u64::from(summary.restarts))
        .put_some("sha256", summary.hex(Algorithm::Sha256))
        .put_some("digests", digests.as_deref())
        .put_some("warning", summary.warning.as_deref())
        .put_some("class", summary.class.map(|class| class.name()))
        .put_some("code", summary.code.as_ref().map(ErrorCode::as_str))
        .put_some("error", summary.error.as_deref())
        .put_some("advice", summary.advice);
}
