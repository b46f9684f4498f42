//! `regrip serve`: what was typed, and what keeps the server from starting.

use super::args::{LogFormat, Serve};
use super::{Exit, check_config, get, state, text};
use crate::config::{Config, load};
use crate::serve::{self, DataFolderRefused, ServeError, ServeOptions};
use regrip_core::error::chain;
use std::path::PathBuf;

/// Runs the command.
pub(crate) fn main(args: &Serve) -> Exit {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(refused) => {
            check_config::tell_refused(&args.config, &refused);
            return Exit::Usage;
        }
    };
    let started = options(args, loaded).map_err(|text| (Exit::Usage, text));
    let served = started.and_then(|options| {
        serve::serve(options).map_err(|error| {
            let line = chain(&error);
            (exit(&error), text::with_advice(&line, advice(&error)))
        })
    });
    match served {
        Ok(()) => Exit::Done,
        Err((exit, text)) => {
            say!("regrip: {text}");
            exit
        }
    }
}

fn options(args: &Serve, loaded: crate::config::Loaded) -> Result<ServeOptions, String> {
    let data_folder = data_folder(&loaded.config)?;
    let proxies = get::proxies(None, |name| std::env::var(name).ok())?;
    let peers = loaded.config.peers.iter().map(|peer| &peer.url);
    let servers = loaded
        .config
        .import_servers
        .iter()
        .map(|server| &server.url);
    for url in peers.chain(servers).filter_map(|url| url.parse().ok()) {
        let way = proxies.check(&url);
        way.map_err(|unusable| get::unusable_proxy(&unusable))?;
    }
    Ok(ServeOptions {
        file: args.config.clone(),
        loaded,
        data_folder,
        proxies,
        log: match args.log {
            LogFormat::Text => serve::LogFormat::Text,
            LogFormat::Json => serve::LogFormat::Json,
        },
    })
}

/// Where a server keeps its ledger.
///
/// # Errors
/// A sentence, where nothing says so.
pub(crate) fn data_folder(config: &Config) -> Result<PathBuf, String> {
    if let Some(folder) = &config.server.data_dir {
        return Ok(folder.clone());
    }
    let ours = state::path(None).map_err(|_| {
        "neither XDG_STATE_HOME nor HOME says where state belongs; name a folder by regrip.dataDir"
    })?;
    // Not where `get` keeps its own: the server takes up every download of its ledger.
    Ok(ours.with_file_name("serve"))
}

fn exit(error: &ServeError) -> Exit {
    match error {
        ServeError::DataFolder(_)
        | ServeError::Ledger(_)
        | ServeError::Core(_)
        | ServeError::System(_) => Exit::Unusable,
        _ => Exit::Usage,
    }
}

fn advice(error: &ServeError) -> Option<&'static str> {
    match error {
        ServeError::DataFolder(DataFolderRefused::InUse { .. }) => {
            Some("stop that one, or give this one a folder of its own by regrip.dataDir")
        }
        ServeError::DataFolder(_) | ServeError::Ledger(_) => {
            Some("name another folder by regrip.dataDir")
        }
        ServeError::Listen { .. } => Some("name another address by regrip.listen"),
        ServeError::NoKey(_) => Some("set regrip.apiKey, or listen at 127.0.0.1"),
        ServeError::Core(error) => error.advice(),
        _ => None,
    }
}
