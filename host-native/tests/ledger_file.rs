//! The ledger as a file: how it is made, closed, upgraded and refused.

use regrip::ledger::{Catalogue, Import, ImportState, OpenError, ServeTables, SqliteLedger};
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::store::DigestState;
use regrip_core::{Algorithm, OnExists};
use rusqlite::Connection;
use smol::block_on;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const AT: SystemTime = UNIX_EPOCH;
const FIRST_MIGRATION: &str = include_str!("../src/ledger/migrations/0001_downloads.sql");

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    (folder, path)
}

fn new(name: &str) -> NewDownload {
    NewDownload {
        source: Source::Url { url: format!("https://example.org/{name}") },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: format!("/films/{name}"),
        part: format!("/films/{name}.part"),
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Every file of the folder, with its bytes.
fn snapshot(folder: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_ledger_is_for_its_owner_only_and_so_are_its_log_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    block_on(ledger.insert(&new("f"), AT)).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&beside(&path, "-wal")), 0o600);
    assert_eq!(mode(&beside(&path, "-shm")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&folder.path().join("a")), 0o700);
}

#[test]
fn a_ledger_may_lie_in_a_folder_of_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%20?immutable=0&x#1 é/ledger.db");
    for name in ["f", "g"] {
        let ledger = SqliteLedger::open(&path).unwrap();
        block_on(ledger.insert(&new(name), AT)).unwrap();
    }
    let ledger = SqliteLedger::open(&path).unwrap();
    assert_eq!(block_on(ledger.unfinished_marks()).unwrap().len(), 2);
}

#[test]
fn a_ledger_that_was_open_to_others_is_closed_to_them() {
    let (_folder, path) = place();
    drop(SqliteLedger::open(&path).unwrap());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    drop(SqliteLedger::open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}

// L06
#[test]
fn the_last_handle_to_go_writes_the_log_back_and_closes_the_file() {
    let (folder, path) = place();
    let ledger = SqliteLedger::open(&path).unwrap();
    let clone = ledger.clone();
    block_on(ledger.insert(&new("f"), AT)).unwrap();
    drop(ledger);
    block_on(clone.insert(&new("g"), AT)).unwrap();
    drop(clone);
    let files: Vec<_> = snapshot(&folder).into_iter().map(|(path, _)| path).collect();
    assert_eq!(files, [path]);
}

// L05
#[test]
fn a_file_of_the_first_schema_is_upgraded_with_its_rows() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(FIRST_MIGRATION).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 1;
         INSERT INTO downloads (kind, url, filename, dest_path, part_path, on_exists, status, created_at, updated_at,
                                downloaded_bytes, durable_bytes, boot_id, etag)
         VALUES ('url', 'https://example.org/f', 'f', '/films/f', '/films/f.part', 'overwrite', 'downloading',
                 '2024-01-01T00:00:00.000Z', '2024-01-01T00:00:00.000Z', 100, 64, 'boot', '\"x\"'),
                ('url', 'https://example.org/g', 'g', '/films/g', '/films/g.part', 'fail', 'completed',
                 '2024-01-01T00:00:00.000Z', '2024-01-02T00:00:00.000Z', 5, 5, 'boot', NULL);",
    )
    .unwrap();
    let no_attempts =
        old.prepare("SELECT attempts FROM downloads").is_err() && old.prepare("SELECT * FROM attempts").is_err();
    assert!(no_attempts, "the first schema knows no attempts");
    drop(old);

    for _ in 0..2 {
        let ledger = SqliteLedger::open(&path).unwrap();
        let mut wanted = Row::new(1, new("f"));
        wanted.status = Status::Downloading;
        (wanted.downloaded, wanted.durable) = (100, 64);
        wanted.epoch = Some("boot".to_owned());
        wanted.validators.etag = Some("\"x\"".to_owned());
        assert_eq!(block_on(ledger.row(1)).unwrap(), wanted);
        assert_eq!(block_on(ledger.row(2)).unwrap().status, Status::Completed);
        assert!(block_on(ledger.timeline(1)).unwrap().is_empty());
    }
    let ledger = SqliteLedger::open(&path).unwrap();
    let attempt = NewAttempt { at: AT, from: 64 };
    assert_eq!(block_on(ledger.begin_attempt(1, &attempt)).unwrap(), 1);
    assert_eq!(block_on(ledger.insert(&new("h"), AT)).unwrap(), 3);
}

#[test]
fn an_upgrade_cuts_what_peers_said_and_keeps_what_an_import_needs() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(FIRST_MIGRATION).unwrap();
    let long = "ß".repeat(20_000);
    let release =
        format!("{{\"id\": \"1\", \"title\": \"{long}\", \"category\": 2000, \"size\": 9, \"more\": \"{long}\"}}");
    let insert = "PRAGMA user_version = 1;
        INSERT INTO downloads (kind, url, peer_id, item_id, peer_name, filename, dest_path, part_path, on_exists, status,
                               created_at, updated_at, error, error_class, error_code, release_json)
        VALUES ('peer', 'http://a/1', '0123abcd', '1', 'Anna', 'f', '/f', '/f.part', 'overwrite', 'failed', '2024', '2024',
                LONG, 'permanent', 'Protocol', RELEASE);";
    let quoted = |text: &str| format!("'{text}'");
    let insert = insert.replace("LONG", &quoted(&long)).replace("RELEASE", &quoted(&release));
    old.execute_batch(&insert).unwrap();
    drop(old);

    let ledger = SqliteLedger::open(&path).unwrap();
    let entry = block_on(ledger.entry(1)).unwrap();
    let failure = entry.row.failure.unwrap();
    assert_eq!(failure.text.chars().count(), 512);
    let kept: serde_json::Value = serde_json::from_str(&entry.release_json.unwrap()).unwrap();
    assert_eq!((&kept["id"], &kept["category"]), (&"1".into(), &2000.into()));
    assert_eq!(kept["title"].as_str().unwrap().chars().count(), 512);
    assert!(kept.get("more").is_none());
    let listed = block_on(ledger.list(&[], 9, None)).unwrap();
    assert_eq!(listed[0].release_json, None, "a list is read without them");
}

/// The steps of the last schema whose imports were lines of text.
const UP_TO_7: [&str; 7] = [
    FIRST_MIGRATION,
    include_str!("../src/ledger/migrations/0002_attempts.sql"),
    include_str!("../src/ledger/migrations/0003_shared_digests.sql"),
    include_str!("../src/ledger/migrations/0004_list_by_status.sql"),
    include_str!("../src/ledger/migrations/0005_to_import.sql"),
    include_str!("../src/ledger/migrations/0006_shared_versions.sql"),
    include_str!("../src/ledger/migrations/0007_left_stubs_and_bounds.sql"),
];

/// What schema 7 had of a download's imports, what they are migrated to, and if they go on.
type Line = (Option<&'static str>, &'static [(&'static str, ImportState, Option<&'static str>)], bool);

const LINES: [Line; 9] = {
    use ImportState::{Accepted, Failed, Pending};
    [
        (None, &[], true),
        (Some("no server takes category 3000"), &[], false),
        (Some("accepted by Films"), &[("Films", Accepted, None)], false),
        (Some("pending at Films"), &[("Films", Pending, None)], true),
        (
            Some("accepted by Films; pending at Anime: the server answered 503, pending at noon; failed at Old: a: b"),
            &[
                ("Films", Accepted, None),
                ("Anime", Pending, Some("the server answered 503, pending at noon")),
                ("Old", Failed, Some("a: b")),
            ],
            true,
        ),
        (
            Some("failed at Old: pending at dawn; accepted by 4K; HDR; accepted by UHD: new"),
            &[("Old", Failed, Some("pending at dawn")), ("4K; HDR", Accepted, None), ("UHD: new", Accepted, None)],
            false,
        ),
        (Some("pending at 4K; \"HDR\": it's ß"), &[("4K; \"HDR\"", Pending, Some("it's ß"))], true),
        // Servers `A` and `A: B`. The one that was not asked is not lost.
        (Some("accepted by A; pending at A: B"), &[("A", Pending, None)], true),
        (Some("failed at A: B: no; accepted by A"), &[("A", Failed, Some("B: no"))], false),
    ]
};

#[test]
fn an_upgrade_makes_rows_of_the_lines_about_imports() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    for step in UP_TO_7 {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 7).unwrap();
    for (line, ..) in LINES {
        let insert =
            "INSERT INTO downloads (kind, url, filename, dest_path, part_path, on_exists, release_json, status,
                          import_state, created_at, updated_at, committing_device, committing_inode)
                      VALUES ('peer', 'u', 'f', 'd', 'p', 'fail', '{}', 'completed', ?1, '', '', ?2, 7)";
        let device = line.map(|_| -3);
        old.execute(insert, (line, device)).unwrap();
    }
    drop(old);

    for _ in 0..2 {
        let ledger = SqliteLedger::open(&path).unwrap();
        let mut to_import = Vec::new();
        for ((line, imports, goes_on), id) in LINES.iter().zip(1..) {
            let wanted = imports.iter().map(|(server, state, error)| Import {
                state: *state,
                error: error.map(str::to_owned),
                ..Import::new(server)
            });
            let found = block_on(ledger.imports(id)).unwrap();
            assert_eq!(found, wanted.collect::<Vec<_>>(), "{line:?}");
            to_import.extend(goes_on.then_some(id));
        }
        let found = block_on(ledger.to_import(0, 99)).unwrap();
        let found: Vec<_> = found.iter().map(|origin| origin.id).collect();
        assert_eq!(found, to_import);
    }
    let new = Connection::open(&path).unwrap();
    let column = |name: &str| -> Vec<Option<String>> {
        let select = format!("SELECT {name} FROM downloads ORDER BY id");
        let mut statement = new.prepare(&select).unwrap();
        let values = statement.query_map([], |row| row.get(0)).unwrap();
        values.map(Result::unwrap).collect()
    };
    let shown = LINES.map(|(line, ..)| line.map(str::to_owned));
    assert_eq!(column("import_state"), shown, "what is shown stays");
    let tokens = LINES.map(|(line, ..)| line.map(|_| "-3:7".to_owned()));
    assert_eq!(column("committing_token"), tokens);
}

#[test]
fn an_upgrade_makes_rows_of_the_digests() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    let last = [
        include_str!("../src/ledger/migrations/0008_imports.sql"),
        include_str!("../src/ledger/migrations/0009_full_responses.sql"),
    ];
    for step in UP_TO_7.iter().chain(&last) {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 9).unwrap();
    // Wanted, announced, the state and its offset, got, and what a commit was about to record.
    for digests in [
        "'aa', 'bb', x'0102', 2, NULL, NULL",
        "NULL, 'cc', x'03', 1, NULL, 'dd'",
        "NULL, NULL, x'04', 1, 'ee', NULL",
        "NULL, NULL, x'05', 1, NULL, NULL",
    ] {
        let insert = format!(
            "INSERT INTO downloads (kind, url, filename, dest_path, part_path, on_exists, status, created_at, updated_at,
                 sha256_wanted, sha256_announced, sha256_state, sha256_state_offset, sha256_got, committing_sha256)
             VALUES ('url', 'http://host/f', 'f', '/f', '/f.part', 'overwrite', 'queued', '', '', {digests})"
        );
        old.execute_batch(&insert).unwrap();
    }
    drop(old);
    let ledger = SqliteLedger::open(&path).unwrap();
    let row = |source, wanted: Option<&str>, state: &[u8], got: Option<&str>| DigestRow {
        source,
        wanted: wanted.map(str::to_owned),
        state: (!state.is_empty()).then(|| DigestState { offset: state.len() as u64, state: state.to_vec() }),
        got: got.map(str::to_owned),
        ..DigestRow::asked(Algorithm::Sha256)
    };
    let expected = [
        vec![
            row(DigestSource::Caller, Some("aa"), &[1, 2], None),
            row(DigestSource::ReprDigest, Some("bb"), &[1, 2], None),
        ],
        vec![row(DigestSource::ReprDigest, Some("cc"), &[3], Some("dd"))],
        vec![row(DigestSource::Asked, None, &[], Some("ee"))],
        vec![],
    ];
    for (id, digests) in (1..).zip(expected) {
        assert_eq!(block_on(ledger.row(id)).unwrap().digests, digests, "{id}");
    }
    block_on(ledger.remove(1)).unwrap();
    let left = Connection::open(&path).unwrap();
    let count = "SELECT count(*) FROM digests WHERE download_id = 1";
    let left: i64 = left.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "the row takes its digests along");
}

// L05
#[test]
fn an_upgrade_that_fails_leaves_the_file_at_the_schema_before() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(FIRST_MIGRATION).unwrap();
    // The second step adds its column, then finds its table's name taken.
    let blocked = "PRAGMA user_version = 1; CREATE TABLE attempts (mine TEXT);";
    old.execute_batch(blocked).unwrap();
    drop(old);
    SqliteLedger::open(&path).unwrap_err();
    let after = Connection::open(&path).unwrap();
    let version: i64 = after.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    assert!(after.prepare("SELECT attempts FROM downloads").is_err());
}

// L05
#[test]
fn a_newer_schema_is_refused_and_not_a_byte_changes() {
    let (folder, path) = place();
    drop(SqliteLedger::open(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(newer);
    let before = snapshot(&folder);
    match SqliteLedger::open(&path).unwrap_err() {
        OpenError::Newer { found, known, .. } => assert_eq!((found, known), (99, 14)),
        other => panic!("{other:?}"),
    }
    assert!(snapshot(&folder) == before);
}

// L04
#[test]
fn what_is_not_a_ledger_is_refused_and_not_a_byte_changes() {
    let sound = {
        let (_folder, path) = place();
        let ledger = SqliteLedger::open(&path).unwrap();
        for number in 0..50 {
            block_on(ledger.insert(&new(&number.to_string()), AT)).unwrap();
        }
        drop(ledger);
        std::fs::read(&path).unwrap()
    };
    let mut overwritten = sound.clone();
    overwritten[4096..8192].fill(0xAA);
    let mut holed = sound.clone();
    let end = holed.len() - 4096;
    holed[end..].fill(0);
    let foreign = {
        let (_folder, path) = place();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE downloads (id)").unwrap();
        drop(other);
        std::fs::read(&path).unwrap()
    };
    let cases = [
        ("text", b"{\"this\": \"is not a database\"}".repeat(100)),
        ("short", b"SQLite".to_vec()),
        ("overwritten", overwritten),
        ("holed", holed),
        ("cut", sound[..sound.len() / 2].to_vec()),
        ("another program's", foreign),
    ];
    for (what, bytes) in cases {
        let (folder, path) = place();
        std::fs::write(&path, &bytes).unwrap();
        let before = snapshot(&folder);
        let refused = SqliteLedger::open(&path);
        assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{what}: {refused:?}");
        assert!(snapshot(&folder) == before, "{what}");
    }
}

#[test]
fn a_folder_in_the_ledgers_place_is_refused() {
    let (_folder, path) = place();
    std::fs::create_dir(&path).unwrap();
    let refused = SqliteLedger::open(&path);
    assert!(matches!(refused, Err(OpenError::File { .. })), "{refused:?}");
}
