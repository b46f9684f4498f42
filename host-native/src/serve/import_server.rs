//! Requests to Radarr and Sonarr: the command to import a file and the path that it carries, and this server's registration
//! there as Torznab indexer and as download client.
//!
//! Registration replaces what this server registered before, found by its address, and leaves what a user changed of it:
//! category, tags, names. What a server answers to a refused request is shown in full, without the keys in it.
//!
//! Radarr and Sonarr parse the name of the path and know nothing else of the release, so the path is that of the file, never
//! that of the folder of all files.

use crate::config::{ImportServer, ImportServerKind};
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::transport::HttpBody;
use regrip_core::error::{Timeout, chain};
use regrip_core::http::Head;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Headers, Response};
use regrip_core::{Error, display_url};
use serde_json::{Value, json};
use smol::future::FutureExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use surf::http::Method;
use url::Url;

/// How much of an answer is read, so that its connection ends in good order.
const MOST_READ_BYTES: usize = 64 << 10;

/// The largest answer that is used: a page of a queue or a history.
const LARGEST_ANSWER_BYTES: usize = 8 << 20;

/// How long an answer may take after its head.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How far the clock of a server may be behind ours.
const MOST_BEHIND: Duration = Duration::from_secs(600);

/// Most redirects of one request.
const MOST_REDIRECTS: u32 = 10;

/// Where commands go, below the URL base.
const ENDPOINT: &str = "/api/v3/command";

/// Returns `true` if a server imports releases of that category: 2xxx are films, 5xxx series.
pub(super) fn wants(server: &ImportServer, category: u32) -> bool {
    server.destination
        && match server.kind {
            ImportServerKind::Radarr => category / 1000 == 2,
            ImportServerKind::Sonarr => category / 1000 == 5,
        }
}

/// Has a server import the file at `path`, which is the path as that server sees it.
///
/// # Errors
/// `Status` with its `Retry-After`, `RedirectRefused` for a redirect that leads elsewhere, `Protocol` for an answer that is
/// neither that nor a success; else as the transport.
pub(super) async fn send(host: &NativeHost<impl NativeLedger>, server: &ImportServer, path: &str) -> Result<(), Error> {
    let name = match server.kind {
        ImportServerKind::Radarr => "DownloadedMoviesScan",
        ImportServerKind::Sonarr => "DownloadedEpisodesScan",
    };
    let command = json!({ "name": name, "path": path }).to_string();
    let (url, Response { status, headers, end, body }) =
        request(host, server, Method::Post, ENDPOINT, Some(command)).await?;
    match status {
        200..=299 => accepted(&url, &headers, body).await,
        400..=599 => {
            let retry_after = Head::read(status, &headers, end, host.clock.wall()).retry_after;
            Err(Error::Status { status, retry_after })
        }
        _ => Err(Error::Protocol(format!("the status is {status}"))),
    }
}

/// Sends a request to an endpoint, which begins with `/`, and follows redirects of its origin. Returns the URL that answered.
///
/// # Errors
/// `RedirectRefused`, `Protocol`; else as the transport.
async fn request(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    mut method: Method,
    endpoint: &str,
    mut body: Option<String>,
) -> Result<(Url, Response<HttpBody>), Error> {
    let url = format!("{}{endpoint}", server.url.trim_end_matches('/'));
    let mut url = Url::parse(&url).map_err(|error| Error::Protocol(format!("invalid address: {error}")))?;
    for _ in 0..=MOST_REDIRECTS {
        let response = host.transport.ask(method, url.as_str(), &server.headers, body.clone()).await?;
        let redirects = matches!(response.status, 301 | 302 | 303 | 307 | 308);
        if !redirects {
            return Ok((url, response));
        }
        let before = method;
        (method, url) = onward(&url, response.status, &response.headers, method, endpoint)?;
        if method != before {
            body = None;
        }
    }
    Err(Error::RedirectRefused(format!(
        "more than {MOST_REDIRECTS} of them, the last to {}",
        display_url(url.as_str())
    )))
}

async fn accepted(url: &Url, headers: &Headers, mut body: HttpBody) -> Result<(), Error> {
    let kind = headers.only("content-type").unwrap_or_default();
    if kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
        return Err(Error::Protocol(format!("{} is an HTML page and not the API", display_url(url.as_str()))));
    }
    let mut read = 0;
    // It is accepted: the rest of the answer changes nothing.
    while let Ok(Some(chunk)) = body.chunk().await {
        read += chunk.len();
        if read > MOST_READ_BYTES {
            break;
        }
    }
    Ok(())
}

/// The next request. It is sent again after a 307 or 308, and if the redirect leads to the same endpoint: a proxy that answers
/// 301, 302 or 303 has not forwarded it. Any other 303 names the result, which is requested.
fn onward(from: &Url, status: u16, headers: &Headers, method: Method, endpoint: &str) -> Result<(Method, Url), Error> {
    let location = headers.only("location").unwrap_or_default();
    let target = from.join(location).ok().filter(|_| !location.is_empty());
    let Some(mut target) = target else {
        let why = format!("the status is {status}, without a readable Location");
        return Err(Error::RedirectRefused(why));
    };
    target.set_fragment(None);
    let shown = display_url(target.as_str());
    if target.origin() != from.origin() {
        return Err(Error::RedirectRefused(format!("to {shown}, another origin, to which the key is not sent")));
    }
    let path = endpoint.split('?').next().unwrap_or(endpoint);
    let is_endpoint = target.path().trim_end_matches('/').ends_with(path);
    match status {
        307 | 308 => Ok((method, target)),
        _ if is_endpoint => Ok((method, target)),
        303 => Ok((Method::Get, target)),
        _ => Err(Error::RedirectRefused(format!("to {shown}, which is not {path}"))),
    }
}

/// A server's clock when it answered, by its `Date`, and ours at that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    pub(super) theirs: SystemTime,
    pub(super) ours: SystemTime,
}

impl ServerClock {
    /// The time by our clock at which the server's clock was at `theirs`. A clock that is far behind is not believed: the `Date` of
    /// an answer that a proxy kept is old too, and would make what is old look new.
    pub(super) fn to_ours(self, theirs: SystemTime) -> SystemTime {
        let corrected = match self.theirs.duration_since(self.ours) {
            Ok(ahead) => theirs.checked_sub(ahead),
            Err(behind) => theirs.checked_add(behind.duration().min(MOST_BEHIND)),
        };
        corrected.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerRefused {
    /// It could not be asked.
    #[error("{}", chain(.0))]
    Unreachable(#[from] Error),
    /// It said no.
    #[error("{endpoint} was answered with {status}: {answer}")]
    Answer { endpoint: String, status: u16, answer: String },
}

/// Sends a request to a server's API and returns its answer, `Null` if that is empty, and the server's clock. `secrets` are hidden in a
/// refusal.
///
/// # Errors
/// [`ServerRefused`]: `Answer` for a status of 400 and above and for an answer that is not JSON.
pub(super) async fn call(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    method: Method,
    endpoint: &str,
    body: Option<Value>,
    secrets: &[&str],
) -> Result<(Value, ServerClock), ServerRefused> {
    let body = body.map(|body| body.to_string());
    let (_, response) = request(host, server, method, endpoint, body).await?;
    let status = response.status;
    let ours = host.clock.wall();
    let theirs = response.headers.only("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let clock = ServerClock { theirs: theirs.unwrap_or(ours), ours };
    let read = all(response.body);
    let too_late = async {
        host.clock.sleep(ANSWER_WITHIN).await;
        Err(Error::Timeout { timeout: Timeout::Idle, after: ANSWER_WITHIN })
    };
    let bytes = read.or(too_late).await?;
    let json = match bytes.is_empty() {
        true => Some(Value::Null),
        false => serde_json::from_slice(&bytes).ok(),
    };
    match json {
        Some(json) if status < 300 => Ok((json, clock)),
        _ => {
            let endpoint = endpoint.split('?').next().unwrap_or(endpoint).to_owned();
            let bytes = bytes.get(..MOST_READ_BYTES).unwrap_or(&bytes);
            let mut answer = String::from_utf8_lossy(bytes).into_owned();
            let own = server.headers.iter().filter_map(|header| header.parts().1.to_str().ok());
            for secret in secrets.iter().copied().chain(own).filter(|secret| !secret.is_empty()) {
                answer = answer.replace(secret, "***");
            }
            Err(ServerRefused::Answer { endpoint, status, answer: shown_in_full(&answer) })
        }
    }
}

/// One line, without control characters.
fn shown_in_full(answer: &str) -> String {
    let spaced = answer.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    spaced.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn all(mut body: HttpBody) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(chunk);
        if bytes.len() > LARGEST_ANSWER_BYTES {
            return Err(Error::Protocol(format!("an answer of more than {LARGEST_ANSWER_BYTES} bytes")));
        }
    }
    Ok(bytes)
}

/// The priority of the download client in Radarr and Sonarr: the last one, so that it gets nothing of other indexers.
const CLIENT_PRIORITY: u32 = 50;
/// The name of both entries.
const NAME: &str = "regrip";

/// What a server is registered as.
#[derive(Debug)]
pub(super) struct OwnEntry<'a> {
    /// How this server is reached from there, without a slash at its end.
    pub(super) url: &'a str,
    /// Its key.
    pub(super) key: &'a str,
    /// The category of its downloads, if the entry has none yet.
    pub(super) category: &'a str,
}

/// Registers this server as download client, and as an indexer that is bound to it.
///
/// # Errors
/// [`ServerRefused`]; the download client may be registered already.
pub(super) async fn register(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    own: &OwnEntry<'_>,
) -> Result<(), ServerRefused> {
    let url = Url::parse(own.url).map_err(|error| Error::Protocol(format!("invalid address: {error}")))?;
    let category = match server.kind {
        ImportServerKind::Radarr => "movieCategory",
        ImportServerKind::Sonarr => "tvCategory",
    };
    let place = [
        ("host", json!(url.host_str().unwrap_or_default().trim_matches(['[', ']']))),
        ("port", json!(url.port_or_known_default())),
        ("useSsl", json!(url.scheme() == "https")),
        ("urlBase", json!(url.path().trim_end_matches('/'))),
    ];
    let (all, _) = call(host, server, Method::Get, "/api/v3/downloadclient", None, &[own.key]).await?;
    let known = find(&all, "QBittorrent", |entry| place.iter().all(|(name, value)| is_same(field(entry, name), value)));
    let category_of = known.and_then(|entry| field(entry, category)?.as_str()).filter(|category| !category.is_empty());
    let mut fields = place.to_vec();
    fields.extend([
        ("username", json!(server.name)),
        ("password", json!(own.key)),
        (category, json!(category_of.unwrap_or(own.category))),
    ]);
    let client = json!({
        "implementation": "QBittorrent", "implementationName": "qBittorrent", "configContract": "QBittorrentSettings",
        "protocol": "torrent", "priority": CLIENT_PRIORITY,
    });
    let defaults =
        json!({ "enable": true, "removeCompletedDownloads": true, "removeFailedDownloads": true, "tags": [] });
    let client = entry(&all, known, &url, client, defaults, &fields);
    let saved = save(host, server, "/api/v3/downloadclient", client, own.key).await?;

    let torznab = format!("{}/torznab", own.url);
    let (all, _) = call(host, server, Method::Get, "/api/v3/indexer", None, &[own.key]).await?;
    let known = find(&all, "Torznab", |entry| is_same(field(entry, "baseUrl"), &json!(torznab)));
    let category = match server.kind {
        ImportServerKind::Radarr => 2000,
        ImportServerKind::Sonarr => 5000,
    };
    let mut fields = vec![("baseUrl", json!(torznab)), ("apiPath", json!("/api")), ("apiKey", json!(own.key))];
    if known.is_none() {
        fields.extend([("categories", json!([category])), ("minimumSeeders", json!(0))]);
    }
    let indexer = json!({
        "implementation": "Torznab", "implementationName": "Torznab", "configContract": "TorznabSettings",
        "protocol": "torrent", "priority": server.autoregister.priority, "downloadClientId": saved["id"],
    });
    let defaults = json!({
        "enableRss": true, "enableAutomaticSearch": true, "enableInteractiveSearch": true, "tags": [],
    });
    let indexer = entry(&all, known, &url, indexer, defaults, &fields);
    save(host, server, "/api/v3/indexer", indexer, own.key).await?;
    Ok(())
}

/// The first entry of an implementation that is this server's.
fn find<'a>(all: &'a Value, implementation: &str, is_own: impl Fn(&Value) -> bool) -> Option<&'a Value> {
    let mut entries = all.as_array().into_iter().flatten();
    entries.find(|entry| entry["implementation"] == implementation && is_own(entry))
}

/// The value of an entry's field.
fn field<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = entry["fields"].as_array()?;
    fields.iter().find(|field| field["name"] == name).map(|field| &field["value"])
}

/// Compares without a slash at the end; a text that is missing is empty.
fn is_same(found: Option<&Value>, wanted: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    match (found, wanted) {
        (found, Value::String(_)) => found.map(text).unwrap_or_default() == text(wanted),
        (found, wanted) => found.unwrap_or(&Value::Bool(false)) == wanted,
    }
}

/// The entry to be saved: the known one with what this server decides, or a new one with a name that is free.
fn entry(
    all: &Value,
    known: Option<&Value>,
    url: &Url,
    own: Value,
    defaults: Value,
    fields: &[(&str, Value)],
) -> Value {
    let is_taken = |name: &str| all.as_array().into_iter().flatten().any(|entry| entry["name"] == name);
    let mut entry = known.cloned().unwrap_or_else(|| {
        let name = match is_taken(NAME) {
            true => {
                format!("{NAME} ({}:{})", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0))
            }
            false => NAME.to_owned(),
        };
        let mut new = defaults;
        new["name"] = json!(name);
        new["fields"] = json!([]);
        new
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        entry[name] = value.clone();
    }
    if let Some(listed) = entry["fields"].as_array_mut() {
        for (name, value) in fields {
            match listed.iter_mut().find(|field| field["name"] == *name) {
                Some(field) => field["value"] = value.clone(),
                None => listed.push(json!({ "name": name, "value": value })),
            }
        }
    }
    entry
}

/// Saves an entry, after the server has tested it. What it only warns about is logged, and the entry is saved.
async fn save(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    endpoint: &str,
    entry: Value,
    key: &str,
) -> Result<Value, ServerRefused> {
    let (method, endpoint) = match entry["id"].as_u64() {
        Some(id) => (Method::Put, format!("{endpoint}/{id}")),
        None => (Method::Post, endpoint.to_owned()),
    };
    let send = |force: bool| {
        let (endpoint, entry) = (format!("{endpoint}?forceSave={force}"), entry.clone());
        async move { call(host, server, method, &endpoint, Some(entry), &[key]).await.map(|(answer, _)| answer) }
    };
    let saved = match send(false).await {
        Err(ServerRefused::Answer { status: 400, answer, .. }) if are_warnings(&answer) => {
            tracing::warn!(server = server.name, answer, "registered in spite of warnings");
            send(true).await
        }
        sent => sent,
    }?;
    match saved["id"].is_u64() {
        true => Ok(saved),
        false => Err(Error::Protocol(format!("{endpoint} was answered without the id of the entry")).into()),
    }
}

/// Returns `true` if an answer lists warnings and no errors.
fn are_warnings(answer: &str) -> bool {
    let listed: Vec<Value> = serde_json::from_str(answer).unwrap_or_default();
    !listed.is_empty() && listed.iter().all(|failure| failure["isWarning"] == true)
}

/// The path of `file` for a server that sees the folder `completed` at `import_path`, or at the same path without one.
///
/// # Errors
/// `Protocol` if the file is not below `completed` and so `import_path` does not lead to it.
pub(super) fn seen(file: &str, completed: &Path, import_path: Option<&str>) -> Result<String, Error> {
    let path = Path::new(file);
    // A row has its folder's canonical path, the configuration may name it by a link.
    let below = path.strip_prefix(completed).ok().or_else(|| {
        let canonical = completed.canonicalize().ok()?;
        path.strip_prefix(canonical).ok()
    });
    match (below, import_path) {
        (Some(below), Some(root)) => Ok(join(root, below)),
        (Some(below), None) => Ok(completed.join(below).display().to_string()),
        (None, None) => Ok(file.to_owned()),
        (None, Some(_)) => Err(Error::Protocol(format!(
            "{file} is not below downloads.completedPath, so importPath does not lead to it"
        ))),
    }
}

/// Joins in the style of `root`, which may be a path of Windows.
fn join(root: &str, below: &Path) -> String {
    let separator = separator(root);
    let mut joined = root.trim_end_matches(separator).to_owned();
    for name in below.iter() {
        joined.push(separator);
        joined.push_str(&name.to_string_lossy());
    }
    joined
}

/// `\` for `\\host\share`, `D:\films`, `D:` and `films\new`, else `/`.
fn separator(root: &str) -> char {
    let is_unix = root.starts_with('/');
    let is_bare_drive = matches!(root.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    match !is_unix && (root.contains('\\') || is_bare_drive) {
        true => '\\',
        false => '/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_follows_redirects_of_its_origin_and_names_every_other_target() {
        let from = Url::parse("http://nas:7878/api/v3/command").unwrap();
        let post = |url: &str| Ok((Method::Post, Url::parse(url).unwrap()));
        let get = |url: &str| Ok((Method::Get, Url::parse(url).unwrap()));
        let table = [
            (307, "/radarr/api/v3/command", post("http://nas:7878/radarr/api/v3/command")),
            (308, "/elsewhere?a=b", post("http://nas:7878/elsewhere?a=b")),
            (301, "/radarr/api/v3/command/", post("http://nas:7878/radarr/api/v3/command/")),
            (302, "http://nas:7878/r/api/v3/command", post("http://nas:7878/r/api/v3/command")),
            (303, "/radarr/api/v3/command", post("http://nas:7878/radarr/api/v3/command")),
            (303, "command/17", get("http://nas:7878/api/v3/command/17")),
            (302, "/login?returnUrl=secret", Err("to http://nas:7878/login, which")),
            (307, "https://nas:7878/api/v3/command", Err("to https://nas:7878/api/v3/command, another")),
            (308, "http://nas/api/v3/command?k=secret", Err("to http://nas/api/v3/command, another")),
            (301, "//other/api/v3/command", Err("to http://other/api/v3/command, another")),
            (307, "ftp://nas:7878/", Err("to ftp://nas:7878/, another")),
            (307, "", Err("the status is 307, without")),
            (307, "http://", Err("the status is 307, without")),
        ];
        for (status, location, expected) in table {
            let headers = [("location", location)].into_iter().collect();
            let next = onward(&from, status, &headers, Method::Post, ENDPOINT);
            match (next, expected) {
                (Ok(next), Ok(expected)) => assert_eq!(next, expected, "{status} {location}"),
                (Err(error), Err(why)) => {
                    let text = error.to_string();
                    assert!(text.contains(why) && !text.contains("secret"), "{text}");
                }
                (next, _) => panic!("{status} {location}: {next:?}"),
            }
        }
    }

    #[test]
    fn a_file_is_named_as_the_server_sees_it_with_the_separator_of_its_system() {
        let completed = Path::new("/srv/completed");
        let table = [
            (None, "/srv/completed/films/Film.mkv"),
            (Some("/data"), "/data/films/Film.mkv"),
            (Some("/data/"), "/data/films/Film.mkv"),
            (Some("/"), "/films/Film.mkv"),
            (Some("/odd\\name"), "/odd\\name/films/Film.mkv"),
            (Some("\\\\nas\\films"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("\\\\nas\\films\\"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("D:\\"), "D:\\films\\Film.mkv"),
            (Some("D:"), "D:\\films\\Film.mkv"),
            (Some("D:\\new films"), "D:\\new films\\films\\Film.mkv"),
            (Some("D:/films"), "D:/films/films/Film.mkv"),
        ];
        for (import_path, wanted) in table {
            let found = seen("/srv/completed/films/Film.mkv", completed, import_path);
            assert_eq!(found.unwrap(), wanted, "{import_path:?}");
        }
    }

    #[test]
    fn a_completed_folder_that_is_named_by_a_link_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("disk 2");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("completed");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let file = real.canonicalize().unwrap().join("Film.mkv");
        let file = file.to_str().unwrap();
        assert_eq!(seen(file, &link, Some("/data")).unwrap(), "/data/Film.mkv");
        let itself = link.join("Film.mkv").display().to_string();
        assert_eq!(seen(file, &link, None).unwrap(), itself);
    }

    #[test]
    fn a_file_elsewhere_is_named_by_its_own_path_or_not_at_all() {
        let completed = Path::new("/srv/completed");
        let file = "/srv/completed 2/Film.mkv";
        assert_eq!(seen(file, completed, None).unwrap(), file);
        assert!(seen(file, completed, Some("/data")).is_err());
    }
}
