//! What a peer says about itself and its items, and the parameters of a search.

use regrip_core::stub::StubRefused;
use regrip_core::{Algorithm, Checksum, Error, PeerId, SafeName, Stub, shown};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest id, as for stubs.
const LONGEST_ID_BYTES: usize = 1024;

/// What is kept of a release beside what has a meaning here, at most.
const LARGEST_KEPT_BYTES: usize = 8 << 10;

/// What has a meaning here.
const KNOWN: [&str; 6] = ["id", "title", "filename", "category", "size", "sha256"];

/// An item of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// As the peer names it.
    pub id: String,
    /// To show.
    pub title: String,
    /// What its file is called.
    pub filename: SafeName,
    /// 2000 for films, 5000 for series.
    pub category: u32,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its file, if the peer knows it.
    pub sha256: Option<Checksum>,
    /// What the peer said, within bounds, for the ledger.
    pub json: String,
}

/// The part of it that has a meaning here.
#[derive(Deserialize)]
struct Fields {
    id: String,
    title: String,
    filename: String,
    category: u32,
    size: u64,
    sha256: Option<String>,
}

impl Release {
    /// The stub of `item` of a peer, whose release this is. It has the file's name, as BEP 3 has it for a torrent of one file.
    ///
    /// # Errors
    /// `Foreign` if no stub can name the item.
    pub(crate) fn stub(&self, peer: PeerId, item: &str) -> Result<Stub, StubRefused> {
        Stub::new(peer, item, self.filename.as_str(), self.size)
    }

    /// Reads what a peer said.
    ///
    /// # Errors
    /// `Protocol` if something is missing, `NameRefused` if the file's name is not a plain safe one.
    pub(crate) fn read(value: Value) -> Result<Release, Error> {
        let known = Fields::deserialize(&value).map_err(|error| Error::Protocol(format!("not a release: {error}")))?;
        if known.id.len() > LONGEST_ID_BYTES {
            let what = format!("not a release: its id is longer than {LONGEST_ID_BYTES} bytes");
            return Err(Error::Protocol(what));
        }
        let sha256 = |hex: String| Checksum::new(Algorithm::Sha256, &hex).ok();
        Ok(Release {
            id: known.id,
            title: shown(&known.title).into_owned(),
            filename: SafeName::new(&known.filename)?,
            category: known.category,
            size: known.size,
            sha256: known.sha256.and_then(sha256),
            json: kept(&value).to_string(),
        })
    }
}

impl Release {
    /// The search that finds the same film or episode at another peer; `None` if no id is known.
    pub fn query(&self) -> Option<Query> {
        let kept: Value = serde_json::from_str(&self.json).ok()?;
        let number = |name: &str| kept.get(name).and_then(Value::as_u64);
        let query = Query {
            imdb_id: kept.get("imdbId").and_then(Value::as_str).map(str::to_owned),
            tmdb_id: number("tmdbId"),
            tvdb_id: number("tvdbId"),
            season: number("season"),
            episode: number("episode"),
        };
        (query.imdb_id.is_some() || query.tmdb_id.is_some() || query.tvdb_id.is_some()).then_some(query)
    }
}

/// What is kept of a release: its values with their texts cut, as far as they fit. Those that have a meaning here always do.
fn kept(release: &Value) -> Value {
    let mut kept = Map::new();
    let mut room = LARGEST_KEPT_BYTES;
    let values = release.as_object().into_iter().flatten();
    for (name, value) in values {
        let value = cut(value);
        let bytes = name.len() + value.to_string().len();
        let is_known = KNOWN.contains(&name.as_str());
        if is_known || bytes <= room {
            room = room.saturating_sub(bytes);
            kept.insert(name.clone(), value);
        }
    }
    Value::Object(kept)
}

fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(text).into_owned()),
        Value::Array(values) => values.iter().map(cut).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let cut = fields.map(|(name, value)| (shown(name).into_owned(), cut(value)));
            Value::Object(cut.collect())
        }
        plain => plain.clone(),
    }
}

/// What a peer is searched for; what is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `tt` and digits.
    pub imdb_id: Option<String>,
    /// By themoviedb.org.
    pub tmdb_id: Option<u64>,
    /// By thetvdb.com.
    pub tvdb_id: Option<u64>,
    /// Season of a series.
    pub season: Option<u64>,
    /// Episode of a season.
    pub episode: Option<u64>,
}

impl Query {
    /// As pairs of a URL's query.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let numbers =
            [("tmdbId", self.tmdb_id), ("tvdbId", self.tvdb_id), ("season", self.season), ("episode", self.episode)];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string())));
        let imdb = self.imdb_id.clone().map(|id| ("imdbId", id));
        imdb.into_iter().chain(numbers).collect()
    }
}

/// The oldest version of the wire that is spoken.
const OLDEST: [u64; 3] = [0, 1, 0];

/// Longest version.
const LONGEST_BYTES: usize = 64;

#[derive(Deserialize)]
struct Handshake {
    version: String,
}

/// Takes a handshake whose version is new enough, and returns that version.
///
/// # Errors
/// `Protocol`.
pub(super) fn check(handshake: &[u8]) -> Result<String, Error> {
    let Handshake { version } = super::client::read(handshake)?;
    if version.len() > LONGEST_BYTES {
        let what = format!("a version of more than {LONGEST_BYTES} bytes");
        return Err(Error::Protocol(what));
    }
    match numbers(&version) {
        Some(numbers) if numbers >= OLDEST => Ok(version),
        Some(_) => Err(Error::Protocol(format!("the peer speaks version {version}, but 0.1.0 or later is required"))),
        None => Err(Error::Protocol(format!("{version:?} is not a version"))),
    }
}

/// `x.y.z`, bare.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut numbers = [0; 3];
    let mut parts = version.split('.');
    for number in &mut numbers {
        *number = parts.next().filter(|part| digits(part))?.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_version_from_0_1_0_on_will_do() {
        let table = [
            ("0.1.0", true),
            ("0.1.1", true),
            ("0.10.0", true),
            ("1.0.0", true),
            ("18446744073709551615.0.0", true),
            ("0.0.9", false),
            ("0.0.99999", false),
            ("v0.1.0", false),
            ("0.1", false),
            ("0.1.0.0", false),
            ("0.1.0-rc1", false),
            ("0..0", false),
            ("+1.0.0", false),
            ("18446744073709551616.0.0", false),
            ("", false),
        ];
        for (version, will_do) in table {
            let handshake = format!(r#"{{"version": "{version}"}}"#);
            assert_eq!(check(handshake.as_bytes()).is_ok(), will_do, "{version}");
        }
        for other in ["{}", "[]", r#"{"version": 1}"#, "OK", ""] {
            assert!(check(other.as_bytes()).is_err(), "{other}");
        }
    }
}
