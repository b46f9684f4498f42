//! What is known about a part or a file across restarts: digests, stamps, boots, and interrupted commits.

use regrip::store::{DiskDigest, DiskPart, DiskStore, FileStamp};
use regrip_core::hasher::Hasher;
use regrip_core::store::{Committing, DigestState, PartToken};
use regrip_core::store::{Digest, Found, OpenPart, Part, PartStore};
use regrip_core::{Algorithm, Error};
use smol::block_on;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
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
}

fn sha256(bytes: &[u8]) -> String {
    Hasher::of(Algorithm::Sha256, bytes).hex
}

async fn digest(part: &mut DiskPart, saved: Option<&DigestState>, to: u64) -> DiskDigest {
    let digest = part.digest(Algorithm::Sha256, saved, to).await.unwrap();
    digest.expect("a file can be read")
}

#[test]
fn a_saved_digest_spares_reading_what_it_took_in() {
    block_on(async {
        let place = Place::new();
        let part = place.text("f.part");
        std::fs::write(&part, [1; 1000]).unwrap();
        let mut open = place.store.open(&part, OpenPart::Claimed).await.unwrap();
        let state = digest(&mut open, None, 900).await.save().unwrap();
        // Nobody looks at the first 900 bytes again: whether they are others by now goes unseen.
        std::fs::write(&part, [[2; 900].as_slice(), &[1; 100]].concat()).unwrap();
        let saved = DigestState { offset: 900, state };
        let digest = digest(&mut open, Some(&saved), 1000).await;
        assert_eq!(digest.finish(), sha256(&[1; 1000]));
    });
}

#[test]
fn a_state_that_is_not_ours_is_ignored_and_all_is_read() {
    block_on(async {
        let place = Place::new();
        std::fs::write(place.path("f.part"), [5; 1000]).unwrap();
        let mut part = place.open("f.part", OpenPart::Claimed).await.unwrap();
        let good = digest(&mut part, None, 500).await.save().unwrap();
        let mut odd_position = good.clone();
        odd_position[40] = 200;
        let cases = [
            (500, Vec::new(), "empty"),
            (500, b"another program's state".to_vec(), "foreign"),
            (500, vec![0; 104], "zeros"),
            (500, good[..103].to_vec(), "cut"),
            (500, [good.as_slice(), &[0]].concat(), "too long"),
            (500, odd_position, "impossible position"),
            (501, good.clone(), "another offset"),
            (999, good.clone(), "another offset, far"),
        ];
        for (offset, state, what) in cases {
            let saved = DigestState { offset, state };
            let digest = digest(&mut part, Some(&saved), 1000).await;
            assert_eq!(digest.finish(), sha256(&[5; 1000]), "{what}");
        }
        let (offset, state) = (500, good);
        let saved = DigestState { offset, state };
        let shorter = digest(&mut part, Some(&saved), 400).await;
        assert_eq!(shorter.finish(), sha256(&[5; 400]), "past the end asked for");
    });
}

#[test]
fn a_digest_of_more_than_there_is_fails() {
    block_on(async {
        let place = Place::new();
        std::fs::write(place.path("f.part"), "abc").unwrap();
        let error = place
            .open("f.part", OpenPart::Claimed)
            .await
            .unwrap()
            .digest(Algorithm::Sha256, None, 4)
            .await
            .unwrap_err();
        assert_eq!(error.code().as_str(), "Disk");
    });
}

#[test]
fn a_stamp_changes_with_size_and_time_and_follows_no_link() {
    let place = Place::new();
    let path = place.path("f");
    assert_eq!(FileStamp::of(&path).unwrap(), None);
    std::fs::write(&path, "abc").unwrap();
    let stamp = FileStamp::of(&path).unwrap().unwrap();
    assert_eq!(stamp.size, 3);
    assert_eq!(FileStamp::of(&path).unwrap(), Some(stamp));

    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let times =
        std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_500_000_001));
    file.set_times(times).unwrap();
    let touched = FileStamp::of(&path).unwrap().unwrap();
    assert_eq!((touched.size, touched.mtime_ns), (3, 1_500_000_001));

    symlink(&path, place.path("link")).unwrap();
    assert_eq!(FileStamp::of(&place.path("link")).unwrap(), None);
    assert_eq!(FileStamp::of(place.folder.path()).unwrap(), None);
}

#[test]
fn an_epoch_ends_with_the_boot_or_the_mount() {
    block_on(async {
        let place = Place::new();
        let path = place.text("f.part");
        let open = async |store: DiskStore| store.open(&path, OpenPart::Claimed).await.unwrap();
        let recorded = open(DiskStore::new()).await.epoch();
        assert!(open(DiskStore::new()).await.is_of_epoch(&recorded));
        assert!(!open(DiskStore::with_boot_id("next")).await.is_of_epoch(&recorded));

        let part = open(DiskStore::with_boot_id("this")).await;
        assert!(part.is_of_epoch(&part.epoch()));
        assert!(part.is_of_epoch("this"), "as earlier versions recorded it");
        assert!(!part.is_of_epoch("this mount 0"), "another mount");
        assert!(!part.is_of_epoch(""));
    });
}

// C05, C06, C07
#[test]
fn an_interrupted_commit_is_found_on_the_side_it_was_on() {
    block_on(async {
        let place = Place::new();
        let (part, destination) = (place.text("f.part"), place.text("f"));
        let find = async |token: &PartToken| {
            let committing = Committing { token: token.clone(), size: 0 };
            place.store.find(&part, &destination, &committing).await
        };
        let open = place.store.open(&part, OpenPart::Create).await.unwrap();
        let file = open.token();
        drop(open);
        assert_eq!(find(&file).await.unwrap(), Found::Part);
        std::fs::rename(&part, &destination).unwrap();
        assert_eq!(find(&file).await.unwrap(), Found::Destination);

        let other = PartToken(format!("{}1", file.0));
        assert_eq!(find(&other).await.unwrap(), Found::Nothing, "another file");
        std::fs::hard_link(&destination, &part).unwrap();
        assert_eq!(find(&file).await.unwrap(), Found::Part, "both: the part first");
        std::fs::remove_file(&part).unwrap();
        std::fs::write(&part, "a later download").unwrap();
        assert_eq!(find(&file).await.unwrap(), Found::Destination);
        assert_eq!(find(&other).await.unwrap(), Found::Part, "a restored backup");
        std::fs::remove_file(&part).unwrap();
        std::fs::remove_file(&destination).unwrap();
        symlink(place.path("elsewhere"), &destination).unwrap();
        assert_eq!(find(&file).await.unwrap(), Found::Nothing);
    });
}
