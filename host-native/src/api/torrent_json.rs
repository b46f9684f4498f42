//! The forms that qBittorrent's Web API takes, and torrents as it shows them.

use crate::control::Torrent;
use crate::ledger::Download;
use crate::server::{Asked, Refusal};
use bytes::Bytes;
use futures::stream;
use hyper::header::CONTENT_TYPE;
use multer::Multipart;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::SystemTime;

/// "Unknown" as qBittorrent has it, in seconds: 100 days.
const UNKNOWN_ETA: u64 = 8_640_000;

/// The largest body: some stubs.
const MOST_BODY_BYTES: usize = 4 << 20;
/// The parameters of a request, of its query and its body.
#[derive(Default)]
pub(super) struct Form {
    pub(super) fields: HashMap<String, String>,
    pub(super) files: Vec<Bytes>,
}

impl Form {
    pub(super) async fn read(asked: &mut Asked) -> Result<Form, Refusal> {
        let query = asked.query().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let body = asked.bytes(MOST_BODY_BYTES).await?;
        let kind = asked.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Form::of(query, kind, body).await
    }

    /// Reads a body of this content type beside the parameters of the query.
    pub(super) async fn of(query: Vec<(String, String)>, kind: &str, body: Bytes) -> Result<Form, Refusal> {
        let mut form = Form { fields: query.into_iter().collect(), files: Vec::new() };
        let Ok(boundary) = multer::parse_boundary(kind) else {
            form.fields.extend(url::form_urlencoded::parse(&body).into_owned());
            return Ok(form);
        };
        let whole = stream::once(async move { Ok::<_, std::io::Error>(body) });
        let mut parts = Multipart::new(whole, boundary);
        let invalid = |error: multer::Error| Refusal::bad_request(format!("the form cannot be read: {error}"));
        while let Some(part) = parts.next_field().await.map_err(invalid)? {
            let name = part.name().unwrap_or_default().to_owned();
            match part.file_name().is_some() {
                true => form.files.push(part.bytes().await.map_err(invalid)?),
                false => {
                    form.fields.insert(name, part.text().await.map_err(invalid)?);
                }
            }
        }
        Ok(form)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        let value = self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refusal::bad_request(format!("the parameter {name} is missing")))
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true") || self.text(name) == "1"
    }
}

/// A torrent with its download, at one moment.
pub(super) struct ShownTorrent {
    pub(super) torrent: Torrent,
    pub(super) download: Option<Download>,
    /// As qBittorrent names it.
    pub(super) state: &'static str,
    /// Why it failed or does not begin.
    pub(super) error: Option<String>,
    pub(super) size: u64,
    pub(super) completed: u64,
    pub(super) per_second: u64,
}

impl ShownTorrent {
    fn is_complete(&self) -> bool {
        self.state == "stoppedUP"
    }

    fn file_name(&self) -> &str {
        self.download.as_ref().map_or(&self.torrent.name, |download| &download.filename)
    }

    fn progress(&self) -> f64 {
        match (self.is_complete(), self.size) {
            (true, _) => 1.0,
            (false, 0) => 0.0,
            // Exact enough to be shown; 1 means complete.
            (false, size) => (self.completed as f64 / size as f64).min(0.999_999),
        }
    }

    fn eta(&self) -> u64 {
        let left = self.size.saturating_sub(self.completed);
        left.checked_div(self.per_second).map_or(UNKNOWN_ETA, |eta| eta.min(UNKNOWN_ETA))
    }

    fn completion_on(&self) -> i64 {
        let at = self.download.as_ref().and_then(|download| download.completed_at.as_deref());
        let at = at.and_then(|at| humantime::parse_rfc3339(at).ok());
        let at = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        at.and_then(|at| i64::try_from(at.as_secs()).ok()).unwrap_or(-1)
    }

    /// An item of `torrents/info`.
    pub(super) fn json(&self, save_path: &str) -> Value {
        let torrent = &self.torrent;
        let own = json!({
            "hash": torrent.hash, "infohash_v1": torrent.hash, "name": torrent.name, "comment": self.error(),
            "state": self.state, "category": torrent.category, "save_path": save_path,
            "content_path": self.download.as_ref().map_or("", |download| &download.dest_path),
            "size": self.size, "total_size": self.size, "progress": self.progress(), "eta": self.eta(),
            "completed": self.completed, "downloaded": self.completed, "downloaded_session": self.completed,
            "amount_left": self.size.saturating_sub(self.completed), "dlspeed": self.per_second,
            "added_on": torrent.added_on, "last_activity": torrent.added_on, "completion_on": self.completion_on(),
        });
        with_constants("torrent", own)
    }

    /// Why it failed, where a person finds it.
    fn error(&self) -> &str {
        self.error.as_deref().filter(|_| !self.is_complete()).unwrap_or_default()
    }

    pub(super) fn properties(&self, save_path: &str) -> Value {
        let torrent = &self.torrent;
        let own = json!({
            "hash": torrent.hash, "infohash_v1": torrent.hash, "name": torrent.name, "comment": self.error(),
            "save_path": save_path, "total_size": self.size, "total_downloaded": self.completed,
            "total_downloaded_session": self.completed, "addition_date": torrent.added_on,
            "completion_date": self.completion_on(), "dl_speed": self.per_second, "dl_speed_avg": self.per_second,
            "eta": self.eta(),
        });
        with_constants("properties", own)
    }

    pub(super) fn file(&self) -> Value {
        json!({
            "index": 0, "name": self.file_name(), "size": self.size, "progress": self.progress(), "priority": 1,
            "is_seed": self.is_complete(), "piece_range": [0, 0], "availability": 1,
        })
    }
}

/// Returns `true` if a torrent is among those of a filter of `torrents/info`.
pub(super) fn fits(filter: &str, shown: &ShownTorrent) -> bool {
    let (state, complete) = (shown.state, shown.is_complete());
    match filter {
        "downloading" => !complete,
        "completed" => complete,
        "seeding" | "stalled_uploading" | "checking" => false,
        "paused" | "stopped" => state.starts_with("stopped"),
        "resumed" | "running" => !state.starts_with("stopped"),
        "active" => state == "downloading",
        "inactive" => state != "downloading",
        "stalled" | "stalled_downloading" => state == "stalledDL",
        "moving" => state == "moving",
        "errored" => matches!(state, "error" | "missingFiles"),
        // `all`, and what another version knows.
        _ => true,
    }
}

/// The order of two values of a field: numbers by size, texts without case.
pub(super) fn order(one: &Value, other: &Value) -> std::cmp::Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.to_string().to_lowercase().cmp(&other.to_string().to_lowercase()),
    }
}

/// The sums of all torrents, in bytes and bytes per second.
pub(super) fn server_state(completed: u64, per_second: u64) -> Value {
    with_constants("server_state", json!({ "dl_info_data": completed, "dl_info_speed": per_second }))
}

/// An object with the fields that qBittorrent's has beside and that are always the same here.
pub(super) fn with_constants(name: &str, mut own: Value) -> Value {
    static CONSTANTS: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("qbittorrent.json")).unwrap_or_default());
    if let (Some(own), Some(constants)) = (own.as_object_mut(), CONSTANTS[name].as_object()) {
        own.extend(constants.clone());
    }
    own
}
