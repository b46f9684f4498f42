//! What a peer says about an item, and what it can be asked for.

use regrip_core::{Algorithm, Checksum};
use regrip_core::{Error, SafeName, shown};
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
struct Known {
    id: String,
    title: String,
    filename: String,
    category: u32,
    size: u64,
    sha256: Option<String>,
}

impl Release {
    /// Reads what a peer said.
    ///
    /// # Errors
    /// `Protocol` where something is missing, `NameRefused` where the file's name is not a plain safe one.
    pub(super) fn read(value: Value) -> Result<Release, Error> {
        let known = Known::deserialize(&value)
            .map_err(|error| Error::Protocol(format!("that is no release: {error}")))?;
        if known.id.len() > LONGEST_ID_BYTES {
            let what =
                format!("that is no release: its id is longer than {LONGEST_ID_BYTES} bytes");
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
        let numbers = [
            ("tmdbId", self.tmdb_id),
            ("tvdbId", self.tvdb_id),
            ("season", self.season),
            ("episode", self.episode),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?.to_string())));
        let imdb = self.imdb_id.clone().map(|id| ("imdbId", id));
        imdb.into_iter().chain(numbers).collect()
    }
}
