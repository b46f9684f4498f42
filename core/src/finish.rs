//! Gives a whole file its final name, and repairs what a crash in that left behind.
//!
//! Invariant: the file is counted, verified and synced, and the ledger says `committing` with its identity, before the
//! rename; so after a crash at any point start-up can tell which side of the rename it was on. After the rename nothing
//! fails the download any more: what goes wrong then is a warning on a completed one.

use crate::calls;
use crate::config::OnExists;
use crate::error::{Error, Failed};
use crate::host::Host;
use crate::job::{Job, PartOf};
use crate::ledger::Ledger;
use crate::record::{Change, DigestRow, Failure, Row};
use crate::store::{Committed, Committing, Found, OpenPart, Part, PartStore, Replace};
use crate::time::Clock;
use crate::transfer::Whole;
use futures::future::join;

/// Commits a whole part. From here on a cancel is too late. `ended` ends the attempt that completed it, where there was one.
pub(crate) async fn commit<H: Host>(
    job: &mut Job<'_, H>,
    mut part: PartOf<H>,
    whole: Whole,
    ended: Option<Change>,
) -> Result<(), Failed> {
    job.flush(&mut part).await?;
    let Whole { size, digests } = whole;
    let committing = Committing { token: part.token(), size };
    job.record(Change::Committing { committing, digests }).await?;
    let committed = match name(job, part).await {
        Ok(committed) => committed,
        Err(error) => {
            keep_whole(job, size).await?;
            return Err(error);
        }
    };
    let warning = match &committed {
        Committed::Durable => job.warning.as_ref(),
        Committed::WithWarning(error) => Some(error),
    };
    let warning = warning.map(|error| job.failure(error));
    completed(job, size, warning, ended).await;
    Ok(())
}

/// Gives the part its name, by the rule for an existing file.
async fn name<H: Host>(job: &Job<'_, H>, part: PartOf<H>) -> Result<Committed, Failed> {
    let replace = match job.row.new.on_exists {
        OnExists::Overwrite if job.host.may_replace(&job.row).await? => Replace::Existing,
        OnExists::Overwrite | OnExists::Fail | OnExists::Rename => Replace::Nothing,
    };
    let destination = &job.row.new.destination;
    Ok(job.host.store().commit(part, destination, replace).await?)
}

/// The row's last word and the attempt's. Side by side, so that a ledger that writes several changes at once syncs once.
///
/// A ledger that does not take it is a warning, too: the row stays `committing`, and the next start repairs it.
async fn completed<H: Host>(job: &mut Job<'_, H>, size: u64, warning: Option<Failure>, ended: Option<Change>) {
    let (ledger, id, at) = (job.host.ledger(), job.row.id, job.host.clock().wall());
    let mut completed = Change::Completed { size, warning };
    let note = async {
        match &ended {
            Some(ended) => ledger.record(id, ended, at).await,
            None => Ok(()),
        }
    };
    let (recorded, noted) = join(ledger.record(id, &completed, at), note).await;
    if let (Err(error), Change::Completed { warning, .. }) = (recorded, &mut completed) {
        *warning = Some(job.failure(&error));
    }
    job.row.apply(&completed);
    // A line missing in the timeline takes nothing back.
    if let (Ok(()), Some(ended)) = (noted, ended) {
        job.row.apply(&ended);
    }
}

/// The part stays, and every byte of it is durable: also after a reboot nothing of it is asked for again.
async fn keep_whole<H: Host>(job: &mut Job<'_, H>, size: u64) -> Result<(), Failed> {
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
            let mut part = calls::open(job.host, path, OpenPart::Claimed).await?;
            if calls::length(&mut part).await? != size || part.token() != token {
                return Ok(Repaired::GoOn);
            }
            let digests = job.row.checksums();
            commit(job, part, Whole { size, digests }, None).await?;
            Ok(Repaired::Completed)
        }
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
