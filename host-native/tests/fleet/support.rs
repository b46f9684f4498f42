//! A fleet: a schema, a shared folder, an origin, and workers.

use crate::house::{House, PATIENCE, Served, wait_until};
use crate::postgres::{LEASE, Schema};
use regrip_faultd::{Content, FileScript, Script, Server, Version};
use serde_json::{Value, json};
use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const KEY: &str = "hush";

/// Larger than a file that is kept in memory until it is whole.
pub(crate) const SIZE: u64 = 4_000_000;

/// What the workers share.
pub(crate) struct Fleet {
    pub(crate) schema: Schema,
    pub(crate) folder: TempDir,
    pub(crate) origin: Server,
    pub(crate) lease: Duration,
}

impl Fleet {
    /// With an origin that has these many files, `/0.mkv` and so on, and sends each at this rate.
    pub(crate) fn new(files: u64, bytes_per_second: u64) -> Fleet {
        let mut script = Script::new();
        if bytes_per_second > 0 {
            script = script.bytes_per_second(bytes_per_second);
        }
        for number in 0..files {
            let version = Version::new(number, SIZE).etag(&format!("\"{number}\""));
            script = script.file(&format!("/{number}.mkv"), FileScript::honest(version));
        }
        let origin = Server::start(script).expect("it starts");
        Fleet { schema: Schema::new(), folder: tempfile::tempdir().expect("a folder"), origin, lease: LEASE }
    }

    /// A worker's folder and configuration.
    pub(crate) fn house(&self, url: &str) -> House {
        let mut house = House::with(&[]);
        house.config["downloads"] = json!({
            "completedPath": self.folder.path(),
            "completedPathIsShared": true,
            "maxConcurrentPerPeer": 100,
            "retryBaseDelayMs": 0,
            "retryMaxDelayMs": 200,
        });
        house.config["regrip"]["apiKey"] = KEY.into();
        house.config["regrip"]["ledger"] =
            json!({ "postgres": url, "leaseMs": u64::try_from(self.lease.as_millis()).unwrap() });
        house
    }

    /// A worker that runs.
    pub(crate) fn worker(&self) -> Worker {
        Worker::start(self.house(&self.schema.url()))
    }

    /// The same, whose wall clock is off by this much.
    pub(crate) fn worker_at(&self, offset: &str) -> Worker {
        let library = std::env::var("REGRIP_TEST_FAKETIME").expect("run these tests by tests/fleet/run");
        let house = self.house(&self.schema.url());
        house.write_config();
        let mut command = house.command();
        command.env("LD_PRELOAD", library).env("FAKETIME", offset);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        let served = house.run(&mut command);
        Worker::running(house, served)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn part_bytes(&self, name: &str) -> u64 {
        std::fs::metadata(self.path(&format!("{name}.part"))).map_or(0, |part| part.len())
    }

    /// Waits until a download is complete, and compares the file with the origin's.
    pub(crate) fn wait_for(&self, number: u64) {
        let select = format!("SELECT status FROM downloads WHERE dest_path LIKE '%/{number}.mkv'");
        wait_until(&format!("{number}.mkv is complete"), || self.schema.execute(&select) == "completed");
        self.assert_is(number);
    }

    pub(crate) fn assert_is(&self, number: u64) {
        let bytes = std::fs::read(self.path(&format!("{number}.mkv"))).expect("the file is there");
        assert!(bytes == Content::new(number, SIZE).bytes(0..SIZE), "{number}.mkv differs from the origin's");
    }

    /// The requests for a file so far, each by its range.
    pub(crate) fn ranges(&self, number: u64) -> Vec<Option<String>> {
        let path = format!("/{number}.mkv");
        let log = self.origin.log();
        log.iter().filter(|entry| entry.path == path).map(|entry| entry.range.clone()).collect()
    }

    /// Nothing but the completed files is in the folder.
    pub(crate) fn assert_clean(&self) {
        let entries = std::fs::read_dir(self.folder.path()).expect("it is there").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = names.filter(|name| !name.ends_with(".mkv") || name.starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A worker that runs; it is killed at the end of the test.
pub(crate) struct Worker {
    pub(crate) house: House,
    pub(crate) served: Served,
}

impl Worker {
    pub(crate) fn start(house: House) -> Worker {
        let served = house.begin();
        Worker::running(house, served)
    }

    fn running(house: House, served: Served) -> Worker {
        served.log.wait_for("taking downloads by the API");
        Worker { house, served }
    }

    pub(crate) fn get(&self, target: &str) -> Value {
        let (status, body) = self.served.ask_with(target, &[("X-Api-Key", KEY)]);
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.served.post(target, KEY, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Adds a file of the origin.
    pub(crate) fn add(&self, fleet: &Fleet, number: u64) {
        let (status, body) =
            self.post("/api/downloads", &json!({ "url": fleet.origin.url(&format!("/{number}.mkv")) }));
        assert!(matches!(status, 200 | 201), "{status}: {body}");
    }

    /// Its name in claims.
    pub(crate) fn id(&self) -> String {
        let (address, mut id) = (self.served.address(), String::new());
        wait_until("the worker is listed", || {
            let workers = self.get("/api/workers");
            let mut workers = workers["workers"].as_array().into_iter().flatten();
            let own = workers.find(|worker| worker["address"] == address.as_str());
            id = own.and_then(|worker| worker["id"].as_str()).unwrap_or_default().to_owned();
            !id.is_empty()
        });
        id
    }
}

/// Passes connections on to the database, until it is cut: then no data passes, and no connection is closed.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// In front of the database of a URL, and the URL through it.
    pub(crate) fn of(url: &str) -> (Proxy, String) {
        let port = url.split(['@', '/']).nth(3).and_then(|at| at.split(':').nth(1)).unwrap();
        let proxy = Proxy::to(port.parse().unwrap());
        let through = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
        (proxy, through)
    }

    pub(crate) fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), is_cut: Arc::default(), open: Arc::default() };
        let (is_cut, open) = (Arc::clone(&proxy.is_cut), Arc::clone(&proxy.open));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_cut = Arc::clone(&is_cut);
                    std::thread::spawn(move || {
                        let _ = copy(&mut &from, &mut Until { is_cut, to: &to });
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        proxy
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
        if !is_cut {
            // The connections of before have lost bytes.
            for stream in self.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Swallows what comes after the cut.
struct Until<'a> {
    is_cut: Arc<AtomicBool>,
    to: &'a TcpStream,
}

impl std::io::Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.is_cut.load(Ordering::SeqCst) {
            true => Ok(bytes.len()),
            false => (&mut &*self.to).write(bytes),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until something is so, with what it is now in the message.
pub(crate) fn eventually(what: &str, mut now: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(is) = now() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}; it is {is}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
