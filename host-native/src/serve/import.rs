//! Imports by Radarr and Sonarr: which servers a completed file is reported to, and how each import stands.
//!
//! Begin with [`Imports`]; one request is in `import_server`. The state of each import is in the ledger. The line that is shown
//! is for people, and nothing reads it back:
//!
//! ```text
//! accepted by Films; pending at Anime: the server answered 503; failed at Old: the server answered 401
//! ```
//!
//! Invariants: no error here fails a download; the state is recorded after every attempt, so that the next process resumes where
//! this one ended. A server that is down delays no other server.

use super::import_poll::imports_so_far;
use super::import_server::{seen, send, wants};
use super::reload::Settings;
use crate::config::ImportServer;
use crate::control::{Control, hash_of};
use crate::ledger::{Import, ImportState, LedgerEntry, NativeLedger};
use crate::sync::lock;
use async_lock::Mutex;
use futures::future::join_all;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::semaphore::Semaphore;
use regrip_core::time::Clock;
use regrip_core::{DownloadId, Error, is_transient};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Commands that one server gets at once.
const AT_ONCE: usize = 2;

/// Between two rounds of attempts, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What matters of a release here.
#[derive(Deserialize)]
struct ReleaseCategory {
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
    /// By download and server: what the server had imported before it was given the file.
    before: std::sync::Mutex<HashMap<(DownloadId, String), HashSet<u64>>>,
}

/// One download's import.
struct ImportRun<'a, L: NativeLedger> {
    imports: &'a Imports<L>,
    id: DownloadId,
    /// The finished file.
    file: String,
    /// Locked while it is written down, so that the last word is the last.
    states: Mutex<ImportStates>,
}

impl<L: NativeLedger> Imports<L> {
    /// Nothing is sent yet.
    pub(crate) fn new(control: Control<L>, settings: Settings, completed: PathBuf) -> Self {
        Imports {
            control,
            settings,
            completed,
            under_way: std::sync::Mutex::default(),
            queues: std::sync::Mutex::default(),
            before: std::sync::Mutex::default(),
        }
    }

    /// What a server had imported before it was given the file of a download, if this process asked.
    pub(super) fn before(&self, id: DownloadId, server: &str) -> Option<HashSet<u64>> {
        lock(&self.before).get(&(id, server.to_owned())).cloned()
    }

    /// Downloads that wait for no import are forgotten.
    pub(super) fn forget_all_but(&self, waits: impl Fn(DownloadId) -> bool) {
        let under_way = lock(&self.under_way).clone();
        lock(&self.before).retain(|(id, _), _| under_way.contains(id) || waits(*id));
    }

    /// Asks a server once what it has imported so far of a hash and a file.
    async fn look_at_history(&self, id: DownloadId, server: &ImportServer, hash: &str, file: &str) {
        let key = (id, server.name.clone());
        if lock(&self.before).contains_key(&key) {
            return;
        }
        let path = seen(file, &self.completed, server.import_path.as_deref()).unwrap_or_default();
        if let Some(so_far) = imports_so_far(&self.control, server, [hash, &path]).await {
            lock(&self.before).insert(key, so_far);
        }
    }

    /// Notifies every server that imports the category of a completed download. Returns once all accepted or failed for
    /// good. `again` includes those that accepted before.
    ///
    /// # Errors
    /// What keeps the row from being read.
    pub(crate) async fn import(&self, id: DownloadId, again: bool) -> Result<(), Error> {
        if !lock(&self.under_way).insert(id) {
            return Ok(());
        }
        let done = self.tell_all(id, again).await;
        lock(&self.under_way).remove(&id);
        done
    }

    async fn tell_all(&self, id: DownloadId, again: bool) -> Result<(), Error> {
        let entry = self.control.ledger().entry(id).await?;
        self.control.follow_torrents().await?;
        if let Some(hash) = entry.stub_name.as_deref().and_then(hash_of) {
            let torrent = self.control.torrents().get(hash);
            let server = torrent.and_then(|torrent| torrent.server).filter(|name| self.server(name).is_some());
            self.leave(&entry, hash, server).await;
            return Ok(());
        }
        let Some(json) = entry.release_json else {
            // By its URL: nobody knows what it is.
            return Ok(());
        };
        let Ok(ReleaseCategory { category }) = serde_json::from_str(&json) else {
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
        let states = ImportStates::go_on(&wanting, &before);
        let pending = states.pending();
        let import = ImportRun { imports: self, id, file: entry.row.new.destination, states: Mutex::new(states) };
        import.change(|_| {}).await;
        join_all(pending.iter().map(|name| import.tell(name))).await;
        Ok(())
    }

    /// Leaves a download to the server that added it to the download client, or if that is unknown to those that may have:
    /// they ask for it themselves.
    async fn leave(&self, entry: &LedgerEntry, hash: &str, server: Option<String>) {
        let (id, file, release) = (entry.row.id, &entry.row.new.destination, entry.release_json.as_deref());
        let category = release.and_then(|json| serde_json::from_str(json).ok());
        let wanting = category.map(|ReleaseCategory { category }| self.wanting(category)).unwrap_or_default();
        let names = server.map_or(wanting, |server| vec![server]);
        let line = match names.is_empty() {
            true => "left to the program that added it to the download client".to_owned(),
            false => format!("left to {}", names.join(", ")),
        };
        let looked = names.iter().filter_map(|name| self.server(name));
        join_all(looked.map(async |server| self.look_at_history(id, &server, hash, file).await)).await;
        let accepted = |name: &String| Import { state: ImportState::Accepted, ..Import::new(name) };
        self.note(id, names.iter().map(accepted).collect(), line).await;
    }

    /// The names of the servers that import a category.
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
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get(name) {
            return Some(queue.clone());
        }
        let queue = Semaphore::new(AT_ONCE).ok()?;
        queues.insert(name.to_owned(), queue.clone());
        Some(queue)
    }

    async fn note(&self, id: DownloadId, imports: Vec<Import>, shown: String) {
        let at = self.control.engine().host().clock().wall();
        let ledger = self.control.ledger();
        match ledger.record_imports(id, imports, shown, at).await {
            // It was removed, or taken up again.
            Ok(()) | Err(Error::NoSuchDownload(_) | Error::WrongState { .. }) => {}
            Err(error) => {
                tracing::error!(id, error = %chain(&error), "cannot record the import result");
            }
        }
    }
}

impl<L: NativeLedger> ImportRun<'_, L> {
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
                    return self.set(name, CommandResult::Accepted).await;
                }
                Err(error) => error,
            };
            let gives_up = !is_transient(&error, &config.extra_retry_statuses) || host.clock().now() >= deadline;
            let why = chain(&error);
            if gives_up {
                tracing::error!(id = self.id, server = name, error = %why, "the import failed");
                return self.set(name, CommandResult::Failed(why)).await;
            }
            tracing::warn!(id = self.id, server = name, error = %why, "retrying the import in {} s", rest.as_secs());
            let next_try = host.clock().wall().checked_add(rest);
            self.change(|states| states.wait(name, next_try)).await;
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
        let random = fastrand::Rng::with_seed(host.seed());
        let _turn = match self.imports.queue(name) {
            Some(queue) => Some(queue.acquire().await),
            None => None,
        };
        policy
            .retry(|delay| host.clock().sleep(delay), random, |_| self.attempt(name))
            .when(|error| is_transient(error, &config.extra_retry_statuses))
            .retry_after(Error::retry_after)
            .await
    }

    async fn attempt(&self, name: &str) -> Result<(), Error> {
        let imports = self.imports;
        let Some(server) = imports.server(name) else {
            let what = "the server is not configured any more".to_owned();
            return Err(Error::Protocol(what));
        };
        let engine = imports.control.engine();
        let path = seen(&self.file, &imports.completed, server.import_path.as_deref())?;
        imports.look_at_history(self.id, &server, "", &self.file).await;
        self.states.lock().await.send(name);
        let sent = send(engine.host(), &server, &path).await;
        if let Err(error) = &sent {
            self.set(name, CommandResult::Pending(chain(error))).await;
        }
        sent
    }

    async fn set(&self, name: &str, result: CommandResult) {
        self.change(|states| states.set(name, result)).await;
    }

    /// Changes what is known, and writes it down.
    async fn change(&self, change: impl FnOnce(&mut ImportStates)) {
        let mut states = self.states.lock().await;
        change(&mut states);
        let (imports, shown) = (states.imports().to_vec(), states.to_string());
        self.imports.note(self.id, imports, shown).await;
    }
}

/// Between what is said of two servers.
const BETWEEN: &str = "; ";

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandResult {
    /// It failed, and another one follows.
    Pending(String),
    /// The server accepted it.
    Accepted,
    /// It failed for good.
    Failed(String),
}

/// The imports of one download, by server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportStates(Vec<Import>);

impl ImportStates {
    /// At these servers; what was accepted `before`, or failed for good, is not tried again.
    pub(super) fn go_on(names: &[String], before: &[Import]) -> ImportStates {
        let import = |name: &String| match before.iter().find(|import| import.server == *name) {
            Some(known) if known.state != ImportState::Pending => known.clone(),
            Some(known) => Import { tries: known.tries, ..Import::new(name) },
            None => Import::new(name),
        };
        ImportStates(names.iter().map(import).collect())
    }

    /// A command is about to be sent.
    pub(super) fn send(&mut self, name: &str) {
        self.change(name, |import| {
            import.tries = import.tries.saturating_add(1);
            import.next_try = None;
        });
    }

    /// Records the result of a command.
    pub(super) fn set(&mut self, name: &str, result: CommandResult) {
        self.change(name, |import| {
            (import.state, import.error) = match result {
                CommandResult::Pending(why) => (ImportState::Pending, Some(why)),
                CommandResult::Accepted => (ImportState::Accepted, None),
                CommandResult::Failed(why) => (ImportState::Failed, Some(why)),
            };
            import.next_try = None;
        });
    }

    /// The next command is sent at `next_try`.
    pub(super) fn wait(&mut self, name: &str, next_try: Option<SystemTime>) {
        self.change(name, |import| import.next_try = next_try);
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Import)) {
        let here = self.0.iter_mut().find(|import| import.server == name);
        if let Some(here) = here {
            change(here);
        }
    }

    /// The servers whose import is pending.
    pub(super) fn pending(&self) -> Vec<String> {
        let pending = self.0.iter().filter(|import| import.state == ImportState::Pending);
        pending.map(|import| import.server.clone()).collect()
    }

    /// As the ledger keeps them.
    pub(super) fn imports(&self) -> &[Import] {
        &self.0
    }
}

/// For people: nothing is read back from it.
impl fmt::Display for ImportStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, import) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(BETWEEN)?;
            }
            let how = match import.state {
                ImportState::Pending => "pending at",
                ImportState::Accepted => "accepted by",
                ImportState::Failed => "failed at",
            };
            write!(f, "{how} {}", one_line(&import.server))?;
            if let Some(why) = &import.error {
                write!(f, ": {}", one_line(why).replace(BETWEEN, ", "))?;
            }
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_next_process_goes_on_with_what_was_pending() {
        let all = names(&["Films", "Anime", "Old"]);
        let mut states = ImportStates::go_on(&all, &[]);
        assert_eq!(states.pending(), all);
        assert_eq!(states.to_string(), "pending at Films; pending at Anime; pending at Old");
        states.send("Anime");
        states.set("Films", CommandResult::Accepted);
        states.set("Anime", CommandResult::Pending("503; pending at noon".to_owned()));
        states.set("Old", CommandResult::Failed("the server\nanswered 401".to_owned()));
        states.wait("Anime", Some(UNIX_EPOCH + Duration::from_secs(1)));
        assert_eq!(
            states.to_string(),
            "accepted by Films; pending at Anime: 503, pending at noon; failed at Old: the server answered 401"
        );
        let again = ImportStates::go_on(&all, states.imports());
        assert_eq!(again.pending(), ["Anime"]);
        let anime = &again.imports()[1];
        assert_eq!((anime.tries, &anime.error, anime.next_try), (1, &None, None));
        // One that was configured since is notified as well.
        let more = ImportStates::go_on(&names(&["Films", "New"]), states.imports());
        assert_eq!(more.pending(), ["New"]);
    }

    #[test]
    fn a_name_that_reads_like_another_servers_line_is_that_servers_own() {
        let all = names(&["Film", "Films", "Film; failed at Films: no", "a\r\nb", "\"': "]);
        let mut states = ImportStates::go_on(&all, &[]);
        states.set("Films", CommandResult::Accepted);
        states.set("a\r\nb", CommandResult::Failed("no".to_owned()));
        let again = ImportStates::go_on(&all, states.imports());
        assert_eq!(again.pending(), ["Film", "Film; failed at Films: no", "\"': "]);
        assert!(!again.to_string().contains(['\r', '\n']), "{again}");
    }
}
