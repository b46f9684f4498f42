//! `regrip check-config`: errors, warnings and effective settings of a configuration.

use super::args::CheckConfig;
use super::{Exit, serve, text};
use crate::config::{Config, ConfigRefused, Loaded, Problem, data_folder_clash, load};
use regrip_core::display_url;
use std::fmt::Write;
use std::path::Path;

/// Runs the command.
pub(super) fn main(args: &CheckConfig) -> Exit {
    let Some(file) = args.config.as_ref().or(args.file.as_ref()) else {
        return Exit::Usage; // clap asks for one of the two
    };
    match load(file) {
        Ok(Loaded { config, warnings }) => {
            tell(file, "warning: ", &warnings);
            let data_folder = serve::data_folder(&config).ok();
            let clash = data_folder.and_then(|folder| data_folder_clash(&config, &folder));
            if let Some(clash) = clash {
                say!("regrip: {}: {clash}", file.display());
                return Exit::Usage;
            }
            out!("{}", summary(&config).trim_end());
            Exit::Done
        }
        Err(refused) => {
            tell_refused(file, &refused);
            Exit::Usage
        }
    }
}

/// Says what is wrong with a configuration.
pub(super) fn tell_refused(file: &Path, refused: &ConfigRefused) {
    match refused {
        ConfigRefused::Wrong { errors, warnings } => {
            tell(file, "warning: ", warnings);
            tell(file, "", errors);
        }
        refused => say!("regrip: {}: {refused}", file.display()),
    }
}

fn tell(file: &Path, mark: &str, problems: &[Problem]) {
    for problem in problems {
        say!("regrip: {mark}{}: {problem}", file.display());
    }
}

/// What a configuration comes to. No secret is in it, only that there is one.
fn summary(config: &Config) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{label:<10} {text}");
    };
    match &config.downloads {
        Some(downloads) => {
            line("watch", downloads.watch.display().to_string());
            line("completed", downloads.completed.display().to_string());
        }
        None => line("downloads", "none".to_owned()),
    }
    let key = if config.server.api_key.is_some() {
        "with an apiKey"
    } else {
        "this machine only"
    };
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
    lines
}

/// How many headers are sent. Their names are a user's own words.
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
