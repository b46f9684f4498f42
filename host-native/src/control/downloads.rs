//! Adds, retries, pauses, cancels and removes the downloads of this process.

use super::events::Events;
use super::status::{ImportServers, Peers, Stubs, Troubles};
use super::tasks::{DropOut, End, Tasks};
use super::torrents::{Torrents, below, make_below};
use crate::accept::{Acceptance, Wanted, accept, new_download};
use crate::address::{self, BadAddress};
use crate::config::Peer;
use crate::host::NativeHost;
use crate::host::Workers;
use crate::ledger::NativeLedger;
use crate::peers::PeerClients;
use crate::store::{destination, part_path};
use crate::sync::lock;
use crate::time::DurationCounts;
use crate::transport::Header;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use regrip_core::Checksum;
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::error::chain;
use regrip_core::record::{Change, DigestRow, DigestSource};
use regrip_core::time::Clock;
use regrip_core::{DownloadId, Engine, Error, PeerId, Row, SafeName, Source, Status};
use smol::Timer;
use smol::future::or;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// Between two signals to end: a task that has only begun misses the first.
const END_EVERY: Duration = Duration::from_millis(20);

/// Downloads that are added in one transaction.
pub(crate) const BATCH: usize = 1000;
/// Downloads of a batch that are added alone, at once.
const AT_ONCE: usize = 16;
/// Destinations of a batch that are looked at, at once: in object storage each costs a round trip.
const LOOKS_AT_ONCE: usize = 64;

/// How long a cancel, a pause or a removal waits until the drive is gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Between two tries to remove a download that another process still drives: each reads its row.
const TRY_REMOVAL_EVERY: Duration = Duration::from_millis(100);

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedDownload {
    /// Where the file is.
    pub(crate) url: String,
    /// Other URLs of it.
    pub(crate) mirrors: Vec<String>,
    /// Its name, if not the URL's last segment.
    pub(crate) filename: Option<String>,
    /// The folder below the completed one that it goes to: a relative path.
    pub(crate) folder: Option<String>,
    /// What its requests carry, to the origin of the URL only. In memory until it is complete or removed.
    pub(crate) headers: Vec<Header>,
    /// Of those that wait, the highest is next. In memory, too.
    pub(crate) priority: i8,
    /// The digests that it must have.
    pub(crate) checksums: Vec<Checksum>,
    /// It is not to be downloaded yet.
    pub(crate) paused: bool,
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No completed folder is configured.
    #[error("this server downloads nothing: its configuration has no downloads block")]
    NoDownloads,
    /// A URL with user and password.
    #[error("URLs with a user and password are refused: they would not be known after a restart")]
    Credentials,
    /// The folder.
    #[error("the folder was refused: {0}")]
    Folder(&'static str),
    /// A priority where another worker may take the download.
    #[error("priorities are not shared with the other workers, one of which may take the download")]
    Priority,
    /// The headers.
    #[error("the headers were refused: {0}")]
    Headers(&'static str),
    /// The URL or the name.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The engine's refusal.
    #[error(transparent)]
    Core(#[from] Error),
}

/// The downloads of this process. Clones are the same.
///
/// Drives run as tasks of [`Workers`], so somebody must run those.
#[derive(Clone, Debug)]
pub struct Control<L: NativeLedger>(pub(super) Arc<ControlInner<L>>);

#[derive(Debug)]
pub(super) struct ControlInner<L: NativeLedger> {
    pub(super) engine: Engine<NativeHost<L>>,
    pub(super) events: Events,
    pub(super) stubs: Stubs,
    pub(super) peers: Peers,
    servers: ImportServers,
    pub(super) torrents: Torrents,
    peer_clients: PeerClients<L>,
    pub(super) troubles: Troubles,
    pub(super) tasks: Tasks,
    pub(super) completed: Option<PathBuf>,
    begin: OnceLock<Begin>,
    /// The headers of downloads that were added with some.
    headers: Mutex<HashMap<DownloadId, OwnHeaders>>,
    pub(super) settings_file: OnceLock<SettingsFile>,
}

/// The headers that a download was added with. The ledger has their names only. Those of one URL are the same for all its downloads.
#[derive(Debug)]
struct OwnHeaders {
    names: Vec<String>,
    urls: Vec<Url>,
}

/// Downloads with headers of their own.
const MOST_WITH_HEADERS: usize = 10_000;

/// The configuration's file, which the API changes.
pub(crate) struct SettingsFile {
    /// The file.
    pub path: PathBuf,
    /// Has it read again, soon.
    pub reload: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for SettingsFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SettingsFile").field(&self.path).finish()
    }
}

type BeginFn = dyn Fn(&Source, DownloadId) + Send + Sync;

/// Starts an accepted download.
struct Begin(Box<BeginFn>);

impl fmt::Debug for Begin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Begin")
    }
}

impl<L: NativeLedger> Control<L> {
    /// `events` is the engine's listener, or gets its events; `completed` is the folder of completed files, and without it
    /// nothing is downloaded.
    pub fn new(engine: Engine<NativeHost<L>>, events: Events, completed: Option<PathBuf>) -> Self {
        Control(Arc::new(ControlInner {
            peer_clients: PeerClients::new(engine.clone()),
            engine,
            events,
            stubs: Stubs::default(),
            peers: Peers::default(),
            servers: ImportServers::default(),
            torrents: Torrents::default(),
            troubles: Troubles::default(),
            tasks: Tasks::default(),
            completed,
            begin: OnceLock::new(),
            headers: Mutex::default(),
            settings_file: OnceLock::new(),
        }))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<NativeHost<L>> {
        &self.0.engine
    }

    /// The ledger.
    pub fn ledger(&self) -> &L {
        &self.0.engine.host().ledger
    }

    /// What happens.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// The stubs that are no downloads yet.
    pub fn stubs(&self) -> &Stubs {
        &self.0.stubs
    }

    /// The configured peers.
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// The configured Radarr and Sonarr servers.
    pub(crate) fn servers(&self) -> &ImportServers {
        &self.0.servers
    }

    /// What was added by the API of the download client.
    pub(crate) fn torrents(&self) -> &Torrents {
        &self.0.torrents
    }

    /// Says where the configuration is, once.
    pub(crate) fn configured_by(&self, file: SettingsFile) {
        // The second of two is the same.
        let _ = self.0.settings_file.set(file);
    }

    /// The configuration's file, if there is one.
    pub(crate) fn settings_file(&self) -> Option<&SettingsFile> {
        self.0.settings_file.get()
    }

    /// Applies a configuration of peers: to what is shown of them, and to their clients.
    pub fn configure_peers(&self, peers: &[Peer]) {
        self.0.peers.configure(peers);
        self.0.peer_clients.configure(peers);
    }

    /// The stub of an item, as Torznab offers it. Its release is requested from the peer, repeatedly if need be.
    ///
    /// # Errors
    /// As [`PeerClient::item`](crate::peers::PeerClient::item); `Protocol` if the peer is not configured or no stub can name the item.
    pub(crate) async fn stub(&self, peer: PeerId, item: &str) -> Result<Vec<u8>, Error> {
        let Some(known) = self.0.peer_clients.get(&peer) else {
            return Err(Error::Protocol(format!("no peer {peer} is configured")));
        };
        let _turn = known.turns.acquire().await;
        let failed = |error: &Error| self.0.peers.failed(peer.as_str(), chain(error), SystemTime::now());
        let release = known.client.item(item, |error, _| failed(error)).await.inspect_err(failed)?;
        self.0.peers.answered(peer.as_str(), known.client.version(), SystemTime::now());
        let stub = release.stub(peer, item).map_err(|refused| Error::Protocol(refused.to_string()))?;
        Ok(stub.write())
    }

    /// The clients of the configured peers.
    pub(crate) fn peer_clients(&self) -> &PeerClients<L> {
        &self.0.peer_clients
    }

    /// What is wrong with the server's surroundings.
    pub fn troubles(&self) -> &Troubles {
        &self.0.troubles
    }

    /// The folder that files go to.
    pub(crate) fn completed(&self) -> Option<&Path> {
        self.0.completed.as_deref()
    }

    /// How many downloads are driven now, those that wait included.
    pub fn drives_count(&self) -> usize {
        self.0.tasks.count()
    }

    /// How long drives took that completed their download, waits included.
    pub(crate) fn completed_durations(&self) -> DurationCounts {
        self.0.tasks.completed.counts()
    }

    /// Calls a hook at every end of a task from now on, in that task, before it leaves the table.
    /// A hook must not block. A download may end several times, for example if it is retried.
    pub fn on_end(&self, hook: impl Fn(&End) + Send + Sync + 'static) {
        self.0.tasks.hook(Arc::new(hook));
    }

    /// Starts added and retried downloads by this function from now on, for a host with a queue of its own; it calls
    /// [`drive`](Self::drive) later. To be set once. Without it, downloads start at once and wait for their permit in a
    /// task of their own.
    pub(crate) fn begin_by(&self, begin: impl Fn(&Source, DownloadId) + Send + Sync + 'static) {
        // A second one would mean two queues.
        let _ = self.0.begin.set(Begin(Box::new(begin)));
    }

    fn begin(&self, source: &Source, id: DownloadId) {
        match self.0.begin.get() {
            Some(Begin(begin)) => begin(source, id),
            None => self.drive(id),
        }
    }

    /// Drives a download in a task of its own, unless it has one. If that task is just ending, the row is looked at again
    /// then: changes to the ledger before this call are not missed.
    pub fn drive(&self, id: DownloadId) {
        if !self.0.tasks.enter(id) {
            return;
        }
        let control = self.clone();
        Workers::spawn(async move {
            let mut guard = DropOut { control, id, left: false };
            guard.control.drive_until_done(id).await;
            guard.left = true;
        })
        .detach();
    }

    /// Waits until nobody drives a download.
    pub async fn ended(&self, id: DownloadId) {
        if let Some(going) = self.0.tasks.going(id) {
            // Nothing is ever sent: it closes.
            let _ = going.recv().await;
        }
    }

    /// Downloads a file into the completed folder. If it is to be paused, it is paused then, whether it is new or known, unless it is
    /// complete or about to be.
    ///
    /// # Errors
    /// [`Refused`]; nothing was changed then.
    pub(crate) async fn add(&self, asked: &AskedDownload) -> Result<Accepted, Refused> {
        let wanted = self.wanted(asked)?;
        match accept(&self.0.engine, &wanted).await? {
            Acceptance::Drive(accepted, _) => {
                self.keep_terms(accepted.id, asked);
                match asked.paused {
                    true => match self.pause(accepted.id).await {
                        Ok(()) | Err(Error::WrongState { .. }) => {}
                        Err(error) => return Err(error.into()),
                    },
                    false => self.begin(&wanted.source, accepted.id),
                }
                Ok(accepted)
            }
            Acceptance::Done(row) => Ok(Accepted { id: row.id, known: true, is_first: false }),
        }
    }

    /// Adds many downloads, each as [`add`](Self::add) does, and those of new files together. Doing it again adds nothing. `None` if a
    /// server that ends has not come to it.
    pub(crate) async fn add_all(&self, asked: &[AskedDownload]) -> Vec<Option<Result<Accepted, Refused>>> {
        let mut results: Vec<_> = asked.iter().map(|_| None).collect();
        for from in (0..asked.len()).step_by(BATCH) {
            if self.is_ending() {
                break;
            }
            let places = from..asked.len().min(from + BATCH);
            let (mut new, mut seen) = (Vec::new(), HashSet::new());
            for place in places.clone() {
                match self.wanted(&asked[place]) {
                    Ok(wanted) if !asked[place].paused && seen.insert(wanted.destination.clone()) => {
                        new.push((place, wanted));
                    }
                    Ok(_) => {}
                    Err(refused) => results[place] = Some(Err(refused)),
                }
            }
            let looking = new.into_iter().map(|(place, wanted)| async move {
                let is_new = self.is_new(&wanted).await;
                is_new.then_some((place, wanted))
            });
            let looked: Vec<_> = stream::iter(looking).buffered(LOOKS_AT_ONCE).collect().await;
            let new: Vec<_> = looked.into_iter().flatten().collect();
            let rows = new.iter().map(|(_, wanted)| new_download(wanted, &wanted.destination)).collect();
            // If it fails, each is tried alone and says why it cannot be added.
            let ids = self.0.engine.accept_new(rows).await.unwrap_or_default();
            for ((place, wanted), id) in new.iter().zip(ids) {
                if let Some(id) = id {
                    self.keep_terms(id, &asked[*place]);
                    self.begin(&wanted.source, id);
                    results[*place] = Some(Ok(Accepted { id, known: false, is_first: true }));
                }
            }
            let alone: Vec<usize> = places.filter(|place| results[*place].is_none()).collect();
            let adding = alone.into_iter().map(|place| async move { (place, self.add(&asked[place]).await) });
            let mut adding = stream::iter(adding).buffer_unordered(AT_ONCE);
            while let Some((place, result)) = adding.next().await {
                results[place] = Some(result);
            }
        }
        results
    }

    /// Returns `true` if nothing is at the destination and no other rule needs a look at it.
    async fn is_new(&self, wanted: &Wanted) -> bool {
        let store = &self.0.engine.host().store;
        let own = store.own();
        let destination = &wanted.destination;
        // What is at the part is looked at before it is opened.
        let is_own = own.check_absent(destination).and_then(|()| own.check_absent(&part_path(destination))).is_err();
        !is_own && matches!(store.look_at(destination).await, Ok(None))
    }

    fn wanted(&self, asked: &AskedDownload) -> Result<Wanted, Refused> {
        let folder = self.completed().ok_or(Refused::NoDownloads)?;
        let source = |url: &str| match address::parse_url(url)? {
            (url, None) => Ok(url),
            (_, Some(_)) => Err(Refused::Credentials),
        };
        let url = source(&asked.url)?;
        let mirrors = asked.mirrors.iter().map(|mirror| source(mirror).map(String::from));
        let mirrors = mirrors.collect::<Result<_, Refused>>()?;
        let name = match &asked.filename {
            Some(name) => SafeName::new(name)?,
            None => address::file_name(&url)?,
        };
        if asked.priority != 0 && self.ledger().fleet().is_some() {
            return Err(Refused::Priority);
        }
        if !asked.headers.is_empty() {
            if self.ledger().fleet().is_some() {
                return Err(Refused::Headers("they are never stored, and any worker may take the download"));
            }
            if lock(&self.0.headers).len() >= MOST_WITH_HEADERS {
                return Err(Refused::Headers("there are too many downloads with headers"));
            }
        }
        let given = |checksum: &Checksum| DigestRow::wanted(checksum.clone(), DigestSource::Caller);
        Ok(Wanted {
            source: Source::Url { url: url.into() },
            mirrors,
            header_names: asked.headers.iter().map(|header| header.name().to_owned()).collect(),
            destination: self.destination(folder, asked.folder.as_deref(), &name)?,
            release_size: None,
            digests: asked.checksums.iter().map(given).collect(),
            on_exists: self.0.engine.config().on_exists,
            adopt: false,
            again: false,
            new_url: NewUrl::SamePath,
        })
    }

    /// The path of a file in a folder below the completed one, which is made if it is missing.
    fn destination(&self, completed: &Path, folder: Option<&str>, name: &SafeName) -> Result<PathBuf, Refused> {
        let Some(folder) = folder else {
            return Ok(destination(completed, name.as_str())?);
        };
        const NOT_A_FOLDER: &str = "expected a folder, not a link or a file";
        below(folder).map_err(|_| Refused::Folder("expected a relative path of plain names"))?;
        let made = make_below(completed, folder).map_err(|(path, source)| match source.kind() {
            io::ErrorKind::NotADirectory => Refused::Folder(NOT_A_FOLDER),
            _ => Error::Disk { what: "create", path: path.display().to_string(), source: Some(source.into()) }.into(),
        })?;
        let path = destination(&made, name.as_str())?;
        // Else it has become a link meanwhile.
        match path == destination(completed, name.as_str())?.with_file_name(folder).join(name.as_str()) {
            true => Ok(path),
            false => Err(Refused::Folder(NOT_A_FOLDER)),
        }
    }

    /// Keeps the priority and the headers of a download until it is complete or removed, in place of those that it had.
    fn keep_terms(&self, id: DownloadId, asked: &AskedDownload) {
        self.0.engine.set_priority(id, asked.priority);
        if asked.headers.is_empty() {
            return;
        }
        self.forget_headers(id);
        let urls =
            [&asked.url].into_iter().chain(&asked.mirrors).filter_map(|url| Some(address::parse_url(url).ok()?.0));
        let mut urls: Vec<Url> = urls.collect();
        let origin = urls.first().map(Url::origin);
        urls.retain(|url| Some(url.origin()) == origin);
        for url in &urls {
            self.0.engine.host().transport.set_headers(url.clone(), asked.headers.clone());
        }
        let names = asked.headers.iter().map(|header| header.name().to_owned()).collect();
        lock(&self.0.headers).insert(id, OwnHeaders { names, urls });
    }

    /// Forgets the priority and the headers of a download.
    pub(super) fn forget_terms(&self, id: DownloadId) {
        self.0.engine.set_priority(id, 0);
        self.forget_headers(id);
    }

    fn forget_headers(&self, id: DownloadId) {
        let mut all = lock(&self.0.headers);
        let Some(gone) = all.remove(&id) else {
            return;
        };
        for url in gone.urls {
            if !all.values().any(|other| other.urls.contains(&url)) {
                self.0.engine.host().transport.set_headers(url, Vec::new());
            }
        }
    }

    /// The names of the headers that a download was added with, as far as they are known.
    pub(super) fn own_header_names(&self, id: DownloadId) -> Vec<String> {
        lock(&self.0.headers).get(&id).map_or_else(Vec::new, |own| own.names.clone())
    }

    /// Resumes a failed or cancelled download with fresh bounds.
    ///
    /// # Errors
    /// `NoDownloads`; `WrongState` if it is neither, `CredentialsMissing` if its requests need headers that are not
    /// known, `NoSuchDownload`, `Ledger`.
    pub async fn retry(&self, id: DownloadId) -> Result<(), Refused> {
        self.take_up(id, &[Status::Failed, Status::Cancelled]).await
    }

    /// Resumes a paused download.
    ///
    /// # Errors
    /// As [`retry`](Self::retry); `WrongState` if it is not paused.
    pub(crate) async fn resume(&self, id: DownloadId) -> Result<(), Refused> {
        self.take_up(id, &[Status::Paused]).await
    }

    async fn take_up(&self, id: DownloadId, from: &[Status]) -> Result<(), Refused> {
        let row = self.ledger().row(id).await?;
        self.completed().ok_or(Refused::NoDownloads)?;
        if !from.contains(&row.status) {
            return Err(row.wrong_state().into());
        }
        if let Some(names) = self.missing(&row) {
            return Err(Error::CredentialsMissing { names }.into());
        }
        match row.status {
            Status::Paused => self.0.engine.resume(id).await?,
            _ => self.0.engine.retry(id).await?,
        }
        self.begin(&row.new.source, id);
        Ok(())
    }

    /// Cancels a download, and waits until its task ended, if that does not take long. Its part is kept.
    ///
    /// # Errors
    /// `WrongState` if it is finished or being committed, `NoSuchDownload`, `Ledger`.
    pub(crate) async fn cancel(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.ledger().row(id).await?;
        self.0.engine.cancel(id).await?;
        self.ended_as(id, Change::Cancelled).await?;
        self.call_hooks(&row);
        Ok(())
    }

    /// Pauses a download, and waits until its task ended, if that does not take long. Its part is kept.
    ///
    /// # Errors
    /// `WrongState` if it is paused, finished or being committed, `NoSuchDownload`, `Ledger`.
    pub(crate) async fn pause(&self, id: DownloadId) -> Result<(), Error> {
        self.0.engine.pause(id).await?;
        self.ended_as(id, Change::Paused).await
    }

    /// Waits until nobody drives a download that is to end. A drive that its storage keeps is not waited for: the end is recorded, as if
    /// another process had asked for it, and the drive learns of it.
    async fn ended_as(&self, id: DownloadId, change: Change) -> Result<(), Error> {
        let late = async {
            Timer::after(GONE_WITHIN).await;
            true
        };
        let is_late = or(self.ended(id).map(|()| false), late).await;
        if !is_late {
            return Ok(());
        }
        let host = self.0.engine.host();
        match host.ledger.record(id, &change, host.clock.wall()).await {
            // It has ended otherwise meanwhile.
            Err(Error::WrongState { .. } | Error::NoSuchDownload(_)) => Ok(()),
            recorded => recorded,
        }
    }

    /// Calls the hooks for a download that was paused and has ended now: it has no task that would.
    fn call_hooks(&self, before: &Row) {
        if before.status == Status::Paused {
            self.drive(before.id); // which does no more than that
        }
    }

    /// Cancels a running download, then deletes its row and part. A completed file stays.
    ///
    /// # Errors
    /// `WrongState` if it is resumed at this moment or another worker commits it, `PartLocked` while another process writes it,
    /// `NoSuchDownload`, `Ledger`, `Disk`.
    pub(crate) async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.ledger().row(id).await?;
        match self.0.engine.cancel(id).await {
            // What is finished needs no cancel, and what is being committed is about to be finished.
            Ok(()) | Err(Error::WrongState { .. }) => {}
            Err(error) => return Err(error),
        }
        self.ended(id).await;
        if self.ledger().fleet().is_some() {
            // What another worker commits, it finishes: its part is no longer this worker's to remove.
            let row = self.ledger().row(id).await?;
            if row.status == Status::Committing {
                return Err(row.wrong_state());
            }
        }
        // Another process that drives it needs a moment to learn of the end, and has the part until then.
        let begun = Instant::now();
        loop {
            match self.0.engine.remove(id).await {
                Err(Error::PartLocked { .. }) if begun.elapsed() < GONE_WITHIN => Timer::after(TRY_REMOVAL_EVERY).await,
                removed => break removed?,
            };
        }
        self.forget_terms(id);
        self.call_hooks(&row);
        Ok(())
    }

    /// Waits until the process ends.
    pub(crate) async fn ending(&self) {
        // Nothing is ever sent: it closes.
        let _ = self.0.tasks.ending().recv().await;
    }

    /// Returns `true` once the process ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.tasks.ending().is_closed()
    }

    /// Ends every drive because the process ends, and waits until they are gone: rows go back to `queued`, parts are
    /// synced. No drive begins any more, and subscriptions end.
    ///
    /// # Cancel safety
    /// Dropping it, for a process that must not wait longer, leaves the rest to the next start, as a crash does.
    pub async fn end(&self) {
        self.0.tasks.end();
        while self.0.tasks.count() > 0 {
            // Again and again: a drive that has only begun did not listen yet.
            self.0.engine.end();
            Timer::after(END_EVERY).await;
        }
        self.0.events.close();
    }
}
