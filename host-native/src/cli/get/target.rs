//! What the arguments of `get` mean: which URL goes to which file. Everything that can be wrong about it is found here,
//! before anything is written.

use super::list::{Typed, typed};
use crate::cli::args::Get;
use percent_encoding::percent_decode_str;
use regrip_core::{SafeName, display_url};
use rustix::fs::{Access, access};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use url::Url;

/// Longer ones are no addresses, and the state file does not take them.
const LONGEST_URL_BYTES: usize = 65_536;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Absolute, http or https, without userinfo.
    pub(crate) url: Url,
    /// Userinfo of the URL: user and password, percent-decoded.
    pub(crate) userinfo: Option<(String, String)>,
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
    let (url, userinfo) = url(&typed.url)?;
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

fn url(typed: &str) -> Result<(Url, Option<(String, String)>), String> {
    let mut url = Url::parse(typed).map_err(|error| {
        let shown = without_secrets(typed);
        format!("{shown:?} is not a URL: {error}\n  write it with its scheme, for example https://host/file")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let shown = without_secrets(typed);
        return Err(format!(
            "{shown} is not an http or https URL\n  only http and https are fetched"
        ));
    }
    if typed.len() > LONGEST_URL_BYTES {
        return Err(format!(
            "a URL has {} bytes; {LONGEST_URL_BYTES} are the most",
            typed.len()
        ));
    }
    let shown = display_url(url.as_str());
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{shown:?} names no host"));
    }
    let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let userinfo = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some(
            decode(user)
                .zip(decode(password.unwrap_or_default()))
                .ok_or_else(|| format!("{shown} has a user or password that cannot be decoded"))?,
        ),
    };
    // Neither fails on a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok((url, userinfo))
}

/// What was typed and is no URL of ours, as far as it can be shown: a password ends at an `@`, a token follows a `?`.
fn without_secrets(typed: &str) -> String {
    let (before, rest) = typed
        .rsplit_once('@')
        .map_or((false, typed), |(_, rest)| (true, rest));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    if before {
        format!("…@{rest}")
    } else {
        rest.to_owned()
    }
}

fn digest(typed: &str) -> Result<String, String> {
    let hex = typed.len() == 64 && typed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        return Ok(typed.to_ascii_lowercase());
    }
    Err(format!(
        "--sha256 is {typed:?}\n  a SHA-256 is 64 hexadecimal digits; sha256sum prints it"
    ))
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
        None => (get.dir.clone().unwrap_or_default(), name_of(url)?),
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

/// The last segment of the path, percent-decoded, if it is a safe name.
fn name_of(url: &Url) -> Result<String, String> {
    let shown = display_url(url.as_str());
    let segment = url.path().rsplit('/').next().unwrap_or_default();
    if segment.is_empty() {
        return Err(format!(
            "{shown} does not name a file\n  name it with -o FILE"
        ));
    }
    let name = percent_decode_str(segment).decode_utf8();
    let name =
        name.map_err(|_| format!("the name in {shown} is not UTF-8\n  name it with -o FILE"))?;
    match SafeName::new(&name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(error) => Err(format!("{error}\n  name it with -o FILE")),
    }
}
