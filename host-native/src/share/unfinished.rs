//! Recognises the unfinished files of other programs, by their names or by a control file beside them.
//!
//! A file that is being written under its final name, with nothing beside it, looks like a finished one. While it grows it has
//! always just changed, and is not sent.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
        || FOLDERS
            .iter()
            .any(|folder| name.eq_ignore_ascii_case(folder))
        || FOLDER_EXTENSIONS.iter().any(is)
}

/// Marked at either end: by a program that unpacks or downloads, or as a backup (`keys~`, `film.mkv.partial~`).
fn is_marked(name: &str) -> bool {
    let begins = |prefix: &&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    name.ends_with('~') || PREFIXES.iter().any(begins)
}

/// The files and folders that the control files among these names belong to.
pub(super) fn controlled<'a>(names: impl Iterator<Item = &'a OsStr>) -> HashSet<OsString> {
    let controlled = names.filter_map(|name| {
        let bytes = name.as_bytes();
        let dot = bytes.iter().rposition(|byte| *byte == b'.')?;
        let (stem, extension) = (bytes.get(..dot)?, bytes.get(dot + 1..)?);
        let is_control = CONTROL
            .iter()
            .any(|control| extension.eq_ignore_ascii_case(control.as_bytes()));
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
        for name in [
            "_UNPACK_Film",
            "_FAILED_Film",
            "incomplete",
            "__ADMIN__",
            "Film.!qB",
            "film.download",
        ] {
            assert!(is_unfinished_folder(OsStr::new(name)), "{name}");
        }
        for name in [
            "Incomplete (2020)",
            "Film",
            "Season 01",
            "downloads",
            "temp",
        ] {
            assert!(!is_unfinished_folder(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_control_file_names_what_it_controls() {
        let names = [
            "film.mkv",
            "film.mkv.aria2",
            "Pack.ARIA2",
            "x.st",
            "y.srt",
            ".aria2",
        ];
        let found = controlled(names.iter().map(OsStr::new));
        let wanted = ["film.mkv", "Pack", "x", ""].map(OsString::from);
        assert_eq!(found, HashSet::from(wanted));
        let controls: Vec<_> = controls(OsStr::new("a.mkv")).collect();
        assert_eq!(
            controls,
            ["a.mkv.aria2", "a.mkv.lftp-pget-status", "a.mkv.st"]
        );
    }
}
