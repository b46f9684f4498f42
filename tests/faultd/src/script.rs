//! The script: which files there are and what goes wrong with them, as JSON or built in Rust.
//!
//! Answer n of a file is for the n-th GET of it; HEAD and OPTIONS do not count. A field that is not known
//! is refused, so that a misspelt fault never passes for an honest server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::content::{Content, Edit};
use crate::faults::Fault;

/// The server's whole script.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The files by path, each beginning with `/`.
    #[serde(default)]
    pub files: BTreeMap<String, FileScript>,
    /// How long every answer waits before its first byte, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The most payload bytes a second on one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// A header without which every file answers 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_header: Option<RequiredHeader>,
}

/// A header that a request must carry.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RequiredHeader {
    /// Its name, in any case.
    pub name: String,
    /// Its exact value.
    pub value: String,
}

/// One file: its versions and its answers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FileScript {
    /// The versions; the first is served until a `replace`.
    pub versions: Vec<Version>,
    /// The faults of the first GET, of the second, and so on; applied in order to the honest answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Vec<Fault>>,
    /// The faults of every GET after those; none is honest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Fault>,
}

/// One version of a file.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Which sequence of bytes.
    pub seed: u64,
    /// Length in bytes.
    pub size: u64,
    /// The ETag as sent, with its quotes and its `W/` if weak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The Last-Modified as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// `true` if Repr-Digest is sent.
    #[serde(default)]
    pub sha256: bool,
    /// A stretch that is otherwise than the sequence has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// The Content-Type as sent; `application/octet-stream` if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The digest, once somebody needed it.
    #[serde(skip)]
    digest: Cache,
}

/// A digest that may have been computed already; that is no part of what a version is.
#[derive(Clone, Debug, Default)]
struct Cache(OnceLock<[u8; 32]>);

impl PartialEq for Cache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Script {
    /// A script without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A script of one file.
    pub fn one(path: &str, file: FileScript) -> Self {
        Self::new().file(path, file)
    }

    /// The same script with one more file.
    #[must_use]
    pub fn file(mut self, path: &str, file: FileScript) -> Self {
        self.files.insert(path.to_owned(), file);
        self
    }

    /// The same script with a delay before every response.
    #[must_use]
    pub fn latency_ms(mut self, milliseconds: u64) -> Self {
        self.latency_ms = Some(milliseconds);
        self
    }

    /// The same script with a limit for each connection.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = Some(bytes);
        self
    }

    /// The same script with this header required for every file.
    #[must_use]
    pub fn require_header(mut self, name: &str, value: &str) -> Self {
        self.require_header = Some(RequiredHeader { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// Reads and checks a script.
    ///
    /// # Errors
    /// What is wrong, with line and column if the JSON is invalid, with the path of the file if a value is.
    pub fn from_json(text: &str) -> Result<Self, ScriptError> {
        let script: Self = serde_json::from_str(text).map_err(ScriptError::Json)?;
        script.check()?;
        Ok(script)
    }

    /// Returns `true` if the script makes sense: paths begin with `/`, a file has a version, a `replace` names one.
    ///
    /// # Errors
    /// The first file that does not, and why.
    pub fn check(&self) -> Result<(), ScriptError> {
        for (path, file) in &self.files {
            file.check(path).map_err(|why| ScriptError::File { path: path.clone(), why })?;
        }
        if self.bytes_per_second == Some(0) {
            return Err(ScriptError::ZeroRate);
        }
        Ok(())
    }
}

impl FileScript {
    /// A file of one version, served as it should be.
    pub fn honest(version: Version) -> Self {
        Self { versions: vec![version], answers: Vec::new(), then: Vec::new() }
    }

    /// The same file with one more version, for `replace`.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.versions.push(version);
        self
    }

    /// The same file with the faults of its next answer; an empty list is an honest answer.
    #[must_use]
    pub fn answer<F: Into<Fault>>(mut self, faults: impl IntoIterator<Item = F>) -> Self {
        self.answers.push(faults.into_iter().map(Into::into).collect());
        self
    }

    /// The same file with an honest answer next.
    #[must_use]
    pub fn honest_answer(mut self) -> Self {
        self.answers.push(Vec::new());
        self
    }

    /// The same file with these faults in every answer after the listed ones.
    #[must_use]
    pub fn then<F: Into<Fault>>(mut self, faults: impl IntoIterator<Item = F>) -> Self {
        self.then = faults.into_iter().map(Into::into).collect();
        self
    }

    /// The faults of the answer to GET number `index`, from 0.
    pub fn faults_of(&self, index: usize) -> &[Fault] {
        self.answers.get(index).map_or(self.then.as_slice(), Vec::as_slice)
    }

    fn check(&self, path: &str) -> Result<(), String> {
        if !path.starts_with('/') {
            return Err("a path begins with `/`".to_owned());
        }
        if path.starts_with(crate::control::PREFIX) {
            return Err(format!("paths under `{}` are the server's own", crate::control::PREFIX));
        }
        if self.versions.is_empty() {
            return Err("`versions` is empty".to_owned());
        }
        let faults = self.answers.iter().flatten().chain(&self.then);
        for index in faults.filter_map(Fault::replaced_version) {
            if index >= self.versions.len() {
                return Err(format!("`replace` names version {index}, there are {} (from 0)", self.versions.len()));
            }
        }
        Ok(())
    }
}

impl Version {
    /// A version without validators.
    pub fn new(seed: u64, size: u64) -> Self {
        Self {
            seed,
            size,
            etag: None,
            last_modified: None,
            sha256: false,
            edit: None,
            content_type: None,
            digest: Cache::default(),
        }
    }

    /// The same version with an ETag, given with its quotes.
    #[must_use]
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    /// The same version with a Last-Modified, given as sent.
    #[must_use]
    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.to_owned());
        self
    }

    /// The same version with a Repr-Digest.
    #[must_use]
    pub fn with_sha256(mut self) -> Self {
        self.sha256 = true;
        self
    }

    /// The same version with other bytes in a stretch.
    #[must_use]
    pub fn edited(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Its bytes.
    pub fn content(&self) -> Content {
        Content { seed: self.seed, size: self.size, edit: self.edit }
    }

    /// The value of its Repr-Digest. The first call hashes the whole content.
    pub fn repr_digest(&self) -> String {
        crate::digest::repr_digest(self.digest.0.get_or_init(|| self.content().sha256_bytes()))
    }
}

/// What is wrong with a script.
#[derive(Debug)]
pub enum ScriptError {
    /// It is not the JSON of a script.
    Json(serde_json::Error),
    /// A file does not make sense.
    File {
        /// Its path.
        path: String,
        /// The rule it breaks.
        why: String,
    },
    /// `bytes_per_second` is 0.
    ZeroRate,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // serde_json ends its message with line and column.
            ScriptError::Json(error) => write!(f, "bad script: {error}"),
            ScriptError::File { path, why } => write!(f, "bad script: file `{path}`: {why}"),
            ScriptError::ZeroRate => write!(f, "bad script: `bytes_per_second` is 0, nothing would ever be sent"),
        }
    }
}

impl std::error::Error for ScriptError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Cut, Flip, Replace};

    #[test]
    fn a_script_built_in_rust_and_its_json_are_the_same() {
        let built = Script::one(
            "/a",
            FileScript::honest(Version::new(1, 10).etag("\"v1\""))
                .version(Version::new(2, 20))
                .answer([Cut::after(5), Flip::at(1)])
                .honest_answer()
                .then([Replace::with(1)]),
        );
        let json = r#"{"files": {"/a": {
            "versions": [{"seed": 1, "size": 10, "etag": "\"v1\""}, {"seed": 2, "size": 20}],
            "answers": [[{"cut": {"after": 5}}, {"flip": {"at": 1}}], []],
            "then": [{"replace": {"version": 1}}]}}}"#;
        assert_eq!(Script::from_json(json).expect("it is a script"), built);
        let written = serde_json::to_string(&built).expect("a script is JSON");
        assert_eq!(Script::from_json(&written).expect("it is a script"), built);
    }

    #[test]
    fn a_bad_script_is_refused_by_name_and_line() {
        let table = [
            ("{\n\"fils\": {}}", "unknown field `fils`", "line 2"),
            ("{\"files\": {\"/a\": {\n\n\"versions\": [{\"seed\": 1}]}}}", "missing field `size`", "line 3"),
            (r#"{"files": {"/a": {"versions": [], "answers": [[{"cutt": {}}]]}}}"#, "unknown variant `cutt`", "line 1"),
            (
                r#"{"files": {"/a": {"versions": [], "answers": [[{"cut": {"aftr": 1}}]]}}}"#,
                "unknown field `aftr`",
                "line 1",
            ),
            (r#"{"files": {"/a": {"versions": []}}}"#, "`/a`", "empty"),
            (r#"{"files": {"a": {"versions": [{"seed": 1, "size": 1}]}}}"#, "`a`", "begins with"),
            (
                r#"{"files": {"/a": {"versions": [{"seed": 1, "size": 1}], "then": [{"replace": {"version": 1}}]}}}"#,
                "version 1",
                "there are 1",
            ),
            (r#"{"bytes_per_second": 0}"#, "bytes_per_second", "0"),
        ];
        for (json, what, place) in table {
            let error = Script::from_json(json).expect_err(json).to_string();
            assert!(error.contains(what) && error.contains(place), "{json}: {error}");
        }
    }
}
