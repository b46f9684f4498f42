//! The options of an engine, read from an object. `js/options.js` has refused unknown names and invalid numbers before.

use crate::fields::Fields;
use regrip_core::config::Connections;
use regrip_core::{DownloadsConfig, OnExists};

/// The configuration; a missing option has its default.
pub(crate) fn config(options: &Fields) -> DownloadsConfig {
    let usual = DownloadsConfig::default();
    let statuses = options.bytes("extraRetryStatuses").unwrap_or_default();
    let on_exists = options.text("onExists");
    DownloadsConfig {
        max_concurrent_downloads: options.small_or("maxConcurrentDownloads", usual.max_concurrent_downloads),
        connections_per_download: match options.number("connections") {
            None => usual.connections_per_download,
            Some(0) => Connections::Auto,
            Some(number) => Connections::Fixed(number as u32),
        },
        max_download_attempts: options.small_or("maxDownloadAttempts", usual.max_download_attempts),
        max_total_attempts: options.small_or("maxTotalAttempts", usual.max_total_attempts),
        retry_base_delay_ms: options.number_or("retryBaseDelayMs", usual.retry_base_delay_ms),
        retry_max_delay_ms: options.number_or("retryMaxDelayMs", usual.retry_max_delay_ms),
        connect_timeout_ms: options.number_or("connectTimeoutMs", usual.connect_timeout_ms),
        headers_timeout_ms: options.number_or("headersTimeoutMs", usual.headers_timeout_ms),
        idle_timeout_ms: options.number_or("idleTimeoutMs", usual.idle_timeout_ms),
        low_speed_bytes_per_sec: options.number_or("lowSpeedBytesPerSec", usual.low_speed_bytes_per_sec),
        low_speed_window_ms: options.number_or("lowSpeedWindowMs", usual.low_speed_window_ms),
        max_download_bytes: options.number_or("maxDownloadBytes", usual.max_download_bytes),
        resume_overlap_bytes: options.number_or("resumeOverlapBytes", usual.resume_overlap_bytes),
        progress_reset_bytes: options.number_or("progressResetBytes", usual.progress_reset_bytes),
        // Two bytes each, low one first.
        extra_retry_statuses: statuses.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
        on_exists: on_exists.and_then(|name| OnExists::named(&name)).unwrap_or(usual.on_exists),
        ..usual
    }
}
