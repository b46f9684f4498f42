//! Moves a body into a part: writing, comparing, checkpoints, and patience with the network.
//!
//! Invariant: data is synced before the ledger records it as durable. Only time spent waiting for the network counts as idle or
//! slow, never time spent on the disk or on keeping to a rate that the user set.

use crate::checksum::Checksum;
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, Timeout};
use crate::event::What;
use crate::host::{BodyOf, Host, PartOf, unless_alone};
use crate::job::Job;
use crate::pieces::Mixture;
use crate::record::Change;
use crate::store::{Digest, DigestState, Part, PartBytes};
use crate::stripe::{Done, Feed};
use crate::taking::{Differing, Taking, believe};
use crate::time::{Clock, Instant};
use crate::transport::{Body, Chunk, Transport};
use futures::future::{Either, select};
use std::num::NonZeroU64;
use std::pin::pin;
use std::time::Duration;

/// A checkpoint is due after this many bytes or this much time, and after the first chunk; none before the part has a whole unit
/// that the store can make durable.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How closely the first difference is found: what differs is replaced from the beginning of a piece of this many bytes, however
/// large the chunks are in which the network hands them over.
const COMPARED_BYTES: u64 = 64 << 10;
/// The shortest interval between progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// In the reported speed, what was received this long ago weighs about a third of what was received now.
const SPEED_MEMORY_MS: u64 = 5_000;

type DigestOf<H> = <PartOf<H> as Part>::Digest;

/// The result of a response body.
#[derive(Debug)]
pub(crate) enum Pumped {
    /// All its bytes are in the part; the digests of all of the part's bytes.
    All(Vec<Checksum>),
    /// Its bytes differ from the part's, and nothing was changed.
    Different,
}

/// A part that is being filled, at its end.
pub(crate) struct Pump<H: Host> {
    pub(crate) offset: u64,
    digests: Vec<DigestOf<H>>,
    checkpoint_offset: Option<u64>,
    checkpoint_at: Instant,
    progress_at: Instant,
    speed: Speed,
    /// As it is recorded.
    mixture: Mixture,
}

impl<H: Host> Pump<H> {
    /// Starts at `offset`, the part's length. The digests are continued once a response is settled.
    pub(crate) fn at(job: &Job<'_, H>, offset: u64) -> Self {
        let now = job.host.clock().now();
        let speed = Speed::from(now, offset);
        let mixture = Mixture::default();
        let (digests, checkpoint_offset) = (Vec::new(), None);
        Pump { offset, digests, checkpoint_offset, checkpoint_at: now, progress_at: now, speed, mixture }
    }

    /// Starts at `offset`, the part's length, with the digests of the bytes before it.
    pub(crate) async fn resume(job: &Job<'_, H>, part: &mut PartOf<H>, offset: u64) -> Result<Self, Failed> {
        let mut pump = Pump::at(job, offset);
        pump.take_up_digests(job, part).await?;
        Ok(pump)
    }

    /// Continues every required digest at the offset. If the bytes would have to be read again and cannot be, the digest is left
    /// out.
    async fn take_up_digests(&mut self, job: &Job<'_, H>, part: &mut PartOf<H>) -> Result<(), Failed> {
        let algorithms = job.algorithms();
        self.digests.retain(|digest| algorithms.contains(&digest.algorithm()));
        for algorithm in algorithms {
            if self.digests.iter().any(|had| had.algorithm() == algorithm) {
                continue;
            }
            let saved = job.row.digest_state(algorithm);
            let digest = part.digest(algorithm, saved, self.offset).await?;
            self.digests.extend(digest);
        }
        Ok(())
    }

    /// The digests of all bytes up to the offset.
    pub(crate) fn finish(self) -> Vec<Checksum> {
        let finish = |digest: DigestOf<H>| Checksum { algorithm: digest.algorithm(), hex: digest.finish() };
        self.digests.into_iter().map(finish).collect()
    }

    /// Reads a body: skips or compares the bytes that the part already has, settles the response, and appends the rest up to its
    /// end. Data after that is ignored, and the connection is dropped.
    pub(crate) async fn run(
        mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        mut body: Feed<'_, H, impl Future<Output = Done>>,
        mut taking: Taking,
    ) -> Result<Pumped, Failed> {
        let clock = job.host.clock();
        let mut patience = Patience::new(&job.config, clock.now());
        let left = patience.left(clock.now());
        let mut timer = pin!(clock.sleep(job.pending_left(clock.now()).map_or(left, |shown| shown.min(left))));
        let (mut at, end) = (taking.first, taking.end);
        let readable_from = self.offset.saturating_sub(part.rules().read_back_bytes);
        let (mut settled, table) = (false, body.table());
        loop {
            if at >= self.offset && !settled {
                settled = true;
                self.settle(job, part, &mut taking, self.offset).await?;
            }
            if end.is_some_and(|end| at >= end) {
                // Nothing more is needed. If the body has ended, its connection can be reused; otherwise dropping it closes it.
                let _ = futures::poll!(pin!(body.chunk()));
                break;
            }
            patience.wait_from(clock.now());
            let mut next = pin!(body.chunk());
            let chunk = loop {
                match select(next.as_mut(), timer.as_mut()).await {
                    Either::Left((chunk, _)) => break chunk,
                    Either::Right(((), _)) => {
                        if settled && job.has_pending() {
                            unless_alone::<H, _>(self.checkpoint(job, part)).await?;
                            self.emit_progress(job, clock.now());
                        }
                        if let Some(error) = patience.spent(clock.now()) {
                            // The timer may be late, and data may have been received already.
                            match futures::poll!(next.as_mut()) {
                                std::task::Poll::Ready(chunk) => break chunk,
                                std::task::Poll::Pending => return Err(error.into()),
                            }
                        }
                        timer.set(clock.sleep(patience.left(clock.now())));
                    }
                }
            };
            let Some(chunk) = chunk? else { break };
            job.received = job.received.saturating_add(chunk.length());
            patience.got(chunk.length(), clock.now())?;
            if table.is_none() {
                job.host.transport().pace(chunk.length()).await;
            }
            if let Some(table) = table {
                self.record_mixture(job, part, table.mixture()).await?;
            }
            let (chunk, _) = chunk.split_at(end.map_or(u64::MAX, |end| end - at));
            let (mut known, new) = chunk.split_at(self.offset.saturating_sub(at));
            let (mut from, upto) = (at, at + known.length());
            at = upto + new.length();
            let different = loop {
                if known.length() == 0 || !taking.compare {
                    break false;
                }
                let (piece, rest) = known.clone().split_at(COMPARED_BYTES);
                // Bytes that cannot be read back count as different.
                if from < readable_from || !part.matches(from, &piece).await? {
                    break true;
                }
                (from, known) = (from + piece.length(), rest);
            };
            if different && !matches!(taking.differing, Differing::Cut(_)) {
                return Ok(Pumped::Different);
            }
            if !different && new.length() == 0 {
                continue;
            }
            if !settled {
                settled = true;
                self.settle(job, part, &mut taking, if different { from } else { upto }).await?;
            }
            if different {
                self.write(job, part, known, end).await?;
            }
            if new.length() > 0 {
                self.write(job, part, new, end).await?;
            }
        }
        if settled {
            return Ok(Pumped::All(self.finish()));
        }
        let proven_end = taking.marked || taking.size.is_some_and(|size| size.bytes == at);
        if proven_end && taking.differing == Differing::GiveUp {
            return Ok(Pumped::Different);
        }
        // The end of a range counts too: the rest is requested from there.
        let measured_end = proven_end || end == Some(at);
        if !measured_end || !matches!(taking.differing, Differing::Cut(_)) {
            // It ended before the end of the part: the comparison is not finished and proves nothing.
            return Err(
                Error::Incomplete { got: self.offset, expected: job.row.known_size().map(|size| size.bytes) }.into()
            );
        }
        let size = taking.size.map_or(at, |size| size.bytes);
        believe(job, self.offset, &taking.validators, Some(size)).await?;
        self.settle(job, part, &mut taking, at).await?;
        Ok(Pumped::All(self.finish()))
    }

    /// From here on the part belongs to the response: its first `kept` bytes are equal, and the next ones are appended.
    async fn settle(
        &mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        taking: &mut Taking,
        kept: u64,
    ) -> Result<(), Failed> {
        taking.settle(job, part, self.offset, kept).await?;
        if kept != self.offset {
            self.digests.clear();
        }
        self.offset = kept;
        // Including the digests that only this response states.
        self.take_up_digests(job, part).await?;
        self.speed = Speed::from(job.host.clock().now(), kept);
        Ok(())
    }

    /// Records how the bytes are mixed before the first of that kind is written. From then on the digests that vouch for bytes of
    /// several sources stay, even if a later request does not give them.
    async fn record_mixture(&mut self, job: &mut Job<'_, H>, part: &PartOf<H>, now: Mixture) -> Result<(), Failed> {
        if !H::ALONE && now.sources && !self.mixture.sources {
            let terms = job.row.vouched_terms();
            job.record(Change::Terms(terms)).await?;
        }
        if now.responses && !self.mixture.responses {
            let (stated, epoch) = (Vec::new(), part.epoch());
            job.record(Change::Resumed { size: None, mismatch: false, stated, epoch }).await?;
        }
        self.mixture = now;
        Ok(())
    }

    async fn write<'b>(
        &mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        chunk: <BodyOf<H> as Body>::Chunk<'b>,
        end: Option<u64>,
    ) -> Result<(), Failed> {
        let length = chunk.length();
        let limit = job.config.max_download_bytes;
        let bytes = self.offset.saturating_add(length);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit }.into());
        }
        part.write(self.offset, chunk, &mut self.digests).await?;
        self.offset = bytes;
        let now = job.host.clock().now();
        let since = self.checkpoint_offset.map(|offset| self.offset - offset);
        let unit = part.rules().durable_unit_bytes;
        let far = match since {
            Some(since) => since >= CHECKPOINT_BYTES.max(unit),
            None => self.offset >= unit,
        };
        let due = now.since(self.checkpoint_at) >= CHECKPOINT_EVERY && since >= Some(unit);
        // After the last chunk the commit syncs anyway.
        let last = end == Some(self.offset);
        let checkpoint = !last && (far || due) && !job.has_pending();
        if checkpoint {
            self.checkpoint(job, part).await?;
        }
        if checkpoint || last || now.since(self.progress_at) >= PROGRESS_EVERY {
            self.emit_progress(job, now);
        }
        Ok(())
    }

    async fn checkpoint(&mut self, job: &mut Job<'_, H>, part: &mut PartOf<H>) -> Result<(), Failed> {
        // Of an unnamed part nothing is left after a crash; its checkpoint only shows how far it is.
        let durable = if part.is_named() { job.flush(part).await? } else { 0 };
        let offset = self.offset;
        let save = |digest: &DigestOf<H>| {
            let state = digest.save()?;
            Some((digest.algorithm(), DigestState { offset, state }))
        };
        // After a crash, a state beyond the durable offset would be useless.
        let digests = self.digests.iter().filter(|_| offset <= durable);
        let digests = digests.filter_map(save).collect();
        job.checkpoint(part, offset, durable, digests).await?;
        self.checkpoint_offset = Some(self.offset);
        self.checkpoint_at = job.host.clock().now();
        Ok(())
    }

    fn emit_progress(&mut self, job: &Job<'_, H>, now: Instant) {
        self.progress_at = now;
        let total = job.row.known_size().map(|size| size.bytes);
        // The release announced less than was received: it was wrong.
        let total = total.filter(|&total| total >= self.offset);
        let speed = self.speed.measure(self.offset, now);
        let eta_secs = match total.map(|total| total.saturating_sub(self.offset)) {
            Some(0) => Some(0),
            left => left.zip(speed).map(|(left, speed)| left.div_ceil(speed.get())),
        };
        let bytes_per_sec = speed.map(NonZeroU64::get);
        job.emit(What::Progress { bytes: self.offset, total, bytes_per_sec, eta_secs });
    }
}

/// The average speed of a response's body: the bytes received and the time that took, both forgotten alike.
struct Speed {
    /// When it was measured last, or the body began.
    at: Instant,
    /// The offset at that time.
    offset: u64,
    received: u64,
    took_ms: u64,
}

impl Speed {
    fn from(at: Instant, offset: u64) -> Self {
        Speed { at, offset, received: 0, took_ms: 0 }
    }

    /// Bytes per second; `None` if no data was received yet, or for a shorter time than between two progress events: the first chunks
    /// are in buffers.
    fn measure(&mut self, offset: u64, now: Instant) -> Option<NonZeroU64> {
        let took = now.since(self.at);
        if took >= PROGRESS_EVERY {
            let ms = took.as_secs().saturating_mul(1000).saturating_add(u64::from(took.subsec_millis()));
            let kept = |old: u64| old.saturating_mul(SPEED_MEMORY_MS) / ms.saturating_add(SPEED_MEMORY_MS);
            self.received = kept(self.received).saturating_add(offset.saturating_sub(self.offset));
            self.took_ms = kept(self.took_ms).saturating_add(ms);
            (self.at, self.offset) = (now, offset);
        }
        NonZeroU64::new(self.received.saturating_mul(1000).checked_div(self.took_ms)?)
    }
}

/// The idle timeout and the low-speed rule.
struct Patience {
    idle: Duration,
    least: Option<(u64, Duration)>,
    waiting_from: Instant,
    /// Time spent waiting in this low-speed window, and the bytes received in it.
    waited: Duration,
    bytes: u64,
}

impl Patience {
    fn new(config: &DownloadsConfig, now: Instant) -> Self {
        let (rate, window) = (config.low_speed_bytes_per_sec, config.low_speed_window());
        let bytes = rate.saturating_mul(config.low_speed_window_ms) / 1000;
        let least = (bytes > 0).then_some((bytes, window));
        Patience { idle: config.idle_timeout(), least, waiting_from: now, waited: Duration::ZERO, bytes: 0 }
    }

    fn wait_from(&mut self, now: Instant) {
        self.waiting_from = now;
    }

    /// The time until either rule could apply.
    fn left(&self, now: Instant) -> Duration {
        let waiting = now.since(self.waiting_from);
        let idle = self.idle.saturating_sub(waiting);
        let slow = self.least.map(|(_, window)| window.saturating_sub(self.waited + waiting));
        // Never zero, so that a rule that is about to apply cannot spin.
        slow.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }

    /// The error of the rule that the current wait has broken.
    fn spent(&self, now: Instant) -> Option<Error> {
        let waiting = now.since(self.waiting_from);
        if waiting >= self.idle {
            return Some(Error::Timeout { timeout: Timeout::Idle, after: self.idle });
        }
        self.too_slow(self.waited + waiting)
    }

    /// Counts a chunk and the wait for it.
    fn got(&mut self, bytes: u64, now: Instant) -> Result<(), Failed> {
        self.waited += now.since(self.waiting_from);
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(error) = self.too_slow(self.waited) {
            return Err(error.into());
        }
        if self.least.is_some_and(|(_, window)| self.waited >= window) {
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        Ok(())
    }

    fn too_slow(&self, waited: Duration) -> Option<Error> {
        let (least, window) = self.least?;
        let slow = waited >= window && self.bytes < least;
        slow.then_some(Error::LowSpeed { bytes: self.bytes, window })
    }
}
