//! What each [`Change`] does to the tables: the same as [`Row::apply`](regrip_core::record::Row::apply), in SQL.

use super::database::Fault;
use super::database::{integer, time};
use super::{catalogue, digests, rows};
use regrip_core::record::{
    Behaviour, Change, DownloadId, Failure, KnownSize, Restart, RestartReason, Status, Terms, Validators, Waiting,
};
use regrip_core::store::Committing;
use regrip_core::{Error, bounds::Bounds};
use rusqlite::{ToSql, Transaction, named_params};
use std::time::SystemTime;

/// What a new status sets: a wait is over with it.
const STANDS: &str = "status = :status, waiting_until = NULL, waiting_why = NULL";

/// One row, at one moment, within a transaction.
struct Update<'a> {
    transaction: &'a Transaction<'a>,
    id: DownloadId,
    at: String,
}

/// Applies a change.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    id: DownloadId,
    change: &Change,
    at: SystemTime,
) -> Result<(), Fault> {
    admit(transaction, id, change)?;
    let row = Update { transaction, id, at: time(at) };
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
    digests::apply(transaction, id, change)
}

/// Refuses what the row's status does not admit. In the transaction that writes, so that of two processes one comes first.
fn admit(transaction: &Transaction<'_>, id: DownloadId, change: &Change) -> Result<(), Fault> {
    if Status::ALL.iter().all(|status| status.admits(change)) {
        return Ok(()); // the frequent ones need no look
    }
    let row = rows::row(transaction, id)?;
    if row.status.admits(change) {
        return Ok(());
    }
    Err(row.wrong_state().into())
}

impl Update<'_> {
    /// Sets columns. Every change of a row moves it to the front of the list.
    fn set(&self, columns: &str, params: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        let sql = format!("UPDATE downloads SET {columns}, updated_at = :at WHERE id = :id");
        let mut all: Vec<(&str, &dyn ToSql)> = vec![(":at", &self.at), (":id", &self.id)];
        all.extend_from_slice(params);
        match self.transaction.prepare_cached(&sql)?.execute(all.as_slice())? {
            0 => Err(Error::NoSuchDownload(self.id).into()),
            _ => Ok(()),
        }
    }

    fn stands(&self, status: Status) -> Result<(), Fault> {
        self.set(STANDS, named_params! { ":status": status.name() })
    }

    /// Sets the status and other columns.
    fn stands_with(&self, status: Status, columns: &str, params: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        let columns = format!("{STANDS}, {columns}");
        let status = status.name();
        let mut all: Vec<(&str, &dyn ToSql)> = vec![(":status", &status)];
        all.extend_from_slice(params);
        self.set(&columns, &all)
    }

    fn fresh(
        &self,
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

    fn validators(&self, validators: &Validators) -> Result<(), Fault> {
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

    fn behaviour(&self, behaviour: &Behaviour) -> Result<(), Fault> {
        self.set(
            "ignores_if_range = :ignores, refuses_ranges = :refuses, shrunk = :shrunk",
            named_params! {
                ":ignores": behaviour.ignores_if_range,
                ":refuses": behaviour.refuses_ranges,
                ":shrunk": behaviour.shrunk,
            },
        )
    }

    fn count_restart(&self, restart: &Restart) -> Result<(), Fault> {
        self.set(
            "restarts = min(restarts + 1, 4294967295), bound_restarts = min(bound_restarts + 1, 4294967295),
             digest_restarted = digest_restarted | :digest",
            named_params! { ":digest": restart.reason == RestartReason::DigestMismatch },
        )
    }

    fn resumed(&self, size: Option<KnownSize>, mismatch: bool, epoch: &str) -> Result<(), Fault> {
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

    fn checkpoint(&self, downloaded: u64, durable: u64, epoch: &str) -> Result<(), Fault> {
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

    fn restart(&self, restart: &Restart) -> Result<(), Fault> {
        self.count_restart(restart)?;
        self.set(
            "bound_furthest = 0, expected_bytes = NULL, expected_bytes_source = NULL, boot_id = NULL, responses = 0,
             downloaded_bytes = 0, durable_bytes = 0, shrunk = NULL,
             committing_token = NULL, committing_size = NULL",
            &[],
        )
    }

    fn bounds(&self, bounds: &Bounds) -> Result<(), Fault> {
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

    fn waits(&self, waiting: &Waiting) -> Result<(), Fault> {
        self.set(
            "status = :status, waiting_until = :until, waiting_why = :why",
            named_params! {
                ":status": Status::Waiting.name(),
                ":until": time(waiting.until),
                ":why": waiting.why,
            },
        )
    }

    fn committing(&self, committing: &Committing) -> Result<(), Fault> {
        self.stands_with(
            Status::Committing,
            "committing_token = :token, committing_size = :size",
            named_params! {
                ":token": committing.token.0,
                ":size": integer(committing.size),
            },
        )
    }

    fn completed(&self, size: u64, warning: Option<&Failure>) -> Result<(), Fault> {
        self.stands_with(
            Status::Completed,
            "committing_token = NULL, committing_size = NULL,
             error = :error, error_class = :class, error_code = :code, downloaded_bytes = :size, durable_bytes = :size,
             expected_bytes_mismatch = expected_bytes_mismatch | (release_size IS NOT NULL AND release_size <> :size),
             completed_at = :at, completed_size = :size, completed_mtime_ns = NULL",
            named_params! {
                ":size": integer(size),
                ":error": warning.map(|warning| &warning.text),
                ":class": warning.map(|warning| warning.class.name()),
                ":code": warning.map(|warning| warning.code.as_str()),
            },
        )
    }

    fn failed(&self, failure: &Failure) -> Result<(), Fault> {
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

    fn retried(&self) -> Result<(), Fault> {
        self.stands_with(
            Status::Queued,
            "bound_in_a_row = 0, bound_in_all = 0, bound_restarts = 0, digest_restarted = 0, error = NULL,
             error_class = NULL, error_code = NULL",
            &[],
        )
    }

    fn terms(&self, terms: &Terms) -> Result<(), Fault> {
        self.set(
            "adopt = :adopt, on_exists = :on_exists,
             header_names = :header_names",
            named_params! {
                ":adopt": terms.adopt,
                ":on_exists": terms.on_exists.name(),
                ":header_names": rows::names(&terms.header_names)?,
            },
        )
    }
}
