//! `regrip demo`: downloads several files from a misbehaving server, through the real transport, ledger and disk, and prints
//! a table of the results. `--web` serves the page of `host-wasm/demo` and such a server for it.

use super::output::{CommandResult, Exit, failed};
use super::report::{self, Reporter};
use super::{drive, text};
use crate::host::Workers;
use crate::host::{Listener, NativeHost};
use crate::state::StateLedger;
use crate::store::{FileStore, checksum_of, part_path};
use crate::sync::lock;
use crate::time::SmolClock;
use crate::transport::{HttpTransport, TransportOptions};
use regrip_core::Algorithm;
use regrip_core::record::NewDownload;
use regrip_core::{DownloadsConfig, Engine, Event, OnExists, Source, Summary, What};
use regrip_faultd::faults::{Cut, IgnoreRange, Replace, Stall, Status};
use regrip_faultd::{Content, FileScript, Options, Pages, Script, Server, Version};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
Nothing leaves this machine, and the files are deleted afterwards. At the end it prints a table of the
faults and their cost, and fails if a byte is wrong.

Examples:
  regrip demo
  regrip demo --web"))]
pub(crate) struct Demo {
    /// Print one JSON object per line on standard output, instead of bars and a table
    #[arg(long, conflicts_with = "web")]
    pub json: bool,

    /// Show the same in a browser: serve the page in host-wasm/demo, the npm package and a misbehaving server
    #[arg(long)]
    pub web: bool,

    /// Address of the page
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5227", requires = "web")]
    pub listen: SocketAddr,
}

/// A file of the demo: its name, its script, and the version that has to arrive.
struct Film {
    name: &'static str,
    trouble: &'static str,
    script: FileScript,
    right: Content,
}

/// Everything that can go wrong, on files of a few megabytes.
fn films() -> Vec<Film> {
    let megabytes = |count: u64| count * 1_000_000;
    let version = |seed, size| Version::new(seed, size).etag(&format!("\"v{seed}\""));
    let film = |name, trouble, script, seed, size| Film { name, trouble, script, right: Content::new(seed, size) };
    vec![
        film(
            "cut.mkv",
            "the line is cut three times",
            FileScript::honest(version(1, megabytes(24)))
                .answer([Cut::after(megabytes(7))])
                .answer([Cut::reset_after(megabytes(6))])
                .answer([Cut::after(megabytes(5))]),
            1,
            megabytes(24),
        ),
        film(
            "stalls.mkv",
            "the server falls silent",
            FileScript::honest(version(2, megabytes(12))).answer([Stall::after(megabytes(8))]),
            2,
            megabytes(12),
        ),
        film(
            "busy.mkv",
            "503 with Retry-After, then a cut",
            FileScript::honest(version(3, megabytes(10)))
                .answer([Status::retry_after(503, "1")])
                .answer([Cut::after(megabytes(9))]),
            3,
            megabytes(10),
        ),
        film(
            "whole.mkv",
            "a cut, then Range is ignored",
            FileScript::honest(Version::new(4, megabytes(9)))
                .answer([Cut::after(megabytes(4))])
                .answer([IgnoreRange::always()]),
            4,
            megabytes(9),
        ),
        film(
            "replaced.mkv",
            "a cut, then the file is replaced",
            FileScript::honest(version(5, megabytes(14)))
                .version(version(6, megabytes(14)))
                .answer([Cut::after(megabytes(6))])
                .answer([Replace::with(1)]),
            6,
            megabytes(14),
        ),
        film(
            "unmarked.mkv",
            "the same, and no validator says so",
            FileScript::honest(Version::new(7, megabytes(11)))
                .version(Version::new(8, megabytes(11)))
                .answer([Cut::after(megabytes(5))])
                .answer([Replace::with(1)]),
            8,
            megabytes(11),
        ),
    ]
}

/// Runs the command.
pub(crate) fn main(demo: &Demo) -> CommandResult {
    match demo.web {
        true => serve_page(demo),
        false => run(demo).map_err(failed(Exit::Unusable, "the demo could not run")),
    }
}

fn run(demo: &Demo) -> Result<Exit, Box<dyn std::error::Error>> {
    let folder = Scratch::new()?;
    let films = films();
    let mut script = Script::new().bytes_per_second(12_000_000).latency_ms(5);
    for film in &films {
        script = script.file(&format!("/{}", film.name), film.script.clone());
    }
    let server = Server::start(script)?;
    let seen = Arc::new(KeptOffsets { reporter: report::reporter(demo.json, false), kept: Mutex::default() });
    let engine = engine(&folder, Arc::clone(&seen))?;
    if !demo.json {
        say!("A server at {} misbehaves; regrip downloads {} files from it.\n", server.origin(), films.len());
    }
    let begun = Instant::now();
    let ended = Workers::new(3).run(fetch(&engine, &server, &folder, &films));
    let took = begun.elapsed();
    let rows: Vec<TableRow> = films.iter().zip(ended).map(|(film, ended)| line(film, ended, &folder, &seen)).collect();
    let right = rows.iter().all(|row| row.right);
    // It has a closing line of its own.
    seen.reporter.end(&report::RunEnd { exit: Exit::Done, files: 0, unusable: 0, to_resume: "" });
    if !demo.json {
        print_table(&rows);
        out!("\n{} files in {}.", rows.len(), text::wait(took));
        out!(
            "{}",
            if right { "All files are identical to those on the server." } else { "NOT all files are identical." }
        );
    }
    Ok(if right { Exit::Done } else { Exit::Failed })
}

fn engine(
    folder: &Scratch,
    seen: Arc<KeptOffsets>,
) -> Result<Engine<NativeHost<StateLedger>>, Box<dyn std::error::Error>> {
    // Impatient, so that the demo is over soon; a real run waits longer for everything.
    let config = DownloadsConfig { retry_base_delay_ms: 200, idle_timeout_ms: 700, ..DownloadsConfig::default() };
    let host = NativeHost {
        transport: HttpTransport::new(TransportOptions::new(&config)),
        store: FileStore::new(),
        ledger: StateLedger::open(&folder.0.join("state.db"))?,
        clock: SmolClock::default(),
        listener: seen,
    };
    Ok(Engine::new(host, config, true)?)
}

async fn fetch(
    engine: &Engine<NativeHost<StateLedger>>,
    server: &Server,
    folder: &Scratch,
    films: &[Film],
) -> Vec<Result<Summary, regrip_core::Error>> {
    let mut tasks = Vec::new();
    for film in films {
        let (engine, new) = (engine.clone(), new_download(&server.url(&format!("/{}", film.name)), &folder.path(film)));
        tasks.push(Workers::spawn(async move {
            let accepted = engine.accept(new).await?;
            engine.drive(accepted.id).await
        }));
    }
    futures::future::join_all(tasks).await
}

fn new_download(url: &str, destination: &Path) -> NewDownload {
    NewDownload {
        source: Source::Url { url: url.to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: destination.to_string_lossy().into_owned(),
        part: part_path(destination).to_string_lossy().into_owned(),
        on_exists: OnExists::Fail,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    }
}

/// Watches the events for the table, and passes them on.
struct KeptOffsets {
    reporter: Arc<dyn Reporter>,
    /// By path: the offset that the last attempt took up and kept.
    kept: Mutex<HashMap<String, u64>>,
}

impl KeptOffsets {
    fn kept(&self, path: &Path) -> u64 {
        let kept = lock(&self.kept);
        kept.get(path.to_string_lossy().as_ref()).copied().unwrap_or_default()
    }
}

impl Listener for KeptOffsets {
    fn hear(&self, event: &Event<'_>) {
        let kept = match event.what {
            What::Started { from, .. } => Some(from),
            What::Restart { .. } => Some(0),
            _ => None,
        };
        if let Some(kept) = kept {
            lock(&self.kept).insert(event.path.to_owned(), kept);
        }
        self.reporter.hear(event);
    }
}

/// A row of the table.
struct TableRow {
    cells: [String; 7],
    right: bool,
}

fn line(film: &Film, ended: Result<Summary, regrip_core::Error>, folder: &Scratch, seen: &KeptOffsets) -> TableRow {
    let path = folder.path(film);
    // What is on the disk counts, not what the engine says of it.
    let digest = checksum_of(&path, Algorithm::Sha256);
    let digest = digest.map(|digest| digest.hex).unwrap_or_default();
    let right = digest == film.right.sha256() && ended.is_ok();
    let summary = ended.unwrap_or_default();
    let verdict = if right { format!("{} equal", digest.get(..8).unwrap_or_default()) } else { "DIFFERS".to_owned() };
    let cells = [
        film.name.to_owned(),
        film.trouble.to_owned(),
        text::bytes(summary.bytes),
        summary.attempts.to_string(),
        summary.restarts.to_string(),
        text::bytes(seen.kept(&path)),
        verdict,
    ];
    TableRow { cells, right }
}

fn print_table(rows: &[TableRow]) {
    let head =
        ["file", "what went wrong", "bytes", "attempts", "restarts", "kept by resuming", "sha256"].map(str::to_owned);
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| &row.cells).chain([&head]);
        cells.map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(widest);
    for cells in std::iter::once(&head).chain(rows.iter().map(|row| &row.cells)) {
        let columns = cells.iter().zip(widths).enumerate();
        // Text to the left, numbers to the right.
        let columns = columns.map(|(column, (cell, width))| match column {
            0 | 1 | 6 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        out!("{}", columns.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("regrip-demo-{}-{:x}", std::process::id(), fastrand::u32(..)));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path.canonicalize()?))
    }

    fn path(&self, film: &Film) -> PathBuf {
        self.0.join(film.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A temporary folder that cannot be removed is the system's to clear.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves the demo page until a signal.
fn serve_page(demo: &Demo) -> CommandResult {
    let pages = pages().map_err(|text| (Exit::Usage, text))?;
    // Any page can control its server.
    if !demo.listen.ip().is_loopback() {
        let line = format!("the demo is for this machine only, and {} is not", demo.listen);
        return Err((Exit::Usage, line));
    }
    let stop = drive::first_signal()?;
    let options = Options { listen: demo.listen, pages, ..Options::default() };
    let server = Server::start_with(options, Script::new()).map_err(|error| {
        let line = format!("cannot listen at {}: {error}", demo.listen);
        let advice = "name another address with --listen";
        (Exit::Usage, text::with_advice(&line, Some(advice)))
    })?;
    out!("the demo page is at {}/", server.origin());
    // The channel closes only with the process.
    let _ = stop.recv_blocking();
    Ok(Exit::Done)
}

/// The page and the package, in the folder `host-wasm` of the repository.
fn pages() -> Result<Pages, String> {
    let folder = folder().ok_or_else(|| {
        text::with_advice(
            "there is no demo page here: it is in regrip's repository",
            Some("run this command in a checkout of it"),
        )
    })?;
    let package = folder.join("pkg");
    if !package.join("web.js").is_file() {
        let line = format!("the page needs the npm package, which is not in {}", package.display());
        let advice = format!("build it with {}", folder.join("build").display());
        return Err(text::with_advice(&line, Some(&advice)));
    }
    Ok(Pages::default().folder("/pkg/", &package).folder("/", &page_of(&folder)))
}

/// `host-wasm`, here or in a folder above.
fn folder() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|above| above.join("host-wasm")).find(|folder| page_of(folder).join("index.html").is_file())
}

fn page_of(folder: &Path) -> PathBuf {
    folder.join("demo")
}
