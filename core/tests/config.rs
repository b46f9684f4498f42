//! The settings of downloads: which values are allowed, how they are written, and what follows from them.

use regrip_core::{Connections, DownloadsConfig, OnExists, RetryPolicy};
use std::time::Duration;

fn defaults() -> DownloadsConfig {
    DownloadsConfig::default()
}

#[test]
fn a_value_out_of_its_range_is_refused_by_its_key() {
    let once = "at least 1";
    let soon = "at least 1 millisecond";
    let refused = [
        (DownloadsConfig { max_concurrent_downloads: 0, ..defaults() }, "maxConcurrentDownloads", "0", once),
        (DownloadsConfig { max_concurrent_per_peer: Some(0), ..defaults() }, "maxConcurrentPerPeer", "0", once),
        (DownloadsConfig { connections_per_origin: 0, ..defaults() }, "connectionsPerOrigin", "0", once),
        (DownloadsConfig { max_download_attempts: 0, ..defaults() }, "maxDownloadAttempts", "0", once),
        (DownloadsConfig { max_total_attempts: 0, ..defaults() }, "maxTotalAttempts", "0", once),
        (DownloadsConfig { connect_timeout_ms: 0, ..defaults() }, "connectTimeoutMs", "0", soon),
        (DownloadsConfig { headers_timeout_ms: 0, ..defaults() }, "headersTimeoutMs", "0", soon),
        (DownloadsConfig { idle_timeout_ms: 0, ..defaults() }, "idleTimeoutMs", "0", soon),
        (DownloadsConfig { low_speed_window_ms: 0, ..defaults() }, "lowSpeedWindowMs", "0", soon),
        (
            DownloadsConfig { extra_retry_statuses: vec![404, 500], ..defaults() },
            "extraRetryStatuses",
            "500",
            "statuses from 400 to 499",
        ),
        (
            DownloadsConfig { extra_retry_statuses: vec![399], ..defaults() },
            "extraRetryStatuses",
            "399",
            "statuses from 400 to 499",
        ),
    ];
    for (config, key, found, expected) in refused {
        let error = config.check().expect_err(key);
        assert_eq!((error.key, &*error.found, error.expected), (key, found, expected));
    }
    let least = DownloadsConfig {
        max_concurrent_downloads: 1,
        max_concurrent_per_peer: Some(1),
        connections_per_origin: 1,
        max_download_attempts: 1,
        max_total_attempts: 1,
        connect_timeout_ms: 1,
        headers_timeout_ms: 1,
        idle_timeout_ms: 1,
        low_speed_window_ms: 1,
        extra_retry_statuses: vec![400, 499],
        ..defaults()
    };
    assert_eq!((least.check(), defaults().check()), (Ok(()), Ok(())));
}

#[test]
fn connections_are_a_number_from_1_to_16_or_auto() {
    let table = [
        ("1", Some(Connections::Fixed(1)), 1),
        ("16", Some(Connections::Fixed(16)), 16),
        ("auto", Some(Connections::Auto), 4),
        ("0", None, 0),
        ("17", None, 0),
        ("+4", None, 0),
        ("", None, 0),
        ("Auto", None, 0),
        ("4294967297", None, 0),
    ];
    for (text, expected, most) in table {
        let parsed = Connections::parse(text);
        assert_eq!((parsed, parsed.map_or(0, Connections::most)), (expected, most), "{text:?}");
        let written = serde_json::from_value::<Connections>(text.into()).ok();
        assert_eq!(written, expected, "{text:?}");
    }
    assert_eq!((Connections::Fixed(0).most(), Connections::Fixed(99).most()), (1, 16));
    for (connections, json) in [(Connections::Fixed(4), "4"), (Connections::Auto, "\"auto\"")] {
        assert_eq!(serde_json::to_string(&connections).unwrap(), json);
        assert_eq!(serde_json::from_str::<Connections>(json).unwrap(), connections);
    }
    let refused = serde_json::from_str::<Connections>("17").unwrap_err().to_string();
    assert!(refused.starts_with("expected a number from 1 to 16, or \"auto\""), "{refused}");
    assert_eq!(defaults().connections_per_download, Connections::Fixed(1));
}

#[test]
fn every_rule_for_an_existing_file_has_its_word_and_is_found_by_it() {
    let rules = [OnExists::Overwrite, OnExists::Fail, OnExists::Rename];
    assert_eq!(rules.map(OnExists::name), ["overwrite", "fail", "rename"]);
    assert_eq!(rules.map(|rule| OnExists::named(rule.name())), rules.map(Some));
    assert_eq!(OnExists::named("replace"), None);
}

#[test]
fn a_peer_leaves_one_permit_to_others_unless_it_has_a_limit_of_its_own() {
    for (all, own, expected) in [(3, None, 2), (1, None, 1), (3, Some(1), 1), (2, Some(9), 9)] {
        let config = DownloadsConfig { max_concurrent_downloads: all, max_concurrent_per_peer: own, ..defaults() };
        assert_eq!(config.permits_per_peer(), expected);
    }
}

#[test]
fn times_are_in_milliseconds() {
    let config = DownloadsConfig {
        idle_timeout_ms: 1,
        low_speed_window_ms: 2,
        retry_base_delay_ms: 3,
        retry_max_delay_ms: 4,
        max_download_attempts: 7,
        ..defaults()
    };
    let ms = Duration::from_millis;
    assert_eq!((config.idle_timeout(), config.low_speed_window()), (ms(1), ms(2)));
    assert_eq!(config.retry_policy(), RetryPolicy::new(7, ms(3), ms(4)));
    assert!(DownloadsConfig { max_download_attempts: 0, ..defaults() }.retry_policy().is_err());
}
