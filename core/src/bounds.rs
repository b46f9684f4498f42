//! What keeps a download from going on for ever, and what comes after a failed attempt.
//!
//! Three counts, each with its limit: attempts without progress in a row, attempts without progress in all, restarts. All
//! three start afresh only when a user retries. A process that is killed ends no attempt, so a kill counts nothing.
//!
//! An attempt made progress if it moved the furthest offset of this version by `progressResetBytes` or more, and by at
//! least a sixteenth of what it received: a source that sends the same bytes again and again makes none.

use crate::classify::is_transient;
use crate::config::DownloadsConfig;
use crate::error::Error;
use crate::random::Random;
use crate::retry::{AskedBy, RetryPolicy};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One byte in this many that an attempt receives must be new.
const PROGRESS_SHARE: u64 = 16;

/// The counts, as the ledger keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Failed attempts in a row without progress.
    pub in_a_row: u32,
    /// Failed attempts without progress in all.
    pub in_all: u32,
    /// Restarts.
    pub restarts: u32,
    /// The furthest offset that any attempt reached in this version. Bytes below it are no progress.
    pub furthest: u64,
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, after a wait.
    Retry {
        /// How long.
        delay: Duration,
        /// Who asked for it.
        asked_by: AskedBy,
    },
    /// The error is the last word.
    Fail,
}

impl Bounds {
    /// The counts after an attempt that ended at `offset` without a file and received `received` bytes, compared and
    /// discarded ones included. With a `progress_reset_bytes` of 0 no attempt counts as progress.
    pub fn after_attempt(self, offset: u64, received: u64, progress_reset_bytes: u64) -> Bounds {
        let gained = offset.saturating_sub(self.furthest);
        let progressed =
            progress_reset_bytes > 0 && gained >= progress_reset_bytes && gained >= received.div_ceil(PROGRESS_SHARE);
        let furthest = self.furthest.max(offset);
        if progressed {
            let in_a_row = 0;
            return Bounds { in_a_row, furthest, ..self };
        }
        Bounds {
            in_a_row: self.in_a_row.saturating_add(1),
            in_all: self.in_all.saturating_add(1),
            restarts: self.restarts,
            furthest,
        }
    }

    /// Returns `true` if `error`, which ended the attempt these counts include, is followed by another attempt.
    pub fn next(self, error: &Error, config: &DownloadsConfig, policy: &RetryPolicy, random: &mut impl Random) -> Next {
        let spent = self.in_a_row >= policy.max_attempts.get() || self.in_all >= config.max_total_attempts;
        if !is_transient(error, &config.extra_retry_statuses) || spent {
            return Next::Fail;
        }
        let (delay, asked_by) = policy.wait(self.in_a_row.max(1), error.retry_after(), random);
        Next::Retry { delay, asked_by }
    }

    /// Refuses one restart too many. `self` includes it.
    ///
    /// # Errors
    /// `TooManyRestarts`.
    pub fn check_restarts(self, config: &DownloadsConfig) -> Result<(), Error> {
        let limit = config.max_download_attempts;
        if self.restarts > limit { Err(Error::TooManyRestarts { restarts: self.restarts, limit }) } else { Ok(()) }
    }
}
