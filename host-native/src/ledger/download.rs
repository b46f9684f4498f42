//! A download as it is shown: in lists, by `--json` and by the API. Its fields have the names of the ledger's columns.

use super::catalogue::Entry;
use crate::time::rfc3339 as time;
use regrip_core::record::{DownloadId, SizeSource, Source, Status};
use regrip_core::{OnExists, display_url};
use serde::{Deserialize, Serialize};

/// What may be shown of a download. Times are RFC 3339 in UTC; sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Its name.
    pub id: DownloadId,
    /// `url` or `peer`.
    pub kind: String,
    /// Where the bytes come from, without userinfo, query and fragment.
    pub url: String,
    /// The peer, by the digest of its URL.
    pub peer_id: Option<String>,
    /// The peer, as configured.
    pub peer_name: Option<String>,
    /// The item, as the peer names it.
    pub item_id: Option<String>,
    /// The stub it came from.
    pub stub_name: Option<String>,
    /// The file's name.
    pub filename: String,
    /// Absolute path of the file when it is whole.
    pub dest_path: String,
    /// Absolute path of the part.
    pub part_path: String,
    /// What to do where the destination exists.
    pub on_exists: OnExists,
    /// Names of the headers that its requests need and that are not kept.
    pub header_names: Vec<String>,
    /// Size by the release's metadata.
    pub release_size: Option<u64>,
    /// Size of the file, where known.
    pub expected_bytes: Option<u64>,
    /// What said so.
    pub expected_bytes_source: Option<SizeSource>,
    /// The transfer's size is not the release's.
    pub expected_bytes_mismatch: bool,
    /// Bytes in the part, or in the finished file.
    pub downloaded_bytes: u64,
    /// Bytes known to be on the disk, whatever happens.
    pub durable_bytes: u64,
    /// As sent.
    pub etag: Option<String>,
    /// As sent, where it is strong.
    pub last_modified: Option<String>,
    /// The digest it must have.
    pub sha256_wanted: Option<String>,
    /// The finished file's digest.
    pub sha256_got: Option<String>,
    /// Attempts over its life.
    pub attempts: u32,
    /// Restarts over its life.
    pub restarts: u32,
    /// Where it stands.
    pub status: Status,
    /// The end of the wait it is in.
    pub waiting_until: Option<String>,
    /// Why it waits.
    pub waiting_why: Option<String>,
    /// Why it failed: the error and its sources. Of a completed download, what failed after the file got its name.
    pub error: Option<String>,
    /// `transient` or `permanent`.
    pub error_class: Option<String>,
    /// The error's stable name.
    pub error_code: Option<String>,
    /// How telling the servers about it went.
    pub import_state: Option<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When its first attempt began.
    pub started_at: Option<String>,
    /// When anything of it changed last.
    pub updated_at: String,
    /// When it was completed.
    pub completed_at: Option<String>,
}

impl From<Entry> for Download {
    fn from(entry: Entry) -> Self {
        let kind = entry.kind().to_owned();
        let row = entry.row;
        let (peer_id, peer_name, item_id) = match &row.new.source {
            Source::Url { .. } => (None, None, None),
            Source::Peer {
                peer_id,
                peer_name,
                item_id,
                ..
            } => (
                Some(peer_id.clone()),
                Some(peer_name.clone()),
                Some(item_id.clone()),
            ),
        };
        let size = row.known_size();
        Download {
            id: row.id,
            kind,
            url: display_url(row.new.source.url()),
            peer_id,
            peer_name,
            item_id,
            stub_name: entry.stub_name,
            filename: entry.filename,
            dest_path: row.new.destination,
            part_path: row.new.part,
            on_exists: row.new.on_exists,
            header_names: row.new.header_names,
            release_size: row.new.release_size,
            expected_bytes: size.map(|size| size.bytes),
            expected_bytes_source: size.map(|size| size.source),
            expected_bytes_mismatch: row.mismatch,
            downloaded_bytes: row.downloaded,
            durable_bytes: row.durable,
            etag: row.validators.etag,
            last_modified: row.validators.last_modified,
            sha256_wanted: row.new.sha256,
            sha256_got: row.sha256_got,
            attempts: row.attempts,
            restarts: row.restarts,
            status: row.status,
            waiting_until: row.waiting.as_ref().map(|waiting| time(waiting.until)),
            waiting_why: row.waiting.map(|waiting| waiting.why),
            error: row.failure.as_ref().map(|failure| failure.text.clone()),
            error_class: row
                .failure
                .as_ref()
                .map(|failure| failure.class.name().to_owned()),
            error_code: row.failure.map(|failure| failure.code.to_string()),
            import_state: entry.import_state,
            created_at: entry.created_at,
            started_at: entry.started_at,
            updated_at: entry.updated_at,
            completed_at: entry.completed_at,
        }
    }
}
