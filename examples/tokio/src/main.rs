//! Downloads one file through cuts, crashes and replaced versions: a whole host for `regrip-core` on tokio and reqwest.
//!
//! ```console
//! $ cargo run -p regrip-example-tokio -- https://host/film.mkv film.mkv
//! ```
//!
//! Copy this folder to run the core in a program of your own, and read this file first: `main`, then [`Host`] and [`Clock`].
//! The other three traits have a file each, which can be replaced alone. The core decides what to do next; everything here
//! only does it. Kill the process at any moment and run the same command again: it resumes from the bytes on disk.
//!
//! For Unix; one process at a time in each folder.

mod ledger;
mod store;
mod transport;

use ledger::JsonLedger;
use regrip_core::Algorithm;
use regrip_core::error::{Error, chain};
use regrip_core::event::{Event, Summary, What};
use regrip_core::record::NewDownload;
use regrip_core::time::{Clock, Instant};
use regrip_core::{DownloadsConfig, Engine, Host, OnExists, Source};
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use store::{Disk, disk, look_at};
use transport::Http;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Result<Vec<String>, OsString> = std::env::args_os().skip(1).map(OsString::into_string).collect();
    let (url, path) = match arguments.as_deref() {
        Ok([url, path]) if is_plain(url) => (url, path),
        _ => {
            eprintln!("usage: regrip-example-tokio URL PATH\nURL: http or https, without user and password");
            return ExitCode::from(2);
        }
    };
    match download(url, path).await {
        Ok(done) => {
            let digest = done.hex(Algorithm::Sha256).unwrap_or_default();
            println!("{} bytes in {} attempts, sha256 {digest}", done.bytes, done.attempts);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The core asks for a URL without userinfo: the ledger must not keep a password.
fn is_plain(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    })
}

async fn download(url: &str, path: &str) -> Result<Summary, Error> {
    let path = disk("find", Path::new(path), || std::path::absolute(path))?;
    let destination =
        path.to_str().ok_or_else(|| Error::NameRefused { name: path.display().to_string(), why: "it is not UTF-8" })?;
    let host = Tokio {
        transport: Http::new()?,
        store: Disk::new(),
        ledger: JsonLedger::open(store::folder_of(&path))?,
        clock: TokioClock(tokio::time::Instant::now()),
    };
    let engine = Engine::new(host, DownloadsConfig::default(), true).expect("valid defaults");
    let new = NewDownload {
        source: Source::Url { url: url.to_owned() },
        mirrors: Vec::new(),
        header_names: Vec::new(),
        part: format!("{destination}.part"),
        destination: destination.to_owned(),
        on_exists: OnExists::Fail,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    };
    // A new row, or the one that an earlier process did not complete.
    let accepted = engine.accept(new).await?;
    if !accepted.known && look_at(&path)?.is_some() {
        engine.remove(accepted.id).await?;
        return Err(store::exists(&path));
    }
    // The core never spawns. All types of this host are `Send`, and so is this future: tokio may move it between its threads.
    // If one of yours is not, use `spawn_local` on a `LocalSet`, and in `store::disk` `spawn_blocking`.
    let drive = tokio::spawn(async move { engine.drive(accepted.id).await });
    drive.await.unwrap_or(Err(Error::Interrupted))
}

/// **[`Host`]** ties the other traits together, seeds the jitter and receives the events.
struct Tokio {
    transport: Http,
    store: Disk,
    ledger: JsonLedger,
    clock: TokioClock,
}

impl Host for Tokio {
    type Transport = Http;
    type Store = Disk;
    type Ledger = JsonLedger;
    type Clock = TokioClock;

    fn transport(&self) -> &Http {
        &self.transport
    }
    fn store(&self) -> &Disk {
        &self.store
    }
    fn ledger(&self) -> &JsonLedger {
        &self.ledger
    }
    fn clock(&self) -> &TokioClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        random()
    }
    fn on_event(&self, event: &Event<'_>) {
        match &event.what {
            What::Started { attempt, from } => eprintln!("attempt {attempt} from byte {from}"),
            What::Restart { reason, .. } => eprintln!("starting over: {}", reason.name()),
            What::Retrying { error, delay, .. } => eprintln!("{error}; retrying in {delay:.1?}"),
            _ => {} // `Progress` is for a progress bar
        }
    }
}

/// **[`Clock`]** is the runtime's timer.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant(self.0.elapsed())
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        tokio::time::sleep(duration)
    }
}

/// The system's entropy, as the standard library offers it.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
