//! Drives downloads, and ends them at signals and at changes by other processes.
//!
//! Another process may cancel or remove a download in the shared state file. [`Engine::follow_changes`] then ends it promptly.
//!
//! The first Ctrl-C or SIGTERM ends the work in good order, the second ends the process at once. SIGHUP, as of a terminal that is
//! closed, ends the work in good order, too, except for commands that reload their keys. A signal to end that was ignored when the
//! process began, as by `nohup`, stays so.

use super::output::{CommandResult, Exit, failed};
use crate::host::Workers;
use regrip_core::Engine;
use regrip_core::host::Host;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use smol::Timer;
use smol::channel::{Receiver, bounded};
use smol::future::FutureExt;
use std::cell::Cell;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// Between two signals to end: a task that has only begun misses the first.
const END_EVERY: Duration = Duration::from_millis(20);

/// Runs `work`, in which the engine's downloads are driven, to its end. The first signal sets `ending` and ends them early.
pub(crate) fn run<T, H: Host>(
    engine: &Engine<H>,
    signal: &Receiver<()>,
    workers: &Workers,
    ending: &Cell<bool>,
    work: impl Future<Output = T>,
) -> T {
    let end_on_signal = async {
        if signal.recv().await.is_err() {
            // The channel closes only at the end of the process.
            pending().await
        }
        ending.set(true);
        loop {
            engine.end();
            Timer::after(END_EVERY).await;
        }
    };
    workers.run(work.or(end_on_signal).or(engine.follow_changes()))
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Reload keys and folders.
    Reload,
    /// End.
    End,
}

/// Listens on a thread of its own. The first signal is sent through the channel, the second ends the process.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn first_signal() -> CommandResult<Receiver<()>> {
    let ignored = ignored();
    let signals = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    listen(&signals.collect::<Vec<_>>(), |_| ())
}

/// As [`first_signal`], with SIGHUP as a reload.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn signals_with_reload() -> CommandResult<Receiver<Signal>> {
    listen(&[SIGHUP, SIGINT, SIGTERM], |signal| signal)
}

/// Makes a write beyond the largest file that this process may write (`ulimit -f`) an error, EFBIG, instead of the end of the
/// process.
pub(crate) fn survive_too_large_files() {
    // Without a handler such a write kills the process, as it always does.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// The signals that are ignored, a bit for each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default()
}

fn listen<T: Send + 'static>(signals: &[i32], meaning: fn(Signal) -> T) -> CommandResult<Receiver<T>> {
    let cannot = || failed(Exit::Unusable, "cannot listen for Ctrl-C");
    let mut signals = Signals::new(signals).map_err(cannot())?;
    // Room for a reload that waits and for the end.
    let (send, sent) = bounded(2);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut ending = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // A shell and its terminal may both send one. Several at once count as one.
                    if send.is_empty() {
                        let _ = send.try_send(meaning(Signal::Reload));
                    }
                } else if ending {
                    // Below the bars that may be there.
                    say!("\nregrip: stopped at once");
                    std::process::exit(130);
                } else {
                    ending = true;
                    // Fails if the work ended already.
                    let _ = send.try_send(meaning(Signal::End));
                }
            }
        })
        .map_err(cannot())?;
    Ok(sent)
}
