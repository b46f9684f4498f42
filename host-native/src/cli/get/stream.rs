//! `-o -`: files to standard output, one after the other, with no state file and no part.
//!
//! A broken connection is resumed within the run. Another run begins at the start of the file.

use super::network::NetworkOptions;
use super::run::config;
use super::target::Target;
use crate::cli::args::Get;
use crate::cli::drive;
use crate::cli::output::{CommandResult, Exit};
use crate::cli::report::{Json, Reporter, reporter};
use crate::host::Listener;
use crate::host::Workers;
use crate::store::{STDOUT, StdoutStore};
use crate::time::SmolClock;
use crate::transport::HttpTransport;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, Mark, NewAttempt, NewDownload, Row};
use regrip_core::{Algorithm, DownloadId, Engine, Error, Event, OnExists, Source, Summary, What};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::SystemTime;

/// Streams the targets in the order given, and stops at the first one that fails: what followed would be in its place.
pub(super) fn run(get: &Get, network: &NetworkOptions, targets: &[Target]) -> CommandResult {
    let reporter: Arc<dyn Reporter> = match get.json {
        true => Arc::new(Json::on_stderr()),
        false => reporter(false, get.quiet),
    };
    let config = config(get);
    let host = StreamHost {
        transport: HttpTransport::new(network.options(&config, targets, &reporter)),
        store: StdoutStore::new(),
        ledger: RowsInMemory::default(),
        clock: SmolClock::default(),
        listener: Arc::clone(&reporter) as Arc<dyn Listener>,
    };
    let engine = Engine::new(host, config, !get.no_digest).map_err(|error| (Exit::Usage, error.to_string()))?;
    let signal = drive::first_signal()?;
    let ending = Cell::new(false);
    let print = get.print_checksum.filter(|_| !get.json);
    let driven = all(&engine, &reporter, network, targets, print);
    let exit = drive::run(&engine, &signal, &Workers::new(1), &ending, driven);
    if exit == Exit::Interrupted {
        say!("regrip: interrupted; another run begins at the start");
    }
    Ok(exit)
}

async fn all(
    engine: &Engine<StreamHost>,
    reporter: &Arc<dyn Reporter>,
    network: &NetworkOptions,
    targets: &[Target],
    print_checksum: Option<Algorithm>,
) -> Exit {
    for target in targets {
        let new = NewDownload {
            source: Source::Url { url: target.url.to_string() },
            mirrors: target.mirrors.iter().map(|(url, _)| url.to_string()).collect(),
            header_names: network.header_names(target),
            destination: STDOUT.to_owned(),
            part: STDOUT.to_owned(),
            on_exists: OnExists::Overwrite,
            release_size: target.size,
            digests: target.digests(),
            adopt: false,
        };
        let accepted = match engine.accept(new).await {
            Ok(accepted) => accepted,
            Err(error) => {
                reporter.refused(target, &error);
                return Exit::from(&error);
            }
        };
        match engine.drive(accepted.id).await {
            // To standard error: the file itself is on standard output.
            Ok(summary) => {
                if let Some(hex) = print_checksum.and_then(|name| summary.hex(name)) {
                    say!("{hex}  -");
                }
            }
            // The reader closed it, as in `regrip get -o - URL | head`.
            Err(_) if engine.host().store.is_closed() => {
                reporter.warn("standard output was closed before the end of the file");
                return Exit::Failed;
            }
            Err(error) => return Exit::from(&error),
        }
    }
    Exit::Done
}

/// What streaming brings to the core.
struct StreamHost {
    transport: HttpTransport,
    store: StdoutStore,
    ledger: RowsInMemory,
    clock: SmolClock,
    listener: Arc<dyn Listener>,
}

impl Host for StreamHost {
    type Transport = HttpTransport;
    type Store = StdoutStore;
    type Ledger = RowsInMemory;
    type Clock = SmolClock;

    fn transport(&self) -> &HttpTransport {
        &self.transport
    }
    fn store(&self) -> &StdoutStore {
        &self.store
    }
    fn ledger(&self) -> &RowsInMemory {
        &self.ledger
    }
    fn clock(&self) -> &SmolClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        fastrand::u64(..)
    }
    fn on_event(&self, event: &Event<'_>) {
        match &event.what {
            What::Failed(_) if self.store.is_closed() => {}
            What::Failed(summary) => {
                // Nothing is kept for another run.
                let begins_anew = "run it again later: it begins at the start";
                let advice = summary.advice.filter(|advice| !advice.contains("kept")).or(Some(begins_anew));
                let summary = Summary { advice, ..summary.clone() };
                self.listener.hear(&Event { what: What::Failed(summary), ..*event });
            }
            _ => self.listener.hear(event),
        }
    }
}

/// A ledger of one run.
#[derive(Debug, Default)]
struct RowsInMemory(RefCell<Vec<Row>>);

impl RowsInMemory {
    fn change<T>(&self, id: DownloadId, change: impl FnOnce(&mut Row) -> T) -> Result<T, Error> {
        let mut rows = self.0.borrow_mut();
        let row = rows.iter_mut().find(|row| row.id == id);
        row.map(change).ok_or(Error::NoSuchDownload(id))
    }
}

impl Ledger for RowsInMemory {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        let mut rows = self.0.borrow_mut();
        let id = rows.last().map_or(1, |row| row.id + 1);
        rows.push(Row::new(id, new.clone()));
        Ok(id)
    }
    async fn row(&self, id: DownloadId) -> Result<Row, Error> {
        self.change(id, |row| row.clone())
    }
    async fn rows_for(&self, _destination: &str) -> Result<Vec<Row>, Error> {
        Ok(self.0.borrow().iter().rev().cloned().collect())
    }
    async fn unfinished_marks(&self) -> Result<Vec<Mark>, Error> {
        Ok(Vec::new())
    }
    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        self.change(id, Row::begin_attempt)
    }
    async fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> Result<(), Error> {
        self.change(id, |row| row.apply(change))
    }
    async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        self.0.borrow_mut().retain(|row| row.id != id);
        Ok(())
    }
}
