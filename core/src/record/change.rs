//! The changes to a row, and which status admits each.

use super::digest::DigestRow;
use super::source::Source;
use super::status::Status;
use super::version::{Behaviour, KnownSize, Validators};
use crate::bounds::Bounds;
use crate::checksum::{Algorithm, Checksum};
use crate::classify::Class;
use crate::config::OnExists;
use crate::error_code::ErrorCode;
use crate::retry::AskedBy;
use crate::store::{Committing, DigestState};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// A new download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDownload {
    /// The source.
    pub source: Source,
    /// Other URLs of the same file, without userinfo, in the order in which they are tried.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Names of the headers (and `authorization` for userinfo) that requests need. The ledger does not store their values.
    pub header_names: Vec<String>,
    /// Absolute path of the completed file.
    pub destination: String,
    /// Absolute path of the part.
    pub part: String,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// The size stated by the release.
    pub release_size: Option<u64>,
    /// The digests it must have, and those that were asked for. In a [`Row`](super::Row) they are
    /// [`Row::digests`](super::Row::digests).
    #[serde(default)]
    pub digests: Vec<DigestRow>,
    /// Adopt a part that no row claims.
    pub adopt: bool,
}

/// Why partial data was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartReason {
    /// The part is longer than the file.
    PartOversize,
    /// The part is shorter than what was made durable, holds bytes nobody recorded, or cannot be read for a digest that
    /// was given later.
    PartChanged,
    /// The Content-Range is not the requested one.
    ContentRangeMismatch,
    /// The file is another version.
    ValidatorChanged,
    /// The end of the part differs from the source.
    OverlapMismatch,
    /// A range was requested, and the whole file was sent.
    RangeIgnored,
    /// 416.
    RangeNotSatisfiable,
    /// The source refuses ranges (400, 403, 405, 501), and the whole file differs.
    RangeRefused,
    /// The complete file has another digest, and its bytes are from several responses.
    DigestMismatch,
}

impl RestartReason {
    /// The name in the ledger and in events.
    pub fn name(self) -> &'static str {
        match self {
            RestartReason::PartOversize => "part_oversize",
            RestartReason::PartChanged => "part_changed",
            RestartReason::ContentRangeMismatch => "content_range_mismatch",
            RestartReason::ValidatorChanged => "validator_changed",
            RestartReason::OverlapMismatch => "overlap_mismatch",
            RestartReason::RangeIgnored => "range_ignored",
            RestartReason::RangeNotSatisfiable => "range_not_satisfiable",
            RestartReason::RangeRefused => "range_refused",
            RestartReason::DigestMismatch => "digest_mismatch",
        }
    }

    /// All variants.
    pub const ALL: [RestartReason; 9] = [
        RestartReason::PartOversize,
        RestartReason::PartChanged,
        RestartReason::ContentRangeMismatch,
        RestartReason::ValidatorChanged,
        RestartReason::OverlapMismatch,
        RestartReason::RangeIgnored,
        RestartReason::RangeNotSatisfiable,
        RestartReason::RangeRefused,
        RestartReason::DigestMismatch,
    ];

    /// The reason with this name.
    pub fn named(name: &str) -> Option<RestartReason> {
        RestartReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// The start of an attempt in the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The time.
    pub at: SystemTime,
    /// The offset at its start.
    pub from: u64,
}

/// The end of an attempt in the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// The number of the attempt over the life of the row.
    pub attempt: u32,
    /// The offset at its end.
    pub to: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The error, if there was one.
    pub error: Option<Failure>,
    /// The delay that follows, and who asked for it.
    pub wait: Option<(Duration, AskedBy)>,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file is complete.
    Completed,
    /// It failed.
    Failed,
    /// A user cancelled it.
    Cancelled,
    /// Its process ended.
    Interrupted,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Completed, Outcome::Failed, Outcome::Cancelled, Outcome::Interrupted];

    /// The name in the timeline.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// The outcome with this name.
    pub fn named(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// An error as stored in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Transient or permanent.
    pub class: Class,
    /// [`Error::code`](crate::Error::code).
    pub code: ErrorCode,
    /// One line: the error and its sources.
    pub text: String,
}

/// A wait for something other than the backoff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The latest end of the wait, by the wall clock.
    pub until: SystemTime,
    /// The reason, in a few words.
    pub why: String,
}

/// A change to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row claims the part, or no longer does.
    Claimed(bool),
    /// The part belongs to one full response from now on: its first `kept` bytes were compared with it and are equal, and the rest is
    /// already cut off. Recorded before the next byte is written.
    Fresh {
        /// Bytes that are kept.
        kept: u64,
        /// The bytes that were discarded, if any.
        restart: Option<Restart>,
        /// The validators of this version.
        validators: Validators,
        /// Its digests by Repr-Digest.
        stated: Vec<Checksum>,
        /// Its size, if known.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
    },
    /// Another response continues the same version.
    Resumed {
        /// The size, if this response is the first to state it.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// Digests by Repr-Digest; they count for the algorithms that no earlier response stated.
        stated: Vec<Checksum>,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
    },
    /// Data was made durable.
    Checkpoint {
        /// Bytes in the part.
        downloaded: u64,
        /// The number of them that are durable.
        durable: u64,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
        /// States of hashes at some offset up to `durable`; those of other algorithms stay as they are.
        digests: Vec<(Algorithm, DigestState)>,
    },
    /// All bytes so far were discarded.
    Restart(Restart),
    /// A request has shown how the URL behaves.
    Learned(Behaviour),
    /// The download continues from another URL, for which the partial data was proven.
    Moved {
        /// The new URL.
        url: String,
        /// The validators of the version there.
        validators: Validators,
        /// The terms of the request for it.
        terms: Terms,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// Its line in the timeline.
        end: AttemptEnd,
        /// The bounds after it.
        bounds: Bounds,
    },
    /// The download waits.
    Waits(Waiting),
    /// The row must be driven again (its process ends, or its wait was over).
    Queued,
    /// The file is about to be renamed.
    Committing {
        /// What identifies the file.
        committing: Committing,
        /// Its digests, as computed.
        digests: Vec<Checksum>,
    },
    /// The file is at its final name.
    Completed {
        /// Its size in bytes.
        size: u64,
        /// What failed after the file got its name.
        warning: Option<Failure>,
    },
    /// The download failed.
    Failed(Failure),
    /// A user cancelled it.
    Cancelled,
    /// A user retries it: `queued`, with reset limits.
    Retried,
    /// A user paused it.
    Paused,
    /// A user resumes it: `queued`, with the limits as they were.
    Unpaused,
    /// It was requested again, on these terms.
    Terms(Terms),
}

/// Discarded partial data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The number of the attempt.
    pub attempt: u32,
    /// The reason.
    pub reason: RestartReason,
    /// The number of bytes.
    pub discarded: u64,
}

/// The terms that another request for the same download can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The digests it must have now, and those that were asked for.
    pub digests: Vec<DigestRow>,
    /// Take up a part that no row claims.
    pub adopt: bool,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// Names of the headers that requests need and the ledger does not keep.
    pub header_names: Vec<String>,
    /// Other URLs of the same file.
    pub mirrors: Vec<String>,
}

impl Terms {
    /// The terms of a new download.
    pub fn of(new: &NewDownload) -> Self {
        Terms {
            digests: new.digests.clone(),
            adopt: new.adopt,
            on_exists: new.on_exists,
            header_names: new.header_names.clone(),
            mirrors: new.mirrors.clone(),
        }
    }

    /// The terms of another request for `row`, which goes on from `url`: its sources are added to those of the row.
    pub(crate) fn again(new: &NewDownload, row: &NewDownload, url: &str) -> Self {
        let own = match &new.source {
            Source::Url { url } => Some(url),
            Source::Peer { .. } => None,
        };
        let mut mirrors: Vec<String> = Vec::new();
        for source in row.mirrors.iter().chain(own).chain(&new.mirrors) {
            if source != url && !mirrors.contains(source) {
                mirrors.push(source.clone());
            }
        }
        Terms { mirrors, ..Terms::of(new) }
    }
}

impl NewDownload {
    /// Returns `true` if a request for this source and these mirrors is for the same download: the same source, or one is a mirror
    /// of the other.
    pub fn is_same(&self, source: &Source, mirrors: &[String]) -> bool {
        let is_in = |mirrors: &[String], url: &str| mirrors.iter().any(|mirror| mirror == url);
        self.source.is_same(source) || is_in(&self.mirrors, source.url()) || is_in(mirrors, self.source.url())
    }
}

impl Status {
    /// Returns `true` if a row with this status admits the change. Facts about bytes and attempts are always admitted; a change of the
    /// status is not, once the row has ended, nor that its part is nobody's: by then another process may have taken it up.
    pub fn admits(self, change: &Change) -> bool {
        match change {
            Change::Claimed(false) => self.is_active(),
            Change::Claimed(true)
            | Change::Fresh { .. }
            | Change::Resumed { .. }
            | Change::Checkpoint { .. }
            | Change::Restart(_)
            | Change::Learned(_)
            | Change::Moved { .. }
            | Change::AttemptEnded { .. }
            | Change::Terms(_) => true,
            Change::Waits(_) | Change::Queued | Change::Committing { .. } | Change::Failed(_) => self.is_active(),
            // A repeated end is no contradiction: two processes may finish or cancel one download.
            Change::Completed { .. } => self.is_active() || self == Status::Completed,
            // From `committing` on it is too late to cancel or to pause.
            Change::Cancelled => self == Status::Cancelled || !(self.is_finished() || self == Status::Committing),
            Change::Paused => {
                matches!(self, Status::Queued | Status::Downloading | Status::Waiting | Status::Paused)
            }
            Change::Retried => matches!(self, Status::Failed | Status::Cancelled),
            Change::Unpaused => self == Status::Paused,
        }
    }
}
