//! The list: S39, S52.

use crate::support::{Bench, until};
use regrip_core::Status;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, NewDownload};
use regrip_core::time::Clock;
use regrip_core::{OnExists, Source};
use serde_json::Value;
use std::time::{Duration, SystemTime};

fn insert(bench: &Bench, name: &str, at: SystemTime) -> i64 {
    let new = NewDownload {
        source: Source::Url { url: format!("http://127.0.0.1:9/{name}") },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: bench.file(name).display().to_string(),
        part: bench.file(&format!("{name}.part")).display().to_string(),
        on_exists: OnExists::Overwrite,
        release_size: Some(5),
        digests: Vec::new(),
        adopt: false,
    };
    smol::block_on(bench.control.ledger().insert(&new, at)).unwrap()
}

fn cancel(bench: &Bench, id: i64, at: SystemTime) {
    let ledger = bench.control.ledger();
    smol::block_on(ledger.record(id, &Change::Cancelled, at)).unwrap();
}

fn ids(page: &Value) -> Vec<i64> {
    let downloads = page["downloads"].as_array().unwrap().iter();
    downloads.map(|one| one["id"].as_i64().unwrap()).collect()
}

#[test]
fn s39_s52_downloads_are_listed_by_their_last_change_in_pages() {
    let bench = Bench::new();
    let begun = bench.control.engine().host().clock().wall();
    let at = |second| begun + Duration::from_secs(second);
    let rows: Vec<i64> = (0..7).map(|n| insert(&bench, &format!("{n}.mkv"), at(n))).collect();
    cancel(&bench, rows[1], at(20));
    cancel(&bench, rows[4], at(10));
    let wanted = [rows[1], rows[4], rows[6], rows[5], rows[3], rows[2], rows[0]];

    let whole = bench.json("/api/downloads");
    assert_eq!(ids(&whole), wanted);
    assert_eq!(whole["next"], Value::Null);
    assert_eq!(whole["counts"], serde_json::json!({ "queued": 5, "cancelled": 2 }));

    for limit in 1..8 {
        let mut seen = Vec::new();
        let mut path = format!("/api/downloads?limit={limit}");
        loop {
            let page = bench.json(&path);
            assert!(ids(&page).len() <= limit);
            seen.extend(ids(&page));
            let Some(next) = page["next"].as_i64() else {
                break;
            };
            path = format!("/api/downloads?limit={limit}&after={next}");
        }
        assert_eq!(seen, wanted, "pages of {limit}");
    }

    let page = bench.json("/api/downloads?status=cancelled");
    assert_eq!(ids(&page), [rows[1], rows[4]]);
    let page = bench.json("/api/downloads?status=queued,cancelled&limit=3");
    assert_eq!(ids(&page), wanted[..3]);
    let page = bench.json(&format!("/api/downloads?status=queued,cancelled&limit=3&after={}", rows[6]));
    assert_eq!(ids(&page), wanted[3..6]);
    assert!(ids(&bench.json("/api/downloads?status=failed")).is_empty());
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    for query in ["status=done", "limit=0", "limit=x", "limit=501", "after=x", "after=-1"] {
        let reply = bench.get(&format!("/api/downloads?{query}"));
        assert_eq!((reply.status, reply.code().as_str()), (400, "BadRequest"), "{query}");
        let field = query.split('=').next();
        assert_eq!(reply.json()["error"]["field"].as_str(), field);
    }
    let reply = bench.get("/api/downloads?after=12345");
    assert_eq!((reply.status, reply.code().as_str()), (404, "NoSuchDownload"));
}

#[test]
fn every_field_is_described_and_every_described_field_is_there() {
    let bench = Bench::new();
    let id = insert(&bench, "a.mkv", SystemTime::now());
    let description = bench.json("/openapi.json");
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let described = |name: &str| keys(&description["components"]["schemas"][name]["properties"]);
    assert_eq!(keys(&bench.json(&format!("/api/downloads/{id}"))), described("Download"));
    let statuses = description["components"]["schemas"]["Status"]["enum"].as_array().unwrap();
    let statuses: Vec<&str> = statuses.iter().map(|status| status.as_str().unwrap()).collect();
    assert_eq!(statuses, Status::ALL.map(Status::name));

    // Its attempt, for the fields of a timeline: nobody listens at its address.
    bench.control.drive(id);
    let timeline = until(|| {
        let timeline = bench.json(&format!("/api/downloads/{id}/timeline"));
        (!timeline["attempts"].as_array().unwrap().is_empty()).then_some(timeline)
    });
    assert_eq!(keys(&timeline["attempts"][0]), described("Attempt"));
}
