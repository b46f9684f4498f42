//! The lock file beside a part, `<part>.lock`: how Node locks a part, and how we do on a file system without flock.
//!
//! Invariants: a lock file is created exclusively, and only the holder of `<lock>.new`, which is locked by the same rules, may
//! replace it, by a rename, after its process is provably gone. So two writers that find the same stale lock file never both
//! get it. A process counts as gone only if the kernel says so on the host, in the boot and in the process namespace that the
//! lock file names; if anything is missing, the holder keeps the lock.
//!
//! The text is JSON, the same as that of the npm package (`host-wasm/js/lock-file.js`); `tests/locks.json` tests both.

use super::disk::disk;
use super::path::lock_path;
use super::version::{FileVersion, is_absent};
use regrip_core::Error;
use regrip_core::error::{Doubt, LockFile};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How often a lock file may change hands under us before we give up.
const TRIES: u32 = 16;

/// How many takeovers that a crash interrupted can be taken over: `.lock.new`, `.lock.new.new`.
const DEEPEST: u32 = 2;

/// A lock file is about 300 bytes.
const LONGEST_BYTES: u64 = 4096;

/// A lock file that is ours. Dropping it removes it.
#[derive(Debug)]
pub(super) struct OwnLockFile {
    path: PathBuf,
    part: PathBuf,
    token: String,
    /// Its version when it was last read.
    version: Option<FileVersion>,
}

/// Locks the part by its lock file.
///
/// # Errors
/// `PartLocked` if another writer has it, or may have; `Disk`, `DiskFull`, `TooManyFiles`.
pub(super) fn take(part: &Path) -> Result<OwnLockFile, Error> {
    let path = lock_path(part);
    let me = Holder::new();
    acquire(&path, part, &me, 0)?;
    let found = ExistingLock::at(&path).inspect_err(|_| {
        let _ = fs::remove_file(&path); // ours, as it was just acquired
    })?;
    match found {
        Some(found) if found.has(&me.token) => {
            Ok(OwnLockFile { path, part: part.to_owned(), token: me.token, version: found.version })
        }
        _ => Err(locked(part, &path, None, Some(Doubt::Lost))),
    }
}

/// Refuses a part whose lock file cannot be taken over. Changes nothing.
///
/// # Errors
/// `PartLocked`, `TooManyFiles`.
pub(super) fn refuse_held(part: &Path) -> Result<(), Error> {
    let mut path = lock_path(part);
    for _ in 0..=DEEPEST {
        let Some(found) = ExistingLock::at(&path)? else {
            break;
        };
        found.refuse_held(&path, part, &Holder::new())?;
        path = takeover_path(&path);
    }
    Ok(())
}

/// The lock of whoever replaces the lock file.
fn takeover_path(path: &Path) -> PathBuf {
    let mut new = OsString::from(path);
    new.push(".new");
    new.into()
}

/// Returns `true` if the part has a lock file.
pub(super) fn is_there(part: &Path) -> bool {
    fs::symlink_metadata(lock_path(part)).is_ok()
}

/// The process that holds the part's lock file and runs.
pub(super) fn writer(part: &Path) -> Option<u32> {
    let holder = ExistingLock::at(&lock_path(part)).ok()??.holder()?;
    (holder.fate(&Holder::new()) == Fate::Running).then_some(holder.pid)
}

impl OwnLockFile {
    /// Returns `true` if it is still ours. Checks only the file's metadata, and reads it if that changed.
    ///
    /// # Errors
    /// `PartLocked` if it was removed or replaced; `TooManyFiles`.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let now = fs::symlink_metadata(&self.path).ok();
        if self.version.is_some() && self.version == now.as_ref().map(FileVersion::from) {
            return Ok(());
        }
        self.version = match ExistingLock::at(&self.path)? {
            Some(found) if found.has(&self.token) => found.version,
            _ => None,
        };
        if self.version.is_some() {
            return Ok(());
        }
        Err(locked(&self.part, &self.path, None, Some(Doubt::Lost)))
    }
}

impl Drop for OwnLockFile {
    fn drop(&mut self) {
        if self.check().is_ok() {
            let _ = fs::remove_file(&self.path); // one that stays is taken over once this process has ended
        }
    }
}

/// Creates the lock file at `path`, or replaces a stale one.
fn acquire(path: &Path, part: &Path, me: &Holder, depth: u32) -> Result<(), Error> {
    for _ in 0..TRIES {
        if create(path, me).map_err(|error| disk("create", path, error))? {
            return Ok(());
        }
        let Some(stale) = ExistingLock::at(path)? else {
            continue;
        };
        stale.refuse_held(path, part, me)?;
        if depth == DEEPEST {
            let pid = stale.holder();
            return Err(locked(part, path, pid, Some(Doubt::Hidden)));
        }
        let new = takeover_path(path);
        acquire(&new, part, me, depth + 1)?;
        let renamed = ExistingLock::at(path).and_then(|now| match now {
            Some(now) if now.text == stale.text => {
                fs::rename(&new, path).map(|()| true).map_err(|error| disk("take over", path, error))
            }
            _ => Ok(false),
        });
        if !matches!(renamed, Ok(true)) {
            let _ = fs::remove_file(&new); // ours, by its exclusive creation
        }
        if renamed? {
            return Ok(());
        }
    }
    let error = io::Error::other("it keeps being replaced");
    Err(disk("lock", path, error))
}

/// `false` if there is one already.
fn create(path: &Path, me: &Holder) -> io::Result<bool> {
    let text = me.text()?;
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    file.write_all(text.as_bytes()).inspect_err(|_| {
        let _ = fs::remove_file(path); // the first error is reported
    })?;
    Ok(true)
}

/// What is at a lock file's name.
struct ExistingLock {
    /// Empty if it cannot be read.
    text: Vec<u8>,
    version: Option<FileVersion>,
}

impl ExistingLock {
    /// `None` if there is nothing.
    ///
    /// # Errors
    /// `TooManyFiles`: this says nothing about the lock file, not even whether there is one.
    fn at(path: &Path) -> Result<Option<Self>, Error> {
        let (text, version) = match read(path) {
            Ok((text, version)) => (text, Some(version)),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => match disk("read", path, error) {
                error @ Error::TooManyFiles { .. } => return Err(error),
                _ => (Vec::new(), None),
            },
        };
        Ok(Some(ExistingLock { text, version }))
    }

    fn holder(&self) -> Option<Holder> {
        Holder::parse(&self.text)
    }

    fn has(&self, token: &str) -> bool {
        self.holder().is_some_and(|holder| holder.token == token)
    }

    fn refuse_held(&self, path: &Path, part: &Path, me: &Holder) -> Result<(), Error> {
        let holder = self.holder();
        let doubt = match holder.as_ref().map(|holder| holder.fate(me)) {
            Some(Fate::Gone) => return Ok(()),
            Some(Fate::Running) => None,
            Some(Fate::Unknown(doubt)) => Some(doubt),
            None => Some(Doubt::Unreadable),
        };
        Err(locked(part, path, holder, doubt))
    }
}

/// A regular file only: a link leads elsewhere, and a pipe would block.
fn read(path: &Path) -> io::Result<(Vec<u8>, FileVersion)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LONGEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST_BYTES).read_to_end(&mut text)?;
    Ok((text, FileVersion::from(&metadata)))
}

fn locked(part: &Path, path: &Path, holder: Option<Holder>, doubt: Option<Doubt>) -> Error {
    let pid = holder.as_ref().map(|holder| holder.pid);
    Error::PartLocked {
        path: part.display().to_string(),
        pid,
        lock_file: Some(LockFile {
            path: path.display().to_string(),
            host: holder.and_then(|holder| holder.host),
            doubt,
        }),
    }
}

/// Longest host name that is read from a lock file, in characters.
const HOST_CHARS: usize = 255;

/// The writer that a lock file names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Holder {
    pub(super) host: Option<String>,
    boot: Option<String>,
    pid_namespace: Option<String>,
    pub(super) pid: u32,
    /// When the process started, in the kernel's ticks since boot: process ids are used again.
    started: Option<String>,
    /// Only for people.
    #[serde(skip_deserializing)]
    thread: String,
    pub(super) token: String,
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Gone,
    Running,
    Unknown(Doubt),
}

impl Holder {
    /// This thread, with a new token.
    pub(super) fn new() -> Self {
        let link = |path| Some(fs::read_link(path).ok()?.to_str()?.to_owned());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let host = rustix::system::uname().nodename().to_str().map(str::to_owned);
        Holder {
            host: host.ok().filter(|host| !host.is_empty()),
            boot: boot.ok().map(|boot| boot.trim().to_owned()),
            pid_namespace: link("/proc/self/ns/pid"),
            pid: std::process::id(),
            started: Process::at("/proc/self/stat").map(|process| process.started),
            thread: format!("{:?}", std::thread::current().id()),
            token: format!("{:032x}", fastrand::u128(..)),
        }
    }

    /// The holder in the text of a lock file; `None` if that is not one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let holder: Holder = serde_json::from_slice(text).ok()?;
        let plain = |host: &String| host.chars().count() <= HOST_CHARS && !host.chars().any(char::is_control);
        let named = holder.host.as_ref().is_none_or(plain);
        (pid(holder.pid).is_some() && !holder.token.is_empty() && named).then_some(holder)
    }

    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Returns `true` if this holder is provably gone, as seen by `me`.
    pub(super) fn fate(&self, me: &Holder) -> Fate {
        let places = [
            (&self.host, &me.host, Doubt::OtherHost),
            (&self.boot, &me.boot, Doubt::OtherBoot),
            (&self.pid_namespace, &me.pid_namespace, Doubt::OtherNamespace),
        ];
        for (its, mine, other) in places {
            match (its, mine) {
                (Some(its), Some(mine)) if its == mine => {}
                (Some(_), Some(_)) => return Fate::Unknown(other),
                _ => return Fate::Unknown(Doubt::Hidden),
            }
        }
        let Some(pid) = pid(self.pid) else {
            return Fate::Unknown(Doubt::Unreadable);
        };
        match test_kill_process(pid) {
            Err(Errno::SRCH) => return Fate::Gone,
            Ok(()) | Err(Errno::PERM) => {}
            Err(_) => return Fate::Unknown(Doubt::Hidden),
        }
        match (&self.started, Process::of(self.pid)) {
            (Some(started), Some(now)) if *started != now.started || now.ended => Fate::Gone,
            (Some(_), Some(_)) => Fate::Running,
            _ => Fate::Unknown(Doubt::Hidden),
        }
    }
}

/// A process id that can be asked about: 0 and negative numbers mean groups of processes.
fn pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// A process as `/proc` shows it.
struct Process {
    started: String,
    /// It has ended, and its parent has not asked about it yet.
    ended: bool,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        // `/proc` may be that of another process namespace, with other processes under these numbers.
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str() != Some(&std::process::id().to_string()) {
            return None;
        }
        Process::at(&format!("/proc/{pid}/stat"))
    }

    /// See proc_pid_stat(5). The command's name stands in parentheses and may hold any character.
    fn at(path: &str) -> Option<Self> {
        let stat = fs::read(path).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let threads = fields.nth(16)?;
        Some(Process {
            started: fields.nth(1)?.to_owned(),
            ended: matches!(state, "Z" | "X") && matches!(threads, "0" | "1"),
        })
    }
}
