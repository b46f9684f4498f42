//! What Radarr and Sonarr did with what they grabbed: asked at intervals, since they notify nobody.
//!
//! Imported, by their history: the download is `imported`. Not importable, by their queue: the reason is shown. A release that is
//! at fault is removed from the queue of the server that grabbed it and blocklisted there, so that it searches again.
//!
//! Registration is here too: a server that cannot be reached is asked again.
//!
//! Invariants: a download is taken for imported, and a file for superfluous, only because a server said so, and only by an import
//! that came after it was handed over: a server's history also has those of earlier downloads of the same name or hash. A server that
//! is down delays no other server. What is asked and read is bounded.

use super::claims::PeerItem;
use super::import_server::{OwnEntry, ServerClock, call, register, seen};
use super::service::Service;
use crate::config::{Config, ImportServer, ImportServerKind};
use crate::control::{CLIENT_PREFIX, Control, ServerCard, StubPlace, Torrent, hash_of};
use crate::ledger::{Import, ImportState, LedgerEntry, NativeLedger, is_as_left};
use futures::future::join_all;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::time::Clock;
use regrip_core::{Error, PeerId, Status, display_url};
use serde::Deserialize;
use serde_json::Value;
use smol::Timer;
use smol::future::FutureExt;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use surf::http::Method;

/// Downloads that are asked about at once: those that changed last.
const MOST_CANDIDATES: u32 = 256;
/// Records of one page, and pages of one answer.
const PAGE: usize = 200;
const MOST_PAGES: usize = 10;
/// The longest reason that is shown, in characters.
const LONGEST_REASON: usize = 500;
/// How often a server is asked for a release that it does not have in its queue.
const MOST_ASKED: u32 = 60;

/// What two clocks may differ by, once the server's is corrected: its `Date` and the dates of its history are whole seconds.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Between two attempts to register, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// A server's history, the latest first.
const HISTORY: &str = "/api/v3/history?sortKey=date&sortDirection=descending";

/// A page of a queue or of a history.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    records: Vec<Value>,
}

/// What a server said of a download.
#[derive(Default)]
struct ServerAnswer {
    /// Imports by hash and by path; `None` if it did not answer.
    imported: Option<HashMap<String, Vec<HistoryImport>>>,
    /// By hash.
    queue: Option<HashMap<String, QueueItem>>,
}

/// An import in a server's history.
#[derive(Clone)]
struct HistoryImport {
    /// When it was, by our clock. `None` if the date cannot be read, or is in the future: a clock was wrong then.
    at: Option<SystemTime>,
    /// The record, to be known again.
    record: u64,
}

impl HistoryImport {
    /// Returns `true` if it is of the file that was completed then, and not of an earlier one of the same name or hash: it is not older,
    /// or it was not among those that the server had before it was given the file. After a restart only its date says so.
    fn is_of(&self, completed: Option<&str>, before: Option<&HashSet<u64>>) -> bool {
        let completed = completed.and_then(|at| humantime::parse_rfc3339(at).ok());
        let earliest = completed.and_then(|at| at.checked_sub(CLOCKS_DIFFER));
        let is_later = self.at.zip(earliest).is_some_and(|(at, earliest)| at >= earliest);
        is_later || before.is_some_and(|before| !before.contains(&self.record))
    }
}

/// A download in a server's queue.
struct QueueItem {
    id: i64,
    /// Why it is not imported.
    reason: Option<String>,
}

/// Asks at the configured intervals, and when something has happened. Never ends.
pub(super) async fn poll<L: NativeLedger>(service: Arc<Service<L>>) {
    let signal = service.control.torrents().ask_signal();
    let mut asked = HashMap::new();
    loop {
        let config = service.settings.get();
        let interval = config.downloads.as_ref().map_or(LONGEST_REST, |downloads| downloads.import_poll_interval);
        let timer = async {
            Timer::after(interval).await;
        };
        let signalled = async {
            let _ = signal.recv().await;
        };
        signalled.or(timer).await;
        if let Err(error) = round(&service, &service.settings.get(), &mut asked).await {
            tracing::error!(error = %chain(&error), "cannot read the downloads that are to be imported");
        }
    }
}

async fn round<L: NativeLedger>(
    service: &Service<L>,
    config: &Config,
    asked: &mut HashMap<String, u32>,
) -> Result<(), Error> {
    let ledger = service.control.ledger();
    service.control.follow_torrents().await?;
    let mut candidates = Vec::new();
    for entry in ledger.list(&[Status::ImportQueued], MOST_CANDIDATES, None).await? {
        let imports = ledger.imports(entry.row.id).await?;
        candidates.push((entry, imports));
    }
    service.imports.forget_all_but(|id| candidates.iter().any(|(entry, _)| entry.row.id == id));
    let faults = faults(service, config).await?;
    asked.retain(|hash, _| faults.iter().any(|torrent| torrent.hash == *hash));
    let grabbed = |server: &ImportServer| faults.iter().any(|torrent| is_of(torrent, server, config));
    let awaited = |server: &ImportServer| {
        let mut imports = candidates.iter().flat_map(|(_, imports)| imports);
        imports.any(|import| import.server == server.name && import.state == ImportState::Accepted)
    };
    let asking = config.import_servers.iter().map(async |server| {
        let (grabbed, awaited) = (grabbed(server), awaited(server));
        let answer = ServerAnswer {
            imported: if awaited { history(&service.control, server).await } else { None },
            queue: if grabbed || awaited { queue(service, server).await } else { None },
        };
        (server.name.clone(), answer)
    });
    let answers: BTreeMap<String, ServerAnswer> = join_all(asking).await.into_iter().collect();
    for (entry, imports) in &candidates {
        settle(service, config, entry, imports, &answers).await?;
    }
    let peers: HashSet<&str> = faults.iter().map(|torrent| torrent.peer.as_str()).collect();
    let answering = peers.into_iter().map(async |peer| (peer, peer_answers(service, peer).await));
    let answering: HashMap<&str, bool> = join_all(answering).await.into_iter().collect();
    for torrent in faults.iter().filter(|torrent| answering.get(torrent.peer.as_str()) == Some(&true)) {
        blocklist(service, config, torrent, &answers, asked).await?;
    }
    Ok(())
}

/// Decides what a download is now that servers were left or asked to import.
async fn settle<L: NativeLedger>(
    service: &Service<L>,
    config: &Config,
    entry: &LedgerEntry,
    imports: &[Import],
    answers: &BTreeMap<String, ServerAnswer>,
) -> Result<(), Error> {
    let hash = entry.stub_name.as_deref().and_then(hash_of).unwrap_or_default();
    let accepted: Vec<&str> = (imports.iter().filter(|import| import.state == ImportState::Accepted))
        .map(|import| import.server.as_str())
        .collect();
    let mut all_answered = !accepted.is_empty();
    let mut lines = Vec::new();
    for server in config.import_servers.iter().filter(|server| accepted.contains(&server.name.as_str())) {
        let answer = answers.get(&server.name);
        let Some(imported) = answer.and_then(|answer| answer.imported.as_ref()) else {
            all_answered = false;
            continue;
        };
        let path = service.seen_by(server, &entry.row.new.destination);
        let before = service.imports.before(entry.row.id, &server.name);
        let is_of_it = |import: &HistoryImport| import.is_of(entry.completed_at.as_deref(), before.as_ref());
        if of(imported, [hash, path.as_deref().unwrap_or_default()]).any(is_of_it) {
            return become_imported(service, config, entry, &server.name).await;
        }
        let item = answer.and_then(|answer| answer.queue.as_ref()?.get(hash));
        if let Some(item) = item.filter(|_| !hash.is_empty()) {
            lines.push(match &item.reason {
                Some(reason) => format!("not imported by {}: {reason}", server.name),
                None => format!("left to {}", server.name),
            });
        }
    }
    let destination = Path::new(&entry.row.new.destination);
    if all_answered
        && !hash.is_empty()
        && service.control.torrents().get(hash).is_none()
        && service.control.engine().host().store.look_at(destination).await?.is_none()
    {
        // Its client deleted it with its file, and nobody had imported it.
        tracing::info!(id = entry.row.id, "deleted by the download client's API before it was imported");
        return service.control.remove(entry.row.id).await;
    }
    let line = lines.join("; ");
    if !line.is_empty() && entry.import_state.as_deref() != Some(&line) {
        tracing::info!(id = entry.row.id, line, "import");
        note(service, entry, imports, line).await?;
    }
    Ok(())
}

async fn note<L: NativeLedger>(
    service: &Service<L>,
    entry: &LedgerEntry,
    imports: &[Import],
    line: String,
) -> Result<(), Error> {
    let at = service.control.engine().host().clock().wall();
    match service.control.ledger().record_imports(entry.row.id, imports.to_vec(), line, at).await {
        // It was removed, or taken up again.
        Err(Error::NoSuchDownload(_) | Error::WrongState { .. }) => Ok(()),
        noted => noted,
    }
}

async fn become_imported<L: NativeLedger>(
    service: &Service<L>,
    config: &Config,
    entry: &LedgerEntry,
    server: &str,
) -> Result<(), Error> {
    let (id, ledger) = (entry.row.id, service.control.ledger());
    let at = service.control.engine().host().clock().wall();
    match ledger.record_imported(id, format!("imported by {server}"), at).await {
        Err(Error::NoSuchDownload(_) | Error::WrongState { .. }) => return Ok(()),
        noted => noted?,
    }
    tracing::info!(id, server, "imported");
    let unlink = config.downloads.as_ref().is_some_and(|downloads| downloads.unlink_imported_files);
    let (path, store) = (Path::new(&entry.row.new.destination), &service.control.engine().host().store);
    if unlink
        && let Some(stamp) = store.look_at(path).await?
        && is_as_left(ledger, &entry.row, entry.completed_stamp(), stamp).await?
        && let Err(error) = store.delete(path).await
    {
        tracing::warn!(id, error = %chain(&error), "cannot remove the imported file");
    }
    Ok(())
}

/// Torrents whose release is at fault and not blocklisted yet. Those that were taken up again are let go.
async fn faults<L: NativeLedger>(service: &Service<L>, config: &Config) -> Result<Vec<Torrent>, Error> {
    let (ledger, torrents) = (service.control.ledger(), service.control.torrents());
    let wanted = config.downloads.as_ref().is_some_and(|downloads| downloads.blocklist_failed);
    let mut faults = Vec::new();
    for torrent in torrents.list() {
        if torrent.fault.is_none() {
            continue;
        }
        let failed = match torrent.download {
            Some(id) => matches!(ledger.row(id).await, Ok(row) if row.status == Status::Failed),
            None => torrents.place(&torrent.hash) == StubPlace::Failed,
        };
        match failed && wanted {
            true => faults.push(torrent),
            false => {
                torrents.change(ledger, &torrent.hash, |torrent| torrent.fault = None).await?;
            }
        }
    }
    Ok(faults)
}

/// Returns `true` if a server may have grabbed a torrent: it added it, or whoever did gave no server's name.
fn is_of(torrent: &Torrent, server: &ImportServer, config: &Config) -> bool {
    let known = |name: &String| config.import_servers.iter().any(|server| server.name == *name);
    match torrent.server.as_ref().filter(|name| known(name)) {
        Some(name) => *name == server.name,
        None => server.destination,
    }
}

/// Removes a torrent from the queues of the servers that grabbed it, with blocklisting.
async fn blocklist<L: NativeLedger>(
    service: &Service<L>,
    config: &Config,
    torrent: &Torrent,
    answers: &BTreeMap<String, ServerAnswer>,
    asked: &mut HashMap<String, u32>,
) -> Result<(), Error> {
    let (ledger, torrents) = (service.control.ledger(), service.control.torrents());
    let why = torrent.fault.as_deref().unwrap_or_default();
    let mut blocked = false;
    let mut all_answered = true;
    for server in config.import_servers.iter().filter(|server| is_of(torrent, server, config)) {
        let Some(queue) = answers.get(&server.name).and_then(|answer| answer.queue.as_ref()) else {
            all_answered = false;
            continue;
        };
        let Some(item) = queue.get(&torrent.hash) else {
            continue;
        };
        let endpoint = format!("/api/v3/queue/{}?removeFromClient=true&blocklist=true&skipRedownload=false", item.id);
        match call(service.control.engine().host(), server, Method::Delete, &endpoint, None, &[]).await {
            Ok(_) => {
                blocked = true;
                tracing::warn!(
                    server = server.name,
                    torrent = torrent.name,
                    why,
                    "blocklisted: the release is at fault"
                );
            }
            Err(error) => {
                all_answered = false;
                tracing::warn!(server = server.name, torrent = torrent.name, %error, "cannot blocklist a release yet");
            }
        }
    }
    let times = asked.entry(torrent.hash.clone()).or_default();
    *times = times.saturating_add(u32::from(all_answered));
    if all_answered && (blocked || *times >= MOST_ASKED) {
        if !blocked {
            tracing::warn!(torrent = torrent.name, why, "no server has this failed release in its queue");
        }
        torrents.change(ledger, &torrent.hash, |torrent| torrent.fault = None).await?;
    }
    Ok(())
}

/// Returns `true` if a peer answers as a peer does: a 404 may also be that of a proxy in front of one that is away.
async fn peer_answers<L: NativeLedger>(service: &Service<L>, peer: &str) -> bool {
    match PeerId::new(peer).and_then(|peer| service.peers.get(&peer)) {
        Some(peer) => peer.client.is_there().await,
        None => false,
    }
}

/// What a server imported lately, by the hash of a download, in lower case, and by the path of a file as the server saw it.
async fn history<L: NativeLedger>(
    control: &Control<L>,
    server: &ImportServer,
) -> Option<HashMap<String, Vec<HistoryImport>>> {
    let (records, clock) = pages(control, server, HISTORY).await?;
    Some(imports(&records, clock))
}

/// The imports that a server's history has of a hash and a path; `None` if it does not answer.
pub(super) async fn imports_so_far<L: NativeLedger>(
    control: &Control<L>,
    server: &ImportServer,
    keys: [&str; 2],
) -> Option<HashSet<u64>> {
    let imported = history(control, server).await?;
    Some(of(&imported, keys).map(|import| import.record).collect())
}

/// The imports of a hash and a path; either may be empty.
fn of<'a>(
    imported: &'a HashMap<String, Vec<HistoryImport>>,
    keys: [&str; 2],
) -> impl Iterator<Item = &'a HistoryImport> + use<'a> {
    let [hash, path] = keys.map(|key| imported.get(key).map(Vec::as_slice).unwrap_or_default());
    hash.iter().chain(path)
}

/// What a record is known by.
fn mark(record: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.to_string().hash(&mut hasher);
    hasher.finish()
}

fn imports(records: &[Value], clock: ServerClock) -> HashMap<String, Vec<HistoryImport>> {
    let mut imported: HashMap<String, Vec<HistoryImport>> = HashMap::new();
    for record in records.iter().filter(|record| record["eventType"] == "downloadFolderImported") {
        let date = record["date"].as_str().and_then(|date| humantime::parse_rfc3339(date).ok());
        let at = date.map(|date| clock.to_ours(date)).filter(|at| *at <= clock.ours + CLOCKS_DIFFER);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let hash = text(&record["downloadId"]).map(|hash| hash.to_ascii_lowercase());
        for key in hash.into_iter().chain(text(&record["data"]["droppedPath"])) {
            imported.entry(key).or_default().push(HistoryImport { at, record: mark(record) });
        }
    }
    imported
}

/// The downloads in a server's queue, by hash in lower case.
async fn queue<L: NativeLedger>(service: &Service<L>, server: &ImportServer) -> Option<HashMap<String, QueueItem>> {
    let unknown = match server.kind {
        ImportServerKind::Radarr => "includeUnknownMovieItems",
        ImportServerKind::Sonarr => "includeUnknownSeriesItems",
    };
    let mut queue = HashMap::new();
    for record in pages(&service.control, server, &format!("/api/v3/queue?{unknown}=true")).await?.0 {
        if let (Some(hash), Some(id)) = (record["downloadId"].as_str(), record["id"].as_i64()) {
            queue.insert(hash.to_ascii_lowercase(), QueueItem { id, reason: reason(&record) });
        }
    }
    Some(queue)
}

/// Why a download in a queue is not imported, if the server says that it is not going to.
fn reason(record: &Value) -> Option<String> {
    let is_left =
        matches!(record["trackedDownloadState"].as_str(), Some("importPending" | "importBlocked" | "importFailed"));
    let is_wrong = matches!(record["trackedDownloadStatus"].as_str(), Some("warning" | "error"));
    if !is_left || !is_wrong {
        return None;
    }
    let listed = record["statusMessages"].as_array().into_iter().flatten();
    let messages = listed.flat_map(|status| status["messages"].as_array().into_iter().flatten());
    let mut texts: Vec<&str> = messages.filter_map(Value::as_str).collect();
    texts.extend(record["errorMessage"].as_str());
    texts.dedup();
    let text = texts.join(", ").replace(|letter: char| letter.is_control(), " ");
    Some(text.chars().take(LONGEST_REASON).collect())
}

/// The records of an endpoint, page by page, and the server's clock; `None` if the server does not answer.
async fn pages<L: NativeLedger>(
    control: &Control<L>,
    server: &ImportServer,
    endpoint: &str,
) -> Option<(Vec<Value>, ServerClock)> {
    let host = control.engine().host();
    let trouble = import_state_at(server);
    let (mut records, mut clock) = (Vec::new(), ServerClock { theirs: host.clock().wall(), ours: host.clock().wall() });
    for page in 1..=MOST_PAGES {
        let endpoint = format!("{endpoint}&page={page}&pageSize={PAGE}");
        let answer = call(host, server, Method::Get, &endpoint, None, &[]).await;
        let read = answer.map_err(|error| error.to_string()).and_then(|(json, clock)| {
            let page = serde_json::from_value::<Page>(json).map_err(|error| error.to_string())?;
            Ok((page, clock))
        });
        match read {
            Ok((page, its_clock)) => {
                clock = its_clock;
                let is_last = page.records.len() < PAGE;
                records.extend(page.records);
                if is_last {
                    break;
                }
            }
            Err(why) => {
                control.troubles().note(&trouble, &format!("cannot ask {}: {why}", server.name));
                return None;
            }
        }
    }
    control.troubles().over(&trouble);
    Some((records, clock))
}

/// What trouble with a server is called.
fn registration_at(server: &ImportServer) -> String {
    format!("registration at {}", server.name)
}

fn import_state_at(server: &ImportServer) -> String {
    format!("import state at {}", server.name)
}

/// Registers this server as configured, again after a change of the configuration or on request, and until it works. Never ends.
pub(super) async fn keep_registered<L: NativeLedger>(service: Arc<Service<L>>) {
    let (signal, requests) = (service.reloaded(), service.control.servers().signal());
    let mut rest = FIRST_REST;
    let mut done = HashSet::new();
    let mut config = service.settings.get();
    let mut wanted = wanted_by(&config);
    service.control.servers().configure(cards(&config, &wanted));
    loop {
        let work = wanted.iter().filter(|(_, server)| !done.contains(&server.name)).map(async |(category, server)| {
            attempt(&service, &config, server, category).await.then(|| server.name.clone())
        });
        let registered = join_all(work).await.into_iter().flatten().collect::<Vec<_>>();
        done.extend(registered);
        let is_over = wanted.iter().all(|(_, server)| done.contains(&server.name));
        let timer = async {
            match is_over {
                true => std::future::pending().await,
                false => {
                    Timer::after(rest).await;
                }
            }
            false
        };
        let signalled = async {
            let _ = signal.recv().or(requests.recv()).await;
            true
        };
        rest = match signalled.or(timer).await {
            true => {
                done.clear();
                for server in &config.import_servers {
                    for what in [registration_at(server), import_state_at(server)] {
                        service.control.troubles().over(&what);
                    }
                }
                config = service.settings.get();
                wanted = wanted_by(&config);
                service.control.servers().configure(cards(&config, &wanted));
                FIRST_REST
            }
            false => rest.saturating_mul(2).min(LONGEST_REST),
        };
    }
}

/// The servers to register at, each with the category of its downloads there.
fn wanted_by(config: &Config) -> Vec<(String, ImportServer)> {
    let mut categories = HashSet::new();
    let servers = config.import_servers.iter().filter(|server| server.destination && server.autoregister.enable);
    if config.server.internal_url.is_none() && servers.clone().next().is_some() {
        tracing::info!("not registered in Radarr or Sonarr: regrip.internalUrl is not configured");
    }
    let wanted = servers.map(|server| {
        let name = server.name.to_lowercase();
        let letters = name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' });
        let name: String = letters.take(60).collect();
        let name = name.trim_matches('-').to_owned();
        let name = if name.is_empty() { server.kind.name().to_owned() } else { name };
        let mut numbered = (1_u32..).map(|number| if number == 1 { name.clone() } else { format!("{name}-{number}") });
        let category = numbered.find(|name| categories.insert(name.clone())).unwrap_or(name.clone());
        (category, server.clone())
    });
    match &config.server.internal_url {
        Some(_) => wanted.collect(),
        None => Vec::new(),
    }
}

/// The configured servers before they are registered at.
fn cards(config: &Config, wanted: &[(String, ImportServer)]) -> Vec<ServerCard> {
    let card = |server: &ImportServer| {
        let category = wanted.iter().find(|(_, wanted)| wanted.name == server.name).map(|(name, _)| name.clone());
        let is_asked_for = server.destination && server.autoregister.enable;
        let lacks_url = (is_asked_for && category.is_none()).then(|| "regrip.internalUrl is not configured".to_owned());
        ServerCard {
            name: server.name.clone(),
            kind: server.kind.name(),
            url: display_url(&server.url),
            registration: if category.is_some() { "pending" } else { "off" },
            category,
            error: lacks_url,
            tried_at: None,
        }
    };
    config.import_servers.iter().map(card).collect()
}

/// Returns `true` if this server is registered there now.
async fn attempt<L: NativeLedger>(
    service: &Service<L>,
    config: &Config,
    server: &ImportServer,
    category: &str,
) -> bool {
    let (trouble, control) = (registration_at(server), &service.control);
    let result = match (&config.server.internal_url, &config.server.api_key) {
        (Some(url), Some(key)) => {
            let own = OwnEntry { url: url.trim_end_matches('/'), key: key.reveal(), category };
            register(control.engine().host(), server, &own).await.map_err(|error| error.to_string())
        }
        _ => Err("regrip.apiKey is not configured".to_owned()),
    };
    match &result {
        Ok(()) => {
            control.troubles().over(&trouble);
            tracing::info!(server = server.name, category, "registered as indexer and download client");
        }
        Err(why) => control.troubles().note(&trouble, &format!("cannot register at {}: {why}", server.name)),
    }
    let is_registered = result.is_ok();
    control.servers().tried(&server.name, result);
    is_registered
}

impl<L: NativeLedger> Service<L> {
    /// The path of a file as a server sees it, if it does.
    fn seen_by(&self, server: &ImportServer, file: &str) -> Option<String> {
        seen(file, self.completed.path(), server.import_path.as_deref()).ok()
    }

    /// Records that the release of an item is at fault, with its torrents: it will be blocklisted.
    pub(super) async fn blame(&self, item: &PeerItem, noted: Option<&str>, why: &str) {
        let mut names = self.claims.names(item);
        names.extend(noted.map(str::to_owned));
        let (ledger, torrents) = (self.control.ledger(), self.control.torrents());
        for hash in names.iter().filter(|name| name.starts_with(CLIENT_PREFIX)).filter_map(|name| hash_of(name)) {
            let why = why.lines().next().unwrap_or_default().to_owned();
            if let Err(error) = torrents.change(ledger, hash, |torrent| torrent.fault = Some(why.clone())).await {
                tracing::error!(error = %chain(&error), "cannot record that a release is at fault");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_import_that_is_not_older_than_the_completion_is_of_it() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        let text = |at: SystemTime| crate::time::rfc3339(at);
        let record = |date: Value| {
            json!({ "eventType": "downloadFolderImported", "date": date, "downloadId": "ABC",
                "data": { "droppedPath": "/a/b.mkv" } })
        };
        // Completed at 1000, asked at 2000 by our clock. What the server's clock is at then, the date of the import, the result.
        for (theirs, date, is_counted) in [
            (2000, json!(text(at(1001))), true),
            (2000, json!(text(at(1000))), true),
            (2000, json!(text(at(900))), false),
            (2000, json!("2020-01-01T00:00:00Z"), false),
            (2000, json!("1970-01-01T00:00:00Z"), false),
            (2000, json!(text(at(2002))), true),
            (2000, json!("2999-01-01T00:00:00Z"), false),
            (2000, json!("yesterday"), false),
            (2000, json!(1_800_001_500), false),
            (2000, Value::Null, false),
            // Five minutes ahead, and five minutes behind.
            (2300, json!(text(at(1200))), false),
            (2300, json!(text(at(1301))), true),
            (1700, json!(text(at(701))), true),
            (1700, json!(text(at(600))), false),
            // An answer that a proxy kept for as long as it could.
            (0, json!(text(at(200))), false),
        ] {
            let clock = ServerClock { theirs: at(theirs), ours: at(2000) };
            let (this, old) = (record(date.clone()), record(json!("2001-01-01T00:00:00Z")));
            let known = [HashSet::new(), [mark(&old)].into(), [mark(&old), mark(&this)].into()];
            let found = imports(&[this, old], clock);
            let (completed, [none, old, both]) = (text(at(1000)), known);
            for key in ["abc", "/a/b.mkv"] {
                let is_of_it = |before: Option<&HashSet<u64>>| {
                    found[key].iter().any(|import| import.is_of(Some(&completed), before))
                };
                assert_eq!(is_of_it(None), is_counted, "{key}, {date} at {theirs}");
                assert_eq!(is_of_it(Some(&both)), is_counted, "{key}, {date} at {theirs}");
                assert!(
                    is_of_it(Some(&none)) && is_of_it(Some(&old)),
                    "one that came later is of it, whatever its date"
                );
            }
        }
        assert!(!HistoryImport { at: Some(at(5000)), record: 1 }.is_of(None, None));
    }

    #[test]
    fn a_download_that_a_server_does_not_import_has_its_reasons() {
        let record = |state: &str, status: &str| {
            json!({ "trackedDownloadState": state, "trackedDownloadStatus": status, "errorMessage": "No files",
                "statusMessages": [{ "title": "Film", "messages": ["Not an upgrade\nfor it", "Sample"] }] })
        };
        let why = Some("Not an upgrade for it, Sample, No files".to_owned());
        assert_eq!(reason(&record("importPending", "warning")), why);
        assert_eq!(reason(&record("importBlocked", "error")), why);
        assert_eq!(reason(&record("importPending", "ok")), None);
        assert_eq!(reason(&record("downloading", "warning")), None);
        assert_eq!(reason(&json!({})), None);
    }
}
