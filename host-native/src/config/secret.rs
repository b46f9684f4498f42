//! Secrets: given as they are, by the environment, or in a file.

use super::object::{Block, Node, Notes, text};
use crate::text_file::{self, without_mark};
use jsonc_parser::ast::Value;
use std::fmt;
use std::path::Path;

/// No secret is longer; a file that is was meant to be another one.
const LONGEST_BYTES: usize = 8 << 10;

/// A file with a byte order mark, the longest secret and some ends of lines.
const LARGEST_BYTES: u64 = LONGEST_BYTES as u64 + 16;

/// A secret that was read. `Debug` prints `***` for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that can be a secret.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn checked(text: String) -> Result<Secret, &'static str> {
        if text.is_empty() {
            Err("found nothing, expected a secret")
        } else if text.trim().is_empty() {
            Err("found nothing but white space, expected a secret")
        } else if text.len() > LONGEST_BYTES {
            Err("found more than 8 KiB, expected a secret")
        } else if !text.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic()) {
            Err("found other than visible ASCII characters, expected what a header can carry")
        } else {
            Ok(Secret(text))
        }
    }

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

/// Reads a secret. No note contains it.
pub(super) fn secret(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<Secret> {
    let found = match node.value {
        Value::StringLit(_) => text(node, notes),
        Value::Object(_) => from_elsewhere(node, notes),
        _ => {
            notes.error(node.at, &node.key, format!("found {}, {EXPECTED}", node.kind()));
            None
        }
    }?;
    Secret::checked(found).map_err(|flaw| notes.error(node.at, &node.key, flaw)).ok()
}

fn from_elsewhere(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let mut block = Block::open_private(node, notes)?;
    let (env, file) = (block.take("env"), block.take("file"));
    block.close(notes);
    match (env, file) {
        (Some(name), None) => {
            let variable = text(&name, notes)?;
            let value = (notes.env)(&variable);
            if value.is_none() {
                // It may be the secret itself.
                let what = format!("found {}, expected the name of a variable that the environment has", name.shown());
                notes.error(name.at, &name.key, what);
            }
            notes.secret_variables.push(variable);
            value.as_deref().map(line)
        }
        (None, Some(path)) => {
            let file = text(&path, notes)?;
            match read(&file) {
                Ok(secret) => {
                    notes.secret_files.push((path.key.clone(), file.into()));
                    Some(secret)
                }
                Err(why) => {
                    let found = path.shown();
                    notes.error(path.at, &path.key, format!("found {found}, {why}"));
                    None
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            notes.error(node.at, &node.key, format!("found neither one nor the other, {EXPECTED}"));
            None
        }
    }
}

/// A secret without a byte order mark before it and the ends of lines after it.
fn line(text: &str) -> String {
    let text = without_mark(text);
    text.trim_end_matches(['\r', '\n']).to_owned()
}

/// The one line of a file.
fn read(file: &str) -> Result<String, String> {
    if !Path::new(file).is_absolute() {
        return Err("expected an absolute path".to_owned());
    }
    let text =
        text_file::read(Path::new(file), LARGEST_BYTES).map_err(|error| format!("which cannot be read: {error}"))?;
    Ok(line(&text))
}
