//! File names that a stranger chose.
//!
//! A name is taken as it is or refused; it is never altered into another one. Refused is what could leave the folder, name
//! a device on some system, hide what it is, or collide with our own part files.

use crate::error::Error;
use crate::shown::is_invisible;
use std::fmt;

/// A plain file name that is safe on every system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafeName(String);

/// Longest name of a file, in bytes, on common file systems.
const LONGEST_BYTES: usize = 255;

impl SafeName {
    /// Takes the name as it is.
    ///
    /// # Errors
    /// `NameRefused`, with what is wrong about it.
    pub fn new(name: &str) -> Result<SafeName, Error> {
        match flaw(name) {
            None => Ok(SafeName(name.to_owned())),
            Some(why) => Err(Error::NameRefused {
                name: shown(name),
                why,
            }),
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

fn flaw(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name == "." || name == ".." {
        return Some("it names a folder");
    }
    if name.len() > LONGEST_BYTES {
        return Some("it is longer than 255 bytes");
    }
    if name.contains(['/', '\\']) {
        return Some("it has a path in it");
    }
    if name.contains([':', '*', '?', '"', '<', '>', '|']) {
        return Some("it has a character that some systems do not allow");
    }
    if name.chars().any(|letter| letter.is_control()) {
        return Some("it has a control character");
    }
    if name.chars().any(is_invisible) {
        return Some("it has an invisible character that changes how it reads");
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Some("it begins with a space, or ends with a dot or a space");
    }
    if is_device(name) {
        return Some("it names a device on Windows");
    }
    own_ending(&name.to_ascii_lowercase())
}

/// What is wrong with a lower-case name that one of our own files beside another download may have: its part, the lock
/// file of the part, or the lock of whoever takes that over. Such a file would keep the other download from its part.
fn own_ending(name: &str) -> Option<&'static str> {
    let is_digest = |stem: &str| stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit());
    match name.trim_end_matches(".new").strip_suffix(".lock") {
        Some(locked) if locked.ends_with(".part") || is_digest(locked) => {
            Some("it ends like the lock file of a part")
        }
        _ if name.ends_with(".part") => Some("it ends like a part file"),
        _ => None,
    }
}

fn is_device(name: &str) -> bool {
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_uppercase();
    let numbered = |prefix: &str| {
        let rest = stem.strip_prefix(prefix);
        let digit = |rest: &str| {
            let mut letters = rest.chars();
            matches!(
                (letters.next(), letters.next()),
                (Some('0'..='9' | '¹' | '²' | '³'), None)
            )
        };
        rest.is_some_and(digit)
    };
    let plain = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str());
    plain || numbered("COM") || numbered("LPT")
}

/// A refused name may be as long as its sender likes.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// What follows the last dot of a name, or of the last segment of a path.
pub fn extension(name: &str) -> Option<&str> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}
