//! Where downloads are kept, as the commands see it: a state file, or a running server.
//!
//! A command's changes to a state file go through the ledger, and the ledger decides: see [`Status::admits`]. A process that
//! drives a download looks for such changes ([`crate::cli::drive`]) and stops.

use super::remote::{Remote, RemoteError};
use crate::cli::args::BackendArgs;
use crate::cli::output::{CommandResult, Exit};
use crate::cli::report::Silent;
use crate::cli::serve::{data_folder, read_config, shared_ledger};
use crate::host::{Listener, NativeHost};
#[cfg(feature = "fleet")]
use crate::ledger::PostgresLedger;
use crate::ledger::{AttemptLine, Download, NativeLedger};
use crate::serve::{ledger_in, serving};
use crate::state::{self, StateLedger};
use crate::store::{FileStore, writer};
#[cfg(feature = "fleet")]
use crate::store::{ObjectStore, S3Settings};
use crate::time::SmolClock;
use crate::transport::{HttpTransport, TransportOptions};
#[cfg(feature = "fleet")]
use regrip_core::RetryPolicy;
use regrip_core::{DownloadId, DownloadsConfig, Engine, Error, Status};
use smol::Timer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A state file or a server.
pub(super) enum Backend {
    /// A state file, whether or not another process uses it.
    File(StateFile),
    /// The database that the workers of a fleet share, asked without any of them.
    #[cfg(feature = "fleet")]
    Fleet(Box<StateFile<PostgresLedger>>),
    /// A running server.
    Server(Box<Remote>),
}

impl Backend {
    /// The server of `--server`; the one that `--config` describes, or its ledger while it does not run; otherwise a state file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(place: &BackendArgs) -> CommandResult<Backend> {
        let usage = |text| (Exit::Usage, text);
        if let Some(url) = &place.server {
            let remote = Remote::named(url, None).map_err(usage)?;
            return Ok(Backend::Server(Box::new(remote)));
        }
        let Some(file) = &place.config else {
            return StateFile::open(place.state.as_ref()).map(Backend::File);
        };
        let config = read_config(file)?.config;
        let remote = Remote::configured(&config).map_err(usage)?;
        if smol::block_on(remote.is_running()) {
            return Ok(Backend::Server(Box::new(remote)));
        }
        let folder = data_folder(&config).map_err(|text| (Exit::Unusable, text))?;
        #[cfg(feature = "fleet")]
        if let Some(ledger) = shared_ledger(&config)? {
            say!("regrip: the server does not run; using the database of its fleet");
            return Ok(Backend::Fleet(Box::new(StateFile {
                ledger,
                server: None,
                folder,
                s3: config.server.s3.map(Box::new),
            })));
        }
        #[cfg(not(feature = "fleet"))]
        shared_ledger(&config)?;
        say!("regrip: the server does not run; using its state file");
        StateFile::open(Some(&ledger_in(&folder))).map(Backend::File)
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub(super) enum BackendError {
    /// The core's error.
    Core(Error),
    /// The server's refusal, or why there is no answer.
    Server(RemoteError),
}

impl From<Error> for BackendError {
    fn from(error: Error) -> BackendError {
        BackendError::Core(error)
    }
}

impl From<RemoteError> for BackendError {
    fn from(error: RemoteError) -> BackendError {
        BackendError::Server(error)
    }
}

/// A download with its attempts.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) download: Download,
    pub(super) attempts: Vec<AttemptLine>,
    /// Who is writing its part now.
    pub(super) writer: Option<Writer>,
}

/// Who drives a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A process on this machine.
    Process(u32),
    /// The server that was asked.
    Server,
}

impl BackendError {
    /// Returns `true` if the state of the download forbids it, or the download is gone.
    pub(super) fn is_about_state(&self) -> bool {
        matches!(self, BackendError::Core(Error::WrongState { .. } | Error::NoSuchDownload(_)))
    }
}

/// A download that was cancelled or paused.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Bytes in its part.
    pub(super) kept_bytes: u64,
    /// The process that still has its part open.
    pub(super) writer: Option<u32>,
}

impl Stopped {
    /// Prints which process still has the part open, if one does.
    pub(super) fn say_writer(&self) {
        if let Some(pid) = self.writer {
            say!("  process {pid} still has the part open");
        }
    }
}

/// How long to wait until the process of a cancelled or paused download closes the part: it looks for changes twice a second, then
/// syncs.
const LET_GO: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The downloads of one state file, or of another ledger.
pub(super) struct StateFile<L = StateLedger> {
    ledger: L,
    server: Option<u32>,
    /// Its folder, with the locks of object storage.
    #[cfg(feature = "fleet")]
    folder: PathBuf,
    /// The object storage, if it is not that of the environment.
    #[cfg(feature = "fleet")]
    s3: Option<Box<S3Settings>>,
}

impl StateFile {
    /// Opens this one, or the default one. A missing one is not created.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(given: Option<&PathBuf>) -> CommandResult<Self> {
        let path = state::path(given).map_err(|text| (Exit::Unusable, text))?;
        if !path.exists() {
            let path = path.display();
            let text =
                format!("there is no state file {path}\n  `regrip get` creates it; name another one with --state");
            return Err((Exit::Failed, text));
        }
        let ledger = state::open_at(&path).map_err(|text| (Exit::Unusable, text))?;
        let server = path.parent().and_then(serving);
        Ok(StateFile {
            ledger,
            server,
            #[cfg(feature = "fleet")]
            folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
            #[cfg(feature = "fleet")]
            s3: None,
        })
    }

    /// Returns `true` if there is no default one.
    pub(super) fn is_missing() -> bool {
        state::path(None).is_ok_and(|path| !path.exists())
    }
}

impl<L: NativeLedger> StateFile<L> {
    /// The process of the server that uses this state file, if one runs.
    pub(super) fn server(&self) -> Option<u32> {
        self.server
    }

    /// Creates an engine on it.
    pub(super) fn engine(&self, listener: Arc<dyn Listener>) -> Result<Engine<NativeHost<L>>, Error> {
        let config = DownloadsConfig::default();
        let options = TransportOptions::new(&config);
        #[cfg_attr(not(feature = "fleet"), allow(unused_mut))]
        let mut store = FileStore::new();
        #[cfg(feature = "fleet")]
        if let Some(settings) =
            self.s3.as_deref().cloned().or_else(|| S3Settings::of_environment(|name| std::env::var(name).ok()).ok())
        {
            let (ledger, locks) = (self.ledger.uploads(), self.folder.clone());
            store.objects =
                Some(ObjectStore::new(settings, options.clone(), RetryPolicy::default(), ledger, locks, ""));
        }
        let host = NativeHost {
            transport: HttpTransport::new(options),
            store,
            ledger: self.ledger.clone(),
            clock: SmolClock::default(),
            listener,
        };
        Engine::new(host, config, true).map_err(|error| Error::ledger("reading the configuration", error))
    }

    /// With the current length of the part: the ledger has the one of the last checkpoint.
    fn up_to_date(mut download: Download) -> Download {
        let whole = download.status.is_complete();
        if !whole && let Ok(part) = std::fs::symlink_metadata(&download.part_path) {
            download.downloaded_bytes = part.len();
        }
        download
    }

    async fn download(&self, id: DownloadId) -> Result<Download, Error> {
        Ok(Self::up_to_date(self.ledger.entry(id).await?.into()))
    }
}

impl<L: NativeLedger> StateFile<L> {
    /// All downloads, or those of one status; the newest change first.
    pub(super) async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, BackendError> {
        let entries = self.ledger.all(status).await?.into_iter();
        Ok(entries.map(|entry| Self::up_to_date(entry.into())).collect())
    }

    /// A download with its attempts.
    pub(super) async fn show(&self, id: DownloadId) -> Result<Shown, BackendError> {
        let download = self.download(id).await?;
        Ok(Shown {
            writer: writer(Path::new(&download.part_path)).map(Writer::Process),
            attempts: self.ledger.timeline(id).await?,
            download,
        })
    }

    /// Cancels a download, and waits a while until its process closes the part.
    pub(super) async fn cancel(&self, id: DownloadId) -> Result<Stopped, BackendError> {
        self.engine(Arc::new(Silent))?.cancel(id).await?;
        self.stopped(id).await
    }

    /// Pauses a download, and waits a while until its process closes the part.
    pub(super) async fn pause(&self, id: DownloadId) -> Result<Stopped, BackendError> {
        self.engine(Arc::new(Silent))?.pause(id).await?;
        self.stopped(id).await
    }

    async fn stopped(&self, id: DownloadId) -> Result<Stopped, BackendError> {
        let part = self.ledger.row(id).await?.new.part;
        let looks = LET_GO.as_millis() / LOOK.as_millis();
        let mut held = writer(Path::new(&part));
        for _ in 0..looks {
            if held.is_none() {
                break;
            }
            Timer::after(LOOK).await;
            held = writer(Path::new(&part));
        }
        Ok(Stopped { kept_bytes: self.download(id).await?.downloaded_bytes, writer: held })
    }

    /// Deletes a download with its part. Returns it as it was.
    pub(super) async fn remove(&self, id: DownloadId) -> Result<Download, BackendError> {
        let download = self.download(id).await?;
        self.engine(Arc::new(Silent))?.remove(id).await?;
        Ok(download)
    }
}
