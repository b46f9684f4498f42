//! Reads objects and single values, and notes errors and warnings about them. Keys that nobody takes are unknown.
//!
//! Secrets are given as they are, by the environment, or in a file.

use crate::text_file::{self, without_mark};
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;
use regrip_core::{display_url, redacted, shown};
use std::fmt;
use std::path::{Path, PathBuf};
use url::Url;

/// An error or a warning, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, from 1.
    pub line: usize,
    /// The key, from the top: `peers[0].url`; empty if it concerns no key.
    pub key: String,
    /// What is wrong, secrets left out.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.what),
            key => write!(f, "line {}: {}: {}", self.line, shown(key), self.what),
        }
    }
}

/// The surroundings of a configuration, and its errors and warnings so far.
pub(super) struct Notes<'a> {
    /// The configuration's own file.
    pub(super) file: &'a Path,
    /// Reads a variable of the environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Offsets at which lines begin, the first left out.
    line_starts: Vec<usize>,
    /// Files that secrets were read from, each with its key.
    pub(super) secret_files: Vec<(String, PathBuf)>,
    /// Variables of the environment that secrets were read from.
    pub(super) secret_variables: Vec<String>,
    pub(super) warnings: Vec<Problem>,
    pub(super) errors: Vec<Problem>,
}

impl<'a> Notes<'a> {
    pub(super) fn on(text: &str, file: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Notes<'a> {
        Notes {
            file,
            env,
            line_starts: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            secret_files: Vec::new(),
            secret_variables: Vec::new(),
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &'a Path {
        self.file.parent().unwrap_or(self.file)
    }

    pub(super) fn error(&mut self, at: usize, key: &str, what: impl Into<String>) {
        let problem = self.problem(at, key, what.into());
        self.errors.push(problem);
    }

    pub(super) fn warn(&mut self, at: usize, key: &str, what: impl Into<String>) {
        let problem = self.problem(at, key, what.into());
        self.warnings.push(problem);
    }

    /// In the order of the file.
    pub(super) fn sort(&mut self) {
        self.warnings.sort_by_key(|problem| problem.line);
        self.errors.sort_by_key(|problem| problem.line);
    }

    pub(super) fn problem(&self, at: usize, key: &str, what: String) -> Problem {
        Problem { line: self.line_starts.partition_point(|start| *start <= at) + 1, key: key.to_owned(), what }
    }
}

/// Keys of jack, the software that this protocol was designed for, that mean nothing here: it reads films' descriptions from
/// TMDB, once shared a folder by way of Jellyfin, and has an import retry of its own.
const ELSEWHERE: [&str; 5] =
    ["tmdbApiKey", "mediaPath", "maxManualImportAttempts", "manualImportBackoffBaseMs", "manualImportBackoffMaxMs"];

/// An object whose keys are being taken.
pub(super) struct Block<'a> {
    key: String,
    at: usize,
    /// Its keys are not shown, for one may be a secret.
    private: bool,
    /// With the place of each, from 0.
    left: Vec<(usize, &'a ObjectProp<'a>)>,
}

impl<'a> Block<'a> {
    /// Begins to read an object. A duplicate key is an error: one of the two would not count.
    pub(super) fn open(node: &Node<'a>, notes: &mut Notes<'_>) -> Option<Block<'a>> {
        Block::begin(node, false, notes)
    }

    /// The same for an object of headers or of a secret: unknown keys are shown by their place only.
    pub(super) fn open_private(node: &Node<'a>, notes: &mut Notes<'_>) -> Option<Block<'a>> {
        Block::begin(node, true, notes)
    }

    fn begin(node: &Node<'a>, private: bool, notes: &mut Notes<'_>) -> Option<Block<'a>> {
        let Value::Object(object) = node.value else {
            node.refuse("an object", notes);
            return None;
        };
        let block =
            Block { key: node.key.clone(), at: node.at, private, left: object.properties.iter().enumerate().collect() };
        for (place, property) in &block.left {
            let name = property.name.as_str();
            let mut before = block.left.iter().take(*place);
            if before.any(|(_, before)| before.name.as_str() == name) {
                let at = property.range().start;
                let key = block.shown_path(*place, name);
                notes.error(at, &key, "found a second time, expected once");
            }
        }
        Some(block)
    }

    /// The value of a key; of a duplicate one the first.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self.left.iter().position(|(_, property)| property.name.as_str() == name)?;
        let (_, property) = self.left.remove(at);
        self.left.retain(|(_, property)| property.name.as_str() != name);
        Some(Node::new(&property.value, self.path(name)))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, name: &str, expected: &str, notes: &mut Notes<'_>) -> Option<Node<'a>> {
        let node = self.take(name);
        if node.is_none() {
            notes.error(self.at, &self.path(name), format!("found nothing, expected {expected}"));
        }
        node
    }

    /// All other keys, if any key is allowed.
    pub(super) fn rest(&mut self) -> Vec<(String, Node<'a>)> {
        let left = std::mem::take(&mut self.left);
        let named = left.into_iter().map(|(place, property)| {
            let name = property.name.as_str();
            let key = self.shown_path(place, name);
            (name.to_owned(), Node::new(&property.value, key))
        });
        named.collect()
    }

    /// Warns about unknown keys.
    pub(super) fn close(self, notes: &mut Notes<'_>) {
        for (place, property) in &self.left {
            let name = property.name.as_str();
            let what = if ELSEWHERE.contains(&name) {
                "is not used by regrip and is ignored"
            } else {
                "is unknown and is ignored"
            };
            let key = self.shown_path(*place, name);
            notes.warn(property.range().start, &key, what);
        }
    }

    fn shown_path(&self, place: usize, name: &str) -> String {
        match self.private {
            true => format!("{}[{place}]", self.key),
            false => self.path(name),
        }
    }

    fn path(&self, name: &str) -> String {
        match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }
}

/// More of a number is not shown.
const LONGEST_SHOWN: usize = 60;

/// A longer text in the place of a word or a number is not shown. Keys and passwords that are worth something are longer.
const LONGEST_WORD: usize = 10;

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value<'a>,
    /// Its key, from the top.
    pub(super) key: String,
    /// Offset in the file.
    pub(super) at: usize,
}

impl<'a> Node<'a> {
    pub(super) fn new(value: &'a Value<'a>, key: String) -> Node<'a> {
        let at = value.range().start;
        Node { value, key, at }
    }

    /// The kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::StringLit(_) => "a string",
            Value::NumberLit(_) => "a number",
            Value::BooleanLit(_) => "true or false",
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::NullKeyword(_) => "null",
        }
    }

    /// The value, without a string's text: it may be a secret in the wrong place.
    pub(super) fn shown(&self) -> String {
        match self.value {
            Value::StringLit(string) => redacted(&string.value),
            Value::BooleanLit(boolean) => boolean.value.to_string(),
            _ => self.kind().to_owned(),
        }
    }

    /// The value of a key that is never a secret. A long text is not shown: it may be one in the wrong place.
    fn shown_in_full(&self) -> String {
        let is_plain =
            |text: &str| text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        match self.value {
            Value::StringLit(string) if !string.value.is_empty() && is_plain(&string.value) => {
                format!("{:?}", string.value)
            }
            Value::NumberLit(number) => number.value.chars().take(LONGEST_SHOWN).collect(),
            _ => self.shown(),
        }
    }

    /// Notes that something else was expected, and what was found. Not for a key that may be a secret, nor for an object or a list.
    pub(super) fn refuse_word(&self, expected: &str, notes: &mut Notes<'_>) {
        self.refuse_found(&self.shown_in_full(), expected, notes);
    }

    /// Notes that something else was expected.
    pub(super) fn refuse(&self, expected: &str, notes: &mut Notes<'_>) {
        self.refuse_found(&self.shown(), expected, notes);
    }

    /// Notes that a value was found that is no secret.
    pub(super) fn refuse_found(&self, found: &str, expected: &str, notes: &mut Notes<'_>) {
        let what = format!("found {found}, expected {expected}");
        notes.error(self.at, &self.key, what);
    }
}

/// The text of a string or a number, as written.
pub(super) fn written(node: &Node<'_>) -> Option<String> {
    match node.value {
        Value::StringLit(string) => Some(string.value.clone().into_owned()),
        Value::NumberLit(number) => Some(number.value.to_owned()),
        _ => None,
    }
}

/// A string.
pub(super) fn text(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    match node.value {
        Value::StringLit(string) => Some(string.value.clone().into_owned()),
        _ => {
            node.refuse("a string", notes);
            None
        }
    }
}

/// A string that has something in it and no control characters.
pub(super) fn name(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    name_without(char::is_control, node, notes)
}

/// As [`name`], but it may have line breaks.
pub(super) fn name_of_lines(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let is_refused = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r');
    name_without(is_refused, node, notes)
}

fn name_without(is_refused: impl Fn(char) -> bool, node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let name = text(node, notes)?;
    if name.trim().is_empty() || name.chars().any(is_refused) {
        node.refuse("a name", notes);
        return None;
    }
    Some(name)
}

/// `true` or `false`.
pub(super) fn flag(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<bool> {
    match node.value {
        Value::BooleanLit(flag) => Some(flag.value),
        _ => {
            node.refuse("true or false", notes);
            None
        }
    }
}

/// An integer that fits.
pub(super) fn number<N: TryFrom<u64>>(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<N> {
    let number = match node.value {
        Value::NumberLit(number) => number.value.parse::<u64>().ok().or_else(|| whole(number.value)),
        _ => None,
    };
    let fits = number.and_then(|number| N::try_from(number).ok());
    if fits.is_none() {
        node.refuse_word("a whole number from 0 on", notes);
    }
    fits
}

/// `3.0` and `1e3`, which JSON does not distinguish from 3 and 1000.
fn whole(written: &str) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = written.parse::<f64>().ok()?;
    let is_whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
    is_whole.then(|| format!("{number:.0}").parse().ok()).flatten()
}

/// The elements of a list.
pub(super) fn list<'a>(node: &Node<'a>, notes: &mut Notes<'_>) -> Vec<Node<'a>> {
    let Value::Array(array) = node.value else {
        node.refuse("a list", notes);
        return Vec::new();
    };
    let numbered = array.elements.iter().enumerate();
    numbered.map(|(number, value)| Node::new(value, format!("{}[{number}]", node.key))).collect()
}

/// A path; a relative one begins at the folder of the configuration.
pub(super) fn path(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<PathBuf> {
    let path = text(node, notes)?;
    if path.is_empty() || path.contains('\0') {
        node.refuse("a path", notes);
        return None;
    }
    Some(notes.folder().join(path))
}

/// The URL of a peer or server: http or https, without userinfo, query and fragment.
pub(super) fn base_url(node: &Node<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let written = text(node, notes)?;
    let Some(flaw) = base_url_flaw(&written) else {
        return Some(written);
    };
    // A wrong one may have a password or a key in it, or be one.
    let expected = format!("an http or https URL: {flaw}");
    node.refuse_found(&display_url(&written), &expected, notes);
    None
}

/// Why a text cannot be the URL of a peer or server, if it cannot.
pub(crate) fn base_url_flaw(written: &str) -> Option<&'static str> {
    // The standard's parser leaves them out, so that another URL than the one that is shown would be asked.
    if written.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Some("it has white space or control characters in it");
    }
    match Url::parse(written) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Some("it is neither http nor https"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Some("it has a user or password in it; send them by headers")
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Some("it has a ? or # in it"),
        Ok(_) => None,
        Err(_) => Some("it is not a URL"),
    }
}

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

/// A secret that a request refers to, as a configuration does: by a variable of the environment or by a file.
///
/// # Errors
/// Why there is no secret; the message never contains one.
pub(crate) fn secret_at(env: Option<&str>, file: Option<&str>) -> Result<Secret, String> {
    let found = match (env, file) {
        (Some(variable), None) => match std::env::var(variable) {
            Ok(value) => line(&value),
            Err(_) => return Err("expected the name of a variable that the environment has".to_owned()),
        },
        (None, Some(file)) => read(file).map_err(|why| format!("found a file, {why}"))?,
        (Some(_), Some(_)) | (None, None) => return Err(EXPECTED.to_owned()),
    };
    Secret::checked(found).map_err(str::to_owned)
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
