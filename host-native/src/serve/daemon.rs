//! Start, run and stop a server.
//!
//! Start: lock the data folder, open the ledger, listen, recover what an earlier process left, and only then scan the watch
//! folder. Without a downloads block in the configuration, what is left unfinished fails with a description of its partial
//! data; a file that was complete gets its final name first.
//!
//! Stop: take no more stubs, put downloads back to `queued` with their parts synced, finish the replies, all within ten seconds. SIGTERM and
//! Ctrl-C stop the server in this order, a second one at once; SIGHUP reloads the configuration.
//!
//! What the server says while it runs: lines for people, or JSON for programs, on standard error.
//!
//! Only regrip's own words are logged, not those of libraries, which do not know what is secret. URLs come without their
//! query, names that strangers chose come quoted.

use super::folders::{DataFolder, DataFolderRefused};
use super::reload::Settings;
use super::service::Service;
use super::{finish, import_poll, queue, reload, service};
use crate::api;
use crate::config::{Config, Downloads, HookCommands, Loaded, data_folder_clash};
use crate::control::{Control, Events, SettingsFile};
use crate::hooks::{EndedDownload, Hooks};
use crate::host::Workers;
use crate::host::{Listener, NativeHost};
use crate::ledger::{NativeLedger, OpenError, Patience, SqliteLedger};
use crate::server::{Answer, CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{PeerAccess, Share, ShareError, ShareOptions};
use crate::store::{FileStamp, FileStore, OwnFiles};
#[cfg(feature = "fleet")]
use crate::store::{ObjectStore, is_object};
use crate::time::SmolClock;
use crate::transport::{HttpTransport, Proxies, TransportOptions};
use regrip_core::classify::is_of_this_machine;
use regrip_core::{Class, DownloadsConfig, Engine, Error, ErrorCode, Event, Row, Status, What, shown};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::{Receiver, RecvError, Sender, bounded};
use smol::future::FutureExt;
use std::io::{self, stderr};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

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
    /// The data folder if the configuration names none.
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
    /// The database.
    #[cfg(feature = "fleet")]
    #[error(transparent)]
    Database(#[from] crate::ledger::DatabaseRefused),
    /// The configuration names a database, which this program cannot use.
    #[error("this regrip was built without the feature `fleet`, which regrip.ledger needs")]
    NoPostgres,
    /// The ledger, once it was open.
    #[error(transparent)]
    Core(#[from] Error),
    /// The address.
    #[error("cannot listen at {at}")]
    Listen {
        /// As configured.
        at: SocketAddr,
        /// The error of the system.
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
    /// Downloads would be written among regrip's own files.
    #[error("{0}")]
    Folders(String),
    /// A key that opens nothing.
    #[error("{0}")]
    Key(String),
    /// The object storage that `completedPath` names cannot be used.
    #[error("{0}")]
    Storage(String),
    /// The system gave no thread or no signal.
    #[error("the system refused")]
    System(#[from] io::Error),
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// What keeps it from starting; nothing was downloaded then.
pub fn serve(options: ServeOptions) -> Result<(), ServeError> {
    give_back_what_is_freed();
    start_log(options.log);
    let Loaded { config, warnings } = options.loaded;
    for warning in warnings {
        tracing::warn!("{}: {warning}", options.file.display());
    }
    let signals = listen()?;
    let path = config.server.data_dir.clone();
    let folder = DataFolder::lock(&path.unwrap_or(options.data_folder))?;
    if let Some(clash) = data_folder_clash(&config, folder.path()) {
        return Err(ServeError::Folders(clash));
    }
    match &config.server.postgres {
        None => {
            let ledger = SqliteLedger::open_with(&folder.ledger(), Patience::SERVER)?;
            serve_on(ledger, config, options.file, options.proxies, folder, signals)
        }
        #[cfg(feature = "fleet")]
        Some(postgres) => {
            let ledger = crate::ledger::PostgresLedger::open(postgres.url.reveal(), postgres.lease)?;
            serve_on(ledger, config, options.file, options.proxies, folder, signals)
        }
        #[cfg(not(feature = "fleet"))]
        Some(_) => Err(ServeError::NoPostgres),
    }
}

/// Gives freed buffers back to the system, and shares heaps between threads. Called before there are other threads.
///
/// glibc keeps a heap for each thread, and from the first freed buffer on it takes buffers of that size from these heaps, which get
/// holes between what lives longer. Of 43 MB of a server that had run for an hour, 11 MB were in use.
fn give_back_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Buffers of this size and larger are mappings of their own, which end with them.
        const MAPPED_BYTES: libc::c_int = 128 << 10;
        const HEAPS: libc::c_int = 2;
        // SAFETY: it takes two numbers, and locks what it changes. It fails by changing nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
            libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        }
    }
}

/// Gives back the holes that the heaps get all the same: 16 of 26 MB after an hour.
async fn give_back_holes() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    loop {
        smol::Timer::after(Duration::from_secs(60)).await;
        // SAFETY: it takes a number, and locks each heap while it looks for pages without anything in use.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Runs a server on an open ledger, in its locked data folder, until a signal ends it.
fn serve_on(
    ledger: impl NativeLedger,
    config: Config,
    file: PathBuf,
    proxies: Proxies,
    folder: DataFolder,
    (ask, signals): (Sender<ServerSignal>, Receiver<ServerSignal>),
) -> Result<(), ServeError> {
    let listen = config.server.listen;
    if config.server.api_key.is_none() && !listen.ip().is_loopback() {
        return Err(ServeError::NoKey(listen));
    }
    let api_keys = CurrentKeys::new(api_keys(&config)?);
    // An address in use is reported at once; the rest may take long.
    let server = Server::bind(listen, Limits::default());
    let server = server.map_err(|source| ServeError::Listen { at: listen, source })?;
    let threads = Threads::start()?;
    let limits = config.downloads.as_ref();
    let limits = limits.map_or_else(DownloadsConfig::default, |d| d.engine.clone());
    let workers = Workers::new(limits.max_concurrent_downloads);
    let settings = Settings::new(config);
    let (send_ended, ended) = bounded(MOST_HOOKS);
    let control = control(&settings, ledger.clone(), limits, proxies, send_ended, folder.path(), &signals)?;
    let Some(control) = control else {
        tracing::info!("stopped before the storage answered");
        return Ok(());
    };
    let own = control.engine().host().store.own();
    own.add_database(&folder.ledger());
    own.add(&folder.lock_file());
    own.add(&std::path::absolute(&file)?);
    reload::replace_and_protect(&control, &settings.get());
    if settings.get().downloads.is_some() {
        smol::block_on(control.torrents().open(control.ledger(), folder.client()))?;
    }
    let reload = move || {
        // One that waits already reads the same file.
        let _ = ask.try_send(ServerSignal::Reload);
    };
    control.configured_by(SettingsFile { path: file.clone(), reload: Box::new(reload) });
    let share = share(&settings.get(), &api_keys, own, ledger)?;
    let running = Running { file, settings, api_keys, control, signals, ended };
    let done = workers.run(running.run(server, share, &threads));
    drop(folder);
    done
}

/// Tells the log, then whoever listens by the API, then the hooks.
#[derive(Debug)]
struct Listeners(Events, Sender<EndedDownload>);

impl Listener for Listeners {
    fn hear(&self, event: &Event<'_>) {
        LogEvents.hear(event);
        self.0.hear(event);
        let status = match &event.what {
            What::Completed(_) => "completed",
            // Trouble of this machine does not end a download: it is retried.
            What::Failed(summary) if !summary.code.as_ref().is_some_and(is_of_this_machine) => "failed",
            _ => return,
        };
        let ended = EndedDownload { id: event.id, path: event.path.to_owned(), url: event.url.to_owned(), status };
        if self.1.try_send(ended).is_err() {
            tracing::warn!(id = event.id, "too many commands of `hooks` are waiting: none is run for this download");
        }
    }
}

/// Downloads that wait for their command, at most.
const MOST_HOOKS: usize = 1024;
/// Lines of a command's output that are logged.
const MOST_LINES: usize = 20;

/// Runs the configured commands, until the server ends.
async fn run_hooks(hooks: Arc<Hooks>, ended: Receiver<EndedDownload>, settings: Settings) {
    let next = async || {
        ended
            .recv()
            .or(async {
                hooks.ending().await;
                Err(RecvError)
            })
            .await
    };
    while let Ok(download) = next().await {
        let config = settings.get();
        let HookCommands { on_complete, on_fail } = &config.hooks;
        let (name, command) = match download.status {
            "completed" => ("onComplete", on_complete),
            _ => ("onFail", on_fail),
        };
        let Some(command) = command else {
            continue;
        };
        let (id, lines) = (download.id, AtomicUsize::new(0));
        let log = |line: &str| {
            if lines.fetch_add(1, Ordering::Relaxed) < MOST_LINES {
                tracing::info!(id, line = ?shown(line), "output of hooks.{name}");
            }
        };
        if let Err(fault) = hooks.run(command, &download, &config.secret_variables, &log).await {
            tracing::warn!(id, error = %fault, "hooks.{name} failed");
        }
    }
    if !ended.is_empty() {
        tracing::warn!("the commands of `hooks` for {} downloads are not run", ended.len());
    }
}

/// How long object storage may take to answer before the server starts.
#[cfg(feature = "fleet")]
const STORAGE_WITHIN: Duration = Duration::from_secs(30);

/// What downloads; `None` if the server is to end before it can.
fn control<L: NativeLedger>(
    settings: &Settings,
    ledger: L,
    limits: DownloadsConfig,
    proxies: Proxies,
    ended: Sender<EndedDownload>,
    #[cfg_attr(not(feature = "fleet"), allow(unused_variables, reason = "object storage has locks there"))]
    folder: &Path,
    #[cfg_attr(not(feature = "fleet"), allow(unused_variables, reason = "only object storage is waited for"))]
    signals: &Receiver<ServerSignal>,
) -> Result<Option<Control<L>>, ServeError> {
    let config = settings.get();
    let events = Events::default();
    let options = TransportOptions {
        credentials: config.peers.iter().map(|peer| peer.credentials()).collect(),
        proxies,
        bytes_per_second: config.downloads.as_ref().and_then(|downloads| downloads.limit_rate),
        ..TransportOptions::new(&limits)
    };
    let mut store = FileStore::new();
    store.takes_over = ledger.lease().is_some();
    #[cfg(feature = "fleet")]
    if let Some((s3, completed)) = config.server.s3.clone().zip(config.downloads.as_ref().map(|all| &all.completed)) {
        let prefix = format!("{}/", completed.display());
        let policy = limits.retry_policy().map_err(|error| ServeError::Storage(error.to_string()))?;
        let objects = ObjectStore::new(s3, options.clone(), policy, ledger.uploads(), folder.to_owned(), &prefix);
        if is_object(completed) {
            let name = format!("{prefix}name");
            let checked = async { Some(objects.check(&name, Some(STORAGE_WITHIN)).await) };
            let ended = async {
                while let Ok(ServerSignal::Reload) = signals.recv().await {} // the configuration has just been read
                None
            };
            let Some(checked) = smol::block_on(checked.or(ended)) else {
                return Ok(None);
            };
            checked.map_err(ServeError::Storage)?;
            store.objects = Some(objects);
        }
    }
    let host = NativeHost {
        transport: HttpTransport::new(options),
        store,
        ledger,
        clock: SmolClock::default(),
        listener: Arc::new(Listeners(events.clone(), ended)),
    };
    let engine = Engine::new(host, limits, true)
        .map_err(|invalid| ServeError::Limit { key: invalid.key, found: invalid.found })?;
    let completed = config.downloads.as_ref();
    let completed = completed.map(|downloads| downloads.completed.clone());
    let control = Control::new(engine, events, completed);
    control.configure_peers(&config.peers);
    if let Some(watch) = config.downloads.as_ref().and_then(|downloads| downloads.watch.clone()) {
        control.stubs().watch(watch);
    }
    Ok(Some(control))
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

/// The shared folders and libraries; `own` are files of the server, which are never shared.
fn share(
    config: &Config,
    api_keys: &CurrentKeys,
    own: &OwnFiles,
    ledger: impl NativeLedger,
) -> Result<Option<OpenShare>, ServeError> {
    if config.share.is_empty() && !config.import_servers.iter().any(|server| server.source) {
        return Ok(None);
    }
    let keys = config.server.share_keys.iter().map(|key| key.api_key.reveal());
    let keys = match config.server.share_keys.is_empty() {
        true => None,
        false => {
            let refused = |error| ServeError::Key(format!("regrip.shareKeys: {error}"));
            Some(Keys::new(keys).map_err(refused)?)
        }
    };
    // jack's key opened the wire too, and its peers have it.
    let server_keys = config.server.is_jacks.then(|| api_keys.clone());
    let access = PeerAccess::new(keys, server_keys, ledger.clone());
    let mut options = ShareOptions::new(config.share.clone());
    options.own_files = own.clone();
    let share = Share::start(&options, ledger)?;
    let census = share.census();
    tracing::info!(files = census.files, bytes = census.bytes, "sharing");
    Ok(Some(OpenShare { share: Arc::new(share), access }))
}

/// What is shared, and who is let in.
struct OpenShare {
    share: Arc<Share>,
    access: PeerAccess,
}

/// What runs until a signal.
struct Running<L: NativeLedger> {
    file: PathBuf,
    settings: Settings,
    /// What opens the API.
    api_keys: CurrentKeys,
    control: Control<L>,
    signals: Receiver<ServerSignal>,
    /// Downloads that have ended, for the hooks.
    ended: Receiver<EndedDownload>,
}

impl<L: NativeLedger> Running<L> {
    async fn run(self, server: Server, share: Option<OpenShare>, threads: &Threads) -> Result<(), ServeError> {
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
        threads.executor().spawn(give_back_holes()).detach();
        let hooks = Arc::new(Hooks::default());
        let running_hooks = run_hooks(Arc::clone(&hooks), self.ended.clone(), self.settings.clone());
        let running_hooks = threads.executor().spawn(running_hooks);
        if let Some(open) = &share {
            let following =
                service::follow_libraries(self.control.clone(), self.settings.clone(), Arc::downgrade(&open.share));
            threads.executor().spawn(following).detach();
        }
        let downloads = self.settings.get().downloads.clone();
        let service = match downloads {
            Some(downloads) => Some(self.begin(&downloads, threads, address).await?),
            None => {
                settle(&self.control).await?;
                tracing::warn!("the configuration has no downloads block: downloading is disabled");
                None
            }
        };
        let asked = self.until_end(service.as_deref(), share.as_ref());
        asked.or(self.control.engine().follow_changes()).await;
        tracing::info!("ending");
        hooks.end();
        let all = async {
            self.control.end().await;
            drop(stop); // until then `/ready` says what goes on
            queue::sign_off(&self.control).await;
            running_hooks.await;
            serving.await;
        };
        let too_late = async {
            smol::Timer::after(LET_GO_WITHIN).await;
            tracing::warn!("some downloads or replies did not finish in time");
        };
        all.or(too_late).await;
        tracing::info!("ended");
        Ok(())
    }

    fn answer(&self, share: Option<&OpenShare>) -> Answer {
        let api = api::router(self.control.clone(), self.api_keys.clone());
        match share {
            Some(OpenShare { share, access }) => {
                let wire = share.router(access.clone()).answer();
                api::beside(api, access.clone().guarding(wire))
            }
            None => api,
        }
    }

    /// Takes up what was left, and then stubs.
    async fn begin(
        &self,
        downloads: &Downloads,
        threads: &Threads,
        address: SocketAddr,
    ) -> Result<Arc<Service<L>>, ServeError> {
        let executor = Arc::clone(threads.executor());
        let service = Service::new(self.control.clone(), self.settings.clone(), downloads, executor);
        let ending = Arc::clone(&service);
        self.control.on_end(move |end| finish::on_end(&ending, end));
        let starting = Arc::clone(&service);
        self.control.begin_by(move |source, id| starting.drive(queue::source_name(source), id));
        // Said once, before anything waits for it.
        let _ = service.completed.check();
        queue::recover(&service).await?;
        service.watch()?;
        service.spawn(queue::run(Arc::clone(&service)));
        service.spawn(queue::work(Arc::clone(&service)));
        service.spawn(queue::report(self.control.clone(), address));
        service.spawn(queue::settle_elsewhere(Arc::clone(&service)));
        let following = self.control.clone();
        service.spawn(async move { following.follow_events().await });
        service.spawn(finish::retry_removals(Arc::clone(&service)));
        service.spawn(service::show_outages(Arc::clone(&service)));
        service.spawn(service::look_at_client(Arc::clone(&service)));
        service.spawn(import_poll::poll(Arc::clone(&service)));
        service.spawn(import_poll::keep_registered(Arc::clone(&service)));
        service.spawn(queue::go_on_with_imports(Arc::clone(&service)));
        #[cfg(feature = "fleet")]
        service.spawn(abort_uploads(self.control.engine().host().store.objects.clone()));
        let completed = downloads.completed.display();
        match &downloads.watch {
            Some(watch) => tracing::info!(watch = %watch.display(), %completed, "watching for stubs"),
            None => tracing::info!(%completed, "taking downloads by the API: no watch folder is configured"),
        }
        Ok(service)
    }

    /// Reloads as often as it is asked to, until it is asked to end.
    async fn until_end(&self, service: Option<&Service<L>>, share: Option<&OpenShare>) {
        while let Ok(ServerSignal::Reload) = self.signals.recv().await {
            let (settings, keys) = (&self.settings, &self.api_keys);
            reload::reload(&self.file, &self.control, settings, keys, service);
            if let Some(OpenShare { share, .. }) = share {
                // A file that was shared may be a key file now.
                share.look_again();
            }
        }
    }
}

/// How often uploads are aborted that were given up and could not be aborted then.
#[cfg(feature = "fleet")]
const ABORT_EVERY: Duration = Duration::from_secs(3600);

#[cfg(feature = "fleet")]
async fn abort_uploads(objects: Option<ObjectStore>) {
    while let Some(objects) = &objects {
        if let Err(error) = objects.abort_uploads(None).await {
            tracing::warn!(error = %regrip_core::error::chain(&error), "an upload that was given up is not aborted yet");
        }
        smol::Timer::after(ABORT_EVERY).await;
    }
}

/// How long the end may take before the process ends all the same.
const END_WITHIN: Duration = Duration::from_millis(9_500);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerSignal {
    /// Read the configuration again.
    Reload,
    /// End.
    End,
}

/// Listens, on a thread of its own.
///
/// # Errors
/// The system refused the handlers.
pub(super) fn listen() -> io::Result<(Sender<ServerSignal>, Receiver<ServerSignal>)> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (ask, asked) = bounded(4);
    let by_api = ask.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut ending = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                // Several at once mean what one means.
                if ask.is_empty() {
                    let _ = ask.try_send(ServerSignal::Reload);
                }
            } else if ending {
                tracing::warn!("stopped at once");
                std::process::exit(130);
            } else {
                ending = true;
                // From here on, not when the end is complete: that may hang on a disk.
                end_in_time();
                let _ = ask.try_send(ServerSignal::End);
            }
        }
    })?;
    Ok((by_api, asked))
}

/// Ends the process after a while, whatever hangs.
fn end_in_time() {
    let wait = || {
        std::thread::sleep(END_WITHIN);
        tracing::error!("shutdown timed out; the next start resumes from the data on disk");
        std::process::exit(1);
    };
    // Without it the end may take longer.
    let _ = std::thread::Builder::new().name("end".to_owned()).spawn(wait);
}

/// The failure's stable name.
const CODE: &str = "NoDownloads";

/// Repairs and fails.
///
/// # Errors
/// `Ledger`.
pub(super) async fn settle(control: &Control<impl NativeLedger>) -> Result<(), Error> {
    let (engine, ledger) = (control.engine(), control.ledger());
    if ledger.fleet().is_some() {
        return Ok(()); // other workers drive what is there
    }
    ledger.close_open_attempts().await?;
    for id in engine.recover().await?.drive {
        let row = ledger.row(id).await?;
        if row.status == Status::Committing {
            match engine.repair(id).await {
                Ok(true) => {
                    tracing::info!(id, file = ?row.new.destination, "the file was complete and now has its final name");
                    continue;
                }
                Ok(false) => {}
                // It has failed by that, and its row says so.
                Err(_) if ledger.row(id).await?.status.is_finished() => continue,
                Err(error) => return Err(error),
            }
        }
        fail(control, &row).await?;
    }
    Ok(())
}

async fn fail(control: &Control<impl NativeLedger>, row: &Row) -> Result<(), Error> {
    let text = format!("the configuration has no downloads block: {}", found(&row.new.part));
    tracing::warn!(id = row.id, "failed: {text}");
    let class = Class::Permanent;
    control.note_failure(row, class, ErrorCode::Other(CODE.into()), text, None).await
}

/// What is on the disk of a download.
fn found(part: &str) -> String {
    match FileStamp::of(Path::new(part)) {
        Ok(Some(stamp)) => format!("its partial data {part} ({} bytes) is kept", stamp.size),
        Ok(None) => format!("there is no partial data {part}"),
        Err(error) => format!("cannot inspect its partial data {part}: {error}"),
    }
}

/// Begins to log. Once a process; a second time changes nothing.
pub(crate) fn start_log(format: LogFormat) {
    let own = Targets::new().with_target("regrip", LevelFilter::INFO);
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    let started = match format {
        LogFormat::Text => registry().with(lines.with_ansi(false).with_filter(own)).try_init(),
        LogFormat::Json => registry().with(lines.json().flatten_event(true).with_filter(own)).try_init(),
    };
    // Somebody logs already: a test that starts two servers.
    drop(started);
}

/// Logs what happens to downloads, each step of it but the bytes.
#[derive(Debug)]
pub(super) struct LogEvents;

impl Listener for LogEvents {
    fn hear(&self, event: &Event<'_>) {
        let (id, url, file) = (event.id, event.url, event.path);
        match &event.what {
            What::Progress { .. } => {}
            What::Queued => tracing::info!(id, url, ?file, "queued"),
            What::Started { attempt, from } => tracing::info!(id, attempt, from, "started"),
            What::Headers { expected_bytes, mismatch, .. } => {
                if *mismatch {
                    tracing::warn!(id, expected_bytes, "the size is not the release's");
                }
            }
            What::Restart { reason, discarded_bytes } => {
                let reason = reason.name();
                tracing::warn!(id, reason, discarded_bytes, "started over");
            }
            What::Retrying { attempt, delay, error, .. } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(id, attempt, delay_ms, error = error.as_str(), "attempt failed");
            }
            What::Waiting { why, .. } => tracing::warn!(id, why = why.as_str(), "waiting"),
            What::Paused { bytes } => tracing::info!(id, ?file, bytes, "paused"),
            What::Completed(summary) => {
                let (bytes, attempts) = (summary.bytes, summary.attempts);
                let restarts = summary.restarts;
                tracing::info!(id, ?file, bytes, attempts, restarts, "completed");
                if let Some(warning) = &summary.warning {
                    tracing::warn!(id, ?file, warning, "completed with a warning");
                }
            }
            What::Failed(summary) => {
                let code = summary.code.as_ref().map(ErrorCode::as_str);
                let error = summary.error.as_deref();
                tracing::error!(id, ?file, code, error, "failed");
            }
            What::Cancelled(_) => tracing::info!(id, ?file, "cancelled"),
        }
    }
}
