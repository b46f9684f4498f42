//! Which URLs were typed: the arguments, then the lines of `-i`.

use crate::byte_order_mark::without_mark;
use crate::cli::args::Get;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

/// Longest line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Most lines.
const MAX_LINES: usize = 1_000_000;

/// How a list begins that was saved as UTF-16, as Windows does.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A URL as it was typed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) url: String,
    /// The line of the list, for example 3 and `urls.txt, line 3`; `None` on the command line.
    pub(crate) place: Option<(usize, String)>,
}

impl Typed {
    /// What is said about it.
    pub(crate) fn error(&self, what: &str) -> String {
        match &self.place {
            Some((_, place)) => format!("{place}: {what}"),
            None => what.to_owned(),
        }
    }
}

/// What was typed, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Every URL once, in order.
    pub(crate) urls: Vec<Typed>,
    /// What is said about each line of the list that cannot be used, and the number of the line.
    pub(crate) unusable: Vec<(usize, String)>,
}

/// Reads the arguments and the list.
///
/// # Errors
/// One or two lines: a list that cannot be read, or that is empty.
pub(crate) fn typed(get: &Get) -> Result<Listed, String> {
    let arguments = get.urls.iter().map(|url| Typed {
        url: url.clone(),
        place: None,
    });
    let mut listed = Listed {
        urls: arguments.collect(),
        unusable: Vec::new(),
    };
    match &get.input {
        Some(path) if path == Path::new("-") => {
            lines("standard input", stdin().lock(), &mut listed)?;
        }
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("-i {name}: {error}"))?;
            lines(&name, BufReader::new(file), &mut listed)?;
        }
        None => {}
    }
    let mut seen = HashSet::new();
    listed.urls.retain(|typed| seen.insert(typed.url.clone()));
    if listed.urls.is_empty() && listed.unusable.is_empty() {
        return Err(
            "there is no URL in the list\n  write one a line; lines that begin with # are left out"
                .to_owned(),
        );
    }
    Ok(listed)
}

fn lines(name: &str, mut list: impl BufRead, listed: &mut Listed) -> Result<(), String> {
    let mut line = Vec::new();
    for number in 1.. {
        let place = format!("{name}, line {number}");
        line.clear();
        let unreadable = |error| format!("{place}: {error}");
        let mut bounded = list.by_ref().take(MAX_LINE_BYTES + 1);
        let read = bounded.read_until(b'\n', &mut line);
        if read.map_err(unreadable)? == 0 {
            break;
        }
        if number > MAX_LINES {
            return Err(format!(
                "{place}: more than {MAX_LINES} lines\n  split the list"
            ));
        }
        if number == 1 && UTF_16_MARKS.iter().any(|mark| line.starts_with(mark)) {
            return Err(format!("{name}: the list is UTF-16\n  save it as UTF-8"));
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            if line.last() != Some(&b'\n') {
                list.skip_until(b'\n').map_err(unreadable)?;
            }
            listed
                .unusable
                .push((number, format!("{place}: longer than any URL")));
            continue;
        }
        match url(&line) {
            Ok(None) => {}
            Ok(Some(url)) => listed.urls.push(Typed {
                url: url.to_owned(),
                place: Some((number, place)),
            }),
            Err(why) => listed.unusable.push((number, format!("{place}: {why}"))),
        }
    }
    Ok(())
}

/// The URL on a line; `None` if the line is blank or a comment.
fn url(line: &[u8]) -> Result<Option<&str>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let text = without_mark(text).trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if text.contains(char::is_whitespace) {
        return Err("white space within a URL\n  write one URL a line, a space in it as %20");
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(String, String)>;

    fn read(list: &[u8]) -> Result<(Pairs, Vec<String>), String> {
        let mut listed = Listed::default();
        lines("list", list, &mut listed)?;
        let pair = |typed: Typed| (typed.place.unwrap_or_default().1, typed.url);
        let unusable = listed.unusable.into_iter().map(|(_, text)| text);
        Ok((
            listed.urls.into_iter().map(pair).collect(),
            unusable.collect(),
        ))
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
        assert_eq!(read(list.as_bytes()).unwrap(), (expected.into(), vec![]));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_reported_by_its_number_and_the_others_stay() {
        let table: [(&[u8], &str); 4] = [
            (b"http://a/b http://a/c\n", "list, line 2: white space"),
            (b"\xff\xfe\n", "list, line 2: not UTF-8"),
            (&[b'x'; 70_000], "list, line 2: longer than any URL"),
            (&[b'x'; 200_000], "list, line 2: longer than any URL"),
        ];
        for (line, why) in table {
            let list = [b"http://a/1\n", line.trim_ascii_end(), b"\nhttp://a/3"].concat();
            let (urls, unusable) = read(&list).unwrap();
            let places: Vec<&str> = urls.iter().map(|(place, _)| place.as_str()).collect();
            assert_eq!(places, ["list, line 1", "list, line 3"], "{why}");
            assert!(
                matches!(&unusable[..], [one] if one.starts_with(why)),
                "{unusable:?}"
            );
        }
    }

    #[test]
    fn a_list_in_utf_16_is_refused_as_a_whole() {
        for list in [b"\xff\xfeh\0t\0", b"\xfe\xff\0h\0t"] {
            assert!(read(list).unwrap_err().contains("UTF-16"));
        }
    }
}
