//! Gives a whole file its final name, and repairs what a crash in that left behind.
//!
//! Invariant: the file is counted, verified and synced, and the ledger says `committing` with its identity, before the
//! rename; so after a crash at any point start-up can tell which side of the rename it was on. After the rename nothing
//! fails the download any more: what goes wrong then is a warning on a completed one.

use crate::bounds::Bounds;
use crate::config::OnExists;
use crate::error::{Error, Failed};
use crate::host::Host;
use crate::job::{Job, PartOf};
use crate::ledger::Ledger;
use crate::record::{AttemptEnd, Change, DigestRow, Failure, Outcome, Row};
use crate::store::{Committed, Committing, Found, OpenPart, Part, PartStore, Replace};
use crate::time::Clock;
use crate::transfer::Whole;

/// Commits a whole part. From here on a cancel is too late. `bounds` are those after the attempt that completed it, if
/// there was one.
///
/// An unnamed part gets the final name at once, unless something has it: then there is a part to keep, or to replace it.
pub(crate) async fn commit<H: Host>(
    job: &mut Job<'_, H>,
    mut part: PartOf<H>,
    whole: Whole,
    bounds: Option<Bounds>,
) -> Result<(), Failed> {
    if !part.is_named() && job.host.store().exists(&job.row.new.destination).await? {
        job.name(&mut part).await?;
    }
    job.flush(&mut part).await?;
    let Whole { size, digests } = whole;
    let committing = Committing { token: part.token(), size };
    job.record(Change::Committing { committing, digests }).await?;
    match name(job, part).await {
        Ok(committed) => {
            let ended = bounds.map(|bounds| Change::AttemptEnded {
                end: AttemptEnd {
                    attempt: job.attempt,
                    to: size,
                    outcome: Outcome::Completed,
                    error: None,
                    wait: None,
                },
                bounds,
            });
            let warning = match committed {
                Committed::Durable => job.warning.as_ref().map(|error| job.failure(error)),
                Committed::WithWarning(error) => Some(job.failure(&error)),
            };
            completed(job, size, warning, ended).await;
            Ok(())
        }
        Err(error) => {
            keep_whole(job, size).await?;
            Err(error.into())
        }
    }
}

/// Gives the part its name, by the rule for an existing file.
async fn name<H: Host>(job: &Job<'_, H>, part: PartOf<H>) -> Result<Committed, Error> {
    let replace = match job.row.new.on_exists {
        OnExists::Overwrite if job.host.may_replace(&job.row).await? => Replace::Existing,
        OnExists::Overwrite | OnExists::Fail | OnExists::Rename => Replace::Nothing,
    };
    let destination = &job.row.new.destination;
    job.host.store().commit(part, destination, replace).await
}

/// The attempt's last word and the row's.
///
/// A ledger that does not take it is a warning, too: the row stays `committing`, and the next start repairs it.
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

/// The part stays, and every byte of it is durable: also after a reboot nothing of it is asked for again.
async fn keep_whole<H: Host>(job: &mut Job<'_, H>, size: u64) -> Result<(), Failed> {
    if !job.row.claimed {
        // The store has given the part its name, since the final one was taken.
        job.record(Change::Claimed(true)).await?;
    }
    // The part is closed by now; the row has the epoch it was written in.
    let epoch = job.row.epoch.clone().unwrap_or_default();
    job.record(Change::Checkpoint { downloaded: size, durable: size, epoch, digests: Vec::new() }).await
}

/// The result of an interrupted commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// The file is at its final name.
    Completed,
    /// The part is there but is not the file that was about to be renamed: the download goes on from it.
    GoOn,
}

/// Takes up a row that was `committing` when its process died. Repeating it changes nothing more.
///
/// # Errors
/// `Lost` where neither the part nor the destination is the file; else as the commit.
pub(crate) async fn repair<H: Host>(job: &mut Job<'_, H>) -> Result<Repaired, Failed> {
    let Some(committing) = job.row.committing.clone() else {
        return Ok(Repaired::GoOn);
    };
    let found = find(job, &committing).await?;
    let Committing { token, size } = committing;
    match found {
        Found::Destination => {
            completed(job, size, None, None).await;
            Ok(Repaired::Completed)
        }
        Found::Part => {
            let path = &job.row.new.part;
            let mut part = job.host.store().open(path, OpenPart::Claimed).await?;
            if part.length().await? != size || part.token() != token {
                return Ok(Repaired::GoOn);
            }
            let digests = job.row.checksums();
            commit(job, part, Whole { size, digests }, None).await?;
            Ok(Repaired::Completed)
        }
        // An unnamed part goes with its process, and nothing but that was ever there.
        Found::Nothing if !job.row.claimed => Ok(Repaired::GoOn),
        Found::Nothing => Err(Error::Lost.into()),
    }
}

/// Whether a row that must be driven again has its file: an earlier process renamed it, and could not say so. Completes it
/// then. `wanted` are the digests that the file must have.
pub(crate) async fn recognise<H: Host>(job: &mut Job<'_, H>, wanted: &[DigestRow]) -> Result<bool, Failed> {
    let Some(committing) = job.row.committing.clone() else {
        return Ok(false);
    };
    if !has_digests(&job.row, wanted) || find(job, &committing).await? != Found::Destination {
        return Ok(false);
    }
    completed(job, committing.size, None, None).await;
    Ok(true)
}

/// Returns `true` if the file of an interrupted commit has these digests, as far as they were computed.
pub(crate) fn has_digests(row: &Row, wanted: &[DigestRow]) -> bool {
    let has = |one: &DigestRow| one.wanted.is_none() || one.wanted.as_deref() == row.got(one.algorithm);
    wanted.iter().all(has)
}

async fn find<H: Host>(job: &Job<'_, H>, committing: &Committing) -> Result<Found, Failed> {
    let (part, destination) = (&job.row.new.part, &job.row.new.destination);
    Ok(job.host.store().find(part, destination, committing).await?)
}
