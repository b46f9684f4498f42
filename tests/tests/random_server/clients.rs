//! What fetches from the server: `regrip get`, in a process for each run, or the npm package, in a Node that takes one
//! download after the other.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Makes this program the command itself.
pub(crate) const AS_COMMAND: &str = "REGRIP_RANDOM_AS_COMMAND";
/// Connections per download; 1 if it is not set.
pub(crate) const CONNECTIONS: &str = "REGRIP_RANDOM_CONNECTIONS";
/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_micros(500);

/// Which programs fetch.
pub(crate) enum Client {
    /// `regrip get`.
    Native,
    /// The npm package; a Node that was killed is replaced.
    Node(Option<Node>),
}

/// One download.
pub(crate) struct Job<'j> {
    pub(crate) url: String,
    pub(crate) folder: &'j Path,
    pub(crate) file: PathBuf,
    pub(crate) sha256: Option<&'j str>,
    pub(crate) overwrite: bool,
    pub(crate) max_attempts: usize,
    pub(crate) connections: u64,
    /// In JavaScript it is ended by its signal; else the process is killed.
    pub(crate) by_signal: bool,
}

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// `None`: it was killed, or cancelled.
    pub(crate) exit: Option<i32>,
    pub(crate) attempts: usize,
    pub(crate) requests: usize,
    pub(crate) code: String,
}

impl Client {
    /// Runs a download to its end, or until it is `due` to be ended.
    pub(crate) fn run(&mut self, job: &Job<'_>, due: impl Fn(Duration) -> bool) -> Result<Ended, String> {
        match self {
            Client::Native => native(job, due),
            Client::Node(node) => {
                let mut running = match node.take() {
                    Some(running) => running,
                    None => Node::start()?,
                };
                let (ended, alive) = running.run(job, due)?;
                *node = alive.then_some(running);
                Ok(ended)
            }
        }
    }
}

fn native(job: &Job<'_>, due: impl Fn(Duration) -> bool) -> Result<Ended, String> {
    let output = job.folder.join("output");
    let stdout = fs::File::create(&output).map_err(text)?;
    let mut command = Command::new(program()?);
    command.env(AS_COMMAND, "1").env("NO_PROXY", "*");
    command.args(["get", "--json"]);
    command.args(["--retry-base-ms", "0", "--retry-max-ms", "1"]);
    command.args(["--max-attempts", &job.max_attempts.to_string()]);
    command.args(["-x", &job.connections.to_string()]);
    command.arg("--state").arg(job.folder.join("state.db"));
    command.arg("-o").arg(&job.file);
    if let Some(sha256) = job.sha256 {
        command.args(["--sha256", sha256]);
    }
    if job.overwrite {
        command.args(["--on-exists", "overwrite"]);
    }
    command.arg(&job.url);
    let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().map_err(text)?;
    let status = wait(&mut child, due)?;
    let output = fs::read_to_string(&output).map_err(text)?;
    let mut ended = Ended { exit: status.code(), ..Ended::default() };
    for line in output.lines() {
        if let Ok(line) = serde_json::from_str::<Value>(line) {
            ended.attempts += usize::from(line["event"] == "started");
            ended.code = line["code"].as_str().unwrap_or_default().to_owned();
        }
    }
    Ok(ended)
}

fn wait(child: &mut Child, due: impl Fn(Duration) -> bool) -> Result<ExitStatus, String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(text)? {
            return Ok(status);
        }
        let stuck = begun.elapsed() > PATIENCE;
        if stuck || due(begun.elapsed()) {
            child.kill().map_err(text)?;
        }
        if stuck {
            return Err("the command hangs".to_owned());
        }
        thread::sleep(POLL);
    }
}

/// A Node with the package in it.
pub(crate) struct Node {
    child: Child,
    lines: Receiver<Value>,
}

impl Node {
    fn start() -> Result<Node, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/random_server/node.mjs");
        let mut child =
            Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(text)?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::Null);
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Node { child, lines })
    }

    fn say(&mut self, line: &Value) -> Result<(), String> {
        let stdin = self.child.stdin.as_mut().ok_or("it has no input")?;
        writeln!(stdin, "{line}").map_err(text)
    }

    /// Runs a download; also whether Node is still there.
    fn run(&mut self, job: &Job<'_>, due: impl Fn(Duration) -> bool) -> Result<(Ended, bool), String> {
        self.say(&json!({
            "url": job.url, "to": job.file, "folder": job.folder, "sha256": job.sha256, "overwrite": job.overwrite,
            "maxAttempts": job.max_attempts, "connections": job.connections,
        }))?;
        let begun = Instant::now();
        let mut ended = Ended::default();
        let mut stopped = false;
        loop {
            match self.lines.try_recv() {
                Ok(line) if line["event"] == "started" => ended.attempts += 1,
                Ok(line) => {
                    ended.exit = line["exit"].as_i64().map(|exit| exit as i32);
                    ended.code = line["code"].as_str().unwrap_or_default().to_owned();
                    // It may have been killed after that.
                    return Ok((ended, !stopped || job.by_signal));
                }
                Err(TryRecvError::Disconnected) if stopped => return Ok((ended, false)),
                Err(TryRecvError::Disconnected) => return Err("Node ended".to_owned()),
                Err(TryRecvError::Empty) => thread::sleep(POLL),
            }
            if begun.elapsed() > PATIENCE {
                return Err("the download hangs".to_owned());
            }
            if !stopped && due(begun.elapsed()) {
                stopped = true;
                match job.by_signal {
                    true => self.say(&json!({ "abort": true }))?,
                    false => self.child.kill().map_err(text)?,
                }
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Result<PathBuf, String> {
    match std::env::var_os("REGRIP") {
        Some(path) => Ok(Path::new(&path).to_owned()),
        None => std::env::current_exe().map_err(text),
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
