//! Errors and warnings about a configuration.

use regrip_core::shown;
use std::fmt;
use std::path::{Path, PathBuf};

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

    fn problem(&self, at: usize, key: &str, what: String) -> Problem {
        Problem { line: self.line_starts.partition_point(|start| *start <= at) + 1, key: key.to_owned(), what }
    }
}
