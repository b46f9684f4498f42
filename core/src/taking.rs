//! The changes that a response causes in the row and, if the part is cut, in the part.
//!
//! Invariant: the row names the response that the part belongs to before the first byte of it is written, and nothing is
//! recorded about a response whose comparison did not finish. The part is cut before the row records it: after a crash in
//! between, the part is either unchanged or shorter than the durable offset, which is detected.

use crate::calls;
use crate::checksum::Checksum;
use crate::error::{Error, Failed};
use crate::event::What;
use crate::host::{Host, PartOf};
use crate::job::Job;
use crate::record::{Change, KnownSize, Restart, RestartReason, Validators};
use crate::resume::{Full, full_response, states_the_same};
use crate::store::Part;
use std::mem::take;

/// A response whose body is used.
#[derive(Debug)]
pub(crate) struct Taking {
    /// The offset of its first byte.
    pub(crate) first: u64,
    /// The offset after its last byte, if a header states it.
    pub(crate) end: Option<u64>,
    /// The transport marks its end.
    pub(crate) marked: bool,
    /// Compare its bytes with those of the part. If `false`, they are known to be equal and skipped.
    pub(crate) compare: bool,
    /// What to do if they differ.
    pub(crate) differing: Differing,
    /// The validators of its version.
    pub(crate) validators: Validators,
    /// The digests that it states.
    pub(crate) stated: Vec<Checksum>,
    /// The size of the file, if it states it.
    pub(crate) size: Option<KnownSize>,
}

/// What to do with a response whose bytes differ from those of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differing {
    /// It is a range: request the whole file.
    AskWhole,
    /// It is the whole file: cut the part and append the rest of the response.
    Cut(RestartReason),
    /// It is from a URL on trial, which serves another file: change nothing.
    GiveUp,
}

impl Taking {
    /// Returns `true` if the response is treated as the whole file.
    pub(crate) fn is_full(&self) -> bool {
        self.first == 0 && self.differing != Differing::AskWhole
    }

    /// Makes the part and the row those of this response, which agrees with the first `kept` of the `held` bytes of the part.
    ///
    /// # Errors
    /// `TooManyRestarts` if bytes were discarded too often; `DiskFull`, `Disk`, `Ledger`.
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
            calls::truncate(part, kept).await?;
        }
        let epoch = part.epoch();
        job.last_modified.clone_from(&self.validators.last_modified);
        let known = if full {
            let validators = take(&mut self.validators);
            let size = self.size;
            let restart = self.restart(job.attempt, held, kept);
            let stated = take(&mut self.stated);
            let fresh = Change::Fresh { kept, restart, validators, stated, size, mismatch, epoch };
            match job.has_pending() {
                true => job.add_to_pending(fresh),
                false => job.record(fresh).await?,
            }
            if !part.is_named() && !size.is_some_and(|size| part.may_stay_unnamed(size.bytes)) {
                job.name(part).await?;
            }
            // Not earlier: until the cut is recorded, the new validators would vouch for bytes that reappear after a power failure.
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
            job.record(Change::Resumed { size, mismatch, stated: take(&mut self.stated), epoch }).await?;
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

/// Checks if a full response is to be compared with the part.
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

/// Refuses the response of a URL with another path if its size or digest shows that it is another file.
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
