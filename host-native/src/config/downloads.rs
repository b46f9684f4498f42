//! The `downloads` block.

use super::model::{Config, Downloads};
use super::object::{Block, Node, Notes, flag, list, number, path, text, written};
use crate::store::{checked_object, is_object, is_same_folder};
use regrip_core::{Connections, DownloadsConfig, OnExists};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Count = fn(&mut DownloadsConfig) -> &mut u32;
type Amount = fn(&mut DownloadsConfig) -> &mut u64;

const COUNTS: [(&str, Count); 5] = [
    ("maxConcurrentDownloads", |config| &mut config.max_concurrent_downloads),
    ("maxDownloadAttempts", |config| &mut config.max_download_attempts),
    ("maxTotalAttempts", |config| &mut config.max_total_attempts),
    ("breakerFailures", |config| &mut config.breaker_failures),
    ("connectionsPerOrigin", |config| &mut config.connections_per_origin),
];

const AMOUNTS: [(&str, Amount); 12] = [
    ("retryBaseDelayMs", |config| &mut config.retry_base_delay_ms),
    ("retryMaxDelayMs", |config| &mut config.retry_max_delay_ms),
    ("connectTimeoutMs", |config| &mut config.connect_timeout_ms),
    ("headersTimeoutMs", |config| &mut config.headers_timeout_ms),
    ("idleTimeoutMs", |config| &mut config.idle_timeout_ms),
    ("lowSpeedBytesPerSec", |config| &mut config.low_speed_bytes_per_sec),
    ("lowSpeedWindowMs", |config| &mut config.low_speed_window_ms),
    ("maxDownloadBytes", |config| &mut config.max_download_bytes),
    ("resumeOverlapBytes", |config| &mut config.resume_overlap_bytes),
    ("progressResetBytes", |config| &mut config.progress_reset_bytes),
    ("peerPatienceMs", |config| &mut config.peer_patience_ms),
    ("windowBytes", |config| &mut config.window_bytes),
];

/// How often import servers are asked what they have imported, and at most how often.
const IMPORT_POLL_INTERVAL: Duration = Duration::from_secs(30);
const LEAST_IMPORT_POLL_MS: u64 = 1000;

/// Reads the block.
pub(super) fn downloads(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<Downloads> {
    let mut block = Block::open(node, notes)?;
    let watch_at = block.take("watchPath");
    let completed = block.need("completedPath", "the folder that files go to", notes);
    let (engine, on_exists_given) = engine(&mut block, node, notes);
    let is_shared = block.take("completedPathIsShared").and_then(|knob| flag(&knob, notes)).unwrap_or(false);
    let blocklist_failed = block.take("blocklistFailed").and_then(|knob| flag(&knob, notes)).unwrap_or(true);
    let unlink_imported_files = block.take("unlinkImportedFiles").and_then(|knob| flag(&knob, notes)).unwrap_or(false);
    let import_poll_interval = import_poll_interval(&mut block, notes);
    let limit_rate = block.take("limitRate").and_then(|knob| limit_rate(&knob, notes));
    let file_mode = block.take("fileMode").and_then(|knob| file_mode(&knob, notes));
    block.close(notes);
    let completed_at = completed?;
    let watch = watch_at.and_then(|at| path(&at, notes));
    let completed = completed_path(&completed_at, notes)?;
    if let Some(watch) = &watch {
        if is_same_folder(watch, &completed) {
            completed_at.refuse("another folder than watchPath", notes);
        } else if is_same_folder(&watch.join("failed"), &completed) {
            completed_at.refuse("another folder than failed in watchPath", notes);
        }
    }
    Some(Downloads {
        watch,
        completed,
        completed_is_shared: is_shared,
        engine,
        blocklist_failed,
        import_poll_interval,
        unlink_imported_files,
        limit_rate,
        file_mode,
        on_exists_given,
    })
}

/// A folder, or a prefix in object storage.
fn completed_path(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<PathBuf> {
    match written(node).filter(|text| is_object(text.as_ref())) {
        Some(text) => {
            let checked = checked_object(text.as_ref(), "/name");
            checked.map_err(|why| notes.error(node.at, &node.key, why.lines().next().unwrap_or_default())).ok()
        }
        None => path(node, notes),
    }
}

/// Reads a rate in bytes per second, with or without a unit, as curl does: `500k`, `2M`, `1G`, in powers of 1024.
pub(crate) fn bytes_per_second(written: &str) -> Option<NonZeroU64> {
    let (digits, unit) = match written.char_indices().last() {
        Some((at, 'k' | 'K')) => (&written[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&written[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&written[..at], 1 << 30),
        _ => (written, 1_u64),
    };
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.parse::<u64>().ok().filter(|_| only_digits);
    NonZeroU64::new(bytes?.checked_mul(unit)?)
}

/// Reads permissions in octal, such as `640`; `None` for anything else, and if the owner could not read and write the file.
pub(crate) fn permissions(written: &str) -> Option<u32> {
    let digits = (3..=4).contains(&written.len()) && written.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(written, 8).ok().filter(|_| digits)?;
    (mode <= 0o777 && mode & 0o600 == 0o600).then_some(mode)
}

/// A number of bytes per second, or text as `regrip get --limit-rate` takes it.
fn limit_rate(knob: &Node<'_>, notes: &mut Notes<'_>) -> Option<NonZeroU64> {
    let rate = written(knob).and_then(|rate| bytes_per_second(&rate));
    if rate.is_none() {
        knob.refuse_word("bytes per second from 1 on, for example 500000 or \"2M\"", notes);
    }
    rate
}

/// Text: as a number it would look decimal.
fn file_mode(knob: &Node<'_>, notes: &mut Notes<'_>) -> Option<u32> {
    let mode = permissions(&text(knob, notes)?);
    if mode.is_none() {
        knob.refuse_word("permissions in octal that let the owner read and write, for example \"0640\"", notes);
    }
    mode
}

fn import_poll_interval(block: &mut Block<'_>, notes: &mut Notes<'_>) -> Duration {
    let Some(knob) = block.take("importPollIntervalMs") else {
        return IMPORT_POLL_INTERVAL;
    };
    match number(&knob, notes) {
        Some(ms) if ms >= LEAST_IMPORT_POLL_MS => Duration::from_millis(ms),
        Some(ms) => {
            knob.refuse_found(&ms.to_string(), "at least 1000 ms", notes);
            IMPORT_POLL_INTERVAL
        }
        None => IMPORT_POLL_INTERVAL,
    }
}

/// The settings of the engine, and whether `onExists` is among them. Those that cannot be read are noted and keep their
/// defaults.
fn engine(block: &mut Block<'_>, node: &Node<'_>, notes: &mut Notes<'_>) -> (DownloadsConfig, bool) {
    let mut config = DownloadsConfig::default();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut take = |name: &'static str| {
        let knob = block.take(name)?;
        seen.insert(name, knob.at);
        Some(knob)
    };
    for (name, field) in COUNTS {
        if let Some(count) = take(name).and_then(|knob| number(&knob, notes)) {
            *field(&mut config) = count;
        }
    }
    for (name, field) in AMOUNTS {
        if let Some(amount) = take(name).and_then(|knob| number(&knob, notes)) {
            *field(&mut config) = amount;
        }
    }
    if let Some(knob) = take("maxConcurrentPerPeer") {
        config.max_concurrent_per_peer = number(&knob, notes);
    }
    if let Some(knob) = take("connectionsPerDownload") {
        match written(&knob).as_deref().and_then(Connections::parse) {
            Some(connections) => config.connections_per_download = connections,
            None => knob.refuse_word("a number from 1 to 16, or \"auto\"", notes),
        }
    }
    if let Some(knob) = take("extraRetryStatuses") {
        let listed = list(&knob, notes);
        config.extra_retry_statuses = listed.iter().filter_map(|status| number(status, notes)).collect();
    }
    if let Some(knob) = take("digest")
        && let Some(name) = text(&knob, notes)
    {
        match name.parse() {
            Ok(algorithm) => config.digest = Some(algorithm),
            Err(_) => knob.refuse_word("\"sha256\", \"sha512\", \"sha1\" or \"md5\"", notes),
        }
    }
    let on_exists_knob = take("onExists");
    if let Some(knob) = &on_exists_knob {
        on_exists(knob, &mut config, notes);
    }
    if let Err(invalid) = config.check() {
        let at = seen.get(invalid.key).copied().unwrap_or(node.at);
        let key = format!("{}.{}", node.key, invalid.key);
        notes.error(at, &key, format!("found {}, expected {}", invalid.found, invalid.expected));
    }
    // A server leaves one permit to the other origins, be they peers or not.
    config.max_concurrent_per_peer.get_or_insert(config.permits_per_peer());
    (config, on_exists_knob.is_some())
}

fn on_exists(knob: &Node<'_>, config: &mut DownloadsConfig, notes: &mut Notes<'_>) {
    let Some(name) = text(knob, notes) else {
        return;
    };
    match OnExists::named(&name) {
        Some(on_exists) => config.on_exists = on_exists,
        None => knob.refuse_word("\"overwrite\", \"fail\" or \"rename\"", notes),
    }
}

/// A folder that has files of regrip's own, and what put them there.
pub(super) struct OwnFolder {
    /// As the user knows it: `regrip.dataDir`, `the configuration file`.
    pub(super) setting: String,
    pub(super) folder: PathBuf,
}

/// The folders that a file of regrip's own is in, by its name and, if it is a link, by what it leads to.
pub(super) fn folders_of(setting: &str, file: &Path) -> Vec<OwnFolder> {
    let target = file.canonicalize().ok();
    let files = [Some(file), target.as_deref()];
    let folders = files.into_iter().flatten().filter_map(Path::parent);
    let own = folders.map(|folder| OwnFolder { setting: setting.to_owned(), folder: folder.to_owned() });
    own.collect()
}

/// Notes the folders that coincide with the one that downloads go to.
pub(super) fn check_folder(completed: &Node<'_>, path: &Path, own: &[OwnFolder], notes: &mut Notes<'_>) {
    let found = own.iter().find(|own| is_same_folder(&own.folder, path)).map(|own| clash(path, &own.setting));
    if let Some(what) = found {
        notes.error(completed.at, &completed.key, what);
    }
}

/// What is wrong if the data folder, configured or by default, is the one that downloads go to.
pub(crate) fn data_folder_clash(config: &Config, data_folder: &Path) -> Option<String> {
    let completed = &config.downloads.as_ref()?.completed;
    is_same_folder(completed, data_folder).then(|| {
        let what = clash(completed, "regrip.dataDir");
        format!("downloads.completedPath: {what}")
    })
}

fn clash(completed: &Path, setting: &str) -> String {
    format!(
        "found {completed:?}, which is also the folder of {setting}: a download could replace regrip's own files there; \
         name another folder for one of the two"
    )
}
