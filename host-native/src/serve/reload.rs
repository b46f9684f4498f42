//! SIGHUP: applies another configuration while everything runs.
//!
//! Peers, import servers, limits and the key of the API change at once; another key ends the sessions of the one before.
//! Paths, the address to listen at and the shared folders with their keys need a restart, which is logged. An invalid file
//! changes nothing.

use super::daemon::api_keys;
use super::service::Service;
use crate::config::{Config, Loaded, all_of, load};
use crate::control::Control;
use crate::ledger::NativeLedger;
use crate::server::{CurrentKeys, Keys};
use crate::sync::Replaceable;
use std::path::Path;

/// The configuration in force.
pub(super) type Settings = Replaceable<Config>;

/// What a configuration that cannot be taken is called among the troubles.
const TROUBLE: &str = "configuration";

/// Puts the file's configuration in force, or says why not.
pub(super) fn reload<L: NativeLedger>(
    file: &Path,
    control: &Control<L>,
    settings: &Settings,
    keys: &CurrentKeys,
    service: Option<&Service<L>>,
) {
    let (Loaded { config, warnings }, new_keys) = match load_with_keys(file) {
        Ok(read) => read,
        Err(why) => {
            let trouble = format!("{} is rejected, the previous configuration stays in force: {why}", file.display(),);
            return control.troubles().note(TROUBLE, &trouble);
        }
    };
    for warning in warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    let old = settings.get();
    for what in needs_restart(&old, &config) {
        tracing::warn!("{what} has changed: restart regrip to apply it");
    }
    let mut server = old.server.clone();
    if !loses_key(&old, &config) {
        keys.replace(new_keys);
        server.api_key = config.server.api_key;
    }
    server.internal_url = config.server.internal_url;
    // What needs a restart stays as it was, so that the next reload says it again.
    let config = Config {
        server,
        share: old.share.clone(),
        downloads: match (&old.downloads, config.downloads) {
            (Some(old), Some(new)) => {
                let (watch, completed) = (old.watch.clone(), old.completed.clone());
                Some(crate::config::Downloads { watch, completed, ..new })
            }
            (old, _) => old.clone(),
        },
        ..config
    };
    if let Some(downloads) = &config.downloads {
        let engine = &downloads.engine;
        let credentials = config.peers.iter().map(|peer| peer.credentials()).collect();
        let transport = &control.engine().host().transport;
        transport.reconfigure(engine, credentials);
        transport.limit_rate(downloads.limit_rate);
        if let Err(invalid) = control.engine().reconfigure(engine.clone()) {
            // It was checked when it was read.
            tracing::error!("downloads.{} cannot be {}", invalid.key, invalid.found);
        }
    }
    replace_and_protect(control, &config);
    settings.replace(config);
    control.configure_peers(&settings.get().peers);
    if let Some(service) = service {
        service.reconsider();
    }
    control.troubles().over(TROUBLE);
    tracing::info!("configuration reloaded");
}

/// Puts in force which files downloads may replace, and which they never touch.
pub(super) fn replace_and_protect(control: &Control<impl NativeLedger>, config: &Config) {
    let store = &control.engine().host().store;
    for file in &config.secret_files {
        store.own().add(file);
    }
    let downloads = config.downloads.as_ref();
    let given = downloads.is_some_and(|downloads| downloads.on_exists_given);
    store.replace_delivered_only(!given);
    store.set_file_mode(downloads.and_then(|downloads| downloads.file_mode));
    let servers = config.import_servers.iter().map(|server| server.name.clone());
    control.torrents().configure(servers.collect(), config.server.internal_url.clone());
}

fn load_with_keys(file: &Path) -> Result<(Loaded, Option<Keys>), String> {
    let loaded = load(file).map_err(|refused| all_of(&refused))?;
    let keys = api_keys(&loaded.config).map_err(|error| error.to_string())?;
    Ok((loaded, keys))
}

/// Returns `true` if a server that others can reach would lose its key. It keeps the old one.
fn loses_key(old: &Config, new: &Config) -> bool {
    let (old, new) = (&old.server, &new.server);
    !old.listen.ip().is_loopback() && old.api_key.is_some() && new.api_key.is_none()
}

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let paths = |config: &Config| {
        let downloads = config.downloads.as_ref();
        downloads.map(|downloads| (downloads.watch.clone(), downloads.completed.clone()))
    };
    let differ = [
        (paths(old) != paths(new), "a path of downloads"),
        (old.server.listen != new.server.listen, "regrip.listen"),
        (loses_key(old, new), "regrip.apiKey"),
        (old.server.data_dir != new.server.data_dir, "regrip.dataDir"),
        (old.server.share_keys != new.server.share_keys, "regrip.shareKeys"),
        #[cfg(feature = "fleet")]
        (old.server.s3 != new.server.s3, "regrip.s3"),
        (old.server.postgres != new.server.postgres, "regrip.ledger"),
        (old.share != new.share, "share"),
        (is_source(new) && !is_source(old) && old.share.is_empty(), "the first server that is a source"),
    ];
    let differ = differ.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, what)| what).collect()
}

fn is_source(config: &Config) -> bool {
    config.import_servers.iter().any(|server| server.source)
}
