//! What the arguments of `get` mean: which URL goes to which file. Everything that can be wrong about it is found here,
//! before anything is written.

use super::list::{Listed, Typed, typed};
use crate::cli::args::{Get, OnExists};
use crate::cli::text;
use crate::control::{BadAddress, Userinfo, file_name, parse_checksum, parse_url};
use crate::store::STDOUT;
use regrip_core::Checksum;
use regrip_core::display_url;
use regrip_core::record::{DigestRow, DigestSource};
use rustix::fs::{Access, access};
use std::collections::{HashMap, HashSet};
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
    /// Several of them have one destination, and each is to get a name of its own.
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
        return Err(format!(
            "-o names one file, but there are {} URLs\n  name a folder with -d instead",
            urls.len()
        ));
    }
    if get.checksum.is_some() && urls.len() > 1 {
        return Err(format!(
            "--checksum is the digest of one file, but there are {} URLs",
            urls.len()
        ));
    }
    let checksum = get.checksum.as_deref().map(parse_checksum).transpose();
    let checksum = checksum.map_err(|error| format!("--checksum: {error}"))?;
    let place = place(get)?;
    let mut found = Targets::default();
    let (mut known, mut files) = (HashSet::new(), HashMap::new());
    for typed in urls {
        let target = target(&place, &typed, checksum.clone()).and_then(|target| {
            let is_shared = !is_stream(get) && is_shared(&target, &files, get.on_exists)?;
            Ok((target, is_shared))
        });
        match (target, &typed.place) {
            // Two spellings of one URL, for example with another fragment.
            (Ok((target, _)), _)
                if !known.insert((target.url.clone(), target.userinfo.clone())) => {}
            (Ok((target, is_shared)), _) => {
                found.collide |= is_shared;
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

/// Returns `true` if another URL has the target's file and each can get a name of its own.
fn is_shared(
    target: &Target,
    files: &HashMap<PathBuf, Url>,
    on_exists: OnExists,
) -> Result<bool, String> {
    match files.get(&target.destination) {
        Some(other) if *other != target.url && on_exists != OnExists::Rename => Err(format!(
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

fn target(place: &Place, typed: &Typed, checksum: Option<Checksum>) -> Result<Target, String> {
    let (url, userinfo) = parse_url(&typed.url).map_err(|error| told(&error))?;
    let Place::Folder(place) = place else {
        return Ok(Target {
            url,
            userinfo,
            destination: STDOUT.into(),
            checksum,
        });
    };
    let name = match &place.name {
        Some(name) => name.clone(),
        None => file_name(&url)
            .map_err(|error| told(&error))?
            .as_str()
            .to_owned(),
    };
    let destination = crate::store::destination(&place.folder, &name)
        .map_err(|error| regrip_core::error::chain(&error))?;
    Ok(Target {
        url,
        userinfo,
        destination,
        checksum,
    })
}

/// What was wrong about something typed, and what to do.
fn told(error: &BadAddress) -> String {
    let advice = match error {
        BadAddress::NotAUrl { .. } => {
            Some("write it with its scheme, for example https://host/file")
        }
        BadAddress::Scheme(_) => Some("only http and https are fetched"),
        BadAddress::NoName(_) | BadAddress::NameNotText(_) | BadAddress::Name(_) => {
            Some("name it with -o FILE")
        }
        _ => None,
    };
    text::with_advice(&error.to_string(), advice)
}

/// Where the files go.
enum Place {
    Stdout,
    Folder(Folder),
}

struct Folder {
    folder: PathBuf,
    /// That of the only file, if it was given.
    name: Option<String>,
}

fn place(get: &Get) -> Result<Place, String> {
    if is_stream(get) {
        return Ok(Place::Stdout);
    }
    let (folder, name) = match &get.output {
        Some(output) => {
            if output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return Err(format!(
                    "{} is a folder\n  name a file with -o, or the folder with -d",
                    output.display()
                ));
            }
            let name = output.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| format!("{} does not name a file", output.display()))?;
            let folder = output.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            (folder, Some(name.to_owned()))
        }
        None => (get.dir.clone().unwrap_or_default(), None),
    };
    let folder = if folder.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        folder
    };
    let meant = folder.display();
    if !folder.is_dir() {
        return Err(if folder.exists() {
            format!("{meant} is not a folder")
        } else {
            format!("the folder {meant} does not exist\n  make it first: mkdir -p {meant}")
        });
    }
    access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        format!(
            "the folder {meant} cannot be written to: {error}\n  choose another one with -d or -o"
        )
    })?;
    Ok(Place::Folder(Folder { folder, name }))
}
