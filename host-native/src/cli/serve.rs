//! `regrip serve`, and `regrip check-config`, which prints what is wrong with a configuration and its effective settings.
//!
//! `regrip migrate` takes over what jack has not finished. Its configuration is used as it is: peers and secrets stay in it.

use super::output::{CommandResult, Exit, failed};
use super::{get, text};
use crate::config::{Config, ConfigRefused, Loaded, Peer, Problem, data_folder_clash, load};
use crate::control::{CLIENT_PREFIX, Torrent};
#[cfg(feature = "fleet")]
use crate::ledger::PostgresLedger;
use crate::ledger::{JackDownload, JackStatus, TakenOver, read_jack};
use crate::peers::{id_of, source_of};
use crate::serve::{self, DataFolder, DataFolderRefused, LogFormat, ServeError, ServeOptions};
use crate::state;
use crate::store::{FileStamp, destination, part_path};
use regrip_core::error::chain;
use regrip_core::hasher::Hasher;
use regrip_core::record::NewDownload;
use regrip_core::{Algorithm, OnExists, SafeName, display_url, redacted, shown};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
SIGHUP reloads the configuration: peers, servers and limits change at once. SIGTERM and Ctrl-C stop
the server within 10 s, with exit code 0; the next start resumes. A second signal stops it at once.

`regrip check-config FILE` validates a configuration.

Example:
  regrip serve --config /etc/regrip/config.jsonc"))]
pub(crate) struct Serve {
    /// The configuration: JSON with comments
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Format of the log on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// Arguments of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
Errors have the key, the line, the value and what was expected. Secrets are not printed.

Example:
  regrip check-config /etc/regrip/config.jsonc"))]
pub(crate) struct CheckConfig {
    /// The configuration
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub file: Option<PathBuf>,

    /// The same, as for `serve`
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn main(args: &Serve) -> CommandResult {
    let loaded = read_config(&args.config)?;
    let options = options(args, loaded).map_err(|text| (Exit::Usage, text))?;
    match serve::serve(options) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            let text = text::with_advice(&chain(&error), advice(&error));
            Err((exit(&error), text))
        }
    }
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, and its warnings, on one line each.
pub(super) fn read_config(file: &Path) -> CommandResult<Loaded> {
    load(file).map_err(|refused| {
        let text = match refused {
            ConfigRefused::Wrong { errors, warnings } => {
                print_warnings(file, &warnings);
                let lines = errors.iter().map(|error| format!("{}: {error}", file.display()));
                lines.collect::<Vec<_>>().join(
                    "
regrip: ",
                )
            }
            refused => format!("{}: {refused}", file.display()),
        };
        (Exit::Usage, text)
    })
}

fn print_warnings(file: &Path, warnings: &[Problem]) {
    for warning in warnings {
        say!("regrip: warning: {}: {warning}", file.display());
    }
}

fn options(args: &Serve, loaded: Loaded) -> Result<ServeOptions, String> {
    let data_folder = data_folder(&loaded.config)?;
    let proxies = get::proxies(None, |name| std::env::var(name).ok())?;
    let peers = loaded.config.peers.iter().map(|peer| &peer.url);
    let servers = loaded.config.import_servers.iter().map(|server| &server.url);
    for url in peers.chain(servers).filter_map(|url| url.parse().ok()) {
        let way = proxies.check(&url);
        way.map_err(|unusable| get::unusable_proxy(&unusable))?;
    }
    Ok(ServeOptions { file: args.config.clone(), loaded, data_folder, proxies, log: args.log })
}

/// The folder of a server's ledger.
///
/// # Errors
/// A sentence, if neither the configuration nor the environment names one.
pub(crate) fn data_folder(config: &Config) -> Result<PathBuf, String> {
    if let Some(folder) = &config.server.data_dir {
        return Ok(folder.clone());
    }
    let ours =
        state::path(None).map_err(|_| "neither XDG_STATE_HOME nor HOME is set; name a folder by regrip.dataDir")?;
    // Not the one of `get`: the server resumes every download of its ledger.
    Ok(ours.with_file_name("serve"))
}

/// The ledger of a configuration's `regrip.ledger`, if it has one: its downloads and keys are not in the state file then.
///
/// # Errors
/// Why it cannot be used.
#[cfg(feature = "fleet")]
pub(super) fn shared_ledger(config: &Config) -> CommandResult<Option<PostgresLedger>> {
    let Some(postgres) = &config.server.postgres else {
        return Ok(None);
    };
    let ledger = PostgresLedger::open(postgres.url.reveal(), postgres.lease).map_err(ServeError::from);
    ledger.map(Some).map_err(|error| (exit(&error), text::with_advice(&chain(&error), advice(&error))))
}

/// Refuses a configuration whose ledger this program cannot use.
///
/// # Errors
/// It has `regrip.ledger`.
#[cfg(not(feature = "fleet"))]
pub(super) fn shared_ledger(config: &Config) -> CommandResult<()> {
    match config.server.postgres {
        None => Ok(()),
        Some(_) => {
            let error = ServeError::NoPostgres;
            Err((exit(&error), text::with_advice(&chain(&error), advice(&error))))
        }
    }
}

fn exit(error: &ServeError) -> Exit {
    match error {
        ServeError::DataFolder(_)
        | ServeError::Ledger(_)
        | ServeError::Core(_)
        | ServeError::Storage(_)
        | ServeError::System(_) => Exit::Unusable,
        #[cfg(feature = "fleet")]
        ServeError::Database(refused) if !refused.is_of_settings() => Exit::Unusable,
        _ => Exit::Usage,
    }
}

fn advice(error: &ServeError) -> Option<&'static str> {
    match error {
        ServeError::DataFolder(DataFolderRefused::InUse { .. }) => {
            Some("stop that one, or give this one its own folder by regrip.dataDir")
        }
        ServeError::DataFolder(_) | ServeError::Ledger(_) => Some("name another folder by regrip.dataDir"),
        ServeError::Listen { .. } => Some("name another address by regrip.listen"),
        ServeError::NoKey(_) => Some("set regrip.apiKey, or listen at 127.0.0.1"),
        ServeError::Core(error) => text::advice(error),
        ServeError::NoPostgres => Some("cargo install with --features fleet, or use the Debian package"),
        _ => None,
    }
}

/// Runs `check-config`.
pub(super) fn check_config(args: &CheckConfig) -> CommandResult {
    let Some(file) = args.config.as_ref().or(args.file.as_ref()) else {
        return Ok(Exit::Usage); // clap requires one of the two
    };
    let Loaded { config, warnings } = read_config(file)?;
    print_warnings(file, &warnings);
    let data_folder = data_folder(&config).ok();
    if let Some(clash) = data_folder.and_then(|folder| data_folder_clash(&config, &folder)) {
        return Err((Exit::Usage, format!("{}: {clash}", file.display())));
    }
    out!("{}", summary(&config).trim_end());
    Ok(Exit::Done)
}

/// The effective settings. Of a secret it only says that there is one.
fn summary(config: &Config) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{label:<10} {text}");
    };
    match &config.downloads {
        Some(downloads) => {
            let watch = downloads.watch.as_ref().map(|watch| watch.display().to_string());
            line("watch", watch.unwrap_or_else(|| "no folder".to_owned()));
            line("completed", downloads.completed.display().to_string());
        }
        None => line("downloads", "none".to_owned()),
    }
    let key = if config.server.api_key.is_some() { "with an apiKey" } else { "this machine only" };
    line("listen", format!("{}, {key}", config.server.listen));
    if let Some(folder) = &config.server.data_dir {
        line("data", folder.display().to_string());
    }
    if let Some(postgres) = &config.server.postgres {
        line("ledger", format!("a Postgres database, with leases of {} ms", postgres.lease.as_millis()));
    }
    for peer in &config.peers {
        let (id, url) = (&peer.id, display_url(&peer.url));
        let sent = sent(peer.headers.iter().map(|header| header.name()));
        line("peer", format!("{} ({id}) at {url}, {sent}", peer.name));
    }
    for server in &config.import_servers {
        let (kind, url) = (server.kind.name(), display_url(&server.url));
        let sent = sent(server.headers.iter().map(|header| header.name()));
        let name = text::plain(&server.name);
        line(kind, format!("{name} at {url}, {sent}"));
    }
    for folder in &config.share {
        line("share", folder.display().to_string());
    }
    for key in &config.server.share_keys {
        line("share key", key.name.clone());
    }
    for (label, command) in [("onComplete", &config.hooks.on_complete), ("onFail", &config.hooks.on_fail)] {
        if let Some(command) = command {
            line(label, format!("a command, {}", redacted(command)));
        }
    }
    lines
}

/// How many headers are sent. Their names are not printed: a user chose them.
fn sent<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let has_key = names.contains(&"x-api-key");
    let others = names.len() - usize::from(has_key);
    let others = text::count(u32::try_from(others).unwrap_or(u32::MAX), "header");
    match (has_key, names.len()) {
        (_, 0) => "no headers".to_owned(),
        (true, 1) => "with an apiKey".to_owned(),
        (true, _) => format!("with an apiKey and {others}"),
        (false, _) => format!("with {others}"),
    }
}

/// Arguments of `migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
Stop jack first. Its configuration and database are not changed. The partial data of unfinished
downloads stays where it is: `regrip serve` compares its end with the peer's file and resumes. Keys
that jack issued to peers are taken over, so that peers need no new ones. A second run takes over
only what is new.

Example:
  regrip migrate --from /config/config.jsonc /config/database.sqlite
  regrip serve --config /config/config.jsonc

Exit codes: 0 all taken over, 1 some downloads were not, 2 wrong usage, 3 disk or database unusable."))]
pub(crate) struct Migrate {
    /// The configuration of jack, which `regrip serve --config` reads as it is
    #[arg(long, value_name = "CONFIG")]
    pub from: PathBuf,

    /// The database of jack: database.sqlite beside its configuration
    #[arg(value_name = "DATABASE")]
    pub database: PathBuf,
}

/// Runs `migrate`.
pub(super) fn migrate(args: &Migrate) -> CommandResult {
    let config = read_config(&args.from)?.config;
    if config.server.postgres.is_some() {
        let line = format!(
            "{}: jack's downloads are taken over into a state file, not into regrip.ledger",
            args.from.display()
        );
        return Err((Exit::Usage, line));
    }
    let folder = data_folder(&config).map_err(|text| (Exit::Unusable, text))?;
    let folder = DataFolder::lock(&folder).map_err(|error| {
        let line = chain(&error);
        (Exit::Unusable, text::with_advice(&line, Some("stop that server, then migrate")))
    })?;
    let what = format!("nothing is taken over from {}", args.database.display());
    let (downloads, keys) = read_jack(&args.database, folder.path())
        .map_err(|refused| failed::<String>(Exit::Unusable, &what)(chain(&refused)))?;
    let mut left = Vec::new();
    let mut taken = Vec::new();
    for download in one_a_file(downloads) {
        match take_over(&download, &config) {
            Ok(None) => {}
            Ok(Some(new)) => taken.push(new),
            Err(why) => left.push((download, why)),
        }
    }
    let ledger = state::open_at(&folder.ledger()).map_err(|text| (Exit::Unusable, text))?;
    let added = smol::block_on(ledger.take_over(taken.clone(), keys.clone()));
    let (new_downloads, new_keys) = added.map_err(|error| failed::<String>(Exit::Unusable, &what)(chain(&error)))?;
    let count = |count: usize, what: &str| text::count(u32::try_from(count).unwrap_or(u32::MAX), what);
    out!(
        "took over {} of {} and {} of {} of peers",
        new_downloads,
        count(taken.len(), "unfinished download"),
        new_keys,
        count(keys.len(), "key")
    );
    for new in &taken {
        out!("  {}: {}", text::plain(&new.new.destination), progress(new));
    }
    for (download, why) in &left {
        say!("regrip: not taken over: {}: {why}", text::plain(&download.destination.display().to_string()));
    }
    out!("next: regrip serve --config {}", args.from.display());
    if config.server.listen.ip().is_loopback() {
        out!("  it listens at {}; jack listened on all addresses: see regrip.listen", config.server.listen);
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}

fn progress(new: &TakenOver) -> String {
    let part = std::fs::symlink_metadata(&new.new.part).map(|part| part.len());
    let size = new.new.release_size.unwrap_or_default();
    match (new.complete, part) {
        (Some(_), _) => "complete, not imported yet".to_owned(),
        (None, Ok(part)) => format!("{part} of {size} bytes"),
        (None, Err(_)) => "no partial data".to_owned(),
    }
}

/// The newest row of each file; one that is under way goes before those that are over.
fn one_a_file(downloads: Vec<JackDownload>) -> Vec<JackDownload> {
    let mut by_file: BTreeMap<PathBuf, JackDownload> = BTreeMap::new();
    for download in downloads {
        let before = by_file.get(&download.destination);
        let is_under_way = |one: &JackDownload| one.status == JackStatus::Downloading;
        if before.is_none_or(|before| is_under_way(&download) || !is_under_way(before)) {
            by_file.insert(download.destination.clone(), download);
        }
    }
    by_file.into_values().collect()
}

/// What a download becomes; `None` if nothing is left of a failed one.
///
/// # Errors
/// Why it cannot go on here.
fn take_over(download: &JackDownload, config: &Config) -> Result<Option<TakenOver>, String> {
    let peer = config.peers.iter().find(|peer| peer.id.as_str() == download.peer_id);
    let peer = peer.ok_or_else(|| {
        let name = shown(&download.peer_name);
        format!("its peer {name:?} ({}) is not in the configuration", shown(&download.peer_id))
    })?;
    let name = download.destination.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    SafeName::new(name).map_err(|error| error.to_string())?;
    let folder = download.destination.parent().filter(|folder| folder.is_absolute());
    let folder = folder.ok_or("its path is not absolute")?;
    let to = destination(folder, name).map_err(|error| chain(&error))?;
    let part = part_path(&to);
    let complete = match download.status {
        JackStatus::ImportQueued => {
            let stamp = FileStamp::of(&to).map_err(|error| chain(&error))?;
            Some(stamp.ok_or("it is complete, but its file is gone")?)
        }
        JackStatus::Failed if !part.exists() => return Ok(None),
        JackStatus::Downloading | JackStatus::Failed => None,
    };
    let new = new_download(download, peer, to.display().to_string(), part.display().to_string());
    let client_record = client_record(download, config);
    let stub_name = match &client_record {
        Some((hash, _)) => format!("{CLIENT_PREFIX}{hash}.torrent"),
        None => download.stub_name.clone(),
    };
    let failed = download.status == JackStatus::Failed;
    Ok(Some(TakenOver {
        new: new.map_err(|error| error.to_string())?,
        release_json: download.release_json.clone(),
        stub_name,
        client_record,
        created_at: download.started_at,
        failed: failed.then(|| download.error.clone().unwrap_or_else(|| "it failed under jack".to_owned())),
        complete,
    }))
}

fn new_download(
    download: &JackDownload,
    peer: &Peer,
    destination: String,
    part: String,
) -> Result<NewDownload, regrip_core::Error> {
    Ok(NewDownload {
        source: source_of(peer, &download.item_id)?,
        mirrors: Vec::new(),
        header_names: peer.headers.iter().map(|header| header.name().to_owned()).collect(),
        destination,
        part,
        on_exists: OnExists::Overwrite,
        // No row of this ledger knows its part: the end of it is compared before anything is appended.
        adopt: true,
        release_size: Some(download.release_size),
        digests: Vec::new(),
    })
}

/// The record by which Radarr and Sonarr, which added the download to jack's download client, find it at regrip's.
fn client_record(download: &JackDownload, config: &Config) -> Option<(String, Value)> {
    let (category, server) = download.client.clone()?;
    let release: Value = serde_json::from_str(&download.release_json).ok()?;
    let name = release.get("title")?.as_str()?.to_owned();
    let length = download.release_size;
    // The `info` of jack's stubs, whose hash they remember.
    let mut info =
        format!("d6:lengthi{length}e4:name{}:{name}12:piece lengthi262144e6:pieces20:", name.len()).into_bytes();
    info.extend([0; 20]);
    info.push(b'e');
    let hash = Hasher::of(Algorithm::Sha1, &info).hex;
    let server = config.import_servers.iter().find(|known| id_of(&known.url).as_str() == server);
    let added = download.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let torrent = Torrent {
        hash: hash.clone(),
        name,
        length,
        peer: download.peer_id.clone(),
        item: download.item_id.clone(),
        category,
        folder: String::new(),
        server: server.map(|server| server.name.clone()),
        added_on: added.as_secs(),
        download: None,
        fault: None,
        stub: None,
    };
    Some((hash, serde_json::to_value(torrent).ok()?))
}
