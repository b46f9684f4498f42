//! What a peer says about an item, and what it can be asked for.

use regrip_core::{Error, SafeName};
use serde::Deserialize;
use serde_json::Value;

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
    /// The digest of its file, lower-case hex, where the peer knows it.
    pub sha256: Option<String>,
    /// All that the peer said, for the ledger.
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
        let json = value.to_string();
        let known: Known = serde_json::from_value(value)
            .map_err(|error| Error::Protocol(format!("that is no release: {error}")))?;
        let sha256 = known.sha256.map(|hex| hex.to_ascii_lowercase());
        Ok(Release {
            id: known.id,
            title: known.title,
            filename: SafeName::new(&known.filename)?,
            category: known.category,
            size: known.size,
            sha256: sha256.filter(|hex| is_sha256(hex)),
            json,
        })
    }
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
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
