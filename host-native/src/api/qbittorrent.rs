//! The download client: qBittorrent's Web API v2 below `/api/v2/`, as far as Radarr, Sonarr and `qbittorrent-api` use it.
//!
//! A torrent here is a stub of a peer; its states are those of its download. What is shared, limited or announced in a swarm does
//! not exist: such methods are accepted without an effect, and what would change a file (another folder, another name) is refused.
//! Answers are plain text or JSON, as there. `README.md` lists the methods and what differs from qBittorrent.
//!
//! Invariants: of a request's texts only safe names become paths, below the completed folder; what a URL of a request answers is
//! read as a stub and is nothing else; a file is deleted only if it is still as regrip delivered it.

use super::auth::{Auth, client_session};
use super::downloads::up_to_date;
use super::torrent_json::{Form, ShownTorrent, fits, order, server_state, with_constants};
use super::{Api, Handled};
use crate::control::{SharedStub, StubPlace, Torrent, TorrentError, below, fetch_stub, own_stub};
use crate::ledger::{NativeLedger, is_as_left};
use crate::server::{Answer, Asked, Entry, Guard, Refusal, Reply, Route, Router};
use crate::sync::lock;
use bytes::Bytes;
use futures::FutureExt;
use hyper::header::{HOST, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use regrip_core::classify::is_of_this_machine;
use regrip_core::error::chain;
use regrip_core::{DownloadId, Error, PeerId, Status, display_url};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The version of qBittorrent that is claimed, and of its Web API: from these on a finished torrent is `stoppedUP`.
const VERSION: &str = "v5.0.4";
const WEB_API_VERSION: &str = "2.11.4";

/// The longest user name that is kept in the cookie, in bytes.
const LONGEST_USER_BYTES: usize = 256;
/// Torrents of one request.
const MOST_ADDED: usize = 64;
/// The shortest time that a rate is measured over.
const RATE_OVER: Duration = Duration::from_secs(1);

/// The handlers' state.
struct TorrentApi<L: NativeLedger> {
    api: Arc<Api<L>>,
    rates: Mutex<HashMap<String, MeasuredRate>>,
    responses: AtomicU64,
}

/// Bytes of a download between two requests.
struct MeasuredRate {
    at: Instant,
    bytes: u64,
    per_second: u64,
}

#[derive(Debug)]
struct ClientGuard(Arc<Auth>);

impl Guard for ClientGuard {
    fn check(&self, head: &Parts, from: SocketAddr, entry: Entry) -> Result<(), Refusal> {
        self.0.check_client(head, from, entry).map_err(Refusal::plain)
    }
}

/// The API as a server takes it.
pub(super) fn router<L: NativeLedger>(api: Arc<Api<L>>) -> Answer {
    let guard = Arc::new(ClientGuard(Arc::clone(&api.auth)));
    let client = TorrentApi { api, rates: Mutex::default(), responses: AtomicU64::new(0) };
    Router::new(Arc::new(client), routes(), guard).answer()
}

const fn routes<L: NativeLedger>() -> &'static [Route<TorrentApi<L>>] {
    macro_rules! route {
        ($method:ident $path:literal, $entry:ident, $handler:path) => {
            Route {
                method: Method::$method,
                path: $path,
                entry: Entry::$entry,
                handler: |client, asked| async move { $handler(&client, asked).await.map_err(Refusal::plain) }.boxed(),
            }
        };
    }
    &[
        route!(POST "/api/v2/auth/login", Keyless, log_in),
        route!(POST "/api/v2/auth/logout", Keyless, log_out),
        route!(GET "/api/v2/app/{method}", Keyed, app),
        route!(POST "/api/v2/app/{method}", Keyed, app),
        route!(GET "/api/v2/sync/{method}", Keyed, sync),
        route!(POST "/api/v2/sync/{method}", Keyed, sync),
        route!(GET "/api/v2/transfer/{method}", Keyed, transfer),
        route!(POST "/api/v2/transfer/{method}", Keyed, transfer),
        route!(GET "/api/v2/torrents/{method}", Keyed, read),
        route!(POST "/api/v2/torrents/{method}", Keyed, torrents),
    ]
}

fn ok() -> Handled {
    Ok(Reply::text(StatusCode::OK, "Ok."))
}

fn unknown() -> Handled {
    Err(Refusal::not_found("Not Found"))
}

fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "Conflict", message)
}

impl From<TorrentError> for Refusal {
    fn from(error: TorrentError) -> Refusal {
        match error {
            TorrentError::Core(error) => error.into(),
            TorrentError::Io(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Disk", error.to_string()),
            TorrentError::Stub(_) => Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NotAStub", error.to_string()),
            _ => conflict(error.to_string()),
        }
    }
}

async fn log_in<L: NativeLedger>(client: &TorrentApi<L>, mut asked: Asked) -> Handled {
    let form = Form::read(&mut asked).await?;
    let password = form.text("password").trim();
    let Some(token) = client.api.auth.log_in_client(password, asked.headers(), asked.from())? else {
        return Err(Refusal::new(StatusCode::OK, "Unauthorized", "Fails.").wrong_key());
    };
    let user = form.text("username").as_bytes();
    let user = user.get(..LONGEST_USER_BYTES).unwrap_or(user);
    let user: String = user.iter().map(|byte| format!("{byte:02x}")).collect();
    let cookie = format!("SID={token}.{user}; Path=/; HttpOnly; SameSite=Strict");
    ok().map(|reply| reply.text_header(SET_COOKIE, &cookie))
}

async fn log_out<L: NativeLedger>(client: &TorrentApi<L>, asked: Asked) -> Handled {
    if let Some((token, _)) = client_session(asked.headers()) {
        client.api.auth.log_out_client(token);
    }
    ok().map(|reply| reply.text_header(SET_COOKIE, "SID=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"))
}

async fn app<L: NativeLedger>(client: &TorrentApi<L>, asked: Asked) -> Handled {
    match asked.captured() {
        "version" => Ok(Reply::text(StatusCode::OK, VERSION)),
        "webapiVersion" => Ok(Reply::text(StatusCode::OK, WEB_API_VERSION)),
        "defaultSavePath" => Ok(Reply::text(StatusCode::OK, client.save_path(""))),
        "buildInfo" => Ok(Reply::json(&json!({
            "bitness": usize::BITS, "boost": "", "libtorrent": "", "openssl": "", "qt": "", "zlib": "",
            "platform": std::env::consts::OS, "regrip": env!("CARGO_PKG_VERSION"),
        }))),
        "preferences" => {
            let most = client.api.control.engine().config().max_concurrent_downloads;
            let own = json!({ "save_path": client.save_path(""), "max_active_downloads": most });
            Ok(Reply::json(&with_constants("preferences", own)))
        }
        "setPreferences" => Err(conflict("settings are in the configuration file of regrip")),
        _ => unknown(),
    }
}

async fn transfer<L: NativeLedger>(client: &TorrentApi<L>, asked: Asked) -> Handled {
    client.api.control.follow_torrents().await?;
    match asked.captured() {
        "info" => Ok(Reply::json(&client.show_all(|_| ()).await?)),
        "speedLimitsMode" | "downloadLimit" | "uploadLimit" => Ok(Reply::text(StatusCode::OK, "0")),
        "toggleSpeedLimitsMode" | "setSpeedLimitsMode" | "setDownloadLimit" | "setUploadLimit" | "banPeers" => ok(),
        _ => unknown(),
    }
}

async fn sync<L: NativeLedger>(client: &TorrentApi<L>, asked: Asked) -> Handled {
    client.api.control.follow_torrents().await?;
    let rid = client.responses.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    match asked.captured() {
        "maindata" => {
            let mut torrents = BTreeMap::new();
            let show = |shown: ShownTorrent| {
                let text = text(&shown.json(&client.save_path(&shown.torrent.folder)));
                torrents.insert(shown.torrent.hash, text);
            };
            let server_state = client.show_all(show).await?;
            // Always all of it, which a client takes at any time.
            let rest = json!({
                "rid": rid, "full_update": true, "categories": client.categories(), "tags": [], "trackers": {},
                "server_state": server_state,
            });
            Ok(Reply::json(&MainData { torrents, rest }))
        }
        "torrentPeers" => Ok(Reply::json(&json!({ "rid": rid, "full_update": true, "peers": {}, "show_flags": true }))),
        _ => unknown(),
    }
}

#[derive(Serialize)]
struct MainData {
    torrents: BTreeMap<String, Box<RawValue>>,
    #[serde(flatten)]
    rest: Value,
}

/// A value as it will be sent, which takes a fifth of its room.
fn text(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default() // a tree of values can always be written
}

/// What GET may ask for.
const READS: [&str; 9] =
    ["info", "properties", "files", "trackers", "webseeds", "pieceStates", "categories", "tags", "count"];

/// Methods without an effect here.
const NO_EFFECT: &str = "setShareLimits setForceStart topPrio bottomPrio increasePrio decreasePrio recheck reannounce setSuperSeeding \
    toggleSequentialDownload toggleFirstLastPiecePrio setAutoManagement setDownloadLimit setUploadLimit filePrio \
    addTags removeTags createTags deleteTags addPeers addTrackers editTracker removeTrackers setTags addWebSeeds";

async fn read<L: NativeLedger>(client: &TorrentApi<L>, asked: Asked) -> Handled {
    match READS.contains(&asked.captured()) {
        true => torrents(client, asked).await,
        false => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method Not Allowed")),
    }
}

async fn torrents<L: NativeLedger>(client: &TorrentApi<L>, mut asked: Asked) -> Handled {
    let form = Form::read(&mut asked).await?;
    client.api.control.follow_torrents().await?;
    match asked.captured() {
        "info" => client.info(&form).await,
        "count" => Ok(Reply::text(StatusCode::OK, client.api.control.torrents().list().len().to_string())),
        "properties" => {
            let shown = client.one(&form).await?;
            Ok(Reply::json(&shown.properties(&client.save_path(&shown.torrent.folder))))
        }
        "files" => Ok(Reply::json(&json!([client.one(&form).await?.file()]))),
        "trackers" | "webseeds" | "pieceStates" => client.one(&form).await.map(|_| Reply::json(&json!([]))),
        "tags" => Ok(Reply::json(&json!([]))),
        "categories" => Ok(Reply::json(&client.categories())),
        "add" => client.add(&form, &asked).await,
        action @ ("delete" | "pause" | "stop" | "resume" | "start") => {
            for torrent in client.selected(&form)? {
                match action {
                    "delete" => client.delete(torrent, form.is_true("deleteFiles")).await?,
                    "pause" | "stop" => client.stop(torrent).await?,
                    _ => client.start(torrent).await?,
                }
            }
            ok()
        }
        "downloadLimit" | "uploadLimit" => {
            Ok(Reply::json(&client.selected(&form)?.into_iter().map(|one| (one.hash, 0)).collect::<BTreeMap<_, _>>()))
        }
        "setCategory" => client.set_category(&form).await,
        "createCategory" | "editCategory" => client.put_category(&form, asked.captured() == "createCategory").await,
        "removeCategories" => {
            for name in form.need("categories")?.split('\n') {
                client.api.control.torrents().put_category(client.api.control.ledger(), name, None).await?;
            }
            ok()
        }
        "setLocation" | "setSavePath" | "setDownloadPath" => {
            Err(conflict("the folder of a download is chosen when it is added, by its category"))
        }
        "rename" | "renameFile" | "renameFolder" => Err(conflict("the peer's release names the file")),
        method if NO_EFFECT.split(' ').any(|name| name == method) => ok(),
        _ => unknown(),
    }
}

impl<L: NativeLedger> TorrentApi<L> {
    /// The completed folder or one below it.
    fn save_path(&self, folder: &str) -> String {
        let completed = self.api.control.completed().unwrap_or(Path::new(""));
        match folder {
            "" => completed.display().to_string(),
            folder => completed.join(folder).display().to_string(),
        }
    }

    fn categories(&self) -> Value {
        let all = self.api.control.torrents().categories().into_iter();
        let all = all.map(|(name, folder)| {
            let path = if folder == name { String::new() } else { self.save_path(&folder) };
            (name.clone(), json!({ "name": name, "savePath": path }))
        });
        Value::Object(all.collect())
    }

    /// A path of a request as one below the completed folder; "" for that folder itself.
    fn folder(&self, path: &str) -> Result<String, Refusal> {
        let relative = match self.api.control.completed() {
            Some(completed) if path.starts_with('/') => {
                Path::new(path).strip_prefix(completed).ok().and_then(Path::to_str)
            }
            _ => Some(path),
        };
        let relative = relative.map(|relative| relative.trim_end_matches('/'));
        match relative {
            Some("") => Ok(String::new()),
            Some(relative) => Ok(below(relative)?),
            None => Err(TorrentError::Folder(path.to_owned()).into()),
        }
    }

    async fn put_category(&self, form: &Form, new: bool) -> Handled {
        let (name, torrents) = (form.need("category")?, self.api.control.torrents());
        if torrents.categories().contains_key(name) == new {
            return Err(conflict(if new { "this category exists already" } else { "there is no such category" }));
        }
        let folder = match form.text("savePath") {
            "" => below(name)?,
            path => self.folder(path)?,
        };
        torrents.put_category(self.api.control.ledger(), name, Some(folder)).await?;
        ok()
    }

    async fn set_category(&self, form: &Form) -> Handled {
        let category = form.text("category");
        if !category.is_empty() && !self.api.control.torrents().categories().contains_key(category) {
            return Err(conflict("there is no such category"));
        }
        for Torrent { hash, .. } in self.selected(form)? {
            let set = |torrent: &mut Torrent| category.clone_into(&mut torrent.category);
            self.api.control.torrents().change(self.api.control.ledger(), &hash, set).await?;
        }
        ok()
    }

    /// Adds stubs: all of the request or, if one of them is refused, none.
    async fn add(&self, form: &Form, asked: &Asked) -> Handled {
        let (control, torrents) = (&self.api.control, self.api.control.torrents());
        if control.completed().is_none() {
            return Err(conflict("this server downloads nothing: its configuration has no downloads block"));
        }
        let mut files = form.files.clone();
        for url in form.text("urls").lines().map(str::trim).filter(|url| !url.is_empty()) {
            if files.len() >= MOST_ADDED {
                return Err(Refusal::bad_request(format!("more than {MOST_ADDED} torrents are given")));
            }
            files.push(self.fetch(url, asked).await?);
        }
        if files.is_empty() {
            return Err(Refusal::bad_request("no torrent is given"));
        }
        let category = form.text("category");
        let mut folder = match (category, torrents.categories().get(category)) {
            ("", _) => String::new(),
            (_, Some(folder)) => folder.clone(),
            (new, None) => below(new)?,
        };
        if !form.text("savepath").is_empty() {
            folder = self.folder(form.text("savepath"))?;
        }
        let user = client_session(asked.headers()).and_then(|(_, user)| unhex(user));
        let added_on = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut new = Vec::new();
        for file in &files {
            let torrent = torrents.read(file)?;
            if let Some(peer) = PeerId::new(&torrent.peer)
                && !control.peers().list().iter().any(|known| known.id == peer.as_str())
            {
                return Err(TorrentError::UnknownPeer(peer).into());
            }
            let torrent = Torrent {
                category: category.to_owned(),
                folder: folder.clone(),
                server: user.as_deref().and_then(|user| torrents.server(user)),
                added_on,
                ..torrent
            };
            new.push((torrent, file.clone()));
        }
        if !category.is_empty() && !torrents.categories().contains_key(category) {
            torrents.put_category(control.ledger(), category, Some(below(category)?)).await?;
        }
        let stopped = form.is_true("paused") || form.is_true("stopped");
        let place = if stopped { StubPlace::Stopped } else { StubPlace::Queued };
        let home = control.ledger().fleet().map(|_| control.engine().owner().to_owned());
        for (torrent, stub) in new {
            // A request that is repeated adds nothing; what failed or is gone is new work.
            let known = match torrents.get(&torrent.hash) {
                Some(known) => Some(self.shown(known).await?.state),
                None => None,
            };
            if matches!(known, None | Some("error" | "missingFiles")) {
                let shared = home.clone().map(|home| SharedStub { home, place, why: None });
                let torrent = Torrent { stub: shared, ..torrent };
                torrents.add(control.ledger(), torrent, &stub, stopped).await?;
            }
        }
        ok()
    }

    /// The stub at a URL. One of this server's own Torznab is made here; any other one is fetched.
    async fn fetch(&self, url: &str, asked: &Asked) -> Result<Bytes, Refusal> {
        let refused = |what: String| Refusal::from(TorrentError::Url(what));
        let url = match Url::parse(url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            Ok(url) if url.scheme() == "magnet" => {
                return Err(refused("magnet links name no item of a peer: add the .torrent or its URL".to_owned()));
            }
            _ => return Err(refused("urls: expected the http or https URL of a .torrent on each line".to_owned())),
        };
        let (control, shown) = (&self.api.control, display_url(url.as_str()));
        let host = asked.headers().get(HOST).and_then(|host| host.to_str().ok());
        let asked_at = host.into_iter().flat_map(|host| ["http", "https"].map(|scheme| format!("{scheme}://{host}")));
        let own = control.torrents().own_url().into_iter().chain(asked_at);
        let fetched = match own_stub(&url, own) {
            Some((peer, item)) => control.stub(peer, &item).await.map(Bytes::from),
            None => fetch_stub(control.engine().host(), url.as_str()).await,
        };
        fetched.map_err(|error| refused(format!("no stub at {shown}: {}", chain(&error))))
    }

    /// The torrents of `hashes`; unknown ones are skipped, as by qBittorrent.
    fn selected(&self, form: &Form) -> Result<Vec<Torrent>, Refusal> {
        let hashes = form.need("hashes")?.to_ascii_lowercase();
        let mut torrents = self.api.control.torrents().list();
        torrents.retain(|torrent| hashes == "all" || hashes.split('|').any(|hash| hash == torrent.hash));
        Ok(torrents)
    }

    /// The status of a torrent's download, if there is one.
    async fn status(&self, torrent: &Torrent) -> Result<Option<(DownloadId, Status)>, Refusal> {
        let Some(id) = torrent.download else {
            return Ok(None);
        };
        match self.api.control.ledger().row(id).await {
            Ok(row) => Ok(Some((id, row.status))),
            Err(Error::NoSuchDownload(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn stop(&self, torrent: Torrent) -> Result<(), Refusal> {
        let control = self.api.control.clone();
        match self.status(&torrent).await? {
            Some((id, _)) => self.api.change(async move { control.pause(id).await.or_else(in_its_state) }).await,
            None if control.torrents().place(&torrent.hash) == StubPlace::Queued => {
                Ok(control.torrents().stop(control.ledger(), &torrent.hash).await?)
            }
            None => Ok(()),
        }
    }

    async fn start(&self, torrent: Torrent) -> Result<(), Refusal> {
        let control = self.api.control.clone();
        match self.status(&torrent).await? {
            Some((id, Status::Paused)) => self.api.change(async move { control.resume(id).await }).await,
            Some((id, Status::Failed | Status::Cancelled)) => {
                self.api.change(async move { control.retry(id).await }).await
            }
            Some(_) => Ok(()),
            None => Ok(control.torrents().start(control.ledger(), &torrent.hash).await?),
        }
    }

    /// Deletes a torrent. With files also its partial data and, if nobody has changed it since, the completed file. The row of
    /// a download that was left to a server, or is about to be, stays: it is not known yet if that server has imported it.
    async fn delete(&self, torrent: Torrent, with_files: bool) -> Result<(), Refusal> {
        let (hash, torrents) = (&torrent.hash, self.api.control.torrents());
        torrents.remove_stubs(hash).map_err(TorrentError::Io)?;
        // Its row may be made at this moment: then it has a download that it did not have before.
        while let Some(torrent) = torrents.get(hash) {
            self.delete_download(&torrent, with_files).await?;
            if torrents.forget(self.api.control.ledger(), hash, torrent.download).await? {
                break;
            }
        }
        lock(&self.rates).remove(hash);
        torrents.ask_soon();
        Ok(())
    }

    async fn delete_download(&self, torrent: &Torrent, with_files: bool) -> Result<(), Refusal> {
        let control = self.api.control.clone();
        if let Some((id, status)) = self.status(torrent).await? {
            match (status, with_files) {
                (Status::Completed | Status::ImportQueued | Status::Imported, true) => {
                    let entry = control.ledger().entry(id).await?;
                    let path = Path::new(&entry.row.new.destination);
                    let store = &control.engine().host().store;
                    if let Ok(Some(stamp)) = store.look_at(path).await {
                        match is_as_left(control.ledger(), &entry.row, entry.completed_stamp(), stamp).await? {
                            true => store.delete(path).await?,
                            false => tracing::warn!(id, "the file was changed since its download: it is not deleted"),
                        }
                    }
                    if status == Status::Completed && entry.import_state.is_some() {
                        self.api.change(async move { control.remove(id).await }).await?;
                    }
                }
                (_, true) => self.api.change(async move { control.remove(id).await }).await?,
                (
                    Status::Completed | Status::ImportQueued | Status::Imported | Status::Failed | Status::Cancelled,
                    false,
                ) => {}
                (_, false) => self.api.change(async move { control.cancel(id).await.or_else(in_its_state) }).await?,
            }
        }
        Ok(())
    }

    /// The torrent of `hash`, or 404.
    async fn one(&self, form: &Form) -> Result<ShownTorrent, Refusal> {
        let hash = form.need("hash")?.to_ascii_lowercase();
        match self.api.control.torrents().get(&hash) {
            Some(torrent) => self.shown(torrent).await,
            None => Err(Refusal::not_found("Not Found")),
        }
    }

    /// Hands out one torrent after the other, since there may be thousands. Returns the state of the server, which sums them up.
    async fn show_all(&self, mut show: impl FnMut(ShownTorrent) + Send) -> Result<Value, Refusal> {
        let (mut completed, mut per_second) = (0, 0);
        for torrent in self.api.control.torrents().list() {
            let shown = self.shown(torrent).await?;
            completed += shown.completed;
            per_second += shown.per_second;
            show(shown);
        }
        Ok(server_state(completed, per_second))
    }

    async fn info(&self, form: &Form) -> Handled {
        let (hashes, category) = (form.text("hashes").to_ascii_lowercase(), form.fields.get("category"));
        let by = form.text("sort");
        let mut found = Vec::new();
        let show = |shown: ShownTorrent| {
            let torrent = &shown.torrent;
            let is_wanted =
                (hashes.is_empty() || hashes == "all" || hashes.split('|').any(|hash| hash == torrent.hash))
                    && category.is_none_or(|category| *category == torrent.category)
                    && form.text("tag").is_empty()
                    && fits(form.text("filter"), &shown);
            if is_wanted {
                let json = shown.json(&self.save_path(&shown.torrent.folder));
                found.push((json[by].clone(), text(&json)));
            }
        };
        self.show_all(show).await?;
        if !by.is_empty() {
            found.sort_by(|(one, _), (other, _)| order(one, other));
        }
        if form.is_true("reverse") {
            found.reverse();
        }
        let number = |name: &str| form.text(name).parse::<i64>().unwrap_or(0);
        let (offset, limit, count) = (number("offset"), number("limit"), found.len());
        // A negative offset counts from the end.
        let skip = usize::try_from(offset).unwrap_or_else(|_| count.saturating_sub(offset.unsigned_abs() as usize));
        let take = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(count);
        let texts = found.into_iter().skip(skip).take(take).map(|(_, text)| text);
        Ok(Reply::json(&texts.collect::<Vec<_>>()))
    }

    async fn shown(&self, torrent: Torrent) -> Result<ShownTorrent, Refusal> {
        let _turn = self.api.turns.acquire().await;
        let control = &self.api.control;
        let entry = match torrent.download {
            Some(id) => match control.ledger().entry(id).await {
                Err(Error::NoSuchDownload(_)) => None,
                entry => Some(entry?),
            },
            None => None,
        };
        let name = torrent.stub_name();
        let is_local = entry.as_ref().and_then(|entry| entry.row.failure.as_ref());
        let is_local = is_local.is_some_and(|failure| is_of_this_machine(&failure.code));
        let download = entry.map(up_to_date);
        let mut error = download.as_ref().and_then(|download| download.error.clone());
        let state = match &download {
            Some(download) => match download.status {
                Status::Queued => "queuedDL",
                Status::Downloading => "downloading",
                Status::Waiting => "stalledDL",
                Status::Failed if is_local => "stalledDL",
                Status::Paused | Status::Cancelled => "stoppedDL",
                Status::Committing => "moving",
                Status::Completed | Status::ImportQueued | Status::Imported => "stoppedUP",
                Status::Failed => "error",
            },
            None => match control.torrents().place(&torrent.hash) {
                StubPlace::Queued => {
                    let is_known = control.peers().list().iter().any(|peer| peer.id == torrent.peer);
                    let unknown = || (!is_known).then(|| format!("no peer {} is configured", torrent.peer));
                    error = control.stubs().error(&name).or_else(unknown);
                    if error.is_some() { "stalledDL" } else { "queuedDL" }
                }
                StubPlace::Stopped => "stoppedDL",
                StubPlace::Failed => {
                    error = control.torrents().why_failed(&torrent.hash);
                    "error"
                }
                StubPlace::Gone => "missingFiles",
            },
        };
        let size = download.as_ref().and_then(|download| download.expected_bytes).unwrap_or(torrent.length);
        let completed = download.as_ref().map_or(0, |download| download.downloaded_bytes).min(size);
        let per_second = if state == "downloading" { self.rate(&torrent.hash, completed) } else { 0 };
        Ok(ShownTorrent { torrent, download, state, error, size, completed, per_second })
    }

    /// Bytes per second since an earlier request.
    fn rate(&self, hash: &str, bytes: u64) -> u64 {
        let mut rates = lock(&self.rates);
        let now = Instant::now();
        let rate = rates.entry(hash.to_owned()).or_insert(MeasuredRate { at: now, bytes, per_second: 0 });
        let passed = now.duration_since(rate.at);
        if passed >= RATE_OVER {
            let moved = u128::from(bytes.saturating_sub(rate.bytes)) * 1000 / passed.as_millis().max(1);
            *rate = MeasuredRate { at: now, bytes, per_second: u64::try_from(moved).unwrap_or(u64::MAX) };
        }
        rate.per_second
    }
}

/// A state that leaves nothing to do is fine.
fn in_its_state(error: Error) -> Result<(), Error> {
    match error {
        Error::WrongState { .. } | Error::NoSuchDownload(_) => Ok(()),
        error => Err(error),
    }
}

fn unhex(hex: &str) -> Option<String> {
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}
