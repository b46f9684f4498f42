//! SHA-256s of shared files.

use crate::support::{Bench, How, bytes, put, until};
use regrip::ledger::{SharedDigest, SharedDigests, SqliteLedger};
use regrip::store::checksum_of;
use regrip_core::Algorithm;
use regrip_core::http::repr_digests;
use smol::block_on;
use std::os::unix::ffi::OsStrExt;

/// Waits until the file has a digest on the wire.
fn digest(bench: &Bench, path: &str) -> String {
    until(|| {
        let reply = bench.get(path, "Range: bytes=0-0\r\n");
        reply
            .header("repr-digest")
            .and_then(|value| repr_digests([value].into_iter()).pop())
            .map(|checksum| checksum.hex)
    })
}

#[test]
fn a_digest_is_sent_once_it_is_known_and_is_that_of_the_whole_file() {
    let bench = Bench::film(&bytes(1, 3_000_000));
    let path = bench.file("film.mkv");
    let wanted = checksum_of(&bench.path("film.mkv"), Algorithm::Sha256).unwrap().hex;
    assert_eq!(digest(&bench, &path), wanted);
    assert_eq!(bench.search("")[0]["sha256"], wanted.as_str());
}

#[test]
fn a_changed_file_has_no_digest_until_it_has_its_own() {
    let bench = Bench::film(&bytes(1, 100_000));
    let path = bench.file("film.mkv");
    let before = digest(&bench, &path);
    put(&bench.path("film.mkv"), &bytes(2, 100_000));
    let wanted = checksum_of(&bench.path("film.mkv"), Algorithm::Sha256).unwrap().hex;
    let first = bench
        .get(&path, "")
        .header("repr-digest")
        .and_then(|value| repr_digests([value].into_iter()).pop())
        .map(|checksum| checksum.hex);
    assert_ne!(first.as_ref(), Some(&before));
    assert_eq!(digest(&bench, &path), wanted);
}

#[test]
fn a_restart_takes_the_digest_from_the_ledger_as_long_as_the_file_is_the_same() {
    let mut bench = Bench::film(&bytes(1, 1000));
    let path = bench.file("film.mkv");
    let real = digest(&bench, &path);
    bench.stop();
    // A digest that cannot be the real one shows its source.
    let film = bench.path("film.mkv");
    let marked = "ab".repeat(32);
    let ledger = SqliteLedger::open(&bench.folder.path().join("state.db")).unwrap();
    let key = film.as_os_str().as_bytes().to_vec();
    let noted = block_on(ledger.shared_digest(key.clone())).unwrap().unwrap();
    assert_eq!(noted.sha256, real);
    let forged = SharedDigest { sha256: marked.clone(), ..noted };
    block_on(ledger.note_shared_digest(key, forged)).unwrap();
    drop(ledger);
    bench.start(How::default());
    assert_eq!(digest(&bench, &path), marked);
    bench.stop();
    put(&film, &bytes(2, 1000));
    bench.start(How::default());
    assert_eq!(digest(&bench, &path), checksum_of(&film, Algorithm::Sha256).unwrap().hex);
}

#[test]
fn a_digest_from_before_versions_were_noted_is_not_believed() {
    let mut bench = Bench::film(&bytes(1, 1000));
    let path = bench.file("film.mkv");
    let real = digest(&bench, &path);
    bench.stop();
    let ledger = rusqlite::Connection::open(bench.folder.path().join("state.db")).unwrap();
    let forget = "UPDATE shared_digests SET sha256 = ?1, device = NULL, inode = NULL, ctime_ns = NULL, etag = NULL";
    assert_eq!(ledger.execute(forget, ["ab".repeat(32)]).unwrap(), 1);
    drop(ledger);
    bench.start(How::default());
    assert_eq!(digest(&bench, &path), real);
}
