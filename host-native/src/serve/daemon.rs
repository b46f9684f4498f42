//! The start and the end of the server.
//!
//! Start: the data folder is locked, the ledger opened, the address listened at; what an earlier process left is taken up;
//! only then the watch folder is looked at. End: no stub is taken any more, downloads go back to `queued` with their parts
//! synced, replies are sent to their end, all within ten seconds.

use super::data_folder::{DataFolder, DataFolderRefused};
use super::log::{self, LogEvents};
use super::service::Service;
use super::settings::Settings;
use super::signals::{self, Asked};
use super::{ending, later, left_stubs, outages, recover, reload, without_downloads};
use crate::api;
use crate::config::{Config, Downloads, Loaded, data_folder_clash};
use crate::control::{Control, Events};
use crate::host::{Listener, NativeHost};
use crate::ledger::{NativeLedger, OpenError, Patience, SqliteLedger};
use crate::server::{Access, Answer, CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{Share, ShareError, ShareOptions};
use crate::store::{DiskStore, OwnFiles};
use crate::time::SmolClock;
use crate::transport::{HttpTransport, Proxies, TransportOptions};
use crate::workers::Workers;
use regrip_core::{DownloadsConfig, Engine, Error, Event, Source};
use smol::channel::{Receiver, bounded};
use smol::future::FutureExt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long downloads and replies have for their end.
const LET_GO_WITHIN: Duration = Duration::from_secs(8);

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What a server is started with.
#[derive(Debug)]
pub struct ServeOptions {
    /// The configuration's file, which is read again at SIGHUP.
    pub file: PathBuf,
    /// What it said.
    pub loaded: Loaded,
    /// The data folder where the configuration names none.
    pub data_folder: PathBuf,
    /// How requests go out.
    pub proxies: Proxies,
    /// How the log is written.
    pub log: LogFormat,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    DataFolder(#[from] DataFolderRefused),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The ledger, once it was open.
    #[error(transparent)]
    Core(#[from] Error),
    /// The address.
    #[error("cannot listen at {at}")]
    Listen {
        /// As configured.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another address than loopback without a key.
    #[error("without an apiKey only loopback is served, and {0} is not")]
    NoKey(SocketAddr),
    /// A shared folder.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// A limit that is out of range.
    #[error("downloads.{key} cannot be {found}")]
    Limit {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
    },
    /// Downloads would go where files of regrip's own are.
    #[error("{0}")]
    Folders(String),
    /// A key that opens nothing.
    #[error("{0}")]
    Key(String),
    /// The system gave no thread or no signal.
    #[error("the system refused")]
    System(#[from] io::Error),
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// What keeps it from starting; nothing was downloaded then.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    log::start(options.log);
    let Loaded { config, warnings } = options.loaded;
    for warning in warnings {
        tracing::warn!("{}: {warning}", options.file.display());
    }
    let signals = signals::listen()?;
    let path = config.server.data_dir.clone();
    let folder = DataFolder::lock(&path.unwrap_or(options.data_folder))?;
    if let Some(clash) = data_folder_clash(&config, folder.path()) {
        return Err(ServeError::Folders(clash));
    }
    let ledger = SqliteLedger::open_with(&folder.ledger(), Patience::SERVER)?;
    let begun = Begun {
        file: options.file,
        config,
        proxies: options.proxies,
        folder,
        signals,
    };
    serve_on(ledger, begun)
}

/// A server whose data folder is locked and whose ledger is open.
struct Begun {
    file: PathBuf,
    config: Config,
    proxies: Proxies,
    folder: DataFolder,
    signals: Receiver<Asked>,
}

/// Runs a server on a ledger until a signal ends it.
fn serve_on(ledger: impl NativeLedger, begun: Begun) -> Result<(), ServeError> {
    let Begun {
        file,
        config,
        proxies,
        folder,
        signals,
    } = begun;
    let listen = config.server.listen;
    if config.server.api_key.is_none() && !listen.ip().is_loopback() {
        return Err(ServeError::NoKey(listen));
    }
    let api_keys = CurrentKeys::new(api_keys(&config)?);
    // Whether the address is free is known at once; how long the rest takes is not.
    let server = Server::bind(listen, Limits::default());
    let server = server.map_err(|source| ServeError::Listen { at: listen, source })?;
    let threads = Threads::start()?;
    let limits = config.downloads.as_ref();
    let limits = limits.map_or_else(DownloadsConfig::default, |d| d.engine.clone());
    let workers = Workers::new(limits.max_concurrent_downloads);
    let settings = Settings::new(config);
    let control = control(&settings, ledger.clone(), limits, proxies)?;
    let own = control.engine().host().store.own();
    own.add_database(&folder.ledger());
    own.add(&folder.lock_file());
    own.add(&std::path::absolute(&file)?);
    reload::replace_and_protect(&control, &settings.get());
    let share = share(&settings.get(), own, ledger)?;
    let house = House {
        file,
        settings,
        api_keys,
        control,
        signals,
    };
    let done = workers.run(house.run(server, share, &threads));
    drop(folder);
    done
}

/// Tells the log, then whoever listens by the API.
#[derive(Debug)]
struct Listeners(Events);

impl Listener for Listeners {
    fn hear(&self, event: &Event<'_>) {
        LogEvents.hear(event);
        self.0.hear(event);
    }
}

fn control<L: NativeLedger>(
    settings: &Settings,
    ledger: L,
    limits: DownloadsConfig,
    proxies: Proxies,
) -> Result<Control<L>, ServeError> {
    let config = settings.get();
    let events = Events::default();
    let options = TransportOptions {
        credentials: config.peers.iter().map(|peer| peer.credentials()).collect(),
        proxies,
        ..TransportOptions::new(&limits)
    };
    let host = NativeHost {
        transport: HttpTransport::new(options),
        store: DiskStore::new(),
        ledger,
        clock: SmolClock::default(),
        listener: Arc::new(Listeners(events.clone())),
    };
    let engine = Engine::new(host, limits, true).map_err(|invalid| ServeError::Limit {
        key: invalid.key,
        found: invalid.found,
    })?;
    let completed = config.downloads.as_ref();
    let completed = completed.map(|downloads| downloads.completed.clone());
    let control = Control::new(engine, events, completed);
    control.peers().configure(&config.peers);
    if let Some(downloads) = &config.downloads {
        control.stubs().watch(downloads.watch.clone());
    }
    Ok(control)
}

/// The key that opens the API, if there is one.
///
/// # Errors
/// [`ServeError::Key`].
pub(super) fn api_keys(config: &Config) -> Result<Option<Keys>, ServeError> {
    let key = config.server.api_key.as_ref();
    let keys = key.map(|key| Keys::new([key.reveal()])).transpose();
    keys.map_err(|error| ServeError::Key(format!("regrip.apiKey: {error}")))
}

/// The shared folders; `own` are files of the server, which are never shared.
fn share(
    config: &Config,
    own: &OwnFiles,
    ledger: impl NativeLedger,
) -> Result<Option<Shared>, ServeError> {
    if config.share.is_empty() {
        return Ok(None);
    }
    let keys = config.server.share_keys.iter();
    let access = match config.server.share_keys.is_empty() {
        true => Access::Loopback,
        false => Access::Keys(
            Keys::new(keys.map(|key| key.api_key.reveal()))
                .map_err(|error| ServeError::Key(format!("regrip.shareKeys: {error}")))?,
        ),
    };
    let mut options = ShareOptions::new(config.share.clone());
    options.own_files = own.clone();
    let share = Share::start(&options, ledger)?;
    let census = share.census();
    tracing::info!(files = census.files, bytes = census.bytes, "sharing");
    Ok(Some(Shared { share, access }))
}

/// Shared folders and who is let in.
struct Shared {
    share: Share,
    access: Access,
}

/// What runs until a signal.
struct House<L: NativeLedger> {
    file: PathBuf,
    settings: Settings,
    /// What opens the API.
    api_keys: CurrentKeys,
    control: Control<L>,
    signals: Receiver<Asked>,
}

impl<L: NativeLedger> House<L> {
    async fn run(
        self,
        server: Server,
        share: Option<Shared>,
        threads: &Threads,
    ) -> Result<(), ServeError> {
        let address = server.address();
        let (stop, stopping) = bounded::<()>(1);
        let answer = self.answer(share.as_ref());
        let executor = Arc::clone(threads.executor());
        let serving = threads.executor().spawn(async move {
            let stopped = async {
                // Closed at the end.
                let _ = stopping.recv().await;
            };
            server.run(&executor, answer, stopped).await;
        });
        tracing::info!("listening at http://{address}");
        let downloads = self.settings.get().downloads.clone();
        let service = match downloads {
            Some(downloads) => Some(self.begin(&downloads, threads).await?),
            None => {
                without_downloads::settle(&self.control).await?;
                tracing::warn!("there is no downloads block: nothing is downloaded");
                None
            }
        };
        let asked = self.until_end(service.as_deref(), share.as_ref());
        asked.or(self.control.engine().follow_changes()).await;
        tracing::info!("ending");
        drop(stop);
        let all = async {
            self.control.end().await;
            serving.await;
        };
        let too_late = async {
            smol::Timer::after(LET_GO_WITHIN).await;
            tracing::warn!("not all downloads or replies came to an end in time");
        };
        all.or(too_late).await;
        tracing::info!("ended");
        Ok(())
    }

    fn answer(&self, share: Option<&Shared>) -> Answer {
        let api = api::router(self.control.clone(), self.api_keys.clone());
        match share {
            Some(Shared { share, access }) => {
                api::beside(api, share.router(access.clone()).answer())
            }
            None => api,
        }
    }

    /// Takes up what was left, and then stubs.
    async fn begin(
        &self,
        downloads: &Downloads,
        threads: &Threads,
    ) -> Result<Arc<Service<L>>, ServeError> {
        let executor = Arc::clone(threads.executor());
        let service = Service::new(
            self.control.clone(),
            self.settings.clone(),
            downloads,
            executor,
        );
        let hearing = Arc::clone(&service);
        self.control.on_end(move |end| ending::hear(&hearing, end));
        let lines = Arc::clone(&service);
        self.control
            .begin_by(move |source, id| lines.drive(line_of(source), id));
        // Said once, before anything waits for it.
        let _ = service.completed.check();
        recover::recover(&service).await?;
        service.watch()?;
        service.spawn(later::run(Arc::clone(&service)));
        service.spawn(left_stubs::run(Arc::clone(&service)));
        service.spawn(outages::show(Arc::clone(&service)));
        service.spawn(recover::go_on_with_imports(Arc::clone(&service)));
        tracing::info!(
            watch = %downloads.watch.display(),
            completed = %downloads.completed.display(),
            "watching for stubs"
        );
        Ok(service)
    }

    /// Reloads as often as it is asked to, until it is asked to end.
    async fn until_end(&self, service: Option<&Service<L>>, share: Option<&Shared>) {
        while let Ok(Asked::Reload) = self.signals.recv().await {
            let (settings, keys) = (&self.settings, &self.api_keys);
            reload::reload(&self.file, &self.control, settings, keys, service);
            if let Some(Shared { share, .. }) = share {
                // A file that was shared may be a key file now.
                share.look_again();
            }
        }
    }
}

/// The line that a download waits in: its peer's, or the one of plain URLs.
fn line_of(source: &Source) -> &str {
    match source {
        Source::Url { .. } => "",
        Source::Peer { peer_id, .. } => peer_id,
    }
}
