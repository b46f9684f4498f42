//! A shared folder on a loopback port, and what its client asks.

pub(crate) use crate::client::{Client, Reply, until};
use regrip::ledger::SqliteLedger;
use regrip::server::{Access, Keys, Limits, Server, Threads};
use regrip::share::{Share, ShareOptions};
use smol::channel::{Sender, bounded};
use std::fs::{self, File, FileTimes};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Longer than anything here takes; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that differ by position and seed.
pub(crate) fn bytes(seed: u8, size: usize) -> Vec<u8> {
    let byte = |at: usize| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0] ^ seed;
    (0..size).map(byte).collect()
}

/// Writes a file that was last changed this long ago.
pub(crate) fn put_aged(path: &Path, content: &[u8], age: Duration) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    age_to(path, age);
}

/// Sets when a file was last changed.
pub(crate) fn age_to(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    let times = FileTimes::new().set_modified(SystemTime::now() - age);
    file.set_times(times).unwrap();
}

/// Writes a file that was last changed an hour ago.
pub(crate) fn put(path: &Path, content: &[u8]) {
    put_aged(path, content, Duration::from_secs(3600));
}

/// Writes a file of 256 MiB without blocks, which no socket takes whole.
pub(crate) fn put_long(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(256 << 20).unwrap();
}

/// Overwrites a file in place, and sets its time back.
pub(crate) fn edit(path: &Path, content: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(content, 0).unwrap();
    file.set_modified(before).unwrap();
}

/// A folder and what serves it.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How a bench serves.
pub(crate) struct How {
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    /// Files that are never shared, beside the database.
    pub(crate) own_files: Vec<PathBuf>,
    /// `true` if the folder is scanned all the time, not only when a peer asks.
    pub(crate) looks_by_itself: bool,
}

impl Default for How {
    fn default() -> Self {
        How { access: Access::Loopback, limits: Limits::default(), own_files: Vec::new(), looks_by_itself: true }
    }
}

impl How {
    pub(crate) fn keys(text: &str) -> How {
        How { access: Access::Keys(Keys::parse(text).unwrap()), ..How::default() }
    }

    pub(crate) fn limits(limits: Limits) -> How {
        How { limits, ..How::default() }
    }
}

impl Bench {
    /// Shares `films/` of a new folder, once `fill` has put files there.
    pub(crate) fn of(fill: impl FnOnce(&Path)) -> Bench {
        Bench::how(How::default(), fill)
    }

    pub(crate) fn how(how: How, fill: impl FnOnce(&Path)) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let films = folder.path().join("films");
        fs::create_dir(&films).unwrap();
        fill(&films);
        let mut bench = Bench { folder, address: ([127, 0, 0, 1], 0).into(), stop: None, thread: None };
        bench.start(how);
        bench
    }

    /// A bench with one film.
    pub(crate) fn film(content: &[u8]) -> Bench {
        Bench::of(|films| put(&films.join("film.mkv"), content))
    }

    pub(crate) fn start(&mut self, how: How) {
        let ledger = SqliteLedger::open(&self.folder.path().join("state.db")).unwrap();
        let mut options = ShareOptions::new(vec![self.path("")]);
        for file in &how.own_files {
            options.own_files.add(file);
        }
        let state = self.folder.path().join("state.db");
        options.own_files.add_database(&state);
        if how.looks_by_itself {
            options.scan_every = Duration::from_millis(100);
        } else {
            options.scan_when_asked_after = Duration::ZERO;
        }
        let share = Share::start(&options, ledger).unwrap();
        let server = Server::bind(self.address, how.limits).unwrap();
        self.address = server.address();
        let (stop, stopped) = bounded(1);
        self.stop = Some(stop);
        self.thread = Some(std::thread::spawn(move || {
            let threads = Threads::start().unwrap();
            let answer = share.router(how.access).answer();
            let stopped = async {
                let _ = stopped.recv().await;
            };
            smol::block_on(server.run(threads.executor(), answer, stopped));
        }));
    }

    /// Tells it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn tell_to_stop(&mut self) {
        self.stop = None;
    }

    /// A path in the shared folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("films").join(name)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, path: &str, headers: &str) -> Reply {
        self.connect().ask("GET", path, headers)
    }

    /// What a search finds.
    pub(crate) fn search(&self, query: &str) -> Vec<serde_json::Value> {
        let reply = self.get(&format!("/peer/search?{query}"), "");
        assert_eq!(reply.status, 200);
        let found: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        found["items"].as_array().unwrap().clone()
    }

    /// The path on the wire of a shared file, once the file is old enough to be sent.
    pub(crate) fn file(&self, filename: &str) -> String {
        let path = self.new_file(filename);
        self.settled(&path, "");
        path
    }

    /// Waits until a file is old enough to be sent, asking with these headers.
    pub(crate) fn settled(&self, path: &str, headers: &str) {
        until(|| (self.connect().ask("HEAD", path, headers).status != 503).then_some(()));
    }

    /// The path on the wire of a shared file, which may have been written just now.
    pub(crate) fn new_file(&self, filename: &str) -> String {
        let items = self.search("");
        let item = items.iter().find(|item| item["filename"] == filename);
        let id = item.expect("the file is shared")["id"].as_str().unwrap().to_owned();
        format!("/peer/items/{id}/file")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop = None;
    }
}

impl Reply {
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert!(json["error"]["message"].is_string());
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// Header lines are ended by CR LF each.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str) {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        self.write(&format!("{method} {path} HTTP/1.1\r\n{host}{headers}\r\n"));
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        self.send(method, path, headers);
        self.reply(method == "HEAD").expect("a reply")
    }
}
