//! The `downloads` block of the configuration.
//!
//! Every setting has a default.

use crate::checksum::Algorithm;
use crate::retry::{RetryPolicy, ZeroAttempts};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// What to do if the destination exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExists {
    /// Replace it once the new file is complete.
    #[default]
    Overwrite,
    /// Fail.
    Fail,
    /// Choose another name.
    Rename,
}

impl OnExists {
    /// The name in the configuration and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            OnExists::Overwrite => "overwrite",
            OnExists::Fail => "fail",
            OnExists::Rename => "rename",
        }
    }
    /// The variant with this name.
    pub fn named(name: &str) -> Option<OnExists> {
        [OnExists::Overwrite, OnExists::Fail, OnExists::Rename].into_iter().find(|one| one.name() == name)
    }
}

/// How many connections one download uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// This many, from 1 to [`MOST`](Self::MOST).
    Fixed(u32),
    /// Up to [`MOST_AUTO`](Self::MOST_AUTO), as long as another one raises the rate by a quarter.
    Auto,
}

impl Connections {
    /// The most that can be asked for.
    pub const MOST: u32 = 16;
    /// The most that `auto` opens.
    pub const MOST_AUTO: u32 = 4;

    /// Reads `auto` or a number from 1 to 16.
    pub fn parse(text: &str) -> Option<Connections> {
        if text == "auto" {
            return Some(Connections::Auto);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (1..=Self::MOST).contains(number));
        number.map(Connections::Fixed)
    }

    /// The most connections at once.
    pub fn most(self) -> u32 {
        match self {
            Connections::Fixed(number) => number.clamp(1, Self::MOST),
            Connections::Auto => Self::MOST_AUTO,
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Connections::Fixed(1)
    }
}

impl Serialize for Connections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Connections::Fixed(number) => serializer.serialize_u32(*number),
            Connections::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Connections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        Connections::parse(&text).ok_or_else(|| D::Error::custom("expected a number from 1 to 16, or \"auto\""))
    }
}

/// The settings of the engine. Times are in milliseconds, sizes in bytes, as the names say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DownloadsConfig {
    /// Downloads that transfer data at the same time; at least 1.
    pub max_concurrent_downloads: u32,
    /// How many of these may come from one origin. `None` means max(1, n − 1) from one peer, and any number from another origin.
    pub max_concurrent_per_peer: Option<u32>,
    /// Connections that one download may use at once.
    pub connections_per_download: Connections,
    /// Connections to one origin, if downloads use several; at least 1.
    pub connections_per_origin: u32,
    /// Memory for bytes received before those in front of them, for all downloads together.
    pub window_bytes: u64,
    /// Attempts in a row without progress, including the first; at least 1.
    pub max_download_attempts: u32,
    /// Attempts without progress over the life of a download; at least 1.
    pub max_total_attempts: u32,
    /// The longest delay before the second attempt.
    pub retry_base_delay_ms: u64,
    /// The longest delay of all, including `Retry-After`.
    pub retry_max_delay_ms: u64,
    /// Timeout of name lookup, TCP and TLS together.
    pub connect_timeout_ms: u64,
    /// Timeout from the request to the response head.
    pub headers_timeout_ms: u64,
    /// The longest time without data while reading a body.
    pub idle_timeout_ms: u64,
    /// A transfer slower than this over the window is stalled; 0 turns the rule off.
    pub low_speed_bytes_per_sec: u64,
    /// The window of the low-speed rule.
    pub low_speed_window_ms: u64,
    /// The largest file that is accepted.
    pub max_download_bytes: u64,
    /// How many bytes at the end of the part are compared if no strong validator proves them; 0 turns the comparison off.
    pub resume_overlap_bytes: u64,
    /// An attempt makes progress if it moves the furthest offset by this many bytes and by a sixteenth of what it received.
    /// Progress resets the count of attempts in a row, and the backoff. 0 means that nothing counts as progress.
    pub progress_reset_bytes: u64,
    /// 4xx statuses that are transient, for example 408 and 425.
    pub extra_retry_statuses: Vec<u16>,
    /// Failed connections in a row after which the downloads of a peer wait; 0 turns this off.
    pub breaker_failures: u32,
    /// How long downloads wait for an unreachable peer before they fail.
    pub peer_patience_ms: u64,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// The digest to compute for every file, even if there is nothing to check it against.
    pub digest: Option<Algorithm>,
}

impl Default for DownloadsConfig {
    fn default() -> Self {
        DownloadsConfig {
            max_concurrent_downloads: 3,
            max_concurrent_per_peer: None,
            connections_per_download: Connections::default(),
            connections_per_origin: 16,
            window_bytes: 64 << 20,
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

/// A value is outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}, expected {expected}")]
pub struct InvalidConfig {
    /// The key in the configuration.
    pub key: &'static str,
    /// The value found.
    pub found: String,
    /// The values allowed.
    pub expected: &'static str,
}

impl DownloadsConfig {
    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// The first key whose value is out of range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let at_least_1 = [
            ("maxConcurrentDownloads", self.max_concurrent_downloads),
            ("maxConcurrentPerPeer", self.max_concurrent_per_peer.unwrap_or(1)),
            ("connectionsPerOrigin", self.connections_per_origin),
            ("maxDownloadAttempts", self.max_download_attempts),
            ("maxTotalAttempts", self.max_total_attempts),
        ];
        for (key, value) in at_least_1 {
            if value == 0 {
                return Err(InvalidConfig { key, found: value.to_string(), expected: "at least 1" });
            }
        }
        for (key, value) in [
            ("connectTimeoutMs", self.connect_timeout_ms),
            ("headersTimeoutMs", self.headers_timeout_ms),
            ("idleTimeoutMs", self.idle_timeout_ms),
            ("lowSpeedWindowMs", self.low_speed_window_ms),
        ] {
            if value == 0 {
                return Err(InvalidConfig { key, found: "0".to_owned(), expected: "at least 1 millisecond" });
            }
        }
        let odd = self.extra_retry_statuses.iter().find(|status| !(400..=499).contains(*status));
        if let Some(status) = odd {
            let (key, expected) = ("extraRetryStatuses", "statuses from 400 to 499");
            return Err(InvalidConfig { key, found: status.to_string(), expected });
        }
        Ok(())
    }

    /// The retry policy of attempts in a row.
    ///
    /// # Errors
    /// `maxDownloadAttempts` is 0.
    pub fn retry_policy(&self) -> Result<RetryPolicy, ZeroAttempts> {
        let base = Duration::from_millis(self.retry_base_delay_ms);
        RetryPolicy::new(self.max_download_attempts, base, Duration::from_millis(self.retry_max_delay_ms))
    }

    /// The number of permits that one peer may use, and any origin if [it is set](Self::max_concurrent_per_peer).
    pub fn permits_per_peer(&self) -> u32 {
        self.max_concurrent_per_peer.unwrap_or(self.max_concurrent_downloads.saturating_sub(1)).max(1)
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
