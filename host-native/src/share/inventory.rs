//! What is shared: items by id, which of them a search finds, and what their names say.
//!
//! An id is the hash of a path within its folder: it survives moving the folder, and reveals nothing. If two folders have the
//! same path, the folder listed first counts. Ids of films and series, season and episode are read from names as Radarr, Sonarr,
//! Plex and Jellyfin write them; nothing is guessed.

use super::library::LibraryFile;
use super::tree::FoundFile;
use super::validators::whole_seconds;
use crate::store::FileVersion;
use crate::time::rfc3339;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most items that a search returns.
const MAX_RESULTS: usize = 1000;
/// Radarr's and Sonarr's numbers for the kinds.
const FILMS: u32 = 2000;
const SERIES: u32 = 5000;

/// A shared file, as it was when it was last looked at.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    /// The folder it is in.
    pub(super) root: Arc<Path>,
    /// Its path within.
    pub(super) path: PathBuf,
    filename: String,
    /// What it was when it was last looked at.
    pub(super) version: FileVersion,
    clues: Clues,
    /// What a server knows of it, if it is of a library.
    library: Option<Arc<LibraryFile>>,
}

impl Item {
    pub(super) fn new(root: &Arc<Path>, found: FoundFile) -> Item {
        let names = found.path.iter().filter_map(|name| name.to_str());
        let clues = Clues::of(names);
        let filename = found.path.file_name().unwrap_or_default();
        Item {
            id: item_id(&found.path),
            root: Arc::clone(root),
            filename: filename.to_string_lossy().into_owned(),
            clues,
            path: found.path,
            version: found.version,
            library: None,
        }
    }

    /// A file of a server's library.
    pub(super) fn of_library(file: &Arc<LibraryFile>, version: FileVersion) -> Item {
        Item {
            id: file.id.clone(),
            root: Arc::clone(&file.root),
            path: file.path.clone(),
            filename: file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version,
            clues: file.clues.clone(),
            library: Some(Arc::clone(file)),
        }
    }

    /// The item as peers see it: how long its file is now, and its digest if that is known.
    pub(super) fn release(&self, size: u64, sha256: Option<String>) -> SharedRelease<'_> {
        let stem = Path::new(&self.filename).file_stem().and_then(|stem| stem.to_str());
        let library = self.library.as_ref();
        let title = library.and_then(|file| file.title.as_deref()).or(stem);
        let is_series = library.map_or(self.clues.episodes.is_some(), |file| file.is_series);
        SharedRelease {
            id: &self.id,
            title: title.unwrap_or(&self.filename),
            filename: &self.filename,
            category: if is_series { SERIES } else { FILMS },
            quality: library.and_then(|file| file.quality.as_ref()),
            size,
            imdb_id: self.clues.imdb.map(|number| format!("tt{number:07}")),
            tmdb_id: self.clues.tmdb,
            tvdb_id: self.clues.tvdb,
            season: self.clues.season,
            episode: self.clues.episodes.as_ref().map(|episodes| *episodes.start()),
            publish_date: whole_seconds(self.version.mtime_ns).map(rfc3339),
            sha256,
        }
    }
}

fn item_id(path: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(b"regrip item\0");
    hash.update(path.as_os_str().as_bytes());
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A release on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SharedRelease<'a> {
    id: &'a str,
    title: &'a str,
    filename: &'a str,
    category: u32,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    imdb_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmdb_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tvdb_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    season: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    episode: Option<u64>,
    /// When the file last changed, as jack dates its releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// What a search asks for; what is `None` was not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    imdb: Option<u64>,
    tmdb: Option<u64>,
    tvdb: Option<u64>,
    season: Option<u64>,
    episode: Option<u64>,
}

impl Search {
    /// Reads a parameter; empty ones and names it does not know are left out.
    ///
    /// # Errors
    /// The name of the parameter whose value is not a number.
    pub(super) fn read(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let (slot, name, digits) = match name {
            "imdbId" => (&mut self.imdb, "imdbId", value.strip_prefix("tt").unwrap_or(value)),
            "tmdbId" => (&mut self.tmdb, "tmdbId", value),
            "tvdbId" => (&mut self.tvdb, "tvdbId", value),
            "season" => (&mut self.season, "season", value),
            "episode" => (&mut self.episode, "episode", value),
            _ => return Ok(()),
        };
        if value.is_empty() {
            return Ok(());
        }
        *slot = Some(digits.parse().map_err(|_| name)?);
        Ok(())
    }

    /// One id that fits is enough: names seldom have all of them. One that is known to be another is too much.
    fn fits(&self, clues: &Clues) -> bool {
        let ids = [(self.imdb, clues.imdb), (self.tmdb, clues.tmdb), (self.tvdb, clues.tvdb)];
        let asked = ids.iter().any(|(asked, _)| asked.is_some());
        let both = || ids.iter().filter_map(|(asked, known)| asked.zip(*known));
        let id_fits = !asked || (both().count() > 0 && both().all(|(asked, known)| asked == known));
        let season_fits = self.season.is_none_or(|season| clues.season == Some(season));
        let episodes = clues.episodes.as_ref();
        let episode_fits =
            self.episode.is_none_or(|episode| episodes.is_some_and(|episodes| episodes.contains(&episode)));
        id_fits && season_fits && episode_fits
    }
}

/// All that is shared.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    by_id: HashMap<String, Arc<Item>>,
    /// Newest first.
    items: Vec<Arc<Item>>,
    /// Files left out because another folder has the same path.
    pub(super) shadowed: usize,
}

impl Inventory {
    /// Of items in the order of their folders.
    pub(super) fn new(items: impl IntoIterator<Item = Arc<Item>>) -> Inventory {
        let items: Vec<_> = items.into_iter().collect();
        let of_libraries = items.iter().filter(|item| item.library.is_some());
        let of_libraries: HashSet<_> = of_libraries.map(|item| item.root.join(&item.path)).collect();
        let mut inventory = Inventory::default();
        for item in items {
            // What a server knows of a file is better than its names; by the id of its path it is still there.
            let is_listed = item.library.is_some() || !of_libraries.contains(&item.root.join(&item.path));
            if inventory.by_id.contains_key(&item.id) {
                inventory.shadowed += 1;
                continue;
            }
            for id in item.library.iter().flat_map(|file| &file.others) {
                inventory.by_id.entry(id.clone()).or_insert_with(|| Arc::clone(&item));
            }
            inventory.by_id.insert(item.id.clone(), Arc::clone(&item));
            if is_listed {
                inventory.items.push(item);
            }
        }
        inventory.items.sort_by(|one, other| {
            other.version.mtime_ns.cmp(&one.version.mtime_ns).then_with(|| one.path.cmp(&other.path))
        });
        inventory
    }

    pub(super) fn item(&self, id: &str) -> Option<&Arc<Item>> {
        self.by_id.get(id)
    }

    /// Every item, newest first.
    pub(super) fn items(&self) -> &[Arc<Item>] {
        &self.items
    }

    /// How many bytes they are in all.
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.version.size).fold(0, u64::saturating_add)
    }

    /// The items that a search means, newest first, at most [`MAX_RESULTS`].
    pub(super) fn search(&self, query: &Search) -> impl Iterator<Item = &Arc<Item>> {
        let fitting = self.items.iter().filter(|item| query.fits(&item.clues));
        fitting.take(MAX_RESULTS)
    }
}

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clues {
    /// The number of `tt0123456`.
    pub(super) imdb: Option<u64>,
    /// TheMovieDB.
    pub(super) tmdb: Option<u64>,
    /// TheTVDB.
    pub(super) tvdb: Option<u64>,
    /// The season.
    pub(super) season: Option<u64>,
    /// The first and last episode in the file.
    pub(super) episodes: Option<RangeInclusive<u64>>,
}

impl Clues {
    /// Reads a path from the file up: the nearest name with a clue counts.
    pub(super) fn of<'a>(names: impl DoubleEndedIterator<Item = &'a str>) -> Clues {
        let mut clues = Clues::default();
        let mut is_file = true;
        for name in names.rev() {
            let name = name.to_ascii_lowercase();
            clues.imdb = clues.imdb.or_else(|| id(&name, "imdb", "tt"));
            clues.tmdb = clues.tmdb.or_else(|| id(&name, "tmdb", ""));
            clues.tvdb = clues.tvdb.or_else(|| id(&name, "tvdb", ""));
            // A folder may name its season, but only a file is an episode.
            if is_file && let Some((season, episodes)) = episode(&name) {
                clues.season = Some(season);
                clues.episodes = Some(episodes);
            }
            is_file = false;
        }
        clues
    }
}

/// `{tmdb-123}`, `[tmdbid-123]`, `{imdb-tt0123}`, `{tmdb=123}`.
fn id(name: &str, site: &str, prefix: &str) -> Option<u64> {
    let mut rest = name;
    while let Some(at) = rest.find(site) {
        let (before, after) = (&rest[..at], &rest[at + site.len()..]);
        rest = after;
        let after = after.strip_prefix("id").unwrap_or(after);
        let number = after.strip_prefix(['-', '=']).and_then(|after| after.strip_prefix(prefix));
        if before.ends_with(['{', '['])
            && let Some((number, end)) = number.and_then(leading_number)
            && end.starts_with(['}', ']'])
        {
            return Some(number);
        }
    }
    None
}

/// `s01e02`, `s01e02e03`, `s01e02-e03`, `s01e02-03`, and `1x02`.
fn episode(name: &str) -> Option<(u64, RangeInclusive<u64>)> {
    let starts = name.char_indices().filter(|&(at, _)| {
        let before = name[..at].chars().next_back();
        !before.is_some_and(char::is_alphanumeric)
    });
    for (at, letter) in starts {
        let rest = &name[at..];
        let found = match letter {
            's' => season_and_episode(&rest[1..]),
            '0'..='9' => season_x_episode(rest),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn season_and_episode(text: &str) -> Option<(u64, RangeInclusive<u64>)> {
    let (season, rest) = leading_number(text)?;
    let (first, mut rest) = leading_number(rest.strip_prefix('e')?)?;
    let mut last = first;
    while let Some((next, after)) = next_episode(rest).filter(|(next, _)| *next > last) {
        (last, rest) = (next, after);
    }
    Some((season, first..=last))
}

/// A further episode of the same file.
fn next_episode(text: &str) -> Option<(u64, &str)> {
    let marked = text.strip_prefix("-e").or_else(|| text.strip_prefix('e'));
    if let Some(marked) = marked {
        return leading_number(marked);
    }
    // `s01e02-03`, and not `s01e02-1080p`.
    let (number, after) = leading_number(text.strip_prefix('-')?)?;
    (!after.starts_with(char::is_alphanumeric)).then_some((number, after))
}

fn season_x_episode(text: &str) -> Option<(u64, RangeInclusive<u64>)> {
    let (season, rest) = leading_number(text)?;
    let (episode, rest) = leading_number(rest.strip_prefix('x')?)?;
    // `1920x1080` is a picture's size.
    let small = season < 100 && episode < 1000 && !rest.starts_with(char::is_alphanumeric);
    small.then_some((season, episode..=episode))
}

/// The digits at the start, at most nine, and what follows them.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.len() <= 9).then(|| digits.parse().ok()).flatten().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileId;

    fn inventory(paths: &[(&str, &str)]) -> Inventory {
        let items = paths.iter().enumerate().map(|(number, (root, path))| {
            let found = FoundFile {
                path: PathBuf::from(path),
                version: FileVersion {
                    id: FileId::default(),
                    size: 10,
                    mtime_ns: -i64::try_from(number).unwrap(),
                    ctime_ns: 0,
                },
            };
            Arc::new(Item::new(&Arc::from(Path::new(root)), found))
        });
        Inventory::new(items)
    }

    #[test]
    fn a_search_means_what_its_parameters_name() {
        let inventory = inventory(&[
            ("/r", "Film {imdb-tt0000007} {tmdb-70}/film.mkv"),
            ("/r", "Other {tmdb-71}/other.mkv"),
            ("/r", "Show {tvdb-5}/Show S01E02E03.mkv"),
            ("/r", "Show {tvdb-5}/Show S02E02.mkv"),
            ("/r", "plain.mkv"),
        ]);
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let table: [Case<'_>; 14] = [
            (&[("imdbId", "tt0000007")], &["film.mkv"]),
            (&[("imdbId", "7")], &["film.mkv"]),
            (&[("imdbId", "tt0000008")], &[]),
            (&[("tmdbId", "71")], &["other.mkv"]),
            (&[("imdbId", "tt0000009"), ("tmdbId", "71")], &["other.mkv"]),
            (&[("imdbId", "tt0000009"), ("tmdbId", "70")], &[]),
            (&[("tvdbId", "5")], &["Show S01E02E03.mkv", "Show S02E02.mkv"]),
            (&[("tvdbId", "5"), ("season", "2")], &["Show S02E02.mkv"]),
            (&[("tvdbId", "5"), ("season", "1"), ("episode", "3")], &["Show S01E02E03.mkv"]),
            (&[("tvdbId", "5"), ("season", "1"), ("episode", "4")], &[]),
            (&[("tvdbId", ""), ("tmdbId", "71"), ("q", "x")], &["other.mkv"]),
            (&[("tmdbId", "5")], &[]),
            (&[("season", "9")], &[]),
            (&[], &["film.mkv", "other.mkv", "Show S01E02E03.mkv", "Show S02E02.mkv", "plain.mkv"]),
        ];
        for (parameters, wanted) in table {
            let mut query = Search::default();
            for (name, value) in parameters {
                query.read(name, value).unwrap();
            }
            let found: Vec<&str> = inventory.search(&query).map(|item| item.filename.as_str()).collect();
            assert_eq!(found, wanted, "{parameters:?}");
        }
        for (name, value) in
            [("imdbId", "nm1"), ("tmdbId", "-1"), ("season", "1.5"), ("episode", "99999999999999999999")]
        {
            assert_eq!(Search::default().read(name, value), Err(name));
        }
    }

    #[test]
    fn an_id_is_the_same_in_another_folder_and_the_first_folder_counts() {
        let (one, other) = (inventory(&[("/old", "a/f.mkv")]), inventory(&[("/new", "a/f.mkv")]));
        let id = &one.items[0].id;
        assert!(other.item(id).is_some());
        assert!(!id.contains("f.mkv"));
        let both = inventory(&[("/one", "f.mkv"), ("/two", "f.mkv"), ("/two", "g.mkv")]);
        assert_eq!((both.items().len(), both.shadowed), (2, 1));
        assert_eq!(*both.items[0].root, *Path::new("/one"));
    }

    #[test]
    fn a_release_says_what_its_names_say() {
        let inventory = inventory(&[("/r", "Show {tvdb-5}/Show S01E02.1080p.mkv")]);
        let item = &inventory.items[0];
        let json = serde_json::to_value(item.release(10, Some("ab".to_owned()))).unwrap();
        let wanted = serde_json::json!({
            "id": item.id, "title": "Show S01E02.1080p", "filename": "Show S01E02.1080p.mkv", "category": 5000,
            "size": 10, "tvdbId": 5, "season": 1, "episode": 2, "publishDate": "1970-01-01T00:00:00.000Z",
            "sha256": "ab",
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn season_and_episodes_are_read_where_they_are_written() {
        let table = [
            ("Show - S01E02 - Pilot.mkv", Some((1, 2..=2))),
            ("show.s10e123.1080p.mkv", Some((10, 123..=123))),
            ("S01E02E03.mkv", Some((1, 2..=3))),
            ("S01E02-E04.mkv", Some((1, 2..=4))),
            ("S01E02-04.mkv", Some((1, 2..=4))),
            ("S01E02-1080p.mkv", Some((1, 2..=2))),
            ("Show 1x02.mkv", Some((1, 2..=2))),
            ("Film (2020) 1920x1080.mkv", None),
            ("Bones1E02.mkv", None),
            ("Film S01.mkv", None),
            ("S99999999999E1.mkv", None),
            ("é S01E02.mkv", Some((1, 2..=2))),
        ];
        for (name, wanted) in table {
            let clues = Clues::of([name].into_iter());
            assert_eq!(clues.season.zip(clues.episodes), wanted, "{name}");
        }
    }

    #[test]
    fn ids_are_read_from_the_nearest_name_that_has_them() {
        let table: [(&[&str], Clues); 6] = [
            (
                &["Film (2020) {imdb-tt0012345} {tmdb-77}", "Film.mkv"],
                Clues { imdb: Some(12345), tmdb: Some(77), ..Clues::default() },
            ),
            (&["{tmdb-1}", "Film [tmdbid-2].mkv"], Clues { tmdb: Some(2), ..Clues::default() }),
            (
                &["Show [TVDBID=5]", "Season 01", "Show S01E02.mkv"],
                Clues { tvdb: Some(5), season: Some(1), episodes: Some(2..=2), ..Clues::default() },
            ),
            (&["Film imdb-tt1.mkv"], Clues::default()),
            (&["{imdb-1} {tmdb-x} {tvdb-1", "f.mkv"], Clues::default()),
            (&["{tvdb-} {tvdb-9}", "S01E01 is a folder", "f.mkv"], Clues { tvdb: Some(9), ..Clues::default() }),
        ];
        for (names, wanted) in table {
            assert_eq!(Clues::of(names.iter().copied()), wanted, "{names:?}");
        }
    }
}
