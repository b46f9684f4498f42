//! What a response changes: in the row, and in the part if it is cut.
//!
//! Invariant: the row says which response the part belongs to before the first byte of it is written, and nothing is
//! recorded of a response whose comparison did not reach an end. If the part is cut, it is cut before the row says so: after
//! a crash in between, the part is shorter than the row's durable offset, which is noticed, or as long as before.

use crate::checksum::Checksum;
use crate::error::{Error, Failed};
use crate::event::What;
use crate::host::Host;
use crate::job::{Job, PartOf};
use crate::record::{Change, KnownSize, Restart, RestartReason, Validators};
use crate::resume::{Full, full_response, states_the_same};
use crate::store::Part;
use std::mem::take;

/// A response that is being taken up.
#[derive(Debug)]
pub(crate) struct Taking {
    /// Offset of its first byte.
    pub(crate) first: u64,
    /// Offset after its last byte, if a header says so.
    pub(crate) end: Option<u64>,
    /// A mark in the stream ends it.
    pub(crate) marked: bool,
    /// Its bytes are compared with those of the part; else they are known to be the same, and skipped.
    pub(crate) compare: bool,
    /// What a difference means.
    pub(crate) differing: Differing,
    /// What tells its version.
    pub(crate) validators: Validators,
    /// The digests that it states.
    pub(crate) stated: Vec<Checksum>,
    /// The size of the file, if it says so.
    pub(crate) size: Option<KnownSize>,
}

/// What it means that a response has other bytes than the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differing {
    /// A range: the whole file has to be asked for.
    AskWhole,
    /// The whole file: the part is cut, and goes on with the response.
    Cut(RestartReason),
    /// The response of a URL that is on trial: it is another file, and nothing is changed.
    GiveUp,
}

impl Taking {
    /// The response is the whole file, or believed to be.
    pub(crate) fn is_full(&self) -> bool {
        self.first == 0 && self.differing != Differing::AskWhole
    }

    /// Makes the part and the row those of this response: the first `kept` of the `held` bytes of the part are its.
    ///
    /// # Errors
    /// `TooManyRestarts` if bytes were discarded once too often; `DiskFull`, `Disk`, `Ledger`.
    pub(crate) async fn settle<H: Host>(
        &mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        held: u64,
        kept: u64,
    ) -> Result<(), Failed> {
        let mismatch = mismatches(job.row.new.release_size, self.size);
        let full = self.is_full() || held == 0;
        if full && kept < held {
            part.truncate(kept).await?;
        }
        let epoch = part.epoch();
        let known = if full {
            let validators = take(&mut self.validators);
            let size = self.size;
            let restart = self.restart(job.attempt, held, kept);
            let stated = take(&mut self.stated);
            let fresh = Change::Fresh { kept, restart, validators, stated, size, mismatch, epoch };
            job.record_with_next(fresh).await?;
            if !size.is_some_and(|size| part.may_stay_unnamed(size.bytes)) {
                job.name(part).await?;
            }
            // Only now: until the cut is recorded, the new validators would vouch for bytes that a power failure brings back.
            let validators = job.row.validators.clone();
            job.move_to_candidate(validators).await?;
            if let Some(restart) = restart {
                job.emit_restart(restart);
                job.row.bounds.check_restarts(&job.config)?;
            }
            size.or(job.row.release_size())
        } else {
            let validators = job.validators_after(&self.validators);
            job.move_to_candidate(validators).await?;
            let size = job.row.size.or(self.size);
            // A size that the part has already would complete it at the next attempt.
            let recorded = size.filter(|size| size.bytes > held);
            job.record(Change::Resumed { size: recorded, mismatch, stated: take(&mut self.stated), epoch }).await?;
            size.or(job.row.known_size())
        };
        job.emit(headers_event(known, job.row.mismatch));
        if let Some(size) = job.row.size.or(self.size) {
            part.reserve(size.bytes).await?;
        }
        Ok(())
    }

    fn restart(&self, attempt: u32, held: u64, kept: u64) -> Option<Restart> {
        let reason = match self.differing {
            Differing::Cut(reason) => reason,
            Differing::AskWhole | Differing::GiveUp => RestartReason::RangeIgnored,
        };
        let discarded = held.saturating_sub(kept);
        (discarded > 0).then_some(Restart { attempt, reason, discarded })
    }
}

/// Holds a full response against what is held: whether it is to be compared at all.
///
/// # Errors
/// `UnexpectedPage`, `Shrunk`: the part is kept.
pub(crate) async fn believe<H: Host>(
    job: &mut Job<'_, H>,
    offset: u64,
    now: &Validators,
    size: Option<u64>,
) -> Result<(), Failed> {
    let on_trial = job.candidate.is_some();
    let held = &job.row.validators;
    let behaviour = match on_trial {
        true => &job.trial_behaviour,
        false => &job.row.behaviour,
    };
    match full_response(offset, held, behaviour, now, size, job.file_name()) {
        Full::Compare => Ok(()),
        Full::Refuse(error) => Err(error.into()),
        Full::Remember(behaviour, error) if on_trial => {
            job.trial_behaviour = behaviour;
            Err(error.into())
        }
        Full::Remember(behaviour, error) => {
            job.record(Change::Learned(behaviour)).await?;
            Err(error.into())
        }
    }
}

pub(crate) fn mismatches(release: Option<u64>, size: Option<KnownSize>) -> bool {
    matches!((release, size), (Some(release), Some(size)) if release != size.bytes)
}

pub(crate) fn headers_event(known: Option<KnownSize>, mismatch: bool) -> What {
    What::Headers { expected_bytes: known.map(|known| known.bytes), source: known.map(|known| known.source), mismatch }
}

/// Refuses what a URL of another path serves if its size or digest shows that it is another file.
pub(crate) fn check_candidate<H: Host>(
    job: &Job<'_, H>,
    offset: u64,
    size: Option<u64>,
    stated: &[Checksum],
) -> Result<(), Failed> {
    if job.candidate.as_ref().is_none_or(|candidate| candidate.same_path) {
        return Ok(());
    }
    let known = job.row.size.map(|size| size.bytes);
    let fits = known.is_none_or(|known| size == Some(known))
        && size.is_none_or(|size| size >= offset)
        && states_the_same(&job.row.digests, stated);
    if fits { Ok(()) } else { Err(another_file(job).into()) }
}

/// The error of a URL on trial that serves another file.
pub(crate) fn another_file<H: Host>(job: &Job<'_, H>) -> Error {
    Error::DestinationBusy {
        path: job.row.new.destination.clone(),
        id: job.row.id,
        url: crate::event::display_url(job.row.new.source.url()),
    }
}
