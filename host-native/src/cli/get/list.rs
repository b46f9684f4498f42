//! Which URLs were typed: the arguments, then the lines of `-i`.

use crate::cli::args::Get;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

/// Longest line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Most lines.
const MAX_LINES: usize = 1_000_000;

/// A URL as it was typed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) url: String,
    /// For example `urls.txt, line 3`; `None` on the command line.
    pub(crate) place: Option<String>,
}

impl Typed {
    /// What is said about it.
    pub(crate) fn error(&self, what: &str) -> String {
        match &self.place {
            Some(place) => format!("{place}: {what}"),
            None => what.to_owned(),
        }
    }
}

/// Every URL once, in order.
///
/// # Errors
/// One or two lines: a list that cannot be read, or that is empty.
pub(crate) fn typed(get: &Get) -> Result<Vec<Typed>, String> {
    let arguments = get.urls.iter().map(|url| Typed {
        url: url.clone(),
        place: None,
    });
    let mut all: Vec<Typed> = arguments.collect();
    match &get.input {
        Some(path) if path == Path::new("-") => {
            lines("standard input", stdin().lock(), &mut all)?;
        }
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("-i {name}: {error}"))?;
            lines(&name, BufReader::new(file), &mut all)?;
        }
        None => {}
    }
    let mut seen = HashSet::new();
    all.retain(|typed| seen.insert(typed.url.clone()));
    if all.is_empty() {
        return Err(
            "there is no URL in the list\n  write one a line; lines that begin with # are left out"
                .to_owned(),
        );
    }
    Ok(all)
}

fn lines(name: &str, mut list: impl BufRead, all: &mut Vec<Typed>) -> Result<(), String> {
    let mut line = Vec::new();
    for number in 1.. {
        let place = || format!("{name}, line {number}");
        line.clear();
        let mut bounded = list.by_ref().take(MAX_LINE_BYTES + 1);
        let read = bounded.read_until(b'\n', &mut line);
        if read.map_err(|error| format!("{}: {error}", place()))? == 0 {
            break;
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(format!("{}: longer than any URL", place()));
        }
        if number > MAX_LINES {
            return Err(format!(
                "{}: more than {MAX_LINES} lines\n  split the list",
                place()
            ));
        }
        let text = std::str::from_utf8(&line).map_err(|_| format!("{}: not UTF-8", place()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.contains(char::is_whitespace) {
            return Err(format!(
                "{}: white space within a URL\n  write one URL a line, a space in it as %20",
                place()
            ));
        }
        all.push(Typed {
            url: text.to_owned(),
            place: Some(place()),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[u8]) -> Result<Vec<(String, String)>, String> {
        let mut all = Vec::new();
        lines("list", list, &mut all)?;
        let pair = |typed: Typed| (typed.place.unwrap_or_default(), typed.url);
        Ok(all.into_iter().map(pair).collect())
    }

    #[test]
    fn blank_lines_and_comments_are_left_out_and_lines_keep_their_numbers() {
        let list = "\u{feff}http://a/1\r\n\n  # no\n\thttp://a/2#part  \n#http://a/3\nhttp://a/4";
        let expected = [
            ("list, line 1", "http://a/1"),
            ("list, line 4", "http://a/2#part"),
            ("list, line 6", "http://a/4"),
        ];
        let expected = expected.map(|(place, url)| (place.to_owned(), url.to_owned()));
        assert_eq!(read(list.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_url_is_refused_by_its_number() {
        let long = [b"http://a/\n".to_vec(), vec![b'x'; 70_000]].concat();
        let table: [(&[u8], &str); 3] = [
            (
                b"http://a/\nhttp://a/b http://a/c\n",
                "list, line 2: white space",
            ),
            (b"\n\n\xff\n", "list, line 3: not UTF-8"),
            (&long, "list, line 2: longer than any URL"),
        ];
        for (list, why) in table {
            let told = read(list).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }
}
