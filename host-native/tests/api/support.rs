//! A server with its API in this process, on a loopback port, and what its client asks.

pub(crate) use crate::client::{Client, Reply, until};
use regrip::api;
use regrip::control::{Control, Events};
use regrip::host::NativeHost;
use regrip::host::Workers;
use regrip::ledger::SqliteLedger;
use regrip::server::{Access, CurrentKeys, Keys, Limits, Server, Threads};
use regrip::share::{Share, ShareOptions};
use regrip::store::FileStore;
use regrip::time::SmolClock;
use regrip::transport::{HttpTransport, TransportOptions};
use regrip_core::{DownloadsConfig, Engine};
use serde_json::Value;
use smol::channel::{Sender, bounded};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The key of servers that have one.
pub(crate) const KEY: &str = "a-key-of-32-letters-for-the-tests";

/// Drives run on threads that all tests share.
fn workers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for _ in 0..2 {
            std::thread::spawn(|| Workers::new(1).run(std::future::pending::<()>()));
        }
    });
}

/// How a bench serves.
pub(crate) struct How {
    pub(crate) key: Option<&'static str>,
    /// The key of a peer that the completed folder is shared with.
    pub(crate) shared_with: Option<&'static str>,
    pub(crate) downloads: bool,
    pub(crate) limits: Limits,
    pub(crate) config: DownloadsConfig,
}

impl Default for How {
    fn default() -> Self {
        How {
            key: Some(KEY),
            shared_with: None,
            downloads: true,
            limits: Limits::default(),
            config: DownloadsConfig { retry_base_delay_ms: 0, connect_timeout_ms: 5000, ..DownloadsConfig::default() },
        }
    }
}

/// A server with its folder.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) control: Control<SqliteLedger>,
    pub(crate) address: SocketAddr,
    /// What opens the API now.
    pub(crate) keys: CurrentKeys,
    key: Option<&'static str>,
    /// The share of the completed folder.
    pub(crate) share: Option<Share>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::how(How::default())
    }

    pub(crate) fn how(how: How) -> Bench {
        workers();
        let folder = tempfile::tempdir().unwrap();
        let completed = folder.path().join("completed");
        std::fs::create_dir(&completed).unwrap();
        let events = Events::default();
        let host = NativeHost {
            transport: HttpTransport::new(TransportOptions::new(&how.config)),
            store: FileStore::new(),
            ledger: SqliteLedger::open(&folder.path().join("state.db")).unwrap(),
            clock: SmolClock::default(),
            listener: Arc::new(events.clone()),
        };
        let engine = Engine::new(host, how.config, true).unwrap();
        let control = Control::new(engine, events, how.downloads.then_some(completed));
        let server = Server::bind(([127, 0, 0, 1], 0).into(), how.limits).unwrap();
        let address = server.address();
        let keys = CurrentKeys::new(how.key.map(|key| Keys::new([key]).unwrap()));
        let mut answer = api::router(control.clone(), keys.clone());
        let mut shared = None;
        if let Some(key) = how.shared_with {
            let options = ShareOptions::new(vec![folder.path().join("completed")]);
            let share = Share::start(&options, control.ledger().clone()).unwrap();
            let access = Access::Keys(Keys::new([key]).unwrap());
            answer = api::beside(answer, share.router(access).answer());
            shared = Some(share);
        }
        let (stop, stopped) = bounded::<()>(1);
        let ending = control.clone();
        let thread = std::thread::spawn(move || {
            let threads = Threads::start().unwrap();
            let stopped = async {
                let _ = stopped.recv().await;
                ending.end().await;
            };
            smol::block_on(server.run(threads.executor(), answer, stopped));
        });
        Bench { folder, control, address, keys, key: how.key, share: shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Tells it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// A path in the completed folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("completed").join(name)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own, with the key.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Reply {
        self.with(method, path, &self.credentials(), "")
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path)
    }

    /// The object at a path.
    pub(crate) fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// A POST of JSON, with the key.
    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        let headers = format!("{}Content-Type: application/json\r\n", self.credentials());
        self.with("POST", path, &headers, body)
    }

    /// Header lines are ended by CR LF each.
    pub(crate) fn with(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        self.connect().ask(method, path, headers, body)
    }

    pub(crate) fn credentials(&self) -> String {
        self.key.map_or_else(String::new, |key| format!("X-Api-Key: {key}\r\n"))
    }

    /// Adds a download and returns its id.
    pub(crate) fn add(&self, url: &str) -> i64 {
        let body = serde_json::json!({ "url": url }).to_string();
        let reply = self.post("/api/downloads", &body);
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["id"].as_i64().unwrap()
    }

    /// Waits until a download has a status, and returns it.
    pub(crate) fn until(&self, id: i64, status: &str) -> Value {
        until(|| {
            let download = self.json(&format!("/api/downloads/{id}"));
            (download["status"] == status).then_some(download)
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop = None;
    }
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the error, which has the form that all errors have.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().unwrap();
        assert!(error["message"].is_string());
        for key in error.keys() {
            assert!(["code", "message", "field"].contains(&key.as_str()));
        }
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let host = match headers.to_ascii_lowercase().contains("host:") {
            true => "",
            false => "Host: localhost\r\n",
        };
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        self.write(&format!("{method} {path} HTTP/1.1\r\n{host}{headers}{length}\r\n{body}"));
        self.whole_reply(method == "HEAD")
    }

    /// The next reply, with all of its body.
    pub(crate) fn whole_reply(&mut self, to_head: bool) -> Reply {
        let reply = self.reply(to_head).expect("a reply");
        assert!(reply.whole, "the body was cut");
        reply
    }
}
