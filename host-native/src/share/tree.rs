//! The shared folders on the disk: what is in them, and opening a file of theirs.
//!
//! Invariant: every step goes from an open folder to a name in it, and never follows a link (`O_NOFOLLOW`). So whatever is
//! swapped for what, and whenever, nothing outside the folder is listed or opened. Only the folder itself, which the user
//! named, may be a link. What is unfinished, by its own name or by a control file beside it, is neither listed nor opened,
//! and what regrip itself uses is not listed.

use super::unfinished::{awaited, controlled, controls, is_unfinished_file, is_unfinished_folder};
use crate::store::FileId;
use crate::store::FileVersion;
use regrip_core::SafeName;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Most files that are shared; a scan stops there.
pub(super) const MAX_FILES: usize = 200_000;
/// Most names that a scan looks at.
const MAX_NAMES: usize = 2_000_000;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// What Radarr, Sonarr and their like keep beside a film.
const COMPANIONS: [&str; 28] = [
    "ass", "bif", "cfg", "db", "gif", "html", "idx", "ini", "jpeg", "jpg", "json", "jsonc", "log",
    "md5", "nfo", "nzb", "png", "sfv", "smi", "srt", "ssa", "sub", "sup", "tbn", "torrent", "txt",
    "vtt", "xml",
];

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Its path within the folder.
    pub(super) path: PathBuf,
    pub(super) version: FileVersion,
}

/// What a scan came to.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) found: Vec<FoundFile>,
    /// Names looked at.
    names: usize,
    /// Files whose names no peer would take.
    pub(super) refused: usize,
    /// Folders that cannot be read.
    pub(super) unreadable: usize,
    /// Whether it ended at a limit.
    pub(super) cut_short: bool,
}

/// Looks through a folder, for files other than `own`.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn scan(root: &Path, own: &[FileId]) -> Result<Scan, Errno> {
    let mut scan = Scan::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(path) = folders.pop() {
        let listed = open_beneath(root, &path, OFlags::DIRECTORY)
            .and_then(|folder| list(&folder, &path, own, &mut scan));
        match listed {
            Ok(inner) if path.components().count() < MAX_DEPTH => {
                folders.extend(inner.into_iter().map(|name| path.join(name)));
            }
            Ok(inner) => scan.cut_short |= !inner.is_empty(),
            Err(error) if path.as_os_str().is_empty() => return Err(error),
            Err(_) => scan.unreadable += 1,
        }
    }
    Ok(scan)
}

/// Notes the files of one folder and returns the folders in it.
fn list(
    folder: &OwnedFd,
    path: &Path,
    own: &[FileId],
    scan: &mut Scan,
) -> Result<Vec<OsString>, Errno> {
    let names = names(folder, scan)?;
    let unfinished = controlled(names.iter().map(OsString::as_os_str));
    let awaited = awaited(names.iter().map(OsString::as_os_str));
    let mut inner = Vec::new();
    for name in names.into_iter().filter(|name| !unfinished.contains(name)) {
        if scan.found.len() >= MAX_FILES {
            scan.cut_short = true;
            break;
        }
        // The entry's own type is a hint that some file systems leave out.
        let Ok(stat) = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue; // gone since
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if !is_unfinished_folder(&name) => inner.push(name),
            FileType::RegularFile if !is_unfinished_file(&name) => {
                let version = FileVersion::from(&stat);
                let is_placeholder = version.size == 0 && awaited.contains(&name);
                if own.contains(&version.id) || is_placeholder {
                    continue;
                }
                match name.to_str().filter(|name| SafeName::new(name).is_ok()) {
                    Some(name) if is_companion(name) => {}
                    Some(name) => scan.found.push(FoundFile {
                        path: path.join(name),
                        version,
                    }),
                    None => scan.refused += 1,
                }
            }
            _ => {}
        }
    }
    Ok(inner)
}

/// The names in a folder, those of control files too; hidden ones are left out.
fn names(folder: &OwnedFd, scan: &mut Scan) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if is_hidden(name) {
            continue;
        }
        if scan.names >= MAX_NAMES {
            scan.cut_short = true;
            break;
        }
        scan.names += 1;
        names.push(name.to_owned());
    }
    Ok(names)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn is_companion(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| COMPANIONS.contains(&extension.as_str()))
}

/// Opens a regular file of the folder for reading.
///
/// # Errors
/// It is gone, a link is on the way, not a regular file, or it is unfinished.
pub(super) fn open_file(root: &Path, path: &Path) -> Result<File, Errno> {
    // Nonblocking: opening a pipe must not wait for somebody to write into it.
    let file = open_beneath(root, path, OFlags::NONBLOCK)?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(Errno::NXIO),
    }
}

/// Returns `true` if the folder itself can be opened now.
pub(super) fn is_there(root: &Path) -> bool {
    open_root(root).is_ok()
}

/// Goes down from the folder, name by name.
fn open_beneath(root: &Path, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut here = open_root(root)?;
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return Err(Errno::ACCESS);
        };
        let flags = if names.peek().is_some() {
            OFlags::DIRECTORY
        } else {
            flags
        };
        if controls(name).any(|control| is_named(&here, &control)) {
            return Err(Errno::NOENT);
        }
        here = step(&here, name, flags)?;
    }
    Ok(here)
}

/// Returns `true` if a folder has something of that name.
fn is_named(folder: impl AsFd, name: &OsStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn step(folder: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// Opened anew each time: a network folder may be mounted again under the same name.
fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(root, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn names(root: &Path) -> Vec<String> {
        let scan = scan(root, &[]).unwrap();
        let mut names: Vec<String> = scan
            .found
            .iter()
            .map(|found| found.path.to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_plain_files_with_names_that_peers_take_are_found() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir(at(".trash")).unwrap();
        for name in ["x.mkv", "a/b/y.mkv"] {
            fs::write(at(name), name).unwrap();
        }
        // X04: none of these.
        let hostile = [
            ".hidden.mkv",
            ".trash/z.mkv",
            "x.mkv.part",
            "X.PART",
            "x.nfo",
            "poster.JPG",
            "CON",
            "nul.mkv",
            "a:b.mkv",
            "end.",
            "end ",
            "bi\u{202e}di.mkv",
            "new\nline.mkv",
        ];
        for name in hostile {
            fs::write(at(name), name).unwrap();
        }
        fs::write(root.path().join(OsStr::from_bytes(b"\xff.mkv")), "").unwrap();
        // X02: nor links, pipes and sockets.
        fs::write(outside.path().join("secret.mkv"), "s").unwrap();
        symlink(outside.path(), at("folder")).unwrap();
        symlink(outside.path().join("secret.mkv"), at("link.mkv")).unwrap();
        symlink("x.mkv", at("inner.mkv")).unwrap();
        symlink("nowhere", at("dangling.mkv")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe.mkv"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.mkv")).unwrap();
        assert_eq!(names(root.path()), ["a/b/y.mkv", "x.mkv"]);
        assert_eq!(scan(root.path(), &[]).unwrap().refused, 8);
    }

    #[test]
    fn no_path_leads_outside_and_no_link_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        fs::write(root.join("a/film"), "f").unwrap();
        symlink(outside.path(), root.join("up")).unwrap();
        symlink("../../secret", root.join("a/link")).unwrap();
        symlink("a", root.join("inner")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let secret = outside.path().join("secret");
        let refused = [
            "",
            ".",
            "..",
            "../secret",
            "a/../../secret",
            "a/..",
            "up/secret",
            "a/link",
            "inner/film",
            "a",
            "pipe",
            "a/film/x",
            "gone",
            secret.to_str().unwrap(),
        ];
        for path in refused {
            assert!(open_file(&root, Path::new(path)).is_err(), "{path}");
        }
        assert!(open_file(&root, Path::new("a/film")).is_ok());
        // The folder the user named may be a link.
        symlink(&root, outside.path().join("shared")).unwrap();
        assert!(open_file(&outside.path().join("shared"), Path::new("a/film")).is_ok());
    }

    #[test]
    fn a_scan_goes_no_deeper_than_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", MAX_DEPTH + 1).collect();
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        fs::write(root.path().join(&deep).join("too-deep.mkv"), "").unwrap();
        fs::write(
            root.path().join(deep.parent().unwrap()).join("deep.mkv"),
            "",
        )
        .unwrap();
        let scan = scan(root.path(), &[]).unwrap();
        assert_eq!(scan.found.len(), 1);
        assert!(scan.cut_short);
    }
}
