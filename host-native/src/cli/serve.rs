//! `regrip serve`, and `regrip check-config`, which prints what is wrong with a configuration and its effective settings.

use super::output::{CommandResult, Exit};
use super::{get, state, text};
use crate::config::{Config, ConfigRefused, Loaded, Problem, data_folder_clash, load};
use crate::serve::{self, DataFolderRefused, LogFormat, ServeError, ServeOptions};
use regrip_core::error::chain;
use regrip_core::{display_url, redacted};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
SIGHUP reloads the configuration: peers, servers and limits change at once. SIGTERM and Ctrl-C stop
the server within 10 s, with exit code 0; the next start resumes. A second signal stops it at once.

`regrip check-config FILE` validates a configuration.

Example:
  regrip serve --config /etc/regrip/config.jsonc")]
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
#[command(after_help = "\
Errors have the key, the line, the value and what was expected. Secrets are not printed.

Example:
  regrip check-config /etc/regrip/config.jsonc")]
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

fn exit(error: &ServeError) -> Exit {
    match error {
        ServeError::DataFolder(_) | ServeError::Ledger(_) | ServeError::Core(_) | ServeError::System(_) => {
            Exit::Unusable
        }
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
