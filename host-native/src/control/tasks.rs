//! The tasks that drive downloads, one for each.
//!
//! A task is started after the ledger was changed. A running one may have read the row before that: so the start is
//! remembered, and the row is looked at again when the task ends.

use super::downloads::Control;
use crate::ledger::NativeLedger;
use crate::sync::lock;
use crate::time::Histogram;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::record::{Change, Failure, Row};
use regrip_core::time::Clock;
use regrip_core::{Class, DownloadId, Error, ErrorCode, Event, Source, Status, Summary, What, class, display_url};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};

/// How a drive ended.
#[derive(Debug)]
pub struct End {
    /// The download.
    pub id: DownloadId,
    /// Its result. `Interrupted` if the process ends: the download is not finished then.
    pub result: Result<Summary, Error>,
}

/// Called at every end, in the download's own task. It must not block.
pub(super) type Hook = Arc<dyn Fn(&End) + Send + Sync>;

/// A drive under way.
struct Drive {
    /// It was started again meanwhile.
    again: bool,
    /// Closes when it is gone.
    _gone: Sender<Infallible>,
    going: Receiver<Infallible>,
}

#[derive(Default)]
struct TaskTable {
    drives: HashMap<DownloadId, Drive>,
    hooks: Vec<Hook>,
    /// Gone once everything is ending.
    going_on: Option<Sender<Infallible>>,
}

/// The table.
pub(super) struct Tasks {
    table: Mutex<TaskTable>,
    /// Closes once everything is ending.
    ending: Receiver<Infallible>,
    /// How long it took to complete downloads.
    pub(super) completed: Histogram,
}

impl Default for Tasks {
    fn default() -> Self {
        let (going_on, ending) = bounded(1);
        let table = Mutex::new(TaskTable { going_on: Some(going_on), ..TaskTable::default() });
        Tasks { table, ending, completed: Histogram::default() }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tasks({})", self.count())
    }
}

impl Tasks {
    /// Returns `true` if the caller now owns the download; otherwise it has a task, or everything is ending.
    pub(super) fn enter(&self, id: DownloadId) -> bool {
        let mut state = lock(&self.table);
        if state.going_on.is_none() {
            return false;
        }
        if let Some(drive) = state.drives.get_mut(&id) {
            drive.again = true;
            return false;
        }
        let (gone, going) = bounded(1);
        let drive = Drive { again: false, _gone: gone, going };
        state.drives.insert(id, drive);
        true
    }

    /// Leaves the table, unless the download was started again. Returns `true` if it left.
    pub(super) fn leave(&self, id: DownloadId) -> bool {
        let mut state = lock(&self.table);
        let again = match state.drives.get_mut(&id) {
            Some(drive) => std::mem::take(&mut drive.again),
            None => false,
        };
        if again && state.going_on.is_some() {
            return false;
        }
        state.drives.remove(&id);
        true
    }

    /// Leaves the table in any case, for a task that was dropped.
    pub(super) fn drop_out(&self, id: DownloadId) {
        lock(&self.table).drives.remove(&id);
    }

    /// A channel that closes when the task of a download is gone; `None` if it has none.
    pub(super) fn going(&self, id: DownloadId) -> Option<Receiver<Infallible>> {
        let state = lock(&self.table);
        state.drives.get(&id).map(|drive| drive.going.clone())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        lock(&self.table).drives.len()
    }

    /// No more from now on.
    pub(super) fn end(&self) {
        lock(&self.table).going_on = None;
    }

    /// Closes once there are no more.
    pub(super) fn ending(&self) -> &Receiver<Infallible> {
        &self.ending
    }

    /// Adds a hook.
    pub(super) fn hook(&self, hook: Hook) {
        lock(&self.table).hooks.push(hook);
    }

    /// Calls every hook. Not under the lock: a hook may start a task.
    pub(super) fn tell(&self, end: &End) {
        let hooks = lock(&self.table).hooks.clone();
        for hook in hooks {
            hook(end);
        }
    }
}

impl<L: NativeLedger> Control<L> {
    /// Drives a download and calls the hooks, again if it was started again meanwhile.
    pub(super) async fn drive_until_done(&self, id: DownloadId) {
        loop {
            let begun = std::time::Instant::now();
            let result = self.drive_once(id).await;
            if result.is_ok() {
                self.0.tasks.completed.count(begun.elapsed());
                self.forget_terms(id);
            }
            self.0.events.forget(id);
            self.0.tasks.tell(&End { id, result });
            if self.0.tasks.leave(id) {
                return;
            }
            // It was started again, after its row was put back or by a caller who waits for an end. If the row is finished,
            // driving it does nothing but call the hooks.
        }
    }

    async fn drive_once(&self, id: DownloadId) -> Result<Summary, Error> {
        let row = self.ledger().row(id).await?;
        if row.status == Status::Paused {
            return Err(Error::Paused);
        }
        if !row.status.is_finished()
            && row.status != Status::Committing
            && let Some(names) = self.missing(&row)
        {
            return Err(self.fail(&row, Error::CredentialsMissing { names }).await);
        }
        self.0.engine.drive(id).await.map_err(called_off)
    }

    /// The headers that a download's requests need but that are not known, comma separated.
    pub(super) fn missing(&self, row: &Row) -> Option<String> {
        let known = match &row.new.source {
            Source::Url { .. } => self.own_header_names(row.id),
            Source::Peer { peer_id, .. } => self.0.peers.header_names(peer_id),
        };
        let names = row.new.header_names.iter();
        let missing: Vec<&str> = names.filter(|name| !known.contains(name)).map(String::as_str).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }

    /// Fails a download that cannot even be begun. Returns what it failed with.
    async fn fail(&self, row: &Row, error: Error) -> Error {
        let (class, code, text) =
            (class(&error, &self.0.engine.config().extra_retry_statuses), error.code(), chain(&error));
        match self.note_failure(row, class, code, text, error.advice()).await {
            Ok(()) => error,
            Err(refused) => refused,
        }
    }

    /// Records the failure of a download without a task, then sends the event.
    ///
    /// # Errors
    /// `Ledger`; no event was sent then.
    pub(crate) async fn note_failure(
        &self,
        row: &Row,
        class: Class,
        code: ErrorCode,
        text: String,
        advice: Option<&'static str>,
    ) -> Result<(), Error> {
        let host = self.0.engine.host();
        let failure = Failure { class, code: code.clone(), text: text.clone() };
        let at = host.clock().wall();
        let ledger = host.ledger();
        ledger.record(row.id, &Change::Failed(failure), at).await?;
        let summary = Summary {
            bytes: row.downloaded,
            attempts: row.attempts,
            restarts: row.restarts,
            class: Some(class),
            code: Some(code),
            error: Some(text),
            advice,
            ..Summary::default()
        };
        host.on_event(&Event {
            id: row.id,
            at,
            url: &display_url(row.new.source.url()),
            path: &row.new.destination,
            what: What::Failed(summary),
        });
        Ok(())
    }
}

/// A task that finds its row cancelled was cancelled before it began.
fn called_off(error: Error) -> Error {
    match error {
        Error::WrongState { status: Status::Cancelled, .. } => Error::Cancelled,
        error => error,
    }
}

/// Leaves the table even if the task is dropped or panics.
pub(super) struct DropOut<L: NativeLedger> {
    pub(super) control: Control<L>,
    pub(super) id: DownloadId,
    /// It has left. Another drive may have its place by now.
    pub(super) left: bool,
}

impl<L: NativeLedger> Drop for DropOut<L> {
    fn drop(&mut self) {
        if !self.left {
            self.control.0.tasks.drop_out(self.id);
        }
    }
}
