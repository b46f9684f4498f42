//! What can happen to a row, and which status admits it.

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

/// A download to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The digests it must have, and those that were asked for. In a [`Row`](super::Row) they are
    /// [`Row::digests`](super::Row::digests).
    #[serde(default)]
    pub digests: Vec<DigestRow>,
    /// Take up a part that no row claims.
    pub adopt: bool,
}

/// Why the bytes so far were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartReason {
    /// The part is longer than the file.
    PartOversize,
    /// The part is shorter than what was made durable, holds bytes nobody recorded, or cannot be read for a digest that
    /// was given later.
    PartChanged,
    /// The Content-Range is not the one asked for.
    ContentRangeMismatch,
    /// The file is another version.
    ValidatorChanged,
    /// The part's tail is not what the source has there.
    OverlapMismatch,
    /// A range was asked for and the whole file sent.
    RangeIgnored,
    /// 416.
    RangeNotSatisfiable,
    /// The source refuses ranges (400, 403, 405, 501), and the whole file has other bytes.
    RangeRefused,
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
            RestartReason::RangeRefused => "range_refused",
            RestartReason::DigestMismatch => "digest_mismatch",
        }
    }

    /// All of them.
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

    /// The reason of that name.
    pub fn named(name: &str) -> Option<RestartReason> {
        RestartReason::ALL
            .into_iter()
            .find(|reason| reason.name() == name)
    }
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
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong, where something did.
    pub error: Option<Failure>,
    /// The wait that follows, and who asked for it.
    pub wait: Option<(Duration, AskedBy)>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With the whole file.
    Completed,
    /// With an error.
    Failed,
    /// By a user's cancel.
    Cancelled,
    /// By the end of its process.
    Interrupted,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [
        Outcome::Completed,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Interrupted,
    ];

    /// As the timeline spells it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// The outcome of that name.
    pub fn named(name: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}

/// An error as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Transient or permanent.
    pub class: Class,
    /// [`Error::code`](crate::Error::code).
    pub code: ErrorCode,
    /// One line: the error and its sources.
    pub text: String,
}

/// A wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Until when at the latest, by the wall clock.
    pub until: SystemTime,
    /// Why, in a few words.
    pub why: String,
}

/// One thing that happens to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The part is (or is no longer) ours.
    Claimed(bool),
    /// The part belongs to one full response from now on: its first `kept` bytes were compared with it and are equal, what
    /// came after them is cut off already. Recorded before the next byte is written.
    Fresh {
        /// Bytes that are kept.
        kept: u64,
        /// The bytes that were discarded, if any.
        restart: Option<Restart>,
        /// What tells this version.
        validators: Validators,
        /// Its digests by Repr-Digest.
        stated: Vec<Checksum>,
        /// Its size, where known.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
    },
    /// Bytes of the same version go on arriving in a further response.
    Resumed {
        /// The size, where this response is the first to tell it.
        size: Option<KnownSize>,
        /// The transfer's size is not the release's.
        mismatch: bool,
        /// Digests by Repr-Digest; they count for the algorithms that no earlier response stated.
        stated: Vec<Checksum>,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
    },
    /// Bytes are durable.
    Checkpoint {
        /// Bytes in the part.
        downloaded: u64,
        /// Of these, how many are synced.
        durable: u64,
        /// [`Part::epoch`](crate::store::Part::epoch) of the part.
        epoch: String,
        /// States of hashes at some offset up to `durable`; those of other algorithms stay as they are.
        digests: Vec<(Algorithm, DigestState)>,
    },
    /// All bytes so far were discarded.
    Restart(Restart),
    /// What a request has shown of the URL.
    Learned(Behaviour),
    /// The download goes on from another URL, for which the bytes so far were proven.
    Moved {
        /// The new URL.
        url: String,
        /// What tells the version there.
        validators: Validators,
        /// The terms it was asked for with.
        terms: Terms,
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
    /// The row must be driven again (its process ends, or its wait was over).
    Queued,
    /// The rename comes next.
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
    /// Ended without a file.
    Failed(Failure),
    /// Called off.
    Cancelled,
    /// A user takes it up again: `queued`, with fresh bounds.
    Retried,
    /// It was asked for once more, on these terms.
    Terms(Terms),
}

/// Bytes that were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The attempt in which it happened.
    pub attempt: u32,
    /// Why.
    pub reason: RestartReason,
    /// How many.
    pub discarded: u64,
}

/// What asking for the same download once more can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The digests it must have now, and those that were asked for.
    pub digests: Vec<DigestRow>,
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
            digests: new.digests.clone(),
            adopt: new.adopt,
            on_exists: new.on_exists,
            header_names: new.header_names.clone(),
        }
    }
}

impl Status {
    /// Whether a row that stands so may be changed in that way. Facts about its bytes and attempts are always taken; what
    /// gives it another status is not, once somebody else has had the last word.
    pub fn admits(self, change: &Change) -> bool {
        match change {
            Change::Claimed(_)
            | Change::Fresh { .. }
            | Change::Resumed { .. }
            | Change::Checkpoint { .. }
            | Change::Restart(_)
            | Change::Learned(_)
            | Change::Moved { .. }
            | Change::AttemptEnded { .. }
            | Change::Terms(_) => true,
            Change::Waits(_) | Change::Queued | Change::Committing { .. } | Change::Failed(_) => {
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
}
