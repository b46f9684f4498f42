//! How far each file of a run is, and the totals of a run.

use super::plain;
use crate::cli::text;
use indicatif::ProgressBar;
use regrip_core::{DownloadId, Event, Summary, What};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How far a file is.
#[derive(Debug)]
pub(super) struct Progress {
    /// The file's own name.
    pub(super) name: String,
    /// The current attempt, or the last one.
    pub(super) attempt: u32,
    /// Bytes in the part, the file's size if it is known, and the speed. Hidden until a reporter draws it.
    pub(super) bar: ProgressBar,
    /// A response to the current attempt is being received.
    pub(super) answered: bool,
    /// The last response announced another size than was known before.
    pub(super) size_is_new: bool,
    size_was_announced: bool,
    /// When data was received last, or the attempt began.
    received_at: Instant,
    begun: Instant,
    /// Bytes that this run found.
    kept: u64,
}

impl Progress {
    fn new(path: &str, now: Instant) -> Self {
        Progress {
            name: plain::name(path),
            attempt: 0,
            bar: ProgressBar::hidden(),
            answered: false,
            size_is_new: false,
            size_was_announced: false,
            received_at: now,
            begun: now,
            kept: 0,
        }
    }

    fn record(&mut self, what: &What, now: Instant) {
        match what {
            What::Started { attempt, from } => {
                if self.attempt == 0 {
                    (self.begun, self.kept) = (now, *from);
                }
                (self.attempt, self.answered) = (*attempt, false);
                self.begin_at(*from, now);
            }
            What::Headers { expected_bytes, .. } => {
                self.size_is_new = !self.size_was_announced || self.total() != *expected_bytes;
                (self.answered, self.size_was_announced) = (true, true);
                self.set_total(*expected_bytes);
                // The time that connecting took does not count.
                self.begin_at(self.bytes(), now);
            }
            What::Progress { bytes, total } => {
                if *bytes > self.bytes() {
                    self.received_at = now;
                }
                self.set_total(*total);
                self.bar.set_position(*bytes);
            }
            What::Restart { discarded_bytes, .. } => {
                let bytes = self.bytes().saturating_sub(*discarded_bytes);
                (self.kept, self.size_was_announced) = (self.kept.min(bytes), false);
                self.begin_at(bytes, now);
            }
            What::Queued
            | What::Retrying { .. }
            | What::Waiting { .. }
            | What::Paused { .. }
            | What::Completed(_)
            | What::Failed(_)
            | What::Cancelled(_) => {}
        }
    }

    /// Measures the speed from this offset on: bytes before it were not received now.
    fn begin_at(&mut self, offset: u64, now: Instant) {
        self.received_at = now;
        self.bar.set_position(offset);
        self.bar.reset_eta();
    }

    fn set_total(&self, total: Option<u64>) {
        match total {
            Some(total) if self.total() != Some(total) => self.bar.set_length(total),
            None if self.total().is_some() => self.bar.unset_length(),
            _ => {}
        }
    }

    /// Bytes in the part.
    pub(super) fn bytes(&self) -> u64 {
        self.bar.position()
    }

    /// Size of the file, if it is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.bar.length()
    }

    /// Bytes a second of the last seconds, if any were received.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "three digits are shown")]
    pub(super) fn per_second(&self) -> Option<u64> {
        Some(self.bar.per_sec() as u64).filter(|speed| *speed > 0)
    }

    /// The time left at this speed.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.bar.eta()).filter(|left| !left.is_zero())
    }

    /// How long no data was received.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now - self.received_at
    }

    /// The bytes and the time of this run: `, 6.00 MB of it now, in 12 s`. Empty if it took no time worth mentioning.
    pub(super) fn of_this_run(&self, summary: &Summary, now: Instant) -> String {
        let took = now - self.begun;
        if took < Duration::from_millis(100) {
            return String::new();
        }
        let received = match self.kept {
            0 => String::new(),
            kept => format!("{} of it now, ", text::bytes(summary.bytes.saturating_sub(kept))),
        };
        format!(", {received}in {}", text::wait(took))
    }
}

/// The files of a run: those in progress, and the totals of those that ended.
#[derive(Debug)]
pub(super) struct Run {
    files: HashMap<DownloadId, Progress>,
    begun: Instant,
    completed: u32,
    failed: u32,
    bytes: u64,
}

/// With more files than this, a last line sums them up.
const SUMMED_UP: u32 = 10;

impl Run {
    pub(super) fn begin(now: Instant) -> Self {
        Run { files: HashMap::new(), begun: now, completed: 0, failed: 0, bytes: 0 }
    }

    /// Records an event and returns the file's progress after it.
    pub(super) fn record(&mut self, event: &Event<'_>, now: Instant) -> &mut Progress {
        match &event.what {
            What::Completed(summary) => self.add_completed(summary.bytes),
            What::Failed(_) | What::Cancelled(_) | What::Paused { .. } => self.add_failed(),
            _ => {}
        }
        let file = self.files.entry(event.id);
        let file = file.or_insert_with(|| Progress::new(event.path, now));
        file.record(&event.what, now);
        file
    }

    /// Drops a file that ended, so that a long list takes no memory for it.
    pub(super) fn forget(&mut self, id: DownloadId) {
        self.files.remove(&id);
    }

    /// A file in progress.
    pub(super) fn file(&self, id: DownloadId) -> Option<&Progress> {
        self.files.get(&id)
    }

    pub(super) fn add_completed(&mut self, bytes: u64) {
        self.completed = self.completed.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn add_failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// One line for all files, if there are many.
    pub(super) fn total(&self, now: Instant) -> Option<String> {
        let files = self.completed.saturating_add(self.failed);
        if files <= SUMMED_UP {
            return None;
        }
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} not completed"),
        };
        Some(format!(
            "{files} files: {} completed{failed}; {} in {}",
            self.completed,
            text::bytes(self.bytes),
            text::wait(now - self.begun)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrip_core::record::RestartReason;
    use std::time::SystemTime;

    fn event(id: DownloadId, what: What) -> Event<'static> {
        Event { id, at: SystemTime::UNIX_EPOCH, url: "https://example.org/film", path: "/films/film", what }
    }

    fn summary(bytes: u64) -> Summary {
        Summary { bytes, ..Summary::default() }
    }

    #[test]
    fn resumed_bytes_are_not_counted_as_received_in_this_run() {
        let start = Instant::now();
        let mut run = Run::begin(start);
        let (from, total) = (18_000_000, Some(24_000_000));
        run.record(&event(1, What::Started { attempt: 3, from }), start);
        let headers = What::Headers { expected_bytes: total, source: None, mismatch: false };
        let file = run.record(&event(1, headers), start);
        assert_eq!((file.per_second(), file.left()), (None, None));
        let (bytes, later) = (20_000_000, start + Duration::from_secs(2));
        let file = run.record(&event(1, What::Progress { bytes, total }), later);
        assert_eq!((file.bytes(), file.total()), (20_000_000, total));
        let end = start + Duration::from_secs(12);
        assert_eq!(file.silence(end), Duration::from_secs(10));
        assert_eq!(file.of_this_run(&summary(24_000_000), end), ", 6.00 MB of it now, in 12 s");
        let restart = What::Restart { reason: RestartReason::RangeIgnored, discarded_bytes: 20_000_000 };
        let file = run.record(&event(1, restart), end);
        assert_eq!(file.of_this_run(&summary(24_000_000), end), ", in 12 s");
    }

    #[test]
    fn more_than_ten_files_are_summed_up() {
        let start = Instant::now();
        let mut run = Run::begin(start);
        for id in 1..=10 {
            run.record(&event(id, What::Completed(summary(1_000_000))), start);
        }
        assert_eq!(run.total(start), None);
        run.add_completed(500_000);
        run.record(&event(12, What::Failed(summary(7))), start);
        let end = start + Duration::from_secs(63);
        assert_eq!(run.total(end).as_deref(), Some("12 files: 11 completed, 1 not completed; 10.5 MB in 1 min 3 s"));
    }
}
