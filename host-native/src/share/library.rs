//! What Radarr and Sonarr have files for, as items to share.
//!
//! Ids are those of jack: `<server>:movie:<number>` and `<server>:episode:<number>`, `<server>` being the digest of the server's
//! URL, so that stubs and downloads of peers stay valid if a server changes from one program to the other, restarts or renames
//! a file. A file of several episodes has the id of the first one and is found by the others.
//!
//! Invariant: a server names paths; nothing outside of the folder of its films or series, and of what `pathMapping` leads to, is
//! opened by them, no step follows a link, and what looks unfinished is left out.

use super::inventory::Clues;
use super::tree::{is_unfinished_file, is_unfinished_folder};
use crate::config::{ImportServer, ImportServerKind, id_of};
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use regrip_core::transport::{Body, Response};
use regrip_core::{Error, SafeName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use surf::http::Method;

/// The longest answer that is read: some ten thousand films are far below.
const LARGEST_BYTES: usize = 256 << 20;

/// A file that a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LibraryFile {
    pub(super) id: String,
    /// Ids of further episodes in it.
    pub(super) others: Vec<String>,
    /// The folder of films or series.
    pub(super) root: Arc<Path>,
    /// The file's path within.
    pub(super) path: PathBuf,
    pub(super) clues: Clues,
    /// The name of its release, if the server knows it.
    pub(super) title: Option<String>,
    pub(super) quality: Option<Value>,
    pub(super) is_series: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LibraryTitle {
    id: u64,
    path: Option<String>,
    imdb_id: Option<String>,
    tmdb_id: Option<u64>,
    tvdb_id: Option<u64>,
    movie_file: Option<MediaFile>,
    statistics: Option<SeriesStatistics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesStatistics {
    #[serde(default)]
    episode_file_count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MediaFile {
    #[serde(default)]
    id: u64,
    path: Option<String>,
    scene_name: Option<String>,
    quality: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesEpisode {
    id: u64,
    season_number: u64,
    episode_number: u64,
    #[serde(default)]
    episode_file_id: u64,
}

/// Asks a server for all that it has files for.
///
/// # Errors
/// `Status`, `Protocol` for an answer that is not the API's, else as the transport.
pub(crate) async fn fetch(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
) -> Result<Vec<LibraryFile>, Error> {
    let mut files = Vec::new();
    match server.kind {
        ImportServerKind::Radarr => {
            for film in list::<LibraryTitle>(host, server, "movie").await? {
                files.extend(film_of(server, &film));
            }
        }
        ImportServerKind::Sonarr => {
            for series in list::<LibraryTitle>(host, server, "series").await? {
                if series.statistics.as_ref().is_some_and(|statistics| statistics.episode_file_count == 0) {
                    continue;
                }
                let id = series.id;
                let media: Vec<MediaFile> = list(host, server, &format!("episodefile?seriesId={id}")).await?;
                let episodes: Vec<SeriesEpisode> = list(host, server, &format!("episode?seriesId={id}")).await?;
                files.extend(episodes_of(server, &series, &media, &episodes));
            }
        }
    }
    Ok(files)
}

/// The elements of a list; those that make no sense are left out.
async fn list<T: DeserializeOwned>(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    what: &str,
) -> Result<Vec<T>, Error> {
    let url = format!("{}/api/v3/{what}", server.url.trim_end_matches('/'));
    let Response { status, mut body, .. } = host.transport.ask(Method::Get, &url, &server.headers, None).await?;
    match status {
        200 => {}
        300..=399 => {
            return Err(Error::Protocol(format!(
                "the status is {status}: the URL lacks the server's URL base, perhaps"
            )));
        }
        400.. => return Err(Error::Status { status, retry_after: None }),
        _ => return Err(Error::Protocol(format!("the status is {status}"))),
    }
    let mut json = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if json.len() + chunk.len() > LARGEST_BYTES {
            return Err(Error::Protocol("the answer is longer than 256 MiB".to_owned()));
        }
        json.extend_from_slice(chunk);
    }
    let values: Vec<Value> =
        serde_json::from_slice(&json).map_err(|_| Error::Protocol("the answer is not the API's list".to_owned()))?;
    Ok(values.into_iter().filter_map(|value| T::deserialize(value).ok()).collect())
}

fn film_of(server: &ImportServer, film: &LibraryTitle) -> Option<LibraryFile> {
    let media = film.movie_file.as_ref()?;
    let (root, path) = place(media.path.as_deref()?, film.path.as_deref(), &server.path_mapping)?;
    Some(LibraryFile {
        id: format!("{}:movie:{}", id_of(&server.url), film.id),
        others: Vec::new(),
        clues: Clues { season: None, episodes: None, ..clues(film, &path) },
        root,
        path,
        title: media.scene_name.clone().filter(|name| !name.is_empty()),
        quality: quality(media),
        is_series: false,
    })
}

fn episodes_of(
    server: &ImportServer,
    series: &LibraryTitle,
    media: &[MediaFile],
    episodes: &[SeriesEpisode],
) -> Vec<LibraryFile> {
    let mut by_file: BTreeMap<u64, Vec<&SeriesEpisode>> = BTreeMap::new();
    for episode in episodes.iter().filter(|episode| episode.episode_file_id != 0) {
        by_file.entry(episode.episode_file_id).or_default().push(episode);
    }
    let file = |media: &MediaFile| {
        let mut held = by_file.get(&media.id)?.clone();
        held.sort_by_key(|episode| (episode.season_number, episode.episode_number));
        let (first, last) = (held.first()?, held.last()?);
        let (root, path) = place(media.path.as_deref()?, series.path.as_deref(), &server.path_mapping)?;
        let id = |episode: &SeriesEpisode| format!("{}:episode:{}", id_of(&server.url), episode.id);
        let last = if last.season_number == first.season_number { last } else { first };
        Some(LibraryFile {
            id: id(first),
            others: held.iter().skip(1).map(|episode| id(episode)).collect(),
            clues: Clues {
                season: Some(first.season_number),
                episodes: Some(first.episode_number..=last.episode_number),
                ..clues(series, &path)
            },
            root,
            path,
            title: media.scene_name.clone().filter(|name| !name.is_empty()),
            quality: quality(media),
            is_series: true,
        })
    };
    media.iter().filter_map(file).collect()
}

/// What the server knows, and the file's names where it knows nothing.
fn clues(title: &LibraryTitle, path: &Path) -> Clues {
    let named = Clues::of(path.iter().filter_map(OsStr::to_str));
    let imdb = title.imdb_id.as_deref().and_then(|id| id.strip_prefix("tt")?.parse().ok());
    let known = |id: Option<u64>| id.filter(|id| *id != 0);
    Clues {
        imdb: imdb.or(named.imdb),
        tmdb: known(title.tmdb_id).or(named.tmdb),
        tvdb: known(title.tvdb_id).or(named.tvdb),
        ..named
    }
}

/// Name, source and resolution.
fn quality(media: &MediaFile) -> Option<Value> {
    let quality = media.quality.as_ref()?.get("quality")?.as_object()?;
    let kept = ["name", "source", "resolution"].iter().filter_map(|name| {
        let value = quality.get(*name).filter(|value| value.is_string() || value.is_number())?;
        Some(((*name).to_owned(), value.clone()))
    });
    Some(Value::Object(kept.collect()))
}

/// Where a server's file is here: a folder that may be a link itself, and the path within, of which no step may be. A mapping
/// of the longest path counts; without one, the path is the same here, and the folder is the one that has those of the films.
fn place(path: &str, folder: Option<&str>, mapping: &[(String, PathBuf)]) -> Option<(Arc<Path>, PathBuf)> {
    let names = names(path)?;
    let mapped = mapping.iter().filter_map(|(there, here)| {
        let there = self::names(there)?;
        let is_windows = is_of_windows(path);
        let same = |(one, other): (&&str, &&str)| one == other || (is_windows && one.eq_ignore_ascii_case(other));
        let fits = there.len() < names.len() && there.iter().zip(&names).all(same);
        fits.then_some((there.len(), here))
    });
    let (root, within) = match mapped.max_by_key(|(length, _)| *length) {
        Some((length, here)) => (here.clone(), names.get(length..)?),
        None if is_of_windows(path) => return None,
        None => {
            let folder = folder.and_then(self::names).filter(|folder| names.starts_with(folder));
            let above = folder.map_or(names.len().saturating_sub(2), |folder| folder.len().saturating_sub(1));
            let (root, within) = names.split_at_checked(above.min(names.len().saturating_sub(1)))?;
            (Path::new("/").join(root.iter().collect::<PathBuf>()), within)
        }
    };
    let (file, folders) = within.split_last()?;
    let is_left_out = SafeName::new(file).is_err()
        || file.starts_with('.')
        || is_unfinished_file(OsStr::new(file))
        || folders.iter().any(|folder| is_unfinished_folder(OsStr::new(folder)));
    (!is_left_out).then(|| (root.into(), within.iter().collect()))
}

fn is_of_windows(path: &str) -> bool {
    path.starts_with('\\') || path.get(1..3) == Some(":\\") || (path.len() == 2 && path.ends_with(':'))
}

/// The names of an absolute path; `None` if one of them leads elsewhere.
fn names(path: &str) -> Option<Vec<&str>> {
    let is_windows = is_of_windows(path);
    if !is_windows && !path.starts_with('/') {
        return None;
    }
    let separators: &[char] = if is_windows { &['\\', '/'] } else { &['/'] };
    let names: Vec<_> = path.split(separators).filter(|name| !name.is_empty()).collect();
    let leads_elsewhere = |name: &&str| matches!(*name, "." | "..") || name.contains('\0');
    (!names.iter().any(leads_elsewhere)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_server_leads_to_its_file_here_or_nowhere() {
        let mapping = [
            ("/movies".to_owned(), PathBuf::from("/srv/films")),
            ("/movies/4k/".to_owned(), PathBuf::from("/srv/4k")),
            ("D:\\Films".to_owned(), PathBuf::from("/mnt/d")),
            ("\\\\nas\\films".to_owned(), PathBuf::from("/mnt/nas")),
        ];
        let table = [
            ("/movies/A/a.mkv", Some("/movies/A"), Some(("/srv/films", "A/a.mkv"))),
            ("/movies/4k/A/a.mkv", None, Some(("/srv/4k", "A/a.mkv"))),
            ("/movies4k/A/a.mkv", Some("/movies4k/A"), Some(("/movies4k", "A/a.mkv"))),
            ("/data/films/A/b/a.mkv", Some("/data/films/A"), Some(("/data/films", "A/b/a.mkv"))),
            ("/data/films/A/a.mkv", None, Some(("/data/films", "A/a.mkv"))),
            ("/data/A/a.mkv", Some("/elsewhere"), Some(("/data", "A/a.mkv"))),
            ("/a.mkv", None, Some(("/", "a.mkv"))),
            ("d:\\films\\A\\a.mkv", None, Some(("/mnt/d", "A/a.mkv"))),
            ("\\\\NAS\\films\\a.mkv", None, Some(("/mnt/nas", "a.mkv"))),
            ("E:\\films\\A\\a.mkv", None, None),
            ("/movies/../etc/shadow", None, None),
            ("/movies/A/../../../etc/shadow", Some("/movies/A"), None),
            ("movies/a.mkv", None, None),
            ("", None, None),
            ("/movies", None, Some(("/", "movies"))),
            ("/movies/A/a.mkv.part", None, None),
            ("/movies/A/a.mkv.partial~", None, None),
            ("/movies/incomplete/a.mkv", None, None),
            ("/movies/A/.hidden", None, None),
            ("/movies/A/a\u{0}.mkv", None, None),
        ];
        for (path, folder, wanted) in table {
            let got = place(path, folder, &mapping);
            let got = got.as_ref().map(|(root, within)| (root.to_str().unwrap(), within.to_str().unwrap()));
            assert_eq!(got, wanted, "{path}");
        }
    }
}
