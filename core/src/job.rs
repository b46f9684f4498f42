//! One download while it is worked on: its row, kept in step with the ledger, and its voice.

use crate::bounds::Bounds;
use crate::checksum::Algorithm;
use crate::classify::{Class, class};
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, chain};
use crate::event::{Event, Summary, What, display_url};
use crate::host::Host;
use crate::ledger::Ledger;
use crate::name::last_segment;
use crate::origin::Seat;
use crate::peer::Reachability;
use crate::record::{
    Behaviour, Change, DigestRow, DigestSource, Failure, Restart, RestartReason, Row, Status, Terms, Validators,
    Waiting,
};
use crate::store::{Part, PartStore};
use crate::stripe::Window;
use crate::time::Clock;
use crate::transport::{Response, Transport};
use std::sync::Arc;
use std::time::Duration;

/// A host's parts.
pub(crate) type PartOf<H> = <<H as Host>::Store as PartStore>::Part;
/// A host's response bodies.
pub(crate) type BodyOf<H> = <<H as Host>::Transport as Transport>::Body;

/// A new URL for a download that has bytes already.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) url: String,
    /// Only its query differs from the old one.
    pub(crate) same_path: bool,
    /// The terms it was asked for with.
    pub(crate) terms: Terms,
    /// What counts against the bounds of the row, which does not count the trial.
    pub(crate) bounds: Bounds,
}

/// A download that is being driven.
pub(crate) struct Job<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) config: Arc<DownloadsConfig>,
    /// Compute digests while writing.
    pub(crate) digests: bool,
    /// Whether its peer can be reached, if it comes from one.
    pub(crate) reachability: Option<Reachability>,
    /// Its seat at the origin of its bytes.
    pub(crate) seat: Seat,
    /// The memory for bytes that wait for those in front of them.
    pub(crate) window: Window,
    /// Its source was found not to serve several connections.
    pub(crate) one_connection: bool,
    /// The row, as the ledger has it.
    pub(crate) row: Row,
    /// The number of the attempt under way, over the row's life.
    pub(crate) attempt: u32,
    /// Bytes of bodies that this attempt received, compared ones included.
    pub(crate) received: u64,
    /// A URL that is on trial: whether it has the same file is to be proven.
    pub(crate) candidate: Option<Candidate>,
    /// What counts against the bounds while a URL is on trial: the row keeps what it had before.
    pub(crate) trial_bounds: Option<Bounds>,
    /// What is known of a URL that is on trial: nothing of it is recorded before it has proven itself.
    pub(crate) trial_behaviour: Behaviour,
    /// What a person should know about a completed file.
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
        window: Window,
    ) -> Self {
        let shown_url = display_url(row.new.source.url());
        Job {
            host,
            config,
            digests,
            reachability: None,
            seat,
            window,
            one_connection: false,
            attempt: row.attempts,
            received: 0,
            candidate: None,
            trial_bounds: None,
            trial_behaviour: Behaviour::default(),
            warning: None,
            row,
            shown_url,
        }
    }

    /// Records a change, then applies it here: the row never runs ahead of the ledger.
    ///
    /// # Errors
    /// `Cancelled` where another process called the download off, `Ledger`.
    pub(crate) async fn record(&mut self, change: Change) -> Result<(), Failed> {
        self.host.ledger().record(self.row.id, &change, self.host.clock().wall()).await.map_err(overruled)?;
        self.row.apply(&change);
        Ok(())
    }

    /// Tells the host.
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
        let wall = self.host.clock().wall();
        let until = wall.checked_add(latest).unwrap_or(wall);
        let waiting = Waiting { until, why: why.clone() };
        self.record(Change::Waits(waiting)).await?;
        self.emit(What::Waiting { until, why });
        Ok(())
    }

    /// Records the outcome of a request.
    pub(crate) fn note<B>(&self, answer: &Result<Response<B>, Error>) {
        self.seat.answered(answer);
        if let Some(peer) = &self.reachability {
            peer.note(self.host.clock(), self.config.breaker_failures, answer);
        }
    }

    /// Discards the part's bytes: the file stays, its length goes to 0.
    pub(crate) async fn restart(&mut self, part: &mut PartOf<H>, reason: RestartReason) -> Result<(), Failed> {
        let discarded = part.length().await?;
        part.truncate(0).await?;
        let restart = Restart { attempt: self.attempt, reason, discarded };
        self.record(Change::Restart(restart)).await?;
        self.emit_restart(restart);
        Ok(self.row.bounds.check_restarts(&self.config)?)
    }

    pub(crate) fn emit_restart(&self, restart: Restart) {
        self.emit(What::Restart { reason: restart.reason, discarded_bytes: restart.discarded });
    }

    /// The URL that is asked: the row's, or one on trial.
    pub(crate) fn url(&self) -> &str {
        match &self.candidate {
            Some(candidate) => &candidate.url,
            None => self.row.new.source.url(),
        }
    }

    /// The digests that the file must have and those that were asked for, by the URL on trial if there is one.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &DigestRow> {
        let trial = self.candidate.as_ref();
        let of_trial = trial.map_or(&[][..], |candidate| &candidate.terms.digests);
        let of_row =
            self.row.digests.iter().filter(move |row| trial.is_none() || row.source == DigestSource::ReprDigest);
        of_trial.iter().chain(of_row).filter(|_| self.digests)
    }

    /// What is to be computed.
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

    /// What tells the version after a response that goes on with it: such a one need not repeat every field
    /// (RFC 9110 §15.3.7).
    pub(crate) fn validators_after(&self, now: &Validators) -> Validators {
        let held = &self.row.validators;
        let same_path = self.candidate.as_ref().is_none_or(|candidate| candidate.same_path);
        let dated = match now.last_modified {
            None if same_path => held,
            _ => now,
        };
        let kept = |now: &Option<String>, held: &Option<String>| match now {
            None if same_path => held.clone(),
            now => now.clone(),
        };
        Validators {
            etag: kept(&now.etag, &held.etag),
            last_modified: dated.last_modified.clone(),
            last_modified_strong: dated.last_modified_strong,
            content_type: now.content_type.clone().or_else(|| held.content_type.clone()),
        }
    }

    /// Records the terms of a URL on trial that need not be asked: all bytes are there.
    pub(crate) async fn take_terms_of_candidate(&mut self) -> Result<(), Failed> {
        if let Some(candidate) = self.candidate.take() {
            self.trial_bounds = None;
            self.record(Change::Terms(candidate.terms)).await?;
        }
        Ok(())
    }

    /// Records that the download goes on from the URL on trial, if there is one, on the terms it was asked for with.
    pub(crate) async fn move_to_candidate(&mut self, validators: Validators) -> Result<(), Failed> {
        let Some(candidate) = self.candidate.clone() else {
            return Ok(());
        };
        let change = Change::Moved { url: candidate.url, validators, terms: candidate.terms };
        self.record(change).await?;
        self.candidate = None;
        self.trial_bounds = None;
        self.shown_url = display_url(self.row.new.source.url());
        Ok(())
    }

    /// Makes what is written durable, and returns how far that goes. A sync that failed may have dropped pages, and the next one would not tell: nothing
    /// is believed then of what no earlier one vouches for, and nothing at all of a disk that fails otherwise than by
    /// being full.
    pub(crate) async fn flush(&mut self, part: &mut PartOf<H>) -> Result<u64, Failed> {
        let error = match part.flush().await {
            Ok(durable) => return Ok(durable),
            Err(error) => error,
        };
        match error {
            Error::DiskFull { .. } => part.truncate(self.row.durable).await?,
            _ => self.restart(part, RestartReason::PartChanged).await?,
        }
        Err(error.into())
    }

    /// Makes what is written durable and notes how far it goes: after an attempt without a file, whatever ended it.
    /// Returns the offset.
    pub(crate) async fn settle(&mut self, part: &mut PartOf<H>) -> Result<u64, Failed> {
        let offset = part.length().await?;
        // Before the first recorded byte there is nothing to keep; and a stand-still needs no new line.
        if self.row.epoch.is_some() && (offset != self.row.durable || offset != self.row.downloaded) {
            let durable = self.flush(part).await?;
            self.record(Change::Checkpoint { downloaded: offset, durable, epoch: part.epoch(), digests: Vec::new() })
                .await?;
        }
        Ok(offset)
    }

    /// The class of an error under this download's configuration.
    pub(crate) fn class(&self, error: &Error) -> Class {
        class(error, &self.config.extra_retry_statuses)
    }

    /// An error as the ledger keeps it.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        failure(error, &self.config.extra_retry_statuses)
    }

    /// What is told at the end.
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

/// A row that does not admit what is to be recorded because another process called it off: this drive is called off, too.
pub(crate) fn overruled(error: Error) -> Error {
    match error {
        Error::WrongState { status: Status::Cancelled, .. } => Error::Cancelled,
        error => error,
    }
}

/// An error as the ledger keeps it.
pub(crate) fn failure(error: &Error, extra_retry_statuses: &[u16]) -> Failure {
    Failure { class: class(error, extra_retry_statuses), code: error.code(), text: chain(error) }
}
