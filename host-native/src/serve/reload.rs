//! SIGHUP: another configuration is put in force while everything runs.
//!
//! Peers, import servers and limits change at once. Where files and stubs are, where the server listens and who is let in
//! takes a restart, and is told. A file that is wrong changes nothing.

use super::service::Service;
use super::settings::Settings;
use crate::config::{Config, ConfigRefused, Loaded, load};
use crate::control::Control;
use std::path::Path;

/// What a configuration that cannot be taken is called among the troubles.
const TROUBLE: &str = "configuration";

/// Puts the file's configuration in force, or says why not.
pub(super) fn reload(
    file: &Path,
    control: &Control,
    settings: &Settings,
    service: Option<&Service>,
) {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(refused) => {
            let told = format!(
                "{} is not taken, the configuration before it stays in force: {}",
                file.display(),
                all_of(&refused)
            );
            return control.troubles().note(TROUBLE, &told);
        }
    };
    let Loaded { config, warnings } = loaded;
    for warning in warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    let old = settings.get();
    for what in needs_restart(&old, &config) {
        tracing::warn!("{what} has changed: that takes a restart");
    }
    // What needs a restart stays as it was, so that the next reload says it again.
    let config = Config {
        server: old.server.clone(),
        share: old.share.clone(),
        downloads: match (&old.downloads, config.downloads) {
            (Some(old), Some(new)) => Some(crate::config::Downloads {
                engine: new.engine,
                on_exists_given: new.on_exists_given,
                ..old.clone()
            }),
            (old, _) => old.clone(),
        },
        ..config
    };
    if let Some(downloads) = &config.downloads {
        let engine = &downloads.engine;
        let credentials = config.peers.iter().map(|peer| peer.credentials()).collect();
        control
            .engine()
            .host()
            .transport
            .reconfigure(engine, credentials);
        if let Err(invalid) = control.engine().reconfigure(engine.clone()) {
            // It was checked when it was read.
            tracing::error!("downloads.{} cannot be {}", invalid.key, invalid.found);
        }
    }
    replace_and_protect(control, &config);
    settings.replace(config);
    match service {
        Some(service) => {
            service.acquaintances.configure(&settings.get().peers);
            service.reconsider();
        }
        None => control.peers().configure(&settings.get().peers),
    }
    control.troubles().over(TROUBLE);
    tracing::info!("the configuration was read again");
}

/// Puts in force which files downloads may replace, and which they never touch.
pub(super) fn replace_and_protect(control: &Control, config: &Config) {
    let store = &control.engine().host().store;
    for file in &config.secret_files {
        store.own().add(file);
    }
    let downloads = config.downloads.as_ref();
    let given = downloads.is_some_and(|downloads| downloads.on_exists_given);
    store.replace_delivered_only(!given);
}

/// All that is wrong, in one line.
fn all_of(refused: &ConfigRefused) -> String {
    match refused {
        ConfigRefused::Wrong { errors, .. } => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        }
        other => other.to_string(),
    }
}

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let paths = |config: &Config| {
        let downloads = config.downloads.as_ref();
        downloads.map(|downloads| (downloads.watch.clone(), downloads.completed.clone()))
    };
    let differ = [
        (paths(old) != paths(new), "a path of downloads"),
        (old.server.listen != new.server.listen, "regrip.listen"),
        (old.server.api_key != new.server.api_key, "regrip.apiKey"),
        (old.server.data_dir != new.server.data_dir, "regrip.dataDir"),
        (
            old.server.share_keys != new.server.share_keys,
            "regrip.shareKeys",
        ),
        (old.share != new.share, "share"),
    ];
    let differ = differ.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, what)| what).collect()
}
