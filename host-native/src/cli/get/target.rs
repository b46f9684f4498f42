//! The URLs of `get`, from the arguments and the lines of `-i`, and the file that each one goes to. Every error in them is
//! found here, before anything is written.

use super::metalink::{self, is_metalink};
use super::network::header;
use crate::cli::args::{Get, OnExists};
use crate::cli::text;
use crate::control::{BadAddress, ChecksumList, Userinfo, add_checksum, file_name, parse_checksum, parse_url};
use crate::store::{STDOUT, checked_object, file_in, is_object, resolved};
use crate::text_file::{bounded, without_mark};
use crate::transport::Header;
use regrip_core::record::{DigestRow, DigestSource};
use regrip_core::{Checksum, display_url};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, stdin};
use std::path::{Component, Path, PathBuf};
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
    /// The digests it must have.
    pub(crate) checksums: Vec<Checksum>,
    /// Headers of its own.
    pub(crate) headers: Vec<Header>,
    /// The URL that the user named: the file's or that of a Metalink document on a server. `None` if a document on the disk names the
    /// sources. Only its origin gets the user's own headers and certificate.
    pub(crate) trusted: Option<Url>,
    /// Other sources of the file, each with its userinfo.
    pub(crate) mirrors: Vec<(Url, Option<Userinfo>)>,
    /// Its size by a Metalink document.
    pub(crate) size: Option<u64>,
}

impl Target {
    /// The digests that its row begins with.
    pub(super) fn digests(&self) -> Vec<DigestRow> {
        let given = |checksum| DigestRow::wanted(checksum, DigestSource::Caller);
        self.checksums.iter().cloned().map(given).collect()
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
    /// What is said about lines that have no effect, in order.
    pub(crate) warnings: Vec<String>,
    /// A Metalink document could not be fetched.
    pub(crate) failed: bool,
}

/// Reads the arguments. `fetch` gets a Metalink document. A line of a list that cannot be used keeps no other line from being used.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn targets(get: &Get, fetch: &dyn Fn(Target) -> Result<String, String>) -> Result<Targets, String> {
    let mut listed = typed(get)?;
    expand(get, &mut listed, fetch)?;
    let Listed { urls, mut unusable, warnings, failed } = listed;
    if get.output.is_some() && !is_stream(get) && urls.len() > 1 {
        return Err(format!("-o names one file, but there are {} URLs\n  name a folder with -d instead", urls.len()));
    }
    if get.checksum.is_some() && urls.len() > 1 {
        return Err(format!("--checksum is the digest of one file, but there are {} URLs", urls.len()));
    }
    if !get.mirror.is_empty() && urls.len() > 1 {
        return Err(format!("--mirror is another source of one file, but there are {} URLs", urls.len()));
    }
    let checksum = get.checksum.as_deref().map(parse_checksum).transpose();
    let checksum = checksum.map_err(|error| format!("--checksum: {error}"))?;
    if get.newer && is_stream(get) {
        return Err("--newer compares a file, but -o - writes to standard output\n  name a file with -o".to_owned());
    }
    if get.newer && !matches!(get.on_exists, None | Some(OnExists::Overwrite)) {
        return Err("--newer replaces an older file, but --on-exists keeps it\n  leave one of them out".to_owned());
    }
    let mirrors = mirrors(&get.mirror).map_err(|error| format!("--mirror: {error}"))?;
    let output = output_folder(get.output.as_deref(), get.dir.as_deref())?;
    let mut found = Targets { warnings, failed, ..Targets::default() };
    let (mut known, mut files) = (HashSet::new(), HashMap::new());
    for typed in urls {
        let target = target(get, output.as_ref(), &typed).and_then(|mut target| {
            target.checksums.extend(checksum.clone());
            target.mirrors.extend(mirrors.iter().cloned());
            let collides = match target.named_by_server {
                true => true, // perhaps: its name is not known yet
                false => !is_stream(get) && is_shared(&target, &files, on_exists(get))?,
            };
            Ok((target, collides))
        });
        match (target, &typed.place) {
            // Two spellings of one URL, for example with another fragment.
            (Ok((target, _)), _)
                if !known.insert((target.url.clone(), target.userinfo.clone(), target.destination.clone())) => {}
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
    if let Some(file) = &get.checksum_file {
        add_checksums(get, file, &mut found.targets)
            .map_err(|why| format!("--checksum-file {}: {why}", file.display()))?;
    }
    Ok(found)
}

/// `--on-exists`. `--newer` and `--force` replace the default.
pub(super) fn on_exists(get: &Get) -> regrip_core::OnExists {
    match get.on_exists.map_or(regrip_core::OnExists::Fail, Into::into) {
        regrip_core::OnExists::Fail if get.force || get.newer => regrip_core::OnExists::Overwrite,
        on_exists => on_exists,
    }
}

/// Longest file of digests.
const MAX_CHECKSUMS_BYTES: u64 = 16 << 20;

/// Adds the digests of a list to the targets. A file is looked for by the name in its URL, then by its own.
fn add_checksums(get: &Get, file: &Path, targets: &mut [Target]) -> Result<(), String> {
    let text = match file == Path::new("-") {
        true if get.input.as_deref() == Some(file) => return Err("-i reads standard input, too".to_owned()),
        true => bounded(stdin().lock(), MAX_CHECKSUMS_BYTES),
        false => File::open(file).and_then(|file| bounded(file, MAX_CHECKSUMS_BYTES)),
    };
    let list = ChecksumList::parse(&text.map_err(|error| error.to_string())?)?;
    let is_only = targets.len() == 1;
    for target in targets {
        let of_url = file_name(&target.url).ok();
        let of_file = target.destination.file_name().and_then(|name| name.to_str());
        let names: Vec<&str> = of_url.iter().map(|name| name.as_str()).chain(of_file).collect();
        for checksum in list.of(&names, is_only)? {
            let algorithm = checksum.algorithm;
            if !add_checksum(&mut target.checksums, checksum) {
                let url = display_url(target.url.as_str());
                return Err(format!("it has another {algorithm} for {url} than --checksum or the list of URLs"));
            }
        }
    }
    Ok(())
}

fn mirrors(typed: &[String]) -> Result<Vec<(Url, Option<Userinfo>)>, String> {
    let urls = typed.iter().map(|url| parse_url(url));
    urls.collect::<Result<_, _>>().map_err(|error| refusal(&error))
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

fn target(get: &Get, output: Option<&OutputFolder>, typed: &Typed) -> Result<Target, String> {
    let (url, userinfo) = parse_url(&typed.url).map_err(|error| refusal(&error))?;
    let mirrors = mirrors(&typed.mirrors)?;
    let Own { out, dir, checksums, headers, size, document } = typed.own.clone();
    let trusted = document.unwrap_or_else(|| Some(url.clone()));
    let named_by_server = get.content_disposition && out.is_none();
    let destination = STDOUT.into();
    let mut target = Target { url, userinfo, destination, named_by_server, checksums, headers, trusted, mirrors, size };
    let (Some(output), url) = (output, &target.url) else {
        return Ok(target);
    };
    let of_line;
    let output = match (dir.as_deref().or(get.dir.as_deref()), out) {
        (_, None) if dir.is_none() => output,
        (folder, out) => {
            let file = out.map(|out| folder.unwrap_or(Path::new("")).join(out));
            of_line = output_folder(file.as_deref(), folder)?;
            of_line.as_ref().unwrap_or(output)
        }
    };
    let name = match (&output.name, file_name(url)) {
        (Some(name), _) => name.clone(),
        (None, Ok(name)) => name.as_str().to_owned(),
        // Only for messages.
        (None, Err(_)) if named_by_server => url.host_str().unwrap_or_default().to_owned(),
        (None, Err(error)) => return Err(refusal(&error)),
    };
    target.destination = file_in(&output.folder, &name).map_err(|error| regrip_core::error::chain(&error))?;
    if is_object(&target.destination) {
        checked_object(&target.destination, "")?;
    }
    Ok(target)
}

/// The error and the advice about a URL or name.
fn refusal(error: &BadAddress) -> String {
    let advice = match error {
        BadAddress::NotAUrl { .. } => Some("write it with its scheme, for example https://host/file"),
        BadAddress::Scheme(_) => {
            Some("only http and https are fetched; a URL begins with its scheme: https://host/file")
        }
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
fn output_folder(output: Option<&Path>, dir: Option<&Path>) -> Result<Option<OutputFolder>, String> {
    if output == Some(Path::new("-")) {
        return Ok(None);
    }
    let (folder, name) = match output {
        Some(output) => {
            if is_object(output) {
                checked_object(output, "")?;
            }
            if output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return Err(format!("{} is a folder\n  name a file with -o, or the folder with -d", output.display()));
            }
            let name = output.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| format!("{} does not name a file", output.display()))?;
            let folder = output.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            (folder, Some(name.to_owned()))
        }
        None => (dir.map(Path::to_path_buf).unwrap_or_default(), None),
    };
    Ok(Some(OutputFolder { folder: usable_folder(&folder)?, name }))
}

/// The absolute path of a folder, without links. It need not exist.
///
/// # Errors
/// What is in its way.
fn usable_folder(meant: &Path) -> Result<PathBuf, String> {
    if is_object(meant) {
        return checked_object(meant, "/name");
    }
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
    /// Other sources of the file.
    mirrors: Vec<String>,
    own: Own,
}

/// What the indented lines below a URL say, as in a list of aria2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Own {
    out: Option<PathBuf>,
    dir: Option<PathBuf>,
    checksums: Vec<Checksum>,
    headers: Vec<Header>,
    /// Only a Metalink document states it.
    size: Option<u64>,
    /// The Metalink document that names it, and its URL unless it is on the disk.
    document: Option<Option<Url>>,
}

impl Own {
    /// Takes an option; `false` if it is unknown.
    ///
    /// # Errors
    /// What is wrong with its value.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "out" => {
                let out = PathBuf::from(value);
                if value.is_empty() || !out.components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err("expected a name below the folder".to_owned());
                }
                self.out = Some(out);
            }
            "dir" if value.is_empty() => return Err("expected a folder".to_owned()),
            "dir" => self.dir = Some(value.into()),
            "checksum" => {
                let checksum = parse_checksum(&value.replacen('=', ":", 1)).map_err(|error| error.to_string())?;
                self.checksums.retain(|have| have.algorithm != checksum.algorithm);
                self.checksums.push(checksum);
            }
            "header" => self.headers.push(header(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
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

impl Typed {
    /// As the API of a server takes it.
    ///
    /// # Errors
    /// What the server cannot do.
    pub(crate) fn wish(&self) -> Result<Value, String> {
        let Own { out, dir, checksums, headers, .. } = &self.own;
        if dir.is_some() || !headers.is_empty() {
            return Err(
                "dir= and header= are for `regrip get`: the server has one folder, and keeps no headers".to_owned()
            );
        }
        let checksums: Vec<String> = checksums.iter().map(ToString::to_string).collect();
        let mut wish = json!({ "url": self.url, "mirrors": self.mirrors, "filename": out });
        if !checksums.is_empty() {
            wish["checksum"] = checksums.into();
        }
        Ok(wish)
    }
}

/// What was typed, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Every URL once, in order.
    pub(crate) urls: Vec<Typed>,
    /// What is said about each line of the list that cannot be used, and the number of the line.
    pub(crate) unusable: Vec<(usize, String)>,
    /// What is said about lines that have no effect.
    pub(crate) warnings: Vec<String>,
    /// A Metalink document could not be fetched.
    failed: bool,
}

/// Reads the arguments and the list.
///
/// # Errors
/// One or two lines: a list that cannot be read, or that is empty.
pub(crate) fn typed(get: &Get) -> Result<Listed, String> {
    let argument = |url: &String| Typed { url: url.clone(), place: None, mirrors: Vec::new(), own: Own::default() };
    let mut listed = Listed { urls: get.urls.iter().map(argument).collect(), ..Listed::default() };
    match &get.input {
        Some(path) if path.to_str().is_some_and(is_metalink) => {
            listed.urls.extend(path.to_str().map(|path| argument(&path.to_owned())))
        }
        Some(path) => lines_of(path, &mut listed)?,
        None => {}
    }
    listed.each_once()
}

/// Reads a list.
///
/// # Errors
/// As [`typed`].
pub(crate) fn read_list(path: &Path) -> Result<Listed, String> {
    let mut listed = Listed::default();
    lines_of(path, &mut listed)?;
    listed.each_once()
}

fn lines_of(path: &Path, listed: &mut Listed) -> Result<(), String> {
    if path == Path::new("-") {
        return lines("standard input", stdin().lock(), listed);
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("-i {name}: {error}"))?;
    lines(&name, BufReader::new(file), listed)
}

impl Listed {
    fn each_once(mut self) -> Result<Listed, String> {
        let mut seen = HashSet::new();
        self.urls.retain(|typed| seen.insert((typed.url.clone(), typed.own.out.clone(), typed.own.dir.clone())));
        match self.urls.is_empty() && self.unusable.is_empty() {
            true => {
                Err("there is no URL in the list\n  write one per line; lines that begin with # are ignored".to_owned())
            }
            false => Ok(self),
        }
    }
}

/// Replaces each Metalink document by the files in it. With `-o FILE.meta4` it is a file as any other.
///
/// # Errors
/// One or two lines: a document of the command line that cannot be used.
fn expand(get: &Get, listed: &mut Listed, fetch: &dyn Fn(Target) -> Result<String, String>) -> Result<(), String> {
    if get.output.as_deref().and_then(Path::to_str).is_some_and(is_metalink) {
        return Ok(());
    }
    let mut urls = Vec::new();
    for typed in std::mem::take(&mut listed.urls) {
        if !is_metalink(&typed.url) {
            urls.push(typed);
            continue;
        }
        let is_path = typed.place.is_none() && !typed.url.contains("://");
        let shown = if is_path { typed.url.clone() } else { display_url(&typed.url) };
        let text = match is_path {
            true => metalink::read(&typed.url),
            false => target(get, None, &typed).and_then(fetch),
        };
        let files = match text.and_then(|text| metalink::parse(&text)) {
            Ok(files) => files,
            Err(why) if is_path => return Err(format!("{shown}: {why}")),
            Err(why) => {
                let line = typed.place.as_ref().map_or(0, |(line, _)| *line);
                listed.unusable.push((line, typed.error(&format!("{shown}: {why}"))));
                listed.failed = true;
                continue;
            }
        };
        let is_only = files.len() == 1;
        for file in files {
            let file = match file {
                Ok(file) => file,
                Err(why) => {
                    listed.unusable.push((0, format!("{shown}: {why}")));
                    continue;
                }
            };
            let mut sources = file.urls.into_iter();
            let mut own = typed.own.clone();
            own.out = own.out.filter(|_| is_only).or(Some(file.name.into())).filter(|_| get.output.is_none());
            own.size = file.size;
            own.document = Some(parse_url(&typed.url).ok().filter(|_| !is_path).map(|(url, _)| url));
            own.checksums.extend(file.checksum);
            let (url, place) = (sources.next().unwrap_or_default(), Some((0, shown.clone())));
            urls.push(Typed { url, place, mirrors: sources.collect(), own });
        }
    }
    listed.urls = urls;
    Ok(())
}

fn lines(name: &str, mut list: impl BufRead, listed: &mut Listed) -> Result<(), String> {
    let mut line = Vec::new();
    let mut above = Err("there is no URL above it");
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
            above = Err("");
            continue;
        }
        take_line(read_line(&line), number, place, &mut above, listed);
    }
    Ok(())
}

/// Takes a line. `above` is the URL that indented lines belong to: its index, or why there is none; empty if that was said.
fn take_line(
    line: Result<Line<'_>, &'static str>,
    number: usize,
    place: String,
    above: &mut Result<usize, &'static str>,
    listed: &mut Listed,
) {
    match line {
        Ok(Line::Blank) => {}
        Ok(Line::Urls(urls)) => {
            let mut urls = urls.into_iter().map(str::to_owned);
            let url = urls.next().unwrap_or_default();
            let typed = Typed { url, place: Some((number, place)), mirrors: urls.collect(), own: Own::default() };
            *above = Ok(listed.urls.len());
            listed.urls.push(typed);
        }
        Ok(Line::Option(option, value)) => match above.map(|at| listed.urls[at].own.set(option, value)) {
            Ok(Ok(true)) | Err("") => {}
            Ok(Ok(false)) => listed.warnings.push(format!("{place}: {option}= is unknown and is ignored")),
            // Without it, the file would have another name, or would not be checked.
            Ok(Err(why)) => {
                listed.unusable.push((number, format!("{place}: {option}=: {why}")));
                listed.urls.pop();
                *above = Err("");
            }
            Err(why) => listed.warnings.push(format!("{place}: {option}= is ignored: {why}")),
        },
        Err(why) => {
            listed.unusable.push((number, format!("{place}: {why}")));
            *above = Err("");
        }
    }
}

/// What is on a line of a list.
enum Line<'a> {
    /// Nothing, or a comment.
    Blank,
    /// A URL and its mirrors.
    Urls(Vec<&'a str>),
    /// An indented option, name and value, of the URL above.
    Option(&'a str, &'a str),
}

fn read_line(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let (text, is_indented) = (without_mark(text).trim(), text.starts_with([' ', '\t']));
    if text.is_empty() || text.starts_with('#') {
        return Ok(Line::Blank);
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'0'..=b'9'));
    if let Some((name, value)) = text.split_once('=').filter(|(name, _)| is_indented && is_name(name)) {
        return Ok(Line::Option(name, value.trim()));
    }
    let urls: Vec<&str> = text.split('\t').map(str::trim).filter(|url| !url.is_empty()).collect();
    if urls.iter().any(|url| url.contains(char::is_whitespace)) {
        return Err("white space within a URL\n  write one URL per line, a space in it as %20");
    }
    Ok(Line::Urls(urls))
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
