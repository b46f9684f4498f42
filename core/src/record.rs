//! The ledger's row and what may happen to it.
//!
//! [`Row::apply`] is the meaning of every [`Change`], as a pure function: an in-memory ledger calls it, a database does the
//! same in SQL, and one contract test compares the two.
//!
//! Invariant: `attempts` only grows; the status of a row that [is finished](Status::is_finished) changes only by
//! [`Change::Retried`]. [`Status::admits`] says so, and a ledger asks it in the transaction that records a change: several
//! processes share a ledger, and of a cancel and a commit that meet exactly one may count.

use crate::bounds::Bounds;
use crate::config::OnExists;
use crate::error::Error;
use crate::retry::AskedBy;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// Names a download for as long as its row lives; never used twice in one ledger.
pub type DownloadId = i64;

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Source {
    /// A plain URL, without userinfo.
    Url {
        /// Absolute, http or https; its query is kept but never printed.
        url: String,
    },
    /// An item of a peer.
    Peer {
        /// First 8 hex digits of the SHA-256 of the peer's configured URL.
        peer_id: String,
        /// As configured.
        peer_name: String,
        /// As the peer names it.
        item_id: String,
        /// Where the item's file is.
        url: String,
    },
}

impl Source {
    /// The address the bytes are asked from.
    pub fn url(&self) -> &str {
        match self {
            Source::Url { url } | Source::Peer { url, .. } => url,
        }
    }

    /// Whether the other one names the same bytes: the same URL, or the same item of the same peer.
    pub fn is_same(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Url { url }, Source::Url { url: other }) => url == other,
            (
                Source::Peer {
                    peer_id, item_id, ..
                },
                Source::Peer {
                    peer_id: other_peer,
                    item_id: other_item,
                    ..
                },
            ) => peer_id == other_peer && item_id == other_item,
            (Source::Url { .. }, Source::Peer { .. })
            | (Source::Peer { .. }, Source::Url { .. }) => false,
        }
    }
}

/// Where a download stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be driven: new, or its process ended.
    Queued,
    /// An attempt is under way.
    Downloading,
    /// Between attempts; [`Row::waiting`] says until when and why.
    Waiting,
    /// All bytes are there and synced, the rename is under way.
    Committing,
    /// At its final name.
    Completed,
    /// At its final name, and a server was told.
    ImportQueued,
    /// Ended without a file.
    Failed,
    /// Called off by a user; the part is kept.
    Cancelled,
}

impl Status {
    /// As the ledger, the API and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Downloading => "downloading",
            Status::Waiting => "waiting",
            Status::Committing => "committing",
            Status::Completed => "completed",
            Status::ImportQueued => "import_queued",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// All of them, in the order a download goes through them.
    pub const ALL: [Status; 8] = [
        Status::Queued,
        Status::Downloading,
        Status::Waiting,
        Status::Committing,
        Status::Completed,
        Status::ImportQueued,
        Status::Failed,
        Status::Cancelled,
    ];

    /// The status of that name.
    pub fn named(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether a row that stands so may be changed in that way. Facts about its bytes and attempts are always taken; what
    /// gives it another status is not, once somebody else has had the last word.
    pub fn admits(self, change: &Change) -> bool {
        match change {
            Change::Claimed(_)
            | Change::Fresh { .. }
            | Change::Resumed { .. }
            | Change::Checkpoint { .. }
            | Change::Restart { .. }
            | Change::AttemptEnded { .. }
            | Change::Terms(_) => true,
            Change::Waits(_) | Change::Queued | Change::Committing(_) | Change::Failed(_) => {
                !self.is_finished()
            }
            // The same once more is no contradiction: two processes may finish or call off one download.
            Change::Completed { .. } => !self.is_finished() || self == Status::Completed,
            // From `committing` on it is too late.
            Change::Cancelled => {
                self == Status::Cancelled || !(self.is_finished() || self == Status::Committing)
            }
            Change::Retried => matches!(self, Status::Failed | Status::Cancelled),
        }
    }

    /// Nothing more happens by itself.
    pub fn is_finished(self) -> bool {
        match self {
            Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => false,
            Status::Completed | Status::ImportQueued | Status::Failed | Status::Cancelled => true,
        }
    }
}

/// What says how long the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeSource {
    /// The total of a Content-Range.
    ContentRange,
    /// A Content-Length.
    ContentLength,
    /// The release's metadata.
    ReleaseSize,
}

impl SizeSource {
    /// As the ledger and the events spell it.
    pub fn name(self) -> &'static str {
        match self {
            SizeSource::ContentRange => "content_range",
            SizeSource::ContentLength => "content_length",
            SizeSource::ReleaseSize => "release_size",
        }
    }
    /// The source of that name.
    pub fn named(name: &str) -> Option<SizeSource> {
        [
            SizeSource::ContentRange,
            SizeSource::ContentLength,
            SizeSource::ReleaseSize,
        ]
        .into_iter()
        .find(|s| s.name() == name)
    }
}

/// A size and what said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSize {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// What said so.
    pub source: SizeSource,
}

/// What tells one version of a file from another, as the response with its first byte sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// ETag as sent, weak or strong.
    pub etag: Option<String>,
    /// Last-Modified as sent, kept only where it is strong: at least 60 s before that response's Date
    /// (RFC 9110 §8.8.2.2).
    pub last_modified: Option<String>,
    /// SHA-256 by Repr-Digest, lower-case hex.
    pub sha256: Option<String>,
}

/// Why the bytes so far were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartReason {
    /// The part is longer than the file.
    PartOversize,
    /// The part is shorter than what was made durable, or holds bytes nobody recorded.
    PartChanged,
    /// The Content-Range is not the one asked for.
    ContentRangeMismatch,
    /// The file is another version.
    ValidatorChanged,
    /// The part's tail is not what the source has there.
    OverlapMismatch,
    /// The whole file came where a range was asked.
    RangeIgnored,
    /// 416.
    RangeNotSatisfiable,
    /// The whole file has another digest, and its bytes came in several responses.
    DigestMismatch,
}

impl RestartReason {
    /// As the ledger and the events spell it.
    pub fn name(self) -> &'static str {
        match self {
            RestartReason::PartOversize => "part_oversize",
            RestartReason::PartChanged => "part_changed",
            RestartReason::ContentRangeMismatch => "content_range_mismatch",
            RestartReason::ValidatorChanged => "validator_changed",
            RestartReason::OverlapMismatch => "overlap_mismatch",
            RestartReason::RangeIgnored => "range_ignored",
            RestartReason::RangeNotSatisfiable => "range_not_satisfiable",
            RestartReason::DigestMismatch => "digest_mismatch",
        }
    }

    /// All of them.
    pub const ALL: [RestartReason; 8] = [
        RestartReason::PartOversize,
        RestartReason::PartChanged,
        RestartReason::ContentRangeMismatch,
        RestartReason::ValidatorChanged,
        RestartReason::OverlapMismatch,
        RestartReason::RangeIgnored,
        RestartReason::RangeNotSatisfiable,
        RestartReason::DigestMismatch,
    ];

    /// The reason of that name.
    pub fn named(name: &str) -> Option<RestartReason> {
        RestartReason::ALL
            .into_iter()
            .find(|reason| reason.name() == name)
    }
}

/// What identifies a file on its file system, whatever its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// A hasher's saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestState {
    /// How many bytes it has taken in.
    pub offset: u64,
    /// The state, as [`Digest::save`](crate::io::Digest::save) gave it.
    pub state: Vec<u8>,
}

/// A download to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDownload {
    /// Where the bytes come from.
    pub source: Source,
    /// Names of the headers (and `authorization` for userinfo) that requests need and the ledger does not keep.
    pub header_names: Vec<String>,
    /// Absolute path of the file when it is whole.
    pub destination: String,
    /// Absolute path of the part.
    pub part: String,
    /// What to do where the destination exists.
    pub on_exists: OnExists,
    /// Size by the release's metadata.
    pub release_size: Option<u64>,
    /// The digest it must have, lower-case hex.
    pub sha256: Option<String>,
    /// Take up a part that no row claims.
    pub adopt: bool,
}

/// A line of the timeline, at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// When.
    pub at: SystemTime,
    /// Offset at which it starts.
    pub from: u64,
}

/// A line of the timeline, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// Its number over the row's life.
    pub attempt: u32,
    /// Offset reached.
    pub to: u64,
    /// `completed`, `failed`, `cancelled`, `interrupted`.
    pub outcome: &'static str,
    /// What went wrong, where something did.
    pub error: Option<Failure>,
    /// The wait that follows, and who asked for it.
    pub wait: Option<(Duration, AskedBy)>,
}

/// An error as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `transient` or `permanent`.
    pub class: &'static str,
    /// [`Error::code`](crate::Error::code).
    pub code: &'static str,
    /// One line: the error and its sources.
    pub text: String,
}

/// A wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Until when at the latest, by the wall clock.
    pub until: SystemTime,
    /// Why, in a few words.
    pub why: String,
}

/// What is recorded before the rename, so that a crash in it can be repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committing {
    /// The part's identity, which the rename keeps.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest, where one was computed.
    pub sha256: Option<String>,
}

/// One thing that happens to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The part is (or is no longer) ours.
    Claimed(bool),
    /// The bytes of one version begin to arrive, from offset 0. Recorded before the first is written.
    Fresh {
        /// What tells this version.
        validators: Validators,
        /// Its size, where known.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// The boot in which they are written.
        boot_id: String,
    },
    /// Bytes of the same version go on arriving in a further response.
    Resumed {
        /// The size, where this response is the first to tell it.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// SHA-256 by Repr-Digest, where this response is the first to tell it.
        sha256: Option<String>,
        /// The boot in which they are written.
        boot_id: String,
    },
    /// Bytes are durable.
    Checkpoint {
        /// Bytes in the part.
        downloaded: u64,
        /// Of these, how many are synced.
        durable: u64,
        /// The boot in which they were written.
        boot_id: String,
        /// The hasher's state at some offset up to `durable`.
        digest: Option<DigestState>,
    },
    /// The bytes so far were discarded.
    Restart {
        /// The attempt in which it happened.
        attempt: u32,
        /// Why.
        reason: RestartReason,
        /// How many.
        discarded: u64,
    },
    /// An attempt is over.
    AttemptEnded {
        /// Its line in the timeline.
        end: AttemptEnd,
        /// The bounds after it.
        bounds: Bounds,
    },
    /// The row waits.
    Waits(Waiting),
    /// The row is to be driven again (its process ends, or its wait was over).
    Queued,
    /// The rename comes next.
    Committing(Committing),
    /// The file is at its final name.
    Completed {
        /// Its size in bytes.
        size: u64,
        /// Its digest, where one was computed.
        sha256: Option<String>,
        /// What failed after the file got its name.
        warning: Option<Failure>,
    },
    /// Ended without a file.
    Failed(Failure),
    /// Called off.
    Cancelled,
    /// A user takes it up again: `queued`, with fresh bounds.
    Retried,
    /// It was asked for once more, on these terms.
    Terms(Terms),
}

/// What asking for the same download once more can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The digest it must have now, if any.
    pub sha256: Option<String>,
    /// Take up a part that no row claims.
    pub adopt: bool,
    /// What to do where the destination exists.
    pub on_exists: OnExists,
    /// Names of the headers that requests need and the ledger does not keep.
    pub header_names: Vec<String>,
}

impl Terms {
    /// Those of a new download.
    pub fn of(new: &NewDownload) -> Self {
        Terms {
            sha256: new.sha256.clone(),
            adopt: new.adopt,
            on_exists: new.on_exists,
            header_names: new.header_names.clone(),
        }
    }
}

/// A download as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub id: DownloadId,
    /// What was accepted.
    pub new: NewDownload,
    /// The part is ours.
    pub claimed: bool,
    /// Where it stands.
    pub status: Status,
    /// The wait it is in.
    pub waiting: Option<Waiting>,
    /// What tells the version whose bytes the part holds.
    pub validators: Validators,
    /// Its size, as a transfer told it.
    pub size: Option<KnownSize>,
    /// The transfer's size is not the release's.
    pub mismatch: bool,
    /// Bytes in the part at the last checkpoint.
    pub downloaded: u64,
    /// Bytes known to be durable.
    pub durable: u64,
    /// The boot in which they were written; `None` before the first byte.
    pub boot_id: Option<String>,
    /// The responses that the part's bytes came from.
    pub responses: u32,
    /// Saved hasher.
    pub digest: Option<DigestState>,
    /// Already started over for its digest once.
    pub digest_restarted: bool,
    /// The digest of the finished file.
    pub sha256_got: Option<String>,
    /// Attempts over the row's life; only grows.
    pub attempts: u32,
    /// Restarts over the row's life.
    pub restarts: u32,
    /// What counts against the bounds.
    pub bounds: Bounds,
    /// What is being renamed, or was when its process died. `None` again as soon as the part is known to be there.
    pub committing: Option<Committing>,
    /// Why it failed; of a completed download, what failed after the file got its name.
    pub failure: Option<Failure>,
}

/// What decides which of the unfinished rows are driven after a start: of a hundred thousand of them no more is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The row.
    pub id: DownloadId,
    /// [`NewDownload::destination`].
    pub destination: String,
    /// It was being renamed.
    pub committing: bool,
    /// Bytes known to be durable.
    pub durable: u64,
}

impl From<Row> for Mark {
    fn from(row: Row) -> Self {
        Mark {
            id: row.id,
            destination: row.new.destination,
            committing: row.status == Status::Committing,
            durable: row.durable,
        }
    }
}

impl Row {
    /// A row as [`Ledger::insert`](crate::io::Ledger::insert) makes it.
    pub fn new(id: DownloadId, new: NewDownload) -> Self {
        Row {
            id,
            new,
            claimed: false,
            status: Status::Queued,
            waiting: None,
            validators: Validators::default(),
            size: None,
            mismatch: false,
            downloaded: 0,
            durable: 0,
            boot_id: None,
            responses: 0,
            digest: None,
            digest_restarted: false,
            sha256_got: None,
            attempts: 0,
            restarts: 0,
            bounds: Bounds::default(),
            committing: None,
            failure: None,
        }
    }

    /// The size to show: the transfer's, else the release's unless the transfer has contradicted it.
    pub fn known_size(&self) -> Option<KnownSize> {
        let release = self.new.release_size.map(|bytes| KnownSize {
            bytes,
            source: SizeSource::ReleaseSize,
        });
        let release = release.filter(|size| !self.mismatch && size.bytes >= self.downloaded);
        self.size.or(release)
    }

    /// The error for what its status does not allow.
    pub fn wrong_state(&self) -> Error {
        Error::WrongState {
            id: self.id,
            status: self.status.name(),
        }
    }

    /// Counts an attempt: what [`Ledger::begin_attempt`](crate::io::Ledger::begin_attempt) does to the row.
    pub fn begin_attempt(&mut self) -> u32 {
        self.attempts = self.attempts.saturating_add(1);
        self.status = Status::Downloading;
        self.waiting = None;
        self.attempts
    }

    /// What each change means, where it is [admitted](Status::admits).
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Claimed(claimed) => self.claimed = *claimed,
            Change::Fresh {
                validators,
                size,
                mismatch,
                boot_id,
            } => {
                self.validators = validators.clone();
                self.size = *size;
                self.mismatch = *mismatch;
                self.boot_id = Some(boot_id.clone());
                self.forget_bytes();
                self.responses = 1;
            }
            Change::Resumed {
                size,
                mismatch,
                sha256,
                boot_id,
            } => {
                self.size = self.size.or(*size);
                self.mismatch |= *mismatch;
                if self.validators.sha256.is_none() {
                    self.validators.sha256.clone_from(sha256);
                }
                self.boot_id = Some(boot_id.clone());
                self.responses = self.responses.saturating_add(1);
            }
            Change::Checkpoint {
                downloaded,
                durable,
                boot_id,
                digest,
            } => {
                self.downloaded = *downloaded;
                self.durable = *durable;
                self.boot_id = Some(boot_id.clone());
                self.digest = digest.clone();
                self.committing = None;
            }
            Change::Restart { reason, .. } => {
                self.restarts = self.restarts.saturating_add(1);
                self.bounds.restarts = self.bounds.restarts.saturating_add(1);
                self.bounds.furthest = 0;
                self.digest_restarted |= *reason == RestartReason::DigestMismatch;
                self.validators = Validators::default();
                self.size = None;
                self.boot_id = None;
                self.responses = 0;
                self.forget_bytes();
            }
            Change::AttemptEnded { bounds, .. } => self.bounds = *bounds,
            Change::Waits(waiting) => {
                self.status = Status::Waiting;
                self.waiting = Some(waiting.clone());
            }
            Change::Queued => self.stand(Status::Queued),
            Change::Committing(committing) => {
                self.stand(Status::Committing);
                self.committing = Some(committing.clone());
            }
            Change::Completed {
                size,
                sha256,
                warning,
            } => {
                self.stand(Status::Completed);
                self.mismatch |= self
                    .new
                    .release_size
                    .is_some_and(|release| release != *size);
                self.committing = None;
                self.failure.clone_from(warning);
                self.downloaded = *size;
                self.durable = *size;
                self.sha256_got = sha256.clone();
            }
            Change::Failed(failure) => {
                self.stand(Status::Failed);
                self.failure = Some(failure.clone());
            }
            Change::Cancelled => self.stand(Status::Cancelled),
            Change::Retried => {
                self.stand(Status::Queued);
                self.bounds = Bounds {
                    furthest: self.bounds.furthest,
                    ..Bounds::default()
                };
                self.digest_restarted = false;
                self.failure = None;
            }
            Change::Terms(terms) => {
                self.new.sha256.clone_from(&terms.sha256);
                self.new.adopt = terms.adopt;
                self.new.on_exists = terms.on_exists;
                self.new.header_names.clone_from(&terms.header_names);
            }
        }
    }

    fn stand(&mut self, status: Status) {
        self.status = status;
        self.waiting = None;
    }

    fn forget_bytes(&mut self) {
        self.downloaded = 0;
        self.durable = 0;
        self.digest = None;
        self.committing = None;
    }
}
