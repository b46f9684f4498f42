//! How fast a file comes: the average of the last seconds, of the bytes that came in them.
//!
//! Bytes that were there before, kept by a resume, did not come now and are not counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over so much time: long enough for a steady number, short enough to follow the line.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples closer together than this are one.
const STEP: Duration = Duration::from_millis(250);
/// Less than this says nothing yet.
const SHORTEST: Duration = Duration::from_millis(500);

/// Follows an offset.
#[derive(Debug)]
pub(super) struct Speed {
    /// At most as many as there are steps in a window, and one before it.
    samples: VecDeque<(Instant, u64)>,
    /// When bytes came last.
    heard: Instant,
}

impl Speed {
    /// Begins at an offset: what is before it does not count.
    pub(super) fn from(offset: u64, now: Instant) -> Self {
        Speed {
            samples: VecDeque::from([(now, offset)]),
            heard: now,
        }
    }

    /// The offset is this now.
    pub(super) fn reach(&mut self, offset: u64, now: Instant) {
        let last = self.samples.back().map_or(offset, |&(_, last)| last);
        if offset < last {
            *self = Speed::from(offset, now);
            return;
        }
        if offset > last {
            self.heard = now;
        }
        let count = self.samples.len();
        let previous = count
            .checked_sub(2)
            .and_then(|at| self.samples.get(at))
            .copied();
        match (previous, self.samples.back_mut()) {
            // Too close to the one before it to be kept beside a newer one.
            (Some((before, _)), Some(newest)) if newest.0 - before < STEP => {
                *newest = (now, offset)
            }
            _ => self.samples.push_back((now, offset)),
        }
        while let Some(&(second, _)) = self.samples.get(1)
            && now - second >= WINDOW
        {
            self.samples.pop_front();
        }
    }

    /// Bytes a second, once there is something to say.
    pub(super) fn per_second(&self, now: Instant) -> Option<u64> {
        let (&(first, from), &(_, to)) = (self.samples.front()?, self.samples.back()?);
        let elapsed = now - first;
        if elapsed < SHORTEST {
            return None;
        }
        let speed = u128::from(to - from) * 1000 / elapsed.as_millis();
        u64::try_from(speed).ok()
    }

    /// How long nothing has come.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now - self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn what_was_there_before_a_resume_does_not_count() {
        let start = Instant::now();
        let mut speed = Speed::from(900 * MEGABYTE, start);
        assert_eq!(speed.per_second(start + seconds(0.1)), None);
        speed.reach(902 * MEGABYTE, start + seconds(1.0));
        assert_eq!(speed.per_second(start + seconds(1.0)), Some(2 * MEGABYTE));
    }

    #[test]
    fn it_is_the_average_of_the_last_ten_seconds() {
        let start = Instant::now();
        let mut speed = Speed::from(0, start);
        let mut offset = 0;
        for tick in 1..=300_u32 {
            // Fast for twenty seconds, then a tenth of that for ten.
            offset += if tick <= 200 { MEGABYTE } else { MEGABYTE / 10 };
            speed.reach(offset, start + tick * Duration::from_millis(100));
            assert!(speed.samples.len() <= 45, "{}", speed.samples.len());
        }
        let shown = speed.per_second(start + seconds(30.0)).expect("known");
        assert!((900_000..1_500_000).contains(&shown), "{shown}");
    }

    #[test]
    fn silence_brings_it_down_and_is_told() {
        let start = Instant::now();
        let mut speed = Speed::from(0, start);
        speed.reach(MEGABYTE, start + seconds(1.0));
        speed.reach(MEGABYTE, start + seconds(9.0));
        assert_eq!(speed.per_second(start + seconds(10.0)), Some(MEGABYTE / 10));
        assert_eq!(speed.silence(start + seconds(10.0)), seconds(9.0));
    }

    #[test]
    fn a_restart_begins_anew() {
        let start = Instant::now();
        let mut speed = Speed::from(500 * MEGABYTE, start);
        speed.reach(0, start + seconds(1.0));
        speed.reach(MEGABYTE, start + seconds(2.0));
        assert_eq!(speed.per_second(start + seconds(2.0)), Some(MEGABYTE));
    }
}
