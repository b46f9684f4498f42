//! The `downloads` block: what stands in for what it leaves out.

use regrip_core::{DownloadsConfig, OnExists};

fn parsed(json: &str) -> DownloadsConfig {
    serde_json::from_str(json).expect("it is a downloads block")
}

#[test]
fn the_defaults_are_those_of_the_page() {
    let config = DownloadsConfig::default();
    assert_eq!(config.max_concurrent_downloads, 3);
    assert_eq!(config.max_download_attempts, 5);
    assert_eq!(config.max_total_attempts, 1000);
    assert_eq!(config.retry_base_delay_ms, 1000);
    assert_eq!(config.retry_max_delay_ms, 60_000);
    assert_eq!(config.connect_timeout_ms, 30_000);
    assert_eq!(config.headers_timeout_ms, 60_000);
    assert_eq!(config.idle_timeout_ms, 60_000);
    assert_eq!(config.low_speed_bytes_per_sec, 1024);
    assert_eq!(config.low_speed_window_ms, 120_000);
    assert_eq!(config.max_download_bytes, 100 << 30);
    assert_eq!(config.resume_overlap_bytes, 65_536);
    assert_eq!(config.progress_reset_bytes, 65_536);
    assert_eq!(config.extra_retry_statuses, [0_u16; 0]);
    assert_eq!(config.breaker_failures, 3);
    assert_eq!(config.peer_patience_ms, 86_400_000);
    assert_eq!(config.on_exists, OnExists::Overwrite);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_peer_has_one_permit_less_than_all_but_at_least_one() {
    for (all, of_a_peer) in [(1, 1), (2, 1), (3, 2), (10, 9)] {
        let config = DownloadsConfig { max_concurrent_downloads: all, ..DownloadsConfig::default() };
        assert_eq!(config.permits_per_peer(), of_a_peer, "{all}");
    }
    assert_eq!(parsed(r#"{"maxConcurrentPerPeer": 3}"#).permits_per_peer(), 3);
}

#[test]
fn a_config_that_knows_none_of_it_keeps_parsing() {
    let paths_only = r#"{"watchPath": "/watch", "completedPath": "/done"}"#;
    assert_eq!(parsed(paths_only), DownloadsConfig::default());
    let one = parsed(r#"{"retryBaseDelayMs": 0}"#);
    assert_eq!(one.retry_base_delay_ms, 0);
    assert_eq!(one.retry_max_delay_ms, 60_000);
}

#[test]
fn a_delay_of_zero_is_allowed_and_a_count_of_zero_is_not() {
    let allowed = [
        "retryBaseDelayMs",
        "retryMaxDelayMs",
        "lowSpeedBytesPerSec",
        "resumeOverlapBytes",
        "progressResetBytes",
        "breakerFailures",
    ];
    for key in allowed {
        assert_eq!(parsed(&format!(r#"{{"{key}": 0}}"#)).check(), Ok(()), "{key}");
    }
    let refused = [
        "maxConcurrentDownloads",
        "maxConcurrentPerPeer",
        "maxDownloadAttempts",
        "maxTotalAttempts",
        "connectTimeoutMs",
        "headersTimeoutMs",
        "idleTimeoutMs",
        "lowSpeedWindowMs",
    ];
    for key in refused {
        let error = parsed(&format!(r#"{{"{key}": 0}}"#)).check();
        assert_eq!(error.map_err(|error| error.key), Err(key));
    }
}

#[test]
fn only_statuses_that_are_permanent_otherwise_can_be_listed() {
    assert_eq!(parsed(r#"{"extraRetryStatuses": [408, 425, 499]}"#).check(), Ok(()));
    for status in [200, 301, 399, 500] {
        let listed = parsed(&format!(r#"{{"extraRetryStatuses": [{status}]}}"#));
        assert!(listed.check().is_err(), "{status}");
    }
}
