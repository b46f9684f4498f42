//! One writer of a part: within a process, between processes, and while the name changes hands.

use regrip::store::DiskStore;
use regrip_core::Error;
use regrip_core::store::{OpenPart, Part, PartBytes, PartStore};
use smol::block_on;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

const PART_OF_THE_CHILD: &str = "REGRIP_TEST_PART";

/// This same program, holding a part open until it is killed.
fn holder(part: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_a_child_it_holds_a_part", "--nocapture"])
        .env(PART_OF_THE_CHILD, part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let holding = lines.map_while(Result::ok).any(|line| line.contains("holding"));
    assert!(holding, "the child ended");
    child
}

/// Not a test of its own: what the other process does.
#[test]
fn as_a_child_it_holds_a_part() {
    let Ok(part) = std::env::var(PART_OF_THE_CHILD) else {
        return;
    };
    let store = DiskStore::new();
    let mut part = block_on(store.open(&part, OpenPart::Create)).unwrap();
    block_on(part.write(0, b"abc", &mut [])).unwrap();
    println!("\nholding");
    let _ = std::io::stdin().read(&mut [0]); // until the parent lets go
}

fn locked_by(error: &Error) -> Option<u32> {
    match error {
        Error::PartLocked { pid, .. } => *pid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_held_by_another_process_is_refused_with_its_pid_and_free_once_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("f.part").to_str().unwrap().to_owned();
    let store = DiskStore::new();
    let mut child = holder(&part);

    for how in [OpenPart::Claimed, OpenPart::Adopt] {
        let error = block_on(store.open(&part, how)).unwrap_err();
        assert_eq!(locked_by(&error), Some(child.id()), "{how:?}");
    }
    let error = block_on(store.remove(&part)).unwrap_err();
    assert_eq!(locked_by(&error), Some(child.id()));
    assert_eq!(std::fs::read(&part).unwrap(), b"abc");

    child.kill().unwrap();
    child.wait().unwrap();
    let mut open = block_on(store.open(&part, OpenPart::Claimed)).unwrap();
    assert_eq!(block_on(open.length()).unwrap(), 3);
}

#[test]
fn a_part_held_by_ourselves_is_refused_with_our_own_pid_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("f.part").to_str().unwrap().to_owned();
    let store = DiskStore::new();
    let open = block_on(store.open(&part, OpenPart::Create)).unwrap();

    let error = block_on(store.open(&part, OpenPart::Claimed)).unwrap_err();
    assert_eq!(locked_by(&error), Some(std::process::id()));
    let error = block_on(store.remove(&part)).unwrap_err();
    assert_eq!(locked_by(&error), Some(std::process::id()));

    drop(open);
    drop(block_on(store.open(&part, OpenPart::Claimed)).unwrap());
    block_on(store.remove(&part)).unwrap();
}

// D14
#[test]
fn two_names_of_one_part_as_where_case_is_ignored_have_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let [part, again] = ["f.part", "F.part"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let store = DiskStore::new();
    let open = block_on(store.open(&part, OpenPart::Create)).unwrap();
    std::fs::hard_link(&part, &again).unwrap();
    let error = block_on(store.open(&again, OpenPart::Claimed)).unwrap_err();
    assert_eq!(locked_by(&error), Some(std::process::id()));
    drop(open);
    drop(block_on(store.open(&again, OpenPart::Claimed)).unwrap());
}

#[test]
fn a_refused_opener_does_not_loosen_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("f.part").to_str().unwrap().to_owned();
    let store = DiskStore::new();
    let _open = block_on(store.open(&part, OpenPart::Create)).unwrap();
    for _ in 0..3 {
        block_on(store.open(&part, OpenPart::Claimed)).unwrap_err();
    }
}

/// Eight threads open, write and remove one part as fast as they can. Whoever gets it must have it alone, and the file
/// that has the name must be the one that was locked: otherwise a byte of one turns up with another.
// K05
#[test]
fn openers_and_removers_at_once_never_share_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("f.part").to_str().unwrap().to_owned();
    let got: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=8_u8)
            .map(|mark| {
                let part = &part;
                scope.spawn(move || (0..300).map(|_| take_turn(part, mark)).sum::<u32>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(got >= 8, "only {got} times did anybody get the part");
}

fn take_turn(part: &str, mark: u8) -> u32 {
    let store = DiskStore::new();
    let turn = async {
        let mut open = store.open(part, OpenPart::Claimed).await?;
        open.truncate(0).await?;
        open.write(0, &[mark; 64], &mut []).await?;
        std::thread::yield_now();
        let named = std::fs::read(part).unwrap_or_default();
        assert_eq!(named, [mark; 64], "somebody else has the part too");
        drop(open);
        store.remove(part).await
    };
    match block_on(turn) {
        Ok(()) => 1,
        // The other thing that may happen: the name changed hands too often.
        Err(Error::PartLocked { .. } | Error::Disk { what: "lock", .. }) => 0,
        Err(other) => panic!("{other:?}"),
    }
}
