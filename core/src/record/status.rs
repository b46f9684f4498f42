//! Where a download stands.

use serde::{Deserialize, Serialize};

/// Where a download stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be driven: new, or its process ended.
    Queued,
    /// An attempt is under way.
    Downloading,
    /// Between attempts; [`Row::waiting`](super::Row::waiting) says until when and why.
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

    /// Nothing more happens by itself.
    pub fn is_finished(self) -> bool {
        match self {
            Status::Queued | Status::Downloading | Status::Waiting | Status::Committing => false,
            Status::Completed | Status::ImportQueued | Status::Failed | Status::Cancelled => true,
        }
    }
}
