//! Moves a body into a part: writing, comparing, checkpoints, and patience with the network.
//!
//! Invariant: what the ledger knows as durable was synced before. Only time spent waiting for the network counts as idle or
//! slow, never time spent on the disk or on keeping to a rate that the user set.

use crate::checksum::Checksum;
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, Timeout};
use crate::event::What;
use crate::host::Host;
use crate::job::{BodyOf, Job, PartOf};
use crate::record::Change;
use crate::store::DigestState;
use crate::store::{Digest, Part, PartBytes};
use crate::stripe::{Done, Feed};
use crate::taking::{Differing, Taking, believe};
use crate::time::{Clock, Instant};
use crate::transport::{Body, Chunk, Transport};
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

/// A checkpoint is due after this many bytes or this much time, and after the first chunk; none before a whole unit is there that
/// the store can make durable.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Progress is told at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

type DigestOf<H> = <PartOf<H> as Part>::Digest;

/// What a response led to.
#[derive(Debug)]
pub(crate) enum Pumped {
    /// All its bytes are in the part; the digests of all of the part's bytes.
    All(Vec<Checksum>),
    /// Its bytes differ from the part's, and nothing was changed.
    Different,
}

/// A part that is being filled, at its end.
pub(crate) struct Pump<H: Host> {
    offset: u64,
    digests: Vec<DigestOf<H>>,
    checkpoint_offset: Option<u64>,
    checkpoint_at: Instant,
    progress_at: Instant,
}

impl<H: Host> Pump<H> {
    /// At `offset`, the part's length; the digests of what is there are taken up when a response is settled.
    pub(crate) fn at(job: &Job<'_, H>, offset: u64) -> Self {
        let now = job.host.clock().now();
        Pump { offset, digests: Vec::new(), checkpoint_offset: None, checkpoint_at: now, progress_at: now }
    }

    /// At `offset`, the part's length, with the digests of the bytes before it.
    pub(crate) async fn resume(job: &Job<'_, H>, part: &mut PartOf<H>, offset: u64) -> Result<Self, Failed> {
        let mut pump = Pump::at(job, offset);
        pump.take_up_digests(job, part).await?;
        Ok(pump)
    }

    /// Continues every digest that is to be computed at the offset. One for which the bytes would have to be read again
    /// and cannot be is left out: the file stays without it.
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

    /// Takes a response up: passes over the bytes that the part has already, settles it, and appends the rest up to its
    /// end. What comes after that is cut, and its connection dropped.
    pub(crate) async fn run(
        mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        mut body: Feed<'_, H, impl Future<Output = Done>>,
        mut taking: Taking,
    ) -> Result<Pumped, Failed> {
        let clock = job.host.clock();
        let mut patience = Patience::new(&job.config, clock.now());
        let mut timer = pin!(clock.sleep(patience.left(clock.now())));
        let (mut at, end) = (taking.first, taking.end);
        let readable_from = self.offset.saturating_sub(part.rules().read_back_bytes);
        let (mut settled, paced) = (false, body.is_paced());
        loop {
            if at >= self.offset && !settled {
                settled = true;
                self.settle(job, part, &mut taking, self.offset).await?;
            }
            if end.is_some_and(|end| at >= end) {
                // Nothing more is wanted. A body that is at its end gives its connection back, any other one closes it.
                let _ = futures::poll!(pin!(body.chunk()));
                break;
            }
            patience.wait_from(clock.now());
            let mut next = pin!(body.chunk());
            let chunk = loop {
                match select(next.as_mut(), timer.as_mut()).await {
                    Either::Left((chunk, _)) => break chunk,
                    Either::Right(((), _)) => {
                        if let Some(error) = patience.spent(clock.now()) {
                            // The timer may be late, and the bytes there already.
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
            if !paced {
                job.host.transport().pace(chunk.length()).await;
            }
            let (chunk, _) = chunk.split_at(end.map_or(u64::MAX, |end| end - at));
            let (known, new) = chunk.split_at(self.offset.saturating_sub(at));
            let (from, upto) = (at, at + known.length());
            at = upto + new.length();
            // Bytes that cannot be read back count as different.
            let compared = known.length() > 0 && taking.compare;
            if compared && (from < readable_from || !part.matches(from, &known).await?) {
                if !matches!(taking.differing, Differing::Cut(_)) {
                    return Ok(Pumped::Different);
                }
                settled = true;
                self.settle(job, part, &mut taking, from).await?;
                self.write(job, part, known, end == Some(upto)).await?;
            }
            if new.length() > 0 {
                if !settled {
                    settled = true;
                    self.settle(job, part, &mut taking, upto).await?;
                }
                self.write(job, part, new, end == Some(at)).await?;
            }
        }
        if settled {
            return Ok(Pumped::All(self.finish()));
        }
        let proven_end = taking.marked || taking.size.is_some_and(|size| size.bytes == at);
        if proven_end && taking.differing == Differing::GiveUp {
            return Ok(Pumped::Different);
        }
        // The end of a range counts too: a source that sends no more at a time is gone on with from there.
        let measured_end = proven_end || end == Some(at);
        if !measured_end || !matches!(taking.differing, Differing::Cut(_)) {
            // It ended before the part did: the comparison is not over, and nothing was proved.
            return Err(
                Error::Incomplete { got: self.offset, expected: job.row.known_size().map(|size| size.bytes) }.into()
            );
        }
        let size = taking.size.map_or(at, |size| size.bytes);
        believe(job, self.offset, &taking.validators, Some(size)).await?;
        self.settle(job, part, &mut taking, at).await?;
        Ok(Pumped::All(self.finish()))
    }

    /// From here on the part is the response's: its first `kept` bytes are equal, and the next ones are appended.
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
        // Also those that only this response states.
        self.take_up_digests(job, part).await
    }

    async fn write<'b>(
        &mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        chunk: <BodyOf<H> as Body>::Chunk<'b>,
        last: bool,
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
        let checkpoint = !last && (far || due);
        if checkpoint {
            self.checkpoint(job, part).await?;
        }
        if checkpoint || last || now.since(self.progress_at) >= PROGRESS_EVERY {
            self.tell(job, now);
        }
        Ok(())
    }

    async fn checkpoint(&mut self, job: &mut Job<'_, H>, part: &mut PartOf<H>) -> Result<(), Failed> {
        let durable = job.flush(part).await?;
        let offset = self.offset;
        let save = |digest: &DigestOf<H>| {
            let state = digest.save()?;
            Some((digest.algorithm(), DigestState { offset, state }))
        };
        // A state beyond what is durable would be of no use after the crash that it is for.
        let digests = self.digests.iter().filter(|_| offset <= durable);
        let digests = digests.filter_map(save).collect();
        job.record(Change::Checkpoint { downloaded: self.offset, durable, epoch: part.epoch(), digests }).await?;
        self.checkpoint_offset = Some(self.offset);
        self.checkpoint_at = job.host.clock().now();
        Ok(())
    }

    fn tell(&mut self, job: &Job<'_, H>, now: Instant) {
        self.progress_at = now;
        let total = job.row.known_size().map(|size| size.bytes);
        // A release that announced less than was received by now was wrong.
        let total = total.filter(|&total| total >= self.offset);
        job.emit(What::Progress { bytes: self.offset, total });
    }
}

/// The idle timeout and the low-speed rule.
struct Patience {
    idle: Duration,
    least: Option<(u64, Duration)>,
    waiting_from: Instant,
    /// Time spent waiting in this low-speed window, and the bytes that came in it.
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

    /// How long a timer may sleep before either rule could apply.
    fn left(&self, now: Instant) -> Duration {
        let waiting = now.since(self.waiting_from);
        let idle = self.idle.saturating_sub(waiting);
        let slow = self.least.map(|(_, window)| window.saturating_sub(self.waited + waiting));
        // Never zero, so that a rule that is about to apply cannot spin.
        slow.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }

    /// The rule that the present wait has broken.
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
