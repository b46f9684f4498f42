//! Counts for Prometheus.

use crate::support::{Bench, until};
use regrip_faultd::faults::{Cut, Replace};
use regrip_faultd::{FileScript, Script, Server, Version};
use std::collections::HashMap;

/// The samples, by name and labels. Panics if a line is none.
fn samples(bench: &Bench) -> HashMap<String, f64> {
    let reply = bench.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = reply.text();
    assert!(text.ends_with('\n'));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

#[test]
fn bytes_attempts_restarts_queue_and_permits_are_counted() {
    let bench = Bench::new();
    let before = samples(&bench);
    assert_eq!(before["regrip_received_bytes_total"], 0.0);
    assert_eq!(before["regrip_attempts_total{class=\"transient\"}"], 0.0);
    assert_eq!(before["regrip_restarts_total{reason=\"validator_changed\"}"], 0.0);
    assert_eq!(before["regrip_permits_limit"], 3.0);

    let replaced = FileScript::honest(Version::new(1, 300_000).etag("\"v1\""))
        .version(Version::new(2, 300_000).etag("\"v2\""))
        .answer([Cut::after(100_000)])
        .answer([Replace::with(1)]);
    let source = Server::start(Script::one("/film.mkv", replaced)).unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    bench.until(id, "completed");
    let missing = bench.add(&source.url("/missing.mkv"));
    bench.until(missing, "failed");
    let after = until(|| {
        let after = samples(&bench);
        (after["regrip_driven_downloads"] == 0.0).then_some(after)
    });
    let table = [
        ("regrip_received_bytes_total", 400_000.0),
        ("regrip_discarded_bytes_total", 100_000.0),
        ("regrip_attempts_started_total", 3.0),
        ("regrip_attempts_total{class=\"completed\"}", 1.0),
        ("regrip_attempts_total{class=\"transient\"}", 1.0),
        ("regrip_attempts_total{class=\"permanent\"}", 1.0),
        ("regrip_restarts_total{reason=\"validator_changed\"}", 1.0),
        ("regrip_downloads_ended_total{class=\"completed\"}", 1.0),
        ("regrip_downloads_ended_total{class=\"permanent\"}", 1.0),
        ("regrip_downloads{status=\"completed\"}", 1.0),
        ("regrip_downloads{status=\"failed\"}", 1.0),
        ("regrip_downloads{status=\"queued\"}", 0.0),
        ("regrip_permits_used", 0.0),
        ("regrip_permits_waiting", 0.0),
        ("regrip_pending_stubs", 0.0),
    ];
    for (name, value) in table {
        assert_eq!(after[name], value, "{name}");
    }
}

#[test]
fn durations_are_counted_in_buckets_and_a_server_that_works_is_ready() {
    let bench = Bench::new();
    let source = Server::start(Script::one("/film.mkv", FileScript::honest(Version::new(1, 1000)))).unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    bench.until(id, "completed");
    let after = until(|| Some(samples(&bench)).filter(|samples| samples["regrip_download_seconds_count"] == 1.0));
    assert_eq!(after["regrip_download_seconds_bucket{le=\"+Inf\"}"], 1.0);
    assert_eq!(after["regrip_download_seconds_bucket{le=\"600\"}"], 1.0);
    assert!(after["regrip_download_seconds_sum"] > 0.0);
    assert!(!after.contains_key("regrip_ledger_request_seconds_count"), "only a fleet has it");

    let ready = bench.with("GET", "/ready", "Host: balancer.example\r\n", "");
    assert_eq!((ready.status, ready.text()), (200, "{\"status\":\"ready\"}".into()));
    let workers = bench.get("/api/workers").text();
    assert_eq!(workers, "{\"workers\":[]}");
}
