//! Replies and refusals, and the JSON body of a request: bounded in size and time.

use super::socket::FileSpan;
use async_io::Timer;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use smol::future::FutureExt;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The body of a reply.
#[derive(Default)]
pub enum Payload {
    /// None.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file.
    File(FileSpan),
    /// Bytes as they come about; its end is the end of the body. It must bring some now and then, or the connection is
    /// closed as idle.
    Stream(BoxStream<'static, Bytes>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Payload::Empty => "Empty",
            Payload::Bytes(_) => "Bytes",
            Payload::File(_) => "File",
            Payload::Stream(_) => "Stream",
        })
    }
}

/// A reply. hyper adds `Date` and `Content-Length`, and leaves the body of a reply to HEAD out.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    payload: Payload,
}

impl Reply {
    /// A reply without headers.
    pub fn new(status: StatusCode, payload: Payload) -> Reply {
        Reply { status, headers: HeaderMap::new(), payload }
    }

    /// 200 with a JSON object.
    pub fn json(value: &impl Serialize) -> Reply {
        Reply::json_with(StatusCode::OK, value)
    }

    /// A JSON object with another status.
    pub fn json_with(status: StatusCode, value: &impl Serialize) -> Reply {
        // Only a map with keys that are no strings cannot be written, and no reply has one.
        let text = serde_json::to_vec(value).unwrap_or_default();
        Reply::new(status, Payload::Bytes(text.into()))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// Plain text.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Reply {
        let text: String = text.into();
        Reply::new(status, Payload::Bytes(text.into()))
            .header(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.append(name, value);
        self
    }

    /// Adds a header whose value is made of ASCII.
    #[must_use]
    pub fn text_header(self, name: HeaderName, value: &str) -> Reply {
        match HeaderValue::from_str(value) {
            Ok(value) => self.header(name, value),
            Err(_) => self,
        }
    }

    /// Adds a header, unless there is one of that name.
    #[must_use]
    pub fn default_header(self, name: HeaderName, value: HeaderValue) -> Reply {
        match self.headers.contains_key(&name) {
            true => self,
            false => self.header(name, value),
        }
    }

    pub(crate) fn into_parts(self) -> (Parts, Payload) {
        let (mut parts, ()) = hyper::Response::new(()).into_parts();
        parts.status = self.status;
        parts.headers = self.headers;
        (parts, self.payload)
    }
}

/// Why a request was not done: `{"error": {"code", "message"}}`, with a `field` if that helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// One word for programs.
    pub code: Cow<'static, str>,
    /// One line for people, without a secret.
    pub message: String,
    /// The field of the request that is to blame.
    pub field: Option<&'static str>,
    /// How long to wait before another request makes sense.
    pub retry_after: Option<Duration>,
    /// A key was given and is wrong. The router counts it.
    pub is_wrong_key: bool,
    /// The body is the message alone, as plain text.
    pub is_plain: bool,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code: code.into(),
            message: message.into(),
            field: None,
            retry_after: None,
            is_wrong_key: false,
            is_plain: false,
        }
    }

    /// Blames a field of the request.
    #[must_use]
    pub fn about(self, field: &'static str) -> Refusal {
        Refusal { field: Some(field), ..self }
    }

    /// Says when to ask again, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Refusal {
        Refusal { retry_after: Some(wait), ..self }
    }

    /// Says that a key was given and is wrong.
    #[must_use]
    pub fn wrong_key(self) -> Refusal {
        Refusal { is_wrong_key: true, ..self }
    }

    /// Sends the message alone, as plain text.
    #[must_use]
    pub fn plain(self) -> Refusal {
        Refusal { is_plain: true, ..self }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        let mut error = json!({ "code": refusal.code, "message": refusal.message });
        if let Some(field) = refusal.field {
            error["field"] = field.into();
        }
        let reply = match refusal.is_plain {
            true => Reply::text(refusal.status, refusal.message),
            false => Reply::json_with(refusal.status, &json!({ "error": error })),
        };
        match refusal.retry_after {
            None => reply,
            Some(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                reply.header(RETRY_AFTER, seconds.into())
            }
        }
    }
}

/// Longest body.
pub(super) const MOST_BYTES: usize = 64 << 10;
/// A longer one is not even read to its end.
const MOST_SKIPPED_BYTES: usize = 1 << 20;
/// The time for a body, however steadily it is received.
const WITHIN: Duration = Duration::from_secs(20);

/// Reads a body as JSON.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Option<Incoming>,
    most: usize,
) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(not_json());
    }
    parsed(&bytes(body, most).await?)
}

/// Reads bytes of a request as JSON.
///
/// # Errors
/// 400 if they do not have the expected fields.
pub(crate) fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let read = serde_json::from_slice::<Object<T>>(bytes);
    read.map(|Object(read)| read).map_err(|error| Refusal::bad_request(flaw(&error)))
}

/// A value whose JSON is an object. What derives `Deserialize` also reads an array as its fields in order, which nobody means.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectFields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectFields<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(ObjectFields(PhantomData)).map(Object)
    }
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

/// Returns `true` if the body is said to be JSON. What a form of another site's page sends is not (Fetch standard, CORS-safelisted
/// content types).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

/// Returns `true` if the body is said to be of a media type.
pub(crate) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// The refusal of any other body.
pub(crate) fn not_json() -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "NotJson",
        "the body must be JSON: send it with Content-Type: application/json",
    )
}

/// Reads a body of at most `most` bytes.
pub(super) async fn bytes(body: Option<Incoming>, most: usize) -> Result<Bytes, Refusal> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    read(body, most).or(late()).await
}

async fn late<T>() -> Result<T, Refusal> {
    Timer::after(WITHIN).await;
    let message = format!("the body was not received within {} s", WITHIN.as_secs());
    Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "TooSlow", message))
}

/// The lines of a body of any length, as they are received.
#[derive(Debug)]
pub struct BodyLines {
    body: Option<Incoming>,
    received: BytesMut,
}

impl BodyLines {
    pub(super) fn new(body: Option<Incoming>) -> Self {
        BodyLines { body, received: BytesMut::new() }
    }

    /// The next line, without its end; `None` after the last one.
    ///
    /// # Errors
    /// 413 if a line is longer than a body may be, 408 if the next bytes are too slow, 400 if the body ends early.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let mut looked_at = 0;
        loop {
            let end = self.received[looked_at..].iter().position(|byte| *byte == b'\n').map(|end| looked_at + end);
            if let Some(end) = end {
                let line = self.received.split_to(end).freeze();
                self.received.advance(1);
                return Ok(Some(line));
            }
            looked_at = self.received.len();
            if looked_at > MOST_BYTES {
                return Err(too_large(MOST_BYTES));
            }
            let Some(body) = &mut self.body else {
                let rest = self.received.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            match async { Ok(body.frame().await) }.or(late()).await? {
                Some(Ok(frame)) => self.received.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => return Err(Refusal::bad_request("the body ended early")),
                None => self.body = None,
            }
        }
    }
}

/// A body that is a little too long is read to its end and thrown away: a client that is still sending would not see the
/// answer, for what it sends to a closed connection resets that.
async fn read(mut body: Incoming, most: usize) -> Result<Bytes, Refusal> {
    let most_skipped = MOST_SKIPPED_BYTES.max(most);
    if body.size_hint().lower() > most_skipped as u64 {
        return Err(too_large(most));
    }
    let mut bytes = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        length += data.len();
        if length > most_skipped {
            break;
        }
        if length <= most {
            bytes.extend_from_slice(&data);
        }
    }
    match length > most {
        true => Err(too_large(most)),
        false => Ok(bytes.freeze()),
    }
}

fn too_large(most: usize) -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", format!("the body is larger than {most} bytes"))
}
