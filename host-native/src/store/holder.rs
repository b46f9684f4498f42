//! Who holds a lock file, and whether that process is provably gone.
//!
//! Invariant: a process counts as gone only if the kernel says so on the host, in the boot and in the process namespace that
//! the lock file names. Where anything is missing, the holder keeps the lock.
//!
//! The text is JSON, the same as that of the npm package (`host-wasm/js/lock-file.js`); `tests/locks.json` tests both.

use regrip_core::error::Doubt;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;

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
        let host = rustix::system::uname()
            .nodename()
            .to_str()
            .map(str::to_owned);
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
        let plain = |host: &String| {
            host.chars().count() <= HOST_CHARS && !host.chars().any(char::is_control)
        };
        let named = holder.host.as_ref().is_none_or(plain);
        (pid(holder.pid).is_some() && !holder.token.is_empty() && named).then_some(holder)
    }

    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Whether this holder is provably gone, as seen by `me`.
    pub(super) fn fate(&self, me: &Holder) -> Fate {
        let places = [
            (&self.host, &me.host, Doubt::OtherHost),
            (&self.boot, &me.boot, Doubt::OtherBoot),
            (
                &self.pid_namespace,
                &me.pid_namespace,
                Doubt::OtherNamespace,
            ),
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
