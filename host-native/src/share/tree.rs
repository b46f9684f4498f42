//! The shared folders on the disk: what is in them, and opening a file of theirs.
//!
//! Invariant: every step goes from an open folder to a name in it, and never follows a link (`O_NOFOLLOW`). So whatever is
//! swapped for what, and whenever, nothing outside the folder is listed or opened. Only the folder itself, which the user
//! named, may be a link. What is unfinished, by its own name or by a control file beside it, is neither listed nor opened,
//! and what regrip itself uses is not listed.
//!
//! A file that is being written under its final name, with nothing beside it, looks like a finished one. While it grows it has
//! always just changed, and is not sent.

use crate::store::{FileId, FileVersion};
use regrip_core::SafeName;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Most files that are shared; a scan stops there.
pub(super) const MAX_FILES: usize = 200_000;
/// Most names that a scan looks at.
const MAX_NAMES: usize = 2_000_000;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// What Radarr, Sonarr and their like keep beside a film.
const COMPANIONS: [&str; 28] = [
    "ass", "bif", "cfg", "db", "gif", "html", "idx", "ini", "jpeg", "jpg", "json", "jsonc", "log", "md5", "nfo", "nzb",
    "png", "sfv", "smi", "srt", "ssa", "sub", "sup", "tbn", "torrent", "txt", "vtt", "xml",
];

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Its path within the folder.
    pub(super) path: PathBuf,
    pub(super) version: FileVersion,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) found: Vec<FoundFile>,
    /// Names looked at.
    names: usize,
    /// Files whose names no peer would take.
    pub(super) refused: usize,
    /// Folders that cannot be read.
    pub(super) unreadable: usize,
    /// `true` if it ended at a limit.
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
        let listed =
            open_beneath(root, &path, OFlags::DIRECTORY).and_then(|folder| list(&folder, &path, own, &mut scan));
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
fn list(folder: &OwnedFd, path: &Path, own: &[FileId], scan: &mut Scan) -> Result<Vec<OsString>, Errno> {
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
                    Some(name) => scan.found.push(FoundFile { path: path.join(name), version }),
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
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
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
        let flags = if names.peek().is_some() { OFlags::DIRECTORY } else { flags };
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

/// Last extensions of unfinished files, and of what belongs to them or to an open database.
const EXTENSIONS: [&str; 49] = [
    "!bt",         // BitTorrent
    "!qb",         // qBittorrent
    "!sync",       // Resilio Sync
    "!ut",         // uTorrent
    "aria2",       // aria2's control file
    "aria2__temp", // and the one that will replace it
    "az!",         // Vuze
    "bc!",         // BitComet
    "bts",
    "crdownload", // Chrome and Edge
    "db-journal", // SQLite
    "db-shm",
    "db-wal",
    "dctmp",       // DC++
    "download",    // Safari
    "dtapart",     // DownThemAll
    "fb!",         // FlashBoot
    "fdmdownload", // Free Download Manager
    "filepart",    // WinSCP
    "getright",
    "incomplete",
    "jc!", // FlashGet
    "lftp-pget-status",
    "lock",
    "met",        // eMule
    "ob!",        // Orbit
    "opdownload", // Opera
    "part",       // regrip, Firefox, JDownloader, Transmission, yt-dlp, KGet
    "partial",    // rclone, old Edge
    "parts",      // qBittorrent's unwanted pieces
    "reget",
    "sqlite-journal",
    "sqlite-shm",
    "sqlite-wal",
    "sqlite3-journal",
    "sqlite3-shm",
    "sqlite3-wal",
    "st",  // axel
    "swp", // vim
    "td",  // Thunder
    "temp",
    "tempfile",
    "tmp",
    "ucas",  // UC Browser
    "ugtmp", // uGet
    "unfinished",
    "xltd", // Thunder
    "ytdl", // yt-dlp
    "zsync-part",
];

/// Extensions of control files that lie beside the unfinished file, or folder, whose name is in front of them.
const CONTROL: [&str; 3] = ["aria2", "lftp-pget-status", "st"];

/// How the names of unfinished files and folders begin: Nicotine+, SABnzbd, Syncthing.
const PREFIXES: [&str; 5] = ["incomplete~", "_unpack_", "_failed_", "~syncthing~", "~$"];

/// Last extensions of folders of unfinished files: qBittorrent, uTorrent, Transmission, Safari.
const FOLDER_EXTENSIONS: [&str; 5] = ["!qb", "!ut", "part", "download", "aria2"];

/// Folders of unfinished files: SABnzbd, Transmission and their like, NZBGet.
const FOLDERS: [&str; 4] = ["incomplete", "__admin__", "__incomplete__", "_unpack"];

/// Returns `true` if a file's name says that the file is unfinished.
pub(super) fn is_unfinished_file(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return is_marked(&name);
    };
    let extension = extension.to_ascii_lowercase();
    // `film.temp.mkv` is what yt-dlp writes; `The.Temp.mkv` is a film.
    is_marked(&name)
        || stem.ends_with(".temp")
        || stem.ends_with(".tmp")
        || EXTENSIONS.contains(&extension.as_str())
        || extension.starts_with("part-frag")
}

/// Returns `true` if a folder's name says that what is in it is unfinished.
pub(super) fn is_unfinished_folder(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is = |listed: &&str| extension.is_some_and(|found| found.eq_ignore_ascii_case(listed));
    is_marked(&name)
        || FOLDERS.iter().any(|folder| name.eq_ignore_ascii_case(folder))
        || FOLDER_EXTENSIONS.iter().any(is)
}

/// Marked at either end: by a program that unpacks or downloads, or as a backup (`keys~`, `film.mkv.partial~`).
fn is_marked(name: &str) -> bool {
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    name.ends_with('~') || PREFIXES.iter().any(begins)
}

/// The files and folders that the control files among these names belong to.
pub(super) fn controlled<'a>(names: impl Iterator<Item = &'a OsStr>) -> HashSet<OsString> {
    let controlled = names.filter_map(|name| {
        let bytes = name.as_bytes();
        let dot = bytes.iter().rposition(|byte| *byte == b'.')?;
        let (stem, extension) = (bytes.get(..dot)?, bytes.get(dot + 1..)?);
        let is_control = CONTROL.iter().any(|control| extension.eq_ignore_ascii_case(control.as_bytes()));
        is_control.then(|| OsString::from_vec(stem.to_vec()))
    });
    controlled.collect()
}

/// The names that the unfinished files among these will have. Firefox and others keep an empty file there meanwhile.
pub(super) fn awaited<'a>(names: impl Iterator<Item = &'a OsStr>) -> HashSet<OsString> {
    let unfinished = names.filter(|name| is_unfinished_file(name));
    let stems = unfinished.filter_map(|name| {
        let bytes = name.as_bytes();
        let dot = bytes.iter().rposition(|byte| *byte == b'.')?;
        Some(OsString::from_vec(bytes.get(..dot)?.to_vec()))
    });
    stems.collect()
}

/// The names that control files of a file or folder would have.
pub(super) fn controls(name: &OsStr) -> impl Iterator<Item = OsString> {
    CONTROL.iter().map(move |extension| {
        let mut control = name.to_owned();
        control.push(".");
        control.push(extension);
        control
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn names(root: &Path) -> Vec<String> {
        let scan = scan(root, &[]).unwrap();
        let mut names: Vec<String> = scan.found.iter().map(|found| found.path.to_str().unwrap().to_owned()).collect();
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
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe.mkv"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.mkv")).unwrap();
        assert_eq!(names(root.path()), ["a/b/y.mkv", "x.mkv"]);
        assert_eq!(scan(root.path(), &[]).unwrap().refused, 8);
    }

    // X02
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
        rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
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
        fs::write(root.path().join(deep.parent().unwrap()).join("deep.mkv"), "").unwrap();
        let scan = scan(root.path(), &[]).unwrap();
        assert_eq!(scan.found.len(), 1);
        assert!(scan.cut_short);
    }

    #[test]
    fn unfinished_files_are_recognised_and_films_are_not_mistaken_for_them() {
        let unfinished = [
            "film.mkv.part",
            "Film.MKV.!qB",
            "film.mkv.partial~",
            "film.mkv.3fa8.partial",
            "film.mkv.aria2",
            "Unconfirmed 12.crdownload",
            "film.mkv.part-Frag12",
            "film.mkv.part.lock",
            "film.temp.mkv",
            "INCOMPLETE~1234film.mkv",
            "_UNPACK_film.mkv",
            "film.mkv.xltd",
            "keys~",
            "state.db-wal",
            "film.tmp",
        ];
        for name in unfinished {
            assert!(is_unfinished_file(OsStr::new(name)), "{name}");
        }
        let finished = [
            "film.mkv",
            "part",
            "tmp",
            "Temp.mkv",
            "The.Temp.mkv",
            "x.Tmp.mkv",
            "Film.Part.1.mkv",
            "film.part1.rar",
            "Show.S01E01.Incomplete.mkv",
            "The Unfinished (2018).mkv",
            "download.mkv",
            "Film_FAILED_.mkv",
        ];
        for name in finished {
            assert!(!is_unfinished_file(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn unfinished_folders_are_recognised_and_those_of_films_are_not_mistaken_for_them() {
        for name in ["_UNPACK_Film", "_FAILED_Film", "incomplete", "__ADMIN__", "Film.!qB", "film.download"] {
            assert!(is_unfinished_folder(OsStr::new(name)), "{name}");
        }
        for name in ["Incomplete (2020)", "Film", "Season 01", "downloads", "temp"] {
            assert!(!is_unfinished_folder(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_control_file_names_what_it_controls() {
        let names = ["film.mkv", "film.mkv.aria2", "Pack.ARIA2", "x.st", "y.srt", ".aria2"];
        let found = controlled(names.iter().map(OsStr::new));
        let wanted = ["film.mkv", "Pack", "x", ""].map(OsString::from);
        assert_eq!(found, HashSet::from(wanted));
        let controls: Vec<_> = controls(OsStr::new("a.mkv")).collect();
        assert_eq!(controls, ["a.mkv.aria2", "a.mkv.lftp-pget-status", "a.mkv.st"]);
    }
}
