//! Events as plain objects, spelled as JavaScript spells things.

use regrip_core::{Event, Summary, What};
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasm_bindgen::prelude::*;

#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    id: i64,
    at: f64,
    url: &'a str,
    path: &'a str,
    #[serde(flatten)]
    details: Details<'a>,
}

/// What an event tells beyond its name.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Details<'a> {
    Nothing {},
    Started {
        attempt: u32,
        from: u64,
    },
    Headers {
        expected_bytes: Option<u64>,
        source: Option<&'static str>,
        mismatch: bool,
    },
    Progress {
        bytes: u64,
        total: Option<u64>,
    },
    Restart {
        reason: &'static str,
        discarded_bytes: u64,
    },
    Retrying {
        attempt: u32,
        delay_ms: u64,
        asked_by: &'static str,
        class: &'static str,
        error: &'a str,
    },
    Waiting {
        until: f64,
        why: &'a str,
    },
    Ended(Ended<'a>),
}

#[derive(Serialize)]
struct Ended<'a> {
    bytes: u64,
    attempts: u32,
    restarts: u32,
    sha256: Option<&'a str>,
    class: Option<&'static str>,
    code: Option<&'static str>,
    error: Option<&'a str>,
    advice: Option<&'static str>,
}

/// An event for its listener.
pub(crate) fn told(event: &Event<'_>) -> JsValue {
    let Event {
        id,
        at,
        url,
        path,
        ref what,
    } = *event;
    let details = details(what);
    object(&Told {
        event: what.name(),
        id,
        at: since_epoch_ms(at),
        url,
        path,
        details,
    })
}

/// How a download ended well.
pub(crate) fn summary(summary: &Summary) -> JsValue {
    object(&ended(summary))
}

fn details(what: &What) -> Details<'_> {
    match what {
        What::Queued => Details::Nothing {},
        What::Started { attempt, from } => Details::Started {
            attempt: *attempt,
            from: *from,
        },
        What::Headers {
            expected_bytes,
            source,
            mismatch,
        } => Details::Headers {
            expected_bytes: *expected_bytes,
            source: source.map(|source| source.name()),
            mismatch: *mismatch,
        },
        What::Progress { bytes, total } => Details::Progress {
            bytes: *bytes,
            total: *total,
        },
        What::Restart {
            reason,
            discarded_bytes,
        } => Details::Restart {
            reason: reason.name(),
            discarded_bytes: *discarded_bytes,
        },
        What::Retrying {
            attempt,
            delay,
            asked_by,
            class,
            error,
        } => Details::Retrying {
            attempt: *attempt,
            delay_ms: milliseconds(*delay),
            asked_by: asked_by.name(),
            class: class.name(),
            error,
        },
        What::Waiting { until, why } => Details::Waiting {
            until: since_epoch_ms(*until),
            why,
        },
        What::Completed(summary) | What::Failed(summary) | What::Cancelled(summary) => {
            Details::Ended(ended(summary))
        }
    }
}

fn ended(summary: &Summary) -> Ended<'_> {
    Ended {
        bytes: summary.bytes,
        attempts: summary.attempts,
        restarts: summary.restarts,
        sha256: summary.sha256.as_deref(),
        class: summary.class.map(|class| class.name()),
        code: summary.code,
        error: summary.error.as_deref(),
        advice: summary.advice,
    }
}

fn object(value: &impl Serialize) -> JsValue {
    let serializer = Serializer::new().serialize_maps_as_objects(true);
    // Numbers, names and texts: there is nothing here that JavaScript could not hold.
    value.serialize(&serializer).unwrap_or_default()
}

fn since_epoch_ms(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
        * 1000.0
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
