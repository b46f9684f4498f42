//! File names chosen by someone else.
//!
//! A name is accepted unchanged or refused, never altered. It is refused if it could escape the folder, name a device on
//! some system, disguise what it is, or collide with regrip's own files.

use crate::error::Error;
use crate::shown::is_invisible;
use crate::split::cut_last;
use std::fmt;

/// A safe file name: on every system, or on this one if its user chose the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafeName(String);

/// The longest file name, in bytes, on common file systems.
const LONGEST_BYTES: usize = 255;

impl SafeName {
    /// Accepts a name that is safe on every system.
    ///
    /// # Errors
    /// `NameRefused`, with the reason.
    pub fn new(name: &str) -> Result<SafeName, Error> {
        SafeName::without(flaw_here(name).or_else(|| flaw_elsewhere(name)), name)
    }

    /// Accepts a name that the user of this system chose, for example by a URL. It may be one that only other systems forbid.
    ///
    /// # Errors
    /// `NameRefused`, with the reason.
    pub fn on_this_system(name: &str) -> Result<SafeName, Error> {
        if !cfg!(unix) {
            return SafeName::new(name);
        }
        SafeName::without(flaw_here(name), name)
    }

    fn without(flaw: Option<&'static str>, name: &str) -> Result<SafeName, Error> {
        match flaw {
            None => Ok(SafeName(name.to_owned())),
            Some(why) => Err(Error::NameRefused { name: shown(name), why }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a name is refused on every system.
fn flaw_here(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name == "." || name == ".." {
        return Some("it names a folder");
    }
    if name.len() > LONGEST_BYTES {
        return Some("it is longer than 255 bytes");
    }
    if name.contains('/') {
        return Some("it has a path in it");
    }
    if name.chars().any(|letter| letter.is_control()) {
        return Some("it has a control character");
    }
    if name.chars().any(is_invisible) {
        return Some("it has an invisible character that changes how it reads");
    }
    own_ending(&name.to_ascii_lowercase())
}

/// Why a name is refused on some systems.
fn flaw_elsewhere(name: &str) -> Option<&'static str> {
    if name.contains('\\') {
        return Some("it has a path in it");
    }
    if name.contains([':', '*', '?', '"', '<', '>', '|']) {
        return Some("it has a character that some systems do not allow");
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Some("it begins with a space, or ends with a dot or a space");
    }
    is_device(name).then_some("it names a device on Windows")
}

/// Why a lower-case name is refused that one of regrip's own files beside another download may have: a part, its lock file, or
/// the lock of a takeover. Such a file would block the other download.
fn own_ending(name: &str) -> Option<&'static str> {
    let is_digest = |stem: &str| stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit());
    match name.trim_end_matches(".new").strip_suffix(".lock") {
        Some(locked) if locked.ends_with(".part") || is_digest(locked) => Some("it ends like the lock file of a part"),
        _ if name.ends_with(".part") => Some("it ends like a part file"),
        _ => None,
    }
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let numbered = |prefix: &str| {
        let rest = stem.strip_prefix(prefix);
        let digit = |rest: &str| {
            let mut letters = rest.chars();
            matches!((letters.next(), letters.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        };
        rest.is_some_and(digit)
    };
    let plain = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str());
    plain || numbered("COM") || numbered("LPT")
}

/// Shortens a refused name for the error: it may have any length.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// The last segment of a path, or all of a name.
pub(crate) fn last_segment(path: &str) -> &str {
    let separator = path.bytes().rposition(|byte| matches!(byte, b'/' | b'\\'));
    path.split_at(separator.map_or(0, |at| at + 1)).1
}

/// What follows the last dot of a name, or of the last segment of a path.
pub fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = cut_last(last_segment(name), b'.')?;
    (!stem.is_empty()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    // X04
    #[cfg(unix)]
    #[test]
    fn what_only_other_systems_forbid_is_allowed_to_the_user_of_this_one_and_to_nobody_else() {
        let allowed = [
            "Film: Two.mkv",
            "what?.iso",
            "a*b",
            "\"quoted\"",
            "<a>|b",
            "a\\b",
            "NUL",
            "com1.txt",
            " a",
            "a ",
            "a.",
            "...",
        ];
        for name in allowed {
            assert_eq!(SafeName::on_this_system(name).map(|name| name.0).ok().as_deref(), Some(name));
            assert!(SafeName::new(name).is_err(), "{name:?}");
        }
        let long = "x".repeat(256);
        let refused = [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "a\0b",
            "a\nb",
            "a\u{1b}[31m",
            "a\u{202e}b",
            "a.part",
            "a.PART",
            "a.part.lock",
            &long,
        ];
        for name in refused {
            assert!(SafeName::on_this_system(name).is_err(), "{name:?}");
            assert!(SafeName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_safe_name_is_accepted_unchanged() {
        let (longest, hex, letters) = ("x".repeat(255), "a1".repeat(32), "x".repeat(64));
        let (short_lock, other_lock) = (format!("{}.lock", "a".repeat(63)), format!("{letters}.lock"));
        let names = ["film.mkv", "film.lock", "a.new", "COM", "COM10", "COMA", "console.txt", "lpt", "..a"];
        for name in names.into_iter().chain([&*longest, &*short_lock, &*other_lock]) {
            for accepted in [SafeName::new(name), SafeName::on_this_system(name)] {
                assert_eq!(accepted.as_ref().ok().map(SafeName::as_str), Some(name));
                assert_eq!(accepted.ok().map(|accepted| accepted.to_string()).as_deref(), Some(name));
            }
        }
        for taken in [format!("{hex}.lock"), format!("{hex}.LOCK"), format!("{hex}.lock.new")] {
            assert!(SafeName::on_this_system(&taken).is_err(), "{taken:?}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_up_to_its_80th_character() {
        let long = format!("{}/", "ü".repeat(80));
        for (name, expected) in [("a/b", "a/b"), (&*long, &*"ü".repeat(80))] {
            let refused = SafeName::new(name);
            assert!(
                matches!(&refused, Err(Error::NameRefused { name, why }) if name == expected && *why == "it has a path in it"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_path_ends_with_a_name_and_a_name_may_end_with_an_extension() {
        let table = [
            ("/films/film.mkv", "film.mkv", Some("mkv")),
            ("C:\\films\\film.tar.gz", "film.tar.gz", Some("gz")),
            ("film", "film", None),
            ("films.d/film", "film", None),
            ("/films/.hidden", ".hidden", None),
            ("/films/", "", None),
            ("film.", "film.", Some("")),
        ];
        for (path, name, expected) in table {
            assert_eq!((last_segment(path), extension(path)), (name, expected), "{path}");
        }
    }
}
