//! `regrip get`, and the npm package in Node, against a server whose every response draws its own misbehaviour, over real sockets.
//!
//! A seed draws a file of up to 300 kB in one to four versions, how the server distinguishes them, and what goes wrong in each
//! response. The download runs until it succeeds, up to four times; some runs are killed, or ended by their signal. After each run:
//!
//! - exit code 0, or a promise that is resolved: the file is byte for byte something whole that the server sent in one piece as the file, and it has the
//!   SHA-256 that was asked for;
//! - any other end: the file is the old one, or none;
//! - the part is the beginning of one such thing, and if there is only one version, it did not become shorter;
//! - there were at most three requests per attempt, and no more attempts than the bounds allow;
//! - once the server behaves, the download succeeds.
//!
//! The server never lies about what a client has to believe ([`server`]). Two versions under one strong validator are left
//! out: no client can distinguish them.
//!
//! `REGRIP_RANDOM_SEEDS=20000` runs more seeds, `REGRIP_RANDOM_FIRST=77` begins with that one, `REGRIP` names another binary.
//! `REGRIP_RANDOM_CONNECTIONS=8` fetches over that many connections, files of up to 4.8 MB.
//! `REGRIP_RANDOM_CLIENT=node` has the package in `host-wasm/pkg` fetch, which `host-wasm/build` makes.

mod clients;
mod server;
mod versions;

use clients::{AS_COMMAND, CONNECTIONS, Client, Ended, Job};

use fastrand::Rng;
use libtest_mimic::{Arguments, Failed, Trial};
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use server::{Server, Site};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SEEDS: u64 = 300;
const MAX_ATTEMPTS: usize = 5;
/// Attempts of one run: the furthest offset rises by 64 KiB at most four times between two restarts, each rise allows
/// `MAX_ATTEMPTS` more, and there are at most as many restarts and one.
const ATTEMPTS_OF_A_RUN: usize = (4 * (MAX_ATTEMPTS + 2) + 1) * MAX_ATTEMPTS;

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
    let connections = number(CONNECTIONS, 1)?;
    let in_node = match std::env::var("REGRIP_RANDOM_CLIENT").as_deref() {
        Err(_) | Ok("native") => false,
        Ok("node") => true,
        Ok(other) => return Err(format!("no such client: {other}").into()),
    };
    let next = AtomicU64::new(first);
    let broken = thread::scope(|scope| {
        let worker = || {
            let mut broken = Vec::new();
            let mut client = match in_node {
                true => Client::Node(None),
                false => Client::Native,
            };
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return broken;
                }
                if let Err(why) = run(seed, connections, &mut client) {
                    let node = if in_node { "REGRIP_RANDOM_CLIENT=node " } else { "" };
                    let report = format!(
                        "seed {seed}: {why}\nreplay: {node}{CONNECTIONS}={connections} REGRIP_RANDOM_FIRST={seed} REGRIP_RANDOM_SEEDS=1 cargo test -p regrip-tests \
                         --test random_server\n"
                    );
                    eprintln!("{report}");
                    broken.push(report);
                }
            }
        };
        let workers = thread::available_parallelism().map_or(2, |count| count.get());
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let ended = workers.into_iter().flat_map(|worker| worker.join().expect("it caught nothing"));
        ended.collect::<Vec<_>>()
    });
    match broken.is_empty() {
        true => Ok(()),
        false => Err(format!("{} seeds:\n{}", broken.len(), broken.join("\n")).into()),
    }
}

/// One seed: a server, a folder, and several runs of a client.
struct Run<'c> {
    client: &'c mut Client,
    connections: u64,
    server: Server,
    folder: tempfile::TempDir,
    sha256: Option<String>,
    overwrite: bool,
    /// What lay at the destination before.
    old: Option<Vec<u8>>,
    /// Bytes of the part after the last run.
    held: usize,
    /// The last command ended because of the digest of a whole part.
    refused: bool,
}

fn run(seed: u64, connections: u64, client: &mut Client) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut run = Run {
        client,
        connections,
        server: Server::start(Site::new(rng.fork(), scale(connections))),
        folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        sha256: None,
        overwrite: rng.u8(..5) == 0,
        old: None,
        held: 0,
        refused: false,
    };
    let result = run.all(&mut rng);
    let requests = run.server.site().requests.join("\n  ");
    let sizes: Vec<_> = run.server.site().entities.iter().map(|one| (one.bytes.len(), one.etag.clone())).collect();
    result.map_err(|why| format!("{why}\n  entities {sizes:?}, sha256 {:?}\n  {requests}", run.sha256))
}

/// How much larger files are, so that several connections have pieces.
fn scale(connections: u64) -> usize {
    if connections > 1 { 16 } else { 1 }
}

impl Run<'_> {
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
            let ended = self.fetch(rng, true)?;
            self.check(&ended)?;
            // To the package that file is one that exists.
            let taken = matches!(self.client, Client::Node(_)) && self.old.is_some();
            if taken && !self.overwrite {
                return Ok(());
            }
            if ended.exit == Some(0) && !(self.overwrite && rng.bool()) {
                return Ok(());
            }
        }
        self.behaving(rng)
    }

    /// From here on the server behaves, and has what is wanted.
    fn behaving(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.server.site().honest = true;
        self.sha256 = self.sha256.as_ref().map(|_| sha256(&self.server.site().current().bytes));
        let mut last = String::new();
        for _ in 0..3 {
            let ended = self.fetch(rng, false)?;
            self.check(&ended)?;
            if ended.exit == Some(0) {
                return Ok(());
            }
            last = format!("{ended:?}");
        }
        Err(format!("the server behaves, and still: {last}"))
    }

    fn fetch(&mut self, rng: &mut Rng, may_end: bool) -> Result<Ended, String> {
        let asked_before = self.server.site().requests.len();
        let ended_after = (may_end && rng.u8(..5) == 0).then(|| Duration::from_micros(rng.u64(..60_000)));
        self.server.site().kill_now = false;
        self.server.site().kill_after_bytes =
            (may_end && rng.u8(..5) == 0).then(|| rng.usize(..400_000 * scale(self.connections)));
        let job = Job {
            url: self.server.url(),
            folder: self.folder.path(),
            file: self.file(),
            sha256: self.sha256.as_deref(),
            overwrite: self.overwrite,
            max_attempts: MAX_ATTEMPTS,
            connections: self.connections,
            by_signal: rng.bool(),
        };
        let due = |passed: Duration| ended_after.is_some_and(|after| passed >= after) || self.server.site().kill_now;
        let mut ended = self.client.run(&job, due)?;
        ended.requests = self.server.site().requests.len() - asked_before;
        Ok(ended)
    }

    fn check(&mut self, ended: &Ended) -> Result<(), String> {
        let site = self.server.site();
        let sent = || site.entities.iter().zip(&site.served).filter(|(_, served)| **served).map(|(one, _)| one);
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
            return wrong(&format!("a part of {} bytes that are of no one thing that was sent", part.len()));
        }
        // A whole part that its digest refused does not count any more.
        let is_refused = std::mem::replace(&mut self.refused, ended.code == "DigestMismatch");
        if site.one_version && part.len() < self.held && ended.exit == Some(1) && !is_refused {
            return wrong(&format!("{} of {} bytes were lost", self.held - part.len(), self.held));
        }
        // With `overwrite` the server is asked first whether the file has changed.
        let asking = if self.overwrite { MAX_ATTEMPTS } else { 0 };
        // Pieces are further requests: their number is for the tests of the core.
        if self.connections == 1 && ended.requests > 3 * ended.attempts.max(1) + asking {
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

fn sha256(bytes: &[u8]) -> String {
    Hasher::of(Algorithm::Sha256, bytes).hex
}
