//! The attempts of a download, line by line.

#[path = "support/ledgers.rs"]
mod ledgers;

use ledgers::{Sqlite, on_every_ledger};
use regrip::ledger::{AttemptLine, Catalogue, NativeLedger};
use regrip_core::bounds::Bounds;
use regrip_core::classify::Class;
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::retry::AskedBy;
use regrip_core::{ErrorCode, OnExists};
use smol::block_on;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

on_every_ledger! {
    a_line_tells_its_attempt_from_start_to_end,
    restarts_are_noted_on_their_attempt_and_on_no_other,
    a_line_left_open_by_a_killed_process_is_closed_as_lost_by_the_next_attempt,
}

fn add(ledger: &impl NativeLedger, name: &str) -> DownloadId {
    let new = NewDownload {
        source: Source::Url { url: format!("https://example.org/{name}") },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: format!("/films/{name}"),
        part: format!("/films/{name}.part"),
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    };
    block_on(ledger.insert(&new, at(0))).unwrap()
}

fn begin(ledger: &impl NativeLedger, id: DownloadId, second: u64, from: u64) -> u32 {
    let at = at(second);
    block_on(ledger.begin_attempt(id, &NewAttempt { at, from })).unwrap()
}

fn checkpoint(downloaded: u64) -> Change {
    Change::Checkpoint { downloaded, durable: downloaded, epoch: "boot".to_owned(), digests: Vec::new() }
}

fn a_line_tells_its_attempt_from_start_to_end(ledger: &impl NativeLedger) {
    let id = add(ledger, "f");
    let attempt = begin(ledger, id, 1, 10);
    let open = block_on(ledger.timeline(id)).unwrap();
    assert_eq!((open[0].ended_at.as_deref(), &open[0].outcome), (None, &None));

    let change = Change::AttemptEnded {
        end: AttemptEnd {
            attempt,
            to: 70,
            outcome: Outcome::Failed,
            error: Some(Failure {
                class: Class::Transient,
                code: ErrorCode::Network,
                text: "connection failed".to_owned(),
            }),
            wait: Some((Duration::from_millis(1500), AskedBy::RetryAfter)),
        },
        bounds: Bounds::default(),
    };
    block_on(ledger.record(id, &change, at(2))).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let wanted = AttemptLine {
        attempt: 1,
        started_at: "1970-01-01T00:00:01.000Z".to_owned(),
        ended_at: text("1970-01-01T00:00:02.000Z"),
        offset_from: 10,
        offset_to: Some(70),
        outcome: text("failed"),
        class: text("transient"),
        code: text("Network"),
        error: text("connection failed"),
        wait_ms: Some(1500),
        asked_by: text("retry_after"),
        restart_reason: None,
        discarded_bytes: None,
    };
    assert_eq!(block_on(ledger.timeline(id)).unwrap(), [wanted]);
}

fn restarts_are_noted_on_their_attempt_and_on_no_other(ledger: &impl NativeLedger) {
    let id = add(ledger, "f");
    let other = add(ledger, "other");
    begin(ledger, other, 1, 0);
    begin(ledger, id, 1, 0);
    begin(ledger, id, 2, 0);
    for (reason, discarded) in [(RestartReason::RangeIgnored, 5), (RestartReason::DigestMismatch, 7)] {
        let attempt = 2;
        let change = Change::Restart(Restart { attempt, reason, discarded });
        block_on(ledger.record(id, &change, at(3))).unwrap();
    }
    let lines = block_on(ledger.timeline(id)).unwrap();
    assert_eq!(lines[0].restart_reason, None);
    let both = Some("range_ignored,digest_mismatch");
    assert_eq!(lines[1].restart_reason.as_deref(), both);
    assert_eq!(lines[1].discarded_bytes, Some(12));
    let others = block_on(ledger.timeline(other)).unwrap();
    assert_eq!(others[0].restart_reason, None);
}

fn a_line_left_open_by_a_killed_process_is_closed_as_lost_by_the_next_attempt(ledger: &impl NativeLedger) {
    let id = add(ledger, "f");
    begin(ledger, id, 1, 0);
    block_on(ledger.record(id, &checkpoint(64), at(5))).unwrap();
    assert_eq!(begin(ledger, id, 9, 64), 2);

    let lines = block_on(ledger.timeline(id)).unwrap();
    let ends: Vec<_> = lines.iter().map(|line| line.outcome.as_deref()).collect();
    assert_eq!(ends, [Some("lost"), None]);
    assert_eq!(lines[0].offset_to, Some(64));
    let last_sign_of_life = Some("1970-01-01T00:00:05.000Z");
    assert_eq!(lines[0].ended_at.as_deref(), last_sign_of_life);
}

#[test]
fn open_lines_can_be_closed_all_at_once_and_ended_ones_stay_as_they_are() {
    let place = Sqlite::new();
    let ledger = &place.open();
    let id = add(ledger, "f");
    let other = add(ledger, "other");
    let attempt = begin(ledger, id, 1, 0);
    let end = AttemptEnd { attempt, to: 3, outcome: Outcome::Interrupted, error: None, wait: None };
    let bounds = Bounds::default();
    block_on(ledger.record(id, &Change::AttemptEnded { end, bounds }, at(2))).unwrap();
    begin(ledger, id, 3, 3);
    begin(ledger, other, 3, 0);

    assert_eq!(block_on(ledger.close_open_attempts()).unwrap(), 2);
    assert_eq!(block_on(ledger.close_open_attempts()).unwrap(), 0);
    let lines = block_on(ledger.timeline(id)).unwrap();
    let ends: Vec<_> = lines.iter().map(|line| line.outcome.as_deref()).collect();
    assert_eq!(ends, [Some("interrupted"), Some("lost")]);
}
