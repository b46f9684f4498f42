//! The folders of stubs as regrip touches them: stubs are read, removed when they are done, and moved to `failed/` when they
//! failed for good. One is the watch folder, if there is one; the other is in the data folder and has the stubs that were added
//! by the API of the download client. Their names begin with [`CLIENT_PREFIX`], which no file of the watch folder can.
//!
//! Invariants: whoever can write there may put anything there, so only a regular file is opened, no link is followed, and
//! no more than the largest stub is read. A stub is removed or moved only while it still names the item that was worked
//! on: what was put in its place meanwhile is new work.

use super::claims::PeerItem;
use crate::control::CLIENT_PREFIX;
use crate::store::rename_new;
use crate::time::rfc3339 as time;
use regrip_core::Stub;
use regrip_core::stub::LARGEST_BYTES;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is beside the stubs for those that failed.
const FAILED: &str = "failed";

/// The ending of a stub's name, in any case.
const ENDING: &str = ".torrent";

/// Names that are tried for a stub in `failed/` if others are taken.
const MOST_NAMES: u32 = 99;

/// How the explanation beside a failed stub begins: only such a file is ever removed.
const SIGNATURE: &str = "regrip could not download this";

/// Why a file is not taken as a stub.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// It was there a moment ago.
    #[error("it is gone")]
    Vanished,
    /// Not a stub; it stays in place.
    #[error("{0}")]
    NoStub(String),
    /// It cannot be read now.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// The watch folder and the download client's.
#[derive(Clone, Debug)]
pub(super) struct StubFolders {
    pub(super) watch: Option<StubFolder>,
    pub(super) client: StubFolder,
}

impl StubFolders {
    /// The folder of a stub, and its name there; `None` if it was in a watch folder and there is none now.
    fn of<'a>(&self, name: &'a str) -> Option<(&StubFolder, &'a str)> {
        match name.strip_prefix(CLIENT_PREFIX) {
            Some(name) => Some((&self.client, name)),
            None => self.watch.as_ref().map(|watch| (watch, name)),
        }
    }

    /// The folder of a stub, to show.
    pub(super) fn path(&self, name: &str) -> &Path {
        self.of(name).map_or(self.client.path(), |(folder, _)| folder.path())
    }

    /// As [`StubFolder::names`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn names(&self, name: &str, item: &PeerItem) -> io::Result<bool> {
        self.of(name).map_or(Ok(false), |(folder, name)| folder.names(name, item))
    }

    /// As [`StubFolder::find`], in both.
    pub(super) fn find(&self, item: &PeerItem) -> Vec<String> {
        let mut found = self.watch.as_ref().map(|watch| watch.find(item)).unwrap_or_default();
        found.extend(self.client.find(item).into_iter().map(|name| format!("{CLIENT_PREFIX}{name}")));
        found
    }

    /// As [`StubFolder::remove`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn remove(&self, name: &str, item: &PeerItem) -> io::Result<()> {
        self.of(name).map_or(Ok(()), |(folder, name)| folder.remove(name, item))
    }

    /// As [`StubFolder::fail`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn fail(&self, name: &str, item: &PeerItem, why: &str) -> io::Result<()> {
        self.of(name).map_or(Ok(()), |(folder, name)| folder.fail(name, item, why))
    }

    /// As [`StubFolder::remove_failed`].
    pub(super) fn remove_failed(&self, name: &str, item: &PeerItem) {
        if let Some((folder, name)) = self.of(name) {
            folder.remove_failed(name, item);
        }
    }

    /// As [`StubFolder::forget_failure`].
    pub(super) fn forget_failure(&self, name: &str) {
        if let Some((folder, name)) = self.of(name) {
            folder.forget_failure(name);
        }
    }

    /// Returns `true` if there is a file of a stub's name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.of(name).is_some_and(|(folder, name)| is_there(&folder.0.join(name)))
    }
}

/// A folder of stubs. No handle on it is kept: it may be another one tomorrow.
#[derive(Clone, Debug)]
pub(super) struct StubFolder(PathBuf);

impl StubFolder {
    pub(super) fn new(path: &Path) -> StubFolder {
        StubFolder(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads a stub.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn read(&self, name: &str) -> Result<Stub, NotTaken> {
        let mut bytes = Vec::new();
        self.open(name)?.take(LARGEST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(NotTaken::Unreadable)?;
        Stub::read(&bytes).map_err(|refused| NotTaken::NoStub(refused.to_string()))
    }

    /// Returns `true` if a file of that name names that item now.
    ///
    /// # Errors
    /// If that is unknown: a folder that is gone may come back with all that is in it.
    pub(super) fn names(&self, name: &str, item: &PeerItem) -> io::Result<bool> {
        match self.read(name) {
            Ok(stub) => Ok(PeerItem::from(&stub) == *item),
            Err(NotTaken::NoStub(_)) => Ok(false),
            Err(NotTaken::Vanished) => std::fs::read_dir(&self.0).map(|_| false),
            Err(NotTaken::Unreadable(error)) => Err(error),
        }
    }

    /// The stubs that name an item now, by reading all there are.
    pub(super) fn find(&self, item: &PeerItem) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| is_stubs_name(name.as_bytes()))
            .filter(|name| self.names(name, item).unwrap_or(false))
            .collect()
    }

    /// Removes a stub that is done.
    ///
    /// # Errors
    /// The error of the system; the stub may still be there.
    pub(super) fn remove(&self, name: &str, item: &PeerItem) -> io::Result<()> {
        if !self.names(name, item)? {
            return Ok(());
        }
        gone_is_fine(std::fs::remove_file(self.0.join(name)))
    }

    /// Moves a stub that failed for good to `failed/`, with a text beside it that says why. A stub of the same item that
    /// failed before and regrip's own text are replaced; if something else has one of the two names, both get another one.
    ///
    /// # Errors
    /// The error of the system; the stub was not moved.
    pub(super) fn fail(&self, name: &str, item: &PeerItem, why: &str) -> io::Result<()> {
        if !self.names(name, item)? {
            return Ok(());
        }
        let failed = StubFolder(self.failed_folder()?);
        let why = explanation(name, why);
        for number in 0..=MOST_NAMES {
            let to = numbered(name, number);
            match failed.place(&self.0.join(name), &to, item, &why) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return gone_is_fine(done),
            }
        }
        let what = format!("all names like {name:?} are taken in failed/");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
    }

    /// Moves the stub `from` into this folder as `name`, and writes its text.
    ///
    /// # Errors
    /// `AlreadyExists` if one of the two names is taken by something that is not regrip's; else what the system said.
    fn place(&self, from: &Path, name: &str, item: &PeerItem, why: &str) -> io::Result<()> {
        let (stub, text) = (self.0.join(name), self.0.join(explanation_name(name)));
        if is_there(&stub) && !self.names(name, item).unwrap_or(false) || is_there(&text) && !is_ours(&text) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        write(&text, why)?;
        if is_there(&stub) {
            return std::fs::rename(from, stub);
        }
        rename_new(from, &stub)
    }

    /// Removes what lies in `failed/` of a stub that is done after all: it was taken up again without being put back.
    pub(super) fn remove_failed(&self, name: &str, item: &PeerItem) {
        let failed = StubFolder(self.0.join(FAILED));
        let is_a_folder = std::fs::symlink_metadata(&failed.0).is_ok_and(|there| there.is_dir());
        let names = (0..=MOST_NAMES).map(|number| numbered(name, number));
        for name in names.take_while(|name| is_a_folder && is_there(&failed.0.join(name))) {
            let is_of_the_item = failed.names(&name, item).unwrap_or(false);
            if is_of_the_item && failed.remove(&name, item).is_ok() {
                self.forget_failure(&name);
            }
        }
    }

    /// Removes the explanation of an earlier failure, once its stub was put back.
    pub(super) fn forget_failure(&self, name: &str) {
        let failed = self.0.join(FAILED);
        let text = failed.join(explanation_name(name));
        if failed.join(name).exists() || !is_ours(&text) {
            return;
        }
        // A text that stays says what was true when it was written; it has a date.
        let _ = std::fs::remove_file(text);
    }

    fn open(&self, name: &str) -> Result<File, NotTaken> {
        let path = self.0.join(name);
        // Opening a device can have effects, so its kind is looked at first, and again on the open file.
        let kind = std::fs::symlink_metadata(&path).map_err(NotTaken::of)?;
        if !kind.is_file() {
            return Err(no_file());
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path).map_err(NotTaken::of)?;
        let metadata = file.metadata().map_err(NotTaken::Unreadable)?;
        match metadata.is_file() {
            true => Ok(file),
            false => Err(no_file()),
        }
    }

    /// `failed/`, made if it is missing.
    fn failed_folder(&self) -> io::Result<PathBuf> {
        let failed = self.0.join(FAILED);
        match DirBuilder::new().mode(0o777).create(&failed) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // A link there would lead out of the folder.
        match std::fs::symlink_metadata(&failed)?.is_dir() {
            true => Ok(failed),
            false => Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a folder", failed.display()))),
        }
    }
}

impl NotTaken {
    fn of(error: io::Error) -> NotTaken {
        match error.kind() {
            io::ErrorKind::NotFound => NotTaken::Vanished,
            // A link, which is not followed.
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => no_file(),
            _ => NotTaken::Unreadable(error),
        }
    }
}

/// `*.torrent`, and not hidden: that is how a file is called that is not whole yet.
pub(super) fn is_stubs_name(name: &[u8]) -> bool {
    let at = name.len().saturating_sub(ENDING.len());
    let ends = name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(ENDING.as_bytes()));
    ends && at > 0 && !name.starts_with(b".")
}

fn no_file() -> NotTaken {
    NotTaken::NoStub("not a regular file".to_owned())
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// `Film.torrent` is explained by `Film.txt`: shorter than the stub's name, so it fits wherever that did.
fn explanation_name(name: &str) -> PathBuf {
    Path::new(name).with_extension("txt")
}

fn explanation(name: &str, why: &str) -> String {
    let at = time(SystemTime::now());
    format!("{SIGNATURE}: {name:?}\n\n{why}\n\nMove the stub back into the folder above to retry.\n{at}\n")
}

fn is_ours(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = regular(path).map(|file| file.take(SIGNATURE.len() as u64).read_to_end(&mut head));
    matches!(read, Some(Ok(_))) && head == SIGNATURE.as_bytes()
}

fn regular(path: &Path) -> Option<File> {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file.then(|| File::open(path).ok()).flatten()
}

/// Writes a text in place of regrip's own at that name, or of none. It is written under a name of its own first: what else
/// the old file is called, by hard links, keeps its bytes, and a link put there meanwhile is not followed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".regrip-{:016x}.tmp", fastrand::u64(..)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| match is_there(path) && is_ours(path) {
            true => std::fs::rename(&temporary, path),
            false => rename_new(&temporary, path),
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // the first error is reported
    }
    written
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// `Film.torrent`, then `Film.1.torrent` and so on.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (1.., Some((stem, ending))) => format!("{stem}.{number}.{ending}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regrip_core::PeerId;
    use tempfile::TempDir;

    fn stub(item: &str) -> Stub {
        let peer = PeerId::new("0123abcd").unwrap();
        Stub::new(peer, item, "Film", 9).unwrap()
    }

    fn folder(stubs: &[(&str, &str)]) -> (TempDir, StubFolder) {
        let folder = tempfile::tempdir().unwrap();
        for (name, item) in stubs {
            std::fs::write(folder.path().join(name), stub(item).write()).unwrap();
        }
        let stubs = StubFolder::new(folder.path());
        (folder, stubs)
    }

    #[test]
    fn a_stub_that_failed_lies_in_failed_with_a_text_that_says_why() {
        let (folder, stubs) = folder(&[("Film.torrent", "1")]);
        stubs.fail("Film.torrent", &PeerItem::from(&stub("1")), "the peer answered 404").unwrap();
        assert!(!folder.path().join("Film.torrent").exists());
        assert!(folder.path().join("failed/Film.torrent").exists());
        let why = std::fs::read_to_string(folder.path().join("failed/Film.txt")).unwrap();
        assert!(why.contains("the peer answered 404"), "{why}");
        std::fs::rename(folder.path().join("failed/Film.torrent"), folder.path().join("Film.torrent")).unwrap();
        stubs.forget_failure("Film.torrent");
        assert!(!folder.path().join("failed/Film.txt").exists());
    }

    #[test]
    fn what_was_put_in_the_place_of_a_stub_stays() {
        let (folder, stubs) = folder(&[("a.torrent", "2"), ("b.torrent", "2")]);
        stubs.remove("a.torrent", &PeerItem::from(&stub("1"))).unwrap();
        stubs.fail("b.torrent", &PeerItem::from(&stub("1")), "no").unwrap();
        assert!(folder.path().join("a.torrent").exists());
        assert!(folder.path().join("b.torrent").exists());
        stubs.remove("a.torrent", &PeerItem::from(&stub("2"))).unwrap();
        assert!(!folder.path().join("a.torrent").exists());
        stubs.remove("a.torrent", &PeerItem::from(&stub("2"))).unwrap();
    }

    #[test]
    fn while_the_folder_is_gone_nothing_is_taken_for_removed() {
        let (folder, stubs) = folder(&[("a.torrent", "1")]);
        let aside = folder.path().with_extension("aside");
        std::fs::rename(folder.path(), &aside).unwrap();
        assert!(stubs.remove("a.torrent", &PeerItem::from(&stub("1"))).is_err());
        let failed = stubs.fail("a.torrent", &PeerItem::from(&stub("1")), "no");
        assert!(failed.is_err());
        std::fs::rename(&aside, folder.path()).unwrap();
        stubs.remove("a.torrent", &PeerItem::from(&stub("1"))).unwrap();
        assert!(!folder.path().join("a.torrent").exists());
    }

    #[test]
    fn the_explanation_of_somebody_else_is_not_removed() {
        let (folder, stubs) = folder(&[]);
        std::fs::create_dir(folder.path().join("failed")).unwrap();
        std::fs::write(folder.path().join("failed/Film.txt"), "mine").unwrap();
        stubs.forget_failure("Film.torrent");
        assert!(folder.path().join("failed/Film.txt").exists());
    }

    #[test]
    fn what_is_not_ours_in_failed_is_neither_replaced_nor_written_through() {
        let (folder, stubs) = folder(&[("a.torrent", "1"), ("b.torrent", "2"), ("c.torrent", "3")]);
        let failed = folder.path().join("failed");
        std::fs::create_dir(&failed).unwrap();
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        // A text of the user's own, a hard link and a link to one, and a stub of another item.
        std::fs::write(failed.join("a.txt"), "mine").unwrap();
        std::fs::hard_link(&precious, failed.join("b.txt")).unwrap();
        std::os::unix::fs::symlink(&precious, failed.join("b.1.txt")).unwrap();
        std::fs::write(failed.join("c.torrent"), stub("other").write()).unwrap();
        for (name, item) in [("a.torrent", "1"), ("b.torrent", "2"), ("c.torrent", "3")] {
            stubs.fail(name, &PeerItem::from(&stub(item)), "no").unwrap();
            assert!(!folder.path().join(name).exists());
        }
        for path in [&precious, &failed.join("a.txt"), &failed.join("b.txt")] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "mine", "{path:?}");
        }
        assert!(failed.join("b.1.txt").is_symlink());
        let other = std::fs::read(failed.join("c.torrent")).unwrap();
        assert_eq!(other, stub("other").write());
        for name in ["a.1", "b.2", "c.1"] {
            assert!(failed.join(format!("{name}.torrent")).exists(), "{name}");
            let why = std::fs::read_to_string(failed.join(format!("{name}.txt"))).unwrap();
            assert!(why.starts_with(SIGNATURE), "{name}: {why}");
        }
        let names = std::fs::read_dir(&failed).unwrap().count();
        assert_eq!(names, 10, "nothing else is left there");
    }

    #[test]
    fn a_text_of_ours_is_replaced_and_its_other_names_keep_their_bytes() {
        let (folder, stubs) = folder(&[("a.torrent", "1")]);
        let item = PeerItem::from(&stub("1"));
        stubs.fail("a.torrent", &item, "the first time").unwrap();
        let text = folder.path().join("failed/a.txt");
        std::fs::hard_link(&text, folder.path().join("kept")).unwrap();
        std::fs::write(folder.path().join("a.torrent"), stub("1").write()).unwrap();
        stubs.fail("a.torrent", &item, "the second time").unwrap();
        let second = std::fs::read_to_string(text).unwrap();
        assert!(second.contains("the second time"), "{second}");
        let kept = std::fs::read_to_string(folder.path().join("kept")).unwrap();
        assert!(kept.contains("the first time"), "{kept}");
    }

    #[test]
    fn a_link_in_place_of_failed_leads_nowhere() {
        let (folder, stubs) = folder(&[("a.torrent", "1")]);
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("failed")).unwrap();
        let moved = stubs.fail("a.torrent", &PeerItem::from(&stub("1")), "no");
        assert!(moved.is_err());
        assert!(folder.path().join("a.torrent").exists());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    // X01, X02
    #[test]
    fn only_a_regular_file_of_a_stubs_size_is_read() {
        let (folder, stubs) = folder(&[("real.torrent", "1")]);
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("real.torrent"), at("link.torrent")).unwrap();
        std::fs::create_dir(at("folder.torrent")).unwrap();
        std::fs::write(at("large.torrent"), vec![b'd'; LARGEST_BYTES + 1]).unwrap();
        std::fs::write(at("empty.torrent"), "").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo.torrent"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for name in ["link", "folder", "large", "empty", "fifo"] {
            let read = stubs.read(&format!("{name}.torrent"));
            assert!(matches!(read, Err(NotTaken::NoStub(_))), "{name}: {read:?}");
        }
        assert!(matches!(stubs.read("none.torrent"), Err(NotTaken::Vanished)));
        assert!(stubs.read("real.torrent").is_ok());
    }
}
