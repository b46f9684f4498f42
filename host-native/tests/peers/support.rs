//! An engine, a peer's client, and what the two leave.

use crate::wire::{Answer, Seen, Server, ok};
use regrip::config::{Config, parse};
use regrip::host::{Listener, NativeHost};
use regrip::ledger::SqliteLedger;
use regrip::peers::PeerClient;
use regrip::store::FileStore;
use regrip::time::SmolClock;
use regrip::transport::{HttpTransport, Roots, TransportOptions};
use regrip_core::{DownloadsConfig, Engine, Event};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const HANDSHAKE: &str = r#"{"version": "0.1.0"}"#;

/// A release with a field that nobody here knows.
pub(crate) const RELEASE: &str = r#"{
    "id": "film:1", "title": "Film", "filename": "Film (1999).mkv", "category": 2000, "size": 9,
    "quality": "1080p", "tmdbId": 603, "seeders": [1, 2]
}"#;

/// Ignores every attempt.
struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _event: &Event<'_>) {}
}

/// A client and its engine, in a folder of their own.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) engine: Engine<NativeHost<SqliteLedger>>,
    pub(crate) client: PeerClient<SqliteLedger>,
}

impl Bench {
    /// Of the peer that is at a URL, with the key `hush`. Nothing is waited for between attempts.
    pub(crate) fn at(url: &str, limits: DownloadsConfig) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(r#"{{"peers": [{{"name": "Anna", "url": "{url}", "apiKey": "hush"}}]}}"#);
        let parsed = parse(&text, Path::new("/"), &|_| None).expect("it is a configuration");
        let Config { mut peers, .. } = parsed.config;
        let peer = peers.pop().expect("there is one");
        let limits = DownloadsConfig { retry_base_delay_ms: 0, retry_max_delay_ms: 0, ..limits };
        let options = TransportOptions {
            credentials: vec![peer.credentials()],
            roots: Roots::none(),
            ..TransportOptions::new(&limits)
        };
        let host = NativeHost {
            transport: HttpTransport::new(options),
            store: FileStore::default(),
            ledger: SqliteLedger::open(&folder.path().join("state.db")).expect("a new ledger"),
            clock: SmolClock::default(),
            listener: Arc::new(Deaf),
        };
        let engine = Engine::new(host, limits, true).expect("the limits are in range");
        Bench { folder, client: PeerClient::new(engine.clone(), peer), engine }
    }

    pub(crate) fn of(server: &Server) -> Bench {
        let url = server.url("");
        Bench::at(&url, DownloadsConfig::default())
    }
}

/// A peer with the usual handshake that answers everything else by a script.
pub(crate) fn peer(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
    Server::new(move |seen| match seen.target() {
        "/handshake" => ok(HANDSHAKE),
        _ => script(seen),
    })
}

/// The targets of all requests, in order.
pub(crate) fn targets(server: &Server) -> Vec<String> {
    let seen = server.seen();
    seen.iter().map(|seen| seen.target().to_owned()).collect()
}
