//! Runs a scenario on the native host: a fault server on a real port, a folder of its own, SQLite, and real time.

use crate::core_host::name_elsewhere;
use crate::drive::{drive, new_download};
use crate::outcome::Outcome;
use crate::scenario::{Address, Odd, PATH, Scenario, There};
use regrip::host::{Listener, NativeHost};
use regrip::ledger::SqliteLedger;
use regrip::store::FileStore;
use regrip::time::SmolClock;
use regrip::transport::{Header, HttpTransport, Roots, TransportOptions};
use regrip_core::ledger::Ledger;
use regrip_core::{DownloadsConfig, Engine, Event, What};
use regrip_faultd::{Options, Server, TlsIdentity};
use std::fmt::Display;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it.
///
/// # Errors
/// It could not be set up, or nothing moves any more.
pub fn run(scenario: &Scenario) -> Result<Outcome, String> {
    let config = scenario.config()?;
    let peers = Peers::start(scenario)?;
    let disk = Disk::prepare(scenario)?;
    let heard = Arc::new(Heard::default());
    let host = NativeHost {
        transport: transport(scenario, &config, &peers)?,
        store: FileStore::new(),
        ledger: SqliteLedger::open(&disk.ledger()).map_err(text)?,
        clock: SmolClock::default(),
        listener: Arc::clone(&heard) as Arc<dyn Listener>,
    };
    let engine = match Engine::new(host, config, !scenario.download.no_digest) {
        Ok(engine) => engine,
        Err(refused) => return Ok(Outcome::refused(refused.key)),
    };
    let destination = disk.destination();
    let new = new_download(scenario, peers.url.clone(), &destination.to_string_lossy());
    let work = async {
        let told = || heard.all();
        let (id, returned) = drive(&engine, scenario, new, told).await.map_err(text)?;
        let row = engine.host().ledger.row(id).await.map_err(text)?;
        Ok((returned, row))
    };
    let too_late = async {
        smol::Timer::after(PATIENCE).await;
        Err("nothing moves any more".to_owned())
    };
    let (returned, row) = smol::block_on(smol::future::or(work, too_late))?;
    Ok(Outcome {
        refused: None,
        events: heard.all(),
        returned,
        requests: peers.here.log(),
        elsewhere: peers.elsewhere.log(),
        file: content(&destination)?,
        part: content(&disk.part())?,
        row: Some(row),
        leaks: leaks(&engine, &disk),
    })
}

/// Returns `true` if a disk of a given size can be made here: on Linux, as root.
pub fn has_small_disks() -> bool {
    static TRIED: OnceLock<bool> = OnceLock::new();
    *TRIED.get_or_init(|| tempfile::tempdir().is_ok_and(|folder| SmallDisk::mount(folder.path(), 4096).is_ok()))
}

fn transport(scenario: &Scenario, config: &DownloadsConfig, peers: &Peers) -> Result<HttpTransport, String> {
    let mut options = TransportOptions {
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        headers_timeout: Duration::from_millis(config.headers_timeout_ms),
        ..TransportOptions::default()
    };
    for (name, value) in &scenario.download.headers {
        options.headers.push(Header::new(name, value).map_err(text)?);
    }
    if let Some(pem) = &peers.certificate {
        options.roots = Roots::platform().and_pem(pem.as_bytes()).map_err(text)?;
    }
    Ok(HttpTransport::new(options))
}

fn leaks(engine: &Engine<NativeHost<SqliteLedger>>, disk: &Disk) -> Vec<String> {
    let mut leaks = Vec::new();
    if engine.permits_used() > 0 {
        leaks.push(format!("permits in use: {}", engine.permits_used()));
    }
    // If the system shows which files a process has open.
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let open = std::fs::read_link(entry.path()).unwrap_or_default();
        if open.starts_with(disk.files()) {
            leaks.push(format!("open: {}", open.display()));
        }
    }
    leaks
}

/// The engine's events.
#[derive(Default)]
struct Heard(Mutex<Vec<What>>);

impl Heard {
    fn all(&self) -> Vec<What> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Listener for Heard {
    fn hear(&self, event: &Event<'_>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(event.what.clone());
    }
}

/// The peer and the other origin.
struct Peers {
    here: Server,
    elsewhere: Server,
    url: String,
    /// Of a peer behind TLS, to be trusted.
    certificate: Option<String>,
}

impl Peers {
    fn start(scenario: &Scenario) -> Result<Self, String> {
        let elsewhere = Server::start(scenario.script_elsewhere()).map_err(text)?;
        let mut script = scenario.script();
        for file in script.files.values_mut() {
            name_elsewhere(file, &elsewhere.origin());
        }
        let tls = match scenario.address {
            Address::ExpiredCertificate => Some(TlsIdentity::expired().map_err(text)?),
            Address::Listens | Address::Refused | Address::UnknownName => None,
        };
        let certificate = tls.as_ref().map(|tls| tls.certificate_pem().to_owned());
        let options = Options { tls, ..Options::default() };
        let here = Server::start_with(options, script).map_err(text)?;
        elsewhere.site().set_origin(&here.origin());
        let url = match scenario.address {
            Address::Listens | Address::ExpiredCertificate => here.url(PATH),
            Address::Refused => format!("http://{}{PATH}", closed_port().map_err(text)?),
            Address::UnknownName => format!("http://no-such-host.invalid{PATH}"),
        };
        Ok(Peers { here, elsewhere, url, certificate })
    }
}

/// A port that was free a moment ago.
fn closed_port() -> io::Result<std::net::SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A folder for the ledger, and one in it for the files.
struct Disk {
    // Unmounted before the folder goes.
    _small: Option<SmallDisk>,
    folder: tempfile::TempDir,
    name: String,
}

impl Disk {
    fn prepare(scenario: &Scenario) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(text)?;
        let files = folder.path().join("files");
        std::fs::create_dir(&files).map_err(text)?;
        let small = match scenario.before.room {
            Some(bytes) => Some(SmallDisk::mount(&files, bytes).map_err(text)?),
            None => None,
        };
        let disk = Disk { _small: small, folder, name: scenario.download.name.clone() };
        let before = &scenario.before;
        for (path, there) in [(disk.destination(), &before.destination), (disk.part(), &before.part)] {
            disk.put(scenario, &path, there.as_ref())?;
        }
        Ok(disk)
    }

    fn put(&self, scenario: &Scenario, path: &Path, there: Option<&There>) -> Result<(), String> {
        let beside = self.files().join("beside");
        let put = match there {
            None => Ok(()),
            Some(There::Text(text)) => std::fs::write(path, text),
            Some(There::Bytes(bytes)) => {
                let bytes = bytes.of(&scenario.peer).ok_or("there is no such version")?;
                std::fs::write(path, bytes)
            }
            Some(There::Odd { odd: Odd::Folder }) => std::fs::create_dir(path),
            Some(There::Odd { odd: Odd::Link }) => {
                std::fs::write(&beside, "elsewhere").and_then(|()| std::os::unix::fs::symlink(&beside, path))
            }
            Some(There::Odd { odd: Odd::DanglingLink }) => std::os::unix::fs::symlink(&beside, path),
        };
        put.map_err(text)
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }
    fn ledger(&self) -> PathBuf {
        self.folder.path().join("regrip.sqlite")
    }
    fn destination(&self) -> PathBuf {
        self.files().join(&self.name)
    }
    fn part(&self) -> PathBuf {
        self.files().join(format!("{}.part", self.name))
    }
}

/// A file system of a given size.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> io::Result<Self> {
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        match mount.output()? {
            output if output.status.success() => Ok(SmallDisk(at.to_owned())),
            output => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What stays mounted shows when its folder cannot be removed.
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

/// The bytes of a regular file, links not followed.
fn content(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => std::fs::read(path).map(Some).map_err(text),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(text(error)),
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
