//! What a reporter remembers of each file while it comes: how far it is, how fast, and the bytes received in this run.

use super::speed::Speed;
use crate::cli::text;
use regrip_core::{DownloadId, Event, Summary, What};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One file on its way.
#[derive(Debug)]
pub(super) struct Journey {
    /// The attempt under way, or the last one.
    pub(super) attempt: u32,
    /// Bytes in the part.
    pub(super) bytes: u64,
    /// Size of the file, where known.
    pub(super) total: Option<u64>,
    /// A response was taken up in the attempt under way.
    pub(super) answered: bool,
    /// Its size is another one than was known, or nothing was.
    pub(super) size_is_news: bool,
    /// Its size was told, if only as unknown.
    sized: bool,
    pub(super) speed: Speed,
    begun: Instant,
    /// Bytes that were there when this run began.
    kept: u64,
}

impl Journey {
    fn begin(now: Instant) -> Self {
        Journey {
            attempt: 0,
            bytes: 0,
            total: None,
            answered: false,
            size_is_news: false,
            sized: false,
            speed: Speed::from(0, now),
            begun: now,
            kept: 0,
        }
    }

    fn hear(&mut self, what: &What, now: Instant) {
        match what {
            What::Started { attempt, from } => {
                if self.attempt == 0 {
                    (self.begun, self.kept) = (now, *from);
                }
                (self.attempt, self.bytes, self.answered) = (*attempt, *from, false);
                self.speed = Speed::from(*from, now);
            }
            What::Headers { expected_bytes, .. } => {
                self.size_is_news = !self.sized || self.total != *expected_bytes;
                (self.total, self.answered, self.sized) = (*expected_bytes, true, true);
                // What connecting took is not the line's speed.
                self.speed = Speed::from(self.bytes, now);
            }
            What::Progress { bytes, total } => {
                (self.bytes, self.total) = (*bytes, *total);
                self.speed.reach(*bytes, now);
            }
            What::Restart {
                discarded_bytes, ..
            } => {
                self.bytes = self.bytes.saturating_sub(*discarded_bytes);
                (self.kept, self.sized) = (self.kept.min(self.bytes), false);
                self.speed = Speed::from(self.bytes, now);
            }
            What::Queued
            | What::Retrying { .. }
            | What::Waiting { .. }
            | What::Completed(_)
            | What::Failed(_)
            | What::Cancelled(_) => {}
        }
    }

    /// The time left at the speed of the last seconds.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let speed = self.speed.per_second(now).filter(|&speed| speed > 0)?;
        let left = self.total?.saturating_sub(self.bytes);
        Some(Duration::from_secs(left.div_ceil(speed)))
    }

    /// The bytes received in this run and how long that took, if it took long enough to report.
    pub(super) fn came(&self, summary: &Summary, now: Instant) -> String {
        let took = now - self.begun;
        if took < Duration::from_millis(100) {
            return String::new();
        }
        let came = match self.kept {
            0 => String::new(),
            kept => format!(
                "{} of it now, ",
                text::bytes(summary.bytes.saturating_sub(kept))
            ),
        };
        format!(", {came}in {}", text::wait(took))
    }
}

/// The files of a run: those under way, and the sum of those that have ended.
#[derive(Debug)]
pub(super) struct Journeys {
    files: HashMap<DownloadId, Journey>,
    begun: Instant,
    whole: u32,
    failed: u32,
    bytes: u64,
}

/// With more files than this, a last line sums them up.
const SUMMED_UP: u32 = 10;

impl Journeys {
    pub(super) fn begin(now: Instant) -> Self {
        Journeys {
            files: HashMap::new(),
            begun: now,
            whole: 0,
            failed: 0,
            bytes: 0,
        }
    }

    /// Takes in an event and returns the file's journey as it is then.
    pub(super) fn hear(&mut self, event: &Event<'_>, now: Instant) -> &mut Journey {
        match &event.what {
            What::Completed(summary) => self.was_done(summary.bytes),
            What::Failed(_) | What::Cancelled(_) => self.was_not_done(),
            _ => {}
        }
        let journey = self.files.entry(event.id);
        let journey = journey.or_insert_with(|| Journey::begin(now));
        journey.hear(&event.what, now);
        journey
    }

    /// A file's journey is over: a long list of files takes no memory for those that have ended.
    pub(super) fn forget(&mut self, id: DownloadId) {
        self.files.remove(&id);
    }

    /// A file's journey so far.
    pub(super) fn of(&self, id: DownloadId) -> Option<&Journey> {
        self.files.get(&id)
    }

    pub(super) fn was_done(&mut self, bytes: u64) {
        self.whole = self.whole.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn was_not_done(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// One line for all of them, where they are many.
    pub(super) fn sum(&self, now: Instant) -> Option<String> {
        let files = self.whole.saturating_add(self.failed);
        if files <= SUMMED_UP {
            return None;
        }
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} not"),
        };
        Some(format!(
            "{files} files: {} whole{failed}; {} in {}",
            self.whole,
            text::bytes(self.bytes),
            text::wait(now - self.begun)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn event(id: DownloadId, what: What) -> Event<'static> {
        Event {
            id,
            at: SystemTime::UNIX_EPOCH,
            url: "https://example.org/film",
            path: "/films/film",
            what,
        }
    }

    fn summary(bytes: u64) -> Summary {
        Summary {
            bytes,
            ..Summary::default()
        }
    }

    #[test]
    fn resumed_bytes_are_neither_speed_nor_part_of_what_came_now() {
        let start = Instant::now();
        let mut files = Journeys::begin(start);
        let (from, total) = (18_000_000, Some(24_000_000));
        files.hear(&event(1, What::Started { attempt: 3, from }), start);
        let headers = What::Headers {
            expected_bytes: total,
            source: None,
            mismatch: false,
        };
        files.hear(&event(1, headers), start);
        let after = start + Duration::from_secs(2);
        let progress = What::Progress {
            bytes: 20_000_000,
            total,
        };
        let journey = files.hear(&event(1, progress), after);
        assert_eq!(journey.speed.per_second(after), Some(1_000_000));
        assert_eq!(journey.left(after), Some(Duration::from_secs(4)));
        let end = start + Duration::from_secs(12);
        assert_eq!(
            journey.came(&summary(24_000_000), end),
            ", 6.00 MB of it now, in 12 s"
        );
        let journey = files.hear(
            &event(
                1,
                What::Restart {
                    reason: regrip_core::record::RestartReason::RangeIgnored,
                    discarded_bytes: 20_000_000,
                },
            ),
            end,
        );
        assert_eq!(journey.came(&summary(24_000_000), end), ", in 12 s");
    }

    #[test]
    fn after_a_restart_what_the_part_has_in_common_with_the_file_is_kept() {
        let start = Instant::now();
        let mut files = Journeys::begin(start);
        let from = 7_000_000;
        files.hear(&event(1, What::Started { attempt: 2, from }), start);
        let line = |discarded_bytes, files: &mut Journeys| {
            let restart = What::Restart {
                reason: regrip_core::record::RestartReason::ValidatorChanged,
                discarded_bytes,
            };
            let restart = event(1, restart);
            let journey = files.hear(&restart, start);
            crate::cli::report::lines::line(&restart, journey, start)
        };
        let said = line(3_000_000, &mut files);
        let replaced = "the file was replaced on the server";
        assert_eq!(
            said,
            Some(format!("film: 3.00 MB discarded, 4.00 MB kept: {replaced}"))
        );
        let said = line(4_000_000, &mut files);
        assert_eq!(
            said,
            Some(format!(
                "film: starting over, 4.00 MB discarded: {replaced}"
            ))
        );
    }

    #[test]
    fn more_than_ten_files_are_summed_up() {
        let start = Instant::now();
        let mut files = Journeys::begin(start);
        for id in 1..=10 {
            files.hear(&event(id, What::Completed(summary(1_000_000))), start);
        }
        assert_eq!(files.sum(start), None);
        files.was_done(500_000);
        files.hear(&event(12, What::Failed(summary(7))), start);
        let end = start + Duration::from_secs(63);
        assert_eq!(
            files.sum(end).as_deref(),
            Some("12 files: 11 whole, 1 not; 10.5 MB in 1 min 3 s")
        );
    }
}
