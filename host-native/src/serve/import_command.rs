//! One command to an import server, and the path that it carries.
//!
//! Radarr and Sonarr parse the name of the path and know nothing else of the release, so the path is that of the file, never
//! that of the folder of all files.

use crate::config::{ImportServer, ImportServerKind};
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::transport::HttpBody;
use regrip_core::http::Head;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Headers, Response};
use regrip_core::{Error, display_url};
use serde_json::json;
use std::path::Path;
use surf::http::Method;
use url::Url;

/// How much of an answer is read, so that its connection ends in good order.
const MOST_READ_BYTES: usize = 64 << 10;

/// Most redirects of one command.
const MOST_REDIRECTS: u32 = 10;

/// Where commands go, below the URL base.
const ENDPOINT: &str = "/api/v3/command";

/// Returns `true` if a server imports releases of that category: 2xxx are films, 5xxx series.
pub(super) fn wants(server: &ImportServer, category: u32) -> bool {
    match server.kind {
        ImportServerKind::Radarr => category / 1000 == 2,
        ImportServerKind::Sonarr => category / 1000 == 5,
    }
}

/// Has a server import the file at `path`, which is the path as that server sees it.
///
/// # Errors
/// `Status` with its `Retry-After`, `RedirectRefused` for a redirect that leads elsewhere, `Protocol` for an answer that is
/// neither that nor a success; else as the transport.
pub(super) async fn send(host: &NativeHost<impl NativeLedger>, server: &ImportServer, path: &str) -> Result<(), Error> {
    let url = format!("{}{ENDPOINT}", server.url.trim_end_matches('/'));
    let name = match server.kind {
        ImportServerKind::Radarr => "DownloadedMoviesScan",
        ImportServerKind::Sonarr => "DownloadedEpisodesScan",
    };
    let command = json!({ "name": name, "path": path }).to_string();
    let mut url = Url::parse(&url).map_err(|error| Error::Protocol(format!("invalid address: {error}")))?;
    let mut method = Method::Post;
    for _ in 0..=MOST_REDIRECTS {
        let body = (method == Method::Post).then(|| command.clone());
        let sent = host.transport.ask(method, url.as_str(), &server.headers, body);
        let Response { status, headers, end, body } = sent.await?;
        match status {
            200..=299 => return accepted(&url, &headers, body).await,
            301 | 302 | 303 | 307 | 308 => (method, url) = onward(&url, status, &headers)?,
            400..=599 => {
                return Err(Error::Status {
                    status,
                    retry_after: Head::read(status, &headers, end, host.clock.wall()).retry_after,
                });
            }
            _ => return Err(Error::Protocol(format!("the status is {status}"))),
        }
    }
    Err(Error::RedirectRefused(format!(
        "more than {MOST_REDIRECTS} of them, the last to {}",
        display_url(url.as_str())
    )))
}

async fn accepted(url: &Url, headers: &Headers, mut body: HttpBody) -> Result<(), Error> {
    let kind = headers.only("content-type").unwrap_or_default();
    if kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
        return Err(Error::Protocol(format!("{} is an HTML page and not the API", display_url(url.as_str()))));
    }
    let mut read = 0;
    // It is accepted: the rest of the answer changes nothing.
    while let Ok(Some(chunk)) = body.chunk().await {
        read += chunk.len();
        if read > MOST_READ_BYTES {
            break;
        }
    }
    Ok(())
}

/// The next request. The command is sent again after a 307 or 308, and if the redirect leads to the endpoint of commands: a
/// proxy that answers 301, 302 or 303 has not forwarded it. Any other 303 names the result, which is requested.
fn onward(from: &Url, status: u16, headers: &Headers) -> Result<(Method, Url), Error> {
    let location = headers.only("location").unwrap_or_default();
    let target = from.join(location).ok().filter(|_| !location.is_empty());
    let Some(mut target) = target else {
        let why = format!("the status is {status}, without a readable Location");
        return Err(Error::RedirectRefused(why));
    };
    target.set_fragment(None);
    let shown = display_url(target.as_str());
    if target.origin() != from.origin() {
        return Err(Error::RedirectRefused(format!("to {shown}, another origin, to which the key is not sent")));
    }
    let is_endpoint = target.path().trim_end_matches('/').ends_with(ENDPOINT);
    match status {
        307 | 308 => Ok((Method::Post, target)),
        _ if is_endpoint => Ok((Method::Post, target)),
        303 => Ok((Method::Get, target)),
        _ => Err(Error::RedirectRefused(format!("to {shown}, which is not the endpoint of commands"))),
    }
}

/// The path of `file` for a server that sees the folder `completed` at `import_path`, or at the same path without one.
///
/// # Errors
/// `Protocol` if the file is not below `completed` and so `import_path` does not lead to it.
pub(super) fn seen(file: &str, completed: &Path, import_path: Option<&str>) -> Result<String, Error> {
    let path = Path::new(file);
    // A row has its folder's canonical path, the configuration may name it by a link.
    let below = path.strip_prefix(completed).ok().or_else(|| {
        let canonical = completed.canonicalize().ok()?;
        path.strip_prefix(canonical).ok()
    });
    match (below, import_path) {
        (Some(below), Some(root)) => Ok(join(root, below)),
        (Some(below), None) => Ok(completed.join(below).display().to_string()),
        (None, None) => Ok(file.to_owned()),
        (None, Some(_)) => Err(Error::Protocol(format!(
            "{file} is not below downloads.completedPath, so importPath does not lead to it"
        ))),
    }
}

/// Joins in the style of `root`, which may be a path of Windows.
fn join(root: &str, below: &Path) -> String {
    let separator = separator(root);
    let mut joined = root.trim_end_matches(separator).to_owned();
    for name in below.iter() {
        joined.push(separator);
        joined.push_str(&name.to_string_lossy());
    }
    joined
}

/// `\` for `\\host\share`, `D:\films`, `D:` and `films\new`, else `/`.
fn separator(root: &str) -> char {
    let is_unix = root.starts_with('/');
    let is_bare_drive = matches!(root.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    match !is_unix && (root.contains('\\') || is_bare_drive) {
        true => '\\',
        false => '/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_follows_redirects_of_its_origin_and_names_every_other_target() {
        let from = Url::parse("http://nas:7878/api/v3/command").unwrap();
        let post = |url: &str| Ok((Method::Post, Url::parse(url).unwrap()));
        let get = |url: &str| Ok((Method::Get, Url::parse(url).unwrap()));
        let table = [
            (307, "/radarr/api/v3/command", post("http://nas:7878/radarr/api/v3/command")),
            (308, "/elsewhere?a=b", post("http://nas:7878/elsewhere?a=b")),
            (301, "/radarr/api/v3/command/", post("http://nas:7878/radarr/api/v3/command/")),
            (302, "http://nas:7878/r/api/v3/command", post("http://nas:7878/r/api/v3/command")),
            (303, "/radarr/api/v3/command", post("http://nas:7878/radarr/api/v3/command")),
            (303, "command/17", get("http://nas:7878/api/v3/command/17")),
            (302, "/login?returnUrl=secret", Err("to http://nas:7878/login, which")),
            (307, "https://nas:7878/api/v3/command", Err("to https://nas:7878/api/v3/command, another")),
            (308, "http://nas/api/v3/command?k=secret", Err("to http://nas/api/v3/command, another")),
            (301, "//other/api/v3/command", Err("to http://other/api/v3/command, another")),
            (307, "ftp://nas:7878/", Err("to ftp://nas:7878/, another")),
            (307, "", Err("the status is 307, without")),
            (307, "http://", Err("the status is 307, without")),
        ];
        for (status, location, expected) in table {
            let headers = [("location", location)].into_iter().collect();
            let next = onward(&from, status, &headers);
            match (next, expected) {
                (Ok(next), Ok(expected)) => assert_eq!(next, expected, "{status} {location}"),
                (Err(error), Err(why)) => {
                    let text = error.to_string();
                    assert!(text.contains(why) && !text.contains("secret"), "{text}");
                }
                (next, _) => panic!("{status} {location}: {next:?}"),
            }
        }
    }

    #[test]
    fn a_file_is_named_as_the_server_sees_it_with_the_separator_of_its_system() {
        let completed = Path::new("/srv/completed");
        let table = [
            (None, "/srv/completed/films/Film.mkv"),
            (Some("/data"), "/data/films/Film.mkv"),
            (Some("/data/"), "/data/films/Film.mkv"),
            (Some("/"), "/films/Film.mkv"),
            (Some("/odd\\name"), "/odd\\name/films/Film.mkv"),
            (Some("\\\\nas\\films"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("\\\\nas\\films\\"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("D:\\"), "D:\\films\\Film.mkv"),
            (Some("D:"), "D:\\films\\Film.mkv"),
            (Some("D:\\new films"), "D:\\new films\\films\\Film.mkv"),
            (Some("D:/films"), "D:/films/films/Film.mkv"),
        ];
        for (import_path, wanted) in table {
            let found = seen("/srv/completed/films/Film.mkv", completed, import_path);
            assert_eq!(found.unwrap(), wanted, "{import_path:?}");
        }
    }

    #[test]
    fn a_completed_folder_that_is_named_by_a_link_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("disk 2");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("completed");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let file = real.canonicalize().unwrap().join("Film.mkv");
        let file = file.to_str().unwrap();
        assert_eq!(seen(file, &link, Some("/data")).unwrap(), "/data/Film.mkv");
        let itself = link.join("Film.mkv").display().to_string();
        assert_eq!(seen(file, &link, None).unwrap(), itself);
    }

    #[test]
    fn a_file_elsewhere_is_named_by_its_own_path_or_not_at_all() {
        let completed = Path::new("/srv/completed");
        let file = "/srv/completed 2/Film.mkv";
        assert_eq!(seen(file, completed, None).unwrap(), file);
        assert!(seen(file, completed, Some("/data")).is_err());
    }
}
