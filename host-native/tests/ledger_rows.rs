//! Listing and removing rows, and what is done with values that make no sense.

#[path = "support/ledgers.rs"]
mod ledgers;

use ledgers::{Sqlite, on_every_ledger};
use regrip::ledger::{Import, ImportState, LedgerEntry, NativeLedger};
use regrip::store::FileStamp;
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::{Error, OnExists};
use smol::block_on;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

on_every_ledger! {
    what_was_removed_is_gone_with_its_attempts_and_its_id_never_comes_back,
    the_list_is_ordered_by_the_last_change_and_pages_lose_nothing,
    an_entry_tells_when_things_happened_and_what_the_host_noted,
    an_import_is_gone_on_with_until_no_server_is_pending,
}

/// Milliseconds are what the ledger keeps.
fn at(millisecond: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millisecond)
}

fn new(name: &str) -> NewDownload {
    NewDownload {
        source: Source::Url { url: format!("https://example.org/{name}?key=1") },
        mirrors: Vec::new(),
        header_names: vec!["authorization".to_owned()],
        destination: format!("/films/{name}"),
        part: format!("/films/{name}.part"),
        on_exists: OnExists::Fail,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

fn what_was_removed_is_gone_with_its_attempts_and_its_id_never_comes_back(ledger: &impl NativeLedger) {
    block_on(async {
        let id = ledger.insert(&new("f"), at(0)).await.unwrap();
        let attempt = NewAttempt { at: at(1), from: 0 };
        ledger.begin_attempt(id, &attempt).await.unwrap();
        ledger.remove(id).await.unwrap();
        assert!(ledger.timeline(id).await.unwrap().is_empty());
        let gone = |error: Error| assert!(matches!(error, Error::NoSuchDownload(gone) if gone == id));
        gone(ledger.row(id).await.unwrap_err());
        gone(ledger.entry(id).await.unwrap_err());
        gone(ledger.remove(id).await.unwrap_err());
        gone(ledger.begin_attempt(id, &attempt).await.unwrap_err());
        for change in [Change::Queued, Change::Claimed(true), Change::Retried] {
            gone(ledger.record(id, &change, at(2)).await.unwrap_err());
        }
        assert_ne!(ledger.insert(&new("f"), at(3)).await.unwrap(), id);
    });
}

fn the_list_is_ordered_by_the_last_change_and_pages_lose_nothing(ledger: &impl NativeLedger) {
    block_on(async {
        let mut ids = Vec::new();
        for number in 0..7 {
            // Three each share a millisecond.
            let new = new(&number.to_string());
            ids.push(ledger.insert(&new, at(number / 3)).await.unwrap());
        }
        ledger.record(ids[1], &Change::Queued, at(100)).await.unwrap();
        ledger.record(ids[4], &Change::Cancelled, at(50)).await.unwrap();
        let wanted = [1, 4, 6, 5, 3, 2, 0].map(|number| ids[number]);

        let of = |entries: &[LedgerEntry]| entries.iter().map(|entry| entry.row.id).collect::<Vec<_>>();
        assert_eq!(of(&ledger.list(&[], 100, None).await.unwrap()), wanted);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.list(&[], 2, after).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.row.id);
            paged.extend(of(&page));
        }
        assert_eq!(paged, wanted);

        let cancelled = ledger.list(&[Status::Cancelled], 100, None).await.unwrap();
        assert_eq!(of(&cancelled), [ids[4]]);
        ledger.remove(ids[0]).await.unwrap();
        let error = ledger.list(&[], 2, Some(ids[0])).await.unwrap_err();
        assert_eq!(error.code().as_str(), "NoSuchDownload");
    });
}

fn an_entry_tells_when_things_happened_and_what_the_host_noted(ledger: &impl NativeLedger) {
    block_on(async {
        let id = ledger.insert(&new("f.mkv"), at(0)).await.unwrap();
        let first = NewAttempt { at: at(1), from: 0 };
        ledger.begin_attempt(id, &first).await.unwrap();
        let second = NewAttempt { at: at(2), from: 9 };
        ledger.begin_attempt(id, &second).await.unwrap();
        let (stub, release) = ("f.torrent".to_owned(), "{}".to_owned());
        ledger.note_release(id, Some(stub.clone()), Some(release.clone())).await.unwrap();
        let told = |server: &str, state| Import { state, tries: 1, ..Import::new(server) };
        let imports = vec![told("radarr", ImportState::Accepted)];
        let import = ledger.record_imports(id, imports.clone(), "early".to_owned(), at(3)).await;
        assert_eq!(import.unwrap_err().code().as_str(), "WrongState");
        let completed = Change::Completed { size: 5, warning: None };
        ledger.record(id, &completed, at(4)).await.unwrap();
        assert_eq!(ledger.entry(id).await.unwrap().completed_stamp(), None);
        let stamp = FileStamp { size: 5, mtime_ns: -3 };
        ledger.stamp(id, stamp).await.unwrap();
        assert_eq!(ledger.entry(id).await.unwrap().completed_stamp(), Some(stamp));
        ledger.record_imports(id, imports, "told radarr".to_owned(), at(5)).await.unwrap();
        let imports = vec![
            told("son; arr", ImportState::Failed),
            Import { next_try: Some(at(9)), error: Some("no".to_owned()), ..told("a\nb", ImportState::Pending) },
        ];
        ledger.record_imports(id, imports.clone(), "sonarr failed".to_owned(), at(6)).await.unwrap();
        assert_eq!(ledger.imports(id).await.unwrap(), imports);

        let entry = ledger.entry(id).await.unwrap();
        assert_eq!(entry.row.status, Status::ImportQueued);
        assert_eq!((entry.kind(), entry.filename.as_str()), ("url", "f.mkv"));
        assert_eq!((entry.stub_name, entry.release_json), (Some(stub), Some(release)));
        assert_eq!(entry.import_state.as_deref(), Some("sonarr failed"));
        assert_eq!(entry.created_at, "2023-11-14T22:13:20.000Z");
        assert_eq!(entry.started_at.as_deref(), Some("2023-11-14T22:13:20.001Z"));
        assert_eq!(entry.completed_at.as_deref(), Some("2023-11-14T22:13:20.004Z"));
        assert_eq!(entry.updated_at, "2023-11-14T22:13:20.006Z");

        let back = ledger.record(id, &Change::Queued, at(7)).await;
        assert_eq!(back.unwrap_err().code().as_str(), "WrongState");
        let other = ledger.insert(&new("other"), at(8)).await.unwrap();
        assert_eq!(ledger.entry(other).await.unwrap().completed_stamp(), None, "not completed");
    });
}

fn an_import_is_gone_on_with_until_no_server_is_pending(ledger: &impl NativeLedger) {
    let import = |server: &str, state| Import { state, ..Import::new(server) };
    let accepted = import("Films", ImportState::Accepted);
    let failed = import("pending at dawn", ImportState::Failed);
    let pending = import("; pending at", ImportState::Pending);
    let other = import("b", ImportState::Pending);
    // Without imports: not begun, or no server wants it.
    let table = [
        (None, true),
        (Some(vec![]), false),
        (Some(vec![accepted.clone()]), false),
        (Some(vec![pending.clone()]), true),
        (Some(vec![failed.clone()]), false),
        (Some(vec![accepted, pending.clone(), failed]), true),
        (Some(vec![pending, other]), true),
    ];
    let completed = Change::Completed { size: 5, warning: None };
    block_on(async {
        let mut wanted = Vec::new();
        for (number, (imports, goes_on)) in table.into_iter().enumerate() {
            let new = new(&number.to_string());
            let id = ledger.insert(&new, at(0)).await.unwrap();
            let release = Some("{}".to_owned());
            ledger.note_release(id, None, release).await.unwrap();
            let found = ledger.to_import(id - 1, 9).await.unwrap();
            assert_eq!(found, [], "not completed");
            ledger.record(id, &completed, at(1)).await.unwrap();
            if let Some(imports) = imports {
                let shown = "pending at Films".to_owned();
                let recorded = ledger.record_imports(id, imports, shown, at(2)).await;
                recorded.unwrap();
            }
            wanted.extend(goes_on.then_some(id));
        }
        let ids = async |after, limit| {
            let found = ledger.to_import(after, limit).await.unwrap();
            found.iter().map(|origin| origin.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(0, 99).await, wanted);
        assert_eq!(ids(0, 3).await, wanted[..3]);
        assert_eq!(ids(wanted[1], 1).await, wanted[2..3]);
        ledger.remove(wanted[3]).await.unwrap();
        assert_eq!(ids(0, 99).await, wanted[..3]);
        assert_eq!(ledger.imports(wanted[3]).await.unwrap(), []);
        assert_eq!(ledger.origins(vec![2, 99, 5]).await.unwrap().len(), 2);
    });
}

#[test]
fn a_senseless_value_is_an_error_that_names_row_and_column() {
    let cases = [
        ("status", "'dancing'"),
        ("on_exists", "'perhaps'"),
        ("downloaded_bytes", "-1"),
        ("attempts", "-1"),
        ("responses", "4294967296"),
        ("header_names", "'{'"),
        ("waiting_why", "'no until'"),
        ("expected_bytes", "7"),
        ("committing_size", "3"),
        ("error", "'no class'"),
    ];
    let place = Sqlite::new();
    let ledger = place.open();
    for (column, value) in cases {
        let id = block_on(ledger.insert(&new(column), at(0))).unwrap();
        set(&place, id, column, value);
        let error = block_on(ledger.row(id)).unwrap_err();
        assert_eq!(error.code().as_str(), "Ledger", "{column}");
        let text = error.to_string();
        let named = text.contains(&id.to_string())
            && text.split(' ').any(|word| word.len() > 3 && column.starts_with(&word[..4]));
        assert!(named, "{column}: {text}");
        block_on(ledger.remove(id)).unwrap();
    }
}

// L07
#[test]
fn a_row_of_a_status_from_a_later_version_is_kept_and_not_driven() {
    let place = Sqlite::new();
    let ledger = place.open();
    let id = block_on(ledger.insert(&new("f"), at(0))).unwrap();
    set(&place, id, "status", "'dancing'");
    assert!(block_on(ledger.unfinished_marks()).unwrap().is_empty());
    assert_eq!(block_on(ledger.row(id)).unwrap_err().code().as_str(), "Ledger");
}

fn set(place: &Sqlite, id: i64, column: &str, value: &str) {
    let file = rusqlite::Connection::open(place.path()).unwrap();
    let set = format!("UPDATE downloads SET {column} = {value} WHERE id = {id}");
    assert_eq!(file.execute(&set, []).unwrap(), 1);
}
