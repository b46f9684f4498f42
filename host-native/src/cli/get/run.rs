//! Runs `get`: opens the state, accepts every target, drives them together, and says how each one ended.

use super::accept::{Outcome, Terms, accept};
use super::target::{Target, targets};
use crate::cli::args::Get;
use crate::cli::report::{Reporter, reporter};
use crate::cli::{Exit, signals, state, text};
use crate::clock::SmolClock;
use crate::host::{Listener, NativeHost};
use crate::ledger::{OpenError, SqliteLedger};
use crate::store::{DiskStore, FileStamp};
use crate::transport::{HttpTransport, TransportOptions};
use crate::workers::Workers;
use regrip_core::{DownloadsConfig, Engine, Error};
use smol::future::FutureExt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs the command.
pub(crate) fn main(get: &Get) -> Exit {
    let started = targets(get)
        .map_err(|text| (Exit::Usage, text))
        .and_then(|targets| {
            let reporter = reporter(get.json, get.quiet);
            let engine = engine(get, &targets, Arc::clone(&reporter) as Arc<dyn Listener>)?;
            Ok((targets, reporter, engine))
        });
    let (targets, reporter, engine) = match started {
        Ok(started) => started,
        Err((exit, text)) => {
            eprintln!("regrip: {text}");
            return exit;
        }
    };
    let signal = match signals::first() {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("regrip: cannot listen for Ctrl-C: {error}");
            return Exit::Unusable;
        }
    };
    let terms = Terms {
        on_exists: get.on_exists.into(),
        adopt: get.adopt_part,
    };
    let workers = Workers::new(
        get.jobs
            .min(u32::try_from(targets.len()).unwrap_or(u32::MAX)),
    );
    let end_on_signal = async {
        // No signal ever: the channel is closed only at the end.
        if signal.recv().await.is_ok() {
            engine.end();
        }
        pending().await
    };
    let exit = workers.run(all(&engine, &reporter, targets, terms).or(end_on_signal));
    reporter.end(exit);
    exit
}

fn engine(
    get: &Get,
    targets: &[Target],
    listener: Arc<dyn Listener>,
) -> Result<Engine<NativeHost>, (Exit, String)> {
    let config = DownloadsConfig {
        max_concurrent_downloads: get.jobs,
        max_download_attempts: get.max_attempts,
        retry_base_delay_ms: get.retry_base_ms,
        retry_max_delay_ms: get.retry_max_ms,
        idle_timeout_ms: get.idle_timeout_ms,
        ..DownloadsConfig::default()
    };
    let path = state::path(get.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger =
        SqliteLedger::open(&path).map_err(|error| (Exit::Unusable, unusable(&path, &error)))?;
    let transport = transport(&config, targets);
    let host = NativeHost {
        transport,
        store: DiskStore::new(),
        ledger,
        clock: SmolClock::default(),
        listener,
    };
    Engine::new(host, config, !get.no_digest).map_err(|error| (Exit::Usage, error.to_string()))
}

fn unusable(path: &Path, error: &OpenError) -> String {
    let line = format!(
        "the state file {} cannot be used: {}",
        path.display(),
        regrip_core::error::chain(error)
    );
    text::with_advice(&line, Some("name another one with --state"))
}

/// Credentials of a URL go to its origin and nowhere else, and are kept in memory only.
fn transport(config: &DownloadsConfig, targets: &[Target]) -> HttpTransport {
    let mut options = TransportOptions::new(config);
    for target in targets {
        if let Some((user, password)) = &target.userinfo {
            options.basic_auth(&target.url, user, password);
        }
    }
    HttpTransport::new(options)
}

/// Accepts in order, so that rows are numbered as the URLs were typed; then drives all together.
async fn all(
    engine: &Engine<NativeHost>,
    reporter: &Arc<dyn Reporter>,
    targets: Vec<Target>,
    terms: Terms,
) -> Exit {
    let mut exit = Exit::Done;
    let mut driven = Vec::new();
    for target in targets {
        match accept(engine, &target, terms).await {
            Ok(Outcome::Done(row)) => reporter.was_done(&row),
            Ok(Outcome::Drive(accepted, destination)) => driven.push((accepted.id, destination)),
            Err(error) => {
                reporter.refused(&target, &error);
                exit = exit.and(Exit::from(&error));
            }
        }
    }
    let tasks: Vec<_> = driven
        .into_iter()
        .map(|(id, path)| Workers::spawn(one(engine.clone(), id, path)))
        .collect();
    for task in tasks {
        if let Err(error) = task.await {
            exit = exit.and(Exit::from(&error));
        }
    }
    exit
}

async fn one(engine: Engine<NativeHost>, id: i64, path: PathBuf) -> Result<(), Error> {
    engine.drive(id).await?;
    // So that the next run knows the file is as it was left. Without it that run reads the file instead.
    if let Ok(Some(stamp)) = FileStamp::of(&path) {
        engine.host().ledger.stamp(id, stamp).await?;
    }
    Ok(())
}
