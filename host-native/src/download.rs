//! One file in one call: [`download`].
//!
//! It is the command without the command line: the same part file, lock, digests and proofs, and the same record, so that the
//! next call, or `regrip` in a shell, resumes what a process did not complete. Each call has an engine of its own; they share the
//! record and the locks.

use crate::accept::{Acceptance, Wanted, accept};
use crate::address::parse_url;
use crate::host::{Listener, NativeHost};
#[cfg(not(feature = "sqlite"))]
use crate::ledger::MemoryLedger as Record;
#[cfg(feature = "sqlite")]
use crate::state::{Opened, StateLedger as Record};
use crate::store::{FileStore, destination};
use crate::time::SmolClock;
use crate::transport::{Header, HttpTransport, Proxies, TransportOptions};
use futures::future::BoxFuture;
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::ledger::Ledger;
use regrip_core::record::{DigestRow, DigestSource};
use regrip_core::{
    Checksum, Connections, DownloadsConfig, Engine, Error, Event, OnExists, RetryPolicy, Row, Source, What,
};
use smol::future::FutureExt;
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Downloads a file: awaiting the result starts it.
///
/// The file gets the name `path` when it is complete; until then its data is in `path` with `.part` appended, and a call with the
/// same URL and path resumes it, in this process or a later one. If the file is there, complete and unchanged since an earlier call,
/// nothing is requested. Missing folders are created. The proxies of the environment are used (`https_proxy` and its like).
///
/// ```no_run
/// # async fn example() -> Result<(), regrip::DownloadError> {
/// let file = regrip::download("https://host/film.mkv", "films/film.mkv").await?;
/// println!("{} bytes", file.bytes);
/// # Ok(())
/// # }
/// ```
///
/// With everything that can be set:
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use regrip::{Connections, OnExists, RetryPolicy};
/// use std::time::Duration;
///
/// let file = regrip::download("https://host/film.mkv", "films/film.mkv")
///     .checksum("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?)
///     .header("X-Key", "abc")
///     .retry(RetryPolicy::new(9, Duration::from_secs(1), Duration::from_secs(60))?)
///     .idle_timeout(Duration::from_secs(30))
///     .connections(Connections::Fixed(4))
///     .limit_rate(2_000_000)
///     .on_exists(OnExists::Overwrite)
///     .on_progress(|bytes, total| println!("{bytes} of {total:?}"))
///     .await?;
/// # drop(file);
/// # Ok(())
/// # }
/// ```
///
/// # Executors
/// Any: sockets and timers belong to async-io, which has a thread of its own, and syncs of the disk and SQLite run on
/// others. Data is written to the page cache in the task that awaits; give it a task of its own if the disk may be slow.
///
/// # Cancel safety
/// Dropping the future cancels the download as a crash would: the connection closes, the lock is released, and the part stays
/// for the next call. So a timeout, `select!` or an abort handle is all that is needed.
pub fn download(url: impl Into<String>, path: impl Into<PathBuf>) -> DownloadRequest {
    DownloadRequest {
        url: url.into(),
        path: path.into(),
        checksums: Vec::new(),
        headers: Vec::new(),
        config: DownloadsConfig::default(),
        bytes_per_second: None,
        on_exists: OnExists::Fail,
        adopt: false,
        no_proxy: false,
        on_progress: None,
        #[cfg(feature = "sqlite")]
        state: None,
    }
}

/// A download that has not started. Await it, or call [`wait`](Self::wait).
#[must_use = "nothing is downloaded unless it is awaited"]
pub struct DownloadRequest {
    url: String,
    path: PathBuf,
    checksums: Vec<Checksum>,
    headers: Vec<(String, String)>,
    config: DownloadsConfig,
    bytes_per_second: Option<NonZeroU64>,
    on_exists: OnExists,
    adopt: bool,
    no_proxy: bool,
    on_progress: Option<OnProgress>,
    #[cfg(feature = "sqlite")]
    state: Option<PathBuf>,
}

/// The observer of a download's progress.
type OnProgress = Box<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The attempts it took, those of earlier processes included.
    pub attempts: u32,
    /// Its digests, as far as they were computed.
    pub checksums: Vec<Checksum>,
    /// `false` if it was complete already and nothing was requested.
    pub fetched: bool,
}

/// Why there is no complete file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// An argument cannot be used. Nothing was requested or written.
    #[error("{0}")]
    Argument(String),
    /// The download failed. [`Error::advice`] says what can be done about it.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl fmt::Debug for DownloadRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = regrip_core::display_url(&self.url);
        formatter.debug_struct("DownloadRequest").field("url", &url).field("path", &self.path).finish_non_exhaustive()
    }
}

impl DownloadRequest {
    /// Requires a digest. All that are given must match before the file gets its name.
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksums.push(checksum);
        self
    }

    /// Sends a header. Only `User-Agent`, `Referer`, `Accept` and `Accept-Language` follow a redirect to another origin.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How often to try without progress, and how long to wait in between; the default is that of the policy. Delays are rounded
    /// down to milliseconds.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        let ms = |delay: Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.config.max_download_attempts = policy.max_attempts.get();
        self.config.retry_base_delay_ms = ms(policy.base_delay);
        self.config.retry_max_delay_ms = ms(policy.max_delay);
        self
    }

    /// How long a connection may send nothing; one minute by default.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// How many connections to use; one by default. Several need a server with strong ETags and ranges.
    pub fn connections(mut self, connections: Connections) -> Self {
        self.config.connections_per_download = connections;
        self
    }

    /// Limits the rate, in bytes per second; 0 for no limit.
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = NonZeroU64::new(bytes_per_second);
        self
    }

    /// What to do if a file has the name. The default is to fail before anything is requested, unless it is this very file, complete
    /// since an earlier call. With `Overwrite` the file is downloaded again and replaced in one step once it is complete.
    pub fn on_exists(mut self, on_exists: OnExists) -> Self {
        self.on_exists = on_exists;
        self
    }

    /// Resumes a part file that is not in the record, after its last bytes were compared with the server's.
    pub fn adopt_part(mut self, adopt: bool) -> Self {
        self.adopt = adopt;
        self
    }

    /// Connects directly, whatever proxies the environment names.
    pub fn no_proxy(mut self) -> Self {
        self.no_proxy = true;
        self
    }

    /// Called with the bytes in the part and the size of the file, if known: a few times per second, and at the end. It must return
    /// quickly.
    pub fn on_progress(mut self, on_progress: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Keeps the record in this state file instead of the command's.
    #[cfg(feature = "sqlite")]
    pub fn state(mut self, path: impl Into<PathBuf>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// Downloads the file and blocks the thread until then.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<Downloaded, DownloadError> {
        smol::block_on(self.run())
    }

    async fn run(mut self) -> Result<Downloaded, DownloadError> {
        self.config.check().map_err(argument)?;
        let (url, options) = self.transport_options()?;
        let path = self.destination()?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let (ledger, file) = self.record(folder)?;
        let store = FileStore::new();
        if let Some(file) = file {
            store.own().add_database(&file);
        }
        let on_progress = self.on_progress.take();
        let host = NativeHost {
            transport: HttpTransport::new(options),
            store,
            ledger,
            clock: SmolClock::default(),
            listener: Arc::new(Observer(on_progress)),
        };
        let wanted = self.wanted(&url, path);
        let engine = Engine::new(host, self.config, true).map_err(argument)?;
        let (id, fetched) = match accept(&engine, &wanted).await? {
            Acceptance::Done(row) => (row.id, false),
            Acceptance::Drive(Accepted { id, .. }, _) => {
                // Another process may cancel or pause it.
                engine.drive(id).or(engine.follow_changes()).await?;
                (id, true)
            }
        };
        let row = engine.host().ledger.row(id).await?;
        Ok(downloaded(row, fetched))
    }

    /// The URL without userinfo, and what its requests are made with.
    fn transport_options(&self) -> Result<(Url, TransportOptions), DownloadError> {
        let (url, userinfo) = parse_url(&self.url).map_err(argument)?;
        let mut options = TransportOptions::new(&self.config);
        options.bytes_per_second = self.bytes_per_second;
        if !self.no_proxy {
            options.proxies = Proxies::of_environment(|name| std::env::var(name).ok());
        }
        options.proxies.check(&url).map_err(argument)?;
        for (name, value) in &self.headers {
            options.headers.push(Header::new(name, value).map_err(argument)?);
        }
        if let Some((user, password)) = userinfo {
            options.header_of(&url, Header::basic(&user, &password));
        }
        Ok((url, options))
    }

    /// The absolute path of the file, in a folder that exists.
    fn destination(&self) -> Result<PathBuf, DownloadError> {
        let shown = self.path.display();
        let name = self.path.file_name().ok_or_else(|| argument(format!("{shown:?} does not name a file")))?;
        let name = name.to_str().ok_or_else(|| argument(format!("{shown:?} is not UTF-8")))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let about = |error| argument(format!("the folder {} cannot be created: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(about)?;
        Ok(destination(folder, name)?)
    }

    fn wanted(&self, url: &Url, destination: PathBuf) -> Wanted {
        let mut header_names: BTreeSet<String> = self.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        if self.url.contains('@') && parse_url(&self.url).is_ok_and(|(_, userinfo)| userinfo.is_some()) {
            header_names.insert("authorization".to_owned());
        }
        Wanted {
            source: Source::Url { url: url.to_string() },
            mirrors: Vec::new(),
            header_names: header_names.into_iter().collect(),
            destination,
            release_size: None,
            digests: self
                .checksums
                .iter()
                .cloned()
                .map(|checksum| DigestRow::wanted(checksum, DigestSource::Caller))
                .collect(),
            on_exists: self.on_exists,
            adopt: self.adopt,
            again: self.on_exists == OnExists::Overwrite,
            new_url: NewUrl::Any,
        }
    }

    /// The record of the command, and its file.
    #[cfg(feature = "sqlite")]
    fn record(&self, folder: &Path) -> Result<(Record, Option<PathBuf>), DownloadError> {
        match crate::state::open(self.state.as_ref(), folder) {
            Ok(Opened { path, ledger, .. }) => Ok((ledger, Some(path))),
            // What follows is advice for a user of the command.
            Err(text) => Err(argument(text.lines().next().unwrap_or_default())),
        }
    }

    /// The record of this process.
    #[cfg(not(feature = "sqlite"))]
    fn record(&self, _folder: &Path) -> Result<(Record, Option<PathBuf>), DownloadError> {
        static OF_THIS_PROCESS: std::sync::LazyLock<Record> = std::sync::LazyLock::new(Record::default);
        Ok((OF_THIS_PROCESS.clone(), None))
    }
}

impl IntoFuture for DownloadRequest {
    type Output = Result<Downloaded, DownloadError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn argument(why: impl fmt::Display) -> DownloadError {
    DownloadError::Argument(why.to_string())
}

fn downloaded(row: Row, fetched: bool) -> Downloaded {
    let got = |digest: &DigestRow| Checksum::new(digest.algorithm, digest.got.as_deref()?).ok();
    Downloaded {
        bytes: row.downloaded,
        attempts: row.attempts,
        checksums: row.digests.iter().filter_map(got).collect(),
        path: row.new.destination.into(),
        fetched,
    }
}

/// Passes on the progress of the only download.
struct Observer(Option<OnProgress>);

impl Listener for Observer {
    fn hear(&self, event: &Event<'_>) {
        let (bytes, total) = match &event.what {
            What::Progress { bytes, total, .. } => (*bytes, *total),
            What::Completed(summary) => (summary.bytes, Some(summary.bytes)),
            _ => return,
        };
        if let Some(on_progress) = &self.0 {
            on_progress(bytes, total);
        }
    }
}
