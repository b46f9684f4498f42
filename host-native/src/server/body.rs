//! The body of a request, where a handler wants one: JSON, no longer than the limit, within a time.

use super::reply::Refusal;
use async_io::Timer;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use smol::future::FutureExt;
use std::time::Duration;

/// Longest body.
const MOST_BYTES: usize = 64 << 10;
/// A longer one is not even read to its end.
const MOST_SKIPPED_BYTES: usize = 1 << 20;
/// A body must be complete so long after its head, however steadily it comes.
const WITHIN: Duration = Duration::from_secs(20);

/// Reads a body as JSON.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Option<Incoming>,
) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(not_json());
    }
    let bytes = match body {
        Some(body) => whole(body).await?,
        None => Bytes::new(),
    };
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad_request(flaw(&error)))
}

/// What is wrong about a body, without repeating any of it: a key may be in it.
fn flaw(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let ours = ["missing field", "duplicate field"];
    if error.is_syntax() || error.is_eof() || ours.iter().any(|ours| text.starts_with(ours)) {
        return format!("the body is not as expected: {text}");
    }
    // The text after the last "expected" is ours.
    match text.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("unknown field") => {
            format!("the body has an unknown field: expected {expected}")
        }
        Some((_, expected)) => format!("the body is not as expected: expected {expected}"),
        None => "the body is not as expected".to_owned(),
    }
}

/// Whether the body is said to be JSON. What a form of another site's page sends is not (Fetch standard, CORS-safelisted
/// content types).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The refusal of any other body.
pub(crate) fn not_json() -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "NotJson",
        "the body must be JSON: send it with Content-Type: application/json",
    )
}

async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    let late = async {
        Timer::after(WITHIN).await;
        Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "TooSlow",
            format!("the body did not come within {} s", WITHIN.as_secs()),
        ))
    };
    read(body).or(late).await
}

/// A body that is a little too long is read to its end and thrown away: a client that is still sending would not see the
/// answer, for what it sends to a closed connection resets that.
async fn read(mut body: Incoming) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > MOST_SKIPPED_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        length += data.len();
        if length > MOST_SKIPPED_BYTES {
            break;
        }
        if length <= MOST_BYTES {
            bytes.extend_from_slice(&data);
        }
    }
    match length > MOST_BYTES {
        true => Err(too_large()),
        false => Ok(bytes.freeze()),
    }
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "TooLarge",
        format!("the body has more than {MOST_BYTES} bytes"),
    )
}
