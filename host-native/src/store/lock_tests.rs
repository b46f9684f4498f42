//! Tests of lock files: those of other writers, and our own on a file system without flock.

use super::DiskStore;
use super::path::System;
use super::path::lock_path;
use regrip_core::Error;
use regrip_core::store::{Committed, OpenPart, Part, PartBytes, PartStore, Replace};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use smol::block_on;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PART_OF_THE_CHILD: &str = "REGRIP_TEST_LOCK_FILE_OF";

const TABLE: &str = include_str!("../../../tests/locks.json");

/// A file system without flock.
fn no_flock() -> System {
    System { try_lock: |_| Err(fs::TryLockError::Error(Errno::NOSYS.into())), ..System::default() }
}

struct LockedFolder {
    folder: TempDir,
    part: PathBuf,
    lock: PathBuf,
}

impl LockedFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("film.mkv.part");
        let lock = lock_path(&part);
        LockedFolder { folder, part, lock }
    }

    fn open(&self, system: System, how: OpenPart) -> Result<super::DiskPart, Error> {
        block_on(DiskStore::on(system).open(self.part.to_str().unwrap(), how))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

/// Processes for lock files to name.
struct Cast {
    other: Child,
    zombie: Child,
    gone: u32,
    own: Value,
}

impl Cast {
    fn new() -> Self {
        let sleeper = || Command::new("sleep").arg("1000").spawn().unwrap();
        let mut gone = sleeper();
        gone.kill().unwrap();
        gone.wait().unwrap();
        let mut zombie = sleeper();
        zombie.kill().unwrap();
        while !stat(zombie.id()).0.starts_with('Z') {
            std::thread::yield_now();
        }
        // The fields of a lock file of this process.
        let place = LockedFolder::new();
        let _open = place.open(no_flock(), OpenPart::Create).unwrap();
        let own = serde_json::from_slice(&fs::read(&place.lock).unwrap()).unwrap();
        Cast { other: sleeper(), zombie, gone: gone.id(), own }
    }

    fn filled(&self, value: &Value) -> Value {
        match value.as_str() {
            Some("$own") => self.own["pid"].clone(),
            Some("$ownStarted") => self.own["started"].clone(),
            Some("$other") => json!(self.other.id()),
            Some("$otherStarted") => json!(stat(self.other.id()).1),
            Some("$zombie") => json!(self.zombie.id()),
            Some("$zombieStarted") => json!(stat(self.zombie.id()).1),
            _ => value.clone(),
        }
    }

    /// A lock file of a process that is gone, with what differs.
    fn lock(&self, differs: &Value) -> String {
        let mut lock: Map<String, Value> = self.own.as_object().unwrap().clone();
        lock.insert("pid".into(), json!(self.gone));
        lock.insert("token".into(), json!("stale"));
        for (key, value) in differs.as_object().unwrap() {
            lock.insert(key.clone(), self.filled(value));
        }
        Value::Object(lock).to_string()
    }

    fn says(&self, text: &str) -> String {
        text.replace("$other", &self.other.id().to_string()).replace("$host", self.own["host"].as_str().unwrap())
    }

    fn put(&self, row: &Value, lock: &Path) {
        if let Some(differs) = row.get("lock") {
            fs::write(lock, self.lock(differs)).unwrap();
        }
        if let Some(differs) = row.get("new") {
            fs::write(lock.with_extension("lock.new"), self.lock(differs)).unwrap();
        }
        if let Some(text) = row.get("text") {
            fs::write(lock, text.as_str().unwrap()).unwrap();
        }
        if let Some(times) = row.get("repeat").and_then(Value::as_u64) {
            fs::write(lock, " ".repeat(times as usize) + &self.lock(&json!({}))).unwrap();
        }
        let elsewhere = lock.with_file_name("elsewhere");
        match row.get("odd").and_then(Value::as_str) {
            Some("folder") => fs::create_dir(lock).unwrap(),
            Some("link") => {
                fs::write(&elsewhere, self.lock(&json!({}))).unwrap();
                symlink(&elsewhere, lock).unwrap();
            }
            Some("dangling_link") => symlink(&elsewhere, lock).unwrap(),
            Some("pipe") => {
                let made = Command::new("mkfifo").arg(lock).status().unwrap();
                assert!(made.success());
            }
            _ => {}
        }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for child in [&mut self.other, &mut self.zombie] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// State and start time of a process.
fn stat(pid: u32) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[0].to_owned(), fields[19].to_owned())
}

/// The same table is run in Node, by `host-wasm/tests/lock-file.test.mjs`.
#[test]
fn only_a_lock_file_of_a_process_that_is_provably_gone_is_taken_over() {
    let cast = Cast::new();
    let rows: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    for row in &rows {
        for (mode, system) in [("flock", System::default()), ("no flock", no_flock())] {
            for there in [false, true] {
                let context = format!("a lock {}, {mode}, part there: {there}", row["name"]);
                let place = LockedFolder::new();
                if there {
                    fs::write(&place.part, "abc").unwrap();
                }
                cast.put(row, &place.lock);
                let before = place.names();
                let opened = place.open(system, OpenPart::Claimed);
                match (row["end"].as_str().unwrap(), opened) {
                    ("taken", Ok(open)) => {
                        drop(open);
                        assert_eq!(place.names(), ["film.mkv.part"], "{context}");
                    }
                    ("locked", Err(error @ Error::PartLocked { .. })) => {
                        let message = error.to_string();
                        for part in [row["says"].as_str().unwrap(), place.lock.to_str().unwrap()] {
                            assert!(message.contains(&cast.says(part)), "{context}: {message}");
                        }
                        assert_eq!(place.names(), before, "{context}");
                    }
                    (_, other) => panic!("{context}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn without_flock_a_lock_file_keeps_the_part_until_it_is_dropped() {
    for errno in [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP] {
        let place = LockedFolder::new();
        let system = System {
            try_lock: match errno {
                Errno::NOSYS => |_| Err(fs::TryLockError::Error(Errno::NOSYS.into())),
                Errno::NOLCK => |_| Err(fs::TryLockError::Error(Errno::NOLCK.into())),
                _ => |_| Err(fs::TryLockError::Error(Errno::OPNOTSUPP.into())),
            },
            ..System::default()
        };
        let mut open = place.open(system, OpenPart::Create).unwrap();
        block_on(open.write(0, b"abc", &mut [])).unwrap();
        assert_eq!(place.names(), ["film.mkv.part", "film.mkv.part.lock"]);
        for other in [system, System::default()] {
            let error = place.open(other, OpenPart::Claimed).unwrap_err();
            let own = std::process::id();
            assert!(matches!(error, Error::PartLocked { pid: Some(pid), .. } if pid == own));
        }
        assert_eq!(super::writer(&place.part), Some(std::process::id()));
        drop(open);
        assert_eq!(place.names(), ["film.mkv.part"], "{errno:?}");
        assert_eq!(super::writer(&place.part), None);
    }
}

#[test]
fn without_flock_a_part_is_committed_and_removed_with_its_lock_file() {
    let place = LockedFolder::new();
    let store = DiskStore::on(no_flock());
    let destination = place.folder.path().join("film.mkv");
    block_on(async {
        let mut open = place.open(no_flock(), OpenPart::Create).unwrap();
        open.write(0, b"film", &mut []).await.unwrap();
        let destination = destination.to_str().unwrap();
        let committed = store.commit(open, destination, Replace::Nothing).await;
        assert!(matches!(committed, Ok(Committed::Durable)));
        assert_eq!(place.names(), ["film.mkv"]);
        drop(place.open(no_flock(), OpenPart::Create).unwrap());
        store.remove(place.part.to_str().unwrap()).await.unwrap();
        assert_eq!(place.names(), ["film.mkv"]);
    });
}

#[test]
fn without_flock_a_flock_of_another_process_is_respected() {
    let place = LockedFolder::new();
    let _open = place.open(System::default(), OpenPart::Create).unwrap();
    let error = place.open(no_flock(), OpenPart::Claimed).unwrap_err();
    assert_eq!(error.code().as_str(), "PartLocked");
    assert_eq!(place.names(), ["film.mkv.part"]);
}

#[test]
fn a_part_that_cannot_be_locked_leaves_nothing_behind() {
    let place = LockedFolder::new();
    let broken = System { try_lock: |_| Err(fs::TryLockError::Error(Errno::IO.into())), ..System::default() };
    let error = place.open(broken, OpenPart::Create).unwrap_err();
    assert_eq!(error.code().as_str(), "Disk");
    assert_eq!(place.names(), [""; 0]);
    fs::write(&place.part, "abc").unwrap();
    place.open(broken, OpenPart::Claimed).unwrap_err();
    assert_eq!(fs::read(&place.part).unwrap(), b"abc");
}

/// Each of these changes the part, or says that it is durable.
#[test]
fn a_writer_whose_lock_file_was_replaced_changes_nothing_any_more() {
    let cast = Cast::new();
    let others = cast.lock(&json!({"pid": "$other", "started": "$otherStarted"}));
    for other in [Some(others.as_str()), None] {
        let place = LockedFolder::new();
        let store = DiskStore::on(no_flock());
        let mut open = place.open(no_flock(), OpenPart::Create).unwrap();
        block_on(async {
            open.write(0, b"abc", &mut []).await.unwrap();
            open.reserve(4 << 20).await.unwrap();
            fs::remove_file(&place.lock).unwrap();
            if let Some(text) = other {
                fs::write(&place.lock, text).unwrap();
            }
            // What the other writer has written meanwhile is not cut off.
            fs::write(&place.part, "another film").unwrap();
            let tries = [
                open.write(3, b"def", &mut []).await,
                open.truncate(0).await,
                open.flush().await.map(drop),
                store
                    .commit(open, place.folder.path().join("film").to_str().unwrap(), Replace::Existing)
                    .await
                    .map(drop),
            ];
            for tried in tries {
                let error = tried.unwrap_err();
                assert_eq!(error.code().as_str(), "PartLocked");
                assert!(error.to_string().contains("was removed or replaced"), "{error}");
            }
        });
        assert_eq!(fs::read(&place.part).unwrap(), b"another film");
        assert_eq!(fs::read_to_string(&place.lock).ok().as_deref(), other);
    }
}

#[test]
fn a_lock_file_that_was_only_touched_is_still_ours() {
    let place = LockedFolder::new();
    let mut open = place.open(no_flock(), OpenPart::Create).unwrap();
    let text = fs::read(&place.lock).unwrap();
    fs::remove_file(&place.lock).unwrap();
    fs::write(&place.lock, text).unwrap();
    block_on(open.write(0, b"abc", &mut [])).unwrap();
}

/// The one that gets it keeps it until all have tried.
#[test]
fn of_many_that_find_a_stale_lock_file_exactly_one_gets_it() {
    let cast = Cast::new();
    for _ in 0..50 {
        let place = LockedFolder::new();
        fs::write(&place.part, "abc").unwrap();
        fs::write(&place.lock, cast.lock(&json!({}))).unwrap();
        let tries: Vec<_> = std::thread::scope(|scope| {
            let open = || place.open(no_flock(), OpenPart::Claimed);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 1);
        drop(tries);
        assert_eq!(place.names(), ["film.mkv.part"]);
    }
}

#[test]
fn a_lock_file_whose_process_was_killed_is_taken_over() {
    let place = LockedFolder::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::lock_tests::as_a_child_it_holds_a_lock_file", "--nocapture"])
        .env(PART_OF_THE_CHILD, &place.part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    let error = place.open(no_flock(), OpenPart::Claimed).unwrap_err();
    assert!(matches!(error, Error::PartLocked { pid: Some(pid), .. } if pid == child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut open = place.open(no_flock(), OpenPart::Claimed).unwrap();
    assert_eq!(block_on(open.length()).unwrap(), 3);
}

/// Not a test of its own: what the other process does.
#[test]
fn as_a_child_it_holds_a_lock_file() {
    let Ok(part) = std::env::var(PART_OF_THE_CHILD) else {
        return;
    };
    let mut open = block_on(DiskStore::on(no_flock()).open(&part, OpenPart::Create)).unwrap();
    block_on(open.write(0, b"abc", &mut [])).unwrap();
    println!("\nholding");
    let _ = std::io::stdin().read(&mut [0]); // until the parent kills it
}

#[test]
fn the_lock_file_of_a_long_name_has_a_name_that_fits() {
    for (length, shortened) in [(242, false), (243, true), (255, true)] {
        let part = PathBuf::from("/f").join("x".repeat(length));
        let name = lock_path(&part).file_name().unwrap().len();
        assert_eq!(name, if shortened { 69 } else { length + 5 });
    }
}

#[test]
fn who_takes_a_part_over_gets_a_copy_that_the_old_writer_cannot_reach() {
    let place = LockedFolder::new();
    let mut old = place.open(System::default(), OpenPart::Create).unwrap();
    block_on(old.write(0, b"first bytes", &mut [])).unwrap();
    let mut store = DiskStore::on(System::default());
    let part = place.part.to_str().unwrap();
    let locked = block_on(store.open(part, OpenPart::Claimed));
    assert!(matches!(locked, Err(Error::PartLocked { .. })), "{locked:?}");

    store.takes_over = true;
    let mut new = block_on(store.open(part, OpenPart::Claimed)).unwrap();
    assert_eq!(block_on(new.length()).unwrap(), 11);
    block_on(old.write(11, b"late", &mut [])).unwrap();
    block_on(old.truncate(0)).unwrap();
    block_on(new.write(11, b"!", &mut [])).unwrap();
    assert_eq!(fs::read(&place.part).unwrap(), b"first bytes!");
    drop(old);
    assert_eq!(fs::read(&place.part).unwrap(), b"first bytes!");
    assert_eq!(place.names(), ["film.mkv.part"]);
    let third = block_on(DiskStore::on(System::default()).open(part, OpenPart::Claimed));
    assert!(matches!(third, Err(Error::PartLocked { .. })), "the copy is locked: {third:?}");
}

#[test]
fn a_writer_that_stands_still_before_its_rename_gives_away_its_own_file_all_the_same() {
    let place = LockedFolder::new();
    // Between its last look at the part's name and the rename another process takes the part over.
    let late = System {
        rename: |from, to| {
            let part = to.with_extension("mkv.part");
            if part.exists() {
                super::lock::replace_by_copy(&part).unwrap();
                fs::write(&part, "half").unwrap();
            }
            fs::rename(from, to)
        },
        ..System::default()
    };
    let mut store = DiskStore::on(late);
    store.takes_over = true;
    let mut part = block_on(store.open(place.part.to_str().unwrap(), OpenPart::Create)).unwrap();
    block_on(part.write(0, b"whole file", &mut [])).unwrap();
    block_on(part.flush()).unwrap();
    let destination = place.part.with_extension("");
    let done = block_on(store.commit(part, destination.to_str().unwrap(), Replace::Existing)).unwrap();
    assert!(matches!(done, Committed::Durable), "{done:?}");
    assert_eq!(fs::read(&destination).unwrap(), b"whole file");
    assert_eq!(fs::read(&place.part).unwrap(), b"half", "the part is another process's");
    assert_eq!(place.names(), ["film.mkv", "film.mkv.part"]);
}
