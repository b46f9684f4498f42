//! Errors and warnings about a configuration.

use std::fmt;
use std::path::PathBuf;

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
            key => write!(f, "line {}: {key}: {}", self.line, self.what),
        }
    }
}

/// All that was noticed while a configuration was read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Offsets at which lines begin, the first left out.
    line_starts: Vec<usize>,
    /// Files that secrets were read from, each with its key.
    pub(super) secret_files: Vec<(String, PathBuf)>,
    pub(super) warnings: Vec<Problem>,
    pub(super) errors: Vec<Problem>,
}

impl Notes {
    pub(super) fn on(text: &str) -> Notes {
        Notes {
            line_starts: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            ..Notes::default()
        }
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
        Problem {
            line: self.line_starts.partition_point(|start| *start <= at) + 1,
            key: key.to_owned(),
            what,
        }
    }
}
