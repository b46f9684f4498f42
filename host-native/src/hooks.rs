//! The user's commands that run after a download: `--on-complete` of `get`, and `hooks` of the server.
//!
//! `sh -c` runs a command with an [`EndedDownload`] in its environment and without input; its output is passed on line by
//! line. One command runs at a time, in a process group of its own. The group is killed if the command runs too long or this
//! process ends; processes that a finished command leaves in the background stay.
//!
//! Invariant: a command never changes the result of a download.

use async_lock::Mutex;
use futures::future::{Either, join, select};
use rustix::process::{Pid, Signal, kill_process_group};
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncReadExt};
use smol::process::{Command, Stdio};
use std::convert::Infallible;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

/// A command that runs longer is stopped.
const LONGEST_RUN: Duration = Duration::from_secs(600);
/// Between asking a command to end and killing it.
const LET_GO: Duration = Duration::from_secs(1);
/// How long output is still read after the command ended: a process in the background may hold it open.
const DRAIN: Duration = Duration::from_millis(200);
/// Bytes of a line that are passed on.
const LONGEST_LINE: usize = 1024;

/// A download that has ended: the variables of a command.
#[derive(Clone, Debug)]
pub(crate) struct EndedDownload {
    /// `REGRIP_ID`
    pub(crate) id: i64,
    /// `REGRIP_PATH`: the file, absolute.
    pub(crate) path: String,
    /// `REGRIP_URL`, as URLs are shown: without userinfo and query.
    pub(crate) url: String,
    /// `REGRIP_STATUS`: `completed` or `failed`.
    pub(crate) status: &'static str,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookFault {
    #[error("cannot run sh: {0}")]
    Unrunnable(#[from] io::Error),
    #[error("it ended with exit code {0}")]
    ExitCode(i32),
    #[error("it was killed by signal {0}")]
    Killed(i32),
    #[error("it was stopped after {} minutes", LONGEST_RUN.as_secs() / 60)]
    TooLong,
    #[error("regrip is ending")]
    Ending,
}

/// Runs commands, one at a time.
#[derive(Debug)]
pub(crate) struct Hooks {
    turn: Mutex<()>,
    end: Sender<Infallible>,
    ending: Receiver<Infallible>,
    longest_run: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        let (end, ending) = bounded(1);
        Hooks { turn: Mutex::default(), end, ending, longest_run: LONGEST_RUN }
    }
}

impl Hooks {
    /// Stops the command that runs; no other one begins.
    pub(crate) fn end(&self) {
        self.end.close();
    }

    /// Waits until the process ends.
    pub(crate) async fn ending(&self) {
        // Nothing is ever sent: it closes.
        let _ = self.ending.recv().await;
    }

    /// Runs a command when it is its turn, without the variables of the environment that have secrets. `say` is called with
    /// each line of its output.
    ///
    /// # Errors
    /// [`HookFault`]. It is a warning: the download has ended as it has.
    pub(crate) async fn run(
        &self,
        command: &str,
        ended: &EndedDownload,
        secrets: &[String],
        say: &(impl Fn(&str) + Sync),
    ) -> Result<(), HookFault> {
        let turn = async { Some(self.turn.lock().await) }.or(async {
            self.ending().await;
            None
        });
        let _turn = turn.await.filter(|_| !self.ending.is_closed()).ok_or(HookFault::Ending)?;
        let mut child = spawn(command, ended, secrets)?;
        let mut group = Group(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let output = pin!(join(lines(out, say), lines(err, say)));
        let stopped = async {
            Timer::after(self.longest_run).await;
            HookFault::TooLong
        }
        .or(async {
            self.ending().await;
            HookFault::Ending
        });
        let run = async {
            match select(pin!(child.status()), output).await {
                Either::Left((status, output)) => {
                    select(output, Timer::after(DRAIN)).await;
                    status
                }
                Either::Right((_, status)) => status.await,
            }
        };
        match select(pin!(run), pin!(stopped)).await {
            Either::Left((status, _)) => {
                group.0 = None;
                judge(status?)
            }
            Either::Right((fault, run)) => {
                group.signal(Signal::TERM);
                select(run, Timer::after(LET_GO)).await;
                Err(fault)
            }
        }
    }
}

fn spawn(text: &str, ended: &EndedDownload, secrets: &[String]) -> io::Result<smol::process::Child> {
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(text).process_group(0);
    for name in secrets.iter().map(String::as_str).chain(["REGRIP_API_KEY"]) {
        command.env_remove(name);
    }
    command.env("REGRIP_ID", ended.id.to_string()).env("REGRIP_PATH", &ended.path);
    command.env("REGRIP_URL", &ended.url).env("REGRIP_STATUS", ended.status);
    Command::from(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn judge(status: ExitStatus) -> Result<(), HookFault> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookFault::ExitCode(code)),
        (None, signal) => Err(HookFault::Killed(signal.unwrap_or_default())),
    }
}

/// Passes lines on until the output ends. What is too long is cut.
async fn lines(output: Option<impl AsyncRead + Unpin>, say: &impl Fn(&str)) {
    let Some(mut output) = output else {
        return;
    };
    let (mut line, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        for byte in buffer.iter().take(read) {
            match byte {
                b'\n' => say(&String::from_utf8_lossy(&std::mem::take(&mut line))),
                byte if line.len() < LONGEST_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        say(&String::from_utf8_lossy(&line));
    }
}

/// The processes of a command. Dropping it kills them, unless the command has ended.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        // Fails if they are gone.
        let _ = self.0.map(|group| kill_process_group(group, signal));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as Lock;
    use std::time::Instant;

    fn ended() -> EndedDownload {
        let (path, url) = ("/films/it's a film.mkv".to_owned(), "https://host/film.mkv".to_owned());
        EndedDownload { id: 7, path, url, status: "completed" }
    }

    fn run(hooks: &Hooks, command: &str) -> (Result<(), HookFault>, Vec<String>) {
        let said = Lock::new(Vec::new());
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        let done = smol::block_on(hooks.run(command, &ended(), &["HOME".to_owned()], &say));
        (done, said.into_inner().unwrap())
    }

    #[test]
    fn a_command_gets_the_download_and_neither_secrets_nor_input() {
        let command =
            r#"printf '%s\n' "$REGRIP_ID|$REGRIP_PATH|$REGRIP_URL|$REGRIP_STATUS|${HOME-unset}"; cat; echo last >&2"#;
        let (done, mut said) = run(&Hooks::default(), command);
        done.unwrap();
        said.sort();
        assert_eq!(said, ["7|/films/it's a film.mkv|https://host/film.mkv|completed|unset", "last"]);
    }

    #[test]
    fn how_a_command_ends_is_reported() {
        let table = [("exit 3", "it ended with exit code 3"), ("kill -9 $$", "it was killed by signal 9")];
        for (command, fault) in table {
            assert_eq!(run(&Hooks::default(), command).0.unwrap_err().to_string(), fault);
        }
    }

    #[test]
    fn a_process_in_the_background_neither_holds_a_command_up_nor_dies_with_it() {
        let began = Instant::now();
        let (done, said) = run(&Hooks::default(), "sleep 100 & echo $!");
        done.unwrap();
        assert!(began.elapsed() < Duration::from_secs(50));
        let pid = Pid::from_raw(said[0].parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    }

    #[test]
    fn a_long_line_is_cut_and_an_unfinished_one_is_passed_on() {
        let (done, said) = run(&Hooks::default(), "head -c 5000 /dev/zero | tr '\\0' x; echo; printf end");
        done.unwrap();
        assert_eq!(said, ["x".repeat(LONGEST_LINE), "end".to_owned()]);
    }

    #[test]
    fn a_command_that_hangs_is_stopped_with_its_children_and_none_begins_after_the_end() {
        let hooks = Hooks { longest_run: Duration::from_millis(300), ..Hooks::default() };
        let (done, said) = run(&hooks, "trap '' TERM; sleep 100 & echo $!; wait; wait");
        assert!(matches!(done, Err(HookFault::TooLong)), "{done:?}");
        let pid = Pid::from_raw(said[0].parse().unwrap()).unwrap();
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            std::thread::yield_now();
        }
        hooks.end();
        let (done, said) = run(&hooks, "echo it runs");
        assert!(matches!(done, Err(HookFault::Ending)) && said.is_empty(), "{done:?} {said:?}");
    }

    /// Nobody reaps the orphans of a container without an init process.
    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }
}
