//! The part store on a real file system.

use regrip::store::{DiskPart, DiskStore};
use regrip_core::Error;
use regrip_core::store::PartToken;
use regrip_core::store::{Committed, Committing, Found, OpenPart, Part, PartBytes, PartStore, Replace};
use regrip_core::testing::contract::store::{Names, StoreUnderTest, check_all};
use smol::block_on;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    store: DiskStore,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap(), store: DiskStore::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    async fn open(&self, name: &str, how: OpenPart) -> Result<DiskPart, Error> {
        self.store.open(&self.text(name), how).await
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl StoreUnderTest for Place {
    type Chunk<'a> = &'a [u8];
    type Store = DiskStore;

    fn store(&self) -> &DiskStore {
        &self.store
    }
    fn chunk<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
    }
    fn names(&self) -> Names {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let destination = self.text(&LAST.fetch_add(1, Ordering::Relaxed).to_string());
        Names { part: format!("{destination}.part"), destination }
    }
    async fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(name, bytes).unwrap();
    }
    async fn content(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(name).ok()
    }
}

#[test]
fn the_disk_keeps_the_contract_of_a_store() {
    block_on(check_all(&Place::new(), &[])).unwrap();
}

const WAYS: [OpenPart; 3] = [OpenPart::Create, OpenPart::Claimed, OpenPart::Adopt];

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

// D11
#[test]
fn links_folders_and_pipes_at_the_parts_name_are_refused_and_untouched() {
    block_on(async {
        let place = Place::new();
        std::fs::write(place.path("victim"), "bytes").unwrap();
        symlink(place.path("victim"), place.path("link")).unwrap();
        symlink(place.path("nothing"), place.path("dangling")).unwrap();
        std::fs::create_dir(place.path("folder")).unwrap();
        fifo(&place.path("pipe"));
        let before = place.names();
        for name in ["link", "dangling", "folder", "pipe"] {
            let part = place.text(name);
            assert!(place.store.exists(&part).await.unwrap(), "{name}");
            for how in WAYS {
                let error = place.store.open(&part, how).await.unwrap_err();
                assert_eq!(error.code().as_str(), "ForeignPart", "{name} {how:?}");
            }
            let error = place.store.remove(&part).await.unwrap_err();
            assert_eq!(error.code().as_str(), "ForeignPart", "{name}");
        }
        assert_eq!(place.names(), before);
        assert_eq!(std::fs::read(place.path("victim")).unwrap(), b"bytes");
    });
}

// D12
#[test]
fn a_part_in_a_folder_that_is_gone_is_a_disk_error_and_makes_no_folder() {
    block_on(async {
        let place = Place::new();
        let part = place.text("gone/f.part");
        for how in WAYS {
            let error = place.store.open(&part, how).await.unwrap_err();
            assert_eq!(error.code().as_str(), "Disk", "{how:?}");
        }
        assert!(place.names().is_empty());
        assert!(!place.store.exists(&part).await.unwrap());
        place.store.remove(&part).await.unwrap();
    });
}

#[test]
fn a_new_part_is_readable_as_the_umask_says() {
    block_on(async {
        let place = Place::new();
        let _part = place.open("f.part", OpenPart::Create).await.unwrap();
        std::fs::write(place.path("ordinary"), "").unwrap();
        let mode = |name| std::fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode("f.part"), mode("ordinary"));
    });
}

#[test]
fn a_token_is_device_and_inode() {
    block_on(async {
        let place = Place::new();
        let open = place.open("f.part", OpenPart::Create).await.unwrap();
        let metadata = std::fs::metadata(place.path("f.part")).unwrap();
        let token = format!("{}:{}", metadata.dev(), metadata.ino());
        assert_eq!(open.token(), PartToken(token));
    });
}

#[test]
fn reserved_room_that_is_not_used_is_given_back() {
    block_on(async {
        let place = Place::new();
        let part = place.text("f.part");
        let mut open = place.store.open(&part, OpenPart::Create).await.unwrap();
        open.write(0, b"abc", &mut []).await.unwrap();
        open.reserve(8 << 20).await.unwrap();
        let blocks = |path: &str| std::fs::metadata(path).unwrap().blocks() * 512;
        if blocks(&part) < 8 << 20 {
            eprintln!("SKIPPED in part: this file system reserves nothing");
        }
        open.flush().await.unwrap();
        let destination = place.text("f");
        let committed = place.store.commit(open, &destination, Replace::Existing);
        assert!(matches!(committed.await, Ok(Committed::Durable)));
        assert_eq!(std::fs::read(&destination).unwrap(), b"abc");
        assert!(blocks(&destination) < 1 << 20);
    });
}

#[test]
fn more_room_than_there_can_be_is_a_full_disk() {
    block_on(async {
        let place = Place::new();
        let part = place.text("f.part");
        let mut open = place.store.open(&part, OpenPart::Create).await.unwrap();
        match open.reserve(1 << 43).await {
            Err(error) => assert_eq!(error.code().as_str(), "DiskFull"),
            Ok(()) => eprintln!("SKIPPED: this file system reserves nothing, or has no size"),
        }
        let blocks = std::fs::metadata(&part).unwrap().blocks();
        assert!(blocks < 2048, "{blocks} blocks stay reserved");
        assert_eq!(open.length().await.unwrap(), 0);
    });
}

/// A file system that takes 4 MiB, while it is mounted.
struct Small(TempDir);

impl Small {
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|done| done.status.success());
        mounted.then_some(Small(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount").arg(self.0.path()).status();
        assert!(unmount.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_is_told_as_such_and_keeps_what_was_written() {
    let Some(small) = Small::mounted() else {
        eprintln!("SKIPPED: only root can mount a small file system");
        return;
    };
    block_on(async {
        let store = DiskStore::new();
        let part = small.0.path().join("f.part");
        let part = part.to_str().unwrap();
        let mut open = store.open(part, OpenPart::Create).await.unwrap();
        let error = open.reserve(8 << 20).await.unwrap_err();
        assert_eq!(error.code().as_str(), "DiskFull");

        let block = vec![1; 1 << 20];
        let mut at = 0;
        let error = loop {
            assert!(at < 8 << 20, "it takes more than it has");
            match open.write(at, &block, &mut []).await {
                Ok(()) => at += 1 << 20,
                Err(error) => break error,
            }
        };
        assert_eq!(error.code().as_str(), "DiskFull");
        open.flush().await.unwrap();
        assert!(open.length().await.unwrap() >= at);
        drop(open);
    });
}

#[test]
fn an_unnamed_part_leaves_nothing_until_it_gets_its_final_name() {
    block_on(async {
        let place = Place::new();
        let unnamed = || place.store.unnamed(&place.text("f.part")).expect("the file system of tests has such files");
        let mut part = unnamed();
        part.write(0, b"film", &mut []).await.unwrap();
        assert_eq!((part.flush().await.unwrap(), part.is_named()), (4, false));
        assert_eq!(place.names(), [""; 0]);
        drop(part);
        assert_eq!(place.names(), [""; 0]);

        for small in [0, 1, 1 << 20] {
            assert!(unnamed().may_stay_unnamed(small), "{small}");
        }
        assert!(!unnamed().may_stay_unnamed((1 << 20) + 1));

        let mut part = unnamed();
        part.write(0, b"film", &mut []).await.unwrap();
        part.flush().await.unwrap();
        let committing = Committing { token: part.token(), size: 4 };
        let found = async || place.store.find(&place.text("f.part"), &place.text("f"), &committing).await.unwrap();
        assert_eq!(found().await, Found::Nothing);
        let committed = place.store.commit(part, &place.text("f"), Replace::Nothing).await.unwrap();
        assert!(matches!(committed, Committed::Durable));
        assert_eq!((place.names(), found().await), (vec!["f".to_owned()], Found::Destination));
        assert_eq!(std::fs::read(place.path("f")).unwrap(), b"film");
        let mode = std::fs::metadata(place.path("f")).unwrap().mode();
        std::fs::write(place.path("usual"), "").unwrap();
        assert_eq!(mode, std::fs::metadata(place.path("usual")).unwrap().mode(), "the umask counts");
    });
}

#[test]
fn an_unnamed_part_whose_final_name_is_taken_becomes_a_part_or_replaces_the_file() {
    block_on(async {
        for replace in [Replace::Nothing, Replace::Existing] {
            let place = Place::new();
            let mut part = place.store.unnamed(&place.text("f.part")).unwrap();
            part.write(0, b"film", &mut []).await.unwrap();
            part.flush().await.unwrap();
            std::fs::write(place.path("f"), "another").unwrap();
            let committed = place.store.commit(part, &place.text("f"), replace).await;
            let (names, content): (&[&str], &[u8]) = match replace {
                Replace::Nothing => (&["f", "f.part"], b"another"),
                Replace::Existing => (&["f"], b"film"),
            };
            assert_eq!(committed.is_ok(), replace == Replace::Existing, "{committed:?}");
            assert_eq!(
                (place.names(), std::fs::read(place.path("f")).unwrap().as_slice()),
                (names.iter().map(|&name| name.to_owned()).collect(), content)
            );
        }
    });
}

#[test]
fn an_unnamed_part_never_takes_the_name_of_another_file_and_is_locked_once_it_has_one() {
    block_on(async {
        let place = Place::new();
        std::fs::write(place.path("f.part"), "another").unwrap();
        let mut part = place.store.unnamed(&place.text("f.part")).unwrap();
        part.write(0, b"film", &mut []).await.unwrap();
        assert!(matches!(part.name().await, Err(Error::ForeignPart { .. })));
        assert_eq!(std::fs::read(place.path("f.part")).unwrap(), b"another");
        std::fs::remove_file(place.path("f.part")).unwrap();
        part.name().await.unwrap();
        assert!(part.is_named());
        assert!(matches!(place.open("f.part", OpenPart::Claimed).await, Err(Error::PartLocked { .. })));
        let token = part.token();
        drop(part);
        let mut again = place.open("f.part", OpenPart::Claimed).await.unwrap();
        assert_eq!((again.length().await.unwrap(), again.token()), (4, token));
    });
}

#[test]
fn small_files_that_are_synced_together_are_all_synced() {
    block_on(async {
        let place = Place::new();
        let mut parts: Vec<_> =
            (0..20).map(|number| place.store.unnamed(&place.text(&format!("{number}.part"))).unwrap()).collect();
        for part in &mut parts {
            part.write(0, b"film", &mut []).await.unwrap();
        }
        let synced = futures::future::join_all(parts.iter_mut().map(Part::flush)).await;
        assert!(synced.iter().all(|to| matches!(to, Ok(4))), "{synced:?}");
    });
}
