//! The README keeps its word: its script is one, and it names every fault.

use regrip_faultd::{Fault, Script};

const README: &str = include_str!("../README.md");

#[test]
fn the_script_of_the_readme_is_a_script() {
    let script = README.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
    let script = Script::from_json(script).expect("it is one");
    assert_eq!(script.files["/film.mkv"].answers.len(), 3);
}

#[test]
fn every_fault_is_in_the_table_of_the_readme() {
    // serde's message for an unknown name lists all that there are.
    let message = serde_json::from_str::<Fault>(r#"{"?": {}}"#).expect_err("there is no such fault").to_string();
    let names: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 30, "{message}");
    for name in names {
        assert!(README.contains(&format!("`{name} {{")), "`{name}` is missing");
    }
}

#[test]
fn every_fault_can_be_written_as_the_readme_says() {
    let table = [
        r#"{"bad_chunk": {"after": 1, "kind": "size"}}"#,
        r#"{"bad_chunk": {"after": 1, "kind": "empty"}}"#,
        r#"{"bad_chunk": {"after": 1, "kind": "huge"}}"#,
        r#"{"bad_chunk": {"after": 1, "kind": "cut"}}"#,
        r#"{"chunked": {}}"#,
        r#"{"chunked": {"bytes": 7}}"#,
        r#"{"coding": {"name": "gzip"}}"#,
        r#"{"content_length": {"values": ["5", "-1"]}}"#,
        r#"{"content_range": {"value": []}}"#,
        r#"{"content_range_on_200": {}}"#,
        r#"{"cut": {"after": 1}}"#,
        r#"{"cut": {"after": 1, "how": "close"}}"#,
        r#"{"cut": {"after": 1, "how": "reset"}}"#,
        r#"{"date": {}}"#,
        r#"{"date": {"value": "x"}}"#,
        r#"{"drop_before_reply": {}}"#,
        r#"{"endless_head": {}}"#,
        r#"{"etag": {}}"#,
        r#"{"etag": {"value": "W/\"x\""}}"#,
        r#"{"flip": {"at": 1}}"#,
        r#"{"headers": {"add": [["X-A", "1"]]}}"#,
        r#"{"huge_head": {"bytes": 1}}"#,
        r#"{"huge_head": {"bytes": 1, "lines": 70}}"#,
        r#"{"odd_head": {"lines": ["X : y", " z"]}}"#,
        r#"{"odd_head": {"status_line": "HTTP/1.1 200", "bare_lf": true}}"#,
        r#"{"ignore_if_range": {}}"#,
        r#"{"ignore_range": {}}"#,
        r#"{"interim": {"codes": [103]}}"#,
        r#"{"last_modified": {"value": "x"}}"#,
        r#"{"last_modified": {"seconds_before_date": 59}}"#,
        r#"{"longer": {"bytes": 1}}"#,
        r#"{"multipart": {}}"#,
        r#"{"no_reply": {}}"#,
        r#"{"no_validators": {}}"#,
        r#"{"partial_unasked": {}}"#,
        r#"{"pause": {"after": 1, "ms": 1}}"#,
        r#"{"range_not_satisfiable": {}}"#,
        r#"{"range_not_satisfiable": {"content_range": "bytes */5"}}"#,
        r#"{"range_short": {"bytes": 1}}"#,
        r#"{"range_start": {"shift": -1}}"#,
        r#"{"redirect": {}}"#,
        r#"{"redirect": {"to": "{origin}/b", "code": 307}}"#,
        r#"{"refuse_preflight": {}}"#,
        r#"{"remove_headers": {"names": ["ETag"]}}"#,
        r#"{"replace": {"version": 1}}"#,
        r#"{"repr_digest": {"value": "sha-256=:x:"}}"#,
        r#"{"reset_before_reply": {}}"#,
        r#"{"stall": {"after": 1}}"#,
        r#"{"status": {"code": 503}}"#,
        r#"{"status": {"code": 503, "retry_after": "1", "body_bytes": 10}}"#,
        r#"{"status": {"code": 503, "retry_after": ["1", "2"]}}"#,
        r#"{"trickle": {"every_ms": 1, "bytes": 1}}"#,
        r#"{"unframed": {}}"#,
    ];
    for json in table {
        let fault: Fault = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        let written = serde_json::to_string(&fault).expect("a fault is JSON");
        assert_eq!(serde_json::from_str::<Fault>(&written).expect("it is read back"), fault, "{json}");
    }
}

#[test]
fn the_test_in_the_readme_is_one_that_runs() {
    let shown = README.split("```rust\n").find(|block| block.contains("should_panic"));
    let shown = shown.and_then(|block| block.split("\n```").next()).expect("there is one");
    assert!(include_str!("truncated.rs").contains(shown));
}
