//! Runs `get`: opens the state, accepts every target, drives them together, and says how each one ended.

use super::network::{NetworkOptions, network};
use super::target::{Target, Targets, is_stream, targets};
use super::unchanged::is_unchanged;
use crate::cli::args::Get;
use crate::cli::drive;
use crate::cli::output::{CommandResult, Exit};
use crate::cli::report::{Reporter, WasDone, reporter};
use crate::cli::state::{self, Opened, StateLedger};
use crate::cli::text;
use crate::control::{Acceptance, Wanted, accept};
use crate::host::{Listener, NativeHost};
use crate::ledger::Catalogue;
use crate::store::{DiskStore, checksum_of};
use crate::time::SmolClock;
use crate::transport::HttpTransport;
use crate::workers::Workers;
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use regrip_core::engine::NewUrl;
use regrip_core::ledger::Ledger;
use regrip_core::record::Row;
use regrip_core::{Algorithm, DownloadId, DownloadsConfig, Engine, Error, OnExists, Source, Status};
use smol::Timer;
use smol::future::FutureExt;
use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many downloads may be waiting, for a permit or for another attempt, beside those whose bytes move. The rest of a long
/// list is neither rows nor memory yet.
const MAX_WAITING: usize = 256;

/// Targets accepted at once: in order, but with one write to the ledger for several.
const ACCEPTED_AT_ONCE: usize = 32;

/// How often a question to a server looks whether the process is to end.
const LOOK: Duration = Duration::from_millis(50);

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
    /// `--print-checksum`, unless `--json` has it in its lines.
    print_checksum: Option<Algorithm>,
}

impl Terms {
    fn wanted(&self, target: &Target) -> Wanted {
        Wanted {
            source: Source::Url { url: target.url.to_string() },
            header_names: self.network.header_names(target),
            destination: target.destination.clone(),
            release_size: None,
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

/// `--on-exists`, of which `--force` replaces the default.
fn on_exists(get: &Get) -> OnExists {
    match get.on_exists.into() {
        OnExists::Fail if get.force => OnExists::Overwrite,
        on_exists => on_exists,
    }
}

/// Runs the command.
pub(crate) fn main(get: &Get) -> CommandResult {
    let (network, targets) = read_args(get).map_err(|text| (Exit::Usage, text))?;
    let Targets { targets, collide, unusable } = targets;
    for line in &unusable {
        say!("regrip: {line}");
    }
    if targets.is_empty() {
        return Ok(Exit::Usage);
    }
    let unusable = match unusable.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if is_stream(get) {
        return Ok(unusable.max(super::stream::run(get, &network, &targets)?));
    }
    let reporter = reporter(get.json, get.quiet);
    let listener = Arc::clone(&reporter) as Arc<dyn Listener>;
    let engine = engine(get, &network, &targets, listener)?;
    let signal = drive::first_signal()?;
    let terms = Terms {
        network,
        on_exists: on_exists(get),
        adopt: get.adopt_part,
        force: get.force,
        print_checksum: get.print_checksum.filter(|_| !get.json),
    };
    let workers = Workers::new(get.jobs.min(u32::try_from(targets.len()).unwrap_or(u32::MAX)));
    let ending = Cell::new(false);
    let bounds = Bounds {
        driven: get.jobs as usize + MAX_WAITING,
        // One after the other, so that names are numbered in the order given.
        accepted: if collide { 1 } else { ACCEPTED_AT_ONCE },
    };
    let driven = all(&engine, &reporter, targets, &terms, bounds, &ending);
    let exit = unusable.max(drive::run(&engine, &signal, &workers, &ending, driven));
    reporter.end(exit, "run the same command again");
    Ok(exit)
}

fn read_args(get: &Get) -> Result<(NetworkOptions, Targets), String> {
    let network = network(get, |name| std::env::var(name).ok())?;
    let targets = targets(get)?;
    network.check(&targets.targets)?;
    Ok((network, targets))
}

/// The limits that were typed.
pub(super) fn config(get: &Get) -> DownloadsConfig {
    DownloadsConfig {
        max_concurrent_downloads: get.jobs,
        max_download_attempts: get.max_attempts,
        retry_base_delay_ms: get.retry_base_ms,
        retry_max_delay_ms: get.retry_max_ms,
        idle_timeout_ms: get.idle_timeout_ms,
        digest: get.print_checksum,
        ..DownloadsConfig::default()
    }
}

fn engine(
    get: &Get,
    network: &NetworkOptions,
    targets: &[Target],
    listener: Arc<dyn Listener>,
) -> CommandResult<Engine<NativeHost<StateLedger>>> {
    let config = config(get);
    let folder = targets.first().and_then(|target| target.destination.parent());
    let state = state::open(get.state.as_ref(), folder.unwrap_or(Path::new(".")));
    let Opened { path, ledger, warning } = state.map_err(|text| (Exit::Unusable, text))?;
    if let Some(warning) = warning.filter(|_| !get.quiet) {
        say!("regrip: {warning}");
    }
    let store = DiskStore::new();
    store.own().add_database(&path);
    let host = NativeHost {
        transport: HttpTransport::new(network.options(&config, targets)),
        store,
        ledger,
        clock: SmolClock::default(),
        listener,
    };
    Engine::new(host, config, !get.no_digest).map_err(|error| (Exit::Usage, error.to_string()))
}

/// How many targets are accepted and how many downloads driven at once.
#[derive(Clone, Copy)]
struct Bounds {
    accepted: usize,
    driven: usize,
}

/// Accepts in order, so that rows are numbered as the URLs were typed, and drives what was accepted together.
async fn all(
    engine: &Engine<NativeHost<StateLedger>>,
    reporter: &Arc<dyn Reporter>,
    targets: Vec<Target>,
    terms: &Terms,
    bounds: Bounds,
    ending: &Cell<bool>,
) -> Exit {
    let mut exit = Exit::Done;
    let mut driven = FuturesUnordered::new();
    let mut ids = Vec::new();
    let ended = |result: Result<(), Error>| result.map_or_else(|error| Exit::from(&error), |()| Exit::Done);
    let mut accepted = stream::iter(targets)
        .map(|target| async move { (accept_one(engine, terms, &target, ending).await, target) })
        .buffered(bounds.accepted);
    while let Some((outcome, target)) = accepted.next().await {
        if ending.get() {
            exit = exit.max(Exit::Interrupted);
            break;
        }
        match outcome {
            Ok(Accepted::Done(row, how)) => {
                ids.push(row.id);
                reporter.was_done(&row, &how);
            }
            Ok(Accepted::Drive(id)) => {
                ids.push(id);
                let one = drive::one(engine.clone(), id);
                driven.push(Workers::spawn(one));
            }
            Err(error) => {
                reporter.refused(&target, &error);
                exit = exit.max(Exit::from(&error));
            }
        }
        while driven.len() >= bounds.driven {
            exit = exit.max(driven.next().await.map_or(Exit::Done, ended));
        }
    }
    while let Some(result) = driven.next().await {
        exit = exit.max(ended(result));
    }
    if let Some(algorithm) = terms.print_checksum {
        for id in ids {
            exit = exit.max(ended(print_checksum(engine, id, algorithm).await));
        }
    }
    exit
}

/// Prints the digest of a file, if it is complete, as sha256sum does.
async fn print_checksum(
    engine: &Engine<NativeHost<StateLedger>>,
    id: DownloadId,
    algorithm: Algorithm,
) -> Result<(), Error> {
    let row = engine.host().ledger.row(id).await?;
    if !matches!(row.status, Status::Completed | Status::ImportQueued) {
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
    /// A row to drive.
    Drive(DownloadId),
    /// A file that is there.
    Done(Box<Row>, WasDone),
}

/// Accepts a target. Under `overwrite` a file that is there, complete and unchanged, is replaced only if the server has
/// another version. `--force` gives up another download to the same destination.
async fn accept_one(
    engine: &Engine<NativeHost<StateLedger>>,
    terms: &Terms,
    target: &Target,
    ending: &Cell<bool>,
) -> Result<Accepted, Error> {
    let wanted = terms.wanted(target);
    let accepted = match accept(engine, &wanted).await {
        Err(Error::DestinationBusy { id, .. }) if terms.force => {
            engine.remove(id).await?;
            accept(engine, &wanted).await
        }
        accepted => accepted,
    };
    let outcome = match accepted? {
        Acceptance::Done(row) if terms.on_exists != OnExists::Overwrite => {
            let completed_at = engine.host().ledger.entry(row.id).await?.completed_at;
            return Ok(Accepted::Done(row, WasDone::NotAsked { completed_at }));
        }
        Acceptance::Done(row) if is_unchanged(engine, &row).or(interrupted(ending)).await? => {
            return Ok(Accepted::Done(row, WasDone::Unchanged));
        }
        Acceptance::Done(_) => {
            let again = Wanted { again: true, ..wanted };
            accept(engine, &again).await?
        }
        driven => driven,
    };
    Ok(match outcome {
        Acceptance::Drive(accepted, _) => Accepted::Drive(accepted.id),
        // Another run replaced it meanwhile.
        Acceptance::Done(row) => Accepted::Done(row, WasDone::Unchanged),
    })
}

/// Ends when the process is to end.
async fn interrupted<T>(ending: &Cell<bool>) -> Result<T, Error> {
    while !ending.get() {
        Timer::after(LOOK).await;
    }
    Err(Error::Interrupted)
}
