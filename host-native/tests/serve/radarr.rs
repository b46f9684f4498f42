//! A test Radarr (or Sonarr): takes commands, or answers with given statuses. As the real ones do, it accepts
//! any path with 201 and imports only the film that the path itself names: a folder of many films imports nothing.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    /// Key and command of each request.
    got: Mutex<Vec<(String, String, Value)>>,
    statuses: Mutex<VecDeque<(u16, String)>>,
    /// Folders of this machine, by the path at which the server sees them.
    mounts: Mutex<Vec<(String, PathBuf)>>,
    imported: Mutex<Vec<PathBuf>>,
    history: Mutex<Vec<Value>>,
    /// How often it was asked for its history.
    asked: AtomicUsize,
}

/// A server; its threads end with the test process.
pub(crate) struct Radarr {
    address: SocketAddr,
    state: Arc<State>,
}

impl Radarr {
    pub(crate) fn new() -> Radarr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream, &state));
            }
        });
        Radarr { address, state }
    }

    /// Answers the next commands with these statuses, and the others with 201.
    pub(crate) fn refuse(&self, statuses: &[u16]) {
        let answers = statuses.iter().map(|status| (*status, String::new()));
        self.state.statuses.lock().unwrap().extend(answers);
    }

    /// Answers the next command with this redirect.
    pub(crate) fn redirect(&self, status: u16, location: &str) {
        let answer = (status, format!("Location: {location}\r\n"));
        self.state.statuses.lock().unwrap().push_back(answer);
    }

    /// Has it see a folder under another path, of this system or of Windows.
    pub(crate) fn mount(&self, seen_at: &str, folder: PathBuf) {
        let mut mounts = self.state.mounts.lock().unwrap();
        mounts.push((seen_at.to_owned(), folder));
    }

    /// The files that it imported so far, in order of their paths.
    pub(crate) fn imported(&self) -> Vec<PathBuf> {
        let mut imported = self.state.imported.lock().unwrap().clone();
        imported.sort();
        imported
    }

    /// Puts a record of an import into its history.
    pub(crate) fn note_import(&self, date: &str, hash: Option<&str>, dropped: &Path) {
        let record = json!({
            "eventType": "downloadFolderImported", "date": date, "downloadId": hash,
            "data": { "droppedPath": dropped, "importedPath": "/films/a.mkv" },
        });
        self.state.history.lock().unwrap().push(record);
    }

    /// How often it was asked for its history so far.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// As the configuration has it.
    pub(crate) fn config(&self, kind: &str, name: &str) -> Value {
        json!({
            "type": kind, "name": name, "url": format!("http://{}/base/", self.address),
            "apiKey": format!("key of {name}"),
        })
    }

    /// Target, key and command of each request so far.
    pub(crate) fn got(&self) -> Vec<(String, String, Value)> {
        self.state.got.lock().unwrap().clone()
    }
}

/// Imports what the path of an accepted command names.
fn import(command: &Value, state: &State) {
    let path = command["path"].as_str().unwrap_or("");
    let mounts = state.mounts.lock().unwrap();
    let mounted = mounts.iter().find_map(|(seen_at, folder)| {
        let below = path.strip_prefix(seen_at)?;
        Some(folder.join(below.trim_start_matches(['/', '\\']).replace('\\', "/")))
    });
    let file = mounted.unwrap_or_else(|| Path::new(path).to_owned());
    if file.is_file() && file.extension().is_some_and(|extension| extension == "mkv") {
        state.imported.lock().unwrap().push(file);
    }
}

fn converse(stream: TcpStream, state: &State) {
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let mut lines = BufReader::new(stream);
    loop {
        let (mut target, mut key, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if !matches!(lines.read_line(&mut line), Ok(1..)) {
                return;
            }
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("x-api-key") => {
                    assert_eq!(key, "", "one key only");
                    key = value.to_owned();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap_or(0);
                }
                Some(_) => {}
                None if line.trim().is_empty() => break,
                None => target = line.trim().trim_end_matches(" HTTP/1.1").to_owned(),
            }
        }
        let mut body = vec![0; length];
        if lines.read_exact(&mut body).is_err() {
            return;
        }
        if target.starts_with("GET ") {
            let mut records = Vec::new();
            if target.contains("/history?") {
                state.asked.fetch_add(1, Ordering::Relaxed);
                records.clone_from(&state.history.lock().unwrap());
            }
            let page = json!({ "records": records }).to_string();
            let answer = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            if out.write_all(answer.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        let command = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = state.statuses.lock().unwrap().pop_front();
        let (status, fields) = answer.unwrap_or((201, String::new()));
        if (200..300).contains(&status) {
            import(&command, state);
        }
        state.got.lock().unwrap().push((target, key, command));
        let answer = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
