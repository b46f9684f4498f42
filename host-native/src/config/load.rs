//! Reads a configuration file.

use super::downloads::{self, OwnFolder, downloads};
use super::model::Config;
use super::object::{Block, Node, Notes, Problem};
use super::peers::{peers, server, servers, share};
use crate::text_file;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::path::{Path, absolute};

/// Larger files are no configuration.
const LARGEST_BYTES: u64 = 1 << 20;

/// A configuration and its warnings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// Ignored keys, and the like.
    pub warnings: Vec<Problem>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigRefused {
    /// The file cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is wrong, in one place at least.
    #[error("the configuration is wrong in {} place(s)", .errors.len())]
    Wrong {
        /// The errors, in the order of the file.
        errors: Vec<Problem>,
        /// The warnings.
        warnings: Vec<Problem>,
    },
}

/// Reads a file, the files its secrets are in, and the process's environment.
///
/// # Errors
/// [`ConfigRefused`], with everything that is wrong.
pub fn load(file: &Path) -> Result<Loaded, ConfigRefused> {
    let file = absolute(file).map_err(ConfigRefused::Unreadable)?;
    let text = text_file::read(&file, LARGEST_BYTES).map_err(ConfigRefused::Unreadable)?;
    parse_file(&text, &file, &|name| std::env::var(name).ok())
}

/// Reads a text. Relative paths begin at `folder`, which is absolute.
///
/// # Errors
/// `Wrong`, with everything that is wrong.
pub fn parse(text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigRefused> {
    // Whatever the file is called, its folder is what counts.
    parse_file(text, &folder.join("config.jsonc"), env)
}

fn parse_file(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigRefused> {
    let mut notes = Notes::on(text, file, env);
    let config = read(text, &mut notes);
    notes.sort();
    let Notes { errors, warnings, .. } = notes;
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(ConfigRefused::Wrong { errors, warnings }),
    }
}

/// JSON, comments and trailing commas, but nothing else of JSON5.
const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn read(text: &str, notes: &mut Notes<'_>) -> Option<Config> {
    let parsed = match parse_to_ast(text, &CollectOptions::default(), &JSONC) {
        Ok(parsed) => parsed,
        Err(error) => {
            notes.error(error.range().start, "", format!("it cannot be read: {}", error.kind()));
            return None;
        }
    };
    let Some(value) = parsed.value else {
        notes.error(0, "", "found nothing, expected an object");
        return None;
    };
    let mut block = Block::open(&Node::new(&value, String::new()), notes)?;
    let mut config = Config::default();
    let downloads_at = block.take("downloads");
    if let Some(node) = &downloads_at {
        config.downloads = downloads(node, notes);
    }
    if let Some(node) = block.take("regrip") {
        config.server = server(&node, notes).unwrap_or_default();
    }
    if let Some(node) = block.take("peers") {
        config.peers = peers(&node, notes);
    }
    if let Some(node) = block.take("servers") {
        config.import_servers = servers(&node, notes);
    }
    if let Some(node) = block.take("share") {
        config.share = share(&node, notes);
    }
    block.close(notes);
    config.secret_files = notes.secret_files.iter().map(|(_, file)| file.clone()).collect();
    if let (Some(node), Some(downloads)) = (downloads_at, &config.downloads) {
        check_folders(&node, &downloads.completed, &config, notes);
    }
    Some(config)
}

/// Checks that no files of regrip's own are in the folder that downloads go to.
fn check_folders(downloads: &Node<'_>, completed: &Path, config: &Config, notes: &mut Notes<'_>) {
    let mut own = downloads::folders_of("the configuration file", notes.file);
    if let Some(folder) = &config.server.data_dir {
        own.push(OwnFolder { setting: "regrip.dataDir".to_owned(), folder: folder.clone() });
    }
    for (setting, file) in &notes.secret_files {
        own.extend(downloads::folders_of(setting, file));
    }
    // The block was opened before: what is wrong about it was noted then.
    if let Some(node) = Block::open(downloads, &mut Notes::on("", notes.file, notes.env))
        .and_then(|mut block| block.take("completedPath"))
    {
        downloads::check_folder(&node, completed, &own, notes);
    }
}
