//! What `serve` keeps beside the downloads: where they came from, stubs that are left, imports.

use regrip_core::DownloadId;
use std::time::SystemTime;

/// Where a download came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The download.
    pub id: DownloadId,
    /// The peer, by the digest of its URL; `None` for a plain URL.
    pub peer_id: Option<String>,
    /// The item, as the peer names it.
    pub item_id: Option<String>,
    /// The stub it came from, if that was noted.
    pub stub_name: Option<String>,
}

/// A stub that is left in the watch folder although its download is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftStub {
    /// The stub's name in the watch folder.
    pub stub_name: String,
    /// The peer that it names.
    pub peer_id: String,
    /// The item that it names.
    pub item_id: String,
}

/// The import of a completed download by one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The server's name in the configuration, any text.
    pub server: String,
    /// Its state.
    pub state: ImportState,
    /// Commands sent to the server.
    pub tries: u32,
    /// The time of the next command, while a pending import waits for it.
    pub next_try: Option<SystemTime>,
    /// Why the last command failed.
    pub error: Option<String>,
}

impl Import {
    /// An import whose server has not been sent a command.
    pub fn new(server: &str) -> Import {
        Import {
            server: server.to_owned(),
            state: ImportState::Pending,
            tries: 0,
            next_try: None,
            error: None,
        }
    }
}

/// The state of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// No command has been accepted yet, and another one follows.
    Pending,
    /// The server accepted the command.
    Accepted,
    /// No command follows.
    Failed,
}

impl ImportState {
    /// All of them.
    pub const ALL: [ImportState; 3] = [
        ImportState::Pending,
        ImportState::Accepted,
        ImportState::Failed,
    ];

    /// As the ledger spells it.
    pub fn name(self) -> &'static str {
        match self {
            ImportState::Pending => "pending",
            ImportState::Accepted => "accepted",
            ImportState::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<ImportState> {
        ImportState::ALL
            .into_iter()
            .find(|state| state.name() == name)
    }
}
