//! Runs `get`: opens the state, accepts every target, drives them together, and says how each one ended.

use super::ask::{Local, is_current, served_name};
use super::network::{NetworkOptions, network};
use super::target::{Target, Targets, is_stream, on_exists, targets};
use crate::accept::candidates;
use crate::cli::args::Get;
use crate::cli::drive;
use crate::cli::output::{CommandResult, Exit, print};
use crate::cli::report::{Reporter, RunEnd, WasDone, reporter};
use crate::cli::text;
use crate::control::{Acceptance, Wanted, accept, file_name, foreign_file, is_complete, parse_checksum};
use crate::hooks::{EndedDownload, HookFault, Hooks};
use crate::host::Workers;
use crate::host::{Listener, NativeHost};
use crate::ledger::{Catalogue, NativeLedger};
use crate::state::{self, Opened, StateLedger};
use crate::store::{FileStamp, FileStore, checksum_of, is_object, part_path};
#[cfg(feature = "fleet")]
use crate::store::{ObjectStore, S3Settings};
use crate::time::SmolClock;
use crate::transport::HttpTransport;
#[cfg(feature = "fleet")]
use crate::transport::TransportOptions;
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use regrip_core::engine::{Accepted as Admitted, NewUrl};
use regrip_core::ledger::Ledger;
use regrip_core::record::Row;
use regrip_core::{
    Algorithm, DownloadId, DownloadsConfig, Engine, Error, OnExists, SafeName, Source, Status, display_url,
};
use rustix::fs::{Access, access};
use serde_json::json;
use smol::Timer;
use smol::future::FutureExt;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::future::{pending, poll_fn, ready};
use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use url::Url;

/// How many downloads may be waiting, for a permit or for another attempt, beside those whose bytes move. The rest of a long
/// list is neither rows nor memory yet.
const MAX_WAITING: usize = 256;

/// Targets accepted at once: in order, but with one write to the ledger for several.
const ACCEPTED_AT_ONCE: usize = 32;

/// How often a question to a server looks whether the process is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The engine on the state file.
type StateEngine = Engine<NativeHost<StateLedger>>;

/// How files are accepted.
#[derive(Debug)]
struct Terms {
    /// What requests carry.
    network: NetworkOptions,
    /// `--on-exists`
    on_exists: OnExists,
    /// `--adopt-part`
    adopt: bool,
    /// `--force`
    force: bool,
    /// `--on-complete`
    on_complete: Option<Arc<OnComplete>>,
    /// `--newer`
    newer: bool,
    /// `--print-checksum`, unless `--json` has it in its lines.
    print_checksum: Option<Algorithm>,
}

impl Terms {
    fn wanted(&self, target: &Target) -> Wanted {
        Wanted {
            source: Source::Url { url: target.url.to_string() },
            mirrors: target.mirrors.iter().map(|(url, _)| url.to_string()).collect(),
            header_names: self.network.header_names(target),
            destination: target.destination.clone(),
            release_size: target.size,
            digests: target.digests(),
            on_exists: self.on_exists,
            adopt: self.adopt,
            again: self.force,
            new_url: match self.force {
                true => NewUrl::Refused,
                false => NewUrl::Any,
            },
        }
    }
}

/// The user's command, and the reporter that shows its output.
struct OnComplete {
    command: String,
    hooks: Hooks,
    reporter: Arc<dyn Reporter>,
}

impl fmt::Debug for OnComplete {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnComplete")
    }
}

impl OnComplete {
    /// Runs the command for a complete file.
    ///
    /// # Errors
    /// `Interrupted` if the process ends; any other failure of the command is a warning.
    async fn run(&self, id: DownloadId, url: &Url, path: &Path) -> Result<(), Error> {
        let path = path.display().to_string();
        let ended = EndedDownload { id, url: display_url(url.as_str()), path, status: "completed" };
        let say = |line: &str| self.reporter.note(&text::plain(line));
        match self.hooks.run(&self.command, &ended, &[], &say).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                let what = match fault {
                    HookFault::Ending => "was not run to its end",
                    _ => "failed",
                };
                let path = text::plain(&ended.path);
                self.reporter
                    .note(&format!("regrip: warning: the command of --on-complete for {path} {what}: {fault}"));
                match fault {
                    HookFault::Ending => Err(Error::Interrupted),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Runs the command.
pub(crate) fn main(get: &Get) -> CommandResult {
    let (network, targets) = read_args(get).map_err(|text| (Exit::Usage, text))?;
    let Targets { targets, collide, unusable, warnings, failed } = targets;
    for warning in warnings.iter().filter(|_| !get.quiet) {
        say!("regrip: warning: {warning}");
    }
    for line in &unusable {
        say!("regrip: {line}");
    }
    if targets.is_empty() {
        return Ok(if failed { Exit::Failed } else { Exit::Usage });
    }
    let unusable_exit = match unusable.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if get.dry_run {
        config(get).check().map_err(|error| (Exit::Usage, error.to_string()))?;
        return Ok(unusable_exit.max(show_plan(get, &targets)));
    }
    if is_stream(get) && get.on_complete.is_some() {
        return Err((Exit::Usage, "--on-complete needs a file, and -o - writes none".to_owned()));
    }
    if is_stream(get) {
        return Ok(unusable_exit.max(super::stream::run(get, &network, &targets)?));
    }
    make_folders(&targets)?;
    let (files, unusable) = (targets.len() + unusable.len(), unusable.len());
    let reporter = reporter(get.json, get.quiet);
    let engine = engine(get, &network, &targets, &reporter)?;
    let signal = drive::first_signal()?;
    let terms = Terms {
        network,
        on_exists: on_exists(get),
        adopt: get.adopt_part,
        force: get.force,
        on_complete: get
            .on_complete
            .clone()
            .map(|command| Arc::new(OnComplete { command, hooks: Hooks::default(), reporter: Arc::clone(&reporter) })),
        newer: get.newer,
        print_checksum: get.print_checksum.filter(|_| !get.json),
    };
    let workers = Workers::new(get.jobs.min(u32::try_from(files).unwrap_or(u32::MAX)));
    let ending = Cell::new(false);
    let bounds = Bounds {
        driven: get.jobs as usize + MAX_WAITING,
        named: get.jobs as usize,
        // One after the other, so that names are numbered in the order given.
        accepted: if collide { 1 } else { ACCEPTED_AT_ONCE },
    };
    let end_command = async {
        if let Some(on_complete) = &terms.on_complete {
            // Returns only if the process ends.
            let _: Result<(), Error> = interrupted(&ending).await;
            on_complete.hooks.end();
        }
        pending().await
    };
    let accepting = Accepting { engine: &engine, reporter: &*reporter, terms: &terms, ending: &ending };
    let driven = all(&accepting, targets, bounds).or(end_command);
    let exit = unusable_exit.max(drive::run(&engine, &signal, &workers, &ending, driven));
    reporter.end(&RunEnd { exit, files, unusable, to_resume: "run the same command again" });
    Ok(exit)
}

/// Checks the options about the network and the digest, as far as they can be checked without a URL.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn check(get: &Get) -> Result<(), String> {
    network(get, |name| std::env::var(name).ok())?;
    let checksum = get.checksum.as_deref().map(parse_checksum).transpose();
    checksum.map(drop).map_err(|error| error.to_string())
}

/// Prints where each target would be written to and what is there.
fn show_plan(get: &Get, targets: &[Target]) -> Exit {
    let folder = targets.first().and_then(|target| target.destination.parent()).filter(|folder| !is_object(folder));
    let ledger = state::existing(get.state.as_ref(), folder.unwrap_or(Path::new(".")));
    let mut lines = String::new();
    let mut named = HashSet::new();
    let length = |path: &Path| path.symlink_metadata().ok().map(|metadata| metadata.len());
    for target in targets {
        let is_complete = |path: &Path| {
            let ledger = ledger.as_ref()?;
            smol::block_on(is_complete(ledger, target.url.as_str(), path)).ok()
        };
        let is_free = |path: &PathBuf| {
            !named.contains(path) && (length(path).is_none() || is_complete(path) == Some(true)) || is_object(path)
        };
        let renamed = candidates(&target.destination, on_exists(get)).find(is_free);
        let destination = renamed.filter(|_| !is_stream(get)).unwrap_or_else(|| target.destination.clone());
        named.insert(destination.clone());
        let path = destination.to_string_lossy();
        let part = part_path(&destination);
        let part_bytes = length(&part).filter(|_| !is_stream(get));
        let is_ours = || {
            let rows = smol::block_on(ledger.as_ref()?.rows_for(&path)).ok()?;
            Some(rows.iter().any(|row| row.claimed && Path::new(&row.new.part) == part))
        };
        let found = match length(&destination).filter(|_| !is_stream(get)) {
            _ if is_object(&destination) => "unknown",
            Some(_) if is_complete(&destination) == Some(true) => "complete",
            Some(_) => "exists",
            None if part_bytes.is_some() && !get.adopt_part && is_ours() != Some(true) => "foreign_part",
            None if part_bytes.is_some() => "part",
            None => "nothing",
        };
        let part = part_bytes;
        let url = display_url(target.url.as_str());
        if get.json {
            let line = json!({"event": "dry_run", "url": url, "path": path, "found": found, "part_bytes": part});
            lines.push_str(&format!("{line}\n"));
        } else {
            let found = match (found, part) {
                ("complete", _) => "complete since an earlier run".to_owned(),
                ("unknown", _) => "object storage, which was not asked".to_owned(),
                ("exists", _) => "a file of that name exists".to_owned(),
                ("foreign_part", _) => "a partial file that regrip does not know; --adopt-part resumes it".to_owned(),
                (_, Some(bytes)) => format!("{} of partial data", text::bytes(bytes)),
                _ => "not there yet".to_owned(),
            };
            lines.push_str(&format!("{url}\n  {}: {found}\n", text::plain(&path)));
        }
    }
    print(lines.as_bytes())
}

fn read_args(get: &Get) -> Result<(NetworkOptions, Targets), String> {
    let network = network(get, |name| std::env::var(name).ok())?;
    let targets = targets(get, &|document| fetch_document(get, &network, document))?;
    network.check(&targets.targets)?;
    Ok((network, targets))
}

/// Creates the folders of files that are missing.
///
/// # Errors
/// `Unusable`: a folder cannot be created or written to.
fn make_folders(targets: &[Target]) -> CommandResult<()> {
    let mut made = None;
    let folders = targets.iter().filter_map(|target| target.destination.parent());
    for folder in folders.filter(|folder| !is_object(folder)) {
        if made.replace(folder) == Some(folder) {
            continue;
        }
        let about = |what: &str, error: &dyn std::fmt::Display| {
            let text = format!(
                "the folder {} cannot be {what}: {error}\n  choose another one with -d or -o",
                folder.display()
            );
            (Exit::Unusable, text)
        };
        let missing: Vec<&Path> = folder.ancestors().take_while(|one| !one.exists()).collect();
        std::fs::create_dir_all(folder).map_err(|error| about("created", &error))?;
        // So that a power failure does not take the folder of a completed file.
        for parent in missing.iter().filter_map(|one| one.parent()) {
            let _ = File::open(parent).and_then(|parent| parent.sync_all()); // not every file system can
        }
        access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| about("written to", &error))?;
    }
    Ok(())
}

/// Fetches a Metalink document.
fn fetch_document(get: &Get, network: &NetworkOptions, document: Target) -> Result<String, String> {
    let (config, reporter) = (config(get), reporter(get.json, get.quiet));
    let url = document.url.to_string();
    let transport = HttpTransport::new(network.options(&config, &[document], &reporter));
    let text = smol::block_on(super::ask::document(&transport, &config, &*reporter, &url));
    text.map_err(|error| regrip_core::error::chain(&error))
}

/// The limits that were typed.
pub(super) fn config(get: &Get) -> DownloadsConfig {
    let defaults = DownloadsConfig::default();
    DownloadsConfig {
        max_download_bytes: get.max_filesize.map_or(defaults.max_download_bytes, NonZeroU64::get),
        max_concurrent_downloads: get.jobs,
        connections_per_download: get.connections.unwrap_or_default(),
        max_download_attempts: get.max_attempts,
        retry_base_delay_ms: get.retry_base_ms,
        retry_max_delay_ms: get.retry_max_ms,
        idle_timeout_ms: get.idle_timeout_ms,
        digest: get.print_checksum,
        ..defaults
    }
}

fn engine(
    get: &Get,
    network: &NetworkOptions,
    targets: &[Target],
    reporter: &Arc<dyn Reporter>,
) -> CommandResult<StateEngine> {
    let config = config(get);
    let folder = targets.first().and_then(|target| target.destination.parent()).filter(|folder| !is_object(folder));
    let state = state::open(get.state.as_ref(), folder.unwrap_or(Path::new(".")));
    let Opened { path, ledger, warning } = state.map_err(|text| (Exit::Unusable, text))?;
    if let Some(warning) = warning.filter(|_| !get.quiet) {
        say!("regrip: {warning}");
    }
    let mut store = FileStore::new();
    store.remote_time = get.remote_time;
    store.set_file_mode(get.file_mode);
    store.own().add_database(&path);
    store.replace_delivered_only(get.force && get.on_exists.is_none());
    let options = network.options(&config, targets, reporter);
    #[cfg(feature = "fleet")]
    if let Some(target) = targets.iter().find(|target| is_object(&target.destination)) {
        store.objects = Some(objects(get, &config, options.clone(), (&path, &ledger), target)?);
    }
    let host = NativeHost {
        transport: HttpTransport::new(options),
        store,
        ledger,
        clock: SmolClock::default(),
        listener: Arc::clone(reporter) as Arc<dyn Listener>,
    };
    Engine::new(host, config, !get.no_digest).map_err(|error| (Exit::Usage, error.to_string()))
}

/// The object storage that the environment names, if it can be used for a target.
#[cfg(feature = "fleet")]
fn objects(
    get: &Get,
    config: &DownloadsConfig,
    options: TransportOptions,
    (state, ledger): (&Path, &StateLedger),
    target: &Target,
) -> CommandResult<ObjectStore> {
    let without = [
        (get.adopt_part, "--adopt-part"),
        (get.remote_time, "--remote-time"),
        (get.file_mode.is_some(), "--file-mode"),
    ];
    if let Some((_, option)) = without.iter().find(|(given, _)| *given) {
        return Err((Exit::Usage, format!("{option} is for files, and the destination is object storage")));
    }
    let settings = S3Settings::of_environment(|name| std::env::var(name).ok()).map_err(|why| (Exit::Usage, why))?;
    let policy = config.retry_policy().map_err(|error| (Exit::Usage, error.to_string()))?;
    let locks = state.parent().unwrap_or(Path::new(".")).to_owned();
    let objects = ObjectStore::new(settings, options, policy, Arc::new(ledger.clone()), locks, "");
    let ready = async {
        objects.check(&target.destination.to_string_lossy(), None).await?;
        // What cannot be aborted now stays in the ledger.
        let _ = objects.abort_uploads(None).await;
        Ok(())
    };
    smol::block_on(ready).map_err(|why: String| (Exit::Unusable, why))?;
    Ok(objects)
}

/// How many targets are named and accepted and how many downloads driven at once.
#[derive(Clone, Copy)]
struct Bounds {
    named: usize,
    accepted: usize,
    driven: usize,
}

/// Accepts in order, so that rows are numbered as the URLs were typed, and drives what was accepted together.
async fn all(accepting: &Accepting<'_>, targets: Vec<Target>, bounds: Bounds) -> Exit {
    let Accepting { engine, reporter, terms, ending } = accepting;
    let mut exit = Exit::Done;
    let mut driven = FuturesUnordered::new();
    let mut ids = Vec::new();
    let mut accepted = stream::iter(targets)
        .map(|target| async move { (accepting.name(&target).await, target) })
        .buffered(bounds.named)
        .map(|(named, target)| async move { (accepting.accept(&target, named).await, target) })
        .buffered(bounds.accepted);
    while let Some((outcome, target)) = accepted.next().await {
        if ending.get() {
            exit = exit.max(Exit::Interrupted);
            break;
        }
        match outcome {
            Ok(Accepted::Done(row, how)) => {
                ids.extend((how != WasDone::NotNewer).then_some(row.id)); // that file is no download
                reporter.was_done(&row, &how);
            }
            Ok(Accepted::Drive(Admitted { id, .. }, destination)) => {
                ids.push(id);
                let engine = (*engine).clone();
                let on_complete = terms.on_complete.clone();
                // The first poll is here: downloads start in that order.
                let mut one = Box::pin(async move {
                    engine.drive(id).await?;
                    match on_complete {
                        Some(on_complete) => on_complete.run(id, &target.url, &destination).await,
                        None => Ok(()),
                    }
                });
                let first = poll_fn(|context| Poll::Ready(one.as_mut().poll(context))).await;
                driven.push(match first {
                    Poll::Ready(result) => Workers::spawn(ready(result)),
                    Poll::Pending => Workers::spawn(one),
                });
            }
            Err(error) => {
                reporter.refused(&target, &error);
                exit = exit.max(Exit::from(&error));
            }
        }
        while driven.len() >= bounds.driven {
            exit = exit.max(driven.next().await.map_or(Exit::Done, Exit::from));
        }
    }
    while let Some(result) = driven.next().await {
        exit = exit.max(result.into());
    }
    if let Some(algorithm) = terms.print_checksum {
        for id in ids {
            exit = exit.max(print_checksum(engine, id, algorithm).await.into());
        }
    }
    exit
}

/// Prints the digest of a file, if it is complete, as sha256sum does.
async fn print_checksum(engine: &StateEngine, id: DownloadId, algorithm: Algorithm) -> Result<(), Error> {
    let row = engine.host().ledger.row(id).await?;
    if !row.status.is_complete() {
        return Ok(());
    }
    let path = &row.new.destination;
    let hex = match row.got(algorithm) {
        Some(hex) => hex.to_owned(),
        None => checksum_of(Path::new(path), algorithm)?.hex,
    };
    // Whoever read it may have gone.
    let _ = writeln!(std::io::stdout(), "{hex}  {}", text::plain(path));
    Ok(())
}

/// What a target led to.
enum Accepted {
    /// A row to drive, and the file it will be.
    Drive(Admitted, PathBuf),
    /// A file that is there.
    Done(Box<Row>, WasDone),
}

/// How targets are accepted.
struct Accepting<'a> {
    engine: &'a StateEngine,
    reporter: &'a dyn Reporter,
    terms: &'a Terms,
    /// The process is to end.
    ending: &'a Cell<bool>,
}

/// The destination of a target, and whether the server was asked for it.
type Named = (PathBuf, bool);

impl Accepting<'_> {
    /// Names the file of a target, if need be by what the server says.
    async fn name(&self, target: &Target) -> Result<Named, Error> {
        if !target.named_by_server {
            return Ok((target.destination.clone(), false));
        }
        if let Some(known) = self.known_destination(target).await? {
            return Ok((known, false));
        }
        Ok((self.served_destination(target).or(interrupted(self.ending)).await?, true))
    }

    /// The destination that an earlier run took from the server: of a download that goes on, or of a file that is there. By the
    /// URL and the folder, because the server may name the file otherwise now, or not answer.
    async fn known_destination(&self, target: &Target) -> Result<Option<PathBuf>, Error> {
        let Some(folder) = target.destination.parent() else {
            return Ok(None);
        };
        let keeps = self.terms.on_exists != OnExists::Overwrite;
        let rows = self.engine.host().ledger.rows_of_url(target.url.as_str(), folder).await?;
        let mut rows = rows.into_iter().map(|row| (PathBuf::from(row.new.destination), row.status, row.claimed));
        let known = rows.find(|(destination, status, claimed)| {
            // A download that has the URL's name may have been asked for without the option.
            let is_served = destination.parent() == Some(folder) && *destination != target.destination;
            is_served
                && match status {
                    Status::Failed | Status::Cancelled => *claimed,
                    Status::Completed | Status::ImportQueued | Status::Imported => keeps && destination.exists(),
                    _ => true,
                }
        });
        Ok(known.map(|(destination, ..)| destination))
    }

    /// The destination by the server's Content-Disposition, else by the URL.
    async fn served_destination(&self, target: &Target) -> Result<PathBuf, Error> {
        let by_url = file_name(&target.url).map(|_| target.destination.clone());
        let Some(name) = served_name(self.engine, self.reporter, target.url.as_str()).await? else {
            let why = "neither the server nor the URL names the file";
            return by_url.map_err(|_| Error::NameRefused { name: String::new(), why });
        };
        // A name with a dot could hide the file, or set up a program by it.
        let usable = match name.starts_with('.') {
            true => Err(Error::NameRefused { name: name.chars().take(80).collect(), why: "it begins with a dot" }),
            false => SafeName::on_this_system(&name),
        };
        match (usable, by_url) {
            (Ok(name), _) => Ok(target.destination.with_file_name(name.as_str())),
            (Err(refused), Ok(by_url)) => {
                self.reporter.warn(&format!("{refused}; the file is {}", text::plain(&by_url.to_string_lossy())));
                Ok(by_url)
            }
            (Err(refused), Err(_)) => Err(refused),
        }
    }

    /// Accepts a target. A response that was kept for it is dropped unless it is a download without a part: nobody asks for it.
    async fn accept(&self, target: &Target, named: Result<Named, Error>) -> Result<Accepted, Error> {
        let accepted = self.accept_as(target, named?).await;
        if !matches!(&accepted, Ok(Accepted::Drive(admitted, _)) if !admitted.known && !self.terms.adopt) {
            drop(self.engine.host().transport.kept(target.url.as_str()));
        }
        accepted
    }

    /// Under `overwrite` a file that is there, complete and unchanged, is replaced only if the server has another version, and
    /// under `--newer` any other file only if the server has a newer one. `--force` gives up another download to the same
    /// destination.
    async fn accept_as(&self, target: &Target, (destination, asked): Named) -> Result<Accepted, Error> {
        let (engine, terms) = (self.engine, self.terms);
        let wanted = Wanted { destination, ..terms.wanted(target) };
        if terms.newer
            && let Some((stamp, row)) = foreign_file(engine, &wanted).await?
            && self.is_current(&row, Some(stamp)).await?
        {
            return Ok(Accepted::Done(row, WasDone::NotNewer));
        }
        let accepted = match accept(engine, &wanted).await {
            Err(Error::DestinationBusy { id, .. }) if terms.force => {
                engine.remove(id).await?;
                accept(engine, &wanted).await
            }
            accepted => accepted,
        };
        let row = match accepted? {
            Acceptance::Drive(accepted, destination) => return Ok(Accepted::Drive(accepted, destination)),
            Acceptance::Done(row) => row,
        };
        if terms.on_exists != OnExists::Overwrite {
            let completed_at = engine.host().ledger.entry(row.id).await?.completed_at;
            return Ok(Accepted::Done(row, WasDone::NotAsked { completed_at, named: asked }));
        }
        let stamp = engine.host().store.look_at(&wanted.destination).await?.filter(|_| terms.newer);
        if self.is_current(&row, stamp).await? {
            return Ok(Accepted::Done(row, WasDone::Unchanged));
        }
        Ok(match accept(engine, &Wanted { again: true, ..wanted }).await? {
            Acceptance::Drive(accepted, destination) => Accepted::Drive(accepted, destination),
            // Another run replaced it meanwhile.
            Acceptance::Done(row) => Accepted::Done(row, WasDone::Unchanged),
        })
    }

    async fn is_current(&self, row: &Row, stamp: Option<FileStamp>) -> Result<bool, Error> {
        is_current(self.engine, self.reporter, Local { row, stamp }).or(interrupted(self.ending)).await
    }
}

/// Ends when the process is to end.
async fn interrupted<T>(ending: &Cell<bool>) -> Result<T, Error> {
    while !ending.get() {
        Timer::after(LOOK).await;
    }
    Err(Error::Interrupted)
}
