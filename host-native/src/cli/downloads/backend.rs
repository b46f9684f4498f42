//! Where downloads are kept, as the commands see it: a state file, or a running server.

use super::args::Place;
use super::remote::Remote;
use super::remote_error::ServerSaid;
use super::state_file::StateFile;
use crate::cli::Exit;
use crate::cli::{check_config, serve};
use crate::config::{Config, load};
use crate::ledger::{AttemptLine, Download};
use crate::serve::ledger_in;
use regrip_core::{DownloadId, Error, Status};
use std::path::PathBuf;

/// Why a command was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The core's error.
    Core(Error),
    /// What the server said, or that it says nothing.
    Server(ServerSaid),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Core(error)
    }
}

impl From<ServerSaid> for Fault {
    fn from(said: ServerSaid) -> Fault {
        Fault::Server(said)
    }
}

/// Downloads that can be asked about and changed.
pub(super) trait Downloads {
    /// All of them, or those of one status; the newest change first.
    async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, Fault>;

    /// One of them with its attempts.
    async fn show(&self, id: DownloadId) -> Result<Shown, Fault>;

    /// Calls it off, and waits a while for whoever is at it to let go.
    async fn cancel(&self, id: DownloadId) -> Result<CalledOff, Fault>;

    /// Deletes it with its part. Returns it as it was.
    async fn remove(&self, id: DownloadId) -> Result<Download, Fault>;
}

/// A download with its attempts.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) download: Download,
    pub(super) attempts: Vec<AttemptLine>,
    /// Who is writing its part now.
    pub(super) writer: Option<Writer>,
}

/// Who is at a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A process on this machine.
    Process(u32),
    /// The server that was asked.
    Server,
}

/// A download that was cancelled.
#[derive(Debug)]
pub(super) struct CalledOff {
    /// Bytes in its part.
    pub(super) kept_bytes: u64,
    /// The process that is still writing its part.
    pub(super) writer: Option<u32>,
}

/// The one that is meant.
pub(super) enum Kept {
    /// A state file, whoever is at it.
    File(StateFile),
    /// A server that runs.
    Server(Box<Remote>),
}

/// What was typed comes to: a server by `--server`; the one that `--config` describes, or its state file while it does not
/// run; else a state file.
///
/// # Errors
/// What to tell, and how to exit.
pub(super) fn open(place: &Place) -> Result<Kept, (Exit, String)> {
    if let Some(url) = &place.server {
        let remote = Remote::named(url, None);
        let remote = remote.map_err(|text| (Exit::Usage, text))?;
        return Ok(Kept::Server(Box::new(remote)));
    }
    let Some(config) = configured(place)? else {
        return StateFile::open(place.state.as_ref()).map(Kept::File);
    };
    let remote = Remote::configured(&config).map_err(|text| (Exit::Usage, text))?;
    if smol::block_on(remote.is_there()) {
        return Ok(Kept::Server(Box::new(remote)));
    }
    let state = state_file(&config).map_err(|text| (Exit::Unusable, text))?;
    say!("regrip: the server does not run; this is its state file");
    StateFile::open(Some(&state)).map(Kept::File)
}

/// A server, for what only one that runs can do.
///
/// # Errors
/// What to tell, and how to exit.
pub(super) fn server(place: &Place) -> Result<Box<Remote>, (Exit, String)> {
    match open(place)? {
        Kept::Server(remote) => Ok(remote),
        Kept::File(_) => Err((
            Exit::Failed,
            "there is no running server to ask\n  name it with --server URL, or by its configuration with --config FILE"
                .to_owned(),
        )),
    }
}

fn configured(place: &Place) -> Result<Option<Config>, (Exit, String)> {
    let Some(file) = &place.config else {
        return Ok(None);
    };
    match load(file) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(refused) => {
            check_config::tell_refused(file, &refused);
            Err((Exit::Usage, "the configuration cannot be used".to_owned()))
        }
    }
}

fn state_file(config: &Config) -> Result<PathBuf, String> {
    Ok(ledger_in(&serve::data_folder(config)?))
}

impl Downloads for Kept {
    async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, Fault> {
        match self {
            Kept::File(file) => file.list(status).await,
            Kept::Server(server) => server.list(status).await,
        }
    }

    async fn show(&self, id: DownloadId) -> Result<Shown, Fault> {
        match self {
            Kept::File(file) => file.show(id).await,
            Kept::Server(server) => server.show(id).await,
        }
    }

    async fn cancel(&self, id: DownloadId) -> Result<CalledOff, Fault> {
        match self {
            Kept::File(file) => file.cancel(id).await,
            Kept::Server(server) => server.cancel(id).await,
        }
    }

    async fn remove(&self, id: DownloadId) -> Result<Download, Fault> {
        match self {
            Kept::File(file) => file.remove(id).await,
            Kept::Server(server) => server.remove(id).await,
        }
    }
}
