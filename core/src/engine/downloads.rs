//! Many downloads at once.
//!
//! The engine hands out permits, keeps one writer to a destination, and returns one future a download; it never spawns.
//! A host that wants downloads on several threads spawns those futures, one that has a single thread polls them together.
//!
//! Invariant: a permit is held only while bytes can move. A backoff gives it back, and the download then re-enters ahead of
//! those that never started. Nor is one held while a peer cannot be reached, or while a download waits for an origin that is
//! busy with others: then nothing of it even spends an attempt.
//!
//! async-lock's `Mutex` is used where a lock is held over an await: one per destination, from looking for a row to
//! inserting one, so that there is no gap between check and claim.

use super::admission::{Accepted, Admission, NewUrl, admission, missing};
use super::drive;
use super::peers::Peers;
use super::shared::{Asked, Moving, Shared};
use super::stop::Stop;
use crate::checksum::Checksum;
use crate::classify::class;
use crate::config::{DownloadsConfig, InvalidConfig};
use crate::error::{Error, chain};
use crate::error_code::ErrorCode;
use crate::event::{Event, Summary, What, display_url};
use crate::host::Host;
use crate::job::failure;
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::origin::Origins;
use crate::peer::Reachability;
use crate::record::{
    Change, DigestRow, DigestSource, DownloadId, Mark, NewDownload, Restart, RestartReason, Row, Status, Terms,
};
use crate::semaphore::Semaphore;
use crate::store::PartStore;
use crate::stripe::Window;
use crate::time::Clock;
use std::cmp::Reverse;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Before a ledger is asked again that could not be read.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Drives downloads. Clones share everything.
#[derive(Debug)]
pub struct Engine<H: Host>(Arc<Shared<H>>);

impl<H: Host> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Engine(Arc::clone(&self.0))
    }
}

/// What start-up found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// To be driven, oldest first.
    pub drive: Vec<DownloadId>,
    /// Failed as superseded: another row of the same destination has more durable bytes.
    pub superseded: Vec<DownloadId>,
}

impl<H: Host> Engine<H> {
    /// An engine. Without `digests` none is computed, even if there is one to check.
    ///
    /// # Errors
    /// The first key of the configuration that is out of range.
    pub fn new(host: H, config: DownloadsConfig, digests: bool) -> Result<Self, InvalidConfig> {
        config.check()?;
        let permits = Semaphore::new(config.max_concurrent_downloads as usize).map_err(|_| InvalidConfig {
            key: "maxConcurrentDownloads",
            found: "0".to_owned(),
            expected: "at least 1",
        })?;
        let owner = match host.ledger().lease() {
            Some(_) => format!("{:016x}", host.seed()),
            None => String::new(),
        };
        let window = Window::new(config.window_bytes);
        Ok(Engine(Arc::new(Shared {
            host,
            digests,
            owner,
            config: Mutex::new(Arc::new(config)),
            permits,
            peers: Peers::default(),
            origins: Origins::default(),
            window,
            doors: Mutex::default(),
            asked: Mutex::default(),
            accepted: Mutex::default(),
            writers: Mutex::default(),
        })))
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// Permits in use.
    pub fn permits_used(&self) -> usize {
        self.0.permits.used()
    }

    /// Downloads that wait for a permit.
    pub fn permits_waiting(&self) -> usize {
        self.0.permits.waiting()
    }

    /// Takes other limits into use: permits at once, the rest from each download's next attempt on.
    ///
    /// # Errors
    /// The first key that is out of range; the old limits stay in force.
    pub fn reconfigure(&self, config: DownloadsConfig) -> Result<(), InvalidConfig> {
        config.check()?;
        // `check` has refused a zero.
        let _ = self.0.permits.resize(config.max_concurrent_downloads as usize);
        let config = Arc::new(config);
        *lock(&self.0.config) = Arc::clone(&config);
        self.0.origins.reconfigure(&config);
        self.0.peers.reconfigure(&config);
        Ok(())
    }

    /// The limits in force.
    pub fn config(&self) -> Arc<DownloadsConfig> {
        self.0.config()
    }

    /// Whether a peer can be reached, as its downloads see it. Requests of other kinds to that peer belong there, too.
    pub fn reachability(&self, peer_id: &str) -> Reachability {
        self.0.peers.reachability(peer_id)
    }

    /// Accepts a download: a new row, or the one that is there for the same source and destination. A failed or cancelled
    /// one is taken up again with fresh bounds.
    ///
    /// # Errors
    /// `DestinationBusy` if another source has the destination, `CredentialsMissing` if what was fetched so far needed
    /// headers that are not given again, `Ledger`; nothing was changed then.
    ///
    /// An unfinished, failed or cancelled download that nobody drives may go on from a URL that differs only in its query:
    /// the drive then proves that it has the same file.
    pub async fn accept(&self, new: NewDownload) -> Result<Accepted, Error> {
        self.accept_with(new, NewUrl::SamePath).await
    }

    /// As [`accept`](Self::accept), with a rule of its own for another URL. If a URL of another path has another file, the
    /// drive ends with `DestinationBusy`, and part, row and old URL stay as they were.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_with(&self, new: NewDownload, new_url: NewUrl) -> Result<Accepted, Error> {
        let accepted = self.admit(new, new_url).await?;
        if !self.is_driven(accepted.id) {
            lock(&self.0.accepted).insert(accepted.id, ());
        }
        Ok(accepted)
    }

    async fn admit(&self, mut new: NewDownload, new_url: NewUrl) -> Result<Accepted, Error> {
        let asked = self.0.config().digest;
        let digests = &mut new.digests;
        digests.extend(asked.map(DigestRow::asked)); // beside one that is wanted, it costs nothing
        let door = self.door(&new.destination);
        let _inside = door.lock().await;
        let ledger = self.0.host.ledger();
        let rows = ledger.rows_for(&new.destination).await?;
        let admission = match admission(&rows, &new, new_url) {
            Admission::Move(id) if self.is_driven(id) || self.is_accepted(id) => Admission::Busy(id),
            admission => admission,
        };
        if let Admission::Known(id) | Admission::Retry(id) = admission {
            let row = rows.iter().find(|row| row.id == id);
            if let Some(names) = row.and_then(|row| missing(row, &new)) {
                return Err(Error::CredentialsMissing { names });
            }
        }
        match admission {
            Admission::Known(id) => {
                self.ask(id, &new, None);
                if !self.is_driven(id) {
                    self.tell(id, &new, What::Queued);
                }
                Ok(Accepted { id, known: true })
            }
            Admission::Retry(id) => {
                match self.record(id, &Change::Retried).await {
                    // Another process takes it up at this moment.
                    Ok(()) | Err(Error::WrongState { .. }) => {}
                    Err(error) => return Err(error),
                }
                if let Some(row) = rows.iter().find(|row| row.id == id) {
                    self.disown_what_a_digest_refused(row, &new).await?;
                }
                lock(&self.0.asked).remove(&id);
                self.record(id, &Change::Terms(Terms::of(&new))).await?;
                self.tell(id, &new, What::Queued);
                Ok(Accepted { id, known: true })
            }
            Admission::Move(id) => {
                let row = rows.iter().find(|row| row.id == id);
                let row = row.ok_or(Error::NoSuchDownload(id))?;
                if row.status.is_finished() {
                    self.record(id, &Change::Retried).await?;
                    self.disown_what_a_digest_refused(row, &new).await?;
                }
                let moving =
                    Moving { url: new.source.url().to_owned(), status: row.status, failure: row.failure.clone() };
                self.ask(id, &new, Some(moving));
                self.tell(id, &new, What::Queued);
                Ok(Accepted { id, known: true })
            }
            Admission::New => {
                let id = ledger.insert(&new, self.0.host.clock().wall()).await?;
                self.tell(id, &new, What::Queued);
                Ok(Accepted { id, known: false })
            }
            Admission::Busy(id) => {
                let url = rows.iter().find(|row| row.id == id).map(|row| display_url(row.new.source.url()));
                Err(Error::DestinationBusy { path: new.destination, id, url: url.unwrap_or_default() })
            }
        }
    }

    /// Drives a download to its end: permits, attempts, backoff, commit. Returns at once where it is completed already.
    ///
    /// # Errors
    /// What the download ended with, `Cancelled` and `Interrupted` included.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash of the process: the permit and the lock are given back, the row and the part
    /// stay as they are, and the next drive goes on from them.
    pub async fn drive(&self, id: DownloadId) -> Result<Summary, Error> {
        drive::drive(&self.0, id).await.map_err(|failed| *failed.0)
    }

    /// Gives a file its name whose process died in that moment, and asks nothing of the network. Whether that made it whole;
    /// where it did not, its row is as it was.
    ///
    /// # Errors
    /// As [`drive`](Self::drive). The row has failed then, unless it was the ledger.
    pub async fn repair(&self, id: DownloadId) -> Result<bool, Error> {
        drive::repair_only(&self.0, id).await.map_err(|failed| *failed.0)
    }

    /// Calls a download off, promptly. Its part is kept. From `committing` on it is too late.
    ///
    /// # Errors
    /// `WrongState` where it is finished or being committed, `NoSuchDownload`, `Ledger`.
    pub async fn cancel(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.lock().await;
        let row = self.0.host.ledger().row(id).await?;
        let too_late = |status: Status| Err(Error::WrongState { id, status });
        if row.status.is_finished() || row.status == Status::Committing {
            return too_late(row.status);
        }
        match self.stop_one(id, Stop::Cancel) {
            Some(true) => Ok(()),
            // It listens no more: all bytes are there, and the next thing it records is `committing`.
            Some(false) => too_late(Status::Committing),
            None => {
                self.record(id, &Change::Cancelled).await?;
                let error = Error::Cancelled;
                let summary = Summary {
                    bytes: row.downloaded,
                    attempts: row.attempts,
                    restarts: row.restarts,
                    class: Some(class(&error, &self.config().extra_retry_statuses)),
                    code: Some(error.code()),
                    error: Some(chain(&error)),
                    ..Summary::default()
                };
                self.tell(id, &row.new, What::Cancelled(summary));
                Ok(())
            }
        }
    }

    /// Stops the drives of downloads that another process cancels or removes, as soon as the ledger
    /// [shows](Ledger::changes) it. For a host whose ledger is shared, to be polled beside the drives; never returns.
    ///
    /// It only makes the end prompt: the ledger itself prevents a cancelled download from being committed.
    pub async fn follow_changes<T>(&self) -> T {
        loop {
            self.0.host.ledger().changes().await;
            // A ledger that is broken is reported by the drives.
            while self.stop_ended_elsewhere().await.is_err() {
                self.0.host.clock().sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Stops the drives of downloads that another process has cancelled or removed.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn stop_ended_elsewhere(&self) -> Result<(), Error> {
        let driven: Vec<DownloadId> = lock(&self.0.writers).values().map(|writer| writer.id).collect();
        for id in driven {
            match self.0.host.ledger().row(id).await {
                Ok(row) if row.status != Status::Cancelled => {}
                // One that listens no more is told by the ledger.
                Ok(_) | Err(Error::NoSuchDownload(_)) => drop(self.stop_one(id, Stop::Cancel)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Calls off a download that is being driven, without looking at its row: [`cancel`](Self::cancel) for those who drive
    /// it themselves. Whether its drive will end by it.
    pub fn call_off(&self, id: DownloadId) -> bool {
        self.stop_one(id, Stop::Cancel) == Some(true)
    }

    /// Takes up a failed or cancelled download with fresh bounds. The caller drives it then.
    ///
    /// # Errors
    /// `WrongState` where it is neither, `NoSuchDownload`, `Ledger`.
    pub async fn retry(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.lock().await;
        let row = self.0.host.ledger().row(id).await?;
        if !matches!(row.status, Status::Failed | Status::Cancelled) {
            return Err(row.wrong_state());
        }
        lock(&self.0.asked).remove(&id);
        if is_refused_by_a_digest(&row) {
            self.disown(&row).await?;
        }
        self.record(id, &Change::Retried).await?;
        self.tell(id, &row.new, What::Queued);
        Ok(())
    }

    /// Deletes a download's row and part. A file at its final name stays.
    ///
    /// # Errors
    /// `WrongState` while it is driven, `PartLocked` while another process writes it, `NoSuchDownload`, `Ledger`, `Disk`.
    pub async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.lock().await;
        lock(&self.0.accepted).remove(&id);
        let row = self.0.host.ledger().row(id).await?;
        if self.is_driven(id) {
            return Err(row.wrong_state());
        }
        if matches!(row.status, Status::Queued | Status::Waiting) {
            // Another process may be about to begin an attempt: it must find the end before the part is gone.
            self.record(id, &Change::Cancelled).await?;
        }
        let rows = self.0.host.ledger().rows_for(&row.new.destination).await?;
        // A superseded row claims the same part as the one that superseded it: the last one to go takes it along.
        let others = rows.iter().any(|other| other.id != id && other.new.part == row.new.part && has_part(other));
        if has_part(&row) && !others {
            self.0.host.store().remove(&row.new.part).await?;
        }
        self.0.host.ledger().remove(id).await
    }

    /// Ends every drive because the process ends: rows go back to `queued`, parts are synced and kept.
    pub fn end(&self) {
        for (_, writer) in lock(&self.0.writers).iter_mut() {
            // A drive that is over by now needs no word.
            writer.tell(Stop::End);
        }
    }

    /// Looks at what an earlier process left unfinished. Of several rows for one destination the one with most durable
    /// bytes must be driven, and the others fail as superseded.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn recover(&self) -> Result<Recovered, Error> {
        let mut marks = self.0.host.ledger().unfinished_marks().await?;
        // Those of one destination follow each other, the one to be driven first.
        marks.sort_by(|one, other| order(one).cmp(&order(other)));
        let mut recovered = Recovered::default();
        let mut driven: Option<Mark> = None;
        for mark in marks {
            match &driven {
                Some(first) if first.destination == mark.destination => {
                    let (id, by) = (mark.id, first.id);
                    self.record(id, &Change::Failed(failure(&Error::Superseded { by }, &[]))).await?;
                    recovered.superseded.push(id);
                }
                _ => {
                    recovered.drive.push(mark.id);
                    driven = Some(mark);
                }
            }
        }
        recovered.drive.sort_unstable();
        Ok(recovered)
    }

    /// This process has accepted it, and will drive it.
    fn is_accepted(&self, id: DownloadId) -> bool {
        lock(&self.0.accepted).contains_key(&id)
    }

    fn is_driven(&self, id: DownloadId) -> bool {
        lock(&self.0.writers).values().any(|writer| writer.id == id)
    }

    /// Tells the drive of a download to end. `None` where nobody drives it, else whether it will.
    fn stop_one(&self, id: DownloadId, stop: Stop) -> Option<bool> {
        let mut writers = lock(&self.0.writers);
        let writer = writers.iter_mut().find(|(_, writer)| writer.id == id);
        writer.map(|(_, writer)| writer.tell(stop))
    }

    /// A whole part with the wrong digest would be refused again and again without a request. Where the digest that is
    /// wanted is still the same, its bytes count no more; where it is another one, they may be the right ones.
    async fn disown_what_a_digest_refused(&self, row: &Row, new: &NewDownload) -> Result<(), Error> {
        let wanted = |rows: &[DigestRow]| -> Vec<Checksum> {
            let given = |row: &&DigestRow| row.source != DigestSource::ReprDigest;
            let rows = rows.iter().filter(given);
            rows.filter_map(DigestRow::checksum).collect()
        };
        if !is_refused_by_a_digest(row) || wanted(&row.digests) != wanted(&new.digests) {
            return Ok(());
        }
        self.disown(row).await
    }

    /// Records that the bytes of a part do not count any more, because a digest refused them.
    async fn disown(&self, row: &Row) -> Result<(), Error> {
        let restart =
            Restart { attempt: row.attempts, reason: RestartReason::DigestMismatch, discarded: row.downloaded };
        self.record(row.id, &Change::Restart(restart)).await
    }

    /// Keeps what a call asked for until the part is locked.
    fn ask(&self, id: DownloadId, new: &NewDownload, moving: Option<Moving>) {
        let terms = Terms::of(new);
        lock(&self.0.asked).insert(id, Asked { terms, moving });
    }

    fn door(&self, destination: &str) -> Arc<async_lock::Mutex<()>> {
        let mut doors = lock(&self.0.doors);
        // Those nobody holds any more are of no use.
        doors.retain(|_, door| Arc::strong_count(door) > 1);
        Arc::clone(doors.entry(destination.to_owned()).or_default())
    }

    async fn record(&self, id: DownloadId, change: &Change) -> Result<(), Error> {
        self.0.host.ledger().record(id, change, self.0.host.clock().wall()).await
    }

    fn tell(&self, id: DownloadId, new: &NewDownload, what: What) {
        let (at, url) = (self.0.host.clock().wall(), display_url(new.source.url()));
        self.0.host.on_event(&Event { id, at, url: &url, path: &new.destination, what });
    }
}

/// In which order rows are looked at after a start.
fn order(mark: &Mark) -> (&str, Reverse<(bool, u64)>, DownloadId) {
    let most = Reverse((mark.committing, mark.durable));
    (&mark.destination, most, mark.id)
}

/// Whether a row claims its part, and has not turned it into the file.
fn has_part(row: &Row) -> bool {
    row.claimed && !matches!(row.status, Status::Completed | Status::ImportQueued)
}

/// Returns `true` if a download failed because the file has another digest.
fn is_refused_by_a_digest(row: &Row) -> bool {
    let failure = row.failure.as_ref();
    failure.is_some_and(|failure| failure.code == ErrorCode::DigestMismatch)
}
