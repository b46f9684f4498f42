//! Events as objects: the same for `--json` and the API's event stream (spec §9).

pub(crate) use crate::time::rfc3339 as time;
use regrip_core::{Event, What};
use serde_json::{Value, json};

/// An event as `--json` and SSE send it.
pub fn object(event: &Event<'_>) -> Value {
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
            "warning": summary.warning,
            "class": summary.class.map(|class| class.name()),
            "code": summary.code,
            "error": summary.error,
        }),
    }
}
