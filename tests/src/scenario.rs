//! What a scenario says, and where scenarios are read from.
//!
//! The files are `tests/scenarios/*.json`; `tests/scenarios/README.md` describes the fields for those who run them from
//! another language. An unknown field or configuration key is refused, so that a misspelt expectation never passes.

use regrip_core::hasher::Hasher;
use regrip_core::record::{DigestRow, DigestSource, RestartReason, SizeSource};
use regrip_core::retry::AskedBy;
use regrip_core::{Algorithm, Checksum, Class, DownloadsConfig, OnExists};
use regrip_faultd::{FileScript, Script};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the file is on the peer.
pub const PATH: &str = "/file";

/// A behaviour.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The case of `tests/CASES.md`, or `R01` and so on for a rule that has none.
    pub id: String,
    /// The behaviour, as a sentence.
    pub name: String,
    /// The file [`PATH`] and what goes wrong with it.
    pub peer: FileScript,
    /// Further files of the same peer, by path.
    #[serde(default)]
    pub more: BTreeMap<String, FileScript>,
    /// Files of another origin, by path; `{elsewhere}` in a redirect stands for it.
    #[serde(default)]
    pub elsewhere: BTreeMap<String, FileScript>,
    /// The peer's address, if not the one it listens on.
    #[serde(default)]
    pub address: Address,
    /// What is on the disk already.
    #[serde(default)]
    pub before: Before,
    /// What differs from [`Scenario::config`]'s defaults, by its names in the configuration file.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// What is asked for.
    #[serde(default)]
    pub download: Download,
    /// Jumps of our wall clock.
    #[serde(default)]
    pub clock: Vec<Jump>,
    /// Called off when this event was heard.
    #[serde(default)]
    pub cancel_at: Option<String>,
    /// How often it is asked for, one after the other. A cancel is for the first.
    #[serde(default = "once")]
    pub calls: u32,
    /// On which hosts it runs; all, if it is missing.
    #[serde(default = "every_host")]
    pub hosts: Vec<Host>,
    /// Why not on all of them.
    #[serde(default)]
    pub because: Option<String>,
    /// How it must end.
    pub expect: Expect,
}

/// A host that runs scenarios.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// The core on its fakes.
    Core,
    /// Sockets, files, SQLite.
    Native,
}

/// Where the peer is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Where it listens.
    #[default]
    Listens,
    /// At a port without a listener.
    Refused,
    /// At a name that does not exist.
    UnknownName,
    /// Behind TLS with a certificate that has expired.
    ExpiredCertificate,
}

/// What is on the disk already.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// At the destination.
    pub destination: Option<There>,
    /// At the part's name; no row claims it.
    pub part: Option<There>,
    /// Room on the disk, in bytes.
    pub room: Option<u64>,
}

/// Something on the disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum There {
    /// A file with this text.
    Text(String),
    /// A file with the first bytes of a version.
    Bytes(Bytes),
    /// Not a file.
    Odd {
        /// What.
        odd: Odd,
    },
}

/// The first bytes of a version of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    /// Which one, from 0.
    pub version: usize,
    /// How many.
    pub length: u64,
    /// The one of them that is wrong.
    #[serde(default)]
    pub flip_at: Option<u64>,
}

/// Something that is not a file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    /// A folder.
    Folder,
    /// A link to a file beside it, which holds `elsewhere`.
    Link,
    /// A link to nothing.
    DanglingLink,
}

/// What is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Download {
    /// The name of the file, whatever its URL.
    pub name: String,
    /// The digests it must have.
    pub digests: Vec<Digest>,
    /// Further ones, given from the second call on.
    pub later: Vec<Digest>,
    /// The size by the release's metadata.
    pub release_size: Option<u64>,
    /// Other URLs of the file; `{origin}` is the peer.
    pub mirrors: Vec<String>,
    /// Take up a part that no row claims.
    pub adopt: bool,
    /// What to do if the destination exists.
    pub on_exists: OnExists,
    /// Headers for the peer, by name: credentials.
    pub headers: BTreeMap<String, String>,
    /// Compute no digest.
    pub no_digest: bool,
}

impl Default for Download {
    fn default() -> Self {
        Download {
            name: "film.mkv".to_owned(),
            digests: Vec::new(),
            later: Vec::new(),
            release_size: None,
            mirrors: Vec::new(),
            adopt: false,
            on_exists: OnExists::default(),
            headers: BTreeMap::new(),
            no_digest: false,
        }
    }
}

/// A digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Digest {
    /// As it is written.
    Written(Checksum),
    /// Of a version.
    Of {
        /// Which one, from 0.
        version: usize,
        /// What computes it.
        algorithm: Algorithm,
    },
}

/// A jump of our wall clock. The peer's clock stays right.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// Just before this request is answered, from 1.
    pub at_request: usize,
    /// How far, in seconds.
    pub by: i64,
}

/// How a download must end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How it ends.
    pub end: End,
    /// The configuration key that is refused.
    #[serde(default)]
    pub key: Option<String>,
    /// The error's code.
    #[serde(default)]
    pub code: Option<String>,
    /// The error's class; permanent, if it is missing.
    #[serde(default)]
    pub class: Option<ClassName>,
    /// Which version is at the destination; missing is what was there before.
    #[serde(default)]
    pub file: Option<usize>,
    /// Attempts over the row's life.
    #[serde(default)]
    pub attempts: u32,
    /// Restarts in order, with the bytes they discarded; none, if it is missing.
    #[serde(default)]
    pub restarts: Vec<(RestartReason, Discarded)>,
    /// What the peer is asked, in order; missing is not looked at.
    #[serde(default)]
    pub requests: Option<Vec<Asked>>,
    /// What the other origin is asked, in order.
    #[serde(default)]
    pub elsewhere: Vec<Asked>,
    /// The waits in order, in milliseconds (null is any), and who asked for them; missing is not looked at.
    #[serde(default)]
    pub delays: Option<Vec<(Option<u64>, AskedBy)>>,
    /// The part that is kept; null is none, missing is not looked at.
    #[serde(default, deserialize_with = "given")]
    pub part: Option<Option<Kept>>,
    /// Size, what said so, and whether it is not the release's, by the last `headers`; missing is not looked at.
    #[serde(default)]
    pub size: Option<(Option<u64>, Option<SizeSource>, bool)>,
    /// The names of all events but `progress`; missing is not looked at.
    #[serde(default)]
    pub events: Option<Vec<String>>,
}

/// How many bytes a restart discards.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Discarded {
    /// So many.
    Exactly(u64),
    /// At least and at most this many: a difference is found by the chunk, and chunks are as large as the host reads them.
    Between(u64, u64),
}

impl Discarded {
    /// Returns `true` if this many bytes are as expected.
    pub fn fits(self, bytes: u64) -> bool {
        match self {
            Discarded::Exactly(expected) => bytes == expected,
            Discarded::Between(least, most) => (least..=most).contains(&bytes),
        }
    }
}

/// How a download ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With a file.
    Completed,
    /// Without.
    Failed,
    /// Called off.
    Cancelled,
    /// It does not begin: the configuration is refused.
    Refused,
}

impl End {
    /// The event that says so, and the status.
    pub fn name(self) -> &'static str {
        match self {
            End::Completed => "completed",
            End::Failed => "failed",
            End::Cancelled => "cancelled",
            End::Refused => "refused",
        }
    }
}

/// A class by its name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClassName {
    /// It may work later.
    Transient,
    /// It will not, by itself.
    Permanent,
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Class {
        match name {
            ClassName::Transient => Class::Transient,
            ClassName::Permanent => Class::Permanent,
        }
    }
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Path and query.
    #[serde(default = "path")]
    pub target: String,
    /// Its Range; none, if it is missing.
    #[serde(default)]
    pub range: Option<String>,
    /// Its If-Range; none, if it is missing.
    #[serde(default)]
    pub if_range: Option<String>,
    /// Other headers it has, or (null) must not have.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
}

/// A part that is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Kept {
    /// The first bytes of one version.
    First(u64),
    /// This many bytes, whatever they are.
    Any {
        /// How many.
        any: u64,
    },
    /// A text.
    Text(String),
}

fn once() -> u32 {
    1
}

fn every_host() -> Vec<Host> {
    vec![Host::Core, Host::Native]
}

fn path() -> String {
    PATH.to_owned()
}

/// Tells null from missing.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<Kept>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Scenario {
    /// The configuration: that of `regrip`, but with no backoff if the scenario names none.
    ///
    /// # Errors
    /// A key that does not exist, or a value of another type.
    pub fn config(&self) -> Result<DownloadsConfig, String> {
        let text = |error: serde_json::Error| format!("config: {error}");
        let usual = DownloadsConfig { retry_base_delay_ms: 0, ..DownloadsConfig::default() };
        let Value::Object(mut all) = serde_json::to_value(usual).map_err(text)? else {
            return Err("config: not an object".to_owned());
        };
        for (key, value) in &self.config {
            if all.insert(key.clone(), value.clone()).is_none() {
                return Err(format!("config: there is no key `{key}`"));
            }
        }
        serde_json::from_value(Value::Object(all)).map_err(text)
    }

    /// The peer's files.
    pub fn script(&self) -> Script {
        let peer = Script::one(PATH, self.peer.clone());
        let more = self.more.iter();
        more.fold(peer, |script, (path, file)| script.file(path, file.clone()))
    }

    /// The other origin's files.
    pub fn script_elsewhere(&self) -> Script {
        let files = self.elsewhere.iter();
        files.fold(Script::new(), |script, (path, file)| script.file(path, file.clone()))
    }

    /// The whole of a version.
    pub fn version(&self, index: usize) -> Option<Vec<u8>> {
        let content = self.peer.versions.get(index)?.content();
        Some(content.bytes(0..content.size))
    }

    /// Digests as the caller gives them.
    pub fn digests(&self, digests: &[Digest]) -> Vec<DigestRow> {
        let checksum = |digest: &Digest| match digest {
            Digest::Written(checksum) => Some(checksum.clone()),
            Digest::Of { version, algorithm } => Some(Hasher::of(*algorithm, &self.version(*version)?)),
        };
        let given = |checksum| DigestRow::wanted(checksum, DigestSource::Caller);
        digests.iter().filter_map(checksum).map(given).collect()
    }

    fn check(&self) -> Result<(), String> {
        self.config()?;
        self.script().check().map_err(|error| error.to_string())?;
        self.script_elsewhere().check().map_err(|error| error.to_string())?;
        if self.hosts != every_host() && self.because.is_none() {
            return Err("it says not why it runs on some hosts only".to_owned());
        }
        let (code, key) = (self.expect.code.is_some(), self.expect.key.is_some());
        let file = self.expect.file;
        let whole = match self.expect.end {
            End::Completed => file.is_some() && !code && !key,
            End::Failed | End::Cancelled => file.is_none() && code && !key,
            End::Refused => file.is_none() && !code && key,
        };
        let versions = self.peer.versions.len();
        if !whole || file.is_some_and(|file| file >= versions) {
            return Err("what it expects is not a whole".to_owned());
        }
        Ok(())
    }
}

impl Bytes {
    /// The bytes, of the versions of `peer`.
    pub fn of(&self, peer: &FileScript) -> Option<Vec<u8>> {
        let content = peer.versions.get(self.version)?.content();
        let mut bytes = content.bytes(0..self.length);
        if let Some(at) = self.flip_at {
            let byte = bytes.get_mut(usize::try_from(at).ok()?)?;
            *byte = !*byte;
        }
        Some(bytes)
    }
}

/// All scenarios, by file and in order.
///
/// # Errors
/// The file and the scenario that do not make sense, and why.
pub fn all() -> Result<Vec<Scenario>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(&folder).map_err(|error| error.to_string())?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut scenarios = Vec::new();
    for path in paths {
        let shown = path.display();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let read: Vec<Scenario> = serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        for scenario in read {
            let Scenario { id, name, .. } = &scenario;
            scenario.check().map_err(|why| format!("{shown}: {id} {name}: {why}"))?;
            scenarios.push(scenario);
        }
    }
    Ok(scenarios)
}
