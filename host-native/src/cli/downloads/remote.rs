//! The downloads of a running server, through its API.
//!
//! Invariant: the key comes from the environment or the configuration, is sent in one header to the server that was named,
//! and is never printed.

use super::backend::{BackendError, Shown, Stopped, Writer};
use crate::api::{AttemptList, BatchReply, DownloadPage, JSON_LINES};
use crate::config::Config;
use crate::ledger::Download;
use crate::transport::{Header, HttpTransport, TransportOptions};
use regrip_core::transport::{Body, Response};
use regrip_core::{DownloadId, DownloadsConfig, Error, Status, display_url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use surf::http::Method;
use url::Url;

/// The variable that has the key.
const KEY_VARIABLE: &str = "REGRIP_API_KEY";
/// Downloads of a page.
const PAGE: usize = 500;
/// How often a list is read before giving up.
const READS: u32 = 5;
/// Longest answer that is read: a page of downloads is far below.
const LARGEST_BYTES: usize = 16 << 20;

/// A server.
pub(super) struct Remote {
    transport: HttpTransport,
    /// Without a slash at its end.
    base: String,
    key: Option<Header>,
}

impl Remote {
    /// The server at a URL; its key is in the environment, or this one.
    ///
    /// # Errors
    /// What is wrong about the URL or the key.
    pub(super) fn named(url: &str, key: Option<&str>) -> Result<Remote, String> {
        let parsed = Url::parse(url).ok().filter(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            plain && matches!(url.scheme(), "http" | "https") && url.query().is_none()
        });
        if parsed.is_none_or(|url| url.host_str().is_none_or(str::is_empty)) {
            return Err(format!(
                "{} is not a server's URL\n  write it as http://127.0.0.1:5225; its key belongs into {KEY_VARIABLE}",
                display_url(url)
            ));
        }
        let given = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.trim().is_empty());
        let key = given.as_deref().or(key);
        let key = key.map(|key| Header::new("x-api-key", key)).transpose();
        let options = TransportOptions::new(&DownloadsConfig::default());
        Ok(Remote {
            transport: HttpTransport::new(options),
            base: url.trim_end_matches('/').to_owned(),
            key: key.map_err(|_| format!("a header cannot carry the key in {KEY_VARIABLE}"))?,
        })
    }

    /// The server that a configuration describes.
    ///
    /// # Errors
    /// What is wrong about the key in the environment.
    pub(super) fn configured(config: &Config) -> Result<Remote, String> {
        let address = reachable(config.server.listen);
        let key = config.server.api_key.as_ref().map(|key| key.reveal());
        Remote::named(&format!("http://{address}"), key)
    }

    /// Returns `true` if the server answers.
    pub(super) async fn is_running(&self) -> bool {
        let url = format!("{}/ping", self.base);
        self.transport.ask(Method::Get, &url, &[], None).await.is_ok()
    }

    /// Asks for a URL to be downloaded. Returns the download, and whether it was known.
    pub(super) async fn add(
        &self,
        url: &str,
        name: Option<&str>,
        checksum: Option<&str>,
    ) -> Result<(Download, bool), BackendError> {
        let mut wish = json!({ "url": url, "filename": name });
        if let Some(checksum) = checksum {
            wish["checksum"] = checksum.into(); // a server of version 0.1 does not know this field
        }
        let said = self.ask(Method::Post, "/api/downloads", Some(wish.to_string()));
        let (status, body) = said.await?;
        Ok((self.read(&body)?, status == 200))
    }

    /// Asks for many downloads, each in a line as the API takes it.
    pub(super) async fn add_all(&self, lines: String) -> Result<BatchReply, BackendError> {
        // A refusal is seen before all of them are on their way.
        self.ask(Method::Get, "/api/downloads?limit=1", None).await?;
        let (_, body) = self.send(Method::Post, "/api/batch", Some((JSON_LINES, lines))).await?;
        Ok(self.read(&body)?)
    }

    /// Retries a download.
    pub(super) async fn retry(&self, id: DownloadId) -> Result<Download, BackendError> {
        self.change(id, "retry").await
    }

    /// Resumes a paused download.
    pub(super) async fn resume(&self, id: DownloadId) -> Result<Download, BackendError> {
        self.change(id, "resume").await
    }

    async fn one(&self, id: DownloadId) -> Result<Download, BackendError> {
        self.get(&format!("/api/downloads/{id}")).await.map_err(|said| about(id, said))
    }

    async fn change(&self, id: DownloadId, what: &str) -> Result<Download, BackendError> {
        let path = format!("/api/downloads/{id}/{what}");
        match self.ask(Method::Post, &path, None).await {
            Ok((_, body)) => Ok(self.read(&body)?),
            Err(said) => Err(self.explained(id, said).await),
        }
    }

    /// A refusal as the error of a state file, so that it gets the same advice.
    async fn explained(&self, id: DownloadId, said: RemoteError) -> BackendError {
        let code = match &said {
            RemoteError::Refused { code, .. } => code.as_str(),
            RemoteError::Silent { .. } | RemoteError::Strange { .. } => return said.into(),
        };
        match (code, self.one(id).await) {
            ("WrongState", Ok(download)) => {
                let status = download.status;
                Error::WrongState { id, status }.into()
            }
            ("CredentialsMissing", Ok(download)) => {
                let names = download.header_names.join(", ");
                Error::CredentialsMissing { names }.into()
            }
            _ => about(id, said),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RemoteError> {
        let (_, body) = self.ask(Method::Get, path, None).await?;
        self.read(&body)
    }

    /// The status and the body of an answer that is a success.
    async fn ask(&self, method: Method, path: &str, json: Option<String>) -> Result<(u16, Vec<u8>), RemoteError> {
        self.send(method, path, json.map(|json| ("application/json", json))).await
    }

    /// The same for a body of a media type.
    async fn send(
        &self,
        method: Method,
        path: &str,
        typed: Option<(&str, String)>,
    ) -> Result<(u16, Vec<u8>), RemoteError> {
        let url = format!("{}{path}", self.base);
        let (media_type, text) = typed.unzip();
        let content_type = media_type.and_then(|media_type| Header::new("Content-Type", media_type).ok());
        let headers: Vec<Header> = self.key.iter().cloned().chain(content_type).collect();
        let asked = self.transport.send_bytes(method, &url, &headers, text.unwrap_or_default().into());
        let silent = |source| RemoteError::Silent { url: display_url(&self.base), source: Box::new(source) };
        let Response { status, mut body, .. } = asked.await.map_err(silent)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > LARGEST_BYTES {
                return Err(self.strange("the response is too large"));
            }
            bytes.extend_from_slice(chunk);
        }
        match status {
            200..=299 => Ok((status, bytes)),
            _ => Err(self.refusal(status, &bytes)),
        }
    }

    fn refusal(&self, status: u16, body: &[u8]) -> RemoteError {
        #[derive(Deserialize)]
        struct ErrorReply {
            error: ErrorBody,
        }
        #[derive(Deserialize)]
        struct ErrorBody {
            code: String,
            message: String,
        }
        match serde_json::from_slice(body) {
            Ok(ErrorReply { error }) => RemoteError::Refused { status, code: error.code, message: error.message },
            Err(_) => self.strange(&format!("status {status}")),
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, RemoteError> {
        serde_json::from_slice(body).map_err(|error| self.strange(&error.to_string()))
    }

    fn strange(&self, what: &str) -> RemoteError {
        RemoteError::Strange { url: display_url(&self.base), what: what.to_owned() }
    }
}

impl Remote {
    /// All pages. What changes meanwhile moves to the front, behind the back of who reads on: so that is read again.
    async fn read_through(&self, status: Option<Status>) -> Result<Vec<Download>, RemoteError> {
        let of = status.map_or_else(String::new, |status| format!("&status={}", status.name()));
        let path = format!("/api/downloads?limit={PAGE}{of}");
        let mut found: BTreeMap<DownloadId, Download> = BTreeMap::new();
        let mut page: DownloadPage = self.get(&path).await?;
        let mut more = page.next.is_some();
        loop {
            found.extend(page.downloads.into_iter().map(|one| (one.id, one)));
            page = match page.next {
                Some(next) => self.get(&format!("{path}&after={next}")).await?,
                None if more => {
                    more = false;
                    let front: DownloadPage = self.get(&path).await?;
                    DownloadPage { next: None, ..front }
                }
                None => break,
            };
        }
        let mut all: Vec<Download> = found.into_values().collect();
        all.sort_by(|one, other| (&other.updated_at, other.id).cmp(&(&one.updated_at, one.id)));
        Ok(all)
    }
}

fn about(id: DownloadId, said: RemoteError) -> BackendError {
    match said {
        RemoteError::Refused { code, .. } if code == "NoSuchDownload" => Error::NoSuchDownload(id).into(),
        said => said.into(),
    }
}

/// The address of a server of this machine that listens on any address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

impl Remote {
    pub(super) async fn list(&self, status: Option<Status>) -> Result<Vec<Download>, BackendError> {
        let mut tries = READS;
        loop {
            tries -= 1;
            match self.read_through(status).await {
                // The last one of a page was removed before the next page was asked for.
                Err(RemoteError::Refused { code, .. }) if code == "NoSuchDownload" && tries > 0 => {}
                list => return Ok(list?),
            }
        }
    }

    pub(super) async fn show(&self, id: DownloadId) -> Result<Shown, BackendError> {
        let download = self.one(id).await?;
        let path = format!("/api/downloads/{id}/timeline");
        let timeline: AttemptList = self.get(&path).await.map_err(|said| about(id, said))?;
        let writing = matches!(download.status, Status::Downloading | Status::Committing);
        Ok(Shown { writer: writing.then_some(Writer::Server), attempts: timeline.attempts, download })
    }

    pub(super) async fn cancel(&self, id: DownloadId) -> Result<Stopped, BackendError> {
        let download = self.change(id, "cancel").await?;
        Ok(Stopped { kept_bytes: download.downloaded_bytes, writer: None })
    }

    pub(super) async fn pause(&self, id: DownloadId) -> Result<Stopped, BackendError> {
        let download = self.change(id, "pause").await?;
        Ok(Stopped { kept_bytes: download.downloaded_bytes, writer: None })
    }

    pub(super) async fn remove(&self, id: DownloadId) -> Result<Download, BackendError> {
        let download = self.one(id).await?;
        let path = format!("/api/downloads/{id}");
        match self.ask(Method::Delete, &path, None).await {
            Ok(_) => Ok(download),
            Err(said) => Err(self.explained(id, said).await),
        }
    }
}

/// A server's refusal, or why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    /// There is no answer.
    #[error("cannot reach the server at {url}")]
    Silent {
        url: String,
        #[source]
        source: Box<Error>,
    },
    /// It is another program, or another version.
    #[error("{url} is not a regrip server: {what}")]
    Strange { url: String, what: String },
    /// It did not do it.
    #[error("{message}")]
    Refused { status: u16, code: String, message: String },
}

impl RemoteError {
    /// What a person can do about it.
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self {
            RemoteError::Silent { .. } => Some("check the address, and whether `regrip serve` runs there"),
            RemoteError::Strange { .. } => Some("check the address"),
            RemoteError::Refused { code, .. } => match code.as_str() {
                "Unauthorized" => Some("put the server's key into REGRIP_API_KEY"),
                "NameRefused" => Some("name the file with --name"),
                "DestinationBusy" => Some("give it another name with --name, or remove that download first"),
                "CredentialsRefused" => Some("fetch it by `regrip get`, which is given them at every run"),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_this_machine() {
        let table = [("0.0.0.0:5225", "127.0.0.1:5225"), ("[::]:1", "[::1]:1"), ("192.168.1.2:3", "192.168.1.2:3")];
        for (listen, asked) in table {
            let listen = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), asked);
        }
    }

    #[test]
    fn what_is_no_servers_url_is_refused_without_its_secrets() {
        for url in ["", "host", "ftp://host", "http://", "http://me:secret@host", "http://host/?key=secret"] {
            let text = Remote::named(url, None).err().expect("refused");
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(Remote::named("https://regrip.example/", None).is_ok());
    }
}
