//! `regrip key` and `regrip link`: the keys of peers, and links by which servers become peers.
//!
//! Keys are changed in the ledger of the server, its own file or the database that a fleet shares, whether it runs or not: it reads them before each request of a peer. A peer is
//! added to the configuration's file, which a running server is then signalled to read again.
//!
//! `regrip share` serves folders to peers, and nothing else. `regrip stub` creates and shows stubs, each of which names an item of a
//! peer.

use super::drive::{self, Signal};
use super::output::{CommandResult, Exit, failed};
use super::serve::{data_folder, read_config, shared_ledger};
use super::text;
use crate::api::{link_of, shown_key};
use crate::config::{Config, EditRefused, Secret, add_peer};
use crate::ledger::{PeerKey, PeerKeys};
use crate::peers::{QuickLink, id_of};
use crate::serve::{LogFormat, ledger_in, serving, start_log};
use crate::server::{CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{Census, Share, ShareOptions, issue};
use crate::state;
use crate::text_file;
use crate::time::rfc3339;
use crate::transport::Origin;
use clap::Subcommand;
use console::Term;
use regrip_core::error::chain;
use regrip_core::stub::LARGEST_BYTES;
use regrip_core::{SafeName, Stub, display_url};
use rustix::process::{Pid, kill_process};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(crate) const KEY_EXAMPLES: &str = "\
A key opens what the server shares, and nothing else. It is printed once; the database keeps its SHA-256.
A revoked key opens nothing from the next request on, also of a server that runs.

Examples:
  regrip key create Anna --expires 90days --config /etc/regrip/config.jsonc
  regrip key list --config /etc/regrip/config.jsonc
  regrip key revoke Anna --config /etc/regrip/config.jsonc";

pub(crate) const LINK_EXAMPLES: &str = "\
A link has the address of this server, a key of its own and the headers of regrip.external in it. Whoever
has it can fetch what the server shares: send it over a channel that you trust.

Examples:
  regrip link create Anna --config /etc/regrip/config.jsonc
  regrip link add - --config /etc/regrip/config.jsonc    paste the link";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Issue a key, and print it
    Create(KeyCreate),
    /// List the keys
    List(KeyList),
    /// Revoke a key
    Revoke(KeyRevoke),
}

/// What to do with links.
#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Issue a key, and print a link with it
    Create(LinkCreate),
    /// Show what a link says, and add it as a peer once that is confirmed
    Add(LinkAdd),
}

/// The server whose keys they are.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyPlace {
    /// The configuration of the server; without it, the one that has no configured dataDir
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `key create`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyCreate {
    /// Whose key it is
    #[arg(value_name = "NAME")]
    pub name: String,
    /// When it ends: a time (2027-01-31) or from now on (90days, 12h)
    #[arg(long, value_name = "WHEN", value_parser = end)]
    pub expires: Option<SystemTime>,
    /// Print the key with what is known of it as one JSON object
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub place: KeyPlace,
}

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyList {
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub place: KeyPlace,
}

/// Arguments of `key revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyRevoke {
    /// Its name, or its number in `regrip key list`
    #[arg(value_name = "NAME|ID")]
    pub key: String,
    /// The server.
    #[command(flatten)]
    pub place: KeyPlace,
}

/// Arguments of `link create`.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkCreate {
    /// Whose key it is
    #[arg(value_name = "NAME")]
    pub name: String,
    /// When the key ends: a time (2027-01-31) or from now on (90days, 12h)
    #[arg(long, value_name = "WHEN", value_parser = end)]
    pub expires: Option<SystemTime>,
    /// The configuration of the server, whose regrip.external the link has
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `link add`.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkAdd {
    /// The link; - is standard input
    #[arg(value_name = "LINK")]
    pub link: String,
    /// Another name for the peer
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The configuration to which the peer is added; comments stay
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// A time from now on, or a date.
fn end(typed: &str) -> Result<SystemTime, String> {
    let at = match humantime::parse_duration(typed) {
        Ok(wait) => SystemTime::now().checked_add(wait),
        Err(_) => {
            let date = if typed.len() == 10 { format!("{typed}T00:00:00Z") } else { typed.to_owned() };
            humantime::parse_rfc3339_weak(&date).ok()
        }
    };
    // What the database cannot write is beyond any key.
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let at = at.filter(|at| *at <= latest).ok_or("expected a time such as 2027-01-31, or 90days from now on")?;
    if at > SystemTime::now() { Ok(at) } else { Err("this time is over".to_owned()) }
}

/// Runs `key`.
pub(super) fn key(command: &KeyCommand) -> CommandResult {
    match command {
        KeyCommand::Create(args) => create_key(args),
        KeyCommand::List(args) => list_keys(args),
        KeyCommand::Revoke(args) => revoke_key(args),
    }
}

fn ledger(place: &KeyPlace) -> CommandResult<Box<dyn PeerKeys>> {
    let config = match &place.config {
        Some(file) => read_config(file)?.config,
        None => Config::default(),
    };
    ledger_of(&config)
}

/// The ledger of a server: the database of its `regrip.ledger`, else its state file.
fn ledger_of(config: &Config) -> CommandResult<Box<dyn PeerKeys>> {
    #[cfg(feature = "fleet")]
    if let Some(ledger) = shared_ledger(config)? {
        return Ok(Box::new(ledger));
    }
    #[cfg(not(feature = "fleet"))]
    shared_ledger(config)?;
    let unusable = |text| (Exit::Unusable, text);
    let folder = data_folder(config).map_err(unusable)?;
    Ok(Box::new(state::open_at(&ledger_in(&folder)).map_err(unusable)?))
}

/// Issues a key, and says what it is known by.
fn issue_to(name: &str, expires: Option<SystemTime>, ledger: &dyn PeerKeys) -> CommandResult<(String, PeerKey)> {
    let (key, new) = issue(name, expires).map_err(|why| (Exit::Usage, why))?;
    let added = smol::block_on(ledger.add_peer_key(new)).map_err(unwritten)?;
    let added = added.ok_or_else(|| {
        let line = format!("a key named {:?} is in force already", name.trim());
        (Exit::Failed, text::with_advice(&line, Some("revoke it first, or choose another name")))
    })?;
    Ok((key, added))
}

fn unwritten(error: regrip_core::Error) -> (Exit, String) {
    failed::<String>(Exit::Unusable, "the keys cannot be changed")(chain(&error))
}

fn create_key(args: &KeyCreate) -> CommandResult {
    let (key, added) = issue_to(&args.name, args.expires, &*ledger(&args.place)?)?;
    if args.json {
        let mut shown = shown_key(&added);
        shown["key"] = key.into();
        out!("{shown}");
    } else {
        out!("{key}");
        say!("regrip: this is key {} for {}; it is not shown again", added.id, text::plain(&added.new.name));
    }
    Ok(Exit::Done)
}

fn all_keys(ledger: &dyn PeerKeys) -> CommandResult<Vec<PeerKey>> {
    let keys = smol::block_on(ledger.peer_keys());
    keys.map_err(|error| failed::<String>(Exit::Unusable, "the keys cannot be read")(chain(&error)))
}

fn list_keys(args: &KeyList) -> CommandResult {
    let keys = all_keys(&*ledger(&args.place)?)?;
    if args.json {
        keys.iter().for_each(|key| out!("{}", shown_key(key)));
        return Ok(Exit::Done);
    }
    if keys.is_empty() {
        say!("regrip: no key was issued; `regrip key create NAME` issues one");
        return Ok(Exit::Done);
    }
    let day = |at: SystemTime| rfc3339(at).chars().take(10).collect::<String>();
    out!("{:>4}  {:<8}  {:<10}  {:<10}  {:<10}  NAME", "ID", "STATE", "CREATED", "EXPIRES", "LAST USED");
    for key in keys {
        let state = match key.is_in_force(SystemTime::now()) {
            true => "in force",
            false if key.revoked_at.is_some() => "revoked",
            false => "expired",
        };
        let or_never = |at: Option<SystemTime>| at.map_or_else(|| "never".to_owned(), day);
        let (created, name) = (day(key.new.created_at), text::plain(&key.new.name));
        let (expires, used) = (or_never(key.new.expires_at), or_never(key.last_used_at));
        out!("{:>4}  {state:<8}  {created:<10}  {expires:<10}  {used:<10}  {name}", key.id);
    }
    Ok(Exit::Done)
}

fn revoke_key(args: &KeyRevoke) -> CommandResult {
    let ledger = ledger(&args.place)?;
    let keys = all_keys(&*ledger)?;
    let mut in_force = keys.iter().filter(|key| key.revoked_at.is_none());
    // A name goes before a number, which it may look like.
    let by_name = in_force.clone().find(|key| key.new.name == args.key);
    let found = by_name.or_else(|| in_force.find(|key| key.id.to_string() == args.key));
    let Some(found) = found else {
        let line = format!("no key {:?} is in force", args.key);
        return Err((Exit::Failed, text::with_advice(&line, Some("`regrip key list` shows all of them"))));
    };
    smol::block_on(ledger.revoke_peer_key(found.id, SystemTime::now())).map_err(unwritten)?;
    out!("revoked key {} for {}", found.id, text::plain(&found.new.name));
    Ok(Exit::Done)
}

/// Runs `link`.
pub(super) fn link(command: &LinkCommand) -> CommandResult {
    match command {
        LinkCommand::Create(args) => create_link(args),
        LinkCommand::Add(args) => add_link(args),
    }
}

fn create_link(args: &LinkCreate) -> CommandResult {
    let config = read_config(&args.config)?.config;
    let unlinkable = |refused: crate::peers::LinkRefused| (Exit::Usage, refused.to_string());
    // Checked before a key is issued, which nobody would have.
    let link = link_of(config.server.external.as_ref(), String::new()).map_err(unlinkable)?;
    if config.share.is_empty() && !config.import_servers.iter().any(|server| server.source) {
        say!("regrip: warning: this configuration shares nothing: see share and servers[].source");
    }
    warn_plain(&link.url);
    let (key, added) = issue_to(&args.name, args.expires, &*ledger_of(&config)?)?;
    let api_key = Secret::checked(key).map_err(|why| (Exit::Usage, why.to_owned()))?;
    out!("{}", QuickLink { api_key, ..link }.write().map_err(unlinkable)?);
    let name = text::plain(&added.new.name);
    say!("regrip: whoever has this link has key {} for {name}; it is not shown again", added.id);
    Ok(Exit::Done)
}

fn warn_plain(url: &str) {
    if url.starts_with("http:") {
        say!("regrip: warning: {} is not encrypted: the key can be read on the way", display_url(url));
    }
}

fn add_link(args: &LinkAdd) -> CommandResult {
    let typed = match args.link.as_str() {
        "-" => {
            let mut typed = String::new();
            let most = std::io::stdin().take(1 << 20);
            most.take(1 << 20).read_to_string(&mut typed).map_err(failed(Exit::Usage, "the link cannot be read"))?;
            typed
        }
        link => link.to_owned(),
    };
    let refused = |refused: crate::peers::LinkRefused| (Exit::Usage, format!("the link is {refused}"));
    let link = QuickLink::read(&typed).map_err(refused)?;
    let name = args.name.clone().unwrap_or_else(|| link.name.clone());
    let link = QuickLink { name, ..link }.checked().map_err(refused)?;
    let names: Vec<_> = link.headers.iter().map(|(name, _)| name.as_str()).collect();
    say!("name     {}", link.name);
    say!("url      {}", display_url(&link.url));
    say!("key      of {} characters", link.api_key.reveal().len());
    say!("headers  {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    warn_plain(&link.url);
    if !args.yes && !is_confirmed(&args.config, args.link == "-")? {
        return Err((Exit::Failed, "not added".to_owned()));
    }
    let id = add_peer(&args.config, &link).map_err(|error| {
        let exit = match error {
            EditRefused::Io(_) => Exit::Unusable,
            EditRefused::Changed => Exit::Failed,
            EditRefused::Wrong(_) | EditRefused::Known(_) | EditRefused::Shape => Exit::Usage,
        };
        (exit, format!("{}: {error}", args.config.display()))
    })?;
    out!("added {} ({id}) to {}", link.name, args.config.display());
    warn_readable(&args.config);
    let config = read_config(&args.config)?.config;
    let server = data_folder(&config).ok().and_then(|folder| serving(&folder));
    let pid = server.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    match pid.map(|pid| kill_process(pid, rustix::process::Signal::HUP)) {
        Some(Ok(())) => out!("the running server reads it now"),
        Some(Err(error)) => say!("regrip: the running server cannot be signalled ({error}): send it SIGHUP"),
        None => {}
    }
    Ok(Exit::Done)
}

/// Asks on the terminal.
fn is_confirmed(config: &Path, is_stdin_used: bool) -> CommandResult<bool> {
    let usage = "nobody was asked, for there is no terminal: confirm it with --yes".to_owned();
    let term = Term::stderr();
    if !term.is_term() || (!is_stdin_used && !std::io::stdin().is_terminal()) {
        return Err((Exit::Usage, usage));
    }
    let _ = term.write_str(&format!("Add this peer to {}? [y/N] ", config.display()));
    let answer = term.read_line().map_err(failed(Exit::Failed, "the answer cannot be read"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn warn_readable(config: &Path) {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata(config).is_ok_and(|file| file.mode() & 0o044 != 0) {
        say!("regrip: warning: others can read {}, which has the peer's key now", config.display());
    }
}

/// Most bytes of a key file that are read: more keys than anybody has peers.
const LARGEST_KEY_FILE: u64 = 1 << 20;

/// Arguments of `share`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = text::flowing("\
Every regular file in the folders is shared, at any depth, except links, hidden files, partial files
(.part, .!qB, .crdownload, files with a .aria2 file beside them, ...), files that accompany a film
(subtitles, pictures, .nfo), and regrip's own files (the database, the key file). Ids and episodes are
read from names as Radarr and Sonarr write them: `Film (2020) {tmdb-123}`, `Show S01E02`.

SIGTERM and Ctrl-C stop the server within 10 s, with exit code 0; a second signal stops it at once.
SIGHUP reloads the key file and the folders; a wrong key file changes nothing.

Examples:
  regrip share /films
  regrip share /films /series --listen 0.0.0.0:5226 --key-file keys"))]
pub(crate) struct ShareArgs {
    /// The folders to share
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,

    /// Address to listen on; without a key it must be a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5226")]
    pub listen: SocketAddr,

    /// A file with the keys that peers send in X-Api-Key, one per line and peer
    #[arg(long, value_name = "FILE", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,

    /// The environment variable with the key, or several, one per line
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,

    /// The database of SHA-256 digests [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn share(args: &ShareArgs) -> CommandResult {
    let keys = keys(args).map_err(|text| (Exit::Usage, text))?;
    let keys = CurrentKeys::new(keys);
    let state = state::path(args.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger = state::open_at(&state).map_err(|text| (Exit::Unusable, text))?;
    let signals = drive::signals_with_reload()?;
    let threads = Threads::start().map_err(failed(Exit::Unusable, "cannot start a thread"))?;
    // Listens first: a busy address is found at once, while the folders may take long.
    let at = format!("cannot listen at {}", args.listen);
    let server = Server::bind(args.listen, Limits::default()).map_err(failed(Exit::Usage, &at))?;
    let options = ShareOptions::new(args.dirs.clone());
    options.own_files.add_database(&state);
    if let Some(file) = &args.key_file {
        options.own_files.add(file);
    }
    let share = Share::start(&options, ledger).map_err(|error| (Exit::Usage, chain(&error)))?;
    announce(&share.census(), &server);
    start_log(LogFormat::Text);
    let stopped = async {
        // The channel closes only with the process.
        while let Ok(Signal::Reload) = signals.recv().await {
            reload(args, &keys).await;
            share.look_again();
        }
    };
    let answer = share.router(keys.clone()).answer();
    smol::block_on(server.run(threads.executor(), answer, stopped));
    Ok(Exit::Done)
}

/// Reads the key file again. A wrong one changes nothing.
async fn reload(args: &ShareArgs, keys: &CurrentKeys) {
    let of_now = args.clone();
    // On a thread of its own: the file may be on a disk that hangs.
    match smol::unblock(move || self::keys(&of_now)).await {
        Ok(now) => {
            keys.replace(now);
            say!("regrip: reloaded keys and folders");
        }
        Err(text) => say!("regrip: kept the previous keys: {text}"),
    }
}

/// Keys from the file or the variable. Without any, the address must be a loopback address.
fn keys(args: &ShareArgs) -> Result<Option<Keys>, String> {
    let (place, keys) = match (&args.key_file, &args.key_env) {
        (Some(file), _) => {
            let text = text_file::read(file, LARGEST_KEY_FILE)
                .map_err(|error| format!("the key file cannot be read: {error}"))?;
            ("the key file", Keys::parse(&text))
        }
        (None, Some(name)) => {
            let text = std::env::var(name).map_err(|_| "the environment has no variable of the name in --key-env")?;
            // A single line is the key itself; several are those of a file.
            let keys = match text.trim().contains('\n') {
                true => Keys::parse(&text),
                false => Keys::new([text.as_str()]),
            };
            ("the variable of --key-env", keys)
        }
        (None, None) if args.listen.ip().is_loopback() => return Ok(None),
        (None, None) => {
            let line = format!("{} is not a loopback address, which requires a key", args.listen);
            return Err(text::with_advice(&line, Some("name keys with --key-file or --key-env")));
        }
    };
    keys.map(Some).map_err(|error| format!("{place}: {error}"))
}

/// Prints what is shared and at which address, and what is left out.
fn announce(census: &Census, server: &Server) {
    let files = text::count(u32::try_from(census.files).unwrap_or(u32::MAX), "file");
    let line = format!("sharing {files}, {}, at http://{}", text::bytes(census.bytes), server.address());
    // Nobody reads it: serving goes on.
    let _ = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
    let left_out = [
        (census.refused_names, "left out: peers refuse such a name", "file"),
        (census.shadowed, "left out: another folder has the same path", "file"),
        (census.unreadable, "left out: not readable", "folder"),
    ];
    for (count, why, thing) in left_out {
        if count > 0 {
            say!("regrip: {} {why}", text::count(u32::try_from(count).unwrap_or(u32::MAX), thing));
        }
    }
    if census.cut_short {
        say!("regrip: the folders have more files, or deeper ones, than can be shared");
    }
}

pub(crate) const STUB_EXAMPLES: &str = "\
Examples:
  regrip stub create --peer https://anna.example --item 42 --name Film --length 60000000000
  regrip stub inspect Film.torrent";

/// What to do with a stub.
#[derive(Debug, Subcommand)]
pub(crate) enum StubCommand {
    /// Create a stub; an existing file is not touched
    Create(StubCreate),
    /// Print the contents of a stub, or why it is not one (exit code 1)
    Inspect(StubInspect),
}

/// Arguments of `stub create`.
#[derive(Debug, clap::Args)]
pub(crate) struct StubCreate {
    /// The peer's URL, exactly as in the configuration of the server that gets the stub
    #[arg(long, value_name = "URL")]
    pub peer: String,

    /// The peer's id of the item
    #[arg(long, value_name = "ID")]
    pub item: String,

    /// A name to show; the peer's release names the file
    #[arg(long)]
    pub name: String,

    /// Size of the item in bytes
    #[arg(long, value_name = "N")]
    pub length: u64,

    /// The file to write [default: NAME.torrent]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `stub inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct StubInspect {
    /// The stub
    pub file: PathBuf,
}

/// Creates a stub, for tests and for users whose indexer creates none, or prints what one contains.
pub(super) fn stub(args: &StubCommand) -> CommandResult {
    match args {
        StubCommand::Create(args) => create_stub(args),
        StubCommand::Inspect(args) => inspect_stub(args),
    }
}

fn create_stub(args: &StubCreate) -> CommandResult {
    let (stub, file) = stub_of(args).map_err(|text| (Exit::Usage, text))?;
    let what = format!("cannot write {}", file.display());
    // An existing file is not touched.
    File::create_new(&file)
        .and_then(|mut file| file.write_all(&stub.write()))
        .map_err(failed(Exit::Unusable, &what))?;
    out!("{}", file.display());
    Ok(Exit::Done)
}

/// The stub, and the file it goes to.
fn stub_of(args: &StubCreate) -> Result<(Stub, PathBuf), String> {
    if args.peer.parse::<Origin>().is_err() {
        return Err(format!("--peer {} is not an http or https URL", regrip_core::display_url(&args.peer)));
    }
    let stub =
        Stub::new(id_of(&args.peer), &args.item, &args.name, args.length).map_err(|refused| refused.to_string())?;
    let file = match &args.output {
        Some(file) => file.clone(),
        None => {
            let name = format!("{}.torrent", args.name);
            let name = SafeName::new(&name).map_err(|error| format!("{error}; name it by -o FILE"))?;
            PathBuf::from(name.as_str())
        }
    };
    Ok((stub, file))
}

fn inspect_stub(args: &StubInspect) -> CommandResult {
    let file = args.file.display();
    let bytes = read_stub(&args.file).map_err(failed(Exit::Usage, &format!("cannot read {file}")))?;
    let stub = Stub::read(&bytes).map_err(failed(Exit::Failed, &format!("{file} is not a stub")))?;
    out!("peer    {}", stub.peer);
    out!("item    {}", stub.item);
    out!("name    {}", stub.name);
    out!("length  {}", stub.length);
    Ok(Exit::Done)
}

/// Reads a file, at most one byte more than a stub may have.
fn read_stub(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
