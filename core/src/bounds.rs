//! What keeps a download from going on for ever, and what comes after a failed attempt.
//!
//! Three counts, each with its limit: attempts in a row without progress, attempts in all, restarts. All three start
//! afresh only when a user retries. A process that is killed ends no attempt, so a kill counts nothing.

use crate::classify::is_transient;
use crate::config::DownloadsConfig;
use crate::error::Error;
use crate::random::Random;
use crate::retry::{AskedBy, RetryPolicy};
use std::time::Duration;

/// The counts, as the ledger keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Failed attempts in a row without progress.
    pub in_a_row: u32,
    /// Ended attempts in all.
    pub in_all: u32,
    /// Restarts.
    pub restarts: u32,
    /// The offset of this version at which progress was last counted. Bytes below it came before and are no progress.
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
    /// The counts after an attempt that ended at `offset` without a file.
    ///
    /// Progress is `progress_reset_bytes` beyond the furthest offset, 0 is never.
    pub fn after_attempt(self, offset: u64, progress_reset_bytes: u64) -> Bounds {
        let gained = offset.saturating_sub(self.furthest);
        let progressed = progress_reset_bytes > 0 && gained >= progress_reset_bytes;
        Bounds {
            in_a_row: if progressed {
                0
            } else {
                self.in_a_row.saturating_add(1)
            },
            in_all: self.in_all.saturating_add(1),
            restarts: self.restarts,
            furthest: if progressed { offset } else { self.furthest },
        }
    }

    /// Whether `error`, which ended the attempt these counts include, is followed by another attempt.
    pub fn next(
        self,
        error: &Error,
        config: &DownloadsConfig,
        policy: &RetryPolicy,
        random: &mut impl Random,
    ) -> Next {
        let spent =
            self.in_a_row >= policy.max_attempts.get() || self.in_all >= config.max_total_attempts;
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
        if self.restarts > limit {
            Err(Error::TooManyRestarts {
                restarts: self.restarts,
                limit,
            })
        } else {
            Ok(())
        }
    }
}
