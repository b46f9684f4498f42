//! The URLs of `get`, from the arguments and the lines of `-i`, and the file that each one goes to. Every error in them is
//! found here, before anything is written.

use crate::cli::args::{Get, OnExists};
use crate::cli::output::{CommandResult, Exit};
use crate::cli::text;
use crate::control::{BadAddress, Userinfo, file_name, parse_checksum, parse_url};
use crate::store::{STDOUT, file_in, resolved};
use crate::text_file::without_mark;
use regrip_core::record::{DigestRow, DigestSource};
use regrip_core::{Checksum, display_url};
use rustix::fs::{Access, access};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, stdin};
use std::path::{Path, PathBuf};
use url::Url;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Absolute, http or https, without userinfo.
    pub(crate) url: Url,
    /// Userinfo of the URL: user and password, percent-decoded.
    pub(crate) userinfo: Option<Userinfo>,
    /// Absolute, its folder canonical; [`STDOUT`] if that is where it goes.
    pub(crate) destination: PathBuf,
    /// The server names it: the last segment of `destination` is only a substitute (`--content-disposition`).
    pub(crate) named_by_server: bool,
    /// The digest it must have.
    pub(crate) checksum: Option<Checksum>,
}

impl Target {
    /// The digests that its row begins with.
    pub(super) fn digests(&self) -> Vec<DigestRow> {
        let given = |checksum| DigestRow::wanted(checksum, DigestSource::Caller);
        self.checksum.clone().map(given).into_iter().collect()
    }
}

/// What is to be fetched, and what cannot be.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// In order; no two of them are the same.
    pub(crate) targets: Vec<Target>,
    /// Several of them have one destination, or may have, and each is to get a name of its own.
    pub(crate) collide: bool,
    /// What is said about each line of a list that cannot be used, in order.
    pub(crate) unusable: Vec<String>,
}

/// Reads the arguments. A line of a list that cannot be used keeps no other line from being used.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn targets(get: &Get) -> Result<Targets, String> {
    let Listed { urls, mut unusable } = typed(get)?;
    if get.output.is_some() && !is_stream(get) && urls.len() > 1 {
        return Err(format!("-o names one file, but there are {} URLs\n  name a folder with -d instead", urls.len()));
    }
    if get.checksum.is_some() && urls.len() > 1 {
        return Err(format!("--checksum is the digest of one file, but there are {} URLs", urls.len()));
    }
    let checksum = get.checksum.as_deref().map(parse_checksum).transpose();
    let checksum = checksum.map_err(|error| format!("--checksum: {error}"))?;
    if get.newer && is_stream(get) {
        return Err("--newer compares a file, but -o - writes to standard output\n  name a file with -o".to_owned());
    }
    if get.newer && !matches!(get.on_exists, None | Some(OnExists::Overwrite)) {
        return Err("--newer replaces an older file, but --on-exists keeps it\n  leave one of them out".to_owned());
    }
    let output = output_folder(get)?;
    let mut found = Targets::default();
    let (mut known, mut files) = (HashSet::new(), HashMap::new());
    for typed in urls {
        let target = target(get, output.as_ref(), &typed, checksum.clone()).and_then(|target| {
            let collides = match target.named_by_server {
                true => true, // perhaps: its name is not known yet
                false => !is_stream(get) && is_shared(&target, &files, on_exists(get))?,
            };
            Ok((target, collides))
        });
        match (target, &typed.place) {
            // Two spellings of one URL, for example with another fragment.
            (Ok((target, _)), _) if !known.insert((target.url.clone(), target.userinfo.clone())) => {}
            (Ok((target, collides)), _) => {
                found.collide |= collides;
                files.insert(target.destination.clone(), target.url.clone());
                found.targets.push(target);
            }
            (Err(error), None) => return Err(error),
            (Err(error), Some((line, _))) => unusable.push((*line, typed.error(&error))),
        }
    }
    unusable.sort_by_key(|(line, _)| *line);
    found.unusable = unusable.into_iter().map(|(_, text)| text).collect();
    Ok(found)
}

/// `--on-exists`. `--newer` and `--force` replace the default.
pub(super) fn on_exists(get: &Get) -> regrip_core::OnExists {
    match get.on_exists.map_or(regrip_core::OnExists::Fail, Into::into) {
        regrip_core::OnExists::Fail if get.force || get.newer => regrip_core::OnExists::Overwrite,
        on_exists => on_exists,
    }
}

/// Returns `true` if another URL has the target's file and each can get a name of its own.
fn is_shared(target: &Target, files: &HashMap<PathBuf, Url>, on_exists: regrip_core::OnExists) -> Result<bool, String> {
    match files.get(&target.destination) {
        Some(other) if *other != target.url && on_exists != regrip_core::OnExists::Rename => Err(format!(
            "{} and {} would both be written to {}\n  choose --on-exists rename, or fetch them in two commands, each with its own -o",
            display_url(other.as_str()),
            display_url(target.url.as_str()),
            target.destination.display()
        )),
        other => Ok(other.is_some()),
    }
}

/// Returns `true` if the files go to standard output. A file of that name is `./-`.
pub(super) fn is_stream(get: &Get) -> bool {
    get.output.as_deref() == Some(Path::new("-"))
}

fn target(
    get: &Get,
    output: Option<&OutputFolder>,
    typed: &Typed,
    checksum: Option<Checksum>,
) -> Result<Target, String> {
    let (url, userinfo) = parse_url(&typed.url).map_err(|error| refusal(&error))?;
    let named_by_server = get.content_disposition;
    let Some(output) = output else {
        return Ok(Target { url, userinfo, destination: STDOUT.into(), named_by_server, checksum });
    };
    let name = match (&output.name, file_name(&url)) {
        (Some(name), _) => name.clone(),
        (None, Ok(name)) => name.as_str().to_owned(),
        // Only for messages.
        (None, Err(_)) if named_by_server => url.host_str().unwrap_or_default().to_owned(),
        (None, Err(error)) => return Err(refusal(&error)),
    };
    let destination = file_in(&output.folder, &name).map_err(|error| regrip_core::error::chain(&error))?;
    Ok(Target { url, userinfo, destination, named_by_server, checksum })
}

/// The error and the advice about a URL or name.
fn refusal(error: &BadAddress) -> String {
    let advice = match error {
        BadAddress::NotAUrl { .. } => Some("write it with its scheme, for example https://host/file"),
        BadAddress::Scheme(_) => Some("only http and https are fetched"),
        BadAddress::NoName(_) | BadAddress::NameNotText(_) | BadAddress::Name(_) => Some("name it with -o FILE"),
        _ => None,
    };
    text::with_advice(&error.to_string(), advice)
}

/// The folder that files go to.
struct OutputFolder {
    folder: PathBuf,
    /// The name of the only file, if it was given.
    name: Option<String>,
}

/// The folder that files go to; `None` for standard output.
fn output_folder(get: &Get) -> Result<Option<OutputFolder>, String> {
    if is_stream(get) {
        return Ok(None);
    }
    let (folder, name) = match &get.output {
        Some(output) => {
            if output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return Err(format!("{} is a folder\n  name a file with -o, or the folder with -d", output.display()));
            }
            let name = output.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| format!("{} does not name a file", output.display()))?;
            let folder = output.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            (folder, Some(name.to_owned()))
        }
        None => (get.dir.clone().unwrap_or_default(), None),
    };
    Ok(Some(OutputFolder { folder: usable_folder(&folder)?, name }))
}

/// The absolute path of a folder, without links. It need not exist.
///
/// # Errors
/// What is in its way.
fn usable_folder(meant: &Path) -> Result<PathBuf, String> {
    let here = if meant.as_os_str().is_empty() { Path::new(".") } else { meant };
    let unusable = |error| format!("the folder {} cannot be used: {error}", here.display());
    let folder = std::path::absolute(here).map_err(unusable)?;
    for ancestor in folder.ancestors() {
        match ancestor.symlink_metadata() {
            Ok(_) if ancestor.is_dir() => break,
            Ok(there) if there.is_symlink() && !ancestor.exists() => {
                return Err(format!("{} is a link to something that does not exist", ancestor.display()));
            }
            Ok(_) => return Err(format!("{} is not a folder", ancestor.display())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    Ok(resolved(&folder))
}

/// Creates the folders of files that are missing.
///
/// # Errors
/// `Unusable`: a folder cannot be created or written to.
pub(super) fn make_folders(targets: &[Target]) -> CommandResult<()> {
    let mut made = None;
    for folder in targets.iter().filter_map(|target| target.destination.parent()) {
        if made.replace(folder) == Some(folder) {
            continue;
        }
        let about = |what: &str, error: &dyn std::fmt::Display| {
            let text = format!(
                "the folder {} cannot be {what}: {error}\n  choose another one with -d or -o",
                folder.display()
            );
            (Exit::Unusable, text)
        };
        let missing: Vec<&Path> = folder.ancestors().take_while(|one| !one.exists()).collect();
        std::fs::create_dir_all(folder).map_err(|error| about("created", &error))?;
        // So that a power failure does not take the folder of a completed file.
        for parent in missing.iter().filter_map(|one| one.parent()) {
            let _ = File::open(parent).and_then(|parent| parent.sync_all()); // not every file system can
        }
        access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| about("written to", &error))?;
    }
    Ok(())
}

/// Longest line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Most lines.
const MAX_LINES: usize = 1_000_000;

/// How a list begins that was saved as UTF-16, as Windows does.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A URL as it was typed, and its place.
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
    let arguments = get.urls.iter().map(|url| Typed { url: url.clone(), place: None });
    let mut listed = Listed { urls: arguments.collect(), unusable: Vec::new() };
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
        return Err("there is no URL in the list\n  write one per line; lines that begin with # are ignored".to_owned());
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
            return Err(format!("{place}: more than {MAX_LINES} lines\n  split the list"));
        }
        if number == 1 && UTF_16_MARKS.iter().any(|mark| line.starts_with(mark)) {
            return Err(format!("{name}: the list is UTF-16\n  save it as UTF-8"));
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            if line.last() != Some(&b'\n') {
                list.skip_until(b'\n').map_err(unreadable)?;
            }
            listed.unusable.push((number, format!("{place}: longer than any URL")));
            continue;
        }
        match url(&line) {
            Ok(None) => {}
            Ok(Some(url)) => listed.urls.push(Typed { url: url.to_owned(), place: Some((number, place)) }),
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
        return Err("white space within a URL\n  write one URL per line, a space in it as %20");
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
        Ok((listed.urls.into_iter().map(pair).collect(), unusable.collect()))
    }

    #[test]
    fn blank_lines_and_comments_are_left_out_and_lines_keep_their_numbers() {
        let list = "\u{feff}http://a/1\r\n\n  # no\n\thttp://a/2#part  \n#http://a/3\nhttp://a/4";
        let expected =
            [("list, line 1", "http://a/1"), ("list, line 4", "http://a/2#part"), ("list, line 6", "http://a/4")];
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
            assert!(matches!(&unusable[..], [one] if one.starts_with(why)), "{unusable:?}");
        }
    }

    #[test]
    fn a_list_in_utf_16_is_refused_as_a_whole() {
        for list in [b"\xff\xfeh\0t\0", b"\xfe\xff\0h\0t"] {
            assert!(read(list).unwrap_err().contains("UTF-16"));
        }
    }
}
