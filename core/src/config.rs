//! The `downloads` block of the configuration, with its defaults (spec §7).
//!
//! All but the two paths is defaulted, so a configuration that knows only the paths keeps parsing.

use crate::checksum::Algorithm;
use crate::retry::{RetryPolicy, ZeroAttempts};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What to do where the destination exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExists {
    /// Replace it, when the new file is whole.
    #[default]
    Overwrite,
    /// Refuse.
    Fail,
    /// Take another name.
    Rename,
}

impl OnExists {
    /// As the configuration and the ledger spell it.
    pub fn name(self) -> &'static str {
        match self {
            OnExists::Overwrite => "overwrite",
            OnExists::Fail => "fail",
            OnExists::Rename => "rename",
        }
    }
    /// The one of that name.
    pub fn named(name: &str) -> Option<OnExists> {
        [OnExists::Overwrite, OnExists::Fail, OnExists::Rename]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// The knobs of the engine. Times in milliseconds, sizes in bytes, as the names say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DownloadsConfig {
    /// Downloads whose bytes move at once, at least 1.
    pub max_concurrent_downloads: u32,
    /// Of these, how many from one peer; `None` is max(1, n − 1).
    pub max_concurrent_per_peer: Option<u32>,
    /// Attempts in a row without progress, the first included; at least 1.
    pub max_download_attempts: u32,
    /// Attempts without progress over a download's life; at least 1.
    pub max_total_attempts: u32,
    /// Backoff before the second attempt, at most.
    pub retry_base_delay_ms: u64,
    /// No wait is longer, `Retry-After` included.
    pub retry_max_delay_ms: u64,
    /// Name lookup, TCP and TLS together.
    pub connect_timeout_ms: u64,
    /// From the request to the response head.
    pub headers_timeout_ms: u64,
    /// Longest stand-still of a body.
    pub idle_timeout_ms: u64,
    /// Below this rate over the window is a stall; 0 is off.
    pub low_speed_bytes_per_sec: u64,
    /// The window of the low-speed rule.
    pub low_speed_window_ms: u64,
    /// Larger files are refused.
    pub max_download_bytes: u64,
    /// How much of the part's tail is compared where no ETag vouches for it; 0 is off.
    pub resume_overlap_bytes: u64,
    /// An attempt that moves the furthest offset by this many bytes or more, and by at least a sixteenth of what it
    /// received, made progress: the attempts in a row and the backoff start anew. 0 is never.
    pub progress_reset_bytes: u64,
    /// 4xx statuses that are worth another attempt, for example 408 and 425.
    pub extra_retry_statuses: Vec<u16>,
    /// Failed connections in a row after which a peer's downloads wait; 0 is off.
    pub breaker_failures: u32,
    /// How long they wait for the peer before they fail.
    pub peer_patience_ms: u64,
    /// What to do where the destination exists.
    pub on_exists: OnExists,
    /// A digest that is computed of every file, even if there is none to check it against.
    pub digest: Option<Algorithm>,
}

impl Default for DownloadsConfig {
    fn default() -> Self {
        DownloadsConfig {
            max_concurrent_downloads: 3,
            max_concurrent_per_peer: None,
            max_download_attempts: 5,
            max_total_attempts: 1000,
            retry_base_delay_ms: 1000,
            retry_max_delay_ms: 60_000,
            connect_timeout_ms: 30_000,
            headers_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            low_speed_bytes_per_sec: 1024,
            low_speed_window_ms: 120_000,
            max_download_bytes: 100 << 30,
            resume_overlap_bytes: 65_536,
            progress_reset_bytes: 65_536,
            extra_retry_statuses: Vec::new(),
            breaker_failures: 3,
            peer_patience_ms: 86_400_000,
            on_exists: OnExists::Overwrite,
            digest: None,
        }
    }
}

/// A value outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}, expected {expected}")]
pub struct InvalidConfig {
    /// The key, as the configuration spells it.
    pub key: &'static str,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub expected: &'static str,
}

impl DownloadsConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let at_least_1 = [
            ("maxConcurrentDownloads", self.max_concurrent_downloads),
            (
                "maxConcurrentPerPeer",
                self.max_concurrent_per_peer.unwrap_or(1),
            ),
            ("maxDownloadAttempts", self.max_download_attempts),
            ("maxTotalAttempts", self.max_total_attempts),
        ];
        for (key, value) in at_least_1 {
            if value == 0 {
                return Err(InvalidConfig {
                    key,
                    found: value.to_string(),
                    expected: "at least 1",
                });
            }
        }
        for (key, value) in [
            ("connectTimeoutMs", self.connect_timeout_ms),
            ("headersTimeoutMs", self.headers_timeout_ms),
            ("idleTimeoutMs", self.idle_timeout_ms),
            ("lowSpeedWindowMs", self.low_speed_window_ms),
        ] {
            if value == 0 {
                return Err(InvalidConfig {
                    key,
                    found: "0".to_owned(),
                    expected: "at least 1 millisecond",
                });
            }
        }
        let odd = self
            .extra_retry_statuses
            .iter()
            .find(|status| !(400..=499).contains(*status));
        if let Some(status) = odd {
            let (key, expected) = ("extraRetryStatuses", "statuses from 400 to 499");
            return Err(InvalidConfig {
                key,
                found: status.to_string(),
                expected,
            });
        }
        Ok(())
    }

    /// The policy of the attempts in a row.
    ///
    /// # Errors
    /// `maxDownloadAttempts` is 0.
    pub fn retry_policy(&self) -> Result<RetryPolicy, ZeroAttempts> {
        let base = Duration::from_millis(self.retry_base_delay_ms);
        RetryPolicy::new(
            self.max_download_attempts,
            base,
            Duration::from_millis(self.retry_max_delay_ms),
        )
    }

    /// Permits a single peer may hold.
    pub fn permits_per_peer(&self) -> u32 {
        self.max_concurrent_per_peer
            .unwrap_or(self.max_concurrent_downloads.saturating_sub(1))
            .max(1)
    }

    /// [`idle_timeout_ms`](Self::idle_timeout_ms) as a duration.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// [`low_speed_window_ms`](Self::low_speed_window_ms) as a duration.
    pub fn low_speed_window(&self) -> Duration {
        Duration::from_millis(self.low_speed_window_ms)
    }
}
