//! The row of a download, and the definition of every change to it.

use super::change::{Change, Failure, NewDownload, Restart, RestartReason, Terms, Waiting};
use super::digest::{DigestRow, DigestSource};
use super::source::{DownloadId, Source};
use super::status::Status;
use super::version::{Behaviour, KnownSize, SizeSource, Validators};
use crate::bounds::Bounds;
use crate::checksum::{Algorithm, Checksum};
use crate::error::Error;
use crate::store::{Committing, DigestState};
use serde::{Deserialize, Serialize};

/// A download as stored in the ledger.
///
/// The serialised form is for ledgers that store a row as a whole, for example as JSON. Fields that are added later have a
/// default, so that rows of earlier versions can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The id.
    pub id: DownloadId,
    /// The request.
    pub new: NewDownload,
    /// The row claims its part.
    pub claimed: bool,
    /// The status.
    pub status: Status,
    /// The current wait.
    pub waiting: Option<Waiting>,
    /// The validators of the version in the part.
    pub validators: Validators,
    /// How its URL behaves.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// The size, as stated by a transfer.
    pub size: Option<KnownSize>,
    /// The size differs from that of the release.
    pub mismatch: bool,
    /// Bytes in the part at the last checkpoint.
    pub downloaded: u64,
    /// Durable bytes in the part.
    pub durable: u64,
    /// [`Part::epoch`](crate::store::Part::epoch) of when they were written; `None` before the first byte.
    pub epoch: Option<String>,
    /// The number of responses that the bytes in the part are from.
    pub responses: u32,
    /// The digests that the file must have, and those that were asked for.
    #[serde(default)]
    pub digests: Vec<DigestRow>,
    /// It has started over once because of its digest.
    pub digest_restarted: bool,
    /// Attempts over the life of the row; only grows.
    pub attempts: u32,
    /// Restarts over the life of the row.
    pub restarts: u32,
    /// The counts for the limits.
    pub bounds: Bounds,
    /// The file that is being renamed, or was when its process died. `None` again once the part is known to exist.
    pub committing: Option<Committing>,
    /// Why it failed; for a completed download, a failure after the rename.
    pub failure: Option<Failure>,
}

/// The fields that decide which unfinished rows are driven after a start. No more is read of what may be 100,000 rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The row.
    pub id: DownloadId,
    /// [`NewDownload::destination`].
    pub destination: String,
    /// The file was being renamed.
    pub committing: bool,
    /// Bytes known to be durable.
    pub durable: u64,
}

impl From<Row> for Mark {
    fn from(row: Row) -> Self {
        Mark {
            id: row.id,
            destination: row.new.destination,
            committing: row.status == Status::Committing,
            durable: row.durable,
        }
    }
}

impl Row {
    /// A new row, as [`Ledger::insert`](crate::ledger::Ledger::insert) creates it.
    pub fn new(id: DownloadId, mut new: NewDownload) -> Self {
        Row {
            id,
            digests: std::mem::take(&mut new.digests),
            new,
            claimed: false,
            status: Status::Queued,
            waiting: None,
            validators: Validators::default(),
            behaviour: Behaviour::default(),
            size: None,
            mismatch: false,
            downloaded: 0,
            durable: 0,
            epoch: None,
            responses: 0,
            digest_restarted: false,
            attempts: 0,
            restarts: 0,
            bounds: Bounds::default(),
            committing: None,
            failure: None,
        }
    }

    /// The size to show: that of the transfer, else that of the release unless the transfer contradicted it.
    pub fn known_size(&self) -> Option<KnownSize> {
        let release = self.release_size();
        let release = release.filter(|size| !self.mismatch && size.bytes >= self.downloaded);
        self.size.or(release)
    }

    /// The size stated by the release.
    pub(crate) fn release_size(&self) -> Option<KnownSize> {
        self.new.release_size.map(|bytes| KnownSize { bytes, source: SizeSource::ReleaseSize })
    }

    /// The state of a hash of its first bytes.
    pub(crate) fn digest_state(&self, algorithm: Algorithm) -> Option<&DigestState> {
        let mut rows = self.digests.iter();
        rows.find(|row| row.algorithm == algorithm)?.state.as_ref()
    }

    /// The digest of the finished file, in lower-case hex, if it was computed.
    pub fn got(&self, algorithm: Algorithm) -> Option<&str> {
        let mut rows = self.digests.iter();
        rows.find(|row| row.algorithm == algorithm)?.got.as_deref()
    }

    /// The digest that the file must have, in lower-case hex: the caller's rather than a response's.
    pub fn wanted(&self, algorithm: Algorithm) -> Option<&str> {
        let mut rows = self.digests.iter();
        rows.find_map(|row| row.wanted.as_deref().filter(|_| row.algorithm == algorithm))
    }

    /// The digests of the finished file.
    pub fn checksums(&self) -> Vec<Checksum> {
        let mut found: Vec<Checksum> = Vec::new();
        for row in &self.digests {
            let algorithm = row.algorithm;
            if let Some(hex) = row.got.clone()
                && found.iter().all(|other| other.algorithm != algorithm)
            {
                found.push(Checksum { algorithm, hex });
            }
        }
        found
    }

    /// Its terms as they are.
    pub(crate) fn terms(&self) -> Terms {
        let own = |row: &&DigestRow| row.source != DigestSource::ReprDigest;
        Terms { digests: self.digests.iter().filter(own).cloned().collect(), ..Terms::of(&self.new) }
    }

    /// The same, with the digests that are given as those that vouch for bytes of several sources.
    pub(crate) fn vouched_terms(&self) -> Terms {
        let mut terms = self.terms();
        if terms.digests.iter().all(|row| row.source != DigestSource::SeveralSources) {
            let given = terms.digests.iter().filter(|row| row.is_given());
            let vouching: Vec<_> =
                given.map(|row| DigestRow { source: DigestSource::SeveralSources, ..row.clone() }).collect();
            terms.digests.extend(vouching);
        }
        terms
    }

    /// The error for a change that the status does not admit.
    pub fn wrong_state(&self) -> Error {
        Error::WrongState { id: self.id, status: self.status }
    }

    /// Counts an attempt: what [`Ledger::begin_attempt`](crate::ledger::Ledger::begin_attempt) does to the row.
    pub fn begin_attempt(&mut self) -> u32 {
        self.attempts = self.attempts.saturating_add(1);
        self.status = Status::Downloading;
        self.waiting = None;
        self.attempts
    }

    /// Applies a change that is [admitted](Status::admits).
    pub fn apply(&mut self, change: &Change) {
        DigestRow::apply(&mut self.digests, change);
        match change {
            Change::Claimed(claimed) => self.claimed = *claimed,
            Change::Fresh { kept, restart, validators, size, mismatch, epoch, stated: _ } => {
                if let Some(restart) = restart {
                    self.count_restart(restart);
                }
                self.validators = validators.clone();
                self.behaviour.shrunk = None;
                self.size = *size;
                self.mismatch = *mismatch;
                self.epoch = Some(epoch.clone());
                self.downloaded = *kept;
                self.durable = self.durable.min(*kept);
                self.committing = None;
                // Nothing was compared with an empty part: reaching the same offset again is no progress.
                if *kept > 0 || restart.is_some() {
                    self.bounds.furthest = self.bounds.furthest.min(*kept);
                }
                self.responses = 1;
            }
            Change::Resumed { size, mismatch, epoch, stated: _ } => {
                self.size = self.size.or(*size);
                self.mismatch |= *mismatch;
                self.epoch = Some(epoch.clone());
                self.responses = self.responses.saturating_add(1);
            }
            Change::Checkpoint { downloaded, durable, epoch, digests: _ } => {
                self.downloaded = *downloaded;
                self.durable = *durable;
                self.epoch = Some(epoch.clone());
                self.committing = None;
            }
            Change::Restart(restart) => {
                self.count_restart(restart);
                self.bounds.furthest = 0;
                self.validators = Validators::default();
                self.behaviour.shrunk = None;
                self.size = None;
                self.epoch = None;
                self.responses = 0;
                self.downloaded = 0;
                self.durable = 0;
                self.committing = None;
            }
            Change::Learned(behaviour) => self.behaviour = behaviour.clone(),
            Change::Moved { url, validators, terms } => {
                self.take_terms(terms);
                let (Source::Url { url: old } | Source::Peer { url: old, .. }) = &mut self.new.source;
                old.clone_from(url);
                self.validators = validators.clone();
                self.behaviour = Behaviour::default();
            }
            Change::AttemptEnded { bounds, .. } => self.bounds = *bounds,
            Change::Waits(waiting) => {
                self.status = Status::Waiting;
                self.waiting = Some(waiting.clone());
            }
            Change::Queued | Change::Unpaused => self.stand(Status::Queued),
            Change::Paused => self.stand(Status::Paused),
            Change::Committing { committing, .. } => {
                self.stand(Status::Committing);
                self.committing = Some(committing.clone());
            }
            Change::Completed { size, warning } => {
                self.stand(Status::Completed);
                self.mismatch |= self.new.release_size.is_some_and(|release| release != *size);
                self.committing = None;
                self.failure.clone_from(warning);
                self.downloaded = *size;
                self.durable = *size;
            }
            Change::Failed(failure) => {
                self.stand(Status::Failed);
                self.failure = Some(failure.clone());
            }
            Change::Cancelled => self.stand(Status::Cancelled),
            Change::Retried => {
                self.stand(Status::Queued);
                self.bounds = Bounds { furthest: self.bounds.furthest, ..Bounds::default() };
                self.digest_restarted = false;
                self.failure = None;
            }
            Change::Terms(terms) => self.take_terms(terms),
        }
    }

    fn take_terms(&mut self, terms: &Terms) {
        self.new.adopt = terms.adopt;
        self.new.on_exists = terms.on_exists;
        self.new.header_names = terms.header_names.clone();
        self.new.mirrors = terms.mirrors.clone();
    }

    fn stand(&mut self, status: Status) {
        self.status = status;
        self.waiting = None;
    }

    fn count_restart(&mut self, restart: &Restart) {
        self.restarts = self.restarts.saturating_add(1);
        self.bounds.restarts = self.bounds.restarts.saturating_add(1);
        self.digest_restarted |= restart.reason == RestartReason::DigestMismatch;
    }
}

impl DigestRow {
    /// Applies a change to the digests of its row. A database that stores them in a separate table calls it, too.
    pub fn apply(rows: &mut Vec<DigestRow>, change: &Change) {
        match change {
            Change::Fresh { kept, stated, .. } => {
                let old = std::mem::take(rows);
                rows.extend(old.iter().filter(|row| !row.source.is_of_part()).cloned());
                rows.extend(stated.iter().map(|checksum| stated_row(checksum, &old)));
                for row in rows {
                    row.state = row.state.take().filter(|state| state.offset <= *kept);
                    row.got = None;
                }
            }
            Change::Resumed { stated, .. } => {
                for checksum in stated {
                    let is_stated =
                        |row: &DigestRow| row.source == DigestSource::ReprDigest && row.algorithm == checksum.algorithm;
                    if !rows.iter().any(is_stated) {
                        rows.push(stated_row(checksum, rows));
                    }
                }
            }
            Change::Checkpoint { digests, .. } => {
                for row in rows {
                    let saved = digests.iter().find(|(name, _)| *name == row.algorithm);
                    if let Some((_, state)) = saved {
                        row.state = Some(state.clone());
                    }
                    row.got = None;
                }
            }
            Change::Restart(_) => {
                // Neither the version nor the mixture of which they say something is left.
                rows.retain(|row| !row.source.is_of_part());
                for row in rows {
                    (row.state, row.got) = (None, None);
                }
            }
            Change::Committing { digests, .. } => {
                for row in rows {
                    let got = digests.iter().find(|got| got.algorithm == row.algorithm);
                    row.got = got.map(|got| got.hex.clone());
                }
            }
            Change::Terms(terms) | Change::Moved { terms, .. } => {
                let old = std::mem::take(rows);
                let vouching = vouching(&old, &terms.digests);
                let others = |row: &&DigestRow| vouching.is_empty() || row.source != DigestSource::SeveralSources;
                rows.extend(terms.digests.iter().filter(others).map(|row| like(row.clone(), &old)));
                rows.extend(vouching);
                let stated = |row: &DigestRow| row.source == DigestSource::ReprDigest;
                rows.extend(old.into_iter().filter(stated));
            }
            Change::Claimed(_)
            | Change::Learned(_)
            | Change::AttemptEnded { .. }
            | Change::Waits(_)
            | Change::Queued
            | Change::Completed { .. }
            | Change::Failed(_)
            | Change::Cancelled
            | Change::Retried
            | Change::Paused
            | Change::Unpaused => {}
        }
    }
}

/// The digests that vouch for the bytes of several sources in the part, if there are such: those that are given now, else the old ones.
fn vouching(old: &[DigestRow], now: &[DigestRow]) -> Vec<DigestRow> {
    let vouches = |row: &&DigestRow| row.source == DigestSource::SeveralSources;
    if !old.iter().any(|row| vouches(&row)) {
        return Vec::new();
    }
    let given = now.iter().filter(|row| row.is_given() && !vouches(row));
    let given: Vec<_> =
        given.map(|row| like(DigestRow { source: DigestSource::SeveralSources, ..row.clone() }, old)).collect();
    if given.is_empty() { old.iter().filter(vouches).cloned().collect() } else { given }
}

fn stated_row(checksum: &Checksum, rows: &[DigestRow]) -> DigestRow {
    let row = DigestRow::wanted(checksum.clone(), DigestSource::ReprDigest);
    like(row, rows)
}

/// A row with the state and the result of those of its algorithm.
fn like(row: DigestRow, rows: &[DigestRow]) -> DigestRow {
    let known = rows.iter().find(|known| known.algorithm == row.algorithm);
    DigestRow {
        state: known.and_then(|known| known.state.clone()),
        got: known.and_then(|known| known.got.clone()),
        ..row
    }
}
