//! `regrip migrate`: takes over what jack has not finished. Its configuration is used as it is: peers and secrets stay in it.

use super::output::{CommandResult, Exit, failed};
use super::serve::{data_folder, read_config};
use super::{state, text};
use crate::config::{Config, Peer};
use crate::control::{CLIENT_PREFIX, Torrent};
use crate::ledger::{JackDownload, JackStatus, ServeTables, TakenOver, read_jack};
use crate::peers::{id_of, source_of};
use crate::serve::DataFolder;
use crate::store::{FileStamp, destination, part_path};
use regrip_core::error::chain;
use regrip_core::hasher::Hasher;
use regrip_core::record::NewDownload;
use regrip_core::{Algorithm, OnExists, SafeName, shown};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// Arguments of `migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stop jack first. Its configuration and database are not changed. The partial data of unfinished
downloads stays where it is: `regrip serve` compares its end with the peer's file and resumes. Keys
that jack issued to peers are taken over, so that peers need no new ones. A second run takes over
only what is new.

Example:
  regrip migrate --from /config/config.jsonc /config/database.sqlite
  regrip serve --config /config/config.jsonc

Exit codes: 0 all taken over, 1 some downloads were not, 2 wrong usage, 3 disk or database unusable.")]
pub(crate) struct Migrate {
    /// The configuration of jack, which `regrip serve --config` reads as it is
    #[arg(long, value_name = "CONFIG")]
    pub from: PathBuf,

    /// The database of jack: database.sqlite beside its configuration
    #[arg(value_name = "DATABASE")]
    pub database: PathBuf,
}

/// Runs the command.
pub(super) fn main(args: &Migrate) -> CommandResult {
    let config = read_config(&args.from)?.config;
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
    };
    Some((hash, serde_json::to_value(torrent).ok()?))
}
