//! Runs `get`: opens the state, accepts every target, drives them together, and says how each one ended.

use super::network::{Network, network};
use super::target::{Target, targets};
use crate::cli::args::Get;
use crate::cli::report::{Reporter, reporter};
use crate::cli::state::{self, StateLedger};
use crate::cli::{Exit, drive, signals};
use crate::clock::SmolClock;
use crate::control::{Outcome, Wanted, accept};
use crate::host::{Listener, NativeHost};
use crate::store::DiskStore;
use crate::transport::HttpTransport;
use crate::workers::Workers;
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use regrip_core::{DownloadsConfig, Engine, Error, OnExists, Source};
use std::cell::Cell;
use std::sync::Arc;

/// How many downloads may be waiting, for a permit or for another attempt, beside those whose bytes move. The rest of a long
/// list is neither rows nor memory yet.
const MAX_WAITING: usize = 256;

/// How many targets are looked up at once. They are asked for in order, and what they write they write together.
const ACCEPTED_AT_ONCE: usize = 32;

/// How files are accepted.
#[derive(Debug)]
struct Terms {
    /// What requests carry.
    network: Network,
    /// `--on-exists`
    on_exists: OnExists,
    /// `--adopt-part`
    adopt: bool,
}

impl Terms {
    fn wanted(&self, target: &Target) -> Wanted {
        Wanted {
            source: Source::Url {
                url: target.url.to_string(),
            },
            header_names: self.network.header_names(target),
            destination: target.destination.clone(),
            release_size: None,
            sha256: target.sha256.clone(),
            on_exists: self.on_exists,
            adopt: self.adopt,
        }
    }
}

/// Runs the command.
pub(crate) fn main(get: &Get) -> Exit {
    let meant = network(get, |name| std::env::var(name).ok())
        .and_then(|network| Ok((network, targets(get)?)));
    let started = meant
        .map_err(|text| (Exit::Usage, text))
        .and_then(|(network, targets)| {
            let reporter = reporter(get.json, get.quiet);
            let listener = Arc::clone(&reporter) as Arc<dyn Listener>;
            let engine = engine(get, &network, &targets, listener)?;
            Ok((network, targets, reporter, engine))
        });
    let (network, targets, reporter, engine) = match started {
        Ok(started) => started,
        Err((exit, text)) => {
            say!("regrip: {text}");
            return exit;
        }
    };
    let signal = match signals::first() {
        Ok(signal) => signal,
        Err(error) => {
            say!("regrip: cannot listen for Ctrl-C: {error}");
            return Exit::Unusable;
        }
    };
    let terms = Terms {
        network,
        on_exists: get.on_exists.into(),
        adopt: get.adopt_part,
    };
    let workers = Workers::new(
        get.jobs
            .min(u32::try_from(targets.len()).unwrap_or(u32::MAX)),
    );
    let ending = Cell::new(false);
    let at_once = get.jobs as usize + MAX_WAITING;
    let driven = all(&engine, &reporter, targets, &terms, at_once, &ending);
    let exit = drive::run(&engine, &signal, &workers, &ending, driven);
    reporter.end(exit, "run the same command again");
    exit
}

fn engine(
    get: &Get,
    network: &Network,
    targets: &[Target],
    listener: Arc<dyn Listener>,
) -> Result<Engine<NativeHost<StateLedger>>, (Exit, String)> {
    let config = DownloadsConfig {
        max_concurrent_downloads: get.jobs,
        max_download_attempts: get.max_attempts,
        retry_base_delay_ms: get.retry_base_ms,
        retry_max_delay_ms: get.retry_max_ms,
        idle_timeout_ms: get.idle_timeout_ms,
        ..DownloadsConfig::default()
    };
    let path = state::path(get.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger = state::open(&path).map_err(|text| (Exit::Unusable, text))?;
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

/// Accepts in order, so that rows are numbered as the URLs were typed, and drives what was accepted together, `at_once` of
/// them at most.
async fn all(
    engine: &Engine<NativeHost<StateLedger>>,
    reporter: &Arc<dyn Reporter>,
    targets: Vec<Target>,
    terms: &Terms,
    at_once: usize,
    ending: &Cell<bool>,
) -> Exit {
    let mut exit = Exit::Done;
    let mut driven = FuturesUnordered::new();
    let ended =
        |result: Result<(), Error>| result.map_or_else(|error| Exit::from(&error), |()| Exit::Done);
    let mut accepted = stream::iter(targets)
        .map(|target| async move { (accept(engine, &terms.wanted(&target)).await, target) })
        .buffered(ACCEPTED_AT_ONCE);
    while let Some((outcome, target)) = accepted.next().await {
        if ending.get() {
            exit = exit.and(Exit::Interrupted);
            break;
        }
        match outcome {
            Ok(Outcome::Done(row)) => reporter.was_done(&row),
            Ok(Outcome::Drive(accepted, destination)) => {
                let one = drive::one(engine.clone(), accepted.id, destination);
                driven.push(Workers::spawn(one));
            }
            Err(error) => {
                reporter.refused(&target, &error);
                exit = exit.and(Exit::from(&error));
            }
        }
        while driven.len() >= at_once {
            exit = exit.and(driven.next().await.map_or(Exit::Done, ended));
        }
    }
    while let Some(result) = driven.next().await {
        exit = exit.and(ended(result));
    }
    exit
}
