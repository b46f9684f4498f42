//! Many downloads at once.
//!
//! The engine grants permits, keeps one writer per destination, and returns one future per download; it never spawns. A host
//! with several threads spawns those futures; a host with a single thread polls them together.
//!
//! Invariant: a permit is held only while data can be transferred. It is released during a backoff, and the download then waits
//! ahead of those that never started. It is also released while a peer cannot be reached or an origin is busy with other
//! downloads; such a wait uses no attempt.
//!
//! A lock that is held over an await is a semaphore with one permit: one per destination, from looking for a row to inserting one,
//! so that there is no gap between check and claim.

use super::admission::{Accepted, Admission, NewUrl, admission, missing};
use super::drive;
use super::line::Line;
use super::peers::Peers;
use super::shared::{Asked, Moving, Shared};
use super::stop::Stop;
use crate::calls;
use crate::checksum::Checksum;
use crate::classify::class;
use crate::config::{DownloadsConfig, InvalidConfig};
use crate::error::{Error, Failed, chain};
use crate::error_code::ErrorCode;
use crate::event::{Event, Summary, What, display_url};
use crate::host::{Host, unless_alone};
use crate::job::failure;
use crate::ledger::Ledger;
use crate::mutex::lock;
use crate::origin::Origins;
use crate::peer::Reachability;
use crate::pieces::Window;
use crate::record::{Change, DigestRow, DownloadId, Mark, NewDownload, Restart, RestartReason, Row, Status, Terms};
use crate::semaphore::Semaphore;
use crate::store::PartStore;
use crate::time::Clock;
use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number of complete files without a name that may be open beside those whose data is transferred.
const NAMED_AT_ONCE: usize = 64;

/// The delay before a ledger that could not be read is read again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Drives downloads. Clones share everything.
#[derive(Debug)]
pub struct Engine<H: Host>(Arc<Shared<H>>);

impl<H: Host> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Engine(Arc::clone(&self.0))
    }
}

/// The downloads that start-up found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The downloads to drive, oldest first.
    pub drive: Vec<DownloadId>,
    /// The downloads that failed as superseded: another row of the same destination has more durable bytes.
    pub superseded: Vec<DownloadId>,
}

impl<H: Host> Engine<H> {
    /// Creates an engine. If `digests` is `false`, no digest is computed, even if there is one to check.
    ///
    /// # Errors
    /// The first configuration key that is out of range.
    pub fn new(host: H, config: DownloadsConfig, digests: bool) -> Result<Self, InvalidConfig> {
        config.check()?;
        let permits = Semaphore::new(config.max_concurrent_downloads as usize).map_err(|_| InvalidConfig {
            key: "maxConcurrentDownloads",
            found: "0".to_owned(),
            expected: "at least 1",
        })?;
        let naming = Semaphore::unlimited();
        if !H::ALONE {
            let _ = naming.resize(NAMED_AT_ONCE); // it is not 0
        }
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
            naming,
            line: Line::default(),
            peers: Peers::default(),
            origins: Origins::default(),
            window,
            doors: Mutex::default(),
            asked: Mutex::default(),
            accepted: Mutex::default(),
            inserted: Mutex::default(),
            given_back: Mutex::default(),
            priorities: Mutex::default(),
            writers: Mutex::default(),
        })))
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// The name of this process in [claims](Ledger::claim); empty if its ledger has none.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// The priority of a download: 0 unless another one was [set](Self::set_priority).
    pub fn priority(&self, id: DownloadId) -> i8 {
        self.0.priority(id)
    }

    /// Sets the priority of a download. Of the downloads that wait for a permit, those with the highest one are next. It holds from the
    /// next time that the download begins to wait, until the process ends: no ledger keeps it.
    pub fn set_priority(&self, id: DownloadId, priority: i8) {
        let mut priorities = lock(&self.0.priorities);
        match priority {
            0 => priorities.remove(&id),
            priority => priorities.insert(id, priority),
        };
    }

    /// The number of permits in use.
    pub fn permits_used(&self) -> usize {
        self.0.permits.used()
    }

    /// The number of downloads that wait for a permit.
    pub fn permits_waiting(&self) -> usize {
        self.0.permits.waiting()
    }

    /// Applies other limits: permits at once, the others from each download's next attempt on.
    ///
    /// # Errors
    /// The first key that is out of range; the old limits stay in force.
    pub fn reconfigure(&self, config: DownloadsConfig) -> Result<(), InvalidConfig> {
        config.check()?;
        // `check` has rejected 0.
        let _ = self.0.permits.resize(config.max_concurrent_downloads as usize);
        let config = Arc::new(config);
        *lock(&self.0.config) = Arc::clone(&config);
        self.0.origins.reconfigure(&config);
        if !H::ALONE {
            self.0.peers.reconfigure(&config);
        }
        Ok(())
    }

    /// The limits in force.
    pub fn config(&self) -> Arc<DownloadsConfig> {
        self.0.config()
    }

    /// The reachability of a peer at the origin of `url`, which its downloads share. Record other requests to that peer there as well.
    pub fn reachability(&self, peer_id: &str, url: &str) -> Reachability {
        self.0.peers.reachability(peer_id, url)
    }

    /// Accepts a download: inserts a row, or uses the existing one for the same source and destination. A failed or cancelled
    /// download is retried with fresh bounds.
    ///
    /// An unfinished, failed or cancelled download that is not being driven may continue from a URL that differs only in its
    /// query: the drive then proves that the URL serves the same file.
    ///
    /// # Errors
    /// `DestinationBusy` if the destination belongs to another source, `DestinationRefused` if it is the part of another download,
    /// `CredentialsMissing` if the partial data was requested with headers that are not given again, `Ledger`; nothing changes.
    pub async fn accept(&self, new: NewDownload) -> Result<Accepted, Error> {
        self.accept_with(new, NewUrl::SamePath).await
    }

    /// Like [`accept`](Self::accept), with another rule for new URLs. If a URL with another path serves another file, the drive
    /// ends with `DestinationBusy`, and the part, the row and its URL stay unchanged.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_with(&self, new: NewDownload, new_url: NewUrl) -> Result<Accepted, Error> {
        let accepted = self.admit(new, new_url).await.map_err(Failed::unboxed)?;
        if !self.is_driven(accepted.id) && !self.is_shared() {
            lock(&self.0.accepted).insert(accepted.id, ());
        }
        Ok(accepted)
    }

    /// Accepts downloads whose destination no row has, together. For each of the others returns `None`, and nothing happens:
    /// [`accept`](Self::accept) it alone. If one is named like a part, that is all of them.
    ///
    /// # Errors
    /// `Ledger`; nothing changes, if the ledger can take all of them in one transaction.
    pub async fn accept_new(&self, mut new: Vec<NewDownload>) -> Result<Vec<Option<DownloadId>>, Error> {
        let asked = self.0.config().digest;
        new.iter_mut().for_each(|new| new.digests.extend(asked.map(DigestRow::asked)));
        if new.iter().any(|new| new.destination.ends_with(calls::PART)) {
            return Ok(vec![None; new.len()]);
        }
        let ids = self.0.host.ledger().insert_new(&new, self.0.host.clock().wall()).await?;
        for (id, new) in ids.iter().zip(&new) {
            if let Some(id) = *id {
                if !self.is_shared() {
                    lock(&self.0.accepted).insert(id, ());
                }
                self.emit(id, new, What::Queued);
            }
        }
        Ok(ids)
    }

    async fn admit(&self, mut new: NewDownload, new_url: NewUrl) -> Result<Accepted, Failed> {
        let asked = self.0.config().digest;
        new.digests.extend(asked.map(DigestRow::asked)); // beside one that is wanted, it costs nothing
        let door = self.door(&new.destination);
        let _inside = door.acquire().await;
        let ledger = self.0.host.ledger();
        if !H::ALONE && unless_alone::<H, _>(calls::is_part_of_another(&self.0.host, &new.destination)).await? {
            let (path, what) = (new.destination, "the partial data of another download");
            return Err(Error::DestinationRefused { path, what }.into());
        }
        let (rows, admission, (id, retries, moves)) = loop {
            let rows = ledger.rows_for(&new.destination).await?;
            let admission = match admission(&rows, &new, new_url) {
                Admission::Move(id) if self.is_driven(id) => Admission::Busy(id),
                Admission::Move(id) if self.is_shared() => return self.add_source(id, &rows, &new).await,
                Admission::Move(id) if self.is_accepted(id) || !ledger.hold(id) => Admission::Busy(id),
                admission => admission,
            };
            let found = match admission {
                Admission::New => match ledger.insert(&new, self.0.host.clock().wall()).await {
                    // Another process was first: its row counts.
                    Err(Error::DestinationBusy { .. }) if !H::ALONE => continue,
                    id => {
                        let id = id?;
                        self.emit(id, &new, What::Queued);
                        if !H::ALONE && !self.is_shared() {
                            lock(&self.0.inserted).insert(id, Box::new(Row::new(id, new)));
                        }
                        return Ok(Accepted { id, known: false, is_first: rows.is_empty() });
                    }
                },
                Admission::Known(id) => (id, false, false),
                Admission::Retry(id) => (id, true, false),
                Admission::Move(id) | Admission::Busy(id) => (id, false, true),
            };
            break (rows, admission, found);
        };
        let row = rows.iter().find(|row| row.id == id).ok_or(Error::NoSuchDownload(id))?;
        if let Admission::Busy(id) = admission {
            let url = display_url(row.new.source.url());
            return Err(Error::DestinationBusy { path: new.destination, id, url }.into());
        }
        if let Some(names) = missing(row, &new).filter(|_| !moves) {
            return Err(Error::CredentialsMissing { names }.into());
        }
        let again = match row.status {
            Status::Paused => Some(Change::Unpaused),
            Status::Failed | Status::Cancelled => Some(Change::Retried),
            _ => None,
        };
        if let Some(again) = again {
            // Together: another process may drive it from then on.
            let terms = retries.then(|| Change::Terms(Terms::again(&new, &row.new, row.new.source.url())));
            match self.take_up(id, disowned_for(row, &new), again, terms.clone()).await {
                // Another process takes it up at this moment.
                Err(Error::WrongState { .. }) if retries || !row.status.is_finished() => {
                    if let Some(terms) = terms.filter(|_| !self.is_shared()) {
                        self.record(id, &terms).await?;
                    }
                }
                recorded => recorded?,
            }
        }
        if retries {
            lock(&self.0.asked).remove(&id);
        } else if !self.is_shared() {
            let url = new.source.url().to_owned();
            let terms = Terms::again(&new, &row.new, if moves { &url } else { row.new.source.url() });
            let moving = moves.then(|| Moving { url, status: row.status, failure: row.failure.clone() });
            lock(&self.0.asked).insert(id, Asked { terms, moving });
        }
        if retries || !self.is_driven(id) {
            self.emit(id, &new, What::Queued);
        }
        self.0.take_inserted(id);
        Ok(Accepted { id, known: true, is_first: false })
    }

    /// Accepts a new URL of a download that any process may drive: it is one more source, which takes over under the same proof once the
    /// one before it fails.
    async fn add_source(&self, id: DownloadId, rows: &[Row], new: &NewDownload) -> Result<Accepted, Failed> {
        let row = rows.iter().find(|row| row.id == id).ok_or(Error::NoSuchDownload(id))?;
        let terms = Change::Terms(Terms::again(new, &row.new, row.new.source.url()));
        let recorded = match row.status {
            Status::Failed | Status::Cancelled => {
                self.take_up(id, disowned_for(row, new), Change::Retried, Some(terms)).await
            }
            Status::Paused => self.take_up(id, None, Change::Unpaused, Some(terms)).await,
            _ => self.record(id, &terms).await,
        };
        match recorded {
            // Somebody drives it, or has just taken it up.
            Err(Error::PartLocked { .. } | Error::WrongState { .. }) => {
                let (path, url) = (new.destination.clone(), display_url(row.new.source.url()));
                return Err(Error::DestinationBusy { path, id, url }.into());
            }
            recorded => recorded?,
        }
        self.emit(id, new, What::Queued);
        Ok(Accepted { id, known: true, is_first: false })
    }

    /// Drives a download to its end: permits, attempts, backoff, commit. Returns at once if it is already completed.
    /// Downloads start in the order in which their drives were first polled.
    ///
    /// # Errors
    /// The error that the download ended with, including `Cancelled` and `Interrupted`.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash of the process: the permit and the lock are released, the row and the part stay as
    /// they are, and the next drive resumes from them.
    pub async fn drive(&self, id: DownloadId) -> Result<Summary, Error> {
        drive::drive(&self.0, id).await.map_err(Failed::unboxed)
    }

    /// Finishes a commit that a crash interrupted, without using the network. Returns `true` if the download is now completed;
    /// otherwise its row is unchanged.
    ///
    /// # Errors
    /// As [`drive`](Self::drive). Unless it is `Ledger`, the row is then `failed`.
    pub async fn repair(&self, id: DownloadId) -> Result<bool, Error> {
        drive::repair_only(&self.0, id).await.map_err(Failed::unboxed)
    }

    /// Cancels a download promptly and keeps its part. From `committing` on it is too late.
    ///
    /// # Errors
    /// `WrongState` if it is finished or being committed, `NoSuchDownload`, `Ledger`.
    pub async fn cancel(&self, id: DownloadId) -> Result<(), Error> {
        let error = Error::Cancelled;
        let summary = |row: &Row| Summary {
            bytes: row.downloaded,
            attempts: row.attempts,
            restarts: row.restarts,
            class: Some(class(&error, &self.config().extra_retry_statuses)),
            code: Some(error.code()),
            error: Some(chain(&error)),
            ..Summary::default()
        };
        self.stop_by_user(id, Stop::Cancel, |row| What::Cancelled(summary(row))).await
    }

    /// Pauses a download, promptly. Its part is kept; it holds no permit and is not driven until it is
    /// [resumed](Self::resume) or [accepted](Self::accept) again, in this process or a later one. From `committing` on
    /// it is too late.
    ///
    /// # Errors
    /// `WrongState` if it is paused, finished or being committed, `NoSuchDownload`, `Ledger`.
    pub async fn pause(&self, id: DownloadId) -> Result<(), Error> {
        self.stop_by_user(id, Stop::Pause, |row| What::Paused { bytes: row.downloaded }).await
    }

    /// Has the drive of a download end, or records the end if nobody drives it.
    async fn stop_by_user(&self, id: DownloadId, stop: Stop, what: impl Fn(&Row) -> What) -> Result<(), Error> {
        let (done, change) = match stop {
            Stop::Pause => (Status::Paused, Change::Paused),
            Stop::Cancel | Stop::End => (Status::Cancelled, Change::Cancelled),
        };
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.acquire().await;
        let row = self.0.host.ledger().row(id).await?;
        let wrong_state = |status: Status| Err(Error::WrongState { id, status });
        if row.status == done || !row.status.admits(&change) {
            return wrong_state(row.status);
        }
        match self.stop_one(id, stop) {
            Some(Some(sent)) if sent == stop => Ok(()),
            Some(Some(Stop::Cancel)) => wrong_state(Status::Cancelled),
            // It will end as paused or interrupted: the ledger has the last word.
            Some(Some(Stop::Pause | Stop::End)) => self.record(id, &change).await,
            // It listens no more: all bytes are there, and the next thing it records is `committing`.
            Some(None) => wrong_state(Status::Committing),
            None => {
                lock(&self.0.accepted).remove(&id);
                self.record(id, &change).await?;
                self.emit(id, &row.new, what(&row));
                Ok(())
            }
        }
    }

    /// Takes up a paused download, with its bounds as they were. The caller drives it then.
    ///
    /// # Errors
    /// `WrongState` if it is not paused, `NoSuchDownload`, `Ledger`.
    pub async fn resume(&self, id: DownloadId) -> Result<(), Error> {
        self.record(id, &Change::Unpaused).await?;
        let row = self.0.host.ledger().row(id).await?;
        self.emit(id, &row.new, What::Queued);
        Ok(())
    }

    /// Stops the drives of downloads that another process cancels, pauses or removes, as soon as the ledger
    /// [reports](Ledger::changes) it. A host whose ledger is shared polls this beside the drives; it never returns.
    ///
    /// This only makes the end prompt: the ledger itself prevents a cancelled download from being committed.
    pub async fn follow_changes<T>(&self) -> T {
        loop {
            self.0.host.ledger().changes().await;
            // The drives report the error of the ledger.
            while self.stop_ended_elsewhere().await.is_err() {
                self.0.host.clock().sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Stops the drives of downloads that another process has cancelled, paused or removed.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn stop_ended_elsewhere(&self) -> Result<(), Error> {
        let driven: Vec<DownloadId> = lock(&self.0.writers).values().map(|writer| writer.id).collect();
        for id in driven {
            let stop = match self.0.host.ledger().row(id).await {
                Ok(row) if row.status == Status::Paused => Stop::Pause,
                Ok(row) if row.status != Status::Cancelled => continue,
                Ok(_) | Err(Error::NoSuchDownload(_)) => Stop::Cancel,
                Err(error) => return Err(error),
            };
            // If it is too late, the ledger refuses what the drive records next.
            self.stop_one(id, stop);
        }
        Ok(())
    }

    /// Cancels a download that is being driven, without reading its row: [`cancel`](Self::cancel) for a caller that drives it
    /// itself. Returns `true` if this ends the drive.
    pub fn call_off(&self, id: DownloadId) -> bool {
        self.stop_one(id, Stop::Cancel) == Some(Some(Stop::Cancel))
    }

    /// Retries a failed or cancelled download with fresh bounds. The caller drives it afterwards.
    ///
    /// # Errors
    /// `WrongState` if it is neither, `NoSuchDownload`, `Ledger`.
    pub async fn retry(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.acquire().await;
        let row = self.0.host.ledger().row(id).await?;
        if !matches!(row.status, Status::Failed | Status::Cancelled) {
            return Err(row.wrong_state());
        }
        lock(&self.0.asked).remove(&id);
        let disowned = is_refused_by_a_digest(&row).then(|| disowned(&row));
        self.take_up(id, disowned, Change::Retried, None).await?;
        self.emit(id, &row.new, What::Queued);
        Ok(())
    }

    /// Records that a download is taken up again, and before that, that its bytes no longer count: a process that dies in between must
    /// not leave bytes that a digest has refused to one that does not know it. What was discarded does not count against fresh bounds.
    async fn take_up(
        &self,
        id: DownloadId,
        disowned: Option<Change>,
        again: Change,
        terms: Option<Change>,
    ) -> Result<(), Error> {
        self.0.take_inserted(id);
        let changes: Vec<Change> = disowned.into_iter().chain([again]).chain(terms).collect();
        let at = self.0.host.clock().wall();
        self.0.host.ledger().record_all(id, None, &changes, at).await.map(drop)
    }

    /// Deletes a download and its part. Keeps a completed file.
    ///
    /// # Errors
    /// `WrongState` while it is driven, `PartLocked` while another process writes it, `NoSuchDownload`, `Ledger`, `Disk`.
    pub async fn remove(&self, id: DownloadId) -> Result<(), Error> {
        let row = self.0.host.ledger().row(id).await?;
        let door = self.door(&row.new.destination);
        let _inside = door.acquire().await;
        lock(&self.0.accepted).remove(&id);
        self.0.take_inserted(id);
        let row = self.0.host.ledger().row(id).await?;
        if self.is_driven(id) {
            return Err(row.wrong_state());
        }
        if matches!(row.status, Status::Queued | Status::Waiting | Status::Paused) {
            // Another process may be about to begin an attempt: it must find the end before the part is gone.
            self.record(id, &Change::Cancelled).await?;
        }
        let rows = self.0.host.ledger().rows_for(&row.new.destination).await?;
        // A superseded row claims the same part as the one that superseded it: the part is removed with the last of them.
        let others = rows.iter().any(|other| other.id != id && other.new.part == row.new.part && has_part(other));
        if has_part(&row) && !others {
            self.0.host.store().remove(&row.new.part).await?;
        }
        self.0.host.ledger().remove(id).await
    }

    /// Ends every drive because the process ends: rows become `queued`, parts are synced and kept.
    pub fn end(&self) {
        for (_, writer) in lock(&self.0.writers).iter_mut() {
            // A drive that has ended needs no stop.
            writer.send(Stop::End);
        }
    }

    /// Returns the downloads that an earlier process left unfinished. Of several rows for one destination, the one with the most
    /// durable bytes is driven, and the others fail as superseded.
    ///
    /// # Errors
    /// `Ledger`.
    pub async fn recover(&self) -> Result<Recovered, Error> {
        let mut marks = self.0.host.ledger().unfinished_marks().await?;
        // Sorted by destination; the one to drive comes first.
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

    /// Returns `true` if this process has accepted the download and will drive it.
    fn is_accepted(&self, id: DownloadId) -> bool {
        lock(&self.0.accepted).contains_key(&id)
    }

    /// Returns `true` if any process that shares the ledger may drive what this one accepts.
    fn is_shared(&self) -> bool {
        !H::ALONE && self.0.host.ledger().lease().is_some()
    }

    fn is_driven(&self, id: DownloadId) -> bool {
        lock(&self.0.writers).values().any(|writer| writer.id == id)
    }

    /// Tells the drive of a download to end. `None` if nobody drives it, else the stop that the drive ends by.
    fn stop_one(&self, id: DownloadId, stop: Stop) -> Option<Option<Stop>> {
        let mut writers = lock(&self.0.writers);
        let writer = writers.iter_mut().find(|(_, writer)| writer.id == id);
        writer.map(|(_, writer)| writer.send(stop))
    }

    fn door(&self, destination: &str) -> Semaphore {
        let mut doors = lock(&self.0.doors);
        // Doors that nobody holds are no longer needed.
        doors.retain(|_, door| door.is_shared());
        doors.entry(destination.to_owned()).or_insert_with(|| NonZeroUsize::MIN.into()).clone()
    }

    async fn record(&self, id: DownloadId, change: &Change) -> Result<(), Error> {
        self.0.take_inserted(id);
        self.0.host.ledger().record(id, change, self.0.host.clock().wall()).await
    }

    fn emit(&self, id: DownloadId, new: &NewDownload, what: What) {
        let (at, url) = (self.0.host.clock().wall(), display_url(new.source.url()));
        self.0.host.on_event(&Event { id, at, url: &url, path: &new.destination, what });
    }
}

/// The order of the unfinished rows after a start.
fn order(mark: &Mark) -> (&str, Reverse<(bool, u64)>, DownloadId) {
    let most = Reverse((mark.committing, mark.durable));
    (&mark.destination, most, mark.id)
}

/// Returns `true` if a row claims its part and has not renamed it.
fn has_part(row: &Row) -> bool {
    row.claimed && !row.status.is_complete()
}

/// Returns `true` if a download failed because the file has another digest.
fn is_refused_by_a_digest(row: &Row) -> bool {
    let failure = row.failure.as_ref();
    failure.is_some_and(|failure| failure.code == ErrorCode::DigestMismatch)
}

/// The change that a whole part with the wrong digest needs before it is used again: it would be refused again and again without a
/// request. If the wanted digest is still the same, the bytes no longer count; if it is another one, they may be the right ones.
fn disowned_for(row: &Row, new: &NewDownload) -> Option<Change> {
    let wanted = |rows: &[DigestRow]| -> Vec<Checksum> {
        let rows = rows.iter().filter(|row| !row.source.is_of_part());
        rows.filter_map(DigestRow::checksum).collect()
    };
    let refused = is_refused_by_a_digest(row) && wanted(&row.digests) == wanted(&new.digests);
    refused.then(|| disowned(row))
}

/// The bytes of a part no longer count, because a digest refused them.
fn disowned(row: &Row) -> Change {
    let reason = RestartReason::DigestMismatch;
    Change::Restart(Restart { attempt: row.attempts, reason, discarded: row.downloaded })
}
