//! A configuration that was read. All paths are absolute, all secrets are read.

use super::object::Secret;
use crate::transport::{Credentials, Header, Origin};
use regrip_core::{DownloadsConfig, PeerId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Without it nothing is downloaded.
    pub downloads: Option<Downloads>,
    /// The `regrip` block.
    pub server: ServerConfig,
    /// The peers that have the items of stubs.
    pub peers: Vec<Peer>,
    /// Servers that import completed downloads.
    pub import_servers: Vec<ImportServer>,
    /// Folders that peers may fetch from.
    pub share: Vec<PathBuf>,
    /// Commands to run after downloads.
    pub hooks: HookCommands,
    /// Files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// Variables of the environment that secrets were read from.
    pub secret_variables: Vec<String>,
}

/// The `hooks` block: what `sh -c` runs. A command may have a secret in it, so it is never printed.
#[derive(Clone, Default)]
pub struct HookCommands {
    /// After a file was completed.
    pub on_complete: Option<String>,
    /// After a download failed for good.
    pub on_fail: Option<String>,
}

impl fmt::Debug for HookCommands {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HookCommands")
    }
}

/// The `downloads` block.
#[derive(Clone, Debug)]
pub struct Downloads {
    /// The folder that stubs are dropped into, if there is one.
    pub watch: Option<PathBuf>,
    /// The folder of completed files and of parts.
    pub completed: PathBuf,
    /// All workers of a fleet see the same folder there.
    pub completed_is_shared: bool,
    /// The settings of the engine, in range.
    pub engine: DownloadsConfig,
    /// A release that is at fault is blocklisted at the server that grabbed it.
    pub blocklist_failed: bool,
    /// How often the import servers are asked what they have imported.
    pub import_poll_interval: Duration,
    /// An imported file loses its name in the completed folder.
    pub unlink_imported_files: bool,
    /// The rate of all downloads together, in bytes per second, if it is limited.
    pub limit_rate: Option<NonZeroU64>,
    /// The permissions of completed files; without them the umask decides.
    pub file_mode: Option<u32>,
    /// `onExists` is in the file. Without it only files that regrip delivered are replaced.
    pub on_exists_given: bool,
}

/// The `regrip` block.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address of the API.
    pub listen: SocketAddr,
    /// Opens the API. Without it only this machine is served.
    pub api_key: Option<Secret>,
    /// The folder of the ledger, if it is configured.
    pub data_dir: Option<PathBuf>,
    /// The database that is the ledger instead of a file in that folder.
    pub postgres: Option<Postgres>,
    /// How Radarr and Sonarr reach this server, with a URL base if it has one there.
    pub internal_url: Option<String>,
    /// Open the shared folders, one a peer.
    pub share_keys: Vec<ShareKey>,
    /// How peers reach this server, for quick links.
    pub external: Option<External>,
    /// The object storage that `completedPath` may name.
    #[cfg(feature = "fleet")]
    pub s3: Option<crate::store::S3Settings>,
    /// The block is jack's: its key was given to peers, who may go on to fetch with it.
    pub is_jacks: bool,
}

/// The ledger of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// The database's URL, with a password in it.
    pub url: Secret,
    /// How long a worker has a download without saying that it still does.
    pub lease: Duration,
}

/// How peers reach this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The name that a peer is offered for this server.
    pub instance_name: Option<String>,
    /// The address.
    pub url: String,
    /// Headers that get a peer through what is in front of this server.
    pub headers: Vec<(String, Secret)>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5225),
            api_key: None,
            data_dir: None,
            postgres: None,
            internal_url: None,
            share_keys: Vec::new(),
            external: None,
            #[cfg(feature = "fleet")]
            s3: None,
            is_jacks: false,
        }
    }
}

/// A peer's key to the shared folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareKey {
    /// Whose it is, to show.
    pub name: String,
    /// The key.
    pub api_key: Secret,
}

/// A peer that has items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// To show.
    pub name: String,
    /// As configured.
    pub url: String,
    /// What stubs call it.
    pub id: PeerId,
    /// Who gets its credentials.
    pub origin: Origin,
    /// What every request to it carries: its `X-Api-Key` and the configured headers.
    pub headers: Vec<Header>,
}

impl Peer {
    /// Its headers, for a transport that adds them to every request to its origin and to no other.
    pub fn credentials(&self) -> Credentials {
        Credentials { origin: self.origin.clone(), headers: self.headers.clone() }
    }
}

/// Which of them it is, and so what it imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportServerKind {
    /// Films.
    Radarr,
    /// Series.
    Sonarr,
}

impl ImportServerKind {
    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            ImportServerKind::Radarr => "radarr",
            ImportServerKind::Sonarr => "sonarr",
        }
    }
}

/// A server that imports what was downloaded.
#[derive(Clone, Debug)]
pub struct ImportServer {
    /// Radarr or Sonarr.
    pub kind: ImportServerKind,
    /// To show.
    pub name: String,
    /// As configured.
    pub url: String,
    /// What every request to it carries: its `X-Api-Key` and the configured headers.
    pub headers: Vec<Header>,
    /// The path of the completed folder on that server, if it is another one there.
    pub import_path: Option<String>,
    /// Peers may fetch what it has files for.
    pub source: bool,
    /// Paths of its library, each with the path of the same folder here.
    pub path_mapping: Vec<(String, PathBuf)>,
    /// This server registers itself there.
    pub destination: bool,
    /// How it does.
    pub autoregister: Autoregister,
}

/// How this server registers itself in Radarr or Sonarr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoregister {
    /// It does so at all.
    pub enable: bool,
    /// The priority of the indexer, from 1.
    pub priority: u32,
}

impl Default for Autoregister {
    fn default() -> Self {
        Autoregister { enable: true, priority: 1 }
    }
}

/// The id of the peer that is configured with this URL: the first 8 hex digits of its SHA-256. The URL counts as it is
/// written, so `http://host` and `http://host/` are two.
///
/// ```
/// assert_eq!(regrip::peers::id_of("http://peer.example:5225").as_str(), "6a7d8929");
/// ```
pub fn id_of(url: &str) -> PeerId {
    let digest = Sha256::digest(url.as_bytes());
    let hex: String = digest.iter().take(PeerId::DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    PeerId::new(&hex).unwrap_or_else(|| unreachable!("{hex} has eight hex digits"))
}
