//! How far each file of a run is, and the totals of a run.

use super::{End, plain};
use crate::cli::output::{Exit, Layout};
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
    /// Bytes in the part, and the file's size if it is known. Hidden until a reporter draws it.
    pub(super) bar: ProgressBar,
    /// Bytes per second, averaged over the last seconds, if any were received.
    pub(super) per_second: Option<u64>,
    /// The time left at this speed.
    pub(super) left: Option<Duration>,
    /// A response to the current attempt is being received.
    pub(super) answered: bool,
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
            per_second: None,
            left: None,
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
                self.answered = true;
                self.set_total(*expected_bytes);
                self.received_at = now;
            }
            What::Progress { bytes, total, bytes_per_sec, eta_secs } => {
                if *bytes > self.bytes() {
                    self.received_at = now;
                }
                self.set_total(*total);
                self.bar.set_position(*bytes);
                (self.per_second, self.left) = (*bytes_per_sec, eta_secs.map(Duration::from_secs));
            }
            What::Restart { discarded_bytes, .. } => {
                let bytes = self.bytes().saturating_sub(*discarded_bytes);
                self.kept = self.kept.min(bytes);
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

    fn begin_at(&mut self, offset: u64, now: Instant) {
        self.received_at = now;
        self.bar.set_position(offset);
        (self.per_second, self.left) = (None, None);
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
    unchanged: u32,
    failed: u32,
    cancelled: u32,
    bytes: u64,
}

/// With more files than this, the closing line has the bytes and the time.
const MEASURED: u32 = 10;

impl Run {
    pub(super) fn begin(now: Instant) -> Self {
        Run { files: HashMap::new(), begun: now, completed: 0, unchanged: 0, failed: 0, cancelled: 0, bytes: 0 }
    }

    /// Records an event and returns the file's progress after it.
    pub(super) fn record(&mut self, event: &Event<'_>, now: Instant) -> &mut Progress {
        match &event.what {
            What::Completed(summary) => {
                self.completed += 1;
                self.bytes = self.bytes.saturating_add(summary.bytes);
            }
            What::Failed(_) => self.failed += 1,
            What::Cancelled(_) | What::Paused { .. } => self.cancelled += 1,
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

    /// A file of an earlier run is complete.
    pub(super) fn add_unchanged(&mut self) {
        self.unchanged += 1;
    }

    /// A file was refused before it became a download.
    pub(super) fn add_failed(&mut self) {
        self.failed += 1;
    }

    /// The closing line, if there is more than one file: `3 of 4 done, 1 failed`.
    pub(super) fn total(&self, end: &End<'_>, layout: Layout, now: Instant) -> Option<String> {
        if end.files < 2 {
            return None;
        }
        let done = self.completed + self.unchanged;
        let rest = end.files.saturating_sub(done + self.failed + self.cancelled);
        // Without an interrupt, the rest has failed without a word: lines of the list that cannot be used.
        let (failed, unfinished) = match end.exit {
            Exit::Interrupted => (self.failed + end.unusable, rest.saturating_sub(end.unusable)),
            _ => (self.failed + rest, 0),
        };
        let counts = [
            (',', failed, "failed"),
            (',', self.cancelled, "cancelled"),
            (',', unfinished, "unfinished"),
            (';', self.unchanged, "unchanged"),
        ];
        let counts = counts.into_iter().filter(|(_, count, _)| *count > 0);
        let mut details: Vec<String> = counts.map(|(comma, count, what)| format!("{comma} {count} {what}")).collect();
        if end.files > MEASURED && self.completed > 0 {
            details.push(format!("; {} in {}", text::bytes(self.bytes), text::wait(now - self.begun)));
        }
        let width = layout.width.map_or(usize::MAX, |width| width.saturating_sub(1));
        Some(plain::with_details(format!("{done} of {} done", end.files), &details, width))
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
        assert_eq!((file.per_second, file.left), (None, None));
        let (bytes, later) = (20_000_000, start + Duration::from_secs(2));
        let what = What::Progress { bytes, total, bytes_per_sec: Some(1_000_000), eta_secs: Some(4) };
        let file = run.record(&event(1, what), later);
        assert_eq!((file.per_second, file.left), (Some(1_000_000), Some(Duration::from_secs(4))));
        assert_eq!((file.bytes(), file.total()), (20_000_000, total));
        let end = start + Duration::from_secs(12);
        assert_eq!(file.silence(end), Duration::from_secs(10));
        assert_eq!(file.of_this_run(&summary(24_000_000), end), ", 6.00 MB of it now, in 12 s");
        let restart = What::Restart { reason: RestartReason::RangeIgnored, discarded_bytes: 20_000_000 };
        let file = run.record(&event(1, restart), end);
        assert_eq!(file.of_this_run(&summary(24_000_000), end), ", in 12 s");
    }

    #[test]
    fn the_closing_line_counts_every_file_once() {
        let start = Instant::now();
        let run = |completed, unchanged, failed, cancelled| {
            let mut run = Run::begin(start);
            for id in 0..completed {
                run.record(&event(id, What::Completed(summary(1_000_000))), start);
            }
            (0..unchanged).for_each(|_| run.add_unchanged());
            (0..failed).for_each(|_| run.add_failed());
            for id in 0..cancelled {
                run.record(&event(id, What::Cancelled(summary(7))), start);
            }
            run
        };
        let (failed, interrupted) = (Exit::Failed, Exit::Interrupted);
        // Done, unchanged, failed and cancelled ones, of how many, lines of the list that cannot be used.
        let table = [
            ((1, 0, 0, 0), 1, 0, Exit::Done, ""),
            ((0, 0, 1, 0), 1, 0, failed, ""),
            ((2, 0, 0, 0), 2, 0, Exit::Done, "2 of 2 done"),
            ((3, 0, 1, 0), 4, 0, failed, "3 of 4 done, 1 failed"),
            ((1, 2, 0, 0), 3, 0, Exit::Done, "3 of 3 done; 2 unchanged"),
            ((1, 1, 1, 1), 5, 1, failed, "2 of 5 done, 2 failed, 1 cancelled; 1 unchanged"),
            ((1, 0, 0, 0), 2, 1, failed, "1 of 2 done, 1 failed"),
            ((1, 0, 0, 0), 5, 1, interrupted, "1 of 5 done, 1 failed, 3 unfinished"),
            ((11, 0, 1, 0), 12, 0, failed, "11 of 12 done, 1 failed; 11.0 MB in 1 min 3 s"),
            ((11, 3, 1, 0), 15, 0, failed, "14 of 15 done, 1 failed; 3 unchanged"),
            ((0, 20, 0, 0), 20, 0, Exit::Done, "20 of 20 done; 20 unchanged"),
        ];
        for ((completed, unchanged, failed, cancelled), files, unusable, exit, line) in table {
            let end = End { exit, files, unusable, to_resume: "" };
            let layout = Layout { width: Some(50), unicode: true };
            let now = start + Duration::from_secs(63);
            let total = run(completed, unchanged, failed, cancelled).total(&end, layout, now);
            assert_eq!(total.unwrap_or_default(), line);
        }
    }
}
