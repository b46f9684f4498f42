//! `regrip get` against a server whose every response draws its own misbehaviour, over real sockets.
//!
//! A seed draws a file of up to 300 kB in one to four versions, how the server tells them apart, and what goes wrong in each
//! response. The command runs until it succeeds, up to four times; some runs are killed. After each run:
//!
//! - exit code 0: the file is byte for byte something whole that the server sent in one piece as the file, and it has the
//!   SHA-256 that was asked for;
//! - any other end: the file is the old one, or none;
//! - the part is the beginning of one such thing, and if there is only one version, it did not become shorter;
//! - there were at most three requests per attempt, and no more attempts than the bounds allow;
//! - from then on the server behaves, and the command succeeds.
//!
//! The server never lies about what a client has to believe ([`server`]). Two versions under one strong validator are left
//! out: no client can tell them apart.
//!
//! `REGRIP_RANDOM_SEEDS=20000` runs more seeds, `REGRIP_RANDOM_FIRST=77` begins with that one, `REGRIP` names another binary.

mod server;
mod versions;

use fastrand::Rng;
use libtest_mimic::{Arguments, Failed, Trial};
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use server::{Server, Site};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SEEDS: u64 = 300;
/// A run of the command that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: usize = 5;
/// Attempts of one run: the furthest offset rises by 64 KiB at most four times between two restarts, each rise allows
/// `MAX_ATTEMPTS` more, and there are at most as many restarts and one.
const ATTEMPTS_OF_A_RUN: usize = (4 * (MAX_ATTEMPTS + 2) + 1) * MAX_ATTEMPTS;
/// Makes this program the command itself.
const AS_COMMAND: &str = "REGRIP_RANDOM_AS_COMMAND";

fn main() -> ExitCode {
    if std::env::var_os(AS_COMMAND).is_some() {
        return regrip::cli::main();
    }
    let arguments = Arguments::from_args();
    let name = "whatever_the_server_does_a_file_is_one_whole_version";
    libtest_mimic::run(&arguments, vec![Trial::test(name, all)]).exit_code()
}

fn all() -> Result<(), Failed> {
    let number = |name: &str, default| {
        let value = std::env::var(name).ok();
        value.map_or(Ok(default), |value| value.parse::<u64>())
    };
    let first = number("REGRIP_RANDOM_FIRST", 0)?;
    let end = first + number("REGRIP_RANDOM_SEEDS", SEEDS)?;
    let next = AtomicU64::new(first);
    let broken = thread::scope(|scope| {
        let worker = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return broken;
                }
                if let Err(why) = run(seed) {
                    let report = format!(
                        "seed {seed}: {why}\nreplay: REGRIP_RANDOM_FIRST={seed} REGRIP_RANDOM_SEEDS=1 cargo test -p regrip-tests \
                         --test random_server\n"
                    );
                    eprintln!("{report}");
                    broken.push(report);
                }
            }
        };
        let workers = thread::available_parallelism().map_or(2, |count| count.get());
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("it caught nothing"));
        ended.collect::<Vec<_>>()
    });
    match broken.is_empty() {
        true => Ok(()),
        false => Err(format!("{} seeds:\n{}", broken.len(), broken.join("\n")).into()),
    }
}

/// One seed: a server, a folder, and several runs of the command.
struct Run {
    server: Server,
    folder: tempfile::TempDir,
    sha256: Option<String>,
    overwrite: bool,
    /// What lay at the destination before.
    old: Option<Vec<u8>>,
    /// Bytes of the part after the last run.
    held: usize,
}

/// How a run of the command ended.
#[derive(Debug)]
struct Ended {
    /// `None`: it was killed.
    exit: Option<i32>,
    attempts: usize,
    requests: usize,
    #[allow(dead_code)] // for its Debug
    code: String,
}

fn run(seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut run = Run {
        server: Server::start(Site::new(rng.fork())),
        folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        sha256: None,
        overwrite: rng.u8(..5) == 0,
        old: None,
        held: 0,
    };
    let result = run.all(&mut rng);
    let requests = run.server.site().requests.join("\n  ");
    let sizes: Vec<_> = run
        .server
        .site()
        .entities
        .iter()
        .map(|one| (one.bytes.len(), one.etag.clone()))
        .collect();
    result.map_err(|why| {
        format!(
            "{why}\n  entities {sizes:?}, sha256 {:?}\n  {requests}",
            run.sha256
        )
    })
}

impl Run {
    fn all(&mut self, rng: &mut Rng) -> Result<(), String> {
        if rng.u8(..4) == 0 {
            self.sha256 = Some(sha256(&self.server.site().current().bytes));
        }
        if self.overwrite && rng.bool() {
            let old = versions::noise(rng, 500);
            fs::write(self.file(), &old).map_err(|error| error.to_string())?;
            self.old = Some(old);
        }
        for _ in 0..4 {
            let ended = self.command(rng, true)?;
            self.check(&ended)?;
            if ended.exit == Some(0) && !(self.overwrite && rng.bool()) {
                return Ok(());
            }
        }
        self.behaving(rng)
    }

    /// From here on the server behaves, and has what is wanted.
    fn behaving(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.server.site().honest = true;
        self.sha256 = self
            .sha256
            .as_ref()
            .map(|_| sha256(&self.server.site().current().bytes));
        let mut last = String::new();
        for _ in 0..3 {
            let ended = self.command(rng, false)?;
            self.check(&ended)?;
            if ended.exit == Some(0) {
                return Ok(());
            }
            last = format!("{ended:?}");
        }
        Err(format!("the server behaves, and still: {last}"))
    }

    fn command(&mut self, rng: &mut Rng, may_kill: bool) -> Result<Ended, String> {
        let asked_before = self.server.site().requests.len();
        let killed_after =
            (may_kill && rng.u8(..5) == 0).then(|| Duration::from_micros(rng.u64(..60_000)));
        self.server.site().kill_now = false;
        self.server.site().kill_after_bytes =
            (may_kill && rng.u8(..5) == 0).then(|| rng.usize(..400_000));
        let output = self.folder.path().join("output");
        let text = |error: std::io::Error| error.to_string();
        let stdout = fs::File::create(&output).map_err(text)?;
        let mut command = Command::new(program()?);
        command.env(AS_COMMAND, "1").env("NO_PROXY", "*");
        command.args([
            "get",
            "--json",
            "--retry-base-ms",
            "0",
            "--retry-max-ms",
            "1",
        ]);
        command.args(["--max-attempts", &MAX_ATTEMPTS.to_string()]);
        command
            .arg("--state")
            .arg(self.folder.path().join("state.db"));
        command.arg("-o").arg(self.file());
        if let Some(sha256) = &self.sha256 {
            command.args(["--sha256", sha256]);
        }
        if self.overwrite {
            command.args(["--on-exists", "overwrite"]);
        }
        command.arg(self.server.url());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .map_err(text)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(text)? {
                break status;
            }
            let due = killed_after.is_some_and(|after| begun.elapsed() >= after);
            if due || self.server.site().kill_now {
                child.kill().map_err(text)?;
            }
            if begun.elapsed() > PATIENCE {
                child.kill().map_err(text)?;
                return Err("the command hangs".to_owned());
            }
            thread::sleep(Duration::from_micros(500));
        };
        let output = fs::read_to_string(&output).map_err(text)?;
        let lines: Vec<serde_json::Value> = output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        Ok(Ended {
            exit: status.code(),
            attempts: of("started"),
            requests: self.server.site().requests.len() - asked_before,
            code: lines
                .last()
                .and_then(|line| line["code"].as_str())
                .unwrap_or_default()
                .to_owned(),
        })
    }

    fn check(&mut self, ended: &Ended) -> Result<(), String> {
        let site = self.server.site();
        let sent = || {
            site.entities
                .iter()
                .zip(&site.served)
                .filter(|(_, served)| **served)
                .map(|(one, _)| one)
        };
        let file = fs::read(self.file()).ok();
        let part = fs::read(self.part()).unwrap_or_default();
        let is_sent = |file: &Vec<u8>| sent().any(|one| one.is_file && one.bytes == *file);
        let wrong = |what: &str| Err(format!("{what} after {ended:?}"));
        match (&file, ended.exit) {
            (None, Some(0)) => return wrong("no file"),
            (Some(file), Some(0)) if !is_sent(file) => return wrong("a file that was never sent"),
            (Some(file), None) if self.old.as_ref() != Some(file) && !is_sent(file) => {
                return wrong("a file that was never sent");
            }
            (file, Some(1..)) if *file != self.old => return wrong("another file than before"),
            (_, Some(0 | 1) | None) => {}
            (_, Some(_)) => return wrong("an exit code for no reason"),
        }
        if let (Some(file), Some(wanted)) = (&file, &self.sha256) {
            let new = self.old.as_ref() != Some(file) || ended.exit == Some(0);
            if new && sha256(file) != *wanted {
                return wrong("another SHA-256 than wanted");
            }
        }
        if !part.is_empty() && !sent().any(|one| one.bytes.starts_with(&part)) {
            return wrong(&format!(
                "a part of {} bytes that are of no one thing that was sent",
                part.len()
            ));
        }
        if site.one_version && part.len() < self.held && ended.exit == Some(1) {
            return wrong(&format!(
                "{} of {} bytes were lost",
                self.held - part.len(),
                self.held
            ));
        }
        // With `overwrite` the server is asked first whether the file has changed.
        let asking = if self.overwrite { MAX_ATTEMPTS } else { 0 };
        if ended.requests > 3 * ended.attempts.max(1) + asking {
            return wrong("too many requests");
        }
        if ended.attempts > ATTEMPTS_OF_A_RUN {
            return wrong("too many attempts");
        }
        self.held = part.len();
        drop(site);
        self.old = file;
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("film.mkv")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("film.mkv.part")
    }
}

fn program() -> Result<PathBuf, String> {
    match std::env::var_os("REGRIP") {
        Some(path) => Ok(Path::new(&path).to_owned()),
        None => std::env::current_exe().map_err(|error| error.to_string()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    Hasher::of(Algorithm::Sha256, bytes).hex
}
