//! One download while it is worked on: its row, kept in step with the ledger, and its voice.

use crate::classify::{Class, class};
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, chain};
use crate::event::{Event, Summary, What, display_url};
use crate::host::Host;
use crate::ledger::Ledger;
use crate::peer::Reachability;
use crate::record::{Change, Failure, RestartReason, Row, Status};
use crate::store::{Part, PartStore};
use crate::time::Clock;
use crate::transport::Transport;
use std::sync::Arc;

/// A host's parts.
pub(crate) type PartOf<H> = <<H as Host>::Store as PartStore>::Part;
/// A host's response bodies.
pub(crate) type BodyOf<H> = <<H as Host>::Transport as Transport>::Body;

/// A download that is being driven.
pub(crate) struct Job<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) config: Arc<DownloadsConfig>,
    /// Compute a SHA-256 while writing.
    pub(crate) digests: bool,
    /// Whether its peer can be reached, if it comes from one.
    pub(crate) reachability: Option<Reachability>,
    /// The row, as the ledger has it.
    pub(crate) row: Row,
    /// The number of the attempt under way, over the row's life.
    pub(crate) attempt: u32,
    /// Bytes of bodies that this attempt received, compared ones included.
    pub(crate) received: u64,
    shown_url: String,
}

impl<'a, H: Host> Job<'a, H> {
    pub(crate) fn new(host: &'a H, config: Arc<DownloadsConfig>, digests: bool, row: Row) -> Self {
        let shown_url = display_url(row.new.source.url());
        let digests = digests && host.wants_digest(&row);
        Job {
            host,
            config,
            digests,
            reachability: None,
            attempt: row.attempts,
            received: 0,
            row,
            shown_url,
        }
    }

    /// Records a change, then applies it here: the row never runs ahead of the ledger.
    ///
    /// # Errors
    /// `Cancelled` where another process called the download off, `Ledger`.
    pub(crate) async fn record(&mut self, change: Change) -> Result<(), Failed> {
        self.host
            .ledger()
            .record(self.row.id, &change, self.host.clock().wall())
            .await
            .map_err(overruled)?;
        self.row.apply(&change);
        Ok(())
    }

    /// Tells the host.
    pub(crate) fn emit(&self, what: What) {
        let at = self.host.clock().wall();
        let event = Event {
            id: self.row.id,
            at,
            url: &self.shown_url,
            path: &self.row.new.destination,
            what,
        };
        self.host.on_event(&event);
    }

    /// Records the outcome of a request to the peer.
    pub(crate) fn note<T>(&self, head: &Result<T, Error>) {
        if let Some(peer) = &self.reachability {
            peer.note(self.host.clock(), self.config.breaker_failures, head);
        }
    }

    /// Discards the part's bytes: the file stays, its length goes to 0.
    pub(crate) async fn restart(
        &mut self,
        part: &mut PartOf<H>,
        reason: RestartReason,
    ) -> Result<(), Failed> {
        let discarded = part.length().await?;
        part.truncate(0).await?;
        self.record(Change::Restart {
            attempt: self.attempt,
            reason,
            discarded,
        })
        .await?;
        self.emit(What::Restart {
            reason,
            discarded_bytes: discarded,
        });
        Ok(self.row.bounds.check_restarts(&self.config)?)
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
        if self.row.epoch.is_some() && (offset != self.row.durable || offset != self.row.downloaded)
        {
            let durable = self.flush(part).await?;
            let digest = self.row.digest.clone();
            self.record(Change::Checkpoint {
                downloaded: offset,
                durable,
                epoch: part.epoch(),
                digest,
            })
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
            sha256: self.row.sha256_got.clone(),
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
        Error::WrongState {
            status: Status::Cancelled,
            ..
        } => Error::Cancelled,
        error => error,
    }
}

/// An error as the ledger keeps it.
pub(crate) fn failure(error: &Error, extra_retry_statuses: &[u16]) -> Failure {
    Failure {
        class: class(error, extra_retry_statuses),
        code: error.code(),
        text: chain(error),
    }
}
