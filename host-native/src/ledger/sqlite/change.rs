//! What each [`Change`] does to the tables: the same as [`Row::apply`](regrip_core::record::Row::apply), in SQL.

use super::database::Fault;
use super::database::{integer, time};
use super::{catalogue, rows};
use crate::store::{FileStamp, is_object};
use regrip_core::record::{
    Behaviour, Change, DownloadId, Failure, KnownSize, Restart, RestartReason, Status, Terms, Validators, Waiting,
};
use regrip_core::store::Committing;
use regrip_core::{Error, bounds::Bounds};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{OptionalExtension, ToSql, Transaction, named_params};
use std::time::SystemTime;

/// What a new status sets: a wait is over with it.
const STANDS: &str = "status = :status, waiting_until = NULL, waiting_why = NULL";

/// One row, at one moment, within a transaction. What is set is collected for one statement, because each moves the row in
/// the indices.
struct Update<'a> {
    transaction: &'a Transaction<'a>,
    id: DownloadId,
    at: String,
    /// What is to be set.
    columns: String,
    params: Vec<(String, Value)>,
}

/// Applies changes, in this order.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    id: DownloadId,
    changes: &[Change],
    at: SystemTime,
) -> Result<(), Fault> {
    let (columns, params) = (String::new(), Vec::new());
    let mut row = Update { transaction, id, at: time(at), columns, params };
    for change in changes {
        apply_one(&mut row, change, at)?;
    }
    row.write()
}

fn apply_one(row: &mut Update<'_>, change: &Change, at: SystemTime) -> Result<(), Fault> {
    let (transaction, id) = (row.transaction, row.id);
    let reads = matches!(change, Change::Fresh { .. } | Change::Resumed { .. } | Change::Restart(_));
    if reads || row.params.iter().any(|(name, _)| name == ":status") {
        row.write()?; // what it changes depends on what is there
    }
    admit(transaction, id, change)?;
    match change {
        Change::Claimed(claimed) => row.set("claimed = :claimed", named_params! { ":claimed": claimed }),
        Change::Fresh { kept, restart, validators, size, mismatch, epoch, stated: _ } => {
            row.fresh(*kept, restart.as_ref(), *size, *mismatch, epoch)?;
            row.validators(validators)?;
            match restart {
                Some(restart) => catalogue::note_restart(transaction, id, restart),
                None => Ok(()),
            }
        }
        Change::Resumed { size, mismatch, epoch, stated: _ } => row.resumed(*size, *mismatch, epoch),
        Change::Checkpoint { downloaded, durable, epoch, digests: _ } => row.checkpoint(*downloaded, *durable, epoch),
        Change::Restart(restart) => {
            row.restart(restart)?;
            row.validators(&Validators::default())?;
            catalogue::note_restart(transaction, id, restart)
        }
        Change::Learned(behaviour) => row.behaviour(behaviour),
        Change::Moved { url, validators, terms } => {
            row.set("url = :url", named_params! { ":url": url })?;
            row.validators(validators)?;
            row.behaviour(&Behaviour::default())?;
            row.terms(terms)
        }
        Change::AttemptEnded { end, bounds } => {
            row.bounds(bounds)?;
            catalogue::end(transaction, id, end, at)
        }
        Change::Waits(waiting) => row.waits(waiting),
        Change::Queued => row.stands(Status::Queued),
        Change::Committing { committing, .. } => row.committing(committing),
        Change::Completed { size, warning } => row.completed(*size, warning.as_ref()),
        Change::Failed(failure) => row.failed(failure),
        Change::Cancelled => row.stands(Status::Cancelled),
        Change::Paused => row.stands(Status::Paused),
        Change::Unpaused => row.stands(Status::Queued),
        Change::Retried => row.retried(),
        Change::Terms(terms) => row.terms(terms),
    }?;
    rows::apply_to_digests(transaction, id, change)
}

/// Refuses what the row's status does not admit. In the transaction that writes, so that of two processes one comes first.
fn admit(transaction: &Transaction<'_>, id: DownloadId, change: &Change) -> Result<(), Fault> {
    if Status::ALL.iter().all(|status| status.admits(change)) {
        return Ok(()); // the frequent ones need no look
    }
    let mut select = transaction.prepare_cached("SELECT status FROM downloads WHERE id = ?1")?;
    let status: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
    if status.and_then(|name| Status::named(&name)).is_some_and(|status| status.admits(change)) {
        return Ok(());
    }
    Err(rows::row(transaction, id)?.wrong_state().into())
}

impl Update<'_> {
    /// Sets columns, with the others that are set; those that have a parameter in common are set one after the other.
    fn set(&mut self, columns: &str, params: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        if params.iter().any(|(name, _)| self.params.iter().any(|(had, _)| had == name)) {
            self.write()?;
        }
        self.columns.extend([columns, ", "]);
        for (name, value) in params {
            let value = match value.to_sql()? {
                ToSqlOutput::Owned(value) => Some(value),
                ToSqlOutput::Borrowed(value) => Value::try_from(value).ok(),
                _ => None,
            };
            let value = value.ok_or(rusqlite::Error::InvalidQuery)?; // no parameter here is of another kind
            self.params.push(((*name).to_owned(), value));
        }
        Ok(())
    }

    /// Sets what was collected. Every change of a row moves it to the front of the list.
    fn write(&mut self) -> Result<(), Fault> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let sql = format!("UPDATE downloads SET {}updated_at = :at WHERE id = :id", self.columns);
        let mut all: Vec<(&str, &dyn ToSql)> = vec![(":at", &self.at), (":id", &self.id)];
        all.extend(self.params.iter().map(|(name, value)| (name.as_str(), value as &dyn ToSql)));
        let changed = self.transaction.prepare_cached(&sql)?.execute(all.as_slice())?;
        self.columns.clear();
        self.params.clear();
        match changed {
            0 => Err(Error::NoSuchDownload(self.id).into()),
            _ => Ok(()),
        }
    }

    fn stands(&mut self, status: Status) -> Result<(), Fault> {
        self.set(STANDS, named_params! { ":status": status.name() })
    }

    /// Sets the status and other columns.
    fn stands_with(&mut self, status: Status, columns: &str, params: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        let columns = format!("{STANDS}, {columns}");
        let status = status.name();
        let mut all: Vec<(&str, &dyn ToSql)> = vec![(":status", &status)];
        all.extend_from_slice(params);
        self.set(&columns, &all)
    }

    fn fresh(
        &mut self,
        kept: u64,
        restart: Option<&Restart>,
        size: Option<KnownSize>,
        mismatch: bool,
        epoch: &str,
    ) -> Result<(), Fault> {
        if let Some(restart) = restart {
            self.count_restart(restart)?;
        }
        // Of a part without bytes nothing was compared: what was reached once is no progress again.
        let furthest = match kept > 0 || restart.is_some() {
            true => integer(kept),
            false => i64::MAX,
        };
        self.set(
            "expected_bytes = :bytes, expected_bytes_source = :source, expected_bytes_mismatch = :mismatch,
             boot_id = :boot_id, downloaded_bytes = :kept, durable_bytes = min(durable_bytes, :kept),
             bound_furthest = min(bound_furthest, :furthest), responses = 1, shrunk = NULL,
             committing_token = NULL, committing_size = NULL",
            named_params! {
                ":bytes": size.map(|size| integer(size.bytes)),
                ":source": size.map(|size| size.source.name()),
                ":mismatch": mismatch,
                ":boot_id": epoch,
                ":kept": integer(kept),
                ":furthest": furthest,
            },
        )
    }

    fn validators(&mut self, validators: &Validators) -> Result<(), Fault> {
        self.set(
            "etag = :etag, last_modified = :last_modified, last_modified_weak = :weak,
             content_type = :content_type",
            named_params! {
                ":etag": validators.etag,
                ":last_modified": validators.last_modified,
                ":weak": validators.last_modified.is_some() && !validators.last_modified_strong,
                ":content_type": validators.content_type,
            },
        )
    }

    fn behaviour(&mut self, behaviour: &Behaviour) -> Result<(), Fault> {
        self.set(
            "ignores_if_range = :ignores, refuses_ranges = :refuses, shrunk = :shrunk",
            named_params! {
                ":ignores": behaviour.ignores_if_range,
                ":refuses": behaviour.refuses_ranges,
                ":shrunk": behaviour.shrunk,
            },
        )
    }

    fn count_restart(&mut self, restart: &Restart) -> Result<(), Fault> {
        self.set(
            "restarts = min(restarts + 1, 4294967295), bound_restarts = min(bound_restarts + 1, 4294967295),
             digest_restarted = digest_restarted | :digest",
            named_params! { ":digest": restart.reason == RestartReason::DigestMismatch },
        )
    }

    fn resumed(&mut self, size: Option<KnownSize>, mismatch: bool, epoch: &str) -> Result<(), Fault> {
        self.set(
            "expected_bytes = coalesce(expected_bytes, :bytes),
             expected_bytes_source = coalesce(expected_bytes_source, :source),
             expected_bytes_mismatch = expected_bytes_mismatch | :mismatch,
             boot_id = :boot_id, responses = min(responses + 1, 4294967295)",
            named_params! {
                ":bytes": size.map(|size| integer(size.bytes)),
                ":source": size.map(|size| size.source.name()),
                ":mismatch": mismatch,
                ":boot_id": epoch,
            },
        )
    }

    fn checkpoint(&mut self, downloaded: u64, durable: u64, epoch: &str) -> Result<(), Fault> {
        self.set(
            "downloaded_bytes = :downloaded, durable_bytes = :durable, boot_id = :boot_id,
             committing_token = NULL, committing_size = NULL",
            named_params! {
                ":downloaded": integer(downloaded),
                ":durable": integer(durable),
                ":boot_id": epoch,
            },
        )
    }

    fn restart(&mut self, restart: &Restart) -> Result<(), Fault> {
        self.count_restart(restart)?;
        self.set(
            "bound_furthest = 0, expected_bytes = NULL, expected_bytes_source = NULL, boot_id = NULL, responses = 0,
             downloaded_bytes = 0, durable_bytes = 0, shrunk = NULL,
             committing_token = NULL, committing_size = NULL",
            &[],
        )
    }

    fn bounds(&mut self, bounds: &Bounds) -> Result<(), Fault> {
        self.set(
            "bound_in_a_row = :in_a_row, bound_in_all = :in_all, bound_restarts = :restarts, bound_furthest = :furthest",
            named_params! {
                ":in_a_row": bounds.in_a_row,
                ":in_all": bounds.in_all,
                ":restarts": bounds.restarts,
                ":furthest": integer(bounds.furthest),
            },
        )
    }

    fn waits(&mut self, waiting: &Waiting) -> Result<(), Fault> {
        self.set(
            "status = :status, waiting_until = :until, waiting_why = :why",
            named_params! {
                ":status": Status::Waiting.name(),
                ":until": time(waiting.until),
                ":why": waiting.why,
            },
        )
    }

    fn committing(&mut self, committing: &Committing) -> Result<(), Fault> {
        self.stands_with(
            Status::Committing,
            "committing_token = :token, committing_size = :size",
            named_params! {
                ":token": committing.token.0,
                ":size": integer(committing.size),
            },
        )
    }

    /// With the file's stamp: a later run then knows whether it is unchanged. Without one it reads the file. That of an object was
    /// recorded with the end of its upload.
    fn completed(&mut self, size: u64, warning: Option<&Failure>) -> Result<(), Fault> {
        if self.columns.contains("expected_bytes_mismatch") {
            self.write()?;
        }
        let mut select = self
            .transaction
            .prepare_cached("SELECT dest_path, completed_size, completed_mtime_ns FROM downloads WHERE id = ?1")?;
        let found = select.query_row([self.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let stamp = found.and_then(|(path, recorded, mtime_ns): (String, Option<i64>, Option<i64>)| {
            match is_object(path.as_ref()) {
                true => Some(FileStamp { size: u64::try_from(recorded?).ok()?, mtime_ns: mtime_ns? }),
                false => FileStamp::of(path.as_ref()).ok()?,
            }
        });
        let stamp = stamp.filter(|stamp| stamp.size == size);
        self.stands_with(
            Status::Completed,
            "committing_token = NULL, committing_size = NULL,
             error = :error, error_class = :class, error_code = :code, downloaded_bytes = :size, durable_bytes = :size,
             expected_bytes_mismatch = expected_bytes_mismatch | (release_size IS NOT NULL AND release_size <> :size),
             completed_at = :at, completed_size = :size, completed_mtime_ns = :mtime_ns",
            named_params! {
                ":size": integer(size),
                ":mtime_ns": stamp.map(|stamp| stamp.mtime_ns),
                ":error": warning.map(|warning| &warning.text),
                ":class": warning.map(|warning| warning.class.name()),
                ":code": warning.map(|warning| warning.code.as_str()),
            },
        )
    }

    fn failed(&mut self, failure: &Failure) -> Result<(), Fault> {
        self.stands_with(
            Status::Failed,
            "error = :error, error_class = :class, error_code = :code",
            named_params! {
                ":error": failure.text,
                ":class": failure.class.name(),
                ":code": failure.code.as_str(),
            },
        )
    }

    fn retried(&mut self) -> Result<(), Fault> {
        self.stands_with(
            Status::Queued,
            "bound_in_a_row = 0, bound_in_all = 0, bound_restarts = 0, digest_restarted = 0, error = NULL,
             error_class = NULL, error_code = NULL",
            &[],
        )
    }

    fn terms(&mut self, terms: &Terms) -> Result<(), Fault> {
        self.set(
            "adopt = :adopt, on_exists = :on_exists,
             header_names = :header_names, mirrors = :mirrors",
            named_params! {
                ":adopt": terms.adopt,
                ":on_exists": terms.on_exists.name(),
                ":header_names": rows::names(&terms.header_names)?,
                ":mirrors": rows::names(&terms.mirrors)?,
            },
        )
    }
}
