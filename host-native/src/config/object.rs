//! Reads objects and single values, and notes errors and warnings about them. Keys that nobody takes are unknown.

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

/// Keys of the software that this protocol was designed for. regrip does not need them.
const ELSEWHERE: [&str; 4] = ["jack", "source", "destination", "autoregister"];

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

    /// The value of a key.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self.left.iter().position(|(_, property)| property.name.as_str() == name)?;
        let (_, property) = self.left.remove(at);
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
        Value::NumberLit(number) => number.value.parse::<u64>().ok(),
        _ => None,
    };
    let fits = number.and_then(|number| N::try_from(number).ok());
    if fits.is_none() {
        // A number in the place of another one is no secret.
        let found = match node.value {
            Value::NumberLit(number) => number.value.chars().take(LONGEST_SHOWN).collect(),
            _ => node.shown(),
        };
        node.refuse_found(&found, "a whole number from 0 on", notes);
    }
    fits
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
    let flaw = match Url::parse(&written) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "it is neither http nor https",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "it has a user or password in it; send them by headers"
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "it has a ? or # in it",
        Ok(_) => return Some(written),
        Err(_) => "it is not a URL",
    };
    // A wrong one may have a password or a key in it, or be one.
    let expected = format!("an http or https URL: {flaw}");
    node.refuse_found(&display_url(&written), &expected, notes);
    None
}
