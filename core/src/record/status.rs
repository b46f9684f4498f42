//! The status of a download.

use serde::{Deserialize, Serialize};

/// The status of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Ready to be driven: new, or its process ended.
    Queued,
    /// An attempt is running.
    Downloading,
    /// Between attempts; [`Row::waiting`](super::Row::waiting) says until when and why.
    Waiting,
    /// A user paused it; the part is kept, and nothing is done until the user resumes it.
    Paused,
    /// All bytes are synced, and the file is being renamed.
    Committing,
    /// The file is at its final name.
    Completed,
    /// The file is at its final name, and an import server was asked to import it.
    ImportQueued,
    /// An import server has imported the file; it may be at its final name no longer.
    Imported,
    /// The download failed.
    Failed,
    /// A user cancelled it; the part is kept.
    Cancelled,
}

impl Status {
    /// The name in the ledger, the API and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Downloading => "downloading",
            Status::Waiting => "waiting",
            Status::Paused => "paused",
            Status::Committing => "committing",
            Status::Completed => "completed",
            Status::ImportQueued => "import_queued",
            Status::Imported => "imported",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// All statuses, in the order in which a download goes through them.
    pub const ALL: [Status; 10] = [
        Status::Queued,
        Status::Downloading,
        Status::Waiting,
        Status::Paused,
        Status::Committing,
        Status::Completed,
        Status::ImportQueued,
        Status::Imported,
        Status::Failed,
        Status::Cancelled,
    ];

    /// The status with this name.
    pub fn named(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Returns `true` if the download has ended: only a retry by the user changes that.
    pub fn is_finished(self) -> bool {
        match self {
            Status::Queued | Status::Downloading | Status::Waiting | Status::Paused | Status::Committing => false,
            Status::Completed | Status::ImportQueued | Status::Imported | Status::Failed | Status::Cancelled => true,
        }
    }

    /// Returns `true` if the file got its final name.
    pub fn is_complete(self) -> bool {
        matches!(self, Status::Completed | Status::ImportQueued | Status::Imported)
    }

    /// Returns `true` if the download is driven without a user: it has not ended and is not paused.
    pub fn is_active(self) -> bool {
        !self.is_finished() && self != Status::Paused
    }
}
