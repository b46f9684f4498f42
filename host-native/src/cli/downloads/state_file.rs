//! The downloads of a state file, whether or not another process is at them.
//!
//! What a command changes goes through the ledger, and the ledger decides: see [`Status::admits`]. A process that drives a
//! download looks for such changes ([`crate::cli::drive`]) and is stopped by what it finds.

use super::backend::{CalledOff, Downloads, Fault, Shown, Writer};
use crate::cli::Exit;
use crate::cli::report::Silent;
use crate::cli::state::{self, StateLedger};
use crate::clock::SmolClock;
use crate::host::{Listener, NativeHost};
use crate::ledger::{Catalogue, Download};
use crate::serve::serving;
use crate::store::{DiskStore, writer};
use crate::transport::{HttpTransport, TransportOptions};
use regrip_core::ledger::Ledger;
use regrip_core::{DownloadId, DownloadsConfig, Engine, Error, Status};
use smol::Timer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a cancelled download's process gets to let go of the part: it looks for changes twice a second, and then
/// syncs what it has.
const LET_GO: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The downloads of one state file.
pub(super) struct StateFile {
    ledger: StateLedger,
    server: Option<u32>,
}

impl StateFile {
    /// Opens the one that is meant. It is not made here: where nothing was downloaded there is nothing to ask about.
    ///
    /// # Errors
    /// What to tell, and how to exit.
    pub(super) fn open(given: Option<&PathBuf>) -> Result<Self, (Exit, String)> {
        let path = state::path(given).map_err(|text| (Exit::Unusable, text))?;
        if !path.exists() {
            let path = path.display();
            let text = format!(
                "there is no state file {path}\n  `regrip get` makes it; name another one with --state"
            );
            return Err((Exit::Failed, text));
        }
        let ledger = state::open_at(&path).map_err(|text| (Exit::Unusable, text))?;
        let server = path.parent().and_then(serving);
        Ok(StateFile { ledger, server })
    }

    /// Whether the one that is meant by default is not there.
    pub(super) fn is_missing() -> bool {
        state::path(None).is_ok_and(|path| !path.exists())
    }

    /// The server that has this state file, where one runs.
    pub(super) fn server(&self) -> Option<u32> {
        self.server
    }

    /// An engine on it.
    pub(super) fn engine(
        &self,
        listener: Arc<dyn Listener>,
    ) -> Result<Engine<NativeHost<StateLedger>>, Error> {
        let config = DownloadsConfig::default();
        let host = NativeHost {
            transport: HttpTransport::new(TransportOptions::new(&config)),
            store: DiskStore::new(),
            ledger: self.ledger.clone(),
            clock: SmolClock::default(),
            listener,
        };
        Engine::new(host, config, true)
            .map_err(|error| Error::ledger("reading the configuration", error))
    }

    /// With the bytes that are in the part now: the ledger has those of the last checkpoint.
    fn up_to_date(&self, mut download: Download) -> Download {
        let whole = matches!(download.status, Status::Completed | Status::ImportQueued);
        if !whole && let Ok(part) = std::fs::symlink_metadata(&download.part_path) {
            download.downloaded_bytes = part.len();
        }
        download
    }

    async fn download(&self, id: DownloadId) -> Result<Download, Error> {
        Ok(self.up_to_date(self.ledger.entry(id).await?.into()))
    }
}

impl Downloads for StateFile {
    async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, Fault> {
        let entries = self.ledger.all(status).await?.into_iter();
        Ok(entries.map(|entry| self.up_to_date(entry.into())).collect())
    }

    async fn show(&self, id: DownloadId) -> Result<Shown, Fault> {
        let download = self.download(id).await?;
        Ok(Shown {
            writer: writer(Path::new(&download.part_path)).map(Writer::Process),
            attempts: self.ledger.timeline(id).await?,
            download,
        })
    }

    async fn cancel(&self, id: DownloadId) -> Result<CalledOff, Fault> {
        let part = self.ledger.row(id).await?.new.part;
        let engine = self.engine(Arc::new(Silent))?;
        engine.cancel(id).await?;
        let looks = LET_GO.as_millis() / LOOK.as_millis();
        let mut held = writer(Path::new(&part));
        for _ in 0..looks {
            if held.is_none() {
                break;
            }
            Timer::after(LOOK).await;
            held = writer(Path::new(&part));
        }
        Ok(CalledOff {
            kept_bytes: self.download(id).await?.downloaded_bytes,
            writer: held,
        })
    }

    async fn remove(&self, id: DownloadId) -> Result<Download, Fault> {
        let download = self.download(id).await?;
        self.engine(Arc::new(Silent))?.remove(id).await?;
        Ok(download)
    }
}
