//! All imports that are under way.

use super::command::{send, wants};
use super::seen::seen;
use super::telling::{Telling, Told};
use crate::config::ImportServer;
use crate::control::Control;
use crate::ledger::{self, NativeLedger};
use crate::serve::settings::Settings;
use async_lock::Mutex;
use futures::future::join_all;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::retry::{RetryRules, Retrying};
use regrip_core::semaphore::Semaphore;
use regrip_core::time::Clock;
use regrip_core::{DownloadId, DownloadsConfig, Error, is_transient, retry};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// Commands that one server gets at once.
const AT_ONCE: usize = 2;

/// Between two rounds of attempts, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What matters of a release here.
#[derive(Deserialize)]
struct Release {
    category: u32,
}

/// Tells servers of finished downloads.
pub(crate) struct Imports<L: NativeLedger> {
    control: Control<L>,
    settings: Settings,
    completed: PathBuf,
    under_way: std::sync::Mutex<HashSet<DownloadId>>,
    /// By server.
    queues: std::sync::Mutex<HashMap<String, Semaphore>>,
}

/// The core's retry, by the configured policy.
struct Rules(Arc<DownloadsConfig>);

impl RetryRules<Error> for Rules {
    fn is_retryable(&self, error: &Error) -> bool {
        is_transient(error, &self.0.extra_retry_statuses)
    }
    fn retry_after(&self, error: &Error) -> Option<Duration> {
        error.retry_after()
    }
    fn on_retry(&mut self, _: Retrying<'_, Error>) {}
}

/// One download's import.
struct Import<'a, L: NativeLedger> {
    imports: &'a Imports<L>,
    id: DownloadId,
    /// The finished file.
    file: String,
    /// Locked while it is written down, so that the last word is the last.
    telling: Mutex<Telling>,
}

impl<L: NativeLedger> Imports<L> {
    /// Nothing is told yet.
    pub(crate) fn new(control: Control<L>, settings: Settings, completed: PathBuf) -> Self {
        Imports {
            control,
            settings,
            completed,
            under_way: std::sync::Mutex::default(),
            queues: std::sync::Mutex::default(),
        }
    }

    /// Tells every server that wants to hear of a completed download. Returns once all took it, or there is no hope.
    /// `again` tells also those that were told before.
    ///
    /// # Errors
    /// What keeps the row from being read.
    pub(crate) async fn import(&self, id: DownloadId, again: bool) -> Result<(), Error> {
        if !held(&self.under_way).insert(id) {
            return Ok(());
        }
        let done = self.tell_all(id, again).await;
        held(&self.under_way).remove(&id);
        done
    }

    async fn tell_all(&self, id: DownloadId, again: bool) -> Result<(), Error> {
        let entry = self.control.ledger().entry(id).await?;
        let Some(json) = entry.release_json else {
            // By its URL: nobody knows what it is.
            return Ok(());
        };
        let Ok(Release { category }) = serde_json::from_str(&json) else {
            return Ok(());
        };
        let wanting = self.wanting(category);
        if wanting.is_empty() {
            let line = format!("no server takes category {category}");
            self.note(id, Vec::new(), line).await;
            return Ok(());
        }
        let before = match again {
            true => Vec::new(),
            false => self.control.ledger().imports(id).await?,
        };
        let telling = Telling::go_on(&wanting, &before);
        let pending = telling.pending();
        let import = Import {
            imports: self,
            id,
            file: entry.row.new.destination,
            telling: Mutex::new(telling),
        };
        import.change(|_| {}).await;
        join_all(pending.iter().map(|name| import.tell(name))).await;
        Ok(())
    }

    /// The names of the servers that want to hear of a category.
    fn wanting(&self, category: u32) -> Vec<String> {
        let config = self.settings.get();
        let mut names: Vec<String> = Vec::new();
        for server in &config.import_servers {
            if wants(server, category) {
                names.push(server.name.clone());
            }
        }
        names
    }

    fn server(&self, name: &str) -> Option<ImportServer> {
        let config = self.settings.get();
        let mut servers = config.import_servers.iter();
        servers.find(|server| server.name == name).cloned()
    }

    fn queue(&self, name: &str) -> Option<Semaphore> {
        let mut queues = held(&self.queues);
        if let Some(queue) = queues.get(name) {
            return Some(queue.clone());
        }
        let queue = Semaphore::new(AT_ONCE).ok()?;
        queues.insert(name.to_owned(), queue.clone());
        Some(queue)
    }

    async fn note(&self, id: DownloadId, imports: Vec<ledger::Import>, shown: String) {
        let at = self.control.engine().host().clock().wall();
        let ledger = self.control.ledger();
        match ledger.record_imports(id, imports, shown, at).await {
            // It was removed, or taken up again.
            Ok(()) | Err(Error::NoSuchDownload(_) | Error::WrongState { .. }) => {}
            Err(error) => {
                tracing::error!(id, error = %chain(&error), "how the import went cannot be noted");
            }
        }
    }
}

impl<L: NativeLedger> Import<'_, L> {
    /// Tells one server, round by round, until it took the command, refused it, or patience ended.
    async fn tell(&self, name: &str) {
        let host = self.imports.control.engine().host();
        let config = self.imports.control.engine().config();
        let patience = Duration::from_millis(config.peer_patience_ms);
        let deadline = host.clock().now().after(patience);
        let mut rest = FIRST_REST;
        loop {
            let error = match self.round(name).await {
                Ok(()) => {
                    tracing::info!(id = self.id, server = name, "the import was accepted");
                    return self.set(name, Told::Accepted).await;
                }
                Err(error) => error,
            };
            let gives_up = !is_transient(&error, &config.extra_retry_statuses)
                || host.clock().now() >= deadline;
            let why = chain(&error);
            if gives_up {
                tracing::error!(id = self.id, server = name, error = %why, "the import failed");
                return self.set(name, Told::Failed(why)).await;
            }
            tracing::warn!(id = self.id, server = name, error = %why, "the import is tried again in {} s", rest.as_secs());
            let next_try = host.clock().wall().checked_add(rest);
            self.change(|telling| telling.wait(name, next_try)).await;
            host.clock().sleep(rest).await;
            rest = rest.saturating_mul(2).min(LONGEST_REST);
        }
    }

    /// As many attempts as are configured.
    async fn round(&self, name: &str) -> Result<(), Error> {
        let engine = self.imports.control.engine();
        let (host, config) = (engine.host(), engine.config());
        let policy = config.retry_policy();
        let policy = policy.map_err(|error| Error::Protocol(error.to_string()))?;
        let mut random = fastrand::Rng::with_seed(host.seed());
        let _turn = match self.imports.queue(name) {
            Some(queue) => Some(queue.acquire().await),
            None => None,
        };
        let attempt = |_| self.attempt(name);
        let mut rules = Rules(config);
        retry(&policy, host.clock(), &mut random, &mut rules, attempt).await
    }

    async fn attempt(&self, name: &str) -> Result<(), Error> {
        let imports = self.imports;
        let Some(server) = imports.server(name) else {
            let what = "the server is not configured any more".to_owned();
            return Err(Error::Protocol(what));
        };
        let engine = imports.control.engine();
        let path = seen(
            &self.file,
            &imports.completed,
            server.import_path.as_deref(),
        )?;
        self.telling.lock().await.send(name);
        let sent = send(engine.host(), &server, &path).await;
        if let Err(error) = &sent {
            self.set(name, Told::Pending(chain(error))).await;
        }
        sent
    }

    async fn set(&self, name: &str, told: Told) {
        self.change(|telling| telling.set(name, told)).await;
    }

    /// Changes what is known, and writes it down.
    async fn change(&self, change: impl FnOnce(&mut Telling)) {
        let mut telling = self.telling.lock().await;
        change(&mut telling);
        let (imports, shown) = (telling.imports().to_vec(), telling.to_string());
        self.imports.note(self.id, imports, shown).await;
    }
}

fn held<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
