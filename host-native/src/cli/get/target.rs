//! What the arguments of `get` mean: which URL goes to which file. Everything that can be wrong about it is found here,
//! before anything is written.

use super::list::{Typed, typed};
use crate::cli::args::Get;
use crate::cli::text;
use crate::control::{BadAddress, Userinfo, file_name, parse_sha256, parse_url};
use regrip_core::{display_url, redacted};
use rustix::fs::{Access, access};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use url::Url;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Absolute, http or https, without userinfo.
    pub(crate) url: Url,
    /// Userinfo of the URL: user and password, percent-decoded.
    pub(crate) userinfo: Option<Userinfo>,
    /// Absolute, its folder canonical.
    pub(crate) destination: PathBuf,
    /// The digest it must have, lower-case hex.
    pub(crate) sha256: Option<String>,
}

/// Reads the arguments.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn targets(get: &Get) -> Result<Vec<Target>, String> {
    let urls = typed(get)?;
    if get.output.is_some() && urls.len() > 1 {
        return Err(format!(
            "-o names one file, but there are {} URLs\n  name a folder with -d instead",
            urls.len()
        ));
    }
    if get.sha256.is_some() && urls.len() > 1 {
        return Err(format!(
            "--sha256 is the digest of one file, but there are {} URLs",
            urls.len()
        ));
    }
    let sha256 = get.sha256.as_deref().map(digest).transpose()?;
    let mut targets = Vec::new();
    for typed in &urls {
        let target = target(get, typed, sha256.clone()).map_err(|error| typed.error(&error))?;
        targets.push(target);
    }
    one_url_a_file(&urls, &targets)?;
    Ok(targets)
}

fn target(get: &Get, typed: &Typed, sha256: Option<String>) -> Result<Target, String> {
    let (url, userinfo) = parse_url(&typed.url).map_err(|error| told(&error))?;
    let destination = destination(get, &url)?;
    Ok(Target {
        url,
        userinfo,
        destination,
        sha256,
    })
}

fn one_url_a_file(urls: &[Typed], targets: &[Target]) -> Result<(), String> {
    let mut files: HashMap<&Path, &Target> = HashMap::new();
    for (typed, target) in urls.iter().zip(targets) {
        if let Some(other) = files.insert(&target.destination, target) {
            return Err(typed.error(&format!(
                "{} and {} would both be written to {}\n  fetch them in two commands, each with its own -o",
                display_url(other.url.as_str()),
                display_url(target.url.as_str()),
                target.destination.display()
            )));
        }
    }
    Ok(())
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

fn digest(typed: &str) -> Result<String, String> {
    parse_sha256(typed).map_err(|_| {
        let found = redacted(typed);
        format!("--sha256 is {found}\n  a SHA-256 is 64 hexadecimal digits; sha256sum prints it")
    })
}

fn destination(get: &Get, url: &Url) -> Result<PathBuf, String> {
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
            (
                output.parent().map_or_else(PathBuf::new, Path::to_path_buf),
                name.to_owned(),
            )
        }
        None => {
            let name = file_name(url).map_err(|error| told(&error))?;
            (
                get.dir.clone().unwrap_or_default(),
                name.as_str().to_owned(),
            )
        }
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
    crate::store::destination(&folder, &name).map_err(|error| regrip_core::error::chain(&error))
}
