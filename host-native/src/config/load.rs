//! Reads a configuration file.

use super::downloads::{self, OwnFolder, downloads};
use super::link::QuickLink;
use super::model::{Config, HookCommands, ServerConfig, id_of};
use super::object::{Block, Node, Notes, Problem, text};
use super::peers::{Roles, peers, server, servers, servers_by_role, share};
use crate::store::{FileStamp, is_object};
use crate::sync::lock;
use crate::text_file;
use jsonc_parser::ast::Value;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use regrip_core::error::chain;
use regrip_core::{PeerId, shown};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, absolute};
use std::sync::Mutex;

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

fn ast<'a>(text: &'a str, notes: &mut Notes<'_>) -> Option<Value<'a>> {
    match parse_to_ast(text, &CollectOptions::default(), &JSONC) {
        Ok(parsed) if parsed.value.is_none() => notes.error(0, "", "found nothing, expected an object"),
        Ok(parsed) => return parsed.value,
        Err(error) => notes.error(error.range().start, "", format!("it cannot be read: {}", error.kind())),
    }
    None
}

/// Why a configuration was not changed. The file is as it was then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditRefused {
    /// The file as it is, or as it would be.
    #[error("{}", all_of(.0))]
    Wrong(#[from] ConfigRefused),
    /// There is such a peer.
    #[error("the peer {0} at this address is configured already: remove it first")]
    Known(String),
    /// Something else than a list is in the way.
    #[error("peers is not a list in the configuration")]
    Shape,
    /// Somebody else changed it.
    #[error("the configuration was changed meanwhile: try again")]
    Changed,
    /// It cannot be written.
    #[error("the configuration cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// All that is wrong, in one line.
pub(crate) fn all_of(refused: &ConfigRefused) -> String {
    match refused {
        ConfigRefused::Wrong { errors, .. } => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        }
        other => other.to_string(),
    }
}

/// Adds a peer to a configuration. Comments and all other text stay.
///
/// # Errors
/// [`EditRefused`].
pub(crate) fn add_peer(file: &Path, peer: &QuickLink) -> Result<PeerId, EditRefused> {
    let id = id_of(&peer.url);
    edit(file, |config, top| {
        let origin = peer.url.parse().ok();
        if let Some(known) = config.peers.iter().find(|known| Some(&known.origin) == origin.as_ref()) {
            return Err(EditRefused::Known(shown(&known.name).into_owned()));
        }
        let text = |text: &str| CstInputValue::String(text.to_owned());
        let mut fields = vec![
            ("name".to_owned(), text(&peer.name)),
            ("url".to_owned(), text(&peer.url)),
            ("apiKey".to_owned(), text(peer.api_key.reveal())),
        ];
        if !peer.headers.is_empty() {
            let headers = peer.headers.iter().map(|(name, value)| (name.clone(), text(value.reveal())));
            fields.push(("headers".to_owned(), CstInputValue::Object(headers.collect())));
        }
        let peers = top.array_value_or_create("peers").ok_or(EditRefused::Shape)?;
        peers.ensure_multiline();
        peers.append(CstInputValue::Object(fields));
        Ok(true)
    })?;
    Ok(id)
}

/// Removes a peer from a configuration, by its id. Returns `false` if there is none.
///
/// # Errors
/// [`EditRefused`].
pub(crate) fn remove_peer(file: &Path, id: &str) -> Result<bool, EditRefused> {
    edit(file, |_, top| {
        // jack's first versions had them among the servers.
        let earlier = top.object_value("servers").and_then(|servers| servers.array_value("peers"));
        let lists = [top.array_value("peers"), earlier];
        let peers = lists.into_iter().flatten().flat_map(|list| list.elements());
        let found = peers.filter(|peer| {
            let url = peer.as_object().and_then(|peer| peer.get("url")?.value()?.as_string_lit()?.decoded_value().ok());
            url.is_some_and(|url| id_of(&url).as_str() == id)
        });
        let found: Vec<_> = found.collect();
        let is_there = !found.is_empty();
        found.into_iter().for_each(jsonc_parser::cst::CstNode::remove);
        Ok(is_there)
    })
}

/// One change at a time in this process.
static EDITING: Mutex<()> = Mutex::new(());

/// Changes a configuration by `change`, if it is sound before and after that, in one step. A link stays one.
fn edit(
    file: &Path,
    change: impl FnOnce(&Config, &CstObject) -> Result<bool, EditRefused>,
) -> Result<bool, EditRefused> {
    let _one = lock(&EDITING);
    let file = file.canonicalize()?;
    let stamp = |file: &Path| FileStamp::of(file).map_err(|error| std::io::Error::other(chain(&error)));
    let before = stamp(&file)?;
    let text = text_file::read(&file, LARGEST_BYTES)?;
    let env = |name: &str| std::env::var(name).ok();
    let Loaded { config, .. } = parse_file(&text, &file, &env)?;
    let changed = {
        let root = CstRootNode::parse(&text, &JSONC).map_err(|_| EditRefused::Shape)?;
        let top = root.object_value().ok_or(EditRefused::Shape)?;
        if !change(&config, &top)? {
            return Ok(false);
        }
        root.to_string()
    };
    parse_file(&changed, &file, &env)?;
    let beside = file.with_file_name(format!(".{}.new", file.file_name().unwrap_or_default().to_string_lossy()));
    let old = std::fs::metadata(&file)?;
    let written = write_beside(&beside, &old, &changed).and_then(|()| match stamp(&file)? == before {
        true => std::fs::rename(&beside, &file).map(|()| true),
        false => Ok(false),
    });
    if !matches!(written, Ok(true)) {
        let _ = std::fs::remove_file(&beside); // it may not have been made
    }
    match written? {
        true => {
            File::open(file.parent().unwrap_or(&file))?.sync_all()?;
            Ok(true)
        }
        false => Err(EditRefused::Changed),
    }
}

/// Writes a file for the owner and with the mode of the one that it will replace.
fn write_beside(path: &Path, old: &std::fs::Metadata, text: &str) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path); // left by a process that was killed
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // Only root may give files away. Who may write here at all then owns it.
    let (owner, group) = (rustix::fs::Uid::from_raw(old.uid()), rustix::fs::Gid::from_raw(old.gid()));
    let _ = rustix::fs::fchown(&file, Some(owner), Some(group));
    file.set_permissions(old.permissions())?;
    file.sync_all()
}

/// A key of a file of settings that are named like options.
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: SettingValue,
    line: usize,
}

/// What a setting says.
pub(crate) enum SettingValue {
    Flag(bool),
    /// A string or a number.
    Text(String),
    Texts(Vec<String>),
    Other,
}

impl Setting {
    /// What is wrong with it.
    pub(crate) fn problem(&self, what: &str) -> Problem {
        Problem { line: self.line, key: self.key.clone(), what: what.to_owned() }
    }
}

/// Reads a file of settings, in order.
///
/// # Errors
/// What is wrong with it, by line and key.
pub(crate) fn settings(file: &Path) -> Result<Vec<Setting>, String> {
    let text = text_file::read(file, LARGEST_BYTES).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut notes = Notes::on(&text, file, &|_| None);
    let mut settings = Vec::new();
    let value = ast(&text, &mut notes);
    let block = value.as_ref().and_then(|value| Block::open(&Node::new(value, String::new()), &mut notes));
    for (key, node) in block.map(|mut block| block.rest()).unwrap_or_default() {
        let line = notes.problem(node.at, &key, String::new()).line;
        settings.push(Setting { value: setting(node.value), key, line });
    }
    match notes.errors.first() {
        Some(problem) => Err(problem.to_string()),
        None => Ok(settings),
    }
}

fn setting(value: &Value<'_>) -> SettingValue {
    let text = |value: &Value<'_>| match value {
        Value::StringLit(text) => Some(text.value.clone().into_owned()),
        _ => None,
    };
    match value {
        Value::BooleanLit(flag) => SettingValue::Flag(flag.value),
        Value::NumberLit(number) => SettingValue::Text(number.value.to_owned()),
        Value::Array(array) => {
            let texts: Option<Vec<String>> = array.elements.iter().map(text).collect();
            texts.map_or(SettingValue::Other, SettingValue::Texts)
        }
        value => text(value).map_or(SettingValue::Other, SettingValue::Text),
    }
}

fn read(text: &str, notes: &mut Notes<'_>) -> Option<Config> {
    let value = ast(text, notes)?;
    let mut block = Block::open(&Node::new(&value, String::new()), notes)?;
    let mut config = Config::default();
    let downloads_at = block.take("downloads");
    if let Some(node) = &downloads_at {
        config.downloads = downloads(node, notes);
    }
    let (own, jacks) = (block.take("regrip"), block.take("jack"));
    if let (Some(_), Some(jacks)) = (&own, &jacks) {
        notes.warn(jacks.at, &jacks.key, "is ignored: the regrip block is read");
    }
    let is_jacks = own.is_none() && jacks.is_some();
    if is_jacks {
        block.take("version"); // of the file's format
    }
    if let Some(node) = own.or(jacks) {
        config.server = ServerConfig { is_jacks, ..server(&node, notes).unwrap_or_default() };
    }
    if let Some(node) = block.take("peers") {
        peers(&node, &mut config.peers, notes);
    }
    if let Some(node) = block.take("servers") {
        // jack's servers share unless they say otherwise; here it is asked for.
        let roles = Roles { source: is_jacks, ..Roles::default() };
        match node.value {
            Value::Object(_) => servers_by_role(&node, block.take("indexer").as_ref(), &mut config, notes),
            _ => servers(&node, roles, &mut config.import_servers, notes),
        }
    }
    if let Some(node) = block.take("share") {
        config.share = share(&node, notes);
    }
    if let Some(node) = block.take("hooks") {
        config.hooks = hooks(&node, notes).unwrap_or_default();
    }
    block.close(notes);
    config.secret_variables.clone_from(&notes.secret_variables);
    config.secret_files = notes.secret_files.iter().map(|(_, file)| file.clone()).collect();
    if let (Some(node), Some(downloads)) = (downloads_at, &config.downloads) {
        if config.server.postgres.is_some() && !downloads.completed_is_shared && !is_object(&downloads.completed) {
            let what = "found a folder, which the other workers of regrip.ledger may not have; if all of them see the same one there, \
                set downloads.completedPathIsShared to true";
            notes.error(node.at, "downloads.completedPath", what);
        }
        check_folders(&node, &downloads.completed, &config, notes);
        #[cfg(feature = "fleet")]
        if is_object(&downloads.completed) && config.server.s3.is_none() {
            notes.error(node.at, "downloads.completedPath", "found object storage, expected its access in regrip.s3");
        }
    }
    Some(config)
}

fn hooks(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<HookCommands> {
    let mut block = Block::open(node, notes)?;
    let mut command = |name: &str, notes: &mut Notes<'_>| {
        let node = block.take(name)?;
        let command = text(&node, notes)?;
        if command.trim().is_empty() || command.contains('\0') {
            node.refuse("a command for sh -c", notes);
            return None;
        }
        Some(command)
    };
    let hooks = HookCommands { on_complete: command("onComplete", notes), on_fail: command("onFail", notes) };
    block.close(notes);
    Some(hooks)
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
