//! A folder, a configuration, and `regrip serve` in it.

use crate::peer::{KEY, Peer};
use regrip::peers::id_of;
use regrip_core::Stub;
use regrip_faultd::Content;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough that only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// A folder with what a server needs.
pub(crate) struct House {
    folder: TempDir,
    /// The configuration, as it is written at the next start.
    pub(crate) config: Value,
}

impl House {
    /// With these peers, named `Peer 0` and so on, and waits that are short.
    pub(crate) fn with(peers: &[&Peer]) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["watch", "completed"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let peers = peers
            .iter()
            .enumerate()
            .map(|(number, peer)| json!({ "name": format!("Peer {number}"), "url": peer.url(), "apiKey": KEY }));
        let config = json!({
            "downloads": {
                "watchPath": "watch",
                "completedPath": "completed",
                "retryBaseDelayMs": 0,
                "retryMaxDelayMs": 200,
            },
            "regrip": { "listen": "127.0.0.1:0", "dataDir": "data" },
            "peers": peers.collect::<Vec<_>>(),
        });
        House { folder, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_config(&self) {
        let text = self.config.to_string();
        std::fs::write(self.path("config.jsonc"), text).expect("written");
    }

    pub(crate) fn command(&self) -> Command {
        self.command_of("serve")
    }

    /// `serve` or `check-config`.
    pub(crate) fn command_of(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
        command
            .current_dir(self.folder.path())
            .args([name, "--config", "config.jsonc"])
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        for name in PROXY_VARIABLES {
            command.env_remove(name);
            command.env_remove(name.to_uppercase());
        }
        command
    }

    /// Starts a server and waits until it watches.
    pub(crate) fn start(&self) -> Served {
        let served = self.begin();
        served.log.wait_for("watching for stubs");
        served
    }

    /// Starts a server as the user nobody, who owns the folder then, and waits until it watches; `None` if only root can.
    pub(crate) fn start_as_nobody(&self) -> Option<Served> {
        const NOBODY: u32 = 65_534;
        self.write_config();
        let chown = Command::new("chown").args(["-R", &NOBODY.to_string()]).arg(self.folder.path()).output();
        let mut can_run = Command::new(env!("CARGO_BIN_EXE_regrip"));
        can_run.arg("--version").stdout(Stdio::null()).uid(NOBODY);
        let is_root = chown.is_ok_and(|chown| chown.status.success());
        if !is_root || !can_run.status().is_ok_and(|ran| ran.success()) {
            return None;
        }
        let served = self.run(self.command().uid(NOBODY));
        served.log.wait_for("watching for stubs");
        Some(served)
    }

    /// Starts a server.
    pub(crate) fn begin(&self) -> Served {
        self.write_config();
        self.run(&mut self.command())
    }

    pub(crate) fn run(&self, command: &mut Command) -> Served {
        let number = std::fs::read_dir(self.folder.path()).map_or(0, Iterator::count);
        let path = self.path(&format!("log {number}"));
        let log = File::create(&path).expect("created");
        let child = command.stderr(log).spawn().expect("regrip starts");
        Served { child: Some(child), log: Log { path } }
    }

    /// A house whose server slowly downloads the peer's first film for `Film.torrent`, and has bytes of it.
    pub(crate) fn downloading(peer: &Peer) -> (House, Served) {
        peer.rate(1_000_000);
        let house = House::with(&[peer]);
        let served = house.start();
        house.drop_stub("Film.torrent", peer, 1);
        wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
        (house, served)
    }

    /// Drops a stub of a peer's item.
    pub(crate) fn drop_stub(&self, name: &str, peer: &Peer, number: u64) {
        std::fs::write(self.path("watch").join(name), stub(peer, number)).expect("written");
    }

    pub(crate) fn has_stub(&self, name: &str) -> bool {
        self.path("watch").join(name).exists()
    }

    /// Waits until a file is in the completed folder, and holds it against its source.
    pub(crate) fn wait_for_file(&self, name: &str, content: Content) {
        let path = self.path("completed").join(name);
        wait_until(&format!("{name} is there"), || path.exists());
        self.assert_is(name, content);
    }

    pub(crate) fn assert_is(&self, name: &str, content: Content) {
        let bytes = std::fs::read(self.path("completed").join(name)).expect("the file is there");
        assert_eq!(bytes.len() as u64, content.size, "length of {name}");
        assert!(bytes == content.bytes(0..content.size), "{name} differs from its source");
    }

    /// The names in a folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).expect("the folder is there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Length of the part of a file, 0 if there is none.
    pub(crate) fn part_bytes(&self, name: &str) -> u64 {
        let part = self.path("completed").join(format!("{name}.part"));
        std::fs::metadata(part).map_or(0, |metadata| metadata.len())
    }

    /// The rows, by what the ledger says while nobody or somebody runs.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_regrip"))
            .current_dir(self.folder.path())
            .args(["list", "--json", "--state", "data/state.db"])
            .output()
            .expect("regrip runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = |line| serde_json::from_str(line).expect("an object a line");
        text.lines().map(line).collect()
    }

    /// The rows of a file that have a status.
    pub(crate) fn statuses(&self) -> Vec<(String, String)> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("").to_owned();
        let rows = self.rows();
        let mut found: Vec<_> = rows.iter().map(|row| (text(row, "filename"), text(row, "status"))).collect();
        found.sort();
        found
    }

    /// Waits until there are exactly these rows.
    pub(crate) fn wait_for_rows(&self, wanted: &[(&str, &str)]) {
        let owned = |(name, status): &(&str, &str)| ((*name).to_owned(), (*status).to_owned());
        let wanted: Vec<_> = wanted.iter().map(owned).collect();
        let mut last = Vec::new();
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            last = self.statuses();
            if last == wanted {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the rows are {last:?}, not {wanted:?}");
    }
}

/// A stub of a peer's item.
pub(crate) fn stub(peer: &Peer, number: u64) -> Vec<u8> {
    let stub = Stub::new(id_of(&peer.url()), &number.to_string(), "A film", 9);
    stub.expect("it can be one").write()
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a server logs.
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    pub(crate) fn wait_for(&self, what: &str) {
        let began = Instant::now();
        while !self.text().contains(what) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what:?} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many lines have a text.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.text().lines().filter(|line| line.contains(what)).count()
    }
}

/// A server that runs. It is killed at the end of the test.
pub(crate) struct Served {
    child: Option<Child>,
    pub(crate) log: Log,
}

impl Served {
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("it is there") {
                self.child = None;
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.log.text());
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    fn kill_now(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// The body of a GET on its address, which must be a 200.
    pub(crate) fn get(&self, target: &str) -> Value {
        let (status, body) = self.ask("GET", target);
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    /// Status and body of a request.
    pub(crate) fn ask(&self, method: &str, target: &str) -> (u16, String) {
        self.exchange(method, target, &[("Content-Type", "application/json")])
    }

    /// Status and body of a POST of JSON with a key.
    pub(crate) fn post(&self, target: &str, key: &str, body: &str) -> (u16, String) {
        let json = [("Content-Type", "application/json"), ("X-Api-Key", key)];
        self.exchange_body("POST", target, &json, body)
    }

    /// Status and body of a GET with these headers; those without a value are left out.
    pub(crate) fn ask_with(&self, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        self.exchange("GET", target, headers)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        let text = self.log.text();
        let line = text.split("listening at http://").nth(1);
        let address = line.and_then(|rest| rest.lines().next());
        address.expect("it listens").trim().to_owned()
    }

    fn exchange(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        self.exchange_body(method, target, headers, "")
    }

    pub(crate) fn exchange_body(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let length = body.len();
        let address = self.address();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.push_str(body);
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.expect("a status"), body.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log.text());
        }
        self.kill_now();
    }
}

/// A regular file's name in a folder, for rename and the like.
pub(crate) fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).expect("renamed");
}
