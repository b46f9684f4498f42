//! Moves a body into a part: writing, comparing, checkpoints, and patience with the network.
//!
//! Invariant: what the ledger knows as durable was synced before. Only time spent waiting for the network counts as idle or
//! slow, never time spent on the disk or on keeping to a rate that the user set.

use crate::config::DownloadsConfig;
use crate::error::{Error, Failed, Timeout};
use crate::event::What;
use crate::host::Host;
use crate::job::{BodyOf, Job, PartOf};
use crate::record::Change;
use crate::store::DigestState;
use crate::store::{Digest, Part, PartBytes};
use crate::time::{Clock, Instant};
use crate::transport::{Body, Chunk, Transport};
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

/// A checkpoint is due after so many bytes or so much time, and after the first chunk; none before a whole unit is there that
/// the store can make durable.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Progress is told at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

type DigestOf<H> = <PartOf<H> as Part>::Digest;

/// What a comparison with the part's tail led to.
#[derive(Debug)]
pub(crate) enum Compared {
    /// The rest was appended; the digest of all of the part's bytes.
    Equal(Option<String>),
    /// Nothing was written.
    Different,
}

/// A part that is being filled, at its end.
pub(crate) struct Pump<H: Host> {
    offset: u64,
    digest: Option<DigestOf<H>>,
    checkpoint_offset: Option<u64>,
    checkpoint_at: Instant,
    progress_at: Instant,
}

impl<H: Host> Pump<H> {
    /// At `offset`, the part's length, with a digest of what is there already.
    pub(crate) async fn resume(
        job: &Job<'_, H>,
        part: &mut PartOf<H>,
        offset: u64,
    ) -> Result<Self, Failed> {
        let digest = match job.digests {
            true => Some(part.digest(job.row.digest.as_ref(), offset).await?),
            false => None,
        };
        let now = job.host.clock().now();
        Ok(Pump {
            offset,
            digest,
            checkpoint_offset: None,
            checkpoint_at: now,
            progress_at: now,
        })
    }

    /// The part's length.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The digest, of a part to which nothing is added.
    pub(crate) fn finish(self) -> Option<String> {
        self.digest.map(Digest::finish)
    }

    /// Appends a body, up to the offset `end` where one is known; what comes after it is cut and its connection dropped.
    /// Returns the digest of all of the part's bytes.
    pub(crate) async fn append(
        self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        body: BodyOf<H>,
        end: Option<u64>,
    ) -> Result<Option<String>, Failed> {
        let from = self.offset;
        match self.run(job, part, body, from, end).await? {
            Compared::Equal(sha256) => Ok(sha256),
            // Nothing is compared, so nothing can differ.
            Compared::Different => Err(Error::Incomplete {
                got: from,
                expected: end,
            }
            .into()),
        }
    }

    /// Compares the body with the part from `first` on, and appends what comes after the part's end, up to `end`.
    pub(crate) async fn compare_then_append(
        self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        body: BodyOf<H>,
        first: u64,
        end: u64,
    ) -> Result<Compared, Failed> {
        self.run(job, part, body, first, Some(end)).await
    }

    async fn run(
        mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
        mut body: BodyOf<H>,
        first: u64,
        end: Option<u64>,
    ) -> Result<Compared, Failed> {
        let clock = job.host.clock();
        let mut patience = Patience::new(&job.config, clock.now());
        let mut timer = pin!(clock.sleep(patience.left(clock.now())));
        let mut at = first;
        loop {
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
            job.host.transport().pace(chunk.length()).await;
            let (chunk, _) = chunk.split_at(end.map_or(u64::MAX, |end| end - at));
            let (known, new) = chunk.split_at(self.offset.saturating_sub(at));
            at += known.length() + new.length();
            if known.length() > 0
                && !part
                    .matches(at - new.length() - known.length(), known)
                    .await?
            {
                return Ok(Compared::Different);
            }
            if new.length() > 0 {
                let last = end == Some(at);
                self.write(job, part, new, last).await?;
            }
        }
        if at < self.offset {
            // It ended before the part did: the comparison is not over, and nothing was proved.
            return Err(Error::Incomplete {
                got: self.offset,
                expected: job.row.known_size().map(|size| size.bytes),
            }
            .into());
        }
        Ok(Compared::Equal(self.digest.map(Digest::finish)))
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
        part.write(self.offset, chunk, self.digest.as_mut()).await?;
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

    async fn checkpoint(
        &mut self,
        job: &mut Job<'_, H>,
        part: &mut PartOf<H>,
    ) -> Result<(), Failed> {
        let durable = job.flush(part).await?;
        let state = self.digest.as_ref().and_then(Digest::save);
        let digest = state.map(|state| DigestState {
            offset: self.offset,
            state,
        });
        // A state beyond what is durable would be of no use after the crash that it is for.
        let digest = digest.filter(|state| state.offset <= durable);
        job.record(Change::Checkpoint {
            downloaded: self.offset,
            durable,
            epoch: part.epoch(),
            digest,
        })
        .await?;
        self.checkpoint_offset = Some(self.offset);
        self.checkpoint_at = job.host.clock().now();
        Ok(())
    }

    fn tell(&mut self, job: &Job<'_, H>, now: Instant) {
        self.progress_at = now;
        let total = job.row.known_size().map(|size| size.bytes);
        // A release that announced less than was received by now was wrong.
        let total = total.filter(|&total| total >= self.offset);
        job.emit(What::Progress {
            bytes: self.offset,
            total,
        });
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
        Patience {
            idle: config.idle_timeout(),
            least,
            waiting_from: now,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    fn wait_from(&mut self, now: Instant) {
        self.waiting_from = now;
    }

    /// How long a timer may sleep before either rule could apply.
    fn left(&self, now: Instant) -> Duration {
        let waiting = now.since(self.waiting_from);
        let idle = self.idle.saturating_sub(waiting);
        let slow = self
            .least
            .map(|(_, window)| window.saturating_sub(self.waited + waiting));
        // Never zero, so that a rule that is about to apply cannot spin.
        slow.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }

    /// The rule that the present wait has broken.
    fn spent(&self, now: Instant) -> Option<Error> {
        let waiting = now.since(self.waiting_from);
        if waiting >= self.idle {
            return Some(Error::Timeout {
                timeout: Timeout::Idle,
                after: self.idle,
            });
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
        slow.then_some(Error::LowSpeed {
            bytes: self.bytes,
            window,
        })
    }
}
