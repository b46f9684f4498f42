//! What the names of a file and its folders tell: ids as Radarr, Sonarr, Plex and Jellyfin write them, season and episode.
//!
//! It reads, and guesses nothing: what is not written in a name is not known.

use std::ops::RangeInclusive;

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
    /// Reads a path from the file up: the nearest name that tells counts.
    pub(super) fn of<'a>(names: impl DoubleEndedIterator<Item = &'a str>) -> Clues {
        let mut clues = Clues::default();
        let mut is_file = true;
        for name in names.rev() {
            let name = name.to_ascii_lowercase();
            clues.imdb = clues.imdb.or_else(|| id(&name, "imdb", "tt"));
            clues.tmdb = clues.tmdb.or_else(|| id(&name, "tmdb", ""));
            clues.tvdb = clues.tvdb.or_else(|| id(&name, "tvdb", ""));
            // A folder tells which season it holds, but only a file is an episode.
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
        let number = after
            .strip_prefix(['-', '='])
            .and_then(|after| after.strip_prefix(prefix));
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
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.len() <= 9)
        .then(|| digits.parse().ok())
        .flatten()
        .map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                Clues {
                    imdb: Some(12345),
                    tmdb: Some(77),
                    ..Clues::default()
                },
            ),
            (
                &["{tmdb-1}", "Film [tmdbid-2].mkv"],
                Clues {
                    tmdb: Some(2),
                    ..Clues::default()
                },
            ),
            (
                &["Show [TVDBID=5]", "Season 01", "Show S01E02.mkv"],
                Clues {
                    tvdb: Some(5),
                    season: Some(1),
                    episodes: Some(2..=2),
                    ..Clues::default()
                },
            ),
            (&["Film imdb-tt1.mkv"], Clues::default()),
            (&["{imdb-1} {tmdb-x} {tvdb-1", "f.mkv"], Clues::default()),
            (
                &["{tvdb-} {tvdb-9}", "S01E01 is a folder", "f.mkv"],
                Clues {
                    tvdb: Some(9),
                    ..Clues::default()
                },
            ),
        ];
        for (names, wanted) in table {
            assert_eq!(Clues::of(names.iter().copied()), wanted, "{names:?}");
        }
    }
}
