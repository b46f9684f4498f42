//! One download while it is driven: its row, kept in step with the ledger, and its events.

use crate::bounds::Bounds;
use crate::calls;
use crate::checksum::Algorithm;
use crate::classify::{Class, class};
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, chain};
use crate::event::{Event, Summary, What, display_url};
use crate::host::{Host, PartOf, unless_alone};
use crate::ledger::Ledger;
use crate::name::last_segment;
use crate::origin::{Origins, Seat};
use crate::peer::Reachability;
use crate::pieces::Window;
use crate::record::{
    AttemptEnd, Behaviour, Change, DigestRow, DigestSource, Failure, NewAttempt, Outcome, Restart, RestartReason, Row,
    Status, Terms, Validators, Waiting,
};
use crate::store::{DigestState, OpenPart, Part};
use crate::time::{Clock, Instant};
use crate::transport::Response;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A new URL for a download that has bytes already.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) url: String,
    /// Only its query differs from the old one.
    pub(crate) same_path: bool,
    /// The terms of the request for it.
    pub(crate) terms: Terms,
    /// The counts of the row, which do not include the trial of a user's URL. `None` for a mirror: its attempts count.
    pub(crate) bounds: Option<Bounds>,
}

/// The sources of a download that has mirrors, while they take turns.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The mirror to ask next; else the URL of the row.
    pub(crate) next: Option<String>,
    /// The final error of the URL of the row: it is not asked again.
    pub(crate) lost: Option<Failed>,
    /// Sources that failed for the time being, since the last wait.
    pub(crate) failed: usize,
    /// They were asked because the peer of the row cannot be reached.
    pub(crate) without_peer: bool,
}

/// An attempt without a recorded change is recorded after this time, so that others see it.
const SHOWN_AFTER: Duration = Duration::from_millis(250);

/// The beginning of an attempt whose part has no name. It is recorded together with the next change.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The attempt.
    pub(crate) begin: NewAttempt,
    /// The changes since, which are applied to the row already.
    pub(crate) changes: Vec<Change>,
    /// When it began.
    pub(crate) since: Instant,
}

/// A download that is being driven.
pub(crate) struct Job<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) config: Arc<DownloadsConfig>,
    /// Compute digests while writing.
    pub(crate) digests: bool,
    /// The reachability of its peer at the URL of the row, if it is from one.
    pub(crate) reachability: Option<Reachability>,
    /// Its seat at the origin that its bytes are from.
    pub(crate) seat: Seat,
    /// All origins: those of its mirrors count the connections to them.
    pub(crate) origins: &'a Origins,
    /// The memory for bytes that wait for those in front of them.
    pub(crate) window: Window,
    /// Its source was found not to serve several connections.
    pub(crate) one_connection: bool,
    /// The row, as stored in the ledger.
    pub(crate) row: Row,
    /// The number of the current attempt over the life of the row.
    pub(crate) attempt: u32,
    /// What is not recorded yet.
    pub(crate) pending: Option<Pending>,
    /// The row was inserted by this process for this drive: no other process is likely to drive it.
    pub(crate) is_own: bool,
    /// The durable offset of a checkpoint whose recording failed: the ledger may have it or not.
    pub(crate) unconfirmed: u64,
    /// The body bytes that this attempt received, including compared ones.
    pub(crate) received: u64,
    /// A URL on trial: it has yet to prove that it serves the same file.
    pub(crate) candidate: Option<Candidate>,
    /// The counts while a URL is on trial; those of the row do not change.
    pub(crate) trial_bounds: Option<Bounds>,
    /// The behaviour of a URL on trial; it is recorded only after the proof.
    pub(crate) trial_behaviour: Behaviour,
    /// The mirrors, while they take turns.
    pub(crate) sources: Sources,
    /// Last-Modified of the last response whose bytes were taken: an adopted part has no validators.
    pub(crate) last_modified: Option<String>,
    /// A warning about a completed file.
    pub(crate) warning: Option<Error>,
    shown_url: String,
}

impl<'a, H: Host> Job<'a, H> {
    pub(crate) fn new(
        host: &'a H,
        config: Arc<DownloadsConfig>,
        digests: bool,
        row: Row,
        seat: Seat,
        (origins, window): (&'a Origins, Window),
    ) -> Self {
        let shown_url = display_url(row.new.source.url());
        Job {
            host,
            config,
            digests,
            reachability: None,
            seat,
            origins,
            window,
            one_connection: false,
            attempt: row.attempts,
            pending: None,
            is_own: false,
            unconfirmed: 0,
            received: 0,
            candidate: None,
            trial_bounds: None,
            trial_behaviour: Behaviour::default(),
            sources: Sources::default(),
            last_modified: None,
            warning: None,
            row,
            shown_url,
        }
    }

    /// Records a change, and what is pending before it, then applies it here: the row never runs ahead of the ledger, except by
    /// what is pending.
    ///
    /// # Errors
    /// `Cancelled` or `Paused` if another process did that to the download, `Ledger`.
    pub(crate) async fn record(&mut self, change: Change) -> Result<(), Failed> {
        match self.pending.as_mut().filter(|_| !H::ALONE) {
            Some(pending) => {
                pending.changes.push(change.clone());
                self.record_pending().await?;
            }
            None => {
                let recorded = self.host.ledger().record(self.row.id, &change, self.host.clock().wall()).await;
                recorded.map_err(overruled)?;
            }
        }
        self.row.apply(&change);
        Ok(())
    }

    /// Records what is pending.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) fn record_pending(&mut self) -> impl Future<Output = Result<(), Failed>> {
        unless_alone::<H, _>(async move {
            let Some(Pending { begin, changes, .. }) = self.pending.take() else {
                return Ok(());
            };
            let (ledger, at) = (self.host.ledger(), self.host.clock().wall());
            let number = ledger.record_all(self.row.id, Some(&begin), &changes, at).await.map_err(overruled)?;
            self.attempt = number.unwrap_or(self.attempt);
            Ok(())
        })
    }

    /// Applies a change that is recorded together with the next one.
    pub(crate) fn add_to_pending(&mut self, change: Change) {
        self.row.apply(&change);
        if let Some(pending) = &mut self.pending {
            pending.changes.push(change);
        }
    }

    /// Returns `true` if something is not recorded yet.
    pub(crate) fn has_pending(&self) -> bool {
        !H::ALONE && self.pending.is_some()
    }

    /// The time that the pending changes may wait for the next one; `None` if there are none.
    pub(crate) fn pending_left(&self, now: Instant) -> Option<Duration> {
        let since = self.pending.as_ref().filter(|_| !H::ALONE)?.since;
        Some(SHOWN_AFTER.saturating_sub(now.since(since)))
    }

    /// The end of the current attempt at this offset, without a wait.
    pub(crate) fn attempt_ended(&self, to: u64, outcome: Outcome, error: Option<Failure>) -> Change {
        let end = AttemptEnd { attempt: self.attempt, to, outcome, error, wait: None };
        Change::AttemptEnded { end, bounds: self.row.bounds }
    }

    /// Gives an unnamed part its name. The row claims it before.
    ///
    /// # Errors
    /// `ForeignPart`, `PartLocked`, `Disk`, `Ledger`.
    pub(crate) fn name(&mut self, part: &mut PartOf<H>) -> impl Future<Output = Result<(), Failed>> {
        unless_alone::<H, _>(async move {
            self.record(Change::Claimed(true)).await?;
            let Err(error) = part.name().await else {
                return Ok(());
            };
            let mut error = error.into();
            self.look_for_writer(&mut error).await;
            if is_foreign(&error) {
                self.record(Change::Claimed(false)).await?;
            }
            Err(error)
        })
    }

    /// Replaces the error of a part that something else has the name of, if another writer has it right now. Looking changes nothing
    /// of it.
    pub(crate) async fn look_for_writer(&self, error: &mut Failed) {
        if !is_foreign(error) {
            return;
        }
        match calls::open(self.host, &self.row.new.part, OpenPart::Adopt).await {
            Err(locked) if matches!(*locked, Error::PartLocked { .. }) => *error = locked,
            Ok(_) | Err(_) => {}
        }
    }

    /// Passes an event to the host.
    pub(crate) fn emit(&self, what: What) {
        let at = self.host.clock().wall();
        let event = Event { id: self.row.id, at, url: &self.shown_url, path: &self.row.new.destination, what };
        self.host.on_event(&event);
    }

    /// Records and announces a wait that is not the download's own backoff.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) async fn waits(&mut self, latest: Duration, why: String) -> Result<(), Failed> {
        let until = self.record_wait(latest, why.clone()).await?;
        self.emit(What::Waiting { until, why });
        Ok(())
    }

    /// Records a wait of at most this long, and returns its end.
    pub(crate) async fn record_wait(&mut self, latest: Duration, why: String) -> Result<SystemTime, Failed> {
        let wall = self.host.clock().wall();
        let until = wall.checked_add(latest).unwrap_or(wall);
        self.record(Change::Waits(Waiting { until, why })).await?;
        Ok(until)
    }

    /// Records the outcome of a request.
    pub(crate) fn note<B>(&self, answer: &Result<Response<B>, Error>) {
        self.seat.answered(answer);
        // A mirror is no request to the peer.
        if !H::ALONE
            && self.candidate.is_none()
            && let Some(peer) = &self.reachability
        {
            peer.note(self.host.clock(), self.config.breaker_failures, answer);
        }
    }

    /// Discards the part's bytes: the file stays, its length goes to 0. If it cannot be cut, that its bytes do not count is recorded all
    /// the same, and the next attempt cuts it first.
    pub(crate) async fn restart(&mut self, part: &mut PartOf<H>, reason: RestartReason) -> Result<(), Failed> {
        let discarded = calls::length(part).await?;
        let cut = calls::truncate(part, 0).await;
        let restart = Restart { attempt: self.attempt, reason, discarded };
        self.record(Change::Restart(restart)).await?;
        self.emit_restart(restart);
        cut?;
        Ok(self.row.bounds.check_restarts(&self.config)?)
    }

    pub(crate) fn emit_restart(&self, restart: Restart) {
        self.emit(What::Restart { reason: restart.reason, discarded_bytes: restart.discarded });
    }

    /// The URL that requests go to: the row's, or one on trial.
    pub(crate) fn url(&self) -> &str {
        match &self.candidate {
            Some(candidate) => &candidate.url,
            None => self.row.new.source.url(),
        }
    }

    /// The wanted and the requested digests; if a URL is on trial, those of its terms.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &DigestRow> {
        let trial = self.candidate.as_ref();
        let of_trial = trial.map_or(&[][..], |candidate| &candidate.terms.digests);
        let of_row =
            self.row.digests.iter().filter(move |row| trial.is_none() || row.source == DigestSource::ReprDigest);
        // Nothing else vouches for bytes of several sources.
        let is_needed = |row: &&DigestRow| self.digests || row.source == DigestSource::SeveralSources;
        of_trial.iter().chain(of_row).filter(is_needed)
    }

    /// The algorithms of the digests to compute.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for row in self.digests() {
            if !algorithms.contains(&row.algorithm) {
                algorithms.push(row.algorithm);
            }
        }
        algorithms
    }

    /// The last segment of the destination.
    pub(crate) fn file_name(&self) -> &str {
        last_segment(&self.row.new.destination)
    }

    /// The validators after a response that continues the version: it has the held ETag, if there is one, but need not repeat the other
    /// fields (RFC 9110 §15.3.7).
    pub(crate) fn validators_after(&self, now: &Validators) -> Validators {
        let held = &self.row.validators;
        let same_path = self.candidate.as_ref().is_none_or(|candidate| candidate.same_path);
        let dated = match now.last_modified {
            None if same_path => held,
            _ => now,
        };
        Validators {
            etag: now.etag.clone(),
            last_modified: dated.last_modified.clone(),
            last_modified_strong: dated.last_modified_strong,
            content_type: now.content_type.clone().or_else(|| held.content_type.clone()),
        }
    }

    /// Records the terms of a URL on trial to which no request is necessary, because all bytes are there.
    pub(crate) async fn take_terms_of_candidate(&mut self) -> Result<(), Failed> {
        if let Some(candidate) = self.candidate.take() {
            self.trial_bounds = None;
            self.record(Change::Terms(candidate.terms)).await?;
        }
        Ok(())
    }

    /// Records that the download continues from the URL on trial, if there is one, with the terms of its request.
    pub(crate) async fn move_to_candidate(&mut self, validators: Validators) -> Result<(), Failed> {
        let Some(candidate) = self.candidate.clone() else {
            return Ok(());
        };
        let change = Change::Moved { url: candidate.url, validators, terms: candidate.terms };
        self.record(change).await?;
        self.candidate = None;
        self.trial_bounds = None;
        self.sources = Sources::default();
        self.one_connection = false;
        self.reachability = None; // until the next attempt, which looks up that of the new URL
        self.shown_url = display_url(self.row.new.source.url());
        Ok(())
    }

    /// Makes the written data durable, and returns the durable offset. A failed sync may have dropped pages, and the next one would
    /// not report it: if the disk is full, only data that an earlier sync made durable is kept; after any other failure, none.
    pub(crate) async fn flush(&mut self, part: &mut PartOf<H>) -> Result<u64, Failed> {
        let error = match calls::flush(part).await {
            Ok(durable) => return Ok(durable),
            Err(error) => error,
        };
        let kept = self.row.durable.max(self.unconfirmed);
        let is_full = matches!(&*error, Error::DiskFull { .. });
        if !is_full || calls::truncate(part, kept).await.is_err() {
            self.restart(part, RestartReason::PartChanged).await?;
        }
        Err(error)
    }

    /// Records the offset of the part, and how far its data is durable.
    pub(crate) async fn checkpoint(
        &mut self,
        part: &PartOf<H>,
        downloaded: u64,
        durable: u64,
        digests: Vec<(Algorithm, DigestState)>,
    ) -> Result<(), Failed> {
        self.unconfirmed = durable;
        self.record(Change::Checkpoint { downloaded, durable, epoch: part.epoch(), digests }).await?;
        self.unconfirmed = 0; // the row has it
        Ok(())
    }

    /// Makes the written data durable and records the offset, after an attempt that did not complete the file. Returns the length of
    /// the part.
    pub(crate) async fn settle(&mut self, part: &mut PartOf<H>) -> Result<u64, Failed> {
        let offset = calls::length(part).await?;
        // Before the first byte is recorded there is nothing to keep, and an unchanged offset is recorded already.
        if self.row.epoch.is_some() && (offset != self.row.durable || offset != self.row.downloaded) {
            if !part.is_named() {
                self.name(part).await?;
            }
            let durable = self.flush(part).await?;
            self.checkpoint(part, offset, durable, Vec::new()).await?;
        }
        Ok(offset)
    }

    /// The class of an error under this download's configuration.
    pub(crate) fn class(&self, error: &Error) -> Class {
        class(error, &self.config.extra_retry_statuses)
    }

    /// An error as the ledger stores it.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        failure(error, &self.config.extra_retry_statuses)
    }

    /// The summary for the last event.
    pub(crate) fn summary(&self, error: Option<&Error>) -> Summary {
        let warning = self.row.failure.as_ref().filter(|_| error.is_none());
        Summary {
            warning: warning.map(|warning| warning.text.clone()),
            bytes: self.row.downloaded,
            attempts: self.row.attempts,
            restarts: self.row.restarts,
            digests: self.row.checksums(),
            class: error.map(|error| self.class(error)),
            code: error.map(Error::code),
            error: error.map(chain),
            advice: error.and_then(Error::advice),
        }
    }
}

pub(crate) fn is_foreign(error: &Error) -> bool {
    matches!(error, Error::ForeignPart { .. })
}

/// The error of this drive if the ledger refused a change: `Cancelled` or `Paused` if another process did that.
pub(crate) fn overruled(error: Error) -> Failed {
    match error {
        Error::WrongState { status: Status::Cancelled, .. } => Error::Cancelled.into(),
        Error::WrongState { status: Status::Paused, .. } => Error::Paused.into(),
        error => error.into(),
    }
}

/// An error as the ledger stores it.
pub(crate) fn failure(error: &Error, extra_retry_statuses: &[u16]) -> Failure {
    Failure { class: class(error, extra_retry_statuses), code: error.code(), text: chain(error) }
}
