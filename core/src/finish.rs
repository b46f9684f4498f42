//! Gives a complete file its final name, and repairs a commit that a crash interrupted.
//!
//! Invariant: before the rename the file is counted, verified and synced, and the ledger has it as `committing` with its
//! identity. So after a crash at any point, start-up can determine if the file was renamed. After the rename nothing fails the
//! download any more: an error is then a warning on a completed download.

use crate::calls;
use crate::config::OnExists;
use crate::error::{Error, Failed};
use crate::host::{Host, PartOf, unless_alone};
use crate::job::{Job, is_foreign};
use crate::ledger::Ledger;
use crate::record::{Change, DigestRow, Failure, Outcome, Row, Status};
use crate::store::{Committed, Committing, Found, OpenPart, Part, PartStore, Replace};
use crate::time::Clock;
use crate::transfer::Whole;

/// Commits a complete part. From here on it is too late to cancel. `of_attempt` is `true` if the current attempt completed it.
///
/// A part without a name gets the final one at once. If something has that, the part gets its own name first: it may have to stay.
pub(crate) async fn commit<H: Host>(
    job: &mut Job<'_, H>,
    mut part: PartOf<H>,
    whole: Whole,
    of_attempt: bool,
) -> Result<(), Failed> {
    if !part.is_named() {
        unless_alone::<H, _>(name_if_taken(job, &mut part)).await?;
    }
    let durable = job.flush(&mut part).await?;
    let Whole { size, digests } = whole;
    let committing = Committing { token: part.token(), size };
    job.record(Change::Committing { committing, digests }).await?;
    if let Some(last_modified) = job.last_modified.as_ref().or(job.row.validators.last_modified.as_ref()) {
        part.note_last_modified(last_modified);
    }
    let committed = match name(job, part).await {
        Ok(committed) => committed,
        Err(error) => {
            // Without a claim, the part got its own name in the commit; if it is foreign, something else had that, too.
            if H::ALONE || job.row.claimed || !is_foreign(&error) {
                keep_whole(job, size, durable).await?;
            }
            return Err(error);
        }
    };
    let warning = match &committed {
        Committed::Durable => job.warning.as_ref(),
        Committed::WithWarning(error) => Some(error),
    };
    let warning = warning.map(|error| job.failure(error));
    let ended = of_attempt.then(|| job.attempt_ended(size, Outcome::Completed, None));
    completed(job, size, warning, ended).await;
    Ok(())
}

async fn name_if_taken<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>) -> Result<(), Failed> {
    match calls::exists(job.host, &job.row.new.destination).await? {
        true => job.name(part).await,
        false => Ok(()),
    }
}

/// Gives the part its name, by the rule for an existing file.
async fn name<H: Host>(job: &Job<'_, H>, part: PartOf<H>) -> Result<Committed, Failed> {
    let destination = &job.row.new.destination;
    let replace = match job.row.new.on_exists {
        // Another download, whose part this is, may have begun since this one was accepted.
        OnExists::Overwrite
            if !H::ALONE && unless_alone::<H, _>(calls::is_part_of_another(job.host, destination)).await? =>
        {
            Replace::Nothing
        }
        OnExists::Overwrite if job.host.may_replace(&job.row).await? => Replace::Existing,
        OnExists::Overwrite | OnExists::Fail | OnExists::Rename => Replace::Nothing,
    };
    Ok(job.host.store().commit(part, destination, replace).await?)
}

/// Records the end of the attempt and of the row: together, so that a ledger with transactions syncs once.
///
/// An error of the ledger is a warning, too: the row stays `committing`, and the next start repairs it.
async fn completed<H: Host>(job: &mut Job<'_, H>, size: u64, warning: Option<Failure>, ended: Option<Change>) {
    let (ledger, id, at) = (job.host.ledger(), job.row.id, job.host.clock().wall());
    let mut changes = Vec::from_iter(ended);
    changes.push(Change::Completed { size, warning });
    if let (Err(error), Some(Change::Completed { warning, .. })) =
        (ledger.record_all(id, None, &changes, at).await, changes.last_mut())
    {
        *warning = Some(job.failure(&error));
    }
    changes.iter().for_each(|change| job.row.apply(change));
}

/// Records how far the part is durable: all of a file, and even after a reboot none of it is requested again. Of a store that makes
/// the last bytes durable by its commit, they may be missing.
async fn keep_whole<H: Host>(job: &mut Job<'_, H>, size: u64, durable: u64) -> Result<(), Failed> {
    if !job.row.claimed && !H::ALONE {
        unless_alone::<H, _>(job.record(Change::Claimed(true))).await?;
    }
    // The part is closed by now; the row has the epoch it was written in.
    let epoch = job.row.epoch.clone().unwrap_or_default();
    job.record(Change::Checkpoint { downloaded: size, durable, epoch, digests: Vec::new() }).await
}

/// Finishes a commit that a crash interrupted; repeating it changes nothing more. Returns `false` if the download has to continue: the
/// part is not the file that was being renamed, or the file does not have the `wanted` digests. If the row is no longer `committing`,
/// only a renamed file counts.
///
/// # Errors
/// `Lost` if neither the part nor the destination is the file; else as the commit.
pub(crate) async fn repair<H: Host>(job: &mut Job<'_, H>, wanted: Option<&[DigestRow]>) -> Result<bool, Failed> {
    let Some(committing) = job.row.committing.clone() else {
        return Ok(false);
    };
    if wanted.is_some_and(|wanted| !has_digests(&job.row, wanted)) {
        return Ok(false);
    }
    let was_committing = job.row.status == Status::Committing;
    let (path, destination) = (&job.row.new.part, &job.row.new.destination);
    let found = job.host.store().find(path, destination, &committing).await?;
    let Committing { token, size } = committing;
    match found {
        Found::Destination => completed(job, size, None, None).await,
        Found::Part if was_committing => {
            let mut part = calls::open(job.host, path, OpenPart::Claimed).await?;
            if calls::length(&mut part).await? != size || part.token() != token {
                return Ok(false);
            }
            let digests = job.row.checksums();
            commit(job, part, Whole { size, digests }, false).await?;
        }
        // A part without a name is gone with its process, and there was nothing else.
        Found::Nothing if was_committing && job.row.claimed => return Err(Error::Lost.into()),
        Found::Part | Found::Nothing => return Ok(false),
    }
    Ok(true)
}

/// Returns `true` if the file of an interrupted commit has these digests, as far as they were computed.
pub(crate) fn has_digests(row: &Row, wanted: &[DigestRow]) -> bool {
    let has = |one: &DigestRow| one.wanted.is_none() || one.wanted.as_deref() == row.got(one.algorithm);
    wanted.iter().all(has)
}
