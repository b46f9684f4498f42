//! Secrets: given as they are, by the environment, or in a file.

use super::block::Block;
use super::load::Surroundings;
use super::problem::Notes;
use super::value::{Node, text};
use jsonc_parser::ast::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// No secret is longer; a file that is was meant to be another one.
const LONGEST_BYTES: usize = 8 << 10;

/// A secret that was read. `Debug` prints `***` for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a secret may be given as.
const EXPECTED: &str = r#"expected a string, {"env": "NAME"} or {"file": "/absolute/path"}"#;

/// Reads a secret. Nothing that is told about it contains it.
pub(super) fn secret(
    node: &Node<'_>,
    around: &Surroundings<'_>,
    notes: &mut Notes,
) -> Option<Secret> {
    let found = match node.value {
        Value::StringLit(_) => text(node, notes),
        Value::Object(_) => from_elsewhere(node, around, notes),
        _ => {
            notes.error(
                node.at,
                &node.key,
                format!("found {}, {EXPECTED}", node.kind()),
            );
            None
        }
    }?;
    let flaw = if found.is_empty() {
        "found nothing, expected a secret"
    } else if found.len() > LONGEST_BYTES {
        "found more than 8 KiB, expected a secret"
    } else if !found
        .chars()
        .all(|letter| letter == ' ' || letter.is_ascii_graphic())
    {
        "found other than visible ASCII characters, expected what a header can carry"
    } else {
        return Some(Secret(found));
    };
    notes.error(node.at, &node.key, flaw);
    None
}

fn from_elsewhere(node: &Node<'_>, around: &Surroundings<'_>, notes: &mut Notes) -> Option<String> {
    let mut block = Block::open(node, notes)?;
    let (env, file) = (block.take("env"), block.take("file"));
    block.close(notes);
    match (env, file) {
        (Some(name), None) => {
            let variable = text(&name, notes)?;
            let value = (around.env)(&variable);
            if value.is_none() {
                let what = format!("the environment has no {variable}, expected a secret there");
                notes.error(name.at, &name.key, what);
            }
            value
        }
        (None, Some(path)) => {
            let file = text(&path, notes)?;
            notes.secret_files.push(PathBuf::from(&file));
            match read(&file) {
                Ok(secret) => Some(secret),
                Err(why) => {
                    notes.error(path.at, &path.key, format!("found {file:?}, {why}"));
                    None
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            notes.error(
                node.at,
                &node.key,
                format!("found neither one nor the other, {EXPECTED}"),
            );
            None
        }
    }
}

/// The one line of a file.
fn read(file: &str) -> Result<String, String> {
    use std::io::Read;
    if !Path::new(file).is_absolute() {
        return Err("expected an absolute path".to_owned());
    }
    let unreadable = |error| format!("which cannot be read: {error}");
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .map_err(unreadable)?
        .take(LONGEST_BYTES as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| "which is not text".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
