//! How a part gets its final name, and what it never replaces.

use regrip::store::{DiskPart, DiskStore, destination, part_path};
use regrip_core::Error;
use regrip_core::store::{Committed, OpenPart, Part, PartBytes, PartStore, Replace};
use smol::block_on;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
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

    async fn whole_part(&self) -> DiskPart {
        let path = self.text("f.part");
        let mut part = self.store.open(&path, OpenPart::Claimed).await.unwrap();
        part.write(0, b"new", &mut []).await.unwrap();
        part.flush().await.unwrap();
        part
    }

    async fn commit(&self, replace: Replace) -> Result<(), Error> {
        self.finish(self.whole_part().await, replace).await
    }

    async fn finish(&self, part: DiskPart, replace: Replace) -> Result<(), Error> {
        let committed = self.store.commit(part, &self.text("f"), replace).await?;
        assert!(matches!(committed, Committed::Durable));
        Ok(())
    }
}

const BOTH: [Replace; 2] = [Replace::Existing, Replace::Nothing];

#[test]
fn a_replaced_file_keeps_its_bytes_under_its_other_name() {
    block_on(async {
        let place = Place::new();
        std::fs::write(place.path("f"), "old").unwrap();
        std::fs::hard_link(place.path("f"), place.path("second name")).unwrap();
        place.commit(Replace::Existing).await.unwrap();
        assert_eq!(std::fs::read(place.path("f")).unwrap(), b"new");
        assert_eq!(std::fs::read(place.path("second name")).unwrap(), b"old");
    });
}

// D10
#[test]
fn whatever_is_not_a_regular_file_is_never_replaced_nor_followed() {
    type Make = fn(&Place);
    let cases: [(&str, Make); 6] = [
        ("a link", |place| {
            std::fs::write(place.path("victim"), "old").unwrap();
            symlink(place.path("victim"), place.path("f")).unwrap();
        }),
        ("a link", |place| {
            symlink(place.path("nothing"), place.path("f")).unwrap();
        }),
        ("a folder", |place| {
            std::fs::create_dir(place.path("f")).unwrap();
        }),
        ("a named pipe", |place| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, place.path("f"), kind, mode, 0).unwrap();
        }),
        ("a socket", |place| {
            drop(UnixListener::bind(place.path("f")).unwrap());
        }),
        ("a device", |place| {
            let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
            let null = rustix::fs::makedev(1, 3);
            if rustix::fs::mknodat(rustix::fs::CWD, place.path("f"), kind, mode, null).is_err() {
                eprintln!("SKIPPED in part: only root can make a device");
            }
        }),
    ];
    block_on(async {
        for (kind, make) in cases {
            for replace in BOTH {
                let place = Place::new();
                make(&place);
                let Ok(before) = std::fs::symlink_metadata(place.path("f")) else {
                    continue;
                };
                match place.commit(replace).await {
                    Err(Error::DestinationRefused { what, .. }) => assert_eq!(what, kind),
                    other => panic!("{kind}, {replace:?}: {other:?}"),
                }
                let after = std::fs::symlink_metadata(place.path("f")).unwrap();
                assert_eq!(after.file_type(), before.file_type());
                assert_eq!(std::fs::read(place.path("f.part")).unwrap(), b"new");
                assert!(!place.path("nothing").exists());
                if let Ok(victim) = std::fs::read(place.path("victim")) {
                    assert_eq!(victim, b"old");
                }
            }
        }
    });
}

// D08
#[test]
fn a_part_that_somebody_replaced_is_not_given_the_name() {
    block_on(async {
        for replace in BOTH {
            let place = Place::new();
            let part = place.whole_part().await;
            std::fs::remove_file(place.path("f.part")).unwrap();
            std::fs::write(place.path("f.part"), "planted").unwrap();
            let error = place.finish(part, replace).await.unwrap_err();
            assert_eq!(error.code().as_str(), "Disk");
            assert!(!place.path("f").exists());
        }
    });
}

// K05
#[test]
fn one_destination_has_one_path_however_it_is_written() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("films/a")).unwrap();
    symlink(place.path("films"), place.path("link")).unwrap();
    let plain = destination(&place.path("films"), "f.mkv").unwrap();
    for dir in ["films/.", "films/a/..", "link", "./films//", "link/a/../"] {
        let same = destination(&place.path(dir), "f.mkv").unwrap();
        assert_eq!(same, plain, "{dir}");
    }
    assert!(plain.is_absolute());
    let here = destination(Path::new(""), "f").unwrap();
    assert_eq!(here, destination(Path::new("."), "f").unwrap());
    let error = destination(&place.path("gone"), "f").unwrap_err();
    assert_eq!(error.code().as_str(), "Disk");
}

#[test]
fn a_name_that_leaves_its_folder_is_refused() {
    let place = Place::new();
    let long = "x".repeat(256);
    for name in ["", ".", "..", "../f", "/etc/x", "a/b", "a\0b", &long] {
        let error = destination(place.folder.path(), name).unwrap_err();
        assert_eq!(error.code().as_str(), "NameRefused", "{name:?}");
    }
    destination(place.folder.path(), "..f").unwrap();
}

// D13
#[test]
fn a_part_lies_beside_its_file_under_a_name_that_always_fits() {
    let name_of = |name: &str| {
        let part = part_path(&Path::new("/films").join(name));
        assert_eq!(part.parent(), Some(Path::new("/films")));
        part.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(name_of("f.mkv"), "f.mkv.part");
    let fits = format!("{}.mkv", "x".repeat(246));
    assert_eq!(name_of(&fits), format!("{fits}.part"));

    let long = format!("{}.mkv", "x".repeat(247));
    let short = name_of(&long);
    assert!(short.len() <= 255 && short.ends_with(".mkv.part"), "{short}");
    let other = format!("{}y.mkv", "x".repeat(246));
    assert_ne!(name_of(&other), short);
    assert_eq!(name_of(&long), short, "the same again after a restart");

    let bytes_not_letters = format!("{}.mkv", "é".repeat(124));
    let short = name_of(&bytes_not_letters);
    assert!(short.len() <= 255 && short.ends_with(".mkv.part"), "{short}");
    let all_extension = format!("a.{}", "x".repeat(253));
    assert!(name_of(&all_extension).len() <= 255);
}

// D13
#[test]
fn a_file_with_the_longest_name_can_be_written_and_committed() {
    block_on(async {
        let place = Place::new();
        let path = place.path(&format!("{}.mkv", "é".repeat(125)));
        let part = part_path(&path);
        let open = place.store.open(part.to_str().unwrap(), OpenPart::Create);
        let mut open = open.await.unwrap();
        open.write(0, b"new", &mut []).await.unwrap();
        let committed = place.store.commit(open, path.to_str().unwrap(), Replace::Nothing);
        assert!(matches!(committed.await, Ok(Committed::Durable)));
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    });
}
