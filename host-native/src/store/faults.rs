//! Tests with a system that fails in ways no ordinary file system can be made to.

use super::DiskStore;
use super::disk::errno;
use super::path::System;
use regrip_core::Error;
use regrip_core::store::{Committed, OpenPart, Part, PartBytes, PartStore, Replace};
use rustix::io::Errno;
use smol::block_on;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct FaultyFolder {
    folder: TempDir,
    part: String,
    destination: String,
}

impl FaultyFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (part, destination) = (path("film.mkv.part"), path("film.mkv"));
        FaultyFolder { folder, part, destination }
    }

    fn names(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into()).collect();
        names.sort();
        names
    }

    fn destination(&self) -> Vec<u8> {
        std::fs::read(&self.destination).unwrap()
    }

    /// Writes a part of `bytes` and commits it on `system`; a warning is as good as success.
    fn commit(&self, system: System, bytes: &[u8], replace: Replace) -> Result<(), Error> {
        self.warning(system, bytes, replace).map(drop)
    }

    /// The same; what failed after the file got its name.
    fn warning(&self, system: System, bytes: &[u8], replace: Replace) -> Result<Option<Error>, Error> {
        block_on(async {
            let store = DiskStore::on(system);
            let mut part = store.open(&self.part, OpenPart::Claimed).await?;
            part.write(0, bytes, &mut []).await?;
            part.flush().await?;
            match store.commit(part, &self.destination, replace).await? {
                Committed::Durable => Ok(None),
                Committed::WithWarning(error) => Ok(Some(error)),
            }
        })
    }
}

fn from_the_part(path: &Path) -> bool {
    path.extension() == Some("part".as_ref())
}

/// Another mount begins at the destination.
fn two_mounts() -> System {
    System {
        rename: |from, to| {
            if from_the_part(from) {
                return Err(Errno::XDEV.into());
            }
            std::fs::rename(from, to)
        },
        rename_new: |from, to| {
            if from_the_part(from) {
                return Err(Errno::XDEV.into());
            }
            (System::default().rename_new)(from, to)
        },
        ..System::default()
    }
}

/// `RENAME_NOREPLACE` is not known.
fn no_rename_new(errno: fn(&Path, &Path) -> io::Result<()>) -> System {
    System { rename_new: errno, ..System::default() }
}

// D09
#[test]
fn across_mounts_a_copy_beside_the_target_is_renamed_and_nothing_else_stays() {
    for replace in [Replace::Existing, Replace::Nothing] {
        let place = FaultyFolder::new();
        let bytes = vec![7; 20 << 20]; // more than one piece of the copy
        place.commit(two_mounts(), &bytes, replace).unwrap();
        assert!(place.destination() == bytes);
        assert_eq!(place.names(), [Path::new("film.mkv")], "{replace:?}");
    }
}

// D09
#[test]
fn across_mounts_a_file_that_appeared_is_not_replaced_and_the_part_stays() {
    let place = FaultyFolder::new();
    std::fs::write(&place.destination, "another").unwrap();
    let error = place.commit(two_mounts(), b"film", Replace::Nothing).unwrap_err();
    assert_eq!(error.code().as_str(), "DestinationExists");
    assert_eq!(place.destination(), b"another");
    assert_eq!(std::fs::read(&place.part).unwrap(), b"film");
}

// D09
#[test]
fn a_copy_that_cannot_be_renamed_leaves_the_old_file_the_part_and_no_copy() {
    let place = FaultyFolder::new();
    std::fs::write(&place.destination, "the old one").unwrap();
    let system = System {
        rename: |from, _| {
            let errno = if from_the_part(from) { Errno::XDEV } else { Errno::ROFS };
            Err(errno.into())
        },
        ..System::default()
    };
    let error = place.commit(system, b"film", Replace::Existing).unwrap_err();
    assert_eq!(error.code().as_str(), "Disk");
    assert_eq!(place.destination(), b"the old one");
    let names = ["film.mkv", "film.mkv.part"].map(PathBuf::from);
    assert_eq!(place.names(), names);
}

// D09
#[test]
fn a_copy_left_by_a_crash_is_replaced_by_the_next_commit() {
    let place = FaultyFolder::new();
    let killed = System {
        rename: |from, to| {
            if from_the_part(from) {
                return Err(Errno::XDEV.into());
            }
            // As after kill -9 at this moment: a second copy of the name stays behind.
            std::fs::hard_link(from, to.with_file_name("kept"))?;
            Err(Errno::IO.into())
        },
        ..System::default()
    };
    place.commit(killed, b"half", Replace::Existing).unwrap_err();
    let copy = super::commit::copy_path(Path::new(&place.destination));
    std::fs::rename(place.folder.path().join("kept"), copy).unwrap();

    place.commit(two_mounts(), b"whole", Replace::Existing).unwrap();
    assert_eq!(place.destination(), b"whole");
    assert_eq!(place.names(), [Path::new("film.mkv")]);
}

#[test]
fn without_rename_noreplace_a_link_gives_the_name_and_never_takes_one() {
    for system in [
        no_rename_new(|_, _| Err(Errno::INVAL.into())),
        no_rename_new(|_, _| Err(Errno::NOSYS.into())),
        no_rename_new(|_, _| Err(Errno::OPNOTSUPP.into())),
    ] {
        let place = FaultyFolder::new();
        place.commit(system, b"film", Replace::Nothing).unwrap();
        assert_eq!(place.destination(), b"film");
        assert_eq!(place.names(), [Path::new("film.mkv")]);

        // It appears after the look at the destination: the link must find it.
        let late = System {
            link: |from, to| {
                std::fs::write(to, "another")?;
                std::fs::hard_link(from, to)
            },
            ..system
        };
        std::fs::remove_file(&place.destination).unwrap();
        let error = place.commit(late, b"film", Replace::Nothing).unwrap_err();
        assert_eq!(error.code().as_str(), "DestinationExists");
        assert_eq!(place.destination(), b"another");
        assert_eq!(std::fs::read(&place.part).unwrap(), b"film");
    }
}

// FD02
#[test]
fn without_rename_noreplace_and_links_an_empty_file_takes_the_name_and_never_another_one() {
    let neither = System { link: |_, _| Err(Errno::PERM.into()), ..no_rename_new(|_, _| Err(Errno::INVAL.into())) };
    let place = FaultyFolder::new();
    place.commit(neither, b"film", Replace::Nothing).unwrap();
    assert_eq!(place.destination(), b"film");
    assert_eq!(place.names(), [Path::new("film.mkv")]);

    let late = System {
        link: |_, to| {
            std::fs::write(to, "another")?;
            Err(Errno::PERM.into())
        },
        ..neither
    };
    std::fs::remove_file(&place.destination).unwrap();
    let error = place.commit(late, b"film", Replace::Nothing).unwrap_err();
    assert_eq!(error.code().as_str(), "DestinationExists");
    assert_eq!(place.destination(), b"another");
    assert_eq!(std::fs::read(&place.part).unwrap(), b"film");
}

#[test]
fn a_file_that_appears_at_the_last_moment_is_not_replaced() {
    let place = FaultyFolder::new();
    let system = System {
        rename_new: |from, to| {
            std::fs::write(to, "another")?;
            (System::default().rename_new)(from, to)
        },
        ..System::default()
    };
    let error = place.commit(system, b"film", Replace::Nothing).unwrap_err();
    assert_eq!(error.code().as_str(), "DestinationExists");
    assert_eq!(place.destination(), b"another");
}

#[test]
fn a_commit_killed_between_link_and_unlink_is_finished_by_the_next() {
    for replace in [Replace::Existing, Replace::Nothing] {
        let place = FaultyFolder::new();
        std::fs::write(&place.part, "film").unwrap();
        std::fs::hard_link(&place.part, &place.destination).unwrap();
        place.commit(System::default(), b"film", replace).unwrap();
        assert_eq!(place.destination(), b"film");
        assert_eq!(place.names(), [Path::new("film.mkv")], "{replace:?}");
    }
}

#[test]
fn a_failed_rename_leaves_the_part_and_what_was_there() {
    let place = FaultyFolder::new();
    std::fs::write(&place.destination, "the old one").unwrap();
    let system = System { rename: |_, _| Err(Errno::IO.into()), ..System::default() };
    let error = place.commit(system, b"film", Replace::Existing).unwrap_err();
    assert_eq!(error.code().as_str(), "Disk");
    assert_eq!(place.destination(), b"the old one");
    assert_eq!(std::fs::read(&place.part).unwrap(), b"film");
}

fn unsynced_folders(errno: fn(&std::fs::File) -> io::Result<()>) -> System {
    System { sync_names: errno, ..System::default() }
}

// FD03, D15
#[test]
fn a_folder_that_cannot_be_synced_after_the_rename_is_a_warning() {
    for system in [
        unsynced_folders(|_| Err(Errno::IO.into())),
        unsynced_folders(|_| Err(Errno::MFILE.into())),
        System { sync_names: |_| Err(Errno::ACCESS.into()), ..two_mounts() },
        System { sync_names: |_| Err(Errno::ACCESS.into()), ..no_rename_new(|_, _| Err(Errno::INVAL.into())) },
    ] {
        for replace in [Replace::Existing, Replace::Nothing] {
            let place = FaultyFolder::new();
            let warning = place.warning(system, b"film", replace).unwrap();
            let warning = warning.expect("the folder cannot be synced");
            let text = warning.to_string();
            assert!(text.starts_with("cannot sync the folder of"), "{text}");
            assert_eq!(place.destination(), b"film", "{warning}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_read_costs_no_byte_of_a_part_and_is_tried_again() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let system = unsynced_folders(|_| match TRIES.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Errno::ACCESS.into()),
        _ => Ok(()),
    });
    let place = FaultyFolder::new();
    let store = DiskStore::on(system);
    block_on(async {
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        part.write(0, b"film", &mut []).await.unwrap();
        for tries in [1, 2, 2] {
            part.flush().await.unwrap();
            assert_eq!(TRIES.load(Ordering::Relaxed), tries);
        }
        assert_eq!(part.length().await.unwrap(), 4);
    });
}

#[test]
fn a_name_that_cannot_be_taken_from_the_part_is_a_warning() {
    // The link is made, and then the part's name is that of a folder.
    let system = System {
        link: |from, to| {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)?;
            std::fs::create_dir(from)
        },
        ..no_rename_new(|_, _| Err(Errno::INVAL.into()))
    };
    let place = FaultyFolder::new();
    let warning = place.warning(system, b"film", Replace::Nothing).unwrap();
    assert_eq!(warning.map(|warning| warning.code()), Some(regrip_core::ErrorCode::Disk));
    assert_eq!(place.destination(), b"film");
}

#[test]
fn the_name_of_a_part_is_synced_once_by_each_process_that_writes_it() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SYNCS: AtomicU32 = AtomicU32::new(0);
    let system = System {
        sync_names: |_| {
            SYNCS.fetch_add(1, Ordering::Relaxed);
            Ok(())
        },
        ..System::default()
    };
    let place = FaultyFolder::new();
    let store = DiskStore::on(system);
    block_on(async {
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        for _ in 0..3 {
            part.flush().await.unwrap();
        }
        assert_eq!(SYNCS.load(Ordering::Relaxed), 1);
        drop(part);
        let mut part = store.open(&place.part, OpenPart::Claimed).await.unwrap();
        for _ in 0..3 {
            part.flush().await.unwrap();
        }
        assert_eq!(SYNCS.load(Ordering::Relaxed), 2);
    });
}

// D03
#[test]
fn after_a_failed_sync_no_sync_is_believed_and_only_synced_bytes_are_left() {
    let place = FaultyFolder::new();
    let store = DiskStore::on(System::default());
    block_on(async {
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        part.write(0, b"durable", &mut []).await.unwrap();
        part.flush().await.unwrap();
        part.write(7, b"lost", &mut []).await.unwrap();

        part.system.sync_data = |_| Err(Errno::IO.into());
        let error = part.flush().await.unwrap_err();
        assert_eq!(error.code().as_str(), "Disk");
        assert_eq!(part.length().await.unwrap(), 7);

        part.system = System::default();
        part.flush().await.unwrap_err();
        store.commit(part, &place.destination, Replace::Existing).await.unwrap_err();
        assert_eq!(place.names(), [Path::new("film.mkv.part")]);
    });
}

// D03
#[test]
fn a_part_whose_sync_failed_is_good_again_once_it_was_discarded() {
    let place = FaultyFolder::new();
    let store = DiskStore::on(System::default());
    block_on(async {
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        part.write(0, b"lost", &mut []).await.unwrap();
        part.system.sync_data = |_| Err(Errno::IO.into());
        part.flush().await.unwrap_err();

        part.system = System::default();
        part.truncate(0).await.unwrap();
        part.write(0, b"film", &mut []).await.unwrap();
        part.flush().await.unwrap();
        let committed = store.commit(part, &place.destination, Replace::Existing);
        assert!(matches!(committed.await, Ok(Committed::Durable)));
        assert_eq!(place.destination(), b"film");
    });
}

// D03
#[test]
fn bytes_that_were_never_synced_are_synced_before_they_get_their_name() {
    let place = FaultyFolder::new();
    block_on(async {
        let store = DiskStore::on(System { sync_data: |_| Err(Errno::NOSPC.into()), ..System::default() });
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        part.write(0, b"film", &mut []).await.unwrap();
        let error = store.commit(part, &place.destination, Replace::Existing).await.unwrap_err();
        assert_eq!(error.code().as_str(), "DiskFull");
        assert_eq!(place.names(), [Path::new("film.mkv.part")]);
    });
}

#[test]
fn a_dropped_part_is_free_even_while_a_process_being_forked_has_its_file() {
    let place = FaultyFolder::new();
    let store = DiskStore::on(System::default());
    block_on(async {
        let part = store.open(&place.part, OpenPart::Create).await.unwrap();
        let _forked = part.held.file.try_clone().unwrap();
        drop(part);
        store.open(&place.part, OpenPart::Claimed).await.unwrap();
    });
}

// D02
#[test]
fn errors_of_the_system_keep_their_number() {
    let error: io::Error = Errno::XDEV.into();
    assert_eq!(errno(&error), Some(Errno::XDEV));
}

/// What a folder's sync does in the tests below: counts, waits until it may continue, and fails on request.
mod slow_folder {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

    pub(super) static BEGUN: AtomicU32 = AtomicU32::new(0);
    pub(super) static GO_ON: AtomicBool = AtomicBool::new(false);
    pub(super) static FAIL: AtomicBool = AtomicBool::new(false);

    pub(super) fn sync(_: &std::fs::File) -> std::io::Result<()> {
        BEGUN.fetch_add(1, SeqCst);
        while !GO_ON.load(SeqCst) {
            std::thread::yield_now();
        }
        if FAIL.load(SeqCst) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    }
}

#[test]
fn names_given_while_a_folder_is_synced_wait_for_the_next_sync_and_share_it() {
    use super::path::Folders;
    use slow_folder::{BEGUN, FAIL, GO_ON};
    use smol::future::poll_once;
    use std::sync::atomic::Ordering::SeqCst;
    let place = FaultyFolder::new();
    let path = Path::new(&place.destination);
    let system = System { sync_names: slow_folder::sync, ..System::default() };
    let folders = Folders::default();
    for fails in [false, true] {
        BEGUN.store(0, SeqCst);
        GO_ON.store(false, SeqCst);
        FAIL.store(fails, SeqCst);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| block_on(folders.sync_folder_of(path, &system)));
            while BEGUN.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            // Their names were given after the first sync began, so it does not serve them.
            let mut others: Vec<_> = (0..10).map(|_| Box::pin(folders.sync_folder_of(path, &system))).collect();
            for other in &mut others {
                assert!(block_on(poll_once(other)).is_none(), "served by an earlier sync");
            }
            GO_ON.store(true, SeqCst);
            assert_eq!(first.join().unwrap().is_err(), fails);
            // Every waiter gets the failure: the kernel would not report it to a second sync.
            for other in others {
                assert_eq!(block_on(other).is_err(), fails);
            }
            assert_eq!(BEGUN.load(SeqCst), 2);
        });
    }
    FAIL.store(false, SeqCst);
    block_on(folders.sync_folder_of(path, &system)).unwrap();
    assert_eq!(BEGUN.load(SeqCst), 3, "a later call is not served by what was before");
}

// FD04
#[test]
fn a_size_that_the_file_system_refuses_fails_before_a_byte_is_written() {
    let too_large = System { reserve: |_, _| Err(Errno::FBIG.into()), ..System::default() };
    let place = FaultyFolder::new();
    smol::block_on(async {
        let store = DiskStore::on(too_large);
        let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
        let error = part.reserve(5_000_000_000).await.unwrap_err();
        let text = regrip_core::error::chain(&error);
        assert!(text.contains("5000000000 bytes is too large"), "{text}");
        assert_eq!(error.code().as_str(), "Disk");
        assert_eq!(part.length().await.unwrap(), 0);
    });
}

#[test]
fn a_file_system_that_cannot_reserve_is_used_as_it_is() {
    for errno in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL] {
        let system = System {
            reserve: match errno {
                Errno::OPNOTSUPP => |_, _| Err(Errno::OPNOTSUPP.into()),
                Errno::NOSYS => |_, _| Err(Errno::NOSYS.into()),
                _ => |_, _| Err(Errno::INVAL.into()),
            },
            ..System::default()
        };
        let place = FaultyFolder::new();
        smol::block_on(async {
            let store = DiskStore::on(system);
            let mut part = store.open(&place.part, OpenPart::Create).await.unwrap();
            part.reserve(5_000_000).await.unwrap();
        });
    }
}
